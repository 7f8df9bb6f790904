"""Suites: published vectors, one Ed25519 verdict whatever the library, and signatures of one suite only.

What a suite opens is tried in `test_keys`, composites in `test_composite`, the registry in `test_registry`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from nacl import bindings as sodium
from nacl import exceptions as sodium_exceptions

from conftest import EVERY_SUITE
from infoexchange import dsse, suites
from infoexchange.errors import ExchangeError, Reason
from infoexchange.suites import Suite
from infoexchange.suites.ecdsa import EcdsaP384, load_point, point_of

ROOT = Path(__file__).resolve().parent.parent
SUITE_PARAMS = pytest.mark.parametrize("suite", EVERY_SUITE, ids=lambda s: s.name)
SECRETS = {suite.number: bytes(range(suite.signing_secret_size)) for suite in EVERY_SUITE}

# Edwards25519, from RFC 8032, in the plainest form there is
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
I = pow(2, (P - 1) // 4, P)  # noqa: E741  the square root of -1


def shared(name: str) -> Any:
    """A JSON file of the shared vectors; a test without it is skipped with the reason."""
    path = Path(os.environ.get("INFOEXCHANGE_SHARED") or ROOT.parent / "shared" / "data") / "vectors" / name
    if not path.is_file():
        pytest.skip(f"{path} is absent; set INFOEXCHANGE_SHARED to the folder that holds vectors/")
    return json.loads(path.read_bytes())


def refused(reason: Reason, call: Callable[..., object], *args: object) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        call(*args)
    assert caught.value.reason is reason, caught.value
    return caught.value


# Ed25519: the curve by hand


def plus(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P,
    )


def times(scalar: int, point: tuple[int, int]) -> tuple[int, int]:
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = plus(result, point)
        point, scalar = plus(point, point), scalar >> 1
    return result


def lift(y: int, sign: int) -> tuple[int, int] | None:
    """The point with this y, or none; `sign` of 0 is taken as it is, as lenient decoders do."""
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * I % P
    if (v * x * x - u) % P:
        return None
    return (-x % P if x % 2 != sign else x, y % P)


def encode(point: tuple[int, int]) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = lift(4 * pow(5, -1, P) % P, 0) or (0, 0)


def torsion() -> list[tuple[int, int]]:
    """The eight points of small order: L times anything is one."""
    y = 2
    while True:
        point = lift(y, 0)
        if point and (found := times(L, point)) and times(4, found) != (0, 1):
            return [times(n, found) for n in range(8)]
        y += 1


SMALL = torsion()
NON_CANONICAL = [(y | sign << 255).to_bytes(32, "little") for y in range(P, 2**255) for sign in (0, 1)]
SMALL_ENCODINGS = sorted(
    {(point[1] | sign << 255).to_bytes(32, "little") for point in SMALL for sign in (0, 1)}
    | {(P + point[1] | sign << 255).to_bytes(32, "little") for point in SMALL if point[1] < 19 for sign in (0, 1)}
)


def challenge(r: bytes, a: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % L


def by_sodium(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        sodium.crypto_sign_open(signature + message, public)
    except (sodium_exceptions.BadSignatureError, sodium_exceptions.ValueError):
        return False
    return True


def by_openssl(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def by_rule(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        suites.verify_ed25519(public, message, signature)
    except ExchangeError as problem:
        return problem.reason is not Reason.BAD_SIGNATURE  # any other reason would be a verdict of its own
    return True


def form_holds(public: bytes, signature: bytes) -> bool:
    """Steps 1 to 3 of the rule, written a second time."""
    ys = [int.from_bytes(e, "little") % 2**255 for e in (public, signature[:32])]
    small = {point[1] for point in SMALL}
    right = len(public) == 32 and len(signature) == 64 and int.from_bytes(signature[32:], "little") < L
    return right and all(y < P and y not in small for y in ys)


def judged_alike(public: bytes, message: bytes, signature: bytes) -> bool:
    """The verdict, which is ours and, within the rule, that of both libraries."""
    verdict = by_rule(public, message, signature)
    if form_holds(public, signature):
        assert by_sodium(public, message, signature) is verdict
        assert by_openssl(public, message, signature) is verdict
    else:
        assert not verdict
    return verdict


def test_wycheproof_ed25519() -> None:
    file = shared("wycheproof/ed25519_test.json")
    count = 0
    for group in file["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            verdict = judged_alike(public, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert verdict is (case["result"] == "valid"), case
            count += 1
    assert count == file["numberOfTests"] == 151


def test_the_small_points_are_those_of_the_specification() -> None:
    assert len(set(SMALL)) == 8
    assert len(SMALL_ENCODINGS) == 14
    assert {int.from_bytes(e, "little") % 2**255 % P for e in SMALL_ENCODINGS} == {y for _, y in SMALL}


@pytest.mark.parametrize("public", SMALL_ENCODINGS, ids=bytes.hex)
def test_a_small_key_signs_nothing(public: bytes) -> None:
    """With a key of order n, R = [S]B fits every n-th message: some library takes it."""
    s = random.randrange(1, L)
    r = encode(times(s, BASE))
    for n in range(32):
        signature = r + s.to_bytes(32, "little")
        assert not judged_alike(public, bytes([n]), signature)
    refused(Reason.BAD_CERTIFICATE, suites.check_ed25519_key, public)


@pytest.mark.parametrize("r", SMALL_ENCODINGS, ids=bytes.hex)
def test_a_small_nonce_is_refused(r: bytes) -> None:
    """A good key and R of small order: the equation holds for R = 0, and one library of two accepts."""
    a = random.randrange(1, L)
    public = encode(times(a, BASE))
    message = b"a hostile signer's"
    signature = r + (challenge(r, public, message) * a % L).to_bytes(32, "little")
    assert not judged_alike(public, message, signature)
    suites.check_ed25519_key(public)


def test_encodings_above_p_are_refused() -> None:
    assert len(NON_CANONICAL) == 38
    secret = bytes(32)
    public, good = suites.public_ed25519(secret), suites.sign_ed25519(secret, b"m")
    for encoding in NON_CANONICAL:
        assert not judged_alike(encoding, b"m", good)
        assert not judged_alike(public, b"m", encoding + good[32:])
        refused(Reason.BAD_CERTIFICATE, suites.check_ed25519_key, encoding)


def test_keys_and_nonces_of_mixed_order_have_one_verdict() -> None:
    """Cofactorless: what a small part adds counts, except where the challenge cancels it."""
    rng = random.Random(8032)
    verdicts = []
    for small in SMALL[1:]:
        a, r = rng.randrange(1, L), rng.randrange(1, L)
        mixed = encode(plus(times(a, BASE), small))
        refused(Reason.BAD_CERTIFICATE, suites.check_ed25519_key, mixed)
        nonce = encode(times(r, BASE))
        for n in range(16):
            s = (r + challenge(nonce, mixed, bytes([n])) * a) % L
            verdict = judged_alike(mixed, bytes([n]), nonce + s.to_bytes(32, "little"))
            assert verdict is (times(challenge(nonce, mixed, bytes([n])), small) == (0, 1))
            verdicts.append(verdict)
        public, nonce = encode(times(a, BASE)), encode(plus(times(r, BASE), small))
        s = (r + challenge(nonce, public, b"m") * a) % L
        assert not judged_alike(public, b"m", nonce + s.to_bytes(32, "little"))
    assert True in verdicts
    assert False in verdicts


def test_flipped_bits_and_wrong_lengths_have_one_verdict() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    secret = rng.randbytes(32)
    public, message = suites.public_ed25519(secret), rng.randbytes(50)
    good = suites.sign_ed25519(secret, message)
    assert judged_alike(public, message, good)
    for place in range(64 * 8):
        changed = bytearray(good)
        changed[place // 8] ^= 1 << place % 8
        assert not judged_alike(public, message, bytes(changed))
    for place in range(32 * 8):
        changed = bytearray(public)
        changed[place // 8] ^= 1 << place % 8
        assert not judged_alike(bytes(changed), message, good)
    beyond = int.from_bytes(good[32:], "little") + L
    assert not judged_alike(public, message, good[:32] + beyond.to_bytes(32, "little"))
    for wrong in (b"", good[:63], good + b"\x00"):
        assert not by_rule(public, message, wrong)
    for wrong in (b"", public[:31], public + b"\x00"):
        assert not by_rule(wrong, message, good)
        refused(Reason.BAD_CERTIFICATE, suites.check_ed25519_key, wrong)


def test_a_key_off_the_curve_is_refused() -> None:
    off = next(y for y in range(2, 99) if lift(y, 0) is None).to_bytes(32, "little")
    refused(Reason.BAD_CERTIFICATE, suites.check_ed25519_key, off)
    assert not judged_alike(off, b"m", suites.sign_ed25519(bytes(32), b"m"))


# Every suite


@SUITE_PARAMS
def test_no_signature_passes_in_another_suite(suite: Suite) -> None:
    """Not even a half of one, made with the same seed."""
    for other in EVERY_SUITE:
        if other.signing == suite.signing:
            continue
        secret = SECRETS[other.number]
        public = other.signing_public(secret)
        whole = suite.signer(SECRETS[suite.number])(b"m")
        for split in (0, 2420, 3309, 4627):
            for attempt in (whole[split:], whole[:split]):
                refused(Reason.BAD_SIGNATURE, other.verify, public, b"m", attempt)


@SUITE_PARAMS
def test_signing_keys_of_other_lengths_are_refused(suite: Suite) -> None:
    public = suite.signing_public(SECRETS[suite.number])
    suite.check_signing_key(public)
    for wrong in (b"", public[:-1], public + b"\x00", public[:-32] + SMALL_ENCODINGS[0], public[:-32] + b"\xff" * 32):
        refused(Reason.BAD_CERTIFICATE, suite.check_signing_key, wrong)


@SUITE_PARAMS
def test_a_changed_signature_or_message_is_refused(suite: Suite) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    secret, message = rng.randbytes(suite.signing_secret_size), rng.randbytes(60)
    public, good = suite.signing_public(secret), suite.signer(secret)(message)
    suite.verify(public, message, good)
    # Every bit of the short part at the end, and a sample of the rest.
    places = {*range(max(0, len(good) - 105), len(good)), *rng.sample(range(len(good)), min(60, len(good)))}
    for place in places:
        changed = bytearray(good)
        changed[place] ^= 1 << rng.randrange(8)
        refused(Reason.BAD_SIGNATURE, suite.verify, public, message, bytes(changed))
    for wrong in (b"", good[:-1], good[1:], good + b"\x00", b"\x00" + good, bytes(len(good)), good + good):
        refused(Reason.BAD_SIGNATURE, suite.verify, public, message, wrong)
    refused(Reason.BAD_SIGNATURE, suite.verify, public, message + b".", good)
    refused(Reason.BAD_SIGNATURE, suite.verify, suite.signing_public(secret[::-1]), message, good)


# ML-DSA


def test_mldsa_has_the_context_of_its_use() -> None:
    secret, message = bytes(32), b"m"
    public = suites.public_mldsa65(secret)
    suites.verify_mldsa65(public, message, suites.sign_mldsa65(secret, message))
    bare = mldsa.MLDSA65PrivateKey.from_seed_bytes(secret).sign(message)
    refused(Reason.BAD_SIGNATURE, suites.verify_mldsa65, public, message, bare)
    mldsa.MLDSA65PublicKey.from_public_bytes(public).verify(
        suites.sign_mldsa65(secret, message), message, b"infoexchange/v1"
    )
    for wrong in (b"", bytes(3309), bytes(10)):
        refused(Reason.BAD_SIGNATURE, suites.verify_mldsa65, public, message, wrong)
    # Logs and witnesses sign with ML-DSA-44 and, as C2SP says, no context.
    public = suites.public_mldsa44(secret)
    mldsa.MLDSA44PublicKey.from_public_bytes(public).verify(suites.sign_mldsa44(secret, message), message)
    suites.verify_mldsa44(public, message, suites.sign_mldsa44(secret, message))
    refused(Reason.BAD_SIGNATURE, suites.verify_mldsa44, public, b"n", suites.sign_mldsa44(secret, message))
    refused(Reason.BAD_CERTIFICATE, suites.verify_mldsa44, public[1:], message, b"")
    refused(Reason.BAD_CERTIFICATE, suites.verify_mldsa65, public, message, b"")


# Keys that are sealed to, and points


@pytest.mark.parametrize(
    ("number", "name", "size"),
    [(1, "X25519", 32), (2, "X-Wing", 1216), (3, "X-Wing", 1216), (4, "MLKEM1024-P384", 1665)],
)
def test_keys_to_seal_to_have_their_length(number: int, name: str, size: int) -> None:
    suite = suites.suite_of(number)
    public = suite.opening_public(bytes(suite.opening_secret_size))
    suite.check_opening_key(public)
    assert len(public) == size
    for wrong in (b"", public[:-1], public + b"\x00"):
        problem = refused(Reason.BAD_CERTIFICATE, suite.check_opening_key, wrong)
        assert problem.detail == f"a key of {name} has {size} bytes"
    assert b"".join(suite.sealing.parts(public)) == public
    assert [len(part) for part in suite.sealing.parts(public)] == {1: [32], 4: [1568, 97]}.get(number, [1184, 32])


def test_a_point_has_one_encoding() -> None:
    good = EcdsaP384().public(bytes(56))
    assert point_of(load_point(good)) == good
    assert (len(good), good[0]) == (97, 4)
    parity = bytes([2 + good[-1] % 2])
    for wrong in (
        b"",
        good[:-1],
        good + b"\x00",
        parity + good[1:49],
        bytes([6 + good[-1] % 2]) + good[1:],
        parity + good[1:],
    ):
        problem = refused(Reason.BAD_CERTIFICATE, load_point, wrong)
        assert "uncompressed point of 97 bytes" in problem.detail
    off = refused(Reason.BAD_CERTIFICATE, load_point, good[:-1] + bytes([good[-1] ^ 1]))
    assert off.detail == "not a point of P-384"


# PAE


def test_dsse_vectors() -> None:
    cases = shared("dsse/vectors.json")["vectors"]
    for case in cases:
        made = dsse.pae(case["payloadType"], case["payload_utf8"].encode())
        assert made == case["pae_utf8"].encode()
    assert cases
    # Lengths are of bytes, in decimal, and nothing is escaped.
    assert dsse.pae("é", b"\x00 2 ") == b"DSSEv1 2 \xc3\xa9 4 \x00 2 "
    assert dsse.pae("", b"") == b"DSSEv1 0  0 "
