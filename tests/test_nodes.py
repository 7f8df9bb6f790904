"""Several nodes of one relay over one PostgreSQL database: any takes any connection, one writes at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import postgres
from changes import change
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.log import LogKeys
from infoexchange.receipt import Receipt
from infoexchange.states import Event, Precedence
from infoexchange.testing.clock import START
from infoexchange.testing.sites import free_ports
from infoexchange.transport import RemoteRelay, utc_now
from infoexchange_relay import following, turning
from infoexchange_relay.nodes import SeveralNodes
from infoexchange_relay.stores import FileLatch, SharedLatch, notes_of, open_store
from infoexchange_relay.stores.postgres import PostgresEngine
from infoexchange_relay.stores.shared import LEASE_SECONDS, Duties
from patience import PATIENT, attempts, until
from relays import A2, AGENCIES, A, B, Relays, delivered, events, fetched
from test_renewal import put
from test_turning import listing_both

pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")


@pytest.fixture(scope="module")
def server():
    with postgres.running() as started:
        yield started


@pytest.fixture
def relays(server, tmp_path):
    """Return two nations; the first one's relay has two nodes, `th` and `th2`."""
    made = Relays(tmp_path, AGENCIES)
    [port] = free_ports(1)
    first = replace(made.configs["th"], store=server.address())
    folder = tmp_path / "th2"
    folder.mkdir(mode=0o700)
    made.addresses["th2"] = f"127.0.0.1:{port}"
    made.configs |= {
        "th": first,
        "th2": replace(first, listen=made.addresses["th2"], data=folder / "data", latch=folder / "latch"),
    }
    yield made
    made.close()


def at(relays: Relays, code: str, name: str) -> RemoteRelay:
    """Return one node for an agency of its nation."""
    key, certificate = relays.tls(name)
    nation = name.split(".")[-2]
    channel = relays.channel(nation, name, key=key, certificate=certificate, address=relays.addresses[code])
    return RemoteRelay(channel, timeout=PATIENT, address=relays.addresses[code])


@pytest.fixture
def both(relays: Relays):
    """Return the two nodes, and the other nation's relay, all running."""
    started = [relays.start(code) for code in ("th", "th2", "vn")]
    relays.publish()
    return started


def test_what_one_takes_the_other_delivers(relays, both) -> None:
    envelope = relays.seal(A, [A2])
    [receipt] = at(relays, "th", A).submit([envelope.raw])
    assert isinstance(receipt, Receipt)
    elsewhere = at(relays, "th2", A2)
    assert fetched(elsewhere) == [envelope.digest]
    delivered(elsewhere, [envelope.digest])
    [again] = at(relays, "th2", A).submit([envelope.raw])
    assert again.routing == receipt.routing
    assert again.index == receipt.index
    for code in ("th", "th2"):
        assert until(lambda code=code: Event.DELIVERED in dict(events(at(relays, code, A), envelope.digest)))
    assert until(lambda: both[0].node.ledger.size == both[1].node.ledger.size)


def test_who_listens_at_one_is_woken_by_the_other(relays, both) -> None:
    came: list[bytes] = []
    stream = at(relays, "th2", A2).follow()
    listener = threading.Thread(target=lambda: came.extend(next(iter(stream))), daemon=True)
    listener.start()
    envelope = relays.seal(A, [A2])
    at(relays, "th", A).submit([envelope.raw])
    listener.join(PATIENT.total_seconds())
    assert len(came) == 1


def test_what_a_node_could_not_tell_the_others_find(relays, both, monkeypatch) -> None:
    streams = [at(relays, code, A2).follow() for code in ("th", "th2")]
    came: list[list[bytes]] = [[], []]

    def read(stream, into: list[bytes]) -> None:
        with contextlib.suppress(ExchangeError):
            into.extend(Envelope.parse(raw).digest for frame in stream for raw in frame)

    for stream, into in zip(streams, came, strict=True):
        threading.Thread(target=read, args=(stream, into), daemon=True).start()
    sender = at(relays, "th", A)
    first = relays.seal(A, [A2])
    sender.submit([first.raw])
    assert until(lambda: all(first.digest in into for into in came))
    # As if the node had died behind its answer.
    monkeypatch.setattr(SeveralNodes, "tell", lambda self, rings: None)
    told = relays.seal(A, [A2], precedence=Precedence.FLASH)
    [receipt] = sender.submit([told.raw])
    assert isinstance(receipt, Receipt)
    assert until(lambda: all(told.digest in into for into in came))
    # The entries stand, but are not signed; who sends them again starts nothing.
    move, failures = SharedLatch.replace, [0]

    def failing(latch: SharedLatch, old: bytes, new: bytes) -> None:
        if latch._name == "log" and not failures[0]:
            failures[0] += 1
            raise error(Reason.UNAVAILABLE, field="store", detail="the line broke")
        move(latch, old, new)

    monkeypatch.setattr(SharedLatch, "replace", failing)
    again = relays.seal(A, [A2])
    with pytest.raises(UnavailableError):
        sender.submit([again.raw])
    [receipt] = sender.submit([again.raw])
    assert isinstance(receipt, Receipt)
    assert until(lambda: all(again.digest in into for into in came))


def test_one_of_them_forwards(relays, both) -> None:
    envelopes = [relays.seal(A, [B]) for _ in range(4)]
    for place, envelope in enumerate(envelopes):
        at(relays, ("th", "th2")[place % 2], A).submit([envelope.raw])
    there = at(relays, "vn", B)
    found: list[bytes] = []
    for _ in attempts():
        found = fetched(there)
        if len(found) == len(envelopes):
            break
    assert sorted(found) == sorted(envelope.digest for envelope in envelopes)


def test_a_version_that_one_adopts_the_other_follows(relays, both, monkeypatch) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.05)
    old = relays.directory
    listing = replace(old.listing, version=old.version + 1, previous=old.digest)
    newer = Directory.held(Directory.sign(listing.payload, relays.community.root_keys[:2]))
    assert isinstance(at(relays, "th", A).publish_directory(newer.raw), Receipt)
    assert until(lambda: both[1].node.directory.version == newer.version)
    envelope = relays.seal(A, [A2])
    [result] = at(relays, "th2", A).submit([envelope.raw])
    assert isinstance(result, Receipt)
    assert both[0].node.store.exhibits(Event.DIRECTORY_VERSION) == [relays.directory.raw, newer.raw]


def test_the_cosignatures_of_one_are_the_others_too(relays, both) -> None:
    at(relays, "th", A).submit([relays.seal(A, [A2]).raw])
    assert until(lambda: all(relay.node.ledger.cosigned_size == relay.node.ledger.size for relay in both[:2]))


def test_when_one_goes_the_other_has_all_its_work(relays, both) -> None:
    relays.stop("th")
    envelope = relays.seal(A, [B])
    [receipt] = at(relays, "th2", A).submit([envelope.raw])
    assert isinstance(receipt, Receipt)
    assert until(lambda: fetched(at(relays, "vn", B)) == [envelope.digest])


# Parts


def entries(count: int):
    return [change(Event.QUEUED, bytes([count, place]) * 16) for place in range(count)]


def test_who_is_silent_in_its_turn_loses_it(server, monkeypatch) -> None:
    monkeypatch.setattr("infoexchange_relay.stores.postgres._TURN_SECONDS", 1)
    address = server.address()
    with open_store(address) as one, open_store(address) as two:
        with one.alone():
            assert one.append(entries(1)) == [0]
            with two.alone():  # waits until the server has ended the turn of the first
                assert two.append(entries(2)) == [1, 2]
            with pytest.raises(UnavailableError) as caught:
                one.append(entries(3))
            assert caught.value.reason is Reason.UNAVAILABLE
        assert one.append(entries(3)) == [3, 4, 5]


def test_a_turn_that_nobody_gives_back_is_no_reason_to_stop(server, monkeypatch) -> None:
    monkeypatch.setattr("infoexchange_relay.stores.postgres._LOCK_SECONDS", 1)
    monkeypatch.setattr("infoexchange_relay.stores.postgres._TURN_SECONDS", 60)
    address = server.address()
    with open_store(address) as one, open_store(address) as two:
        with one.alone(), pytest.raises(UnavailableError) as caught, two.alone():
            pass
        assert caught.value.reason is Reason.UNAVAILABLE
        with two.alone():
            assert two.append(entries(1)) == [0]


def test_work_is_shared_evenly_and_taken_over(server) -> None:
    address = server.address()
    open_store(address).close()
    wanted = [f"peer {place}" for place in range(7)]
    engines = [PostgresEngine(address) for _ in range(3)]
    nodes = [Duties(engine, name) for engine, name in zip(engines, ("one", "two", "three"), strict=True)]
    for _ in range(3):
        held = [node.renew(wanted).held for node in nodes]
    assert sorted(name for names in held for name in names) == sorted(wanted)
    assert {len(names) for names in held} <= {1, 2, 3}
    assert all(held)
    nodes[0].leave()
    for _ in range(2):
        held = [node.renew(wanted).held for node in nodes[1:]]
    assert sorted(name for names in held for name in names) == sorted(wanted)
    # The second one dies without a word.
    began = time.monotonic()
    for _ in attempts():
        held = [nodes[2].renew(wanted).held]
        if held[0] == frozenset(wanted):
            break
    assert held[0] == frozenset(wanted)
    assert time.monotonic() - began > LEASE_SECONDS / 2
    for engine in engines:
        engine.close()


def test_a_database_put_back_to_an_older_state_is_not_gone_on_from(relays, server) -> None:
    relays.start("th")
    relays.publish_of("th")
    config = relays.configs["th"]
    at(relays, "th", A).submit([relays.seal(A, [A2]).raw])
    with open_store(config.store) as store:
        before = store.head().size
    older = server.copy(config.store)
    at(relays, "th", A).submit([relays.seal(A, [A2]).raw])
    relays.stop("th")
    relays.configs["th"] = replace(config, store=older)
    with open_store(older) as store:
        assert store.head().size == before
    with pytest.raises(ExchangeError) as caught:
        relays.start("th")
    assert caught.value.reason is Reason.LOG_STOPPED
    assert "an old copy was put in place" in caught.value.detail


class Overtaken(FileLatch):
    """A file into which another thread of the same node writes between looking and writing, once."""

    def __init__(self, path: Path, first: bytes) -> None:
        super().__init__(path)
        self._first = first

    def replace(self, old: bytes, new: bytes) -> None:
        first, self._first = self._first, b""
        if first:
            FileLatch(self._path).replace(old, first)
        super().replace(old, new)


def test_two_threads_of_one_node_may_keep_what_they_know_at_once(server, tmp_path) -> None:
    keys = LogKeys.make("relay.aa.example", now=START, after="")
    older, seen, signed = (keys.sign(size, bytes([size] * 32), now=START).raw for size in (1, 2, 3))
    with open_store(server.address()) as store:
        notes = notes_of(store)
        for place, first in enumerate((seen, signed)):
            notes.put("log", seen)
            path = tmp_path / f"latch{place}"
            FileLatch(path).replace(b"", older)
            latch = SharedLatch(notes, "log", Overtaken(path, first))
            latch.replace(seen, signed)  # the look keeps `seen`, or what the writer signs, before the writer does
            assert FileLatch(path).read() == signed
            latch.keep(seen)
            assert FileLatch(path).read() == signed


def test_a_latch_moves_one_way_for_all(server, tmp_path, relays) -> None:
    relays.start("th")
    ledger = relays.nodes["th"].ledger
    address = server.address()
    with open_store(address) as store:
        notes = notes_of(store)
        one, two = (SharedLatch(notes, "log", FileLatch(tmp_path / name)) for name in ("one", "two"))
        first = ledger.checkpoint()
        one.replace(b"", first)
        assert two.read() == first
        relays.publish_of("th")
        second = ledger.checkpoint()
        two.replace(first, second)
        with pytest.raises(UnavailableError):
            one.replace(first, second)
        assert one.read() == two.read() == second
        notes.put("log", first)  # as if the database had been put back
        assert two.read() == second
        assert one.read() == first


def test_one_node_turns_the_log_while_the_other_runs(relays) -> None:
    """The other one stops in order, says what to do, and goes on in the next log when it is started anew."""
    config, old = relays.configs["th"], relays.community.log_keys["relay.th.example"]
    copy = config.log_keys.with_name("other.key")
    copy.write_bytes(old.raw)
    copy.chmod(0o600)
    relays.configs["th2"] = replace(relays.configs["th2"], log_keys=copy)
    running = {code: relays.start(code) for code in ("th", "th2")}
    relays.publish_of("th")
    first = relays.seal(A, [A2])
    [before] = at(relays, "th2", A).submit([first.raw])
    following = turning.prepare(config, old, now=utc_now())
    turning.next_file(relays.configs["th2"]).write_bytes(following.raw)
    turning.next_file(relays.configs["th2"]).chmod(0o600)
    put(relays, "th", listing_both(relays, following).raw)  # both nodes read this file
    relays.stop("th")
    node = relays.start("th").node
    assert node.ledger.origin == following.origin
    until(running["th2"].stopped.is_set)
    assert running["th2"].refusal.reason is Reason.LOG_STOPPED
    assert running["th2"].refusal.detail == f"{old.origin} is closed, and the next log goes on"
    relays.stop("th2")
    other = relays.start("th2").node
    assert other.ledger.origin == following.origin
    assert fetched(at(relays, "th2", A2)) == [first.digest]
    [again] = at(relays, "th", A).submit([first.raw])
    assert (again.leaf, again.proof.checkpoint.origin) == (before.leaf, old.origin)
    [receipt] = at(relays, "th2", A).submit([relays.seal(A, [A2]).raw])
    assert receipt.proof.checkpoint.origin == following.origin
    logged = [record.event for record in node.store.records(range(node.ledger.end))]
    assert logged.index(Event.LOG_GENESIS, 1) == logged.index(Event.LOG_CLOSE) + 1
    assert (logged.count(Event.LOG_GENESIS), logged.count(Event.LOG_CLOSE)) == (2, 1)
