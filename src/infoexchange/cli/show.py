"""Show: an evidence file told in words, at a terminal or as a page for a court's file."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli import disclose
from infoexchange.cli.output import PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.cli.words import told

if TYPE_CHECKING:
    from infoexchange.evidence import Evidence

_NOT_IN_IT = ("subject", "domain", "marks", "case", "names of files", "content")
_NOT_SHOWN = ("what was not disclosed of the content",)


def register(group: Subparsers) -> None:
    """Add `show` to the commands about evidence."""
    show = add_command(group, "show", "tell in words what an evidence file says, without judging it", _show)
    show.add_argument("file", metavar="FILE", type=Path, help="evidence file")
    show.add_argument("--html", metavar="FILE", type=Path, help="also write it as one page that needs nothing else")
    show.add_argument("--roots", metavar="FILE", type=Path, help="trust anchor: then the page has the verdict as well")


def facts_of(evidence: Evidence) -> list[tuple[str, str]]:
    """Return what the signed header says, in words."""
    header = evidence.manifest.header
    facts = [
        ("message", evidence.digest.hex()),
        ("sender", header.sender),
        ("recipients", ", ".join(r.name for r in header.recipients)),
        ("status", header.op_status.name),
        ("precedence", header.precedence.name),
        ("made", f"{header.created_at:%Y-%m-%d %H:%M:%S}Z by the sender's clock"),
        ("expires", f"{header.expires_at:%Y-%m-%d %H:%M:%S}Z"),
        ("size", f"{evidence.manifest.body_length} bytes, padded and sealed"),
    ]
    refs = evidence.manifest.attachments
    if refs:
        sizes = ", ".join(str(ref.ct_length) for ref in refs)
        facts.append(("attachments", f"{len(refs)}, of {sizes} bytes, padded and sealed"))
    if evidence.transfers:
        facts.append(("passed on", " to ".join([*(t.sender for t in evidence.transfers), header.sender])))
    return facts


def absent_from(evidence: Evidence) -> list[str]:
    """Return what nobody finds in this file."""
    return [*(_NOT_SHOWN if evidence.disclosures else _NOT_IN_IT), *([] if evidence.envelope else ["ciphertext"])]


def _show(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import MAKES
    from infoexchange.cli.output import UsageError
    from infoexchange.evidence import Evidence
    from infoexchange.home.files import in_file, read_file

    if args.roots and not args.html:
        raise UsageError("--roots is for --html; `infoexchange evidence verify` judges a file")
    raw = read_file(args.file, next_step=MAKES)
    with in_file(args.file):
        evidence = Evidence.parse(raw)
    facts, absent, refs = facts_of(evidence), absent_from(evidence), evidence.manifest.attachments
    disclosures, parts = disclose.tell(evidence)
    events = [(e.routing.logged_at.strftime("%Y-%m-%d %H:%M:%SZ"), told(e.routing), e.index) for e in evidence.events]
    remark = "Not verified here: use `infoexchange evidence verify`."
    if args.html:
        _write_page(args, evidence)
        remark = f"{remark}\nWrote {args.html}"
    out.show(
        {
            **dict(facts),
            "attachments": [{"root": ref.ct_root.hex(), "bytes": ref.ct_length} for ref in refs],
            "events": [{"at": at, "what": what, "entry": index} for at, what, index in events],
            "disclosures": disclosures,
            "not_in_file": absent,
            "verified": False,
            **({"page": str(args.html)} if args.html else {}),
        },
        Table(("", ""), facts),
        Table(("logged", "what", "entry"), events),
        *parts,
        f"Not in this file: {', '.join(absent)}. {remark}",
    )
    return PASSED


def _write_page(args: argparse.Namespace, evidence: Evidence) -> None:
    """Write the page, with the verdict where there is a trust anchor."""
    from infoexchange.cli.evidence import examine, unexamined
    from infoexchange.cli.pages.evidence import evidence_page
    from infoexchange.home.files import in_file, read_file, write_file
    from infoexchange.listing import Roots

    report = unexamined()
    if args.roots:
        with in_file(args.roots):
            roots = Roots.parse(read_file(args.roots, next_step="Ask the directory's maintainers for the root keys."))
        report = examine(evidence.raw, roots)
    write_file(args.html, evidence_page(evidence, report, made_at=datetime.now(UTC)))
