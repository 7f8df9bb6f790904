"""Grant: the format, its signature, and what it covers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.dsse import TYPE_GRANT, TYPE_MANIFEST, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.grant import GRANT_LIFETIME_MAX, GRANT_SIZE_MAX, Grant, Terms
from infoexchange.keys import KeyUsage
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.v1 import grant_pb2

MILLISECOND = timedelta(milliseconds=1)


def terms(exchange: Exchange, **changed: object) -> Terms:
    now = exchange.clock()
    return Terms(
        **{
            "origin": bytes(range(32)),
            "originator": SENDER,
            "originator_bundle": exchange.community.members[SENDER].bundle.digest,
            "holder": RECIPIENT,
            "recipients": (SECOND,),
            "granted_at": now,
            "expires_at": now + timedelta(days=14),
            "suite": HYBRID.number,
            **changed,
        }
    )


def signed(exchange: Exchange, signer: str = SENDER, **changed: object) -> Grant:
    return Grant.sign(terms(exchange, **changed), exchange.community.members[signer].identity.epochs[0])


def reason_of(call: Callable[[], object]) -> tuple[Reason, str]:
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason, caught.value.field


def payload(grant: Grant, **changed: object) -> bytes:
    """A container that is canonical, of a payload with other fields."""
    message = grant_pb2.Grant.FromString(grant.dsse.payload)
    for name, value in changed.items():
        message.ClearField(name)
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    pair = (grant.dsse.signatures[0], grant.dsse.key_ids[0])
    return Dsse.make(TYPE_GRANT, message.SerializeToString(deterministic=True), [pair]).raw


@pytest.mark.parametrize("suite", [HYBRID, HYBRID_KEM], ids=lambda suite: suite.name)
def test_it_says_what_was_signed(shared_exchange: Exchange, suite: object) -> None:
    wanted = terms(shared_exchange, suite=suite.number, recipients=(SENDER, SECOND, SENDER))
    grant = Grant.sign(wanted, shared_exchange.community.members[SENDER].identity.epochs[0])
    again = Grant.parse(grant.raw)
    assert (again, again.raw) == (grant, grant.raw)
    assert again.terms == replace(wanted, recipients=(SENDER, SECOND) if SENDER < SECOND else (SECOND, SENDER))
    party = again.verify(shared_exchange.directory, shared_exchange.community.members[SENDER].bundle)
    assert party.name == SENDER


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("grant.origin", {"origin": b"short"}),
        ("grant.origin", {"origin": b""}),
        ("grant.originator", {"originator": "nobody"}),
        ("grant.originator_bundle", {"originator_bundle": bytes(31)}),
        ("grant.holder", {"holder": "A.example"}),
        ("grant.recipients", {"recipients": []}),
        ("grant.recipients", {"recipients": [SECOND, SECOND]}),
        ("grant.recipients", {"recipients": [SENDER, RECIPIENT][:: 1 if SENDER > RECIPIENT else -1]}),
        ("grant.recipients", {"recipients": ["everyone"]}),
        ("grant.recipients", {"recipients": [f"a{n:03}.vn.example" for n in range(65)]}),
        ("grant.granted_ms", {"granted_ms": -1}),
        ("grant.expires_ms", {"expires_ms": 2**62}),
        ("grant.expires_ms", {"expires_ms": 0}),
    ],
)
def test_a_field_that_the_format_does_not_allow(shared_exchange: Exchange, field: str, changed: dict) -> None:
    raw = payload(signed(shared_exchange), **changed)
    assert reason_of(lambda: Grant.parse(raw)) == (Reason.BAD_FIELD, field)


def test_edges_of_what_is_allowed(shared_exchange: Exchange) -> None:
    now = shared_exchange.clock()
    names = tuple(f"a{n:03}.vn.example" for n in range(64))
    assert signed(shared_exchange, recipients=names).terms.recipients == names
    longest = signed(shared_exchange, expires_at=now + GRANT_LIFETIME_MAX)
    assert longest.terms.expires_at - longest.terms.granted_at == GRANT_LIFETIME_MAX
    shortest = signed(shared_exchange, expires_at=now + MILLISECOND)
    assert shortest.terms.expires_at == now + MILLISECOND
    for end in (now, now - MILLISECOND, now + GRANT_LIFETIME_MAX + MILLISECOND):
        assert reason_of(lambda end=end: signed(shared_exchange, expires_at=end)) == (
            Reason.BAD_FIELD,
            "grant.expires_ms",
        )


def test_forms_that_are_refused(shared_exchange: Exchange) -> None:
    grant = signed(shared_exchange)
    pair = (grant.dsse.signatures[0], "")
    two = Dsse.make(TYPE_GRANT, grant.dsse.payload, [pair, pair]).raw
    manifest = Dsse.make(TYPE_MANIFEST, grant.dsse.payload, [pair]).raw
    unknown = Dsse.make(TYPE_GRANT, grant.dsse.payload + b"\x7a\x01x", [pair]).raw
    for raw, reason in (
        (b"", Reason.BAD_FIELD),
        (b"junk", Reason.MALFORMED),
        (two, Reason.BAD_FIELD),
        (manifest, Reason.BAD_FIELD),
        (unknown, Reason.NOT_CANONICAL),
        (grant.raw + b"\x7a\x01x", Reason.NOT_CANONICAL),
        (bytes(GRANT_SIZE_MAX + 1), Reason.TOO_LARGE),
    ):
        assert reason_of(lambda raw=raw: Grant.parse(raw))[0] is reason


def test_who_signed_it(shared_exchange: Exchange) -> None:
    members, directory = shared_exchange.community.members, shared_exchange.directory
    own, theirs = members[SENDER].bundle, members[RECIPIENT].bundle
    grant = signed(shared_exchange)
    assert reason_of(lambda: grant.verify(directory, theirs)) == (Reason.STALE_BUNDLE, "grant.originator_bundle")
    forged = signed(shared_exchange, RECIPIENT)
    assert reason_of(lambda: forged.verify(directory, own))[0] is Reason.BAD_SIGNATURE
    borrowed = signed(shared_exchange, RECIPIENT, originator_bundle=theirs.digest)
    assert reason_of(lambda: borrowed.verify(directory, theirs))[0] is Reason.STALE_BUNDLE
    early = signed(shared_exchange, granted_at=own.not_before - CLOCK_SKEW - MILLISECOND)
    assert reason_of(lambda: early.verify(directory, own))[0] is Reason.UNKNOWN_PARTY  # before it took part
    late = own.not_after + CLOCK_SKEW + MILLISECOND
    after = signed(shared_exchange, granted_at=late, expires_at=late + MILLISECOND)
    assert reason_of(lambda: after.verify(directory, own))[0] is Reason.STALE_BUNDLE
    unknown = Grant.parse(payload(grant, suite=0x0100))
    assert reason_of(lambda: unknown.verify(directory, own))[0] is Reason.SUITE_NOT_ACCEPTED


def test_a_key_of_another_purpose_grants_nothing(shared_exchange: Exchange) -> None:
    member = shared_exchange.community.members[SENDER]
    key = member.identity.epochs[0].signing[HYBRID.number, KeyUsage.ACKNOWLEDGEMENT]
    content = signed(shared_exchange).dsse.payload
    grant = Grant.parse(Dsse.make(TYPE_GRANT, content, [(key.sign(TYPE_GRANT, content), key.key_id)]).raw)
    assert reason_of(lambda: grant.verify(shared_exchange.directory, member.bundle))[0] is Reason.BAD_SIGNATURE
    # Nor does the right key's signature over the same bytes as another kind of object.
    key = member.identity.epochs[0].signing[HYBRID.number, KeyUsage.MANIFEST]
    grant = Grant.parse(Dsse.make(TYPE_GRANT, content, [(key.sign(TYPE_MANIFEST, content), key.key_id)]).raw)
    assert reason_of(lambda: grant.verify(shared_exchange.directory, member.bundle))[0] is Reason.BAD_SIGNATURE


def test_what_it_covers(shared_exchange: Exchange) -> None:
    grant = signed(shared_exchange, recipients=(SECOND, SENDER))
    start, end = grant.terms.granted_at, grant.terms.expires_at
    for moment in (start - CLOCK_SKEW, start, end, end + CLOCK_SKEW):
        grant.check_covers(RECIPIENT, [SECOND], at=[moment])
        grant.check_covers(RECIPIENT, {SECOND, SENDER}, at=[moment])
    grant.check_covers(RECIPIENT, [], at=[])
    for holder, to, at, reason, field in (
        (SECOND, [SECOND], [start], Reason.NOT_PERMITTED, "grant.holder"),
        (RECIPIENT, [SECOND, "x.vn.example"], [start], Reason.NOT_PERMITTED, "grant.recipients"),
        (RECIPIENT, [SECOND], [start - CLOCK_SKEW - MILLISECOND], Reason.NOT_YET_VALID, "grant.granted_ms"),
        (RECIPIENT, [SECOND], [start, end + CLOCK_SKEW + MILLISECOND], Reason.EXPIRED, "grant.expires_ms"),
    ):
        found = reason_of(lambda holder=holder, to=to, at=at: grant.check_covers(holder, to, at=at))
        assert found == (reason, field)


def test_its_name_covers_the_signature(shared_exchange: Exchange) -> None:
    """Two signatures over the same terms are two grants: nobody on the way can put one for the other."""
    one, other = signed(shared_exchange), signed(shared_exchange)
    assert one.terms == other.terms
    assert one.dsse.digest == other.dsse.digest
    assert one.digest != other.digest


def test_no_flipped_bit_passes(shared_exchange: Exchange) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    grant, bundle = signed(shared_exchange), shared_exchange.community.members[SENDER].bundle
    for place in [*range(120), *rng.sample(range(len(grant.raw)), 250)]:
        raw = bytearray(grant.raw)
        raw[place] ^= 1 << rng.randrange(8)
        try:
            found = Grant.parse(bytes(raw))
            found.verify(shared_exchange.directory, bundle)
        except ExchangeError:
            continue
        assert found.terms == grant.terms  # the key id, a hint that decides nothing
        assert found.dsse.signatures == grant.dsse.signatures
        assert found.digest != grant.digest
