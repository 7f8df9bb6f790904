"""Bundles that withdraw the older ones: what relays, recipients and auditors make of signatures under those."""

from __future__ import annotations

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import chain, wire
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.mailbox import Mailbox
from infoexchange.node.desk import Desk
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.v1 import evidence_pb2
from infoexchange.verdict import Report, Verdict
from messages import officer_acknowledgement
from turning import DAY, HOUR, SECOND_OF_TIME, Agency, forged_like, reason_of, resigned, sealed_by, taken

NOT_REVOKED = "sender's certificate not revoked"


@pytest.fixture
def agency(exchange: Exchange) -> Agency:
    return Agency(exchange)


# Withdrawn


def test_a_withdrawn_bundle_is_not_sealed_to_even_when_the_newer_is_out_of_use(agency: Agency) -> None:
    now = agency.exchange.clock()
    raw = resigned(agency, agency.next(now, withdraw=True), not_after_ms=wire.to_ms(now + HOUR))
    short = KeyBundle.parse(raw, agency.member.certificates, (agency.member.crl,))
    assert taken(agency.publish(short))
    sender = agency.exchange.mailbox(RECIPIENT)
    for step, reason in ((HOUR, None), (CLOCK_SKEW, None), (SECOND_OF_TIME, Reason.STALE_BUNDLE)):
        agency.exchange.clock.advance(step)
        sender.refresh()
        if reason is None:
            assert sender.send(officer_acknowledgement(), to=[SENDER]).subject.recipient_bundles == (short.digest,)
        else:
            assert reason_of(sender.send, officer_acknowledgement(), to=[SENDER]) is reason


def test_relays_refuse_what_is_signed_with_withdrawn_keys(agency: Agency) -> None:
    exchange = agency.exchange
    exchange.mailbox(RECIPIENT)
    thief = Agency(exchange)
    before = sealed_by(thief)
    withdrawing = agency.next(exchange.clock(), withdraw=True)
    assert taken(agency.publish(withdrawing))
    exchange.clock.advance(CLOCK_SKEW)
    [at_the_edge] = thief.relay.submit([sealed_by(thief)])
    assert isinstance(at_the_edge, Receipt)
    exchange.clock.advance(SECOND_OF_TIME)
    # Also what is dated back: the sender's own relay judges by its own clock.
    for raw in (sealed_by(thief), before):
        [refused] = thief.relay.submit([raw])
        assert isinstance(refused, ExchangeError)
        assert (refused.reason, "withdrawn by itself with epoch 2" in refused.detail) == (Reason.REVOKED, True)


def test_a_withdrawal_takes_effect_when_it_begins(agency: Agency) -> None:
    exchange = agency.exchange
    exchange.mailbox(RECIPIENT)
    assert taken(agency.publish(agency.next(exchange.clock() + DAY, withdraw=True)))
    exchange.clock.advance(DAY)
    thief = Agency(exchange)
    [still] = thief.relay.submit([sealed_by(thief)])
    assert isinstance(still, Receipt)
    exchange.clock.advance(CLOCK_SKEW + SECOND_OF_TIME)
    [refused] = thief.relay.submit([sealed_by(thief)])
    assert isinstance(refused, ExchangeError)
    assert refused.reason is Reason.REVOKED


def test_statements_under_withdrawn_keys_are_refused(agency: Agency) -> None:
    exchange = agency.exchange
    mailbox = agency.mailbox()
    exchange.mailbox(RECIPIENT).send(officer_acknowledgement(), to=[SENDER])
    [delivery] = mailbox.receive()
    assert taken(agency.publish(agency.next(exchange.clock(), withdraw=True)))
    exchange.clock.advance(CLOCK_SKEW + SECOND_OF_TIME)
    mailbox.acknowledge(delivery)
    mailbox.flush()
    assert [refusal.problem.reason for refusal in mailbox.refused] == [Reason.REVOKED]


def test_recipients_refuse_what_was_made_after_the_withdrawal(agency: Agency, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that carries it all the same gains nothing; what was made before still arrives."""
    exchange = agency.exchange
    recipient = exchange.mailbox(RECIPIENT)
    thief = Agency(exchange)
    assert thief.mailbox().send(officer_acknowledgement(), to=[RECIPIENT])
    assert taken(agency.publish(agency.next(exchange.clock(), withdraw=True)))
    exchange.clock.advance(CLOCK_SKEW + SECOND_OF_TIME)
    with monkeypatch.context() as patched:
        patched.setattr(Desk, "check_not_withdrawn", lambda *_, **__: None)  # a hostile relay
        thief.relay.submit([sealed_by(thief)])
    assert len(list(recipient.receive())) == 1
    assert [refusal.problem.reason for refusal in recipient.refused] == [Reason.REVOKED]


def test_a_forged_withdrawal_withdraws_nothing(agency: Agency) -> None:
    exchange, first = agency.exchange, agency.bundles[0]
    forged = forged_like(agency, agency.next(exchange.clock(), withdraw=True))
    chain.check_not_withdrawn(first, [forged], exchange.directory, at=exchange.clock() + DAY)
    genuine = agency.next(exchange.clock(), withdraw=True)
    check = chain.check_not_withdrawn
    late = exchange.clock() + CLOCK_SKEW + SECOND_OF_TIME
    assert reason_of(check, first, [genuine], exchange.directory, at=late) is Reason.REVOKED
    check(genuine, [first, genuine], exchange.directory, at=late)  # never the newer one
    check(first, [agency.next(exchange.clock())], exchange.directory, at=late)  # followed is not withdrawn
    check(first, [Agency(exchange, RECIPIENT).next(exchange.clock(), withdraw=True)], exchange.directory, at=late)


# Auditors


def failures(report: Report) -> dict[str, str]:
    return {c.name: c.reason for c in report.checks if c.verdict is not Verdict.TOTAL_PASSED}


def without_publications(evidence: Evidence) -> Evidence:
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    kept = [e for e in message.events if Receipt.parse(wire.canonical(e)).routing.event is not Event.KEY_BUNDLE]
    del message.events[:]
    message.events.extend(kept)
    return Evidence.parse(wire.canonical(message))


def opened(agency: Agency) -> bytes:
    """A message of the agency, opened by its recipient; returns its name."""
    digest = agency.mailbox().send(officer_acknowledgement(), to=[RECIPIENT]).subject.envelope_digest
    mailbox = agency.exchange.mailbox(RECIPIENT)
    for delivery in mailbox.receive():
        mailbox.acknowledge(delivery)
    mailbox.flush()
    return digest


def test_what_was_logged_before_the_withdrawal_stands_for_ever(agency: Agency) -> None:
    exchange = agency.exchange
    exchange.mailbox(RECIPIENT)
    digest = opened(agency)
    exchange.clock.advance(HOUR)
    agency.turn(exchange.clock(), withdraw=True)
    agency.mailbox()
    exchange.clock.advance(HOUR)
    exchange.witness()
    evidence = agency.mailbox().evidence(digest)
    assert [e.routing.event for e in evidence.events].count(Event.KEY_BUNDLE) == 1
    report = evidence.verify(exchange.directory, now=exchange.clock())
    assert failures(report) == {}
    assert report.verdict is Verdict.TOTAL_PASSED
    # The recipient's file says the same.
    mailbox = exchange.mailbox(RECIPIENT)
    received = Evidence.parse(mailbox.evidence(digest, evidence.envelope).raw)
    assert received.verify(exchange.directory, now=exchange.clock()).verdict is Verdict.TOTAL_PASSED


def test_what_was_logged_after_the_withdrawal_is_nobodys(agency: Agency, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = agency.exchange
    exchange.mailbox(RECIPIENT)
    thief = Agency(exchange)
    agency.turn(exchange.clock(), withdraw=True)
    agency.mailbox()
    exchange.clock.advance(CLOCK_SKEW + SECOND_OF_TIME)
    with monkeypatch.context() as patched:
        patched.setattr(Desk, "check_not_withdrawn", lambda *_, **__: None)  # relays that look away
        [receipt] = thief.relay.submit([sealed_by(thief)])
    assert isinstance(receipt, Receipt)
    exchange.witness()
    from infoexchange.envelope import Envelope

    digest = receipt.subject.envelope_digest
    raw = exchange.node_of(RECIPIENT).store.waiting(RECIPIENT, limit=9)[0].raw
    evidence = agency.mailbox().evidence(digest, Envelope.parse(raw))
    report = evidence.verify(exchange.directory, now=exchange.clock())
    assert failures(report)[NOT_REVOKED] == "revoked"
    assert report.verdict is Verdict.TOTAL_FAILED
    # Without the entry that shows when it was withdrawn, its own date is only its owner's word.
    report = without_publications(evidence).verify(exchange.directory, now=exchange.clock())
    assert failures(report)[NOT_REVOKED] == "keys withdrawn"
    assert {c.name: c.verdict for c in report.checks}[NOT_REVOKED] is Verdict.INDETERMINATE


def test_a_withdrawal_that_is_dated_back_disowns_nothing(agency: Agency) -> None:
    """Its date lies before the message, but it was published afterwards: the log decides."""
    exchange = agency.exchange
    exchange.mailbox(RECIPIENT)
    exchange.clock.advance(DAY)
    digest = opened(agency)
    exchange.clock.advance(HOUR)
    agency.turn(exchange.clock() - DAY, withdraw=True)
    agency.mailbox()
    exchange.witness()
    evidence = agency.mailbox().evidence(digest)
    assert failures(evidence.verify(exchange.directory, now=exchange.clock())) == {}


def test_a_recipients_statement_is_judged_the_same_way(agency: Agency, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = agency.exchange
    sender, thief = exchange.mailbox(SECOND), Agency(exchange)
    digest = sender.send(officer_acknowledgement(), to=[SENDER]).subject.envelope_digest
    agency.turn(exchange.clock(), withdraw=True)
    agency.mailbox()
    exchange.clock.advance(CLOCK_SKEW + SECOND_OF_TIME)
    with monkeypatch.context() as patched:
        patched.setattr(Desk, "check_not_withdrawn", lambda *_, **__: None)
        box = Mailbox(thief.identity, thief.bundles, exchange.directory, thief.relay, thief.spool, clock=exchange.clock)
        for delivery in box.receive():
            box.acknowledge(delivery)
        box.flush()
    exchange.witness()
    report = sender.evidence(digest).verify(exchange.directory, now=exchange.clock())
    assert failures(report)[f"statement of {SENDER}"] == "revoked"


def test_entries_about_other_keys_prove_nothing(agency: Agency) -> None:
    exchange = agency.exchange
    exchange.mailbox(RECIPIENT)
    digest = opened(agency)
    published = agency.publish(agency.turn(exchange.clock() + HOUR))
    assert isinstance(published, Receipt)
    exchange.witness()
    evidence = agency.mailbox().evidence(digest)
    assert not [e for e in evidence.events if e.routing.event is Event.KEY_BUNDLE]  # it withdraws nothing
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    message.events.add().ParseFromString(published.raw)
    report = Evidence.parse(wire.canonical(message)).verify(exchange.directory, now=exchange.clock())
    [name] = [name for name in failures(report) if name.startswith("event")]
    assert failures(report)[name] == "stale_bundle"  # the bundle it names is not in the file
    message.bundles.append(agency.bundles[0].raw)
    report = Evidence.parse(wire.canonical(message)).verify(exchange.directory, now=exchange.clock())
    assert not [name for name in failures(report) if name.startswith("event")]
    other = Agency(exchange, RECIPIENT)
    foreign = other.publish(other.bundles[0])
    assert isinstance(foreign, Receipt)
    message.events.add().ParseFromString(foreign.raw)
    report = Evidence.parse(wire.canonical(message)).verify(exchange.directory, now=exchange.clock())
    assert not [name for name in failures(report) if name.startswith("event")]  # the recipient's own, at its own relay
