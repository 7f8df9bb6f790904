"""Bundles one after the other: published ahead of use, one history only, and older ones withdrawn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conftest import RECIPIENT, SENDER
from infoexchange import certificates, chain
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.chain import PUBLISHED_AHEAD_MAX
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import EpochKeys, IdentityKey
from infoexchange.states import Event
from infoexchange.testing import Exchange
from messages import officer_acknowledgement
from turning import DAY, HOUR, SECOND_OF_TIME, Agency, forged_like, reason_of, resigned, sealed_by, taken


@pytest.fixture
def agency(exchange: Exchange) -> Agency:
    return Agency(exchange)


# The form


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


def test_new_certificates_and_a_list_end_what_a_thief_of_the_identity_key_began(agency: Agency) -> None:
    """The list comes with the new keys, and concerns all older bundles: the agency's own and the thief's."""
    exchange, now = agency.exchange, agency.exchange.clock()
    thief = Agency(exchange)
    assert taken(thief.publish(thief.turn(now, withdraw=True)))
    exchange.clock.advance(HOUR)
    ca = exchange.community.cas["th"]
    revoked = [(certificates.load(der).serial_number, now - HOUR) for der in agency.member.certificates]
    crl = ca.crl(now=exchange.clock(), number=2, revoked=revoked)
    key = IdentityKey.make()
    leaves = [ca.issue(request, now=exchange.clock()) for request in certificates.identity_requests(SENDER, key)]
    renewed = replace(agency.identity, key=key, epochs=(EpochKeys.make(2), *agency.identity.epochs))
    mine = KeyBundle.issue(renewed, leaves, (crl,), now=exchange.clock(), previous=agency.bundles[0])
    assert taken(agency.publish(mine))
    store = exchange.node_of(SENDER).store
    # Its own of the same epoch stands; everything under the old certificates is revoked, for relays and for senders.
    for bundle in store.bundles([SENDER]):
        if bundle.digest != mine.digest:
            assert reason_of(bundle.prove, exchange.directory, now=exchange.clock()) is Reason.REVOKED
    # An older list does not undo that: neither for what is known nor for what is new.
    for bundle in (thief.bundles[0], thief.next(exchange.clock())):
        result = thief.publish(bundle)
        assert isinstance(result, ExchangeError)
        assert result.reason is Reason.REVOKED
    [refused] = thief.relay.submit([sealed_by(thief)])
    assert isinstance(refused, ExchangeError)
    assert refused.reason is Reason.REVOKED
    sender = exchange.mailbox(RECIPIENT)
    sender.refresh()
    receipt = sender.send(officer_acknowledgement(), to=[SENDER])
    assert receipt.subject.recipient_bundles == (mine.digest,)
    assert len(store.history(thief.bundles[0].digest)) == 2  # published, and revoked


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
