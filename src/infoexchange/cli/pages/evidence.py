"""Evidence: one evidence file as a page: what was sent, by whom, to whom, every step, every check, the verdict."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from infoexchange.cli import disclose
from infoexchange.cli.output import Table
from infoexchange.cli.pages.account import moment
from infoexchange.cli.pages.elements import (
    Content,
    Element,
    bullets,
    checks,
    code,
    document,
    element,
    facts,
    paragraphs,
    table,
    verdict,
)
from infoexchange.cli.show import absent_from, facts_of
from infoexchange.cli.words import EVENTS, VERDICTS, told
from infoexchange.evidence import Evidence
from infoexchange.states import Event
from infoexchange.verdict import Report, Verdict


def evidence_page(evidence: Evidence, report: Report, *, made_at: datetime) -> bytes:
    """Return the page.

    Args:
        evidence: The parsed file.
        report: Every finding on it.
        made_at: The auditor's clock.
    """
    word = report.verdict.word
    rows = [(c.name, c.verdict.word, f"{c.reason}: {c.detail}" if c.reason else c.detail) for c in report.checks]
    sections: list[tuple[str, str, Content]] = [
        ("summary", "In plain words", [verdict(word, VERDICTS[word]), _plainly(evidence, report)]),
        ("message", "The message", facts((n.capitalize(), _value(n, v)) for n, v in facts_of(evidence))),
        ("custody", "Chain of custody", _custody(evidence)),
        ("checked", "What was checked", checks(rows, "Every check and its finding")),
        ("disclosed", "What was disclosed of the content", _disclosed(evidence)),
        ("proves", "What this proves, and what it does not", _proves(evidence, report)),
        ("again", "How to check this yourself", _again(evidence)),
        ("words", "Words used here", _words(evidence)),
    ]
    header = element(
        "p", "The message ", code(evidence.digest.hex()[:16]), f", sent by {evidence.manifest.header.sender}"
    )
    footer = element(
        "p",
        f"Made on {moment(made_at)} from one file, with no other source. "
        "This page needs no network and no program but a browser.",
    )
    return document("Evidence of one message", header, sections, footer)


def _value(name: str, value: str) -> Content:
    return code(value) if name == "message" else value


def _plainly(evidence: Evidence, report: Report) -> list[Element]:
    header = evidence.manifest.header
    who = ", ".join(r.name for r in header.recipients) or "recipients whom the message does not name"
    texts = [
        f"{header.sender} sealed a message for {who} and signed it on {moment(header.created_at)} by its own clock. "
        f"{len(evidence.events)} entries in the logs of relays tell what became of it, and {len(evidence.statements)} "
        "signed statements of parties are with them."
    ]
    if report.verdict is Verdict.TOTAL_PASSED:
        texts.append(
            "Every signature, every log entry and every statement in the file was checked and holds; relays of other "
            "nations have confirmed that the logs are the ones that everybody was shown."
        )
    marks = {Verdict.TOTAL_FAILED: "Failed", Verdict.INDETERMINATE: "Not settled"}
    texts += [f"{marks[c.verdict]}: {c.name}. {c.reason}: {c.detail}." for c in report.checks if c.verdict in marks]
    return paragraphs(*texts)


def _custody(evidence: Evidence) -> list[Element]:
    steps = sorted(evidence.events, key=lambda e: (e.routing.logged_at, e.routing.this_relay, e.index))
    items = [
        element(
            "li",
            element("strong", receipt.routing.event.name),
            ": ",
            told(receipt.routing),
            element(
                "span",
                f"{moment(receipt.routing.logged_at)} by the clock of {receipt.routing.this_relay}, "
                f"entry {receipt.index} of its log",
                class_="at",
            ),
        )
        for receipt in steps
    ]
    intro = "Each step as a relay logged it. Steps of one second may stand in another order than they happened."
    return [element("p", intro), element("ol", items, class_="custody")]


def _disclosed(evidence: Evidence) -> list[Content]:
    _, parts = disclose.tell(evidence)
    if not parts:
        return [element("p", "Nothing: the file shows who, to whom, when and how large, and nothing of what was said.")]
    return [
        table("Records", [c.capitalize() for c in part.columns], [[str(c) for c in row] for row in part.rows])
        if isinstance(part, Table)
        else element("p", part.strip())
        for part in parts
    ]


def _proves(evidence: Evidence, report: Report) -> list[Element]:
    proves = [
        "That the sender named has signed this message, and that nothing of it was changed since.",
        "To whom it was addressed, with which status and precedence.",
        "That these relays logged these steps, in this order within each log.",
        "What recipients have signed: that they opened it, refused it, or destroyed its key.",
    ]
    if evidence.disclosures:
        proves.append("That the records disclosed are part of what was signed.")
    limits = [
        "That times are right. They are the clocks of sender and relays; witnesses bound them from outside.",
        "That a person read it. OPENED is the signed word of an agency's program.",
        "That nothing else was sent. This file speaks of one message.",
        f"What is not in the file: {', '.join(absent_from(evidence))}.",
    ]
    if report.verdict is Verdict.TOTAL_FAILED:
        first = [element("p", "A check failed. Until that is explained, this file proves nothing.")]
    elif report.verdict is Verdict.INDETERMINATE:
        first = [element("h3", "What it would prove, once every check passes"), bullets(proves)]
    else:
        first = [element("h3", "What it proves"), bullets(proves)]
    return [*first, element("h3", "What it does not prove"), bullets(limits)]


def _again(evidence: Evidence) -> list[Element]:
    return [
        element("p", "With the file, the root keys of the directory, and this program, offline:"),
        bullets(
            [
                code("infoexchange evidence verify FILE --roots roots.pb"),
                code("infoexchange evidence unpack FILE --to DIR --roots roots.pb"),
            ]
        ),
        element("p", "The second writes plain files that OpenSSL and C2SP tools read. The file is the one with"),
        facts([("SHA-256", code(sha256(evidence.raw).hexdigest())), ("Size", f"{len(evidence.raw)} bytes")]),
    ]


def _words(evidence: Evidence) -> Element:
    used = {receipt.routing.event for receipt in evidence.events}
    return facts((event.name, EVENTS[event.name]) for event in Event if event in used and event.name in EVENTS)
