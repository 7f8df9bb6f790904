"""Authority: a small national CA, for states that have none for this purpose (SPEC section Certificates)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.x509.oid import NameOID

from infoexchange import wire
from infoexchange.certificates.leaf import CLOCK_SKEW, LEAF_LIFETIME, UNREADABLE, bad, name_of, verify_leaf
from infoexchange.certificates.revocation import Revoked, sign_list
from infoexchange.certificates.signing_request import to_key_pem

# Specification constants
CA_LIFETIME = timedelta(days=3650)


class CaKey(enum.StrEnum):
    """What a national CA signs with."""

    P384 = "P-384"
    MLDSA65 = "ML-DSA-65"


class NationalCa:
    """A small national CA: one key, limited to one dNSName suffix."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey, certificate: x509.Certificate
    ) -> None:
        """Hold a key and the certificate of its public half."""
        self._key = key
        self._certificate = certificate

    @classmethod
    def make(cls, suffix: str, *, now: datetime, kind: CaKey = CaKey.P384) -> NationalCa:
        """Return a new CA for names below `suffix`, for example `th.example`."""
        wire.check_name(suffix, field="suffix")
        key = ec.generate_private_key(ec.SECP384R1()) if kind is CaKey.P384 else mldsa.MLDSA65PrivateKey.generate()
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
            .sign(key, _hash_of(key))
        )
        return cls(key, certificate)

    @classmethod
    def parse(cls, key_pem: bytes, certificate_pem: bytes) -> NationalCa:
        """Return the CA of a key file and a certificate file, or raise `BAD_CERTIFICATE`."""
        try:
            key = serialization.load_pem_private_key(key_pem, None)
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            public = certificate.public_key()
        except UNREADABLE:
            raise bad("not the files of a national CA") from None
        kinds = ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey
        if not isinstance(key, kinds) or public != key.public_key():
            raise bad("the CA's key and certificate do not belong together")
        return cls(key, certificate)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM. Secret."""
        return to_key_pem(self._key)

    @property
    def certificate(self) -> bytes:
        """The CA certificate as DER."""
        return self._certificate.public_bytes(serialization.Encoding.DER)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The names, with all below them, for which it may issue."""
        try:
            limits = self._certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        except (x509.ExtensionNotFound, *UNREADABLE):
            return ()
        return tuple(name.value for name in limits.permitted_subtrees or () if isinstance(name, x509.DNSName))

    def issue(self, request_pem: bytes, *, now: datetime, lifetime: timedelta = LEAF_LIFETIME) -> bytes:
        """Return the DER certificate for a signing request whose one name lies below the CA's suffix.

        Raises:
            UntrustedError: `BAD_CERTIFICATE` when the request is not one, is not signed by its key or asks for a name
                outside the suffix.
        """
        try:
            csr = x509.load_pem_x509_csr(request_pem)
            valid, key = csr.is_signature_valid, csr.public_key()
        except (InvalidSignature, *UNREADABLE):
            raise bad("not a certificate signing request") from None
        if not valid:
            raise bad("the request is not signed by its own key")
        if not isinstance(key, ed25519.Ed25519PublicKey | mldsa.MLDSA65PublicKey | ec.EllipticCurvePublicKey):
            raise bad("a key of a kind that is not in use here")
        name = name_of(csr)
        # Asked before anything is signed: a certificate that should not exist could be found later and believed.
        if not any(name == suffix or name.endswith(f".{suffix}") for suffix in self.suffixes):
            raise bad(f"{name} is not below {' or '.join(self.suffixes) or 'any suffix of this CA'}")
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
            .sign(self._key, _hash_of(self._key))
            .public_bytes(serialization.Encoding.DER)
        )
        verify_leaf(der, (self.certificate,), now)  # a CA must not hand out what nobody would accept
        return der

    def crl(self, *, now: datetime, number: int = 1, revoked: Sequence[tuple[int, datetime] | Revoked] = ()) -> bytes:
        """Return the DER revocation list, valid for a week.

        Args:
            now: When it is made.
            number: Higher than that of every list before.
            revoked: Serial number and time of each withdrawn certificate, and the reason if it is known.
        """
        return sign_list(self._key, self._certificate, [Revoked(*entry) for entry in revoked], number=number, now=now)


def _hash_of(key: ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey) -> hashes.SHA384 | None:
    """Return what is hashed with before signing; ML-DSA brings its own."""
    return hashes.SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) else None
