"""Sequences: whether all that a sender signed is shown, by the numbers that it signed itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.anchor import Anchor, add_anchor
from infoexchange.cli.evidence import findings
from infoexchange.cli.output import Output
from infoexchange.cli.parser import Subparsers, add_command

if TYPE_CHECKING:
    from infoexchange.continuity import Continuity, Link
    from infoexchange.verdict import Check


def register(group: Subparsers) -> None:
    """Add `audit sequence`."""
    command = add_command(group, "sequence", "find out whether messages of a sender are missing", _sequence)
    command.add_argument("files", metavar="FILE", type=Path, nargs="+", help="evidence of the sender's messages")
    add_anchor(command, "file")


def _sequence(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.continuity import trace_all
    from infoexchange.verdict import Check, Report, Verdict

    anchor = Anchor.of(args)
    checks: list[Check] = []
    found: list[tuple[str, Link]] = []
    with out.progress("Verifying signatures") as progress:
        for place, file in enumerate(args.files, 1):
            found += _of_file(file, anchor, checks)
            progress(place, len(args.files))
    senders = trace_all(found)
    if not senders:
        checks.append(
            Check("messages", Verdict.INDETERMINATE, "undisclosed", "no file shows a message that its sender signed")
        )
    report = Report((*checks, *(check for sender in senders for check in sender.report.checks)))
    data = {
        "files": [str(file) for file in args.files],
        "verdict": report.verdict.word,
        "checks": [
            {"name": c.name, "verdict": c.verdict.word, "reason": c.reason, "detail": c.detail} for c in report.checks
        ],
        "senders": [_as_data(sender) for sender in senders],
    }
    out.show(data, findings(report), f"{report.verdict.word}  {len(found)} messages of {len(senders)} senders")
    code: int = report.verdict.value
    return code


def _of_file(path: Path, anchor: Anchor, checks: list[Check]) -> Iterator[tuple[str, Link]]:
    """Yield the message of an evidence file, once its sender is found to have signed it."""
    from infoexchange.continuity import Link
    from infoexchange.errors import ExchangeError
    from infoexchange.evidence import Evidence
    from infoexchange.home.files import read_file
    from infoexchange.verdict import Check, Verdict

    try:
        raw = read_file(path, next_step="Check the path; `infoexchange evidence make` writes such files.")
        evidence = Evidence.parse(raw)
        sender = evidence.author(anchor.own or evidence.directory(anchor.roots))
    except ExchangeError as problem:
        detail = f"{problem.field}: {problem.detail}".strip(": ")
        checks.append(Check(f"signature in {path}", Verdict.TOTAL_FAILED, problem.reason.word, detail))
        return
    yield sender.name, Link.of(evidence.manifest, str(path))


def _as_data(sender: Continuity) -> dict[str, object]:
    return {
        "sender": sender.sender,
        "verdict": sender.report.verdict.word,
        "messages": [
            {"number": link.number, "message": link.digest.hex(), "file": link.source} for link in sender.links
        ],
        "missing": [{"first": gap.first, "last": gap.last, "message": gap.digest.hex()} for gap in sender.gaps],
        "forks": [[one.digest.hex(), other.digest.hex()] for one, other in sender.forks],
    }
