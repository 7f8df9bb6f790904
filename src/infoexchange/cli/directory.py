"""Directory: write, sign, join, read and verify directory versions.

Each holder of a root key signs on a machine of its own; `make` and `merge` need no key at all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infoexchange.cli.output import PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command, add_group
from infoexchange.cli.passphrase import add_passphrase, keychain_of

if TYPE_CHECKING:
    from infoexchange.dsse import Dsse
    from infoexchange.listing import Listing, Roots

_CHECK = "Check the path."


def register(subparsers: Subparsers) -> None:
    """Add `directory` with `template`, `make`, `roots`, `sign`, `merge`, `show` and `verify`."""
    group = add_group(subparsers, "directory", "write, sign, read and verify the directory")

    add_command(group, "template", "print a commented draft to begin with", _template)

    make = add_command(group, "make", "make the content of the next version from a draft", _make)
    make.add_argument("draft", metavar="DRAFT", type=Path, help="JSON file, as `directory template` prints it")
    make.add_argument("--previous", metavar="FILE", type=Path, help="signed version before, if there is one")
    _add_out(make, "content to be signed")

    roots = add_command(group, "roots", "make the trust anchor from the public parts of root keys", _roots)
    roots.add_argument("files", metavar="PUB", type=Path, nargs="+", help="FILE.pub of `keygen root`, from each holder")
    roots.add_argument("--threshold", metavar="N", type=int, required=True, help="how many of them must sign")
    _add_out(roots, "trust anchor")

    sign = add_command(group, "sign", "sign a content, or add a signature to a signed one", _sign)
    sign.add_argument("file", metavar="FILE", type=Path, help="content or signed directory")
    sign.add_argument("--key", metavar="ROOTKEY", type=Path, required=True, help="key file of `keygen root`")
    sign.add_argument("--out", metavar="FILE", type=Path, help="file to write (default: FILE.KEYID.signed)")
    add_passphrase(sign)

    merge = add_command(group, "merge", "join the signatures of several files over the same content", _merge)
    merge.add_argument("files", metavar="FILE", type=Path, nargs="+", help="files that `directory sign` wrote")
    _add_out(merge, "signed directory")

    show = add_command(group, "show", "print what stands in a content or a signed directory", _show)
    show.add_argument("file", metavar="FILE", type=Path, help="content or signed directory")
    show.add_argument("--roots", metavar="FILE", type=Path, help="trust anchor; without it nothing is verified")

    verify = add_command(group, "verify", "verify signatures, succession and expiry", _verify)
    verify.add_argument("file", metavar="FILE", type=Path, help="signed directory")
    verify.add_argument("--roots", metavar="FILE", type=Path, required=True, help="trust anchor")
    verify.add_argument(
        "--previous", metavar="FILE", type=Path, help="version before; the trust anchor then verifies that one"
    )


def _add_out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help=f"{what} to write")


def _template(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.draft import TEMPLATE

    out.show({"template": TEMPLATE}, TEMPLATE.rstrip())
    return PASSED


def _make(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.draft import parse_draft
    from infoexchange.directory import Directory
    from infoexchange.home.files import in_file, read_file, write_file

    previous = None
    if args.previous:
        raw = read_file(args.previous, next_step=_CHECK)
        # It must be whole: a version that its own roots did not sign is nothing to follow.
        with in_file(args.previous):
            previous = Directory.parse(raw, roots=_listing(raw)[0].roots)
    listing = parse_draft(
        args.draft,
        previous=previous.listing if previous else None,
        previous_digest=previous.digest if previous else b"",
        now=datetime.now(UTC),
    )
    write_file(args.out, listing.payload)
    holders = f"at least {listing.roots.threshold} holders of its root keys"
    if previous and previous.listing.roots != listing.roots:
        holders += f", and {previous.listing.roots.threshold} of the root keys of the version before,"
    out.show(
        {"file": str(args.out), **_data(listing)},
        *_parts(listing),
        f"Wrote {args.out}. Next: {holders} run",
        f"  infoexchange directory sign {args.out} --key ROOTKEY",
    )
    return PASSED


def _roots(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli import rootkey
    from infoexchange.home.files import read_file, write_file
    from infoexchange.listing import Roots

    keys = [rootkey.parse_public(read_file(file, next_step=_CHECK), field=str(file)) for file in args.files]
    # What cannot be read back must not be handed out: a key given twice, a threshold that nobody reaches.
    roots = Roots.parse(Roots(args.threshold, tuple(keys)).raw)
    write_file(args.out, roots.raw)
    holders = [key.holder for key in keys]
    out.show(
        {"file": str(args.out), "threshold": roots.threshold, "holders": holders},
        f"Wrote {args.out}: {roots.threshold} of {len(keys)} must sign ({', '.join(holders)}).",
        "Next: name it in the draft, and hand it to every party in a way that you trust.",
    )
    return PASSED


def _sign(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli import rootkey
    from infoexchange.directory import Directory
    from infoexchange.home.files import in_file, read_file, write_file

    raw = read_file(args.file, next_step=_CHECK)
    with in_file(args.file):
        listing, dsse = _listing(raw)
    next_step = "Run: infoexchange keygen root --holder WHO --out FILE"
    key = rootkey.parse_secret(keychain_of(args).read(args.key, next_step=next_step), field=str(args.key))
    signed = Directory.sign(dsse.payload if dsse else raw, [key])
    if dsse:
        signed = Directory.merge([raw, signed])
    file: Path = args.out or args.file.with_name(f"{args.file.name}.{key.key_id}.signed")
    write_file(file, signed)
    count, needed = _signatures(signed)
    out.show(
        {"file": str(file), "key_id": key.key_id, "signatures": count, "needed": needed, **_data(listing)},
        *_parts(listing),
        f"Signed this content: {file} ({count} of {needed} signatures needed by its own roots).",
        "Next: join the files of all holders with `infoexchange directory merge`.",
    )
    return PASSED


def _merge(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.directory import Directory
    from infoexchange.home.files import in_file, read_file, write_file

    raws = []
    for file in args.files:
        raws.append(read_file(file, next_step=_CHECK))
        with in_file(file):
            Directory.merge(raws[-1:])  # alone, so that a file that is none is named
    merged = Directory.merge(raws)
    write_file(args.out, merged)
    count, needed = _signatures(merged)
    out.show(
        {"file": str(args.out), "signatures": count, "needed": needed},
        f"Wrote {args.out}: {count} of {needed} signatures needed by its own roots.",
        f"Next: infoexchange directory verify {args.out} --roots FILE" if count >= needed else "More must sign.",
    )
    return PASSED


def _show(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.directory import Directory
    from infoexchange.home.files import in_file, read_file

    raw = read_file(args.file, next_step=_CHECK)
    signers: Sequence[str] = ()
    roots = _read_roots(args.roots) if args.roots else None
    with in_file(args.file):
        listing, _ = _listing(raw)
        if roots:
            signers = Directory.parse(raw, roots=roots).signers
    out.show(
        {"verified": bool(args.roots), "signers": list(signers), **_data(listing)},
        *_parts(listing),
        f"Signed by {', '.join(signers)}." if args.roots else "Not verified: no --roots was given.",
    )
    return PASSED


def _verify(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.directory import Directory
    from infoexchange.home.files import in_file, read_file

    raw, roots, previous = read_file(args.file, next_step=_CHECK), _read_roots(args.roots), None
    if args.previous:
        with in_file(args.previous):
            previous = Directory.parse(read_file(args.previous, next_step=_CHECK), roots=roots)
    with in_file(args.file):
        directory = previous.succeed(raw) if previous else Directory.parse(raw, roots=roots)
        directory.check_current(datetime.now(UTC))
    out.show(
        {"verified": True, "signers": list(directory.signers), "digest": directory.digest.hex()}
        | _data(directory.listing),
        f"OK: {args.file}: version {directory.version}, signed by {', '.join(directory.signers)},"
        f" valid until {directory.listing.expires_at:%Y-%m-%d %H:%M}Z",
    )
    return PASSED


def _read_roots(file: Path) -> Roots:
    from infoexchange.home.files import in_file, read_file
    from infoexchange.listing import Roots

    with in_file(file):
        return Roots.parse(read_file(file, next_step=_CHECK))


def _listing(raw: bytes) -> tuple[Listing, Dsse | None]:
    """Return the content of a file, and its container where it is a signed one; nothing is verified."""
    from infoexchange.dsse import TYPE_DIRECTORY, Dsse
    from infoexchange.errors import MalformedError
    from infoexchange.listing import DIRECTORY_SIZE_MAX, Listing

    try:
        dsse = Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX)
    except MalformedError:
        return Listing.parse(raw), None
    return Listing.parse(dsse.payload), dsse


def _signatures(raw: bytes) -> tuple[int, int]:
    """Return how many keys of its own roots signed a directory, and how many must."""
    from dataclasses import replace

    from infoexchange.errors import UntrustedError

    listing, dsse = _listing(raw)
    assert dsse
    needed = listing.roots.threshold
    try:
        return len(replace(listing.roots, threshold=0).check_signed(dsse)), needed
    except UntrustedError:
        return 0, needed


def _data(listing: Listing) -> dict[str, Any]:
    """Return a content as JSON shows it."""
    from infoexchange.listing import Role

    return {
        "community": listing.community,
        "version": listing.version,
        "issued": listing.issued_at.isoformat(),
        "expires": listing.expires_at.isoformat(),
        "previous": listing.previous.hex(),
        "threshold": listing.roots.threshold,
        "roots": [key.holder for key in listing.roots.keys],
        "nations": [{"code": n.code, "suffix": n.suffix, "treaties": list(n.treaties)} for n in listing.nations],
        "relays": [
            {
                "name": p.name,
                "nation": p.nation,
                "address": p.address,
                "log_keys": list(p.log_keys),
                "witness_keys": list(p.witness_keys),
            }
            for p in listing.parties
            if p.role is Role.RELAY
        ],
        "agencies": [
            {"name": p.name, "nation": p.nation, "relay": p.relay, "title": p.title, "domains": _words(p.domains)}
            for p in listing.parties
            if p.role is Role.AGENCY
        ],
        "groups": [{"name": g.name, "members": list(g.members)} for g in listing.groups],
        "suites": list(listing.suites),
    }


def _suite_name(number: int) -> str:
    from infoexchange.suites import SUITES

    return SUITES[number].name if number in SUITES else f"0x{number:04x}"


def _words(domains: Sequence[int]) -> list[str]:
    from infoexchange.catalogue import Domain

    known: dict[int, str] = {number: name.removeprefix("DOMAIN_").lower() for name, number in Domain.items()}
    return [known.get(number, str(number)) for number in domains]


def _parts(listing: Listing) -> list[str | Table]:
    """Return a content as a person reads it before signing."""
    data = _data(listing)
    parts: list[str | Table] = [
        f"Directory of {listing.community}, version {listing.version},"
        f" issued {listing.issued_at:%Y-%m-%d %H:%M}Z, valid until {listing.expires_at:%Y-%m-%d %H:%M}Z.",
        f"{listing.roots.threshold} of {len(listing.roots.keys)} root keys must sign: {', '.join(data['roots'])}.",
        f"Suites accepted: {', '.join(map(_suite_name, listing.suites))}.",
        Table(
            ("nation", "suffix", "identity CAs", "TLS CAs"),
            [(n.code, n.suffix, len(n.identity_cas), len(n.tls_cas)) for n in listing.nations],
        ),
        Table(("relay", "nation", "address"), [(r["name"], r["nation"], r["address"]) for r in data["relays"]]),
        Table(
            ("agency", "nation", "relay", "domains"),
            [(a["name"], a["nation"], a["relay"], " ".join(a["domains"])) for a in data["agencies"]],
        ),
    ]
    if data["groups"]:
        parts.append(Table(("group", "members"), [(g["name"], " ".join(g["members"])) for g in data["groups"]]))
    return [item for part in parts for item in (part, "")]
