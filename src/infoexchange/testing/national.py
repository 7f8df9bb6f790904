"""National: an example of how a nation adds a suite of its own. For reading and for tests; never for real messages.

It is made of P-256 from a library that is there anyway. A real one would call the nation's own library in the same
places. It must be registered when the program starts, before anything else of this library is used:

    from infoexchange import suites
    from infoexchange.testing.national import EXAMPLE

    suites.register(EXAMPLE)

Every relay and agency on the way needs the same suite under the same number, and the directory must list that number.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from infoexchange.errors import Reason, error
from infoexchange.suites import Sign, Suite, Unwrap, bad_ciphertext

_CURVE, _ALGORITHM = ec.SECP256R1(), ec.ECDSA(hashes.SHA256())
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SECRET_SIZE = 40  # 256 bits and 64 extra ones, so that any bytes are a good secret (FIPS 186-5, A.2.1)
_HPKE = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def _private(secret: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(secret, "big") % (_ORDER - 1) + 1, _CURVE)


def _public(secret: bytes) -> bytes:
    numbers = _private(secret).public_key().public_numbers()
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _load(public: bytes) -> ec.EllipticCurvePublicKey:
    try:
        if len(public) == 65:  # a compressed point would be a second form of the same key
            return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, public)
    except ValueError:
        pass
    raise error(Reason.BAD_CERTIFICATE, field="public_key", detail="not an uncompressed point of P-256")


@dataclass(frozen=True)
class ExampleSigning:
    """ECDSA on P-256 with SHA-256, in strict DER."""

    name: str = "ECDSA P-256"
    secret_size: int = _SECRET_SIZE

    def signer(self, secret: bytes) -> Sign:
        """Return a function from message to signature."""
        private = _private(secret)
        return lambda message: private.sign(message, _ALGORITHM)

    def public(self, secret: bytes) -> bytes:
        """Return the 65-byte point."""
        return _public(secret)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Return if the signature holds, or raise `BAD_SIGNATURE`."""
        key = _load(public)
        try:
            if encode_dss_signature(*decode_dss_signature(signature)) == signature:
                key.verify(signature, message, _ALGORITHM)
                return
        except (InvalidSignature, ValueError):
            pass
        raise error(Reason.BAD_SIGNATURE, detail="the example signature does not hold")

    def check_key(self, public: bytes) -> None:
        """Accept a point of the curve, or raise `BAD_CERTIFICATE`."""
        _load(public)

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        """Return the key: it has no parts."""
        return (public,)


@dataclass(frozen=True)
class ExampleSealing:
    """HPKE with DHKEM(P-256), HKDF-SHA256 and AES-256-GCM."""

    name: str = "DHKEM P-256"
    secret_size: int = _SECRET_SIZE
    wrap_size: int = 65 + 32 + 16

    def public(self, secret: bytes) -> bytes:
        """Return the 65-byte point."""
        return _public(secret)

    def check_key(self, public: bytes) -> None:
        """Accept a point of the curve, or raise `BAD_CERTIFICATE`."""
        _load(public)

    def wrap(self, public: bytes, content_key: bytes, info: bytes) -> bytes:
        """Return the sealed content key."""
        return _HPKE.encrypt(content_key, _load(public), info)

    def opener(self, secret: bytes) -> Unwrap:
        """Return a function that opens what was wrapped, or raises `BAD_CIPHERTEXT`."""
        private = _private(secret)

        def unwrap(wrapped: bytes, info: bytes) -> bytes:
            try:
                return _HPKE.decrypt(wrapped, private, info)
            except (InvalidTag, ValueError):
                raise bad_ciphertext() from None

        return unwrap

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        """Return the key: it has no parts."""
        return (public,)


EXAMPLE = Suite(0x01FF, "EXAMPLE-P256", ExampleSigning(), ExampleSealing())
