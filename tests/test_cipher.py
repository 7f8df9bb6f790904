"""Cipher: bodies that come back whole or not at all, and keys derived, by the book."""

from __future__ import annotations

import hmac
import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infoexchange import suites
from infoexchange.errors import Reason
from infoexchange.suites.cipher import unwrap_key, wrap_key
from test_keys import expand
from test_suites import refused


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 32768, 100_000])
def test_a_body_comes_back_whole_or_not_at_all(size: int) -> None:
    key, plain = bytes(range(32)), random.Random(size).randbytes(size)
    body = suites.encrypt_body(key, b"context", plain)
    assert len(body) == suites.BODY_OVERHEAD + size + 16 * (size // 16384 + 1)
    assert suites.decrypt_body(key, b"context", body) == plain
    chunks = [suites.BODY_OVERHEAD + n * (16384 + 16) for n in range(size // 16384 + 1)]
    wrong = [body[:n] for n in {0, 1, 24, 55, len(body) - 1, *chunks}] + [body + b"\x00", body[1:]]
    for place in {0, 23, 24, 55, 56, len(body) - 1}:
        wrong.append(body[:place] + bytes([body[place] ^ 0x80]) + body[place + 1 :])
    for attempt in wrong:
        refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, key, b"context", attempt)
    refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, key, b"contexT", body)
    refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, bytes(32), b"context", body)


def test_chunks_do_not_change_places() -> None:
    key = bytes(32)
    body = suites.encrypt_body(key, b"", bytes(3 * 16384))
    start, chunk = suites.BODY_OVERHEAD, 16384 + 16
    first, second = body[start : start + chunk], body[start + chunk : start + 2 * chunk]
    for wrong in (first + first, second + first, second):
        attempt = body[:start] + wrong + body[start + 2 * chunk :]
        refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, key, b"", attempt)


def test_the_body_cipher_is_the_specifications() -> None:
    """Key, nonce and commitment derived a second time, with hmac alone."""
    key, context, plain = bytes(range(32)), b"context", b"x" * 20_000
    body = suites.encrypt_body(key, context, plain)
    salt, commit = body[:24], body[24:56]
    label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
    out, block = b"", b""
    for n in (1, 2):
        block = hmac.digest(key, block + label + salt + context + bytes([n]), "sha512")
        out += block
    assert out[44:76] == commit
    nonces = [(int.from_bytes(out[32:44], "big") ^ n).to_bytes(12, "big") for n in (0, 1)]
    chunks = body[56 : 56 + 16400], body[56 + 16400 :]
    opened = [AESGCM(out[:32]).decrypt(nonce, c, b"") for nonce, c in zip(nonces, chunks, strict=True)]
    assert b"".join(opened) == plain


def test_derived_keys_are_hkdf() -> None:
    assert suites.derive(bytes(32), b"label", b"context") == expand(bytes(32), b"labelcontext", 32)


def test_a_key_of_another_length_opens_nothing() -> None:
    wrapped = wrap_key(bytes(32), bytes(range(32)))
    assert wrapped == AESGCM(bytes(32)).encrypt(bytes(12), bytes(range(32)), None)
    assert unwrap_key(bytes(32), wrapped) == bytes(range(32))
    body = suites.encrypt_body(bytes(32), b"", b"plain")
    for size in (0, 5, 31, 33):
        refused(Reason.BAD_CIPHERTEXT, unwrap_key, bytes(size), wrapped)
        refused(Reason.BAD_CIPHERTEXT, suites.decrypt_body, bytes(size), b"", body)
    for content_key in (b"", bytes(31), bytes(33)):
        refused(Reason.BAD_CIPHERTEXT, unwrap_key, bytes(32), wrap_key(bytes(32), content_key))
    for wrong in (b"", wrapped[:-1], wrapped + b"\x00", wrapped[:15]):
        refused(Reason.BAD_CIPHERTEXT, unwrap_key, bytes(32), wrong)
