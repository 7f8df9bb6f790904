"""Tree: the hashes of one attachment's blocks in a file beside its bytes, and the paths that come out of it.

Records of 32 bytes: first the length of the ciphertext, then the hash of each block in order, and once all are there
each further level of the tree, complete subtrees only. A path then takes a read for each level, whatever the length.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from infoexchange.attachment import AttachmentRef
from infoexchange.tlog import merkle

# Implementation constants
RECORD = merkle.HASH_SIZE
_RUN = 2048  # records read at a time: 64 KiB
_PAGE = 64 * 1024  # bytes; all of the tree of 1 GiB
_PAGES_MAX = 24  # more than a path of the largest attachment takes


class Tree:
    """The hashes of one attachment, wherever they are read from.

    Attributes:
        ref: Length and root of the attachment.
    """

    def __init__(self, ref: AttachmentRef, read: Callable[[int], bytes]) -> None:
        """Read with a function that gives the record at a position."""
        self.ref = ref
        self._read = read

    @property
    def root(self) -> bytes:
        """The root that the hashes give, once all levels are there."""
        return merkle.range_root(0, self.ref.blocks, self._subtree)

    def path(self, index: int) -> tuple[bytes, ...]:
        """Return the path of one block to the root."""
        return tuple(merkle.inclusion_path(index, self.ref.blocks, self._subtree))

    def leaf(self, index: int) -> bytes:
        """Return the hash of one block, as it was when it came."""
        return self._subtree(index, 0)

    def _subtree(self, start: int, height: int) -> bytes:
        return self._read(self._place(start >> height, height))

    def _place(self, index: int, height: int) -> int:
        """Return the position of a hash in the file."""
        below = sum(self.ref.blocks >> level for level in range(height))
        return (1 + below + index) * RECORD


class TreeFile(Tree):
    """The hashes of one attachment, in an open file."""

    def __init__(self, descriptor: int, ref: AttachmentRef) -> None:
        """Use an open file."""
        super().__init__(ref, lambda position: os.pread(descriptor, RECORD, position))
        self._descriptor = descriptor

    def write_length(self) -> None:
        """Write the first record."""
        os.pwrite(self._descriptor, self.ref.ct_length.to_bytes(8, "big").ljust(RECORD, b"\0"), 0)

    def write_leaves(self, start: int, hashes: list[bytes]) -> None:
        """Write the hashes of consecutive blocks."""
        write_all(self._descriptor, b"".join(hashes), (1 + start) * RECORD)

    def write_levels(self) -> None:
        """Write every level above the blocks, each from the one below."""
        height, width = 0, self.ref.blocks
        while width > 1:
            for start in range(0, width // 2, _RUN // 2):
                count = min(_RUN // 2, width // 2 - start)
                row = os.pread(self._descriptor, 2 * count * RECORD, self._place(2 * start, height))
                nodes = [
                    merkle.node_hash(row[at : at + RECORD], row[at + RECORD : at + 2 * RECORD])
                    for at in range(0, len(row), 2 * RECORD)
                ]
                write_all(self._descriptor, b"".join(nodes), self._place(start, height + 1))
            height, width = height + 1, width // 2


class PagedTree(Tree):
    """The hashes of one attachment that lie far away: they come in pages, and the last few are kept."""

    def __init__(self, ref: AttachmentRef, fetch: Callable[[int, int], bytes]) -> None:
        """Read with a function that gives bytes from a position on, fewer at the end."""
        super().__init__(ref, self._record)
        self._fetch = fetch
        self._pages: dict[int, bytes] = {}

    def _record(self, position: int) -> bytes:
        number, place = divmod(position, _PAGE)
        page = self._pages.pop(number, None)
        if page is None:
            page = self._fetch(number * _PAGE, _PAGE)
            if len(self._pages) >= _PAGES_MAX:
                del self._pages[next(iter(self._pages))]
        self._pages[number] = page  # the youngest is the last
        return page[place : place + RECORD]


def size_of(ref: AttachmentRef) -> int:
    """Return the bytes of the whole file."""
    return (1 + sum(ref.blocks >> level for level in range(ref.blocks.bit_length()))) * RECORD


def write_all(descriptor: int, data: bytes | memoryview, position: int) -> None:
    """Write every byte; the system may take fewer at a time."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written
