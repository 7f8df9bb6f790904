"""Folder: what `infoexchange-relay init` makes for a new relay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from infoexchange import certificates, suites, wire
from infoexchange.cli.draft import REGISTRATION_FORM
from infoexchange.cli.output import UsageError
from infoexchange.errors import Reason, error
from infoexchange.home import Keychain
from infoexchange.home.files import write_file
from infoexchange.log import LogKeys
from infoexchange.witness import WitnessKeys
from infoexchange_relay.config import parse_address, settings_file

# A relay is there to be reached; it asks every caller for a certificate.
DEFAULT_LISTEN = "0.0.0.0:7443"
_ANY_HOST = ("0.0.0.0", "::")  # noqa: S104  compared with, not listened on


@dataclass(frozen=True)
class Made:
    """The files of a new relay: made here, or awaited where `certificate`, `directory` and `roots` say."""

    folder: Path

    @property
    def config(self) -> Path:
        """Commented settings."""
        return self.folder / "relay.toml"

    @property
    def request(self) -> Path:
        """Certificate request for the TLS key."""
        return self.folder / "request.pem"

    @property
    def registration(self) -> Path:
        """What is to be registered in the directory."""
        return self.folder / "registration.json"

    @property
    def certificate(self) -> Path:
        """Where the TLS certificate goes."""
        return self.folder / "tls.pem"

    @property
    def directory(self) -> Path:
        """Where the signed directory goes."""
        return self.folder / "directory.pb"

    @property
    def roots(self) -> Path:
        """Where the trust anchor goes."""
        return self.folder / "roots.pb"


def make_folder(folder: Path, name: str, *, listen: str, nation: str | None, keychain: Keychain, now: datetime) -> Made:
    """Make keys, certificate request, registration and settings of a new relay.

    Keys are never overwritten. After a crash or a full disk the same call finishes what was begun.

    Raises:
        MalformedError: `BAD_FIELD` when the name is not a dNSName.
        RefusedError: `NOT_PERMITTED` when the folder belongs to a relay already.
    """
    wire.check_name(name, field="name")
    suites.probe(())  # or no key of a log could be made
    try:
        host, port = parse_address(listen)
    except ValueError as problem:
        raise UsageError(f"--listen: {problem}") from None
    made, next_step = Made(folder), "Name another folder; the keys of a relay are never overwritten."
    if made.config.exists():
        raise error(Reason.NOT_PERMITTED, field=str(folder), detail="there is a relay already", next_step=next_step)
    for place in (folder, folder / "data", folder / "latch"):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "log.key").exists():
        keychain.write_new(folder / "log.key", LogKeys.make(name, now=now).raw)
    if not (folder / "witness.key").exists():
        keychain.write_new(folder / "witness.key", WitnessKeys.make(name).raw)
    if not (folder / "tls.key").exists():
        keychain.write_new(folder / "tls.key", certificates.tls_key())
    keys = LogKeys.parse(keychain.read(folder / "log.key", next_step=next_step))
    if keys.relay != name:
        detail = f"the log keys of {keys.relay} are there already"
        raise error(Reason.NOT_PERMITTED, field=str(folder), detail=detail, next_step=next_step)
    witness = WitnessKeys.parse(keychain.read(folder / "witness.key", next_step=next_step))
    write_file(made.request, certificates.tls_request(name, keychain.read(folder / "tls.key", next_step=next_step)))
    address = f"{name}:{port}" if host in _ANY_HOST else listen
    write_registration(made.registration, keys, witness, nation=nation or name.split(".")[1], address=address)
    # Written last: where it stands, everything before it is whole.
    write_file(made.config, settings_file(name=name, listen=listen).encode())
    return made


def write_registration(
    file: Path, keys: LogKeys, witness: WitnessKeys, *, nation: str, address: str, before: Sequence[str] = ()
) -> None:
    """Write what the directory is to say of a relay: all of it is public; `before` are keys of logs before this one."""
    registration = {
        "form": REGISTRATION_FORM,
        "name": keys.relay,
        "nation": nation,
        "address": address,
        "log_keys": [*(str(key) for key in keys.verifier_keys), *before],
        "witness_keys": [str(key) for key in witness.verifier_keys],
    }
    write_file(file, json.dumps(registration, indent=1).encode() + b"\n")
