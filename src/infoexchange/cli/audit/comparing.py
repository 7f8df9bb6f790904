"""Comparing: whether two relays' logs tell the same of what passed between them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.anchor import Anchor, add_anchor
from infoexchange.cli.audit.folders import JudgedLog
from infoexchange.cli.output import Output, Table, UsageError
from infoexchange.cli.parser import Subparsers, add_command

if TYPE_CHECKING:
    from infoexchange.reconciling import Finding, Reconciliation
    from infoexchange.verdict import Report

# Implementation constants
_SHOWN = 100  # findings in text; JSON has them all


def register(group: Subparsers) -> None:
    """Add `audit reconcile`."""
    compare = add_command(
        group, "reconcile", "compare two relays' logs: every hand-over in one has its acceptance in the other", _compare
    )
    compare.add_argument("a", metavar="A", type=Path, help="folder that `infoexchange-relay export` wrote")
    compare.add_argument("b", metavar="B", type=Path, help="such a folder of another relay")
    add_anchor(compare, "folder")


def _compare(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import findings

    anchor = Anchor.of(args)
    logs = JudgedLog(args.a, anchor, out), JudgedLog(args.b, anchor, out)
    if logs[0].relay == logs[1].relay:
        raise UsageError(f"both folders hold a log of {logs[0].relay}; two relays are compared")
    found = compare(*logs)
    report = whole_report(found, *logs)
    data = {
        "logs": [str(args.a), str(args.b)],
        "verdict": report.verdict.word,
        "checks": [
            {"name": c.name, "verdict": c.verdict.word, "reason": c.reason, "detail": c.detail} for c in report.checks
        ],
        "matched": [{"giver": giver, "taker": taker, "count": n} for (giver, taker), n in found.matched.items()],
        "findings": [_finding(finding) for finding in found.findings],
        "undisclosed": {relay: [list(span) for span in spans] for relay, spans in found.undisclosed.items()},
    }
    rows = [_row(finding) for finding in found.findings[:_SHOWN]]
    more = len(found.findings) - len(rows)
    out.show(
        data,
        findings(report),
        *([Table(("", "what", "giver", "entry", "taker", "entry", "message", "detail"), rows)] if rows else []),
        *([f"... and {more} more; --json has them all"] if more else []),
        f"{report.verdict.word}  {args.a} {args.b}",
    )
    code: int = report.verdict.value
    return code


def compare(a: JudgedLog, b: JudgedLog) -> Reconciliation:
    """Return what comparing two logs gives."""
    from infoexchange.reconciling import Side, reconcile

    return reconcile(*(Side(log.relay, log.checkpoint.origin, log.records()) for log in (a, b)))


def whole_report(found: Reconciliation, *logs: JudgedLog) -> Report:
    """Return the findings on each log, then those of comparing them: of a log that fails nothing can be compared."""
    from infoexchange.verdict import Report

    own = [replace(check, name=f"{log.relay}: {check.name}") for log in logs for check in log.checks]
    return Report((*own, *found.report.checks))


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind.name.lower().replace("_", "-"),
        "verdict": finding.verdict.word,
        "giver": finding.giver,
        "given": finding.given,
        "taker": finding.taker,
        "taken": finding.taken,
        "message": finding.digest.hex(),
        "detail": finding.detail,
    }


def _row(finding: Finding) -> tuple[object, ...]:
    data = _finding(finding)
    entries = ("" if at is None else at for at in (finding.given, finding.taken))
    given, taken = entries
    return (
        data["verdict"],
        data["kind"],
        finding.giver,
        given,
        finding.taker,
        taken,
        finding.digest.hex()[:16],
        finding.detail,
    )
