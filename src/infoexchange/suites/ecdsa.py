"""ECDSA: P-384 with SHA-384, the classical half of the composite for those who need NIST curves (SPEC section Suites).

A signature is DER and of variable length, so what counts as one is written out here instead of left to a library.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from infoexchange.suites.refusals import bad_key, bad_signature
from infoexchange.suites.scheme import Sign

# Specification constants
POINT_SIZE = 97  # 0x04 and two coordinates of 48 bytes (SEC 1, uncompressed)
SECRET_SIZE = 56  # 384 bits and 64 extra ones, which make every secret a good one (FIPS 186-5, A.2.1)
_ORDER = ec.SECP384R1().group_order
_UNCOMPRESSED = 0x04
_SIGNATURE_SIZES = range(8, 105)  # DER of two numbers of one to 49 bytes each

# Implementation constants
_KEYS_CACHED = 4096  # parsed public keys, enough for every agency of a region
_ALGORITHM = ec.ECDSA(hashes.SHA384())


def point_of(public: ec.EllipticCurvePublicKey) -> bytes:
    """Return the uncompressed point of a public key."""
    numbers = public.public_numbers()
    return bytes([_UNCOMPRESSED]) + numbers.x.to_bytes(48, "big") + numbers.y.to_bytes(48, "big")


@functools.lru_cache(maxsize=_KEYS_CACHED)
def load_point(public: bytes) -> ec.EllipticCurvePublicKey:
    """Return the P-384 key of an uncompressed point, or raise `BAD_CERTIFICATE`; other encodings are none."""
    if len(public) != POINT_SIZE or public[0] != _UNCOMPRESSED:
        raise bad_key(f"a P-384 key is an uncompressed point of {POINT_SIZE} bytes")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), public)
    except ValueError:
        raise bad_key("not a point of P-384") from None


@dataclass(frozen=True)
class EcdsaP384:
    """ECDSA on P-384 with SHA-384, as half of a composite."""

    name: str = "ECDSA P-384"
    secret_size: int = SECRET_SIZE
    public_size: int = POINT_SIZE
    signature_sizes: range = _SIGNATURE_SIZES

    def signer(self, secret: bytes) -> Sign:
        """Return a function that signs with a 56-byte secret."""
        private = _private(secret)
        return lambda message: private.sign(message, _ALGORITHM)

    def public(self, secret: bytes) -> bytes:
        """Return the 97-byte uncompressed point."""
        return point_of(_private(secret).public_key())

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Return if the signature is strict DER and holds, or raise `BAD_SIGNATURE`.

        Of `s` and `n - s` both are taken, as the composite's draft has it: nothing is named by its signature, so that a
        second form of one changes nothing.
        """
        key = load_point(public)
        try:
            # One encoding for each pair of numbers: no long lengths, leading zeros or bytes behind.
            if encode_dss_signature(*decode_dss_signature(signature)) == signature:
                key.verify(signature, message, _ALGORITHM)
                return
        except (InvalidSignature, ValueError):
            pass
        raise bad_signature("the ECDSA signature does not hold")

    def check_key(self, public: bytes) -> None:
        """Accept an uncompressed point of the curve, or raise `BAD_CERTIFICATE`."""
        load_point(public)


def _private(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key d = (c mod (n - 1)) + 1 of a 56-byte number c (FIPS 186-5, A.2.1)."""
    if len(secret) != SECRET_SIZE:
        raise ValueError(f"a P-384 secret has {SECRET_SIZE} bytes")
    return ec.derive_private_key(int.from_bytes(secret, "big") % (_ORDER - 1) + 1, ec.SECP384R1())
