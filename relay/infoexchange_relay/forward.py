"""Forward: what goes on between this relay and the others: envelopes on their way, bundles and histories asked for.

Each peer has a task and a queue of its own, so that one that is away holds up nobody else's messages. What a peer
refuses is logged as refused and leaves the queue; what it cannot take now stays until it can, or until it expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import structlog

from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, UntrustedError
from infoexchange.listing import Party, Role
from infoexchange.node import Job, Node
from infoexchange.ports import History, HomeRelay, Result, Waiting
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.transport.forms import next_limit

# Implementation constants
BACKOFF_FIRST = 0.5  # seconds; doubled after each failure
BACKOFF_MAX = 30.0
_HELD_MAX = 1024  # envelopes passed over until the next pause
_PUBLISHED_MAX = 4096  # bundles a peer is known to have
_ASKERS = 8  # questions under way at once; whoever asks waits for the answer anyway
_SWEEP = 30.0  # seconds between two looks for what has expired; nobody waits for the answer
_SWEEP_LIMIT = 64

# A peer that says this speaks of itself, not of the envelope.
OF_THE_PEER = frozenset({Reason.DIRECTORY_EXPIRED})

Decision = Callable[[], Job]
_Decided = tuple[Waiting, Decision | None]
T = TypeVar("T")
_log = structlog.get_logger()


class Bell(Protocol):
    """Rings when something starts to wait for a peer."""

    ended: bool

    async def heard(self, seconds: float | None = None) -> bool:
        """Wait for a ring."""


class Writer(Protocol):
    """What this module needs of `batching.Batching`."""

    node: Node

    async def settle(self, decisions: Sequence[Decision], size: int) -> list[Result]:
        """Decide and commit."""

    async def read(self, call: Callable[[], T]) -> T:
        """Read the store."""

    def bell(self, party: str) -> AbstractContextManager[Bell]:
        """Lend a bell."""


@dataclass(frozen=True)
class Peer:
    """Another nation's relay.

    Attributes:
        party: Its entry in the directory.
        relay: Carries envelopes to it.
        asking: The same for questions, where somebody waits for the answer: it gives up soon.
        close: Closes the connection.
    """

    party: Party
    relay: HomeRelay
    asking: HomeRelay
    close: Callable[[], None]

    @property
    def name(self) -> str:
        """Name in the directory."""
        return self.party.name


@dataclass(frozen=True)
class _Load:
    """An envelope ready to go: its place in the queue, its bytes as the peer may see them, its sender's bundle."""

    waiting: Waiting
    raw: bytes
    bundle: bytes


class Forwarder:
    """The way to one peer."""

    def __init__(self, peer: Peer, writer: Writer, pool: ThreadPoolExecutor) -> None:
        """Hold the peer, the way to the log, and the threads in which calls to peers block."""
        self._peer = peer
        self._writer = writer
        self._node = writer.node
        self._pool = pool
        self._limit = next_limit([])
        self._held: set[int] = set()  # positions the peer could not take just now
        self._published: set[bytes] = set()  # bundles known to be there since the connection last failed

    async def run(self) -> None:
        """Forward until the relay stops."""
        delay = BACKOFF_FIRST
        with self._writer.bell(self._peer.name) as bell:
            while not bell.ended:
                try:
                    found = await self._once()
                except ExchangeError as problem:
                    # Nothing is known of any envelope: UNAVAILABLE, or the peer does not accept this relay.
                    _log.warning("forward_failed", peer=self._peer.name, reason=problem.reason.word)
                    self._published.clear()
                    await asyncio.sleep(jittered(delay))
                    delay = min(delay * 2, BACKOFF_MAX)
                    continue
                if found:
                    delay = BACKOFF_FIRST
                elif not await bell.heard(jittered(delay) if self._held else None):
                    self._held.clear()
                    delay = min(delay * 2, BACKOFF_MAX)

    async def _once(self) -> bool:
        """Forward one batch; return whether anything left the queue."""
        if len(self._held) >= _HELD_MAX:
            return False
        waiting = await self._writer.read(self._waiting)
        if not waiting:
            return False
        self._limit = next_limit([item.raw for item in waiting])
        loads, decided = await self._writer.read(partial(self._load, waiting))
        if loads:
            await self._publish({load.bundle for load in loads})
            results = await self._submit(loads)
            decided += [(load.waiting, self._decision(load.waiting, r)) for load, r in zip(loads, results, strict=True)]
        # Whatever is still in the queue after this is passed over until the next pause.
        self._held |= {item.position for item, _ in decided}
        decisions = [(item, decision) for item, decision in decided if decision]
        settled = await self._writer.settle([decision for _, decision in decisions], size=0)
        gone = {item.position for (item, _), r in zip(decisions, settled, strict=True) if isinstance(r, Receipt)}
        self._held -= gone
        self._log_settled(settled)
        return bool(gone)

    def _waiting(self) -> Sequence[Waiting]:
        return self._node.store.waiting(self._peer.name, limit=self._limit, skip=tuple(self._held))

    def _load(self, waiting: Sequence[Waiting]) -> tuple[list[_Load], list[_Decided]]:
        """Return what can be sent, and the decisions about what cannot; in a thread."""
        loads: list[_Load] = []
        decided: list[_Decided] = []
        for item in waiting:
            try:
                raw = self._node.served(self._peer.party, item)
                loads.append(_Load(item, raw, Envelope.parse(raw).header.sender_bundle))
            except ExchangeError as problem:
                # For example a recipient that has left since.
                decided.append((item, self._refused(item, problem.reason)))
        return loads, decided

    async def _submit(self, loads: Sequence[_Load]) -> list[Result]:
        """Return the peer's results; what fails only for want of a bundle is tried once more with it."""
        results = list(await self._call(partial(self._peer.relay.submit, [load.raw for load in loads])))
        stale = [i for i, result in enumerate(results) if _reason(result) is Reason.STALE_BUNDLE]
        if stale:
            bundles = {loads[i].bundle for i in stale}
            self._published -= bundles
            await self._publish(bundles)
            again = await self._call(partial(self._peer.relay.submit, [loads[i].raw for i in stale]))
            for i, result in zip(stale, again, strict=True):
                results[i] = result
        return results

    async def _publish(self, digests: Collection[bytes]) -> None:
        """Give the peer the senders' bundles that it may not have, without which it must refuse their envelopes."""
        new = sorted(set(digests) - self._published)
        found = await self._writer.read(lambda: [self._node.store.bundle(digest) for digest in new])
        bundles = [bundle for bundle in found if bundle is not None]
        if not bundles:
            return
        results = await self._call(partial(self._peer.relay.publish, bundles))
        if len(self._published) >= _PUBLISHED_MAX:
            self._published.clear()
        for bundle, result in zip(bundles, results, strict=True):
            if isinstance(result, Receipt):
                self._published.add(bundle.digest)
            elif isinstance(result, UnavailableError):
                raise result
            else:
                _log.warning(
                    "bundle_refused", peer=self._peer.name, digest=bundle.digest.hex(), reason=result.reason.word
                )

    def _decision(self, item: Waiting, result: Result) -> Decision | None:
        """Return the decision that a peer's result makes; none when the envelope stays where it is."""
        if isinstance(result, Receipt):
            return partial(self._forwarded, item, result)
        if isinstance(result, UnavailableError) or result.reason in OF_THE_PEER:
            return None
        return self._refused(item, result.reason)

    def _forwarded(self, item: Waiting, receipt: Receipt) -> Job:
        try:
            return self._node.forwarded(self._peer.name, item.digest, receipt)
        except ExchangeError as problem:
            # A false receipt is no refusal: the envelope stays, and the operator hears of it.
            digest = item.digest.hex()
            _log.error("receipt_refused", peer=self._peer.name, digest=digest, reason=problem.reason.word)
            raise

    def _refused(self, item: Waiting, reason: Reason) -> Decision:
        _log.warning("envelope_refused", peer=self._peer.name, digest=item.digest.hex(), reason=reason.word)
        return partial(self._node.ended, Event.REFUSED, self._peer.name, item.digest, reason)

    def _log_settled(self, settled: Sequence[Result]) -> None:
        count = sum(isinstance(r, Receipt) and r.routing.event is Event.FORWARDED for r in settled)
        if count:
            _log.info("forwarded", peer=self._peer.name, count=count)

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


class Peers:
    """All peers: a forwarder for each, and the questions that only they can answer."""

    def __init__(self, peers: Sequence[Peer], writer: Writer) -> None:
        """Hold the peers and the way to the log."""
        self._peers = {peer.name: peer for peer in peers}
        self._writer = writer
        self._node = writer.node
        # One call of each forwarder and a few questions; a thread is made only when it is needed.
        self._pool = ThreadPoolExecutor(max(1, len(peers)), "forward")
        # Apart from them, so that questions to a slow peer hold up nobody's messages.
        self._askers = ThreadPoolExecutor(_ASKERS, "ask")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def all(self) -> Sequence[Peer]:
        """The peers."""
        return tuple(self._peers.values())

    def start(self) -> None:
        """Begin to forward and to look for what has expired, in the running loop."""
        forwarders = [Forwarder(peer, self._writer, self._pool) for peer in self._peers.values()]
        self._tasks = [asyncio.create_task(watched(forwarder.run)) for forwarder in forwarders]
        self._tasks.append(asyncio.create_task(watched(self._sweep)))

    async def close(self) -> None:
        """End the tasks and the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self._peers.values():
            peer.close()
        self._pool.shutdown()
        self._askers.shutdown()

    async def _sweep(self) -> None:
        """Log the end of what nobody fetched in time."""
        while True:
            store, past = self._node.store, self._node.clock() - CLOCK_SKEW  # the recipient may still take it till then
            with contextlib.suppress(UnavailableError, UntrustedError):
                # A clock that has run ahead must not end what waits: by it the directory has expired as well.
                self._node.directory.check_current(past)
                expired = await self._writer.read(partial(store.expired, past, limit=_SWEEP_LIMIT))
                decisions = [partial(self._node.expired, item) for item in expired]
                results = await self._writer.settle(decisions, size=0)
                if len(results) == _SWEEP_LIMIT and any(isinstance(result, Receipt) for result in results):
                    continue
            await asyncio.sleep(_SWEEP)

    async def bundles(self, caller: Party, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return the bundles of the parties named, asking the relays of those whose are missing or out of use.

        A relay is answered from what is here: it can ask the others itself.
        """
        own = await self._writer.read(partial(self._node.store.bundles, names))
        if caller.role is Role.RELAY:
            return own
        wanted = self._to_ask(names, own)
        if not wanted:
            return own
        await asyncio.gather(*(self._learn(self._peers[name], asked) for name, asked in wanted.items()))
        return await self._writer.read(partial(self._node.store.bundles, names))

    def _to_ask(self, names: Sequence[str], own: Sequence[KeyBundle]) -> dict[str, list[str]]:
        """Return the names to ask for, by peer."""
        now = self._node.clock()
        in_use = {bundle.owner for bundle in own if bundle.not_after >= now}
        wanted: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            with contextlib.suppress(ExchangeError):
                party = self._node.directory.party(name, at=now)
                if name not in in_use and party.role is Role.AGENCY and party.relay in self._peers:
                    wanted.setdefault(party.relay, []).append(name)
        return wanted

    async def _learn(self, peer: Peer, names: Sequence[str]) -> None:
        """Publish here what a peer has of its agencies; what it cannot give is left out."""
        try:
            found = [bundle for bundle in await self._ask(partial(peer.asking.bundles, names)) if bundle.owner in names]
            decisions = [partial(self._node.decide_bundle, peer.party, bundle) for bundle in found]
            results = await self._writer.settle(decisions, size=sum(len(bundle.raw) for bundle in found))
        except ExchangeError as problem:
            _log.warning("bundles_not_learnt", peer=peer.name, count=len(names), reason=problem.reason.word)
            return
        for bundle, result in zip(found, results, strict=True):
            if isinstance(result, ExchangeError):
                digest = bundle.digest.hex()
                _log.warning("bundle_refused", peer=peer.name, digest=digest, reason=result.reason.word)

    async def events(self, caller: Party, digest: bytes) -> History:
        """Return what this relay logged of an envelope, and the relays it came from and was forwarded to.

        Raises:
            RefusedError: `NOT_PERMITTED` when the caller takes no part in it.
        """
        own = await self._writer.read(partial(self._node.history, caller, digest))
        histories = [own]
        if caller.role is Role.AGENCY:
            others = {relay for r in own.events for relay in (r.routing.previous_relay, r.routing.next_relay)}
            peers = [self._peers[name] for name in sorted(others) if name in self._peers]
            histories += await asyncio.gather(*(self._history(peer, digest) for peer in peers))
        return History.merged(histories)

    async def _history(self, peer: Peer, digest: bytes) -> History:
        """Return what a peer logged of an envelope, as far as its receipts hold."""
        try:
            history = await self._ask(partial(peer.asking.events, digest))
            held = await self._writer.read(lambda: [r for r in history.events if self._holds(peer, r, digest)])
        except ExchangeError as problem:
            _log.warning("history_not_learnt", peer=peer.name, digest=digest.hex(), reason=problem.reason.word)
            return History((), ())
        return History(tuple(held), history.statements).of(digest)

    def _holds(self, peer: Peer, receipt: Receipt, digest: bytes) -> bool:
        """Whether a receipt is one of the peer's or ours about this envelope, and proven; in a thread."""
        try:
            receipt.verify(self._node.directory)
        except ExchangeError as problem:
            _log.error("receipt_refused", peer=peer.name, digest=digest.hex(), reason=problem.reason.word)
            return False
        return receipt.subject.envelope_digest == digest

    async def _ask(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._askers, call)


async def watched(run: Callable[[], Awaitable[None]]) -> None:
    """Run a task for ever: one that dies of a bug would leave a queue standing without a word."""
    while True:
        try:
            return await run()
        except Exception as bug:  # noqa: BLE001  a queue must not stand still; its text may hold bytes
            _log.error("task_failed", reason=type(bug).__name__)
            await asyncio.sleep(BACKOFF_MAX)


def jittered(seconds: float) -> float:
    """Return a time around `seconds`, so that relays do not come back in step."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311  spreads retries, guards no secret


def _reason(result: Result) -> Reason | None:
    return result.reason if isinstance(result, ExchangeError) else None
