"""Group commit: many callers, few commits; what happens when there is too much, or when the log fails."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.node import Node
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange_relay import batching
from infoexchange_relay.batching import Batching
from patience import LIMIT


class Counting(Node):
    """A node that notes how many jobs each commit had."""

    commits: list[int]

    def settle(self, jobs):
        self.commits.append(len(jobs))
        return super().settle(jobs)


@pytest.fixture
def node():
    exchange = Exchange(AGENCIES)
    node = exchange.node_of(SENDER)
    node.__class__ = Counting
    node.commits = []
    node.members = exchange.community.members
    return node


def publishing(node, name=SENDER):
    """Return a decision; each gives one log entry, the same for the same name."""
    member = node.members[name]
    return lambda: node.decide_bundle(node.directory.party(name, at=node.clock()), member.bundle)


def entry(node, number):
    """Return a decision that gives an entry of its own."""

    def decide():
        job = publishing(node)()
        (change,) = job.changes
        digest = number.to_bytes(32, "big")
        return type(job)((type(change)(**{**change.__dict__, "digest": digest, "bundle": None}),))

    return decide


def run(node, work, **options):
    """Run `work` with a started `Batching`, which is closed afterwards."""

    async def all_of_it():
        group = Batching(node, **options)
        group.start()
        try:
            return await work(group)
        finally:
            await group.close()

    result = asyncio.run(all_of_it())
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("check", "read", "write"))]
    return result


def refuse(reason=Reason.RULE_BROKEN):
    raise error(reason)


def test_many_callers_share_few_commits(node):
    async def work(group):
        return await asyncio.gather(*(group.settle([entry(node, i)], 100) for i in range(1000)))

    results = run(node, work)
    assert all(isinstance(result, Receipt) for (result,) in results)
    assert len({result.index for (result,) in results}) == 1000
    assert max(node.commits) <= 256
    assert len(node.commits) < 100


def test_a_single_caller_does_not_wait_for_company(node, monkeypatch):
    async def work(group):
        for i in range(5):
            await group.settle([entry(node, i)], 100)

    monkeypatch.setattr(batching, "CADENCE", 3600)
    run(node, work)
    assert node.commits == [1] * 5


def test_results_keep_the_order_of_what_was_asked(node):
    def bug():
        raise ZeroDivisionError("secret bytes")

    async def work(group):
        return await group.settle([refuse, entry(node, 1), bug, publishing(node), refuse], 100)

    first, second, third, fourth, fifth = run(node, work)
    assert (first.reason, fifth.reason) == (Reason.RULE_BROKEN, Reason.RULE_BROKEN)
    assert isinstance(third, UnavailableError)
    assert "secret" not in str(third)
    assert second.index != fourth.index


def test_nothing_to_decide_needs_no_commit(node):
    async def work(group):
        return await group.settle([], 0), await group.settle([refuse], 1)

    nothing, (refused,) = run(node, work)
    assert (nothing, refused.reason, node.commits) == ([], Reason.RULE_BROKEN, [])


def test_too_much_at_once_is_overloaded_and_passes(node, monkeypatch):
    monkeypatch.setattr(batching, "_HELD_SOFT", 20_000)
    monkeypatch.setattr(batching, "_HELD_HARD", 60_000)
    held = threading.Event()

    def slow():
        held.wait(LIMIT)
        return publishing(node)()

    async def work(group):
        tasks = [asyncio.create_task(group.settle([slow], 10_000)) for _ in range(6)]
        await asyncio.sleep(0.05)
        held.set()
        first = await asyncio.gather(*tasks, return_exceptions=True)
        return first, await group.settle([publishing(node)], 10_000)

    first, later = run(node, work)
    reasons = [result.reason if isinstance(result, ExchangeError) else None for result in first]
    assert reasons == [None] * 4 + [Reason.OVERLOADED] * 2
    assert isinstance(later[0], Receipt)


@pytest.mark.parametrize("problem", [error(Reason.LOG_STOPPED), ZeroDivisionError("secret bytes")], ids=["disk", "bug"])
def test_a_log_that_fails_fails_every_caller_and_stays_stopped(node, problem):
    def settle(jobs):
        raise problem

    async def work(group):
        node.settle = settle
        first = await asyncio.gather(*(group.settle([entry(node, i)], 1) for i in range(5)), return_exceptions=True)
        assert group.stopped.is_set()
        with pytest.raises(UnavailableError) as caught:
            await group.settle([entry(node, 9)], 1)
        return [*first, caught.value]

    assert {result.reason for result in run(node, work)} == {Reason.LOG_STOPPED}


def test_a_full_disk_before_anything_is_written_can_be_waited_out(node):
    append, full = node.store.append, [True]

    def appending(changes):
        if full:
            raise error(Reason.OVERLOADED, detail="the disk is full")
        return append(changes)

    async def work(group):
        node.ledger.store.append = appending
        with pytest.raises(UnavailableError):
            await group.settle([entry(node, 1)], 1)
        assert not group.stopped.is_set()
        full.clear()
        return await group.settle([entry(node, 1)], 1)

    assert isinstance(run(node, work)[0], Receipt)


def test_entries_without_a_checkpoint_stop_the_log(node):
    def replace(old, new):
        raise error(Reason.OVERLOADED, detail="the disk is full")

    async def work(group):
        node.ledger._latch.replace = replace
        with pytest.raises(UnavailableError):
            await group.settle([entry(node, 1)], 1)
        return group.stopped.is_set()

    assert run(node, work)


def test_when_only_the_second_half_of_a_batch_fails_those_of_the_first_are_woken(node):
    append, calls = node.store.append, []

    def appending(changes):
        calls.append(len(changes))
        if len(calls) == 2:
            raise error(Reason.OVERLOADED, detail="the disk is full")
        return append(changes)

    async def work(group):
        node.ledger.store.append = appending
        first, second = entry(node, 1), entry(node, 2)
        with group.bell(RECIPIENT) as bell:
            with pytest.raises(UnavailableError):
                await group.settle([first, lambda: replace(second(), last=True)], 1)
            assert not group.stopped.is_set()
            assert await bell.heard(0)
            node.ledger.store.append = lambda changes: refuse(Reason.OVERLOADED)
            with pytest.raises(UnavailableError):
                await group.settle([entry(node, 3)], 1)
            return await bell.heard(0)

    assert not run(node, work)  # nothing stands of the last one


def test_a_caller_that_goes_away_takes_nothing_with_it(node):
    before = node.store.head().size

    async def work(group):
        task = asyncio.create_task(group.settle([entry(node, 1)], 1))
        while not group._queue and not node.commits:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await group.settle([entry(node, 2)], 1)
        return node.store.head().size

    assert run(node, work) == before + 2


def test_bells_ring_for_those_concerned_only(node):
    async def work(group):
        job = publishing(node)()
        (change,) = job.changes
        starts = type(change)(**{**change.__dict__, "stops": (SENDER,), "digest": bytes(32), "event": Event.DELIVERED})
        with group.bell(SENDER) as mine, group.bell(RECIPIENT) as other:
            mine.sent[bytes(32)] = 7
            await group.settle([lambda: type(job)((starts,))], 1)
            assert await mine.heard(1)
            assert not await other.heard(0.01)
            assert mine.sent == {}
            group.bells.end()
            assert other.ended
            assert await other.heard(1)
        return dict(group.bells._bells)

    assert run(node, work) == {}
