"""Unpack: the parts of an evidence file as plain files, so that an auditor can check them with tools of others."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command

if TYPE_CHECKING:
    from infoexchange.directory import Directory
    from infoexchange.evidence import Evidence
    from infoexchange.evidence.unpacking import Part
    from infoexchange.listing import Roots

REPORT = "report.json"


def register(group: Subparsers) -> None:
    """Add `unpack` to the commands about evidence."""
    unpack = add_command(group, "unpack", "write the parts of an evidence file as plain files for other tools", _unpack)
    unpack.add_argument("file", metavar="FILE", type=Path, help="evidence file")
    unpack.add_argument("--to", metavar="DIR", type=Path, required=True, help="new folder for the files")
    unpack.add_argument(
        "--roots", metavar="FILE", type=Path, help="trust anchor: then the verdict and the witness policies are written"
    )


def _unpack(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import MAKES, as_data, examine, unexamined
    from infoexchange.evidence import Evidence
    from infoexchange.evidence.unpacking import Part, unpack
    from infoexchange.home.files import in_file, read_file
    from infoexchange.listing import Roots

    raw = read_file(args.file, next_step=MAKES)
    with in_file(args.file):
        evidence = Evidence.parse(raw)
    roots = None
    if args.roots:
        with in_file(args.roots):
            roots = Roots.parse(read_file(args.roots, next_step="Ask the directory's maintainers for the root keys."))
    report = examine(raw, roots) if roots else unexamined()
    data = as_data(str(args.file), report)
    verdict = Part(REPORT, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode(), "verdict and every check")
    parts = [*unpack(evidence, _directory(evidence, roots)), verdict]
    _write(args.to, parts)
    out.show(
        {"folder": str(args.to), "verdict": report.verdict.word, "files": [p.name for p in parts]},
        Table(("file", "bytes", "what it is"), [(part.name, len(part.data), part.meaning) for part in parts]),
        f"Wrote {len(parts)} files to {args.to}. Verdict: {report.verdict.word}",
    )
    return report.verdict.value if roots else PASSED


def _directory(evidence: Evidence, roots: Roots | None) -> Directory | None:
    """Return the file's directory if its signatures hold."""
    from infoexchange.errors import ExchangeError

    try:
        return evidence.directory(roots) if roots else None
    except ExchangeError:
        return None  # the report names the reason


def _write(folder: Path, parts: list[Part]) -> None:
    """Write files into a folder that holds nothing else, so that none is taken for a part of this evidence."""
    from infoexchange.errors import Reason, error
    from infoexchange.home.files import write_new

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise error(Reason.NOT_PERMITTED, field=str(folder), detail="not empty", next_step="Name a new folder.")
    for part in parts:
        write_new(folder / part.name, part.data, mode=0o644)
