"""Dsse: a payload, its type and its signatures (DSSE 1.0.2; SPEC section Dsse).

What is signed is the pre-authentication encoding of type and exact bytes, so that no signed object can be read as
another kind, and nothing signed is ever encoded again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from infoexchange import wire
from infoexchange.errors import Reason, error
from infoexchange.v1 import envelope_pb2

# Specification constants: one type string per signed object, so that none can pass for another
TYPE_MANIFEST = "application/vnd.infoexchange.manifest.v1+protobuf"
TYPE_BATCH = "application/vnd.infoexchange.batch.v1+protobuf"
TYPE_KEYBUNDLE = "application/vnd.infoexchange.keybundle.v1+protobuf"
TYPE_DIRECTORY = "application/vnd.infoexchange.directory.v1+protobuf"
TYPE_ACKNOWLEDGEMENT = "application/vnd.infoexchange.acknowledgement.v1+protobuf"
SIGNATURE_SIZE_MAX = 8192  # the largest of the registry is below 5 KiB
KEY_ID_MAX = 64  # a hint: a SHA-256 in hexadecimal at most
SIGNATURES_MAX = 64  # a directory may be signed by every party of a large community


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: `DSSEv1 len type len payload`, lengths in decimal."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class Dsse:
    """A parsed container; its signatures are not verified until its owner says so."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]
    key_ids: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: bytes, *, payload_type: str, size_max: int) -> Dsse:
        """Return the container if it is canonical and of the type expected.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        message = wire.parse(envelope_pb2.Dsse, raw, size_max=size_max, field="dsse")
        return cls.from_wire(message, payload_type=payload_type)

    @classmethod
    def from_wire(cls, message: envelope_pb2.Dsse, *, payload_type: str) -> Dsse:
        """Return the container that stood inside another, already canonical, transport message."""
        if message.payload_type != payload_type:
            raise error(Reason.BAD_FIELD, field="payload_type", detail=f"not {payload_type}")
        if not 1 <= len(message.signatures) <= SIGNATURES_MAX:
            raise error(Reason.BAD_FIELD, field="signatures", detail=f"{len(message.signatures)} signatures")
        for signature in message.signatures:
            if len(signature.sig) > SIGNATURE_SIZE_MAX or len(signature.keyid) > KEY_ID_MAX:
                raise error(Reason.BAD_FIELD, field="signatures", detail="a signature or key id that no suite makes")
        return cls(
            payload_type,
            message.payload,
            tuple(s.sig for s in message.signatures),
            tuple(s.keyid for s in message.signatures),
        )

    @classmethod
    def make(cls, payload_type: str, payload: bytes, signatures: Sequence[tuple[bytes, str]]) -> Dsse:
        """Return a container of `payload` with `(signature, key id)` pairs."""
        return cls(payload_type, payload, tuple(s for s, _ in signatures), tuple(k for _, k in signatures))

    def to_wire(self) -> envelope_pb2.Dsse:
        """Return the protobuf form, for placing inside a transport message."""
        pairs = zip(self.signatures, self.key_ids, strict=True)
        return envelope_pb2.Dsse(
            payload=self.payload,
            payload_type=self.payload_type,
            signatures=[envelope_pb2.Signature(sig=s, keyid=k) for s, k in pairs],
        )

    @functools.cached_property
    def raw(self) -> bytes:
        """The canonical bytes of the container."""
        return wire.canonical(self.to_wire())

    @functools.cached_property
    def message(self) -> bytes:
        """The bytes that signatures cover."""
        return pae(self.payload_type, self.payload)

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: the object's name, whatever its signatures look like."""
        return hashlib.sha256(self.message).digest()
