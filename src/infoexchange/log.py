"""Log: the identity of one relay's audit log: its origin and its two signing keys (SPEC section Audit log)."""

from __future__ import annotations

import base64
import functools
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Self

from infoexchange import suites, wire
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.suites import Entropy
from infoexchange.tlog import Checkpoint, NoteSigner, VerifierKey
from infoexchange.tlog.note import KeyType

_HALF_YEAR = re.compile(r"/audit/([0-9]{4})h([12])(?:-[0-9]+)?$")


@dataclass(frozen=True)
class NoteKeys:
    """A pair of private keys, Ed25519 and ML-DSA-44 under one name, so that what they sign stands while either does."""

    name: str
    ed25519: bytes = field(repr=False)
    mldsa44: bytes = field(repr=False)

    FORM: ClassVar[str]  # first line of the key file, so that no pair is used for another purpose
    ED25519_TYPE: ClassVar[KeyType]

    @functools.cached_property
    def verifier_keys(self) -> tuple[VerifierKey, VerifierKey]:
        """Both public keys, as the directory lists them."""
        return (
            VerifierKey.make(self.name, self.ED25519_TYPE, suites.public_ed25519(self.ed25519)),
            VerifierKey.make(self.name, KeyType.MLDSA44, suites.public_mldsa44(self.mldsa44)),
        )

    @functools.cached_property
    def signers(self) -> tuple[NoteSigner, NoteSigner]:
        """Both signers, their seeds expanded once."""
        classical, post_quantum = self.verifier_keys
        return (
            NoteSigner(classical, suites.ed25519_signer(self.ed25519)),
            NoteSigner(post_quantum, suites.mldsa44_signer(self.mldsa44)),
        )

    @property
    def relay(self) -> str:
        """Name of the relay whose keys these are."""
        return self.name.partition("/")[0]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Return the keys of a key file, or raise `MALFORMED` without repeating a byte of it."""
        try:
            value = json.loads(raw)
            if value["form"] != cls.FORM:
                raise KeyError
            halves = [base64.b64decode(value[half], validate=True) for half in ("ed25519", "mldsa44")]
            if [len(half) for half in halves] != [32, 32]:
                raise ValueError
            keys = cls(str(value["name"]), *halves)
            wire.check_name(keys.relay, field="name")
            return keys
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError, ExchangeError):
            raise error(
                Reason.MALFORMED,
                field="key file",
                detail=f"not a file of {cls.FORM}",
                next_step="Restore the key file from its backup; new keys must be registered in a new directory first.",
            ) from None

    @property
    def raw(self) -> bytes:
        """The bytes of the key file. Secret: write it for its owner's eyes only."""
        halves = {half: base64.b64encode(getattr(self, half)).decode() for half in ("ed25519", "mldsa44")}
        return json.dumps({"form": self.FORM, "name": self.name, **halves}, indent=1).encode()


class LogKeys(NoteKeys):
    """The private half of a log; its name is the log's origin."""

    FORM = "infoexchange log keys 1"
    ED25519_TYPE = KeyType.ED25519

    @classmethod
    def make(cls, relay: str, *, now: datetime, after: str = "", entropy: Entropy = secrets.token_bytes) -> LogKeys:
        """Return new keys for a relay's log of the current half-year.

        Args:
            relay: Its name.
            now: Names the half-year.
            after: Origin of the log that this one follows, if it was lost: no two logs have one name.
            entropy: Source of random bytes.
        """
        wire.check_name(relay, field="name")
        first = f"{relay}/audit/{now:%Y}h{1 if now.month <= 6 else 2}"
        number = after.removeprefix(first)
        if number == after:  # nothing before it in this half-year
            origin = first
        else:
            origin = f"{first}-{int(number[1:] or 1) + 1}"
        return cls(origin, entropy(32), entropy(32))

    @property
    def origin(self) -> str:
        """The log's name in checkpoints."""
        return self.name

    def sign(self, size: int, root: bytes, *, now: datetime) -> Checkpoint:
        """Return the checkpoint of a tree, signed by both keys."""
        return Checkpoint.sign(self.origin, size, root, self.signers, now=now)


def half_year_end(origin: str) -> datetime | None:
    """Return when the half-year is over that a log is named after; None for an origin of another form."""
    named = _HALF_YEAR.search(origin)
    if named is None:
        return None
    year, half = map(int, named.groups())
    return datetime(year, 7, 1, tzinfo=UTC) if half == 1 else datetime(year + 1, 1, 1, tzinfo=UTC)


def log_keys(directory: Directory, relay: str, origin: str = "") -> Sequence[VerifierKey]:
    """Return the verifier keys of a relay's log, as the directory lists them: one Ed25519 and one ML-DSA-44 key.

    Args:
        directory: Lists for each relay the keys of the log it writes, and then of logs that it has closed.
        relay: Its name.
        origin: Which of its logs; where that is not listed, as without one, the log it writes.

    Raises:
        UntrustedError: `UNKNOWN_PARTY` when the directory has no such relay or no keys for it.
        MalformedError: `BAD_FIELD` when the keys listed are not pairs.
    """
    logs = _listed(directory, relay)
    return next((keys for keys in logs if keys[0].name == origin), logs[0])


def origins(directory: Directory, relay: str) -> list[str]:
    """Return the names of a relay's logs: the one it writes, then those it has closed; raises as `log_keys`."""
    return [keys[0].name for keys in _listed(directory, relay)]


def _listed(directory: Directory, relay: str) -> tuple[tuple[VerifierKey, ...], ...]:
    found = next((p.log_keys for p in directory.relays() if p.name == relay), ())
    if not found:
        raise error(Reason.UNKNOWN_PARTY, field="relay", detail=f"{relay[:253]!r} has no log in the directory")
    return _parsed(found)


@functools.lru_cache(maxsize=256)
def _parsed(texts: tuple[str, ...]) -> tuple[tuple[VerifierKey, ...], ...]:
    """Return pairs of verifier keys; parsing one costs a point check, and the same few are asked for all the time."""
    keys = tuple(VerifierKey.parse(text) for text in texts)
    pairs = tuple(keys[at : at + 2] for at in range(0, len(keys), 2))
    for pair in pairs:
        # With one key missing, `Checkpoint.verify` would be content with the other's signature alone.
        if [key.type for key in pair] != [KeyType.ED25519, KeyType.MLDSA44] or pair[0].name != pair[1].name:
            detail = "for each log one Ed25519 and one ML-DSA-44 key of one name"
            raise error(Reason.BAD_FIELD, field="relays.log_keys", detail=detail)
    if len({pair[0].name for pair in pairs}) != len(pairs):
        raise error(Reason.BAD_FIELD, field="relays.log_keys", detail="one log is listed twice")
    return pairs
