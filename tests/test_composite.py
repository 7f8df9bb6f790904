"""Composite signatures: the draft's own vectors, both halves, and one form of what has a variable length."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from infoexchange import suites
from infoexchange.errors import Reason
from infoexchange.suites import HYBRID, NIST_HIGH, Suite
from infoexchange.suites.composite import MLDSA65_ED25519, MLDSA87_P384, Composite
from test_suites import SECRETS, refused

VECTORS: Any = json.loads((Path(__file__).parent / "vectors" / "composite-mldsa.json").read_bytes())
ALGORITHMS = {c.name: c for c in (MLDSA65_ED25519, MLDSA87_P384)}
COMPOSITES = pytest.mark.parametrize("suite", [HYBRID, NIST_HIGH], ids=lambda s: s.name)
SPLIT = {HYBRID.number: 3309, NIST_HIGH.number: 4627}
LABEL = {HYBRID.number: b"COMPSIG-MLDSA65-Ed25519-SHA512", NIST_HIGH.number: b"COMPSIG-MLDSA87-ECDSA-P384-SHA512"}
ORDER = 2**384 - 1388124618062372383947042015309946732620727252194336364173  # SEC 2, secp384r1, n


def seed_of(case: dict[str, str]) -> bytes:
    """Our form of the draft's secret: its P-384 half is an ECPrivateKey, ours a number that gives the same key."""
    raw = base64.b64decode(case["sk"])
    if len(raw) == 64:
        return raw
    head, scalar, tail = raw[32:39], raw[39:87], raw[87:]
    assert (head.hex(), tail.hex()) == ("303e0201010430", "a00706052b81040022")
    return raw[:32] + (int.from_bytes(scalar, "big") - 1).to_bytes(56, "big")


def inner_message(suite: Suite, message: bytes) -> bytes:
    """M' of draft-ietf-lamps-pq-composite-sigs, from the specification's text and not from the code."""
    head = b"CompositeAlgorithmSignatures2025" + LABEL[suite.number]
    return head + b"\x0f" + b"infoexchange/v1" + hashlib.sha512(message).digest()


@pytest.mark.parametrize("case", VECTORS["tests"], ids=lambda c: c["tcId"])
def test_the_drafts_own_signatures_hold(case: dict[str, str]) -> None:
    message, signature = base64.b64decode(VECTORS["m"]), base64.b64decode(case["s"])
    plain: Composite = replace(ALGORITHMS[case["tcId"]], context=b"")  # the vectors have no application context
    public = plain.public(seed_of(case))
    text = base64.b64encode(public).decode()
    assert text.startswith(case["pk_first"])
    assert text.endswith(case["pk_last"])
    plain.verify(public, message, signature)
    refused(Reason.BAD_SIGNATURE, plain.verify, public, message + b" ", signature)
    # Ours are under our context: neither passes for the other.
    ours = ALGORITHMS[case["tcId"]]
    refused(Reason.BAD_SIGNATURE, ours.verify, public, message, signature)
    refused(Reason.BAD_SIGNATURE, plain.verify, public, message, ours.signer(seed_of(case))(message))


def test_there_are_vectors_of_both() -> None:
    assert {case["tcId"] for case in VECTORS["tests"]} == ALGORITHMS.keys()


def test_a_hybrid_signature_is_the_drafts() -> None:
    secret, message = SECRETS[HYBRID.number], b"what is signed"
    public, signature = HYBRID.signing_public(secret), HYBRID.signer(secret)(message)
    assert (len(public), len(signature)) == (1984, 3373)
    inner, label = inner_message(HYBRID, message), LABEL[HYBRID.number]
    mldsa.MLDSA65PublicKey.from_public_bytes(public[:1952]).verify(signature[:3309], inner, label)
    ed25519.Ed25519PublicKey.from_public_bytes(public[1952:]).verify(signature[3309:], inner)
    by_hand = mldsa.MLDSA65PrivateKey.from_seed_bytes(secret[:32]).sign(inner, label)
    by_hand += ed25519.Ed25519PrivateKey.from_private_bytes(secret[32:]).sign(inner)
    HYBRID.verify(public, message, by_hand)


def test_a_nist_signature_is_the_drafts() -> None:
    secret, message = SECRETS[NIST_HIGH.number], b"what is signed"
    public, signature = NIST_HIGH.signing_public(secret), NIST_HIGH.signer(secret)(message)
    inner, label, algorithm = inner_message(NIST_HIGH, message), LABEL[NIST_HIGH.number], ec.ECDSA(hashes.SHA384())
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), public[2592:])
    mldsa.MLDSA87PublicKey.from_public_bytes(public[:2592]).verify(signature[:4627], inner, label)
    point.verify(signature[4627:], inner, algorithm)
    # d = (c mod (n - 1)) + 1 of FIPS 186-5, A.2.1
    private = ec.derive_private_key(int.from_bytes(secret[32:], "big") % (ORDER - 1) + 1, ec.SECP384R1())
    assert private.public_key() == point
    by_hand = mldsa.MLDSA87PrivateKey.from_seed_bytes(secret[:32]).sign(inner, label)
    NIST_HIGH.verify(public, message, by_hand + private.sign(inner, algorithm))


def test_any_bytes_are_a_secret() -> None:
    for raw in (bytes(88), b"\xff" * 88, bytes(32) + (ORDER - 1).to_bytes(56, "big")):
        NIST_HIGH.verify(NIST_HIGH.signing_public(raw), b"m", NIST_HIGH.signer(raw)(b"m"))


@COMPOSITES
def test_both_halves_of_a_composite_must_hold(suite: Suite) -> None:
    secret, message, split = SECRETS[suite.number], b"what is signed", SPLIT[suite.number]
    public, good = suite.signing_public(secret), suite.signer(secret)(message)
    other = suite.signer(secret)(b"something else")
    suite.verify(public, message, good)
    classical = suite.signing.classical.signer(secret[32:])
    post_quantum = suite.signing.post_quantum.signer
    for wrong in (
        other[:split] + good[split:],
        good[:split] + other[split:],
        bytes(split) + good[split:],
        good[:split] + bytes(len(good) - split),
        good[split:] + good[:split],
        good[:split],
        good[split:],
        good + b"\x00",
        good[:-1],
        b"",
        # each half over the message itself, and with another context
        post_quantum(secret[:32], suites.CONTEXT)(message) + classical(message),
        post_quantum(secret[:32], suites.CONTEXT)(inner_message(suite, message)) + good[split:],
        post_quantum(secret[:32], None)(inner_message(suite, message)) + good[split:],
    ):
        refused(Reason.BAD_SIGNATURE, suite.verify, public, message, wrong)
    refused(Reason.BAD_SIGNATURE, suite.verify, public, message + b".", good)


@COMPOSITES
def test_both_halves_of_a_key_must_be_good(suite: Suite) -> None:
    public = suite.signing_public(SECRETS[suite.number])
    first, second = suite.signing.parts(public)
    assert first + second == public
    for wrong in (first, second, second + first, first + bytes(len(second)), first + b"\xff" * len(second)):
        refused(Reason.BAD_CERTIFICATE, suite.check_signing_key, wrong)


# The half that is DER


def number(value: int, *, zeros: int = 0) -> bytes:
    raw = bytes(zeros) + value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([0x02, len(raw)]) + raw


def sequence(body: bytes) -> bytes:
    return bytes([0x30, len(body)]) + body


def test_a_signature_has_one_encoding_for_each_pair_of_numbers() -> None:
    secret, message = SECRETS[NIST_HIGH.number], b"what is signed"
    public, good = NIST_HIGH.signing_public(secret), NIST_HIGH.signer(secret)(message)
    first, second = good[:4627], good[4627:]
    r, s = decode_dss_signature(second)
    assert sequence(number(r) + number(s)) == second
    body = number(r) + number(s)
    for wrong in (
        sequence(number(r, zeros=1) + number(s)),
        sequence(number(r) + number(s, zeros=1)),
        b"\x30\x81" + bytes([len(body)]) + body,
        b"\x30\x80" + body + b"\x00\x00",
        b"\x31" + second[1:],
        second + b"\x00",
        sequence(body + b"\x05\x00"),
        sequence(body + number(1)),
        sequence(number(r)),
        sequence(b"\x02\x31" + (r + ORDER).to_bytes(49, "big") + number(s)),
        sequence(number(r) + number(s + ORDER)),
        sequence(number(0) + number(0)),
        sequence(number(r) + number(0)),
        sequence(b"\x02\x30" + r.to_bytes(48, "big") + number(s)) if r >> 383 else sequence(b"\x02\x00" + number(s)),
        r.to_bytes(48, "big") + s.to_bytes(48, "big"),
        b"",
        bytes(104),
    ):
        refused(Reason.BAD_SIGNATURE, NIST_HIGH.verify, public, message, first + wrong)


def test_both_values_of_s_hold() -> None:
    """As in the draft; nothing is named by its signature, which `test_downgrade` shows for an envelope."""
    secret, message = SECRETS[NIST_HIGH.number], b"what is signed"
    public, good = NIST_HIGH.signing_public(secret), NIST_HIGH.signer(secret)(message)
    r, s = decode_dss_signature(good[4627:])
    NIST_HIGH.verify(public, message, good[:4627] + encode_dss_signature(r, ORDER - s))


def test_lengths_of_the_second_half() -> None:
    secret = SECRETS[NIST_HIGH.number]
    signer = MLDSA87_P384.classical.signer(secret[32:])
    lengths = {len(signer(bytes([n]))) for n in range(60)}
    assert lengths <= set(MLDSA87_P384.classical.signature_sizes)
    assert len(lengths) > 1
    sizes = MLDSA87_P384.classical.signature_sizes
    longest = encode_dss_signature(ORDER - 1, ORDER - 1)
    assert (sizes[0], sizes[-1]) == (len(encode_dss_signature(1, 1)), len(longest)) == (8, 104)


def test_a_point_has_one_encoding() -> None:
    public = NIST_HIGH.signing_public(SECRETS[NIST_HIGH.number])
    first, point = public[:2592], public[2592:]
    compressed = bytes([2 + (point[-1] & 1)]) + point[1:49]
    off = point[:-1] + bytes([point[-1] ^ 1])
    for wrong in (compressed, b"\x06" + point[1:], b"\x07" + point[1:], b"\x00", bytes(97), b"\x04" + bytes(96), off):
        refused(Reason.BAD_CERTIFICATE, NIST_HIGH.check_signing_key, first + wrong)
        refused(Reason.BAD_CERTIFICATE, NIST_HIGH.check_signing_key, first + wrong.ljust(97, b"\x00"))
