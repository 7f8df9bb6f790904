"""Attachments as they travel, for tests of those who carry them: random bytes in place of ciphertext."""

import random

from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, BlockTree, sealed_length

# Two blocks and a third that is shorter; a length that an attachment may have.
SIZE = sealed_length(2 * BLOCK_SIZE + 40_000)


def ciphertext(seed=0, size=SIZE):
    """Return bytes, and the reference that names them."""
    first = random.Random(seed).randbytes(min(size, BLOCK_SIZE) - 8)
    blocks = (index.to_bytes(8, "big") + first for index in range(-(-size // BLOCK_SIZE)))
    data = b"".join(blocks)[:size]
    tree = BlockTree()
    tree.update(data)
    return data, AttachmentRef(bytes(16), size, tree.root())


def pieces(data, size=300_000):
    """Return data in pieces that end nowhere in particular."""
    return [data[start : start + size] for start in range(0, len(data), size)]
