"""Tiles: the same roots and proofs as the plain list of leaves, names with one spelling, bundles with one form."""

import functools
import random

import pytest

from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from infoexchange.tlog import merkle, tiles

COUNT = 260
LEAVES = [merkle.leaf_hash(b"entry %d" % i) for i in range(COUNT)]


def reader(stored):
    return lambda level, n: stored[level, n]


def grown(sizes, leaf=lambda i: merkle.leaf_hash(b"entry %d" % i)):
    """Return the stored tiles after appending up to each of `sizes`, and the roots on the way."""
    stored, roots, size = {}, {}, 0
    for target in sizes:
        changed, roots[target] = tiles.extend(size, [leaf(i) for i in range(size, target)], reader(stored))
        stored.update(changed)
        size = target
    return stored, roots


@pytest.fixture
def remembered(monkeypatch):
    """Let pure functions remember their results, which makes the exhaustive tests fast."""
    monkeypatch.setattr(merkle, "node_hash", functools.cache(merkle.node_hash))
    root = functools.cache(merkle.root)
    monkeypatch.setattr(merkle, "root", lambda hashes: root(tuple(hashes)))


@pytest.mark.usefixtures("remembered")
def test_appending_one_by_one_gives_every_root():
    _, roots = grown(range(1, COUNT + 1))
    for size, root in roots.items():
        assert root == merkle.root(LEAVES[:size])


@pytest.mark.usefixtures("remembered")
def test_every_proof_of_every_size_comes_from_the_last_tiles():
    # One store, grown to 260: proofs for older sizes must use only the first hashes of tiles that are wider now.
    # `test_tlog_merkle` shows that the expected proofs are those of the definition.
    read = reader(grown([COUNT])[0])
    subtree = functools.cache(merkle.subtree_of(LEAVES))
    for size in range(COUNT + 1):
        assert tiles.root(size, read) == merkle.root(LEAVES[:size])
    for size in range(1, COUNT + 1):
        for number in range(size):
            assert tiles.inclusion_proof(number, size, read) == merkle.inclusion_path(number, size, subtree)
            expected = merkle.consistency_path(number + 1, size, subtree)
            assert tiles.consistency_proof(number + 1, size, read) == expected


def test_batches_of_any_length_give_the_same_tiles():
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    leaf = functools.cache(lambda i: merkle.leaf_hash(b"%d" % i))
    sizes, size = [], 0
    while size < 3000:
        size += chance.choice([1, 2, 7, 255, 256, 257, 600])
        sizes.append(size)
    stored, roots = grown(sizes, leaf)
    whole, one = grown([size], leaf)
    assert stored == whole
    assert roots[size] == one[size] == merkle.root([leaf(i) for i in range(size)])
    read = reader(stored)
    for _ in range(50):
        late = chance.choice(sizes)
        index, early = chance.randrange(late), chance.randrange(1, late + 1)
        proof = tiles.inclusion_proof(index, late, read)
        merkle.verify_inclusion(leaf(index), index, late, proof, tiles.root(late, read))
        proof = tiles.consistency_proof(early, late, read)
        merkle.verify_consistency(early, tiles.root(early, read), late, roots[late], proof)


def test_a_tree_of_70_000_has_the_tiles_of_the_specification():
    leaves = [i.to_bytes(32, "big") for i in range(70_000)]
    changed, root = tiles.extend(0, leaves, reader({}))
    widths = {level: [] for level in range(3)}
    for (level, n), raw in sorted(changed.items()):
        width = len(raw) // 32
        assert tiles.width_at(level, n, 70_000) == width
        widths[level].append(width)
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    assert root == merkle.root(leaves)


def test_a_tree_of_256_has_a_partial_tile_above():
    changed, root = tiles.extend(0, LEAVES[:256], reader({}))
    assert {key: len(raw) for key, raw in changed.items()} == {(0, 0): 8192, (1, 0): 32}
    assert changed[1, 0] == root


def test_reads_stay_few_and_appending_reads_the_right_edge_only():
    stored, _ = grown([70_000], lambda i: i.to_bytes(32, "big"))
    seen = []

    def read(level, n):
        seen.append((level, n))
        return stored[level, n]

    tiles.inclusion_proof(12_345, 70_000, read)
    assert len(seen) == len(set(seen)) <= 6
    seen.clear()
    changed, _ = tiles.extend(70_000, [b"x" * 32], read)
    assert set(changed) == {(0, 273)}
    assert set(seen) == {(0, 273), (1, 1), (2, 0)}


def test_what_a_crash_left_beyond_the_size_is_overwritten():
    stored, _ = grown([100])
    changed, root = tiles.extend(90, LEAVES[:5], reader(stored))
    assert root == merkle.root([*LEAVES[:90], *LEAVES[:5]])
    assert len(changed[0, 0]) == 95 * 32


def test_nothing_appended_changes_nothing():
    stored, roots = grown([100])
    assert tiles.extend(100, [], reader(stored)) == ({}, roots[100])
    assert tiles.extend(0, [], reader({})) == ({}, merkle.EMPTY_ROOT)


def refused(reason, call, *args):
    with pytest.raises(ExchangeError) as caught:
        call(*args)
    assert caught.value.reason is reason


@pytest.mark.parametrize("stored", [b"", b"x" * 31, b"x" * (32 * 99), b"x" * (32 * 100 + 1), b"x" * (32 * 257)])
def test_a_stored_tile_that_is_short_or_not_whole_is_refused(stored):
    refused(Reason.MALFORMED, tiles.root, 100, lambda level, n: stored)
    refused(Reason.MALFORMED, tiles.extend, 100, LEAVES[:1], lambda level, n: stored)


def test_the_largest_tree():
    """2^63-1 leaves, all alike: of each level one tile is read."""
    levels = []

    def read(level, n):
        levels.append(level)
        return bytes(32 * 256)

    size = 2**63 - 1
    assert len(tiles.root(size, read)) == 32
    assert sorted(levels) == list(range(8))
    changed, _ = tiles.extend(size - 1, [bytes(32)], read)
    assert list(changed) == [(0, (size - 1) >> 8)]
    assert len(tiles.inclusion_proof(size - 1, size, read)) == 62
    for call in (tiles.root, lambda size, read: tiles.extend(size, [], read)):
        for wrong in (-1, size + 1):
            refused(Reason.BAD_FIELD, call, wrong, read)
    refused(Reason.BAD_FIELD, tiles.extend, size - 1, [bytes(32)] * 2, read)


@pytest.mark.parametrize("width", [0, 257, -1])
def test_a_width_that_no_tile_has(width):
    refused(Reason.BAD_FIELD, tiles.parse_tile, b"x" * (32 * max(width, 0)), width)
    refused(Reason.BAD_FIELD, tiles.parse_entries, b"\0\0" * max(width, 0), width)


def test_one_proof_after_another_reads_each_tile_once():
    stored, _ = grown([COUNT])
    read = []
    prove = tiles.prover(COUNT, lambda level, n: read.append((level, n)) or stored[level, n])
    for index in (0, 7, COUNT - 1):
        assert prove(index) == tiles.inclusion_proof(index, COUNT, reader(stored))
    assert len(read) == len(set(read))
    proof = tiles.prefix_path(6, 13, reader(stored))
    assert merkle.prefix_roots(6, 13, proof) == (merkle.root(LEAVES[:6]), merkle.root(LEAVES[:13]))


def test_refused_sizes_and_hashes():
    read = reader(grown([10])[0])
    refused(Reason.BAD_FIELD, tiles.extend, merkle.SIZE_MAX, LEAVES[:1], read)
    refused(Reason.BAD_FIELD, tiles.extend, -1, LEAVES[:1], read)
    refused(Reason.BAD_FIELD, tiles.extend, 0, [b"x" * 31], read)
    refused(Reason.BAD_FIELD, tiles.root, 2**63, read)
    refused(Reason.BAD_FIELD, tiles.inclusion_proof, 10, 10, read)
    refused(Reason.BAD_FIELD, tiles.consistency_proof, 0, 10, read)
    refused(Reason.BAD_FIELD, tiles.consistency_proof, 11, 10, read)


PATHS = {
    "tile/0/000": (0, 0, 256),
    "tile/0/x001/x234/067": (0, 1_234_067, 256),
    "tile/63/255.p/255": (63, 255, 255),
    "tile/2/x001/000.p/1": (2, 1000, 1),
    "tile/entries/x273/112.p/112": (tiles.ENTRIES, 273_112, 112),
    "tile/0/999": (0, 999, 256),
    "tile/1/000": (1, 0, 256),
    "tile/0/x009/x223/x372/x036/x854/x775/807": (0, 2**63 - 1, 256),
}


@pytest.mark.parametrize("path", PATHS)
def test_names(path):
    assert tiles.parse_tile_path(path) == PATHS[path]
    assert tiles.tile_path(*PATHS[path]) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/000/",
        "/tile/0/000",
        "tiles/0/000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/\u0661/000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/x000/001",
        "tile/0/xx01/000",
        "tile/0/x1/000",
        "tile/0/x001000",
        "tile/0/1e1",
        "tile/0/ 01",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/00",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/-1",
        "tile/0/000.p/1/",
        "tile/0/000/1",
        "tile/0/000.p/1\n",
        "tile/entries",
        "tile/ENTRIES/000",
        "tile/data/000",
        "tile/0/" + "x999/" * 6 + "999",
        "tile/0/" + "x999/" * 400 + "999",
        "tile/0/" + "x999/" * 2000 + "999",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/001.p/002.p/3",
        "tile/001.p/3",
        "tile/0/-05",
        "tile/0/\u0660\u0660\u0665",
    ],
)
def test_refused_names(path):
    refused(Reason.MALFORMED, tiles.parse_tile_path, path)


def test_tile_of_the_width_in_its_path():
    assert tiles.parse_tile(b"".join(LEAVES[:3]), 3) == tuple(LEAVES[:3])


@pytest.mark.parametrize(
    ("raw", "width"), [(b"", 0), (b"", 1), (b"x" * 31, 1), (b"x" * 33, 1), (b"x" * 64, 1), (b"x" * 8224, 257)]
)
def test_refused_tiles(raw, width):
    refused(Reason.MALFORMED if width == 1 else Reason.BAD_FIELD, tiles.parse_tile, raw, width)


def test_a_tile_that_is_not_there_has_no_width():
    assert [tiles.width_at(0, n, 300) for n in range(4)] == [256, 44, 0, 0]


@pytest.mark.parametrize(
    "entries",
    [
        *([b""], [b"a", b"", b"bc"], [b"x" * 65_535], [b"e"] * 256, [b""] * 256, [b"", b"a"], [b"a", b""]),
        *([b"ab", b"cd", b"ef"], [b"ab", b"cd", b"e"], [b"\0\1", b"\0\1", b"\0\1"], [b"x" * 256, b"y" * 256]),
        *([b"x" * 256, b"y" * 256, b""], [b"x" * 258, b"y" * 514]),
    ],
    ids=lambda entries: f"{len(entries)}-{len(entries[0])}-{len(entries[-1])}",
)
def test_entry_bundles(entries):
    assert tiles.parse_entries(tiles.write_entries(entries), len(entries)) == entries


@pytest.mark.parametrize(
    ("raw", "width"),
    [
        (b"", 1),
        (b"\0", 1),
        (b"\0\1", 1),
        (b"\0\2a", 1),
        (b"\0\1ab", 1),
        (b"\0\1a\0", 1),
        (b"\0\1a\0\1b", 1),
        (b"\0\1a", 2),
        (b"\0\1a", 0),
        (b"\0\0" * 257, 257),
        (b"\0\1a\0\1", 2),
        (b"\0\1a\0\1bc", 2),
        (b"\0\1a\0\2b", 2),
        (b"\0\1a\0\2a", 2),
        (b"\0\1a\1\1b", 2),
        (b"\0\1\0\1", 2),
        (b"\0\1a\0", 2),
        (b"\0\0\0\1", 2),
        (b"\0\0\0", 2),
        (b"\1\0" + b"x" * 255, 1),
        (b"\0\0\0\0\0\1", 2),
        (b"\0\0\1\0\0\1", 2),
    ],
)
def test_refused_entry_bundles(raw, width):
    refused(Reason.BAD_FIELD if width in (0, 257) else Reason.MALFORMED, tiles.parse_entries, raw, width)


def test_entries_that_make_no_bundle():
    with pytest.raises(RefusedError) as caught:
        tiles.write_entries([b"x" * 65_536])
    assert caught.value.reason is Reason.TOO_LARGE
    for entries in ([], [b""] * 257):
        refused(Reason.BAD_FIELD, tiles.write_entries, entries)


def test_random_bundles_are_parsed_or_refused():
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(2000):
        raw = bytes(chance.choice(b"\0\0\0\1\2\3a") for _ in range(chance.randrange(20)))
        width = chance.randrange(1, 6)
        try:
            entries = tiles.parse_entries(raw, width)
        except MalformedError:
            continue
        assert tiles.write_entries(entries) == raw
