"""Writing: from a version to a draft, and from a draft to the content of the next version."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infoexchange.cli.directory import files, showing
from infoexchange.cli.endings import endings_data, endings_parts
from infoexchange.cli.output import PASSED, Output, Table

if TYPE_CHECKING:
    from infoexchange.directory import Directory
    from infoexchange.listing import Listing


def template(args: argparse.Namespace, out: Output) -> int:
    """Print a draft to begin with."""
    from infoexchange.cli.draft import TEMPLATE

    out.show({"template": TEMPLATE}, TEMPLATE.rstrip())
    return PASSED


def edit(args: argparse.Namespace, out: Output) -> int:
    """Write a version as a draft."""
    from infoexchange.cli.draft import write_draft
    from infoexchange.home.files import write_new

    current = files.read_current(args.current)
    write_new(args.out, write_draft(current.listing, current.digest).encode(), mode=0o644)
    out.show(
        {"file": str(args.out), "version": current.version, "digest": current.digest.hex()},
        f"Wrote {args.out}: version {current.version} of {current.listing.community} as a draft.",
        "Next: change it, then run:",
        f"  infoexchange directory propose {args.out} --after {args.current} --out directory.payload",
    )
    return PASSED


def propose(args: argparse.Namespace, out: Output) -> int:
    """Make the content that is to be signed, and say what it changes."""
    from infoexchange.cli.draft import parse_draft
    from infoexchange.differences import compare
    from infoexchange.dsse import TYPE_DIRECTORY, Dsse
    from infoexchange.endings import of_directory, upcoming
    from infoexchange.home.files import write_file

    now = datetime.now(UTC)
    current = files.read_current(args.after) if args.after else None
    before = current.listing if current else None
    listing = parse_draft(args.draft, previous=before, previous_digest=current.digest if current else b"", now=now)
    write_file(args.out, listing.payload)
    digest = Dsse.make(TYPE_DIRECTORY, listing.payload, []).digest
    changes, ends = compare(before, listing), upcoming(of_directory(listing, now), now)
    after = f" --after {args.after}" if args.after else ""
    out.show(
        {"file": str(args.out), "digest": digest.hex(), "words": showing.words(digest)}
        | {"changes": showing.changes_data(changes), "endings": endings_data(ends, now)}
        | showing.listing_data(listing),
        *showing.changes_parts(changes),
        "",
        *endings_parts(ends, now),
        *showing.spoken(digest),
        f"Wrote {args.out}. Next: {_signers(listing, current)} each run, on a machine of their own,",
        f"  infoexchange directory sign {args.out}{after} --key ROOTKEY",
    )
    return PASSED


def _signers(listing: Listing, current: Directory | None) -> str:
    holders = f"at least {listing.roots.threshold} holders of its root keys"
    if current and current.listing.roots != listing.roots:
        holders += f", and {current.listing.roots.threshold} of the root keys of the version before,"
    return holders


def roots(args: argparse.Namespace, out: Output) -> int:
    """Make the trust anchor."""
    from infoexchange.cli import rootkey
    from infoexchange.differences import fingerprint
    from infoexchange.home.files import read_file, write_file
    from infoexchange.listing import Roots

    keys = [rootkey.parse_public(read_file(file, next_step=files.CHECK), field=str(file)) for file in args.files]
    # What cannot be read back must not be handed out: a key given twice, a threshold that nobody reaches.
    made = Roots.parse(Roots(args.threshold, tuple(keys)).raw)
    write_file(args.out, made.raw)
    holders = [key.holder for key in keys]
    out.show(
        {"file": str(args.out), "threshold": made.threshold, "holders": holders, "fingerprint": fingerprint(made.raw)},
        Table(("holder", "SHA-256 of the key"), [(key.holder, fingerprint(key.public)) for key in keys]),
        f"Wrote {args.out}: {made.threshold} of {len(keys)} must sign. SHA-256 of the file: {fingerprint(made.raw)}",
        "Next: name it in the draft, and hand it to every party in a way that you trust.",
    )
    return PASSED
