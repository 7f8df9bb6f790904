"""Cutting: bytes that come in pieces of any size, cut into an attachment's blocks."""

from __future__ import annotations

from collections.abc import Iterator

from infoexchange.attachment import BLOCK_SIZE, AttachmentRef
from infoexchange.errors import Reason, error


class Cutting:
    """The blocks of one attachment from some place on.

    Attributes:
        blocks: How many were handed out, those counted that were there before.
    """

    def __init__(self, ref: AttachmentRef, blocks: int, offset: int) -> None:
        """Go on after so many blocks; the bytes to come begin at `offset`, which is not behind them."""
        self.blocks = blocks
        self._ref = ref
        self._skip = min(blocks * BLOCK_SIZE, ref.ct_length) - offset
        self._rest = bytearray()  # the beginning of a block

    def take(self, data: bytes) -> Iterator[memoryview]:
        """Yield the blocks that the next bytes make whole.

        Raises:
            MalformedError: `BAD_FIELD` for bytes beyond the end; none of `data` is taken then.
        """
        view = memoryview(data)[self._skip :]
        self._skip = max(0, self._skip - len(data))
        position = min(self.blocks * BLOCK_SIZE, self._ref.ct_length) + len(self._rest)
        if position + len(view) > self._ref.ct_length:
            raise error(Reason.BAD_FIELD, field="offset", detail=f"more than {self._ref.ct_length} bytes")
        while view:
            size = self._ref.block_size(self.blocks)
            if not self._rest and len(view) >= size:  # the usual case, without a copy
                self.blocks += 1
                yield view[:size]
                view = view[size:]
                continue
            taken = min(size - len(self._rest), len(view))
            self._rest += view[:taken]
            view = view[taken:]
            if len(self._rest) == size:
                block, self._rest = self._rest, bytearray()
                self.blocks += 1
                yield memoryview(block)
