"""Forwarding to one peer: what is urgent, what cannot be read, what the peer fails on, and a peer that is away."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from conftest import AGENCIES
from forwarding import THERE, Way, run, said, until
from infoexchange import catalogue
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import Waiting
from infoexchange.states import Event
from infoexchange.testing import Community, Exchange
from infoexchange.testing.clock import START
from infoexchange_relay import backoff, forward, pace, quarantine
from infoexchange_relay.backoff import Holds
from infoexchange_relay.circuit import OPEN_AFTER, Circuit
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.pace import FRAME_FIRST, FRAME_MIN, FRAME_SECONDS, Pace
from infoexchange_relay.quarantine import TRIES
from patience import LIMIT

NAVY = "desk.navy.th.example"


@pytest.fixture(scope="module")
def community() -> Community:
    return Community.make(AGENCIES, now=START)


@pytest.fixture
def exchange(community: Community) -> Exchange:
    return Exchange(AGENCIES, community=community)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(backoff, "BACKOFF_MAX", 0.05)
    monkeypatch.setattr(forward, "TRIES", 4)
    monkeypatch.setattr(quarantine, "TRIES", 3)


# What is urgent


def test_flash_goes_with_the_very_next_frame(exchange: Exchange, tmp_path: Path, monkeypatch) -> None:
    """While one frame is under way to a slow peer, FLASH waits for that one and for nothing else."""
    monkeypatch.setattr(pace, "FRAME_FIRST", 20_000)
    gate, entered = threading.Event(), threading.Event()

    def slow(_digests: Any) -> None:
        entered.set()
        assert gate.wait(LIMIT)

    async def work(way: Way) -> None:
        way.line.fault = slow
        routine = way.seal(12)
        [flash] = way.seal(1, catalogue.PRECEDENCE_FLASH)
        await way.accept(routine)
        await until(entered.is_set)
        assert len(way.line.frames[0]) < len(routine)  # one frame holds up no more than it must
        await way.accept([flash])
        gate.set()
        await until(lambda: len(way.queued()) == 13)
        assert way.line.frames[1][0] == flash
        assert way.queued()[0] == flash

    run(exchange, tmp_path, work)


def test_a_frame_is_what_the_line_carries_in_a_second() -> None:
    pace_ = Pace()
    items = [Waiting(i, THERE, b"", bytes(100_000)) for i in range(99)]
    assert len(pace_.frame(items)) == FRAME_FIRST // 100_000
    for _ in range(9):
        pace_.took(sum(len(item.raw) for item in pace_.frame(items)), 0.01)
    assert len(pace_.frame(items)) == 41  # 4 MiB, and no more
    for _ in range(9):
        pace_.took(pace_.size, FRAME_SECONDS * 2)
    assert pace_.size == FRAME_MIN
    assert len(pace_.frame(items)) == 1  # one always goes
    pace_.took(FRAME_MIN, FRAME_SECONDS * 0.9)
    assert pace_.size == FRAME_MIN  # fast enough, and not so fast that twice as much would be
    pace_.took(100, 0.0)
    assert pace_.size == FRAME_MIN  # a small frame tells nothing


# A peer that is away


def test_the_circuit_opens_is_told_once_and_closes(exchange: Exchange, tmp_path: Path) -> None:
    async def work(way: Way) -> None:
        assert way.gauge() == 0
        way.line.away = True
        digests = way.seal(3)
        await way.accept(digests)
        await until(way.gauge)
        await until(lambda: way.line.probes > 3)
        with pytest.raises(ExchangeError, match="could not be reached lately"):  # at once, and not after five seconds
            await way.peers.directories(0)
        way.line.away = False
        await until(lambda: len(way.queued()) == 3)
        await until(lambda: way.gauge() == 0)
        assert len(way.line.frames[0]) == 1  # one thing at a time, until it is known to be there
        assert [len(frame) for frame in way.line.frames] == [1, 2]

    told = run(exchange, tmp_path, work)
    assert [line["event"] for line in told if line["event"].startswith("peer_")] == ["peer_lost", "peer_back"]
    assert said(told, "peer_lost")[0]["count"] == OPEN_AFTER
    assert not said(told, "forward_failed")


@pytest.mark.parametrize("reason", [Reason.UNAVAILABLE, Reason.OVERLOADED, Reason.DIRECTORY_EXPIRED])
def test_a_peer_that_takes_nothing_is_as_good_as_away(exchange: Exchange, tmp_path: Path, reason: Reason) -> None:
    """Whatever it says of each envelope: nothing is given up, and all of it goes once the peer takes one."""

    async def work(way: Way) -> None:
        way.line.fault = lambda digests: [error(reason, field="elsewhere") for _ in digests]
        digests = way.seal(4)
        await way.accept(digests)
        await until(way.gauge)
        way.line.fault = lambda _digests: None
        await until(lambda: len(way.queued()) == 4)
        await until(lambda: way.gauge() == 0)
        assert all(Event.UNDELIVERABLE not in way.events(digest) for digest in digests)

    told = run(exchange, tmp_path, work)
    assert said(told, "peer_lost")[0]["reason"] == reason.word


def test_what_must_wait_holds_up_nothing_behind_it(exchange: Exchange, tmp_path: Path, monkeypatch) -> None:
    """The first frame is put off for an hour; what lies behind it goes at once."""
    monkeypatch.setattr(pace, "FRAME_FIRST", 20_000)
    monkeypatch.setattr(backoff, "BACKOFF_FIRST", 3600.0)
    monkeypatch.setattr(backoff, "BACKOFF_MAX", 3600.0)

    async def work(way: Way) -> None:
        digests = way.seal(12)
        first = set(digests[:3])

        def some(asked: Any) -> Any:
            if not first & set(asked):
                return None
            rest = iter(way.take([digest for digest in asked if digest not in first]))
            later = error(Reason.UNAVAILABLE, field="elsewhere")
            return [later if digest in first else next(rest) for digest in asked]

        way.line.fault = some
        await way.accept(digests)
        await until(lambda: set(way.queued()) == set(digests) - first)

    run(exchange, tmp_path, work)


def test_a_peer_with_nothing_waiting_is_found_again(exchange: Exchange, tmp_path: Path) -> None:
    """Recall orders open the circuit too, and whoever has nothing to send finds out when the peer is back."""

    async def work(way: Way) -> None:
        circuit = way.peers._circuits[THERE]
        way.line.away = True
        for _ in range(OPEN_AFTER):
            circuit.failed(Reason.UNAVAILABLE)
        await until(lambda: way.line.probes > 1)
        assert way.gauge() == 1
        way.line.away = False
        await until(lambda: not circuit.is_open)

    run(exchange, tmp_path, work)


def test_flash_is_tried_at_once_however_long_the_pause(exchange: Exchange, tmp_path: Path, monkeypatch) -> None:
    """One try for each that comes, and no more: a thousand of them do not become a storm."""
    monkeypatch.setattr(forward, "_RUSH_PAUSE", 0.0)

    async def work(way: Way) -> None:
        way.line.away = True
        routine, flash = way.seal(1), way.seal(2, catalogue.PRECEDENCE_FLASH)
        circuit = way.peers._circuits[THERE]
        for _ in range(OPEN_AFTER):
            circuit.failed(Reason.UNAVAILABLE)
        monkeypatch.setattr(backoff, "BACKOFF_FIRST", 3600.0)
        monkeypatch.setattr(backoff, "BACKOFF_MAX", 3600.0)
        await until(lambda: way.line.probes)
        probes = way.line.probes
        await way.accept(routine)
        await way.accept([flash[0]])
        await until(lambda: way.line.probes > probes)
        await asyncio.sleep(0.05)
        assert way.line.probes == probes + 1
        way.line.away = False
        await way.accept([flash[1]])
        await until(lambda: len(way.queued()) == 3)
        assert way.gauge() == 0

    run(exchange, tmp_path, work)


def test_the_circuit_counts_failures_in_a_row() -> None:
    async def work() -> None:
        circuit = Circuit("other", Metrics([THERE]))
        for _ in range(OPEN_AFTER - 1):
            assert circuit.failed(Reason.UNAVAILABLE) > 0
        assert not circuit.is_open
        circuit.succeeded()
        for _ in range(OPEN_AFTER):
            circuit.failed(Reason.OVERLOADED)
        assert circuit.is_open
        with pytest.raises(ExchangeError) as caught:
            circuit.check()
        assert caught.value.reason is Reason.UNAVAILABLE
        circuit.succeeded()
        circuit.check()

    asyncio.run(work())


def test_pauses_double_up_to_their_limit(monkeypatch) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_FIRST", 0.5)
    monkeypatch.setattr(backoff, "BACKOFF_MAX", 30.0)
    monkeypatch.setattr(backoff, "jittered", lambda seconds: seconds)
    assert [backoff.pause_after(n) for n in (1, 2, 3, 6, 7, 8, 10**6)] == [0.5, 1, 2, 16, 30, 30, 30]
    # The tries that count against an envelope take the minute of the specification, even if every pause is short.
    assert sum(backoff.pause_after(n) for n in range(1, TRIES)) / 2 > 60


def test_holds_are_passed_over_until_they_are_due(monkeypatch) -> None:
    now = [0.0]
    holds = Holds(lambda: now[0])
    monkeypatch.setattr(backoff, "jittered", lambda seconds: seconds)
    assert (holds.active(), holds.wait(), holds.knows(1)) == ((), None, False)
    holds.put_off(1)
    holds.put_off(2, Reason.UNAVAILABLE)
    holds.put_off(2, Reason.MALFORMED)
    assert (set(holds.active()), holds.wait()) == ({1, 2}, pytest.approx(0.01))
    assert (list(holds.faults(1)), list(holds.faults(2))) == ([], [Reason.UNAVAILABLE, Reason.MALFORMED])
    now[0] = 0.015
    assert holds.wait() == 0  # due since they were asked for: whoever waits now would wait for ever
    assert (holds.active(), holds.wait()) == ((2,), pytest.approx(0.005))
    holds.release(2)
    assert (holds.active(), holds.wait(), len(holds.faults(2))) == ((), None, 2)
    holds.forget(2)
    assert not holds.knows(2)
    for position in range(3, 3 + 2 * backoff._REMEMBERED_MAX):
        now[0] += 1
        holds.put_off(position)
    assert len(holds._holds) <= backoff._REMEMBERED_MAX + 1
