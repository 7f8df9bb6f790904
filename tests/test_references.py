"""Corrections, recalls and replies: what they refer to is their sender's own, known, and as real as they are."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.message import Message

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import catalogue
from infoexchange.errors import ExchangeError, Reason
from infoexchange.mailbox import Mailbox
from infoexchange.mailbox.references import REFERENCE_WAIT
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from messages import handling, officer_acknowledgement


def correction(digest: bytes, **marks: object) -> catalogue.Correction:
    made = catalogue.Correction(handling=handling(**marks), corrects=digest, reason=catalogue.CORRECTION_REASON_TYPO)
    made.changed_fields.add(path="officer_role", kind=catalogue.CHANGE_KIND_ADD, value="duty officer")
    return made


def recall(digest: bytes, **marks: object) -> catalogue.Recall:
    return catalogue.Recall(handling=handling(**marks), recalls=digest, reason=6, requested_action=1)


def confirmation(digest: bytes, **marks: object) -> catalogue.RecallConfirmation:
    return catalogue.RecallConfirmation(handling=handling(**marks), confirms=digest, action_taken=1)


@pytest.fixture
def exchange(exchange: Exchange) -> Exchange:
    for name in exchange.community.members:
        exchange.mailbox(name)
    return exchange


def send(box: Mailbox, message: Message, to: str = RECIPIENT) -> bytes:
    receipt = box.send(message, [to])
    assert isinstance(receipt, Receipt)
    return receipt.subject.envelope_digest


def received(box: Mailbox) -> list[bytes]:
    found = []
    for delivery in box.receive():
        box.acknowledge(delivery)
        found.append(delivery.digest)
    return found


def refused(box: Mailbox) -> list[tuple[Reason, str, bool]]:
    return [(r.problem.reason, r.problem.field, r.signed) for r in box.refused]


def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let libraries send what they should not."""
    monkeypatch.setattr("infoexchange.mailbox.outbox.check_to_send", lambda *_: None)


def test_the_application_finds_what_is_corrected_and_recalled(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    digest = send(sender, officer_acknowledgement())
    received(recipient)
    send(sender, correction(digest))
    send(sender, recall(digest))
    first, second = recipient.receive()
    assert (first.corrects, first.recalls) == (digest, b"")
    assert (second.corrects, second.recalls) == (b"", digest)
    recipient.acknowledge(second)
    recipient.send(confirmation(second.digest), [SENDER], in_reply_to=second)
    [answer] = sender.receive()
    assert answer.message.confirms == second.digest  # type: ignore[attr-defined]
    assert (answer.corrects, answer.recalls) == (b"", b"")


@pytest.mark.parametrize("make", [correction, recall])
def test_only_who_sent_it_may(exchange: Exchange, make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    sender, recipient, second = (exchange.mailbox(name) for name in (SENDER, RECIPIENT, SECOND))
    digest = send(sender, officer_acknowledgement())
    received(recipient)
    for box in (recipient, second):  # one who knows of it, and one who does not
        with pytest.raises(ExchangeError) as caught:
            box.send(make(digest), [SENDER])  # type: ignore[operator]
        assert (caught.value.reason, box.spool.standing().sequence) == (Reason.NOT_PERMITTED, 0)
    careless(monkeypatch)
    second.send(make(digest), [RECIPIENT, SENDER])  # type: ignore[operator]
    assert received(recipient) == received(sender) == []
    field = "corrects" if make is correction else "recalls"
    assert refused(recipient) == refused(sender) == [(Reason.NOT_PERMITTED, field, True)]


def test_an_exercise_stays_one(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real recall of an exercise, a real answer to a test: refused by the sender's library and by the recipient's."""
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    digest = send(sender, officer_acknowledgement())
    [delivery] = recipient.receive()
    recipient.acknowledge(delivery)
    real = {"op_status": catalogue.OP_STATUS_ACTUAL}
    answer = catalogue.OfficerAcknowledgement(handling=handling(**real), of=digest, level=1)
    cases = (
        (sender, recall(digest, **real), RECIPIENT, None),
        (recipient, answer, SENDER, None),
        (recipient, officer_acknowledgement(**real), SENDER, delivery),
    )
    for box, message, to, in_reply_to in cases:
        with pytest.raises(ExchangeError) as caught:
            box.send(message, [to], in_reply_to=in_reply_to)
        assert (caught.value.reason, caught.value.field) == (Reason.RULE_BROKEN, "handling.op_status")
        assert "EXERCISE" in caught.value.next_step
    careless(monkeypatch)
    for box, message, to, in_reply_to in cases:
        box.send(message, [to], in_reply_to=in_reply_to)
    assert received(recipient) == received(sender) == []
    assert refused(recipient) == [(Reason.RULE_BROKEN, "handling.op_status", True)]
    assert refused(sender) == [(Reason.RULE_BROKEN, "handling.op_status", True)] * 2


def test_a_recall_that_overtakes_its_message_waits_for_it(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    digest = send(sender, officer_acknowledgement())
    withdrawn = send(sender, recall(digest, precedence=4))
    first = [d for d in recipient.receive() if recipient.acknowledge(d) is None]
    assert [d.digest for d in first] == [digest]
    assert refused(recipient) == [(Reason.RULE_BROKEN, "recalls", False)]
    [second] = recipient.receive()
    assert (second.digest, second.recalls) == (withdrawn, digest)


def test_a_recall_of_nothing_is_refused_after_a_day(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    elsewhere = send(sender, officer_acknowledgement(), to=SECOND)
    digest = send(sender, recall(elsewhere))
    assert received(recipient) == []
    exchange.clock.advance(REFERENCE_WAIT)
    assert received(recipient) == []
    assert {signed for _, _, signed in refused(recipient)} == {False}
    exchange.clock.advance(timedelta(seconds=1))
    assert received(recipient) == []
    assert refused(recipient)[-1] == (Reason.RULE_BROKEN, "recalls", True)
    [found] = sender.outcomes(digest)
    assert (found.state, found.reason) == (Event.REFUSED, Reason.RULE_BROKEN)


def test_a_correction_years_later_still_finds_its_message(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    digest = send(sender, officer_acknowledgement())
    received(recipient)
    exchange.clock.advance(timedelta(days=20))
    received(recipient)  # the inbox has forgotten by now what it must not hand over twice
    assert recipient.spool.notice(digest) is None
    send(sender, correction(digest))
    [delivery] = recipient.receive()
    assert delivery.corrects == digest


def test_what_is_no_longer_valid_says_so(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    message = officer_acknowledgement()
    until = exchange.clock() + timedelta(days=1)
    message.handling.valid_until.FromDatetime(until)
    message.handling.retention_until.FromDatetime(until + timedelta(days=9))
    send(sender, message)
    [delivery] = recipient.receive()
    assert (delivery.valid_until, delivery.outdated) == (until, False)
    assert delivery.retention_until == until + timedelta(days=9)
    exchange.clock.advance(timedelta(days=2))
    [again] = recipient.receive()
    assert (again.outdated, again.received_at) == (True, exchange.clock())
    send(sender, officer_acknowledgement())
    plain = next(d for d in recipient.receive() if d.digest != delivery.digest)
    assert (plain.valid_until, plain.retention_until, plain.outdated) == (None, None, False)
