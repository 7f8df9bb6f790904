"""References: what holds between a message and the one that it answers, corrects or recalls.

Only who sent a message corrects or recalls it, and what is an exercise stays one: a reply, correction or recall has the
op_status of what it refers to.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.message import Message

from infoexchange import catalogue
from infoexchange.catalogue.references import Reference, references
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.header import Header
from infoexchange.mailbox.desk import Desk
from infoexchange.ports import Known
from infoexchange.states import OpStatus

# Specification constants
REFERENCE_WAIT = timedelta(days=1)  # a correction that overtakes its message waits this long for it


def check_to_send(desk: Desk, message: Message, in_reply_to: bytes) -> None:
    """Accept a message for sending; raise `NOT_PERMITTED` or `RULE_BROKEN` for a reference that does not hold."""
    me = desk.identity.name
    for reference in _all(message, in_reply_to):
        known = _known(desk, reference.digest)
        if reference.own and (known is None or known.sender != me):
            next_step = f"Set {reference.field} to the ID of a message that this agency has sent from this folder."
            raise error(
                Reason.NOT_PERMITTED, field=reference.field, detail="it is not a message of ours", next_step=next_step
            )
        if known is not None:
            _check_status(reference, known, OpStatus(catalogue.handling_of(message).op_status))


def check_received(desk: Desk, header: Header, message: Message, in_reply_to: bytes, *, now: datetime) -> bool:
    """Return whether a message may be handed over now; a correction that comes before its message may later.

    Raises:
        RefusedError: `NOT_PERMITTED` when it corrects or recalls another agency's message, `RULE_BROKEN` when the
            op_status differs or the message it names has not come within a day.
    """
    for reference in _all(message, in_reply_to):
        known = _known(desk, reference.digest)
        if known is None:
            if reference.own and now <= header.created_at + REFERENCE_WAIT:
                return False
            if reference.own:
                raise error(Reason.RULE_BROKEN, field=reference.field, detail="no such message has come")
            continue
        if reference.own and known.sender != header.sender:
            detail = f"{header.sender} did not send that message"
            raise error(Reason.NOT_PERMITTED, field=reference.field, detail=detail)
        _check_status(reference, known, header.op_status)
    return True


def unknown(message: Message) -> ExchangeError:
    """Return what is said of a correction that came before its message."""
    [field] = [reference.field for reference in references(message) if reference.own]
    step = "Receive again later: what it refers to may still be on its way."
    return error(Reason.RULE_BROKEN, field=field, detail="no such message has come yet", next_step=step)


def _all(message: Message, in_reply_to: bytes) -> list[Reference]:
    found = references(message)
    return [*found, Reference("in_reply_to", in_reply_to, own=False)] if in_reply_to else found


def _known(desk: Desk, digest: bytes) -> Known | None:
    """Return whose a message was that came here or left from here."""
    sent = desk.spool.sent(digest)
    if sent is None:
        return desk.spool.known(digest)
    header = Envelope.parse(sent.raw).header
    return Known(header.sender, header.op_status)


def _check_status(reference: Reference, known: Known, op_status: OpStatus) -> None:
    if known.op_status != op_status:
        raise error(
            Reason.RULE_BROKEN,
            field="handling.op_status",
            detail=f"{op_status.name}, but the message in {reference.field} is {known.op_status.name}",
            next_step=f"Set handling.op_status to {known.op_status.name}.",
        )
