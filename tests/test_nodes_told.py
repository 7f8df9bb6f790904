"""What nodes of one relay tell each other, and what they find out where nobody told them."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

import postgres
from changes import accepted, change
from community import Community
from infoexchange.states import Event
from infoexchange_relay.nodes import Ring, SeveralNodes
from infoexchange_relay.stores import open_store
from infoexchange_relay.stores.postgres import PostgresEngine
from infoexchange_relay.stores.shared import Arrivals
from patience import LIMIT, until

COAST_A, COAST_B = "coast.aa.example", "coast.bb.example"

pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")


@pytest.fixture(scope="module")
def server():
    with postgres.running() as started:
        yield started


def test_what_came_is_seen_whoever_wrote_it(server) -> None:
    address, community = server.address(), Community()
    with open_store(address) as one, open_store(address) as two:
        arrivals = Arrivals(two.engine)
        envelopes = [community.seal(COAST_A, [COAST_B]) for _ in range(2)]
        one.append([accepted(envelopes[0])])
        assert arrivals.look(one.head().end) == ([COAST_B], [])
        assert arrivals.look(one.head().end) == ([], [])
        one.append([change(Event.DELIVERED, envelopes[0].digest, COAST_B, stops=(COAST_B,)), accepted(envelopes[1])])
        bundle = community.bundles[COAST_A]
        one.append([change(Event.KEY_BUNDLE, bundle.digest, exhibit=bundle.raw, bundle=bundle)])
        assert arrivals.look(1) == ([COAST_B], [COAST_A])  # not all of it is signed
        assert arrivals.look(one.head().end) == ([COAST_B], [])


def test_a_server_that_is_started_anew_keeps_no_wake_up_back(server) -> None:
    address = server.address()
    engines = [PostgresEngine(address) for _ in range(2)]

    async def restarted() -> list[Ring]:
        one, two = (SeveralNodes(engine) for engine in engines)
        heard: list[list[Ring]] = []
        two.start(lambda rings: heard.append(list(rings)))
        assert await asyncio.to_thread(until, lambda: heard)
        with contextlib.ExitStack() as lent:  # several idle connections
            for _ in range(3):
                lent.enter_context(engines[0].working())
        server.stop("fast")
        server.start()
        heard.clear()
        assert await asyncio.to_thread(until, lambda: heard)  # it listens again
        await asyncio.to_thread(one.tell, [("party", b"digest")])
        assert await asyncio.to_thread(until, lambda: heard[1:])
        await two.close()
        return heard[1]

    assert asyncio.run(restarted()) == [("party", b"digest")]
    for engine in engines:
        engine.close()


class Telling:
    """What others tell, as the database hands it on; the last of it breaks off."""

    def listen(self, stopped: threading.Event):
        yield from ("", "other\nagency zz", "", "other\nagency ", "ours")
        if stopped.wait(0.01):
            return
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")


def test_what_no_node_of_ours_can_have_told_deafens_nobody(monkeypatch) -> None:
    monkeypatch.setattr("infoexchange_relay.nodes._RENEW_SECONDS", 0.01)
    heard: list[list[Ring]] = []

    async def listened() -> None:
        node = SeveralNodes(Telling())
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=node._listen, args=(loop, heard.append))
        thread.start()
        await asyncio.to_thread(until, lambda: len(heard) > 5)
        node._stopped.set()
        await asyncio.to_thread(thread.join, LIMIT)

    asyncio.run(listened())
    # Whoever cannot be understood may have meant anybody; the line that broke is made anew.
    assert heard[:6] == [[], [], [], [("agency", b"")], [], []]
