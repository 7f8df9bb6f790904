"""Reporting: what one relay's log tells of a period, as JSON, as tables, and as one page."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.anchor import Anchor, add_anchor
from infoexchange.cli.audit.folders import JudgedLog
from infoexchange.cli.audit.stamps import add_tsa_roots
from infoexchange.cli.output import Output, UsageError
from infoexchange.cli.parser import Subparsers, add_command

if TYPE_CHECKING:
    from infoexchange.cli.pages.account import Account
    from infoexchange.ports import Record
    from infoexchange.summary import Period

# Implementation constants
_RECORDS_PER_STEP = 1000  # between two movements of the bar


def register(group: Subparsers) -> None:
    """Add `audit report`."""
    report = add_command(
        group, "report", "count what a log tells, each number with the entries it rests on, once the log holds", _report
    )
    report.add_argument("log", metavar="DIR", type=Path, help="folder that `infoexchange-relay export` wrote")
    add_anchor(report, "folder")
    add_tsa_roots(report)
    when = "day or time, in UTC unless it says otherwise; a day counts from its first moment"
    report.add_argument("--from", dest="start", metavar="TIME", help=f"entries logged at this time or later: {when}")
    report.add_argument("--to", dest="end", metavar="TIME", help="entries logged before this time")
    report.add_argument("--nation", metavar="CODE", default="", help="only what this nation sent or was sent")
    report.add_argument("--html", metavar="FILE", type=Path, help="also write the report as one page")


def _report(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import findings
    from infoexchange.cli.pages.account import as_data, tables

    period = _period(args.start, args.end)
    log = JudgedLog(args.log, Anchor.of(args), out, args.tsa_roots)
    account = account_of(log, period, out, args.nation.lower())
    said = f"{account.report.verdict.word}  {args.log}"
    if args.html:
        write_page(args.html, account, _commands(args))
        said = f"Wrote {args.html}\n{said}"
    out.show(as_data(account), findings(account.report), "", *tables(account), "", said)
    code: int = account.report.verdict.value
    return code


def account_of(log: JudgedLog, period: Period, out: Output, nation: str = "") -> Account:
    """Return what was found in a log, and what it tells of a period."""
    from infoexchange.cli.pages.account import Account
    from infoexchange.summary import summarise

    nations = log.nations
    if nation and nations and nation not in nations.values():
        known = ", ".join(sorted(set(nations.values())))
        raise UsageError(f"--nation: the directory lists no nation {nation}, but {known}")
    with out.progress("Counting what it tells") as progress:
        records = _told(log.records(), log.checkpoint.size, progress)
        summary = summarise(records, period, nation=nation, nations=nations)
    return Account(
        relay=log.relay, checkpoint=log.checkpoint, checks=log.checks, summary=summary, made_at=datetime.now(UTC)
    )


def _told(records: Iterator[Record | None], size: int, progress: Callable[[int, int], None]) -> Iterator[Record | None]:
    for done, record in enumerate(records, 1):
        if done % _RECORDS_PER_STEP == 0:
            progress(done, size)
        yield record


def write_page(file: Path, account: Account, commands: list[str]) -> None:
    """Write the page of a report; an older one in its place is replaced."""
    from infoexchange.cli.pages.log import log_page
    from infoexchange.home.files import write_file

    write_file(file, log_page(account, commands))


def _commands(args: argparse.Namespace) -> list[str]:
    """Return the commands that find the same."""
    common = [str(args.log), "--roots", str(args.roots)]
    if args.directory:
        common += ["--directory", str(args.directory)]
    if args.tsa_roots:
        common += ["--tsa-roots", str(args.tsa_roots)]
    asked = {"--from": args.start, "--to": args.end, "--nation": args.nation}
    options = [word for name, value in asked.items() if value for word in (name, value)]
    words = (["verify-log", *common], ["report", *common, *options])
    return [shlex.join(["infoexchange", "audit", *each]) for each in words]


def _period(start: str | None, end: str | None) -> Period:
    from infoexchange.summary import Period

    period = Period(_time("--from", start), _time("--to", end))
    if period.start and period.end and period.start >= period.end:
        raise UsageError("--from must be before --to")
    return period


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{option}: {text!r} is no day such as 2026-11-30 and no time in ISO 8601") from None
