"""What one party may use of a relay: shares that fill with time, and places that the slow give up."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.listing import Party, Role
from infoexchange_relay import outgoing, places
from infoexchange_relay.outgoing import Handing, Outgoing
from infoexchange_relay.places import Places
from infoexchange_relay.quotas import PEER, Quotas, Share
from patience import LIMIT

A = Party(name="desk.a.th.example", nation="th", role=Role.AGENCY, relay="relay.th.example")
B = Party(name="desk.b.th.example", nation="th", role=Role.AGENCY, relay="relay.th.example")
PEER_RELAY = Party(name="relay.vn.example", nation="vn", role=Role.RELAY, relay="relay.vn.example")
SHARE = Share(messages=60, size=6000, calls=3, connections=2)


class Clock:
    """Seconds that pass when a test says so."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def quotas(clock):
    return Quotas(SHARE, clock)


def overloaded(call):
    with pytest.raises(UnavailableError) as caught:
        call()
    assert (caught.value.reason, caught.value.field) == (Reason.OVERLOADED, "quota")
    return caught.value.detail


def test_a_share_is_used_up_and_fills_again(quotas, clock):
    quotas.take(A, 60, 0)
    assert "messages" in overloaded(lambda: quotas.take(A, 1, 0))
    clock.seconds += 1
    quotas.take(A, 1, 0)
    overloaded(lambda: quotas.take(A, 1, 0))
    clock.seconds += 3600
    quotas.take(A, 60, 0)  # no more than a minute's worth is saved
    overloaded(lambda: quotas.take(A, 1, 0))


def test_bytes_count_by_themselves_and_a_refusal_takes_nothing(quotas):
    assert "bytes" in overloaded(lambda: (quotas.take(A, 1, 6000), quotas.take(A, 1, 1)))
    for _ in range(100):
        overloaded(lambda: quotas.take(A, 59, 1))
    quotas.take(A, 59, 0)


def test_a_refusal_says_when_there_is_some_again(quotas):
    quotas.take(A, 60, 0)
    assert overloaded(lambda: quotas.take(A, 30, 0)).endswith("free in 30 s")


def test_nobody_uses_up_anothers_share(quotas):
    quotas.take(A, 60, 6000)
    overloaded(lambda: quotas.take(A, 1, 1))
    quotas.take(B, 60, 6000)


def test_a_frame_larger_than_a_share_passes_when_all_of_it_is_there(quotas, clock):
    quotas.take(A, 256, 0)
    clock.seconds += 256 - 1
    overloaded(lambda: quotas.take(A, 256, 0))
    clock.seconds += 1
    quotas.take(A, 256, 0)


def test_what_was_worth_nothing_is_taken_afterwards(quotas, clock):
    quotas.charge(A, 90)
    overloaded(lambda: quotas.check(A))
    clock.seconds += 30
    quotas.check(A)


def test_a_relay_has_the_shares_of_many_agencies(quotas):
    quotas.take(PEER_RELAY, 60 * PEER, 6000 * PEER)
    overloaded(lambda: quotas.take(PEER_RELAY, 1, 0))


@pytest.mark.parametrize("seed", range(5))
def test_over_any_time_nobody_gets_more_than_the_share_and_one_minute_ahead(seed, quotas, clock):
    rng, start, taken = random.Random(seed), clock.seconds, 0
    for _ in range(2000):
        clock.seconds += rng.expovariate(2.0)
        wanted = rng.randrange(1, 20)
        try:
            quotas.take(A, wanted, wanted)
        except UnavailableError:
            continue
        taken += wanted
    minutes = (clock.seconds - start) / 60
    assert taken <= SHARE.messages * (minutes + 1)
    assert taken >= SHARE.messages * minutes * 0.9  # and one who always asks gets nearly all of it


def test_shares_of_parties_that_left_are_forgotten(quotas, clock):
    for n in range(5000):
        clock.seconds += 120
        quotas.take(Party(name=f"desk.{n}.th.example", nation="th", role=Role.AGENCY, relay=""), 1, 1)
    assert len(quotas._messages) <= 4096


def test_calls_and_connections_are_counted_while_they_last(quotas):
    with quotas.call("a", "ipv4:1"), quotas.call("a", "ipv4:1"):
        with quotas.call("a", "ipv4:2"):
            assert "calls" in overloaded(quotas.call("a", "ipv4:1").__enter__)
            with quotas.call("b", "ipv4:9"):  # another party is not concerned
                pass
        with quotas.call("a", "ipv4:3"):
            pass
    with quotas.call("a", "ipv4:1"), quotas.call("a", "ipv4:2"):
        assert "connections" in overloaded(quotas.call("a", "ipv4:3").__enter__)
    assert quotas._calls == {}


# Places


def run(work):
    asyncio.run(asyncio.wait_for(work(), LIMIT))


async def holding(room, party, size, held, done):
    async with room.hold(party, size):
        held.append(party)
        await done.wait()


async def settled(check):
    while not check():
        await asyncio.sleep(0.005)


def test_places_are_given_until_there_are_none_and_then_in_turn():
    async def work():
        room, held, done = Places(4, 4, 3600), [], asyncio.Event()
        tasks = [asyncio.create_task(holding(room, f"p{n}", 2, held, done)) for n in range(3)]
        await settled(lambda: len(held) == 2)
        await asyncio.sleep(0.02)
        assert held == ["p0", "p1"]
        done.set()
        await asyncio.gather(*tasks)
        assert held == ["p0", "p1", "p2"]

    run(work)


def test_one_party_does_not_get_all_places():
    async def work():
        room, held, done = Places(10, 2, 3600), [], asyncio.Event()
        tasks = [asyncio.create_task(holding(room, "greedy", 1, held, done)) for _ in range(9)]
        await settled(lambda: len(held) == 2)
        tasks.append(asyncio.create_task(holding(room, "other", 1, held, done)))
        await settled(lambda: "other" in held)
        assert held.count("greedy") == 2
        done.set()
        await asyncio.gather(*tasks)

    run(work)


def test_what_needs_more_than_there_is_has_it_alone():
    async def work():
        room, held, done = Places(4, 2, 3600), [], asyncio.Event()
        task = asyncio.create_task(holding(room, "large", 9, held, done))
        await settled(lambda: held)
        done.set()
        await task

    run(work)


@pytest.mark.parametrize("waits", ["slow", "other"])
def test_the_slow_make_way_for_those_who_wait(monkeypatch, waits):
    """Whether the party waits for its own share or for what all have."""
    monkeypatch.setattr(places, "_LOOK", 0.01)

    async def work():
        room, held, never = Places(2, 1 if waits == "slow" else 2, 0.05), [], asyncio.Event()
        slow = asyncio.create_task(holding(room, "slow", 1 if waits == "slow" else 2, held, never))
        await settled(lambda: held)
        await asyncio.sleep(0.1)
        assert not slow.done()  # nobody waits
        done = asyncio.Event()
        done.set()
        await holding(room, waits, 1, held, done)
        assert slow.cancelled()
        assert held == ["slow", waits]

    run(work)


# Readers


def test_the_more_readers_the_smaller_their_frames():
    out = Outgoing()
    with contextlib.ExitStack() as stack:
        frames = [out.frame]
        for _ in range(5000):
            stack.enter_context(out.stream())
            frames.append(out.frame)
            assert out.frame in (outgoing.FRAME_MAX, outgoing.FRAME_MIN) or out._streams * out.frame <= outgoing.FRAMES
    assert (frames[0], frames[-1], out.frame) == (outgoing.FRAME_MAX, outgoing.FRAME_MIN, outgoing.FRAME_MAX)
    assert frames == sorted(frames, reverse=True)


@pytest.mark.parametrize("why", ["revoked", "too slow"])
def test_a_reader_that_does_not_take_its_frame_is_cut_off(monkeypatch, why):
    monkeypatch.setattr(outgoing, "_LOOK", 0.01)
    monkeypatch.setattr(outgoing, "_SECONDS", 0.1 if why == "too slow" else 3600.0)
    looks = []

    def check():
        looks.append(1)
        if why == "revoked" and len(looks) > 2:
            raise error(Reason.REVOKED, field="certificate")

    async def read():
        with Handing(check):
            await asyncio.sleep(3600)

    async def work():
        task = asyncio.create_task(read())
        with pytest.raises(asyncio.CancelledError):
            await task
        before = len(looks)
        await asyncio.sleep(0.05)
        assert len(looks) == before > 2

        async def quick():
            with Handing(check):
                pass

        await quick()

    run(work)
