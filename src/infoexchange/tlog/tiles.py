"""Tiles: the tree cut into files of 256 hashes (C2SP tlog-tiles, height 8), and the bundles of entries beside them.

A log keeps its tree in this form because nothing in it ever changes but the right edge: appending k leaves costs
O(k + log n), any root or proof reads O(log n) tiles, and a folder of these files is all that an auditor needs. The
functions are pure: they read through `read(level, n)`, which gives the stored bytes of a tile, and return what changed.
A stored tile may be wider than an older size needs; only the hashes that belong to the size asked for are used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from infoexchange.errors import Reason, error
from infoexchange.tlog import merkle
from infoexchange.tlog.merkle import HASH_SIZE, SIZE_MAX

Read = Callable[[int, int], bytes]
"""`(level, n) -> bytes`: the stored hashes of a tile, full or partial."""

# Specification constants (C2SP tlog-tiles)
HEIGHT = 8
WIDTH = 1 << HEIGHT
LEVEL_MAX = 63
ENTRY_SIZE_MAX = 0xFFFF  # a uint16 holds the length of an entry
ENTRIES = -1  # our level number of entry bundles, which stand beside level 0


class Tile(NamedTuple):
    """Which tile or entry bundle: a name that has exactly one path."""

    level: int
    n: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The path of this file below the log's prefix."""
        groups = f"{self.n:03d}"
        groups = groups.zfill(-(-len(groups) // 3) * 3)
        parts = [groups[i : i + 3] for i in range(0, len(groups), 3)]
        level = "entries" if self.level == ENTRIES else str(self.level)
        suffix = "" if self.width == WIDTH else f".p/{self.width}"
        return "/".join(("tile", level, *(f"x{part}" for part in parts[:-1]), parts[-1])) + suffix

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Return the tile that `path` names.

        Raises:
            MalformedError: `MALFORMED` for any path that is not written exactly as `path` writes it.
        """
        try:
            _, level, *parts = path.split("/")
            width = WIDTH
            if len(parts) > 1 and parts[-2].endswith(".p"):
                width = _number(parts.pop())
                parts[-1] = parts[-1].removesuffix(".p")
            n = _number("".join(part.removeprefix("x") for part in parts))
            tile = cls(ENTRIES if level == "entries" else _number(level), n, width)
        except ValueError:
            raise error(Reason.MALFORMED, field="tile", detail="not the path of a tile") from None
        # Writing the name again and comparing refuses every other spelling at once.
        if tile.level > LEVEL_MAX or not 1 <= tile.width <= WIDTH or tile.n > SIZE_MAX or tile.path != path:
            raise error(Reason.MALFORMED, field="tile", detail="not the path of a tile")
        return tile


def tile_path(level: int, n: int, width: int = WIDTH) -> str:
    """Return the path of a tile; `ENTRIES` as level names an entry bundle."""
    return Tile(level, n, width).path


def parse_tile_path(path: str) -> Tile:
    """Return the tile that `path` names, as `Tile.parse`."""
    return Tile.parse(path)


def parse_tile(raw: bytes, width: int) -> tuple[bytes, ...]:
    """Return the hashes of a tile that must be exactly as wide as its path says.

    Raises:
        MalformedError: `BAD_FIELD` for a width outside 1 to 256, `MALFORMED` for another length.
    """
    _check_width(width)
    if len(raw) != HASH_SIZE * width:
        raise error(Reason.MALFORMED, field="tile", detail=f"{len(raw)} bytes in a tile of width {width}")
    return tuple(_hashes(raw, 0, width))


def width_at(level: int, n: int, size: int) -> int:
    """Return how many hashes tile `n` of `level` has in a tree of `size`: 0 when it does not exist yet."""
    return min(max((size >> (HEIGHT * max(level, 0))) - n * WIDTH, 0), WIDTH)


def extend(size: int, leaf_hashes: Sequence[bytes], read: Read) -> tuple[dict[tuple[int, int], bytes], bytes]:
    """Return the tiles that change when leaves are appended to a tree of `size`, and the new root.

    Args:
        size: Leaves in the tree now; what stored tiles hold beyond it is left over from a crash and is overwritten.
        leaf_hashes: Hashes of the new leaves, in order.
        read: Gives stored tiles; asked for right-edge tiles only.

    Raises:
        MalformedError: `MALFORMED` when a stored tile is too short or not whole, `BAD_FIELD` when the tree is full.
    """
    _check_size(size)
    _check_size(size + len(leaf_hashes))
    changed: dict[tuple[int, int], bytes] = {}
    fresh, level = list(leaf_hashes), 0
    while fresh:
        if any(len(entry) != HASH_SIZE for entry in fresh):
            raise error(Reason.BAD_FIELD, field="leaf_hashes", detail=f"a hash has other than {HASH_SIZE} bytes")
        before = size >> (HEIGHT * level)
        n, kept = divmod(before, WIDTH)
        row = [*_hashes(_stored(read, level, n, kept), 0, kept), *fresh] if kept else fresh
        fresh = []
        for i in range(0, len(row), WIDTH):
            tile = row[i : i + WIDTH]
            changed[level, n + i // WIDTH] = b"".join(tile)
            if len(tile) == WIDTH:  # a partial tile is never hashed upward
                fresh.append(merkle.root(tile))
        level += 1

    def read_new(level: int, n: int) -> bytes:
        tile = changed.get((level, n))
        return read(level, n) if tile is None else tile

    return changed, root(size + len(leaf_hashes), read_new)


def root(size: int, read: Read) -> bytes:
    """Return the root of the tree of `size`, from O(log size) right-edge tiles."""
    _check_size(size)
    return merkle.range_root(0, size, _subtree_of(size, read))


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """Return the path of leaf `index` in the tree of `size`.

    Raises:
        MalformedError: `BAD_FIELD` when there is no such leaf, `MALFORMED` when a tile is too short or not whole.
    """
    return merkle.inclusion_path(index, size, _subtree_of(size, read))


def prover(size: int, read: Read) -> Callable[[int], list[bytes]]:
    """Return a function that gives the path of a leaf, as `inclusion_proof`; tiles and subtrees are read once for all.

    Meant for the many proofs that one batch of a log needs under one checkpoint.
    """
    subtree = functools.cache(_subtree_of(size, read))
    return lambda index: merkle.inclusion_path(index, size, subtree)


def consistency_proof(size1: int, size2: int, read: Read) -> list[bytes]:
    """Return the proof that the tree of `size2` begins with the tree of `size1`, which is at least 1.

    Raises:
        MalformedError: `BAD_FIELD` for sizes without a proof, `MALFORMED` when a tile is too short or not whole.
    """
    return merkle.consistency_path(size1, size2, _subtree_of(size2, read))


def prefix_path(size1: int, size2: int, read: Read) -> list[bytes]:
    """Return the path of `merkle.prefix_path` between trees of these sizes; raises as `consistency_proof`."""
    return merkle.prefix_path(size1, size2, _subtree_of(size2, read))


def parse_entries(raw: bytes, width: int) -> list[bytes]:
    """Return the entries of a bundle that must hold exactly `width` of them.

    Raises:
        MalformedError: `BAD_FIELD` for a width outside 1 to 256, `MALFORMED` for any other fault.
    """
    _check_width(width)
    stride = 2 + int.from_bytes(raw[:2], "big")
    if len(raw) == stride * width and all(raw[i::stride] == raw[i : i + 1] * width for i in (0, 1)):
        return [raw[i + 2 : i + stride] for i in range(0, len(raw), stride)]  # all of one length, as ours are: fast
    entries, at = [], 0
    for _ in range(width):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        entries.append(raw[at + 2 : end])
        at = end
    if at != len(raw):
        raise error(Reason.MALFORMED, field="entries", detail=f"{width} entries take {at} bytes of {len(raw)}")
    return entries


def write_entries(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of these entries, 1 to 256 of at most 65 535 bytes.

    Raises:
        MalformedError: `BAD_FIELD` for another number of entries.
        RefusedError: `TOO_LARGE` for a longer entry.
    """
    _check_width(len(entries))
    if any(len(entry) > ENTRY_SIZE_MAX for entry in entries):
        raise error(Reason.TOO_LARGE, field="entries", detail=f"an entry has more than {ENTRY_SIZE_MAX} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def _subtree_of(size: int, read: Read) -> merkle.Subtree:
    """Return the subtree function of a tree of `size`; each tile is read once per call of a public function."""
    tiles: dict[tuple[int, int], bytes] = {}

    def subtree(start: int, height: int) -> bytes:
        level, inner = divmod(height, HEIGHT)
        n, first = divmod(start >> (HEIGHT * level), WIDTH)
        if (level, n) not in tiles:
            tiles[level, n] = _stored(read, level, n, width_at(level, n, size))
        return merkle.root(_hashes(tiles[level, n], first, first + (1 << inner)))

    return subtree


def _stored(read: Read, level: int, n: int, width: int) -> bytes:
    """Return a stored tile, which may have grown beyond `width` hashes since but must be whole."""
    raw = read(level, n)
    if len(raw) % HASH_SIZE or not HASH_SIZE * width <= len(raw) <= HASH_SIZE * WIDTH:
        detail = f"{len(raw)} bytes stored where {width} hashes are needed"
        raise error(Reason.MALFORMED, field=tile_path(level, n), detail=detail)
    return raw


def _hashes(raw: bytes, start: int, end: int) -> list[bytes]:
    return [raw[i : i + HASH_SIZE] for i in range(HASH_SIZE * start, HASH_SIZE * end, HASH_SIZE)]


def _number(digits: str) -> int:
    """Return a number without a sign; foreign digits do not survive the comparison with the written path."""
    if not digits.isdigit():
        raise ValueError(len(digits))
    return int(digits)


def _check_width(width: int) -> None:
    if not 1 <= width <= WIDTH:
        raise error(Reason.BAD_FIELD, field="width", detail=f"a width of {width}")


def _check_size(size: int) -> None:
    if not 0 <= size <= SIZE_MAX:
        raise error(Reason.BAD_FIELD, field="size", detail="a tree has 0 to 2^63-1 leaves")
