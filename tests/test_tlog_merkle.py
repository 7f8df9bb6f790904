"""Merkle trees against the definition of RFC 9162 2.1, every index and size up to 260, and all refused proofs."""

import functools
import hashlib

import pytest

from infoexchange.errors import ExchangeError, MalformedError, Reason, UntrustedError
from infoexchange.tlog import merkle

COUNT = 260  # more than one tile of 256, so that the same sizes test both layers
LEAVES = [merkle.leaf_hash(b"entry %d" % i) for i in range(COUNT)]


def sha256(data):
    return hashlib.sha256(data).digest()


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@functools.cache
def naive_root(start, end):
    """MTH(D[start:end]), word for word."""
    n = end - start
    if n == 0:
        return sha256(b"")
    if n == 1:
        return LEAVES[start]
    k = split(n)
    return sha256(b"\x01" + naive_root(start, start + k) + naive_root(start + k, end))


def naive_path(m, start, end):
    """PATH(m, D[start:end]), word for word."""
    n = end - start
    if n == 1:
        return []
    k = split(n)
    if m < k:
        return [*naive_path(m, start, start + k), naive_root(start + k, end)]
    return [*naive_path(m - k, start + k, end), naive_root(start, start + k)]


def naive_proof(m, start, end, whole=True):
    """SUBPROOF(m, D[start:end], whole), word for word."""
    n = end - start
    if m == n:
        return [] if whole else [naive_root(start, end)]
    k = split(n)
    if m <= k:
        return [*naive_proof(m, start, start + k, whole), naive_root(start + k, end)]
    return [*naive_proof(m - k, start + k, end, False), naive_root(start, start + k)]


@pytest.fixture
def remembered(monkeypatch):
    """Let the pure node function remember its results, which makes the exhaustive tests fast."""
    monkeypatch.setattr(merkle, "node_hash", functools.cache(merkle.node_hash))


@pytest.mark.usefixtures("remembered")
def test_roots_are_those_of_the_definition():
    for size in range(COUNT + 1):
        assert merkle.root(LEAVES[:size]) == naive_root(0, size)
    assert merkle.root([]) == merkle.EMPTY_ROOT


@pytest.mark.usefixtures("remembered")
def test_every_inclusion_proof_is_that_of_the_definition_and_verifies():
    subtree = functools.cache(merkle.subtree_of(LEAVES))
    for size in range(1, COUNT + 1):
        for index in range(size):
            proof = naive_path(index, 0, size)
            assert merkle.inclusion_path(index, size, subtree) == proof
            if size < 40 or size > 255:
                assert merkle.inclusion_proof(index, LEAVES[:size]) == proof
            merkle.verify_inclusion(LEAVES[index], index, size, proof, naive_root(0, size))


@pytest.mark.usefixtures("remembered")
def test_every_consistency_proof_is_that_of_the_definition_and_verifies():
    subtree = functools.cache(merkle.subtree_of(LEAVES))
    for size2 in range(1, COUNT + 1):
        for size1 in range(1, size2 + 1):
            proof = naive_proof(size1, 0, size2)
            assert merkle.consistency_path(size1, size2, subtree) == proof
            if size2 < 40 or size2 > 255:
                assert merkle.consistency_proof(size1, LEAVES[:size2]) == proof
            merkle.verify_consistency(size1, naive_root(0, size1), size2, naive_root(0, size2), proof)


def test_small_trees_are_those_of_the_definition():
    """As the two above, in the time that a test of every small fault may take."""
    assert sha256(b"") == merkle.EMPTY_ROOT
    assert merkle.root([]) == naive_root(0, 0)
    for size in range(1, 20):
        subtree, root = merkle.subtree_of(LEAVES[:size]), naive_root(0, size)
        assert merkle.root(LEAVES[:size]) == root
        for index in range(size):
            proof = merkle.inclusion_path(index, size, subtree)
            assert proof == naive_path(index, 0, size)
            assert merkle.root_of_path(LEAVES[index], index, size, proof) == root
        for size1 in range(1, size + 1):
            proof = merkle.consistency_path(size1, size, subtree)
            assert proof == naive_proof(size1, 0, size)
            merkle.verify_consistency(size1, naive_root(0, size1), size, root, proof)


def test_what_needs_no_path_is_still_of_its_size():
    """With no path the leaf is the root: only the sizes tell that nothing is proven."""
    one, most = LEAVES[0], merkle.SIZE_MAX
    for index, size in ((1, 1), (2, 1), (-1, 1), (0, 2), (1, 2), (0, 0), (0, most + 1)):
        refuses(merkle.verify_inclusion, one, index, size, [], one)
    merkle.verify_consistency(most, one, most, one, [])
    for size in (0, -1, most + 1):
        refuses(merkle.verify_consistency, size, one, size, one, [])
    for size in (1, 2, 4):
        refuses(merkle.prefix_roots, size, size, [one])


def test_published_small_tree():
    # The eight leaves of the certificate-transparency reference tests, also used in RFC 6962 implementations.
    data = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    hashes = [merkle.leaf_hash(bytes.fromhex(entry)) for entry in data]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    for size, expected in roots.items():
        assert merkle.root(hashes[:size]).hex() == expected


def refuses(verify, *args):
    with pytest.raises(UntrustedError) as caught:
        verify(*args)
    assert caught.value.reason is Reason.BAD_PROOF


@pytest.mark.usefixtures("remembered")
def test_inclusion_is_refused_for_every_other_index_and_size():
    for size in range(1, 24):
        for index in range(size):
            proof = naive_path(index, 0, size)
            for other in {*range(size)} - {index}:
                refuses(merkle.verify_inclusion, LEAVES[index], other, size, proof, naive_root(0, size))
            for other in {*range(1, 50)} - {size}:
                try:
                    root = merkle.root_of_path(LEAVES[index], index, other, proof)
                except UntrustedError:
                    continue
                # A path does not commit to the size; the checkpoint does. The root must still be the same one.
                assert root == naive_root(0, size)


def inclusion(**change):
    args = {"leaf": LEAVES[5], "index": 5, "size": 11, "proof": naive_path(5, 0, 11), "root": naive_root(0, 11)}
    args.update(change)
    return list(args.values())


PATH = naive_path(5, 0, 11)


@pytest.mark.parametrize(
    "change",
    [
        {"index": 11},
        {"index": 12},
        {"index": -1},
        {"index": 0, "size": 0, "proof": []},
        {"size": 2**63},
        {"size": -11},
        {"proof": [PATH[0][:31], *PATH[1:]]},
        {"proof": [PATH[0] + b"\0", *PATH[1:]]},
        {"proof": [b"", *PATH[1:]]},
        {"leaf": LEAVES[5][:31]},
        {"leaf": b""},
        {"proof": []},
        {"proof": PATH[:-1]},
        {"proof": [*PATH, PATH[0]]},
        {"proof": PATH[::-1]},
        {"proof": PATH * 16},
        {"root": naive_root(0, 10)},
        {"root": b""},
        {"leaf": LEAVES[4]},
    ],
)
def test_refused_inclusion(change):
    merkle.verify_inclusion(*inclusion())
    refuses(merkle.verify_inclusion, *inclusion(**change))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_root_over_hashes_of_another_length_proves_nothing(length):
    # A hostile log can build such a tree; where one hash ends and the next begins would be its choice.
    odd = b"x" * length
    refuses(merkle.verify_inclusion, LEAVES[0], 0, 2, [odd], merkle.node_hash(LEAVES[0], odd))
    refuses(merkle.verify_inclusion, odd, 0, 2, [LEAVES[0]], merkle.node_hash(odd, LEAVES[0]))
    refuses(merkle.verify_inclusion, odd, 0, 1, [], odd)
    refuses(merkle.verify_consistency, 1, odd, 1, odd, [])
    refuses(merkle.verify_consistency, 1, odd, 2, merkle.node_hash(odd, LEAVES[0]), [LEAVES[0]])
    refuses(merkle.verify_consistency, 1, LEAVES[0], 2, merkle.node_hash(LEAVES[0], odd), [odd])


def test_a_path_of_63_hashes_is_the_longest():
    size = merkle.SIZE_MAX
    assert size == 9_223_372_036_854_775_807
    path = [LEAVES[0]] * merkle.PATH_MAX
    merkle.root_of_path(LEAVES[1], 0, size, path)
    refuses(merkle.root_of_path, LEAVES[1], 0, size, [*path, LEAVES[0]])


def consistency(**change):
    args = {"size1": 6, "root1": naive_root(0, 6), "size2": 11, "root2": naive_root(0, 11)}
    args["proof"] = naive_proof(6, 0, 11)
    args.update(change)
    return list(args.values())


CHAIN = naive_proof(6, 0, 11)


@pytest.mark.parametrize(
    "change",
    [
        {"size1": 12},
        {"size1": 0},
        {"size1": 0, "root1": merkle.EMPTY_ROOT, "proof": []},
        {"size1": -6},
        {"size2": 2**63},
        {"size1": 11, "root1": naive_root(0, 11)},
        {"size1": 11, "proof": []},
        {"size1": 11, "root1": naive_root(0, 10), "proof": []},
        {"proof": []},
        {"size1": 8, "root1": naive_root(0, 8), "proof": []},
        {"proof": CHAIN[:-1]},
        {"proof": CHAIN[1:]},
        {"proof": [*CHAIN, CHAIN[0]]},
        {"proof": [CHAIN[0][:31], *CHAIN[1:]]},
        {"proof": CHAIN * 16},
        {"root1": naive_root(0, 5)},
        {"root2": naive_root(0, 10)},
        {"root1": b""},
        {"root2": b""},
        {"size1": 5},
        {"size1": 7},
        {"size2": 20},
    ],
)
def test_refused_consistency(change):
    merkle.verify_consistency(*consistency())
    refuses(merkle.verify_consistency, *consistency(**change))


@pytest.mark.usefixtures("remembered")
def test_a_flipped_bit_in_any_proof_is_refused():
    for size in (2, 3, 7, 8, 11):
        for index in range(size):
            root, proof = naive_root(0, size), naive_path(index, 0, size)
            for place in range(len(proof)):
                for bit in range(0, 256, 37):
                    changed = bytearray(proof[place])
                    changed[bit // 8] ^= 1 << bit % 8
                    bad = [*proof[:place], bytes(changed), *proof[place + 1 :]]
                    refuses(merkle.verify_inclusion, LEAVES[index], index, size, bad, root)
            if not index:
                continue
            proof = naive_proof(index, 0, size)
            for place in range(len(proof)):
                changed = bytearray(proof[place])
                changed[index] ^= 1
                bad = [*proof[:place], bytes(changed), *proof[place + 1 :]]
                refuses(merkle.verify_consistency, index, naive_root(0, index), size, root, bad)


def test_an_empty_proof_is_named():
    for size1, size2 in ((3, 7), (4, 7), (1, 2)):
        with pytest.raises(ExchangeError) as caught:
            merkle.verify_consistency(size1, LEAVES[0], size2, LEAVES[1], [])
        assert (caught.value.reason, caught.value.field) == (Reason.BAD_PROOF, "proof")
        assert "empty" in caught.value.detail


def test_proofs_in_the_largest_tree():
    """2^63-1 leaves, of which nobody looks at more than the subtrees that a proof is made of."""
    size, alike = 2**63 - 1, lambda start, height: bytes(32)
    assert len(merkle.inclusion_path(0, size, alike)) == 63
    assert len(merkle.inclusion_path(size - 1, size, alike)) == 62
    assert merkle.consistency_path(size, size, alike) == merkle.prefix_path(size, size, alike) == []
    for make in (merkle.consistency_path, merkle.prefix_path):
        path = make(1, size, alike)
        assert len(path) == 63 + (make is merkle.prefix_path)
    assert len(merkle.prefix_roots(1, size, path)) == 2
    for make in (merkle.inclusion_path, merkle.consistency_path, merkle.prefix_path):
        for numbers in ((1, size + 1), (-1, size), (size + 1, size)):
            with pytest.raises(MalformedError) as caught:
                make(*numbers, alike)
            assert caught.value.reason is Reason.BAD_FIELD


def test_an_empty_path_proves_a_tree_of_one():
    merkle.verify_inclusion(LEAVES[0], 0, 1, [], LEAVES[0])
    merkle.verify_consistency(1, LEAVES[0], 1, LEAVES[0], [])


@pytest.mark.parametrize(("make", "number"), [(merkle.inclusion_proof, 3), (merkle.inclusion_proof, -1)])
def test_no_inclusion_proof_for_a_leaf_that_is_not_there(make, number):
    with pytest.raises(MalformedError):
        make(number, LEAVES[:3])


@pytest.mark.parametrize("size1", [0, 4, -1])
def test_no_consistency_proof_from_a_size_that_is_not_there(size1):
    with pytest.raises(MalformedError):
        merkle.consistency_proof(size1, LEAVES[:3])


@pytest.mark.usefixtures("remembered")
def test_a_prefix_path_is_the_proof_with_its_first_hash_named():
    for size2 in range(2, 40):
        subtree = merkle.subtree_of(LEAVES[:size2])
        for size1 in range(1, size2):
            path, proof = merkle.prefix_path(size1, size2, subtree), naive_proof(size1, 0, size2)
            roots = (naive_root(0, size1), naive_root(0, size2))
            assert path == ([roots[0], *proof] if size1 & (size1 - 1) == 0 else proof)
            assert merkle.prefix_roots(size1, size2, path) == roots
    assert merkle.prefix_path(4, 4, merkle.subtree_of(LEAVES[:4])) == []


def test_a_prefix_path_of_another_length_or_for_other_sizes_is_refused():
    path = merkle.prefix_path(6, 13, merkle.subtree_of(LEAVES[:13]))
    for sizes in ((0, 13), (13, 13), (14, 13), (-1, 13), (6, 2**63)):
        refuses(merkle.prefix_roots, *sizes, path)
    for wrong in ([], path[:-1], [*path, bytes(32)], [path[0][:-1], *path[1:]], [*path[:-1], b""]):
        refuses(merkle.prefix_roots, 6, 13, wrong)
    refuses(merkle.prefix_roots, 1, 2, [bytes(32)] * 3)
    refuses(merkle.prefix_roots, 1, 2, [bytes(32)])
