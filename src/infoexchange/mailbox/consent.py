"""Consent: how an agency passes on what is another's: it asks, the originator grants, and the grant goes along.

Each function returns a draft that leaves by the outbox like any other message, so that a retry sends the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from google.protobuf.message import Message

from infoexchange import catalogue, suites
from infoexchange.bundle import KeyBundle
from infoexchange.catalogue import marks
from infoexchange.content import Content
from infoexchange.delivery import Delivery
from infoexchange.draft import Draft
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, RefusedError, UntrustedError, error
from infoexchange.grant import Grant, Terms
from infoexchange.mailbox.desk import Desk
from infoexchange.onward import PassedOn, consent_needed
from infoexchange.origin import Origin
from infoexchange.receipt import Receipt
from infoexchange.states import Event

_PURPOSE = "consent to onward transfer"  # in the marks of requests and decisions; the reason itself stands in a field


def pass_on(desk: Desk, delivery: Delivery, to: Sequence[str], *, grant: Grant | None, lifetime: timedelta) -> Draft:
    """Return the draft that passes a message on; what `Mailbox.pass_on` promises."""
    now = desk.clock()
    source = delivery.chain[0].digest
    wanted = Draft(delivery.message, to).names(desk.directory, desk.identity.name, now=now)
    if grant is None and not _is_free(desk, delivery, wanted, now):
        grant = _held(desk, source, wanted, now)
    header = delivery.envelope.header
    bundles = [desk.keyring.sender_of(header, desk.relay)]
    for one in (delivery.envelope.grant, grant):
        held = delivery.origin.every_bundle if delivery.origin else {}
        if one is not None and one.terms.originator_bundle not in {*held, *(b.digest for b in bundles)}:
            terms = one.terms
            where = "grant.originator_bundle"
            bundles.append(desk.keyring.named(terms.originator, terms.originator_bundle, desk.relay, where))
    accepted = _acceptance(desk, delivery)
    origin = Origin.make(delivery.envelope, delivery.content, desk.identity.name, bundles, accepted)
    # No weaker than it came; in a thread of its own, because the others are none of the new recipients' business.
    suite = suites.suite_of(header.suite)
    passed_on = PassedOn(delivery.content.payload, origin, grant)
    return Draft(delivery.message, to, lifetime=lifetime, suite=suite, passed_on=passed_on)


def _is_free(desk: Desk, delivery: Delivery, recipients: Sequence[str], now: datetime) -> bool:
    """Whether no grant is needed, and so none is shown to relays."""
    if delivery.origin is None and set(recipients) <= set(delivery.content.addressees):
        return True
    return not consent_needed(delivery.message, recipients, desk.directory, at=now)


def _held(desk: Desk, source: bytes, recipients: Sequence[str], now: datetime) -> Grant | None:
    """Return the grant held here that covers it; else the newest for the message, so that it is said what it lacks."""
    held = [grant for grant in desk.spool.grants(source) if grant.terms.holder == desk.identity.name]
    for grant in held:
        try:
            grant.check_covers(desk.identity.name, recipients, at=[now])
        except RefusedError:
            continue
        return grant
    return held[0] if held else None


def _acceptance(desk: Desk, delivery: Delivery) -> Receipt | None:
    """Return the receipt of the sender's relay for what came, as far as one is to be had: auditors judge time by it."""
    last = delivery.chain[-1]
    home = desk.directory.party(last.sender, at=last.header.created_at).relay
    try:
        events = desk.relay.events(last.digest).of(last.digest).events
        for receipt in events:
            if (receipt.routing.event, receipt.routing.this_relay) == (Event.ACCEPTED, home):
                receipt.verify(desk.directory)
                return receipt
    except (RefusedError, UntrustedError):
        return None  # the relay has forgotten it, or its log is another's: the recipients do not depend on it
    return None


def request(desk: Desk, delivery: Delivery, to: Sequence[str], purpose: str) -> Draft:
    """Return the question to the originator; what `Mailbox.request_consent` promises."""
    original = delivery.chain[0]
    first = list(delivery.origin)[-1].content if delivery.origin else delivery.content.bare
    names = Draft(delivery.message, to).names(desk.directory, desk.identity.name, now=desk.clock())
    message = catalogue.OnwardConsentRequest(
        handling=_marks(delivery.message),
        information_ref=original.digest,
        proposed_recipients=names,
        purpose=purpose,
    )
    thread = Content.rebuild(first, b"").thread_id
    return Draft(message, [original.sender], thread_id=thread, in_reply_to=original.digest)


def grant(desk: Desk, asked: Delivery, to: Sequence[str], *, lifetime: timedelta, conditions: str) -> Draft:
    """Return the answer with a signed grant, which is kept here too; what `Mailbox.grant` promises."""
    question, now = _question(asked), desk.clock()
    sent = desk.spool.sent(question.information_ref)
    if sent is None:
        name = question.information_ref.hex()[:16]
        step = "Deny it: only what was sent from here can be granted."
        detail = f"{name} was not sent from here"
        raise error(Reason.NOT_ADDRESSED, field="information_ref", detail=detail, next_step=step)
    earlier = desk.spool.origin(question.information_ref)
    if earlier:
        owner = Origin.parse(earlier).original.sender
        detail = f"{owner} is the originator; it was only passed on from here"
        raise error(Reason.NOT_PERMITTED, field="information_ref", detail=detail, next_step=f"Let it ask {owner}.")
    terms = Terms(
        origin=question.information_ref,
        originator=desk.identity.name,
        originator_bundle=desk.newest.digest,
        holder=asked.sender,
        recipients=tuple(to or question.proposed_recipients),
        granted_at=now,
        expires_at=now + lifetime,
        suite=Envelope.parse(sent.raw).header.suite,
    )
    signed = Grant.sign(terms, desk.keys)
    freely, bound = catalogue.CONSENT_DECISION_GRANTED, catalogue.CONSENT_DECISION_GRANTED_WITH_CONDITIONS
    message = catalogue.OnwardConsentDecision(
        handling=_marks(asked.message),
        request_ref=asked.digest,
        information_ref=question.information_ref,
        decision=bound if conditions else freely,
        conditions=conditions,
        grant=signed.raw,
    )
    message.expires_at.FromDatetime(signed.terms.expires_at)
    desk.spool.keep_grant(signed)
    return _answer(asked, message)


def deny(asked: Delivery, explanation: str) -> Draft:
    """Return the answer that says no; what `Mailbox.deny` promises."""
    message = catalogue.OnwardConsentDecision(
        handling=_marks(asked.message),
        request_ref=asked.digest,
        information_ref=_question(asked).information_ref,
        decision=catalogue.CONSENT_DECISION_DENIED,
        explanation=explanation,
    )
    return _answer(asked, message)


def keep(desk: Desk, sender: KeyBundle, message: Message) -> None:
    """Keep the grant of a decision that came in, once it has been found to be the sender's and for this agency.

    Raises:
        RefusedError: `RULE_BROKEN` when it is a grant for something else.
        ExchangeError: Of any reason for which the grant itself is refused.
    """
    if not isinstance(message, catalogue.OnwardConsentDecision) or not message.grant:
        return
    held = Grant.parse(message.grant)
    terms = held.terms
    said = (terms.origin, terms.originator, terms.originator_bundle, terms.holder)
    if said != (message.information_ref, sender.owner, sender.digest, desk.identity.name):
        raise error(Reason.RULE_BROKEN, field="grant", detail="a grant for something else than the decision says")
    held.verify(desk.directory, sender)
    desk.spool.keep_grant(held)


def _question(asked: Delivery) -> catalogue.OnwardConsentRequest:
    if not isinstance(asked.message, catalogue.OnwardConsentRequest):
        detail = f"a {asked.message.DESCRIPTOR.name} asks for no consent"
        step = "Name the OnwardConsentRequest that is to be answered."
        raise error(Reason.BAD_FIELD, field="request", detail=detail, next_step=step)
    return asked.message


def _marks(about: Message) -> catalogue.Handling:
    """Return the marks of a message about another one: as strict as that, in the same domain, and for real if it is."""
    handling = catalogue.handling_of(about)
    return catalogue.Handling(
        op_status=handling.op_status,
        precedence=handling.precedence,
        domain=catalogue.domain_of(about),
        tlp=marks.tlp_of(about),
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose=_PURPOSE,
    )


def _answer(asked: Delivery, message: Message) -> Draft:
    return Draft(message, [asked.sender], thread_id=asked.content.thread_id, in_reply_to=asked.digest)
