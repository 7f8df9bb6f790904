"""Two relays that handed things to each other, and their logs as either could have told them instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import AGENCIES, RECIPIENT, SECOND, SENDER
from infoexchange.audit import Entry, EntryRef, Routing, Subject
from infoexchange.ports import Record
from infoexchange.reconciling import Kind, Reconciliation, Side, reconcile
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement

TH, VN = "relay.th.example", "relay.vn.example"
Records = list[Record | None]


def records_of(exchange: Exchange, relay: str) -> Records:
    store = exchange.nodes[relay].store
    return list(store.records(range(store.head().size)))


def origin_of(exchange: Exchange, relay: str) -> str:
    return exchange.community.log_keys[relay].origin


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    """Three messages from Thailand, one back, and one recalled."""
    exchange = Exchange(AGENCIES)
    for name in (SENDER, RECIPIENT, SECOND):
        exchange.mailbox(name)
    sender = exchange.mailbox(SENDER)
    exchange.clock.advance(timedelta(minutes=10))
    for _ in range(3):
        sender.send(officer_acknowledgement(), to=[RECIPIENT, SECOND])
        exchange.clock.advance(timedelta(minutes=1))
    for delivery in exchange.mailbox(RECIPIENT).receive():
        exchange.mailbox(RECIPIENT).acknowledge(delivery)
    exchange.mailbox(RECIPIENT).send(officer_acknowledgement(), to=[SENDER])
    last = sender.send(officer_acknowledgement(), to=[RECIPIENT])
    sender.recall(last.subject.envelope_digest)
    return exchange


@pytest.fixture
def logs(exchange: Exchange) -> tuple[Records, Records]:
    return records_of(exchange, TH), records_of(exchange, VN)


@pytest.fixture
def compare(exchange: Exchange) -> Callable[..., Reconciliation]:
    def compare(th: Sequence[Record | None], vn: Sequence[Record | None], **settings: timedelta) -> Reconciliation:
        sides = Side(TH, origin_of(exchange, TH), th), Side(VN, origin_of(exchange, VN), vn)
        found, back = reconcile(*sides, **settings), reconcile(*sides[::-1], **settings)
        assert found.matched == back.matched
        assert sorted(map(repr, found.findings)) == sorted(map(repr, back.findings))
        return found

    return compare


def place(records: Records, event: Event, nth: int = 0) -> int:
    return [r.index for r in records if r and r.event is event][nth]


def again(
    record: Record, index: int | None = None, subject: dict[str, object] | None = None, **routing: object
) -> Record:
    """The record with other values, as a relay could have logged it instead."""
    said = replace(Routing.parse(record.entry.routing), **routing)
    about = replace(Subject.parse(record.entry.message), **(subject or {}))
    at = record.index if index is None else index
    return replace(record, index=at, entry=Entry.make(said, about), event=said.event)


def relinked(records: Records, other: Records, origin: str) -> Records:
    """The giver's records with links to what the taker's log now holds."""
    found: Records = []
    taken = {Subject.parse(r.entry.message).envelope_digest: r for r in other if r and r.event is Event.ACCEPTED}
    for record in records:
        if record and record.event is Event.FORWARDED:
            target = taken[Subject.parse(record.entry.message).envelope_digest]
            record = again(record, subject={"previous_entry": EntryRef(origin, target.index, target.entry.leaf_hash)})
        found.append(record)
    return found


def only(found: Reconciliation) -> tuple[Kind, Verdict]:
    [finding] = found.findings
    assert found.report.verdict is finding.verdict
    return finding.kind, finding.verdict


def gone(records: Records, **changes: object) -> Records:
    """The giver's log without its first hand-over: the entry says something else."""
    at = place(records, Event.FORWARDED)
    return [again(r, **changes) if r.index == at else r for r in records]


def only_words(found: Reconciliation) -> tuple[Kind, Verdict, str]:
    [finding] = found.findings
    return finding.kind, finding.verdict, finding.detail
