"""Account: what an auditor found in one log, before it becomes JSON, text or a page: one source for all three."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from infoexchange.cli.output import Table
from infoexchange.cli.words import told
from infoexchange.spans import Spans
from infoexchange.states import Event
from infoexchange.summary import (
    OF_DIRECTORY,
    OF_ENDS,
    OF_KEYS,
    OF_RECALLS,
    OF_SETTINGS,
    Occurrence,
    Summary,
    Wait,
    Waits,
)
from infoexchange.tlog import Checkpoint
from infoexchange.verdict import Check, Report, Verdict

# Implementation constants
_RANGES_SHOWN = 6  # of one number in text; JSON has them all
QUANTILES = (("median", 0.5), ("95 %", 0.95), ("longest", 1.0))

# Name in JSON, heading, heading of the first column.
COUNTS = (
    ("events", "Entries by event", "event"),
    ("days", "Entries by day (UTC)", "day"),
    ("precedences", "Messages accepted, by precedence", "precedence"),
    ("statuses", "Messages accepted, by status", "status"),
    ("pairs", "Messages accepted, by sending and receiving nation", "nations"),
    ("senders", "Messages accepted, by sender", "sender"),
    ("reasons", "Reasons given", "event and reason"),
)
# Name in JSON, heading, events.
LISTS: tuple[tuple[str, str, tuple[Event, ...]], ...] = (
    ("keys", "Keys and revocation lists published", OF_KEYS),
    ("directory", "Versions of the directory", OF_DIRECTORY),
    ("settings", "Actions of the operator: settings and software", OF_SETTINGS),
    ("disclosures", "Disclosures", (Event.AUDIT_DISCLOSURE,)),
    ("recalls", "Recalls", OF_RECALLS),
    ("refusals", "Refusals", (Event.REFUSED,)),
    ("expiries", "Messages that ended undelivered", OF_ENDS),
    ("recoveries", "Logs begun anew", (Event.RECOVERY,)),
)


@dataclass(frozen=True, kw_only=True)
class Account:
    """One log, examined.

    Attributes:
        relay: Whose log it is.
        checkpoint: The signed state of the log that was examined.
        checks: What was found of the log as a whole, before its records were counted.
        summary: What its records tell.
        made_at: When it was examined, by the auditor's clock.
    """

    relay: str
    checkpoint: Checkpoint
    checks: tuple[Check, ...]
    summary: Summary
    made_at: datetime

    @property
    def report(self) -> Report:
        """Every finding: those of the log, and what stands in the way of believing the numbers."""
        return Report((*self.checks, self._disclosed(), self._clock()))

    def _disclosed(self) -> Check:
        summary, name = self.summary, "records of the period disclosed"
        missing = Spans(sorted(n for s in (summary.undisclosed, summary.half) for a, b in s for n in range(a, b + 1)))
        if not missing:
            return Check(name, Verdict.TOTAL_PASSED, "", f"all {summary.counted.count} entries counted")
        detail = f"of {missing.count} entries not everything is shown, so every number is a lower bound: "
        return Check(name, Verdict.INDETERMINATE, "not disclosed", detail + missing.text(_RANGES_SHOWN))

    def _clock(self) -> Check:
        backwards = self.summary.backwards
        if not backwards:
            return Check("times in order", Verdict.TOTAL_PASSED, "", "no entry is dated before the one in front of it")
        detail = f"{backwards.count} entries are dated before the one in front of them: {backwards.text(_RANGES_SHOWN)}"
        return Check("times in order", Verdict.INDETERMINATE, "clock set back", detail)


def counts(summary: Summary, name: str) -> list[tuple[str, Spans]]:
    """Return one of the tables in `COUNTS`: days in order, everything else by number."""
    found: dict[str, Spans] = getattr(summary, name)
    return sorted(found.items(), key=lambda item: item[0] if name == "days" else (-item[1].count, item[0]))


def as_data(account: Account) -> dict[str, object]:
    """Return everything in the form that is printed as JSON: each number with the entries it rests on."""
    summary, checkpoint = account.summary, account.checkpoint
    report = account.report
    return {
        "relay": account.relay,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "verdict": report.verdict.word,
        "checks": [
            {"name": c.name, "verdict": c.verdict.word, "reason": c.reason, "detail": c.detail} for c in report.checks
        ],
        "made_at": _iso(account.made_at),
        "period": {"from": _iso(summary.period.start), "to": _iso(summary.period.end)},
        "nation": summary.nation,
        "first": _iso(summary.first),
        "last": _iso(summary.last),
        "entries": {
            name: _number(getattr(summary, name)) for name in ("counted", "outside", "undisclosed", "half", "backwards")
        },
        **{name: {key: _number(spans) for key, spans in counts(summary, name)} for name, _, _ in COUNTS},
        "neighbours": {
            name: {**_number(spans), "hours": len(summary.seen[name]), "of_hours": summary.hours}
            for name, spans in sorted(summary.neighbours.items())
        },
        "waits": {step: _waits(waits) for step, waits in summary.waits.items()},
        **{name: [_occurrence(o) for o in summary.listed(*events)] for name, _, events in LISTS},
    }


def _number(spans: Spans) -> dict[str, object]:
    return {"count": spans.count, "entries": [list(span) for span in spans]}


def _waits(waits: Waits) -> dict[str, object]:
    found: dict[str, object] = {**_number(waits.spans), "count": len(waits), "unknown": _number(waits.unknown)}
    for name, part in QUANTILES if len(waits) else ():
        wait = waits.quantile(part)
        found[name] = {"seconds": wait.duration.total_seconds(), "accepted": wait.accepted, "entry": wait.index}
    return found


def _occurrence(occurrence: Occurrence) -> dict[str, object]:
    said = occurrence.said
    return {
        "entry": occurrence.index,
        "at": _iso(said.logged_at),
        "event": said.event.name,
        "what": sentence(occurrence),
        "about": about(occurrence),
    }


def about(occurrence: Occurrence) -> str:
    """Return the digest of what an entry speaks of: a message, keys or a directory; nothing where it is not shown."""
    subject = occurrence.subject
    if subject is None:
        return ""
    if occurrence.said.event is Event.KEY_BUNDLE:
        return subject.sender_bundle.hex()
    if occurrence.said.event is Event.DIRECTORY_VERSION:
        return subject.directory_digest.hex()
    return subject.envelope_digest.hex()


def sentence(occurrence: Occurrence) -> str:
    """Return what an entry of a list says."""
    said = occurrence.said
    if said.event is Event.KEY_BUNDLE:
        return f"keys of {said.sender}, or newer lists of revoked certificates with them"
    if said.event is Event.DIRECTORY_VERSION:
        return f"{said.this_relay} put a version of the directory in force"
    operation = occurrence.operation
    if operation and said.event is Event.CONFIG_CHANGE:
        return f"{told(said)}: software {operation.software}, settings {operation.config.hex()[:16]}"
    return told(said) + (f": {operation.detail}" if operation and operation.detail else "")


def tables(account: Account) -> Iterator[str | Table]:
    """Yield headings and tables for a person at a terminal."""
    summary = account.summary
    yield Table(
        ("entries", "number", "places"),
        [
            ("read", summary.size, ""),
            *((name, spans.count, spans.text(_RANGES_SHOWN)) for name, spans in places(summary)),
        ],
    )
    for name, heading, first in COUNTS:
        rows = [(key, spans.count, spans.text(_RANGES_SHOWN)) for key, spans in counts(summary, name)]
        if rows:
            yield f"\n{heading}"
            yield Table((first, "number", "entries"), rows)
    if summary.neighbours:
        yield f"\nNeighbours whose checkpoints were seen, in {summary.hours} hours"
        yield Table(
            ("neighbour", "hours", "share", "entries"),
            [(name, hours, share, spans.text(_RANGES_SHOWN)) for name, hours, share, spans in neighbours(summary)],
        )
    timed = [row for step, waits in summary.waits.items() if (row := timing(step, waits))]
    if timed:
        yield "\nFrom acceptance by this relay, by its clock"
        yield Table(("until", "messages", *(name for name, _ in QUANTILES), "not timed"), timed)
    for _, heading, events in LISTS:
        found = summary.listed(*events)
        if found:
            yield f"\n{heading}"
            listed = [(moment(o.said.logged_at), sentence(o), about(o)[:16], o.index) for o in found]
            yield Table(("logged", "what", "about", "entry"), listed)


def places(summary: Summary) -> Sequence[tuple[str, Spans]]:
    """Return which entries were counted, and which were not."""
    return (
        ("counted", summary.counted),
        ("of another time or nation", summary.outside),
        ("record not disclosed", summary.undisclosed),
        ("record disclosed in part", summary.half),
    )


def neighbours(summary: Summary) -> list[tuple[str, str, str, Spans]]:
    """Return for each neighbour in how many hours, and in what share of them, its checkpoint was seen."""
    found = []
    for name, spans in sorted(summary.neighbours.items()):
        seen = len(summary.seen[name])
        found.append((name, str(seen), f"{100 * seen / summary.hours:.1f} %", spans))
    return found


def timing(step: str, waits: Waits) -> tuple[str, ...] | None:
    """Return a row of times, each with the entry it was read from."""
    if not len(waits) and not waits.unknown:
        return None
    found = [waits.quantile(part) for _, part in QUANTILES] if len(waits) else []
    cells = [_timed(wait) for wait in found] or [""] * len(QUANTILES)
    return (step, str(len(waits)), *cells, str(waits.unknown.count))


def _timed(wait: Wait) -> str:
    return f"{lasting(wait.duration)} (entry {wait.index})"


def lasting(duration: timedelta) -> str:
    """Return a duration with two units at most, such as `2 h 5 min`."""
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), duration.days
    if hours < 1:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} min" if days < 2 else f"{days} d {hours % 24} h"


def moment(at: datetime | None) -> str:
    """Return a time as pages and tables write it."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else ""


def _iso(at: datetime | None) -> str:
    return at.isoformat().replace("+00:00", "Z") if at else ""
