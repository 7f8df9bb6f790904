"""Onward: pass on what another agency sent, ask its originator for consent, and give or deny consent."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.attach import add_attach
from infoexchange.cli.mail import OUTBOX, days_up_to, words
from infoexchange.cli.output import PASSED, Output
from infoexchange.cli.parser import Parser, Subparsers, add_command, add_group
from infoexchange.cli.passphrase import add_home, folder_of
from infoexchange.cli.receive import inbox_of

if TYPE_CHECKING:
    from infoexchange.mailbox import Mailbox
    from infoexchange.receipt import Receipt

_MESSAGE = "a received message: its ID, or the file of its envelope"


def register(subparsers: Subparsers) -> None:
    """Add `pass-on` and `consent request | grant | deny`."""
    pass_on = add_command(subparsers, "pass-on", "pass a received message on, unchanged and with its marks", _pass_on)
    _common(pass_on, _MESSAGE)
    pass_on.add_argument("--to", metavar="NAME", action="append", required=True, help="agency or group; repeatable")
    add_attach(pass_on)
    pass_on.add_argument(
        "--lifetime", metavar="DAYS", type=days_up_to(90), default=14, help="days delivery is tried (14)"
    )

    group = add_group(subparsers, "consent", "ask for, give or deny consent to passing information on")
    request = add_command(group, "request", "ask the originator whether a message may be passed on", _request)
    _common(request, _MESSAGE)
    request.add_argument("--to", metavar="NAME", action="append", required=True, help="agency or group; repeatable")
    request.add_argument("--purpose", metavar="TEXT", type=words, required=True, help="why they need it")

    grant = add_command(group, "grant", "consent to a request and send the signed grant", _grant)
    _common(grant, "the request: its ID, or the file of its envelope")
    grant.add_argument("--to", metavar="NAME", action="append", default=[], help="agency, in place of those proposed")
    grant.add_argument(
        "--days", metavar="DAYS", type=days_up_to(90), default=14, help="days it may be used (1 to 90; 14)"
    )
    grant.add_argument("--conditions", metavar="TEXT", type=words, help="what has to be kept to")

    deny = add_command(group, "deny", "answer a request with no", _deny)
    _common(deny, "the request: its ID, or the file of its envelope")
    deny.add_argument("--explanation", metavar="TEXT", type=words, help="why")


def _common(parser: Parser, what: str) -> None:
    parser.add_argument("message", metavar="ID|FILE", help=what)
    add_home(parser)


def received(args: argparse.Namespace) -> bytes:
    """Return the envelope of a received message, which the command line names by its ID or its file."""
    from infoexchange.home.files import read_file

    text = str(args.message)
    is_id = len(text) == 64 and all(digit in "0123456789abcdef" for digit in text.lower())
    if is_id:
        step = f"Check the ID; `receive` keeps what comes in {args.home / 'inbox'}."
        return read_file(inbox_of(args.home, bytes.fromhex(text)) / "envelope.bin", next_step=step)
    return read_file(Path(text), next_step="Check the path, or give the message's ID: 64 hexadecimal digits.")


@contextlib.contextmanager
def _connected(args: argparse.Namespace) -> Iterator[Mailbox]:
    """Give the mailbox; say of a message that is sealed and could not be sent that it is kept."""
    from infoexchange.errors import UnavailableError, error
    from infoexchange.home import Home
    from infoexchange.transport import connect

    with connect(Home.open(folder_of(args))) as mailbox:
        mailbox.flush()  # what an earlier run left comes first, as it was sealed first
        before = mailbox.spool.standing()
        try:
            yield mailbox
        except UnavailableError as problem:
            if mailbox.spool.standing() == before:
                raise
            detail = f"{problem.detail}; the message is kept in the outbox"
            raise error(problem.reason, field=problem.field, detail=detail, next_step=OUTBOX) from None


def _shown(out: Output, receipt: Receipt, sentence: str, **more: object) -> int:
    name = receipt.subject.envelope_digest.hex()
    out.show({"id": name, "entry": receipt.index, **more}, f"{sentence} Message {name}, log entry {receipt.index}.")
    return PASSED


def _pass_on(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.stash import Attachment

    raw = received(args)
    with _connected(args) as mailbox:
        delivery = mailbox.reopen(raw)
        kinds = {attachment.name: attachment.media_type for attachment in delivery.attachments}
        attachments = [Attachment(path, media_type=kinds.get(path.name, "")) for path in args.attach]
        lifetime = timedelta(days=args.lifetime)
        receipt = mailbox.pass_on(delivery, args.to, lifetime=lifetime, attachments=attachments)
    way = [transfer.sender for transfer in delivery.chain]
    sentence = f"Passed on what {delivery.originator} signed, unchanged."
    return _shown(out, receipt, sentence, originator=delivery.originator, chain=way)


def _request(args: argparse.Namespace, out: Output) -> int:
    raw = received(args)
    with _connected(args) as mailbox:
        delivery = mailbox.reopen(raw)
        receipt = mailbox.request_consent(delivery, args.to, purpose=args.purpose)
    step = "The answer comes with `receive`; after that, `pass-on` finds the grant."
    return _shown(out, receipt, f"Asked {delivery.originator}. {step}", originator=delivery.originator)


def _grant(args: argparse.Namespace, out: Output) -> int:
    raw = received(args)
    with _connected(args) as mailbox:
        request = mailbox.reopen(raw)
        lifetime = timedelta(days=args.days)
        receipt = mailbox.grant(request, to=args.to, lifetime=lifetime, conditions=args.conditions or "")
    return _shown(out, receipt, f"Granted to {request.sender} for {args.days} days.", holder=request.sender)


def _deny(args: argparse.Namespace, out: Output) -> int:
    raw = received(args)
    with _connected(args) as mailbox:
        request = mailbox.reopen(raw)
        receipt = mailbox.deny(request, explanation=args.explanation or "")
    return _shown(out, receipt, f"Denied to {request.sender}.", holder=request.sender)
