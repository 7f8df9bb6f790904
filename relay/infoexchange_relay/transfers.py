"""Transfers: attachment bytes in and out, in threads of their own, so that they hold up neither checks nor the log."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog

from infoexchange.attachment import AttachmentRef, Block
from infoexchange.chunks import Blob, Writing
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Party
from infoexchange.node import Node
from infoexchange_relay.stores import FileDepot

# Implementation constants
_THREADS = 4  # hashing and the disk are busy with fewer
_FAR_THREADS = 16  # a store behind a network lets most of them wait
_PARTY_MAX = 8  # transfers of one party at once; each holds a few megabytes
_ALL_MAX = 64
_SWEEP = 30.0  # seconds between two looks for what nobody needs; disks fill in hours

P = ParamSpec("P")
T = TypeVar("T")
_log = structlog.get_logger()


class Transfers:
    """Everything that goes on with attachments at one relay."""

    def __init__(self, node: Node) -> None:
        """Hold a started node."""
        self.node = node
        near = node.depot is None or isinstance(node.depot, FileDepot)
        self._pool = ThreadPoolExecutor(_THREADS if near else _FAR_THREADS, "chunk")
        self._under_way: collections.Counter[str] = collections.Counter()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to delete what nobody needs, also what a crash left, in the running loop."""
        self._task = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """End the task and the threads."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._pool.shutdown()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a call returns that works with files, from a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))

    async def ask(self, owner: str, envelopes: Sequence[bytes]) -> None:
        """Ask a depot far away for the attachments of envelopes that were checked as far as they go without it."""
        await asyncio.gather(*(self.run(self._ask, owner, raw) for raw in envelopes))

    def _ask(self, owner: str, raw: bytes) -> None:
        depot = self.node.depot
        assert depot is not None
        with contextlib.suppress(ExchangeError):  # the check that follows meets the same
            for ref in Envelope.parse(raw).manifest.attachments:
                if not depot.claim(Blob(owner, ref.ct_root), ref.ct_length, now=self.node.clock()):
                    return

    def desk_for(self, caller: Callable[[], Party]) -> TransferDesk:
        """Return the desk of a caller, who is asked for again with every piece."""
        return TransferDesk(self, caller)

    @contextlib.contextmanager
    def slot(self, party: str) -> Iterator[None]:
        """Hold a place among the transfers under way, or raise `OVERLOADED`."""
        if self._under_way[party] >= _PARTY_MAX or self._under_way.total() >= _ALL_MAX:
            raise error(Reason.OVERLOADED, field="attachment", detail="too many transfers are under way")
        self._under_way[party] += 1
        try:
            yield
        finally:
            self._under_way[party] -= 1
            if not self._under_way[party]:
                del self._under_way[party]

    async def _sweep(self) -> None:
        while True:
            try:
                count = await self.run(self.node.sweep)
                if count:
                    _log.info("attachments_deleted", count=count)
            except Exception as problem:  # noqa: BLE001  whatever it is, the next look may succeed
                reason = problem.reason.word if isinstance(problem, ExchangeError) else type(problem).__name__
                _log.warning("sweep_failed", reason=reason)
            await asyncio.sleep(_SWEEP)


class TransferDesk:
    """The `AttachmentDesk` of one caller."""

    def __init__(self, transfers: Transfers, caller: Callable[[], Party]) -> None:
        """Work for whom `caller` names."""
        self._transfers = transfers
        self._caller = caller

    async def length(self, ref: AttachmentRef) -> int:
        """Return how many bytes the caller has written."""
        chunks = self._transfers.node.chunks(self._caller())
        return await self._transfers.run(chunks.length, ref)

    async def begin(self, ref: AttachmentRef, offset: int) -> TransferWriting:
        """Go on writing."""
        caller = self._caller()
        held = contextlib.ExitStack()
        held.enter_context(self._transfers.slot(caller.name))
        try:
            writing = await self._transfers.run(self._transfers.node.chunks(caller).begin, ref, offset)
        except BaseException:
            held.close()
            raise
        return TransferWriting(writing, self._transfers.run, self._caller, held)

    async def read(self, ref: AttachmentRef, offset: int, size: int) -> AsyncIterator[Block]:
        """Yield the blocks that hold a range."""
        transfers, caller = self._transfers, self._caller()
        with transfers.slot(caller.name):
            blocks = await transfers.run(transfers.node.chunks(caller).read, ref, offset, size)
            while (block := await transfers.run(_next, blocks)) is not None:
                yield block
                self._caller()  # a stream outlives certificates


class TransferWriting:
    """One attachment that a caller is writing."""

    def __init__(
        self,
        writing: Writing,
        run: Callable[..., Awaitable[object]],
        caller: Callable[[], Party],
        held: contextlib.ExitStack,
    ) -> None:
        """Hold what is written, and a place among the transfers that is given back in the end."""
        self._writing = writing
        self._run = run
        self._caller = caller
        self._held = held

    async def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._caller()
        await self._run(self._writing.add, data)

    async def close(self) -> int:
        """Keep what was taken, and return how much is there."""
        with self._held:
            length = await self._run(self._writing.close)
            assert isinstance(length, int)
            return length


def _next(blocks: Iterator[Block]) -> Block | None:
    return next(blocks, None)
