"""Reconciling two logs: an honest exchange agrees, and each thing a relay could leave out or add is named."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange.audit import Routing, Subject
from infoexchange.errors import Reason, error
from infoexchange.ports import HomeRelay, Result
from infoexchange.reconciling import Kind, Reconciliation, Side, reconcile
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement
from reconciled import (
    TH,
    VN,
    again,
    compare,
    exchange,
    gone,
    logs,
    only,
    origin_of,
    place,
    records_of,
)

__all__ = ["compare", "exchange", "logs"]


def test_honest_logs_agree(compare, logs):
    found = compare(*logs)
    assert found.findings == ()
    assert found.matched == {(TH, VN): 5, (VN, TH): 1}  # four messages and a recall order; one message
    assert found.report.verdict is Verdict.TOTAL_PASSED
    assert {c.verdict for c in found.report.checks} == {Verdict.TOTAL_PASSED}


def test_a_relay_that_leaves_out_what_it_took_has_lost_it(compare, logs):
    th, vn = logs
    at = place(vn, Event.ACCEPTED)
    vn[at] = again(vn[at], subject={"envelope_digest": bytes(32)}, previous_relay="")
    found = compare(th, vn)
    assert only(found) == (Kind.LOST, Verdict.TOTAL_FAILED)
    assert found.findings[0].given == place(th, Event.FORWARDED)
    assert f"entry {at}, which tells something else" in found.findings[0].detail


def test_what_is_not_disclosed_is_never_passed(compare, logs):
    th, vn = logs
    at = place(vn, Event.ACCEPTED)
    hidden = [*vn[:at], None, *vn[at + 1 :]]
    found = compare(th, hidden)
    assert only(found) == (Kind.LOST, Verdict.INDETERMINATE)
    assert list(found.undisclosed[VN]) == [(at, at)]
    # Routing shown and message not: of a hand-over that is too little.
    half = replace(vn[at].entry, message=b"", salts=(vn[at].entry.salts[0], b"", b""))
    assert compare(th, [*vn[:at], replace(vn[at], entry=half), *vn[at + 1 :]]).report.verdict is Verdict.INDETERMINATE
    # Even where what is hidden has nothing to do with hand-overs.
    found = compare([None, *th[1:]], vn)
    assert (found.findings, found.report.verdict) == ((), Verdict.INDETERMINATE)


def test_everything_hidden_is_indeterminate(compare, logs):
    th, vn = logs
    found = compare([None] * len(th), [None] * len(vn))
    assert (found.report.verdict, found.findings) == (Verdict.INDETERMINATE, ())
    assert sum(found.matched.values()) == 0


def test_a_failure_weighs_more_than_what_is_hidden(compare, logs):
    th, vn = logs
    at = place(vn, Event.ACCEPTED)
    vn[at] = again(vn[at], subject={"envelope_digest": bytes(32)}, previous_relay="")
    vn[0] = None
    assert compare(th, vn).report.verdict is Verdict.TOTAL_FAILED


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (lambda ref: replace(ref, index=ref.index + 1), "it names entry"),
        (lambda ref: replace(ref, leaf_hash=bytes(32)), "it names entry"),
        (lambda ref: replace(ref, origin="other"), "of other"),
        (lambda ref: None, "it names none"),
    ],
)
def test_a_link_to_anything_else_is_a_failure(compare, logs, link, words):
    th, vn = logs
    at = place(th, Event.FORWARDED)
    th[at] = again(th[at], subject={"previous_entry": link(Subject.parse(th[at].entry.message).previous_entry)})
    found = compare(th, vn)
    assert only(found) == (Kind.UNLINKED, Verdict.TOTAL_FAILED)
    assert words in found.findings[0].detail


@pytest.mark.parametrize("event", [Event.ACCEPTED, Event.FORWARDED])
def test_what_is_logged_twice_is_a_failure(compare, logs, event):
    th, vn = logs
    log = vn if event is Event.ACCEPTED else th
    log.append(again(log[place(log, event)], index=len(log)))
    found = compare(th, vn)
    assert only(found) == (Kind.DUPLICATE, Verdict.TOTAL_FAILED)
    # Also where the other log has never heard of it.
    blank = [again(r, event=Event.QUEUED) if r.event is Event.FORWARDED else r for r in th]
    if event is Event.ACCEPTED:
        kinds = {f.kind for f in compare(blank, vn).findings}
        assert Kind.DUPLICATE in kinds


def test_taken_and_never_logged_as_handed_over(compare, logs):
    th, vn = logs
    unforwarded = gone(th, event=Event.QUEUED, next_relay="")
    assert only(compare(unforwarded, vn)) == (Kind.ONE_SIDED, Verdict.INDETERMINATE)  # may still be on its way
    later = Routing.parse(th[-1].entry.routing).logged_at + timedelta(days=100)
    longer = [*unforwarded, again(th[0], index=len(th), logged_at=later)]
    assert only(compare(longer, vn)) == (Kind.ONE_SIDED, Verdict.TOTAL_FAILED)
    assert only(compare([None, *longer[1:]], vn)) == (Kind.ONE_SIDED, Verdict.INDETERMINATE)


def test_what_an_earlier_log_of_the_giver_may_tell_is_left_open(compare, logs):
    """The giver's log of this half-year, or the one after a recovery, begins later than the taker's entry."""
    th, vn = logs
    taken = Routing.parse(vn[place(vn, Event.ACCEPTED)].entry.routing).logged_at
    for began, verdict in (
        (timedelta(minutes=-5), Verdict.TOTAL_FAILED),
        (timedelta(minutes=-4), Verdict.INDETERMINATE),
        (timedelta(days=1), Verdict.INDETERMINATE),
    ):
        first = again(th[0], index=0, logged_at=taken + began)
        last = again(th[0], index=1, logged_at=taken + timedelta(days=100))
        found = compare([first, last], vn)
        assert {f.verdict for f in found.findings if f.taken == place(vn, Event.ACCEPTED)} == {verdict}


@pytest.mark.parametrize(
    ("event", "verdict"),
    [
        (Event.EXPIRED, Verdict.INDETERMINATE),
        (Event.RECALLED, Verdict.INDETERMINATE),
        (Event.REFUSED, Verdict.TOTAL_FAILED),
    ],
)
def test_taken_while_the_giver_says_otherwise(compare, logs, event, verdict):
    th, vn = logs
    found = compare(gone(th, event=event), vn)
    assert only(found) == (Kind.ONE_SIDED, verdict)


def test_a_refused_recall_order_that_was_taken(compare, logs):
    th, vn = logs
    at = place(th, Event.RECALL_FORWARDED)
    for reason, verdict in ((31, Verdict.TOTAL_FAILED), (35, Verdict.INDETERMINATE)):
        changed = [again(r, event=Event.RECALL_FAILED, reason=reason) if r.index == at else r for r in th]
        assert only(compare(changed, vn)) == (Kind.ONE_SIDED, verdict)


def test_a_log_that_was_read_less_far_leaves_it_open(compare, logs):
    th, vn = logs
    found = compare(th, vn[: place(vn, Event.ACCEPTED)])
    assert {f.kind for f in found.findings} == {Kind.LOST, Kind.ONE_SIDED}
    assert found.report.verdict is Verdict.INDETERMINATE
    assert all("entries were compared" in f.detail for f in found.findings if f.kind is Kind.LOST)


def test_the_acceptance_may_stand_in_the_log_of_the_other_half_year(compare, logs):
    th, vn = logs
    at = place(th, Event.FORWARDED)
    link = Subject.parse(th[at].entry.message).previous_entry
    th[at] = again(th[at], subject={"previous_entry": replace(link, origin=f"{VN}/audit/2025h1")})
    digest = Subject.parse(th[at].entry.message).envelope_digest
    without = [r if Subject.parse(r.entry.message).envelope_digest != digest else None for r in vn]
    found = compare(th, without)
    assert [(f.kind, f.verdict) for f in found.findings] == [(Kind.LOST, Verdict.INDETERMINATE)]
    assert "was not compared" in found.findings[0].detail


class ForgetfulLine:
    """The way to another relay, on which the first answer to an envelope is lost."""

    def __init__(self, relay: HomeRelay, lost: list[bool]) -> None:
        self._relay = relay
        self._lost = lost

    def __getattr__(self, name: str) -> object:
        return getattr(self._relay, name)

    def submit(self, raws: Sequence[bytes]) -> Sequence[Result]:
        results = self._relay.submit(raws)
        if not self._lost:
            self._lost.append(True)
            raise error(Reason.UNAVAILABLE)
        return results


def test_a_lost_answer_is_no_false_alarm(monkeypatch):
    """The line breaks after the other relay has taken it: first open, and once the giver came again, agreed."""
    exchange = Exchange(AGENCIES)
    for name in (SENDER, RECIPIENT):
        exchange.mailbox(name)
    line, lost = exchange.line, []
    monkeypatch.setattr(exchange, "line", lambda caller, node: ForgetfulLine(line(caller, node), lost))

    def compared() -> Reconciliation:
        return reconcile(*(Side(r, origin_of(exchange, r), records_of(exchange, r)) for r in (TH, VN)))

    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    assert only(compared()) == (Kind.ONE_SIDED, Verdict.INDETERMINATE)
    exchange.clock.advance(timedelta(hours=2))
    exchange.forward()
    found = compared()
    assert only(found) == (Kind.LATE, Verdict.TOTAL_PASSED)
    assert found.matched == {(TH, VN): 1, (VN, TH): 0}


def test_a_giver_that_gave_up_is_no_false_alarm(monkeypatch):
    """The same, and the line stays down until the message has expired."""
    exchange = Exchange(AGENCIES)
    for name in (SENDER, RECIPIENT):
        exchange.mailbox(name)
    line = exchange.line
    monkeypatch.setattr(exchange, "line", lambda caller, node: ForgetfulLine(line(caller, node), []))
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    exchange.clock.advance(timedelta(days=20))
    exchange.expire()
    found = reconcile(*(Side(r, origin_of(exchange, r), records_of(exchange, r)) for r in (TH, VN)))
    assert only(found) == (Kind.ONE_SIDED, Verdict.INDETERMINATE)
    assert "says EXPIRED" in found.findings[0].detail


def test_no_copy_of_honest_logs_is_a_false_alarm(compare, logs):
    """However far each of two logs was copied, and whatever of them is hidden, nothing fails."""
    th, vn = logs
    for a in range(len(th) + 1):
        for b in range(a % 3, len(vn) + 1, 3):
            found = reconcile(Side(TH, "o/th", th[:a]), Side(VN, "o/vn", []))
            assert found.report.verdict is not Verdict.TOTAL_FAILED
            found = compare(th[:a], vn[:b])
            assert found.report.verdict is not Verdict.TOTAL_FAILED, (a, b)
    rng = random.Random(11)
    for _ in range(100):
        hidden = [[None if rng.random() < 0.2 else r for r in log] for log in (th, vn)]
        expected = Verdict.INDETERMINATE if None in hidden[0] + hidden[1] else Verdict.TOTAL_PASSED
        assert compare(*hidden).report.verdict is expected


def test_no_entry_of_a_hand_over_can_be_left_out(compare, logs):
    """Each of them, told as something else by its relay, is found; and so is each that is told twice."""
    th, vn = logs
    for mine, log in enumerate((th, vn)):
        for record in log:
            if record.event not in (Event.FORWARDED, Event.ACCEPTED, Event.RECALL_FORWARDED, Event.RECALL_ORDERED):
                continue
            said = Routing.parse(record.entry.routing)
            if not {said.previous_relay, said.next_relay} & {TH, VN}:
                continue  # an agency handed it over
            other = again(record, event=Event.QUEUED, next_relay="", previous_relay="")
            changed = [other if r is record else r for r in log]
            found = compare(changed, vn) if mine == 0 else compare(th, changed)
            assert [f.digest for f in found.findings] == [Subject.parse(record.entry.message).envelope_digest]
            assert found.report.verdict is not Verdict.TOTAL_PASSED
            twice = [*log, replace(record, index=len(log))]
            found = compare(twice, vn) if mine == 0 else compare(th, twice)
            assert only(found) == (Kind.DUPLICATE, Verdict.TOTAL_FAILED)
