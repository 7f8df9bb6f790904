"""Turning with several nodes: one closes the log, and no other one writes behind that or signs the same log again."""

from __future__ import annotations

import pytest

from changes import change
from infoexchange.errors import ExchangeError, Reason
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys
from infoexchange.ports import Change
from infoexchange.states import Event
from infoexchange.testing import FakeClock
from infoexchange.testing.memory import MemoryLatch, MemoryStore
from infoexchange.tlog import Checkpoint


class Nodes:
    """Ledgers of one relay over one store and latch."""

    def __init__(self) -> None:
        self.clock, self.store, self.latch = FakeClock(), MemoryStore(), MemoryLatch()
        self.keys = LogKeys.make("relay.aa.example", now=self.clock(), after="")
        self.following = LogKeys.make("relay.aa.example", now=self.clock(), after=self.keys.origin)

    def ledger(self, keys: LogKeys) -> Ledger:
        made = Ledger(keys, self.store, self.latch, clock=self.clock)
        made.load()
        return made


def entries(count: int, tag: int) -> list[Change]:
    return [change(Event.QUEUED, bytes([tag, n]) * 16) for n in range(count)]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def is_told(nodes: Nodes, caught: pytest.ExceptionInfo[ExchangeError]) -> bool:
    problem = caught.value
    assert problem.reason is Reason.LOG_STOPPED
    return f"{nodes.keys.origin} is closed" in str(problem) and "keys of the next log" in str(problem)


@pytest.mark.parametrize("begun", [0, 3, 40])
def test_a_node_stops_when_another_one_has_closed_the_log(nodes: Nodes, begun: int) -> None:
    """However far the next log has come: not begun, shorter than the closed one, longer."""
    first, second = nodes.ledger(nodes.keys), nodes.ledger(nodes.keys)
    first.commit(entries(10, 1))
    second.commit(entries(2, 2))
    last = first.close()
    following = nodes.ledger(nodes.following)
    following.commit(entries(begun, 3))
    before, noted = nodes.store.head(), nodes.latch.read()
    for act in (lambda: second.commit(entries(5, 4), [0]), lambda: second.commit([]), second.close):
        with pytest.raises(ExchangeError) as caught:
            act()
        assert is_told(nodes, caught)
    # It has added and signed nothing, what it acknowledged before is in the closed log, and the next one goes on.
    assert (nodes.store.head(), nodes.latch.read()) == (before, noted)
    assert second.checkpoint() == last.raw
    following.commit(entries(4, 5))
    assert Checkpoint.parse(nodes.latch.read()).origin == nodes.following.origin
    assert nodes.ledger(nodes.following).size == begun + 4


def test_a_node_that_only_reads_learns_of_the_close_when_the_next_log_begins(nodes: Nodes) -> None:
    first, second = nodes.ledger(nodes.keys), nodes.ledger(nodes.keys)
    first.commit(entries(10, 1))
    second.follow()
    first.close()
    assert not second.follow()
    nodes.ledger(nodes.following).commit(entries(1, 3))
    with pytest.raises(ExchangeError) as caught:
        second.follow()
    assert is_told(nodes, caught)


def test_a_turn_that_is_lost_between_append_and_signature_signs_nothing_of_the_next_log(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = nodes.ledger(nodes.keys), nodes.ledger(nodes.keys)
    first.commit(entries(10, 1))
    second.follow()
    append = nodes.store.append

    def slow(changes: list[Change]) -> object:
        placed = append(changes)
        monkeypatch.undo()
        first.commit(entries(1, 2))
        first.close()
        nodes.ledger(nodes.following).commit(entries(30, 3))
        return placed

    monkeypatch.setattr(nodes.store, "append", slow)
    with pytest.raises(ExchangeError) as caught:
        second.commit(entries(3, 4), [0])
    assert is_told(nodes, caught)
    assert nodes.store.closed()[0].checkpoint.size == 14  # also those that nobody was told of


@pytest.mark.parametrize("begun", [0, 2])
def test_nobody_starts_again_with_the_keys_of_a_closed_log(nodes: Nodes, begun: int) -> None:
    first = nodes.ledger(nodes.keys)
    first.commit(entries(3, 1))
    first.close()
    nodes.ledger(nodes.following).commit(entries(begun, 2))
    with pytest.raises(ExchangeError) as caught:
        nodes.ledger(nodes.keys)
    assert is_told(nodes, caught)


def test_cosignatures_of_a_log_that_another_node_closed_do_not_put_this_one_behind_it(nodes: Nodes) -> None:
    first, second = nodes.ledger(nodes.keys), nodes.ledger(nodes.keys)
    first.commit(entries(4, 1))
    second.follow()
    last = first.close()
    second.closed_cosigned(last)
    assert (second.base, second.end) == (0, 4)


def test_an_older_copy_of_the_data_takes_nothing_more(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = nodes.ledger(nodes.keys)
    ledger.commit(entries(4, 1))
    monkeypatch.setattr(ledger, "store", MemoryStore())
    with pytest.raises(ExchangeError) as caught:
        ledger.commit(entries(1, 2))
    assert caught.value.reason is Reason.LOG_STOPPED
    assert "old copy" in caught.value.detail
    assert ledger.store.head().size == 0
