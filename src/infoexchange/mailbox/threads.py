"""Threads: what an agency remembers of its flows: what it sent and received, what does not fit, and what is late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from google.protobuf.message import Message

from infoexchange import wire
from infoexchange.catalogue import steps as schemas
from infoexchange.catalogue.references import references
from infoexchange.content import Content
from infoexchange.delivery import Delivery
from infoexchange.draft import Draft
from infoexchange.errors import Reason, error
from infoexchange.flows import Following, Kind, Objection, Rule, Said, Step, follow
from infoexchange.header import Header
from infoexchange.listing import Party
from infoexchange.mailbox.desk import Desk


def following(desk: Desk, about: Sequence[bytes] = ()) -> Following:
    """Return where everything stands, or only what is tied to these digests."""
    return follow(desk.spool.steps(about), desk.identity.name)


def planned(desk: Desk, draft: Draft, parties: Sequence[Party], ahead: int = 0) -> Step | None:
    """Return the step that a draft will be; nothing for another agency's message, which begins no flow of ours.

    Args:
        desk: The agency's.
        draft: What is to be sent.
        parties: To whom.
        ahead: How many others are sealed before it.
    """
    if draft.passed_on:
        return None
    sequence = desk.spool.standing().sequence + 1 + ahead
    return Step(
        digest=b"unsealed %d" % sequence,  # until it has a name
        sender=desk.identity.name,
        recipients=tuple(dict.fromkeys([*(party.name for party in parties), *draft.addressees])),
        at=desk.clock(),
        sequence=sequence,
        in_reply_to=draft.in_reply_to,
        said=Said.of(draft.message),
    )


def continued(desk: Desk, draft: Draft, step: Step) -> Draft:
    """Return a draft in the thread of what it is about, unless it names a thread of its own."""
    if draft.thread_id or not step.refers_to:
        return draft
    known = {s.digest: s.thread_id for s in desk.spool.steps(step.refers_to)}
    found = [known[digest] for digest in step.refers_to if known.get(digest)]
    return replace(draft, thread_id=found[0]) if found else draft


def sealed(step: Step, header: Header, content: Content, digest: bytes) -> Step:
    """Return the step of a draft with what its envelope has given it."""
    at = wire.from_ms(wire.to_ms(header.created_at), field="created_ms")
    return replace(step, digest=digest, at=at, sequence=header.sequence, thread_id=content.thread_id)


def check_fits(desk: Desk, step: Step, message: Message, earlier: Sequence[Step] = ()) -> None:
    """Accept a message for sending; raise `RULE_BROKEN` for an answer that does not fit its flow.

    Args:
        desk: The agency's.
        step: Of the message, as `planned` makes it.
        message: For the names of its fields.
        earlier: Steps that are sealed before it and that the spool does not know yet.
    """
    kind, named = step.said.kind, set(step.refers_to)
    if not named or not kind.may_not_fit:
        return
    before = [*desk.spool.steps(step.refers_to), *(s for s in earlier if named.intersection(s.refers_to))]
    # It comes after everything that is known here, whatever the clocks of others, or ours before, have said.
    last = max([step.at, *(s.at for s in before)]) + timedelta(milliseconds=1)
    why = _why(desk, step, follow([*before, replace(step, at=last)], desk.identity.name))
    if why and not (kind.acknowledges and why.rule is Rule.UNKNOWN):  # it may have come to another system of ours
        raise error(Reason.RULE_BROKEN, field=_field(message, why), detail=why.detail, next_step=why.next_step)
    asked = next((s.sender for s in before if step.is_about(s)), "")
    if kind.answers and asked and asked not in step.recipients:
        detail = f"{asked} has asked and is not among the recipients"
        raise error(Reason.RULE_BROKEN, field="to", detail=detail, next_step=f"Send it to {asked} too.")


def received(desk: Desk, delivery: Delivery) -> str:
    """Keep the step of a message that came, and return why it does not fit its flow; nothing where it does.

    Whatever does not fit is handed over all the same: nothing that was sent is lost because its sender erred.
    """
    step = came(desk, delivery)
    if not step.is_quiet:  # the others are kept with their acknowledgement, which costs no write more
        desk.spool.note(step)
    if not step.refers_to or not step.said.kind.may_not_fit:
        return ""
    why = _why(desk, step, following(desk, [step.digest]))
    return why.detail if why else ""


def came(desk: Desk, delivery: Delivery) -> Step:
    """Return the step of a message that came."""
    header, content, me = delivery.envelope.header, delivery.content, desk.identity.name
    said, digest, in_reply_to = Said.of(delivery.message), delivery.digest, content.in_reply_to
    recipients = tuple(dict.fromkeys([*(recipient.name for recipient in header.recipients), me]))
    if delivery.origin and me in delivery.origin.addressees:
        # It was for us from the beginning; the way led through a gateway.
        first = delivery.origin.original
        header, digest, recipients, in_reply_to = first.header, first.digest, (me,), b""
    elif delivery.origin:  # for our information: who asked, asked others
        said = replace(said, kind=Kind.TELLS, asks=False, about=(), respond_by=None)
        recipients, in_reply_to = (), b""
    return Step(
        digest=digest,
        sender=header.sender,
        recipients=recipients,
        at=header.created_at,
        sequence=header.sequence,
        thread_id=content.thread_id,
        in_reply_to=in_reply_to,
        said=said,
    )


def _why(desk: Desk, step: Step, found: Following) -> Objection | None:
    """Return what speaks against a step; not that its request is unknown where an older version took it."""
    why = found.objections.get(step.digest)
    if why and why.rule is Rule.UNKNOWN:
        digest = step.said.about[0]
        if desk.spool.known(digest) or desk.spool.sent(digest):
            return None
    return why


def _field(message: Message, why: Objection) -> str:
    """Return the field of a message that an objection is about."""
    if why.rule is Rule.OP_STATUS:
        return "handling.op_status"
    if why.rule in (Rule.OVER, Rule.LEVEL):
        return schemas.stated(message).field
    named = sorted(references(message), key=lambda reference: not reference.reply_to)
    return named[0].field
