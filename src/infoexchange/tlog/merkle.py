"""Merkle: the hash tree of RFC 6962, its inclusion proofs and its consistency proofs.

Everything that a receipt, a witness or an auditor believes rests on the two verifications here, so they follow the
numbered steps of RFC 9162 and refuse all that is not exactly one form. The makers of proofs ask a callable for the hash
of a complete subtree, so that a list of leaf hashes and a folder of tiles share one definition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from infoexchange.errors import Reason, error

# Specification constants
HASH_SIZE = 32  # SHA-256
SIZE_MAX = 2**63 - 1  # SPEC section Audit log: a larger size is refused
PATH_MAX = 63  # SPEC section Audit log: the longest path of a tree within SIZE_MAX
EMPTY_ROOT = hashlib.sha256(b"").digest()  # RFC 9162 2.1.1: the root of no leaves

Subtree = Callable[[int, int], bytes]
"""`(start, height) -> hash` of the complete subtree over leaves `start` to `start + 2**height`."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one leaf, SHA-256 of 0x00 and its exact bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, SHA-256 of 0x01 and both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root of a tree with these leaf hashes; no leaves give `EMPTY_ROOT`."""
    return range_root(0, len(leaf_hashes), subtree_of(leaf_hashes))


def inclusion_proof(index: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """Return the path from leaf `index` to the root, the leaf's sibling first.

    Raises:
        MalformedError: `BAD_FIELD` when there is no such leaf.
    """
    return inclusion_path(index, len(leaf_hashes), subtree_of(leaf_hashes))


def consistency_proof(size1: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """Return the proof that the first `size1` leaves are the beginning of them all.

    Raises:
        MalformedError: `BAD_FIELD` when `size1` is not between 1 and the number of leaves.
    """
    return consistency_path(size1, len(leaf_hashes), subtree_of(leaf_hashes))


def subtree_of(leaf_hashes: Sequence[bytes]) -> Subtree:
    """Return the subtree function of a list of leaf hashes."""

    def subtree(start: int, height: int) -> bytes:
        row = leaf_hashes[start : start + (1 << height)]
        while len(row) > 1:
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        return row[0]

    return subtree


def range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """Return the root over leaves `start` to `end`, where `start` is one that the tree's own shape allows."""
    if start == end:
        return EMPTY_ROOT
    hashes = []
    while start < end:  # the set bits of the length, highest first, are its complete subtrees
        height = (end - start).bit_length() - 1
        hashes.append(subtree(start, height))
        start += 1 << height
    right = hashes.pop()
    while hashes:
        right = node_hash(hashes.pop(), right)
    return right


def inclusion_path(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the inclusion proof of RFC 9162 2.1.3.1, asking for O(log size) subtrees."""
    if not 0 <= index < size <= SIZE_MAX:
        raise error(Reason.BAD_FIELD, field="index", detail=f"no leaf {index} in a tree of {size}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(middle, end, subtree))
            end = middle
        else:
            path.append(range_root(start, middle, subtree))
            start = middle
    return path[::-1]


def consistency_path(size1: int, size2: int, subtree: Subtree) -> list[bytes]:
    """Return the consistency proof of RFC 9162 2.1.4.1, asking for O(log size2) subtrees."""
    if not 0 < size1 <= size2 <= SIZE_MAX:
        raise error(Reason.BAD_FIELD, field="size1", detail=f"no proof from size {size1} to size {size2}")
    path, start, end = [], 0, size2
    while size1 != end:
        middle = start + _split(end - start)
        if size1 <= middle:
            path.append(range_root(middle, end, subtree))
            end = middle
        else:
            path.append(range_root(start, middle, subtree))
            start = middle
    if start:  # the old tree is not one complete subtree, so its last part must be named
        path.append(range_root(start, end, subtree))
    return path[::-1]


def prefix_path(size1: int, size2: int, subtree: Subtree) -> list[bytes]:
    """Return the consistency path with its first hash always named, which `prefix_roots` climbs from.

    The RFC leaves that hash out where the old tree is one complete subtree, because it must be the old root. Named, it
    shows to a third party what stands in the place of another old root.
    """
    path = consistency_path(size1, size2, subtree)
    complete = size1 < size2 and size1 & (size1 - 1) == 0
    return [range_root(0, size1, subtree), *path] if complete else path


def root_of_path(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that this path leads to (RFC 9162 2.1.3.2); the caller compares it.

    Raises:
        UntrustedError: `BAD_PROOF` when the path does not fit the index and size.
    """
    # (1) the leaf lies in the tree
    if not 0 <= index < size <= SIZE_MAX:
        raise _bad_proof("index", f"no leaf {index} in a tree of {size}")
    _check_hashes((leaf_hash, *proof), "proof")
    # (2) to (4) climb; `node` and `last` are this level's positions of our node and of the rightmost one
    node, last, result = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise _bad_proof("proof", "the path is too long")
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:  # levels where our node has no sibling
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    # (5) all levels are climbed
    if last:
        raise _bad_proof("proof", "the path is too short")
    return result


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the leaf stands at `index` of the tree with that size and root, or raise.

    Raises:
        UntrustedError: `BAD_PROOF`.
    """
    if root_of_path(leaf_hash, index, size, proof) != root:
        raise _bad_proof("root", "the path leads to another root")


def verify_consistency(size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]) -> None:
    """Return if the tree of `size2` begins with the tree of `size1`, or raise.

    Only a witness that has seen nothing may start from size 0; it must not ask here, as nothing could be proven.

    Raises:
        UntrustedError: `BAD_PROOF`.
    """
    if not 0 < size1 <= size2 <= SIZE_MAX:
        raise _bad_proof("size1", f"no proof from size {size1} to size {size2}")
    _check_hashes((root1, root2, *proof), "proof")
    if size1 == size2:
        if proof or root1 != root2:
            raise _bad_proof("proof", "equal sizes need equal roots and an empty proof")
        return
    # (1) and (2) a proof from a complete tree leaves out that tree's root
    complete = size1 & (size1 - 1) == 0
    if not proof:
        raise _bad_proof("proof", "the proof is empty")
    # (3) to (7) both roots agree
    if prefix_roots(size1, size2, [root1, *proof] if complete else proof) != (root1, root2):
        raise _bad_proof("proof", "the proof leads to other roots")


def prefix_roots(size1: int, size2: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the roots of the first `size1` leaves, and of all `size2`, to which a `prefix_path` leads.

    Whoever knows the second root to be true knows, by the strength of the hash, that the first is that of the leaves
    below it, whatever else was said of them.

    Raises:
        UntrustedError: `BAD_PROOF` when there is no such path, or it is not of the length that the sizes need.
    """
    if not 0 < size1 < size2 <= SIZE_MAX or not path:
        raise _bad_proof("size1", f"no path of {len(path)} hashes from size {size1} to size {size2}")
    _check_hashes(path, "proof")
    # (3) and (4) skip the levels where the old tree is complete
    node, last = size1 - 1, size2 - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    # (5) and (6) climb with both trees at once
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _bad_proof("proof", "the proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    # (7) all levels are climbed
    if last:
        raise _bad_proof("proof", "the proof is too short")
    return old, new


def _split(count: int) -> int:
    """Return the largest power of two below `count`, where RFC 9162 2.1.1 divides a tree."""
    return 1 << ((count - 1).bit_length() - 1)


def _check_hashes(hashes: Sequence[bytes], field: str) -> None:
    if any(len(entry) != HASH_SIZE for entry in hashes):
        raise _bad_proof(field, f"a hash has other than {HASH_SIZE} bytes")


def _bad_proof(field: str, detail: str) -> Exception:
    return error(Reason.BAD_PROOF, field=field, detail=detail)
