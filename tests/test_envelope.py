"""Envelope: sealed, verified, opened; and refused with the right reason after every manipulation."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import EVERY_SUITE, RECIPIENT, SECOND, SENDER
from envelopes import signed_manifest
from infoexchange.content import CONTENT_SIZE_MAX, RECORDS_MAX, Content, _padding_for
from infoexchange.dsse import TYPE_KEYBUNDLE, TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.header import Header
from infoexchange.padding import padme
from infoexchange.states import OpStatus, Precedence
from infoexchange.suites import HYBRID, HYBRID_KEM, NIST_HIGH, Suite
from infoexchange.testing import Exchange
from infoexchange.v1 import envelope_pb2

SCHEMA = "infoexchange.catalogue.v1.OfficerAcknowledgement"
SUITE_PARAMS = pytest.mark.parametrize("suite", EVERY_SUITE, ids=lambda s: s.name)


def header_for(exchange: Exchange, suite: Suite = HYBRID, **fields: object) -> Header:
    now = exchange.clock()
    member = exchange.community.members[SENDER]
    header = Header(
        suite=suite.number,
        message_id=bytes(range(16)),
        sender=SENDER,
        sender_bundle=member.bundle.digest,
        recipients=(),
        op_status=OpStatus.EXERCISE,
        precedence=Precedence.ROUTINE,
        created_at=now,
        expires_at=now + timedelta(days=14),
        sequence=1,
        previous=b"",
        content_commitment=b"",
    )
    return replace(header, **fields)


def seal(
    exchange: Exchange, header: Header, *names: str, payload: bytes = b"\x0a\x03abc", by: str = SENDER
) -> Envelope:
    members = exchange.community.members
    bundles = [members[name].bundle for name in names or (RECIPIENT,)]
    return Envelope.seal(Content.make(SCHEMA, payload), header, bundles, members[by].identity.epochs[0])


def open_as(exchange: Exchange, envelope: Envelope, name: str, *, sender: str = SENDER) -> Content:
    member = exchange.community.members[name]
    return envelope.open(
        member.identity,
        {member.bundle.digest: member.bundle},
        exchange.directory,
        exchange.community.members[sender].bundle,
        now=exchange.clock(),
    )


def reason_of(exchange: Exchange, raw: bytes, name: str = RECIPIENT) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        open_as(exchange, Envelope.parse(raw), name)
    return caught.value.reason


def rewrapped(envelope: Envelope, **parts: object) -> bytes:
    """Return the transport form with parts exchanged, as a hostile relay would write it."""
    message = envelope_pb2.Envelope.FromString(envelope.raw)
    for name, value in parts.items():
        message.ClearField(name)
        if name == "manifest":
            message.manifest.CopyFrom(value)
        elif name == "wraps":
            message.wraps.extend(value)
        else:
            setattr(message, name, value)
    return message.SerializeToString(deterministic=True)


@SUITE_PARAMS
def test_every_recipient_opens_what_was_sealed(wide_exchange: Exchange, suite: Suite) -> None:
    envelope = seal(wide_exchange, header_for(wide_exchange, suite), RECIPIENT, SECOND)
    for name in (RECIPIENT, SECOND):
        again = Envelope.parse(envelope.prune({name}).raw)
        assert again.digest == envelope.digest
        assert [w.recipient for w in again.wraps] == [name]
        assert open_as(wide_exchange, again, name).payload == b"\x0a\x03abc"


@SUITE_PARAMS
def test_a_flipped_bit_never_changes_the_answer(wide_exchange: Exchange, suite: Suite) -> None:
    envelope = seal(wide_exchange, header_for(wide_exchange, suite))
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    # Every byte, or a sample where long signatures take most of the bytes and most of the time.
    size = len(envelope.raw)
    places = sorted(rng.sample(range(size), {HYBRID: 1000, NIST_HIGH: 300}.get(suite, size)))
    accepted = 0
    for place in places:
        raw = bytearray(envelope.raw)
        raw[place] ^= 1 << rng.randrange(8)
        try:
            changed = Envelope.parse(bytes(raw))
            content = open_as(wide_exchange, changed, RECIPIENT)
        except ExchangeError:
            continue
        accepted += 1
        # Only the key id, an unauthenticated hint that decides nothing, may differ.
        assert (changed.digest, content.payload) == (envelope.digest, b"\x0a\x03abc")
        assert changed.manifest.dsse.signatures == envelope.manifest.dsse.signatures
    assert accepted <= 16


def test_half_a_hybrid_signature_is_no_signature(shared_exchange: Exchange) -> None:
    envelope = seal(shared_exchange, header_for(shared_exchange))
    signature = envelope.manifest.dsse.signatures[0]
    zeros = bytes(len(signature))
    for half in (signature[:3309], signature[3309:], signature[:3309] + zeros[:64], zeros[:3309] + signature[3309:]):
        dsse = envelope_pb2.Dsse.FromString(envelope.manifest.raw)
        dsse.signatures[0].sig = half
        assert reason_of(shared_exchange, rewrapped(envelope, manifest=dsse)) is Reason.BAD_SIGNATURE


def test_the_classical_half_is_not_a_signature_of_the_other_suite(shared_exchange: Exchange) -> None:
    envelope = seal(shared_exchange, header_for(shared_exchange))
    m = envelope_pb2.Manifest.FromString(envelope.manifest.dsse.payload)
    header = envelope_pb2.Header.FromString(m.header)
    header.suite = HYBRID_KEM.number
    m.header = header.SerializeToString(deterministic=True)
    signature = envelope.manifest.dsse.signatures[0][3309:]
    dsse = Dsse.make(TYPE_MANIFEST, m.SerializeToString(deterministic=True), [(signature, "")])
    assert reason_of(shared_exchange, rewrapped(envelope, manifest=dsse.to_wire())) is Reason.BAD_SIGNATURE


def test_re_addressed_swapped_and_missing_wraps_are_refused(shared_exchange: Exchange) -> None:
    one = seal(shared_exchange, header_for(shared_exchange), RECIPIENT, SECOND)
    other = seal(shared_exchange, header_for(shared_exchange, message_id=bytes(16)), RECIPIENT)
    first, second = (w.raw for w in one.wraps)
    assert reason_of(shared_exchange, rewrapped(one, wraps=[second, first])) is Reason.BAD_SIGNATURE
    assert reason_of(shared_exchange, rewrapped(one, wraps=[first, first])) is Reason.BAD_SIGNATURE
    assert reason_of(shared_exchange, rewrapped(one, wraps=[other.wraps[0].raw])) is Reason.BAD_SIGNATURE
    assert reason_of(shared_exchange, rewrapped(one, wraps=[second])) is Reason.NOT_ADDRESSED
    assert reason_of(shared_exchange, rewrapped(one, body=other.body)) is Reason.BAD_SIGNATURE
    readdressed = envelope_pb2.RecipientWrap.FromString(first)
    readdressed.recipient = SECOND
    wraps = [readdressed.SerializeToString(deterministic=True)]
    assert reason_of(shared_exchange, rewrapped(one, wraps=wraps), SECOND) is Reason.BAD_SIGNATURE


def test_another_agency_cannot_put_its_name_on_it(shared_exchange: Exchange) -> None:
    """Authorship theft: a recipient re-signs what it received under its own name and passes on the ciphertext."""
    envelope = seal(shared_exchange, header_for(shared_exchange), RECIPIENT, SECOND)
    thief = shared_exchange.community.members[RECIPIENT]
    header = replace(envelope.header, sender=RECIPIENT, sender_bundle=thief.bundle.digest)
    manifest = signed_manifest(header.raw, [w.raw for w in envelope.wraps], envelope.body, thief.identity.epochs[0])
    stolen = Envelope.parse(rewrapped(envelope, manifest=manifest.dsse.to_wire()))
    stolen.verify(shared_exchange.directory, thief.bundle, now=shared_exchange.clock())
    with pytest.raises(ExchangeError) as caught:
        open_as(shared_exchange, stolen, SECOND, sender=RECIPIENT)
    assert caught.value.reason is Reason.BAD_CIPHERTEXT
    # Signed by the thief's key under the victim's name, it does not even verify.
    forged = signed_manifest(
        envelope.header.raw, [w.raw for w in envelope.wraps], envelope.body, thief.identity.epochs[0]
    )
    assert reason_of(shared_exchange, rewrapped(envelope, manifest=forged.dsse.to_wire())) is Reason.BAD_SIGNATURE


def test_what_was_signed_is_what_is_inside(shared_exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Content.commitment
    monkeypatch.setattr(Content, "commitment", lambda *_: bytes(32))
    envelope = seal(shared_exchange, header_for(shared_exchange))
    monkeypatch.setattr(Content, "commitment", original)
    assert reason_of(shared_exchange, envelope.raw) is Reason.BAD_COMMITMENT


def test_the_wrapper_is_not_malleable(shared_exchange: Exchange) -> None:
    envelope = seal(shared_exchange, header_for(shared_exchange))
    for raw, reason in (
        (envelope.raw + b"\x7a\x01x", Reason.NOT_CANONICAL),
        (envelope.raw[:-1], Reason.MALFORMED),
        (b"", Reason.BAD_FIELD),
        (bytes(2 * 1024 * 1024), Reason.TOO_LARGE),
        (bytes(1536 * 1024 + 1), Reason.TOO_LARGE),
        (bytes(1536 * 1024), Reason.MALFORMED),
        (envelope.raw + b"\x2a\x01x", Reason.BAD_FIELD),
    ):
        with pytest.raises(ExchangeError) as caught:
            Envelope.parse(raw)
        assert caught.value.reason is reason


def test_a_body_of_1026_kib_is_the_longest(shared_exchange: Exchange) -> None:
    envelope = seal(shared_exchange, header_for(shared_exchange))
    longest = Envelope.parse(rewrapped(envelope, body=bytes(1026 * 1024)))
    assert len(longest.body) == 1026 * 1024
    with pytest.raises(ExchangeError) as caught:
        Envelope.parse(rewrapped(envelope, body=bytes(1026 * 1024 + 1)))
    assert (caught.value.reason, caught.value.field) == (Reason.TOO_LARGE, "envelope.body")


def test_clocks_may_differ_by_five_minutes(shared_exchange: Exchange) -> None:
    now = shared_exchange.clock()
    envelope = seal(shared_exchange, header_for(shared_exchange, expires_at=now + timedelta(hours=1)))
    assert envelope.expires_at == envelope.header.expires_at == now + timedelta(hours=1)
    bundle = shared_exchange.community.members[SENDER].bundle
    skew, tick = timedelta(minutes=5), timedelta(milliseconds=1)
    for at in (now - skew, now, envelope.expires_at + skew):
        assert envelope.verify(shared_exchange.directory, bundle, now=at).name == SENDER
    for at, reason in ((now - skew - tick, Reason.NOT_YET_VALID), (envelope.expires_at + skew + tick, Reason.EXPIRED)):
        with pytest.raises(ExchangeError) as caught:
            envelope.verify(shared_exchange.directory, bundle, now=at)
        assert caught.value.reason is reason


def test_what_is_enclosed_is_sealed_with_the_envelopes_key(shared_exchange: Exchange) -> None:
    given: list[tuple[bytes, bytes]] = []

    def enclose(content_key: bytes, header_digest: bytes) -> tuple[()]:
        given.append((content_key, header_digest))
        return ()

    member = shared_exchange.community.members
    header, keys = header_for(shared_exchange), member[SENDER].identity.epochs[0]
    content, bundles = Content.make(SCHEMA, b""), [member[RECIPIENT].bundle]
    envelope = Envelope.seal(content, header, bundles, keys, enclose=enclose)
    [(content_key, header_digest)] = given
    assert header_digest == envelope.manifest.header_digest
    assert envelope.read(content_key) == open_as(shared_exchange, envelope, RECIPIENT)


@pytest.mark.parametrize("length", [CONTENT_SIZE_MAX + 1, 2**28, 2**62])
def test_too_much_is_refused_before_it_is_padded(length: int) -> None:
    with pytest.raises(ExchangeError) as caught:
        _padding_for(length)
    assert (caught.value.reason, caught.value.field) == (Reason.TOO_LARGE, "content")


def test_a_payload_of_too_many_records_is_refused_before_all_are_read() -> None:
    most = b"\x08\x01" * (RECORDS_MAX - 1)  # the schema is a record as well
    assert len(Content.make("x.Y", most).records) == RECORDS_MAX
    for payload in (most + b"\x08\x01", most + b"\x08\x01" * 3 + b"\x0c"):  # what stands behind is not looked at
        with pytest.raises(ExchangeError) as caught:
            _ = Content.make("x.Y", payload).records
        assert (caught.value.reason, caught.value.field) == (Reason.TOO_LARGE, "payload")


def test_one_signed_object_cannot_pass_for_another(shared_exchange: Exchange) -> None:
    envelope = seal(shared_exchange, header_for(shared_exchange))
    dsse = envelope_pb2.Dsse.FromString(envelope.manifest.raw)
    dsse.payload_type = TYPE_KEYBUNDLE
    with pytest.raises(ExchangeError) as caught:
        Envelope.parse(rewrapped(envelope, manifest=dsse))
    assert caught.value.reason is Reason.BAD_FIELD


@pytest.mark.parametrize(
    ("fields", "moved", "reason"),
    [
        ({"suite": 1}, timedelta(0), Reason.SUITE_NOT_ACCEPTED),  # not in this directory
        ({"suite": 4}, timedelta(0), Reason.SUITE_NOT_ACCEPTED),
        ({"suite": 5}, timedelta(0), Reason.SUITE_NOT_ACCEPTED),  # nowhere
        ({"suite": 0}, timedelta(0), Reason.SUITE_NOT_ACCEPTED),
        ({"suite": 0x0100}, timedelta(0), Reason.SUITE_NOT_ACCEPTED),
        ({"sender_bundle": bytes(32)}, timedelta(0), Reason.STALE_BUNDLE),
        ({}, timedelta(days=15), Reason.EXPIRED),
        ({}, timedelta(minutes=-6), Reason.NOT_YET_VALID),
        ({}, timedelta(days=14, minutes=4), None),
    ],
)
def test_suite_bundle_and_time(
    fields: dict[str, object], moved: timedelta, reason: Reason | None, exchange: Exchange
) -> None:
    envelope = seal(exchange, header_for(exchange))
    if fields:
        manifest = signed_manifest(
            header_for(exchange, HYBRID, content_commitment=bytes(32), recipients=envelope.header.recipients).raw,
            [w.raw for w in envelope.wraps],
            envelope.body,
            exchange.community.members[SENDER].identity.epochs[0],
        )
        m = envelope_pb2.Manifest.FromString(manifest.dsse.payload)
        header = envelope_pb2.Header.FromString(m.header)
        for name, value in fields.items():
            setattr(header, name, value)
        m.header = header.SerializeToString(deterministic=True)
        dsse = Dsse.make(TYPE_MANIFEST, m.SerializeToString(deterministic=True), [(manifest.dsse.signatures[0], "")])
        assert reason_of(exchange, rewrapped(envelope, manifest=dsse.to_wire())) is reason
        return
    exchange.clock.advance(moved)
    if reason is None:
        assert open_as(exchange, Envelope.parse(envelope.raw), RECIPIENT).payload == b"\x0a\x03abc"
    else:
        assert reason_of(exchange, envelope.raw) is reason


@pytest.mark.parametrize(
    "fields",
    [
        {"expires_ms": 0},
        {"op_status": 0},
        {"op_status": 9},
        {"precedence": 0},
        {"message_id": b"short"},
        {"sequence": 0},
        {"sequence": 2},
        {"sender": "UPPER.example"},
        {"blind_recipients": True},
        {"content_commitment": b""},
    ],
    ids=str,
)
def test_header_fields_out_of_range(shared_exchange: Exchange, fields: dict[str, object]) -> None:
    header = envelope_pb2.Header.FromString(seal(shared_exchange, header_for(shared_exchange)).header.raw)
    for name, value in fields.items():
        setattr(header, name, value)
    with pytest.raises(ExchangeError) as caught:
        Header.parse(header.SerializeToString(deterministic=True))
    assert caught.value.reason is Reason.BAD_FIELD


def test_padding_hides_length_and_costs_little() -> None:
    assert [padme(n) for n in (0, 1, 64, 65, 1000, 1025)] == [64, 64, 64, 72, 1024, 1088]
    for size in (*range(300), *range(16_000, 16_400, 7), 600_000):
        raw = Content.make(SCHEMA, b"\x0a" + _varint(size) + bytes(size)).raw
        assert len(raw) == padme(len(raw))
        assert len(raw) <= 1.13 * (size + 120) + 64
        assert Content.parse(raw).raw == raw


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])
