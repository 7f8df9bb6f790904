"""Key bundles: what their owner signs, what proves them, and every reason to refuse one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import certificates, suites, wire
from infoexchange.bundle import BUNDLE_SIZE_MAX, CRL_SIZE_MAX, KeyBundle
from infoexchange.certificates import CLOCK_SKEW, NationalCa
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DIRECTORY, TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import EpochKeys, Identity, IdentityKey, KeyUsage, SigningKey
from infoexchange.suites import CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH, Suite
from infoexchange.testing import Exchange, Member
from infoexchange.v1 import bundle_pb2

DAY = timedelta(days=1)


@pytest.fixture
def member(shared_exchange: Exchange) -> Member:
    return shared_exchange.community.members[SENDER]


def message_of(bundle: KeyBundle) -> bundle_pb2.KeyBundle:
    return bundle_pb2.KeyBundle.FromString(bundle.dsse.payload)


def resigned(
    member: Member, change: Callable[[bundle_pb2.KeyBundle], object] = lambda _: None, *, key: IdentityKey | None = None
) -> KeyBundle:
    """The member's bundle after a change, signed again by its owner."""
    message = message_of(member.bundle)
    change(message)
    payload = wire.canonical(message)
    dsse = Dsse.make(TYPE_KEYBUNDLE, payload, (key or member.identity.key).sign(TYPE_KEYBUNDLE, payload))
    return KeyBundle.parse(dsse.raw, member.certificates, (member.crl,))


def reason_of(call: Callable[..., object], *args: object, **named: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    assert caught.value.detail
    return caught.value.reason


def test_what_was_issued_verifies(shared_exchange: Exchange, member: Member) -> None:
    now = shared_exchange.clock()
    for bundle in (member.bundle, resigned(member)):
        assert bundle.verify(shared_exchange.directory, now=now).name == SENDER
        assert bundle.revocation_known(shared_exchange.directory, at=now)
        assert bundle.raw == KeyBundle.parse(bundle.raw).raw
    # The digest names what was signed, whatever ML-DSA's hedged signature looks like.
    assert resigned(member).digest == member.bundle.digest
    assert resigned(member).raw != member.bundle.raw
    assert member.bundle.keys_in(member.identity) is member.identity.epochs[0]
    older = replace(member.identity, epochs=(EpochKeys.make(2),))
    assert reason_of(member.bundle.keys_in, older) is Reason.STALE_BUNDLE


def _set(**fields: object) -> Callable[[bundle_pb2.KeyBundle], object]:
    def change(message: bundle_pb2.KeyBundle) -> None:
        for name, value in fields.items():
            message.ClearField(name)  # type: ignore[arg-type]
            if isinstance(value, list):
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)

    return change


MONTH_MS = 30 * 24 * 3600 * 1000


@pytest.mark.parametrize(
    "change",
    [
        _set(owner="UPPER.example"),
        _set(owner=""),
        _set(epoch=0),
        _set(not_before_ms=-1),
        _set(not_after_ms=2**62),
        _set(previous=b"short"),
        _set(identity_certs=[bytes(31)]),
        _set(tls_spki=[bytes(32)]),
        _set(accept_suites=[3, 2]),
        _set(accept_suites=[2, 2]),
        lambda m: setattr(m, "not_after_ms", m.not_before_ms),
        lambda m: setattr(m, "not_after_ms", m.not_before_ms - 1),
        lambda m: setattr(m, "not_after_ms", m.not_before_ms + MONTH_MS + 1),
        lambda m: m.enc_keys.reverse(),
        lambda m: m.enc_keys.append(m.enc_keys[-1]),
        lambda m: m.sig_keys.reverse(),
        lambda m: m.sig_keys.append(m.sig_keys[-1]),
        lambda m: setattr(m.sig_keys[0], "usage", 0),
        lambda m: setattr(m.sig_keys[-1], "usage", 4),
    ],
)
def test_fields_out_of_range(member: Member, change: Callable[[bundle_pb2.KeyBundle], object]) -> None:
    assert reason_of(resigned, member, change) is Reason.BAD_FIELD


def test_thirty_days_and_not_a_millisecond_more(shared_exchange: Exchange, member: Member) -> None:
    whole = resigned(member, lambda m: setattr(m, "not_after_ms", m.not_before_ms + MONTH_MS))
    assert whole.not_after - whole.not_before == timedelta(days=30)
    whole.verify(shared_exchange.directory, now=shared_exchange.clock())


def test_sizes_and_containers(member: Member) -> None:
    raw = member.bundle.raw
    assert reason_of(KeyBundle.parse, bytes(BUNDLE_SIZE_MAX + 1)) is Reason.TOO_LARGE
    assert reason_of(KeyBundle.parse, raw, (), (bytes(CRL_SIZE_MAX + 1),)) is Reason.TOO_LARGE
    assert reason_of(KeyBundle.parse, raw + b"\x7a\x00") is Reason.NOT_CANONICAL
    assert reason_of(KeyBundle.parse, raw[:-1]) is Reason.MALFORMED
    dsse = member.bundle.dsse
    other = replace(dsse, payload_type=TYPE_DIRECTORY)
    assert reason_of(KeyBundle.parse, other.raw) is Reason.BAD_FIELD
    loose = Dsse.make(TYPE_KEYBUNDLE, dsse.payload + b"\x7a\x00", list(zip(dsse.signatures, dsse.key_ids, strict=True)))
    assert reason_of(KeyBundle.parse, loose.raw) is Reason.NOT_CANONICAL


# Identity signatures


def signed_with(member: Member, signatures: Sequence[bytes]) -> KeyBundle:
    dsse = Dsse.make(TYPE_KEYBUNDLE, member.bundle.dsse.payload, [(s, "") for s in signatures])
    return KeyBundle.parse(dsse.raw, member.certificates, (member.crl,))


def test_both_identity_signatures_are_needed(shared_exchange: Exchange, member: Member) -> None:
    first, second = member.bundle.dsse.signatures
    key, message = member.identity.key, member.bundle.dsse.message
    now, directory = shared_exchange.clock(), shared_exchange.directory
    signed_with(member, (first, second)).verify(directory, now=now)  # key ids are hints, and empty here
    for wrong in (
        (first,),
        (second,),
        (second, first),
        (first, first),
        (second, second),
        (first, second, second),
        (bytes(64), second),
        (first, bytes(3309)),
        (first, b""),
        (suites.sign_ed25519(key.ed25519, message + b"x"), second),
        (first, suites.sign_mldsa65(key.mldsa65, message + b"x")),
        (first, suites.sign_mldsa65(key.mldsa65, message, b"another context")),
        (suites.sign_ed25519(bytes(32), message), second),
        (first, suites.sign_mldsa65(bytes(32), message)),
    ):
        assert reason_of(signed_with(member, wrong).verify, directory, now=now) is Reason.BAD_SIGNATURE


def test_another_identitys_signature_is_none(shared_exchange: Exchange, member: Member) -> None:
    bundle = resigned(member, key=IdentityKey.make())
    assert reason_of(bundle.verify, shared_exchange.directory, now=shared_exchange.clock()) is Reason.BAD_SIGNATURE


# Certificates


def proven_by(member: Member, ders: Sequence[bytes], crls: Sequence[bytes]) -> KeyBundle:
    """The member's bundle, naming these certificates and signed by its owner."""
    names = [hashlib.sha256(der).digest() for der in ders]
    return KeyBundle.parse(resigned(member, _set(identity_certs=names)).raw, ders, crls)


def issued(identity: Identity, ca: NationalCa, exchange: Exchange, name: str = "") -> tuple[bytes, ...]:
    requests = certificates.identity_requests(name or identity.name, identity.key)
    return tuple(ca.issue(request, now=exchange.clock()) for request in requests)


def test_certificates_come_in_their_order(shared_exchange: Exchange, member: Member) -> None:
    now, directory = shared_exchange.clock(), shared_exchange.directory
    one, two = member.certificates
    crls = (member.crl,)
    proven_by(member, (one, two), crls).verify(directory, now=now)
    for wrong in ((one,), (two,), (one, two, two), ()):
        assert reason_of(proven_by, member, wrong, crls) is Reason.BAD_FIELD
    for wrong in ((two, one), (one, one)):
        assert reason_of(proven_by(member, wrong, crls).verify, directory, now=now) is Reason.BAD_CERTIFICATE
    # Others came along than those the bundle names.
    for wrong in ((two, one), (one,), ()):
        bundle = KeyBundle.parse(member.bundle.raw, wrong, crls)
        assert reason_of(bundle.verify, directory, now=now) is Reason.BAD_CERTIFICATE
    # The same keys certified once more are not the certificates that it names.
    again = issued(member.identity, shared_exchange.community.cas["th"], shared_exchange)
    bundle = KeyBundle.parse(member.bundle.raw, again, crls)
    assert reason_of(bundle.verify, directory, now=now) is Reason.BAD_CERTIFICATE
    assert member.bundle.named({sha256(der).digest(): der for der in (two, b"another", one)}) == [one, two]


def test_certificates_are_the_owners_and_its_nations(shared_exchange: Exchange, member: Member) -> None:
    now, directory, cas = shared_exchange.clock(), shared_exchange.directory, shared_exchange.community.cas
    colleague = issued(member.identity, cas["th"], shared_exchange, "desk.navy.th.example")
    assert reason_of(proven_by(member, colleague, ()).verify, directory, now=now) is Reason.BAD_CERTIFICATE
    mixed = (member.certificates[0], colleague[1])
    assert reason_of(proven_by(member, mixed, ()).verify, directory, now=now) is Reason.BAD_CERTIFICATE
    # Another CA under the same name, and another nation's.
    for code, suffix in (("", "th.example"), ("vn", "")):
        ca = cas[code] if code else NationalCa.make(suffix, now=now)
        name = "" if suffix else "desk.oncb.vn.example"
        forged = issued(member.identity, ca, shared_exchange, name)
        assert reason_of(proven_by(member, forged, ()).verify, directory, now=now) is Reason.BAD_CERTIFICATE
    # A bundle in another's name, with one's own certificates.
    stolen = resigned(member, _set(owner=RECIPIENT))
    assert reason_of(stolen.verify, directory, now=now) is Reason.BAD_CERTIFICATE
    nobody = resigned(member, _set(owner="nobody.th.example"))
    assert reason_of(nobody.verify, directory, now=now) is Reason.UNKNOWN_PARTY


@pytest.mark.parametrize("place", [0, 1])
def test_one_revoked_certificate_is_enough(shared_exchange: Exchange, member: Member, place: int) -> None:
    now, ca = shared_exchange.clock(), shared_exchange.community.cas["th"]
    leaf = certificates.verify_leaf(member.certificates[place], (ca.certificate,), now)
    crl = ca.crl(now=now, revoked=[(leaf.serial, now)])
    bundle = KeyBundle.parse(member.bundle.raw, member.certificates, (crl,))
    assert reason_of(bundle.verify, shared_exchange.directory, now=now) is Reason.REVOKED
    bare = KeyBundle.parse(member.bundle.raw, member.certificates)
    bare.verify(shared_exchange.directory, now=now)
    assert not bare.revocation_known(shared_exchange.directory, at=now)
    assert not member.bundle.revocation_known(shared_exchange.directory, at=now + 8 * DAY)


# Keys


def test_no_signing_key_has_two_purposes(shared_exchange: Exchange, member: Member) -> None:
    def same(message: bundle_pb2.KeyBundle) -> None:
        message.sig_keys[1].public_key = message.sig_keys[0].public_key

    bundle = resigned(member, same)
    assert reason_of(bundle.verify, shared_exchange.directory, now=shared_exchange.clock()) is Reason.BAD_CERTIFICATE


@pytest.mark.parametrize("kind", ["enc_keys", "sig_keys"])
@pytest.mark.parametrize("public", [b"", bytes(32), bytes(1216), b"\xff" * 1984, b"\xff" * 1216], ids=len)
def test_keys_are_fit_for_their_suite(shared_exchange: Exchange, member: Member, kind: str, public: bytes) -> None:
    for place in range(len(getattr(message_of(member.bundle), kind))):
        bundle = resigned(member, lambda m, p=place: setattr(getattr(m, kind)[p], "public_key", public))
        reason = reason_of(bundle.verify, shared_exchange.directory, now=shared_exchange.clock())
        assert reason is Reason.BAD_CERTIFICATE


def test_keys_of_unknown_suites_are_for_others(shared_exchange: Exchange, member: Member) -> None:
    """An agency may add a suite before everybody has it."""

    def add(message: bundle_pb2.KeyBundle) -> None:
        message.enc_keys.add(suite=0x0100, public_key=b"?")
        message.sig_keys.add(suite=0x0100, public_key=b"??", usage=bundle_pb2.KEY_USAGE_MANIFEST)
        message.sig_keys.add(suite=0x0100, public_key=b"???", usage=bundle_pb2.KEY_USAGE_ACKNOWLEDGEMENT)
        message.accept_suites.append(0x0100)

    bundle = resigned(member, add)
    bundle.verify(shared_exchange.directory, now=shared_exchange.clock())
    assert bundle.opening_key(HYBRID)[0] == 0


def leave(message: bundle_pb2.KeyBundle, suite: Suite, *, acknowledging: bool = False) -> None:
    """Offer a suite no more; what was sealed before may still be acknowledged in it."""
    for keys in (message.enc_keys, message.sig_keys):
        for key in [k for k in keys if k.suite == suite.number]:
            if not (acknowledging and getattr(key, "usage", 0) == KeyUsage.ACKNOWLEDGEMENT):
                keys.remove(key)  # type: ignore[arg-type]
    message.accept_suites.remove(suite.number)


@pytest.mark.parametrize(
    "change",
    [
        _set(accept_suites=[HYBRID_KEM.number]),
        _set(accept_suites=[HYBRID.number]),
        _set(accept_suites=[]),
        _set(accept_suites=[1, 2, 3]),
        _set(accept_suites=[2, 3, 4]),
        _set(enc_keys=[]),
        _set(sig_keys=[]),
        lambda m: (_set(enc_keys=[])(m), _set(accept_suites=[])(m)),
        lambda m: (_set(enc_keys=[])(m), _set(accept_suites=[])(m), _set(sig_keys=[])(m)),
        lambda m: m.enc_keys.pop(),
        *(lambda m, n=n: m.sig_keys.pop(n) for n in (0, 1, 3, 4)),
        lambda m: m.sig_keys.add(suite=4, public_key=b"k", usage=bundle_pb2.KEY_USAGE_MANIFEST),
        lambda m: m.sig_keys.add(suite=4, public_key=b"k", usage=bundle_pb2.KEY_USAGE_ATTESTATION),
    ],
)
def test_a_suite_is_offered_whole(member: Member, change: Callable[[bundle_pb2.KeyBundle], object]) -> None:
    """What is accepted is exactly what can be sealed to, and whoever opens a suite signs in it."""
    assert reason_of(resigned, member, change) is Reason.BAD_FIELD


def test_a_suite_that_is_closed_is_still_acknowledged_in(shared_exchange: Exchange, member: Member) -> None:
    bundle = resigned(member, lambda m: leave(m, HYBRID_KEM, acknowledging=True))
    bundle.verify(shared_exchange.directory, now=shared_exchange.clock())
    assert bundle.accept_suites == (HYBRID.number,)
    assert bundle.signing_public(HYBRID_KEM, KeyUsage.ACKNOWLEDGEMENT)
    assert reason_of(bundle.signing_public, HYBRID_KEM, KeyUsage.MANIFEST) is Reason.SUITE_NOT_ACCEPTED
    assert reason_of(bundle.opening_key, HYBRID_KEM) is Reason.SUITE_NOT_ACCEPTED


def test_no_half_of_a_key_serves_elsewhere(wide_exchange: Exchange) -> None:
    """A composite's parts are never keys of their own (draft-ietf-lamps-pq-composite-sigs), nor are X-Wing's."""
    member = wide_exchange.community.members[SENDER]
    identity = member.identity.key.publics
    numbers = {key.suite: place for place, key in enumerate(message_of(member.bundle).enc_keys)}

    def sig(message: bundle_pb2.KeyBundle, suite: Suite) -> bundle_pb2.SigKey:
        return next(key for key in message.sig_keys if key.suite == suite.number)

    def enc(message: bundle_pb2.KeyBundle, suite: Suite) -> bundle_pb2.EncKey:
        return message.enc_keys[numbers[suite.number]]

    def put(key: bundle_pb2.SigKey | bundle_pb2.EncKey, public: bytes) -> None:
        key.public_key = public

    changes: list[Callable[[bundle_pb2.KeyBundle], None]] = [
        lambda m: put(sig(m, HYBRID_KEM), sig(m, HYBRID).public_key[1952:]),
        lambda m: put(sig(m, HYBRID_KEM), sig(m, CLASSICAL).public_key),
        lambda m: put(sig(m, HYBRID), sig(m, HYBRID).public_key[:1952] + sig(m, CLASSICAL).public_key),
        lambda m: put(sig(m, CLASSICAL), identity[0]),
        lambda m: put(sig(m, HYBRID), identity[1] + sig(m, HYBRID).public_key[1952:]),
        lambda m: put(enc(m, CLASSICAL), enc(m, HYBRID).public_key[1184:]),
        lambda m: put(enc(m, HYBRID_KEM), enc(m, HYBRID).public_key),
        lambda m: put(enc(m, HYBRID), enc(m, HYBRID_KEM).public_key[:1184] + enc(m, HYBRID).public_key[1184:]),
        lambda m: put(enc(m, NIST_HIGH), enc(m, NIST_HIGH).public_key[:1568] + sig(m, NIST_HIGH).public_key[2592:]),
    ]
    for change in changes:
        bundle = resigned(member, change)
        reason = reason_of(bundle.verify, wide_exchange.directory, now=wide_exchange.clock())
        assert reason is Reason.BAD_CERTIFICATE
    member.bundle.verify(wide_exchange.directory, now=wide_exchange.clock())


def test_a_key_that_is_not_there(member: Member) -> None:
    without = resigned(member, lambda m: leave(m, HYBRID))
    for usage in KeyUsage:
        assert reason_of(without.signing_public, HYBRID, usage) is Reason.SUITE_NOT_ACCEPTED
        assert without.signing_public(HYBRID_KEM, usage)
    assert reason_of(without.opening_key, HYBRID) is Reason.SUITE_NOT_ACCEPTED
    assert without.opening_key(HYBRID_KEM)[0] == 0
    assert without.accept_suites == (HYBRID_KEM.number,)
    made = SigningKey(HYBRID, member.identity.epochs[0].signing[2, KeyUsage.MANIFEST].secret)
    assert member.bundle.signing_public(HYBRID, KeyUsage.MANIFEST) == made.public


# Time


def test_the_time_of_use(shared_exchange: Exchange, member: Member) -> None:
    directory, second = shared_exchange.directory, timedelta(seconds=1)
    bundle = resigned(member, lambda m: setattr(m, "not_before_ms", m.not_before_ms + 24 * 3600 * 1000))
    for at in (bundle.not_before - CLOCK_SKEW, bundle.not_before, bundle.not_after, bundle.not_after + CLOCK_SKEW):
        bundle.verify(directory, now=at)
    for at in (bundle.not_before - CLOCK_SKEW - second, bundle.not_after + CLOCK_SKEW + second):
        assert reason_of(bundle.verify, directory, now=at) is Reason.STALE_BUNDLE


def test_what_is_remembered_is_remembered_for_one_directory_and_minute(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, now = exchange.community.members[SECOND], exchange.clock()
    calls: list[object] = []
    proven = certificates.verify_leaf
    monkeypatch.setattr(certificates, "verify_leaf", lambda *args: calls.append(args) or proven(*args))
    bundle = KeyBundle.parse(member.bundle.raw, member.certificates, (member.crl,))
    for seconds in (0, 1, 59):
        bundle.verify(exchange.directory, now=now + timedelta(seconds=seconds))
    assert len(calls) == 2
    bundle.verify(exchange.directory, now=now + timedelta(seconds=60))
    assert len(calls) == 4
    listing = replace(exchange.directory.listing, version=2, previous=exchange.directory.digest)
    signed = Directory.sign(listing.payload, exchange.community.root_keys)
    bundle.verify(exchange.directory.succeed(signed), now=now)
    assert len(calls) == 6
    # A failure is not remembered as a success.
    for _ in range(2):
        reason = reason_of(bundle.verify, exchange.directory, now=now + 800 * DAY)
        assert reason is Reason.BAD_CERTIFICATE


def test_a_new_epoch_names_the_one_before(shared_exchange: Exchange, member: Member) -> None:
    now = shared_exchange.clock()
    identity = replace(member.identity, epochs=(EpochKeys.make(2), *member.identity.epochs))
    newer = KeyBundle.issue(identity, member.certificates, (member.crl,), now=now, previous=member.bundle)
    newer.verify(shared_exchange.directory, now=now)
    assert (newer.epoch, newer.previous) == (2, member.bundle.digest)
    assert newer.keys_in(identity) is identity.epochs[0]
    assert newer.not_after - newer.not_before == timedelta(days=30)
    with pytest.raises(ExchangeError):
        KeyBundle.issue(identity, member.certificates, (), now=now)
