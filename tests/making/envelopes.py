"""Envelopes: verified, opened, delivered, and every way in which each step refuses one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from infoexchange import catalogue, suites
from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.header import LIFETIME_DEFAULT, Header, Recipient
from infoexchange.keys import KeyUsage
from infoexchange.manifest import Manifest
from infoexchange.suites import HYBRID
from infoexchange.v1 import envelope_pb2
from infoexchange.wrap import Wrap
from making.case import Case, at, canonical, changed, clear, put, within
from making.world import NOW, RECIPIENT, SCHEMA, SECOND, SENDER, Makers, Worlds

Wire, Header_, Manifest_ = envelope_pb2.Envelope, envelope_pb2.Header, envelope_pb2.Manifest


def message(**fields: object) -> bytes:
    """Return the bytes of a message that rules and domains let pass."""
    handling = catalogue.Handling(
        op_status=catalogue.OP_STATUS_EXERCISE,
        precedence=catalogue.PRECEDENCE_ROUTINE,
        tlp=catalogue.TLP_AMBER,
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose="a vector",
        domain=catalogue.DOMAIN_PIRACY,
    )
    made = catalogue.OfficerAcknowledgement(handling=handling, of=bytes(range(32)), level=1)
    for name, value in fields.items():
        setattr(made.handling if hasattr(made.handling, name) else made, name, value)
    return canonical(made)


class Envelopes:
    """Cases around one envelope."""

    def __init__(self, makers: Makers, to: Sequence[str] = (RECIPIENT, SECOND)) -> None:
        self.makers = makers
        self.keys = makers.members[SENDER].identity.epochs[0]
        self.envelope = makers.seal(message(), to)

    def case(
        self, name: str, expect: str, step: int, comment: str, *raws: bytes, entry: str = "mailbox.receive",
        now: datetime = NOW, party: str = RECIPIENT,
    ) -> Case:  # fmt: skip
        """Return a case of section Envelope."""
        more = (("world", self.makers.name), at(now), *((("party", party),) if entry != "envelope.verify" else ()))
        return Case(f"envelope-{name}", entry, expect, raws or (self.envelope.raw,), comment, f"Envelope {step}", more)

    def verify(self, name: str, expect: str, step: int, comment: str, *raws: bytes, now: datetime = NOW) -> Case:
        """Return a case of those steps for which no key is needed."""
        return self.case(name, expect, step, comment, *raws, entry="envelope.verify", now=now)

    def wire(self, change: Callable[[Any], object]) -> bytes:
        """Return the envelope with a change of its transport form."""
        return changed(Wire, self.envelope.raw, change)

    def manifest(self, change: Callable[[Any], object]) -> bytes:
        """Return it with a change of the manifest, under the old signature."""
        payload = changed(Manifest_, self.envelope.manifest.dsse.payload, change)
        return self.wire(lambda m: setattr(m.manifest, "payload", payload))

    def header(self, change: Callable[[Any], object]) -> bytes:
        """Return it with a change of the header, under the old signature."""
        raw = Manifest_.FromString(self.envelope.manifest.dsse.payload).header
        return self.manifest(put(header=changed(Header_, raw, change)))

    def signed(
        self,
        header: Header,
        wraps: Sequence[bytes],
        body: bytes,
        *,
        by: str = SENDER,
        digests: Sequence[bytes] = (),
        attachments: Sequence[Any] = (),
    ) -> bytes:
        """Return an envelope of parts, signed by its sender."""
        parsed = [Wrap.parse(wrap) for wrap in wraps]
        payload = Manifest.draw_up(header.raw, digests or [wrap.digest for wrap in parsed], [], body)
        payload = changed(Manifest_, payload, lambda m: m.attachments.extend(attachments))
        key = self.makers.members[by].identity.epochs[0].signing[header.suite, KeyUsage.MANIFEST]
        dsse = Dsse.make(TYPE_MANIFEST, payload, [(key.sign(TYPE_MANIFEST, payload), key.key_id)])
        return canonical(Wire(manifest=dsse.to_wire(), wraps=wraps, body=body))

    def sealed(self, content: bytes, header: Header | None = None, **others: Any) -> bytes:
        """Return an envelope whose body holds exact bytes, whatever they are."""
        header = header or self.makers.header()
        commitment = others.pop("commitment", b"") or bytes(32)
        bundle = self.makers.members[RECIPIENT].bundle
        header = replace(header, recipients=(Recipient(RECIPIENT, bundle.digest),), content_commitment=commitment)
        digest = sha256(header.raw).digest()
        key = b"k" * 32
        wrap = Wrap.seal(others.pop("content_key", key), suites.suite_of(header.suite), digest, bundle)
        label = b"infoexchange/v1/body\x00"
        body = suites.encrypt_body(suites.derive(key, label, digest), label + digest, content)
        raw = changed(envelope_pb2.RecipientWrap, wrap.raw, others.pop("wrap", lambda _: None))
        return self.signed(header, [raw], others.pop("body", body), attachments=others.pop("attachments", ()))


def passing(e: Envelopes) -> Iterator[Case]:
    """Yield envelopes that are delivered."""
    m = e.makers
    yield e.case("ok-hybrid-kem", "ok", 10, "suite 0x0003, two recipients")
    hybrid = m.seal(message(), [RECIPIENT], m.header(HYBRID))
    yield e.case("ok-hybrid", "ok", 10, "suite 0x0002, the default", hybrid.raw)
    yield e.case("ok-pruned", "ok", 10, "without the other recipient's wrap", e.envelope.prune({RECIPIENT}).raw)
    blind = m.seal(message(), [RECIPIENT, SECOND], m.header(blind=True))
    yield e.case("ok-blind", "ok", 10, "blind recipients", blind.prune({RECIPIENT}).raw)
    some = [
        Envelope.draw_up(
            Content.make(SCHEMA, message(level=level)), m.header(), [m.members[RECIPIENT].bundle], bytes([level]) * 32
        )
        for level in (1, 2, 1)
    ]
    batch = Envelope.sign(some, e.keys)
    yield e.case("ok-batch", "ok", 10, "the second of three under one signature", batch[1].raw)
    yield e.case("ok-twice", "ok", 10, "the same envelope comes again", e.envelope.raw, e.envelope.raw)
    early, late = NOW - timedelta(minutes=5), NOW + LIFETIME_DEFAULT + timedelta(minutes=5)
    yield e.case("ok-clock-behind", "ok", 6, "made five minutes in the future", entry="envelope.verify", now=early)
    yield e.case("ok-just-expired", "ok", 6, "expired five minutes ago", entry="envelope.verify", now=late)
    yield e.case("ok-hint", "ok", 4, "another key id: it decides nothing", e.wire(_other_key_id))
    for name, change in (("index", put(index=0)), ("count", put(count=4))):
        raw = changed(Wire, batch[1].raw, lambda w, c=change: c(w.manifest.batch))
        yield e.case(f"batch-{name}", "bad_signature", 4, "another place in the batch", raw)
    raw = changed(Wire, batch[1].raw, lambda w: w.manifest.batch.path.__setitem__(0, bytes(32)))
    yield e.case("batch-path", "bad_signature", 4, "another way to the root", raw)
    for name, change in {
        "batch-of-one": put(count=1),
        "batch-of-257": put(count=257),
        "batch-index-outside": put(index=3),
        "batch-path-short": lambda b: b.path.pop(),
        "batch-path-long": lambda b: b.path.append(bytes(32)),
        "batch-path-odd": lambda b: b.path.__setitem__(0, bytes(31)),
    }.items():
        raw = changed(Wire, batch[1].raw, lambda w, c=change: c(w.manifest.batch))
        yield e.case(name, "bad_field", 1, "no path of a tree of that many", raw)


def put_wraps(*raws: bytes) -> Callable[[Any], None]:
    """Return the change that puts other wraps into an envelope."""
    return lambda wire: wire.wraps.__setitem__(slice(None), raws)


def _other_key_id(wire: Any) -> None:
    wire.manifest.signatures[0].keyid = "0" * 16


def forms(e: Envelopes) -> Iterator[Case]:
    """Yield envelopes that step (1) refuses."""
    raw = e.envelope.raw
    wrap = e.envelope.wraps[0].raw
    yield e.case("unknown-field", "not_canonical", 1, "a field the format does not have", raw + b"\x7a\x01x")
    yield e.case("cut", "malformed", 1, "the last byte is missing", raw[:-1])
    yield e.case("empty", "bad_field", 1, "no bytes at all", b"")
    yield e.case("hints", "bad_field", 1, "hints are not offered", e.wire(lambda w: w.hints.append(b"x")))
    yield e.case("large", "too_large", 1, "a byte more than 1536 KiB", bytes(1536 * 1024 + 1))
    small = canonical(envelope_pb2.RecipientWrap(bundle=bytes(32)))
    odd = changed(envelope_pb2.RecipientWrap, wrap, put(bundle=bytes(31)))
    for name, expect, comment, wraps in (
        ("many-wraps", "bad_field", "65 wraps", [small] * 65),
        ("wrap-bundle", "bad_field", "a wrap with a bundle digest of 31 bytes", [odd]),
        ("wrap-not-canonical", "not_canonical", "a wrap with an unknown field", [wrap + b"\x7a\x01x"]),
        ("wrap-large", "too_large", "a wrap over 4 KiB", [bytes(4097)]),
    ):
        yield e.case(name, expect, 1, comment, e.wire(put_wraps(*wraps)))
    for name, comment, change in (
        (
            "type",
            "the container of a key bundle",
            put(payload_type="application/vnd.infoexchange.keybundle.v1+protobuf"),
        ),
        ("unsigned", "no signature", clear("signatures")),
        ("signed-twice", "two signatures", lambda d: d.signatures.add().CopyFrom(d.signatures[0])),
        ("key-id", "a key id of 65 letters", within("signatures", put(keyid="0" * 65))),
        ("signature-length", "a signature over 8 KiB", within("signatures", put(sig=bytes(8193)))),
    ):
        yield e.case(name, "bad_field", 1, comment, e.wire(lambda w, c=change: c(w.manifest)))
    for name, expect, comment, change in (
        ("digests-fewer", "bad_field", "one digest for two recipients", lambda m: m.wrap_digests.pop()),
        ("digests-equal", "bad_field", "one digest twice", lambda m: m.wrap_digests.__setitem__(1, m.wrap_digests[0])),
        ("digest-odd", "bad_field", "a digest of 31 bytes", lambda m: m.wrap_digests.__setitem__(0, bytes(31))),
        ("body-digest-odd", "bad_field", "a body digest of 31 bytes", put(body_digest=bytes(31))),
        ("epoch-wrap-odd", "bad_field", "an epoch wrap of 47 bytes", lambda m: m.epoch_wraps.append(bytes(47))),
        ("epoch-wrap-more", "bad_field", "an epoch wrap for nobody", lambda m: m.epoch_wraps.append(bytes(48))),
        ("header-cut", "malformed", "a header without its last byte", lambda m: setattr(m, "header", m.header[:-1])),
        (
            "header-unknown",
            "not_canonical",
            "a header with an unknown field",
            lambda m: setattr(m, "header", m.header + b"\xfa\x01\x01x"),
        ),
        ("header-large", "too_large", "a header over 16 KiB", put(header=bytes(16385))),
    ):
        yield e.case(name, expect, 1, comment, e.manifest(change))


def headers(e: Envelopes) -> Iterator[Case]:
    """Yield envelopes whose header step (1) refuses."""
    day = 86_400_000

    def recipients(count: int) -> Callable[[Any], None]:
        def change(h: Any) -> None:
            first = h.recipients[0].bundle
            del h.recipients[:]
            for n in range(count):
                h.recipients.add(name=f"desk{n}.vn.example", bundle=first)

        return change

    for name, expect, comment, change in (
        ("version", "unknown_version", "version 2", put(version=2)),
        ("version-0", "unknown_version", "no version", clear("version")),
        ("message-id", "bad_field", "a message id of 15 bytes", put(message_id=bytes(15))),
        ("sender-name", "bad_field", "a sender in capitals", put(sender="DESK.th.example")),
        ("sender-label", "bad_field", "a sender of one label", put(sender="desk")),
        ("sender-bundle", "bad_field", "a bundle digest of 33 bytes", put(sender_bundle=bytes(33))),
        (
            "recipient-name",
            "bad_field",
            "a recipient that ends with a dot",
            within("recipients", put(name="desk.vn.example.")),
        ),
        (
            "recipient-bundle",
            "bad_field",
            "a recipient's bundle of 31 bytes",
            within("recipients", put(bundle=bytes(31))),
        ),
        ("recipient-both", "bad_field", "a bundle and an epoch KEK", within("recipients", put(epoch_kek=bytes(16)))),
        ("recipient-neither", "bad_field", "neither bundle nor epoch KEK", within("recipients", clear("bundle"))),
        (
            "recipient-twice",
            "bad_field",
            "one recipient twice",
            lambda h: setattr(h.recipients[1], "name", h.recipients[0].name),
        ),
        ("recipients-none", "bad_field", "nobody", clear("recipients")),
        ("recipients-65", "bad_field", "65 recipients", recipients(65)),
        ("blind-and-listed", "bad_field", "blind, and recipients listed", put(blind_recipients=True)),
        ("op-status-0", "bad_field", "no status", clear("op_status")),
        ("op-status-9", "bad_field", "a status outside the list", put(op_status=9)),
        ("precedence-0", "bad_field", "no precedence", clear("precedence")),
        ("precedence-9", "bad_field", "a precedence outside the list", put(precedence=9)),
        ("created-negative", "bad_field", "made before 1970", put(created_ms=-1)),
        ("expires-at-once", "bad_field", "expires when it is made", lambda h: setattr(h, "expires_ms", h.created_ms)),
        (
            "expires-late",
            "bad_field",
            "a life of 90 days and a millisecond",
            lambda h: setattr(h, "expires_ms", h.created_ms + 90 * day + 1),
        ),
        ("sequence-0", "bad_field", "no sequence number", clear("sequence")),
        ("sequence-1-after", "bad_field", "the first, with one before it", put(previous=bytes(32))),
        ("sequence-2-alone", "bad_field", "the second, with none before it", put(sequence=2)),
        ("commitment", "bad_field", "a commitment of 31 bytes", put(content_commitment=bytes(31))),
        ("suite-classical", "suite_not_accepted", "a suite this directory does not accept", put(suite=1)),
        ("suite-unknown", "suite_not_accepted", "a suite outside the registry", put(suite=0x99)),
    ):
        step = 2 if expect == "suite_not_accepted" else 1
        yield e.case(f"header-{name}", expect, step, comment, e.header(change))


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case of section Envelope."""
    makers = worlds.one
    e = Envelopes(makers)
    for part in (passing, forms, headers):
        yield from part(e)
