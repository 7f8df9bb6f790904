"""Bundles one after the other: published ahead of use, one history only, and older ones withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import chain, wire
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.chain import PUBLISHED_AHEAD_MAX
from infoexchange.dsse import TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.keys import EpochKeys, Identity, IdentityKey
from infoexchange.mailbox import Mailbox
from infoexchange.node.desk import Desk
from infoexchange.ports import Result
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.testing.exchange import DirectRelay
from infoexchange.testing.memory import MemorySpool
from infoexchange.v1 import bundle_pb2, evidence_pb2
from infoexchange.verdict import Report, Verdict
from messages import officer_acknowledgement

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND_OF_TIME = timedelta(seconds=1)
NOT_REVOKED = "sender's certificate not revoked"


class Agency:
    """A member of an exchange that goes from one epoch to the next."""

    def __init__(self, exchange: Exchange, name: str = SENDER) -> None:
        member = exchange.community.members[name]
        self.exchange, self.name, self.member = exchange, name, member
        self.identity: Identity = member.identity
        self.bundles: list[KeyBundle] = [member.bundle]
        self.spool = MemorySpool()

    def next(
        self, start: datetime, *, withdraw: bool = False, after: KeyBundle | None = None, epoch: int = 0
    ) -> KeyBundle:
        """The bundle of the next epoch, or another one of an epoch that there is."""
        previous = after or self.bundles[0]
        keys = EpochKeys.make(epoch or previous.epoch + 1)
        identity = replace(self.identity, epochs=(keys, *(e for e in self.identity.epochs if e.epoch != keys.epoch)))
        bundle = KeyBundle.issue(
            identity, self.member.certificates, (self.member.crl,), now=start, previous=previous, withdraw=withdraw
        )
        self.made = identity
        return bundle

    def turn(self, start: datetime, *, withdraw: bool = False) -> KeyBundle:
        """Issue the next bundle and keep it."""
        bundle = self.next(start, withdraw=withdraw)
        self.identity, self.bundles = self.made, [bundle, *self.bundles]
        return bundle

    @property
    def relay(self) -> DirectRelay:
        party = self.exchange.directory.party(self.name, at=self.exchange.clock())
        return DirectRelay(self.exchange, self.exchange.node_of(self.name), party)

    def publish(self, *bundles: KeyBundle) -> Result:
        return self.relay.publish(bundles)[-1]

    def mailbox(self) -> Mailbox:
        mailbox = Mailbox(
            self.identity, self.bundles, self.exchange.directory, self.relay, self.spool, clock=self.exchange.clock
        )
        mailbox.refresh()
        return mailbox


def reason_of(call: Callable[..., object], *args: object, **named: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    return caught.value.reason


def taken(result: Result) -> bool:
    if isinstance(result, ExchangeError):
        raise result
    assert isinstance(result, Receipt)
    return result.routing.event is Event.KEY_BUNDLE


@pytest.fixture
def agency(exchange: Exchange) -> Agency:
    return Agency(exchange)


# The form


def resigned(agency: Agency, bundle: KeyBundle, key: IdentityKey | None = None, **values: object) -> bytes:
    """The bytes of a bundle with other values, signed by its owner or by somebody else."""
    message = bundle_pb2.KeyBundle.FromString(bundle.dsse.payload)
    for name, value in values.items():
        message.ClearField(name)  # type: ignore[arg-type]
        if value != []:
            setattr(message, name, value)
    payload = wire.canonical(message)
    return Dsse.make(TYPE_KEYBUNDLE, payload, (key or agency.identity.key).sign(TYPE_KEYBUNDLE, payload)).raw


def forged_like(agency: Agency, bundle: KeyBundle) -> KeyBundle:
    """The same bundle, with its owner's certificates, signed by somebody else."""
    raw = resigned(agency, bundle, IdentityKey.make())
    return KeyBundle.parse(raw, agency.member.certificates, (agency.member.crl,))


def test_the_first_follows_none_and_every_other_names_the_one_before(agency: Agency) -> None:
    first, second = agency.bundles[0], agency.next(agency.exchange.clock())
    for raw in (
        resigned(agency, first, previous=bytes(32)),
        resigned(agency, first, withdraws_older=True),
        resigned(agency, second, previous=b""),
    ):
        assert reason_of(KeyBundle.parse, raw) is Reason.BAD_FIELD
    found = KeyBundle.parse(resigned(agency, second, withdraws_older=True))
    assert (found.previous, found.withdraws_older, second.withdraws_older) == (first.digest, True, False)


# Ahead of use


def test_a_bundle_is_published_before_it_is_used(agency: Agency) -> None:
    exchange, now = agency.exchange, agency.exchange.clock()
    first, second = agency.bundles[0], agency.turn(now + 48 * HOUR)
    sender, recipient = exchange.mailbox(RECIPIENT), agency.mailbox()
    digests = {}
    for step in (0, 47, 2):
        exchange.clock.advance(step * HOUR)
        sender.refresh()
        receipt = sender.send(officer_acknowledgement(), to=[SENDER])
        sent = sender.spool.sent(receipt.subject.envelope_digest)
        assert sent
        digests[exchange.clock()] = receipt.subject.recipient_bundles
    assert list(digests.values()) == [(first.digest,), (first.digest,), (second.digest,)]
    # The owner opens with all keys held, and signs with the newest that has begun.
    received = list(recipient.receive())
    assert len(received) == 3
    for delivery in received:
        recipient.acknowledge(delivery)
    recipient.flush()
    assert recipient.refused == []
    history = sender.history(received[0].digest)
    assert [e.routing.event for e in history.events][-1] is Event.OPENED


def test_the_owner_signs_with_the_newest_that_has_begun(agency: Agency) -> None:
    exchange, now = agency.exchange, agency.exchange.clock()
    exchange.mailbox(RECIPIENT)
    first, second = agency.bundles[0], agency.turn(now + 48 * HOUR)
    mailbox = agency.mailbox()
    for step, expected in ((47 * HOUR, first), (HOUR, second)):
        exchange.clock.advance(step)
        receipt = mailbox.send(officer_acknowledgement(), to=[RECIPIENT])
        assert receipt.subject.sender_bundle == expected.digest
    assert chain.in_use([second, first], now) is first
    assert chain.in_use([second, first], second.not_before) is second
    assert chain.in_use([second], now) is second


def test_neither_too_far_ahead_nor_after_the_end(agency: Agency) -> None:
    now = agency.exchange.clock()
    assert taken(agency.publish(agency.next(now + PUBLISHED_AHEAD_MAX)))
    other = Agency(agency.exchange, RECIPIENT)
    late = other.publish(other.next(now + PUBLISHED_AHEAD_MAX + SECOND_OF_TIME))
    assert isinstance(late, ExchangeError)
    assert late.reason is Reason.NOT_YET_VALID
    over = other.publish(other.next(now - 30 * DAY - CLOCK_SKEW - SECOND_OF_TIME))
    assert isinstance(over, ExchangeError)
    assert over.reason is Reason.STALE_BUNDLE
    assert taken(other.publish(other.next(now - 30 * DAY - CLOCK_SKEW)))


def test_destroyed_keys_sign_nothing(agency: Agency) -> None:
    mailbox = agency.mailbox()
    agency.identity = replace(
        agency.identity, epochs=tuple(replace(e, signing={}, wrapping=b"") for e in agency.identity.epochs)
    )
    assert reason_of(agency.mailbox().send, officer_acknowledgement(), [RECIPIENT]) is Reason.STALE_BUNDLE
    assert mailbox.identity is not agency.identity


# One history


def test_a_second_bundle_of_an_epoch_is_refused(agency: Agency) -> None:
    now = agency.exchange.clock()
    assert taken(agency.publish(agency.next(now)))
    twin = agency.next(now)
    refused = agency.publish(twin)
    assert isinstance(refused, ExchangeError)
    assert (refused.reason, "two bundles of epoch 2" in refused.detail) == (Reason.LOG_FORK, True)


def test_an_agency_is_told_what_to_do_about_two_histories(agency: Agency) -> None:
    agency.publish(agency.next(agency.exchange.clock()))
    agency.turn(agency.exchange.clock())
    with pytest.raises(ExchangeError, match=r"log_fork.*two bundles of epoch 2.*bundle rotate --recover"):
        agency.mailbox()


def test_each_names_the_one_before(agency: Agency) -> None:
    now = agency.exchange.clock()
    second = agency.next(now)
    twin = agency.next(now)
    third = agency.next(now, after=twin)
    assert taken(agency.publish(second))
    torn = agency.publish(third)
    assert isinstance(torn, ExchangeError)
    assert torn.reason is Reason.LOG_FORK
    # The other way round: what comes late must be what the one after it names.
    other = Agency(agency.exchange, RECIPIENT)
    second, twin = other.next(now), other.next(now)
    assert taken(other.publish(other.next(now, after=second)))
    late = other.publish(twin)
    assert isinstance(late, ExchangeError)
    assert late.reason is Reason.LOG_FORK
    assert taken(other.publish(second))
    # A gap is none of anybody's business: relays learn of agencies late.
    assert taken(other.publish(other.next(now, after=other.next(now, epoch=7), epoch=8)))


def test_senders_refuse_an_agency_with_two_histories(agency: Agency) -> None:
    """A relay that hands out both, or another relay that took the second one."""
    now = agency.exchange.clock()
    two = [agency.next(now), agency.next(now)]
    node = agency.exchange.node_of(SENDER)
    party = agency.exchange.directory.party(SENDER, at=now)
    node.commit([node.decide_bundle(party, bundle) for bundle in two])  # both decided before either was known
    sender = agency.exchange.mailbox(RECIPIENT)
    sender.refresh()
    assert reason_of(sender.send, officer_acknowledgement(), to=[SENDER]) is Reason.LOG_FORK


def test_what_the_owner_did_not_sign_is_no_history(agency: Agency) -> None:
    now = agency.exchange.clock()
    second = agency.next(now)
    forged = forged_like(agency, agency.next(now))
    bare = KeyBundle.parse(agency.next(now).raw)
    chain.check_follows(second, [forged, bare, second], agency.exchange.directory, now=now)
    assert not chain.is_proven(forged, agency.exchange.directory, now)
    twin = agency.next(now)
    check = chain.check_follows
    assert reason_of(check, second, [twin], agency.exchange.directory, now=now) is Reason.LOG_FORK
    stranger = Agency(agency.exchange, RECIPIENT).next(now)
    check(second, [stranger], agency.exchange.directory, now=now)


def test_a_known_bundle_may_come_again_whatever_else_there_is(agency: Agency) -> None:
    now = agency.exchange.clock()
    two = [agency.next(now), agency.next(now)]
    node = agency.exchange.node_of(SENDER)
    party = agency.exchange.directory.party(SENDER, at=now)
    node.commit([node.decide_bundle(party, bundle) for bundle in two])
    assert taken(agency.publish(two[0]))


# Withdrawn


def test_a_withdrawn_bundle_is_not_sealed_to_even_for_a_suite_of_its_own(agency: Agency) -> None:
    now = agency.exchange.clock()
    raw = resigned(agency, agency.next(now, withdraw=True), accept_suites=[])
    blind = KeyBundle.parse(raw, agency.member.certificates, (agency.member.crl,))
    assert taken(agency.publish(blind))
    sender = agency.exchange.mailbox(RECIPIENT)
    agency.exchange.clock.advance(CLOCK_SKEW + SECOND_OF_TIME)
    sender.refresh()
    with pytest.raises(ExchangeError) as caught:
        sender.send(officer_acknowledgement(), to=[SENDER])
    assert caught.value.reason is Reason.SUITE_NOT_ACCEPTED  # of the newest; the one before it is no way out


def sealed_by(agency: Agency, *, to: str = RECIPIENT) -> bytes:
    """An envelope that an agency, or who stole its keys, has sealed and not handed over yet."""
    spool = MemorySpool()
    mailbox = Mailbox(
        agency.identity, agency.bundles, agency.exchange.directory, Deaf(agency), spool, clock=agency.exchange.clock
    )
    mailbox.send_all([_draft(to)])
    [sent] = spool.unsent(1)
    return sent.raw


class Deaf(DirectRelay):
    """A relay that takes nothing, so that what is sealed stays in the outbox."""

    def __init__(self, agency: Agency) -> None:
        inner = agency.relay
        super().__init__(inner._exchange, inner._node, inner._party)

    def submit(self, envelopes: Sequence[bytes]) -> Sequence[Result]:
        from infoexchange.errors import error

        return [error(Reason.UNAVAILABLE, detail="deaf")] * len(envelopes)


def _draft(to: str):
    from infoexchange.draft import Draft

    return Draft(officer_acknowledgement(), [to])


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
