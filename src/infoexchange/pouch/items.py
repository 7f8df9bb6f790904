"""Items: the things in a pouch, each behind its length and its kind (SPEC section Pouch, steps 4 and 5).

Envelopes, recall orders and directory versions are the bytes that others signed, as they are. The rest has forms of its
own here, which say nothing that the network would not carry.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct

from infoexchange import wire
from infoexchange.attachment.form import check_sealed
from infoexchange.bundle import KeyBundle
from infoexchange.errors import Reason, error
from infoexchange.v1 import bundle_pb2, pouch_pb2

# Specification constants
ITEM_SIZE_MAX = 8 * 1024 * 1024  # the largest gRPC message: whatever goes over the network goes by courier too
PART_SIZE_MAX = 4 * 1024 * 1024  # so that the largest attachment takes a quarter of a million items
FRAME = Struct(">IB")  # bytes of the body, then the kind


class Kind(enum.IntEnum):
    """What an item is: a closed list."""

    DIRECTORY = 1
    BUNDLE = 2
    RECALL = 3
    PART = 4
    ENVELOPE = 5
    HISTORY = 6
    REFUSAL = 7


@dataclass(frozen=True)
class Item:
    """One thing in a pouch; what its body is worth, its own signatures tell."""

    kind: Kind
    body: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Item:
        """Return the item whose length and kind stand before its body.

        Raises:
            MalformedError: `MALFORMED` for another length, `BAD_FIELD` for a kind that is not in the closed list.
            RefusedError: `TOO_LARGE`.
        """
        if len(raw) < FRAME.size or FRAME.unpack_from(raw)[0] != len(raw) - FRAME.size:
            raise error(Reason.MALFORMED, field="pouch.items", detail="not as long as it says")
        number = check_frame(raw[: FRAME.size])[1]
        return cls(number, raw[FRAME.size :])

    @property
    def raw(self) -> bytes:
        """Exact bytes in the pouch."""
        return FRAME.pack(len(self.body), self.kind) + self.body

    @property
    def digest(self) -> bytes:
        """SHA-256 of those bytes."""
        return sha256(self.raw).digest()

    @classmethod
    def bundle(cls, bundle: KeyBundle) -> Item:
        """Return the item of a key bundle, with what proves it."""
        signed = bundle_pb2.SignedBundle(bundle=bundle.raw, certificates=bundle.certificates, crls=bundle.crls)
        return cls(Kind.BUNDLE, wire.canonical(signed))


def check_frame(frame: bytes) -> tuple[int, Kind]:
    """Return the length of a body and its kind; raises as `Item.parse`."""
    # (4) lengths within their limit, kinds of the closed list
    size, number = FRAME.unpack(frame)
    if size > ITEM_SIZE_MAX:
        raise error(Reason.TOO_LARGE, field="pouch.items", detail=f"{size} bytes, at most {ITEM_SIZE_MAX}")
    if number not in set(Kind):
        raise error(Reason.BAD_FIELD, field="pouch.items", detail=f"kind {number} is not in the closed list")
    return size, Kind(number)


def bundle_of(body: bytes) -> KeyBundle:
    """Return the key bundle of an item; raises as `KeyBundle.parse`, `MALFORMED`, `NOT_CANONICAL` or `TOO_LARGE`."""
    m = wire.parse(bundle_pb2.SignedBundle, body, size_max=ITEM_SIZE_MAX, field="pouch.bundle")
    return KeyBundle.parse(m.bundle, tuple(m.certificates), tuple(m.crls))


@dataclass(frozen=True)
class Part:
    """Consecutive bytes of an attachment, named by root and length of its ciphertext."""

    ct_root: bytes = field(repr=False)
    ct_length: int
    offset: int
    data: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Part:
        """Return the part in canonical bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        m = wire.parse(pouch_pb2.PouchPart, raw, size_max=ITEM_SIZE_MAX, field="pouch.part")
        # (5) canonical bodies; a part lies within an attachment of a length that sealing gives
        wire.check_size(m.ct_root, wire.DIGEST_SIZE, field="pouch.part.ct_root")
        check_sealed(m.ct_length)
        if len(m.data) > PART_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="pouch.part.data", detail=f"{len(m.data)}, at most {PART_SIZE_MAX}")
        if not m.data or m.offset + len(m.data) > m.ct_length:
            raise error(Reason.BAD_FIELD, field="pouch.part.offset", detail="no bytes, or beyond the end")
        return cls(m.ct_root, m.ct_length, m.offset, m.data)

    @property
    def raw(self) -> bytes:
        """Canonical bytes."""
        return wire.canonical(
            pouch_pb2.PouchPart(ct_root=self.ct_root, ct_length=self.ct_length, offset=self.offset, data=self.data)
        )


@dataclass(frozen=True)
class Told:
    """What a relay tells of an envelope: its receipts, and what parties signed; as bytes, for they prove themselves."""

    envelope_digest: bytes
    events: tuple[bytes, ...] = field(repr=False)
    statements: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Told:
        """Return the history in canonical bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        m = wire.parse(pouch_pb2.PouchHistory, raw, size_max=ITEM_SIZE_MAX, field="pouch.history")
        wire.check_size(m.envelope_digest, wire.DIGEST_SIZE, field="pouch.history.envelope_digest")
        return cls(m.envelope_digest, tuple(m.events), tuple(m.statements))

    @property
    def raw(self) -> bytes:
        """Canonical bytes."""
        return wire.canonical(
            pouch_pb2.PouchHistory(envelope_digest=self.envelope_digest, events=self.events, statements=self.statements)
        )


@dataclass(frozen=True)
class Refusal:
    """What was not taken of a pouch, and why: an envelope, or a recall order about one."""

    envelope_digest: bytes
    order_digest: bytes
    reason: Reason

    @classmethod
    def parse(cls, raw: bytes) -> Refusal:
        """Return the refusal in canonical bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        m = wire.parse(pouch_pb2.PouchRefusal, raw, size_max=ITEM_SIZE_MAX, field="pouch.refusal")
        wire.check_size(m.envelope_digest, wire.DIGEST_SIZE, field="pouch.refusal.envelope_digest")
        wire.check_size(m.order_digest, wire.DIGEST_SIZE, field="pouch.refusal.order_digest", optional=True)
        # What can be taken later is not refused.
        if m.reason not in set(Reason) or m.reason >= Reason.UNAVAILABLE:
            raise error(Reason.BAD_FIELD, field="pouch.refusal.reason", detail=f"{m.reason} is no reason to refuse")
        return cls(m.envelope_digest, m.order_digest, Reason(m.reason))

    @property
    def raw(self) -> bytes:
        """Canonical bytes."""
        return wire.canonical(
            pouch_pb2.PouchRefusal(
                envelope_digest=self.envelope_digest, order_digest=self.order_digest, reason=int(self.reason)
            )
        )
