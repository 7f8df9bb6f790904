"""Leaf: a party's certificate: one step from a national CA, judged at a given time (SPEC section Certificates)."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification

from infoexchange import suites, wire
from infoexchange.errors import Reason, error

# Specification constants
LEAF_LIFETIME = timedelta(days=730)  # longest a leaf may be issued for: two years, then a person looks again
CLOCK_SKEW = timedelta(minutes=5)  # between two machines that both keep time
CERTIFICATE_SIZE_MAX = 16384  # an ML-DSA-87 leaf is below 10 KiB

# Implementation constants
_CHECKED_MAX = 1024  # certificates and lists whose check, a millisecond or two each, need not be made again

# What the X.509 reader raises for bytes that are not what they claim; not all of it is a ValueError.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
    x509.AttributeNotFound,
    CryptographyDeprecationWarning,  # what later versions refuse, where warnings are errors
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A verified certificate: whose it is and which key it binds."""

    name: str
    algorithm: str
    public: bytes
    serial: int
    issuer: bytes
    der: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the DER bytes, as key bundles name it."""
        return hashlib.sha256(self.der).digest()


def bad(detail: str) -> Exception:
    """Return the error for a certificate that is not acceptable."""
    return error(Reason.BAD_CERTIFICATE, field="certificate", detail=detail)


def load(der: bytes) -> x509.Certificate:
    """Return the certificate, or raise `BAD_CERTIFICATE`."""
    if len(der) > CERTIFICATE_SIZE_MAX:
        raise bad(f"{len(der)} bytes, at most {CERTIFICATE_SIZE_MAX}")
    try:
        certificate = x509.load_der_x509_certificate(der)
    except UNREADABLE:
        raise bad("not an X.509 certificate") from None
    if certificate.serial_number < 1:  # the reader takes it for now, and will not in a later version
        raise bad("a serial number that is not positive")
    return certificate


def name_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Return the one dNSName of a certificate whose subject alternative name holds nothing else."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        raise bad("no subject alternative name") from None
    names = list(san)
    if len(names) != 1 or not isinstance(names[0], x509.DNSName):
        raise bad("the subject alternative name must be exactly one dNSName")
    return wire.check_name(names[0].value, field="certificate")


@functools.lru_cache(maxsize=_CHECKED_MAX)
def verify_leaf(der: bytes, cas: tuple[bytes, ...], at: datetime) -> Leaf:
    """Return the leaf if one of the national CAs issued it and it was valid at `at`.

    Spec: section Certificates, steps 1 to 3.

    Args:
        der: The certificate.
        cas: DER certificates of the CAs the directory names for its nation.
        at: The time the check uses.

    Raises:
        UntrustedError: `BAD_CERTIFICATE`.
    """
    certificate = load(der)
    # (1) one name, of one kind
    name = name_of(certificate)
    # (2) a chain of exactly one step to a CA of that nation, whose name constraint covers the name
    if not cas:
        raise bad(f"the directory names no CA for {name}")
    anchors = [load(ca) for ca in cas]
    for anchor in anchors:
        _check_constrained(anchor)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(anchors))
        .time(at)
        .max_chain_depth(0)
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all().require_present(
                x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
            ),
        )
        .build_client_verifier()
    )
    try:
        verifier.verify(certificate, [])
    except verification.VerificationError as problem:
        raise bad(f"{name}: {_why(problem)}") from None
    except UNREADABLE:
        raise bad(f"{name}: not readable") from None
    # (3) a key of a kind in use, that passes the acceptance rule
    algorithm, public = _public_of(certificate)
    return Leaf(name, algorithm, public, certificate.serial_number, certificate.issuer.public_bytes(), der)


def _why(problem: Exception) -> str:
    """Return the first clause of a verifier's report, free of bytes."""
    return str(problem).split("(encountered")[0].strip()[:160]


def check_ca(der: bytes) -> None:
    """Raise `BAD_CERTIFICATE` unless a certificate has the form of a national CA's (SPEC section Certificates)."""
    _check_constrained(load(der))


def _check_constrained(anchor: x509.Certificate) -> None:
    """Raise unless a CA is limited to a dNSName suffix by a critical name constraint."""
    try:
        extension = anchor.extensions.get_extension_for_class(x509.NameConstraints)
    except (x509.ExtensionNotFound, *UNREADABLE):
        raise bad("a national CA needs a critical name constraint") from None
    permitted = extension.value.permitted_subtrees or []
    if not extension.critical or not permitted or not all(isinstance(n, x509.DNSName) for n in permitted):
        raise bad("a national CA needs a critical name constraint on dNSName")


def _public_of(certificate: x509.Certificate) -> tuple[str, bytes]:
    try:
        key = certificate.public_key()
    except UNREADABLE:
        raise bad("a key of an unknown kind") from None
    if isinstance(key, ed25519.Ed25519PublicKey):
        suites.check_ed25519_key(key.public_bytes_raw())
        return "Ed25519", key.public_bytes_raw()
    if isinstance(key, mldsa.MLDSA65PublicKey):
        return "ML-DSA-65", key.public_bytes_raw()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return "ECDSA-P256", point
    raise bad("a key of a kind that is not in use here")


def to_pem(der: bytes) -> bytes:
    """Return a DER certificate as PEM."""
    return load(der).public_bytes(serialization.Encoding.PEM)


def from_pem(pem: bytes) -> list[bytes]:
    """Return every certificate of a PEM file as DER, or raise `BAD_CERTIFICATE`."""
    try:
        return [c.public_bytes(serialization.Encoding.DER) for c in x509.load_pem_x509_certificates(pem)]
    except UNREADABLE:
        raise bad("not a PEM file of certificates") from None
