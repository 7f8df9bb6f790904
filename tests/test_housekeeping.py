"""Housekeeping: what a relay logs about itself, once and no oftener, and what an auditor is told of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import pytest

from conftest import AGENCIES
from infoexchange.audit import Operation, Routing, Subject
from infoexchange.cli.output import Table
from infoexchange.cli.pages.account import as_data, neighbours, tables
from infoexchange.cli.pages.log import log_page
from infoexchange.errors import ExchangeError, Reason
from infoexchange.node import Job, Node
from infoexchange.ports import Record
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.summary import Period, summarise
from infoexchange.testing import Exchange
from infoexchange.tlog import Checkpoint
from infoexchange_relay import disclosures, sightings
from infoexchange_relay.stores import open_store
from relays import Relays
from reporting import account_of, records_of

HOME, PEER = "relay.th.example", "relay.vn.example"
ONE, TWO = bytes([1]) * 32, bytes([2]) * 32
HOUR = timedelta(hours=1)


def logged(node: Node, event: Event) -> list[Record]:
    return [record for record in node.store.records(range(node.ledger.size)) if record.event is event]


def told(record: Record) -> tuple[Routing, Subject, Operation]:
    entry = record.entry
    return Routing.parse(entry.routing), Subject.parse(entry.message), Operation.parse(entry.operational)


def done(node: Node, job: Job | None) -> Receipt:
    assert job is not None
    [result] = node.commit([job])
    assert isinstance(result, Receipt), result
    return result


def test_settings_are_logged_when_they_or_the_software_change(exchange: Exchange) -> None:
    node = exchange.nodes[HOME]
    ways = [(ONE, "1"), (ONE, "1"), (TWO, "1"), (ONE, "1"), (ONE, "2"), (ONE, "2")]
    jobs = []
    for settings, software in ways:
        job = node.configured(settings, software)
        jobs.append(job is not None)
        if job:
            node.commit([job])
        exchange.restart(HOME)
        node = exchange.nodes[HOME]
    assert jobs == [True, False, True, True, True, False]
    said = [told(record) for record in logged(node, Event.CONFIG_CHANGE)]
    assert [(o.config, o.software) for _, _, o in said] == [(ONE, "1"), (TWO, "1"), (ONE, "1"), (ONE, "2")]
    assert {(r.this_relay, r.sender, r.recipients, r.previous_relay) for r, _, _ in said} == {(HOME, "", (), "")}
    assert {s for _, s, _ in said} == {Subject(directory_digest=exchange.directory.digest)}


def test_a_neighbours_checkpoint_is_logged_once_an_hour(exchange: Exchange) -> None:
    node, peer = exchange.nodes[HOME], exchange.nodes[PEER]
    exchange.witness()
    checkpoint = Checkpoint.parse(peer.ledger.cosigned())
    first = done(node, node.peer_seen(checkpoint))
    exchange.clock.advance(timedelta(minutes=59, seconds=59))
    newer = Checkpoint.parse(peer.ledger.checkpoint())
    assert done(node, node.peer_seen(newer)).index == first.index
    exchange.clock.advance(timedelta(seconds=1))
    assert done(node, node.peer_seen(newer)).index > first.index
    found = logged(node, Event.PEER_CHECKPOINT)
    assert len(found) == 2
    for record in found:
        routing, subject, operation = told(record)
        assert (routing.previous_relay, routing.this_relay, routing.sender) == (PEER, HOME, "")
        assert subject == Subject(directory_digest=exchange.directory.digest)
        held = Checkpoint.parse(operation.data)
        held.verify(exchange.community.log_keys[PEER].verifier_keys)
        assert {line.name for line in held.note.signatures} == {held.origin}  # as the log alone has signed it
        assert (held.size, held.root) == (checkpoint.size, checkpoint.root)


def test_what_an_operator_shows_is_logged_once_for_each_request(exchange: Exchange) -> None:
    node = exchange.nodes[HOME]
    receipts = [done(node, node.shown(request, "routing, for a court")) for request in (ONE, ONE, TWO)]
    assert receipts[0].index == receipts[1].index != receipts[2].index
    routing, _, operation = told(logged(node, Event.AUDIT_DISCLOSURE)[0])
    assert (operation.detail, routing.sender, routing.recipients) == ("routing, for a court", "", ())
    node.shown(ONE, "x" * 1000)
    for request, detail in ((ONE[1:], "x"), (ONE, ""), (ONE, "x" * 1001), (ONE, "two\nlines"), (ONE, "\x1b[2J")):
        with pytest.raises(ExchangeError) as caught:
            node.shown(request, detail)
        assert caught.value.reason is Reason.BAD_FIELD


# What an auditor is told


@pytest.fixture(scope="module")
def kept() -> Exchange:
    """Ten hours of a relay that started twice, saw one neighbour in eight of them and the other in two."""
    exchange = Exchange({**AGENCIES, "sg": ["desk.cnb"]})
    node = exchange.nodes[PEER]
    exchange.witness()
    for hour in range(10):
        if hour in (0, 5):
            done(node, node.configured(bytes([hour]) * 32, f"0.{hour}"))
        for name, hours in ((HOME, range(1, 9)), ("relay.sg.example", (0, 9))):
            if hour in hours:
                done(node, node.peer_seen(Checkpoint.parse(exchange.nodes[name].ledger.checkpoint())))
        exchange.clock.advance(HOUR if hour < 9 else timedelta(0))
    done(node, node.shown(ONE, "routing of all, for <b>a court</b>"))
    return exchange


def test_a_report_tells_who_was_seen_and_what_the_operator_did(kept: Exchange) -> None:
    account = account_of(kept)
    data = as_data(account)
    entries = {r.index: told(r)[0] for r in records_of(kept) if r}
    assert data["neighbours"].keys() == {HOME, "relay.sg.example"}
    for name, hours in ((HOME, 8), ("relay.sg.example", 2)):
        found = data["neighbours"][name]
        assert (found["count"], found["hours"], found["of_hours"]) == (hours, hours, 10)
        backed = [n for a, b in found["entries"] for n in range(a, b + 1)]
        assert len(backed) == hours
        assert {(entries[n].event, entries[n].previous_relay) for n in backed} == {(Event.PEER_CHECKPOINT, name)}
    assert [row[:3] for row in neighbours(account.summary)] == [
        ("relay.sg.example", "2", "20.0 %"),
        (HOME, "8", "80.0 %"),
    ]
    settings = data["settings"]
    assert [entries[each["entry"]].event for each in settings] == [Event.CONFIG_CHANGE] * 2
    assert [each["what"].partition(": ")[2] for each in settings] == [
        f"software 0.{n}, settings {bytes([n] * 8).hex()}" for n in (0, 5)
    ]
    [shown] = data["disclosures"]
    assert shown["what"].endswith("showed records of this log to somebody: routing of all, for <b>a court</b>")
    page = log_page(account, []).decode()
    assert "20.0 %" in page
    assert "&lt;b&gt;a court" in page
    assert "<b>a court" not in page
    rows = [row for part in tables(account) if isinstance(part, Table) for row in part.rows]
    assert (HOME, "8", "80.0 %") in [tuple(row[:3]) for row in rows]


def test_hours_of_another_time_do_not_count(kept: Exchange) -> None:
    records = records_of(kept)
    start = min(told(r)[0].logged_at for r in records if r)
    summary = summarise(records, Period(start + 4 * HOUR, start + 9 * HOUR))
    assert [row[:3] for row in neighbours(summary)] == [(HOME, "5", "100.0 %")]
    assert summary.hours == 5
    assert summarise([]).hours == 0


def test_where_how_is_not_shown_the_report_says_only_that(kept: Exchange) -> None:
    bare = [
        r and replace(r, entry=replace(r.entry, operational=b"", salts=(*r.entry.salts[:2], b"")))
        for r in records_of(kept)
    ]
    data = as_data(account_of(kept, bare))
    assert [each["what"].count(":") for each in (*data["settings"], *data["disclosures"])] == [0, 0, 0]
    assert data["neighbours"] == as_data(account_of(kept))["neighbours"]


# The program


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[Relays]:
    made = Relays(tmp_path, {"th": ["desk.oncb"], "vn": ["intel.c04"]})
    yield made
    made.close()


def test_a_relay_logs_its_settings_its_neighbours_and_what_is_shown(relays: Relays) -> None:
    config = relays.configs["th"]
    relay = relays.start("th")
    [first] = logged(relay.node, Event.CONFIG_CHANGE)
    assert told(first)[2].config == config.digest
    assert told(first)[2].software == metadata.version("infoexchange")
    with open_store(config.place) as store:
        entry = disclosures.disclosed(config, store, "all, for a test")
        assert told(store.records([entry])[0])[2].detail == "all, for a test"
        with pytest.raises(ExchangeError) as caught:
            disclosures.disclosed(config, store, "two\nlines")
        assert caught.value.reason is Reason.BAD_FIELD
    assert list(config.requests.iterdir()) == []
    relays.stop("th")
    # Where no relay runs, the command logs it itself, and the relay goes on behind that.
    with open_store(config.place) as store:
        later = disclosures.disclosed(config, store, "again, for a test")
        size = store.head().size
    assert entry < later == size - 1
    relay = relays.start("th")
    assert len(logged(relay.node, Event.CONFIG_CHANGE)) == 1
    assert len(logged(relay.node, Event.AUDIT_DISCLOSURE)) == 2
    relays.stop("th")
    relays.configs["th"] = replace(config, log_level="warning")
    relay = relays.start("th")
    assert [told(r)[2].config for r in logged(relay.node, Event.CONFIG_CHANGE)] == [
        config.digest,
        relays.configs["th"].digest,
    ]


class Batches:
    """Commits at once what is settled."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def settle(self, decisions, size):
        return self.node.commit([decide() for decide in decisions])


class Desk:
    def __init__(self) -> None:
        self.seen = {}


def test_only_who_was_seen_in_this_hour_is_logged(exchange: Exchange) -> None:
    node, desk = exchange.nodes[HOME], Desk()
    look = lambda: asyncio.run(sightings.look(Batches(node), desk))  # noqa: E731
    assert look() == 0
    checkpoint = Checkpoint.parse(exchange.nodes[PEER].ledger.checkpoint())
    desk.seen[checkpoint.origin] = exchange.clock(), checkpoint
    assert (look(), look()) == (1, 1)
    exchange.clock.advance(HOUR)
    assert look() == 0
    assert len(logged(node, Event.PEER_CHECKPOINT)) == 1


def test_a_request_nobody_answers_shows_nothing(relays: Relays, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that has the data, and does not look into the folder."""
    config = relays.configs["th"]
    relays.start("th")
    relays.stop("th")
    monkeypatch.setattr(disclosures, "_WAIT_SECONDS", 0.3)
    with open_store(config.place) as store, disclosures.locked(config):
        size = store.head().size
        with pytest.raises(ExchangeError) as caught:
            disclosures.disclosed(config, store, "all, for a test")
        assert caught.value.reason is Reason.UNAVAILABLE
        assert store.head().size == size
    assert list(config.requests.iterdir()) == []


def test_bad_requests_are_answered_and_stop_nothing(exchange: Exchange, tmp_path: Path) -> None:
    node = exchange.nodes[HOME]
    folder = tmp_path / "requests"
    folder.mkdir()
    bad = {"00" * 31: b'{"detail": "x"}', "zz": b'{"detail": "x"}', "00" * 32: b"{}", "01" * 32: b"[" * 10_000}
    for name, raw in bad.items():
        (folder / f"{name}.request").write_bytes(raw)
    (folder / f"{'02' * 32}.request").write_bytes(b'{"detail": "good"}')
    for file in sorted(folder.glob("*.request")):
        asyncio.run(disclosures._answer(Batches(node), file))
    answers = {file.stem: json.loads(file.read_bytes()) for file in folder.glob("*.answer")}
    assert list(folder.glob("*.request")) == []
    assert {name for name, said in answers.items() if "entry" in said} == {"02" * 32}
    assert {said["reason"] for name, said in answers.items() if "reason" in said} == {"malformed", "bad_field"}
    assert len(logged(node, Event.AUDIT_DISCLOSURE)) == 1
