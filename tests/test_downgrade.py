"""No mixing, no downgrade: what was made in one suite is nothing in another, whoever tries, for every pair of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from conftest import AGENCIES, EVERY_SUITE, RECIPIENT, SECOND, SENDER
from envelopes import signed_manifest
from infoexchange import wire
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.draft import Draft
from infoexchange.dsse import TYPE_ACKNOWLEDGEMENT, TYPE_KEYBUNDLE, TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.header import Recipient
from infoexchange.keyring import Keyring
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.mailbox import Mailbox
from infoexchange.states import Event
from infoexchange.suites import HYBRID, HYBRID_KEM, NIST_HIGH, Suite, bad_ciphertext
from infoexchange.testing import Exchange, Member, MemorySpool
from infoexchange.v1 import bundle_pb2, envelope_pb2
from infoexchange.wrap import wrap_info
from messages import officer_acknowledgement
from test_bundle import leave
from test_composite import ORDER
from test_envelope import header_for, open_as, rewrapped, seal

PAIRS = list(itertools.permutations(EVERY_SUITE, 2))  # twenty
PAIR_PARAMS = pytest.mark.parametrize(("made", "shown"), PAIRS, ids=lambda s: s.name)
SUITE_PARAMS = pytest.mark.parametrize("suite", EVERY_SUITE, ids=lambda s: s.name)


def refused(call: Callable[[], object]) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value


def keys_of(exchange: Exchange, name: str = SENDER) -> EpochKeys:
    return exchange.community.members[name].identity.epochs[0]


def with_header(envelope: Envelope, suite: Suite) -> envelope_pb2.Manifest:
    """The manifest's payload with another suite in its header, and nothing else changed."""
    manifest = envelope_pb2.Manifest.FromString(envelope.manifest.dsse.payload)
    manifest.header = replace(envelope.header, suite=suite.number).raw
    return manifest


def carrying(envelope: Envelope, manifest: envelope_pb2.Manifest, signature: bytes, **parts: object) -> Envelope:
    dsse = Dsse.make(TYPE_MANIFEST, wire.canonical(manifest), [(signature, "")])
    return Envelope.parse(rewrapped(envelope, manifest=dsse.to_wire(), **parts))


def opened(exchange: Exchange, envelope: Envelope) -> Callable[[], Content]:
    return lambda: open_as(exchange, envelope, RECIPIENT)


@PAIR_PARAMS
def test_another_number_in_the_header(wide_exchange: Exchange, made: Suite, shown: Suite) -> None:
    """The sender's own signature, whole or any half of it, under another suite."""
    envelope = seal(wide_exchange, header_for(wide_exchange, made))
    [signature] = envelope.manifest.dsse.signatures
    manifest = with_header(envelope, shown)
    for attempt in (signature, signature[3309:], signature[:3309], signature[4627:], signature[:4627]):
        problem = refused(opened(wide_exchange, carrying(envelope, manifest, attempt)))
        assert problem.reason is Reason.BAD_SIGNATURE


@PAIR_PARAMS
def test_a_signature_by_the_same_senders_key_of_another_suite(
    wide_exchange: Exchange, made: Suite, shown: Suite
) -> None:
    envelope = seal(wide_exchange, header_for(wide_exchange, shown))
    payload = envelope.manifest.dsse.payload
    other = keys_of(wide_exchange).signer(made, KeyUsage.MANIFEST)
    forged = carrying(envelope, envelope_pb2.Manifest.FromString(payload), signature=other.sign(TYPE_MANIFEST, payload))
    assert refused(opened(wide_exchange, forged)).reason is Reason.BAD_SIGNATURE


@PAIR_PARAMS
def test_wraps_of_another_suite(wide_exchange: Exchange, made: Suite, shown: Suite) -> None:
    """A sender who signs well, and mixes: the content key goes out under weaker algorithms than the header says."""
    member, sender = wide_exchange.community.members[RECIPIENT], keys_of(wide_exchange)
    own = seal(wide_exchange, header_for(wide_exchange, shown))
    digest, address = own.manifest.header_digest, Recipient(RECIPIENT, member.bundle.digest)
    places = {suite.number: member.bundle.opening_key(suite) for suite in (made, shown)}
    (at_made, public_made), (at_shown, public_shown) = places[made.number], places[shown.number]
    other = seal(wide_exchange, header_for(wide_exchange, made)).wraps[0]
    attempts = {
        "whole": (at_made, other.enc_ct),
        "under the right index": (at_shown, other.enc_ct),
        "to the other key": (at_shown, made.wrap(public_made, bytes(32), wrap_info(shown, digest, address, at_shown))),
        "all but the header": (at_made, made.wrap(public_made, bytes(32), wrap_info(made, digest, address, at_made))),
        "with the other info": (
            at_shown,
            shown.wrap(public_shown, bytes(32), wrap_info(made, digest, address, at_shown)),
        ),
    }
    for name, (index, enc_ct) in attempts.items():
        wrap = envelope_pb2.RecipientWrap(
            recipient=RECIPIENT, bundle=member.bundle.digest, key_index=index, enc_ct=enc_ct
        )
        raw = wire.canonical(wrap)
        manifest = signed_manifest(own.header.raw, [raw], own.body, sender)
        forged = Envelope.parse(rewrapped(own, manifest=manifest.dsse.to_wire(), wraps=[raw]))
        sender_bundle = wide_exchange.community.members[SENDER].bundle
        forged.verify(wide_exchange.directory, sender_bundle, now=wide_exchange.clock())
        problem = refused(opened(wide_exchange, forged))
        # One answer for all, so that nobody learns which part was wrong.
        assert (problem.reason, str(problem)) == (Reason.BAD_CIPHERTEXT, str(bad_ciphertext())), name


@PAIR_PARAMS
def test_a_statement_in_another_suite(wide_exchange: Exchange, made: Suite, shown: Suite) -> None:
    member = wide_exchange.community.members[RECIPIENT]
    statement = Statement(
        envelope_digest=bytes(32),
        issuer=RECIPIENT,
        issuer_bundle=member.bundle.digest,
        state=Event.OPENED,
        at=wide_exchange.clock(),
        content_commitment=bytes(32),
    )
    acknowledgement = Acknowledgement.sign(statement, made, keys_of(wide_exchange, RECIPIENT))
    acknowledgement.verify(wide_exchange.directory, member.bundle, made)
    problem = refused(lambda: acknowledgement.verify(wide_exchange.directory, member.bundle, shown))
    assert problem.reason is Reason.BAD_SIGNATURE
    # Nor does a manifest key acknowledge, or the other way round.
    dsse = acknowledgement.dsse
    signer = keys_of(wide_exchange, RECIPIENT).signer(made, KeyUsage.MANIFEST)
    crossed = Dsse.make(TYPE_ACKNOWLEDGEMENT, dsse.payload, [(signer.sign(TYPE_ACKNOWLEDGEMENT, dsse.payload), "")])
    problem = refused(lambda: Acknowledgement.parse(crossed.raw).verify(wide_exchange.directory, member.bundle, made))
    assert problem.reason is Reason.BAD_SIGNATURE


# Bundles and directories that have only one


def only(exchange: Exchange, name: str, suite: Suite) -> tuple[Member, EpochKeys]:
    """The member with a second epoch that offers one suite."""
    member = exchange.community.members[name]
    keys = EpochKeys.make(2, suites=(suite,))
    identity = replace(member.identity, epochs=(keys, *member.identity.epochs))
    bundle = KeyBundle.issue(identity, member.certificates, (member.crl,), now=exchange.clock(), previous=member.bundle)
    return replace(member, identity=identity, bundle=bundle), keys


@PAIR_PARAMS
def test_a_recipient_with_one_suite(wide_exchange: Exchange, made: Suite, shown: Suite) -> None:
    member, _ = only(wide_exchange, RECIPIENT, made)
    sender = keys_of(wide_exchange)
    content = Content.make("infoexchange.catalogue.v1.Note", b"\x0a\x03abc")
    problem = refused(lambda: Envelope.seal(content, header_for(wide_exchange, shown), [member.bundle], sender))
    assert problem.reason is Reason.SUITE_NOT_ACCEPTED
    assert shown.name in problem.detail
    # A sender who does it nevertheless, with the one key there is.
    sealed = Envelope.seal(content, header_for(wide_exchange, made), [member.bundle], sender)
    header = replace(sealed.header, suite=shown.number).raw
    manifest = signed_manifest(header, [w.raw for w in sealed.wraps], sealed.body, sender)
    forged = Envelope.parse(rewrapped(sealed, manifest=manifest.dsse.to_wire()))
    mine, bundle = {member.bundle.digest: member.bundle}, wide_exchange.community.members[SENDER].bundle
    now, directory = wide_exchange.clock(), wide_exchange.directory
    problem = refused(lambda: forged.open(member.identity, mine, directory, bundle, now=now))
    assert problem.reason is Reason.SUITE_NOT_ACCEPTED
    assert sealed.open(member.identity, mine, directory, bundle, now=now) == content


@PAIR_PARAMS
def test_a_sender_with_one_suite(wide_exchange: Exchange, made: Suite, shown: Suite) -> None:
    member, keys = only(wide_exchange, SENDER, made)
    header = header_for(wide_exchange, shown, sender_bundle=member.bundle.digest)
    recipient = wide_exchange.community.members[RECIPIENT].bundle
    content = Content.make("infoexchange.catalogue.v1.Note", b"\x0a\x03abc")
    problem = refused(lambda: Envelope.seal(content, header, [recipient], keys))
    assert problem.reason is Reason.SUITE_NOT_ACCEPTED
    # Signed with keys that the bundle does not name.
    sealed = Envelope.seal(content, header, [recipient], keys_of(wide_exchange))
    problem = refused(lambda: sealed.verify(wide_exchange.directory, member.bundle, now=wide_exchange.clock()))
    assert problem.reason is Reason.SUITE_NOT_ACCEPTED


@SUITE_PARAMS
def test_a_directory_without_it(wide_exchange: Exchange, suite: Suite) -> None:
    """Every verifier looks, and a sender is told before anything is numbered and kept."""
    listing = wide_exchange.directory.listing
    without = replace(
        listing,
        version=2,
        previous=wide_exchange.directory.digest,
        suites=tuple(number for number in listing.suites if number != suite.number),
    )
    signed = Directory.sign(without.payload, wide_exchange.community.root_keys[:2])
    directory = wide_exchange.directory.succeed(signed)
    envelope = seal(wide_exchange, header_for(wide_exchange, suite))
    bundle, now = wide_exchange.community.members[SENDER].bundle, wide_exchange.clock()
    envelope.verify(wide_exchange.directory, bundle, now=now)
    problem = refused(lambda: envelope.verify(directory, bundle, now=now))
    assert problem.reason is Reason.SUITE_NOT_ACCEPTED
    keyring, party = Keyring(), directory.party(RECIPIENT, at=now)
    keyring.learn([RECIPIENT], wide_exchange.mailbox(SENDER).relay)
    assert keyring.to_seal_to(party, suite, wide_exchange.directory, now=now).owner == RECIPIENT
    problem = refused(lambda: keyring.to_seal_to(party, suite, directory, now=now))
    assert (problem.reason, problem.detail) == (
        Reason.SUITE_NOT_ACCEPTED,
        f"the directory does not accept {suite.name}",
    )


def test_nothing_of_a_refused_suite_is_kept(exchange: Exchange) -> None:
    mailbox = exchange.mailbox(SENDER)
    exchange.mailbox(RECIPIENT)
    [result] = mailbox.send_all([Draft(officer_acknowledgement(), [RECIPIENT], suite=NIST_HIGH)])
    assert isinstance(result, ExchangeError)
    assert result.reason is Reason.SUITE_NOT_ACCEPTED
    assert (mailbox.spool.standing().sequence, mailbox.spool.unsent(10)) == (0, [])


def test_the_newest_bundle_decides_what_is_accepted() -> None:
    """Whoever gives up a suite is sealed to in it no more, though the bundle before is still in use."""
    wide = Exchange(AGENCIES, suites=(HYBRID, NIST_HIGH))
    for name in (RECIPIENT, SECOND):
        wide.mailbox(name)
    member, _ = only(wide, SECOND, HYBRID)
    party = wide.directory.party(SECOND, at=wide.clock())
    wide.node_of(SECOND).commit([wide.node_of(SECOND).decide_bundle(party, member.bundle)])
    names = [RECIPIENT, SECOND]
    both = [Draft(officer_acknowledgement(), names, suite=suite) for suite in (NIST_HIGH, HYBRID)]
    [problem, receipt] = wide.mailbox(SENDER).send_all(both)
    assert isinstance(problem, ExchangeError)
    assert problem.reason is Reason.SUITE_NOT_ACCEPTED
    assert SECOND in problem.detail
    assert not isinstance(receipt, ExchangeError), receipt


def test_what_was_sealed_before_a_suite_was_given_up_is_acknowledged() -> None:
    exchange = Exchange(AGENCIES)
    before, sender = exchange.mailbox(RECIPIENT), exchange.mailbox(SENDER)
    [receipt] = sender.send_all([Draft(officer_acknowledgement(), [RECIPIENT], suite=HYBRID_KEM)])
    assert not isinstance(receipt, ExchangeError)
    member = exchange.community.members[RECIPIENT]
    keys = EpochKeys.make(2, suites=(HYBRID,), closing=member.identity.epochs[0].offered)
    identity = replace(member.identity, epochs=(keys, *member.identity.epochs))
    now = exchange.clock()
    bundle = KeyBundle.issue(identity, member.certificates, (member.crl,), now=now, previous=member.bundle)
    after = Mailbox(
        identity, [bundle, member.bundle], exchange.directory, before.relay, MemorySpool(), clock=exchange.clock
    )
    after.refresh()
    [delivery] = after.receive()
    after.acknowledge(delivery)
    after.flush()
    assert after.refused == []
    history = sender.history(receipt.subject.envelope_digest)
    [statement] = [Acknowledgement.parse(raw).statement for raw in history.statements]
    assert (statement.state, statement.issuer_bundle) == (Event.OPENED, bundle.digest)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.accept_suites.remove(HYBRID.number), Reason.BAD_FIELD),
        (lambda m: setattr(m.enc_keys[1], "suite", NIST_HIGH.number), Reason.BAD_FIELD),
        (lambda m: leave(m, HYBRID), Reason.BAD_SIGNATURE),
        (lambda m: setattr(m.enc_keys[0], "public_key", m.enc_keys[1].public_key), Reason.BAD_SIGNATURE),
    ],
    ids=["list", "number", "whole suite", "key"],
)
def test_a_relay_cannot_narrow_what_an_agency_accepts(
    shared_exchange: Exchange, change: Callable[[bundle_pb2.KeyBundle], object], reason: Reason
) -> None:
    member = shared_exchange.community.members[RECIPIENT]
    message = bundle_pb2.KeyBundle.FromString(member.bundle.dsse.payload)
    change(message)
    pairs = list(zip(member.bundle.dsse.signatures, member.bundle.dsse.key_ids, strict=True))
    raw = Dsse.make(TYPE_KEYBUNDLE, wire.canonical(message), pairs).raw

    def take() -> None:
        bundle = KeyBundle.parse(raw, member.certificates, (member.crl,))
        bundle.verify(shared_exchange.directory, now=shared_exchange.clock())

    assert refused(take).reason is reason


# Signatures that can be written in two ways


def test_a_second_form_of_a_signature_is_the_same_envelope() -> None:
    """An envelope is named by its signed bytes, so that s and n - s make one envelope, one claim and one receipt."""
    exchange = Exchange(AGENCIES, suites=(HYBRID, NIST_HIGH))
    for name in (RECIPIENT, SECOND):
        exchange.mailbox(name)
    sender = exchange.mailbox(SENDER)
    [receipt] = sender.send_all([Draft(officer_acknowledgement(), [RECIPIENT], suite=NIST_HIGH)])
    assert not isinstance(receipt, ExchangeError)
    sent = sender.spool.sent(receipt.subject.envelope_digest)
    assert sent
    first = Envelope.parse(sent.raw)
    [signature] = first.manifest.dsse.signatures
    r, s = decode_dss_signature(signature[4627:])
    other = signature[:4627] + encode_dss_signature(r, ORDER - s)
    manifest = envelope_pb2.Manifest.FromString(first.manifest.dsse.payload)
    second = carrying(first, manifest, other)
    assert second.raw != first.raw
    assert (second.digest, second.header.claim) == (first.digest, first.header.claim)
    assert sha256(second.manifest.dsse.message).digest() == first.digest
    bundle = exchange.community.members[SENDER].bundle
    second.verify(exchange.directory, bundle, now=exchange.clock())
    size = exchange.node_of(SENDER).ledger.size
    [again] = sender.relay.submit([second.raw])
    assert not isinstance(again, ExchangeError)
    assert again.index == receipt.index
    assert exchange.node_of(SENDER).ledger.size == size
    assert len(list(exchange.mailbox(RECIPIENT).receive())) == 1
