"""Simulation: seeded runs over lost requests, lost answers, crashes, recalls and a moving clock; one checker."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from infoexchange import Draft
from infoexchange.auditor import verify_log
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import DirectRelay, Exchange
from messages import officer_acknowledgement


class Lossy:
    """A relay on a bad line: requests get lost before, and answers after, the work was done."""

    def __init__(self, relay: Any, rng: random.Random, odds: float = 0.3) -> None:
        self._relay, self._rng, self._odds = relay, rng, odds

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._relay, name)
        if name not in {"submit", "acknowledge"}:
            return method

        def lossy(*args: object) -> Any:
            if self._rng.random() < self._odds:
                raise error(Reason.UNAVAILABLE, field="relay", detail="request lost")
            answer = method(*args)
            if self._rng.random() < self._odds:
                raise error(Reason.UNAVAILABLE, field="relay", detail="answer lost")
            return answer

        return lossy


class Run:
    """One run: who sent what to whom, what was recalled, and what applications were handed."""

    def __init__(self, exchange: Exchange, rng: random.Random) -> None:
        self.exchange, self.rng = exchange, rng
        self.boxes = {name: exchange.mailbox(name) for name in exchange.community.members}
        for box in self.boxes.values():
            box._desk.relay = Lossy(box.relay, rng)
        direct = exchange.line
        # Between relays it is worse, so that envelopes and orders overtake each other.
        exchange.line = lambda caller, node: Lossy(direct(caller, node), rng, 0.5)  # type: ignore[assignment,method-assign]
        self.sent: dict[bytes, tuple[str, list[str]]] = {}
        self.recalled: set[tuple[bytes, str]] = set()
        self.handed: dict[str, list[bytes]] = {name: [] for name in self.boxes}

    def step(self) -> None:
        name, chance = self.rng.choice(sorted(self.boxes)), self.rng.random()
        if chance < 0.35:
            self._send(name)
        elif chance < 0.5:
            self._recall(name)
        elif chance < 0.6:
            self.exchange.restart(self.rng.choice(sorted(self.exchange.nodes)))
        else:
            self.receive(name)

    def _send(self, name: str) -> None:
        to = self.rng.sample(sorted(set(self.boxes) - {name}), self.rng.randint(1, 3))
        self.boxes[name].send_all(
            [Draft(officer_acknowledgement(), to, suite=HYBRID_KEM, blind=self.rng.random() < 0.3)]
        )
        self.sent[self.boxes[name].spool.standing().digest] = (name, to)

    def _recall(self, name: str) -> None:
        mine = [digest for digest, (sender, _) in self.sent.items() if sender == name]
        if mine:
            digest = self.rng.choice(mine[-3:])
            to = self.sent[digest][1]
            names = self.rng.sample(to, self.rng.randint(1, len(to)))
            self.boxes[name].recall(digest, names)
            self.recalled |= {(digest, one) for one in names}

    def receive(self, name: str) -> None:
        """Receive as a careful application does: take, act once, acknowledge; sometimes crash in between."""
        box = self.boxes[name]
        try:
            for delivery in box.receive():
                if self.rng.random() < 0.2:
                    return  # crashed before acting
                self.handed[name].append(delivery.digest)
                box.acknowledge(delivery)
        except UnavailableError:
            return

    def drain(self) -> None:
        """Let the line heal slowly: every queue drains in the end."""
        for _ in range(80):
            for name in self.boxes:
                self.receive(name)
            self.exchange.forward()


@pytest.mark.parametrize("run", range(6))
def test_simulation_nothing_lost_nothing_twice_nothing_after_its_recall(exchange: Exchange, run: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    this = Run(exchange, random.Random(seed))
    for _ in range(40):
        this.step()
        exchange.clock.advance(timedelta(seconds=this.rng.randint(0, 3600)))
    this.drain()
    assert all(len(set(digests)) == len(digests) for digests in this.handed.values())
    for digest, (sender, to) in this.sent.items():
        found = {o.recipient: o for o in exchange.mailbox(sender).outcomes(digest)}
        assert set(found) == set(to)
        for name, outcome in found.items():
            # Each recipient ends in one state, and it is the true one.
            handed = digest in this.handed[name]
            assert outcome.is_final, (name, outcome)
            assert outcome.state is (Event.OPENED if handed else Event.RECALLED)
            assert handed or (digest, name) in this.recalled
            _check_log(exchange, digest, name)
    for name, node in exchange.nodes.items():
        party = node.directory.party(name, at=exchange.clock())
        verify_log(DirectRelay(exchange, node, party), exchange.directory, name)
        assert not any(node.orders(peer, limit=9) for peer in exchange.nodes)
        assert not any(node.store.waiting(party, limit=9) for party in (*exchange.nodes, *this.boxes))


def _check_log(exchange: Exchange, digest: bytes, name: str) -> None:
    """At the recipient's relay nothing is delivered after an order for that recipient was taken."""
    records = exchange.node_of(name).records(digest)
    receipts = exchange.node_of(name).ledger.receipts([record.index for record in records])
    taken = [r for r in receipts if r.routing.event is Event.RECALL_ORDERED and name in r.routing.recipients]
    delivered = [r for r in receipts if r.routing.event is Event.DELIVERED and name in r.routing.recipients]
    ends = {r.routing.event for r in receipts if r.routing.recipients == (name,)} & {Event.DELIVERED, Event.RECALLED}
    assert len(ends) <= 1
    assert not (taken and delivered) or max(d.index for d in delivered) < min(t.index for t in taken)
