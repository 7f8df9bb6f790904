"""Disclosure: some records of one message, opened to a third party (SPEC section Disclosure).

The sender's one signature covers a Merkle root over salted records. A record with its salt and path is therefore shown
to be part of what was signed, while of the others nothing is said but how many there are. No schema is needed, and no
key but the sender's public one.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from infoexchange import wire
from infoexchange.attestation import Attestation
from infoexchange.bundle import KeyBundle
from infoexchange.content import ATTESTATIONS_MAX, LETTERS, RECORDS_MAX, SALT_SIZE, Content, commitment_of
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Party
from infoexchange.manifest import Manifest
from infoexchange.tlog import merkle
from infoexchange.v1 import disclosure_pb2

# Specification constants
DISCLOSURE_SIZE_MAX = 4 * 1024 * 1024  # the largest content, and salts and paths of several thousand records
_SCHEMA_MAX = 255  # as in Content
_CLOSED = b"O"  # an Origin holds the salts of the message it was taken from, and would open that to guesses
_MARKS_FIELD = 1  # every catalogue message has its Handling block there


@dataclass(frozen=True)
class Leaf:
    """One record, with what places it under the commitment."""

    index: int
    salt: bytes = field(repr=False)
    record: bytes = field(repr=False)
    path: tuple[bytes, ...] = field(repr=False)

    @property
    def letter(self) -> bytes:
        """Kind of the record: schema, payload, thread and so on."""
        return self.record[:1]


@dataclass(frozen=True)
class Disclosure:
    """Parsed records of one message; not verified until `verify` says so."""

    raw: bytes = field(repr=False)
    manifest: Manifest
    count: int
    leaves: tuple[Leaf, ...]
    attestations: tuple[Attestation, ...] = ()

    @classmethod
    def make(
        cls, manifest: Manifest, content: Content, indices: Collection[int], *, attested: bool = False
    ) -> Disclosure:
        """Return a disclosure of chosen records; the same choice gives the same bytes.

        What goes with every disclosure is the caller's to add (`catalogue.records.choose` does); the schema record is
        added here.

        Args:
            manifest: The signed manifest of the envelope.
            content: What the envelope held.
            indices: Places in `content.records`.
            attested: Whether signatures of authors and supervisors are shown too.

        Raises:
            MalformedError: `BAD_FIELD` when there is no such record, none is named, or one is an Origin.
            UntrustedError: `BAD_COMMITMENT` when content and manifest do not belong together.
            RefusedError: `TOO_LARGE`.
        """
        hashes, wanted = content.leaf_hashes, sorted({0, *indices})
        if not indices or not 0 <= wanted[0] <= wanted[-1] < len(hashes):
            raise error(
                Reason.BAD_FIELD, field="leaves", detail=f"records from 0 to {len(hashes) - 1} can be disclosed"
            )
        leaves = [
            disclosure_pb2.DisclosedLeaf(
                index=index,
                salt=content.salts[index],
                record=content.records[index],
                path=merkle.inclusion_proof(index, hashes),
            )
            for index in wanted
        ]
        message = disclosure_pb2.Disclosure(
            manifest=manifest.raw,
            leaf_count=len(hashes),
            leaves=leaves,
            attestations=content.attestations if attested else (),
        )
        disclosure = cls.parse(wire.canonical(message))
        disclosure.check_records()
        return disclosure

    @classmethod
    def parse(cls, raw: bytes) -> Disclosure:
        """Return the disclosure of canonical bytes; neither its records nor its signature are checked yet.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or `UNKNOWN_VERSION`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) canonical forms; which records these can be
        m = wire.parse(disclosure_pb2.Disclosure, raw, size_max=DISCLOSURE_SIZE_MAX, field="disclosure")
        manifest = Manifest.parse(m.manifest)
        if not 1 <= m.leaf_count <= RECORDS_MAX:
            raise error(Reason.BAD_FIELD, field="disclosure.leaf_count", detail=f"{m.leaf_count} records")
        leaves = tuple(_leaf(leaf) for leaf in m.leaves)
        indices = [leaf.index for leaf in leaves]
        wire.check_ascending(indices, field="disclosure.leaves.index")
        if indices[-1:] >= [m.leaf_count]:
            raise error(Reason.BAD_FIELD, field="disclosure.leaves.index", detail=f"{indices[-1]} of {m.leaf_count}")
        _check_kinds(leaves)
        wire.check_ascending(list(m.attestations), field="disclosure.attestations")
        if len(m.attestations) > ATTESTATIONS_MAX:
            raise error(Reason.TOO_LARGE, field="disclosure.attestations", detail=f"{len(m.attestations)} of them")
        return cls(raw, manifest, m.leaf_count, leaves, tuple(map(Attestation.parse, m.attestations)))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes: how an approval names this disclosure."""
        return sha256(self.raw).digest()

    @property
    def schema(self) -> str:
        """Full name of the message's type."""
        return self.leaves[0].record[1:].decode("ascii")

    @property
    def marked(self) -> bool:
        """Whether the handling marks of the message are among the records."""
        return any(leaf.letter == b"R" and wire.field_number(leaf.record[1:]) == _MARKS_FIELD for leaf in self.leaves)

    @functools.cached_property
    def partial(self) -> bytes:
        """The disclosed records of the payload joined: a message of the same type with fewer fields."""
        return b"".join(leaf.record[1:] for leaf in self.leaves if leaf.letter == b"R")

    def check_records(self) -> None:
        """Raise unless every record is one that the manifest's commitment covers; who signed it is not asked here.

        Spec: section Disclosure, steps 3 and 4.

        Raises:
            UntrustedError: `BAD_COMMITMENT`.
        """
        header = self.manifest.header
        for leaf in self.leaves:
            # (3) the record, its salt and its path lead to a root
            try:
                root = merkle.root_of_path(merkle.leaf_hash(leaf.salt + leaf.record), leaf.index, self.count, leaf.path)
            except ExchangeError as problem:
                raise _not_committed(leaf, problem.detail) from None
            # (4) and that root is the one committed to
            if commitment_of(header.sender, header.message_id, self.count, root) != header.content_commitment:
                raise _not_committed(leaf, "it is not part of what was signed")

    def verify(self, directory: Directory, bundle: KeyBundle) -> Party:
        """Return the sender, who signed these records among others, once signature and records have been checked.

        Spec: section Disclosure, steps 2 to 4. Attestations are verified one by one, with their signers' bundles.

        Args:
            directory: Who is who.
            bundle: The sender's bundle, as the header names it; verified here.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED`, `BAD_SIGNATURE` or `BAD_COMMITMENT`.
            RefusedError: `SUITE_NOT_ACCEPTED` or `STALE_BUNDLE`.
        """
        # (2) the sender's signature over the commitment
        party = self.manifest.verify(directory, bundle)
        self.check_records()
        return party


def _leaf(message: disclosure_pb2.DisclosedLeaf) -> Leaf:
    """Return one leaf; only hashes and sizes are looked at."""
    if len(message.path) > merkle.PATH_MAX:
        raise error(Reason.BAD_FIELD, field="disclosure.leaves.path", detail=f"{len(message.path)} hashes")
    for node in message.path:
        wire.check_size(node, wire.DIGEST_SIZE, field="disclosure.leaves.path")
    salt = wire.check_size(message.salt, SALT_SIZE, field="disclosure.leaves.salt")
    return Leaf(message.index, salt, message.record, tuple(message.path))


def _check_kinds(leaves: Sequence[Leaf]) -> None:
    """Raise `BAD_FIELD` unless the schema comes first, alone of its kind, and the others follow in their order."""
    places = [LETTERS.find(leaf.letter) if leaf.letter and leaf.letter not in _CLOSED else -1 for leaf in leaves]
    first = leaves[0] if leaves else None
    if first is None or first.index or places.count(0) != 1 or places != sorted(places) or -1 in places:
        detail = "the schema record stands at index 0, and the other kinds follow in their order"
        raise error(Reason.BAD_FIELD, field="disclosure.leaves.record", detail=detail)
    schema = first.record[1:]
    if not 1 <= len(schema) <= _SCHEMA_MAX or not schema.isascii():
        raise error(Reason.BAD_FIELD, field="disclosure.leaves.record", detail="the schema record holds no name")
    payload = [leaf.record[1:] for leaf in leaves if leaf.letter == b"R"]
    try:
        whole = list(wire.top_level_records(b"".join(payload)))
    except ExchangeError as problem:
        raise error(Reason.BAD_FIELD, field="disclosure.leaves.record", detail=problem.detail) from None
    if whole != payload:
        detail = "a record of the payload is not one field"
        raise error(Reason.BAD_FIELD, field="disclosure.leaves.record", detail=detail)


def _not_committed(leaf: Leaf, why: str) -> ExchangeError:
    return error(Reason.BAD_COMMITMENT, field="disclosure.leaves", detail=f"record {leaf.index}: {why}")
