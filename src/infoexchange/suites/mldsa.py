"""ML-DSA: post-quantum signatures of FIPS 204, for identities, logs and witnesses, and as half of every composite."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

from infoexchange.suites.refusals import bad_key, bad_signature
from infoexchange.suites.scheme import Sign

# Specification constants
CONTEXT = b"infoexchange/v1"  # application context of every composite and ML-DSA signature
SEED_SIZE = 32  # FIPS 204, xi

# Implementation constants
_KEYS_CACHED = 4096  # parsed public keys; about 1 KiB each, enough for every agency of a region

_Private = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
_Public = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
_PRIVATE: dict[int, type[_Private]] = {
    44: mldsa.MLDSA44PrivateKey,
    65: mldsa.MLDSA65PrivateKey,
    87: mldsa.MLDSA87PrivateKey,
}
_PUBLIC: dict[int, type[_Public]] = {
    44: mldsa.MLDSA44PublicKey,
    65: mldsa.MLDSA65PublicKey,
    87: mldsa.MLDSA87PublicKey,
}


@dataclass(frozen=True)
class MlDsa:
    """One parameter set of FIPS 204.

    Attributes:
        level: 44, 65 or 87.
        public_size: Bytes of a public key.
        signature_size: Bytes of a signature.
    """

    level: int
    public_size: int
    signature_size: int

    @property
    def name(self) -> str:
        """Name of the parameter set."""
        return f"ML-DSA-{self.level}"

    def signer(self, secret: bytes, context: bytes | None) -> Sign:
        """Return a function that signs with a 32-byte seed, expanded once, under a context; none is the empty one."""
        private = self._private(secret)
        if context is None:
            return private.sign
        return lambda message: private.sign(message, context)

    def public(self, secret: bytes) -> bytes:
        """Return the public key of a 32-byte seed."""
        return self._private(secret).public_key().public_bytes_raw()

    def verify(self, public: bytes, message: bytes, signature: bytes, context: bytes | None) -> None:
        """Return if the signature holds under that context, or raise `BAD_SIGNATURE`."""
        key = _load(self, public)
        try:
            key.verify(signature, message, context)
        except (InvalidSignature, ValueError):
            raise bad_signature("the ML-DSA signature does not hold") from None

    def check_key(self, public: bytes) -> None:
        """Accept a public key, or raise `BAD_CERTIFICATE`."""
        _load(self, public)

    def _private(self, secret: bytes) -> _Private:
        return _PRIVATE[self.level].from_seed_bytes(secret)


@functools.lru_cache(maxsize=_KEYS_CACHED)
def _load(kind: MlDsa, public: bytes) -> _Public:
    if len(public) != kind.public_size:
        raise bad_key(f"an {kind.name} key has {kind.public_size} bytes")
    return _PUBLIC[kind.level].from_public_bytes(public)


MLDSA44 = MlDsa(44, 1312, 2420)
MLDSA65 = MlDsa(65, 1952, 3309)
MLDSA87 = MlDsa(87, 2592, 4627)


def verify_mldsa44(public: bytes, message: bytes, signature: bytes) -> None:
    """Return if an ML-DSA-44 signature with empty context holds (logs and witnesses), or raise `BAD_SIGNATURE`."""
    MLDSA44.verify(public, message, signature, None)


def sign_mldsa44(secret: bytes, message: bytes) -> bytes:
    """Return the 2 420-byte signature with empty context made with a 32-byte seed."""
    return MLDSA44.signer(secret, None)(message)


def public_mldsa44(secret: bytes) -> bytes:
    """Return the 1 312-byte public key of a 32-byte seed."""
    return MLDSA44.public(secret)


def mldsa44_signer(secret: bytes) -> Sign:
    """Return a function that signs with a 32-byte seed, expanded once, with empty context."""
    return MLDSA44.signer(secret, None)


def verify_mldsa65(public: bytes, message: bytes, signature: bytes, context: bytes = CONTEXT) -> None:
    """Return if an ML-DSA-65 signature holds, or raise `BAD_SIGNATURE`."""
    MLDSA65.verify(public, message, signature, context)


def sign_mldsa65(secret: bytes, message: bytes, context: bytes = CONTEXT) -> bytes:
    """Return the 3 309-byte signature made with a 32-byte seed."""
    return MLDSA65.signer(secret, context)(message)


def public_mldsa65(secret: bytes) -> bytes:
    """Return the 1 952-byte public key of a 32-byte seed."""
    return MLDSA65.public(secret)
