"""What cannot get any further, damaged rows, and how the sender learns of every end."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from conftest import AGENCIES, RECIPIENT
from forwarding import HERE, THERE, Way, internal, run, said, until
from infoexchange import Draft
from infoexchange.cli.outcomes import sentence
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.node.recalls import orders_for
from infoexchange.ports import Waiting
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import Community, Exchange
from infoexchange.testing.clock import START
from infoexchange.verdict import Verdict
from infoexchange_relay import backoff, forward, peers, quarantine
from infoexchange_relay.stores import open_store
from messages import officer_acknowledgement

NAVY = "desk.navy.th.example"


@pytest.fixture(scope="module")
def community() -> Community:
    return Community.make(AGENCIES, now=START)


@pytest.fixture
def exchange(community: Community) -> Exchange:
    return Exchange(AGENCIES, community=community)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(backoff, "BACKOFF_MAX", 0.05)
    monkeypatch.setattr(forward, "TRIES", 4)
    monkeypatch.setattr(quarantine, "TRIES", 3)


# What cannot get any further


def test_what_a_peer_fails_on_again_and_again_is_given_up(exchange: Exchange, tmp_path: Path) -> None:
    """Others pass it; it stays as a file; its sender gets a signed UNDELIVERABLE, in words and as evidence."""
    poison: list[bytes] = []

    def failing(digests: Any) -> Any:
        if not set(poison) & set(digests):
            return None
        found = iter(way_.take([digest for digest in digests if digest not in poison]))
        return [internal([d])[0] if d in poison else next(found) for d in digests]

    way_: Any = None

    async def work(way: Way) -> None:
        nonlocal way_
        way_ = way
        way.line.fault = failing
        digests = way.seal(4)
        poison.append(digests[0])
        await way.accept(digests)
        await until(lambda: set(way.queued()) == set(digests[1:]))
        await until(lambda: Event.UNDELIVERABLE in way.events(digests[0]))
        tries = [frame for frame in way.line.frames if digests[0] in frame]
        assert len(tries) >= forward.TRIES
        assert way.node.store.waiting(THERE, limit=9) == []
        [outcome] = way.sender.outcomes(digests[0])
        assert (outcome.state, outcome.reason, outcome.relay) == (Event.UNDELIVERABLE, Reason.UNAVAILABLE, HERE)
        assert outcome.is_final
        assert sentence(outcome) == f"not delivered: {HERE} cannot bring it any further, unavailable"
        checks = {
            c.name: c for c in way.sender.evidence(digests[0]).verify(exchange.directory, now=exchange.clock()).checks
        }
        [found] = [check for name, check in checks.items() if name.startswith("outcome")]
        assert found.verdict is Verdict.TOTAL_PASSED
        [kept] = (tmp_path / "undeliverable").iterdir()
        assert kept.read_bytes() == way._box.raws[digests[0]]
        assert kept.stat().st_mode & 0o777 == 0o600

    told = run(exchange, tmp_path, work)
    [line] = said(told, "envelope_undeliverable")
    assert (line["party"], line["reason"]) == (THERE, "unavailable")


def test_a_peer_that_fails_on_everything_is_not_the_fault_of_an_envelope(exchange: Exchange, tmp_path: Path) -> None:
    """Without a receipt in the same try nothing shows that it works, so that nothing is given up."""

    async def work(way: Way) -> None:
        way.line.fault = internal
        way.line.publish = lambda _bundles: internal([0])  # type: ignore[attr-defined]
        digests = way.seal(1)
        await way.accept(digests)
        await until(lambda: way.gauge() == 1)
        await until(lambda: way.line.probes > 2 * forward.TRIES)
        assert way.events(digests[0]) == [Event.ACCEPTED]
        way.line.fault = lambda _digests: None
        del way.line.publish  # type: ignore[attr-defined]
        await until(way.queued)

    run(exchange, tmp_path, work)


def test_one_that_breaks_whole_calls_is_found(exchange: Exchange, tmp_path: Path) -> None:
    """The frame that holds it gets no answer at all; sent one by one, the others pass."""
    poison: list[bytes] = []

    def breaking(digests: Any) -> None:
        if poison[0] in digests:
            raise internal([0])[0]

    async def work(way: Way) -> None:
        way.line.fault = breaking
        digests = way.seal(4)
        poison.append(digests[0])
        await way.accept(digests)
        await until(lambda: set(way.queued()) == set(digests[1:]))
        await until(lambda: Event.UNDELIVERABLE in way.events(digests[0]))
        await until(lambda: way.gauge() == 0)

    run(exchange, tmp_path, work)


def test_what_cannot_be_made_ready_is_given_up(exchange: Exchange, tmp_path: Path) -> None:
    """A rule that refuses it ends it at once, with its reason; a bug of our own after some tries."""

    async def work(way: Way) -> None:
        digests = way.seal(3)
        served = way.node.served

        def serving(caller: Any, item: Waiting) -> bytes:
            if item.digest == digests[0]:
                raise error(Reason.BAD_FIELD, field="envelope", detail="no")
            if item.digest == digests[1]:
                raise ZeroDivisionError("a bug")
            return served(caller, item)

        way.node.served = serving  # type: ignore[method-assign]
        await way.accept(digests)
        await until(lambda: way.queued() == digests[2:])
        for digest, reason in zip(digests, (Reason.BAD_FIELD, Reason.MALFORMED), strict=False):
            await until(lambda digest=digest: Event.UNDELIVERABLE in way.events(digest))
            [outcome] = way.sender.outcomes(digest)
            assert (outcome.state, outcome.reason) == (Event.UNDELIVERABLE, reason)

    run(exchange, tmp_path, work)


# Damaged rows


def damage(path: Path, digest: bytes) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (raw,) = connection.execute("SELECT raw FROM envelope WHERE digest = ?", [digest]).fetchone()
        raw = raw[:400] + bytes([raw[400] ^ 1]) + raw[401:]
        connection.execute("UPDATE envelope SET raw = ? WHERE digest = ?", [raw, digest])


@pytest.fixture
def on_disk(exchange: Exchange, tmp_path: Path):
    path = tmp_path / "relay.db"
    with open_store(path) as store:
        exchange.nodes[HERE] = exchange._node(HERE, store)
        for name, member in exchange.community.members.items():
            party = exchange.directory.party(name, at=exchange.clock())
            if party.relay == HERE:
                exchange.nodes[HERE].commit([exchange.nodes[HERE].decide_bundle(party, member.bundle)])
        yield exchange, path


def test_a_damaged_row_at_the_head_holds_up_nothing(on_disk, tmp_path: Path) -> None:
    exchange, path = on_disk

    async def work(way: Way) -> None:
        way.line.away = True
        digests = way.seal(3)
        await way.accept(digests)
        damage(path, digests[0])
        way.line.away = False
        await until(lambda: set(way.queued()) == set(digests[1:]))
        await until(lambda: Event.UNDELIVERABLE in way.events(digests[0]))
        [outcome] = way.sender.outcomes(digests[0])
        assert (outcome.state, outcome.reason) == (Event.UNDELIVERABLE, Reason.MALFORMED)
        assert way.node.store.waiting(THERE, limit=9) == []
        assert len(list((tmp_path / "undeliverable").iterdir())) == 1

    assert len(said(run(exchange, tmp_path, work), "envelope_undeliverable")) == 1


def test_what_is_damaged_never_expires(on_disk, tmp_path: Path) -> None:
    """Its time may be what is damaged."""
    exchange, path = on_disk

    async def work(way: Way) -> None:
        way.line.away = True
        digests = way.seal(2)
        await way.accept(digests)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE envelope SET expires_ms = 1 WHERE digest = ?", [digests[0]])
        [item] = way.node.store.expired(exchange.clock(), limit=9)
        assert item.damaged
        way.node.commit([way.node.expired(item)])
        assert Event.UNDELIVERABLE in way.events(digests[0])
        assert Event.EXPIRED not in way.events(digests[0])
        assert way.node.store.expired(exchange.clock(), limit=9) == []

    run(exchange, tmp_path, work)


def test_an_agency_gets_what_lies_behind_a_damaged_row(on_disk, tmp_path: Path) -> None:
    exchange, path = on_disk

    async def work(way: Way) -> None:
        drafts = [Draft(officer_acknowledgement(), [NAVY], suite=HYBRID_KEM) for _ in range(3)]
        way.sender.send_all(drafts)
        digests = list(way._box.raws)
        await way.accept(digests)
        damage(path, digests[0])
        caller = way.node.directory.party(NAVY, at=exchange.clock())
        waiting = way.node.store.waiting(NAVY, limit=9)
        served = way.node.served

        def serving(caller: Any, item: Waiting) -> bytes:
            if item.digest == digests[1]:
                raise ZeroDivisionError("a bug")
            return served(caller, item)

        way.node.served = serving  # type: ignore[method-assign]
        for number in range(1, quarantine.TRIES + 1):
            raws, ended = way.peers.quarantine.serve(caller, waiting)
            assert len(raws) == 1
            assert len(ended) == (2 if number == quarantine.TRIES else 1)
            await way.peers.quarantine.end(ended)
        for digest in digests[:2]:
            [outcome] = way.sender.outcomes(digest)
            assert (outcome.state, outcome.reason) == (Event.UNDELIVERABLE, Reason.MALFORMED)
        assert [item.digest for item in way.node.store.waiting(NAVY, limit=9)] == digests[2:]

    run(exchange, tmp_path, work)


def test_the_folder_of_what_was_given_up_is_bounded(exchange: Exchange, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(quarantine, "_KEPT_MAX", 3)

    async def work(way: Way) -> None:
        [digest] = way.seal()
        await way.accept([digest])
        for position in range(6):
            item = Waiting(position, THERE, digest, b"bytes")
            way.peers.quarantine.decision(item, Reason.MALFORMED)()
        assert len(list((tmp_path / "undeliverable").iterdir())) == 3

    run(exchange, tmp_path, work)


def test_a_disk_that_keeps_no_file_keeps_nothing_in_the_way(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "undeliverable").write_text("no folder")

    async def work(way: Way) -> None:
        way.line.away = True
        [digest] = way.seal()
        await way.accept([digest])
        [item] = way.node.store.waiting(THERE, limit=1)
        await way.peers.quarantine.end([way.peers.quarantine.decision(item, Reason.MALFORMED)])
        assert way.events(digest) == [Event.ACCEPTED, Event.UNDELIVERABLE]
        with pytest.raises(ExchangeError):  # a way ends once
            raise way.node.commit([way.node.ended(Event.EXPIRED, THERE, digest, Reason.EXPIRED)])[0]  # type: ignore[misc]

    run(exchange, tmp_path, work)


# The other two ends, at the sender


def test_refused_and_expired_reach_the_sender(exchange: Exchange, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(peers, "_SWEEP", 0.01)

    async def work(way: Way) -> None:
        refused, expired = way.seal(2)
        way.line.fault = lambda digests: [error(Reason.RULE_BROKEN, detail="no") for _ in digests]
        await way.accept([refused])
        await until(lambda: Event.REFUSED in way.events(refused))
        way.line.away = True
        await way.accept([expired])
        header = way._box.raws[expired]
        exchange.clock.advance(Envelope.parse(header).expires_at - exchange.clock() + peers.CLOCK_SKEW * 2)
        await until(lambda: Event.EXPIRED in way.events(expired))
        for digest, state, reason, words in (
            (refused, Event.REFUSED, Reason.RULE_BROKEN, "refused by a relay: rule_broken"),
            (expired, Event.EXPIRED, Reason.EXPIRED, "not delivered: its time ran out"),
        ):
            [outcome] = way.sender.outcomes(digest)
            assert (outcome.state, outcome.reason, outcome.relay) == (state, reason, HERE)
            assert outcome.is_final
            assert sentence(outcome) == words

    run(exchange, tmp_path, work)


def test_an_order_whose_row_is_damaged_is_taken_from_the_log(on_disk, tmp_path: Path) -> None:
    exchange, path = on_disk

    async def work(way: Way) -> None:
        way.line.away = True
        [digest] = way.seal()
        await way.accept([digest])
        way.sender.recall(digest, [RECIPIENT])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE envelope SET raw = x'00' WHERE digest != ?", [digest])
        [order] = way.node.orders(THERE, limit=9)
        assert order.statement.envelope_digest == digest
        way.line.away = False
        way.ring(orders_for(THERE))
        await until(lambda: Event.RECALL_ORDERED in way.events(digest, THERE))

    run(exchange, tmp_path, work)
