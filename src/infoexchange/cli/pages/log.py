"""Log: the audit report on one relay's log as a page that a judge can read and an expert can check."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta

from infoexchange.cli.pages import account as form
from infoexchange.cli.pages.account import COUNTS, LISTS, QUANTILES, Account
from infoexchange.cli.pages.elements import (
    Content,
    Element,
    bullets,
    checks,
    code,
    document,
    element,
    entries,
    facts,
    paragraphs,
    table,
    verdict,
)
from infoexchange.cli.pages.plots import bars, columns
from infoexchange.cli.words import EVENTS, VERDICTS
from infoexchange.summary import Summary, Waits
from infoexchange.verdict import Verdict

# Implementation constants
_LISTED_MAX = 200  # of one list; a page is for reading, and JSON has them all
_BOUNDS = (
    ("below 1 s", timedelta(seconds=1)),
    ("1 to 10 s", timedelta(seconds=10)),
    ("10 s to 1 min", timedelta(minutes=1)),
    ("1 to 10 min", timedelta(minutes=10)),
    ("10 min to 1 h", timedelta(hours=1)),
    ("1 h to 1 day", timedelta(days=1)),
)
_LONGEST = "longer"


def log_page(account: Account, commands: list[str]) -> bytes:
    """Return the page.

    Args:
        account: What was found.
        commands: With which anybody can find the same.
    """
    summary = account.summary
    word = account.report.verdict.word
    sections: list[tuple[str, str, Content]] = [
        ("summary", "In plain words", [verdict(word, VERDICTS[word]), _plainly(account)]),
        ("checked", "What was checked", _checked(account)),
        ("proves", "What this proves, and what it does not", _proves(account)),
        ("entries", "Entries", _entries(summary)),
        ("messages", "Messages", _messages(summary)),
        ("times", "Times", _times(summary)),
        ("neighbours", "Neighbours seen", _neighbours(summary)),
        ("events", "What deserves a look", _lists(summary)),
        ("again", "How to check this yourself", _again(account, commands)),
        ("words", "Words used here", facts(EVENTS.items())),
    ]
    header = element("p", f"The log of {account.relay}, {_period(summary)}")
    footer = element(
        "p",
        f"Made on {form.moment(account.made_at)} from a copy of the log, with no other source. "
        "This page needs no network and no program but a browser.",
    )
    return document(f"Audit report: {account.relay}", header, sections, footer)


def _period(summary: Summary) -> str:
    start, end = summary.period.start, summary.period.end
    words = [f"from {form.moment(start)} on" if start else "", f"before {form.moment(end)}" if end else ""]
    told = " and ".join(word for word in words if word) or "over its whole time"
    return told + (f", as far as {summary.nation.upper()} is concerned" if summary.nation else "")


def _plainly(account: Account) -> list[Element]:
    summary = account.summary
    report = account.report
    bad = [c for c in report.checks if c.verdict is not Verdict.TOTAL_PASSED]
    messages = sum(spans.count for name, spans in summary.events.items() if name == "ACCEPTED")
    texts = [
        f"{account.relay} carries sealed messages between agencies and keeps a log of every step. Each step is one "
        f"numbered entry. This report read {summary.size} entries and counted {summary.counted.count} of them; "
        f"{messages} of these record that it took a message.",
    ]
    if summary.first and summary.last:
        first, last = form.moment(summary.first), form.moment(summary.last)
        texts.append(f"The first entry counted is dated {first}, the last one {last}, by the relay's own clock.")
    if not bad:
        texts.append(
            "Every entry was hashed again, and the result is the one that the relay has signed. Every record that was "
            "handed over is the one that was logged at that time; no record was missing."
        )
    texts += [f"{_OPEN[c.verdict]}: {c.name}. {_sentence(c.reason)}{c.detail}." for c in bad]
    return paragraphs(*texts)


_OPEN = {Verdict.TOTAL_FAILED: "Failed", Verdict.INDETERMINATE: "Not settled"}


def _sentence(reason: str) -> str:
    return f"{reason}: " if reason else ""


def _checked(account: Account) -> list[Element]:
    checkpoint = account.checkpoint
    rows = [
        (c.name, c.verdict.word, f"{c.reason}: {c.detail}" if c.reason else c.detail) for c in account.report.checks
    ]
    return [
        checks(rows, "Every check and its finding"),
        facts(
            [
                ("Log", code(checkpoint.origin)),
                ("Entries in it", str(checkpoint.size)),
                ("Signed root", code(checkpoint.root.hex())),
            ]
        ),
    ]


def _proves(account: Account) -> list[Element]:
    if account.report.verdict is Verdict.TOTAL_FAILED:
        return [
            element("p", "A check failed. Until that is explained, the numbers below prove nothing."),
            *_limits(),
        ]
    return [
        element("h3", "What it proves"),
        bullets(
            [
                "The relay has signed exactly these entries, in this order. None was changed, added or removed since, "
                "or the signed root would be another.",
                "Each record that is shown is the one to which its entry was bound when it was logged.",
                "Every number below follows from the entries named beside it; whoever has the copy can count again.",
            ]
        ),
        *_limits(),
    ]


def _limits() -> list[Element]:
    return [
        element("h3", "What it does not prove"),
        bullets(
            [
                "That the relay logged everything. What it never logged is found by comparing this log with those of "
                "its neighbours (audit reconcile), and by receipts that senders hold.",
                "That times are right. They are the relay's own; witnesses of other nations bound them from outside.",
                "That others were shown the same log, unless the checks above say that witnesses have cosigned it.",
                "What the messages said. The relay cannot read them, and nothing here tells their content or subject.",
                "That a person read a message. OPENED is the signed word of an agency's program.",
            ]
        ),
    ]


def _entries(summary: Summary) -> list[Content]:
    rows = [("read", str(summary.size), "")]
    shown: list[tuple[Content, ...]] = [*rows, *((n, str(s.count), entries(s)) for n, s in form.places(summary))]
    days = [(day, spans.count) for day, spans in form.counts(summary, "days")]
    return [
        table("Which entries were counted", ("Entries", "Number", "Places in the log"), shown, class_="numbers"),
        _count(summary, "events"),
        bars("by-event", "Entries by event", [(n, s.count) for n, s in form.counts(summary, "events")]),
        columns("by-day", "Entries by day (UTC)", days),
        _count(summary, "days"),
    ]


def _count(summary: Summary, name: str) -> Element:
    """Return one table of numbers, each with its entries."""
    [(heading, first)] = [(heading, first) for key, heading, first in COUNTS if key == name]
    rows = [(key, str(spans.count), entries(spans)) for key, spans in form.counts(summary, name)]
    return table(heading, (first.capitalize(), "Number", "Entries in the log"), rows, class_="numbers")


def _messages(summary: Summary) -> list[Content]:
    pairs = [(name, spans.count) for name, spans in form.counts(summary, "pairs")]
    intro = "A message is counted where this relay accepted it: from an agency of its own, or from another relay."
    return [
        element("p", intro),
        *(_count(summary, name) for name in ("precedences", "statuses", "pairs")),
        bars("by-pair", "Messages by sending and receiving nation", pairs),
        *(_count(summary, name) for name in ("senders", "reasons")),
    ]


def _times(summary: Summary) -> list[Content]:
    rows = [row for step, waits in summary.waits.items() if (row := form.timing(step, waits))]
    head = ("From acceptance until", "Number", *(name.capitalize() for name, _ in QUANTILES), "Not timed")
    found: list[Content] = [
        element(
            "p",
            "From the entry with which this relay accepted a message to the entry of the step named, by this relay's "
            "clock. The entry beside a time is the one that it was read from. Not timed: the acceptance is not shown.",
        ),
        table("How long it took", head, rows, class_="times"),
    ]
    for step, waits in summary.waits.items():
        if len(waits):
            found.append(bars(f"until-{step.replace(' ', '-')}", f"Time until {step}", _histogram(waits)))
            found.append(element("p", f"Entries {step}: ", entries(waits.spans)))
    return found


def _histogram(waits: Waits) -> list[tuple[str, int]]:
    numbers = waits.distribution([bound for _, bound in _BOUNDS])
    return list(zip((*(label for label, _ in _BOUNDS), _LONGEST), numbers, strict=True))


def _neighbours(summary: Summary) -> list[Content]:
    intro = (
        "Once in each hour this relay logs, for every neighbour that had it cosign a checkpoint in that hour, that "
        "checkpoint. Where an hour is missing, the neighbour was not seen, or this relay did not run itself. "
        f"From the first entry counted to the last these are {summary.hours} hours."
    )
    rows = [(name, hours, share, entries(spans)) for name, hours, share, spans in form.neighbours(summary)]
    head = ("Neighbour", "Hours", "Share", "Entries in the log")
    return [element("p", intro), table("In how many hours each was seen", head, rows, class_="numbers")]


def _lists(summary: Summary) -> list[Content]:
    found: list[Content] = []
    for _, heading, events in LISTS:
        occurrences = summary.listed(*events)
        rows = [
            (str(o.index), form.moment(o.said.logged_at), form.sentence(o), code(form.about(o)[:16]))
            for o in occurrences[:_LISTED_MAX]
        ]
        caption = f"{heading} ({len(occurrences)})" if occurrences else heading
        found.append(table(caption, ("Entry", "Logged", "What", "About"), rows, class_="occurrences"))
        if len(occurrences) > len(rows):
            found.append(element("p", f"And {len(occurrences) - len(rows)} more, which the report as JSON has."))
    return found


def _again(account: Account, commands: list[str]) -> list[Element]:
    checkpoint = account.checkpoint
    root = b64encode(checkpoint.root).decode()
    return [
        element("p", "With a copy of the log, the root keys of the directory and this program:"),
        element("ul", [element("li", code(command)) for command in commands]),
        element("p", "The copy has the form of C2SP tlog-tiles, so other programs can hash it as well."),
        element("p", "What the relay has signed, in three lines: name of the log, number of entries, root:"),
        element("pre", code(f"{checkpoint.origin}\n{checkpoint.size}\n{root}")),
    ]
