"""Attestations: who wrote a message and who answers for it, signed inside, shown to the recipient once verified."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import AGENCIES, RECIPIENT, SECOND, SENDER
from infoexchange import Draft
from infoexchange.attestation import Attestation, AttestationRole
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.content import ATTESTATION_SIZE_MAX, ATTESTATIONS_MAX, Content
from infoexchange.dsse import TYPE_ATTESTATION, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.states import Event
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.v1 import content_pb2
from messages import officer_acknowledgement
from test_envelope import header_for
from turning import Agency, taken

AUTHOR, SUPERVISOR = AttestationRole.AUTHOR, AttestationRole.SUPERVISOR
COLLEAGUE = "desk.navy.th.example"
COMMITMENT = bytes(range(32))
SECOND_LATER = timedelta(seconds=1)


def made(exchange: Exchange, suite=HYBRID, signer: str = SENDER, *, commitment=COMMITMENT, after=timedelta(0)):
    member = exchange.community.members[signer]
    now = exchange.clock() + after
    return Attestation.sign(commitment, SUPERVISOR, suite, member.bundle, member.identity.epochs[0], now=now)


def refusal(call, *arguments: object, **settings: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*arguments, **settings)
    return caught.value.reason


def judge(exchange: Exchange, attestation: Attestation, suite=HYBRID, bundle: KeyBundle | None = None):
    header = replace(header_for(exchange, suite), content_commitment=COMMITMENT)
    return attestation.verify(exchange.directory, bundle or exchange.community.members[SENDER].bundle, header)


# The format


@pytest.mark.parametrize("suite", [HYBRID, HYBRID_KEM])
def test_it_says_who_signed_what_in_which_role(shared_exchange, suite):
    attestation = Attestation.parse(made(shared_exchange, suite).raw)
    assert (attestation.role, attestation.signer, attestation.content_commitment) == (SUPERVISOR, SENDER, COMMITMENT)
    assert judge(shared_exchange, attestation, suite).name == SENDER


def changed(attestation: Attestation, **fields: object) -> bytes:
    payload = content_pb2.Attestation.FromString(attestation.dsse.payload)
    for name, value in fields.items():
        setattr(payload, name, value)
    pairs = list(zip(attestation.dsse.signatures, attestation.dsse.key_ids, strict=True))
    return Dsse.make(TYPE_ATTESTATION, payload.SerializeToString(deterministic=True), pairs).raw


@pytest.mark.parametrize(
    "fields",
    [
        {"role": 0},
        {"role": 3},
        {"content_commitment": b""},
        {"signer": "x"},
        {"signer_bundle": b"x"},
        {"signed_ms": -1},
    ],
    ids=lambda fields: "-".join(f"{name}={value}" for name, value in fields.items()),
)
def test_other_values_are_refused(shared_exchange, fields):
    assert refusal(Attestation.parse, changed(made(shared_exchange), **fields)) is Reason.BAD_FIELD


def test_it_is_signed_once_and_is_small(shared_exchange):
    dsse = made(shared_exchange).dsse
    twice = Dsse.make(TYPE_ATTESTATION, dsse.payload, [(dsse.signatures[0], "x")] * 2)
    assert refusal(Attestation.parse, twice.raw) is Reason.BAD_FIELD
    assert refusal(Attestation.parse, bytes(ATTESTATION_SIZE_MAX + 1)) is Reason.TOO_LARGE


def test_what_does_not_hold_has_its_reason(shared_exchange):
    exchange, members = shared_exchange, shared_exchange.community.members
    good = made(exchange)
    assert refusal(judge, exchange, good, HYBRID_KEM) is Reason.BAD_SIGNATURE
    assert refusal(judge, exchange, good, bundle=members[COLLEAGUE].bundle) is Reason.STALE_BUNDLE
    assert refusal(judge, exchange, made(exchange, commitment=bytes(32))) is Reason.BAD_SIGNATURE
    assert refusal(judge, exchange, made(exchange, after=timedelta(minutes=6))) is Reason.NOT_YET_VALID
    assert judge(exchange, made(exchange, after=timedelta(minutes=5))).name == SENDER
    assert refusal(judge, exchange, made(exchange, after=-timedelta(days=2))) is Reason.UNKNOWN_PARTY
    member = members[SENDER]
    reissued = KeyBundle.issue(member.identity, member.certificates, (member.crl,), now=exchange.clock() + SECOND_LATER)
    assert refusal(judge, exchange, good, bundle=reissued) is Reason.STALE_BUNDLE
    # Signed while the keys were in use, put into a message when they were not any more.
    header = replace(header_for(exchange, HYBRID), content_commitment=COMMITMENT)
    created = header.created_at + timedelta(days=31)
    later = replace(header, created_at=created, expires_at=created + timedelta(days=1))
    assert refusal(good.verify, exchange.directory, member.bundle, later) is Reason.STALE_BUNDLE
    as_other = Attestation.parse(changed(good, signer=COLLEAGUE))
    assert refusal(judge, exchange, as_other) is Reason.STALE_BUNDLE
    # A key with another purpose signs nothing here, whoever's it is.
    keys = members[SENDER].identity.epochs[0]
    for usage in (KeyUsage.MANIFEST, KeyUsage.ACKNOWLEDGEMENT):
        key = keys.signing[HYBRID.number, usage]
        pair = (key.sign(TYPE_ATTESTATION, good.dsse.payload), key.key_id)
        wrong = Attestation.parse(Dsse.make(TYPE_ATTESTATION, good.dsse.payload, [pair]).raw)
        assert refusal(judge, exchange, wrong) is Reason.BAD_SIGNATURE


def test_no_flipped_bit_gets_through(shared_exchange):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    attestation = made(shared_exchange, HYBRID_KEM)
    hint = attestation.raw.index(attestation.dsse.key_ids[0].encode())
    for place in range(len(attestation.raw)):
        raw = bytearray(attestation.raw)
        raw[place] ^= 1 << rng.randrange(8)
        try:
            judge(shared_exchange, Attestation.parse(bytes(raw)), HYBRID_KEM)
        except ExchangeError:
            continue
        assert hint <= place < hint + 16, place


def without_attestation_keys(exchange: Exchange, name: str) -> tuple[EpochKeys, KeyBundle]:
    """The keys and bundle of an agency that has none for attestations, as before there were any."""
    member = exchange.community.members[name]
    keys = member.identity.epochs[0]
    signing = {key: value for key, value in keys.signing.items() if key[1] is not KeyUsage.ATTESTATION}
    keys = replace(keys, signing=signing)
    identity = replace(member.identity, epochs=(keys,))
    return keys, KeyBundle.issue(identity, member.certificates, (member.crl,), now=exchange.clock())


def test_a_bundle_may_have_no_attestation_key(shared_exchange):
    keys, bundle = without_attestation_keys(shared_exchange, SENDER)
    bundle.verify(shared_exchange.directory, now=shared_exchange.clock())
    now = shared_exchange.clock()
    with pytest.raises(ExchangeError) as caught:
        Attestation.sign(COMMITMENT, AUTHOR, HYBRID, bundle, keys, now=now)
    assert caught.value.reason is Reason.SUITE_NOT_ACCEPTED
    assert "new epoch" in caught.value.next_step
    foreign = Attestation.parse(changed(made(shared_exchange), signer_bundle=bundle.digest))
    assert refusal(judge, shared_exchange, foreign, bundle=bundle) is Reason.SUITE_NOT_ACCEPTED


# In content


def test_the_commitment_does_not_cover_them(shared_exchange):
    content = Content.make("a.B", b"\x08\x01")
    attested = content.attested([b"b", b"a"])
    assert attested.attestations == (b"a", b"b")
    assert (attested.records, attested.salts) == (content.records, content.salts)
    assert Content.parse(attested.raw) == attested
    assert attested.attested([b"a"]) == attested


def test_content_takes_few_small_ones_in_order():
    content = Content.make("a.B", b"\x08\x01")
    many = [bytes([n]) for n in range(1, ATTESTATIONS_MAX + 2)]
    assert refusal(content.attested, many) is Reason.TOO_LARGE
    content.attested(many[:-1])
    assert refusal(content.attested, [bytes(ATTESTATION_SIZE_MAX + 1)]) is Reason.TOO_LARGE
    swapped = content_pb2.Content.FromString(content.attested([b"a", b"b"]).raw)
    swapped.attestations[:] = [b"b", b"a"]
    assert refusal(Content.parse, swapped.SerializeToString(deterministic=True)) is Reason.BAD_FIELD


def test_they_count_towards_the_size_of_content():
    content = Content.make("a.B", b"\x0a\x80\x80\x3f" + bytes(63 * 16384))
    assert refusal(content.attested, [bytes([n]) * 16384 for n in range(1, 3)]) is Reason.TOO_LARGE


# On the way


@pytest.fixture
def exchange() -> Exchange:
    made = Exchange(AGENCIES)
    for name in (RECIPIENT, COLLEAGUE):
        made.mailbox(name)
    return made


def test_the_recipient_is_given_them_verified(exchange):
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT], attest=[AUTHOR, SUPERVISOR])
    [delivery] = exchange.mailbox(RECIPIENT).receive()
    assert {(a.role, a.signer) for a in delivery.attestations} == {(AUTHOR, SENDER), (SUPERVISOR, SENDER)}
    assert all(a.content_commitment == delivery.envelope.header.content_commitment for a in delivery.attestations)
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    assert [d.attestations for d in exchange.mailbox(RECIPIENT).receive() if d.digest != delivery.digest] == [()]


def test_somebody_elsewhere_signs_what_is_about_to_be_sealed(exchange):
    asked = []

    def colleague(commitment, suite):
        asked.append((commitment, suite))
        return made(exchange, suite, COLLEAGUE, commitment=commitment)

    draft = Draft(officer_acknowledgement(), [RECIPIENT], attest=[AUTHOR, colleague], suite=HYBRID_KEM)
    exchange.mailbox(SENDER).send_all([draft])
    [delivery] = exchange.mailbox(RECIPIENT).receive()
    assert asked == [(delivery.envelope.header.content_commitment, HYBRID_KEM)]
    assert {(a.role, a.signer) for a in delivery.attestations} == {(AUTHOR, SENDER), (SUPERVISOR, COLLEAGUE)}


def forged(exchange: Exchange, kind: str):
    """A sender that puts into its message what does not hold."""

    def attester(commitment, suite):
        if kind == "other content":
            return made(exchange, suite, commitment=bytes(32))
        if kind == "other suite":
            return made(exchange, HYBRID_KEM, commitment=commitment)
        if kind == "other signer":
            own = made(exchange, suite, commitment=commitment)
            colleague = exchange.community.members[COLLEAGUE].bundle.digest
            return Attestation.parse(changed(own, signer=COLLEAGUE, signer_bundle=colleague))
        if kind == "other role":
            return Attestation.parse(changed(made(exchange, suite, commitment=commitment), role=int(AUTHOR)))
        return made(exchange, suite, commitment=commitment, after=timedelta(minutes=6))

    return attester


def test_withdrawn_keys_attest_nothing(exchange):
    signer = Agency(exchange, COLLEAGUE)
    assert taken(signer.publish(signer.next(exchange.clock(), withdraw=True)))
    exchange.clock.advance(CLOCK_SKEW + SECOND_LATER)
    old = lambda commitment, suite: made(exchange, suite, COLLEAGUE, commitment=commitment)  # noqa: E731
    exchange.mailbox(SENDER).send_all([Draft(officer_acknowledgement(), [RECIPIENT], attest=[old])])
    box = exchange.mailbox(RECIPIENT)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused] == [(Reason.BAD_SIGNATURE, True)]
    assert "revoked" in box.refused[0].problem.detail


@pytest.mark.parametrize("kind", ["other content", "other suite", "other signer", "other role", "future"])
def test_one_that_does_not_hold_refuses_the_message(exchange, kind):
    draft = Draft(officer_acknowledgement(), [RECIPIENT], attest=[SUPERVISOR, forged(exchange, kind)])
    [receipt] = exchange.mailbox(SENDER).send_all([draft])
    box = exchange.mailbox(RECIPIENT)
    assert list(box.receive()) == []
    [refused] = box.refused
    assert (refused.problem.reason, refused.problem.field, refused.signed) == (
        Reason.BAD_SIGNATURE,
        "attestation",
        True,
    )
    box.flush()
    events = exchange.mailbox(SENDER).history(receipt.subject.envelope_digest).events
    assert [(r.routing.event, r.routing.reason) for r in events][-1] == (Event.REFUSED, int(Reason.BAD_SIGNATURE))


def test_junk_in_their_place_refuses_the_message(exchange):
    class Junk:
        raw = b"junk"

    exchange.mailbox(SENDER).send_all([Draft(officer_acknowledgement(), [RECIPIENT], attest=[lambda *_: Junk])])
    box = exchange.mailbox(RECIPIENT)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused] == [(Reason.MALFORMED, True)]


def test_while_a_signers_keys_are_missing_the_message_waits(exchange, monkeypatch):
    draft = Draft(
        officer_acknowledgement(),
        [RECIPIENT],
        attest=[lambda commitment, suite: made(exchange, suite, SECOND, commitment=commitment)],
    )
    exchange.mailbox(SENDER).send_all([draft])
    box = exchange.mailbox(RECIPIENT)
    bundles = box.relay.bundles
    with monkeypatch.context() as patch:
        patch.setattr(box.relay, "bundles", lambda names: [b for b in bundles(names) if b.owner != SECOND])
        assert list(box.receive()) == []
        assert [(r.problem.reason, r.signed) for r in box.refused] == [(Reason.STALE_BUNDLE, False)]
    [delivery] = box.receive()
    assert [a.signer for a in delivery.attestations] == [SECOND]


def test_a_sender_without_the_key_is_told_before_anything_leaves(exchange):
    box = exchange.mailbox(SENDER)
    keys, bundle = without_attestation_keys(exchange, SENDER)
    box._desk.identity = replace(box.identity, epochs=(keys,))
    box._desk.bundles = (bundle,)
    [result] = box.send_all([Draft(officer_acknowledgement(), [RECIPIENT], attest=[AUTHOR])])
    assert isinstance(result, ExchangeError)
    assert result.reason is Reason.SUITE_NOT_ACCEPTED
    assert box.spool.standing().sequence == 0
