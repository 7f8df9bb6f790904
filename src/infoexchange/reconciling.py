"""Reconciling: whether two relays' logs tell the same of what passed between them (SPEC section Reconciliation).

A relay that hands something over logs FORWARDED with a link to the entry of the relay that took it, which logged
ACCEPTED before. A log in which one of the two is missing, doubled or linked to something else is found by comparing it
with the other log, and in no other way.

Memory grows with the number of hand-overs between the two relays, by some 260 bytes each, and not with the logs.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infoexchange.audit import EntryRef, Routing, Subject
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.errors import Reason
from infoexchange.ports import Record
from infoexchange.spans import Spans
from infoexchange.states import Event
from infoexchange.verdict import Check, Report, Verdict

# Specification constants
LATE = timedelta(hours=1)  # a receipt is logged when it comes; an hour is a line that was down, and worth a look

# What is handed over, how the giver logs it, and how the taker does.
_KINDS = {Event.FORWARDED: Event.ACCEPTED, Event.RECALL_FORWARDED: Event.RECALL_ORDERED}
_TAKEN = frozenset(_KINDS.values())
_REFUSALS = frozenset({Event.REFUSED, Event.RECALL_FAILED})
_ENDS = _REFUSALS | frozenset({Event.EXPIRED, Event.RECALLED, Event.UNDELIVERABLE})

Key = tuple[Event, bytes, bytes]  # event at the giver, envelope, recall order


class Kind(enum.Enum):
    """What can be wrong with a hand-over; the value says it in words."""

    LOST = "handed over, and not in the log of who took it"
    UNLINKED = "the giver names another entry than the taker's"
    DUPLICATE = "logged more than once"
    ONE_SIDED = "taken, and not logged as handed over"
    LATE = "logged late, or taken after it had expired"
    CLOCKS = "handed over before it was taken, by the two clocks"


@dataclass(frozen=True)
class Side:
    """One relay's log: `records` in log order from entry 0 on, nothing in the place of what is not disclosed."""

    relay: str
    origin: str
    records: Iterable[Record | None] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One hand-over that is not as it should be.

    Attributes:
        kind: What is wrong.
        verdict: TOTAL_FAILED, INDETERMINATE, or TOTAL_PASSED where it only deserves a look.
        giver: Name of the relay that handed over.
        taker: Name of the relay that took.
        digest: Envelope it is about.
        given: Entry in the giver's log.
        taken: Entry in the taker's log.
        detail: One clause for a person.
    """

    kind: Kind
    verdict: Verdict
    giver: str
    taker: str
    digest: bytes
    given: int | None = None
    taken: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Reconciliation:
    """What comparing two logs gave.

    Attributes:
        matched: Hand-overs that both logs tell in the same way, by (giver, taker).
        findings: All others, and those that deserve a look.
        undisclosed: By relay, entries of which too little is shown to compare them.
        sizes: By relay, entries read.
    """

    matched: dict[tuple[str, str], int]
    findings: tuple[Finding, ...]
    undisclosed: dict[str, Spans]
    sizes: dict[str, int]

    @property
    def report(self) -> Report:
        """The findings summed up; undisclosed records make it INDETERMINATE unless something failed."""
        checks = []
        for relay, spans in self.undisclosed.items():
            name, size = f"records of {relay} disclosed", self.sizes[relay]
            if spans:
                detail = f"{spans.count} of {size} entries: {spans.text(8)}"
                checks.append(Check(name, Verdict.INDETERMINATE, "not disclosed", detail))
            else:
                checks.append(Check(name, Verdict.TOTAL_PASSED, "", f"all {size} entries"))
        for (giver, taker), count in self.matched.items():
            told = f"{count} told alike by both logs"
            for kind in Kind:
                about = [f for f in self.findings if (f.giver, f.taker, f.kind) == (giver, taker, kind)]
                worst = Report(tuple(Check("", f.verdict) for f in about)).verdict
                reason = kind.name.lower().replace("_", "-") if worst is not Verdict.TOTAL_PASSED else ""
                detail = f"{len(about)} {kind.value}; {told}" if about else told
                checks.append(Check(f"{giver} to {taker}: {_QUESTIONS[kind]}", worst, reason, detail))
        return Report(tuple(checks))


_QUESTIONS = {
    Kind.LOST: "nothing lost",
    Kind.UNLINKED: "linked to each other",
    Kind.DUPLICATE: "nothing doubled",
    Kind.ONE_SIDED: "nothing one-sided",
    Kind.LATE: "in time",
    Kind.CLOCKS: "clocks agree",
}


@dataclass(frozen=True, slots=True)
class _Given:
    index: int
    at: datetime
    link: EntryRef | None


@dataclass(frozen=True, slots=True)
class _Taken:
    index: int
    at: datetime
    leaf_hash: bytes
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Ended:
    index: int
    event: Event
    refused: bool  # by the taker, which then has not taken it


def reconcile(a: Side, b: Side, *, late: timedelta = LATE) -> Reconciliation:
    """Return what the logs of two relays tell of the hand-overs between them, in both directions.

    That a log is whole and signed, and each record what its leaf commits to, is the caller's to check first.

    Args:
        a: One log.
        b: The other.
        late: From how long on a receipt was logged late, and an end should have been logged.
    """
    readers = (_Reader(a), _Reader(b))
    ways = (_Way(readers[0], readers[1], late), _Way(readers[1], readers[0], late))
    for reader, record in _by_time(*readers):
        reader.take(record, *(ways if reader is readers[0] else ways[::-1]))
    for way in ways:
        way.finish()
    return Reconciliation(
        {(way.giver.side.relay, way.taker.side.relay): way.matched for way in ways},
        tuple(finding for way in ways for finding in way.findings),
        {reader.side.relay: reader.undisclosed for reader in readers},
        {reader.side.relay: reader.size for reader in readers},
    )


@dataclass
class _Reader:
    """How far one log was read."""

    side: Side
    size: int = 0
    undisclosed: Spans = field(default_factory=Spans)
    first: datetime | None = None
    last: datetime | None = None

    def take(self, record: Record | None, giving: _Way, taking: _Way) -> None:
        """Read the next record, which may give on one way and take on the other."""
        index, self.size = self.size, self.size + 1
        if record is None or not record.entry.salts[0]:
            self.undisclosed.add(index)
            return
        said = Routing.parse(record.entry.routing)
        self.first = self.first or said.logged_at
        self.last = max(self.last or said.logged_at, said.logged_at)
        peer = taking.giver.side.relay
        is_given = said.next_relay == peer and (said.event in _KINDS or said.event in _ENDS)
        is_taken = said.previous_relay == peer and said.event in _TAKEN
        if not (is_given or is_taken):
            return
        if not record.entry.salts[1]:
            self.undisclosed.add(index)
            return
        subject = Subject.parse(record.entry.message)
        if is_taken:
            kind = next(given for given, taken in _KINDS.items() if taken is said.event)
            key = _key(kind, subject)
            taking.take(key, _Taken(index, said.logged_at, record.entry.leaf_hash, said.expires_at))
        elif said.event in _ENDS:
            kind = Event.RECALL_FORWARDED if said.event is Event.RECALL_FAILED else Event.FORWARDED
            refused = said.event in _REFUSALS and said.reason != Reason.EXPIRED
            giving.end(_key(kind, subject), _Ended(index, said.event, refused))
        else:
            giving.give(_key(said.event, subject), _Given(index, said.logged_at, subject.previous_entry))


def _key(event: Event, subject: Subject) -> Key:
    order = subject.statement_digest if event is Event.RECALL_FORWARDED else b""
    return event, subject.envelope_digest, order


class _Way:
    """The hand-overs from one relay to the other: what is open, and what was settled."""

    def __init__(self, giver: _Reader, taker: _Reader, late: timedelta) -> None:
        self.giver = giver
        self.taker = taker
        self.matched = 0
        self.findings: list[Finding] = []
        self._late = late
        self._given: dict[Key, _Given] = {}
        self._taken: dict[Key, _Taken] = {}
        self._ends: dict[Key, _Ended] = {}
        self._settled: set[Key] = set()

    def give(self, key: Key, given: _Given) -> None:
        # (1) each hand-over stands once in the giver's log
        if key in self._given or key in self._settled:
            self._add(Kind.DUPLICATE, Verdict.TOTAL_FAILED, key, given=given.index, detail="in the giver's log")
        elif taken := self._taken.pop(key, None):
            self._settle(key, given, taken)
        else:
            self._given[key] = given

    def take(self, key: Key, taken: _Taken) -> None:
        # (2) and once in the taker's
        if key in self._taken or key in self._settled:
            self._add(Kind.DUPLICATE, Verdict.TOTAL_FAILED, key, taken=taken.index, detail="in the taker's log")
        elif given := self._given.pop(key, None):
            self._settle(key, given, taken)
        else:
            self._taken[key] = taken

    def end(self, key: Key, ended: _Ended) -> None:
        """Remember that the giver says it was not handed over after all."""
        self._ends.setdefault(key, ended)

    def _settle(self, key: Key, given: _Given, taken: _Taken) -> None:
        """Compare the two entries of one hand-over."""
        self._settled.add(key)
        both = {"given": given.index, "taken": taken.index}
        # (3) the giver's entry names the taker's
        if given.link != EntryRef(self.taker.side.origin, taken.index, taken.leaf_hash):
            named = f"it names entry {given.link.index} of {given.link.origin}" if given.link else "it names none"
            self._add(Kind.UNLINKED, Verdict.TOTAL_FAILED, key, **both, detail=named)
            return
        self.matched += 1
        # (4) times, which are claims: late is worth a look, and the impossible says that a clock is wrong
        if given.at + CLOCK_SKEW < taken.at:
            detail = f"{(taken.at - given.at).total_seconds():.0f} seconds"
            self._add(Kind.CLOCKS, Verdict.INDETERMINATE, key, **both, detail=detail)
        elif given.at - taken.at > self._late:
            detail = f"the receipt was logged {given.at - taken.at} after it was made"
            self._add(Kind.LATE, Verdict.TOTAL_PASSED, key, **both, detail=detail)
        elif taken.expires_at and taken.at > taken.expires_at + CLOCK_SKEW:
            detail = f"taken {taken.at - taken.expires_at} after it had expired"
            self._add(Kind.LATE, Verdict.TOTAL_PASSED, key, **both, detail=detail)

    def finish(self) -> None:
        """Judge what only one log tells."""
        for key, given in self._given.items():
            # (5) what was handed over is in the taker's log, as far as that is shown
            verdict, detail = self._lost(given.link)
            self._add(Kind.LOST, verdict, key, given=given.index, detail=detail)
        for key, taken in self._taken.items():
            # (6) what was taken is in the giver's log, once that has come so far
            verdict, detail = self._one_sided(key, taken)
            self._add(Kind.ONE_SIDED, verdict, key, taken=taken.index, detail=detail)

    def _lost(self, link: EntryRef | None) -> tuple[Verdict, str]:
        taker = self.taker
        if link is None:
            return Verdict.TOTAL_FAILED, "it names no entry of the taker"
        if link.origin != taker.side.origin:
            return Verdict.INDETERMINATE, f"it names entry {link.index} of {link.origin}, which was not compared"
        if link.index >= taker.size:
            return Verdict.INDETERMINATE, f"it names entry {link.index}, and {taker.size} entries were compared"
        if link.index in taker.undisclosed:
            return Verdict.INDETERMINATE, f"it names entry {link.index}, which is not disclosed"
        return Verdict.TOTAL_FAILED, f"it names entry {link.index}, which tells something else"

    def _one_sided(self, key: Key, taken: _Taken) -> tuple[Verdict, str]:
        giver = self.giver
        ended = self._ends.get(key)
        if ended and ended.refused:
            return Verdict.TOTAL_FAILED, f"the giver's entry {ended.index} says that it was refused"
        if ended:  # the answer was lost, and the giver never learnt that it had arrived
            return Verdict.INDETERMINATE, f"the giver's entry {ended.index} says {ended.event.name}"
        if giver.undisclosed:
            return Verdict.INDETERMINATE, "not all of the giver's entries are disclosed"
        if giver.first and taken.at < giver.first + CLOCK_SKEW:
            return Verdict.INDETERMINATE, "it was taken before the giver's log began, so an earlier log may tell"
        if giver.last is None or taken.expires_at is None or giver.last < taken.expires_at + CLOCK_SKEW + self._late:
            return Verdict.INDETERMINATE, "it may still be on its way to the giver's log"
        return Verdict.TOTAL_FAILED, "the giver's log goes on behind its end and tells neither"

    def _add(
        self,
        kind: Kind,
        verdict: Verdict,
        key: Key,
        *,
        detail: str,
        given: int | None = None,
        taken: int | None = None,
    ) -> None:
        finding = Finding(
            kind=kind,
            verdict=verdict,
            giver=self.giver.side.relay,
            taker=self.taker.side.relay,
            digest=key[1],
            given=given,
            taken=taken,
            detail=detail,
        )
        self.findings.append(finding)


def _by_time(*readers: _Reader) -> Iterator[tuple[_Reader, Record | None]]:
    """Yield the records of all logs, next from the one that is behind in time, so that little stays open."""
    streams = deque((reader, iter(reader.side.records)) for reader in readers)
    while streams:
        streams = deque(sorted(streams, key=lambda s: (s[0].last is not None, s[0].last)))
        reader, stream = streams[0]
        try:
            record = next(stream)
        except StopIteration:
            streams.popleft()
            continue
        yield reader, record
