"""Stream: the content cipher piece by piece, and any chunk of it alone (SPEC section Suites)."""

from __future__ import annotations

from typing import Protocol

from cryptography import cobblestone
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time, hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from infoexchange.suites.refusals import bad_ciphertext

# Specification constants, all of C2SP chunked-encryption, Cobblestone-256
BODY_OVERHEAD = 24 + 32  # salt and commitment, before the first chunk
CHUNK_SIZE = 16 * 1024  # plaintext bytes of every chunk but the last, which is always shorter
CHUNK_OVERHEAD = 16  # the AES-GCM tag after each chunk
_SALT_SIZE = 24
_LABEL = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


class Encrypting(Protocol):
    """Encrypts one plaintext as it streams by."""

    def update(self, data: bytes) -> bytes:
        """Return the next ciphertext bytes, perhaps none."""

    def finalize(self) -> bytes:
        """Return the last ciphertext bytes."""


def encrypting(key: bytes, context: bytes) -> Encrypting:
    """Return what encrypts a stream to one Cobblestone-256 ciphertext under a fresh salt."""
    return cobblestone.Cobblestone256Encryptor(key, context)


class ChunkOpener:
    """Opens any chunk of one Cobblestone-256 ciphertext: each is AES-256-GCM of its own, numbered by its nonce.

    Whoever uses it sees to it that the last chunk is the last one, by the length that was signed.
    """

    def __init__(self, key: bytes, context: bytes, head: bytes) -> None:
        """Derive keys from the first 56 bytes of the ciphertext, or raise the one `BAD_CIPHERTEXT`."""
        salt, commitment = head[:_SALT_SIZE], head[_SALT_SIZE:]
        info = _LABEL + salt + context
        derived = HKDFExpand(algorithm=hashes.SHA512(), length=32 + 12 + 32, info=info).derive(key)
        # The commitment has 32 bytes, so that no head of another length passes.
        if not constant_time.bytes_eq(derived[44:], commitment):
            raise bad_ciphertext()
        self._cipher = AESGCM(derived[:32])
        self._nonce = int.from_bytes(derived[32:44], "big")

    def open(self, index: int, chunk: bytes | memoryview) -> bytes:
        """Return the plaintext of chunk `index`, from 0, or raise the one `BAD_CIPHERTEXT`."""
        try:
            return self._cipher.decrypt((self._nonce ^ index).to_bytes(12, "big"), chunk, None)
        except (InvalidTag, ValueError):
            raise bad_ciphertext() from None
