"""Signing request: what a party gives its national CA, and gets certificates for (PKCS#10; SPEC section Certificates).

The keys stay with the party: in memory, or in a hardware token that signs the request itself.
"""

from __future__ import annotations

from typing import Any, NoReturn, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

from infoexchange import wire
from infoexchange.certificates.leaf import UNREADABLE, bad, load
from infoexchange.keys import IdentityKey, TokenKey

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | mldsa.MLDSA65PrivateKey


def request(name: str, key: PrivateKey) -> bytes:
    """Return a PEM certificate signing request for exactly one dNSName."""
    algorithm = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(wire.check_name(name, field="name"))]), critical=True)
        .sign(key, algorithm)
        .public_bytes(serialization.Encoding.PEM)
    )


def identity_requests(name: str, key: IdentityKey) -> tuple[bytes, bytes]:
    """Return the PEM requests for both identity keys, Ed25519 first.

    Raises:
        UnavailableError: The token that holds one of the keys cannot be used now.
    """
    half = key.ed25519
    classical = ed25519.Ed25519PrivateKey.from_private_bytes(half) if isinstance(half, bytes) else _InToken(half)
    return request(name, classical), request(name, mldsa.MLDSA65PrivateKey.from_seed_bytes(key.mldsa65))


class _InToken(ed25519.Ed25519PrivateKey):
    """A token's key, as the builders of certificates and requests want it."""

    def __init__(self, token: TokenKey) -> None:
        self._token = token

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return ed25519.Ed25519PublicKey.from_public_bytes(self._token.public)

    def sign(self, data: Any) -> bytes:
        return self._token.sign(bytes(data))

    def private_bytes(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("the key never leaves its token")

    def private_bytes_raw(self) -> NoReturn:
        raise TypeError("the key never leaves its token")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> Self:
        return self


def tls_key() -> bytes:
    """Return a new ECDSA P-256 key as PEM (TLS in gRPC takes no Ed25519)."""
    return to_key_pem(ec.generate_private_key(ec.SECP256R1()))


def tls_request(name: str, key_pem: bytes) -> bytes:
    """Return the PEM request for a TLS key made by `tls_key`."""
    return request(name, _tls_private(key_pem))


def belong_together(certificate_der: bytes, key_pem: bytes) -> bool:
    """Whether a TLS certificate is for a TLS key; raises `BAD_CERTIFICATE` when one of the two cannot be read."""
    return load(certificate_der).public_key() == _tls_private(key_pem).public_key()


def _tls_private(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except UNREADABLE:
        raise bad("not the file of a TLS key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise bad("a TLS key must be ECDSA P-256")
    return key


def to_key_pem(key: ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey) -> bytes:
    """Return a private key as PEM, in the clear. Secret."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
