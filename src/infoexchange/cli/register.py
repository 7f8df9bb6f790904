"""Register: what a small national CA has issued and withdrawn, and the number of its newest list.

One file in the CA's folder, written before anything is handed out: a certificate or a list that exists is never missing
here, whatever crashes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from infoexchange.certificates import Leaf, RevocationReason, Revoked, load
from infoexchange.errors import Reason, error
from infoexchange.home.files import read_file, write_file

_FILE, _FORM = "register.json", "infoexchange CA register 1"


@dataclass(frozen=True)
class Issued:
    """One certificate that was issued."""

    serial: str
    name: str
    algorithm: str
    begins: str
    ends: str
    sha256: str

    @classmethod
    def of(cls, leaf: Leaf) -> Issued:
        """Return the entry for a certificate."""
        certificate = load(leaf.der)
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return cls(
            f"{leaf.serial:x}", leaf.name, leaf.algorithm, begins.isoformat(), ends.isoformat(), leaf.digest.hex()
        )


@dataclass
class Register:
    """A CA's book; `open_register` reads it, keeps others out, and `save` makes it durable."""

    path: Path
    list_number: int = 0
    issued: list[Issued] = field(default_factory=list)
    revoked: list[Revoked] = field(default_factory=list)

    @classmethod
    def parse(cls, raw: bytes, path: Path) -> Register:
        """Return the register of some bytes, to be saved to a path, or raise `MALFORMED`."""
        try:
            value: Any = json.loads(raw)
            if value["form"] != _FORM or type(value["list_number"]) is not int or value["list_number"] < 0:
                raise ValueError
            revoked = [
                Revoked(int(e["serial"], 16), datetime.fromisoformat(e["at"]), RevocationReason(e["reason"]))
                for e in value["revoked"]
            ]
            issued = [Issued(**{name: _text(text) for name, text in entry.items()}) for entry in value["issued"]]
            if any(datetime.fromisoformat(entry.ends).tzinfo is None for entry in issued):
                raise ValueError
            if any(entry.at.tzinfo is None or entry.serial < 1 for entry in revoked):
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            next_step = "Restore it from its backup: without it, revoked certificates would be trusted again."
            raise error(Reason.MALFORMED, field=str(path), detail="not a CA's register", next_step=next_step) from None
        return cls(path, value["list_number"], issued, revoked)

    def find(self, what: str, *, now: datetime) -> list[Issued]:
        """Return the certificates of a serial number, or those of a name that are still valid and not withdrawn."""
        gone = {f"{entry.serial:x}" for entry in self.revoked}
        return [
            entry
            for entry in self.issued
            if entry.serial == what
            or (entry.name == what and entry.serial not in gone and datetime.fromisoformat(entry.ends) > now)
        ]

    def revoke(self, serials: Sequence[int], at: datetime, reason: RevocationReason) -> list[Revoked]:
        """Withdraw certificates; one that is withdrawn already keeps its date. Return the entries of all."""
        known = {entry.serial: entry for entry in self.revoked}
        for serial in serials:
            known.setdefault(serial, Revoked(serial, at, reason))
        self.revoked = list(known.values())
        return [known[serial] for serial in serials]

    def save(self) -> None:
        """Make it durable."""
        value = {
            "form": _FORM,
            "list_number": self.list_number,
            "issued": [asdict(entry) for entry in self.issued],
            "revoked": [
                {"serial": f"{entry.serial:x}", "at": entry.at.isoformat(), "reason": entry.reason.value}
                for entry in self.revoked
            ],
        }
        write_file(self.path, json.dumps(value, indent=1).encode() + b"\n")


@contextlib.contextmanager
def open_register(folder: Path) -> Iterator[Register]:
    """Give the register of a CA's folder, and keep other processes from it meanwhile."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield _read(folder / _FILE)
    finally:
        os.close(descriptor)


def _read(path: Path) -> Register:
    return Register.parse(read_file(path, next_step="Check the path."), path) if path.exists() else Register(path)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
