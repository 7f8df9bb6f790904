"""Seal: what a relay signs of a pouch, with both keys of its log (SPEC section Pouch, steps 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from infoexchange import suites, wire
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_POUCH, Dsse
from infoexchange.errors import Reason, error
from infoexchange.listing import Party
from infoexchange.log import LogKeys, log_keys
from infoexchange.v1 import pouch_pb2

# Specification constants
SEAL_SIZE_MAX = 8 * 1024  # three names of 253 bytes and both signatures take less than 4 KiB

_NEWER = "If its log is new, put the newest directory in place first; otherwise report the file."


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """What a seal says: whose pouch it is, for whom, what it holds, and which pouch it answers."""

    sender: str
    recipient: str
    origin: str
    made_at: datetime
    items: int
    size: int
    contents: bytes = field(repr=False)
    answers: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Seal:
    """A signed statement about a pouch; not verified until `verify` says so."""

    said: Sealed
    dsse: Dsse = field(repr=False)

    @classmethod
    def sign(cls, said: Sealed, keys: LogKeys) -> Seal:
        """Return the seal, signed by both keys of the sender's log."""
        payload = wire.canonical(
            pouch_pb2.PouchSeal(
                sender=said.sender,
                recipient=said.recipient,
                origin=said.origin,
                made_ms=wire.to_ms(said.made_at),
                items=said.items,
                size=said.size,
                contents=said.contents,
                answers=said.answers,
            )
        )
        message = Dsse.make(TYPE_POUCH, payload, []).message
        pairs = [(signer.sign(message), signer.key.id.hex()) for signer in keys.signers]
        return cls.parse(Dsse.make(TYPE_POUCH, payload, pairs).raw)

    @classmethod
    def parse(cls, raw: bytes) -> Seal:
        """Return the seal of canonical container bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        # (2) canonical forms, two signatures, names
        dsse = Dsse.parse(raw, payload_type=TYPE_POUCH, size_max=SEAL_SIZE_MAX)
        m = wire.parse(pouch_pb2.PouchSeal, dsse.payload, size_max=SEAL_SIZE_MAX, field="pouch")
        if len(dsse.signatures) != 2:
            raise error(Reason.BAD_FIELD, field="pouch.signatures", detail="exactly two signatures")
        if not m.origin.startswith(f"{m.sender}/"):
            raise error(Reason.BAD_FIELD, field="pouch.origin", detail="not a log of the sender")
        said = Sealed(
            sender=wire.check_name(m.sender, field="pouch.sender"),
            recipient=wire.check_name(m.recipient, field="pouch.recipient"),
            origin=m.origin,
            made_at=wire.from_ms(m.made_ms, field="pouch.made_ms"),
            items=m.items,
            size=m.size,
            contents=wire.check_size(m.contents, wire.DIGEST_SIZE, field="pouch.contents"),
            answers=wire.check_size(m.answers, wire.DIGEST_SIZE, field="pouch.answers", optional=True),
        )
        return cls(said, dsse)

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self.dsse.raw

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: the name of the pouch."""
        return self.dsse.digest

    def verify(self, directory: Directory, *, recipient: str, now: datetime) -> Party:
        """Return the relay that made the pouch, once its signatures, its recipient and its time have been checked.

        Spec: section Pouch, step 3.

        Args:
            directory: Who is who.
            recipient: The relay that opens it.
            now: The time the checks use.

        Raises:
            UntrustedError: `UNKNOWN_PARTY` or `BAD_SIGNATURE`.
            RefusedError: `NOT_ADDRESSED` or `NOT_YET_VALID`.
        """
        said = self.said
        # (3) both keys of a log of the sender's, as the directory lists it; the relay it is for; its time
        keys = log_keys(directory, said.sender, said.origin)
        if keys[0].name != said.origin:
            detail = f"the directory here lists no log {said.origin[:253]!r}"
            raise error(Reason.UNKNOWN_PARTY, field="pouch.origin", detail=detail, next_step=_NEWER)
        suites.verify_ed25519(keys[0].public, self.dsse.message, self.dsse.signatures[0])
        suites.verify_mldsa44(keys[1].public, self.dsse.message, self.dsse.signatures[1])
        if said.recipient != recipient:
            detail = f"it is for {said.recipient}, not for {recipient}"
            step = "Hand it to the operator of the relay that it names."
            raise error(Reason.NOT_ADDRESSED, field="pouch.recipient", detail=detail, next_step=step)
        if said.made_at > now + CLOCK_SKEW:
            step = "Check the clocks of both relays."
            raise error(Reason.NOT_YET_VALID, field="pouch.made_ms", detail="made in the future", next_step=step)
        return directory.party(said.sender, at=now)
