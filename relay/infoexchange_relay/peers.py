"""Peers: all other relays: a forwarder for each, and the questions that only they can answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.errors import ExchangeError, UnavailableError, UntrustedError
from infoexchange.listing import Party, Role
from infoexchange.ports import History, concerns
from infoexchange.receipt import Receipt
from infoexchange_relay.circuit import Circuit
from infoexchange_relay.forward import Forwarder, Peer, Writer
from infoexchange_relay.lasting import lasting
from infoexchange_relay.quarantine import Quarantine
from infoexchange_relay.recalls import OrderForwarder

# Implementation constants
_FORWARDERS_MAX = 64  # threads, each made when it is first needed: a region has fewer relays
_ASKERS = 8  # questions under way at once; whoever asks waits for the answer anyway
_SWEEP = 30.0  # seconds between two looks for what has expired; nobody waits for the answer
_SWEEP_LIMIT = 64
_FRESH = timedelta(minutes=1)  # how old an answer about another relay's agency may be: its keys may be withdrawn since
_NEVER = datetime.min.replace(tzinfo=UTC)

T = TypeVar("T")
_log = structlog.get_logger()


class Peers:
    """All peers: a forwarder for each, and the questions that only they can answer.

    Attributes:
        quarantine: Ends the way of what cannot go on.
    """

    def __init__(self, peers: Sequence[Peer], writer: Writer, quarantine: Quarantine) -> None:
        """Hold the peers and the way to the log."""
        self.quarantine = quarantine
        self._peers = {peer.name: peer for peer in peers}
        self._writer = writer
        self._node = writer.node
        self._pool = ThreadPoolExecutor(max(_FORWARDERS_MAX, 2 * len(peers)), "forward")
        # Apart from them, so that questions to a slow peer hold up nobody's messages.
        self._askers = ThreadPoolExecutor(_ASKERS, "ask")
        self._circuits: dict[str, Circuit] = {}
        self._forwarding: dict[str, list[asyncio.Task[None]]] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._renewing = asyncio.Lock()
        self._asked: dict[str, datetime] = {}
        self._learning: set[asyncio.Task[None]] = set()
        self.told: Callable[[str, bytes], History] = lambda peer, digest: History((), ())
        """Gives what a relay told of an envelope by courier."""

    def start(self) -> None:
        """Begin to forward and to look for what has expired, in the running loop."""
        for peer in self._peers.values():
            self._forward(peer)
        self._sweeping = asyncio.create_task(lasting(partial(self._writer.nodes.on_duty, "expiry", self._sweep)))

    def _forward(self, peer: Peer) -> None:
        circuit = self._circuits[peer.name] = Circuit(peer.name, self._writer.metrics)
        ways = (
            Forwarder(peer, self._writer, self._pool, circuit, self.quarantine),
            OrderForwarder(peer, self._writer, self._pool, circuit),
        )
        on_duty = partial(self._writer.nodes.on_duty, f"peer {peer.name}")
        self._forwarding[peer.name] = [asyncio.create_task(lasting(partial(on_duty, way.run))) for way in ways]

    async def renew(self, peers: Sequence[Peer]) -> None:
        """Go on with other peers: what waits for one that was there before goes on where it stood.

        A peer that is the same object as before is not disturbed.
        """
        async with self._renewing:  # a new directory and a new certificate may come at the same time
            new = {peer.name: peer for peer in peers}
            gone = [peer for name, peer in self._peers.items() if new.get(name) is not peer]
            come = [peer for name, peer in new.items() if self._peers.get(name) is not peer]
            self._peers = new
            await self._end(gone)
            for peer in come:
                self._forward(peer)

    async def _end(self, peers: Sequence[Peer]) -> None:
        """End the forwarders and connections of some peers; a call under way is made again by whoever comes after."""
        tasks = [task for peer in peers for task in self._forwarding.pop(peer.name, ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for peer in peers:
            peer.close()

    async def close(self) -> None:
        """End the tasks and the connections."""
        if self._sweeping:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        for task in self._learning:
            task.cancel()
        await asyncio.gather(*self._learning, return_exceptions=True)
        await self._end(list(self._peers.values()))
        self._pool.shutdown()
        self._askers.shutdown()

    async def directories(self, after: int) -> tuple[str, Sequence[bytes]]:
        """Return the directory versions after `after` that one of the peers has, any of them, and its name.

        Raises:
            UnavailableError: It cannot be reached just now.
        """
        if not self._peers:
            return "", []
        there = [peer for peer in self._peers.values() if not self._is_away(peer)] or list(self._peers.values())
        peer = random.choice(there)  # noqa: S311  spreads the questions, guards no secret
        return peer.name, await self._ask(peer, partial(peer.asking.directories, after))

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
        now = self._node.clock()
        in_use = {bundle.owner for bundle in own if bundle.not_after >= now}
        # What is known serves at once; whether there is anything newer is asked meanwhile, for the next who asks.
        aging = [name for name in names if name in in_use and now > self._asked.get(name, _NEVER) + _FRESH]
        for peer, asked in self._by_peer(aging).items():
            task = asyncio.create_task(self._learn(self._peers[peer], asked))
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)
        wanted = self._by_peer([name for name in names if name not in in_use])
        if not wanted:
            return own
        await asyncio.gather(*(self._learn(self._peers[name], asked) for name, asked in wanted.items()))
        return await self._writer.read(partial(self._node.store.bundles, names))

    def _by_peer(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the agencies among some names that other relays serve, by relay; they count as asked for from now."""
        now = self._node.clock()
        wanted: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            with contextlib.suppress(ExchangeError):
                party = self._node.directory.party(name, at=now)
                if party.role is Role.AGENCY and party.relay in self._peers:
                    wanted.setdefault(party.relay, []).append(name)
                    self._asked[name] = now
        return wanted

    async def _learn(self, peer: Peer, names: Sequence[str]) -> None:
        """Publish here what a peer has of its agencies; what it cannot give is left out."""
        try:
            found = [
                bundle for bundle in await self._ask(peer, partial(peer.asking.bundles, names)) if bundle.owner in names
            ]
            decisions = [partial(self._node.decide_bundle, peer.party, bundle) for bundle in found]
            results = await self._writer.settle(decisions, size=sum(len(bundle.raw) for bundle in found))
        except ExchangeError as problem:
            if not self._is_away(peer):
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
            away = sorted(others - self._peers.keys())
            histories += await self._writer.read(lambda: [self.told(name, digest) for name in away if name])
        return History.merged(histories)

    async def _history(self, peer: Peer, digest: bytes) -> History:
        """Return what a peer logged of an envelope, as far as its receipts hold."""
        try:
            history = await self._ask(peer, partial(peer.asking.events, digest))
            held = await self._writer.read(lambda: [r for r in history.events if self._holds(peer, r, digest)])
        except ExchangeError as problem:
            if not self._is_away(peer):
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
        return concerns(receipt, digest)

    def _is_away(self, peer: Peer) -> bool:
        """Whether the operator has been told that a peer cannot be reached."""
        return peer.name in self._circuits and self._circuits[peer.name].is_open

    async def _ask(self, peer: Peer, call: Callable[[], T]) -> T:
        if peer.name in self._circuits:
            self._circuits[peer.name].check()
        return await asyncio.get_running_loop().run_in_executor(self._askers, call)
