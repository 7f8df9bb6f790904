"""Config: the relay's settings, from one TOML file and the environment; the only reader of either.

Whoever sets up a relay should have to look once: every mistake is reported at the same time, with the key and with
where its value came from.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infoexchange import wire
from infoexchange.cli.passphrase import asking
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home import Keychain
from infoexchange.tlog import VerifierKey
from infoexchange.tlog.cosignature import WITNESS_TYPES

ENVIRONMENT_PREFIX = "INFOEXCHANGE_RELAY__"
LOG_LEVELS = ("debug", "info", "warning", "error")
_PORT_MAX = 65535
_GIB = 2**30
_GIB_MAX = 2**20  # a pebibyte: more is a typing error
_WITNESS_SECONDS_MAX = 3600  # an hour without a witness is an outage, not a setting
_TSA_MINUTES_MAX = 30 * 24 * 60  # a month without a time is none
_UNCOSIGNED_MINUTES = (1, 30 * 24 * 60)  # shorter than a round is an outage at once, longer than a month is never
_FOREIGN_MAX, _FOREIGN_KEYS_MAX = 8, 4  # beside two lines of each of fifteen nations they fit into one note
_TABLE = "witness"  # `listen` in this table is the setting `witness_listen`
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class ConfigError(Exception):
    """Everything that is wrong with a configuration."""

    def __init__(self, problems: Sequence[ExchangeError]) -> None:
        """Keep the problems."""
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


@dataclass(frozen=True)
class ForeignWitness:
    """A witness outside the community: the prefix of its URL, and the keys that its lines are verified with."""

    url: str
    keys: tuple[VerifierKey, ...]

    @property
    def address(self) -> str:
        """The `host:port` behind the URL."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
        return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one relay. Paths are absolute, or relative to the configuration file's folder.

    Attributes:
        name: The relay's name, as in the directory and in its TLS certificate.
        listen: `host:port` for agencies and other relays; port 0 takes any free one.
        data: Folder of the log, envelopes and queues.
        latch: File of the last signed checkpoint; outside `data`, and never restored with it.
        log_keys: Key file of the audit log.
        witness_keys: Key file of the witness that cosigns other relays' logs.
        tls_key: Key file of the TLS certificate.
        tls_certificate: PEM file of the TLS certificate.
        passphrase_file: File with the passphrase of the key files, for machines without systemd; empty for none.
        directory: Signed directory.
        roots: Trust anchor: the root keys that sign the directory.
        witness_seconds: Seconds between two rounds of asking for cosignatures.
        witness_listen: `host:port` where the witness answers anybody over HTTP (C2SP tlog-witness); empty for none.
        witness_foreign: Witnesses outside the community that are asked for cosignatures too, over HTTP.
        uncosigned_minutes: Minutes that log entries may be without enough cosignatures; then nothing new is taken.
        tsa_url: Where a time authority (RFC 3161) is asked over HTTP; empty for none.
        tsa_roots: PEM file of the certificates under which that authority signs; needed with `tsa_url`.
        tsa_minutes: Minutes between two timestamps, if the log has grown.
        attachments_gib: Gibibytes of attachments one party may have uploaded that no envelope names yet.
        reserve_gib: Gibibytes of the disk that attachments leave free for the log.
        reflection: Whether gRPC reflection answers.
        metrics_listen: `host:port` for Prometheus, loopback only; empty for none.
        log_level: Least severe messages that are logged.
    """

    name: str
    listen: str
    data: Path
    latch: Path
    log_keys: Path
    witness_keys: Path
    tls_key: Path
    tls_certificate: Path
    directory: Path
    roots: Path
    passphrase_file: str = ""
    witness_seconds: int = 10  # C2SP tlog-witness suggests seconds to a minute
    witness_listen: str = ""
    witness_foreign: tuple[ForeignWitness, ...] = ()
    uncosigned_minutes: int = 240  # X-Road's 14 400 s without a timestamp
    tsa_url: str = ""
    tsa_roots: str = ""
    tsa_minutes: int = 60
    attachments_gib: int = 2052  # two of the largest
    reserve_gib: int = 1  # the log of a busy month
    reflection: bool = False
    metrics_listen: str = ""
    log_level: str = "info"

    def keychain(self) -> Keychain:
        """Return what opens the key files: systemd's credential, the passphrase file, or a person at this terminal."""
        return Keychain(asking(Path(self.passphrase_file) if self.passphrase_file else None, "Passphrase of"))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the settings in force, wherever they came from: one line for each, in the order of the fields."""
        lines = (f"{field.name} = {getattr(self, field.name)}\n" for field in dataclasses.fields(self))
        return sha256("".join(lines).encode()).digest()

    @property
    def requests(self) -> Path:
        """The folder inside `data` where commands leave what the running relay is to log."""
        return self.data / "requests"

    @property
    def store(self) -> Path:
        """The file of the store inside `data`."""
        return self.data / "relay.sqlite3"

    @property
    def attachments(self) -> Path:
        """The folder of attachment bytes inside `data`."""
        return self.data / "attachments"

    @property
    def max_uncosigned(self) -> timedelta:
        """`uncosigned_minutes` as a span of time."""
        return timedelta(minutes=self.uncosigned_minutes)

    def timestamps(self, origin: str) -> Path:
        """Return the folder inside `data` of a log's checkpoints with a time authority's token."""
        return self.data / "timestamps" / origin.replace("/", "_")

    @property
    def quota(self) -> int:
        """`attachments_gib` in bytes."""
        return self.attachments_gib * _GIB

    @property
    def reserve(self) -> int:
        """`reserve_gib` in bytes."""
        return self.reserve_gib * _GIB

    @property
    def predecessor(self) -> Path:
        """The file inside `data` that names the log before this one, where that was lost."""
        return self.data / "predecessor"

    @property
    def cosigned(self) -> Path:
        """The file inside `data` with the newest checkpoint that enough witnesses have cosigned."""
        return self.data / "cosigned"

    @property
    def witnessed(self) -> Path:
        """The folder, beside the latch, that remembers which checkpoints of other logs were cosigned."""
        return self.latch.parent / "witnessed"


def load(file: Path, environ: Mapping[str, str]) -> Config:
    """Return the configuration in a TOML file, with what the environment sets in its place.

    Raises:
        ConfigError: Something is wrong; it lists everything that is.
    """
    problems: list[ExchangeError] = []

    def wrong(key: str, detail: str) -> None:
        source = f" (from {given[key][1]})" if key in given else ""
        problems.append(_bad(f"{file}: {key}{source}", detail))

    settings = _read(file)
    table = settings.pop(_TABLE) if isinstance(settings.get(_TABLE), dict) else {}
    both = {f"{_TABLE}_{key}": value for key, value in table.items()}
    given: dict[str, tuple[object, str]] = {key: (value, "the file") for key, value in (settings | both).items()}
    for key in sorted(settings.keys() & both.keys()):
        wrong(key, f"stands twice, once in the table [{_TABLE}]")
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            given[variable.removeprefix(ENVIRONMENT_PREFIX).lower()] = (text, variable)
    known = {field.name: field for field in dataclasses.fields(Config)}
    for key in sorted(given.keys() - known.keys()):
        near = difflib.get_close_matches(key, known, 1)
        wrong(
            key,
            f"no such setting; did you mean {near[0]!r}?" if near else f"no such setting; there are {', '.join(known)}",
        )
    values: dict[str, Any] = {}
    for key, field in known.items():
        if key in given:
            try:
                values[key] = _check(key, _KINDS[str(field.type)](given[key][0], file.parent), file.parent)
            except ValueError as problem:
                wrong(key, str(problem))
        elif field.default is dataclasses.MISSING:
            wrong(key, "is missing, and there is no default")
    if {"data", "latch"} <= values.keys() and values["latch"].resolve().is_relative_to(values["data"].resolve()):
        wrong("latch", "must lie outside `data`, or restoring the data would put an old one in place")
    if values.get("tsa_url") and not values.get("tsa_roots"):
        wrong("tsa_roots", "is missing; without it nothing that the authority at `tsa_url` says can be verified")
    if problems:
        raise ConfigError(problems)
    return Config(**values)


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`, or raise `ValueError` that says why not."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _PORT_MAX:
        raise ValueError(f"{text!r} is not host:port, such as 127.0.0.1:7443 or [::1]:7443")
    return host, int(port)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        next_step = "Make one with: infoexchange-relay init NAME --folder DIR"
        problem = error(Reason.UNAVAILABLE, field=str(file), detail="there is no such file", next_step=next_step)
    except OSError as found:
        problem = _bad(str(file), found.strerror or "cannot be read")
    except ValueError as found:
        problem = _bad(str(file), f"not TOML: {found}")
    raise ConfigError([problem])


def _bad(field: str, detail: str) -> ExchangeError:
    return error(Reason.BAD_FIELD, field=field, detail=detail, next_step="Correct it and try again.")


def _text(value: object, folder: Path) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text; put it in quotes")
    return value


def _path(value: object, folder: Path) -> Path:
    text = _text(value, folder)
    if not text:
        raise ValueError("is empty")
    return folder / text


def _flag(value: object, folder: Path) -> bool:
    # The environment has texts only.
    word = str(value).lower()
    if word not in _YES + _NO:
        raise ValueError(f"{value!r} is neither true nor false")
    return word in _YES


def _number(value: object, folder: Path) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit():
        raise ValueError(f"{value!r} is not a whole number")
    return int(text)


def _foreign(value: object, folder: Path) -> tuple[ForeignWitness, ...]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"is no list of tables; write [[{_TABLE}.foreign]] in the file, with `url` and `keys`")
    found = tuple(_foreign_witness(one) for one in value)
    if len(found) > _FOREIGN_MAX:
        raise ValueError(f"{len(found)} are more than {_FOREIGN_MAX}")
    urls, publics = [one.url for one in found], [key.public for one in found for key in one.keys]
    if len(set(urls)) < len(urls) or len(set(publics)) < len(publics):
        raise ValueError("one `url` or one key stands twice")
    return found


def _foreign_witness(table: Mapping[str, object]) -> ForeignWitness:
    url, keys = table.get("url"), table.get("keys")
    if set(table) != {"url", "keys"} or not isinstance(url, str) or not isinstance(keys, list):
        raise ValueError("each has a `url`, a list `keys` and nothing else")
    if not 1 <= len(keys) <= _FOREIGN_KEYS_MAX or not all(isinstance(key, str) for key in keys):
        raise ValueError(f"{url!r} has not 1 to {_FOREIGN_KEYS_MAX} keys in quotes")
    try:
        parsed = tuple(VerifierKey.parse(key) for key in keys)
    except ExchangeError as problem:
        raise ValueError(f"a key of {url!r} is none: {problem.detail}") from None
    if any(key.type not in WITNESS_TYPES for key in parsed):
        raise ValueError(f"a key of {url!r} is not a witness's")
    return ForeignWitness(_url(url), parsed)


def _url(text: str) -> str:
    """Return the prefix of a witness's URLs, or raise `ValueError`; its parts are used as they are, never encoded."""
    parts = urlsplit(text)  # raises for brackets that do not match; the port is looked at when it is asked for
    plain = text.isascii() and text.isprintable() and not set(text) & set(" ?#@\\")
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or parts.port == 0:
        raise ValueError(f"{text!r} is not a URL such as https://witness.example.org or http://host:port/prefix")
    return text.rstrip("/")


_KINDS: dict[str, Callable[[object, Path], object]] = {
    "str": _text,
    "Path": _path,
    "bool": _flag,
    "int": _number,
    "tuple[ForeignWitness, ...]": _foreign,
}


def _check(key: str, value: Any, folder: Path) -> object:
    """Return the value of a setting, or raise `ValueError` that says what is wrong with it."""
    if key == "name":
        try:
            wire.check_name(value, field=key)
        except ExchangeError as problem:
            raise ValueError(problem.detail) from None
    elif key == "listen" or (key == "witness_listen" and value):
        parse_address(value)
    elif key == "metrics_listen" and value:
        host, _ = parse_address(value)
        if not _is_loopback(host):
            raise ValueError(f"{host!r} is not a loopback address; metrics carry no protection of their own")
    elif key in ("passphrase_file", "tsa_roots") and value:
        return str(folder / value)
    elif key == "tsa_url" and value:
        _check_url(value)
    elif key == "tsa_minutes" and not 1 <= value <= _TSA_MINUTES_MAX:
        raise ValueError(f"{value} is not 1 to {_TSA_MINUTES_MAX} minutes")
    elif key == "witness_seconds" and not 1 <= value <= _WITNESS_SECONDS_MAX:
        raise ValueError(f"{value} is not 1 to {_WITNESS_SECONDS_MAX} seconds")
    elif key == "uncosigned_minutes" and not _UNCOSIGNED_MINUTES[0] <= value <= _UNCOSIGNED_MINUTES[1]:
        raise ValueError(f"{value} is not {_UNCOSIGNED_MINUTES[0]} to {_UNCOSIGNED_MINUTES[1]} minutes")
    elif key in ("attachments_gib", "reserve_gib") and value > _GIB_MAX:
        raise ValueError(f"{value} is more than {_GIB_MAX} GiB")
    elif key == "log_level" and value not in LOG_LEVELS:
        raise ValueError(f"{value!r} is none of {', '.join(LOG_LEVELS)}")
    return value


def _check_url(text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} is not a URL, such as http://timestamp.example/tsr")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a password does not belong into settings; ask for an authority that knows this address")
    if " " in text or parts.port == 0:  # a port that is no number raises by itself
        raise ValueError(f"{text!r} is not a URL")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
