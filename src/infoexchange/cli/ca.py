"""CA: a small national CA in a folder, for states that have none for this purpose, and for trials."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import PASSED, Output, Table
from infoexchange.cli.parser import Parser, Run, Subparsers, add_command, add_group
from infoexchange.cli.passphrase import add_passphrase, keychain_of, new_seal

if TYPE_CHECKING:
    from infoexchange.certificates import NationalCa
    from infoexchange.cli.register import Issued, Register

_KEY, _CERTIFICATE = "ca.key", "ca.pem"
_REQUEST = re.compile(rb"-----BEGIN CERTIFICATE REQUEST-----.*?-----END CERTIFICATE REQUEST-----", re.DOTALL)
_HEX = re.compile(r"[0-9a-f]{1,40}")  # 20 bytes at most (RFC 5280)
_KINDS = ("P-384", "ML-DSA-65")
_REASONS = (
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)


def register(subparsers: Subparsers) -> None:
    """Add `ca init`, `ca issue`, `ca revoke`, `ca crl` and `ca list`."""
    group = add_group(subparsers, "ca", "run a small national CA")

    init = add_command(group, "init", "make a CA for the names below a suffix", _init)
    init.add_argument("suffix", metavar="SUFFIX", help="suffix of the nation's names, such as th.example")
    init.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder of the CA")
    init.add_argument("--algorithm", choices=_KINDS, default=_KINDS[0], help="what it signs with; P-384 is the default")
    add_passphrase(init, new=True)

    issue = _command(group, "issue", "issue a certificate for every request in a file", _issue)
    issue.add_argument("request", metavar="REQUEST", type=Path, help="PEM file of certificate signing requests")
    issue.add_argument("--out", metavar="FILE", type=Path, required=True, help="PEM file to write, in the same order")
    add_passphrase(issue)

    revoke = _command(group, "revoke", "withdraw certificates; `ca crl` tells the world", _revoke)
    revoke.add_argument(
        "what",
        metavar="SERIAL|NAME",
        nargs="+",
        help="hexadecimal serial number, or a name: all its valid certificates",
    )
    revoke.add_argument("--reason", choices=_REASONS, default=_REASONS[0], help="why, in the words of RFC 5280")
    revoke.add_argument(
        "--since", metavar="TIME", type=_time, help="from when on, such as 2026-11-22T08:00Z; not in the future (now)"
    )
    revoke.add_argument(
        "--unregistered", action="store_true", help="also serial numbers that the register does not know"
    )

    crl = _command(group, "crl", "write the revocation list, valid for a week", _crl)
    crl.add_argument("--out", metavar="FILE", type=Path, required=True, help="DER file to write")
    add_passphrase(crl)

    _command(group, "list", "list what was issued and what became of it", _list)


def _command(group: Subparsers, name: str, summary: str, run: Run) -> Parser:
    parser = add_command(group, name, summary, run)
    parser.add_argument("--ca", metavar="DIR", type=Path, required=True, help="folder of the CA")
    return parser


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time with its zone, such as 2026-11-22T08:00Z")
    return time.astimezone(UTC)


def _init(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.certificates import CaKey, NationalCa, to_pem
    from infoexchange.home.files import write_pair

    keychain = keychain_of(args, new_seal(args))
    ca = NationalCa.make(args.suffix, now=datetime.now(UTC), kind=CaKey(args.algorithm))
    args.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_pair(args.out / _KEY, keychain.to_write(ca.key_pem), args.out / _CERTIFICATE, to_pem(ca.certificate))
    out.show(
        {
            "suffix": args.suffix,
            "algorithm": args.algorithm,
            "key": str(args.out / _KEY),
            "certificate": str(args.out / _CERTIFICATE),
        },
        f"Made a CA for names below {args.suffix}: {args.out / _KEY} (keep it secret and offline).",
        f"Next: give {args.out / _CERTIFICATE} to whoever writes the directory.",
    )
    return PASSED


def _open(args: argparse.Namespace) -> NationalCa:
    from infoexchange.certificates import NationalCa
    from infoexchange.home.files import in_file, read_file

    folder, next_step = args.ca, f"Run: infoexchange ca init SUFFIX --out {args.ca}"
    key = keychain_of(args).read(folder / _KEY, next_step=next_step)
    with in_file(folder):
        return NationalCa.parse(key, read_file(folder / _CERTIFICATE, next_step=next_step))


def _check_is_ca(folder: Path) -> None:
    """Raise for a folder without a CA, before a register is made there."""
    from infoexchange.home.files import missing

    if not (folder / _CERTIFICATE).exists():
        raise missing(folder / _CERTIFICATE, f"Run: infoexchange ca init SUFFIX --out {folder}")


def _issue(args: argparse.Namespace, out: Output) -> int:
    from infoexchange import certificates
    from infoexchange.cli.register import Issued, open_register
    from infoexchange.errors import Reason, error
    from infoexchange.home.files import in_file, read_file, write_file

    ca, now = _open(args), datetime.now(UTC)
    requests = _REQUEST.findall(read_file(args.request, next_step="Check the path."))
    if not requests:
        raise error(
            Reason.MALFORMED,
            field=str(args.request),
            detail="no certificate signing request in it",
            next_step="Name the request.pem that `infoexchange keygen` or `infoexchange-relay init` wrote.",
        )
    with in_file(args.request):
        leaves = [certificates.verify_leaf(ca.issue(request, now=now), (ca.certificate,), now) for request in requests]
    with open_register(args.ca) as book:
        book.issued += [Issued.of(leaf) for leaf in leaves]
        book.save()  # before anybody can have a certificate
        write_file(args.out, b"".join(certificates.to_pem(leaf.der) for leaf in leaves))
        rows = [(entry.name, entry.algorithm, entry.serial, entry.ends[:10]) for entry in book.issued[-len(leaves) :]]
    columns = ("name", "algorithm", "serial", "until")
    data = {"file": str(args.out), "certificates": [dict(zip(columns, row, strict=True)) for row in rows]}
    out.show(data, Table(columns, rows), f"Wrote {args.out}, and the serial numbers into the CA's register.")
    return PASSED


def _revoke(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.certificates import RevocationReason
    from infoexchange.cli.register import open_register
    from infoexchange.errors import Reason, error

    _check_is_ca(args.ca)
    now = datetime.now(UTC)
    since = args.since or now
    if since > now:
        next_step = "Give the time at which the key was lost or the agency left, or leave --since out."
        raise error(Reason.BAD_FIELD, field="--since", detail="in the future", next_step=next_step)
    with open_register(args.ca) as book:
        serials = [serial for what in args.what for serial in _serials(what, book, now, args)]
        entries = book.revoke(serials, since, RevocationReason(args.reason))
        book.save()
    columns = ("serial", "since", "reason")
    rows = [(f"{entry.serial:x}", f"{entry.at:%Y-%m-%d %H:%M}Z", entry.reason.value) for entry in entries]
    out.show(
        {"revoked": [dict(zip(columns, row, strict=True)) for row in rows]},
        Table(columns, rows),
        f"Next: infoexchange ca crl --ca {args.ca} --out FILE, and give that list to the agencies concerned.",
    )
    return PASSED


def _serials(what: str, book: Register, now: datetime, args: argparse.Namespace) -> list[int]:
    """Return the serial numbers that a word on the command line means."""
    from infoexchange.errors import Reason, error

    text = what.replace(":", "").lower().lstrip("0")
    found = book.find(what if "." in what else text, now=now)
    if found:
        return [int(entry.serial, 16) for entry in found]
    if args.unregistered and _HEX.fullmatch(text):
        return [int(text, 16)]
    raise error(
        Reason.BAD_FIELD,
        field=what,
        detail="neither the serial number nor the name of a valid certificate of this CA",
        next_step=f"Run: infoexchange ca list --ca {args.ca}; for a certificate that is not on it: --unregistered",
    )


def _crl(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.certificates import CRL_LIFETIME
    from infoexchange.cli.register import open_register
    from infoexchange.home.files import write_file

    ca, now = _open(args), datetime.now(UTC)
    with open_register(args.ca) as book:
        book.list_number += 1
        book.save()  # no number is ever used for two lists
        write_file(args.out, ca.crl(now=now, number=book.list_number, revoked=book.revoked))
        number, count = book.list_number, len(book.revoked)
        serials = [f"{entry.serial:x}" for entry in book.revoked]
    until = now + CRL_LIFETIME
    out.show(
        {"file": str(args.out), "number": number, "until": until.isoformat(), "revoked": serials},
        f"Wrote list {number} to {args.out} with {count} revoked certificates; it holds until {until:%Y-%m-%d}.",
    )
    return PASSED


def _list(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.register import open_register

    _check_is_ca(args.ca)
    now = datetime.now(UTC)
    with open_register(args.ca) as book:
        states = [_state(entry, book, now) for entry in book.issued]
        known = {entry.serial for entry in book.issued}
        others = [f"{entry.serial:x}" for entry in book.revoked if f"{entry.serial:x}" not in known]
    columns = ("serial", "name", "algorithm", "until", "state")
    rows = [
        (entry.serial, entry.name, entry.algorithm, entry.ends[:10], state)
        for entry, state in zip(book.issued, states, strict=True)
    ]
    data = {
        "certificates": [dict(zip(columns, row, strict=True)) for row in rows],
        "revoked_elsewhere": others,
        "list_number": book.list_number,
    }
    more = [f"Withdrawn without an entry: {', '.join(others)}."] if others else []
    out.show(
        data, Table(columns, rows), *more, f"{len(rows)} certificates; newest revocation list: {book.list_number}."
    )
    return PASSED


def _state(entry: Issued, book: Register, now: datetime) -> str:
    for revoked in book.revoked:
        if f"{revoked.serial:x}" == entry.serial:
            return f"revoked {revoked.at:%Y-%m-%d}, {revoked.reason.value}"
    return "valid" if datetime.fromisoformat(entry.ends) > now else "expired"
