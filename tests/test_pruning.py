"""Pruning: old records go for good, the log says so first, and every proof stays what it was."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from changes import accepted, change, delivered
from command_setup import infoexchange, infoexchange_relay, make_exchange
from community import Community
from infoexchange.audit import Entry, Routing, Subject
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from infoexchange.exported import export_log
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys
from infoexchange.node import GENESIS
from infoexchange.ports import Change, Store
from infoexchange.pruning import KEPT_MIN, POLICY_SIZE_MAX, RecordsPruned
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.testing.memory import MemoryStore
from infoexchange.tlog import Checkpoint
from infoexchange.verdict import Verdict
from infoexchange_relay.stores import FileLatch, open_store
from messages import officer_acknowledgement
from reporting import NAMES, RELAY, busy_exchange, records_of

POLICY = "Archive rule 7: ten years"
ORIGIN = "relay.aa.example/audit/2026h2"
COAST_A, COAST_B, POLICE_B = "coast.aa.example", "coast.bb.example", "police.bb.example"


# The store


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
    else:
        with open_store(tmp_path / "relay.db") as opened:
            yield opened


def test_what_is_old_and_over_can_be_erased_and_nothing_else(store: Store, tmp_path: Path) -> None:
    community = Community()
    over, waits, late = (community.seal(COAST_A, [COAST_B, POLICE_B]) for _ in range(3))
    store.append([change(Event.LOG_GENESIS, GENESIS)])
    store.append([accepted(over), accepted(waits), accepted(late)])  # 1, 2, 3
    store.append([delivered(e.digest, name) for e in (over, late) for name in (COAST_B, POLICE_B)])  # 4 to 7
    store.append([delivered(waits.digest, COAST_B)])  # 8
    store.append([change(Event.OPENED, late.digest, COAST_B, exhibit=b"said")])  # 9
    assert store.erasable(0, 9, limit=99) == [1, 4, 5]
    assert store.erasable(0, 10, limit=99) == [1, 3, 4, 5, 6, 7, 9]
    assert store.erasable(2, 10, limit=2) == [3, 4]
    before, leaves = store.head(), store.leaves(0, 99)
    store.erase([1, 4, 9])
    store.erase([4])  # again is nothing new
    assert (store.head(), store.leaves(0, 99)) == (before, leaves)
    assert store.erasable(0, 10, limit=99) == [3, 5, 6, 7]
    for record, leaf in zip(store.records(range(10)), leaves, strict=True):
        assert record.entry.leaf == leaf
        assert record.erased == (record.index in (1, 4, 9))
        if record.erased:
            kept = (record.entry.routing, record.entry.message, record.entry.operational, record.exhibit)
            assert (kept, record.party) == ((b"", b"", b"", b""), f"erased {record.index}")
    assert store.history(over.digest) == [1, 4, 5]
    assert store.exhibits(Event.OPENED) == []
    assert store.append([change(Event.QUEUED, b"%032d" % 7)]) == [10]  # the log goes on


def test_no_byte_of_it_is_left_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with open_store(path) as store:
        for name in ("first.aa.example", "second.aa.example"):
            store.append([change(Event.QUEUED, name.encode().ljust(32), name, exhibit=b"document of " + name.encode())])
        store.erase([0])
        for file in tmp_path.iterdir():
            assert b"first.aa.example" not in file.read_bytes().replace(b"first.aa.example".ljust(32), b"")
        assert b"document of second" in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entry SET salts = x'00' WHERE idx = 0")
    with open_store(path) as store, pytest.raises(ExchangeError, match="does not match its SHA-256"):
        store.records([0])


# The document


def test_its_form() -> None:
    order = RecordsPruned(ORIGIN, 7, POLICY)
    assert RecordsPruned.parse(order.raw) == order
    for end, policy in ((0, POLICY), (7, ""), (7, " "), (7, "two\nlines"), (7, "\x1b[2J")):
        with pytest.raises(MalformedError) as caught:
            RecordsPruned.parse(RecordsPruned(ORIGIN, end, policy).raw)
        assert caught.value.reason is Reason.BAD_FIELD
    for origin in ("", "x" * 256, "two\nlines"):
        with pytest.raises(MalformedError):
            RecordsPruned.parse(RecordsPruned(origin, 7, POLICY).raw)
    with pytest.raises(RefusedError):
        RecordsPruned.parse(RecordsPruned(ORIGIN, 7, "é" * POLICY_SIZE_MAX).raw)


# The node, and the auditor


def open_what_waits(exchange: Exchange) -> None:
    recipient = exchange.mailbox(NAMES[3])
    for delivery in recipient.receive():
        recipient.acknowledge(delivery)
    assert not list(recipient.receive())  # the relay has been told


@pytest.fixture(scope="module")
def aged() -> tuple[Exchange, dict[str, object]]:
    """An exchange whose messages are older than they have to be kept, one log of it pruned, and what was before."""
    exchange = busy_exchange(days=1, start=datetime.now(UTC) - KEPT_MIN - timedelta(days=60))
    sender = exchange.mailbox(NAMES[2])
    digest = sender.send(officer_acknowledgement(), to=[NAMES[3]]).subject.envelope_digest
    open_what_waits(exchange)
    exchange.witness()
    node = exchange.nodes[RELAY]
    before = {
        "digest": digest,
        "evidence": sender.evidence(digest),
        "report": sender.evidence(digest).verify(exchange.directory, now=exchange.clock()),
        "history": node.history(exchange.directory.party(NAMES[2], at=exchange.clock()), digest),
        "size": node.ledger.size,
        "leaves": list(node.store.leaves(0, 999)),
    }
    cutoff = exchange.clock() + timedelta(hours=1)
    exchange.clock.advance(KEPT_MIN + timedelta(days=1))
    before["told"] = list(node.prune(cutoff, POLICY))
    exchange.witness()
    return exchange, before


def test_the_log_says_it_first_and_every_proof_stays(aged) -> None:
    exchange, before = aged
    node, size = exchange.nodes[RELAY], before["size"]
    records = records_of(exchange)
    last = records[-1]
    assert last.index == size
    assert last.event is Event.RECORDS_PRUNED
    assert RecordsPruned.parse(last.exhibit) == RecordsPruned(node.ledger.origin, size, POLICY)
    assert before["told"] == [0, len([r for r in records if r.erased])]
    assert before["told"][-1] > 5
    assert {r.event.of_message for r in records if r.erased} == {True}
    assert not any(r.event.of_message and not r.erased for r in records)
    assert node.store.leaves(0, size) == before["leaves"]
    assert all(r.erased for r in node.store.records(node.store.history(before["digest"])))
    for receipt in before["history"].events:
        receipt.verify(exchange.directory)
    assert before["evidence"].verify(exchange.directory, now=exchange.clock()) == before["report"]
    assert Verdict.TOTAL_FAILED not in {check.verdict for check in before["report"].checks}
    # What is proven now is proven for the same leaves.
    assert node.consistency(size, size + 1)
    with pytest.raises(RefusedError) as caught:
        node.history(exchange.directory.party(NAMES[2], at=exchange.clock()), before["digest"])
    assert caught.value.reason is Reason.NOT_PERMITTED


def test_what_was_erased_is_not_taken_again(aged) -> None:
    exchange, before = aged
    caller = exchange.directory.listed(NAMES[2])
    with pytest.raises(ExchangeError) as caught:
        exchange.nodes[RELAY].decide(caller, before["evidence"].envelope.raw)
    assert caught.value.reason in (Reason.EXPIRED, Reason.STALE_BUNDLE, Reason.DIRECTORY_EXPIRED)


def test_auditors_are_told_by_whom_and_why(aged, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exchange, before = aged
    ledger = exchange.nodes[RELAY].ledger
    (tmp_path / "roots.pb").write_bytes(exchange.community.roots.raw)
    shown = ("routing", "message", "operational")
    export_log(ledger.store, tmp_path / "log", Checkpoint.parse(ledger.published()), shown=shown)
    infoexchange("audit", "verify-log", tmp_path / "log", "--roots", tmp_path / "roots.pb", "--json")
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    told = (
        f"what messages before entry {before['size']} of {ledger.origin} left was erased by entry {before['size']},"
        f" under: {POLICY}"
    )
    assert told in checks["records"]["detail"]
    assert {checks[name]["verdict"] for name in ("entries", "tiles", "root", "records")} == {"TOTAL-PASSED"}


@pytest.mark.parametrize(
    ("age", "policy", "reason"),
    [
        (KEPT_MIN - timedelta(minutes=1), POLICY, Reason.NOT_PERMITTED),
        (timedelta(days=-1), POLICY, Reason.NOT_PERMITTED),
        (KEPT_MIN * 20, POLICY, Reason.NOT_PERMITTED),  # nothing is that old
        (KEPT_MIN, "", Reason.BAD_FIELD),
        (KEPT_MIN, "x" * (POLICY_SIZE_MAX + 1), Reason.TOO_LARGE),
    ],
)
def test_what_may_not_be_erased_stays(age: timedelta, policy: str, reason: Reason) -> None:
    exchange = busy_exchange(days=1)
    exchange.clock.advance(KEPT_MIN + timedelta(days=30))
    before = records_of(exchange)
    with pytest.raises(ExchangeError) as caught:
        list(exchange.nodes[RELAY].prune(exchange.clock() - age, policy))
    assert caught.value.reason is reason
    assert records_of(exchange) == before


def test_broken_off_it_is_taken_up_again_and_logged_once() -> None:
    exchange = busy_exchange(days=2)
    cutoff = exchange.clock() + timedelta(hours=1)
    exchange.clock.advance(KEPT_MIN + timedelta(days=1))
    node = exchange.nodes[RELAY]
    assert next(node.prune(cutoff, POLICY)) == 0  # and then the process ends
    assert not any(record.erased for record in records_of(exchange))
    exchange.restart(RELAY)
    node = exchange.nodes[RELAY]
    assert list(node.prune(cutoff, POLICY))[-1] > 5
    assert [r.event for r in records_of(exchange)].count(Event.RECORDS_PRUNED) == 1
    with pytest.raises(RefusedError, match="no message before"):
        list(node.prune(cutoff, POLICY))


def test_what_has_a_younger_entry_or_still_waits_is_left_whole() -> None:
    exchange = busy_exchange(days=1)
    waits = exchange.mailbox(NAMES[2]).send(officer_acknowledgement(), to=[NAMES[3]]).subject.envelope_digest
    cutoff = exchange.clock() + timedelta(hours=1)
    exchange.clock.advance(timedelta(hours=2))
    open_what_waits(exchange)
    exchange.clock.advance(KEPT_MIN + timedelta(days=1))
    node = exchange.nodes[RELAY]
    list(node.prune(cutoff, POLICY))
    about = node.store.records(node.store.history(waits))
    assert [r.event for r in about] == [Event.ACCEPTED, Event.QUEUED, Event.DELIVERED, Event.OPENED]
    assert not any(r.erased for r in about)
    assert Routing.parse(about[0].entry.routing).logged_at < cutoff


# The operator's command


LONG_AGO = datetime.now(UTC) - timedelta(days=400)


@pytest.fixture
def relay(tmp_path: Path) -> Path:
    """The folder of a relay that logged three messages long ago."""
    folder = make_exchange(tmp_path / "exchange", {"th": "127.0.0.1:0", "sg": "127.0.0.1:1"}) / "relay-th"
    keys = LogKeys.parse((folder / "log.key").read_bytes())
    (folder / "data").mkdir(exist_ok=True)
    with open_store(folder / "data" / "relay.sqlite3") as store:
        ledger = Ledger(keys, store, FileLatch(folder / "latch" / "checkpoint"), clock=lambda: LONG_AGO)
        events = [long_ago(event, b"%032d" % i) for i in range(3) for event in (Event.ACCEPTED, Event.DELIVERED)]
        ledger.commit([long_ago(Event.LOG_GENESIS, GENESIS), *events])
    return folder


def long_ago(event: Event, digest: bytes) -> Change:
    entry = Entry.make(Routing(event=event, logged_at=LONG_AGO, this_relay="relay.th.example"), Subject())
    return Change(entry=entry, digest=digest, party="", event=event)


def test_the_command_erases_once_it_is_told_so(relay: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("prune", "--config", relay / "relay.toml", "--policy", POLICY, "--before")
    capsys.readouterr()
    for day, more, said, code in (
        ("soon", ("--yes",), "is no day", 3),
        ("2026-13-01", ("--yes",), "is no day", 3),
        (f"{datetime.now(UTC):%Y-%m-%d}", ("--yes",), "kept for 180 days at least", 1),
        ("2001-01-01", ("--yes",), "no message before 2001-01-01", 1),
        ("2001-01-01", (), "add --yes", 3),
    ):
        assert infoexchange_relay(*words, day, *more) == code
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n"), said in printed.err) == ("", 1, True), printed
    day = LONG_AGO + timedelta(days=1)
    assert infoexchange_relay(*words, f"{day:%Y-%m-%d}", "--yes", "--json") == 0
    assert {k: v for k, v in json.loads(capsys.readouterr().out).items() if k != "before"} == {
        "policy": POLICY, "erased": 6, "entry": 8
    }  # fmt: skip
    # The relay is as sound as before, and there is nothing more to erase.
    infoexchange_relay("check", "--config", relay / "relay.toml", "--json")
    checks = {check["check"]: check["passed"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["audit log"]
    assert infoexchange_relay(*words, f"{day:%Y-%m-%d}", "--yes") == 1
    assert "no message before" in capsys.readouterr().err
