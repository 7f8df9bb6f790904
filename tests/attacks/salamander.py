"""Salamander: one AES-GCM ciphertext with one tag that opens under two keys, made with no more than linear algebra.

GHASH is a polynomial in the hash key. Two tags are equal if the sum of both polynomials and both masks is zero, and as
one block of the ciphertext can be chosen freely, there is always a block that makes it so (Dodis, Grubbs, Ristenpart,
Woodage: Fast Message Franking, 2018). The block is placed where Content holds random salt, so that the first text reads
well. It is not the text that the header commits to: the keys depend on the header, so that the block comes after it.
"""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from infoexchange import suites
from infoexchange.content import Content
from infoexchange.header import Header

BODY = b"infoexchange/v1/body\x00"
AEAD = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
BLOCK = 16


def _times(a: int, b: int) -> int:
    """The product in GF(2^128) with GCM's order of bits."""
    product = 0
    for bit in range(127, -1, -1):
        if b >> bit & 1:
            product ^= a
        a = a >> 1 ^ (0xE1 << 120 if a & 1 else 0)
    return product


def _power(a: int, exponent: int) -> int:
    result = 1 << 127  # one
    while exponent:
        if exponent & 1:
            result = _times(result, a)
        a, exponent = _times(a, a), exponent >> 1
    return result


def _block(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def _stream(key: bytes, nonce: bytes, length: int) -> bytes:
    start = nonce + (2).to_bytes(4, "big")
    return Cipher(algorithms.AES(key), modes.CTR(start)).encryptor().update(bytes(length))


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _sum(key: bytes, nonce: bytes, ciphertext: bytes) -> tuple[int, int, int]:
    """The hash key, GHASH of a ciphertext without associated data, and the mask: the tag is their sum."""
    hash_key = int.from_bytes(_block(key, bytes(BLOCK)), "big")
    padded = ciphertext + bytes(-len(ciphertext) % BLOCK)
    total = 0
    for place in range(0, len(padded), BLOCK):
        total = _times(total ^ int.from_bytes(padded[place : place + BLOCK], "big"), hash_key)
    total = _times(total ^ 8 * len(ciphertext), hash_key)
    mask = int.from_bytes(_block(key, nonce + (1).to_bytes(4, "big")), "big")
    return hash_key, total, mask


def one_chunk(first: tuple[bytes, bytes], second: tuple[bytes, bytes], plaintext: bytes, free: int) -> bytes:
    """Ciphertext and tag that hold under two (key, nonce); but for the free block the first reads `plaintext`."""
    stream = _stream(*first, len(plaintext))
    chosen = plaintext[:free] + bytes(BLOCK) + plaintext[free + BLOCK :]
    ciphertext = bytearray(_xor(chosen, stream))
    ciphertext[free : free + BLOCK] = bytes(BLOCK)
    (h1, sum1, mask1), (h2, sum2, mask2) = (_sum(*pair, bytes(ciphertext)) for pair in (first, second))
    # The free block is followed by this many blocks, the one with the lengths among them.
    after = (len(ciphertext) + BLOCK - 1) // BLOCK - free // BLOCK + 1
    factor = _power(h1, after) ^ _power(h2, after)
    wanted = _times(sum1 ^ sum2 ^ mask1 ^ mask2, _power(factor, 2**128 - 2))
    ciphertext[free : free + BLOCK] = wanted.to_bytes(BLOCK, "big")
    _, total, mask = _sum(*first, bytes(ciphertext))
    return bytes(ciphertext) + (total ^ mask).to_bytes(BLOCK, "big")


def _chunk_keys(content_key: bytes, context: bytes, salt: bytes) -> tuple[bytes, bytes, bytes]:
    """Key, nonce and commitment of Cobblestone-256 for the only chunk."""
    made = HKDFExpand(hashes.SHA512(), 76, AEAD + salt + context).derive(content_key)
    return made[:32], made[32:44], made[44:]


def two_readings(head: Header, said: Content, key: bytes, other: bytes) -> bytes:
    """A body that AES-GCM decrypts under two content keys, with the Cobblestone commitment of the first."""
    free = said.raw.index(said.salt_seed) + BLOCK - 1
    free -= free % BLOCK  # a whole block within the salt
    digest, salt = sha256(head.raw).digest(), bytes(24)
    keys = [_chunk_keys(suites.derive(k, BODY, digest), BODY + digest, salt) for k in (key, other)]
    (first, second), commitment = [made[:2] for made in keys], keys[0][2]
    chunk = one_chunk(first, second, said.raw, free)
    for chunk_key, nonce in (first, second):
        assert AESGCM(chunk_key).decrypt(nonce, chunk, None)  # AES-GCM alone is content with both
    return salt + commitment + chunk
