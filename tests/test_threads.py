"""Threads of a mailbox: both sides see the same, senders are kept from errors, recipients are told of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.message import Message

from asked import STATUS, acknowledging, answering, asked, asker, asking, exchange, refusal, send, take, thread
from catalogue_messages import report
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import Draft, catalogue
from infoexchange.errors import ExchangeError, Reason
from infoexchange.flows import DEFAULT_CLOCKS as CLOCKS
from infoexchange.flows import Duty, Rule, State
from infoexchange.mailbox import Mailbox
from infoexchange.testing import Exchange
from messages import handling

__all__ = ["asked", "asker", "exchange"]


def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let libraries send what they should not."""
    monkeypatch.setattr("infoexchange.mailbox.threads.check_fits", lambda *_: None)


def test_a_request_from_its_beginning_to_its_end(asker: Mailbox, asked: Mailbox) -> None:
    digest = send(asker, asking(), RECIPIENT)
    last = {}

    def both(state: State) -> None:
        for box in (asker, asked):
            found = thread(box, digest)
            assert (found.state, found.unexpected) == (state, ())
        assert thread(asker, digest) == thread(asked, digest)

    def say(box: Mailbox, other: Mailbox, message: Message) -> None:
        to = SENDER if box is asked else RECIPIENT
        last["digest"] = send(box, message, to)
        [delivery] = take(other)
        assert delivery.unexpected == ""
        last["delivery"] = delivery

    assert [d.unexpected for d in take(asked)] == [""]
    both(State.ASKED)
    say(asked, asker, acknowledging(digest))
    both(State.ACKNOWLEDGED)
    say(asked, asker, answering(digest, "ACCEPTED"))
    say(asked, asker, answering(digest, "NEEDS_CLARIFICATION"))
    both(State.NEEDS_CLARIFICATION)
    correction = catalogue.Correction(handling=handling(), corrects=digest, reason=1)
    correction.changed_fields.add(path="background", kind=catalogue.CHANGE_KIND_REPLACE, value="EXERCISE. The first.")
    say(asker, asked, correction)
    both(State.CLARIFIED)
    say(asked, asker, answering(digest, "PARTIAL"))
    both(State.PARTIAL)
    say(asked, asker, answering(digest, "FINAL"))
    both(State.FINAL)
    feedback = catalogue.Feedback(handling=handling(), information_ref=last["digest"], usefulness=3)
    feedback.outcomes.append(catalogue.FEEDBACK_OUTCOME_NO_EFFECT)
    say(asker, asked, feedback)
    both(State.CLOSED)
    assert asker.overdue() == asked.overdue() == []


def test_what_breaks_the_flow_is_refused_before_sealing(exchange: Exchange, asker: Mailbox, asked: Mailbox) -> None:
    digest = send(asker, asking(), RECIPIENT, SECOND)
    take(asked)
    field, step = refusal(asked, answering(bytes(32), "FINAL"), SENDER)  # nobody asked
    assert (field, "SpontaneousInformation" in step) == ("request_ref", True)
    field, step = refusal(asked, answering(digest, "FINAL"), SECOND)  # not to whom it belongs
    assert (field, SENDER in step) == ("to", True)
    assert refusal(asker, answering(digest, "FINAL"), RECIPIENT)[0] == "request_ref"  # the asker itself
    wrong = catalogue.RecallConfirmation(handling=handling(), confirms=digest, action_taken=1)
    field, step = refusal(asked, wrong, SENDER)
    assert (field, step) == ("confirms", "Answer it with InformationResponse.")
    send(asked, acknowledging(digest, 2), SENDER)
    assert refusal(asked, acknowledging(digest, 1), SENDER)[0] == "level"
    send(asked, answering(digest, "FINAL"), SENDER)
    for status in STATUS:
        field, step = refusal(asked, answering(digest, status), SENDER)
        assert (field, "Correct" in step) == ("status", True)
    # The other one who was asked, and has not received it yet, is told to look first.
    second = exchange.mailbox(SECOND)
    assert refusal(second, answering(digest, "FINAL"), SENDER)[0] == "request_ref"
    take(second)
    send(second, answering(digest, "NO_TRACE"), SENDER)
    take(asker)
    states = {t.peer: t.state for t in asker.threads().threads if t.root.digest == digest}
    assert states == {RECIPIENT: State.FINAL, SECOND: State.NO_TRACE}


def test_two_last_answers_in_one_batch_are_one_too_many(asker: Mailbox, asked: Mailbox) -> None:
    digest = send(asker, asking(), RECIPIENT)
    take(asked)
    drafts = [Draft(answering(digest, status), [SENDER]) for status in ("PARTIAL", "FINAL", "FINAL")]
    first, second, third = asked.send_all(drafts)
    assert not isinstance(first, ExchangeError)
    assert not isinstance(second, ExchangeError)
    assert isinstance(third, ExchangeError)
    assert (third.reason, third.field) == (Reason.RULE_BROKEN, "status")
    assert len(take(asker)) == 2


def test_what_is_received_against_the_flow_is_delivered_and_marked(
    exchange: Exchange, asker: Mailbox, asked: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless(monkeypatch)
    digest = send(asker, asking(), RECIPIENT)
    take(asked)
    send(asked, answering(digest, "FINAL"), SENDER)
    send(asked, answering(digest, "FINAL"), SENDER)
    send(asked, answering(bytes(32), "FINAL"), SENDER)
    send(exchange.mailbox(SECOND), answering(digest, "FINAL"), SENDER)
    assert [d.unexpected for d in take(asker)] == [
        "",
        "FINAL after the request was answered finally",
        "no request of this name is known here",
        f"the request was not sent to {SECOND}",
    ]
    found = asker.threads()
    assert [why.rule for _, why in found.loose if why] == [Rule.UNKNOWN, Rule.NOT_ASKED]
    assert [why.rule for _, why in thread(asker, digest).unexpected] == [Rule.OVER]
    assert asker.refused == []


def test_an_answer_that_overtakes_another_changes_nothing(asker: Mailbox, asked: Mailbox) -> None:
    """Relays hand out what is urgent first: the last part may come before the first, and is no error."""
    digest = send(asker, asking(), RECIPIENT)
    take(asked)
    part = send(asked, answering(digest, "PARTIAL"), SENDER)
    last = send(asked, answering(digest, "FINAL", precedence=catalogue.PRECEDENCE_FLASH), SENDER)
    assert [(d.digest, d.unexpected) for d in take(asker)] == [(last, ""), (part, "")]
    assert thread(asker, digest) == thread(asked, digest)
    assert thread(asker, digest).state is State.FINAL


def test_a_reply_continues_the_thread_of_what_it_is_about(asker: Mailbox, asked: Mailbox) -> None:
    digest = send(asker, asking(), RECIPIENT)
    [question] = take(asked)
    send(asked, answering(digest, "PARTIAL"), SENDER)
    [answer] = take(asker)
    assert answer.content.thread_id == question.content.thread_id
    assert answer.content.in_reply_to == b""
    other = Draft(answering(digest, "FINAL"), [SENDER], thread_id=b"t" * 16)
    asked.send_all([other])
    assert [d.content.thread_id for d in take(asker)] == [b"t" * 16]


def test_a_recalled_request_is_answered_no_more(asker: Mailbox, asked: Mailbox) -> None:
    digest = send(asker, asking(), RECIPIENT)
    take(asked)
    recall = catalogue.Recall(handling=handling(), recalls=digest, reason=6, requested_action=1)
    withdrawn = send(asker, recall, RECIPIENT)
    take(asked)
    assert thread(asked, digest).state is State.WITHDRAWN
    field, step = refusal(asked, answering(digest, "FINAL"), SENDER)
    assert (field, "SpontaneousInformation" in step) == ("status", True)
    send(asked, catalogue.RecallConfirmation(handling=handling(), confirms=withdrawn, action_taken=1), SENDER)
    take(asker)
    assert thread(asker, withdrawn).state is State.FINAL


def test_consent_is_asked_for_and_given_once(asker: Mailbox, asked: Mailbox) -> None:
    send(asker, asking(precedence=catalogue.PRECEDENCE_PRIORITY), RECIPIENT)
    [information] = take(asked)
    asked.request_consent(information, [SECOND], purpose="EXERCISE")
    [question] = take(asker)
    assert thread(asker, question.digest, SENDER).state is State.ASKED
    asker.deny(question)
    take(asked)
    assert thread(asked, question.digest, SENDER).state is State.REFUSED
    for again in (lambda: asker.grant(question), lambda: asker.deny(question)):
        with pytest.raises(ExchangeError) as caught:
            again()
        assert (caught.value.reason, caught.value.field) == (Reason.RULE_BROKEN, "decision")


@pytest.mark.parametrize(("precedence", "minutes"), [("FLASH", 15), ("IMMEDIATE", 60), ("PRIORITY", 24 * 60)])
def test_what_is_overdue_is_listed_on_both_sides(
    exchange: Exchange, asker: Mailbox, asked: Mailbox, precedence: str, minutes: int
) -> None:
    urgent = asking(precedence=catalogue.Precedence.Value(f"PRECEDENCE_{precedence}"))
    digest = send(asker, urgent, RECIPIENT)
    take(asked)
    exchange.clock.advance(timedelta(minutes=minutes))
    assert asker.overdue() == asked.overdue() == []
    exchange.clock.advance(timedelta(milliseconds=1))
    for box in (asker, asked):
        [late] = box.overdue()
        [due] = late.overdue(exchange.clock(), clocks=CLOCKS)
        assert (late.root.digest, due.duty, due.who) == (digest, Duty.ACKNOWLEDGE, RECIPIENT)
    send(asked, acknowledging(digest), SENDER)
    assert asked.overdue() == []
    take(asker)
    assert asker.overdue() == []


def test_what_the_application_refuses_has_not_come(asker: Mailbox, asked: Mailbox) -> None:
    send(asker, asking(), RECIPIENT)
    [delivery] = asked.receive()
    assert len(asked.threads().threads) == 1
    asked.refuse(delivery, Reason.BAD_CIPHERTEXT)
    assert asked.threads().threads == ()


def test_a_quiet_report_is_known_once_it_is_acknowledged(asker: Mailbox, asked: Mailbox) -> None:
    """It costs no write of its own, and what is said of it later finds it."""
    digest = send(asker, report(), RECIPIENT)
    [delivery] = asked.receive()
    assert asked.spool.steps([digest]) == []
    asked.acknowledge(delivery)
    send(asked, acknowledging(digest), SENDER)
    take(asker)
    for box in (asker, asked):
        assert thread(box, digest).state is State.ACKNOWLEDGED


def test_a_request_that_an_older_version_took_can_still_be_answered(asker: Mailbox, asked: Mailbox) -> None:
    """Before steps were kept, an inbox remembered of a message no more than whose it was."""
    digest = send(asker, asking(), RECIPIENT)
    take(asked)
    for box in (asker, asked):
        box.spool._steps.clear()  # type: ignore[attr-defined]
    send(asked, answering(digest, "FINAL"), SENDER)
    assert [d.unexpected for d in take(asker)] == [""]


# What is passed on


def test_a_copy_for_information_asks_nobody(exchange: Exchange, asker: Mailbox, asked: Mailbox) -> None:
    free = asking(onward_transfer=catalogue.ONWARD_TRANSFER_FREE_WITHIN_MARKS, tlp=catalogue.TLP_GREEN)
    digest = send(asker, free, RECIPIENT)
    [delivery] = take(asked)
    asked.pass_on(delivery, [SECOND])
    second = exchange.mailbox(SECOND)
    [copy] = take(second)
    assert (copy.originator, copy.unexpected) == (SENDER, "")
    assert (second.threads().threads, second.threads().loose) == ((), ())
    assert [t.root.digest for t in asked.threads().threads] == [digest]


def test_who_stands_behind_a_gateway_is_asked_and_may_answer(
    exchange: Exchange, asker: Mailbox, asked: Mailbox
) -> None:
    free = asking(onward_transfer=catalogue.ONWARD_TRANSFER_FREE_WITHIN_MARKS, tlp=catalogue.TLP_GREEN)
    [receipt] = asker.send_all([Draft(free, [RECIPIENT], addressees=[SECOND])])
    assert not isinstance(receipt, ExchangeError)
    digest = receipt.subject.envelope_digest
    [delivery] = take(asked)
    second = exchange.mailbox(SECOND)
    asked.pass_on(delivery, [SECOND])
    [first] = second.receive()
    second.refuse(first, Reason.BAD_CIPHERTEXT)
    assert second.threads().threads == ()  # what was refused has not come, whatever name it goes by
    asked.pass_on(delivery, [SECOND])
    take(second)
    assert thread(second, digest, SECOND).state is State.ASKED
    real = answering(digest, "FINAL", op_status=catalogue.OP_STATUS_ACTUAL)
    assert refusal(second, real, SENDER)[0] == "handling.op_status"
    send(second, answering(digest, "FINAL"), SENDER)
    assert [d.unexpected for d in take(asker)] == [""]
    assert thread(asker, digest, SECOND).state is State.FINAL
