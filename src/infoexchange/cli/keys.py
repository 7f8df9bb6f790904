"""Keys: make the keys of an agency or a root key, and put an agency's folder into use."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from infoexchange.cli.output import PASSED, Output, UsageError
from infoexchange.cli.parser import SUITE_NAMES, Subparsers, add_command
from infoexchange.cli.passphrase import add_passphrase, folder_of, keychain_of, new_seal

_ROOT = "root"  # no agency can have this name: a name has at least two parts


def register(subparsers: Subparsers) -> None:
    """Add `keygen` and `enroll`."""
    keygen = add_command(subparsers, "keygen", "make the keys of an agency, or a root key for the directory", _keygen)
    keygen.usage = (
        "infoexchange keygen NAME --home DIR [--suite SUITE ...] [--hsm URI] [--passphrase] [--json]\n"
        "       infoexchange keygen root --holder WHO --out FILE [--passphrase] [--json]"
    )
    keygen.add_argument("name", metavar="NAME", help="name of the agency, such as desk.agency.th.example; or: root")
    keygen.add_argument("--home", metavar="DIR", type=Path, help="new folder of the agency")
    keygen.add_argument(
        "--suite",
        choices=SUITE_NAMES,
        action="append",
        help="algorithms in which others may seal to the agency; may be repeated (default: HYBRID and HYBRID-KEM)",
    )
    keygen.add_argument("--holder", metavar="WHO", help="who holds the root key, in words")
    keygen.add_argument(
        "--out", metavar="FILE", type=Path, help="new file of the root key; FILE.pub is its public part"
    )
    keygen.add_argument(
        "--hsm",
        metavar="URI",
        help="keep the agency's Ed25519 identity key in the token of a PKCS#11 URI (token, object, module-path)",
    )
    add_passphrase(keygen, pin=True, new=True)

    enroll = add_command(subparsers, "enroll", "put certificates and directory into an agency's folder", _enroll)
    enroll.add_argument("--home", metavar="DIR", type=Path, required=True, help="folder made by keygen")
    enroll.add_argument(
        "--certificates",
        metavar="FILE",
        type=Path,
        required=True,
        help="PEM file of the three certificates, in the order of the requests: Ed25519, ML-DSA-65, TLS",
    )
    enroll.add_argument("--directory", metavar="FILE", type=Path, required=True, help="newest signed directory")
    enroll.add_argument("--roots", metavar="FILE", type=Path, required=True, help="root keys that sign the directory")
    add_passphrase(enroll, pin=True)
    enroll.add_argument("--crl", metavar="FILE", type=Path, help="revocation list of the national CA, DER")


def _keygen(args: argparse.Namespace, out: Output) -> int:
    if args.name == _ROOT:
        if not args.holder or not args.out or args.home or args.suite or args.hsm:
            raise UsageError("a root key needs --holder WHO and --out FILE, and neither --home, --suite nor --hsm")
        return _keygen_root(args, out)
    if not args.home or args.holder or args.out:
        raise UsageError("an agency's keys need --home DIR, and neither --holder nor --out")

    from infoexchange import hsm
    from infoexchange.home import Folder, Home
    from infoexchange.suites import OFFERED, suite_named

    suites = [suite_named(name) for name in args.suite] if args.suite else OFFERED
    names = sorted({suite.name for suite in suites})
    keychain = keychain_of(args, new_seal(args))
    token = hsm.find_or_make(args.hsm, keychain.pin) if args.hsm else None
    request = Home.create(Folder(args.home, keychain), args.name, suites=suites, token=token)
    sealed = bool(args.passphrase or args.passphrase_file)
    care = "The passphrase and the folder's backup open it; without either" if sealed else "Without its backup"
    out.show(
        {"name": args.name, "home": str(args.home), "request": str(request), "suites": names}
        | {"sealed": sealed, "token": token.uri if token else ""},
        f"Made the keys of {args.name} in {args.home}. Keep that folder secret, and keep a backup of it.",
        f"{care} what was sealed to these keys cannot be opened by anybody.",
        *([f"The Ed25519 identity key is in the token: {token.uri}"] if token else []),
        f"Others may seal to it in {' and '.join(names)}, where the directory accepts that.",
        f"Next: have the national CA issue certificates for the three requests in {request}, then run:",
        f"  infoexchange enroll --home {args.home} --certificates FILE --directory FILE --roots FILE",
    )
    return PASSED


def _keygen_root(args: argparse.Namespace, out: Output) -> int:
    from infoexchange import suites
    from infoexchange.cli import rootkey
    from infoexchange.home.files import write_pair
    from infoexchange.keys import SigningKey

    holder, file, key = args.holder, args.out, SigningKey.make(suites.DEFAULT_SUITE)
    public = file.with_name(file.name + ".pub")
    secret = keychain_of(args, new_seal(args)).to_write(rootkey.write_secret(key, holder))
    write_pair(file, secret, public, rootkey.write_public(key, holder))
    out.show(
        {"holder": holder, "key": str(file), "public": str(public), "key_id": key.key_id},
        f"Made a root key for {holder}: {file} (keep it secret and offline) and {public}.",
        f"Next: give {public} to whoever runs `infoexchange directory roots`.",
    )
    return PASSED


def _enroll(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.endings import warn
    from infoexchange.home import Home
    from infoexchange.home.files import read_file

    check = "Check the path."
    home = Home.enroll(
        folder_of(args),
        read_file(args.certificates, next_step=check),
        read_file(args.directory, next_step=check),
        read_file(args.roots, next_step=check),
        crl=read_file(args.crl, next_step=check) if args.crl else b"",
        now=datetime.now(UTC),
    )
    out.at_end(lambda: warn(out, home))
    data = {
        "name": home.name,
        "home": str(args.home),
        "directory_version": home.directory.version,
        "signers": list(home.directory.signers),
        "bundle": home.bundle.digest.hex(),
        "bundle_until": home.bundle.not_after.isoformat(),
    }
    out.show(
        data,
        f"{home.name} is ready, with directory {home.directory.version} signed by {', '.join(home.directory.signers)}.",
        f"Its key bundle holds until {home.bundle.not_after:%Y-%m-%d} and is renewed in time when the agency connects.",
        *_about_lists(home.bundle.crls),
        f"Next: infoexchange receive --home {args.home}  (publishes the keys, so that others can seal to them)",
    )
    return PASSED


def _about_lists(lists: tuple[bytes, ...]) -> list[str]:
    if lists:
        return ["Its revocation list holds for a week: enroll again with the CA's next one before that."]
    return ["No revocation list (--crl): what it sends cannot be proven further than INDETERMINATE."]
