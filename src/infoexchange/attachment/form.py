"""Form: what manifest and content say of an attachment (SPEC section Attachment, steps 1 and 2).

The manifest's part is for everybody: ciphertext length and root. The content's part, with name, type and digest of the
plaintext, is for the recipients only.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from infoexchange import suites, wire
from infoexchange.errors import Reason, error
from infoexchange.padding import padme
from infoexchange.v1 import content_pb2, envelope_pb2

# Specification constants
ATTACHMENT_SIZE_MAX = 2**40  # 1 TiB: the largest disk image or recording that one message should carry
CIPHERTEXT_SIZE_MAX = 1026 * 2**30  # the largest attachment takes 1 GiB and 72 bytes more as ciphertext
ATTACHMENTS_MAX = 64  # of one message; more belong into an archive
ID_SIZE = 16
BLOCK_LOG2 = 20  # 1 MiB: a path of 20 hashes then proves a block of the largest attachment, at less than 0.1 %
BLOCK_SIZE = 1 << BLOCK_LOG2
FILE_NAME_MAX = 255  # bytes of UTF-8, the most that file systems take
_CHUNK = suites.CHUNK_SIZE + suites.CHUNK_OVERHEAD

# Restricted names of RFC 6838, section 4.2, with no parameters.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
# Path separators, control characters, and those that are invisible or turn the direction of writing: with them a name
# shows as another one.
_NOT_IN_NAMES = re.compile(
    "[/\\\\\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
)


def sealed_length(length: int) -> int:
    """Return the ciphertext bytes of an attachment of `length` bytes, padding included."""
    padded = padme(length)
    return suites.BODY_OVERHEAD + padded + suites.CHUNK_OVERHEAD * (padded // suites.CHUNK_SIZE + 1)


def check_name(name: str) -> str:
    """Return `name` if it is the name of a file, with no path, that shows as what it is; else raise `BAD_FIELD`."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    plain = not _NOT_IN_NAMES.search(name) and name == name.strip(" ") and not name.startswith(".")
    if not 1 <= size <= FILE_NAME_MAX or not plain:
        raise error(
            Reason.BAD_FIELD,
            field="attachment.name",
            detail=f"{name[:80]!a} is no plain file name of 1 to {FILE_NAME_MAX} bytes",
            next_step="Give it a name without path, control characters or a leading dot.",
        )
    return name


def check_media_type(media_type: str) -> str:
    """Return `media_type` if it has the form of RFC 6838, such as `application/pdf`; else raise `BAD_FIELD`."""
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise error(Reason.BAD_FIELD, field="attachment.media_type", detail=f"{media_type[:80]!a} is not type/subtype")
    return media_type


def check_length(length: int) -> int:
    """Return a plaintext length that an attachment may have, or raise `TOO_LARGE`."""
    if length > ATTACHMENT_SIZE_MAX:
        raise error(
            Reason.TOO_LARGE,
            field="attachment.length",
            detail=f"{length} bytes, at most {ATTACHMENT_SIZE_MAX}",
            next_step="Split it over several attachments.",
        )
    return length


@dataclass(frozen=True)
class AttachmentRef:
    """What everybody may know of an attachment: a random id, the length and the tree root of its ciphertext."""

    attachment_id: bytes = field(repr=False)
    ct_length: int
    ct_root: bytes = field(repr=False)

    @classmethod
    def from_wire(cls, message: envelope_pb2.AttachmentRef) -> AttachmentRef:
        """Return the reference in a canonical message.

        Raises:
            MalformedError: `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) lengths that sealing gives, and no others
        where = "manifest.attachments"
        wire.check_size(message.attachment_id, ID_SIZE, field=f"{where}.attachment_id")
        wire.check_size(message.ct_root, wire.DIGEST_SIZE, field=f"{where}.ct_root")
        if message.block_log2 != BLOCK_LOG2:
            raise error(Reason.BAD_FIELD, field=f"{where}.block_log2", detail=f"{message.block_log2}, not {BLOCK_LOG2}")
        check_sealed(message.ct_length)
        return cls(message.attachment_id, message.ct_length, message.ct_root)

    def to_wire(self) -> envelope_pb2.AttachmentRef:
        """Return the message for this reference."""
        return envelope_pb2.AttachmentRef(
            attachment_id=self.attachment_id, ct_length=self.ct_length, block_log2=BLOCK_LOG2, ct_root=self.ct_root
        )

    @property
    def blocks(self) -> int:
        """Number of blocks, of which only the last may be shorter than 1 MiB."""
        return -(-self.ct_length // BLOCK_SIZE)

    def block_size(self, index: int) -> int:
        """Return the bytes of one block."""
        return min(BLOCK_SIZE, self.ct_length - index * BLOCK_SIZE)


def check_sealed(ct_length: int) -> None:
    """Return if ciphertext may have that length: padded, and in whole chunks; else raise `BAD_FIELD` or `TOO_LARGE`."""
    where = "manifest.attachments.ct_length"
    if ct_length > CIPHERTEXT_SIZE_MAX:
        raise error(Reason.TOO_LARGE, field=where, detail=f"{ct_length} bytes, at most {CIPHERTEXT_SIZE_MAX}")
    full, last = divmod(ct_length - suites.BODY_OVERHEAD, _CHUNK)
    padded = full * suites.CHUNK_SIZE + last - suites.CHUNK_OVERHEAD
    if last < suites.CHUNK_OVERHEAD or padded < 0 or padme(padded) != padded:
        raise error(Reason.BAD_FIELD, field=where, detail=f"{ct_length} is the length of no padded attachment")


@dataclass(frozen=True)
class AttachmentMeta:
    """What the recipients know of an attachment besides: name, type, true length and SHA-256 of the plaintext."""

    attachment_id: bytes = field(repr=False)
    name: str
    media_type: str
    length: int
    sha256: bytes = field(repr=False)

    @classmethod
    def from_wire(cls, message: content_pb2.AttachmentMeta) -> AttachmentMeta:
        """Return the description in a canonical message; raises as `check`."""
        meta = cls(message.attachment_id, message.name, message.media_type, message.length, message.sha256)
        meta.check()
        return meta

    @property
    def file(self) -> tuple[str, str, int, bytes]:
        """What stays the same when the file is sent again, under another id and key."""
        return (self.name, self.media_type, self.length, self.sha256)

    def check(self) -> None:
        """Return if every field may stand in a message.

        Raises:
            MalformedError: `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        # (2) a plain name, a type, a length within the limit
        wire.check_size(self.attachment_id, ID_SIZE, field="attachment.attachment_id")
        wire.check_size(self.sha256, wire.DIGEST_SIZE, field="attachment.sha256")
        check_name(self.name)
        check_media_type(self.media_type)
        check_length(self.length)

    def to_wire(self) -> content_pb2.AttachmentMeta:
        """Return the message for this description."""
        return content_pb2.AttachmentMeta(
            attachment_id=self.attachment_id,
            name=self.name,
            media_type=self.media_type,
            length=self.length,
            sha256=self.sha256,
        )

    @functools.cached_property
    def raw(self) -> bytes:
        """Canonical bytes, as they stand in Content and under the commitment."""
        return wire.canonical(self.to_wire())


def check_refs(refs: Sequence[AttachmentRef]) -> None:
    """Return if the references of one manifest may stand together; else raise `TOO_LARGE` or `BAD_FIELD`."""
    _check_many([ref.attachment_id for ref in refs], "manifest.attachments")


def check_metas(metas: Sequence[AttachmentMeta]) -> None:
    """Return if the descriptions of one content may stand together; else raise `TOO_LARGE` or `BAD_FIELD`."""
    _check_many([meta.attachment_id for meta in metas], "content.attachments")
    names = [meta.name for meta in metas]
    if len(set(names)) != len(names):
        raise error(
            Reason.BAD_FIELD,
            field="attachment.name",
            detail="two attachments have one name",
            next_step="Give each attachment a name of its own.",
        )


def check_match(refs: Sequence[AttachmentRef], metas: Sequence[AttachmentMeta]) -> None:
    """Return if content and manifest speak of the same attachments, in the same order; else `BAD_COMMITMENT`.

    Spec: section Envelope, step 9.
    """
    signed = [(ref.attachment_id, ref.ct_length) for ref in refs]
    if signed != [(meta.attachment_id, sealed_length(meta.length)) for meta in metas]:
        raise error(
            Reason.BAD_COMMITMENT, field="content.attachments", detail="content and manifest list other attachments"
        )


def _check_many(ids: list[bytes], where: str) -> None:
    if len(ids) > ATTACHMENTS_MAX:
        raise error(Reason.TOO_LARGE, field=where, detail=f"{len(ids)} attachments, at most {ATTACHMENTS_MAX}")
    wire.check_ascending(ids, field=f"{where}.attachment_id")
