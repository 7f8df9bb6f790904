"""Chunks: ports for bytes that are too many for memory, on their way through agencies and relays.

Attachments travel before the envelope that names them, block by block, and may be broken off and taken up again
anywhere. What is read is never trusted: each block comes with the path that proves it under the signed root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, Block
from infoexchange.errors import ExchangeError, Reason, UnavailableError

# Specification constants
MISSING = "manifest.attachments"  # field of the error that asks for an upload

# Implementation constants
PART_SIZE = 64 * BLOCK_SIZE  # one call of an upload: at most this much is sent again after a break, mostly far less
_IDLE_MAX = 3  # broken calls in a row that bring nothing: a relay that starts anew breaks one or two

Progress = Callable[[int, int], None]
"""Is told bytes done and bytes in all."""


class PathLike(Protocol):
    """A path as an object."""

    def __fspath__(self) -> str:
        """Return it as text."""


Path = str | PathLike


def unheard(_done: int, _total: int) -> None:
    """Tell nobody."""


class Chunks(Protocol):
    """Attachment bytes at a relay, for one party, to which an implementation is bound.

    An attachment is named by the root of its ciphertext. It grows from its beginning; what was written stays, whoever
    crashes, but for what follows the last whole block. Nobody sees what another party has written, not even whether it
    is there; to be read it must be named by an envelope that was accepted.
    """

    def length(self, ref: AttachmentRef) -> int:
        """Return how many bytes, from the first on, this party has written durably.

        All of `ref.ct_length` only if the whole has the root that names it.
        """

    def write(self, ref: AttachmentRef, offset: int, pieces: Iterable[bytes]) -> int:
        """Write bytes from `offset` on, in pieces of any size; return `length` afterwards.

        What was written before is passed over, so that a call may be repeated.

        Raises:
            MalformedError: `BAD_FIELD` when `offset` is beyond what is there, or the bytes beyond the end.
            UntrustedError: `BAD_SIGNATURE` when the whole has another root; nothing of it is kept then.
            RefusedError: `NOT_PERMITTED` when this party may write nothing.
            UnavailableError: `OVERLOADED` when the disk is full or the party has too much there that no envelope names.
        """

    def read(self, ref: AttachmentRef, offset: int, size: int) -> Iterator[Block]:
        """Yield the blocks that hold `size` bytes from `offset` on, whole and in order.

        Raises:
            RefusedError: `NOT_PERMITTED` when no envelope that names it waits for this party.
            UnavailableError: A block is damaged there, or the connection broke.
        """


def is_missing(answer: object) -> bool:
    """Whether the answer to an envelope asks for its attachments."""
    return isinstance(answer, ExchangeError) and (answer.reason, answer.field) == (Reason.UNAVAILABLE, MISSING)


def upload(
    target: Chunks,
    ref: AttachmentRef,
    source: Callable[[int, int], Iterable[bytes]],
    *,
    parts: int | None = None,
    progress: Progress = unheard,
) -> bool:
    """Write an attachment from where it stands; return whether it is there as a whole.

    After a broken call it goes on from what the other side has kept, unless several calls in a row brought nothing.

    Args:
        target: Where to.
        ref: What.
        source: Gives ciphertext, by offset and size.
        parts: How many calls to make at most, so that something more urgent can come in between; none for no limit.
        progress: Is told how far it is.

    Raises:
        ExchangeError: As `Chunks.write`.
    """
    done, calls, idle = target.length(ref), 0, 0
    progress(done, ref.ct_length)
    while done < ref.ct_length and (parts is None or calls < parts):
        try:
            after = target.write(ref, done, source(done, min(PART_SIZE, ref.ct_length - done)))
        except UnavailableError as problem:
            if problem.reason is Reason.OVERLOADED or idle == _IDLE_MAX:
                raise
            after = target.length(ref)  # raises unless there is somebody again
        idle = 0 if after > done else idle + 1
        done, calls = after, calls + 1
        progress(done, ref.ct_length)
    return done == ref.ct_length


@dataclass(frozen=True, order=True)
class Blob:
    """Bytes that a relay keeps: the party that handed them over, and the root that names them."""

    owner: str
    root: bytes = field(repr=False)


class Writing(Protocol):
    """One attachment that is being written."""

    def add(self, data: bytes) -> None:
        """Take the next bytes; raises as `Chunks.write`."""

    def close(self) -> int:
        """Make what was taken durable, as far as blocks are whole, and return `Chunks.length`; raises the same."""


class Depot(Protocol):
    """A relay's attachment bytes, kept apart by owner, outside its store.

    A blob is *whole* once all its bytes are durable and have its root. Which envelope needs a blob is not known here.
    """

    @property
    def quota(self) -> int:
        """Bytes that one owner may have here without an envelope that names them."""

    def length(self, blob: Blob, ct_length: int) -> int:
        """Return how many of so many bytes are durable; all of them only if the blob is whole."""

    def begin(self, blob: Blob, ct_length: int, offset: int) -> Writing:
        """Go on writing a blob; whoever wrote it until now is cut off. Raises as `Chunks.write`."""

    def read(self, blob: Blob, offset: int, size: int) -> Iterator[Block]:
        """Yield blocks of a whole blob, each compared with the hash that was kept of it.

        Raises:
            UnavailableError: `UNAVAILABLE` when the blob is not whole here or a block is damaged.
        """

    def claim(self, blob: Blob, ct_length: int, *, now: datetime) -> bool:
        """Return whether a blob is whole and has that length, and note the time, so that it is kept a while."""

    def kept(self, owner: str) -> Sequence[tuple[Blob, int]]:
        """Return what an owner has here, begun or whole, each with the bytes it takes in the end."""

    def untouched(self, since: datetime) -> Sequence[Blob]:
        """Return the blobs that were neither written nor claimed since a time."""

    def drop(self, blob: Blob, *, untouched_since: datetime) -> bool:
        """Delete a blob unless it was written or claimed since a time; return whether it is gone."""


class Needs(Protocol):
    """Who needs which blob, by which envelope: written with the log, in the same transactions."""

    def readable(self, party: str, root: bytes) -> Blob | None:
        """Return the attachment of that root that a party needs, if it needs one."""

    def known(self, blobs: Sequence[Blob]) -> Sequence[bool]:
        """Return of each whether an envelope has named it: until it is forgotten, also when nobody needs it."""

    def over(self, past: datetime, *, limit: int) -> Sequence[Blob]:
        """Return what was needed and is by nobody any more; needs of envelopes that ended before `past` are over."""

    def forget(self, blobs: Sequence[Blob], past: datetime) -> None:
        """Drop the needs that are over, once the bytes are deleted; a blob that is needed again stays known."""


class Source(Protocol):
    """A file to be attached; it can be read from the beginning as often as needed, and must not change meanwhile."""

    @property
    def name(self) -> str:
        """File name, with no path."""

    @property
    def media_type(self) -> str:
        """RFC 6838 type, such as `application/pdf`."""

    @property
    def length(self) -> int:
        """Bytes, as far as known; for progress only."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes, in pieces of about one megabyte."""


class Savable(Protocol):
    """An attachment that arrived and can be kept as a file."""

    @property
    def name(self) -> str:
        """File name, with no path."""

    @property
    def length(self) -> int:
        """Bytes of the file."""

    @property
    def root(self) -> bytes:
        """Names the ciphertext, and so tells one attachment from every other."""

    def pieces(self, held: Iterable[bytes] = ()) -> Iterator[bytes]:
        """Yield the bytes that follow on `held`; the last step raises unless the whole is what was sent."""


class Stash(Protocol):
    """An agency's large files: ciphertext that waits to be uploaded, and attachments that are saved."""

    def keep(self, attachment_id: bytes, pieces: Iterable[bytes]) -> None:
        """Keep ciphertext under an id, whole or not at all, durably.

        Raises:
            UnavailableError: `OVERLOADED` when the disk is full; `UNAVAILABLE` when it cannot be kept.
        """

    def kept(self) -> Sequence[bytes]:
        """Return the ids under which ciphertext is kept."""

    def pieces(self, attachment_id: bytes, offset: int, size: int) -> Iterator[bytes]:
        """Yield kept ciphertext; raises `UNAVAILABLE` when there is none under that id."""

    def drop(self, attachment_ids: Iterable[bytes]) -> None:
        """Forget ciphertext; what is not there is passed over."""

    def save(self, attachment: Savable, path: Path, *, overwrite: bool, progress: Progress) -> str:
        """Keep an attachment as a file, whole or not at all, and return its path; see `Enclosure.save`."""
