"""Crypto: signatures at the edges, signatures of suites, wraps and bodies."""

from __future__ import annotations

from collections.abc import Iterator

from infoexchange import suites
from infoexchange.suites import HYBRID, NIST_HIGH, SUITES, Suite
from making.case import Case
from making.world import Worlds

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
COMPOSITES = (HYBRID, NIST_HIGH)
# The key of the seed 00..1f plus a point of order 2.
MIXED = "ea5ef8400c31ef41e28f22e718b43f66981b29cf645af2a0e223799bedaace47"
ORDER_8 = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)


def small() -> list[bytes]:
    """Return the fourteen encodings of points of small order, with both signs."""
    ys = [0, 1, P - 1, P, P + 1, *(int.from_bytes(bytes.fromhex(y), "little") for y in ORDER_8)]
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


def ed25519() -> Iterator[Case]:
    """Yield what the one acceptance rule decides."""
    secret, message = bytes(range(32)), b"infoexchange"
    public, good = suites.public_ed25519(secret), suites.sign_ed25519(secret, message)
    bad = "bad_signature"

    def case(name: str, expect: str, step: int, comment: str, *blocks: bytes) -> Case:
        return Case(f"ed25519-{name}", "ed25519.verify", expect, blocks, comment, f"Ed25519 {step}")

    yield case("ok", "ok", 4, "a signature", public, message, good)
    yield case("ok-empty", "ok", 4, "of no bytes", public, b"", suites.sign_ed25519(secret, b""))
    yield case("short", bad, 1, "63 bytes", public, message, good[:-1])
    yield case("long", bad, 1, "65 bytes", public, message, good + b"\x00")
    yield case("key-short", bad, 1, "a key of 31 bytes", public[:-1], message, good)
    s = int.from_bytes(good[32:], "little")
    yield case("s-plus-l", bad, 2, "S + L", public, message, good[:32] + (s + L).to_bytes(32, "little"))
    yield case("s-is-l", bad, 2, "S = L", public, message, good[:32] + L.to_bytes(32, "little"))
    yield case("s-top-bits", bad, 2, "S with its top bits set", public, message, good[:63] + bytes([good[63] | 0xE0]))
    for n, point in enumerate(small()):
        yield case(f"small-key-{n:02}", bad, 3, "a key of small order", point, message, good)
        yield case(f"small-r-{n:02}", bad, 3, "R of small order", public, message, point + good[32:])
    for n, y in enumerate((P + 3, P + 18)):
        point = y.to_bytes(32, "little")
        yield case(f"high-key-{n}", bad, 3, "a key whose y is not below p", point, message, good)
        yield case(f"high-r-{n}", bad, 3, "R whose y is not below p", public, message, point + good[32:])
    yield case("message", bad, 4, "of another message", public, b"infoexchangE", good)
    yield case("key", bad, 4, "of another key", suites.public_ed25519(bytes(32)), message, good)
    yield case("s-other", bad, 4, "S + 1", public, message, good[:32] + (s + 1).to_bytes(32, "little"))


def points() -> Iterator[Case]:
    """Yield keys that may enter a bundle or a directory, and keys that may not."""

    def case(name: str, expect: str, comment: str, point: bytes) -> Case:
        return Case(f"ed25519-point-{name}", "ed25519.key", expect, (point,), comment)

    public, bad = suites.public_ed25519(bytes(range(32))), "bad_certificate"
    yield case("ok", "ok", "an acceptable key", public)
    yield case("short", bad, "31 bytes", public[:-1])
    for n, point in enumerate(small()):
        yield case(f"small-{n:02}", bad, "a key of small order", point)
    for n, y in enumerate((P + 3, P + 18)):
        yield case(f"high-{n}", bad, "y is not below p", y.to_bytes(32, "little"))
    yield case("mixed", bad, "a point outside the prime-order subgroup", bytes.fromhex(MIXED))


def of_suite(suite: Suite, shared: dict[str, bytes]) -> Iterator[Case]:
    """Yield signatures, wraps and bodies of a suite."""
    name, number = suite.name.lower(), (("suite", f"0x{suite.number:04x}"),)
    secret = bytes(range(suite.signing_secret_size))
    public, message = suite.signing_public(secret), b"infoexchange"
    good = suite.signer(secret)(message)
    shared[f"suite-{name}-public"], shared[f"suite-{name}-signature"] = public, good[1:-1]

    def case(label: str, expect: str, comment: str, *blocks: bytes, entry: str = "wrap.unwrap", step: str = "") -> Case:
        return Case(f"suite-{name}-{label}", entry, expect, blocks, comment, step, number)

    def judged(label: str, expect: str, step: int, comment: str, text: bytes, signature: bytes) -> Case:
        # Suites of one algorithm have the steps of section Ed25519, where 2 and 3 are its own business.
        where = f"Suites {step}" if suite in COMPOSITES else f"Ed25519 {4 if step == 3 else step}"
        blocks = (public, text, signature)
        return case(label, expect, comment, *blocks, entry="signature.verify", step=where)

    yield judged("signature-ok", "ok", 3, "a signature", message, good)
    yield judged("signature-cut", "bad_signature", 1, "its last byte is missing", message, good[:-1])
    yield judged("signature-none", "bad_signature", 1, "no byte", message, b"")
    if suite is not NIST_HIGH:  # whose signatures have more than one length
        yield judged("signature-long", "bad_signature", 1, "a byte more", message, good + b"\x00")
    if suite in COMPOSITES:
        yield judged("signature-message", "bad_signature", 2, "of another message", message + b"x", good)
        yield judged(
            "signature-last-bit", "bad_signature", 2, "its last bit", message, good[:-1] + bytes([good[-1] ^ 1])
        )
        yield judged(
            "signature-first-bit", "bad_signature", 3, "its first bit", message, bytes([good[0] ^ 1]) + good[1:]
        )
    else:
        yield judged("signature-message", "bad_signature", 3, "of another message", message + b"x", good)
        yield judged(
            "signature-first-bit", "bad_signature", 3, "its first bit", message, bytes([good[0] ^ 1]) + good[1:]
        )
    seed, info, key = bytes(range(suite.opening_secret_size)), b"info", bytes(range(32))
    wrapped = suite.wrap(suite.opening_public(seed), key, info)
    shared[f"suite-{name}-wrap"] = wrapped[1:-1]
    yield case("wrap-ok", "ok", "a content key", seed, info, wrapped)
    for label, comment, changed in (
        ("info", "under another info", (seed, b"infO", wrapped)),
        ("key", "for another key", (seed[:10] + bytes([seed[10] ^ 1]) + seed[11:], info, wrapped)),
        ("first-bit", "its first bit", (seed, info, bytes([wrapped[0] ^ 1]) + wrapped[1:])),
        ("last-bit", "its last bit", (seed, info, wrapped[:-1] + bytes([wrapped[-1] ^ 1]))),
        ("cut", "its last byte is missing", (seed, info, wrapped[:-1])),
        ("long", "a byte more", (seed, info, wrapped + b"\x00")),
        ("zeros", "all zeros", (seed, info, bytes(len(wrapped)))),
    ):
        yield case(f"wrap-{label}", "bad_ciphertext", comment, *changed)
    short = suite.wrap(suite.opening_public(seed), key[:31], info)
    yield case("wrap-short-key", "bad_ciphertext", "a content key of 31 bytes", seed, info, short)


def bodies(shared: dict[str, bytes]) -> Iterator[Case]:
    """Yield bodies: one chunk, exactly one, and two."""
    key, context = bytes(range(32)), b"context"
    for length in (0, 1, 16383, 16384, 16385):
        body = suites.encrypt_body(key, context, bytes(length))
        yield Case(f"body-{length}", "body.decrypt", "ok", (key, context, body), f"{length} zero bytes")
    body = suites.encrypt_body(key, context, bytes(20000))
    chunk = 16384 + 16
    shared["body-chunk"] = body[57 : 56 + chunk]  # without the byte that one vector changes
    for name, comment, changed in (
        ("context", "under another context", (key, b"contexT", body)),
        ("key", "under another key", (bytes(32), context, body)),
        ("salt", "another salt", (key, context, bytes([body[0] ^ 1]) + body[1:])),
        ("commitment", "another commitment", (key, context, body[:24] + bytes([body[24] ^ 1]) + body[25:])),
        ("first-chunk", "one bit of the first chunk", (key, context, body[:56] + bytes([body[56] ^ 1]) + body[57:])),
        ("truncated-at-chunk", "without its last chunk", (key, context, body[: 56 + chunk])),
        ("truncated", "without its last byte", (key, context, body[:-1])),
        ("extended", "with a byte more", (key, context, body + b"\x00")),
        (
            "chunks-swapped",
            "the last chunk first",
            (key, context, body[:56] + body[56 + chunk :] + body[56 : 56 + chunk]),
        ),
        ("head-only", "salt and commitment alone", (key, context, body[:56])),
        ("empty", "no byte", (key, context, b"")),
    ):
        yield Case(f"body-{name}", "body.decrypt", "bad_ciphertext", changed, comment)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    yield from ed25519()
    yield from points()
    for suite in SUITES.values():
        yield from of_suite(suite, worlds.others)
    yield from bodies(worlds.others)
