"""Cipher: keys derived from the content key, and the body cipher of every suite (SPEC section Suites)."""

from __future__ import annotations

from cryptography import cobblestone
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from infoexchange.suites.refusals import bad_ciphertext

# Specification constants
CONTENT_KEY_SIZE = 32  # AES-256 and Cobblestone-256 keys
_ZERO_NONCE = bytes(12)


def derive(content_key: bytes, label: bytes, context: bytes) -> bytes:
    """Return 32 bytes: HKDF-Expand-SHA256(content_key, label || context)."""
    return HKDFExpand(algorithm=hashes.SHA256(), length=32, info=label + context).derive(content_key)


def wrap_key(key: bytes, content_key: bytes) -> bytes:
    """Return AES-256-GCM of a content key; `key` serves this once, so the nonce is zero."""
    return AESGCM(key).encrypt(_ZERO_NONCE, content_key, None)


def unwrap_key(key: bytes, wrapped: bytes) -> bytes:
    """Return the content key that `wrap_key` wrapped, or raise the one `BAD_CIPHERTEXT`."""
    try:
        content_key = AESGCM(key).decrypt(_ZERO_NONCE, wrapped, None)
    except (InvalidTag, ValueError):
        raise bad_ciphertext() from None
    if len(content_key) != CONTENT_KEY_SIZE:
        raise bad_ciphertext()
    return content_key


def encrypt_body(key: bytes, context: bytes, plaintext: bytes) -> bytes:
    """Return the Cobblestone-256 ciphertext (C2SP chunked-encryption)."""
    encryptor = cobblestone.Cobblestone256Encryptor(key, context)
    return encryptor.update(plaintext) + encryptor.finalize()


def decrypt_body(key: bytes, context: bytes, ciphertext: bytes) -> bytes:
    """Return the plaintext, or raise the one `BAD_CIPHERTEXT`."""
    try:
        decryptor = cobblestone.Cobblestone256Decryptor(key, context)
        return decryptor.update(ciphertext) + decryptor.finalize()
    except (InvalidTag, ValueError):
        raise bad_ciphertext() from None
