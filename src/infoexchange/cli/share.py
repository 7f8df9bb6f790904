"""Share: the command that gives epoch KEKs to agencies one writes to often."""

from __future__ import annotations

import argparse

from infoexchange.cli.output import FAILED, PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.cli.passphrase import add_home, folder_of

_COLUMNS = ("agency", "message", "problem")


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    share = add_command(
        subparsers,
        "share",
        "share a key with agencies you write to often, so that sealing to them costs little",
        _share,
    )
    share.add_argument("agencies", nargs="+", metavar="NAME", help="agency, for example desk.navy.th.example")
    add_home(share)


def _share(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.errors import ExchangeError
    from infoexchange.home import Home
    from infoexchange.transport import connect

    names = list(dict.fromkeys(args.agencies))
    with connect(Home.open(folder_of(args))) as mailbox:
        results = mailbox.share_keks(names)
    rows = [
        (name, "", str(result))
        if isinstance(result, ExchangeError)
        else (name, result.subject.envelope_digest.hex(), "")
        for name, result in zip(names, results, strict=True)
    ]
    sent = sum(1 for row in rows if row[1])
    out.show(
        {"sent": sent, "agencies": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]},
        Table(_COLUMNS, rows),
        f"{sent} of {len(rows)} keys are on their way; each is used by itself once its agency has received it.",
    )
    return PASSED if sent == len(rows) else FAILED
