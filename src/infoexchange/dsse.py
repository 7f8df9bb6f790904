"""Dsse: a payload, its type and its signatures (DSSE 1.0.2; SPEC section Dsse).

What is signed is the pre-authentication encoding of type and exact bytes, so that no signed object can be read as
another kind, and nothing signed is ever encoded again. One signature may also cover a batch: then it stands over the
root of a Merkle tree of such encodings, and each container carries its own way to that root.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from infoexchange import wire
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.tlog import merkle
from infoexchange.v1 import envelope_pb2

# Specification constants: one type string per signed object, so that none can pass for another
TYPE_MANIFEST = "application/vnd.infoexchange.manifest.v1+protobuf"
TYPE_BATCH = "application/vnd.infoexchange.batch.v1+protobuf"
TYPE_KEYBUNDLE = "application/vnd.infoexchange.keybundle.v1+protobuf"
TYPE_DIRECTORY = "application/vnd.infoexchange.directory.v1+protobuf"
TYPE_ACKNOWLEDGEMENT = "application/vnd.infoexchange.acknowledgement.v1+protobuf"
TYPE_RECALL = "application/vnd.infoexchange.recall.v1+protobuf"
TYPE_GRANT = "application/vnd.infoexchange.grant.v1+protobuf"
TYPE_ATTESTATION = "application/vnd.infoexchange.attestation.v1+protobuf"
TYPE_DISCLOSURE = "application/vnd.infoexchange.disclosure.v1+protobuf"
TYPE_POUCH = "application/vnd.infoexchange.pouch.v1+protobuf"
SIGNATURE_SIZE_MAX = 8192  # the largest of the registry is below 5 KiB
KEY_ID_MAX = 64  # a hint: a SHA-256 in hexadecimal at most
SIGNATURES_MAX = 64  # a directory may be signed by every party of a large community
BATCH_COUNT_MAX = 256  # objects under one signature: as many as travel in one frame; the path is 8 hashes at most


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: `DSSEv1 len type len payload`, lengths in decimal."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class BatchProof:
    """The way from one signed object to the root of its batch (RFC 9162 inclusion path, leaf first)."""

    count: int
    index: int
    path: tuple[bytes, ...]

    @classmethod
    def from_wire(cls, message: envelope_pb2.BatchProof) -> BatchProof:
        """Return the proof; whether it leads to the signed root, the signature tells."""
        if not 2 <= message.count <= BATCH_COUNT_MAX:
            raise error(Reason.BAD_FIELD, field="batch.count", detail=f"2 to {BATCH_COUNT_MAX} in a batch")
        return cls(message.count, message.index, tuple(message.path))

    def root(self, message: bytes) -> bytes:
        """Return the root that the path gives for the encoding `message`, or raise `BAD_FIELD` for no path at all."""
        try:
            return merkle.root_of_path(merkle.leaf_hash(message), self.index, self.count, self.path)
        except ExchangeError as problem:
            raise error(Reason.BAD_FIELD, field="batch.path", detail=problem.detail) from None


def batch_payload(messages: Sequence[bytes]) -> tuple[bytes, list[BatchProof]]:
    """Return the payload of type batch to sign for several encodings together, and the proof of each."""
    leaves = [merkle.leaf_hash(message) for message in messages]
    size, subtree = len(leaves), functools.cache(merkle.subtree_of(leaves))  # every path needs the same few nodes
    paths = [tuple(merkle.inclusion_path(index, size, subtree)) for index in range(size)]
    return _batch_payload(size, merkle.root(leaves)), [BatchProof(size, index, p) for index, p in enumerate(paths)]


def _batch_payload(count: int, root: bytes) -> bytes:
    return count.to_bytes(4, "big") + root


@dataclass(frozen=True)
class Dsse:
    """A parsed container; its signatures are not verified until its owner says so."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]
    key_ids: tuple[str, ...] = ()
    batch: BatchProof | None = None

    @classmethod
    def parse(cls, raw: bytes, *, payload_type: str, size_max: int) -> Dsse:
        """Return the container if it is canonical and of the type expected.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        message = wire.parse(envelope_pb2.Dsse, raw, size_max=size_max, field="dsse")
        return cls.from_wire(message, payload_type=payload_type)

    @staticmethod
    def type_of(raw: bytes, *, size_max: int) -> str:
        """Return the type that a canonical container gives itself; raises as `parse`."""
        return wire.parse(envelope_pb2.Dsse, raw, size_max=size_max, field="dsse").payload_type

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
        # Sent by the thousand, manifests earn the path; what is signed once in a while must not need a second reading.
        batched = message.HasField("batch")
        if batched and payload_type != TYPE_MANIFEST:
            raise error(Reason.BAD_FIELD, field="batch", detail="only manifests are signed in batches")
        container = cls(
            payload_type,
            message.payload,
            tuple(s.sig for s in message.signatures),
            tuple(s.keyid for s in message.signatures),
            BatchProof.from_wire(message.batch) if batched else None,
        )
        _ = container.message  # a path that fits no tree is refused now, not when somebody verifies
        return container

    @classmethod
    def make(
        cls,
        payload_type: str,
        payload: bytes,
        signatures: Sequence[tuple[bytes, str]],
        batch: BatchProof | None = None,
    ) -> Dsse:
        """Return a container of `payload` with `(signature, key id)` pairs."""
        return cls(payload_type, payload, tuple(s for s, _ in signatures), tuple(k for _, k in signatures), batch)

    def to_wire(self) -> envelope_pb2.Dsse:
        """Return the protobuf form, for placing inside a transport message."""
        pairs = zip(self.signatures, self.key_ids, strict=True)
        proof = self.batch
        return envelope_pb2.Dsse(
            payload=self.payload,
            payload_type=self.payload_type,
            signatures=[envelope_pb2.Signature(sig=s, keyid=k) for s, k in pairs],
            batch=envelope_pb2.BatchProof(count=proof.count, index=proof.index, path=proof.path) if proof else None,
        )

    @functools.cached_property
    def raw(self) -> bytes:
        """The canonical bytes of the container."""
        return wire.canonical(self.to_wire())

    @functools.cached_property
    def message(self) -> bytes:
        """The bytes that signatures cover."""
        own = pae(self.payload_type, self.payload)
        return pae(TYPE_BATCH, _batch_payload(self.batch.count, self.batch.root(own))) if self.batch else own

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of the object's own encoding: its name, whatever its signatures look like."""
        return hashlib.sha256(pae(self.payload_type, self.payload)).digest()
