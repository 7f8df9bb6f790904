"""Kem: content keys wrapped with HPKE (RFC 9180, base mode, single shot) over three key encapsulations.

The library has no form for hybrid keys, so theirs is written here: ML-KEM first, then the curve (SPEC section Suites).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519

from infoexchange.suites.cipher import CONTENT_KEY_SIZE
from infoexchange.suites.ecdsa import load_point, point_of
from infoexchange.suites.refusals import bad_ciphertext, bad_key
from infoexchange.suites.scheme import Unwrap

# Specification constants
SEED_SIZE = 32  # X25519 and the hybrids alike
TAG_SIZE = 16  # AES-256-GCM
_MLKEM_SEED = 64  # FIPS 203, d || z
_MLKEM768_PUBLIC = 1184
_MLKEM1024_PUBLIC = 1568
_P384_SCALAR = 48

# Implementation constants
_KEYS_CACHED = 4096  # parsed public keys; a few KiB each, enough for every agency of a region

_Private = x25519.X25519PrivateKey | hpke.MLKEM768X25519PrivateKey | hpke.MLKEM1024P384PrivateKey
_Public = x25519.X25519PublicKey | hpke.MLKEM768X25519PublicKey | hpke.MLKEM1024P384PublicKey


@dataclass(frozen=True)
class Kem:
    """HPKE with one key encapsulation, as a sealing scheme.

    Attributes:
        name: Name of the key encapsulation.
        kem: The library's name for it.
        kdf: The library's name for the key derivation.
        public_size: Bytes of a public key.
        enc_size: Bytes of `enc`.
        split: Where the curve's key begins in a hybrid public key; 0 where there is only one key.
        private: From seed to private key.
        public_of: From seed to public key.
        load: From public key of the right size to the library's; raises `ValueError` unless it is safe to seal to.
    """

    name: str
    kem: str
    kdf: str
    public_size: int
    enc_size: int
    split: int
    private: Callable[[bytes], _Private] = field(repr=False)
    public_of: Callable[[bytes], bytes] = field(repr=False)
    load: Callable[[bytes], _Public] = field(repr=False)
    secret_size: int = SEED_SIZE

    @property
    def wrap_size(self) -> int:
        """Exact bytes of `enc || ct` around a content key."""
        return self.enc_size + CONTENT_KEY_SIZE + TAG_SIZE

    def public(self, secret: bytes) -> bytes:
        """Return the raw public key of a 32-byte seed."""
        return self.public_of(secret)

    def check_key(self, public: bytes) -> None:
        """Accept a public key to seal to, or raise `BAD_CERTIFICATE`."""
        _loaded(self, public)

    def wrap(self, public: bytes, content_key: bytes, info: bytes) -> bytes:
        """Return `enc || ct` with empty AAD."""
        return _hpke(self.kem, self.kdf).encrypt(content_key, _loaded(self, public), info)

    def opener(self, secret: bytes) -> Unwrap:
        """Return a function that opens `enc || ct` with a 32-byte seed, expanded once."""
        private = self.private(secret)
        scheme = _hpke(self.kem, self.kdf)

        def unwrap(wrapped: bytes, info: bytes) -> bytes:
            try:
                return scheme.decrypt(wrapped, private, info)
            except (InvalidTag, ValueError):
                raise bad_ciphertext() from None

        return unwrap

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        """Return the keys it is made of."""
        return (public[: self.split], public[self.split :]) if self.split else (public,)


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _loaded(kem: Kem, public: bytes) -> _Public:
    if len(public) != kem.public_size:
        raise bad_key(f"a key of {kem.name} has {kem.public_size} bytes")
    try:
        return kem.load(public)
    except ValueError:
        raise bad_key(f"not a key of {kem.name} that is safe to seal to") from None


@functools.cache
def _hpke(kem: str, kdf: str) -> hpke.Suite:
    """Return the library's scheme, made when first needed: some builds of OpenSSL cannot make all of them."""
    return hpke.Suite(getattr(hpke.KEM, kem), getattr(hpke.KDF, kdf), hpke.AEAD.AES_256_GCM)


# X25519


def _curve25519(secret: bytes) -> x25519.X25519PrivateKey:
    return x25519.X25519PrivateKey.from_private_bytes(secret)


def _curve25519_public(secret: bytes) -> bytes:
    return _curve25519(secret).public_key().public_bytes_raw()


def _load_curve25519(public: bytes) -> x25519.X25519PublicKey:
    key = x25519.X25519PublicKey.from_public_bytes(public)
    # OpenSSL refuses low-order points only when they are used; that must not be at the sender's.
    _curve25519(bytes(SEED_SIZE)).exchange(key)
    return key


# X-Wing: seeds are expanded as draft-connolly-cfrg-xwing-kem says


def _xwing_halves(seed: bytes) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED + 32)
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED]), _curve25519(expanded[_MLKEM_SEED:])


def _xwing_private(seed: bytes) -> hpke.MLKEM768X25519PrivateKey:
    return hpke.MLKEM768X25519PrivateKey(*_xwing_halves(seed))


def _xwing_public(seed: bytes) -> bytes:
    kem, curve = _xwing_halves(seed)
    return kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


def _load_xwing(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    return hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(public[:_MLKEM768_PUBLIC]),
        _load_curve25519(public[_MLKEM768_PUBLIC:]),
    )


# MLKEM1024-P384: the same in draft-irtf-cfrg-concrete-hybrid-kems, which draft-ietf-hpke-pq uses


def _nist_halves(seed: bytes) -> tuple[mlkem.MLKEM1024PrivateKey, ec.EllipticCurvePrivateKey]:
    expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED + _P384_SCALAR)
    # The draft says to fail where this is no scalar below the order, which no seed that anybody ever draws will do.
    scalar = int.from_bytes(expanded[_MLKEM_SEED:], "big")
    return (
        mlkem.MLKEM1024PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED]),
        ec.derive_private_key(scalar, ec.SECP384R1()),
    )


def _nist_private(seed: bytes) -> hpke.MLKEM1024P384PrivateKey:
    return hpke.MLKEM1024P384PrivateKey(*_nist_halves(seed))


def _nist_public(seed: bytes) -> bytes:
    kem, curve = _nist_halves(seed)
    return kem.public_key().public_bytes_raw() + point_of(curve.public_key())


def _load_nist(public: bytes) -> hpke.MLKEM1024P384PublicKey:
    return hpke.MLKEM1024P384PublicKey(
        mlkem.MLKEM1024PublicKey.from_public_bytes(public[:_MLKEM1024_PUBLIC]),
        load_point(public[_MLKEM1024_PUBLIC:]),
    )


X25519 = Kem("X25519", "X25519", "HKDF_SHA256", 32, 32, 0, _curve25519, _curve25519_public, _load_curve25519)
XWING = Kem(
    "X-Wing",
    "MLKEM768_X25519",
    "HKDF_SHA256",
    _MLKEM768_PUBLIC + 32,
    1088 + 32,  # ML-KEM-768 ciphertext, ephemeral X25519 key
    _MLKEM768_PUBLIC,
    _xwing_private,
    _xwing_public,
    _load_xwing,
)
MLKEM1024_P384 = Kem(
    "MLKEM1024-P384",
    "MLKEM1024_P384",
    "HKDF_SHA384",
    _MLKEM1024_PUBLIC + 97,
    1568 + 97,  # ML-KEM-1024 ciphertext, ephemeral P-384 point
    _MLKEM1024_PUBLIC,
    _nist_private,
    _nist_public,
    _load_nist,
)
