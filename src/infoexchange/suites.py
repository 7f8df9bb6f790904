"""Suites: every cryptographic algorithm in use, chosen whole by one number (SPEC section Suites).

A suite is all or nothing, so that no mixture of strong and weak parts can be negotiated. Primitives are called here and
in `certificates` only; everything else names a suite and passes bytes. Secrets are seeds; keys and signatures are raw.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import cobblestone
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from nacl import bindings as sodium
from nacl import exceptions as sodium_exceptions

from infoexchange.errors import Reason, error

Entropy = Callable[[int], bytes]
Sign = Callable[[bytes], bytes]
Unwrap = Callable[[bytes, bytes], bytes]

# Specification constants
CONTENT_KEY_SIZE = 32  # AES-256 and Cobblestone-256 keys
BODY_OVERHEAD = 56  # Cobblestone: 24-byte salt and 32-byte commitment before the first chunk
_COMPOSITE_LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"  # draft-ietf-lamps-pq-composite-sigs, id-MLDSA65-Ed25519-SHA512
_COMPOSITE_PREFIX = b"CompositeAlgorithmSignatures2025"  # the same draft, section on prefixes
CONTEXT = b"infoexchange/v1"  # application context of every composite and ML-DSA signature
_ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, L
_FIELD_PRIME = 2**255 - 19
_ZERO_NONCE = bytes(12)

# Implementation constants
_KEYS_CACHED = 4096  # parsed public keys; about 1 KiB each, enough for every agency of a region


def _small_order_encodings() -> frozenset[int]:
    """Return the y coordinates, top bit cleared, of every encoding of a small-order point (SPEC section Ed25519)."""
    order8 = (
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
    return frozenset({0, 1, _FIELD_PRIME - 1, *(int.from_bytes(bytes.fromhex(y), "little") for y in order8)})


_SMALL_ORDER = _small_order_encodings()


def _is_good_point(encoding: bytes) -> bool:
    """Whether `encoding` is canonical and of large order, as far as its bytes tell."""
    y = int.from_bytes(encoding, "little") & (2**255 - 1)
    return y < _FIELD_PRIME and y not in _SMALL_ORDER


def check_ed25519_key(public: bytes) -> None:
    """Accept a key into a bundle, certificate or verifier key, or raise.

    Stricter than verification: a point of mixed order is refused as well, so no signature can be ambiguous later.

    Raises:
        UntrustedError: `BAD_CERTIFICATE` when the key has the wrong length, is not canonical or has a small-order part.
    """
    if len(public) != 32 or not _is_good_point(public) or not sodium.crypto_core_ed25519_is_valid_point(public):
        raise error(Reason.BAD_CERTIFICATE, field="public_key", detail="not an acceptable Ed25519 key")


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> None:
    """Return if the signature holds under the one acceptance rule of this system, or raise.

    Libraries differ on small-order points, so the rule is written out here and holds for envelope, log and witness
    alike: canonical large-order A and R, S below the group order, cofactorless equation (SPEC section Ed25519).

    Raises:
        UntrustedError: `BAD_SIGNATURE`.
    """
    ok = (
        len(public) == 32
        and len(signature) == 64
        and int.from_bytes(signature[32:], "little") < _ED25519_ORDER
        and _is_good_point(public)
        and _is_good_point(signature[:32])
    )
    if ok:
        try:
            sodium.crypto_sign_open(signature + message, public)
            return
        except (sodium_exceptions.BadSignatureError, sodium_exceptions.ValueError):
            pass
    raise error(Reason.BAD_SIGNATURE, detail="the Ed25519 signature does not hold")


def sign_ed25519(secret: bytes, message: bytes) -> bytes:
    """Return the 64-byte signature made with a 32-byte seed."""
    return _ed25519_secret(secret).sign(message)


def public_ed25519(secret: bytes) -> bytes:
    """Return the 32-byte public key of a 32-byte seed."""
    return _ed25519_secret(secret).public_key().public_bytes_raw()


def verify_mldsa44(public: bytes, message: bytes, signature: bytes) -> None:
    """Return if an ML-DSA-44 signature with empty context holds (logs and witnesses), or raise `BAD_SIGNATURE`."""
    _verify_mldsa(_mldsa44_public(public), message, signature, None)


def sign_mldsa44(secret: bytes, message: bytes) -> bytes:
    """Return the 2 420-byte signature with empty context made with a 32-byte seed."""
    return mldsa.MLDSA44PrivateKey.from_seed_bytes(secret).sign(message)


def public_mldsa44(secret: bytes) -> bytes:
    """Return the 1 312-byte public key of a 32-byte seed."""
    return mldsa.MLDSA44PrivateKey.from_seed_bytes(secret).public_key().public_bytes_raw()


def verify_mldsa65(public: bytes, message: bytes, signature: bytes, context: bytes = CONTEXT) -> None:
    """Return if an ML-DSA-65 signature holds, or raise `BAD_SIGNATURE`."""
    _verify_mldsa(_mldsa65_public(public), message, signature, context)


def sign_mldsa65(secret: bytes, message: bytes, context: bytes = CONTEXT) -> bytes:
    """Return the 3 309-byte signature made with a 32-byte seed."""
    return mldsa.MLDSA65PrivateKey.from_seed_bytes(secret).sign(message, context)


def public_mldsa65(secret: bytes) -> bytes:
    """Return the 1 952-byte public key of a 32-byte seed."""
    return mldsa.MLDSA65PrivateKey.from_seed_bytes(secret).public_key().public_bytes_raw()


def _verify_mldsa(
    key: mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey, message: bytes, signature: bytes, context: bytes | None
) -> None:
    try:
        key.verify(signature, message, context)
    except (InvalidSignature, ValueError):
        raise error(Reason.BAD_SIGNATURE, detail="the ML-DSA signature does not hold") from None


def _bad_key(detail: str) -> Exception:
    return error(Reason.BAD_CERTIFICATE, field="public_key", detail=detail)


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _mldsa44_public(public: bytes) -> mldsa.MLDSA44PublicKey:
    if len(public) != 1312:
        raise _bad_key("an ML-DSA-44 key has 1312 bytes")
    return mldsa.MLDSA44PublicKey.from_public_bytes(public)


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _mldsa65_public(public: bytes) -> mldsa.MLDSA65PublicKey:
    if len(public) != 1952:
        raise _bad_key("an ML-DSA-65 key has 1952 bytes")
    return mldsa.MLDSA65PublicKey.from_public_bytes(public)


def _ed25519_secret(secret: bytes) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(secret)


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _xwing_public(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    if len(public) != 1216:
        raise _bad_key("an X-Wing key has 1216 bytes")
    try:
        return hpke.MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184]),
            x25519.X25519PublicKey.from_public_bytes(public[1184:]),
        )
    except ValueError:
        raise _bad_key("not an X-Wing key") from None


def _xwing_halves(seed: bytes) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
    """Return both private halves of a 32-byte X-Wing seed (draft-connolly-cfrg-xwing-kem, expandDecapsulationKey)."""
    expanded = hashlib.shake_256(seed).digest(96)
    return (
        mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        x25519.X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


def _composite_message(message: bytes) -> bytes:
    return _COMPOSITE_PREFIX + _COMPOSITE_LABEL + bytes([len(CONTEXT)]) + CONTEXT + hashlib.sha512(message).digest()


def ed25519_signer(secret: bytes) -> Sign:
    """Return a function that signs with a 32-byte seed, expanded once."""
    return _ed25519_secret(secret).sign


def mldsa44_signer(secret: bytes) -> Sign:
    """Return a function that signs with a 32-byte seed, expanded once, with empty context."""
    return mldsa.MLDSA44PrivateKey.from_seed_bytes(secret).sign


def _composite_signer(secret: bytes) -> Sign:
    post_quantum, classical = mldsa.MLDSA65PrivateKey.from_seed_bytes(secret[:32]), _ed25519_secret(secret[32:])

    def sign(message: bytes) -> bytes:
        inner = _composite_message(message)
        return post_quantum.sign(inner, _COMPOSITE_LABEL) + classical.sign(inner)

    return sign


def _verify_composite(public: bytes, message: bytes, signature: bytes) -> None:
    if len(signature) != 3309 + 64:
        raise error(Reason.BAD_SIGNATURE, detail="a hybrid signature has 3373 bytes, both halves")
    inner = _composite_message(message)
    verify_ed25519(public[1952:], inner, signature[3309:])
    verify_mldsa65(public[:1952], inner, signature[:3309], _COMPOSITE_LABEL)


def _public_composite(secret: bytes) -> bytes:
    return public_mldsa65(secret[:32]) + public_ed25519(secret[32:])


def _check_composite_key(public: bytes) -> None:
    if len(public) != 1952 + 32:
        raise _bad_key("a hybrid key has 1984 bytes")
    _mldsa65_public(public[:1952])
    check_ed25519_key(public[1952:])


_XWING = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class Suite:
    """One row of the registry: how to sign and how to wrap a content key.

    Attributes:
        number: Registry number, as in the header.
        name: Registry name.
        signing_secret_size: Bytes of a signing secret (seeds of all halves).
        wrap_size: Exact bytes of HPKE `enc || ct` around a 32-byte content key.
        signer: `secret -> (message -> signature)`; expanding a seed costs as much as signing, so it is done once.
        verify: `(public, message, signature)`; returns nothing or raises `BAD_SIGNATURE`.
        signing_public: `secret -> public`.
        check_signing_key: Accepts a public key or raises `BAD_CERTIFICATE`.
    """

    number: int
    name: str
    signing_secret_size: int
    wrap_size: int
    signer: Callable[[bytes], Sign]
    verify: Callable[[bytes, bytes, bytes], None]
    signing_public: Callable[[bytes], bytes]
    check_signing_key: Callable[[bytes], None]

    def opening_public(self, secret: bytes) -> bytes:
        """Return the raw public key to seal to, for a 32-byte seed."""
        kem, curve = _xwing_halves(secret)
        return kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def check_opening_key(self, public: bytes) -> None:
        """Accept a public key to seal to, or raise `BAD_CERTIFICATE`."""
        _xwing_public(public)
        try:
            # OpenSSL refuses low-order points only when they are used; that must not be at the sender's.
            x25519.X25519PrivateKey.generate().exchange(x25519.X25519PublicKey.from_public_bytes(public[1184:]))
        except ValueError:
            raise _bad_key("a low-order X25519 key") from None

    def wrap(self, public: bytes, content_key: bytes, info: bytes) -> bytes:
        """Return `enc || ct`: the content key sealed with HPKE (RFC 9180, base mode) under `info`."""
        return _XWING.encrypt(content_key, _xwing_public(public), info)

    def opener(self, secret: bytes) -> Unwrap:
        """Return a function that unwraps content keys with a 32-byte seed, expanded once.

        It returns the content key, or raises the one `BAD_CIPHERTEXT` that says nothing more.
        """
        private = hpke.MLKEM768X25519PrivateKey(*_xwing_halves(secret))

        def unwrap(wrapped: bytes, info: bytes) -> bytes:
            # (8) the exact length is checked before any decryption, so that a wrap cannot be probed
            if len(wrapped) == self.wrap_size:
                try:
                    content_key = _XWING.decrypt(wrapped, private, info)
                except (InvalidTag, ValueError):
                    content_key = b""
                if len(content_key) == CONTENT_KEY_SIZE:
                    return content_key
            raise bad_ciphertext()

        return unwrap


HYBRID = Suite(
    0x0002, "HYBRID", 64, 1168, _composite_signer, _verify_composite, _public_composite, _check_composite_key
)
HYBRID_KEM = Suite(0x0003, "HYBRID-KEM", 32, 1168, ed25519_signer, verify_ed25519, public_ed25519, check_ed25519_key)
SUITES: dict[int, Suite] = {suite.number: suite for suite in (HYBRID, HYBRID_KEM)}
DEFAULT_SUITE = HYBRID


def suite_of(number: int) -> Suite:
    """Return the suite with that number, or raise `SUITE_NOT_ACCEPTED`."""
    suite = SUITES.get(number)
    if suite is None:
        raise error(Reason.SUITE_NOT_ACCEPTED, field="suite", detail=f"suite 0x{number:04x} is not implemented")
    return suite


def bad_ciphertext() -> Exception:
    """Return the single decryption error: more words would help an attacker who tries variants."""
    return error(Reason.BAD_CIPHERTEXT, detail="the content cannot be opened")


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
