"""Rehash: the tree of a log of any length computed again from its leaves, in constant memory and as fast as SHA-256.

An auditor hashes millions of leaves, and each inner node once. Kept of every level is only what is not a whole tile
yet; whole tiles are given away as they come, to be compared with those that somebody stores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from infoexchange.tlog import tiles
from infoexchange.tlog.merkle import HASH_SIZE
from infoexchange.tlog.tiles import HEIGHT, LEVEL_MAX, WIDTH, Tile

_WHOLE = WIDTH * HASH_SIZE
# RFC 6962, begun with what stands before a leaf and before two nodes: a copy costs less than a new one.
_LEAF, _NODE = hashlib.sha256(b"\x00"), hashlib.sha256(b"\x01")


class Rehash:
    """A tree that grows by leaves.

    Attributes:
        size: Leaves so far.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.size = 0
        self._edge = [b""] * (LEVEL_MAX // HEIGHT + 1)  # of each level, the hashes behind its last whole tile

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[Tile, bytes]]:
        """Append leaves and return the tiles that have become whole, each with its hashes, level by level."""
        fresh = _hashed(_LEAF, leaves)
        whole: list[tuple[Tile, bytes]] = []
        level, before = 0, self.size
        self.size += len(leaves)
        while fresh:
            row = self._edge[level] + fresh
            n, roots = before >> (HEIGHT * (level + 1)), []
            kept = len(row) % _WHOLE
            for at in range(0, len(row) - kept, _WHOLE):
                tile = row[at : at + _WHOLE]
                whole.append((Tile(level, n), tile))
                roots.append(_root(tile))
                n += 1
            self._edge[level] = row[len(row) - kept :]
            fresh = b"".join(roots)
            level += 1
        return whole

    def partial(self) -> Iterator[tuple[Tile, bytes]]:
        """Yield the tiles that are not whole, which are the last ones of their levels."""
        for level, hashes in enumerate(self._edge):
            if hashes:
                yield Tile(level, self.size >> (HEIGHT * (level + 1)), len(hashes) // HASH_SIZE), hashes

    @property
    def root(self) -> bytes:
        """The root of all leaves so far."""
        return tiles.root(self.size, lambda level, _: self._edge[level])


def _root(row: bytes) -> bytes:
    """Return the root over the hashes of a whole tile."""
    while len(row) > HASH_SIZE:
        row = _hashed(_NODE, [row[at : at + 2 * HASH_SIZE] for at in range(0, len(row), 2 * HASH_SIZE)])
    return row


def _hashed(begun: hashlib._Hash, parts: Iterable[bytes]) -> bytes:
    """Return the hashes of these, each behind what was begun with; this is where an auditor's time goes."""
    hashes = []
    for part in parts:
        state = begun.copy()
        state.update(part)
        hashes.append(state.digest())
    return b"".join(hashes)
