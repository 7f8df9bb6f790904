"""Crate: one try at an attachment in a bucket. Everything that is known of it stands in the names of objects.

    index/OWNER/ROOT/LENGTH-CRATE/MARK        an empty object for each mark
    data/CRATE/BLOCK-HASH                     a block of ciphertext
    data/CRATE/tree                           the hashes of all blocks, once the whole has the root

A crate has a random name that is never used again, so that whoever deletes one can delete nothing that somebody else
has written since. A block is named by its hash: whoever writes it once more, writes the same. Blocks are numbered
backwards, so that the newest comes first when they are listed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from infoexchange import wire
from infoexchange.attachment import AttachmentRef
from infoexchange.chunks import Blob

# Specification constants: names in a bucket outlive the software that wrote them
INDEX, DATA = "index/", "data/"
DOOMED, MADE, TOUCHED, WHOLE = "doomed", "made", "touched", "whole"  # in the order in which they are listed
_LAST_BLOCK = 2**24 - 1  # more than the largest attachment has

# Implementation constants
_TOKEN_SIZE = 16  # bytes
_NONCE_SIZE = 8
_NEVER = datetime.fromtimestamp(0, UTC)

_MARK = re.compile(r"index/([a-z0-9.-]+)/([0-9a-f]{64})/([0-9]{1,15})-([0-9a-f]{32})/([a-z]+)(?:-([0-9]{14}))?(?:-.*)?")
_BLOCK = re.compile(r"data/[0-9a-f]{32}/([0-9a-f]{6})-([0-9a-f]{64})")


@dataclass(frozen=True)
class Crate:
    """One try at one blob.

    Attributes:
        blob: Whose, and which.
        ct_length: Bytes it takes in the end.
        token: Its random name.
        marks: Keys of its marks, as they were listed.
    """

    blob: Blob
    ct_length: int
    token: str
    marks: frozenset[str] = frozenset()

    @classmethod
    def new(cls, blob: Blob, ct_length: int) -> Crate:
        """Return one of which nothing is stored yet."""
        return cls(blob, ct_length, secrets.token_hex(_TOKEN_SIZE))

    @property
    def ref(self) -> AttachmentRef:
        """Length and root."""
        return AttachmentRef(b"", self.ct_length, self.blob.root)

    @property
    def place(self) -> str:
        """What the keys of its marks begin with."""
        return f"{index_of(self.blob)}{self.ct_length}-{self.token}/"

    @property
    def folder(self) -> str:
        """What the keys of its bytes begin with."""
        return f"{DATA}{self.token}/"

    @property
    def tree(self) -> str:
        """Key of the hashes."""
        return f"{self.folder}tree"

    def block(self, index: int, digest: bytes) -> str:
        """Return the key of a block with that hash."""
        return f"{self.folder}{_LAST_BLOCK - index:06x}-{digest.hex()}"

    def mark(self, word: str, now: datetime | None = None) -> str:
        """Return the key of a mark, of its own for whoever makes it unless there is one for all."""
        if word == WHOLE:
            return f"{self.place}{word}"
        stamp = f"-{wire.to_ms(now):014d}" if now else ""
        return f"{self.place}{word}{stamp}-{secrets.token_hex(_NONCE_SIZE)}"

    def marked(self, word: str) -> set[str]:
        """Return the keys of the marks of a kind."""
        return {mark for mark in self.marks if mark.startswith(f"{self.place}{word}")}

    @property
    def whole(self) -> bool:
        """Whether all of it was there, and nobody has begun to take it apart since."""
        return bool(self.marked(WHOLE) and self.marked(MADE))

    @property
    def sound(self) -> bool:
        """Whether it can be relied on: nobody wants to delete it."""
        return bool(self.marked(MADE)) and not self.marked(DOOMED)

    @property
    def touched(self) -> datetime:
        """When it was made, written or claimed last, by the clock of whoever did."""
        return max((_stamp(mark) for mark in self.marked(MADE) | self.marked(TOUCHED)), default=_NEVER)


def index_of(blob: Blob) -> str:
    """Return what the keys of all marks of a blob begin with."""
    return f"{INDEX}{blob.owner}/{blob.root.hex()}/"


def crates_in(keys: Iterable[str]) -> Iterator[Crate]:
    """Yield the crates whose marks are among the keys of an index, in order; other keys are passed over."""
    found = ((match, key) for key in keys if (match := _MARK.fullmatch(key)))
    for (owner, root, length, token), group in groupby(found, key=lambda pair: pair[0].groups()[:4]):
        marks = frozenset(key for _, key in group)
        yield Crate(Blob(owner, bytes.fromhex(root)), int(length), token, marks)


def block_in(key: str) -> tuple[int, bytes] | None:
    """Return number and hash of the block with a key, if it is a block's."""
    match = _BLOCK.fullmatch(key)
    return (_LAST_BLOCK - int(match[1], 16), bytes.fromhex(match[2])) if match else None


def _stamp(mark: str) -> datetime:
    match = _MARK.fullmatch(mark)
    assert match
    return wire.from_ms(int(match[6] or 0), field="mark")
