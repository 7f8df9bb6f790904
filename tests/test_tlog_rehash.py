"""The tree of an auditor is that of the log, however the leaves come in."""

from __future__ import annotations

import random

import pytest

from infoexchange.tlog import merkle, tiles
from infoexchange.tlog.rehash import Rehash


def leaf(index: int) -> bytes:
    return b"%d" % index


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 65_536, 65_537])
def test_tiles_and_root_are_those_of_the_log(size: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    leaves = [leaf(index) for index in range(size)]
    tree, found = Rehash(), {}
    while tree.size < size:
        for tile, hashes in tree.extend(leaves[tree.size : tree.size + rng.randint(1, 3000)]):
            assert tile.width == 256
            assert found.setdefault((tile.level, tile.n), hashes) is hashes  # each comes once
    for tile, hashes in tree.partial():
        assert tile.width == tiles.width_at(tile.level, tile.n, size) < 256
        assert found.setdefault((tile.level, tile.n), hashes) is hashes
    expected, root = tiles.extend(0, [merkle.leaf_hash(each) for each in leaves], lambda level, n: b"")
    assert (tree.size, tree.root, found) == (size, root, expected)


def test_the_root_is_known_at_every_size() -> None:
    tree, hashes = Rehash(), []
    assert tree.root == merkle.EMPTY_ROOT
    for index in range(300):
        tree.extend([leaf(index)])
        hashes.append(merkle.leaf_hash(leaf(index)))
        assert tree.root == merkle.root(hashes)


def test_nothing_added_changes_nothing() -> None:
    tree = Rehash()
    tree.extend([leaf(0)])
    before = tree.root
    assert tree.extend([]) == []
    assert (tree.size, tree.root) == (1, before)


def test_whole_tiles_have_their_numbers_on_every_level() -> None:
    tree, leaves = Rehash(), [bytes(8)] * 65_536
    names = [(tile.level, tile.n) for tile, _ in tree.extend(leaves[:65_000])]
    assert names == [(0, n) for n in range(253)]
    assert [(tile.level, tile.n, tile.width) for tile, _ in tree.partial()] == [(0, 253, 232), (1, 0, 253)]
    names = [(tile.level, tile.n) for tile, _ in tree.extend(leaves[:600])]
    assert names == [(0, 253), (0, 254), (0, 255), (1, 0)]
    assert [(tile.level, tile.n, tile.width) for tile, _ in tree.partial()] == [(0, 256, 64), (2, 0, 1)]


def test_there_is_an_edge_for_every_level_of_the_largest_tree() -> None:
    levels: set[int] = set()

    def read(level: int, _: int) -> bytes:
        levels.add(level)
        return bytes(32 * 256)

    tiles.root(merkle.SIZE_MAX, read)
    assert levels == set(range(len(Rehash()._edge)))


def test_little_is_kept() -> None:
    """However many leaves there were: less than one tile of each level."""
    tree = Rehash()
    for start in range(0, 70_000, 1000):
        tree.extend([leaf(index) for index in range(start, start + 1000)])
        kept = [hashes for _, hashes in tree.partial()]
        assert len(kept) <= 3
        assert sum(map(len, kept)) < 3 * 256 * 32
