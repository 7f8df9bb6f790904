"""Verifying: hash a whole log again, from a folder or from a relay, and print one finding for each question."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.anchor import Anchor
from infoexchange.cli.audit.stamps import StampInspection, add_tsa_roots
from infoexchange.cli.evidence import findings
from infoexchange.cli.output import Output, UsageError
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.cli.passphrase import add_passphrase

if TYPE_CHECKING:
    from infoexchange.directory import Directory
    from infoexchange.exported import LogFolder
    from infoexchange.listing import Roots
    from infoexchange.ports import Log
    from infoexchange.tlog import Policy
    from infoexchange.verdict import Report

Progress = Callable[[int, int], None]


def register(group: Subparsers) -> None:
    """Add `audit verify-log`."""
    verify = add_command(
        group, "verify-log", "hash every entry and every record of a log again, and judge its checkpoint", _verify
    )
    verify.add_argument("log", metavar="DIR-or-RELAY", help="folder that `infoexchange-relay export` wrote, or a relay")
    verify.add_argument("--roots", metavar="FILE", type=Path, help="for a folder: trust anchor, the root keys")
    verify.add_argument("--directory", metavar="FILE", type=Path, help="for a folder: this directory, not its own copy")
    verify.add_argument("--home", metavar="HOME", type=Path, help="for a relay: folder of the agency that asks")
    verify.add_argument("--policy", metavar="FILE", type=Path, help="who must have cosigned, as C2SP tlog-policy says")
    add_tsa_roots(verify, "for a folder: ")
    add_passphrase(verify, pin=True)


def _verify(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.home.files import in_file, read_file
    from infoexchange.tlog import Policy

    policy = None
    if args.policy:
        with in_file(args.policy):
            policy = Policy.parse(read_file(args.policy, next_step="Check the path."))
    if Path(args.log).is_dir():
        return _show(args, *_folder(args, policy, out), out)
    elif "/" in args.log or "." not in args.log:
        raise UsageError(f"there is no folder {args.log}, and no relay has such a name")
    else:
        return _show(args, _relay(args, policy, out), None, out)


def _show(args: argparse.Namespace, report: Report, stamps: StampInspection | None, out: Output) -> int:
    checks = [
        {"name": c.name, "verdict": c.verdict.word, "reason": c.reason, "detail": c.detail} for c in report.checks
    ]
    data = {"log": args.log, "verdict": report.verdict.word, "checks": checks}
    if stamps:
        data["timestamps"] = stamps.data()
    out.show(data, findings(report), f"{report.verdict.word}  {args.log}")
    code: int = report.verdict.value
    return code


def _folder(args: argparse.Namespace, policy: Policy | None, out: Output) -> tuple[Report, StampInspection]:
    from infoexchange.exported import LogFolder

    if args.roots is None or args.home is not None:
        raise UsageError("for a folder name the trust anchor, with --roots FILE, and no --home")
    anchor = Anchor.of(args)
    folder = LogFolder(args.log)
    stamps = StampInspection(folder, args.tsa_roots)
    with out.progress("Hashing the log again") as progress:
        report = inspect_folder(
            folder, anchor.roots, anchor.own, policy=policy, stamps=stamps if stamps.judged else None, progress=progress
        )
    if stamps.sizes and not stamps.judged:
        out.warn(
            f"{len(stamps.sizes)} timestamps were not judged: name the certificates of their time authorities "
            "with --tsa-roots FILE"
        )
    return report, stamps


def inspect_folder(
    folder: LogFolder,
    roots: Roots,
    own: Directory | None = None,
    *,
    policy: Policy | None = None,
    stamps: StampInspection | None = None,
    progress: Progress | None = None,
) -> Report:
    """Return the findings on an exported log; reads the clock only to refuse signatures from the future.

    Args:
        folder: The log.
        roots: Trust anchor.
        own: A directory verified under it, to be used instead of the folder's newest.
        policy: Who must have cosigned; without it the directory says.
        stamps: The folder's timestamps, if the auditor wants them judged.
        progress: Told how far the work is.
    """
    from infoexchange.inspection import Inspection, Standard
    from infoexchange.verdict import Examination, Report

    folder.checkpoint()  # a folder without one is no log, and nothing can be found about it
    found: list[Directory] = []

    def who_is_who() -> str:
        found.extend(_directories(folder, roots, own))
        last = found[-1]
        return f"version {last.version} of {last.listing.community}, signed by {', '.join(last.signers)}"

    first = Examination()
    if not first.check("directory", who_is_who):
        return first.report()
    standard, now = Standard(directories=found, policy=policy), datetime.now(UTC)
    checks = Inspection(folder, standard, now=now, files=folder).report(progress).checks
    last = Examination()
    if stamps:
        last.check("timestamps", lambda: stamps.check(standard, now))
    return Report((*first.report().checks, *checks, *last.report().checks))


def _directories(folder: LogFolder, roots: Roots, own: Directory | None) -> Sequence[Directory]:
    """Return the versions that count, ascending: those of the folder that follow one another, and the auditor's own.

    A second history beside the auditor's own is a fault of the log; whatever else is wrong with the folder's versions
    is none where the auditor has a directory.
    """
    from infoexchange.errors import ExchangeError, Reason, error
    from infoexchange.inspection import history

    raws = folder.directories()
    if own is None:
        found = history(raws, roots)
        if not found:
            step = "Name the directory with --directory, or ask for the trust anchor under which the log began."
            detail = f"none of {len(raws)} directory versions in the folder is signed by these roots"
            raise error(Reason.BAD_SIGNATURE, field="directories", detail=detail, next_step=step)
        return found
    for raw in raws:
        try:
            own.succeed(raw)
        except ExchangeError as problem:
            if problem.reason is Reason.LOG_FORK:
                raise
    try:
        older = [directory for directory in history(raws, roots) if directory.version < own.version]
    except ExchangeError:
        older = []
    return [*older, own]


def _relay(args: argparse.Namespace, policy: Policy | None, out: Output) -> Report:
    from infoexchange.cli.endings import opened
    from infoexchange.inspection import Inspection, Standard
    from infoexchange.transport import visit

    if args.home is None or args.roots is not None or args.directory is not None or args.tsa_roots is not None:
        detail = "to ask a relay name the agency's folder, with --home, and none of --roots, --directory, --tsa-roots"
        raise UsageError(detail)
    home = opened(args, out)
    standard = Standard(directories=[home.directory], relay=args.log, policy=policy)
    with visit(home, args.log) as relay, out.progress("Hashing the log again") as progress:
        log = Witnessed(relay)
        report = Inspection(log, standard, now=datetime.now(UTC)).report(progress)
    if log.later:
        out.warn(
            f"{log.later} later entries wait for their witnesses and were not looked at: run this again in a minute"
        )
    return report


class Witnessed:
    """A relay's log up to the newest checkpoint that other nations have cosigned, or all of it before there is one.

    Attributes:
        later: Entries that the relay has signed since, by its own word; known once the checkpoint was asked for.
    """

    def __init__(self, log: Log) -> None:
        """Hold the relay's log."""
        self._log = log
        self.later = 0

    def checkpoint(self) -> bytes:
        """Return the checkpoint to verify; what is malformed is left to whoever does."""
        from infoexchange.errors import ExchangeError
        from infoexchange.tlog import Checkpoint

        newest, cosigned = self._log.checkpoint(), self._log.cosigned()
        if not cosigned:
            return newest
        with contextlib.suppress(ExchangeError):
            self.later = max(0, Checkpoint.parse(newest).size - Checkpoint.parse(cosigned).size)
        return cosigned

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order."""
        return self._log.leaves(start, count)
