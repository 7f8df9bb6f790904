"""The parts of an envelope: who is sealed to, in what order, what is signed, and what is left for a next hop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import suites, wire
from infoexchange.attachment.form import AttachmentRef, sealed_length
from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST, Dsse, pae
from infoexchange.envelope import Along, Draught, Envelope, _padded
from infoexchange.errors import ExchangeError, Reason
from infoexchange.header import Recipient
from infoexchange.keys import EpochKeys
from infoexchange.manifest import Manifest
from infoexchange.states import Precedence
from infoexchange.suites import CLASSICAL, HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.v1 import envelope_pb2
from infoexchange.wrap import EpochKek, Wrap
from test_envelope import SCHEMA, header_for, open_as, seal
from test_envelope_header import raw_of as header_of
from test_envelope_manifest import header as header_to
from test_grant import signed as granted

KEY = bytes(range(32))
REF = AttachmentRef(bytes(16), sealed_length(7), bytes(32))


def reason_of(call: Callable[[], object]) -> tuple[Reason, str]:
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason, caught.value.field


def verified(exchange: Exchange, envelope: Envelope) -> str:
    bundle = exchange.community.members[SENDER].bundle
    return envelope.verify(exchange.directory, bundle, now=exchange.clock()).name


def sent(exchange: Exchange, *recipients: object, blind: bool = False, **along: object) -> Envelope:
    """An envelope of nothing, in the suite that is quickest to sign."""
    header = header_for(exchange, HYBRID_KEM, blind=blind)
    keys = exchange.community.members[SENDER].identity.epochs[0]
    return Envelope.seal(Content.make(SCHEMA, b""), header, recipients, keys, **along)


def bundle_of(exchange: Exchange, name: str) -> object:
    return exchange.community.members[name].bundle


def shared_with(exchange: Exchange, name: str) -> EpochKek:
    end = exchange.clock() + timedelta(days=1)
    return EpochKek(sha256(name.encode()).digest()[:16], SENDER, name, HYBRID_KEM.number, end, KEY)


def signed_again(exchange: Exchange, envelope: Envelope, change: Callable[[envelope_pb2.Manifest], object]) -> Envelope:
    """The same envelope under another manifest of its sender."""
    message = envelope_pb2.Manifest.FromString(envelope.manifest.dsse.payload)
    change(message)
    keys = exchange.community.members[SENDER].identity.epochs[0]
    [manifest] = Manifest.sign([wire.canonical(message)], suites.suite_of(envelope.header.suite), keys)
    return replace(envelope, manifest=manifest)


# Wraps


@pytest.mark.parametrize(("count", "field"), [(64, ""), (65, "envelope.wraps")])
def test_an_envelope_has_64_wraps_at_most(count: int, field: str) -> None:
    wraps = [
        wire.canonical(
            envelope_pb2.RecipientWrap(recipient=f"a{place}.vn.example", bundle=bytes(32), enc_ct=b"wrapped")
        )
        for place in range(count)
    ]
    payload = Manifest.draw_up(header_to(64), [sha256(wrap).digest() for wrap in wraps[:64]], (), b"body")
    manifest = Dsse.make(TYPE_MANIFEST, payload, [(b"signature", "")])
    raw = wire.canonical(envelope_pb2.Envelope(manifest=manifest.to_wire(), wraps=wraps, body=b"body"))
    if field:
        assert reason_of(lambda: Envelope.parse(raw)) == (Reason.BAD_FIELD, field)
    else:
        envelope = Envelope.parse(raw)
        assert ([wrap.raw for wrap in envelope.wraps], envelope.body, envelope.raw) == (wraps, b"body", raw)


def test_a_bundle_behind_a_shared_key_has_the_first_wrap(shared_exchange: Exchange) -> None:
    kek, bundle = shared_with(shared_exchange, SECOND), bundle_of(shared_exchange, RECIPIENT)
    for recipients in ((kek, bundle), (bundle, kek)):
        envelope = sent(shared_exchange, *recipients)
        assert verified(shared_exchange, envelope) == SENDER
        assert [wrap.recipient for wrap in envelope.wraps] == [RECIPIENT]
        assert len(envelope.manifest.epoch_wraps) == 1
        assert open_as(shared_exchange, envelope, RECIPIENT).payload == b""


def test_each_of_two_recipients_opens_the_whole(shared_exchange: Exchange) -> None:
    envelope = sent(shared_exchange, bundle_of(shared_exchange, RECIPIENT), bundle_of(shared_exchange, SECOND))
    for name in (RECIPIENT, SECOND):
        assert open_as(shared_exchange, envelope, name).schema == SCHEMA
    assert reason_of(lambda: open_as(shared_exchange, envelope, SENDER)) == (Reason.NOT_ADDRESSED, "envelope.wraps")
    member = shared_exchange.community.members[RECIPIENT]
    sender = shared_exchange.community.members[SENDER].bundle
    now = shared_exchange.clock()
    without = lambda: envelope.open(member.identity, {}, shared_exchange.directory, sender, now=now)  # noqa: E731
    assert reason_of(without) == (Reason.STALE_BUNDLE, "wraps.bundle")


def test_a_shared_key_opens_what_it_serves(shared_exchange: Exchange) -> None:
    kek, member = shared_with(shared_exchange, RECIPIENT), shared_exchange.community.members[RECIPIENT]
    envelope, sender = sent(shared_exchange, kek), shared_exchange.community.members[SENDER].bundle

    def opened(held: dict[bytes, EpochKek]) -> Content:
        now = shared_exchange.clock()
        return envelope.open(member.identity, {}, shared_exchange.directory, sender, now=now, epoch_keks=held)

    assert opened({kek.name: kek}).schema == SCHEMA
    assert reason_of(lambda: opened({})) == (Reason.STALE_BUNDLE, "header.recipients.epoch_kek")
    for other in (
        replace(kek, sender=SECOND),
        replace(kek, recipient=SECOND),
        replace(kek, suite=2),
        replace(kek, secret=bytes(32)),
    ):
        assert reason_of(lambda other=other: opened({kek.name: other}))[0] is Reason.BAD_CIPHERTEXT
    over = replace(kek, not_after=shared_exchange.clock() - timedelta(milliseconds=1))
    assert reason_of(lambda: opened({kek.name: over}))[0] is Reason.STALE_BUNDLE


def test_a_blind_recipient_is_sealed_to_once_and_to_its_bundle(shared_exchange: Exchange) -> None:
    one, other = bundle_of(shared_exchange, RECIPIENT), bundle_of(shared_exchange, SECOND)
    envelope = sent(shared_exchange, one, other, blind=True)
    assert verified(shared_exchange, envelope) == SENDER
    assert envelope.header.recipients == ()
    twice = sent(shared_exchange, one, one, blind=True)
    assert reason_of(lambda: verified(shared_exchange, twice)) == (Reason.BAD_FIELD, "envelope.wraps")
    kek = shared_with(shared_exchange, RECIPIENT)
    assert reason_of(lambda: sent(shared_exchange, kek, blind=True)) == (Reason.BAD_FIELD, "recipients")


def test_a_wrap_is_for_the_recipient_in_its_place(shared_exchange: Exchange) -> None:
    """The sender itself signs the digest of a wrap for somebody else, or for another bundle."""
    envelope = sent(shared_exchange, bundle_of(shared_exchange, RECIPIENT))
    for changed in ({"recipient": SECOND}, {"bundle": bytes(32)}):
        message = envelope_pb2.RecipientWrap.FromString(envelope.wraps[0].raw)
        for name, value in changed.items():
            setattr(message, name, value)
        wrap = Wrap.parse(wire.canonical(message))
        lying = signed_again(shared_exchange, envelope, lambda m, wrap=wrap: m.wrap_digests.__setitem__(0, wrap.digest))
        lying = replace(lying, wraps=(wrap,))
        assert reason_of(lambda lying=lying: verified(shared_exchange, lying)) == (
            Reason.BAD_SIGNATURE,
            "envelope.wraps",
        )


@pytest.mark.parametrize(
    ("count", "padded"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8), (9, 16), (33, 64), (63, 64), (64, 64)]
)
def test_blind_digests_are_a_power_of_two(count: int, padded: int) -> None:
    digests = [bytes([count - place]) * 32 for place in range(count)]
    found = _padded(digests, lambda size: b"\xff" * size)
    assert found == [*sorted(digests), *[b"\xff" * 32] * (padded - count)]


# The body and what goes along


def test_body_and_length_are_those_signed(shared_exchange: Exchange) -> None:
    envelope = sent(shared_exchange, bundle_of(shared_exchange, RECIPIENT))
    assert verified(shared_exchange, envelope) == SENDER
    for change in (
        lambda m: setattr(m, "body_length", m.body_length + 1),
        lambda m: setattr(m, "body_digest", bytes(32)),
    ):
        changed = signed_again(shared_exchange, envelope, change)
        assert reason_of(lambda changed=changed: verified(shared_exchange, changed)) == (
            Reason.BAD_SIGNATURE,
            "envelope.body",
        )


def test_content_and_manifest_list_the_same_attachments(shared_exchange: Exchange) -> None:
    given: list[bytes] = []
    recipient = bundle_of(shared_exchange, RECIPIENT)
    wrong: Along = {"enclose": lambda *_: (REF,)}
    assert reason_of(lambda: sent(shared_exchange, recipient, **wrong))[0] is Reason.BAD_COMMITMENT
    envelope = sent(shared_exchange, recipient, enclose=lambda key, _: (given.append(key), ())[1])
    assert envelope.read(given[0]).keys == ()
    lying = signed_again(shared_exchange, envelope, lambda m: m.attachments.append(REF.to_wire()))
    assert reason_of(lambda: lying.read(given[0])) == (Reason.BAD_COMMITMENT, "content.attachments")


def test_the_grant_that_travels_is_the_one_named(shared_exchange: Exchange) -> None:
    recipient, grant = bundle_of(shared_exchange, RECIPIENT), granted(shared_exchange)
    envelope = sent(shared_exchange, recipient, grant=grant)
    assert verified(shared_exchange, envelope) == SENDER
    assert Envelope.parse(envelope.raw).grant == grant
    missing = replace(envelope, grant=None)
    assert reason_of(lambda: verified(shared_exchange, missing)) == (Reason.NOT_PERMITTED, "envelope.grant")
    for other in (
        replace(envelope, grant=granted(shared_exchange, origin=bytes(32))),
        replace(sent(shared_exchange, recipient), grant=grant),
    ):
        assert reason_of(lambda other=other: verified(shared_exchange, other)) == (
            Reason.BAD_SIGNATURE,
            "envelope.grant",
        )


def test_a_next_hop_needs_the_bundles_of_all_who_signed(shared_exchange: Exchange) -> None:
    recipient, own = bundle_of(shared_exchange, RECIPIENT), shared_exchange.community.members[SENDER].bundle.digest
    assert sent(shared_exchange, recipient).signing_bundles == {own}
    grant = granted(shared_exchange, originator_bundle=bytes(32))
    assert sent(shared_exchange, recipient, grant=grant).signing_bundles == {own, bytes(32)}


def test_a_next_hop_gets_the_wraps_of_those_it_serves(shared_exchange: Exchange) -> None:
    envelope = seal(shared_exchange, header_for(shared_exchange, HYBRID_KEM), RECIPIENT, SECOND)
    assert envelope.prune({RECIPIENT, SECOND, SENDER}) is envelope
    for names, kept in (({SECOND}, [SECOND]), ({RECIPIENT}, [RECIPIENT]), (set(), [])):
        pruned = envelope.prune(names)
        assert [wrap.recipient for wrap in pruned.wraps] == kept
        assert Envelope.parse(pruned.raw) == pruned
        assert (pruned.digest, pruned.body) == (envelope.digest, envelope.body)


# Several at once


def test_the_recipients_of_a_header_are_checked_before_anything_is_sealed(shared_exchange: Exchange) -> None:
    header, content = header_for(shared_exchange, HYBRID_KEM), Content.make(SCHEMA, b"")
    assert reason_of(lambda: Envelope.draw_up(content, header, [], KEY)) == (Reason.BAD_FIELD, "header.recipients")


def test_the_name_of_an_envelope_is_known_before_it_is_signed(shared_exchange: Exchange) -> None:
    header, content = header_for(shared_exchange, HYBRID_KEM), Content.make(SCHEMA, b"")
    draught = Envelope.draw_up(content, header, [bundle_of(shared_exchange, RECIPIENT)], KEY)
    [envelope] = Envelope.sign([draught], shared_exchange.community.members[SENDER].identity.epochs[0])
    assert draught.digest == envelope.digest == sha256(pae(TYPE_MANIFEST, draught.payload)).digest()
    assert (envelope.precedence, envelope.expires_at) == (Precedence.ROUTINE, header.expires_at)
    assert envelope.header.recipients == (Recipient(RECIPIENT, bundle_of(shared_exchange, RECIPIENT).digest),)


def test_the_body_is_under_a_key_of_the_header(shared_exchange: Exchange) -> None:
    """Key and context made a second time, from the text of the specification."""
    header, content = header_for(shared_exchange, HYBRID_KEM), Content.make(SCHEMA, b"\x0a\x03abc")
    draught = Envelope.draw_up(content, header, [bundle_of(shared_exchange, RECIPIENT)], KEY)
    digest = sha256(envelope_pb2.Manifest.FromString(draught.payload).header).digest()
    label = b"infoexchange/v1/body\x00"
    assert suites.decrypt_body(suites.derive(KEY, label, digest), label + digest, draught.body) == content.raw


def test_a_signature_covers_no_more_than_one_batch_of_a_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infoexchange.envelope.BATCH_COUNT_MAX", 2)
    keys = EpochKeys.make(1, suites=(CLASSICAL, HYBRID_KEM))
    order = [HYBRID_KEM, CLASSICAL, HYBRID_KEM, HYBRID_KEM, HYBRID_KEM, HYBRID_KEM]
    draughts = []
    for place, suite in enumerate(order):
        header = header_of(lambda m, place=place, suite=suite: (setattr(m, "suite", suite.number), m))
        body = bytes([place])
        draughts.append(Draught(suite, Manifest.draw_up(header, [bytes(32)], (), body), (), body))
    envelopes = Envelope.sign(draughts, keys)
    assert [envelope.body for envelope in envelopes] == [draught.body for draught in draughts]
    assert [envelope.digest for envelope in envelopes] == [draught.digest for draught in draughts]
    proofs = [envelope.manifest.dsse.batch for envelope in envelopes]
    assert [proof and (proof.count, proof.index) for proof in proofs] == [(2, 0), None, (2, 1), (2, 0), (2, 1), None]
    assert all(Envelope.parse(envelope.raw) == envelope for envelope in envelopes)
