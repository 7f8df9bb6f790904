"""Misbehaving: verify, offline, a file which proves that a log or a witness contradicted itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.evidence import findings
from infoexchange.cli.output import FAILED, INDETERMINATE, PASSED, Output, UsageError, of_system
from infoexchange.cli.parser import Subparsers, add_command, add_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infoexchange.misbehaviour import Misbehaviour
    from infoexchange.tlog import VerifierKey
    from infoexchange.verdict import Report


def register(group: Subparsers) -> None:
    """Add `audit misbehaviour verify`."""
    misbehaviour = add_group(group, "misbehaviour", "verify proofs that a log or a witness contradicted itself")
    verify = add_command(misbehaviour, "verify", "check proofs of misbehaviour, offline", _verify)
    verify.add_argument("files", metavar="FILE", type=Path, nargs="+", help="proofs, as `audit watch` writes them")
    verify.add_argument("--key", metavar="KEY", nargs="+", default=[], help="all verifier keys of the accused")
    verify.add_argument("--roots", metavar="FILE", type=Path, help="trust anchor, where keys come from the directory")
    verify.add_argument("--directory", metavar="FILE", type=Path, help="directory that lists the keys of the accused")


def _verify(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.errors import ExchangeError
    from infoexchange.home.files import read_file

    keys = _keys(args)
    codes = set()
    for file in args.files:
        try:
            raw = read_file(file, next_step="Check the path; `infoexchange audit watch` writes such files.")
        except (ExchangeError, OSError) as problem:  # the other files are looked at all the same
            out.problem(of_system(problem) if isinstance(problem, OSError) else problem)
            codes.add(FAILED)
            continue
        report, proof = examine(raw, keys)
        checks = [{"name": c.name, "verdict": c.verdict.word, "reason": c.reason, "detail": c.detail}
                  for c in report.checks]  # fmt: skip
        data = {"file": str(file), "verdict": report.verdict.word, "checks": checks}
        if proof:
            data |= {"against": proof.accused, "log": proof.origin, "kind": proof.kind.value}
        said = [sentence(proof)] if proof and report.verdict.value == PASSED else []
        out.show(data, findings(report), *said, f"{report.verdict.word}  {file}")
        codes.add(report.verdict.value)
    return next(code for code in (FAILED, INDETERMINATE, PASSED) if code in codes)


def _keys(args: argparse.Namespace) -> list[VerifierKey]:
    """Return the keys to judge with: those of the command line, or all that a directory lists."""
    from infoexchange.directory import Directory
    from infoexchange.home.files import in_file, read_file
    from infoexchange.listing import Roots
    from infoexchange.tlog import VerifierKey

    if bool(args.key) == bool(args.directory) or bool(args.directory) != bool(args.roots):
        raise UsageError("name the keys of the accused with --key, or --directory and --roots")
    if args.key:
        return [VerifierKey.parse(text) for text in args.key]
    with in_file(args.roots):
        roots = Roots.parse(read_file(args.roots, next_step="Ask the directory's maintainers for the root keys."))
    with in_file(args.directory):
        directory = Directory.parse(read_file(args.directory, next_step="Check the path."), roots=roots)
    return [VerifierKey.parse(key) for party in directory.relays() for key in (*party.log_keys, *party.witness_keys)]


def examine(raw: bytes, keys: Sequence[VerifierKey]) -> tuple[Report, Misbehaviour | None]:
    """Return the findings on a proof, and the proof if it could be read; no clock and no network are asked.

    Args:
        raw: Bytes of the file.
        keys: Of anybody; only those with the name of the accused count, and all of them.
    """
    from infoexchange.misbehaviour import Misbehaviour
    from infoexchange.verdict import Examination, OpenQuestionError

    exam, found = Examination(), list[Misbehaviour]()

    def read() -> str:
        found.append(Misbehaviour.parse(raw))
        return f"{found[0].kind.value}, against {found[0].accused}"

    def judge() -> str:
        own = [key for key in keys if key.name == found[0].accused]
        if not own:
            raise OpenQuestionError("unknown_party", f"no key of {found[0].accused} is given")
        return f"signed with {', '.join(key.label for key in found[0].verify(own))}"

    if exam.check("format", read):
        exam.check("contradiction", judge)
    return exam.report(), found[0] if found else None


def sentence(proof: Misbehaviour) -> str:
    """Return in words that a court can read what a verified proof shows."""
    from infoexchange.misbehaviour import Kind

    who = f"The log {proof.origin}" if proof.is_of_log else f"The witness {proof.accused}, of the log {proof.origin},"
    first, second = proof.first.size, proof.second.size
    words = {
        Kind.SAME_SIZE: f"signed two different logs of {first} entries.",
        Kind.PREFIX: f"signed a log of {first} entries, and one of {second} entries that does not begin with them.",
        Kind.ORDER: f"signed {first} entries later than {second}: it was rolled back, or its clock was.",
    }
    return f"{who} {words[proof.kind]} No honest one does, whatever else is true."
