"""Manifests by themselves: what is signed names each part that travels, and as many as there are recipients."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conftest import RECIPIENT, SENDER
from infoexchange import wire
from infoexchange.attachment.form import AttachmentRef, sealed_length
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import EpochKeys
from infoexchange.manifest import Manifest
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.v1 import envelope_pb2
from test_envelope import header_for, seal
from test_envelope_header import raw_of as header_of

DIGEST = bytes(32)

Change = Callable[[envelope_pb2.Manifest], object]


def header(bundles: int, keks: int = 0, *, blind: bool = False) -> bytes:
    """A header to so many recipients by bundle, and then by epoch KEK."""

    def change(message: envelope_pb2.Header) -> None:
        message.ClearField("recipients")
        for place in range(bundles):
            message.recipients.add(name=f"a{place}.vn.example", bundle=DIGEST)
        for place in range(keks):
            message.recipients.add(name=f"k{place}.vn.example", epoch_kek=bytes([place]) * 16)
        message.blind_recipients = blind

    return header_of(change)


def raw_of(header_raw: bytes, wraps: int, epoch_wraps: int = 0, *, change: Change = lambda _: None) -> bytes:
    message = envelope_pb2.Manifest(
        header=header_raw,
        wrap_digests=[place.to_bytes(32, "big") for place in range(wraps)],
        body_digest=DIGEST,
        body_length=7,
        epoch_wraps=[bytes([place]) * 48 for place in range(epoch_wraps)],
    )
    change(message)
    return Dsse.make(TYPE_MANIFEST, wire.canonical(message), [(b"signature", "")]).raw


def enclosed(*names: int) -> Change:
    """Attachments of these names."""
    refs = [AttachmentRef(bytes([name]) * 16, sealed_length(7), DIGEST).to_wire() for name in names]
    return lambda message: message.attachments.extend(refs)


def reason_of(raw: bytes) -> tuple[Reason, str]:
    with pytest.raises(ExchangeError) as caught:
        Manifest.parse(raw)
    return caught.value.reason, caught.value.field


@pytest.mark.parametrize(
    "raw",
    [
        raw_of(header(1), 1),
        raw_of(header(64), 64),
        raw_of(header(2, 3), 2, 3),
        raw_of(header(0, 2), 0, 2),
        raw_of(header(1), 1, change=enclosed(0, 1)),
        # How many recipients a blind one has, the header does not say; some digests may stand for none.
        *(raw_of(header(0, blind=True), wraps) for wraps in (1, 2, 3, 64)),
    ],
)
def test_what_is_allowed_is_kept_as_it_was_read(raw: bytes) -> None:
    assert Manifest.parse(raw).raw == raw


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (raw_of(header(1), 0), "manifest.wrap_digests"),
        (raw_of(header(1), 2), "manifest.wrap_digests"),
        (raw_of(header(2, 1), 3, 1), "manifest.wrap_digests"),
        (raw_of(header(2, 1), 2), "manifest.wrap_digests"),
        (raw_of(header(2, 1), 2, 2), "manifest.wrap_digests"),
        (raw_of(header(2, 1), 3), "manifest.wrap_digests"),
        (raw_of(header(1), 1, 1), "manifest.wrap_digests"),
        (raw_of(header(0, blind=True), 0), "manifest.wrap_digests"),
        (raw_of(header(0, blind=True), 65), "manifest.wrap_digests"),
        (raw_of(header(0, blind=True), 1, 1), "manifest.wrap_digests"),
        (raw_of(header(2), 2, change=lambda m: m.wrap_digests.__setitem__(1, DIGEST)), "manifest.wrap_digests"),
        (
            raw_of(header(0, blind=True), 2, change=lambda m: m.wrap_digests.__setitem__(1, DIGEST)),
            "manifest.wrap_digests",
        ),
        (raw_of(header(1), 1, change=lambda m: m.wrap_digests.__setitem__(0, bytes(31))), "manifest.wrap_digests"),
        (raw_of(header(1), 1, change=lambda m: setattr(m, "body_digest", bytes(33))), "manifest.wrap_digests"),
        (raw_of(header(1), 1, change=enclosed(1, 0)), "manifest.attachments.attachment_id"),
        (raw_of(header(1), 1, change=enclosed(1, 1)), "manifest.attachments.attachment_id"),
        (raw_of(header(0, 1), 0, 1, change=lambda m: m.epoch_wraps.__setitem__(0, bytes(47))), "manifest.epoch_wraps"),
        (raw_of(header(0, 1), 0, 1, change=lambda m: m.epoch_wraps.__setitem__(0, bytes(49))), "manifest.epoch_wraps"),
    ],
)
def test_what_does_not_fit_is_refused(raw: bytes, field: str) -> None:
    assert reason_of(raw) == (Reason.BAD_FIELD, field)


def test_a_manifest_has_32_kib_at_most_and_its_container_64() -> None:
    for size, reason in ((32 * 1024, Reason.MALFORMED), (32 * 1024 + 1, Reason.TOO_LARGE)):
        raw = Dsse.make(TYPE_MANIFEST, bytes(size), [(b"signature", "")]).raw
        assert reason_of(raw) == (reason, "manifest")
    for size, reason in ((64 * 1024, Reason.MALFORMED), (64 * 1024 + 1, Reason.TOO_LARGE)):
        assert reason_of(bytes(size)) == (reason, "dsse")


@pytest.mark.parametrize("count", [0, 2])
def test_one_signs(count: int) -> None:
    dsse = Dsse.make(TYPE_MANIFEST, Manifest.parse(raw_of(header(1), 1)).dsse.payload, [(b"signature", "")] * count)
    with pytest.raises(ExchangeError) as caught:
        Manifest.from_dsse(dsse)
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, "manifest.signatures")


def test_an_epoch_wrap_belongs_to_the_recipient_in_its_place() -> None:
    manifest = Manifest.parse(raw_of(header(2, 3), 2, 3))
    for place in range(3):
        assert manifest.epoch_wrap_of(f"k{place}.vn.example") == (bytes([place]) * 16, bytes([place]) * 48)
    for name in ("a0.vn.example", "k3.vn.example", ""):
        assert manifest.epoch_wrap_of(name) is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_are_signed_together_and_one_alone(count: int) -> None:
    keys = EpochKeys.make(1, suites=[HYBRID_KEM])
    payloads = [Manifest.parse(raw_of(header(place), place)).dsse.payload for place in range(1, count + 1)]
    made = Manifest.sign(payloads, HYBRID_KEM, keys)
    assert [manifest.dsse.payload for manifest in made] == payloads
    proofs = [manifest.dsse.batch for manifest in made]
    if count == 1:
        assert proofs == [None]
    else:
        assert [(proof.count, proof.index) for proof in proofs if proof] == [(count, n) for n in range(count)]


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"suite": 1, "sender": RECIPIENT}, Reason.SUITE_NOT_ACCEPTED, "header.suite"),
        ({"sender": RECIPIENT}, Reason.STALE_BUNDLE, "header.sender_bundle"),
        ({"sender_bundle": DIGEST}, Reason.STALE_BUNDLE, "header.sender_bundle"),
        ({}, Reason.BAD_SIGNATURE, ""),
    ],
    ids=str,
)
def test_who_signed_is_asked_last(
    shared_exchange: Exchange, fields: dict[str, object], reason: Reason, field: str
) -> None:
    member, now = shared_exchange.community.members[SENDER], wire.to_ms(shared_exchange.clock())

    def change(message: envelope_pb2.Header) -> None:
        message.sender, message.sender_bundle = SENDER, member.bundle.digest
        message.created_ms, message.expires_ms = now, now + 1
        for name, value in fields.items():
            setattr(message, name, value)

    manifest = Manifest.parse(raw_of(header_of(change), 1))
    with pytest.raises(ExchangeError) as caught:
        manifest.verify(shared_exchange.directory, member.bundle)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_it_says_who_sent_it(shared_exchange: Exchange) -> None:
    envelope, member = seal(shared_exchange, header_for(shared_exchange)), shared_exchange.community.members[SENDER]
    assert envelope.manifest.verify(shared_exchange.directory, member.bundle).name == SENDER
