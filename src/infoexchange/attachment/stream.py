"""Stream: attachments sealed and opened piece by piece (SPEC section Attachment, steps 4 to 6).

Sealing reads the plaintext from its beginning to its end. Opening may begin anywhere: blocks are verified one by one,
and each chunk of 16 KiB inside them opens by itself.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from infoexchange import suites
from infoexchange.attachment.blocks import Block, BlockTree, blocks_for, not_signed, verify_block
from infoexchange.attachment.form import (
    ATTACHMENTS_MAX,
    BLOCK_SIZE,
    ID_SIZE,
    AttachmentMeta,
    AttachmentRef,
    check_length,
    sealed_length,
)
from infoexchange.errors import Reason, error
from infoexchange.padding import padme
from infoexchange.suites import Entropy

# Specification constants
_LABEL = b"infoexchange/v1/attachment\x00"
_CHUNK = suites.CHUNK_SIZE + suites.CHUNK_OVERHEAD

# Implementation constants
_JOINED = 16  # chunks handed out together: 256 KiB

Fetch = Callable[[AttachmentRef, int, int], Iterator[Block]]
"""Gives the blocks that hold a range of ciphertext, given reference, offset and size; none of them is trusted."""


@dataclass(frozen=True)
class AttachmentKey:
    """What one attachment is sealed and opened with; it opens no other, nor the message."""

    key: bytes = field(repr=False)
    context: bytes = field(repr=False)


def attachment_key(content_key: bytes, header_digest: bytes, attachment_id: bytes) -> AttachmentKey:
    """Return the key of one attachment of an envelope."""
    place = header_digest + attachment_id
    return AttachmentKey(suites.derive(content_key, _LABEL, place), _LABEL + place)


def new_ids(count: int, *, entropy: Entropy = secrets.token_bytes) -> list[bytes]:
    """Return fresh attachment ids in the ascending order that manifest and content need, or raise `TOO_LARGE`."""
    if count > ATTACHMENTS_MAX:
        raise error(
            Reason.TOO_LARGE,
            field="attachments",
            detail=f"{count} attachments, at most {ATTACHMENTS_MAX}",
            next_step="Put them into one archive, or send several messages.",
        )
    return sorted(entropy(ID_SIZE) for _ in range(count))


def describe(attachment_id: bytes, name: str, media_type: str, pieces: Iterable[bytes]) -> AttachmentMeta:
    """Return the description of an attachment, from its plaintext.

    Raises:
        MalformedError: `BAD_FIELD`.
        RefusedError: `TOO_LARGE`.
    """
    length, digest = 0, hashlib.sha256()
    AttachmentMeta(attachment_id, name, media_type, 0, bytes(digest.digest_size)).check()  # before reading for hours
    for piece in pieces:
        length = check_length(length + len(piece))
        digest.update(piece)
    return AttachmentMeta(attachment_id, name, media_type, length, digest.digest())


class Sealing:
    """One attachment on its way into ciphertext."""

    def __init__(self, meta: AttachmentMeta, key: AttachmentKey) -> None:
        """Seal what `meta` describes."""
        self._meta = meta
        self._key = key
        self._ref: AttachmentRef | None = None

    @property
    def ref(self) -> AttachmentRef:
        """What the manifest says of it; known when `pieces` has come to its end."""
        if self._ref is None:
            raise ValueError("the attachment is not sealed yet")
        return self._ref

    def pieces(self, plaintext: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the ciphertext of a plaintext, padded.

        Raises:
            MalformedError: `BAD_FIELD` when the plaintext is not the one that was described.
        """
        tree = BlockTree()
        for piece in self._encrypted(plaintext):
            tree.update(piece)
            yield piece
        assert tree.length == sealed_length(self._meta.length)
        self._ref = AttachmentRef(self._meta.attachment_id, tree.length, tree.root())

    def _encrypted(self, plaintext: Iterable[bytes]) -> Iterator[bytes]:
        meta = self._meta
        cipher = suites.encrypting(self._key.key, self._key.context)
        digest, length = hashlib.sha256(), 0
        for piece in plaintext:
            length += len(piece)
            if length > meta.length:
                break  # a file that grows would otherwise be read for ever
            digest.update(piece)
            yield cipher.update(piece)
        if (length, digest.digest()) != (meta.length, meta.sha256):
            raise error(
                Reason.BAD_FIELD,
                field=f"attachment {meta.name}",
                detail="it changed while it was being sealed",
                next_step="Send it again when nothing writes to it any more.",
            )
        for size in _sizes(padme(length) - length):
            yield cipher.update(bytes(size))
        yield cipher.finalize()


class Opening:
    """One attachment on its way out of ciphertext, in whatever order it is read."""

    def __init__(self, ref: AttachmentRef, meta: AttachmentMeta, key: AttachmentKey, fetch: Fetch) -> None:
        """Open what `ref` names with the key that came with the message; `fetch` gives its blocks."""
        self._ref = ref
        self._meta = meta
        self._key = key
        self._fetch = fetch
        self._opener: suites.ChunkOpener | None = None
        self._last: tuple[int, bytes] | None = None  # the newest verified block: neighbours are read next

    def pieces(self, held: Iterable[bytes] = ()) -> Iterator[bytes]:
        """Yield the plaintext that follows on what is held already.

        Whoever keeps the pieces MUST throw them away if the last step raises: only then the whole has been compared.

        Args:
            held: Plaintext from the beginning, kept from an earlier call: read for the digest, not fetched again.

        Raises:
            UntrustedError: `BAD_SIGNATURE`, `BAD_CIPHERTEXT`, or `BAD_COMMITMENT` when the whole is not what the
                message describes.
        """
        digest, start = hashlib.sha256(), 0
        for piece in held:
            digest.update(piece)
            start += len(piece)
        true_length = self._meta.length
        position, zeros = start, True
        for piece in _joined(self._plaintext(start, padme(true_length))):
            content = piece[: max(0, true_length - position)]
            zeros = zeros and piece.count(0, len(content)) == len(piece) - len(content)
            position += len(piece)
            digest.update(content)
            if content:
                yield content
        # (6) the plaintext is the one that the message describes, and nothing is hidden behind it
        if start > true_length or not zeros or digest.digest() != self._meta.sha256:
            raise error(
                Reason.BAD_COMMITMENT,
                field=f"attachment {self._meta.name}",
                detail="it is not the file that the message describes",
            )

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on, fewer at the end; every block of them verified.

        Raises:
            MalformedError: `BAD_FIELD` for a negative offset or size.
            UntrustedError: `BAD_SIGNATURE` or `BAD_CIPHERTEXT`.
        """
        if offset < 0 or size < 0:
            raise error(Reason.BAD_FIELD, field="offset", detail="no place in an attachment")
        end = min(offset + size, self._meta.length)
        return b"".join(self._plaintext(offset, end)) if offset < end else b""

    def _plaintext(self, start: int, end: int) -> Iterator[bytes]:
        """Yield padded plaintext from `start` to `end`, chunk by chunk."""
        if start >= end:
            return
        opener = self._unlocked()
        first, chunks = start // suites.CHUNK_SIZE, padme(self._meta.length) // suites.CHUNK_SIZE + 1
        last = min(chunks - 1, (end - 1) // suites.CHUNK_SIZE)
        begin = suites.BODY_OVERHEAD + first * _CHUNK
        stop = min(self._ref.ct_length, suites.BODY_OVERHEAD + (last + 1) * _CHUNK)
        position, index, rest = first * suites.CHUNK_SIZE, first, b""
        for data in self._ciphertext(begin, stop):
            view = memoryview(data)
            while index <= last and len(rest) + len(view) >= (size := min(_CHUNK, stop - begin)):
                # (5) each chunk alone; that the last one is the last is settled by the signed length
                taken = size - len(rest)
                piece = opener.open(index, rest + view[:taken] if rest else view[:taken])
                view, rest, begin, index = view[taken:], b"", begin + size, index + 1
                yield piece[max(0, start - position) : max(0, end - position)]
                position += len(piece)
            rest += view

    def _unlocked(self) -> suites.ChunkOpener:
        """Return what opens chunks, made from the beginning of the ciphertext."""
        if self._opener is None:
            head = b"".join(self._ciphertext(0, suites.BODY_OVERHEAD))
            self._opener = suites.ChunkOpener(self._key.key, self._key.context, head)
        return self._opener

    def _ciphertext(self, begin: int, stop: int) -> Iterator[bytes]:
        """Yield verified ciphertext from `begin` to `stop`, block by block."""
        wanted = blocks_for(self._ref, begin, stop - begin)
        for index, data in self._verified(wanted):
            base = index * BLOCK_SIZE
            yield data[max(0, begin - base) : stop - base]

    def _verified(self, wanted: range) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks wanted, each once it is known to be the one that was signed."""
        if self._last and self._last[0] in wanted[:1]:
            yield self._last
            wanted = wanted[1:]
        if not wanted:
            return
        blocks = self._fetch(self._ref, wanted.start * BLOCK_SIZE, len(wanted) * BLOCK_SIZE)
        for index in wanted:
            block = next(blocks, None)
            if block is None:
                raise not_signed(index)
            self._last = index, verify_block(self._ref, index, block)
            yield self._last


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces that are worth a write each."""
    held: list[bytes] = []
    for piece in pieces:
        held.append(piece)
        if len(held) == _JOINED:
            yield b"".join(held)
            held = []
    yield b"".join(held)


def _sizes(count: int) -> Iterator[int]:
    """Yield sizes of at most one block that add up to `count`."""
    while count > 0:
        yield min(BLOCK_SIZE, count)
        count -= BLOCK_SIZE
