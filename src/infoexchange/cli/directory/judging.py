"""Judging: whether a version may be used, what differs between two, what stands in one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from infoexchange.cli.directory import files, showing
from infoexchange.cli.directory.ballot import Ballot
from infoexchange.cli.endings import endings_data, endings_parts
from infoexchange.cli.output import FAILED, PASSED, Output


def verify(args: argparse.Namespace, out: Output) -> int:
    """Say who signed, who is missing and whether the version may be used; the verdict is that of `Directory`."""
    from infoexchange.directory import Directory
    from infoexchange.errors import ExchangeError, Reason
    from infoexchange.home.files import in_file, read_file

    now = datetime.now(UTC)
    roots = files.read_roots(args.roots)
    current = None
    for file in args.after:
        raw = read_file(file, next_step=files.CHECK)
        with in_file(file):
            current = current.succeed(raw) if current else Directory.parse(raw, roots=roots)
    raw = read_file(args.file, next_step=files.CHECK)
    version = files.read_version(args.file)
    problem: ExchangeError | None = None
    signers: Sequence[str] = ()
    try:
        with in_file(args.file):
            directory = current.succeed(raw) if current else Directory.parse(raw, roots=roots)
            signers = directory.signers
            directory.check_current(now)
    except ExchangeError as found:
        # Too few signatures are told with names; anything else is one line.
        if found.reason is not Reason.BAD_SIGNATURE or not version.signed:
            raise
        problem = found
    before = current.listing.roots if current else roots
    ballot = Ballot(version.dsse, version.listing.roots, before)
    end = f"{version.listing.expires_at:%Y-%m-%d %H:%M}Z"
    verdict = f"OK: {args.file}: {version.name} may take effect, valid until {end}"
    if version.listing.version > 1 and not current:
        verdict = f"OK: {args.file}: enough of these root keys signed {version.name}, valid until {end}." + (
            " Whether it follows the version in force was not checked: name that with --after."
        )
    out.show(
        {"verified": problem is None, "signers": list(signers), "digest": version.dsse.digest.hex()}
        | {"follows": current.version if current else None}
        | ballot.data()
        | showing.listing_data(version.listing),
        *ballot.parts(),
        f"{args.file}: {version.name} may NOT take effect." if problem else verdict,
    )
    if problem:
        out.problem(problem)
    return FAILED if problem else PASSED


def diff(args: argparse.Namespace, out: Output) -> int:
    """Tell every difference between two versions; neither is verified."""
    from infoexchange.differences import compare

    old, new = files.read_version(args.old), files.read_version(args.new)
    changes = compare(old.listing, new.listing)
    out.show(
        {"old": old.dsse.digest.hex(), "new": new.dsse.digest.hex(), "changes": showing.changes_data(changes)},
        f"From {old.name} to {new.name}:",
        *showing.changes_parts(changes),
        "Neither was verified here: use `infoexchange directory verify`.",
    )
    return PASSED


def show(args: argparse.Namespace, out: Output) -> int:
    """Print what stands in a version, and what of it ends soon."""
    from infoexchange.directory import Directory
    from infoexchange.endings import of_directory, upcoming
    from infoexchange.home.files import in_file, read_file

    now = datetime.now(UTC)
    version = files.read_version(args.file)
    signers: Sequence[str] = ()
    if args.roots:
        roots = files.read_roots(args.roots)
        with in_file(args.file):
            signers = Directory.parse(read_file(args.file, next_step=files.CHECK), roots=roots).signers
    ends = upcoming(of_directory(version.listing, now), now)
    out.show(
        {"verified": bool(args.roots), "signers": list(signers), "digest": version.dsse.digest.hex()}
        | {"endings": endings_data(ends, now)}
        | showing.listing_data(version.listing),
        *showing.listing_parts(version.listing),
        *endings_parts(ends, now),
        *showing.spoken(version.dsse.digest),
        f"Signed by {', '.join(signers)}." if args.roots else "Not verified: no --roots was given.",
    )
    return PASSED
