"""Sealed: envelopes that keys tell right from wrong, refused by steps (3) to (10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.header import LIFETIME_DEFAULT, Recipient
from infoexchange.keys import KeyUsage
from infoexchange.suites import HYBRID
from infoexchange.v1 import envelope_pb2
from infoexchange.wrap import Wrap
from making.case import Case, changed, clear, put
from making.envelopes import Envelopes, message, put_wraps
from making.world import NOW, OTHER, RECIPIENT, SCHEMA, SECOND, SENDER, Worlds

Wire = envelope_pb2.Envelope


def senders(e: Envelopes) -> Iterator[Case]:
    """Yield envelopes that steps (3) and (4) refuse."""
    m, envelope = e.makers, e.envelope
    wraps, body = [wrap.raw for wrap in envelope.wraps], envelope.body
    stranger = replace(envelope.header, sender_bundle=bytes(32))
    yield e.verify("bundle-unknown", "stale_bundle", 3, "a bundle nobody published", e.signed(stranger, wraps, body))
    borrowed = replace(envelope.header, sender_bundle=m.members[OTHER].bundle.digest)
    another = e.signed(borrowed, wraps, body, by=OTHER)
    yield e.verify("bundle-of-another", "stale_bundle", 3, "another agency's bundle", another)
    for name, expect, moved in (
        ("before", "unknown_party", timedelta(days=-2)),
        ("after", "stale_bundle", timedelta(31)),
    ):
        header = replace(envelope.header, created_at=NOW + moved, expires_at=NOW + moved + LIFETIME_DEFAULT)
        raw = e.signed(header, wraps, body)
        yield e.verify(f"bundle-{name}", expect, 3, f"made {name} the bundle's time", raw, now=NOW + moved)
    signature, payload = envelope.manifest.dsse.signatures[0], envelope.manifest.dsse.payload
    wrong = e.keys.signing[envelope.header.suite, KeyUsage.ACKNOWLEDGEMENT]
    dsse = Dsse.make(TYPE_MANIFEST, payload, [(wrong.sign(TYPE_MANIFEST, payload), wrong.key_id)])
    flip = bytes([signature[0] ^ 1]) + signature[1:]
    for name, comment, raw in (
        ("signature-flipped", "one bit of the signature", e.wire(_signature(flip))),
        ("signature-cut", "63 bytes of signature", e.wire(_signature(signature[:-1]))),
        ("signed-by-another", "the key of another agency", e.signed(envelope.header, wraps, body, by=OTHER)),
        ("signed-for-another-use", "the sender's acknowledgement key", e.wire(_manifest(dsse))),
        ("readdressed", "another sequence number", e.header(put(sequence=2, previous=bytes(32)))),
    ):
        yield e.verify(name, "bad_signature", 4, comment, raw)
    hybrid = m.seal(message(), [RECIPIENT], m.header(HYBRID))
    whole = hybrid.manifest.dsse.signatures[0]
    for name, comment, half in (
        ("half-classical", "the Ed25519 half alone", whole[3309:]),
        ("half-post-quantum", "the ML-DSA half alone", whole[:3309]),
        ("zero-classical", "the Ed25519 half all zeros", whole[:3309] + bytes(64)),
        ("zero-post-quantum", "the ML-DSA half all zeros", bytes(3309) + whole[3309:]),
    ):
        yield e.verify(f"hybrid-{name}", "bad_signature", 4, comment, changed(Wire, hybrid.raw, _signature(half)))


def _signature(signature: bytes) -> Callable[[Any], None]:
    """Return the change that gives a manifest another signature."""
    return lambda wire: put(sig=signature)(wire.manifest.signatures[0])


def _manifest(dsse: Dsse) -> Callable[[Any], None]:
    return lambda wire: wire.manifest.CopyFrom(dsse.to_wire())


def travelling(e: Envelopes) -> Iterator[Case]:
    """Yield envelopes that steps (5) to (7) refuse."""
    m, envelope = e.makers, e.envelope
    wraps, body = [wrap.raw for wrap in envelope.wraps], envelope.body
    moved = changed(envelope_pb2.RecipientWrap, wraps[0], put(recipient=OTHER))
    foreign = m.seal(message(), [RECIPIENT]).wraps[0].raw
    crossed = [Wrap.parse(wraps[1]).digest, Wrap.parse(wraps[0]).digest]
    for name, comment, raw in (
        ("body-flipped", "one bit of the body", e.wire(put(body=bytes([body[0] ^ 1]) + body[1:]))),
        ("body-longer", "a byte after the body", e.wire(put(body=body + b"\x00"))),
        ("body-none", "no body", e.wire(clear("body"))),
        ("wraps-swapped", "two wraps in the other order", e.wire(put_wraps(*wraps[::-1]))),
        ("wrap-twice", "one wrap twice", e.wire(put_wraps(wraps[0], wraps[0]))),
        ("wrap-readdressed", "a wrap under another name", e.wire(put_wraps(moved, wraps[1]))),
        ("wrap-of-another", "a wrap of another envelope", e.wire(put_wraps(foreign, wraps[1]))),
    ):
        yield e.verify(name, "bad_signature", 5, comment, raw)
    raw = e.signed(envelope.header, wraps[::-1], body, digests=crossed)
    yield e.verify("wraps-crossed", "bad_signature", 5, "signed in another order than the recipients", raw)
    margin = timedelta(minutes=5, seconds=1)
    early, late = NOW - margin, NOW + LIFETIME_DEFAULT + margin
    yield e.verify("future", "not_yet_valid", 6, "made more than five minutes in the future", now=early)
    yield e.verify("expired", "expired", 6, "expired more than five minutes ago", now=late)
    yield e.case("not-addressed", "not_addressed", 7, "no wrap for this agency", envelope.prune({SECOND}).raw)
    yield e.case("addressed-to-others", "not_addressed", 7, "another nation's agency", party=OTHER)
    header = replace(m.header(), recipients=(Recipient(RECIPIENT, bytes(32)),), content_commitment=bytes(32))
    raw = e.signed(header, [changed(envelope_pb2.RecipientWrap, wraps[0], put(bundle=bytes(32)))], body)
    yield e.case("own-bundle-unknown", "stale_bundle", 7, "sealed to a bundle that is not held", raw)


def openings(e: Envelopes) -> Iterator[Case]:
    """Yield envelopes that step (8) refuses."""
    header, good = e.makers.header(), Content.make(SCHEMA, message())
    commitment = good.commitment(SENDER, header.message_id)

    def sealed(content: bytes, **others: Any) -> bytes:
        return e.sealed(content, header, commitment=commitment, **others)

    for name, comment, change in (
        ("wrap-short", "a wrap of 1167 bytes", lambda w: put(enc_ct=w.enc_ct[:-1])(w)),
        ("wrap-long", "a wrap of 1169 bytes", lambda w: put(enc_ct=w.enc_ct + b"\x00")(w)),
        ("wrap-flipped", "one bit of the wrap", lambda w: put(enc_ct=w.enc_ct[:-1] + bytes([w.enc_ct[-1] ^ 1]))(w)),
        ("wrap-index", "another key of the bundle", lambda w: put(key_index=w.key_index ^ 1)(w)),
        ("wrap-empty", "nothing in the wrap", clear("enc_ct")),
    ):
        yield e.case(name, "bad_ciphertext", 8, comment, sealed(good.raw, wrap=change))
    for name, expect, comment, raw in (
        (
            "key-of-another-body",
            "bad_ciphertext",
            "a key that does not open the body",
            sealed(good.raw, content_key=b"x" * 32),
        ),
        ("body-garbage", "bad_ciphertext", "a body that is none", sealed(b"", body=bytes(200))),
        ("content-garbage", "malformed", "content that is no message", sealed(b"\xff" * 64)),
        ("content-unknown", "not_canonical", "content with an unknown field", sealed(good.raw + b"\xfa\x01\x01x")),
    ):
        yield e.case(name, expect, 8, comment, raw)


def messages(e: Envelopes) -> Iterator[Case]:
    """Yield envelopes that steps (9) and (10) refuse."""
    m, header, good = e.makers, e.makers.header(), Content.make(SCHEMA, message())
    for name, comment, commitment in (
        ("zero", "a commitment to nothing", bytes(32)),
        ("of-another", "another sender's commitment", good.commitment(OTHER, header.message_id)),
        ("to-another", "another message's commitment", good.commitment(SENDER, bytes(16))),
    ):
        raw = e.sealed(good.raw, header, commitment=commitment)
        yield e.case(f"commitment-{name}", "bad_commitment", 9, comment, raw)
    for name, comment, fields in (
        ("op-status", "ACTUAL in the header, EXERCISE inside", {"op_status": 1}),
        ("precedence", "FLASH in the header, ROUTINE inside", {"precedence": 4}),
    ):
        raw = m.seal(message(), header=m.header(**fields)).raw
        yield e.case(f"inside-{name}", "bad_commitment", 9, comment, raw)
    for name, expect, comment, content in (
        (
            "schema-unknown",
            "unknown_version",
            "a type this catalogue does not have",
            Content.make("infoexchange.catalogue.v9.Nothing", message()),
        ),
        (
            "payload-garbage",
            "malformed",
            "a payload that is not of its type",
            Content.make(SCHEMA, b"\x0a\x02\xff\xff"),
        ),
    ):
        raw = e.sealed(content.raw, header, commitment=content.commitment(SENDER, header.message_id))
        yield e.case(name, expect, 9, comment, raw)
    yield e.case("rule-broken", "rule_broken", 9, "a message without its purpose", m.seal(message(purpose="")).raw)
    first, second = (m.seal(message(level=level), header=header).raw for level in (1, 2))
    yield e.case("replayed", "replayed", 10, "another envelope under one message id", first, second)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    e = Envelopes(worlds.one)
    for part in (senders, travelling, openings, messages):
        yield from part(e)
