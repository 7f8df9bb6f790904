"""Summary: numbers about a log, each traced to its entries, compared with counting by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import AGENCIES, RECIPIENT, SECOND, SENDER
from infoexchange import Draft
from infoexchange.audit import Entry, Routing, Subject
from infoexchange.errors import Reason
from infoexchange.ports import Record
from infoexchange.states import Event
from infoexchange.summary import Period, Waits, summarise
from infoexchange.testing import Exchange
from infoexchange.testing.clock import START
from messages import officer_acknowledgement

TH, VN = "relay.th.example", "relay.vn.example"
MINUTE = timedelta(minutes=1)


def nations(exchange: Exchange) -> dict[str, str]:
    return {p.name: p.nation for p in exchange.directory.listing.parties}


def records_of(exchange: Exchange, relay: str) -> list[Record | None]:
    store = exchange.nodes[relay].store
    return list(store.records(range(store.head().size)))


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    """Two messages, delivered after one and three minutes; one refused, one recalled, one expired."""
    exchange = Exchange(AGENCIES)
    for name in (SENDER, RECIPIENT, SECOND):
        exchange.mailbox(name)
    sender = exchange.mailbox(SENDER)
    sender.send(officer_acknowledgement(), to=[RECIPIENT, SECOND])
    exchange.clock.advance(MINUTE)
    for delivery in exchange.mailbox(RECIPIENT).receive():
        exchange.mailbox(RECIPIENT).acknowledge(delivery)
    exchange.clock.advance(2 * MINUTE)
    for delivery in exchange.mailbox(SECOND).receive():
        exchange.mailbox(SECOND).refuse(delivery, Reason.RULE_BROKEN)
    exchange.mailbox(RECIPIENT).send(officer_acknowledgement(), to=[SECOND, SENDER])
    recalled = sender.send(officer_acknowledgement(), to=[RECIPIENT])
    sender.recall(recalled.subject.envelope_digest)
    sender.send_all([Draft(officer_acknowledgement(), (RECIPIENT,))])
    exchange.clock.advance(timedelta(days=20))
    exchange.expire()
    return exchange


@pytest.fixture
def records(exchange: Exchange) -> list[Record | None]:
    return records_of(exchange, VN)


def places(records, test) -> list[int]:
    return [r.index for r in records if r and test(Routing.parse(r.entry.routing))]


def held(spans) -> list[int]:
    return [n for a, b in spans for n in range(a, b + 1)]


def test_every_number_names_its_entries(exchange, records):
    found = summarise(records, nations=nations(exchange))
    assert (found.size, held(found.counted)) == (len(records), list(range(len(records))))
    for event in Event:
        assert held(found.events.get(event.name, ())) == places(records, lambda said, e=event: said.event is e)
    accepted = places(records, lambda said: said.event is Event.ACCEPTED)
    for table in (found.precedences, found.statuses, found.senders):
        assert sorted(n for spans in table.values() for n in held(spans)) == accepted
    assert {name: spans.count for name, spans in found.pairs.items()} == {
        "th to vn": 3,
        "vn to vn": 1,
        "vn to th": 1,
    }
    assert set(found.precedences) == {"ROUTINE"}
    assert set(found.statuses) == {"EXERCISE"}
    assert {name: spans.count for name, spans in found.reasons.items()} == {
        "REFUSED: rule_broken": 1,
        "EXPIRED: expired": found.events["EXPIRED"].count,
    }
    assert (found.undisclosed.count, found.half.count, found.outside.count, found.backwards.count) == (0, 0, 0, 0)
    assert (found.first, found.last) == (START, START + 3 * MINUTE + timedelta(days=20))


def test_what_deserves_a_look_is_listed(exchange, records):
    found = summarise(records)
    for event in (Event.KEY_BUNDLE, Event.DIRECTORY_VERSION, Event.REFUSED, Event.RECALLED, Event.EXPIRED):
        listed = [o.index for o in found.listed(event)]
        assert listed == places(records, lambda said, e=event: said.event is e) != []
    assert [o.said.reason for o in found.listed(Event.REFUSED)] == [Reason.RULE_BROKEN]


def test_waits_run_from_acceptance_to_delivery(exchange, records):
    found = summarise(records)
    delivered, opened = found.waits["delivered"], found.waits["opened"]
    assert (len(delivered), len(opened), len(found.waits["handed on"])) == (2, 1, 1)
    for part, minutes in ((0.01, 1), (0.5, 1), (0.51, 3), (0.95, 3), (1.0, 3)):
        assert delivered.quantile(part).duration == minutes * MINUTE
    wait = delivered.quantile(0.95)
    assert [records[wait.accepted].event, records[wait.index].event] == [Event.ACCEPTED, Event.DELIVERED]
    assert held(delivered.spans) == places(records, lambda said: said.event is Event.DELIVERED)
    assert delivered.distribution([MINUTE, 2 * MINUTE]) == [0, 1, 1]
    # Without the acceptance nothing is timed, and that is said.
    at = wait.accepted
    found = summarise([*records[:at], None, *records[at + 1 :]])
    assert (len(found.waits["delivered"]), found.waits["delivered"].unknown.count) == (0, 2)


def test_a_period_begins_and_ends(exchange, records):
    times = {r.index: Routing.parse(r.entry.routing).logged_at for r in records}
    start, end = START + MINUTE, START + 3 * MINUTE
    found = summarise(records, Period(start, end))
    inside = [n for n, at in times.items() if start <= at < end]
    assert held(found.counted) == inside != []
    assert held(found.outside) == [n for n in times if n not in inside]
    # Timed from an acceptance before the period.
    assert found.waits["delivered"].quantile(0.5).duration == MINUTE
    assert start in Period()
    assert "noon" not in Period()


def test_hidden_entries_belong_to_the_period_unless_their_neighbours_do_not(records):
    times = [Routing.parse(r.entry.routing).logged_at for r in records]
    start, end = START + MINUTE, START + 2 * MINUTE
    inside = [n for n, at in enumerate(times) if start <= at < end]
    first, last = inside[0], inside[-1]
    for hidden, counts in ((first - 2, False), (first - 1, True), (first, True), (last + 1, True), (last + 2, False)):
        shown = [*records[:hidden], None, *records[hidden + 1 :]]
        found = summarise(shown, Period(start, end))
        assert (hidden in found.undisclosed) == counts, hidden
        assert (hidden in found.outside) != counts
    assert held(summarise([None] * 5, Period(start, end)).undisclosed) == [0, 1, 2, 3, 4]
    assert summarise([]).size == 0


def test_routing_without_message_is_counted_and_not_timed(records):
    half = [replace(r, entry=replace(r.entry, message=b"", salts=(r.entry.salts[0], b"", b""))) for r in records]
    found = summarise(half)
    assert found.events == summarise(records).events
    assert found.half == found.counted
    assert [len(waits) for waits in found.waits.values()] == [0, 0, 0]


def test_a_nation_counts_what_concerns_it(exchange, records):
    every = summarise(records, nations=nations(exchange))
    found = summarise(records, nation="th", nations=nations(exchange))
    assert {name: spans.count for name, spans in found.pairs.items()} == {"th to vn": 3, "vn to vn": 1, "vn to th": 1}
    assert found.events["LOG_GENESIS"] == every.events["LOG_GENESIS"]
    assert found.events["KEY_BUNDLE"].count < every.events["KEY_BUNDLE"].count
    nobody = summarise(records, nation="sg", nations=nations(exchange))
    assert set(nobody.events) == {"LOG_GENESIS", "DIRECTORY_VERSION"}
    assert set(summarise(records).pairs) == {"th to ?", "vn to ?"}


def test_a_clock_that_was_set_back_is_seen(records):
    said = Routing.parse(records[-1].entry.routing)
    entry = Entry.make(replace(said, logged_at=said.logged_at - timedelta(hours=1), reason=999), Subject())
    found = summarise([*records, replace(records[-1], index=len(records), entry=entry)])
    assert held(found.backwards) == [len(records)]
    assert f"{said.event.name}: number 999" in found.reasons


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(1, 100))
def test_quantiles_are_the_nearest_rank(durations, percent):
    waits = Waits()
    for place, us in enumerate(durations):
        waits.add(timedelta(microseconds=us), 0, place)
    found = waits.quantile(percent / 100).duration // timedelta(microseconds=1)
    assert found in durations
    assert sum(us <= found for us in durations) * 100 >= percent * len(durations)
    assert sum(us < found for us in durations) * 100 < percent * len(durations)
    assert sum(waits.distribution([timedelta(seconds=1), timedelta(minutes=1)])) == len(durations)


def test_old_messages_are_forgotten(records):
    """What nothing follows any more takes no memory."""
    from infoexchange import summary

    work = summary._Work(summary.Summary(Period(), ""), {}.get)
    template = next(r for r in records if r.event is Event.ACCEPTED)
    said = Routing.parse(template.entry.routing)
    for n in range(300):
        at = said.logged_at + timedelta(days=n)
        entry = Entry.make(
            replace(said, logged_at=at, expires_at=at + timedelta(days=1)),
            Subject(envelope_digest=n.to_bytes(32, "big")),
        )
        work.take(n, replace(template, index=n, entry=entry))
    assert len(work._accepted) <= 32
