"""Nodes: the processes of one relay over one database: whom a change wakes, and which of them does what.

A relay on SQLite is one node, which does everything itself.
"""

from __future__ import annotations

import asyncio
import collections
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import structlog

from infoexchange.errors import ExchangeError
from infoexchange_relay.stores import RowStore, is_shared
from infoexchange_relay.stores.shared import LEASE_SECONDS, Arrivals, Duties

if TYPE_CHECKING:  # psycopg is there only where it is used
    from infoexchange_relay.stores.postgres import PostgresEngine

# Implementation constants
_RENEW_SECONDS = 1.0  # four attempts before a lease ends
_STILL_SECONDS = LEASE_SECONDS - 1.0  # without an answer for so long, a node stops before another one may begin
_LINES_BYTES_MAX = 7_500  # PostgreSQL takes payloads of fewer than 8 000 bytes

Ring = tuple[str, bytes]
"""A party for whom something started to wait, with no digest, or stopped to wait, with its digest."""
Heard = Callable[[Iterable[Ring]], None]

_log = structlog.get_logger()


class Nodes(Protocol):
    """What a node knows of the others."""

    several: bool

    def start(self, heard: Heard) -> None:
        """Begin to listen and to share the work, in the running loop; `heard` is called in it."""

    async def close(self) -> None:
        """Give everything back to the other nodes."""

    async def on_duty(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run something that only one node may do, whenever this is the one; return when it has come to its end."""

    def tell(self, rings: Iterable[Ring]) -> None:
        """Wake those who wait at other nodes; nothing is lost if that fails, for they look from time to time."""

    def arrived(self, end: int) -> tuple[list[str], list[str]]:
        """Return for whom something came before place `end` of the log, and whose bundles were published.

        All since the last call, whichever node wrote it and whether or not it told.

        Raises:
            UnavailableError: The store cannot be used.
        """


class OneNode:
    """The only node of a relay."""

    several = False

    def start(self, heard: Heard) -> None:
        """Begin with nothing to hear."""

    async def close(self) -> None:
        """End; there is nobody to leave anything to."""

    async def on_duty(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run it."""
        await run()

    def tell(self, rings: Iterable[Ring]) -> None:
        """Tell nobody."""

    def arrived(self, end: int) -> tuple[list[str], list[str]]:
        """Return nobody: what this node writes it rings for."""
        return [], []


class SeveralNodes:
    """One of several nodes over a PostgreSQL database.

    Attributes:
        name: Of this process, in no file: whoever starts again is another one.
    """

    several = True

    def __init__(self, engine: PostgresEngine) -> None:
        """Hold the database."""
        self.name = secrets.token_hex(8)
        self._engine = engine
        self._duties = Duties(engine, self.name)
        self._arrivals = Arrivals(engine)
        self._wanted: collections.Counter[str] = collections.Counter()
        self._held: frozenset[str] = frozenset()
        self._changed = asyncio.Condition()
        self._stopped = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, heard: Heard) -> None:
        """Begin to listen and to share the work, in the running loop; `heard` is called in it."""
        loop = asyncio.get_running_loop()
        # A thread that waits for the server would hold up the end of the program; it holds nothing that matters.
        threading.Thread(target=self._listen, args=(loop, heard), name="listen", daemon=True).start()
        self._tasks = [asyncio.create_task(self._share())]

    async def close(self) -> None:
        """Give everything back to the other nodes."""
        self._stopped.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await asyncio.to_thread(self._duties.leave)
        except ExchangeError as problem:
            _log.warning("duties_not_left", reason=problem.reason.word)

    # Work

    async def on_duty(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run it while this node has the duty; what another node does meanwhile is its business."""
        self._wanted[name] += 1
        try:
            while True:
                await self._until(name, held=True)
                tasks = [asyncio.ensure_future(run()), asyncio.ensure_future(self._until(name, held=False))]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    if tasks[0].done():
                        return await tasks[0]
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._wanted[name] -= 1

    async def _until(self, name: str, *, held: bool) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: (name in self._held) is held)

    async def _share(self) -> None:
        loop = asyncio.get_running_loop()
        renewed, nodes = loop.time(), 0
        while True:
            began = loop.time()
            try:
                wanted = [name for name, count in self._wanted.items() if count > 0]
                shift = await asyncio.to_thread(self._duties.renew, wanted)
                renewed = began
                if (shift.held, shift.nodes) != (self._held, nodes):
                    _log.info("duties_shared", count=len(shift.held), size=shift.nodes)
                nodes = shift.nodes
                await self._hold(shift.held)
            except Exception as problem:  # noqa: BLE001  whatever it is: what is not renewed becomes another node's
                if self._held and loop.time() - renewed > _STILL_SECONDS:
                    _log.warning("duties_lost", reason=_reason(problem))
                    await self._hold(frozenset())
            await asyncio.sleep(_RENEW_SECONDS)

    async def _hold(self, held: frozenset[str]) -> None:
        async with self._changed:
            self._held = held
            self._changed.notify_all()

    # Wake-ups

    def tell(self, rings: Iterable[Ring]) -> None:
        """Notify every other node; in a thread."""
        try:
            self._engine.tell(_payloads(self.name, rings))
        except ExchangeError as problem:
            _log.warning("nodes_not_told", reason=problem.reason.word)

    def arrived(self, end: int) -> tuple[list[str], list[str]]:
        """Return for whom something came, and whose bundles were published."""
        return self._arrivals.look(end)

    def _listen(self, loop: asyncio.AbstractEventLoop, heard: Heard) -> None:
        """Hand on what other nodes tell; nothing at all after a pause in which something may have been missed."""
        while not self._stopped.is_set():
            try:
                for payload in self._engine.listen(self._stopped):
                    sender, _, lines = payload.partition("\n")
                    if sender != self.name:
                        loop.call_soon_threadsafe(heard, _rings(lines))
            except RuntimeError:  # the loop has ended
                return
            except Exception as problem:  # noqa: BLE001  a node that hears no more would answer late without a word
                _log.warning("nodes_not_heard", reason=_reason(problem))
                self._stopped.wait(_RENEW_SECONDS)


def _payloads(node: str, rings: Iterable[Ring]) -> Iterator[str]:
    """Yield the fewest texts that tell everything: the node, then a party in each line, with a digest or without."""
    text = node
    for party, digest in dict.fromkeys(rings):
        line = f"\n{party} {digest.hex()}"
        if len(text) + len(line) > _LINES_BYTES_MAX:
            yield text
            text = node
        text += line
    if text != node:
        yield text


def _rings(lines: str) -> list[Ring]:
    """Return whom a text names; nobody, which stands for everybody, if it is none of ours.

    Any user of the database may send one, and so may a node of another version.
    """
    pairs = [line.rpartition(" ") for line in lines.splitlines()]
    try:
        return [(party, bytes.fromhex(digest)) for party, _, digest in pairs]
    except ValueError:
        return []


def _reason(problem: Exception) -> str:
    return problem.reason.word if isinstance(problem, ExchangeError) else type(problem).__name__  # it may hold bytes


def nodes_of(store: RowStore) -> OneNode | SeveralNodes:
    """Return this process as the only node over a store, or as one of several over a database."""
    if not is_shared(store.engine.place):
        return OneNode()
    from infoexchange_relay.stores.postgres import PostgresEngine

    assert isinstance(store.engine, PostgresEngine)
    return SeveralNodes(store.engine)
