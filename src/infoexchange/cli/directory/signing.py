"""Signing: each holder reads what changes, signs on a machine of its own, and anybody joins the signatures."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infoexchange.cli.directory import files, showing
from infoexchange.cli.directory.ballot import Ballot
from infoexchange.cli.endings import endings_data, endings_parts
from infoexchange.cli.output import PASSED, Output, Table, UsageError
from infoexchange.cli.passphrase import keychain_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infoexchange.directory import Directory
    from infoexchange.keys import SigningKey
    from infoexchange.listing import RootKey


def review(args: argparse.Namespace, out: Output) -> int:
    """Tell what a version changes and who has signed it; nothing is written."""
    version = files.read_version(args.file)
    current = files.current_for(version, args.after)
    ballot = _ballot(version, current)
    data, parts = _about(version, current)
    out.show({**data, **ballot.data()}, *parts, *ballot.parts())
    return PASSED


def sign(args: argparse.Namespace, out: Output) -> int:
    """Show, ask, and write a file with one more signature."""
    from infoexchange.cli import rootkey
    from infoexchange.directory import Directory
    from infoexchange.home.files import write_file

    version = files.read_version(args.file)
    current = files.current_for(version, args.after)
    next_step = "Run: infoexchange keygen root --holder WHO --out FILE"
    key = rootkey.parse_secret(keychain_of(args).read(args.key, next_step=next_step), field=str(args.key))
    holder = _holder(version, current, key, args.key).holder
    data, parts = _about(version, current)
    if not args.yes:
        out.check_person()
    for part in parts:
        out.say(part)
    if not args.yes and not out.agreed("sign", f"To sign {version.name} as {holder}, type: sign"):
        raise UsageError("nothing was signed")
    signed = Directory.sign(version.dsse.payload, [key])
    if version.signed:
        signed = Directory.merge([version.dsse.raw, signed])
    file: Path = args.out or args.file.with_name(f"{args.file.name}.{key.key_id}.signed")
    write_file(file, signed)
    ballot = _ballot(files.version_of(file, signed), current)
    out.show(
        {"file": str(file), "key_id": key.key_id, "holder": holder, **data, **ballot.data()},
        f"Signed {version.name} as {holder}: {file}.",
        *(side.sentence for side in ballot.sides),
        "Next: join the files of all holders with `infoexchange directory merge`.",
    )
    return PASSED


def merge(args: argparse.Namespace, out: Output) -> int:
    """Join the signatures of several files, one for each root key."""
    from infoexchange.dsse import Dsse
    from infoexchange.errors import Reason, error
    from infoexchange.home.files import write_file

    versions = [files.read_version(file) for file in args.files]
    first = versions[0]
    current = files.current_for(first, args.after)
    counted: dict[RootKey, tuple[bytes, str]] = {}
    strangers: list[str] = []
    for version in versions:
        _check_signed(version)
        _check_same(first, version)
        ballot = _ballot(version, current)
        for key, place in ((key, place) for side in ballot.sides for key, place in side.signed.items()):
            counted.setdefault(key, (version.dsse.signatures[place], version.dsse.key_ids[place]))
        strangers += [f"{hint} in {version.file}" for hint in ballot.strangers()]
    left_out = [f"Left out: a signature that none of these root keys made: {stranger}." for stranger in strangers]
    if not counted:
        detail = "no root key of this version or the one before signed it"
        raise error(Reason.BAD_SIGNATURE, field=str(first.file), detail=detail)
    pairs = [counted[key] for key in sorted(counted, key=lambda key: key.public)]
    merged = Dsse.make(first.dsse.payload_type, first.dsse.payload, pairs).raw
    write_file(args.out, merged)
    ballot = _ballot(files.version_of(args.out, merged), current)
    after = f" --after {args.after}" if args.after else ""
    step = f"Next: infoexchange directory verify {args.out} --roots FILE{after}"
    out.show(
        {"file": str(args.out), **ballot.data(), "left_out": strangers},
        *left_out,
        f"Wrote {args.out}.",
        *(side.sentence for side in ballot.sides),
        step if ballot.is_enough else "More must sign.",
    )
    return PASSED


def _check_signed(version: files.Version) -> None:
    """Raise `BAD_FIELD` for a content: there is nothing in it to join."""
    from infoexchange.errors import Reason, error

    if not version.signed:
        step = "Name the files that `infoexchange directory sign` wrote."
        raise error(Reason.BAD_FIELD, field=str(version.file), detail="nobody has signed it", next_step=step)


def _check_same(first: files.Version, other: files.Version) -> None:
    """Raise `BAD_FIELD`, naming what differs, unless two files carry the same content."""
    from infoexchange.differences import compare
    from infoexchange.errors import Reason, error

    if first.dsse.payload == other.dsse.payload:
        return
    change, *others = compare(first.listing, other.listing)
    more = f" (and {len(others)} more)" if others else ""
    raise error(
        Reason.BAD_FIELD,
        field=f"{other.file}: {change.path}",
        detail=f"it and {first.file} sign different contents: {change.sentence.rstrip('.')}{more}",
        next_step=f"See `infoexchange directory diff {first.file} {other.file}`; all must sign the same file.",
    )


def _ballot(version: files.Version, current: Directory | None) -> Ballot:
    return Ballot(version.dsse, version.listing.roots, current.listing.roots if current else None)


def _holder(version: files.Version, current: Directory | None, key: SigningKey, file: Path) -> RootKey:
    """Return the root key that a key file is, or raise `NOT_PERMITTED`: a stranger's signature counts nowhere."""
    from infoexchange.errors import Reason, error

    every = [*version.listing.roots.keys, *(current.listing.roots.keys if current else ())]
    for root in every:
        if root.public == key.public:
            return root
    raise error(
        Reason.NOT_PERMITTED,
        field=str(file),
        detail=f"this is no root key of {version.name}, nor of the version before",
        next_step="Check the key file; root keys are listed by `infoexchange directory review`.",
    )


def _about(version: files.Version, current: Directory | None) -> tuple[dict[str, Any], Sequence[str | Table]]:
    """Return what a signer must read: every change, what ends soon, and the fingerprint."""
    from infoexchange.differences import compare
    from infoexchange.endings import of_directory, upcoming

    now = datetime.now(UTC)
    changes = compare(current.listing if current else None, version.listing)
    ends = upcoming(of_directory(version.listing, now), now)
    digest = version.dsse.digest
    against = f"against version {current.version}" if current else "its first version"
    parts: list[str | Table] = [
        f"Directory of {version.listing.community}, version {version.listing.version}, {against}:",
        *showing.changes_parts(changes),
        "",
        *endings_parts(ends, now),
        *showing.spoken(digest),
        "",
    ]
    data = {
        "digest": digest.hex(),
        "words": showing.words(digest),
        "changes": showing.changes_data(changes),
        "endings": endings_data(ends, now),
    }
    return data | showing.listing_data(version.listing), parts
