"""Certificates: national CA to party, exactly one dNSName, judged at a given time (SPEC section Certificates).

X.509 leaves room that an identity cannot afford: common names, several names, other name types, no revocation. This
module accepts one narrow shape and issues nothing else.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID

from infoexchange import suites, wire
from infoexchange.errors import Reason, error

# Specification constants
LEAF_LIFETIME = timedelta(days=730)  # longest a leaf may be issued for: two years, then a person looks again
CA_LIFETIME = timedelta(days=3650)
CRL_LIFETIME = timedelta(days=7)  # a list older than this proves nothing about the present
CLOCK_SKEW = timedelta(minutes=5)  # between two machines that both keep time
CERTIFICATE_SIZE_MAX = 16384  # an ML-DSA-87 leaf is below 10 KiB


# Implementation constants
_CHECKED_MAX = 1024  # certificates and lists whose check, a millisecond or two each, need not be made again

# What the X.509 reader raises for bytes that are not what they claim; not all of it is a ValueError.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
    x509.AttributeNotFound,
)

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | mldsa.MLDSA65PrivateKey


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


def _bad(detail: str) -> Exception:
    return error(Reason.BAD_CERTIFICATE, field="certificate", detail=detail)


def load(der: bytes) -> x509.Certificate:
    """Return the certificate, or raise `BAD_CERTIFICATE`."""
    if len(der) > CERTIFICATE_SIZE_MAX:
        raise _bad(f"{len(der)} bytes, at most {CERTIFICATE_SIZE_MAX}")
    try:
        return x509.load_der_x509_certificate(der)
    except _UNREADABLE:
        raise _bad("not an X.509 certificate") from None


def name_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Return the one dNSName of a certificate whose subject alternative name holds nothing else."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        raise _bad("no subject alternative name") from None
    names = list(san)
    if len(names) != 1 or not isinstance(names[0], x509.DNSName):
        raise _bad("the subject alternative name must be exactly one dNSName")
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
        raise _bad(f"the directory names no CA for {name}")
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
        raise _bad(f"{name}: {_why(problem)}") from None
    except _UNREADABLE:
        raise _bad(f"{name}: not readable") from None
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
    except (x509.ExtensionNotFound, *_UNREADABLE):
        raise _bad("a national CA needs a critical name constraint") from None
    permitted = extension.value.permitted_subtrees or []
    if not extension.critical or not permitted or not all(isinstance(n, x509.DNSName) for n in permitted):
        raise _bad("a national CA needs a critical name constraint on dNSName")


def _public_of(certificate: x509.Certificate) -> tuple[str, bytes]:
    try:
        key = certificate.public_key()
    except _UNREADABLE:
        raise _bad("a key of an unknown kind") from None
    if isinstance(key, ed25519.Ed25519PublicKey):
        suites.check_ed25519_key(key.public_bytes_raw())
        return "Ed25519", key.public_bytes_raw()
    if isinstance(key, mldsa.MLDSA65PublicKey):
        return "ML-DSA-65", key.public_bytes_raw()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return "ECDSA-P256", point
    raise _bad("a key of a kind that is not in use here")


def check_not_revoked(leaf: Leaf, crls: Sequence[bytes], cas: Sequence[bytes], at: datetime) -> bool:
    """Return whether a list valid at `at` was there to consult; raise if it, or any other list, names the leaf.

    Spec: section Certificates, step 4.

    Raises:
        UntrustedError: `REVOKED`, or `BAD_CERTIFICATE` when a list is forged or not a list.
    """
    # (4) no list of the issuing CA names it
    consulted = False
    for raw in crls:
        crl = _load_crl(raw, tuple(cas))
        if crl is None or crl.issuer.public_bytes() != leaf.issuer:
            continue  # another nation's list came along in the same file
        entry = crl.get_revoked_certificate_by_serial_number(leaf.serial)
        if entry is not None and entry.revocation_date_utc <= at:
            raise error(Reason.REVOKED, field="certificate", detail=f"{leaf.name}, by its national CA")
        until = crl.next_update_utc
        consulted = consulted or (until is not None and crl.last_update_utc - CLOCK_SKEW <= at <= until)
    return consulted


@functools.lru_cache(maxsize=_CHECKED_MAX)
def _load_crl(raw: bytes, cas: tuple[bytes, ...]) -> x509.CertificateRevocationList | None:
    """Return a list signed by one of the CAs, nothing if it is of other CAs; a forged one raises."""
    try:
        crl = x509.load_der_x509_crl(raw)
        issuer = crl.issuer
        anchors = [anchor for anchor in map(load, cas) if anchor.subject == issuer]
        for anchor in anchors:
            key = anchor.public_key()
            if isinstance(key, ec.EllipticCurvePublicKey | mldsa.MLDSA65PublicKey) and crl.is_signature_valid(key):
                return crl
    except _UNREADABLE:
        raise _bad("not a revocation list") from None
    if anchors:
        raise error(Reason.BAD_CERTIFICATE, field="crl", detail="not signed by the CA it names")
    return None


def newest_list(crls: Sequence[bytes], cas: Sequence[bytes]) -> datetime | None:
    """Return when the newest of some revocation lists was made, nothing if there is none.

    Raises:
        UntrustedError: `BAD_CERTIFICATE` when one is not signed by one of the CAs: its date would be anybody's word.
    """
    made = []
    for raw in crls:
        crl = _load_crl(raw, tuple(cas))
        if crl is None:
            raise _bad("a revocation list of another nation's CA")
        made.append(crl.last_update_utc)
    return max(made, default=None)


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


def identity_requests(name: str, ed25519_seed: bytes, mldsa65_seed: bytes) -> tuple[bytes, bytes]:
    """Return the PEM requests for both identity keys, Ed25519 first."""
    return (
        request(name, ed25519.Ed25519PrivateKey.from_private_bytes(ed25519_seed)),
        request(name, mldsa.MLDSA65PrivateKey.from_seed_bytes(mldsa65_seed)),
    )


def tls_key() -> bytes:
    """Return a new ECDSA P-256 key as PEM (TLS in gRPC takes no Ed25519)."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def tls_request(name: str, key_pem: bytes) -> bytes:
    """Return the PEM request for a TLS key made by `tls_key`."""
    key = serialization.load_pem_private_key(key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _bad("a TLS key must be ECDSA P-256")
    return request(name, key)


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def to_pem(der: bytes) -> bytes:
    """Return a DER certificate as PEM."""
    return load(der).public_bytes(serialization.Encoding.PEM)


def from_pem(pem: bytes) -> list[bytes]:
    """Return every certificate of a PEM file as DER, or raise `BAD_CERTIFICATE`."""
    try:
        return [c.public_bytes(serialization.Encoding.DER) for c in x509.load_pem_x509_certificates(pem)]
    except (ValueError, UnsupportedAlgorithm):
        raise _bad("not a PEM file of certificates") from None


class NationalCa:
    """A small national CA: one P-384 key, limited to one dNSName suffix."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        """Hold a key and the certificate of its public half."""
        self._key = key
        self._certificate = certificate

    @classmethod
    def make(cls, suffix: str, *, now: datetime) -> NationalCa:
        """Return a new CA for names below `suffix`, for example `th.example`."""
        wire.check_name(suffix, field="suffix")
        key = ec.generate_private_key(ec.SECP384R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"National CA {suffix}")])
        ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # certificates and CRLs
        constraint = x509.NameConstraints([x509.DNSName(suffix)], None)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(constraint, critical=True)
            .add_extension(ski, critical=False)
            .sign(key, hashes.SHA384())
        )
        return cls(key, certificate)

    @classmethod
    def parse(cls, key_pem: bytes, certificate_pem: bytes) -> NationalCa:
        """Return the CA of a key file and a certificate file, or raise `BAD_CERTIFICATE`."""
        try:
            key = serialization.load_pem_private_key(key_pem, None)
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            public = certificate.public_key()
        except _UNREADABLE:
            raise _bad("not the files of a national CA") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or public != key.public_key():
            raise _bad("the CA's key and certificate do not belong together")
        return cls(key, certificate)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM. Secret."""
        return _pem(self._key)

    @property
    def certificate(self) -> bytes:
        """The CA certificate as DER."""
        return self._certificate.public_bytes(serialization.Encoding.DER)

    def issue(self, request_pem: bytes, *, now: datetime, lifetime: timedelta = LEAF_LIFETIME) -> bytes:
        """Return the DER certificate for a signing request whose one name lies below the CA's suffix.

        Raises:
            UntrustedError: `BAD_CERTIFICATE` when the request is not one, is not signed by its key or asks for a name
                outside the suffix.
        """
        try:
            csr = x509.load_pem_x509_csr(request_pem)
            valid = csr.is_signature_valid
        except (ValueError, UnsupportedAlgorithm, InvalidSignature):
            raise _bad("not a certificate signing request") from None
        if not valid:
            raise _bad("the request is not signed by its own key")
        key = csr.public_key()
        if not isinstance(key, ed25519.Ed25519PublicKey | mldsa.MLDSA65PublicKey | ec.EllipticCurvePublicKey):
            raise _bad("a key of a kind that is not in use here")
        name = name_of(csr)
        der = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(min(now + min(lifetime, LEAF_LIFETIME), self._certificate.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA384())
            .public_bytes(serialization.Encoding.DER)
        )
        verify_leaf(der, (self.certificate,), now)  # a CA must not hand out what nobody would accept
        return der

    def crl(self, *, now: datetime, revoked: Sequence[tuple[int, datetime]] = ()) -> bytes:
        """Return the DER revocation list of `(serial number, time)` pairs, valid for a week."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now)
            .next_update(now + CRL_LIFETIME)
        )
        for serial, at in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)
