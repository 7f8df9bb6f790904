"""Passphrase: how commands get what opens secret files and tokens: from a file, from systemd, or from a person."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.parser import Parser

if TYPE_CHECKING:
    from infoexchange.home import Folder, Keychain
    from infoexchange.home.keychain import Ask
    from infoexchange.keys.sealed import Seal

_FILE = "a file nobody else can read"


def add_passphrase(parser: Parser, *, pin: bool = False, new: bool = False) -> None:
    """Declare how a command gets the passphrase of key files, and the PIN of a token if it may need one."""
    options = parser.add_argument_group("what opens secret files (asked for at a terminal, if none is given)")
    if new:
        options.add_argument("--passphrase", action="store_true", help="seal the new keys with a passphrase")
    options.add_argument("--passphrase-file", metavar="FILE", type=Path, help=f"the passphrase, as one line of {_FILE}")
    if pin:
        options.add_argument("--pin-file", metavar="FILE", type=Path, help=f"the token's PIN, as one line of {_FILE}")


def add_home(parser: Parser) -> None:
    """Declare the agency's folder that a command works with, and what opens it."""
    parser.add_argument("--home", metavar="DIR", type=Path, required=True, help="folder of the agency")
    add_passphrase(parser, pin=True)


def keychain_of(args: argparse.Namespace, seal: Seal | None = None) -> Keychain:
    """Return the keychain that a command line asks for; `seal` is for files that are made new."""
    from infoexchange.home import Keychain

    pin_file = getattr(args, "pin_file", None)
    return Keychain(asking(args.passphrase_file, "Passphrase of"), ask_pin=asking(pin_file, "PIN of token"), seal=seal)


def folder_of(args: argparse.Namespace) -> Folder:
    """Return the agency's folder that a command line names, with its keychain."""
    from infoexchange.home import Folder

    return Folder(args.home, keychain_of(args))


def asking(file: Path | None, words: str) -> Ask | None:
    """Return what gives a secret: the line of a file, else a person at this terminal; nothing without either."""
    if file:
        return lambda _: line_of(file)
    if not sys.stdin.isatty():
        return None
    return lambda name: prompted(f"{words} {name}: ")


def line_of(file: Path) -> str:
    """Return the passphrase or PIN in a file, which others must not be able to read."""
    from infoexchange.home.files import read_key
    from infoexchange.home.keychain import text_of

    return text_of(read_key(file, next_step="Check the path."), str(file))


def prompted(words: str) -> str:
    """Return what a person types, unseen."""
    from getpass import getpass

    return getpass(words)


def new_seal(args: argparse.Namespace) -> Seal | None:
    """Return the seal for keys that a command makes, if they are to be sealed.

    Raises:
        MalformedError: `BAD_FIELD` when the passphrase is too short, or is not typed twice the same.
    """
    if not args.passphrase and not args.passphrase_file:
        return None
    from infoexchange.keys.sealed import Seal

    return Seal.make(line_of(args.passphrase_file) if args.passphrase_file else typed_twice())


def typed_twice() -> str:
    """Return a new passphrase, typed twice the same at a terminal."""
    from infoexchange.errors import Reason, error

    if not sys.stdin.isatty():
        next_step = "Run it at a terminal, or name a --passphrase-file."
        detail = "there is no terminal to type it at"
        raise error(Reason.NOT_PERMITTED, field="passphrase", detail=detail, next_step=next_step)
    first = prompted("New passphrase: ")
    if prompted("Again: ") != first:
        detail = "not the same both times"
        raise error(Reason.BAD_FIELD, field="passphrase", detail=detail, next_step="Try again; nothing was changed.")
    return first
