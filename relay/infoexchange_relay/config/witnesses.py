"""Witnesses: those outside the community, as the settings name them in tables of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infoexchange.errors import ExchangeError
from infoexchange.tlog import VerifierKey
from infoexchange.tlog.cosignature import WITNESS_TYPES

TABLE = "witness"  # `listen` in this table is the setting `witness_listen`
_FOREIGN_MAX, _FOREIGN_KEYS_MAX = 8, 4  # beside two lines of each of fifteen nations they fit into one note


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


@dataclass(frozen=True)
class ForeignWitnesses:
    """The kind of setting that names them, in the file only."""

    range: str = f"up to {_FOREIGN_MAX} tables `[[{TABLE}.foreign]]`, each with `url` and `keys`"

    def read(self, value: object, folder: Path) -> tuple[ForeignWitness, ...]:
        """Return the witnesses."""
        if not isinstance(value, list | tuple) or not all(isinstance(one, dict) for one in value):
            raise ValueError(f"is no list of tables; write [[{TABLE}.foreign]] in the file, with `url` and `keys`")
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
