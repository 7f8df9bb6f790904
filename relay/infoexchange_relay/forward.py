"""Forward: carries envelopes on their way to one other relay.

Each peer has a task and a queue of its own, so that one that is away holds up nobody else's messages. What a peer
refuses is logged as refused and leaves the queue; what it cannot take now stays until it can, or until it expires. What
it fails on again and again, or what cannot even be read here, is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import structlog

from infoexchange.bundle import KeyBundle
from infoexchange.chunks import is_missing
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.listing import Party
from infoexchange.node import Job, Node
from infoexchange.ports import HomeRelay, Result, Waiting
from infoexchange.receipt import Receipt
from infoexchange.states import Event, Precedence
from infoexchange.transport.forms import next_limit
from infoexchange_relay.answers import is_fault, is_of_the_peer, reason_of
from infoexchange_relay.backoff import Holds, pause_after
from infoexchange_relay.carrying import Carrier
from infoexchange_relay.circuit import Circuit, PeerError, called
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.nodes import Nodes
from infoexchange_relay.pace import Pace
from infoexchange_relay.quarantine import TRIES, Quarantine
from infoexchange_relay.traces import Traces

# Implementation constants
_HELD_MAX = 1024  # envelopes passed over at one time
_RUSHED_MAX = 1024  # FLASH messages for which a pause was broken off; beyond that they wait like all others
_RUSH_PAUSE = 1.0  # seconds between two tries for them: however many come, a peer that is away is asked once a second
_LOOK_PAUSE = 0.05  # seconds between two looks for them, so that a flood of others costs little
_PUBLISHED_MAX = 4096  # bundles a peer is known to have

Decision = Callable[[], Job]
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
    metrics: Metrics
    traces: Traces

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


@dataclass(frozen=True)
class _Fate:
    """What is to become of an envelope: a decision, or it stays; and the fault it has, if that is its own."""

    waiting: Waiting
    decision: Decision | None = None
    fault: Reason | None = None


class Forwarder:
    """The way to one peer."""

    def __init__(
        self, peer: Peer, writer: Writer, pool: ThreadPoolExecutor, circuit: Circuit, quarantine: Quarantine
    ) -> None:
        """Hold the peer, the way to the log, the threads in which calls to peers block, and what the peer is like."""
        self._peer = peer
        self._writer = writer
        self._node = writer.node
        self._pool = pool
        self._circuit = circuit
        self._quarantine = quarantine
        self._limit = next_limit([])
        self._pace = Pace()
        self._holds = Holds()  # what the peer could not take just now
        self._singly = 0  # envelopes that go one by one, because the peer failed on a frame and one may be to blame
        self._local_failures = 0
        self._rushed: set[int] = set()
        self._published: set[bytes] = set()  # bundles known to be there since the connection last failed
        self._carrier = Carrier(peer.name, peer.relay.chunks, writer.node)

    async def run(self) -> None:
        """Forward until the relay stops."""
        with self._writer.bell(self._peer.name) as bell:
            self._circuit.on_open = bell.ring
            try:
                async with self._carrier.running(self._holds.release, bell.ring):
                    await self._forward(bell)
            finally:
                self._circuit.left()

    async def _forward(self, bell: Bell) -> None:
        while not bell.ended:
            try:
                found = await self._once()
            except PeerError as failed:
                # Nothing is known of any envelope: UNAVAILABLE, or the peer does not accept this relay.
                self._published.clear()
                self._pace.lost()
                await self._pause(bell, self._circuit.failed(failed.problem.reason))
            except ExchangeError as problem:
                self._local_failures += 1
                _log.warning("forward_failed", peer=self._peer.name, reason=problem.reason.word)
                await asyncio.sleep(pause_after(self._local_failures))
            else:
                self._local_failures = 0
                if not found:
                    await bell.heard(self._holds.wait())

    async def _pause(self, bell: Bell, seconds: float) -> None:
        """Wait, but not once a FLASH message has come, which has one try of its own."""
        now = asyncio.get_running_loop().time
        started = now()
        while not bell.ended and (left := started + seconds - now()) > 0:
            if not await bell.heard(left):
                return
            with contextlib.suppress(ExchangeError):  # a store that cannot be read now is told of by what comes next
                if await self._writer.read(self._rushes):
                    await asyncio.sleep(min(left, max(0.0, started + _RUSH_PAUSE - now())))
                    return
            await asyncio.sleep(min(left, _LOOK_PAUSE))

    def _rushes(self) -> bool:
        """Whether a FLASH message is first in the queue for which no pause was broken off yet; in a thread."""
        skip = (*self._holds.active(), *self._rushed)
        for item in self._node.store.waiting(self._peer.name, limit=1, skip=skip):
            if _is_flash(item) and len(self._rushed) < _RUSHED_MAX:
                self._rushed.add(item.position)
                return True
        return False

    async def _once(self) -> bool:
        """Forward one frame; return whether there was any, so that there may be another."""
        probing = self._circuit.is_open
        if probing:
            await called(self._pool, self._peer.asking.checkpoint)
        skip = self._holds.active()
        waiting = await self._writer.read(partial(self._waiting, skip)) if len(skip) < _HELD_MAX else []
        if not waiting:
            if probing:
                self._circuit.succeeded()
            return False
        loads, fates = await self._writer.read(partial(self._load, waiting))
        if loads:
            fates += await self._carry(loads)
        # Whatever is still in the queue after this is passed over for a while.
        for fate in fates:
            self._holds.put_off(fate.waiting.position, fate.fault)
        await self._settle([fate for fate in fates if fate.decision])
        return True

    async def _settle(self, fates: Sequence[_Fate]) -> None:
        """Log what was decided."""
        settled = await self._writer.settle([fate.decision for fate in fates if fate.decision], size=0)
        for fate, result in zip(fates, settled, strict=True):
            position = fate.waiting.position
            if isinstance(result, Receipt):
                if not fate.waiting.damaged:  # else it may be damaged so that it stands there still
                    self._holds.forget(position)
            elif is_fault(result):
                self._holds.put_off(position, Reason.MALFORMED)
        self._log_settled(settled)

    def _waiting(self, skip: Sequence[int]) -> Sequence[Waiting]:
        limit = 1 if self._circuit.is_open or self._singly else self._limit
        found = self._node.store.waiting(self._peer.name, limit=limit, skip=skip)
        self._limit = next_limit([item.raw for item in found])
        return self._pace.frame(found)

    def _load(self, waiting: Sequence[Waiting]) -> tuple[list[_Load], list[_Fate]]:
        """Return what can be sent, and what is to become of the rest; in a thread."""
        loads: list[_Load] = []
        fates: list[_Fate] = []
        for item in waiting:
            faults = self._holds.faults(item.position)
            try:
                if item.damaged or len(faults) >= TRIES:
                    reason = Reason.MALFORMED if item.damaged else faults[-1]
                    fates.append(_Fate(item, self._quarantine.decision(item, reason)))
                elif self._carrier.has(item.position):  # on its way already
                    fates.append(_Fate(item))
                else:
                    raw = self._node.served(self._peer.party, item)
                    loads.append(_Load(item, raw, Envelope.parse(raw).signing_bundles))
            except UnavailableError:
                fates.append(_Fate(item))
            except ExchangeError as problem:
                # For example a recipient that has left since.
                fates.append(_Fate(item, self._quarantine.decision(item, problem.reason)))
            except Exception as bug:  # noqa: BLE001  one item must not stop the queue; the text may hold its bytes
                _log.error("load_failed", peer=self._peer.name, digest=item.digest.hex(), reason=type(bug).__name__)
                fates.append(_Fate(item, fault=Reason.MALFORMED))
        return loads, fates

    async def _carry(self, loads: Sequence[_Load]) -> list[_Fate]:
        """Hand a frame to the peer; return what is to become of each envelope."""
        again = [load for load in loads if self._holds.knows(load.waiting.position)]
        # Keys that the peer takes once more show that it works: then what fails on it has a fault of its own.
        self._published -= {bundle for load in again for bundle in load.bundles}
        works = await self._publish({bundle for load in loads for bundle in load.bundles})
        try:
            results = await self._submit(loads)
        except PeerError as failed:
            if is_fault(failed.problem):
                if len(loads) > 1:
                    self._singly = len(loads)
                else:
                    self._holds.put_off(loads[0].waiting.position, Reason.UNAVAILABLE if works else None)
            raise
        works = works or any(isinstance(result, Receipt) for result in results)
        problem = results[0]
        to_blame = works and any(map(is_fault, results))
        if isinstance(problem, ExchangeError) and not to_blame and all(map(is_of_the_peer, results)):
            # As good as away; only one that went alone may be the reason.
            if len(loads) == 1:
                self._holds.put_off(loads[0].waiting.position)
            raise PeerError(problem)
        self._circuit.succeeded()
        self._rushed.clear()
        self._singly = max(0, self._singly - 1)
        fates = []
        for load, result in zip(loads, results, strict=True):
            fault = Reason.UNAVAILABLE if works and is_fault(result) else None
            fates.append(_Fate(load.waiting, self._decision(load, result), fault))
        return fates

    async def _submit(self, loads: Sequence[_Load]) -> list[Result]:
        """Return the peer's results; what fails only for want of a bundle is tried once more with it."""
        raws, started, began = [load.raw for load in loads], time.monotonic(), time.time_ns()
        results = list(await called(self._pool, partial(self._peer.relay.submit, raws)))
        self._pace.took(sum(map(len, raws)), time.monotonic() - started)
        stale = [i for i, result in enumerate(results) if reason_of(result) is Reason.STALE_BUNDLE]
        if stale:
            bundles = {bundle for i in stale for bundle in loads[i].bundles}
            self._published -= bundles
            await self._publish(bundles)
            again = await called(self._pool, partial(self._peer.relay.submit, [loads[i].raw for i in stale]))
            for i, result in zip(stale, again, strict=True):
                results[i] = result
        told = [(load.waiting.digest, reason_of(result)) for load, result in zip(loads, results, strict=True)]
        self._writer.traces.forwarded(self._peer.name, began, told)
        return results

    async def _publish(self, digests: Collection[bytes]) -> bool:
        """Give the peer the senders' bundles that it may not have, without which it must refuse their envelopes.

        Returns:
            Whether it has taken one.
        """
        new = sorted(set(digests) - self._published)
        bundles = await self._writer.read(lambda: [bundle for digest in new for bundle in self._bundle(digest)])
        if not bundles:
            return False
        results = await called(self._pool, partial(self._peer.relay.publish, bundles))
        if len(self._published) >= _PUBLISHED_MAX:
            self._published.clear()
        for bundle, result in zip(bundles, results, strict=True):
            if isinstance(result, Receipt):
                self._published.add(bundle.digest)
            elif isinstance(result, UnavailableError):
                raise PeerError(result)
            else:
                _log.warning(
                    "bundle_refused", peer=self._peer.name, digest=bundle.digest.hex(), reason=result.reason.word
                )
        return any(isinstance(result, Receipt) for result in results)

    def _bundle(self, digest: bytes) -> list[KeyBundle]:
        """Return a bundle, or nothing; one whose row is damaged must not stop the others; in a thread."""
        try:
            bundle = self._node.store.bundle(digest)
        except UnavailableError as problem:
            if problem.reason is not Reason.LOG_STOPPED:
                raise
            _log.error("bundle_damaged", peer=self._peer.name, digest=digest.hex())
            return []
        return [bundle] if bundle else []

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
            return None
        return None if is_of_the_peer(result) else self._refused(item, result.reason)

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


def _is_flash(item: Waiting) -> bool:
    try:
        return Envelope.parse(item.raw).precedence is Precedence.FLASH
    except ExchangeError:  # nobody can tell; it is found again when it is its turn
        return False
