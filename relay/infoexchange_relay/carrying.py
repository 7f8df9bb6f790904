"""Carrying: attachments on their way to another relay, beside its queue, so that they hold up no other message.

One upload at a time goes to each peer, the most urgent first: after every part of 64 MiB it is asked anew which one
that is. An envelope whose attachments have arrived is handed over like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from infoexchange.attachment import AttachmentRef
from infoexchange.chunks import Blob, Chunks, upload
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.manifest import Manifest
from infoexchange.node import Node

# Implementation constants
_PAUSE = 5.0  # seconds after a failure before the next attachment is tried

_log = structlog.get_logger()


class Carrier:
    """The attachments for one peer."""

    def __init__(self, name: str, target: Chunks, node: Node) -> None:
        """Hold the way to the peer."""
        self._name = name
        self._target = target
        self._node = node
        self._loads: dict[int, Manifest] = {}
        self._refused: dict[int, Reason] = {}
        self._wake = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self, arrived: Callable[[int], None], wake: Callable[[], None]) -> AsyncIterator[None]:
        """Upload while the block lasts; `arrived` is told which envelope may go, by place, then `wake` is called."""
        pool = ThreadPoolExecutor(1, "carry")
        task = asyncio.create_task(self._run(pool, arrived, wake))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            pool.shutdown(wait=False)  # an upload under way ends with its connection

    def take(self, position: int, raw: bytes) -> None:
        """Upload the attachments of an envelope, which is named by its place in the queue."""
        self._loads[position] = Envelope.parse(raw).manifest
        self._wake.set()

    def has(self, position: int) -> bool:
        """Whether the attachments of an envelope are on their way."""
        return position in self._loads

    def refused(self, position: int) -> Reason | None:
        """Return why the peer takes no attachments of an envelope, if it said so; the answer is given once."""
        return self._refused.pop(position, None)

    async def _run(self, pool: ThreadPoolExecutor, arrived: Callable[[int], None], wake: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._loads:
                self._wake.clear()
                await self._wake.wait()
            # As in the queue: precedence first, then arrival.
            position = min(self._loads, key=lambda place: (-self._loads[place].header.precedence, place))
            try:
                whole = await loop.run_in_executor(pool, self._part, self._loads[position])
            except Exception as problem:  # noqa: BLE001  the others go on; its text may hold bytes
                if not isinstance(problem, ExchangeError) or isinstance(problem, UnavailableError):
                    # The forwarder finds the envelope again, and asks for it again, unless its time has run out.
                    reason = problem.reason.word if isinstance(problem, ExchangeError) else type(problem).__name__
                    _log.warning("carry_failed", peer=self._name, reason=reason)
                    del self._loads[position]
                    await asyncio.sleep(_PAUSE)
                    continue
                _log.error("attachment_refused", peer=self._name, reason=problem.reason.word)
                self._refused[position] = problem.reason
                whole = True
            if whole:
                del self._loads[position]
                arrived(position)
                wake()

    def _part(self, manifest: Manifest) -> bool:
        """Upload one part; return whether nothing is missing any more. In a thread."""
        for ref in manifest.attachments:
            if not upload(self._target, ref, partial(self._ciphertext, manifest, ref), parts=1):
                return False
        return True

    def _ciphertext(self, manifest: Manifest, ref: AttachmentRef, offset: int, size: int) -> Iterator[bytes]:
        # What goes on to another relay was handed over by its sender.
        assert self._node.depot is not None
        blocks = self._node.depot.read(Blob(manifest.header.sender, ref.ct_root), offset, size)
        return (block.data for block in blocks)
