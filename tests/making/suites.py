"""Suites: all four of the registry in envelopes, bundles and statements, in a community that accepts them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.keys import KeyUsage
from infoexchange.states import Event
from infoexchange.suites import CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH, Suite
from infoexchange.v1 import bundle_pb2, envelope_pb2
from making.bundles import Bundles
from making.case import Case, at, changed, put
from making.envelopes import Envelopes, message
from making.keks import notice, sealed
from making.world import NOW, RECIPIENT, SCHEMA, SENDER, Makers, Worlds

Wire = envelope_pb2.Envelope
UNKNOWN = 0x0009  # a number that is not given out
EVERY = (CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH)
P384_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


def integer(value: int, more: bytes = b"") -> bytes:
    """Return a DER INTEGER; `more` goes before its bytes."""
    raw = more + value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + bytes([len(raw)]) + raw


def sequence(*parts: bytes) -> bytes:
    """Return a DER SEQUENCE."""
    raw = b"".join(parts)
    return b"\x30" + bytes([len(raw)]) + raw


def numbers(der: bytes) -> tuple[int, int]:
    """Return r and s of an ECDSA signature."""
    end = 4 + der[3]
    return int.from_bytes(der[4:end], "big"), int.from_bytes(der[end + 2 :], "big")


def envelopes(makers: Makers, suite: Suite) -> Iterator[Case]:
    """Yield envelopes of one suite."""
    name = suite.name.lower()

    def case(label: str, expect: str, step: int, comment: str, *raws: bytes) -> Case:
        more = (("world", makers.name), at(NOW), ("party", RECIPIENT))
        return Case(f"envelope-{name}-{label}", "mailbox.receive", expect, raws, comment, f"Envelope {step}", more)

    good = makers.seal(message(), header=makers.header(suite))
    yield case("ok", "ok", 10, f"suite {suite.name}", good.raw)
    bundle, keys = makers.members[RECIPIENT].bundle, makers.members[SENDER].identity.epochs[0]
    drawn = [
        Envelope.draw_up(Content.make(SCHEMA, message()), makers.header(suite), [bundle], bytes([n]) * 32)
        for n in (1, 2)
    ]
    yield case("ok-batch", "ok", 10, "one signature for two", Envelope.sign(drawn, keys)[1].raw)
    first, kek = notice(makers, suite=suite)
    yield case(
        "ok-kek", "ok", 10, "under a KEK of this suite", first.raw, sealed(makers, [kek], makers.header(suite)).raw
    )
    signature = good.manifest.dsse.signatures[0]
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    raw = changed(Wire, good.raw, lambda w: setattr(w.manifest.signatures[0], "sig", flipped))
    yield case("signature", "bad_signature", 4, "the last bit of the signature", raw)
    other = next(one for one in EVERY if one.signing_secret_size != suite.signing_secret_size)
    key = keys.signing[other.number, KeyUsage.MANIFEST]
    dsse = Dsse.make(
        TYPE_MANIFEST, good.manifest.dsse.payload, [(key.sign(TYPE_MANIFEST, good.manifest.dsse.payload), key.key_id)]
    )
    raw = changed(Wire, good.raw, lambda w: w.manifest.CopyFrom(dsse.to_wire()))
    yield case("signed-in-another", "bad_signature", 4, f"signed in suite {other.name}", raw)


def wraps(makers: Makers, suite: Suite) -> Iterator[Case]:
    """Yield envelopes whose wrap is of another suite, or of this one and damaged."""
    e = Envelopes(makers, [RECIPIENT])
    content = Content.make(SCHEMA, message())
    header = makers.header(suite)
    commitment = content.commitment(SENDER, header.message_id)
    other = HYBRID if suite is not HYBRID else NIST_HIGH
    place, public = makers.members[RECIPIENT].bundle.opening_key(other)
    foreign = other.wrap(public, b"k" * 32, b"info")

    def swap(m: Any) -> None:
        m.key_index, m.enc_ct = place, foreign

    for label, comment, change in (
        ("wrap-of-another", f"a wrap of suite {other.name}", swap),
        ("wrap-index", "the index of another suite's key", put(key_index=place)),
        (
            "wrap-flipped",
            "one bit of the wrap",
            lambda m: setattr(m, "enc_ct", bytes([m.enc_ct[0] ^ 1]) + m.enc_ct[1:]),
        ),
    ):
        raw = e.sealed(content.raw, header, commitment=commitment, wrap=change)
        yield e.case(f"{suite.name.lower()}-{label}", "bad_ciphertext", 8, comment, raw)


def statements(makers: Makers, suite: Suite) -> Iterator[Case]:
    """Yield what a recipient states about an envelope of a suite."""
    member = makers.members[RECIPIENT]
    said = Statement(
        envelope_digest=bytes(range(32)),
        issuer=RECIPIENT,
        issuer_bundle=member.bundle.digest,
        state=Event.OPENED,
        at=NOW,
        content_commitment=bytes(32),
    )
    made = Acknowledgement.sign(said, suite, member.identity.epochs[0])
    for other in EVERY:
        expect, word = ("ok", "its own") if other is suite else ("bad_signature", "another")
        more = (("world", makers.name), ("suite", f"0x{other.number:04x}"))
        name = f"statement-{suite.name.lower()}-as-{other.name.lower()}"
        yield Case(
            name, "acknowledgement.verify", expect, (made.raw,), f"judged in {word} suite", "Acknowledgement 3", more
        )


def bundles(makers: Makers) -> Iterator[Case]:
    """Yield bundles that offer four suites."""
    b = Bundles(makers)

    def case(name: str, expect: str, step: int, comment: str, raw: bytes) -> Case:
        return b.case(name, expect, step, comment, b.member.bundle, raw=raw)

    yield case("four-suites", "ok", 6, "all four suites", b.member.bundle.raw)

    def swap_halves(m: bundle_pb2.KeyBundle) -> None:
        hybrid = next(k for k in m.sig_keys if (k.suite, k.usage) == (2, 1))
        other = next(k for k in m.sig_keys if (k.suite, k.usage) == (2, 2))
        hybrid.public_key = hybrid.public_key[:1952] + other.public_key[1952:]

    def shared_part(m: bundle_pb2.KeyBundle) -> None:
        classical = next(k for k in m.sig_keys if (k.suite, k.usage) == (1, 1))
        hybrid = next(k for k in m.sig_keys if (k.suite, k.usage) == (2, 1))
        hybrid.public_key = hybrid.public_key[:1952] + classical.public_key

    def off_curve(m: bundle_pb2.KeyBundle) -> None:
        last = m.enc_keys[-1]
        last.public_key = last.public_key[:-1] + bytes([last.public_key[-1] ^ 1])

    def above_q(m: bundle_pb2.KeyBundle) -> None:
        m.enc_keys[1].public_key = b"\xff\xff\xff" + m.enc_keys[1].public_key[3:]

    for name, comment, change in (
        ("half-shared", "two composite keys with one Ed25519 half", swap_halves),
        ("half-of-another-suite", "a composite key with the classical suite's key as its half", shared_part),
        ("point-off-curve", "a P-384 point that is not on the curve", off_curve),
        ("above-modulus", "an ML-KEM key with a number above its modulus", above_q),
        (
            "compressed",
            "a P-384 point in another form",
            lambda m: setattr(
                m.enc_keys[-1],
                "public_key",
                m.enc_keys[-1].public_key[:1568] + b"\x02" + m.enc_keys[-1].public_key[1569:],
            ),
        ),
    ):
        yield case(name, "bad_certificate", 5, comment, b.resigned(change))
    strange = b.resigned(_with_strange_suite)
    yield case("unknown-suite", "ok", 6, "keys of a suite that nobody here knows", strange)


def _with_strange_suite(m: bundle_pb2.KeyBundle) -> None:
    m.accept_suites.append(UNKNOWN)
    m.enc_keys.add(suite=UNKNOWN, public_key=b"opening key")
    m.sig_keys.add(suite=UNKNOWN, usage=1, public_key=b"signing key 1")
    m.sig_keys.add(suite=UNKNOWN, usage=2, public_key=b"signing key 2")


def der(_: Makers) -> Iterator[Case]:
    """Yield composite signatures whose ECDSA half is written in other ways."""
    suite, text = NIST_HIGH, b"infoexchange"
    secret = bytes(range(suite.signing_secret_size))
    public, good = suite.signing_public(secret), suite.signer(secret)(text)
    first, half = good[:4627], good[4627:]
    r, s = numbers(half)

    def case(label: str, expect: str, step: int, comment: str, second: bytes) -> Case:
        blocks, more = (public, text, first + second), (("suite", "0x0004"),)
        return Case(f"suite-nist-high-{label}", "signature.verify", expect, blocks, comment, f"Suites {step}", more)

    yield case("ok-other-s", "ok", 3, "n - s in the place of s", sequence(integer(r), integer(P384_N - s)))
    for label, comment, second in (
        ("r-zero", "r = 0", sequence(integer(0), integer(s))),
        ("s-zero", "s = 0", sequence(integer(r), integer(0))),
        ("r-plus-n", "r + n", sequence(integer(r + P384_N), integer(s))),
        ("s-plus-n", "s + n", sequence(integer(r), integer(s + P384_N))),
        ("swapped", "s before r", sequence(integer(s), integer(r))),
        ("zero-byte", "r with a superfluous zero byte", sequence(integer(r, b"\x00"), integer(s))),
        ("long-length", "a length of two bytes", b"\x30\x81" + half[1:]),
        ("indefinite", "no length", b"\x30\x80" + half[2:] + b"\x00\x00"),
        ("trailing", "a byte more inside", sequence(integer(r), integer(s), b"\x00")),
        ("one-number", "r alone", sequence(integer(r))),
        ("set", "a SET in the place of the SEQUENCE", b"\x31" + half[1:]),
    ):
        yield case(f"der-{label}", "bad_signature", 2, comment, second)
    flipped = bytes([first[0] ^ 1]) + first[1:]
    blocks, more = (public, text, flipped + half), (("suite", "0x0004"),)
    yield Case(
        "suite-nist-high-first-half",
        "signature.verify",
        "bad_signature",
        blocks,
        "one bit of the ML-DSA half",
        "Suites 3",
        more,
    )


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    makers = worlds.two
    for suite in EVERY:
        yield from envelopes(makers, suite)
        yield from wraps(makers, suite)
        yield from statements(makers, suite)
    yield from bundles(makers)
    yield from der(makers)
