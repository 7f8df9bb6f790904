"""Blocks: the tree over 1 MiB blocks of ciphertext, by which any block is proven alone (SPEC section Attachment).

Whoever holds the signed root can take the blocks from anybody, in any order, and knows of each whether it is the right
one. The tree is that of RFC 9162, built while the blocks stream by: one hash for each level is kept, and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from infoexchange.attachment.form import BLOCK_SIZE, AttachmentRef
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.tlog import merkle


@dataclass(frozen=True)
class Block:
    """One block of ciphertext with the path from its hash to the root; nothing is verified yet."""

    index: int
    data: bytes = field(repr=False)
    path: tuple[bytes, ...] = field(repr=False)


def block_hash(data: bytes | memoryview) -> bytes:
    """Return the leaf hash of one block, without a copy of it."""
    digest = hashlib.sha256(b"\x00")
    digest.update(data)
    return digest.digest()


class Frontier:
    """The right edge of a growing tree: all that its root depends on."""

    def __init__(self) -> None:
        """Begin with no leaves."""
        self._edge: list[tuple[int, bytes]] = []  # complete subtrees, highest first: height and hash

    def add(self, leaf_hash: bytes) -> None:
        """Put one more leaf to the right."""
        height, node = 0, leaf_hash
        while self._edge and self._edge[-1][0] == height:
            node = merkle.node_hash(self._edge.pop()[1], node)
            height += 1
        self._edge.append((height, node))

    @property
    def root(self) -> bytes:
        """The root over the leaves so far."""
        if not self._edge:
            return merkle.EMPTY_ROOT
        *left, (_, node) = self._edge
        for _, sibling in reversed(left):
            node = merkle.node_hash(sibling, node)
        return node


class BlockTree:
    """The root of a ciphertext that comes in pieces of any length."""

    def __init__(self) -> None:
        """Begin with no bytes."""
        self.length = 0
        self._frontier = Frontier()
        self._leaf = hashlib.sha256(b"\x00")

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        while view:
            room = BLOCK_SIZE - self.length % BLOCK_SIZE
            part, view = view[:room], view[room:]
            self._leaf.update(part)
            self.length += len(part)
            if len(part) == room:
                self._close()

    def root(self) -> bytes:
        """Return the root; nothing may follow."""
        if self.length % BLOCK_SIZE:
            self._close()
        return self._frontier.root

    def _close(self) -> None:
        self._frontier.add(self._leaf.digest())
        self._leaf = hashlib.sha256(b"\x00")


def blocks_for(ref: AttachmentRef, offset: int, size: int) -> range:
    """Return the indices of the blocks that hold `size` bytes of ciphertext from `offset` on; what lies beyond: none.

    Raises:
        MalformedError: `BAD_FIELD` for a negative offset or size.
    """
    if offset < 0 or size < 0:
        raise error(Reason.BAD_FIELD, field="offset", detail="no place in an attachment")
    end = min(offset + size, ref.ct_length)
    return range(offset // BLOCK_SIZE, -(-end // BLOCK_SIZE)) if offset < end else range(0)


def verify_block(ref: AttachmentRef, index: int, block: Block) -> bytes:
    """Return the bytes of block `index`, once they are known to be those that were signed.

    Spec: section Attachment, step 4.

    Raises:
        UntrustedError: `BAD_SIGNATURE`.
    """
    # (4) the right place, the right length, and a path to the signed root
    try:
        if block.index == index and len(block.data) == ref.block_size(index):
            merkle.verify_inclusion(block_hash(block.data), index, ref.blocks, block.path, ref.ct_root)
            return block.data
    except ExchangeError:
        pass
    raise not_signed(index)


def verify_root(ref: AttachmentRef, length: int, root: bytes) -> None:
    """Return if a ciphertext of this length and root is the one named, or raise `BAD_SIGNATURE`."""
    if (length, root) != (ref.ct_length, ref.ct_root):
        raise error(Reason.BAD_SIGNATURE, field="attachment", detail="the bytes are not those that the root names")


def not_signed(index: int) -> ExchangeError:
    """Return the error for a block that is not the one that was signed."""
    return error(
        Reason.BAD_SIGNATURE,
        field="attachment",
        detail=f"block {index} is not the one that was signed",
        next_step="Fetch it again; if it fails again, report it to the relay's operator.",
    )


def path_of(hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the path of one block, given the leaf hashes of all of them; for readers with few blocks."""
    return tuple(merkle.inclusion_proof(index, hashes))
