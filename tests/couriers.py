"""Two relays that only a courier joins: the real rules and the real pouches, with no network and no disk but theirs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange.errors import ExchangeError, Reason
from infoexchange.ports import History
from infoexchange.pouch import Contents, Pouch
from infoexchange.reconciling import Reconciliation, Side, reconcile
from infoexchange.testing import Community, DirectRelay, Exchange
from infoexchange.testing.clock import START
from infoexchange_relay.batching import Batching
from infoexchange_relay.courier import Courier
from messages import officer_acknowledgement
from reconciled import TH, VN, origin_of, records_of

RELAYS = (TH, VN)


@functools.cache
def _community() -> Community:
    """The parties with their keys, which no test changes."""
    return Community.make(AGENCIES, now=START)


class Post:
    """Two nations, a relay each, and what lies on the courier's desk."""

    def __init__(self, folder: Path) -> None:
        self.exchange = Exchange({}, community=_community())
        self.exchange.forward = lambda: None  # type: ignore[method-assign]  # no line joins the relays
        self.folder = folder
        self._numbers = itertools.count(1)
        for name in self.exchange.community.members:
            relay = self.exchange.mailbox(name).relay
            assert isinstance(relay, DirectRelay)
            relay.events = self._events(relay)  # type: ignore[method-assign]

    def _events(self, relay: DirectRelay) -> Any:
        """What a relay without a network answers: its own log, and what the courier brought."""

        def events(digest: bytes) -> History:
            node, party = relay._node, relay._party
            own = node.history(party, digest)
            told = [self.courier(node.name).told(peer, digest) for peer in RELAYS if peer != node.name]
            return History.merged([own, *told])

        return events

    def courier(self, relay: str, batching: Batching | None = None, **changed: Any) -> Courier:
        node = self.exchange.nodes[relay]

        async def take(raw: bytes, source: str) -> Any:
            assert source in RELAYS
            try:
                newer = node.directory.succeed(raw)
                [result] = node.commit([node.decide_directory(raw)])
            except ExchangeError as problem:
                return problem
            node.adopt(newer)
            return result

        keys = self.exchange.community.log_keys[relay]
        peers = changed.pop("peers", [peer for peer in RELAYS if peer != relay])
        writer: Any = batching or Batching(node)
        return Courier(writer, take, keys, peers, self.folder / relay, reserve=changed.pop("reserve", 0))

    def run(self, relay: str, work: Any, **changed: Any) -> Any:
        """Do something with a relay's courier."""

        async def all_of_it() -> Any:
            batching = Batching(self.exchange.nodes[relay])
            batching.start()
            try:
                return await work(self.courier(relay, batching, **changed))
            finally:
                await batching.close()

        return asyncio.run(all_of_it())

    def make(self, relay: str, **changed: Any) -> tuple[Path, dict[str, Any]]:
        """Have a pouch made for the other relay."""
        file = self.folder / f"{next(self._numbers)}.pouch"
        [to] = [peer for peer in RELAYS if peer != relay]
        return file, self.run(relay, lambda courier: courier.make(to, file), **changed)

    def take(self, relay: str, file: Path, **changed: Any) -> dict[str, Any]:
        """Have a relay take a pouch."""
        found: dict[str, Any] = self.run(relay, lambda courier: courier.take(file), **changed)
        return found

    def carry(self, giver: str) -> dict[str, Any]:
        """Carry one pouch to the other relay; return what that made of it."""
        file, _ = self.make(giver)
        [taker] = [relay for relay in RELAYS if relay != giver]
        return self.take(taker, file)

    def send(self, to: str = RECIPIENT, by: str = SENDER, **more: Any) -> bytes:
        receipt = self.exchange.mailbox(by).send(officer_acknowledgement(), to=[to], **more)
        return receipt.subject.envelope_digest

    def receive(self, name: str = RECIPIENT) -> list[bytes]:
        """Receive and acknowledge what waits."""
        box, found = self.exchange.mailbox(name), []
        for delivery in box.receive():
            box.acknowledge(delivery)
            found.append(delivery.digest)
        return found

    def events(self, relay: str, digest: bytes) -> list[str]:
        return [record.event.name for record in self.exchange.nodes[relay].records(digest)]

    def sizes(self) -> dict[str, int]:
        return {relay: self.exchange.nodes[relay].ledger.size for relay in RELAYS}

    def waiting(self, relay: str, for_whom: str) -> list[bytes]:
        return [item.digest for item in self.exchange.nodes[relay].store.waiting(for_whom, limit=100)]

    def reconciled(self) -> Reconciliation:
        return reconcile(*(Side(r, origin_of(self.exchange, r), records_of(self.exchange, r)) for r in RELAYS))

    @contextlib.contextmanager
    def opened(self, file: Path, by: str = VN) -> Iterator[Contents]:
        """Open and verify a pouch, as its recipient does."""
        with file.open("rb") as source:
            exchange = self.exchange
            yield Pouch.parse(source).verify(exchange.directory, recipient=by, now=exchange.clock())


def refusal(call: Any) -> Reason:
    """Return why a call is refused."""
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason
