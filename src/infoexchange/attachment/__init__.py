"""Attachment: bytes too many for a message: sealed as a stream, named by a tree root (SPEC section Attachment).

`form` holds what stands in manifest and content, `blocks` the tree that makes every block checkable by itself, and
`stream` sealing and opening. Nothing here holds more than a few megabytes, whatever the length.
"""

from infoexchange.attachment.blocks import Block, BlockTree, Frontier, blocks_for, verify_block
from infoexchange.attachment.form import (
    ATTACHMENT_SIZE_MAX,
    ATTACHMENTS_MAX,
    BLOCK_SIZE,
    AttachmentMeta,
    AttachmentRef,
    sealed_length,
)
from infoexchange.attachment.stream import Opening, Sealing, attachment_key

__all__ = [
    "ATTACHMENTS_MAX",
    "ATTACHMENT_SIZE_MAX",
    "BLOCK_SIZE",
    "AttachmentMeta",
    "AttachmentRef",
    "Block",
    "BlockTree",
    "Frontier",
    "Opening",
    "Sealing",
    "attachment_key",
    "blocks_for",
    "sealed_length",
    "verify_block",
]
