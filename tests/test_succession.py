"""Who may change the directory, and who cannot: root keys that are replaced, lost or stolen, and second histories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.keys import SigningKey
from infoexchange.listing import Listing, RootKey, Roots
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import Community, Exchange, FakeClock
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement

DAY = timedelta(days=1)
NOW = FakeClock()()


@pytest.fixture(scope="module")
def community() -> Community:
    return Community.make(AGENCIES, now=NOW)


def reason_of(call: Callable[..., object], *args: object, **named: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    assert caught.value.detail
    return caught.value.reason


def keys(count: int) -> tuple[SigningKey, ...]:
    return tuple(SigningKey.make(HYBRID_KEM) for _ in range(count))


def roots_of(threshold: int, *signers: SigningKey) -> Roots:
    return Roots(threshold, tuple(RootKey(k.public, f"holder {i}", k.suite.number) for i, k in enumerate(signers)))


def after(directory: Directory, **fields: Any) -> Listing:
    return replace(directory.listing, version=directory.version + 1, previous=directory.digest, **fields)


def signed(listing: Listing, *signers: SigningKey) -> bytes:
    return Directory.sign(listing.payload, signers)


@pytest.fixture(scope="module")
def old() -> tuple[SigningKey, ...]:
    return keys(3)


@pytest.fixture(scope="module")
def first(community: Community, old: Sequence[SigningKey]) -> Directory:
    listing = replace(community.directory.listing, roots=roots_of(2, *old))
    return Directory.parse(signed(listing, *old[:2]), roots=listing.roots)


# Rotation


def test_a_lost_or_stolen_key_is_replaced_by_the_others(first: Directory, old: Sequence[SigningKey]) -> None:
    lost, second, third = old
    [new] = keys(1)
    listing = after(first, roots=roots_of(2, new, second, third))
    # The two others suffice, on both sides; so does one old key with the new one only on the new side.
    two = first.succeed(signed(listing, second, third))
    assert set(two.signers) == {"holder 1", "holder 2"}
    assert reason_of(first.succeed, signed(listing, new, second)) is Reason.BAD_SIGNATURE
    first.succeed(signed(listing, lost, second, new))
    # Whoever has the old key can do nothing any more.
    third_version = after(two)
    assert reason_of(two.succeed, signed(third_version, lost, second)) is Reason.BAD_SIGNATURE
    assert two.succeed(signed(third_version, new, third)).version == 3


def test_threshold_and_parties_change_under_the_rules_of_before(first: Directory, old: Sequence[SigningKey]) -> None:
    more = keys(2)
    listing = after(first, roots=roots_of(4, *old, *more))
    assert reason_of(first.succeed, signed(listing, *old)) is Reason.BAD_SIGNATURE  # three of its own four
    assert reason_of(first.succeed, signed(listing, old[0], *more)) is Reason.BAD_SIGNATURE  # one of the old two
    two = first.succeed(signed(listing, *old, more[0]))
    # Back to fewer: four of the five before must agree to that.
    less = after(two, roots=roots_of(1, old[0]))
    for signers in (old, (old[0], *more), more):
        assert reason_of(two.succeed, signed(less, *signers)) is Reason.BAD_SIGNATURE
    assert two.succeed(signed(less, *old, more[1])).listing.roots.threshold == 1


def test_whoever_was_away_follows_the_chain(first: Directory, old: Sequence[SigningKey]) -> None:
    """Five versions, each with wholly new root keys: an agency with the first one takes all of them, in order."""
    chain, held = [first], old
    for _ in range(4):
        new = keys(3)
        listing = after(chain[-1], roots=roots_of(2, *new))
        chain.append(chain[-1].succeed(signed(listing, *held[:2], *new[:2])))
        held = new
    raws = [directory.raw for directory in chain[1:]]
    assert first.advance(raws).digest == chain[-1].digest
    assert chain[2].advance(raws[2:]).digest == chain[-1].digest
    # Not with one left out, exchanged, or from the last alone: the keys of the first days did not sign it.
    for wrong in (raws[1:], [raws[0], raws[2]], raws[::-1], raws[-1:]):
        assert reason_of(first.advance, wrong) in (Reason.BAD_SIGNATURE, Reason.DIRECTORY_ROLLBACK)
    assert reason_of(Directory.parse, raws[-1], roots=first.listing.roots) is Reason.BAD_SIGNATURE


def test_fewer_thieves_than_must_sign_change_nothing(first: Directory, old: Sequence[SigningKey]) -> None:
    [own] = keys(1)
    takeover = after(first, roots=roots_of(1, own))
    for stolen in ([], [old[0]], [old[0], old[0]]):
        for listing in (after(first), takeover, after(first, expires_at=first.listing.expires_at + DAY)):
            assert reason_of(first.succeed, signed(listing, *stolen, own)) is Reason.BAD_SIGNATURE


def test_thieves_with_enough_old_keys_deceive_nobody_who_has_followed(
    first: Directory, old: Sequence[SigningKey]
) -> None:
    new, [own] = keys(3), keys(1)
    two = first.succeed(signed(after(first, roots=roots_of(2, *new)), *old, *new))
    wicked = after(first, roots=roots_of(1, own))
    later = replace(wicked, version=3, previous=two.digest)
    for listing in (wicked, later, replace(wicked, version=99)):
        assert reason_of(two.succeed, signed(listing, *old, own)) is Reason.BAD_SIGNATURE
    # A newcomer who was handed the old trust anchor is deceived: this is what SPEC says of it.
    deceived = Directory.parse(signed(wicked, *old, own), roots=first.listing.roots)
    assert (deceived.version, deceived.listing.roots.threshold) == (2, 1)
    # It refuses what everybody else has, so that a person sees it.
    assert reason_of(first.succeed(signed(wicked, *old, own)).succeed, two.raw) is Reason.BAD_SIGNATURE


def test_one_party_holds_one_key(first: Directory) -> None:
    one, two = keys(2)
    for holders in (("Laos", "Laos"), ("Laos", "")):
        roots = Roots(2, tuple(RootKey(k.public, h, 3) for k, h in zip((one, two), holders, strict=True)))
        assert reason_of(Roots.parse, roots.raw) is Reason.BAD_FIELD
        assert reason_of(Listing.parse, replace(first.listing, roots=roots).payload) is Reason.BAD_FIELD


def test_who_signed_is_told_by_key(first: Directory, old: Sequence[SigningKey]) -> None:
    [stranger] = keys(1)
    message = first.listing.payload
    order = (old[2], stranger, old[2], old[0])
    dsse = Dsse.make(TYPE_DIRECTORY, message, [(k.sign(TYPE_DIRECTORY, message), stranger.key_id) for k in order])
    signed_by = first.listing.roots.signed_by(dsse)
    assert {key.holder: place for key, place in signed_by.items()} == {"holder 2": 0, "holder 0": 3}
    made_by = [first.listing.roots.signer_of(dsse, place) for place in range(4)]
    assert [key and key.holder for key in made_by] == ["holder 2", None, "holder 2", "holder 0"]


# The version that a relay starts with


def test_a_relay_resumes_from_its_own_log(first: Directory, old: Sequence[SigningKey]) -> None:
    two = first.succeed(signed(after(first), *old))
    three = two.succeed(signed(after(two), *old))
    [own] = keys(1)
    anchor, foreign = first.listing.roots, roots_of(1, own)
    resume = Directory.resume
    assert resume([], first.raw, roots=anchor).digest == first.digest
    assert reason_of(resume, [], first.raw, roots=foreign) is Reason.BAD_SIGNATURE
    assert resume([first.raw], two.raw, roots=anchor).digest == two.digest
    assert resume([first.raw], two.raw, roots=foreign).digest == two.digest  # the anchor is for the first start only
    for older in (first, two):
        assert resume([first.raw, two.raw], older.raw, roots=anchor).digest == two.digest
    fork = signed(after(first, suites=(2,)), *old)
    assert reason_of(resume, [first.raw, two.raw], fork, roots=anchor) is Reason.LOG_FORK
    assert reason_of(resume, [first.raw], three.raw, roots=anchor) is Reason.DIRECTORY_ROLLBACK
    mine = signed(after(first, roots=foreign), own)
    assert reason_of(resume, [first.raw], mine, roots=foreign) is Reason.BAD_SIGNATURE
    with pytest.raises(ExchangeError) as caught:
        resume([first.raw], three.raw, roots=anchor)
    assert "Take version 2 first" in caught.value.next_step


def test_a_relay_starts_on_what_follows_its_log(first: Directory, old: Sequence[SigningKey]) -> None:
    two = first.succeed(signed(after(first), *old))
    for version in (first, two):
        version.check_follows(first.raw)
    assert reason_of(first.check_follows, two.raw) is Reason.DIRECTORY_ROLLBACK
    [own] = keys(1)
    mine = Directory.held(signed(after(first, roots=roots_of(1, own)), own))
    assert reason_of(mine.check_follows, first.raw) is Reason.BAD_SIGNATURE


def test_a_version_knows_itself_and_the_one_before(first: Directory, old: Sequence[SigningKey]) -> None:
    two = first.succeed(signed(after(first), *old))
    three = two.succeed(signed(after(two), *old))
    assert [three.knows(d) for d in (three.digest, two.digest, first.digest, bytes(32), b"")] == [
        True,
        True,
        *[False] * 3,
    ]
    assert not first.knows(first.listing.previous)


def test_a_version_that_its_own_roots_did_not_sign_is_not_held(first: Directory, old: Sequence[SigningKey]) -> None:
    assert Directory.held(first.raw).digest == first.digest
    assert reason_of(Directory.held, signed(first.listing, old[0])) is Reason.BAD_SIGNATURE
    assert reason_of(Directory.held, b"junk") is Reason.MALFORMED


# In the exchange


def successor(exchange: Exchange, **fields: Any) -> bytes:
    return signed(after(exchange.directory, **fields), *exchange.community.root_keys[:2])


def publish(exchange: Exchange, agency: str, raw: bytes) -> Any:
    return exchange.mailbox(agency).relay.publish_directory(raw)


def test_an_agency_follows_its_relay_and_goes_back_for_nobody(exchange: Exchange) -> None:
    raw = successor(exchange)
    receipt = publish(exchange, SENDER, raw)
    assert isinstance(receipt, Receipt)
    assert receipt.routing.event is Event.DIRECTORY_VERSION
    sender = exchange.mailbox(SENDER)
    sender.refresh()
    assert sender.directory.version == 2
    for given, reason in (
        (exchange.directory.raw, Reason.DIRECTORY_ROLLBACK),
        (successor(exchange, suites=(2,)), Reason.LOG_FORK),
        (signed(after(sender.directory), exchange.community.root_keys[0]), Reason.BAD_SIGNATURE),
    ):
        sender.relay.directories = lambda number, given=given: [given]  # type: ignore[method-assign]
        assert reason_of(sender.refresh) is reason
        assert sender.directory.version == 2


def test_a_relay_that_hides_a_version_is_seen_at_the_end_of_the_old_one(exchange: Exchange) -> None:
    assert isinstance(publish(exchange, RECIPIENT, successor(exchange)), Receipt)
    sender = exchange.mailbox(SENDER)
    sender.refresh()
    assert sender.directory.version == 1  # its relay says nothing of version 2
    # The other nation's relay works under a version that this agency does not know: its entries name it.
    receipt = sender.send(officer_acknowledgement(), to=[RECIPIENT])
    history = sender.history(receipt.subject.envelope_digest)
    unknown = {e.routing.this_relay for e in history.events if not sender.directory.knows(e.subject.directory_digest)}
    assert unknown == {"relay.vn.example"}
    exchange.clock.advance(exchange.directory.listing.expires_at - exchange.clock())
    assert reason_of(sender.refresh) is Reason.DIRECTORY_EXPIRED
    assert reason_of(sender.send, officer_acknowledgement(), to=[RECIPIENT]) is Reason.DIRECTORY_EXPIRED


def test_a_version_is_taken_although_the_one_before_has_expired(exchange: Exchange) -> None:
    """A community that let it expire must be able to go on."""
    sender, end = exchange.mailbox(SENDER), exchange.directory.listing.expires_at
    exchange.clock.advance(end - exchange.clock() + DAY)
    assert reason_of(sender.refresh) is Reason.DIRECTORY_EXPIRED
    raw = successor(exchange, issued_at=end + DAY, expires_at=end + 99 * DAY)
    assert isinstance(publish(exchange, SENDER, raw), Receipt)
    assert reason_of(sender.refresh) is Reason.STALE_BUNDLE  # the directory is current; its own keys are not
    assert sender.directory.version == 2


def evidence_of(exchange: Exchange) -> Evidence:
    receipt = exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    for delivery in exchange.mailbox(RECIPIENT).receive():
        exchange.mailbox(RECIPIENT).acknowledge(delivery)
    exchange.witness()
    return exchange.mailbox(SENDER).evidence(receipt.subject.envelope_digest)


def finding(evidence: Evidence, directory: Directory, now: Any) -> Any:
    return next(c for c in evidence.verify(directory, now=now).checks if c.name == "directory")


def test_an_auditor_finds_a_version_that_no_log_has_published(exchange: Exchange) -> None:
    evidence, roots = evidence_of(exchange), exchange.community.roots
    assert evidence.verify(exchange.directory, now=exchange.clock()).verdict is Verdict.TOTAL_PASSED
    unpublished = Directory.parse(successor(exchange, issued_at=exchange.clock()), roots=roots)
    second = exchange.directory.succeed(unpublished.raw)
    third = Directory.parse(signed(after(second), *exchange.community.root_keys[:2]), roots=roots)
    # The version right before is as good: the newer one names it.
    assert finding(evidence, second, exchange.clock()).verdict is Verdict.TOTAL_PASSED
    found = finding(evidence, third, exchange.clock())
    assert (found.verdict, found.reason) == (Verdict.INDETERMINATE, "another directory")
    assert evidence.verify(third, now=exchange.clock()).verdict is Verdict.INDETERMINATE


def test_an_auditor_finds_a_second_history(exchange: Exchange) -> None:
    evidence, roots = evidence_of(exchange), exchange.community.roots
    other = Directory.parse(
        signed(replace(exchange.directory.listing, suites=(2,)), *exchange.community.root_keys[:2]), roots=roots
    )
    found = finding(evidence, other, exchange.clock())
    assert (found.verdict, found.reason) == (Verdict.TOTAL_FAILED, "log_fork")
    assert "two versions 1" in found.detail


def test_messages_under_way_while_the_version_changes_are_proven(exchange: Exchange) -> None:
    """Accepted under one version, opened under the next: the evidence holds under the newer one."""
    sender, recipient = exchange.mailbox(SENDER), exchange.mailbox(RECIPIENT)
    receipt = sender.send(officer_acknowledgement(), to=[RECIPIENT])
    raw = successor(exchange)
    assert isinstance(publish(exchange, SENDER, raw), Receipt)
    assert isinstance(publish(exchange, RECIPIENT, raw), Receipt)
    for mailbox in (sender, recipient):
        mailbox.refresh()
    for delivery in recipient.receive():
        recipient.acknowledge(delivery)
    exchange.witness()
    evidence = sender.evidence(receipt.subject.envelope_digest)
    assert len({e.subject.directory_digest for e in evidence.events}) == 2
    report = evidence.verify(sender.directory, now=exchange.clock())
    assert report.verdict is Verdict.TOTAL_PASSED, report.checks
