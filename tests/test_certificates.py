"""Certificates: one narrow shape, judged at a given time, and a reason for everything else."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.x509.oid import NameOID

from infoexchange import certificates
from infoexchange.certificates import CLOCK_SKEW, LEAF_LIFETIME, NationalCa
from infoexchange.errors import ExchangeError, Reason

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
NAME = "desk.oncb.th.example"
CA_KEY = ec.generate_private_key(ec.SECP384R1())
LEAF_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
CA = NationalCa.make("th.example", now=NOW)
OTHER = NationalCa.make("vn.example", now=NOW)
LEAF = CA.issue(certificates.request(NAME, LEAF_KEY), now=NOW)
CRITICAL = x509.NameConstraints([x509.DNSName("th.example")], None)


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


CA_NAME = common_name("National CA th.example")


def ca(constraint: x509.NameConstraints | None = CRITICAL, *, critical: bool = True, **fields: Any) -> bytes:
    """A CA certificate in which one thing may be wrong."""
    key = fields.get("key", CA_KEY)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(CA_NAME)
        .issuer_name(CA_NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(fields.get("start", NOW - timedelta(days=1)))
        .not_valid_after(fields.get("end", NOW + timedelta(days=3650)))
        .add_extension(x509.BasicConstraints(ca=fields.get("is_ca", True), path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if constraint is not None:
        builder = builder.add_extension(constraint, critical=critical)
    return der(builder.sign(key, hashes.SHA256()))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def leaf(*names: x509.GeneralName, key: Any = LEAF_KEY, signer: Any = CA_KEY, **fields: Any) -> bytes:
    """A leaf in which one thing may be wrong; without names it has no subject alternative name at all."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(fields.get("subject", x509.Name([])))
        .issuer_name(fields.get("issuer", CA_NAME))
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical="subject" not in fields)
    return der(builder.sign(signer, hashes.SHA256()))


DNS = x509.DNSName(NAME)
GOOD_CA = ca()


def refused(reason: Reason, certificate: bytes, cas: Sequence[bytes] = (GOOD_CA,), at: datetime = NOW) -> str:
    with pytest.raises(ExchangeError) as caught:
        certificates.verify_leaf(certificate, tuple(cas), at)
    assert caught.value.reason is reason, caught.value
    return caught.value.detail


def test_the_builders_of_this_file_make_what_is_accepted() -> None:
    made = leaf(DNS)
    found = certificates.verify_leaf(made, (GOOD_CA,), NOW)
    assert (found.name, found.algorithm, found.serial) == (NAME, "Ed25519", 77)
    assert found.public == LEAF_KEY.public_key().public_bytes_raw()
    # Several CAs of one nation: any may have signed.
    assert certificates.verify_leaf(made, (CA.certificate, GOOD_CA), NOW) == found


@pytest.mark.parametrize(
    "names",
    [
        (DNS, x509.DNSName("other.th.example")),
        (DNS, DNS),
        (DNS, x509.RFC822Name("desk@th.example")),
        (x509.RFC822Name("desk@th.example"),),
        (x509.UniformResourceIdentifier("https://desk.th.example"),),
        (x509.DirectoryName(common_name(NAME)),),
        (),
    ],
    ids=str,
)
def test_exactly_one_dns_name(names: tuple[x509.GeneralName, ...]) -> None:
    refused(Reason.BAD_CERTIFICATE, leaf(*names))
    # A common name says nothing, beside a wrong name or alone.
    refused(Reason.BAD_CERTIFICATE, leaf(*names, subject=common_name(NAME)))


@pytest.mark.parametrize("name", ["*.th.example", "DESK.th.example", "th", "desk_a.th.example", "a..th.example"])
def test_the_name_is_a_name(name: str) -> None:
    refused(Reason.BAD_FIELD, leaf(x509.DNSName(name)))


def test_the_issuer_is_a_ca_of_that_nation() -> None:
    refused(Reason.BAD_CERTIFICATE, leaf(DNS), cas=())
    refused(Reason.BAD_CERTIFICATE, leaf(DNS), cas=(OTHER.certificate,))
    refused(Reason.BAD_CERTIFICATE, LEAF, cas=(OTHER.certificate,))
    # The right issuer's name on a signature by another key.
    refused(Reason.BAD_CERTIFICATE, leaf(DNS, signer=ec.generate_private_key(ec.SECP256R1())))
    # The other nation's CA vouches for a name that is not below its own suffix.
    foreign = ca(x509.NameConstraints([x509.DNSName("vn.example")], None))
    refused(Reason.BAD_CERTIFICATE, leaf(DNS), cas=(foreign,))
    refused(Reason.BAD_CERTIFICATE, leaf(x509.DNSName("desk.oncbth.example")))


def test_a_leaf_issues_nothing() -> None:
    middle = ec.generate_private_key(ec.SECP256R1())
    between = leaf(x509.DNSName("ca.th.example"), key=middle)
    below = leaf(DNS, signer=middle, issuer=x509.Name([]))
    refused(Reason.BAD_CERTIFICATE, below)
    refused(Reason.BAD_CERTIFICATE, below, cas=(between,))
    refused(Reason.BAD_CERTIFICATE, below, cas=(GOOD_CA, between))


@pytest.mark.parametrize(
    "authority",
    [
        ca(None),
        ca(CRITICAL, critical=False),
        ca(x509.NameConstraints(None, [x509.DNSName("vn.example")])),
        ca(x509.NameConstraints([x509.RFC822Name("th.example")], None)),
        ca(x509.NameConstraints([x509.DNSName("th.example"), x509.RFC822Name("th.example")], None)),
        ca(is_ca=False),
    ],
    ids=["none", "not critical", "excluding only", "of mail", "of mail too", "no CA"],
)
def test_a_ca_without_a_limit_is_none(authority: bytes) -> None:
    refused(Reason.BAD_CERTIFICATE, leaf(DNS), cas=(authority,))


def test_a_ca_without_a_limit_spoils_the_check_beside_a_good_one() -> None:
    refused(Reason.BAD_CERTIFICATE, leaf(DNS), cas=(GOOD_CA, ca(None)))


def test_the_time_is_the_one_given() -> None:
    for at in (NOW, NOW + timedelta(days=30)):
        certificates.verify_leaf(leaf(DNS), (GOOD_CA,), at)
    for at in (NOW - timedelta(seconds=1), NOW + timedelta(days=30, seconds=1)):
        refused(Reason.BAD_CERTIFICATE, leaf(DNS), at=at)
    refused(Reason.BAD_CERTIFICATE, leaf(DNS), cas=(ca(end=NOW + timedelta(days=1)),), at=NOW + timedelta(days=2))
    refused(Reason.BAD_CERTIFICATE, leaf(DNS), cas=(ca(start=NOW + timedelta(days=1)),))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (LEAF_KEY, "Ed25519"),
        (mldsa.MLDSA65PrivateKey.from_seed_bytes(bytes(32)), "ML-DSA-65"),
        (ec.derive_private_key(7, ec.SECP256R1()), "ECDSA-P256"),
        (ec.derive_private_key(7, ec.SECP384R1()), ""),
        (mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32)), ""),
        (rsa.generate_private_key(65537, 2048), ""),
    ],
    ids=lambda p: type(p).__name__,
)
def test_keys_of_three_kinds(key: Any, algorithm: str) -> None:
    if algorithm:
        assert certificates.verify_leaf(leaf(DNS, key=key), (GOOD_CA,), NOW).algorithm == algorithm
    else:
        refused(Reason.BAD_CERTIFICATE, leaf(DNS, key=key))


def test_an_ed25519_key_of_small_order_is_refused() -> None:
    good = LEAF_KEY.public_key().public_bytes_raw()
    certificate = leaf(DNS)
    assert certificate.count(good) == 1
    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes([1, *[0] * 31]))

    class Small:
        def public_key(self) -> ed25519.Ed25519PublicKey:
            return key

    refused(Reason.BAD_CERTIFICATE, leaf(DNS, key=Small()))


def test_what_is_no_certificate() -> None:
    for raw in (b"", b"\x30\x00", LEAF[:-1], LEAF + b"\x00", bytes(20_000), certificates.to_pem(LEAF)):
        refused(Reason.BAD_CERTIFICATE, raw)
        refused(Reason.BAD_CERTIFICATE, LEAF, cas=(raw,))
    for pem in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ExchangeError):
            certificates.from_pem(pem)
    assert certificates.from_pem(certificates.to_pem(LEAF) + GOOD_PEM) == [LEAF, GOOD_CA]


GOOD_PEM = certificates.to_pem(GOOD_CA)


# Revocation

VERIFIED = certificates.verify_leaf(LEAF, (CA.certificate,), NOW)


def consult(*crls: bytes, at: datetime = NOW, cas: Sequence[bytes] = (CA.certificate,)) -> bool:
    return certificates.check_not_revoked(VERIFIED, crls, cas, at)


def crl_reason(*crls: bytes, at: datetime = NOW) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        consult(*crls, at=at)
    return caught.value.reason


def test_a_revoked_leaf_is_refused_from_then_on() -> None:
    revoked = CA.crl(now=NOW, revoked=[(VERIFIED.serial, NOW)])
    assert crl_reason(revoked) is Reason.REVOKED
    # A revocation is for ever, so an old list counts, and one beside a clean one.
    assert crl_reason(revoked, at=NOW + timedelta(days=400)) is Reason.REVOKED
    assert crl_reason(CA.crl(now=NOW), revoked) is Reason.REVOKED
    assert crl_reason(revoked, CA.crl(now=NOW + timedelta(days=1))) is Reason.REVOKED
    # What was logged before the revocation stands.
    assert consult(revoked, at=NOW - timedelta(seconds=1))
    assert consult(CA.crl(now=NOW, revoked=[(VERIFIED.serial + 1, NOW)]))


def test_only_a_current_list_shows_that_there_was_none() -> None:
    clean = CA.crl(now=NOW)
    assert consult(clean)
    assert consult(clean, at=NOW - CLOCK_SKEW)
    assert consult(clean, at=NOW + timedelta(days=7))
    assert not consult(clean, at=NOW - CLOCK_SKEW - timedelta(seconds=1))
    assert not consult(clean, at=NOW + timedelta(days=7, seconds=1))
    assert not consult()
    # Another nation's list is not ours to judge; it shows nothing either way.
    assert not consult(OTHER.crl(now=NOW, revoked=[(VERIFIED.serial, NOW)]))


CAS = (CA.certificate,)


def test_a_forged_list_is_refused() -> None:
    forger = NationalCa.make("th.example", now=NOW)
    assert crl_reason(forger.crl(now=NOW)) is Reason.BAD_CERTIFICATE
    genuine = bytearray(CA.crl(now=NOW))
    genuine[-1] ^= 1
    assert crl_reason(bytes(genuine)) is Reason.BAD_CERTIFICATE
    for raw in (b"", b"\x30\x00", LEAF, CA.crl(now=NOW) + b"\x00"):
        assert crl_reason(raw) is Reason.BAD_CERTIFICATE
        with pytest.raises(ExchangeError):
            certificates.newest_list([raw], CAS)
    assert certificates.newest_list([], CAS) is None
    made = [CA.crl(now=NOW), CA.crl(now=NOW + timedelta(days=2)), CA.crl(now=NOW - timedelta(days=2))]
    assert certificates.newest_list(made, CAS) == NOW + timedelta(days=2)


# Issuing


def test_a_ca_issues_what_it_would_accept_and_no_more() -> None:
    request = certificates.request
    for name in ("desk.vn.example", "desk.oncbth.example", "th.example.org"):
        with pytest.raises(ExchangeError) as caught:
            CA.issue(request(name, LEAF_KEY), now=NOW)
        assert caught.value.reason is Reason.BAD_CERTIFICATE
    forged = request(NAME, LEAF_KEY).replace(b"MI", b"MJ")
    for raw in (b"", forged, certificates.to_pem(LEAF)):
        with pytest.raises(ExchangeError):
            CA.issue(raw, now=NOW)
    with pytest.raises(ExchangeError):
        request("not a name", LEAF_KEY)
    long = x509.load_der_x509_certificate(CA.issue(request(NAME, LEAF_KEY), now=NOW, lifetime=timedelta(days=9999)))
    assert long.not_valid_after_utc == NOW + LEAF_LIFETIME
    late = NOW + timedelta(days=3600)
    last = x509.load_der_x509_certificate(CA.issue(request(NAME, LEAF_KEY), now=late))
    assert last.not_valid_after_utc == NOW + certificates.CA_LIFETIME
    with pytest.raises(ExchangeError):
        CA.issue(certificates.request(NAME, ec.derive_private_key(7, ec.SECP384R1())), now=NOW)


def test_a_ca_comes_back_from_its_files() -> None:
    again = NationalCa.parse(CA.key_pem, certificates.to_pem(CA.certificate))
    certificates.verify_leaf(again.issue(certificates.request(NAME, LEAF_KEY), now=NOW), (CA.certificate,), NOW)
    for key, certificate in (
        (OTHER.key_pem, certificates.to_pem(CA.certificate)),
        (b"", certificates.to_pem(CA.certificate)),
        (CA.key_pem, b""),
        (CA.key_pem, CA.key_pem),
    ):
        with pytest.raises(ExchangeError) as caught:
            NationalCa.parse(key, certificate)
        assert caught.value.reason is Reason.BAD_CERTIFICATE


def test_tls_keys_are_p256() -> None:
    key = certificates.tls_key()
    made = CA.issue(certificates.tls_request(NAME, key), now=NOW)
    assert certificates.verify_leaf(made, (CA.certificate,), NOW).algorithm == "ECDSA-P256"
    pem = LEAF_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ExchangeError):
        certificates.tls_request(NAME, pem)


# Damaged DER


def test_a_changed_leaf_never_says_anything_else() -> None:
    """The library takes a signature whose unused bits are counted wrongly; bundles name certificates by digest."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    accepted = 0
    for place in rng.sample(range(len(LEAF)), 200):
        raw = bytearray(LEAF)
        raw[place] ^= 1 << rng.randrange(8)
        try:
            found = certificates.verify_leaf(bytes(raw), (CA.certificate,), NOW)
        except Exception:  # noqa: BLE001  which errors are right is the next test's business
            continue
        accepted += 1
        assert replace(found, der=LEAF) == VERIFIED
        assert found.digest != VERIFIED.digest
    assert accepted < 2


def with_oid(raw: bytes, last: int, other: int) -> bytes:
    """The DER with one standard extension renamed."""
    assert raw.count(bytes((6, 3, 0x55, 0x1D, last))) == 1
    return raw.replace(bytes((6, 3, 0x55, 0x1D, last)), bytes((6, 3, 0x55, 0x1D, other)))


CRL = CA.crl(now=NOW)
VERSION = b"\xa0\x03\x02\x01\x02"
DAMAGED = {
    "an extension twice": (with_oid(LEAF, 0x23, 0x11), CA.certificate, b""),
    "a name of type x400Address": (LEAF.replace(b"\x82\x14desk", b"\xa3\x14desk"), CA.certificate, b""),
    "a version that does not exist": (
        LEAF.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"),
        CA.certificate,
        b"",
    ),
    "a CA with an extension twice": (LEAF, with_oid(CA.certificate, 0x0E, 0x0F), b""),
    "a CA of a version that does not exist": (LEAF, CA.certificate.replace(VERSION, VERSION[:-1] + b"\x09"), b""),
    "a list of a version that does not exist": (LEAF, CA.certificate, CRL.replace(b"\x02\x01\x01", b"\x02\x01\x07", 1)),
    "a list whose issuer is not text": (
        LEAF,
        CA.certificate,
        CRL.replace(b"\x0c\x16National", b"\x0c\x16\xffational", 1),
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_der_is_a_typed_error(name: str) -> None:
    certificate, authority, crl = DAMAGED[name]
    with pytest.raises(ExchangeError) as caught:
        judge(certificate, authority, crl)
    assert caught.value.reason is Reason.BAD_CERTIFICATE


def judge(certificate: bytes, authority: bytes, crl: bytes) -> None:
    """What a bundle's reader does with what came along."""
    found = certificates.verify_leaf(certificate, (authority,), NOW)
    certificates.check_not_revoked(found, (crl,), (authority,), NOW)
