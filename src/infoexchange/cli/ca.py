"""CA: a small national CA in a folder, for states that have none for this purpose, and for trials."""

from __future__ import annotations

import argparse
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command, add_group

if TYPE_CHECKING:
    from infoexchange.certificates import NationalCa

_KEY, _CERTIFICATE, _REVOKED = "ca.key", "ca.pem", "revoked.json"
_REQUEST = re.compile(rb"-----BEGIN CERTIFICATE REQUEST-----.*?-----END CERTIFICATE REQUEST-----", re.DOTALL)


def register(subparsers: Subparsers) -> None:
    """Add `ca init`, `ca issue` and `ca crl`."""
    group = add_group(subparsers, "ca", "run a small national CA")

    init = add_command(group, "init", "make a CA for the names below a suffix", _init)
    init.add_argument("suffix", metavar="SUFFIX", help="suffix of the nation's names, such as th.example")
    init.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder of the CA")

    issue = add_command(group, "issue", "issue a certificate for every request in a file", _issue)
    issue.add_argument("--ca", metavar="DIR", type=Path, required=True, help="folder of the CA")
    issue.add_argument("request", metavar="REQUEST", type=Path, help="PEM file of certificate signing requests")
    issue.add_argument("--out", metavar="FILE", type=Path, required=True, help="PEM file to write, in the same order")

    crl = add_command(group, "crl", "write the revocation list, valid for a week", _crl)
    crl.add_argument("--ca", metavar="DIR", type=Path, required=True, help="folder of the CA")
    crl.add_argument(
        "--revoke",
        metavar="SERIAL",
        type=_serial,
        nargs="+",
        action="extend",
        default=[],
        help="serial numbers to revoke from now on, in hexadecimal as `ca issue` prints them",
    )
    crl.add_argument("--out", metavar="FILE", type=Path, required=True, help="DER file to write")


def _serial(text: str) -> int:
    try:
        return int(text.replace(":", ""), 16)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a hexadecimal number") from None


def _init(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.certificates import NationalCa, to_pem
    from infoexchange.home.files import write_pair

    ca = NationalCa.make(args.suffix, now=datetime.now(UTC))
    args.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_pair(args.out / _KEY, ca.key_pem, args.out / _CERTIFICATE, to_pem(ca.certificate))
    out.show(
        {"suffix": args.suffix, "key": str(args.out / _KEY), "certificate": str(args.out / _CERTIFICATE)},
        f"Made a CA for names below {args.suffix}: {args.out / _KEY} (keep it secret and offline).",
        f"Next: give {args.out / _CERTIFICATE} to whoever writes the directory.",
    )
    return PASSED


def _open(folder: Path) -> NationalCa:
    from infoexchange.certificates import NationalCa
    from infoexchange.home.files import read_file, read_key

    next_step = f"Run: infoexchange ca init SUFFIX --out {folder}"
    key = read_key(folder / _KEY, next_step=next_step)
    return NationalCa.parse(key, read_file(folder / _CERTIFICATE, next_step=next_step))


def _issue(args: argparse.Namespace, out: Output) -> int:
    from infoexchange import certificates
    from infoexchange.errors import Reason, error
    from infoexchange.home.files import in_file, read_file, write_file

    ca, now = _open(args.ca), datetime.now(UTC)
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
    write_file(args.out, b"".join(certificates.to_pem(leaf.der) for leaf in leaves))
    rows = [
        (leaf.name, leaf.algorithm, f"{leaf.serial:x}", f"{certificates.load(leaf.der).not_valid_after_utc:%Y-%m-%d}")
        for leaf in leaves
    ]
    columns = ("name", "algorithm", "serial", "until")
    data = {"file": str(args.out), "certificates": [dict(zip(columns, row, strict=True)) for row in rows]}
    out.show(data, Table(columns, rows), f"Wrote {args.out}. Keep the serial numbers: revoking needs them.")
    return PASSED


def _crl(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.home.files import write_file

    ca, now = _open(args.ca), datetime.now(UTC)
    revoked = _revoked(args.ca / _REVOKED)
    for serial in args.revoke:
        revoked.setdefault(serial, now)
    # The CA's own record first: a list that was handed out never says more than it.
    record = {f"{serial:x}": at.isoformat() for serial, at in revoked.items()}
    write_file(args.ca / _REVOKED, json.dumps(record, indent=1).encode())
    write_file(args.out, ca.crl(now=now, revoked=list(revoked.items())))
    out.show(
        {"file": str(args.out), "revoked": list(record)},
        f"Wrote {args.out} with {len(revoked)} revoked certificates; it holds for seven days.",
    )
    return PASSED


def _revoked(file: Path) -> dict[int, datetime]:
    """Return what this CA has revoked so far."""
    from infoexchange.errors import Reason, error
    from infoexchange.home.files import read_file

    if not file.exists():
        return {}
    try:
        record = json.loads(read_file(file, next_step="Check the path."))
        return {int(serial, 16): datetime.fromisoformat(at) for serial, at in record.items()}
    except (ValueError, TypeError, AttributeError):
        next_step = "Restore it from its backup: without it, revoked certificates would be trusted again."
        raise error(Reason.MALFORMED, field=str(file), detail="not a CA's record", next_step=next_step) from None
