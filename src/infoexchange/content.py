"""Content: what is encrypted, and the commitment that binds it to the signature (SPEC section Content).

The commitment is a salted Merkle root over the message's top-level records, so that one record can be shown to an
auditor later without the others, with no schema, and with nothing to guess from the hashes of the rest.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypedDict, Unpack

from infoexchange import wire
from infoexchange.attachment.form import AttachmentMeta, check_metas
from infoexchange.attachment.stream import AttachmentKey
from infoexchange.errors import Reason, error
from infoexchange.padding import padme
from infoexchange.suites import Entropy
from infoexchange.tlog import merkle
from infoexchange.v1 import content_pb2

# Specification constants
CONTENT_SIZE_MAX = 1024 * 1024  # the body limit; what is larger travels as an attachment
SALT_SIZE = 32
THREAD_ID_SIZE = 16
NAMES_MAX = 64  # groups, and agencies behind a gateway: as many as an envelope may have recipients
RECORDS_MAX = 65536  # bounds the work of recomputing a commitment
LETTERS = b"SRATGDO"  # kinds of records in their order: schema, payload, attachment, thread, group, addressee, origin
ATTESTATIONS_MAX = 8  # an author and a supervisor on each side of a joint report, and room
ATTESTATION_SIZE_MAX = 16 * 1024  # one with a hybrid signature is below 4 KiB
_SALTS = b"infoexchange/v1/salts\x00"
_ROOT = b"infoexchange/v1/content-root\x00"
_PADDING_TAG_SIZE = 1  # field 15 with wire type 2 is one byte


def _padding_for(length: int) -> int:
    """Return how many zeros bring `length` bytes to a Padme length, given the cost of the padding field itself."""
    if length > CONTENT_SIZE_MAX:  # for lengths far above it no padding field of the sizes below would ever fit
        raise error(Reason.TOO_LARGE, field="content", detail=f"{length} bytes, at most {CONTENT_SIZE_MAX}")
    target = padme(length)
    while target != length:
        for size_of_length in (1, 2, 3):
            zeros = target - length - _PADDING_TAG_SIZE - size_of_length
            if zeros > 0 and (zeros.bit_length() + 6) // 7 == size_of_length:
                return zeros
        target = padme(target + 1)
    return 0


class Beside(TypedDict, total=False):
    """What may stand beside the payload; the words of `Content` say what each is."""

    thread_id: bytes
    in_reply_to: bytes
    groups: tuple[str, ...]
    addressees: tuple[str, ...]
    origin: bytes
    attachments: tuple[AttachmentMeta, ...]


@dataclass(frozen=True)
class Content:
    """The plaintext of one envelope: a catalogue message with its thread, attachments' names, salts and padding.

    Attributes:
        schema: Full name of the message type.
        payload: Exact bytes of the message.
        salt_seed: 32 random bytes from which the salts of the commitment are made.
        thread_id: 16 bytes that join the messages of one case, or nothing.
        in_reply_to: Digest of the envelope answered, or nothing.
        groups: Working groups that the sender named and the directory expanded.
        addressees: Agencies to which a national gateway is to pass this on; the sender's leave to do so.
        origin: Exact Origin bytes where another agency's content is passed on, or nothing.
        attachments: What the recipients know of each attachment.
        keys: They open the attachments, one each; whoever opened the envelope has them. No part of the bytes.
        attestations: Signatures of authors and supervisors over the commitment, which does not cover them.
    """

    schema: str
    payload: bytes = field(repr=False)
    salt_seed: bytes = field(repr=False)
    thread_id: bytes = b""
    in_reply_to: bytes = b""
    groups: tuple[str, ...] = ()
    addressees: tuple[str, ...] = ()
    origin: bytes = field(default=b"", repr=False)
    attachments: tuple[AttachmentMeta, ...] = field(default=(), repr=False)
    keys: tuple[AttachmentKey, ...] = field(default=(), repr=False, compare=False)
    attestations: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def make(
        cls,
        schema: str,
        payload: bytes,
        *,
        entropy: Entropy = secrets.token_bytes,
        **beside: Unpack[Beside],
    ) -> Content:
        """Return content around the exact bytes of a catalogue message, with fresh salts.

        Raises:
            MalformedError: `BAD_FIELD` or `NOT_CANONICAL`.
            RefusedError: `TOO_LARGE`.
        """
        content = cls(schema, payload, entropy(SALT_SIZE), **beside)
        content._check()
        return content

    def attested(self, attestations: Iterable[bytes]) -> Content:
        """Return the same content with signatures of authors and supervisors over its commitment.

        The commitment does not cover them, so that they can be made before sealing and after everything else is fixed.

        Raises:
            MalformedError: `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        content = replace(self, attestations=tuple(sorted({*self.attestations, *attestations})))
        content._check()
        return content

    @classmethod
    def parse(cls, raw: bytes) -> Content:
        """Return the content of decrypted bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
        """
        m = wire.parse(content_pb2.Content, raw, size_max=CONTENT_SIZE_MAX, field="content")
        if m.padding.strip(b"\x00"):
            raise error(Reason.BAD_FIELD, field="content.padding", detail="padding must be zeros")
        content = cls(
            m.schema,
            m.payload,
            m.salt_seed,
            thread_id=m.thread_id,
            in_reply_to=m.in_reply_to,
            groups=tuple(m.groups),
            addressees=tuple(m.addressees),
            origin=m.origin,
            attachments=tuple(AttachmentMeta.from_wire(meta) for meta in m.attachments),
            attestations=tuple(m.attestations),
        )
        content._check()
        if raw != content.raw:
            raise error(Reason.NOT_CANONICAL, field="content.padding", detail="padded to another length")
        return content

    @property
    def bare(self) -> bytes:
        """Canonical bytes without payload and padding: with the payload they give this content again."""
        message = content_pb2.Content.FromString(self.raw)
        message.ClearField("payload")
        message.ClearField("padding")
        return wire.canonical(message)

    @classmethod
    def rebuild(cls, bare: bytes, payload: bytes) -> Content:
        """Return the content whose `bare` bytes and payload these are; raises as `parse`."""
        m = wire.parse(content_pb2.Content, bare, size_max=CONTENT_SIZE_MAX, field="content")
        if m.payload or m.padding:
            raise error(Reason.BAD_FIELD, field="content.payload", detail="neither payload nor padding belongs here")
        m.payload = payload
        m.padding = bytes(_padding_for(m.ByteSize()))
        return cls.parse(wire.canonical(m))

    def _check(self) -> None:
        wire.check_size(self.salt_seed, SALT_SIZE, field="content.salt_seed")
        wire.check_size(self.thread_id, THREAD_ID_SIZE, field="content.thread_id", optional=True)
        wire.check_size(self.in_reply_to, wire.DIGEST_SIZE, field="content.in_reply_to", optional=True)
        if not 1 <= len(self.schema) <= 255 or not self.schema.isascii():
            raise error(Reason.BAD_FIELD, field="content.schema", detail="a full message name of at most 255 letters")
        if len(self.groups) > NAMES_MAX or not all(1 <= len(name.encode()) <= 255 for name in self.groups):
            raise error(Reason.BAD_FIELD, field="content.groups", detail=f"at most {NAMES_MAX} names")
        wire.check_ascending(list(self.addressees), field="content.addressees")
        if len(self.addressees) > NAMES_MAX:
            raise error(Reason.BAD_FIELD, field="content.addressees", detail=f"at most {NAMES_MAX} names")
        for name in self.addressees:
            wire.check_name(name, field="content.addressees")
        check_metas(self.attachments)
        wire.check_ascending(list(self.attestations), field="content.attestations")
        count, longest = len(self.attestations), max(map(len, self.attestations), default=0)
        if count > ATTESTATIONS_MAX or longest > ATTESTATION_SIZE_MAX:
            detail = f"{count} of up to {longest} bytes, at most {ATTESTATIONS_MAX} of {ATTESTATION_SIZE_MAX}"
            raise error(Reason.TOO_LARGE, field="content.attestations", detail=detail)
        if len(self.raw) > CONTENT_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="content", detail=f"{len(self.raw)} bytes, at most {CONTENT_SIZE_MAX}")

    @functools.cached_property
    def raw(self) -> bytes:
        """Canonical bytes with padding to a Padme length."""
        message = content_pb2.Content(
            schema=self.schema,
            payload=self.payload,
            salt_seed=self.salt_seed,
            thread_id=self.thread_id,
            in_reply_to=self.in_reply_to,
            groups=self.groups,
            addressees=self.addressees,
            origin=self.origin,
            attachments=[meta.to_wire() for meta in self.attachments],
            attestations=self.attestations,
        )
        message.padding = bytes(_padding_for(message.ByteSize()))
        return wire.canonical(message)

    @functools.cached_property
    def records(self) -> tuple[bytes, ...]:
        """The records the commitment covers, each with its letter, in order."""
        found = [b"S" + self.schema.encode()]
        # One above the limit is enough to refuse it: a megabyte of the shortest records would take a second.
        found += [b"R" + record for record in itertools.islice(wire.top_level_records(self.payload), RECORDS_MAX + 1)]
        found += [b"A" + meta.raw for meta in self.attachments]
        if self.thread_id or self.in_reply_to:
            found.append(
                b"T" + bytes([len(self.thread_id)]) + self.thread_id + bytes([len(self.in_reply_to)]) + self.in_reply_to
            )
        found += [b"G" + name.encode() for name in self.groups]
        found += [b"D" + name.encode() for name in self.addressees]
        if self.origin:
            found.append(b"O" + self.origin)
        if len(found) > RECORDS_MAX:
            raise error(Reason.TOO_LARGE, field="payload", detail=f"more than {RECORDS_MAX} records")
        return tuple(found)

    @functools.cached_property
    def salts(self) -> tuple[bytes, ...]:
        """The salt of each record; whoever knows one can test guesses of that record only."""
        count = len(self.records)
        every = hashlib.shake_256(_SALTS + self.salt_seed).digest(SALT_SIZE * count)
        return tuple(every[SALT_SIZE * i : SALT_SIZE * (i + 1)] for i in range(count))

    @functools.cached_property
    def leaf_hashes(self) -> tuple[bytes, ...]:
        """`SHA-256(0x00 || salt || record)` of each record: the leaves of an RFC 9162 tree."""
        pairs = zip(self.salts, self.records, strict=True)
        return tuple(merkle.leaf_hash(salt + record) for salt, record in pairs)

    def commitment(self, sender: str, message_id: bytes) -> bytes:
        """Return the 32 bytes that the header carries for this content."""
        return commitment_of(sender, message_id, len(self.records), merkle.root(self.leaf_hashes))


def commitment_of(sender: str, message_id: bytes, count: int, root: bytes) -> bytes:
    """Return `SHA-256(label || u8 len(sender) || sender || message_id || u64 count || root)`."""
    name = sender.encode()
    head = _ROOT + bytes([len(name)]) + name + message_id + count.to_bytes(8, "big")
    return hashlib.sha256(head + root).digest()
