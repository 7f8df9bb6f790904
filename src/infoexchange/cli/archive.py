"""Archive: look again at what was received, and destroy it for good when its time is over."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import PASSED, Output, Table, UsageError
from infoexchange.cli.parser import Subparsers, add_command, add_group
from infoexchange.cli.passphrase import add_home, folder_of
from infoexchange.cli.receive import advice, details, inbox_of, summary

if TYPE_CHECKING:
    from infoexchange.home import Home
    from infoexchange.mailbox.records import Records
    from infoexchange.retention import Entry

_ID = "the message: 64 hexadecimal digits"


def register(subparsers: Subparsers) -> None:
    """Add `archive list | open | destroy`."""
    group = add_group(subparsers, "archive", "list, open again or destroy what was received")
    listing = add_command(group, "list", "show what is kept, until when, and what is destroyed", _list)
    add_home(listing)

    opening = add_command(group, "open", "verify a message again, as of when it came, and show it", _open)
    opening.add_argument("id", metavar="ID", help=_ID)
    add_home(opening)
    opening.add_argument(
        "--out", metavar="FILE", type=Path, help="write every field to a new JSON or .yaml file, nothing hidden"
    )

    destroy = add_command(group, "destroy", "destroy content keys for good, and state it, signed", _destroy)
    destroy.add_argument("ids", metavar="ID", nargs="*", help=_ID)
    destroy.add_argument("--due", action="store_true", help="everything that is past its retention")
    add_home(destroy)


@contextlib.contextmanager
def _records(home: Home) -> Iterator[Records]:
    from infoexchange.mailbox.records import Records

    with home.in_use(), home.archive() as archive:
        yield Records(home.identity, archive, lambda: datetime.now(UTC))


def _state(entry: Entry, now: datetime) -> str:
    if entry.destroyed_at:
        return f"destroyed {entry.destroyed_at:%Y-%m-%d}"
    return "due" if entry.retention_until and entry.retention_until < now else "kept"


def _list(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.home import Home

    now = datetime.now(UTC)
    with _records(Home.open(folder_of(args))) as records:
        entries = records.entries()
    rows = [
        (
            entry.digest.hex(),
            entry.sender,
            f"{entry.received_at:%Y-%m-%d %H:%M}Z",
            f"{entry.retention_until:%Y-%m-%d}" if entry.retention_until else "",
            _state(entry, now),
        )
        for entry in entries
    ]
    columns = ("id", "from", "received", "until", "state")
    due = sum(1 for row in rows if row[-1] == "due")
    out.show(
        {"messages": [dict(zip(columns, row, strict=True)) for row in rows]},
        Table(("message", *columns[1:]), rows),
        f"{len(rows)} messages."
        + (f" {due} are past their retention: infoexchange archive destroy --due --home {args.home}" if due else ""),
    )
    return PASSED


def _open(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import digest_of
    from infoexchange.cli.written import write_message
    from infoexchange.home import Home

    with _records(Home.open(folder_of(args))) as records:
        delivery = records.open(digest_of(args.id))
    if args.out:
        write_message(args.out, delivery.message)
    table = details(delivery.message)
    name, status, tlp, sender, kind = summary(delivery)
    out.show(
        {
            "id": name,
            "status": status,
            "tlp": tlp,
            "from": sender,
            "type": kind,
            "received": delivery.received_at.isoformat(),
            "fields": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
        },
        f"{kind} from {sender}, {status}, {tlp}, verified as of {delivery.received_at:%Y-%m-%d %H:%M}Z:",
        table,
        *advice(delivery),
        *([f"Wrote {args.out}, with personal data."] if args.out else []),
    )
    return PASSED


def _destroy(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import digest_of
    from infoexchange.errors import ExchangeError
    from infoexchange.home import Home
    from infoexchange.transport import connect

    if bool(args.ids) == args.due:
        raise UsageError("name messages, or give --due")
    home = Home.open(folder_of(args))
    with _records(home) as records:
        digests = [digest_of(text) for text in args.ids] if args.ids else list(records.due())
        for digest in digests:
            records.verify(digest)  # that it is there, before anything is removed
        for digest in digests:
            shutil.rmtree(inbox_of(args.home, digest), ignore_errors=True)  # the working copy in the clear
        records.destroy(digests)
    stated = not digests
    if digests:
        with contextlib.suppress(ExchangeError), connect(home) as mailbox:
            mailbox.flush()
            stated = True
    names = [digest.hex() for digest in digests]
    told = "Relay and sender have the signed statement." if stated else "That is stated with the next connection."
    out.show(
        {"destroyed": names, "stated": stated},
        *names,
        f"{len(names)} content keys destroyed; nothing here opens those messages any more. {told}"
        if names
        else "Nothing is due.",
        *(["Manifest and log entries stay: `evidence make` still proves who sent what. Copies made elsewhere are yours "
           "to delete."] if names else []),
    )  # fmt: skip
    return PASSED
