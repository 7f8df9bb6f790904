"""Batching: group commit, so that one transaction, one signature and one fsync serve many callers.

Threads check what comes in; one thread alone commits. A batch closes when it is full, or when nothing is being checked
that could still join it, or after 20 ms.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

import structlog

from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.node import Job, Node
from infoexchange.ports import BATCH_BYTES_MAX, BATCH_MAX, Change, Result
from infoexchange.states import Event
from infoexchange_relay.bells import Bell, Bells
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.nodes import Nodes, OneNode, Ring
from infoexchange_relay.standing import NEWS, Standing
from infoexchange_relay.traces import Traces

# Specification constants
CADENCE = 0.020  # seconds a batch may wait for company: the checkpoint cadence under load

# Implementation constants
_SLICE = 32  # items one thread checks at a time, so that a frame uses every core
_ITEM_COST = 4096  # bytes that an item's Python objects weigh besides its own
_HELD_SOFT = 32 * 1024 * 1024  # from here on streams are not read, and HTTP/2 holds the senders back
_HELD_HARD = 128 * 1024 * 1024  # from here on the answer is OVERLOADED
_FAILED_SECONDS = 30.0  # a batch that failed says nothing of what comes later than this
_READERS = 4  # threads for reading the store; a fifth reader waits for microseconds

Decision = Callable[[], Job]
T = TypeVar("T")

_log = structlog.get_logger()


class _Ticket:
    """Jobs of one caller on their way through the writer."""

    def __init__(self, jobs: list[Job], done: asyncio.Future[list[Result]], began: int) -> None:
        self.jobs = jobs
        self.began = began  # nanoseconds since 1970
        self.size = sum(len(c.envelope.raw) for job in jobs for c in job.changes if c.envelope)
        self.done = done


class Batching:
    """The one way to a node's log for everything that runs beside it.

    Attributes:
        bells: Of those who wait at this node.
        traces: Are told what was committed; nobody, unless others are put in their place before `start`.
        stopped: Set when the log takes nothing more; the program has to end then.
        standing: What the bundles tell that were published here of revoked certificates.
    """

    def __init__(
        self, node: Node, *, metrics: Metrics | None = None, threads: int = 0, nodes: Nodes | None = None
    ) -> None:
        """Hold a started node; `threads` check in parallel, one per core unless said otherwise.

        Args:
            node: The rules, and the log.
            metrics: What is counted.
            threads: For checking.
            nodes: The other nodes of this relay; without, there are none.
        """
        self.node = node
        self.nodes: Nodes = nodes or OneNode()
        self.traces = Traces()
        self.metrics = metrics or Metrics()
        self.standing = Standing(node)
        self.stopped = asyncio.Event()
        self._checkers = ThreadPoolExecutor(threads or os.cpu_count() or 1, "check")
        self._readers = ThreadPoolExecutor(_READERS, "read")
        self._writer = ThreadPoolExecutor(1, "write")
        self._queue: collections.deque[_Ticket] = collections.deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Condition()
        self._open = asyncio.Event()  # clear while one decision is settled alone
        self._open.set()
        self._alone = asyncio.Lock()
        self._checking = 0  # frames being checked
        self._asked = 0  # bytes of everything not answered yet
        self._asked_by: collections.Counter[str] = collections.Counter()
        self._held = 0  # bytes of what was let in
        self._problem: ExchangeError | None = None
        self._failed: tuple[float, ExchangeError] | None = None  # the last batch, and when, if it was not committed
        self.bells = Bells()
        self._task: asyncio.Task[None] | None = None

    @property
    def refusal(self) -> ExchangeError | None:
        """Why nothing is taken: for good, or because the last batch failed just now; None if nothing is known."""
        failed = self._failed
        return self._problem or (failed[1] if failed and time.monotonic() - failed[0] < _FAILED_SECONDS else None)

    def start(self) -> None:
        """Begin to commit, in the running loop."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Stop the relay if the writer died of a bug: nobody would be answered any more."""
        if not task.cancelled() and task.exception() is not None:
            self.fail(error(Reason.LOG_STOPPED, field="log", detail="an error inside the relay"), [])

    async def drain(self) -> None:
        """Take nothing more, and return when everything taken has been answered."""
        self._problem = self._problem or error(Reason.UNAVAILABLE, field="relay", detail="the relay is stopping")
        async with self._room:
            await self._room.wait_for(lambda: not self._asked)

    async def close(self) -> None:
        """Drain, and end every thread."""
        await self.drain()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for pool in (self._checkers, self._readers, self._writer):
            pool.shutdown()

    # For callers

    async def settle(self, decisions: Sequence[Decision], size: int, caller: str = "") -> list[Result]:
        """Return the result of each decision, everything accepted being durable, logged and signed.

        Args:
            decisions: Each verifies one item and returns its job, or raises; they run in threads.
            size: Bytes the items hold, against which memory is counted.
            caller: Who asks, so that one party cannot take all the memory there is.

        Raises:
            UnavailableError: `OVERLOADED` when too much is under way; `LOG_STOPPED` when nothing can be logged.
        """
        if not decisions:
            return []
        await self._open.wait()
        return await self._settle(decisions, size, caller)

    async def settle_alone(self, decision: Decision, then: Callable[[], None]) -> Result:
        """As `settle` for one decision that changes the rules of all others.

        Everything under way is answered first, and what comes waits, for one commit; nobody is refused.

        Args:
            decision: Verifies and returns its job, or raises.
            then: Called once the job is committed, before anything else is decided.
        """
        async with self._alone:
            self._open.clear()
            try:
                async with self._room:
                    await self._room.wait_for(lambda: not self._asked)
                [result] = await self._settle([decision], 0)
                if not isinstance(result, ExchangeError):
                    then()
                return result
            finally:
                self._open.set()

    async def _settle(self, decisions: Sequence[Decision], size: int, caller: str = "") -> list[Result]:
        """Settle, whether or not something else is to be settled alone."""
        began = time.time_ns()
        weight = size + _ITEM_COST * len(decisions)
        if self._problem:
            raise self._problem
        if self._asked + weight > _HELD_HARD or (caller and self._asked_by[caller] + weight > _HELD_HARD // 4):
            raise error(Reason.OVERLOADED, field="relay", detail="too much is waiting to be checked")
        self._asked += weight
        self._asked_by[caller] += weight
        try:
            async with self._let_in(weight):
                results = await self._commit(await self._check(decisions), began)
            for result in results:
                if isinstance(result, ExchangeError):
                    self.metrics.refused(result.reason)
            return results
        finally:
            self._asked -= weight
            self._asked_by[caller] -= weight
            if not self._asked_by[caller]:
                del self._asked_by[caller]
            async with self._room:
                self._room.notify_all()

    @contextlib.asynccontextmanager
    async def _let_in(self, weight: int) -> AsyncIterator[None]:
        """Wait until there is room for `weight` bytes, and hold it."""
        async with self._room:
            await self._room.wait_for(lambda: not self._held or self._held + weight <= _HELD_SOFT)
        self._held += weight
        try:
            yield
        finally:
            self._held -= weight

    async def read(self, call: Callable[[], T]) -> T:
        """Return what a call that reads the store returns, from a thread of its own."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, call)
        except UnavailableError as problem:
            self.metrics.store_failed(problem.reason)
            raise

    async def write(self, call: Callable[[], T]) -> T:
        """Return what a call returns that must not meet a commit, from the thread that commits."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)

    def bell(self, party: str) -> AbstractContextManager[Bell]:
        """Lend a bell that rings for one party."""
        return self.bells.lend(party, ended=self._problem is not None)

    # Checking

    async def _check(self, decisions: Sequence[Decision]) -> list[Job | ExchangeError]:
        """Return what each decision came to."""
        loop = asyncio.get_running_loop()
        slices = [decisions[start : start + _SLICE] for start in range(0, len(decisions), _SLICE)]
        self._checking += 1
        try:
            parts = await asyncio.gather(*(loop.run_in_executor(self._checkers, _decide, part) for part in slices))
        finally:
            self._checking -= 1
            self._wake.set()
        return [item for part in parts for item in part]

    async def _commit(self, decided: list[Job | ExchangeError], began: int) -> list[Result]:
        """Return a result for each item, once the writer has dealt with the jobs among them."""
        jobs = [item for item in decided if isinstance(item, Job)]
        results: Iterator[Result] = iter(())
        if jobs:
            if self._problem and self.stopped.is_set():
                raise self._problem
            ticket = _Ticket(jobs, asyncio.get_running_loop().create_future(), began)
            self._queue.append(ticket)
            self._wake.set()
            results = iter(await ticket.done)
        return [next(results) if isinstance(item, Job) else item for item in decided]

    # Committing

    async def _run(self) -> None:
        """Commit batch after batch until the log stops."""
        loop = asyncio.get_running_loop()
        while not self.stopped.is_set():
            await self._fill()
            batch = self._take()
            jobs = [job for ticket in batch for job in ticket.jobs]
            started, end = loop.time(), self.node.ledger.end
            try:
                settled = await loop.run_in_executor(self._writer, self.node.settle, jobs)
            except Exception as problem:  # noqa: BLE001  whatever it is, nobody of the batch may be told "accepted"
                self.fail(problem, batch)
                if self.node.ledger.end != end:
                    # A part of the batch stands all the same; whoever sends that again starts nothing and rings nobody.
                    self.bells.ring_all()
                continue
            self._failed = None
            took = loop.time() - started
            self.metrics.committed(took, self.node.ledger.size)
            if self.traces.on:
                got = [ticket.began for ticket in batch for _ in ticket.jobs]
                self.traces.committed(
                    took, [(at, c) for at, (job, _) in zip(got, settled, strict=True) for c in job.changes]
                )
            results = iter(result for _, result in settled)
            for ticket in batch:
                _answer(ticket, [next(results) for _ in ticket.jobs])
            rings = [ring for job, _ in settled for change in job.changes for ring in self._count(change)]
            self.metrics.woken(self.bells.ring(rings))
            if rings and self.nodes.several:
                await loop.run_in_executor(self._readers, self.nodes.tell, rings)

    async def _fill(self) -> None:
        """Return when there is a batch to commit."""
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CADENCE):
                while self._checking and not self._full():
                    self._wake.clear()
                    await self._wake.wait()

    def _full(self) -> bool:
        jobs = sum(len(ticket.jobs) for ticket in self._queue)
        return jobs >= BATCH_MAX or sum(ticket.size for ticket in self._queue) >= BATCH_BYTES_MAX

    def _take(self) -> list[_Ticket]:
        """Return the next batch, at least one ticket."""
        batch: list[_Ticket] = []
        jobs = size = 0
        while self._queue:
            ticket = self._queue[0]
            jobs, size = jobs + len(ticket.jobs), size + ticket.size
            if batch and (jobs > BATCH_MAX or size > BATCH_BYTES_MAX):
                break
            batch.append(self._queue.popleft())
        return batch

    def fail(self, problem: Exception, batch: list[_Ticket]) -> None:
        """Answer a batch that was not committed, and stop unless the log is as it was before."""
        if not isinstance(problem, ExchangeError):
            _log.error("commit_failed", reason=type(problem).__name__)
            problem = error(Reason.LOG_STOPPED, field="log", detail="an error inside the relay")
        # A full disk before anything was written can be waited out. After that, entries without a signed checkpoint
        # may stand in the log, and only a start puts that right; of several nodes the next one to write does.
        if problem.reason is Reason.LOG_STOPPED or not (self.nodes.several or self._untouched()):
            self._problem = problem
            self.stopped.set()
            batch = [*batch, *self._queue]
            self._queue.clear()
        self._failed = time.monotonic(), problem
        self.metrics.store_failed(problem.reason)
        _log.error("commit_refused", reason=problem.reason.word, count=len(batch))
        for ticket in batch:
            if not ticket.done.done():
                ticket.done.set_exception(problem)

    def _untouched(self) -> bool:
        """Whether nothing stands in the store that is not under the newest checkpoint."""
        try:
            return self.node.store.head().size == self.node.ledger.size
        except ExchangeError:
            return False

    def _count(self, change: Change) -> list[Ring]:
        """Count a committed change; return those for whom something started or stopped waiting, or was revoked."""
        rings = [*((party, change.digest) for party in change.stops), *((party, b"") for party in change.starts)]
        if change.event is Event.ACCEPTED:
            self.metrics.accepted()
        elif change.event is Event.FORWARDED:
            self.metrics.forwarded(change.party)
        elif change.event is Event.DELIVERED:
            self.metrics.delivered()
        if change.event.final:
            self.metrics.ended(change.event)
        if change.bundle:
            self.standing.learn([change.bundle])
            self.node.forget_chain(change.bundle.owner)
            rings += [(change.bundle.owner, b""), (NEWS, b"")]  # it may be revoked with that
        return rings


def _decide(decisions: Sequence[Decision]) -> list[Job | ExchangeError]:
    """Return each job, or why there is none; in a thread."""
    found: list[Job | ExchangeError] = []
    for decide in decisions:
        try:
            found.append(decide())
        except ExchangeError as problem:
            found.append(problem)
        except Exception as bug:  # noqa: BLE001  one item must not take the others along; its text may hold its bytes
            _log.error("decision_failed", reason=type(bug).__name__)
            found.append(error(Reason.UNAVAILABLE, field="relay", detail="an error inside the relay"))
    return found


def _answer(ticket: _Ticket, results: list[Result]) -> None:
    # The caller may have gone; what it sent is logged all the same.
    if not ticket.done.done():
        ticket.done.set_result(results)
