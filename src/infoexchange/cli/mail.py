"""Mail: send catalogue messages, and ask what became of them."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.bridges import FORMATS
from infoexchange.cli.attach import add_attach, attachments_of
from infoexchange.cli.endings import opened
from infoexchange.cli.output import FAILED, PASSED, Output, Table, UsageError
from infoexchange.cli.parser import SUITE_NAMES, Parser, Subparsers, add_command
from infoexchange.cli.passphrase import add_home

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.bridges import Reading
    from infoexchange.catalogue import Handling
    from infoexchange.errors import ExchangeError
    from infoexchange.mailbox import Mailbox
    from infoexchange.ports import Result
    from infoexchange.receipt import Receipt
    from infoexchange.stash import Attachment

_BATCH = 256  # what one transaction of the relay takes
_NOTES_SHOWN = 20  # of what a bridge could not carry; programs get all of them
_SENT = ("id", "entry", "problem")
OUTBOX = "What is there goes out with the next `send` or `receive`; do not send it again."
_ROLES = ("author", "supervisor")
# Said here too, because the catalogue is not loaded before a command needs it; a test compares.
_DOMAINS = (
    "DRUGS", "PERSONS", "PIRACY", "TERRORISM", "ARMS", "MONEY_LAUNDERING", "ECONOMIC_CRIME", "CYBER", "MINE_ACTION",
    "COOPERATION",
)  # fmt: skip
OUTBOX_COUNTED = 10_000  # an outbox with more waits for a person anyway


def register(subparsers: Subparsers) -> None:
    """Add `send` and `receipts`."""
    send = add_command(subparsers, "send", "seal messages for their recipients and hand them to the own relay", _send)
    send.add_argument(
        "file", metavar="FILE", type=Path, help="a message as JSON or YAML (.yaml), or a file of another format"
    )
    add_home(send)
    send.add_argument("--to", metavar="NAME", action="append", required=True, help="agency or group; may be repeated")
    kind = send.add_mutually_exclusive_group(required=True)
    kind.add_argument("--type", metavar="TYPE", help="type of the message in a JSON or YAML file, such as Alert")
    kind.add_argument("--format", choices=sorted(FORMATS), help="format of any other file; needs the marks below")
    send.add_argument(
        "--lifetime", metavar="DAYS", type=days_up_to(90), default=14, help="days delivery is tried (1 to 90; 14)"
    )
    send.add_argument("--blind", action="store_true", help="no recipient learns who else is addressed")
    send.add_argument(
        "--behind", metavar="NAME", action="append", default=[], help="agency to which the gateway in --to passes it on"
    )
    send.add_argument("--in-reply-to", metavar="ID", help="the message that this one continues: 64 hexadecimal digits")
    send.add_argument("--suite", choices=SUITE_NAMES, default=SUITE_NAMES[0], help="algorithms; default: %(default)s")
    add_attach(send)
    send.add_argument(
        "--attest", metavar="ROLE", choices=_ROLES, action="append", default=[], help="sign as author or supervisor too"
    )
    add_marks(send)

    receipts = add_command(subparsers, "receipts", "show what both relays logged of a message", _receipts)
    receipts.add_argument("id", metavar="ID", help="the message: 64 hexadecimal digits")
    add_home(receipts)


def add_marks(parser: Parser) -> None:
    """Declare the marks that messages from a file of another format get; JSON files carry their own."""
    marks = parser.add_argument_group("marks of messages read from another format")
    marks.add_argument("--op-status", choices=("ACTUAL", "EXERCISE", "TEST"), help="no default: say it")
    marks.add_argument("--tlp", choices=("CLEAR", "GREEN", "AMBER", "AMBER_STRICT", "RED"), help="no default: say it")
    marks.add_argument("--pap", choices=("CLEAR", "GREEN", "AMBER", "RED"), help="needed for indicators")
    marks.add_argument(
        "--precedence", choices=("ROUTINE", "PRIORITY", "IMMEDIATE", "FLASH"), help="ROUTINE if not said"
    )
    marks.add_argument(
        "--domain", choices=_DOMAINS, help="needed for alerts, which belong to no priority by themselves"
    )
    marks.add_argument("--purpose", metavar="TEXT", type=words, help="why it is sent, in words")
    marks.add_argument("--valid-days", metavar="DAYS", type=days_up_to(3650), help="days it may be acted on (90)")


def days_up_to(most: int) -> Callable[[str], int]:
    """Return the reader of an argument that is a number of days."""

    def days(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {most}")
        return int(text)

    return days


def words(text: str) -> str:
    """Return an argument that is text for people."""
    if not text.strip() or any("\ud800" <= char <= "\udfff" for char in text):
        raise argparse.ArgumentTypeError("words in UTF-8 are needed")
    return text


def check_marks(args: argparse.Namespace) -> None:
    """Refuse a command line without the marks its file needs, or with marks its file has itself."""
    names = ("op_status", "tlp", "purpose", "pap", "precedence", "domain", "valid_days")
    options = {f"--{name.replace('_', '-')}": getattr(args, name) for name in names}
    given = [name for name, value in options.items() if value is not None]
    missing = [name for name in ("--op-status", "--tlp", "--purpose") if name not in given]
    if args.format and missing:
        raise UsageError(f"a file of another format needs {' and '.join(missing)}")
    if args.type and given:
        raise UsageError(
            f"a message in JSON or YAML carries its own marks; set them there and leave out {' and '.join(given)}"
        )


def marks_of(args: argparse.Namespace, now: datetime) -> Handling:
    """Return the marks that the command line gives."""
    from infoexchange import catalogue

    handling = catalogue.Handling(
        op_status=catalogue.OpStatus.Value(f"OP_STATUS_{args.op_status}"),
        precedence=catalogue.Precedence.Value(f"PRECEDENCE_{args.precedence or 'ROUTINE'}"),
        tlp=catalogue.Tlp.Value(f"TLP_{args.tlp}"),
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose=args.purpose,
    )
    if args.pap:
        handling.pap = catalogue.Pap.Value(f"PAP_{args.pap}")
    if args.domain:
        handling.domain = catalogue.Domain.Value(f"DOMAIN_{args.domain}")
    handling.valid_until.FromDatetime(now + timedelta(days=args.valid_days or 90))
    return handling


def _send(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import digest_of
    from infoexchange.errors import ExchangeError, UnavailableError
    from infoexchange.transport import connect

    check_marks(args)
    args.in_reply_to = digest_of(args.in_reply_to) if args.in_reply_to else b""
    home = opened(args, out)
    messages, notes = _messages(args)
    attachments = attachments_of(args, messages)
    earlier: list[Result] = []
    results: list[Result] = []
    problem: ExchangeError | None = None
    waiting = 0
    try:
        with out.transfers() as tell, connect(home) as mailbox:
            mailbox.watch(tell)
            try:
                # What an earlier run left comes first, as it was sealed first; but for uploads, which may take hours.
                earlier += mailbox.flush(uploads=False)
                for batch in batches(messages):
                    results += _send_batch(mailbox, batch, args, attachments)
                if not any(isinstance(result, UnavailableError) for result in results):
                    earlier += mailbox.flush()
            finally:
                waiting = len(mailbox.spool.unsent(OUTBOX_COUNTED))
        problem = _shared(results)
    finally:
        # Receipts are shown whatever follows them, and what is kept is named, so that nobody sends it twice.
        if problem is None and (results or earlier or waiting):
            _show_sent(out, results, [r for r in earlier if not isinstance(r, ExchangeError)], waiting, notes)
    if problem:
        raise problem
    return FAILED if any(isinstance(result, ExchangeError) for result in results) else PASSED


def _shared(results: list[Result]) -> ExchangeError | None:
    """Return the problem that kept every message back, if it is one and the same: then its one line says everything."""
    from infoexchange.errors import ExchangeError, UnavailableError, error

    problems = [result for result in results if isinstance(result, ExchangeError)]
    if len(problems) < len(results) or len(set(map(str, problems))) != 1:
        return None
    first = problems[0]
    count = f"{len(problems)} messages" if len(problems) > 1 else "the message"
    if isinstance(first, UnavailableError):
        detail, next_step = f"{first.detail}; {count} kept in the outbox", OUTBOX
    else:
        detail, next_step = f"{first.detail}; {count} not sent", first.next_step
    return error(first.reason, field=first.field, detail=detail, next_step=next_step)


def _show_sent(out: Output, results: list[Result], earlier: list[Receipt], waiting: int, notes: list[str]) -> None:
    rows, late = [_result_row(r) for r in results], [_result_row(r) for r in earlier]
    sent = sum(1 for row in rows if row[0])
    more = len(notes) - _NOTES_SHOWN
    out.show(
        {
            "sent": sent,
            "messages": [dict(zip(_SENT, row, strict=True)) for row in rows],
            "earlier": [dict(zip(_SENT, row, strict=True)) for row in late],
            "waiting": waiting,
            "notes": notes,
        },
        *([Table(("left by an earlier run", "log entry"), [row[:2] for row in late])] if late else []),
        *([Table(("message", "log entry", "problem"), rows)] if rows else []),
        *(f"note: {note}" for note in notes[:_NOTES_SHOWN]),
        *([f"note: {more} more; --json gives all"] if more > 0 else []),
        *([f"In the outbox: {waiting}. {OUTBOX}"] if waiting else []),
        f"{sent} of {len(rows)} messages are durable at the relay and logged.",
    )


def _messages(args: argparse.Namespace) -> tuple[list[Message], list[str]]:
    """Return the messages of the file, and notes on what in it was not understood."""
    from infoexchange.cli.written import read_message
    from infoexchange.errors import Reason, error
    from infoexchange.home.files import in_file, read_file

    if args.type:
        return [read_message(args.file, args.type)], []
    raw = read_file(args.file, next_step="Check the path.")
    now = datetime.now(UTC)
    with in_file(args.file):
        messages, reading = imported(args.format, raw, marks_of(args, now), now)
        notes = [f"{note.place}: {note.field}: {note.detail}" for note in reading.notes]
        if not messages:
            step = "Check that it is the right file, and that --format is right."
            detail = "; ".join(["no message is in it", *notes[:1]])
            raise error(Reason.MALFORMED, detail=detail, next_step=step)
        return messages, notes


def imported(name: str, raw: bytes, handling: Handling, now: datetime) -> tuple[list[Message], Reading]:
    """Return the messages of a file of another format, each in the domain of its type, and what was not carried."""
    from infoexchange import bridges, catalogue

    reading = bridges.find(name).read(raw, handling, now=now)
    messages = list(reading)
    for message in messages:
        catalogue.handling_of(message).domain = catalogue.domain_of(message)
    return messages, reading


def batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield messages in the runs that one transaction of the relay takes."""
    rest = iter(messages)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _send_batch(
    mailbox: Mailbox, batch: list[Message], args: argparse.Namespace, attachments: Sequence[Attachment]
) -> list[Result]:
    from infoexchange.attestation import AttestationRole
    from infoexchange.draft import Draft
    from infoexchange.suites import suite_named

    suite = suite_named(args.suite)
    chosen = {"lifetime": timedelta(days=args.lifetime), "blind": args.blind, "addressees": args.behind}
    chosen["attachments"] = attachments
    chosen["in_reply_to"] = args.in_reply_to
    attest = [AttestationRole[role.upper()] for role in args.attest]
    return mailbox.send_all([Draft(message, args.to, suite=suite, attest=attest, **chosen) for message in batch])


def _result_row(result: Result) -> tuple[str, str, str]:
    from infoexchange.errors import ExchangeError, UnavailableError

    if isinstance(result, UnavailableError):
        return "", "", f"{result.reason.word} in {result.field}: {result.detail}; kept in the outbox"
    if isinstance(result, ExchangeError):
        return "", "", str(result)
    return result.subject.envelope_digest.hex(), str(result.index), ""


def _receipts(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import asking_about, digest_of
    from infoexchange.cli.outcomes import outcome_data, outcome_table
    from infoexchange.cli.words import told
    from infoexchange.transport import connect

    digest = digest_of(args.id)
    home = opened(args, out)
    with connect(home) as mailbox, asking_about(digest):
        history, outcomes = mailbox.history(digest), mailbox.outcomes(digest)
    others = {e.routing.this_relay for e in history.events if not home.directory.knows(e.subject.directory_digest)}
    for relay in sorted(others):
        # The own relay may be keeping a version back; only other relays can show it.
        out.warn(
            f"{relay} logged this under another directory version than the one held here, version "
            f"{home.directory.version}. Ask its nation which is the newest, and compare `infoexchange directory show`."
        )
    rows = [(f"{e.routing.logged_at:%Y-%m-%d %H:%M:%S}Z", told(e.routing), e.index) for e in history.events]
    out.show(
        {
            "id": digest.hex(),
            "events": [dict(zip(("at", "what", "entry"), row, strict=True)) for row in rows],
            "outcomes": outcome_data(outcomes),
        },
        Table(("logged", "what", "entry"), rows),
        outcome_table(outcomes),
    )
    return PASSED
