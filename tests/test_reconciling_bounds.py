"""Reconciling two logs: from which moment on, in which words, and in how much memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import timedelta
from itertools import chain

from infoexchange.audit import Entry, EntryRef, Routing
from infoexchange.reconciling import LATE, Kind, Side, reconcile
from infoexchange.states import Event
from infoexchange.verdict import Verdict
from reconciled import (
    TH,
    VN,
    again,
    compare,
    exchange,
    gone,
    logs,
    only,
    only_words,
    origin_of,
    place,
    relinked,
)

__all__ = ["compare", "exchange", "logs"]


def test_times(compare, exchange, logs):
    th, vn = logs
    at = place(th, Event.FORWARDED)
    logged = Routing.parse(th[at].entry.routing).logged_at
    for shift, expected in (
        (LATE + timedelta(seconds=1), (Kind.LATE, Verdict.TOTAL_PASSED)),
        (-timedelta(minutes=5, seconds=1), (Kind.CLOCKS, Verdict.INDETERMINATE)),
    ):
        changed = [again(r, logged_at=logged + shift) if r.index == at else r for r in th]
        assert only(compare(changed, vn)) == expected
    for shift in (timedelta(0), LATE, -timedelta(minutes=5)):
        changed = [again(r, logged_at=logged + shift) if r.index == at else r for r in th]
        assert compare(changed, vn).findings == ()
    assert compare(th, vn, late=timedelta(0)).findings == ()
    # Taken after its end: the taker should have refused it.
    expired = [again(r, expires_at=logged - timedelta(minutes=6)) if r.event is Event.ACCEPTED else r for r in vn]
    found = compare(relinked(th, expired, origin_of(exchange, VN)), expired)
    assert {f.kind for f in found.findings if f.giver == TH} == {Kind.LATE}


def test_memory_is_that_of_the_hand_overs(exchange, logs):
    """A long log of other things takes no more room than a short one."""

    def peak(filling: int) -> int:
        th, vn = logs
        other = again(th[place(th, Event.ACCEPTED)])
        stretched = chain(th, (replace(other, index=len(th) + n) for n in range(filling)))
        tracemalloc.start()
        reconcile(Side(TH, origin_of(exchange, TH), stretched), Side(VN, origin_of(exchange, VN), vn))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)
    assert peak(5000) < peak(10) + 20_000


def test_the_report_says_what_was_found_in_which_direction(compare, logs):
    th, vn = logs
    at = place(vn, Event.ACCEPTED)
    vn[at] = again(vn[at], subject={"envelope_digest": bytes(32)}, previous_relay="")
    erased = replace(th[0], entry=Entry(b"", b"", b"", (b"", b"", b"")))
    found = compare([erased, *th[1:]], vn)
    there, back = f"{TH} to {VN}", f"{VN} to {TH}"
    told = [(c.name, c.verdict, c.reason, c.detail) for c in found.report.checks]
    passed = ["nothing lost", "linked to each other", "nothing doubled", "nothing one-sided", "in time", "clocks agree"]
    assert told == [
        (f"records of {TH} disclosed", Verdict.INDETERMINATE, "not disclosed", f"1 of {len(th)} entries: 0"),
        (f"records of {VN} disclosed", Verdict.TOTAL_PASSED, "", f"all {len(vn)} entries"),
        (
            f"{there}: nothing lost",
            Verdict.TOTAL_FAILED,
            "lost",
            "1 handed over, and not in the log of who took it; 4 told alike by both logs",
        ),
        *((f"{there}: {what}", Verdict.TOTAL_PASSED, "", "4 told alike by both logs") for what in passed[1:]),
        *((f"{back}: {what}", Verdict.TOTAL_PASSED, "", "1 told alike by both logs") for what in passed),
    ]


def test_each_kind_has_its_words():
    assert {kind.name: kind.value for kind in Kind} == {
        "LOST": "handed over, and not in the log of who took it",
        "UNLINKED": "the giver names another entry than the taker's",
        "DUPLICATE": "logged more than once",
        "ONE_SIDED": "taken, and not logged as handed over",
        "LATE": "logged late, or taken after it had expired",
        "CLOCKS": "handed over before it was taken, by the two clocks",
    }


def test_the_moment_from_which_an_end_is_missing(compare, logs):
    """An hour and five minutes after the message has ended, its giver should have logged how."""
    th, vn = logs
    unforwarded = gone(th, event=Event.QUEUED, next_relay="")
    ends = Routing.parse(vn[place(vn, Event.ACCEPTED)].entry.routing).expires_at
    for after, verdict, words in (
        (LATE + timedelta(minutes=5), Verdict.TOTAL_FAILED, "the giver's log goes on behind its end and tells neither"),
        (
            LATE + timedelta(minutes=5, microseconds=-1),
            Verdict.INDETERMINATE,
            "it may still be on its way to the giver's log",
        ),
    ):
        longer = [*unforwarded, again(th[0], index=len(th), logged_at=ends + after)]
        assert only_words(compare(longer, vn)) == (Kind.ONE_SIDED, verdict, words)


def test_the_moment_from_which_nobody_may_take(compare, exchange, logs):
    th, vn = logs
    at = place(vn, Event.ACCEPTED)
    taken = Routing.parse(vn[at].entry.routing).logged_at
    for before, late in ((timedelta(minutes=5), []), (timedelta(minutes=5, milliseconds=1), [Kind.LATE])):
        changed = [again(r, expires_at=taken - before) if r.index == at else r for r in vn]
        found = compare(relinked(th, changed, origin_of(exchange, VN)), changed)
        assert [f.kind for f in found.findings] == late


def test_a_hand_over_that_names_no_entry_is_lost(compare, logs):
    th, vn = logs
    at = place(vn, Event.ACCEPTED)
    vn[at] = again(vn[at], subject={"envelope_digest": bytes(32)}, previous_relay="")
    at = place(th, Event.FORWARDED)
    th[at] = again(th[at], subject={"previous_entry": None})
    assert only_words(compare(th, vn)) == (Kind.LOST, Verdict.TOTAL_FAILED, "it names no entry of the taker")


def test_findings_are_told_in_whole_sentences(compare, exchange, logs):
    th, vn = logs
    given, taken = place(th, Event.FORWARDED), place(vn, Event.ACCEPTED)
    origin = origin_of(exchange, VN)
    elsewhere = again(vn[taken], subject={"envelope_digest": bytes(32)}, previous_relay="")
    other = [elsewhere if r.index == taken else r for r in vn]
    named = f"it names entry {taken}"
    assert only_words(compare(th, other))[2] == f"{named}, which tells something else"
    hidden = [None if r.index == taken else r for r in vn]
    assert only_words(compare(th, hidden))[2] == f"{named}, which is not disclosed"
    refused = gone(th, event=Event.REFUSED)
    assert only_words(compare(refused, vn))[2] == f"the giver's entry {given} says that it was refused"
    expired = gone(th, event=Event.EXPIRED)
    assert only_words(compare(expired, vn))[2] == f"the giver's entry {given} says EXPIRED"
    none = gone(th, event=Event.FORWARDED, subject={"previous_entry": None})
    assert only_words(compare(none, vn))[2] == "it names none"
    link = EntryRef(origin, taken + 1, bytes(32))
    assert only_words(compare(gone(th, subject={"previous_entry": link}), vn))[2] == (
        f"it names entry {taken + 1} of {origin}"
    )
    unforwarded = gone(th, event=Event.QUEUED, next_relay="")
    assert only_words(compare([None, *unforwarded[1:]], vn))[2] == "not all of the giver's entries are disclosed"
