"""A node that falls silent in its turn, wherever it stands in it: the server is made to give the turn to the next."""

from __future__ import annotations

import threading

import pytest

import postgres
from changes import change
from infoexchange.errors import ExchangeError, Reason
from infoexchange.states import Event
from infoexchange.testing.sites import free_ports
from infoexchange_relay.stores import RowStore, open_store
from patience import LIMIT, until

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")


@pytest.fixture(scope="module")
def server():
    """Return a server that listens on loopback as well."""
    [port] = free_ports(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPORT", str(port))
        with postgres.running("listen_addresses=127.0.0.1", f"port={port}") as started:
            yield started


@pytest.fixture
def address(server) -> str:
    """Return the address of a schema, over TCP."""
    host, _, options = server.address().partition("/postgres?")
    return f"{host}127.0.0.1/postgres?{options.partition('&')[2]}"


class Paused:
    """A node of which the server has half a batch."""

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._waits, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.problem: ExchangeError | None = None

    def _rows(self):
        for place in range(256):
            if place == 128:
                self._waits.set()
                self._go_on.wait(LIMIT)
            yield place.to_bytes(32, "big"), bytes(16 * 1024)

    def _write(self) -> None:
        try:
            with self._store.engine.alone(), self._store.engine.changing() as db:
                db.executemany("INSERT INTO claim VALUES (?, ?)", self._rows())
        except ExchangeError as problem:
            self.problem = problem

    def begin(self) -> None:
        """Write, and fall silent."""
        self._thread.start()
        assert self._waits.wait(LIMIT)

    def go_on(self) -> None:
        """Go on as if nothing had happened."""
        self._go_on.set()
        self._thread.join(LIMIT)


@pytest.fixture
def paused(address):
    with open_store(address) as store:
        node = Paused(store)
        node.begin()
        try:
            yield node
        finally:
            node.go_on()


def entries(count: int):
    return [change(Event.QUEUED, bytes([count, place]) * 16) for place in range(count)]


def test_who_falls_silent_in_the_middle_of_a_batch_loses_its_turn(address, paused) -> None:
    # The next one starts only now: its tables wait for the turn as well.
    with open_store(address) as store:
        with store.alone():
            assert store.append(entries(2)) == [0, 1]
        paused.go_on()
        assert paused.problem is not None
        assert paused.problem.reason is Reason.UNAVAILABLE
        with store.engine.reading("claim") as db:
            assert db.execute("SELECT count(*) FROM claim").fetchone() == (0,)
        with paused._store.alone():
            assert paused._store.append(entries(3)) == [2, 3, 4]


def test_who_is_busy_in_its_turn_keeps_it(address, monkeypatch) -> None:
    monkeypatch.setattr("infoexchange_relay.stores.postgres._TURN_SECONDS", 0)  # whoever is not busy is silent
    with open_store(address) as one, open_store(address) as two, psycopg.connect(address, autocommit=True) as third:
        third.execute("SELECT pg_advisory_lock(1)")
        results: list[object] = []

        def work() -> None:
            with one.alone():
                with one.engine.changing() as db:
                    db.execute("SELECT pg_advisory_xact_lock(1)")
                results.append(one.append(entries(1)))

        worker = threading.Thread(target=work)
        worker.start()
        busy = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        assert until(lambda: third.execute(busy).fetchone())
        two.engine._end_silent()
        third.execute("SELECT pg_advisory_unlock(1)")
        worker.join(LIMIT)
        assert results == [[0]]


def test_a_machine_that_is_gone_is_noticed_on_both_sides(address) -> None:
    from infoexchange_relay.stores.postgres import _TCP

    with open_store(f"{address}&tcp_user_timeout=7777") as store:
        with store.engine.working() as db:
            found = db.execute("SELECT name, setting FROM pg_settings WHERE starts_with(name, 'tcp')").fetchall()
        connection = store.engine._idle[0]
        assert {name: int(setting) for name, setting in found}.items() >= _TCP.items()
        asked = connection.info.get_parameters()
        # What the operator writes into the address is followed.
        assert (asked["keepalives_idle"], asked["tcp_user_timeout"]) == ("4", "7777")
