"""Recall: stop a message for those to whom it is not delivered yet, and say what is left to do for the others."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.endings import opened
from infoexchange.cli.outcomes import outcome_data, outcome_table
from infoexchange.cli.output import FAILED, PASSED, Output
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.cli.passphrase import add_home

if TYPE_CHECKING:
    from infoexchange.evidence import Outcome
    from infoexchange.mailbox import Mailbox

_ROUNDS, _PAUSE = 10, 0.3  # an order reaches another relay within a second, if it can be reached
_LATER = "The order is kept and goes out with the next connection; do not give it again."


def register(subparsers: Subparsers) -> None:
    """Add `recall`."""
    recall = add_command(subparsers, "recall", "stop a message wherever it is not delivered yet", _recall)
    recall.add_argument("id", metavar="ID", help="the message, as `send` printed it: 64 hexadecimal digits")
    add_home(recall)
    recall.add_argument("--to", metavar="NAME", action="append", default=[], help="for this recipient; may be repeated")
    recall.add_argument(
        "--draft", metavar="FILE", type=Path, help="write a Recall message to fill in, for those who have it already"
    )


def _recall(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import digest_of
    from infoexchange.errors import ExchangeError, UnavailableError, error
    from infoexchange.transport import connect

    digest = digest_of(args.id)
    with connect(opened(args, out)) as mailbox:
        results = mailbox.recall(digest, args.to)
        problems = [result for result in results if isinstance(result, ExchangeError)]
        for problem in problems:
            step = _LATER if isinstance(problem, UnavailableError) else problem.next_step
            raise error(problem.reason, field=problem.field, detail=problem.detail, next_step=step)
        outcomes = _settled(mailbox, digest, args.to)
        late = [found.recipient for found in outcomes if _has_it(found)]
        if late and args.draft:
            _write_draft(args.draft, digest, mailbox)
    waiting = [found.recipient for found in outcomes if not _has_it(found) and not found.is_final]
    names = " ".join(f"--to {name}" for name in late)
    draft = args.draft or Path("recall.json")
    command = f"infoexchange send {draft} --type Recall --home {args.home} {names}"
    fill = f"Fill in {draft}" if args.draft else f"Run this again with --draft {draft} and fill that in"
    out.show(
        {"id": digest.hex(), "outcomes": outcome_data(outcomes), "already_delivered": late, "not_confirmed": waiting},
        outcome_table(outcomes),
        *([f"Not confirmed yet: {', '.join(waiting)}. Later: infoexchange receipts {digest.hex()} --home {args.home}"]
          if waiting else []),
        *([f"Nothing can take a message out of an agency that has it. {fill}, to ask for its deletion, then: {command}"]
          if late else []),
    )  # fmt: skip
    return FAILED if late or waiting else PASSED


def _settled(mailbox: Mailbox, digest: bytes, names: list[str]) -> list[Outcome]:
    """Return the outcomes of those named, or of all, once the order has reached every relay or had time to."""
    for _ in range(_ROUNDS):
        outcomes = [found for found in mailbox.outcomes(digest) if not names or found.recipient in names]
        if all(found.is_final or _has_it(found) for found in outcomes):
            break
        time.sleep(_PAUSE)
    return outcomes


def _has_it(found: Outcome) -> bool:
    """Whether the recipient has the message."""
    from infoexchange.states import Event

    return found.state in (Event.DELIVERED, Event.OPENED)


def _write_draft(path: Path, digest: bytes, mailbox: Mailbox) -> None:
    """Write the message that asks for deletion, as far as it can be known here."""
    from infoexchange import catalogue
    from infoexchange.cli.written import write_message
    from infoexchange.envelope import Envelope

    sent = mailbox.spool.sent(digest)
    header = Envelope.parse(sent.raw if sent else b"").header
    handling = catalogue.Handling(
        op_status=catalogue.OpStatus.ValueType(header.op_status),
        precedence=catalogue.Precedence.ValueType(header.precedence),
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
    )
    message = catalogue.Recall(handling=handling, recalls=digest, requested_action=catalogue.REQUESTED_ACTION_DELETE)
    write_message(path, message)
