"""Directory: write, propose, review, sign, join, verify and publish directory versions.

Each holder of a root key signs on a machine of its own, after reading in sentences what the version changes; proposing,
joining and verifying need no key at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from infoexchange.cli.directory import judging, publishing, signing, writing
from infoexchange.cli.parser import Subparsers, add_command, add_group
from infoexchange.cli.passphrase import add_home, add_passphrase

_VERSION = "content or signed directory"


def register(subparsers: Subparsers) -> None:
    """Add `directory` with its commands, in the order in which a new version needs them."""
    group = add_group(subparsers, "directory", "write, sign, verify and publish the directory")
    _register_writing(group)
    _register_signing(group)
    _register_judging(group)

    publish = add_command(
        group, "publish", "hand a signed version to the own relay, which passes it on", publishing.run
    )
    publish.add_argument("file", metavar="FILE", type=Path, help="signed directory")
    add_home(publish)


def _register_writing(group: Subparsers) -> None:
    add_command(group, "template", "print a commented draft of a first version", writing.template)

    edit = add_command(group, "edit", "write a version as a draft, to be changed into the next one", writing.edit)
    edit.add_argument("current", metavar="CURRENT", type=Path, help="signed directory")
    _add_out(edit, "draft")

    propose = add_command(group, "propose", "make the content of the next version from a draft", writing.propose)
    propose.add_argument("draft", metavar="DRAFT", type=Path, help="JSON file, as `template` or `edit` write it")
    _add_after(propose)
    _add_out(propose, "content to be signed")

    roots = add_command(group, "roots", "make the trust anchor from the public parts of root keys", writing.roots)
    roots.add_argument("files", metavar="PUB", type=Path, nargs="+", help="FILE.pub of `keygen root`, from each holder")
    roots.add_argument("--threshold", metavar="N", type=int, required=True, help="how many of them must sign")
    _add_out(roots, "trust anchor")


def _register_signing(group: Subparsers) -> None:
    review = add_command(group, "review", "tell in sentences what a version changes, and who must sign", signing.review)
    review.add_argument("file", metavar="FILE", type=Path, help=_VERSION)
    _add_after(review)

    sign = add_command(group, "sign", "show what a version changes, ask, and sign it", signing.sign)
    sign.add_argument("file", metavar="FILE", type=Path, help=_VERSION)
    sign.add_argument("--key", metavar="ROOTKEY", type=Path, required=True, help="key file of `keygen root`")
    sign.add_argument("--out", "-o", metavar="FILE", type=Path, help="file to write (default: FILE.KEYID.signed)")
    sign.add_argument("--yes", action="store_true", help="sign without asking, for scripts")
    add_passphrase(sign)
    _add_after(sign)

    merge = add_command(group, "merge", "join the signatures of several files over the same content", signing.merge)
    merge.add_argument("files", metavar="FILE", type=Path, nargs="+", help="files that `directory sign` wrote")
    _add_after(merge)
    _add_out(merge, "signed directory")


def _register_judging(group: Subparsers) -> None:
    verify = add_command(group, "verify", "tell who signed, who is missing, and whether it may be used", judging.verify)
    verify.add_argument("file", metavar="FILE", type=Path, help="signed directory")
    verify.add_argument("--roots", metavar="FILE", type=Path, required=True, help="trust anchor")
    verify.add_argument(
        "--after",
        metavar="CURRENT",
        type=Path,
        nargs="+",
        default=[],
        help="versions before, ascending; the trust anchor then verifies the first of them",
    )

    diff = add_command(group, "diff", "tell in sentences what differs between two versions", judging.diff)
    for name in ("old", "new"):
        diff.add_argument(name, metavar=name.upper(), type=Path, help=_VERSION)

    show = add_command(group, "show", "print what stands in a content or a signed directory", judging.show)
    show.add_argument("file", metavar="FILE", type=Path, help=_VERSION)
    show.add_argument("--roots", metavar="FILE", type=Path, help="trust anchor; without it nothing is verified")


def _add_out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", "-o", metavar="FILE", type=Path, required=True, help=f"{what} to write")


def _add_after(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--after", "--against", metavar="CURRENT", type=Path, help="version in force; needed unless this is the first"
    )
