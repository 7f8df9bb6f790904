"""Ledger: no checkpoint is signed with an earlier time than the one before it, whatever the clock does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from changes import change
from infoexchange.errors import Reason, UnavailableError
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys
from infoexchange.states import Event
from infoexchange.testing import FakeClock
from infoexchange.testing.memory import MemoryLatch, MemoryStore
from infoexchange.tlog import Checkpoint
from infoexchange.tlog.checkpoint import SKEW_MAX


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    made = Ledger(LogKeys.make("relay.aa.example", now=clock()), MemoryStore(), MemoryLatch(), clock=clock)
    made.load()
    made.commit([change(Event.QUEUED, b"%032d" % 0)])
    return made


def signed_at(ledger: Ledger) -> int:
    return Checkpoint.parse(ledger.checkpoint()).signed_at


def test_a_clock_that_is_set_back_a_little_is_waited_out(ledger: Ledger, clock: FakeClock) -> None:
    first = signed_at(ledger)
    clock.advance(-SKEW_MAX)
    ledger.commit([change(Event.QUEUED, b"%032d" % 1)])
    assert (ledger.size, signed_at(ledger)) == (2, first)
    clock.advance(SKEW_MAX + timedelta(seconds=2))
    ledger.commit([change(Event.QUEUED, b"%032d" % 2)])
    assert (ledger.size, signed_at(ledger)) == (3, first + 2)


def test_a_clock_that_is_far_behind_signs_nothing_and_nothing_is_lost(ledger: Ledger, clock: FakeClock) -> None:
    before, first = ledger.store.head(), signed_at(ledger)
    clock.advance(-SKEW_MAX - timedelta(seconds=1))
    for _ in range(2):
        with pytest.raises(UnavailableError, match="the last checkpoint was signed at") as caught:
            ledger.commit([change(Event.QUEUED, b"%032d" % 1)])
        assert (caught.value.reason, caught.value.field) == (Reason.UNAVAILABLE, "clock")
    assert (ledger.store.head(), signed_at(ledger)) == (before, first)
    clock.advance(timedelta(seconds=1))
    ledger.commit([change(Event.QUEUED, b"%032d" % 1)])
    assert ledger.size == 2


def test_a_restart_remembers_it(ledger: Ledger, clock: FakeClock) -> None:
    again = Ledger(ledger._keys, ledger.store, MemoryLatch(ledger.checkpoint()), clock=clock)
    again.load()
    clock.advance(-2 * SKEW_MAX)
    with pytest.raises(UnavailableError):
        again.commit([change(Event.QUEUED, b"%032d" % 1)])
