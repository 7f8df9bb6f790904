"""Mail: send catalogue messages, receive them, and ask what became of them."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import FAILED, PASSED, Output, Table, UsageError
from infoexchange.cli.parser import Parser, Subparsers, add_command

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.bridges import Reading
    from infoexchange.catalogue import Handling
    from infoexchange.delivery import Delivery
    from infoexchange.mailbox import Mailbox
    from infoexchange.ports import Result

_BATCH = 256  # what one transaction of the relay takes
_COLUMNS = ("id", "entry", "problem")
_SUITES = ("HYBRID", "HYBRID-KEM")


def register(subparsers: Subparsers) -> None:
    """Add `send`, `receive` and `receipts`."""
    send = add_command(subparsers, "send", "seal messages for their recipients and hand them to the own relay", _send)
    send.add_argument("file", metavar="FILE", type=Path, help="a message as JSON, or a file of another format")
    send.add_argument("--home", metavar="DIR", type=Path, required=True, help="folder of the agency")
    send.add_argument("--to", metavar="NAME", action="append", required=True, help="agency or group; may be repeated")
    send.add_argument("--type", metavar="TYPE", help="message type of a JSON file, such as MaritimeIncidentReport")
    send.add_argument("--format", metavar="FORMAT", help="other format: stix or piracy; needs the marks below")
    send.add_argument("--lifetime", metavar="DAYS", type=int, default=14, help="days delivery is tried (1 to 90; 14)")
    send.add_argument("--suite", choices=_SUITES, default=_SUITES[0], help="algorithms; HYBRID is the default")
    add_marks(send)

    receive = add_command(subparsers, "receive", "fetch, verify and open what waits, and acknowledge it", _receive)
    receive.add_argument("--home", metavar="DIR", type=Path, required=True, help="folder of the agency")
    receive.add_argument("--show", action="store_true", help="print every field; personal data is hidden")

    receipts = add_command(subparsers, "receipts", "show what both relays logged of a message", _receipts)
    receipts.add_argument("id", metavar="ID", help="the message: 64 hexadecimal digits")
    receipts.add_argument("--home", metavar="DIR", type=Path, required=True, help="folder of the agency")


def add_marks(parser: Parser) -> None:
    """Declare the marks that messages from a file of another format get."""
    marks = parser.add_argument_group("marks of messages read from another format")
    marks.add_argument("--op-status", choices=("ACTUAL", "EXERCISE", "TEST"), help="no default: say it")
    marks.add_argument("--tlp", choices=("CLEAR", "GREEN", "AMBER", "AMBER_STRICT", "RED"), help="no default: say it")
    marks.add_argument("--pap", choices=("CLEAR", "GREEN", "AMBER", "RED"), help="needed for indicators")
    marks.add_argument("--precedence", choices=("ROUTINE", "PRIORITY", "IMMEDIATE", "FLASH"), default="ROUTINE")
    marks.add_argument("--purpose", metavar="TEXT", help="why it is sent, in words")
    marks.add_argument("--valid-days", metavar="DAYS", type=int, default=90, help="days it may be acted on (90)")


def inbox_of(home: Path, digest: bytes) -> Path:
    """Return the folder in which a received message is kept."""
    return home / "inbox" / digest.hex()


def marks_of(args: argparse.Namespace, now: datetime) -> Handling:
    """Return the marks that the command line gives."""
    from infoexchange import catalogue

    missing = [f"--{name}" for name in ("op-status", "tlp", "purpose") if not getattr(args, name.replace("-", "_"))]
    if missing:
        raise UsageError(f"a file of another format needs {' and '.join(missing)}")
    handling = catalogue.Handling(
        op_status=catalogue.OpStatus.Value(f"OP_STATUS_{args.op_status}"),
        precedence=catalogue.Precedence.Value(f"PRECEDENCE_{args.precedence}"),
        tlp=catalogue.Tlp.Value(f"TLP_{args.tlp}"),
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose=args.purpose,
    )
    if args.pap:
        handling.pap = catalogue.Pap.Value(f"PAP_{args.pap}")
    handling.valid_until.FromDatetime(now + timedelta(days=args.valid_days))
    return handling


def _send(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.errors import ExchangeError
    from infoexchange.home import Home
    from infoexchange.transport import connect

    if bool(args.type) == bool(args.format):
        raise UsageError("either --type (for JSON) or --format (for anything else) is needed")
    if not 1 <= args.lifetime <= 90:
        raise UsageError("--lifetime is 1 to 90 days")
    home = Home.open(args.home)
    messages, reading = _messages(args)
    rows: list[tuple[str, str, str]] = []
    failed = False
    with connect(home) as mailbox:
        for batch in batches(messages):
            for result in _send_batch(mailbox, batch, args):
                failed = failed or isinstance(result, ExchangeError)
                rows.append(_result_row(result))
    noted = [f"{note.place}: {note.field}: {note.detail}" for note in (reading.notes if reading else [])]
    sent = sum(1 for row in rows if row[0])
    out.show(
        {
            "sent": sent,
            "messages": [dict(zip(("id", "entry", "problem"), r, strict=True)) for r in rows],
            "notes": noted,
        },
        Table(("message", "log entry", "problem"), rows),
        *(f"note: {note}" for note in noted[:20]),
        f"{sent} of {len(rows)} messages are durable at the relay and logged.",
    )
    return FAILED if failed or not rows else PASSED


def _messages(args: argparse.Namespace) -> tuple[Iterable[Message], Reading | None]:
    """Return the messages of the file, and the reading that notes what was not understood."""
    from infoexchange.catalogue import text
    from infoexchange.home.files import in_file, read_file

    raw = read_file(args.file, next_step="Check the path.")
    now = datetime.now(UTC)
    with in_file(args.file):
        if args.type:
            return [text.from_json(args.type, raw.decode("utf-8", "replace"))], None
        return imported(args.format, raw, marks_of(args, now), now)


def imported(name: str, raw: bytes, handling: Handling, now: datetime) -> tuple[list[Message], Reading]:
    """Return the messages of a file of another format, each in the domain of its type, and what was not carried."""
    from infoexchange import bridges, catalogue

    reading = bridges.find(name).read(raw, handling, now=now)
    messages = list(reading)
    for message in messages:
        message.handling.domain = catalogue.domain_of(message)  # type: ignore[attr-defined]
    return messages, reading


def batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield messages in the runs that one transaction of the relay takes."""
    rest = iter(messages)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _send_batch(mailbox: Mailbox, batch: list[Message], args: argparse.Namespace) -> list[Result]:
    from infoexchange.draft import Draft
    from infoexchange.suites import HYBRID, HYBRID_KEM

    suite = {s.name: s for s in (HYBRID, HYBRID_KEM)}[args.suite]
    lifetime = timedelta(days=args.lifetime)
    return mailbox.send_all([Draft(message, args.to, lifetime=lifetime, suite=suite) for message in batch])


def _result_row(result: Result) -> tuple[str, str, str]:
    from infoexchange.errors import ExchangeError

    if isinstance(result, ExchangeError):
        return "", "", str(result)
    return result.subject.envelope_digest.hex(), str(result.index), ""


def _receive(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.home import Home
    from infoexchange.transport import connect

    home = Home.open(args.home)
    rows: list[tuple[str, str, str, str, str]] = []
    shown: list[str | Table] = []
    data: list[dict[str, str]] = []
    with connect(home) as mailbox:
        for delivery in mailbox.receive():
            keep(args.home, delivery)  # durable here before the relay is told to forget it
            mailbox.acknowledge(delivery)
            row = summary(delivery)
            rows.append(row)
            data.append(dict(zip(("id", "status", "tlp", "from", "type"), row, strict=True)))
            if args.show:
                shown.append(f"\n{row[4]} from {delivery.sender}, {delivery.op_status.name}:")
                shown.append(details(delivery.message))
        refused = [(r.digest.hex(), r.sender, str(r.problem)) for r in mailbox.refused]
    out.show(
        {"messages": data, "refused": [dict(zip(("id", "from", "problem"), r, strict=True)) for r in refused]},
        Table(("message", "status", "tlp", "from", "type"), rows),
        *shown,
        *(f"refused: {sender or 'unknown sender'}: {problem}" for _, sender, problem in refused),
        f"{len(rows)} messages received, kept in {args.home / 'inbox'} and acknowledged; {len(refused)} refused.",
    )
    return FAILED if refused else PASSED


def summary(delivery: Delivery) -> tuple[str, str, str, str, str]:
    """Return what a duty officer looks at first: id, status, mark, sender and type."""
    from infoexchange.catalogue import marks

    label = marks.TLP_LABELS[marks.tlp_of(delivery.message)]
    return delivery.digest.hex(), delivery.op_status.name, label, delivery.sender, delivery.message.DESCRIPTOR.name


def details(message: Message) -> Table:
    """Return every field as a table, personal data hidden."""
    from infoexchange.catalogue import marks

    return Table(("field", "value"), [(row.label, row.value) for row in marks.describe(marks.redact(message))])


def keep(home: Path, delivery: Delivery) -> Path:
    """Keep a message and its envelope in the home's inbox, durably, and return the folder."""
    from infoexchange.catalogue import text
    from infoexchange.home.files import write_file

    folder = inbox_of(home, delivery.digest)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(folder / "envelope.bin", delivery.envelope.raw, mode=0o600)
    write_file(folder / "message.json", text.to_json(delivery.message).encode(), mode=0o600)
    for made in (folder.parent, home):  # the new folder's own name must survive too
        descriptor = os.open(made, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return folder


def _receipts(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import digest_of, sentence
    from infoexchange.home import Home
    from infoexchange.transport import connect

    digest = digest_of(args.id)
    with connect(Home.open(args.home)) as mailbox:
        history = mailbox.history(digest)
    rows = [(f"{e.routing.logged_at:%Y-%m-%d %H:%M:%S}Z", sentence(e), e.index) for e in history.events]
    out.show(
        {"id": args.id, "events": [dict(zip(("at", "what", "entry"), row, strict=True)) for row in rows]},
        Table(("logged", "what", "entry"), rows),
    )
    return PASSED
