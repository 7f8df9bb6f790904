"""Summary: what a relay's log tells of a period, in numbers, each with the entries it rests on.

One pass over the records. Memory grows with the ranges of entries that the numbers rest on, and with the messages that
were under way at one time; not with what the entries say.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infoexchange.audit import Operation, Routing, Subject
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.errors import Reason
from infoexchange.ports import Record
from infoexchange.spans import Spans
from infoexchange.states import Event, OpStatus, Precedence

# Implementation constants
_LATEST = timedelta(days=30)  # after the end of a message: whoever acknowledges later is not timed
_STEPS = {Event.FORWARDED: "handed on", Event.DELIVERED: "delivered", Event.OPENED: "opened"}
OF_KEYS = (Event.KEY_BUNDLE,)
OF_DIRECTORY = (Event.DIRECTORY_VERSION,)
OF_RECALLS = (Event.RECALL_ORDERED, Event.RECALL_FORWARDED, Event.RECALL_FAILED, Event.RECALLED)
OF_SETTINGS = (Event.CONFIG_CHANGE,)
OF_ENDS = (Event.EXPIRED, Event.UNDELIVERABLE)
# Entries that an auditor wants to see one by one.
LISTED = frozenset(
    {
        *OF_KEYS,
        *OF_DIRECTORY,
        *OF_SETTINGS,
        *OF_RECALLS,
        *OF_ENDS,
        Event.REFUSED,
        Event.RECOVERY,
        Event.AUDIT_DISCLOSURE,
    }
)

Table = dict[str, Spans]
"""Entries by the name of what they have in common."""


@dataclass(frozen=True)
class Period:
    """From one time on, and before another; nothing leaves that end open."""

    start: datetime | None = None
    end: datetime | None = None

    def __contains__(self, at: object) -> bool:
        if not isinstance(at, datetime):
            return False
        return (self.start is None or at >= self.start) and (self.end is None or at < self.end)


@dataclass(frozen=True)
class Wait:
    """How long something took, from the entry ACCEPTED to a later one of the same message."""

    duration: timedelta
    accepted: int
    index: int


class Waits:
    """All such times of one kind; each can be traced to its two entries."""

    def __init__(self) -> None:
        """Start with none."""
        self._us, self._accepted, self._index = array("q"), array("Q"), array("Q")
        self.unknown = Spans()
        """Entries of messages whose acceptance this log does not show."""

    def add(self, duration: timedelta, accepted: int, index: int) -> None:
        """Add one."""
        self._us.append(duration // timedelta(microseconds=1))
        self._accepted.append(accepted)
        self._index.append(index)

    def __len__(self) -> int:
        """Return how many were measured."""
        return len(self._us)

    def quantile(self, part: float) -> Wait:
        """Return the shortest of all that `part` of them do not exceed, such as 0.5 for the median (nearest rank).

        Raises:
            IndexError: None were measured.
        """
        order = self._order
        rank = max(1, -(-len(order) * round(part * 10_000) // 10_000))
        at = order[rank - 1]
        return Wait(timedelta(microseconds=self._us[at]), self._accepted[at], self._index[at])

    @property
    def _order(self) -> list[int]:
        return sorted(range(len(self._us)), key=self._us.__getitem__)

    @property
    def spans(self) -> Spans:
        """Entries that ended a wait."""
        return Spans(self._index)

    def distribution(self, bounds: Iterable[timedelta]) -> list[int]:
        """Return how many took less than the first bound, how many more less than each next, and how many longer."""
        limits = [bound // timedelta(microseconds=1) for bound in bounds]
        found = [0] * (len(limits) + 1)
        for us in self._us:
            found[next((place for place, limit in enumerate(limits) if us < limit), len(limits))] += 1
        return found


@dataclass(frozen=True)
class Occurrence:
    """An entry that is shown by itself."""

    index: int
    said: Routing
    subject: Subject | None
    operation: Operation | None = None


@dataclass
class Summary:
    """What the records of a period tell. Tables count entries; those of messages count entries ACCEPTED.

    Attributes:
        period: Which was asked for.
        nation: Whose entries were counted; empty for all.
        size: Entries read.
        counted: Entries counted.
        outside: Entries of another time or of other nations.
        undisclosed: Entries of which nothing is shown; whether they belong to the period nobody can tell, but for those
            that stand between entries before it, or after it.
        half: Entries whose group "message" is not shown: they are counted, but not timed.
        backwards: Entries logged more than five minutes before the one in front of them: a clock was set back.
        first: Time of the first entry counted.
        last: Time of the last entry counted.
        events: By event.
        days: By day, in UTC.
        reasons: By event and reason.
        senders: By the sending agency.
        pairs: Messages by sending and receiving nation.
        precedences: Messages by precedence.
        statuses: Messages by status.
        waits: How long messages took, by step.
        neighbours: By the neighbour whose checkpoint was seen.
        seen: Hours since 1970 in which that was, by neighbour.
        occurrences: Entries that are shown by themselves.
    """

    period: Period
    nation: str
    size: int = 0
    counted: Spans = field(default_factory=Spans)
    outside: Spans = field(default_factory=Spans)
    undisclosed: Spans = field(default_factory=Spans)
    half: Spans = field(default_factory=Spans)
    backwards: Spans = field(default_factory=Spans)
    first: datetime | None = None
    last: datetime | None = None
    events: Table = field(default_factory=dict)
    days: Table = field(default_factory=dict)
    reasons: Table = field(default_factory=dict)
    senders: Table = field(default_factory=dict)
    pairs: Table = field(default_factory=dict)
    precedences: Table = field(default_factory=dict)
    statuses: Table = field(default_factory=dict)
    waits: dict[str, Waits] = field(default_factory=lambda: {step: Waits() for step in _STEPS.values()})
    neighbours: Table = field(default_factory=dict)
    seen: dict[str, set[int]] = field(default_factory=dict)
    occurrences: list[Occurrence] = field(default_factory=list)

    @property
    def hours(self) -> int:
        """Hours of the clock from the first entry counted to the last, both included."""
        return _hour(self.last) - _hour(self.first) + 1 if self.first and self.last else 0

    def listed(self, *events: Event) -> list[Occurrence]:
        """Return the entries of some events that are shown by themselves."""
        return [occurrence for occurrence in self.occurrences if occurrence.said.event in events]


def summarise(
    records: Iterable[Record | None],
    period: Period = Period(),  # frozen
    *,
    nation: str = "",
    nations: Mapping[str, str] | None = None,
) -> Summary:
    """Return the summary of a log.

    That the log is whole and signed, and each record what its leaf commits to, is the caller's to check first.

    Args:
        records: In log order from entry 0 on, nothing in the place of what is not disclosed.
        period: Which entries count, by the relay's clock.
        nation: Count only entries whose sender or a recipient is of this nation, and those that concern everybody.
        nations: Nation of each agency, as the directory lists them; what is not there counts as `?`.
    """
    work = _Work(Summary(period, nation), (nations or {}).get)
    for index, record in enumerate(records):
        work.take(index, record)
    return work.finish()


class _Work:
    """One pass."""

    def __init__(self, summary: Summary, nation_of: Callable[[str], str | None]) -> None:
        self._summary = summary
        self._nation_of = nation_of
        self._accepted: dict[bytes, tuple[int, datetime, datetime]] = {}
        self._hidden = Spans()  # since the last entry that shows its time
        self._previous: datetime | None = None

    def take(self, index: int, record: Record | None) -> None:
        summary = self._summary
        summary.size = index + 1
        if record is None or not record.entry.salts[0]:
            self._hidden.add(index)
            return
        said = Routing.parse(record.entry.routing)
        subject = Subject.parse(record.entry.message) if record.entry.salts[1] else None
        self._place_hidden(said.logged_at)
        if self._previous and said.logged_at + CLOCK_SKEW < self._previous:
            summary.backwards.add(index)
        self._previous = said.logged_at
        if said.event is Event.ACCEPTED and subject:
            self._remember(index, said, subject)
        if said.logged_at in summary.period and self._concerns(said):
            shown = said.event in LISTED and record.entry.salts[2]
            self._count(index, said, subject, Operation.parse(record.entry.operational) if shown else None)
        else:
            summary.outside.add(index)

    def finish(self) -> Summary:
        self._place_hidden(None)
        return self._summary

    def _place_hidden(self, now: datetime | None) -> None:
        """Count entries that show no time, unless those around them are both before the period, or both after it."""
        start, end = self._summary.period.start, self._summary.period.end
        before = bool(start and now and now < start)
        after = bool(end and self._previous and self._previous >= end)
        (self._summary.outside if before or after else self._summary.undisclosed).extend(self._hidden)
        self._hidden = Spans()

    def _concerns(self, said: Routing) -> bool:
        nation = self._summary.nation
        if not nation or not (said.sender or said.recipients):
            return True
        return nation in (said.sender_nation, *(self._nation_of(name) for name in said.recipients))

    def _remember(self, index: int, said: Routing, subject: Subject) -> None:
        """Keep when a message was accepted, as long as something may follow."""
        while self._accepted:
            oldest = next(iter(self._accepted))
            if self._accepted[oldest][2] + _LATEST > said.logged_at:
                break
            del self._accepted[oldest]
        ends = said.expires_at or said.logged_at
        self._accepted.setdefault(subject.envelope_digest, (index, said.logged_at, ends))

    def _count(self, index: int, said: Routing, subject: Subject | None, operation: Operation | None) -> None:
        summary = self._summary
        summary.counted.add(index)
        summary.first = min(summary.first or said.logged_at, said.logged_at)
        summary.last = max(summary.last or said.logged_at, said.logged_at)
        _add(summary.events, said.event.name, index)
        _add(summary.days, f"{said.logged_at:%Y-%m-%d}", index)
        if subject is None:
            summary.half.add(index)
        if said.reason:
            word = Reason(said.reason).word if said.reason in set(Reason) else f"number {said.reason}"
            _add(summary.reasons, f"{said.event.name}: {word}", index)
        if said.event is Event.ACCEPTED:
            self._count_message(index, said)
        if said.event in LISTED:
            summary.occurrences.append(Occurrence(index, said, subject, operation))
        if said.event is Event.PEER_CHECKPOINT:
            _add(summary.neighbours, said.previous_relay, index)
            summary.seen.setdefault(said.previous_relay, set()).add(_hour(said.logged_at))
        if said.event in _STEPS:
            self._time(index, said, subject)

    def _count_message(self, index: int, said: Routing) -> None:
        summary = self._summary
        _add(summary.senders, said.sender, index)
        _add(summary.precedences, _name(Precedence, said.precedence), index)
        _add(summary.statuses, _name(OpStatus, said.op_status), index)
        receivers = {self._nation_of(name) or "?" for name in said.recipients} or {"not listed"}
        for receiver in sorted(receivers):
            _add(summary.pairs, f"{said.sender_nation or '?'} to {receiver}", index)

    def _time(self, index: int, said: Routing, subject: Subject | None) -> None:
        waits = self._summary.waits[_STEPS[said.event]]
        accepted = self._accepted.get(subject.envelope_digest) if subject else None
        if accepted is None:
            waits.unknown.add(index)
        else:
            waits.add(said.logged_at - accepted[1], accepted[0], index)


def _name(kind: type[Precedence | OpStatus], number: int) -> str:
    try:
        return kind(number).name
    except ValueError:
        return f"number {number}"


def _hour(at: datetime) -> int:
    return int(at.timestamp()) // 3600


def _add(table: Table, key: str, index: int) -> None:
    table.setdefault(key, Spans()).add(index)
