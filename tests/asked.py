"""Two mailboxes, one that asks and one that is asked: messages, steps and fixtures of the tests of threads."""

from __future__ import annotations

import functools

import pytest
from google.protobuf.message import Message

from catalogue_messages import request
from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange import catalogue
from infoexchange.delivery import Delivery
from infoexchange.errors import ExchangeError, Reason
from infoexchange.flows import Kind, Thread
from infoexchange.mailbox import Mailbox
from infoexchange.testing import Community, Exchange, FakeClock
from messages import handling

STATUS = {kind.name: getattr(catalogue, f"RESPONSE_STATUS_{kind.name}") for kind in Kind if Kind.ACCEPTED <= kind < 10}


def asking(**marks: object) -> catalogue.RequestForInformation:
    made = request()
    made.handling.CopyFrom(handling(foreseen_use="intelligence only", **marks))
    made.urgency_reason = "EXERCISE"
    return made


def answering(digest: bytes, status: str, **marks: object) -> catalogue.InformationResponse:
    made = catalogue.InformationResponse(
        handling=handling(**marks), subject="EXERCISE answer", request_ref=digest, status=STATUS[status]
    )
    if status in ("PARTIAL", "FINAL"):
        made.answers.add(question_id="q1", text="Nobody.")
    if status == "REFUSED":
        made.refusal.code = catalogue.REFUSAL_CODE_NO_LEGAL_BASIS
    if status == "NEEDS_CLARIFICATION":
        made.clarification_needed = "Which one?"
    return made


def acknowledging(digest: bytes, level: int = 1) -> catalogue.OfficerAcknowledgement:
    return catalogue.OfficerAcknowledgement(handling=handling(), of=digest, level=level)


@functools.cache
def community() -> Community:
    """One for all tests: none changes it."""
    return Community.make(AGENCIES, now=FakeClock()())


@pytest.fixture
def exchange() -> Exchange:
    """A fresh exchange in which all have published their keys."""
    made = Exchange(AGENCIES, community=community())
    for name in made.community.members:
        made.mailbox(name)
    return made


@pytest.fixture
def asker(exchange: Exchange) -> Mailbox:
    return exchange.mailbox(SENDER)


@pytest.fixture
def asked(exchange: Exchange) -> Mailbox:
    return exchange.mailbox(RECIPIENT)


def send(box: Mailbox, message: Message, *to: str, **more: object) -> bytes:
    receipt = box.send(message, to, **more)  # type: ignore[arg-type]  # as the test gives them
    return receipt.subject.envelope_digest


def take(box: Mailbox) -> list[Delivery]:
    found = []
    for delivery in box.receive():
        box.acknowledge(delivery)
        found.append(delivery)
    return found


def thread(box: Mailbox, digest: bytes, peer: str = RECIPIENT) -> Thread:
    return next(t for t in box.threads().threads if (t.root.digest, t.peer) == (digest, peer))


def refusal(box: Mailbox, message: Message, *to: str) -> tuple[str, str]:
    """Return field and next step of what a sender is told; nothing may have been sealed."""
    before = box.spool.standing()
    with pytest.raises(ExchangeError) as caught:
        box.send(message, to)
    assert caught.value.reason is Reason.RULE_BROKEN
    assert box.spool.standing() == before
    return caught.value.field, caught.value.next_step
