"""Forwarding: one relay's way to another, in this process: the real forwarder, group commit and rules, and a line."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from conftest import RECIPIENT, SENDER
from infoexchange import Draft, catalogue
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.ports import Result
from infoexchange.receipt import Receipt
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import DirectRelay, Exchange
from infoexchange_relay.batching import Batching
from infoexchange_relay.forward import Peer
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.peers import Peers
from infoexchange_relay.quarantine import Quarantine
from messages import officer_acknowledgement
from patience import LIMIT

HERE, THERE = "relay.th.example", "relay.vn.example"


class Line:
    """The way to the other relay, which notes each frame; `fault` may raise, wait, or answer in its place."""

    def __init__(self, relay: Any) -> None:
        self._relay = relay
        self._lock = threading.Lock()
        self.away = False
        self.frames: list[list[bytes]] = []  # digests
        self.probes = 0
        self.fault: Callable[[Sequence[bytes]], Sequence[Result] | None] = lambda _digests: None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._relay, name)

        def call(*arguments: Any) -> Any:
            self._check()
            return found(*arguments)

        return found if name == "chunks" else call

    def _check(self) -> None:
        if self.away:
            raise error(Reason.UNAVAILABLE, field="127.0.0.1:1", detail="nothing listens there")

    def checkpoint(self) -> bytes:
        self.probes += 1
        self._check()
        found: bytes = self._relay.checkpoint()
        return found

    def submit(self, raws: Sequence[bytes]) -> Sequence[Result]:
        self._check()
        digests = [Envelope.parse(raw).digest for raw in raws]
        with self._lock:
            self.frames.append(digests)
        answer = self.fault(digests)
        return self._relay.submit(raws) if answer is None else answer


class Outbox:
    """A relay for a sender that takes nothing, so that what it sealed can be handed over when the test wants it."""

    def __init__(self, relay: Any) -> None:
        self._relay = relay
        self.raws: dict[bytes, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    def submit(self, raws: Sequence[bytes]) -> Sequence[Result]:
        self.raws |= {Envelope.parse(raw).digest: raw for raw in raws}
        return [error(Reason.UNAVAILABLE, field="relay", detail="later") for _ in raws]


class Way:
    """Two relays, of which this one forwards."""

    def __init__(self, exchange: Exchange, group: Batching, line: Line, peers: Peers) -> None:
        self.exchange, self.group, self.line, self.peers = exchange, group, line, peers
        self.node, self.peer = exchange.nodes[HERE], exchange.nodes[THERE]
        self.sender = exchange.mailbox(SENDER)
        self._box = Outbox(self.sender.relay)
        self.sender._desk.relay = self._box

    def seal(self, count: int = 1, precedence: int = catalogue.PRECEDENCE_ROUTINE, **parts: Any) -> list[bytes]:
        """Return the digests of new messages, which wait in the sender's outbox."""
        before = set(self._box.raws)
        message = officer_acknowledgement(precedence=precedence)
        drafts = [Draft(message, [RECIPIENT], suite=HYBRID_KEM, **parts) for _ in range(count)]
        self.sender.send_all(drafts)
        return [digest for digest in self._box.raws if digest not in before]

    async def accept(self, digests: Sequence[bytes]) -> None:
        """Let the relay take messages from the outbox."""
        party = self.node.directory.party(SENDER, at=self.exchange.clock())
        decisions = [partial(self.node.decide, party, self._box.raws[digest]) for digest in digests]
        results = await self.group.settle(decisions, 0)
        assert all(isinstance(result, Receipt) for result in results), results

    def take(self, digests: Sequence[bytes]) -> list[Result]:
        """Let the other relay take messages, and return what it answers."""
        us = self.node.directory.party(HERE, at=self.exchange.clock())
        return self.peer.commit([self.peer.decide(us, self._box.raws[digest]) for digest in digests])

    def queued(self) -> list[bytes]:
        """Return what is ready for the recipient."""
        return [item.digest for item in self.peer.store.waiting(RECIPIENT, limit=999)]

    def events(self, digest: bytes, relay: str = HERE) -> list[Any]:
        """Return what a relay logged of a message and has signed."""
        node = self.exchange.nodes[relay]
        return [record.event for record in node.records(digest) if record.index < node.ledger.end]

    def ring(self, queue: str) -> None:
        """Tell whoever carries a queue that something waits, as group commit does of what went through it."""
        self.group.bells.ring([(queue, b"")])

    def gauge(self) -> float | None:
        """Return the state of the circuit."""
        name = "infoexchange_relay_peer_circuit"
        return self.group.metrics.registry.get_sample_value(name, {"peer": THERE})


@contextlib.asynccontextmanager
async def forwarding(exchange: Exchange, folder: Path) -> AsyncIterator[Way]:
    """Run the forwarder of one relay; the other answers by a line that a test may spoil."""
    exchange.forward = lambda: None  # type: ignore[method-assign]
    node = exchange.nodes[HERE]
    us, them = (node.directory.party(name, at=exchange.clock()) for name in (HERE, THERE))
    line = Line(DirectRelay(exchange, exchange.nodes[THERE], us))
    group = Batching(node, metrics=Metrics([THERE]))
    peers = Peers([Peer(them, line, line, lambda: None)], group, Quarantine(group, folder / "undeliverable"))  # type: ignore[arg-type]
    group.start()
    peers.start()
    try:
        yield Way(exchange, group, line, peers)
    finally:
        await peers.close()
        await group.close()


async def until(check: Callable[[], Any]) -> Any:
    """Return what `check` returns as soon as it is true."""
    async with asyncio.timeout(LIMIT):
        while not (found := check()):
            await asyncio.sleep(0.005)
    return found


def run(exchange: Exchange, folder: Path, work: Callable[[Way], Coroutine[Any, Any, None]]) -> list[dict[str, Any]]:
    """Run `work` while the relay forwards; return what it told its operator."""

    async def whole() -> None:
        async with forwarding(exchange, folder) as way, asyncio.timeout(LIMIT):
            await work(way)

    with structlog.testing.capture_logs() as told:
        asyncio.run(whole())
    return list(told)


def internal(digests: Any) -> Any:
    return [error(Reason.UNAVAILABLE, field="relay", detail="an error inside the relay") for _ in digests]


def said(told: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in told if line["event"] == event]
