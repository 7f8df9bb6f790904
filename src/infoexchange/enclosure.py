"""Enclosure: an attachment that came with a message; its bytes are at the relay until they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from infoexchange.attachment import AttachmentMeta, AttachmentRef, Opening
from infoexchange.attachment.stream import AttachmentKey
from infoexchange.chunks import Chunks, Path, Progress, Stash, unheard
from infoexchange.content import Content
from infoexchange.manifest import Manifest


@dataclass(frozen=True)
class Enclosure:
    """One attachment of a delivery.

    It can be fetched until the delivery is acknowledged, as often as wanted; afterwards the relay may have deleted it.

    Attributes:
        meta: Name, type, length and digest, as the sender sealed them.
        ref: What the sender signed of the ciphertext.
    """

    meta: AttachmentMeta
    ref: AttachmentRef = field(repr=False)
    _key: AttachmentKey = field(repr=False)
    _chunks: Chunks = field(repr=False, compare=False)
    _stash: Stash = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """File name, with no path."""
        return self.meta.name

    @property
    def media_type(self) -> str:
        """RFC 6838 type, as the sender says."""
        return self.meta.media_type

    @property
    def length(self) -> int:
        """Bytes of the file."""
        return self.meta.length

    @property
    def root(self) -> bytes:
        """Names the ciphertext, and so tells this attachment from every other."""
        return self.ref.ct_root

    def save(self, path: Path, *, overwrite: bool = False, progress: Progress = unheard) -> str:
        """Keep it as a file and return the path; verified, decrypted and durable, and then only under that name.

        A file that ends in `.part` stands beside it meanwhile. After whatever broke it off, the same call goes on where
        it stopped.

        Args:
            path: Where to; in a folder it gets the name that its sender gave it.
            overwrite: Whether a file of that name may be replaced.
            progress: Is told bytes done and bytes in all.

        Raises:
            RefusedError: `NOT_PERMITTED` when the file exists, or the relay does not have the attachment any more.
            UntrustedError: `BAD_SIGNATURE`, `BAD_CIPHERTEXT` or `BAD_COMMITMENT`.
            UnavailableError: `OVERLOADED` when the disk is full; the relay cannot be reached.
        """
        return self._stash.save(self, path, overwrite=overwrite, progress=progress)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on, every block of them verified; fewer at the end.

        Raises:
            MalformedError: `BAD_FIELD` for a negative offset or size.
            ExchangeError: As `save`, but for the digest of the whole, which cannot be compared.
        """
        return self._reader.read(offset, size)

    def pieces(self, held: Iterable[bytes] = ()) -> Iterator[bytes]:
        """Yield the bytes that follow on `held`, the beginning that is there already.

        Whoever uses them before the end MUST undo that if the last step raises: only then the whole was compared.

        Raises:
            ExchangeError: As `save`.
        """
        return self._reader.pieces(held)

    @functools.cached_property
    def _reader(self) -> Opening:
        return Opening(self.ref, self.meta, self._key, self._chunks.read)


def enclosures(content: Content, manifest: Manifest, chunks: Chunks, stash: Stash) -> tuple[Enclosure, ...]:
    """Return the attachments of opened content, in the sender's order."""
    parts = zip(content.attachments, manifest.attachments, content.keys, strict=True)
    return tuple(Enclosure(meta, ref, key, chunks, stash) for meta, ref, key in parts)
