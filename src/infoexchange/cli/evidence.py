"""Evidence: make, verify and show the one file that proves a message without showing more of it than was chosen."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli import disclose, show, unpack
from infoexchange.cli.anchor import Anchor, add_anchor
from infoexchange.cli.endings import opened
from infoexchange.cli.output import FAILED, INDETERMINATE, PASSED, Output, Table, of_system
from infoexchange.cli.parser import Subparsers, add_command, add_group
from infoexchange.cli.passphrase import add_home

if TYPE_CHECKING:
    from infoexchange.directory import Directory
    from infoexchange.listing import Roots
    from infoexchange.verdict import Report

_MARKS = {PASSED: "ok", FAILED: "FAILED", INDETERMINATE: "open"}
MAKES = "Check the path; `infoexchange evidence make` writes such files."


def register(subparsers: Subparsers) -> None:
    """Add `evidence make | verify | show | disclose | unpack`."""
    group = add_group(
        subparsers, "evidence", "make, verify, show or unpack an evidence file, or disclose records in one"
    )
    make = add_command(group, "make", "collect everything that proves a message into one file", _make)
    make.add_argument("id", metavar="ID", help="the message, as `send` and `receive` print it: 64 hexadecimal digits")
    add_home(make)
    make.add_argument("--out", metavar="FILE", type=Path, required=True, help="new evidence file, by custom .ixev")
    make.add_argument("--sealed", action="store_true", help="leave the ciphertext out; the signed manifest stays")

    verify = add_command(group, "verify", "check an evidence file, offline and without any key", _verify)
    verify.add_argument("files", metavar="FILE", type=Path, nargs="+", help="evidence files")
    add_anchor(verify, "file")

    show.register(group)
    disclose.register(group)
    unpack.register(group)


def digest_of(text: str) -> bytes:
    """Return the digest that a person gave as an ID."""
    from infoexchange.errors import Reason, error

    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise error(Reason.BAD_FIELD, field="ID", detail="64 hexadecimal digits are needed", next_step="Copy it whole.")
    return digest


@contextlib.contextmanager
def asking_about(digest: bytes) -> Iterator[None]:
    """Say of a message that this agency knows nothing of what its user can do about it."""
    from infoexchange.errors import RefusedError, error

    try:
        yield
    except RefusedError as problem:
        name = f"message {digest.hex()[:16]}"
        step = "Check the ID: sender and recipients can ask, recipients once they have received the message."
        raise error(problem.reason, field=name, detail=problem.detail, next_step=step) from None


def _make(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.receive import inbox_of
    from infoexchange.envelope import Envelope
    from infoexchange.home.files import in_file, read_file, write_new
    from infoexchange.manifest import Manifest
    from infoexchange.transport import connect

    digest = digest_of(args.id)
    home = opened(args, out)
    received = inbox_of(args.home, digest) / "envelope.bin"
    envelope: Envelope | Manifest | None = None
    if received.exists():
        with in_file(received):
            envelope = Envelope.parse(read_file(received, next_step="Check the path."))
    with connect(home) as mailbox, asking_about(digest):
        if envelope is None and mailbox.records:
            envelope = mailbox.records.manifest(digest)  # of what was destroyed this is left
        evidence = mailbox.evidence(digest, envelope)
    if args.sealed:
        evidence = evidence.sealed()
    write_new(args.out, evidence.raw, mode=0o644)  # never over a key, or over older evidence
    out.show(
        {"id": digest.hex(), "file": str(args.out), "size": len(evidence.raw), "events": len(evidence.events)},
        f"Wrote {args.out}: {len(evidence.raw)} bytes, {len(evidence.events)} log entries, "
        f"{len(evidence.statements)} statements of recipients. It holds no key and no plaintext.",
        f"Next: infoexchange evidence verify {args.out} --roots {args.home / 'roots.pb'}",
    )
    return PASSED


def _verify(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.errors import ExchangeError
    from infoexchange.home.files import read_file

    anchor = Anchor.of(args)
    codes = set()
    for file in args.files:
        try:
            raw = read_file(file, next_step=MAKES)
        except (ExchangeError, OSError) as problem:  # the other files are looked at all the same
            out.problem(of_system(problem) if isinstance(problem, OSError) else problem)
            codes.add(FAILED)
            continue
        report = examine(raw, anchor.roots, anchor.own)
        _show_report(out, str(file), report)
        codes.add(report.verdict.value)
    return next(code for code in (FAILED, INDETERMINATE, PASSED) if code in codes)


def examine(raw: bytes, roots: Roots, directory: Directory | None = None) -> Report:
    """Return the findings on an evidence file; reads the clock only to refuse cosignatures from the future.

    Args:
        raw: Bytes of the file.
        roots: Trust anchor.
        directory: A directory verified under it, to be used instead of the file's own copy.
    """
    from infoexchange.errors import ExchangeError
    from infoexchange.evidence import Evidence
    from infoexchange.verdict import Check, Report, Verdict

    step = "format"
    try:
        evidence = Evidence.parse(raw)
        step = "directory"
        directory = directory or evidence.directory(roots)
    except ExchangeError as problem:
        where = f"{problem.field}: {problem.detail}".strip(": ")
        return Report((Check(step, Verdict.TOTAL_FAILED, problem.reason.word, where),))
    return evidence.verify(directory, now=datetime.now(UTC))


def unexamined() -> Report:
    """Return what can be said of a file without a trust anchor."""
    from infoexchange.verdict import Check, Report, Verdict

    detail = "no root keys were given, so nothing in the file was judged"
    return Report((Check("trust anchor", Verdict.INDETERMINATE, "not examined", detail),))


def findings(report: Report) -> Table:
    """Return every check as a row."""
    rows = [
        (_MARKS[check.verdict.value], check.name, f"{check.reason}: {check.detail}" if check.reason else check.detail)
        for check in report.checks
    ]
    return Table(("", "check", "finding"), rows)


def as_data(name: str, report: Report) -> dict[str, object]:
    """Return a report on a file in the form that is printed as JSON."""
    checks = [
        {"name": c.name, "verdict": c.verdict.word, "reason": c.reason, "detail": c.detail} for c in report.checks
    ]
    return {"file": name, "verdict": report.verdict.word, "checks": checks}


def _show_report(out: Output, name: str, report: Report) -> None:
    out.show(as_data(name, report), findings(report), f"{report.verdict.word}  {name}")
