"""Hostile members: what one agency, relay or recipient must not be able to do to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import catalogue, certificates
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.bundle import KeyBundle
from infoexchange.catalogue import rules
from infoexchange.certificates import NationalCa
from infoexchange.dsse import TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import BATCH_BYTES_MAX, History, Notice, Result, Waiting, within_batch
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID
from infoexchange.testing import Exchange
from infoexchange.v1 import bundle_pb2
from messages import handling, officer_acknowledgement


def reason(result: object) -> Reason:
    assert isinstance(result, ExchangeError)
    return result.reason


def resigned(exchange: Exchange, name: str, **fields: Any) -> bytes:
    """Return an agency's bundle with other fields, properly signed by its identity."""
    member = exchange.community.members[name]
    message = bundle_pb2.KeyBundle.FromString(member.bundle.dsse.payload)
    for field, value in fields.items():
        setattr(message, field, value)
    payload = message.SerializeToString(deterministic=True)
    return Dsse.make(TYPE_KEYBUNDLE, payload, member.identity.key.sign(TYPE_KEYBUNDLE, payload)).raw


def test_an_epoch_no_database_can_hold_is_refused(exchange: Exchange) -> None:
    with pytest.raises(ExchangeError) as caught:
        KeyBundle.parse(resigned(exchange, SENDER, epoch=2**63))
    assert caught.value.reason is Reason.BAD_FIELD


def test_only_lists_of_the_own_nation_come_with_a_bundle(exchange: Exchange) -> None:
    relay, member = exchange.mailbox(SENDER).relay, exchange.community.members[SENDER]
    later = exchange.clock() + timedelta(days=3650)
    foreign = NationalCa.make("zz.example", now=exchange.clock()).crl(now=later)
    for crls, expected in (
        ((foreign,), Reason.BAD_CERTIFICATE),
        ((member.crl,) * 5, Reason.TOO_LARGE),
    ):
        [result] = relay.publish([KeyBundle.parse(member.bundle.raw, member.certificates, crls)])
        assert reason(result) is expected
    held = exchange.node_of(SENDER).store.bundle(member.bundle.digest)
    assert held is not None
    assert held.crls == (member.crl,)


def test_a_relay_learns_of_a_revocation(exchange: Exchange) -> None:
    mailbox, member = exchange.mailbox(SENDER), exchange.community.members[SENDER]
    exchange.clock.advance(timedelta(hours=1))
    ca = exchange.community.cas["th"]
    leaf = certificates.verify_leaf(member.certificates[0], (ca.certificate,), exchange.clock())
    revoking = ca.crl(now=exchange.clock(), revoked=[(leaf.serial, exchange.clock())])
    [result] = mailbox.relay.publish([KeyBundle.parse(member.bundle.raw, member.certificates, [revoking])])
    assert isinstance(result, Receipt)
    exchange.clock.advance(timedelta(minutes=2))
    with pytest.raises(ExchangeError) as caught:
        mailbox.send(officer_acknowledgement(), to=[SECOND])
    assert caught.value.reason is Reason.REVOKED


def test_no_message_can_stop_the_rules_or_the_inbox(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    untimely = officer_acknowledgement()
    untimely.handling.valid_until.seconds = 10**12
    crowd = catalogue.IndicatorSet(handling=handling(domain=catalogue.DOMAIN_CYBER))
    for _ in range(20_000):
        crowd.indicators.add()
    assert [v.field for v in rules.violations(untimely)] == ["handling.valid_until"]
    assert rules.violations(crowd) != []
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    with monkeypatch.context() as patch:  # a sender whose library checks nothing
        patch.setattr(rules, "check", lambda message: None)
        for message in (untimely, crowd, officer_acknowledgement()):
            sender.send(message, to=[RECIPIENT])
    assert len(list(recipient.receive())) == 1
    assert [(r.problem.reason, r.signed) for r in recipient.refused] == [(Reason.RULE_BROKEN, True)] * 2


def test_two_outcomes_in_one_frame_are_one(exchange: Exchange) -> None:
    recipient, member = exchange.mailbox(RECIPIENT), exchange.community.members[RECIPIENT]
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    [delivery] = recipient.receive()
    said = Statement(
        envelope_digest=delivery.digest,
        issuer=RECIPIENT,
        issuer_bundle=member.bundle.digest,
        state=Event.OPENED,
        at=exchange.clock(),
        content_commitment=delivery.envelope.header.content_commitment,
    )
    other = replace(said, state=Event.REFUSED, reason=int(Reason.RULE_BROKEN), content_commitment=b"")
    keys = member.identity.epochs[0]
    notices = [Notice(s.envelope_digest, s.state, Acknowledgement.sign(s, HYBRID, keys).raw) for s in (said, other)]
    first, second = recipient.relay.acknowledge(notices)
    assert isinstance(first, Receipt)
    assert reason(second) is Reason.REPLAYED


def test_what_a_hostile_relay_adds_to_a_history_is_left_out(exchange: Exchange) -> None:
    recipient, sender = exchange.mailbox(RECIPIENT), exchange.mailbox(SENDER)
    digest = sender.send(officer_acknowledgement(), to=[RECIPIENT]).subject.envelope_digest
    for delivery in recipient.receive():
        recipient.acknowledge(delivery)
    recipient.flush()
    honest = sender.history(digest)
    events = sender.relay.events
    sender.relay.events = lambda d: History(events(d).events, (b"junk", *events(d).statements))  # type: ignore[method-assign]
    assert sender.history(digest).statements == honest.statements
    assert len(honest.statements) == 1


def test_memory_is_bounded_whatever_waits() -> None:
    big = [Waiting(n, "party", bytes([n]), bytes(BATCH_BYTES_MAX // 2 + 1)) for n in range(4)]
    assert [w.position for w in within_batch(big)] == [0]
    assert [w.position for w in within_batch([Waiting(9, "party", b"x", bytes(2 * BATCH_BYTES_MAX))])] == [9]


def test_a_receipt_that_cannot_be_judged_is_no_refusal(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange.mailbox(RECIPIENT)
    sender = exchange.mailbox(SENDER)

    def unknown(*_: object) -> None:
        raise error(Reason.BAD_SIGNATURE)  # an older directory, a newer log key

    with monkeypatch.context() as patch:
        submit = sender.relay.submit

        def submitted(envelopes: Sequence[bytes]) -> Sequence[Result]:
            results = submit(envelopes)
            patch.setattr(Receipt, "verify", unknown)
            return results

        patch.setattr(sender.relay, "submit", submitted)
        with pytest.raises(ExchangeError) as caught:
            sender.send(officer_acknowledgement(), to=[RECIPIENT])
        assert caught.value.reason is Reason.UNAVAILABLE
    assert len(sender.spool.unsent(10)) == 1
    [result] = sender.flush()
    assert isinstance(result, Receipt)
    assert sender.spool.unsent(10) == []


def test_a_directory_is_succeeded_not_replaced(exchange: Exchange) -> None:
    node = exchange.node_of(SENDER)
    other = Exchange({"th": ["desk.oncb"]}).directory
    with pytest.raises(ExchangeError) as caught:
        other.check_follows(node.directory.raw)
    assert caught.value.reason is Reason.BAD_SIGNATURE  # not the root keys that signed the version in the log
    node.directory.check_follows(node.directory.raw)
