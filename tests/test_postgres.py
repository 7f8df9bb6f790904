"""The store on PostgreSQL on a bad day: servers that crash, lines that break, rows that rot, wrong databases."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import postgres
from changes import accepted, change
from community import Community
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.ports import Head
from infoexchange.states import Event
from infoexchange.tlog import merkle
from infoexchange_relay.stores import RowStore, open_store
from infoexchange_relay.stores.postgres_schema import MIGRATIONS
from patience import attempts

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

COAST_A, COAST_B = "coast.aa.example", "coast.bb.example"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def server():
    with postgres.running() as started:
        yield started


@pytest.fixture
def address(server) -> str:
    return server.address()


@pytest.fixture(scope="module")
def community() -> Community:
    return Community()


def events(count: int):
    return [change(Event.QUEUED, secrets.token_bytes(32)) for _ in range(count)]


def root_of(store: RowStore) -> bytes:
    return merkle.root([merkle.leaf_hash(leaf) for leaf in store.leaves(0, 10_000)])


def run(address: str, statement: str) -> None:
    """Do something behind the store's back."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement)


# Crashes


def append_for_ever(address: str) -> None:
    """Say of each entry that it is acknowledged, once it is."""
    store = open_store(address)
    while True:
        [one] = events(1)
        [index] = store.append([one])
        os.write(1, b"%d %s\n" % (index, one.digest.hex().encode()))


def test_a_killed_relay_and_a_server_that_crashes_lose_nothing(server) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance, address = random.Random(seed), server.address()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("src", "relay", "tests"))}
    acknowledged: list[tuple[int, bytes]] = []
    for place in range(4):
        command = [sys.executable, __file__, address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as victim:
            lines = [victim.stdout.readline()]
            time.sleep(chance.uniform(0, 0.2))
            if place % 2:
                server.stop("immediate")
                victim.wait()
                server.start()
            else:
                victim.send_signal(signal.SIGKILL)
            lines += victim.stdout.read().split(b"\n")
        pairs = [line.split() for line in lines if line.count(b" ") == 1]
        acknowledged += [(int(index), bytes.fromhex(digest.decode())) for index, digest in pairs if len(digest) == 64]
        with open_store(address) as store:
            assert store.head().root == root_of(store)
            for index, digest in acknowledged:
                assert store.history(digest) == [index]
    assert len(acknowledged) > 4


def test_a_line_that_breaks_is_made_anew(server, address) -> None:
    with open_store(address) as store:
        store.append(events(2))
        server.stop("fast")
        with pytest.raises(UnavailableError) as caught:
            store.append(events(1))
        assert caught.value.reason is Reason.UNAVAILABLE
        with pytest.raises(UnavailableError) as caught:
            store.head()
        assert caught.value.reason is Reason.UNAVAILABLE
        server.start()
        for _ in attempts():
            try:
                assert store.head().size == 2
                break
            except UnavailableError:  # a connection that was idle when the server stopped
                continue
        assert store.append(events(1)) == [2]


def test_two_processes_write_one_log(address) -> None:
    with open_store(address) as one, open_store(address) as two:
        size = 0
        for store, count in ((one, 2), (two, 3), (one, 2), (two, 300), (one, 2)):
            assert store.append(events(count)) == list(range(size, size + count))
            size += count
            assert two.head() == one.head() == Head(size, root_of(two))


def test_one_that_keeps_everybody_waiting_is_no_reason_to_stop(address, monkeypatch) -> None:
    with open_store(address) as one, open_store(address) as two:
        monkeypatch.setattr("infoexchange_relay.stores.postgres._LOCK_SECONDS", 1)
        with one.engine.changing(), pytest.raises(UnavailableError) as caught:
            two.append(events(1))
        assert caught.value.reason is Reason.UNAVAILABLE
        assert two.append(events(1)) == [0]


def test_readers_see_one_moment_while_another_writes(address) -> None:
    with open_store(address) as store:
        store.append(events(300))
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                store.append(events(7))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(10):
                head = store.head()
                leaves = store.leaves(0, head.size)
                assert head.root == merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])
        finally:
            stop.set()
            writer.join()


def test_what_no_table_can_hold_changes_nothing(address) -> None:
    with open_store(address) as store:
        store.append(events(1))
        with pytest.raises(ValueError, match="no store can hold"):
            store.append([change(Event.QUEUED, b"digest", "a name with a \x00 in it")])
        assert store.append(events(1)) == [1]


# Rot


def test_an_envelope_that_is_not_what_was_written_waits_as_damaged(address, community) -> None:
    with open_store(address) as store:
        store.append([accepted(community.seal(COAST_A, [COAST_B]))])
        run(address, "UPDATE envelope SET raw = set_byte(raw, 70, get_byte(raw, 70) # 1)")
        assert [item.damaged for item in store.waiting(COAST_B, limit=1)] == [True]


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE entry SET leaf = set_byte(leaf, 7, 255) WHERE idx = 1", lambda s: s.leaves(0, 3)),
        ("UPDATE entry SET salts = set_byte(salts, 7, get_byte(salts, 7) # 1) WHERE idx = 1", lambda s: s.records([1])),
        ("UPDATE entry SET idx = -1 WHERE idx = 3", lambda s: s.leaves(0, 9)),
        ("DELETE FROM entry WHERE idx = 2", lambda s: s.leaves(0, 9)),
        ("UPDATE tile SET hashes = set_byte(hashes, 7, get_byte(hashes, 7) # 1)", lambda s: s.tiles([(0, 0)])),
        ("DROP TABLE tile", lambda s: s.tiles([(0, 0)])),
    ],
)
def test_rows_that_are_not_what_was_written_are_seen(address, community, statement, read) -> None:
    with open_store(address) as store:
        store.append([accepted(community.seal(COAST_A, [COAST_B])), *events(4)])
        run(address, statement)
        with pytest.raises(UnavailableError) as caught:
            read(store)
        assert caught.value.reason is Reason.LOG_STOPPED


def test_a_head_that_does_not_fit_is_seen_at_the_start(address) -> None:
    with open_store(address) as store:
        store.append(events(5))
    run(address, "DELETE FROM entry WHERE idx = 4")
    with pytest.raises(UnavailableError) as caught:
        open_store(address)
    assert caught.value.reason is Reason.LOG_STOPPED


# Wrong databases


def refused(address: str) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        open_store(address)
    return caught.value


def test_a_wrong_database_is_refused_in_one_sentence(server, address) -> None:
    run(address, "CREATE TABLE notes (words TEXT)")
    assert refused(address).detail == "a database of another program"
    newer = server.address()
    open_store(newer).close()
    run(newer, f"UPDATE infoexchange_store SET version = {len(MIGRATIONS) + 1}")
    assert "this version knows" in refused(newer).detail
    gone = address.replace("/postgres?", "/no-such-database?")
    for problem in (refused(address), refused(newer), refused(gone), refused("postgresql://nowhere.example.invalid/x")):
        assert problem.reason is Reason.UNAVAILABLE
        assert problem.field.startswith("postgresql://")
        assert problem.next_step.endswith(".")
        assert "\n" not in str(problem)


def test_secrets_are_not_in_addresses(address) -> None:
    problem = refused(address.replace("relay@", "relay:hunter2@"))
    assert (problem.reason, problem.field) == (Reason.BAD_FIELD, "store")
    assert "hunter2" not in str(problem)
    assert refused("postgresql://host/x?no_such_parameter=1").reason is Reason.BAD_FIELD


def test_a_server_that_may_lose_what_it_acknowledges_is_refused(server, address) -> None:
    server.stop("fast")
    server.start("fsync=off")
    try:
        problem = refused(address)
        assert (problem.reason, problem.detail) == (Reason.UNAVAILABLE, "fsync is off")
    finally:
        server.stop("fast")
        server.start()


def test_a_closed_store_says_so(address) -> None:
    store = open_store(address)
    store.close()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.head()
    with pytest.raises(ValueError, match="closed"):
        store.append(events(1))


if __name__ == "__main__":
    append_for_ever(sys.argv[1])
