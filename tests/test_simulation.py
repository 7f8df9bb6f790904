"""Simulation: seeded runs over lost requests, lost answers, crashes and a moving clock; one checker at the end."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from infoexchange import Draft
from infoexchange.auditor import verify_log
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.mailbox import Mailbox
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import DirectRelay, Exchange
from messages import officer_acknowledgement


class Lossy:
    """A relay on a bad line: requests get lost before, and answers after, the work was done."""

    def __init__(self, relay: Any, rng: random.Random) -> None:
        self._relay, self._rng = relay, rng

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._relay, name)
        if name not in {"submit", "acknowledge"}:
            return method

        def lossy(*args: object) -> Any:
            if self._rng.random() < 0.3:
                raise error(Reason.UNAVAILABLE, field="relay", detail="request lost")
            answer = method(*args)
            if self._rng.random() < 0.3:
                raise error(Reason.UNAVAILABLE, field="relay", detail="answer lost")
            return answer

        return lossy


@pytest.mark.parametrize("run", range(4))
def test_simulation_nothing_lost_nothing_twice(exchange: Exchange, run: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    boxes = {name: exchange.mailbox(name) for name in exchange.community.members}
    for box in boxes.values():
        box._desk.relay = Lossy(box.relay, rng)
    sent, handed = 0, {name: [] for name in boxes}
    for _ in range(25):
        name = rng.choice(sorted(boxes))
        if rng.random() < 0.5:
            to = rng.sample(sorted(set(boxes) - {name}), rng.randint(1, 3))
            boxes[name].send_all([Draft(officer_acknowledgement(), to, suite=HYBRID_KEM)])
            sent += len(to)
        else:
            _receive(boxes[name], handed[name], rng)
        exchange.clock.advance(timedelta(seconds=rng.randint(0, 3600)))
    for _ in range(60):  # the line heals slowly: every queue drains in the end
        for name, box in boxes.items():
            _receive(box, handed[name], rng)
    assert sum(map(len, handed.values())) == sent
    assert all(len(set(digests)) == len(digests) for digests in handed.values())
    for name, node in exchange.nodes.items():
        verify_log(
            DirectRelay(exchange, node, node.directory.party(name, at=exchange.clock())), exchange.directory, name
        )


def _receive(box: Mailbox, handed: list[bytes], rng: random.Random) -> None:
    """Receive as a careful application does: take, act once, acknowledge; sometimes crash in between."""
    try:
        for delivery in box.receive():
            if rng.random() < 0.2:
                return  # crashed before acting
            handed.append(delivery.digest)
            box.acknowledge(delivery)
    except UnavailableError:
        return
