"""Forward: carries envelopes on their way to one other relay.

Each peer has a task and a queue of its own, so that one that is away holds up nobody else's messages. What a peer
refuses is logged as refused and leaves the queue; what it cannot take now stays until it can, or until it expires.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import structlog

from infoexchange.chunks import is_missing
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.listing import Party
from infoexchange.node import Job, Node
from infoexchange.ports import HomeRelay, Result, Waiting
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.transport.forms import next_limit
from infoexchange_relay.carrying import Carrier
from infoexchange_relay.nodes import Nodes

# Implementation constants
BACKOFF_FIRST = 0.5  # seconds; doubled after each failure
BACKOFF_MAX = 30.0
_HELD_MAX = 1024  # envelopes passed over until the next pause
_PUBLISHED_MAX = 4096  # bundles a peer is known to have

# A peer that says this speaks of itself, not of the envelope.
OF_THE_PEER = frozenset({Reason.DIRECTORY_EXPIRED})

Decision = Callable[[], Job]
_Decided = tuple[Waiting, Decision | None]
T = TypeVar("T")
_log = structlog.get_logger()


class Bell(Protocol):
    """Rings when something starts to wait for a peer."""

    ended: bool

    def ring(self) -> None:
        """Ring it."""

    async def heard(self, seconds: float | None = None) -> bool:
        """Wait for a ring."""


class Writer(Protocol):
    """What this module needs of `batching.Batching`."""

    node: Node
    nodes: Nodes

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
    """An envelope ready to go: its place in the queue, its bytes as the peer may see them, bundles that prove it."""

    waiting: Waiting
    raw: bytes
    bundles: frozenset[bytes]


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
        self._carrier = Carrier(peer.name, peer.relay.chunks, writer.node)

    async def run(self) -> None:
        """Forward until the relay stops."""
        with self._writer.bell(self._peer.name) as bell:
            async with self._carrier.running(self._held.discard, bell.ring):
                await self._forward(bell)

    async def _forward(self, bell: Bell) -> None:
        delay = BACKOFF_FIRST
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
            await self._publish({bundle for load in loads for bundle in load.bundles})
            results = await self._submit(loads)
            decided += [(load.waiting, self._decision(load, r)) for load, r in zip(loads, results, strict=True)]
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
            if self._carrier.has(item.position):  # on its way already
                decided.append((item, None))
                continue
            try:
                raw = self._node.served(self._peer.party, item)
                loads.append(_Load(item, raw, Envelope.parse(raw).signing_bundles))
            except ExchangeError as problem:
                # For example a recipient that has left since.
                decided.append((item, self._refused(item, problem.reason)))
        return loads, decided

    async def _submit(self, loads: Sequence[_Load]) -> list[Result]:
        """Return the peer's results; what fails only for want of a bundle is tried once more with it."""
        results = list(await self._call(partial(self._peer.relay.submit, [load.raw for load in loads])))
        stale = [i for i, result in enumerate(results) if _reason(result) is Reason.STALE_BUNDLE]
        if stale:
            bundles = {bundle for i in stale for bundle in loads[i].bundles}
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

    def _decision(self, load: _Load, result: Result) -> Decision | None:
        """Return the decision that a peer's result makes; none when the envelope stays where it is."""
        item = load.waiting
        if isinstance(result, Receipt):
            return partial(self._forwarded, item, result)
        if is_missing(result):
            reason = self._carrier.refused(item.position)
            if reason is not None:
                return self._refused(item, reason)
            self._carrier.take(item.position, load.raw)
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


def jittered(seconds: float) -> float:
    """Return a time around `seconds`, so that relays do not come back in step."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311  spreads retries, guards no secret


def _reason(result: Result) -> Reason | None:
    return result.reason if isinstance(result, ExchangeError) else None
