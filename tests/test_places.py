"""Places: who waits for room gets it when others have had theirs, and whoever is cut off is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange_relay import places
from infoexchange_relay.places import Places, cut_off, told


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_LOOK", 0.01)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


async def holding(place: Places, party: str, size: int, got: list[str]) -> str:
    """Hold a place until cut off; return why it ended."""
    try:
        with told():
            async with place.hold(party, size):
                got.append(party)
                await asyncio.Event().wait()
    except ExchangeError as problem:
        return problem.detail
    return ""


def test_who_has_least_is_served_first() -> None:
    async def scene() -> None:
        room, got = Places(2, 2, 3600.0), list[str]()
        async with contextlib.AsyncExitStack() as first, contextlib.AsyncExitStack() as second:
            await first.enter_async_context(room.hold("greedy"))
            await second.enter_async_context(room.hold("greedy"))
            waiting = [asyncio.create_task(holding(room, "greedy", 1, got)) for _ in range(50)]
            await asyncio.sleep(0)
            waiting.append(asyncio.create_task(holding(room, "modest", 1, got)))
            await asyncio.sleep(0)
            assert got == []
            await first.aclose()
            await asyncio.sleep(0.05)
            assert got == ["modest"]
            await second.aclose()
            await asyncio.sleep(0.05)
            assert got == ["modest", "greedy"]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (room._held, room._waiting, room._own.total()) == ({}, {}, 0)

    run(scene())


def test_the_slow_are_cut_off_for_others_and_told() -> None:
    async def scene() -> None:
        room, got = Places(4, 2, 0.0), list[str]()
        slow = [asyncio.create_task(holding(room, f"slow{n % 2}", 1, got)) for n in range(4)]
        await asyncio.sleep(0)
        quick = asyncio.create_task(holding(room, "quick", 2, got))
        ended = await asyncio.gather(*slow[:2])
        assert ended == ["it took too long while others waited; nothing was lost"] * 2
        while "quick" not in got:
            await asyncio.sleep(0)
        for task in (*slow[2:], quick):
            task.cancel()
        await asyncio.gather(*slow[2:], quick, return_exceptions=True)
        assert room._held == {}

    run(scene())


def test_a_share_that_is_used_up_costs_nobody_else_a_place() -> None:
    async def scene() -> None:
        room, got = Places(4, 2, 0.0), list[str]()
        other = asyncio.create_task(holding(room, "other", 1, got))
        await asyncio.sleep(0)
        own = [asyncio.create_task(holding(room, "own", 1, got)) for _ in range(2)]
        await asyncio.sleep(0)
        more = asyncio.create_task(holding(room, "own", 2, got))
        await asyncio.gather(*own)
        while got.count("own") < 3:
            await asyncio.sleep(0)
        assert not other.done()
        for task in (other, more):
            task.cancel()
        await asyncio.gather(other, more, return_exceptions=True)

    run(scene())


def test_what_is_larger_than_all_the_room_has_it_alone() -> None:
    async def scene() -> None:
        room = Places(4, 2, 3600.0)
        async with room.hold("a", 100):
            assert room._own == {"a": 100}
        async with room.hold("b", 1), room.hold("c", 1):
            assert len(room._held) == 2

    run(scene())


def test_a_caller_that_has_gone_is_told_nothing() -> None:
    async def scene() -> None:
        async def call() -> None:
            with told():
                await asyncio.Event().wait()

        problem = error(Reason.UNAVAILABLE, field="relay", detail="cut off")
        for ends, expected in ((lambda task: task.cancel(), asyncio.CancelledError),
                               (lambda task: cut_off(task, problem), ExchangeError)):  # fmt: skip
            task = asyncio.create_task(call())
            await asyncio.sleep(0)
            ends(task)
            with pytest.raises(expected):
                await task

    run(scene())
