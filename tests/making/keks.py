"""Keks: envelopes under shared epoch KEKs, envelopes that hide their recipients, and several under one signature."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

from infoexchange import suites
from infoexchange.content import Content
from infoexchange.envelope import Envelope
from infoexchange.manifest import Manifest
from infoexchange.states import OpStatus
from infoexchange.suites import HYBRID, HYBRID_KEM, Suite
from infoexchange.v1 import envelope_pb2
from infoexchange.wrap import EPOCH_KEK_NOTICE, EpochKek, Wrap
from making.case import Case, at, canonical, changed, clear
from making.envelopes import Envelopes, message
from making.world import DAY, NOW, OTHER, RECIPIENT, SCHEMA, SECOND, SENDER, Makers, Worlds

Wire = envelope_pb2.Envelope
HOUR = timedelta(hours=1)


def notice(
    makers: Makers, *, to: Sequence[str] = (RECIPIENT,), suite: Suite = HYBRID_KEM, end: Any = NOW + DAY,
    op_status: OpStatus = OpStatus.SYSTEM, payload: bytes | None = None,
) -> tuple[Envelope, EpochKek]:  # fmt: skip
    """Return an envelope that brings a KEK, and the KEK."""
    content = Content.make(EPOCH_KEK_NOTICE, EpochKek.notice(end) if payload is None else payload)
    key, header = os.urandom(32), makers.header(suite, op_status=op_status)
    draught = Envelope.draw_up(content, header, [makers.members[name].bundle for name in to], key)
    [envelope] = Envelope.sign([draught], makers.members[SENDER].identity.epochs[0])
    digest = envelope.manifest.header_digest
    made = EpochKek.brought(envelope.wraps[0], key, digest, sender=SENDER, suite=suite.number, not_after=end)
    return envelope, made


def sealed(makers: Makers, keks: Sequence[Any], header: Any = None, by: str = SENDER) -> Envelope:
    """Return a message sealed with KEKs, bundles, or both."""
    header = header or makers.header()
    header = replace(header, sender=by, sender_bundle=makers.members[by].bundle.digest)
    content = Content.make(SCHEMA, message(), thread_id=bytes(16))
    return Envelope.seal(content, header, keks, makers.members[by].identity.epochs[0])


def shared(makers: Makers) -> Iterator[Case]:
    """Yield a notice, then what is sealed with the KEK that it brings."""
    first, kek = notice(makers)
    good = sealed(makers, [kek])

    def case(
        name: str, expect: str, step: int, comment: str, *envelopes: Envelope | bytes, party: str = RECIPIENT
    ) -> Case:
        raws = tuple(one if isinstance(one, bytes) else one.raw for one in envelopes)
        more = (("world", makers.name), at(NOW + 2 * HOUR), ("party", party))
        return Case(f"kek-{name}", "mailbox.receive", expect, raws, comment, f"Envelope {step}", more)

    yield case("notice", "ok", 9, "an envelope that brings a KEK: nothing for the application", first)
    yield case("ok", "ok", 10, "a message under the KEK", first, good)
    both = sealed(makers, [kek, makers.members[SECOND].bundle])
    yield case("ok-mixed", "ok", 10, "one recipient with a KEK, one with a bundle", first, both)
    yield case("ok-mixed-other", "ok", 10, "the same for the other, that has no KEK", both, party=SECOND)
    yield case("ok-again", "ok", 10, "two messages under one KEK", first, good, sealed(makers, [kek]))
    _, theirs = notice(makers, to=(SECOND,))
    two = sealed(makers, [kek, theirs])
    yield case("ok-two", "ok", 10, "two recipients, each with a KEK", first, two)
    hybrid, whole = notice(makers, suite=HYBRID)
    yield case("ok-hybrid", "ok", 10, "in suite 0x0002", hybrid, sealed(makers, [whole], makers.header(HYBRID)))
    yield case("not-held", "stale_bundle", 7, "the notice never came", good)
    short, brief = notice(makers, end=NOW + HOUR)
    after = makers.header(created_at=NOW + HOUR + timedelta(seconds=1))
    yield case("over", "stale_bundle", 7, "made after the KEK's end", short, sealed(makers, [brief], after))
    last = makers.header(created_at=NOW + HOUR)
    yield case("ok-last", "ok", 10, "made at the KEK's end", short, sealed(makers, [brief], last))
    stolen = sealed(makers, [kek], by=OTHER)
    yield case("of-another", "bad_ciphertext", 8, "another sender uses the KEK", first, stolen)
    mixed = sealed(makers, [kek], makers.header(HYBRID))
    yield case("suite", "bad_ciphertext", 8, "the KEK of another suite", first, mixed)
    wraps = [*two.manifest.epoch_wraps]
    yield case(
        "swapped",
        "bad_ciphertext",
        8,
        "the wraps of two recipients in the other order",
        first,
        _signed(makers, two, wraps[::-1]),
    )
    moved = _signed(makers, two, [good.manifest.epoch_wraps[0], wraps[1]])
    yield case("wrap-of-another", "bad_ciphertext", 8, "the wrap of another envelope under the same KEK", first, moved)
    flipped = bytes([wraps[0][0] ^ 1]) + wraps[0][1:]
    yield case(
        "wrap-flipped", "bad_ciphertext", 8, "one bit of the wrap", first, _signed(makers, two, [flipped, wraps[1]])
    )
    header = two.header
    named = replace(header, recipients=(header.recipients[1], header.recipients[0]))
    swapped = _signed(makers, two, wraps, named)
    yield case("names-swapped", "bad_ciphertext", 8, "the recipients in the other order", first, swapped)
    yield from _notices(makers, case)


def _notices(makers: Makers, case: Any) -> Iterator[Case]:
    """Yield notices that bring nothing."""
    two, _ = notice(makers, to=(RECIPIENT, SECOND))
    yield case("notice-for-two", "bad_field", 9, "one KEK for two", two)
    real, _ = notice(makers, op_status=OpStatus.ACTUAL)
    yield case("notice-actual", "bad_field", 9, "a notice that is no SYSTEM traffic", real)
    junk, _ = notice(makers, payload=b"\x08\x01\x10\x01")
    yield case("notice-more", "not_canonical", 9, "a notice with an unknown field", junk)
    content = Content.make(EPOCH_KEK_NOTICE, EpochKek.notice(NOW + DAY))
    first, kek = notice(makers)
    [under] = Envelope.sign(
        [Envelope.draw_up(content, makers.header(op_status=OpStatus.SYSTEM), [kek], os.urandom(32))],
        makers.members[SENDER].identity.epochs[0],
    )
    yield case("notice-under-kek", "bad_field", 9, "a notice that was itself sealed with a KEK", first, under)


def _signed(makers: Makers, envelope: Envelope, wraps: Sequence[bytes], header: Any = None) -> bytes:
    """Return an envelope with other epoch wraps, signed by its sender."""
    raw = (header or envelope.header).raw
    payload = Manifest.draw_up(raw, list(envelope.manifest.wrap_digests), wraps, envelope.body)
    keys = makers.members[envelope.header.sender].identity.epochs[0]
    [manifest] = Manifest.sign([payload], suites.suite_of(envelope.header.suite), keys)
    parts = [wrap.raw for wrap in envelope.wraps]
    return canonical(Wire(manifest=manifest.dsse.to_wire(), wraps=parts, body=envelope.body))


def blind(makers: Makers) -> Iterator[Case]:
    """Yield envelopes that hide their recipients."""
    e = Envelopes(makers)
    envelope = makers.seal(message(), [RECIPIENT, SECOND], makers.header(blind=True))
    raws = {wrap.recipient: wrap.raw for wrap in envelope.wraps}
    digests = list(envelope.manifest.wrap_digests)
    header, body = envelope.header, envelope.body

    def verify(name: str, expect: str, step: int, comment: str, raw: bytes) -> Case:
        return replace(e.case(name, expect, step, comment, raw, entry="envelope.verify"), name=f"blind-{name}")

    def wire(*wraps: bytes) -> bytes:
        return changed(Wire, envelope.raw, lambda w: w.wraps.__setitem__(slice(None), list(wraps)))

    yield verify("ok-both", "ok", 6, "with all its wraps, as the sender's relay gets it", envelope.raw)
    yield verify("ok-none", "ok", 6, "without any wrap", wire())
    foreign = makers.seal(message(), [RECIPIENT], makers.header(blind=True)).wraps[0].raw
    yield verify("foreign", "bad_signature", 5, "a wrap of another blind envelope", wire(foreign))
    yield verify(
        "order", "bad_signature", 5, "wraps in another order than the digests", wire(*_ordered(raws, digests)[::-1])
    )
    yield verify("twice", "bad_signature", 5, "one wrap twice", wire(raws[RECIPIENT], raws[RECIPIENT]))
    yield verify("falling", "bad_field", 1, "digests that fall", e.signed(header, [], body, digests=digests[::-1]))
    equal = e.signed(header, [], body, digests=[digests[0], digests[0]])
    yield verify("equal", "bad_field", 1, "one digest twice", equal)
    none = changed(envelope_pb2.Manifest, envelope.manifest.dsse.payload, clear("wrap_digests"))
    bare = changed(Wire, envelope.raw, lambda w: (setattr(w.manifest, "payload", none), w.ClearField("wraps")))
    yield verify("no-digests", "bad_field", 1, "no digest", bare)
    many = sorted(sha256(bytes([n])).digest() for n in range(65))
    yield verify("digests-65", "bad_field", 1, "65 digests", e.signed(header, [], body, digests=many))
    hidden = changed(envelope_pb2.Manifest, envelope.manifest.dsse.payload, lambda m: m.epoch_wraps.append(bytes(48)))
    kek = changed(Wire, envelope.raw, lambda w: setattr(w.manifest, "payload", hidden))
    yield verify("epoch-wrap", "bad_field", 1, "an epoch wrap", kek)
    again = Wrap.seal(bytes(32), HYBRID_KEM, envelope.manifest.header_digest, makers.members[RECIPIENT].bundle)
    pair = sorted([Wrap.parse(raws[RECIPIENT]), again], key=lambda one: one.digest)
    double = e.signed(header, [one.raw for one in pair], body)
    yield verify("two-for-one", "bad_field", 5, "two wraps for one recipient", double)
    yield e.case("blind-not-addressed", "not_addressed", 7, "no wrap for this agency", wire(raws[SECOND]))
    yield e.case("blind-nobody", "not_addressed", 7, "no wrap at all", wire())


def _ordered(raws: dict[str, bytes], digests: Sequence[bytes]) -> list[bytes]:
    return sorted(raws.values(), key=lambda raw: digests.index(sha256(raw).digest()))


def batches(makers: Makers) -> Iterator[Case]:
    """Yield envelopes under one composite signature."""
    e = Envelopes(makers)
    bundle = makers.members[RECIPIENT].bundle
    for count in (2, 5):
        drawn = [
            Envelope.draw_up(Content.make(SCHEMA, message()), makers.header(HYBRID), [bundle], os.urandom(32))
            for _ in range(count)
        ]
        some = Envelope.sign(drawn, e.keys)
        yield e.case(
            f"batch-ok-hybrid-{count}", "ok", 10, f"the last of {count} under one composite signature", some[-1].raw
        )
        raw = changed(Wire, some[-1].raw, lambda w: w.manifest.ClearField("batch"))
        yield e.case(f"batch-hybrid-{count}-alone", "bad_signature", 4, "without its way to the root", raw)
    whole = some[0].manifest.dsse.signatures[0]
    halves = (("classical", whole[3309:]), ("post-quantum", whole[:3309] + bytes(64)))
    for name, half in halves:
        raw = changed(Wire, some[0].raw, lambda w, s=half: setattr(w.manifest.signatures[0], "sig", s))
        yield e.case(f"batch-hybrid-{name}", "bad_signature", 4, f"the {name} half alone over a batch", raw)
    other = changed(Wire, some[1].raw, lambda w: w.manifest.batch.CopyFrom(some[0].manifest.dsse.to_wire().batch))
    yield e.case("batch-hybrid-way-of-another", "bad_signature", 4, "the way of another to the root", other)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    for part in (shared, blind, batches):
        yield from part(worlds.one)
