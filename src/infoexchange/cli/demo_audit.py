"""The last step of the demo: both logs exported, hashed again, compared, and told on one page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import Output

if TYPE_CHECKING:
    from infoexchange.cli.audit.folders import JudgedLog
    from infoexchange.testing.sites import Sites
    from infoexchange.verdict import Report

# Implementation constants
_SECONDS = 20.0  # the last entries are cosigned within two
_PAUSE = 1.0


def report_logs(sites: Sites, relays: Sequence[str], out: Output) -> tuple[Path, str]:
    """Return the page on the first relay's log, and the verdict on it and on comparing both.

    Repeated while something is open: an entry may be younger than the last round of witnesses.
    """
    from infoexchange.cli.anchor import Anchor
    from infoexchange.cli.audit.comparing import compare, whole_report
    from infoexchange.cli.audit.folders import JudgedLog
    from infoexchange.verdict import Verdict

    folders = [sites.folder / "audit" / relay for relay in relays]
    end = time.monotonic() + _SECONDS
    while True:
        for relay, folder in zip(relays, folders, strict=True):
            sites.export(relay, folder)
        first, second = (JudgedLog(folder, Anchor(sites.community.roots, None), out) for folder in folders)
        found = compare(first, second)
        report = whole_report(found, first, second)
        if report.verdict is not Verdict.INDETERMINATE or time.monotonic() > end:
            break
        time.sleep(_PAUSE)
    page, counted = _page(sites, folders[0], first, out)
    passed = sum(found.matched.values())
    out.say(f"8. The auditor compares both logs: {passed} hand-overs told alike, {len(found.findings)} otherwise")
    out.say(f"   {report.verdict.word}; the report on the log of {first.relay}: {page}")
    return page, _worst(report, counted)


def _page(sites: Sites, folder: Path, log: JudgedLog, out: Output) -> tuple[Path, Report]:
    """Write the page, and return it with the findings that stand there."""
    from infoexchange.cli.audit.reporting import account_of, write_page
    from infoexchange.summary import Period

    page = sites.folder / "report.html"
    account = account_of(log, Period(), out)
    command = f"infoexchange audit report {folder} --roots {sites.folder / 'roots.pb'}"
    write_page(page, account, [command, command.replace(" report ", " verify-log ", 1)])
    return page, account.report


def _worst(*reports: Report) -> str:
    from infoexchange.verdict import Report

    return Report(tuple(check for report in reports for check in report.checks)).verdict.word
