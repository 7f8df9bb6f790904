"""Recalls: how senders' orders to stop a message reach the other relays.

They wait in queues of their own and go as soon as they come, so that no envelope, large or refused, holds up the order
that is to stop one. The peer obeys whichever comes first, order or envelope.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from infoexchange.errors import ExchangeError
from infoexchange.node import Job
from infoexchange.node.recalls import orders_for
from infoexchange.ports import BATCH_MAX, Notice, Result
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange_relay.answers import is_of_the_peer
from infoexchange_relay.backoff import pause_after
from infoexchange_relay.circuit import Circuit, PeerError, called
from infoexchange_relay.forward import Decision, Peer, Writer

_log = structlog.get_logger()


class OrderForwarder:
    """The way of recall orders to one peer."""

    def __init__(self, peer: Peer, writer: Writer, pool: ThreadPoolExecutor, circuit: Circuit) -> None:
        """Hold the peer, the way to the log, the threads in which calls to peers block, and whether it is there."""
        self._peer = peer
        self._writer = writer
        self._node = writer.node
        self._pool = pool
        self._circuit = circuit

    async def run(self) -> None:
        """Carry orders until the relay stops."""
        failures = 0
        with self._writer.bell(orders_for(self._peer.name)) as bell:
            while not bell.ended:
                await self._circuit.closed.wait()  # the forwarder finds out when the peer is back
                try:
                    left, gone = await self._once()
                except PeerError as failed:
                    await asyncio.sleep(self._circuit.failed(failed.problem.reason))
                    continue
                except ExchangeError as problem:
                    failures += 1
                    _log.warning("recall_not_carried", peer=self._peer.name, reason=problem.reason.word)
                    await asyncio.sleep(pause_after(failures))
                    continue
                failures = 0 if gone or not left else failures + 1
                if not gone:
                    await bell.heard(pause_after(failures) if left else None)

    async def _once(self) -> tuple[int, int]:
        """Carry what waits; return how many orders are left of it, and how many are gone."""
        orders = await self._writer.read(partial(self._node.orders, self._peer.name, limit=BATCH_MAX))
        if not orders:
            return 0, 0
        digests = sorted({order.statement.issuer_bundle for order in orders})
        found = await self._writer.read(lambda: [self._node.store.bundle(digest) for digest in digests])
        await called(self._pool, partial(self._peer.relay.publish, [bundle for bundle in found if bundle is not None]))
        notices = [Notice(order.statement.envelope_digest, Event.RECALLED, order.raw) for order in orders]
        results = await called(self._pool, partial(self._peer.relay.acknowledge, notices))
        self._circuit.succeeded()
        decisions = [self._decision(order, result) for order, result in zip(orders, results, strict=True)]
        settled = await self._writer.settle([decision for decision in decisions if decision], size=0)
        gone = sum(isinstance(result, Receipt) for result in settled)
        _log.info("recalls_carried", peer=self._peer.name, count=gone)
        return len(orders) - gone, gone

    def _decision(self, order: RecallOrder, result: Result) -> Decision | None:
        """Return the decision that a peer's result makes; none when the order stays where it is."""
        digest = order.statement.envelope_digest.hex()
        if isinstance(result, Receipt):
            return partial(self._forwarded, order, result)
        if is_of_the_peer(result):
            return None
        _log.warning("recall_refused", peer=self._peer.name, digest=digest, reason=result.reason.word)
        return partial(self._node.recall_failed, self._peer.name, order, result.reason)

    def _forwarded(self, order: RecallOrder, receipt: Receipt) -> Job:
        try:
            return self._node.recall_forwarded(self._peer.name, order, receipt)
        except ExchangeError as problem:
            # A false receipt is no refusal: the order stays, and the operator hears of it.
            digest = order.statement.envelope_digest.hex()
            _log.error("receipt_refused", peer=self._peer.name, digest=digest, reason=problem.reason.word)
            raise
