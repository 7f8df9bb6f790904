"""Mailbox and node together: promises kept over lost requests, lost answers, restarts, liars and replays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import Draft, catalogue
from infoexchange.bundle import KeyBundle
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.ports import Notice, Result
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import DirectRelay, Exchange, MemorySpool
from infoexchange.v1 import envelope_pb2
from messages import handling, officer_acknowledgement


def direct(exchange: Exchange, name: str, node: str | None = None) -> DirectRelay:
    party = exchange.directory.party(name, at=exchange.clock())
    return DirectRelay(exchange, exchange.nodes[node or party.relay], party)


def sealed(exchange: Exchange, to: Sequence[str] = (RECIPIENT,)) -> Envelope:
    """Seal a message that is in the outbox but was never submitted."""
    exchange.mailbox(RECIPIENT)
    exchange.mailbox(SECOND)
    mailbox = exchange.mailbox(SENDER)
    submit, mailbox._outbox.submit = mailbox._outbox.submit, lambda _: {}  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        mailbox.send(officer_acknowledgement(), to)
    mailbox._outbox.submit = submit  # type: ignore[method-assign]
    [sent] = mailbox.spool.unsent(10)
    return Envelope.parse(sent.raw)


def reason_of(result: Result) -> Reason:
    assert isinstance(result, ExchangeError)
    return result.reason


def test_a_message_crosses_two_countries_and_is_acknowledged(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    receipt = sender.send(officer_acknowledgement(), to=[RECIPIENT])
    [delivery] = recipient.receive()
    assert (delivery.sender, delivery.message, delivery.repeated) == (SENDER, officer_acknowledgement(), False)
    recipient.acknowledge(delivery)
    assert list(recipient.receive()) == []
    events = [e.routing.event for e in sender.history(receipt.subject.envelope_digest).events]
    assert events == [
        Event.ACCEPTED, Event.FORWARDED, Event.ACCEPTED, Event.QUEUED, Event.DELIVERED, Event.OPENED
    ]  # fmt: skip


def test_a_reply_continues_the_thread(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    sender.send(officer_acknowledgement(), to=[RECIPIENT])
    [delivery] = recipient.receive()
    recipient.send(officer_acknowledgement(), to=[SENDER], in_reply_to=delivery)
    [reply] = sender.receive()
    assert reply.content.thread_id == delivery.content.thread_id
    assert reply.content.in_reply_to == delivery.digest


def test_groups_and_suites_and_many_at_once(exchange: Exchange) -> None:
    boxes = {name: exchange.mailbox(name) for name in exchange.community.members}
    drafts = [
        Draft(officer_acknowledgement(), ["everyone"]),
        Draft(catalogue.OfficerAcknowledgement(handling=handling()), [RECIPIENT]),
        Draft(officer_acknowledgement(), [RECIPIENT], suite=HYBRID_KEM),
        Draft(officer_acknowledgement(), ["nobody.vn.example"]),
    ]
    results = boxes[SENDER].send_all(drafts)
    assert isinstance(results[0], Receipt)
    assert reason_of(results[1]) is Reason.RULE_BROKEN
    assert isinstance(results[2], Receipt)
    assert reason_of(results[3]) is Reason.UNKNOWN_PARTY
    counts = {name: len(list(box.receive())) for name, box in boxes.items()}
    assert counts == {SENDER: 0, "desk.navy.th.example": 1, RECIPIENT: 2, SECOND: 1}


def test_flash_overtakes_and_order_is_kept(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    exchange.mailbox(RECIPIENT)
    for precedence in (1, 2, 1, 4):
        sender.send(officer_acknowledgement(precedence=precedence), to=[RECIPIENT])
    seen = [(d.envelope.header.precedence, d.envelope.header.sequence) for d in recipient.receive()]
    assert seen == [(4, 4), (2, 2), (1, 1), (1, 3)]


def test_until_acknowledged_it_comes_again_and_never_after(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    sender.send(officer_acknowledgement(), to=[RECIPIENT])
    assert [d.repeated for d in recipient.receive()] == [False]
    [again] = recipient.receive()
    assert again.repeated
    recipient.acknowledge(again)
    recipient.acknowledge(again)
    assert list(recipient.receive()) == []


def test_resending_gives_the_receipt_of_the_same_entry(exchange: Exchange) -> None:
    envelope = sealed(exchange)
    relay = direct(exchange, SENDER)
    [first], [second] = relay.submit([envelope.raw]), relay.submit([envelope.raw])
    assert isinstance(first, Receipt)
    assert isinstance(second, Receipt)
    assert (first.leaf, first.index) == (second.leaf, second.index)
    assert len(list(exchange.mailbox(RECIPIENT).receive())) == 1


def test_a_relay_refuses_what_is_not_the_callers_or_not_for_it(exchange: Exchange) -> None:
    envelope = sealed(exchange)
    for caller, node, reason in (
        ("desk.navy.th.example", None, Reason.NOT_PERMITTED),  # another agency's message
        (RECIPIENT, None, Reason.NOT_PERMITTED),  # re-sent by its recipient
        (SENDER, "relay.vn.example", Reason.NOT_PERMITTED),  # straight to another country's relay
        ("relay.vn.example", "relay.th.example", Reason.NOT_PERMITTED),  # handed back by a relay it never came from
    ):
        [result] = direct(exchange, caller, node).submit([envelope.raw])
        assert reason_of(result) is reason
    [result] = direct(exchange, SENDER).submit([envelope.prune(()).raw])
    assert reason_of(result) is Reason.BAD_SIGNATURE
    exchange.clock.advance(timedelta(days=15))
    [result] = direct(exchange, SENDER).submit([envelope.raw])
    assert reason_of(result) is Reason.EXPIRED


def test_one_message_id_belongs_to_one_envelope(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange.mailbox(RECIPIENT)
    sender = exchange.mailbox(SENDER)
    monkeypatch.setattr(sender._desk, "entropy", bytes)  # the same id and key twice
    sender.send(officer_acknowledgement(), to=[RECIPIENT])
    with pytest.raises(ExchangeError) as caught:
        sender.send(officer_acknowledgement(precedence=2), to=[RECIPIENT])
    assert caught.value.reason is Reason.REPLAYED


def test_a_frame_with_one_bad_envelope_keeps_the_others(exchange: Exchange) -> None:
    envelope = sealed(exchange)
    results = direct(exchange, SENDER).submit([b"junk", envelope.raw, envelope.raw + b"\x7a\x01x"])
    assert [type(r).__name__ for r in results] == ["MalformedError", "Receipt", "MalformedError"]


def test_domains_are_checked_before_sealing_and_after_opening(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange.mailbox(RECIPIENT)
    sender = exchange.mailbox(SENDER)
    listing = exchange.directory.listing
    limited = next(p for p in listing.parties if p.name == RECIPIENT)
    object.__setattr__(limited, "domains", (1,))
    with pytest.raises(ExchangeError) as caught:
        sender.send(officer_acknowledgement(), to=[RECIPIENT])
    assert caught.value.reason is Reason.NOT_PERMITTED
    monkeypatch.setattr(Draft, "recipients", lambda *_, **__: [limited])  # a library that does not check
    sender.send(officer_acknowledgement(), to=[RECIPIENT])
    recipient = exchange.mailbox(RECIPIENT)
    assert list(recipient.receive()) == []
    assert [(r.problem.reason, r.signed) for r in recipient.refused] == [(Reason.NOT_PERMITTED, True)]
    [sent] = [sender.spool.sent(recipient.refused[0].digest)]
    assert sent is not None
    last = sender.history(sent.digest).events[-1].routing
    assert (last.event, last.reason) == (Event.REFUSED, Reason.NOT_PERMITTED)


def test_what_a_liar_changes_is_neither_delivered_nor_refused_in_the_senders_name(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    sender.send(officer_acknowledgement(), to=[RECIPIENT])
    fetch = recipient.relay.fetch

    def lying() -> Any:
        for batch in fetch():
            yield [raw[:-1] + bytes([raw[-1] ^ 1]) for raw in batch]

    recipient.relay.fetch = lying  # type: ignore[method-assign]
    assert list(recipient.receive()) == []
    assert [(r.problem.reason, r.signed) for r in recipient.refused] == [(Reason.BAD_SIGNATURE, False)]
    recipient.relay.fetch = fetch  # type: ignore[method-assign]
    assert len(list(recipient.receive())) == 1


def test_acknowledgements_are_the_recipients_own(exchange: Exchange) -> None:
    sender, recipient, second = (exchange.mailbox(n) for n in (SENDER, RECIPIENT, SECOND))
    sender.send(officer_acknowledgement(), to=[RECIPIENT])
    [delivery] = recipient.receive()
    recipient._desk.relay, relay = Unreachable(recipient.relay), recipient.relay
    recipient.acknowledge(delivery)
    [notice] = recipient.spool.unsaid(10)
    for caller in (second, sender):
        assert reason_of(caller.relay.acknowledge([notice])[0]) is Reason.NOT_ADDRESSED
    forged = Notice(notice.digest, Event.REFUSED, notice.statement)
    assert reason_of(relay.acknowledge([forged])[0]) is Reason.BAD_FIELD
    recipient._desk.relay = relay
    assert list(recipient.receive()) == []
    assert recipient.spool.unsaid(10) == []


def test_one_recipient_says_one_thing(exchange: Exchange) -> None:
    recipient = exchange.mailbox(RECIPIENT)
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    [delivery] = recipient.receive()
    for state in (Event.OPENED, Event.REFUSED):
        commitment = delivery.envelope.header.content_commitment if state is Event.OPENED else b""
        recipient._desk.spool = MemorySpool()
        recipient._inbox._conclude(delivery.envelope, state, reason=0 if commitment else 38, commitment=commitment)
        [notice] = recipient.spool.unsaid(10)
        [result] = recipient.relay.acknowledge([notice])
        assert isinstance(result, Receipt if state is Event.OPENED else ExchangeError)
    assert reason_of(result) is Reason.REPLAYED
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipient._desk, "clock", lambda: exchange.clock() + timedelta(minutes=6))
        recipient._desk.spool = MemorySpool()
        recipient._inbox._conclude(
            delivery.envelope, Event.OPENED, commitment=delivery.envelope.header.content_commitment
        )
    [result] = recipient.relay.acknowledge(recipient.spool.unsaid(10))
    assert reason_of(result) is Reason.NOT_YET_VALID


def test_a_hint_cannot_poison_a_queue(exchange: Exchange) -> None:
    envelope = sealed(exchange)
    message = envelope_pb2.Envelope.FromString(envelope.raw)
    message.manifest.signatures[0].keyid = "x" * 100_000
    [result] = direct(exchange, SENDER).submit([message.SerializeToString(deterministic=True)])
    assert reason_of(result) is Reason.BAD_FIELD


def test_newer_revocation_lists_replace_older_ones(exchange: Exchange) -> None:
    mailbox, member = exchange.mailbox(SENDER), exchange.community.members[SENDER]
    node = exchange.node_of(SENDER)
    exchange.clock.advance(timedelta(days=1))
    crl = exchange.community.cas["th"].crl(now=exchange.clock())
    newer = KeyBundle.parse(member.bundle.raw, member.certificates, [crl])
    for bundle in (newer, member.bundle, newer):
        [result] = mailbox.relay.publish([bundle])
        assert isinstance(result, Receipt)
    held = node.store.bundle(newer.digest)
    assert held is not None
    assert held.crls == (crl,)
    assert [r.event for r in node.store.records(node.store.history(newer.digest))] == [Event.KEY_BUNDLE] * 2


def test_a_latch_that_fails_once_costs_no_receipt(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = sealed(exchange)
    node = exchange.node_of(SENDER)
    latch = node.ledger._latch

    def full(old: bytes, new: bytes) -> None:
        raise error(Reason.OVERLOADED, field="latch", detail="the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(latch, "replace", full)
        with pytest.raises(UnavailableError):
            direct(exchange, SENDER).submit([envelope.raw])
    [result] = direct(exchange, SENDER).submit([envelope.raw])
    assert isinstance(result, Receipt)
    result.verify(exchange.directory)


def test_a_receipt_lost_until_after_the_expiry_is_still_to_be_had(exchange: Exchange) -> None:
    envelope = sealed(exchange)
    [first] = direct(exchange, SENDER).submit([envelope.raw])
    exchange.clock.advance(timedelta(days=40))
    [again] = direct(exchange, SENDER).submit([envelope.raw])
    assert isinstance(first, Receipt)
    assert isinstance(again, Receipt)
    assert again.leaf == first.leaf


def test_expiry_ends_in_a_logged_state(exchange: Exchange) -> None:
    exchange.mailbox(RECIPIENT)
    receipt = exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    exchange.clock.advance(timedelta(days=15))
    exchange.expire()
    node = exchange.node_of(RECIPIENT)
    records = node.store.records(node.store.history(receipt.subject.envelope_digest))
    assert [r.event for r in records] == [Event.ACCEPTED, Event.QUEUED, Event.EXPIRED]
    assert node.store.waiting(RECIPIENT, limit=10) == []


@pytest.mark.parametrize("gone", [SENDER, RECIPIENT])
def test_who_has_left_blocks_no_queue(exchange: Exchange, gone: str) -> None:
    exchange.mailbox(RECIPIENT)
    receipt = exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    exchange.directory._parties.pop(gone)
    exchange.clock.advance(timedelta(days=15))
    exchange.expire()
    store = exchange.nodes["relay.vn.example"].store
    assert store.waiting(RECIPIENT, limit=10) == []
    assert store.records(store.history(receipt.subject.envelope_digest))[-1].event is Event.EXPIRED


def test_an_expired_directory_stops_both_sides(exchange: Exchange) -> None:
    envelope = sealed(exchange)
    mailbox = exchange.mailbox(SENDER)
    exchange.clock.advance(timedelta(days=366))
    with pytest.raises(ExchangeError) as caught:
        mailbox.send(officer_acknowledgement(), to=[RECIPIENT])
    assert caught.value.reason is Reason.DIRECTORY_EXPIRED
    with pytest.raises(ExchangeError) as caught:
        list(mailbox.receive())
    assert caught.value.reason is Reason.DIRECTORY_EXPIRED
    assert reason_of(direct(exchange, SENDER).submit([envelope.raw])[0]) is Reason.DIRECTORY_EXPIRED


class Unreachable:
    """A relay whose network is down; everything else passes through."""

    def __init__(self, relay: Any) -> None:
        self._relay = relay

    def __getattr__(self, name: str) -> Any:
        if name in {"submit", "acknowledge", "fetch", "bundles", "publish", "directories"}:

            def down(*_: object) -> Any:
                raise error(Reason.UNAVAILABLE, field="relay", detail="down")

            return down
        return getattr(self._relay, name)


def test_what_could_not_be_sent_goes_later_byte_for_byte(exchange: Exchange) -> None:
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    sender.send(officer_acknowledgement(), to=[RECIPIENT])
    relay = sender.relay
    sender._desk.relay = Unreachable(relay)
    with pytest.raises(UnavailableError):
        sender.send(officer_acknowledgement(), to=[RECIPIENT])
    [kept] = sender.spool.unsent(10)
    sender._desk.relay = relay
    [result] = sender.flush()
    assert isinstance(result, Receipt)
    assert result.subject.envelope_digest == kept.digest
    assert len(list(recipient.receive())) == 2
