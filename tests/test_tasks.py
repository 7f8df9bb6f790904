"""Tasks that run for ever: no failure of the store, the disk or the program ends one, and each is said in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from conftest import AGENCIES, SENDER
from forwarding import HERE, THERE, Line, Way, run, until
from infoexchange import Draft, catalogue
from infoexchange.errors import Reason, error
from infoexchange.ports import Waiting
from infoexchange.states import Event, Precedence
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import Community, DirectRelay, Exchange
from infoexchange.testing.clock import START
from infoexchange_relay import backoff, carrying, learning, quarantine, readiness
from infoexchange_relay.batching import Batching
from infoexchange_relay.carrying import Carrier
from infoexchange_relay.fetching import Fetching
from infoexchange_relay.forward import Peer
from infoexchange_relay.outgoing import Outgoing
from infoexchange_relay.readings import Readings
from infoexchange_relay.standing import NEWS
from messages import officer_acknowledgement

NAVY = "desk.navy.th.example"
AWAY = error(Reason.UNAVAILABLE, field="store", detail="the database restarts")


@pytest.fixture(scope="module")
def community() -> Community:
    return Community.make(AGENCIES, now=START)


@pytest.fixture
def exchange(community: Community) -> Exchange:
    return Exchange(AGENCIES, community=community)


@pytest.mark.parametrize(("problem", "word"), [(AWAY, "unavailable"), (ZeroDivisionError(), "ZeroDivisionError")])
def test_what_the_store_did_not_tell_of_revocations_is_asked_again(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, problem: Exception, word: str
) -> None:
    monkeypatch.setattr(learning, "_AGAIN", 0.0)

    async def work() -> None:
        batching = Batching(exchange.node_of(SENDER))
        batching.nodes = SimpleNamespace(several=True)
        learnt: list[object] = []
        read = batching.standing.read

        def failing() -> Any:
            batching.standing.read = read
            raise problem

        batching.standing.read = failing
        batching.standing.learn = learnt.append
        task = asyncio.create_task(learning.learn(batching))
        await asyncio.sleep(0)
        for count in (1, 2):  # the first one without another ring
            batching.bells.ring([(NEWS, b"")])
            await until(lambda count=count: len(learnt) == count)
        task.cancel()
        await batching.close()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(work())
    assert [(line["event"], line["reason"]) for line in lines] == [("revocations_not_learnt", word)]


def test_a_relay_that_cannot_find_out_whether_it_is_ready_is_not_and_looks_again(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_LOOK", 0.0)
    told: list[bool] = []

    async def tell(is_ready: bool) -> None:
        told.append(is_ready)
        if len(told) == 1:
            raise ZeroDivisionError

    async def work() -> None:
        batching = Batching(exchange.node_of(SENDER))
        looking = readiness.Readiness(batching, tell)
        task = asyncio.create_task(looking.run())
        await until(lambda: looking.now is None)
        monkeypatch.setattr(readiness, "check_cosigned", lambda *_: 1 // 0)
        problem = await until(lambda: looking.now)
        assert (problem.reason, problem.detail) == (
            Reason.UNAVAILABLE,
            "an error inside the relay (ZeroDivisionError)",
        )
        monkeypatch.setattr(readiness, "check_cosigned", lambda *_: None)
        await until(lambda: looking.now is None and len(told) == 3)
        task.cancel()
        await batching.close()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(work())
    assert [line["event"] for line in lines] == ["readiness_not_told", "taking_no_messages", "taking_messages"]


@pytest.mark.parametrize(
    ("problem", "word"), [(ZeroDivisionError(), "ZeroDivisionError"), (OSError(5, "Input/output error"), None)]
)
def test_readings_go_on_after_any_failure(exchange: Exchange, problem: Exception, word: str | None) -> None:
    async def work() -> None:
        batching = Batching(exchange.node_of(SENDER))
        store = batching.node.store
        store.queues = lambda: (_ for _ in ()).throw(problem)
        looking = Readings(None, batching)
        for _ in range(2):
            assert await looking.look() >= 0.0
        await batching.close()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(work())
    assert [(line["event"], line["reason"]) for line in lines] == [("readings_failed", word or "Input/output error")]


def test_an_attachment_that_cannot_be_read_now_is_let_go_and_the_others_are_carried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carrying, "_PAUSE", 0.0)
    carrier, arrived = Carrier("relay.aa.example", None, None), []
    problems = [FileNotFoundError(2, "No such file or directory"), OSError(24, "Too many open files"), AWAY]

    def part(_: object) -> bool:
        if problems:
            raise problems.pop(0)
        return True

    carrier._part = part

    def take(position: int) -> None:
        header = SimpleNamespace(precedence=Precedence.ROUTINE)
        carrier._loads[position] = SimpleNamespace(header=header)
        carrier._wake.set()

    async def work() -> None:
        async with carrier.running(arrived.append, lambda: None):
            for position in range(3):
                take(position)
                await until(lambda position=position: not carrier.has(position))
            assert not arrived
            take(0)  # as the forwarder does when it finds the envelope again
            await until(lambda: arrived == [0])

    with structlog.testing.capture_logs() as lines:
        asyncio.run(work())
    assert [line["reason"] for line in lines] == ["FileNotFoundError", "OSError", "unavailable"]


def test_two_renewals_at_a_time_leave_one_forwarder_on_the_newest_connection(
    exchange: Exchange, tmp_path: Path
) -> None:
    async def work(way: Way) -> None:
        def watched() -> int:
            return sum(task.get_coro().__qualname__ == "lasting" for task in asyncio.all_tasks())

        us, them = (way.node.directory.party(name, at=exchange.clock()) for name in (HERE, THERE))
        lines = [Line(DirectRelay(exchange, exchange.nodes[THERE], us)) for _ in range(2)]
        closed: list[Line] = []
        before = watched()
        assert before
        newer = [Peer(them, line, line, lambda line=line: closed.append(line)) for line in lines]
        await asyncio.gather(*(way.peers.renew([peer]) for peer in newer))
        assert watched() == before
        assert closed == lines[:1]
        digests = way.seal(1)
        await way.accept(digests)
        await until(lambda: way.queued() == digests)
        assert [line.frames for line in lines] == [[], [digests]]

    run(exchange, tmp_path, work)


class Reader:
    """An agency that follows its mailbox."""

    def __init__(self, way: Way) -> None:
        caller = way.node.directory.party(NAVY, at=way.exchange.clock())
        fetching = Fetching(way.group, way.peers.quarantine, Outgoing(), lambda: caller)
        self.came: list[bytes] = []
        self._frames = fetching.frames(follow=True, least=Precedence.ROUTINE)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self._frames:
            self.came += frame


def for_navy(way: Way, precedences: Sequence[int]) -> list[bytes]:
    drafts = [
        Draft(officer_acknowledgement(precedence=precedence), [NAVY], suite=HYBRID_KEM) for precedence in precedences
    ]
    way.sender.send_all(drafts)
    return list(way._box.raws)


@pytest.mark.parametrize("faults", [2, 99])
def test_what_could_not_be_made_ready_is_tried_again_on_the_same_stream(
    exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: int
) -> None:
    """What lies behind it goes out meanwhile; after some tries the fault is one for good."""
    monkeypatch.setattr(backoff, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(quarantine, "TRIES", 4)

    async def work(way: Way) -> None:
        flash, *others = digests = for_navy(way, [catalogue.PRECEDENCE_FLASH, *[catalogue.PRECEDENCE_ROUTINE] * 2])
        served, tries = way.node.served, 0

        def serving(caller: Any, item: Waiting) -> bytes:
            nonlocal tries
            if item.digest == flash and (tries := tries + 1) <= faults:
                raise ZeroDivisionError("a bug")
            return served(caller, item)

        way.node.served = serving
        await way.accept(digests)
        reader = Reader(way)
        if faults < quarantine.TRIES:
            await until(lambda: len(reader.came) == 3)
            assert tries == faults + 1
        else:
            await until(lambda: Event.UNDELIVERABLE in way.events(flash))
            await until(lambda: len(reader.came) == 2)
            assert tries == quarantine.TRIES
        assert reader.came[: len(others)] == [way._box.raws[digest] for digest in others]
        reader.task.cancel()
        await asyncio.gather(reader.task, return_exceptions=True)

    run(exchange, tmp_path, work)
