"""A small national CA with a book of what it did, and agencies whose certificates come from elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import infoexchange.cli.ca as ca_module
from command_setup import AGENCIES, enroll, infoexchange, make_directory, make_exchange
from infoexchange import certificates
from infoexchange.certificates import CaKey, NationalCa, RevocationReason, Revoked
from infoexchange.errors import ExchangeError, Reason
from infoexchange.home import Home
from infoexchange.keys import IdentityKey

NAME = AGENCIES["th"]
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_exchange(tmp_path_factory.mktemp("exchange"))


@pytest.fixture
def exchange(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(made, tmp_path / "exchange"))
    monkeypatch.chdir(folder)
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    capsys.readouterr()
    assert infoexchange(*words, "--json") == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


# The book


def test_everything_issued_stands_in_the_book(exchange, capsys):
    listed = run(capsys, "ca", "list", "--ca", "ca-th")["certificates"]
    assert [(c["name"], c["algorithm"], c["state"]) for c in listed] == [
        ("relay.th.example", "ECDSA-P256", "valid"),
        *((NAME, kind, "valid") for kind in ("Ed25519", "ML-DSA-65", "ECDSA-P256")),
    ]
    leaves = certificates.from_pem(Path("th.pem").read_bytes())
    assert [c["serial"] for c in listed[1:]] == [f"{certificates.load(der).serial_number:x}" for der in leaves]
    book = json.loads(Path("ca-th/register.json").read_text())
    assert [c["sha256"] for c in book["issued"][1:]] == [
        certificates.leaf.hashlib.sha256(der).hexdigest() for der in leaves
    ]


def test_the_book_is_written_before_a_certificate_is_handed_out(exchange, capsys, monkeypatch):
    issue = ("ca", "issue", "--ca", "ca-th", "home-th/request.pem", "--out", "no/such/folder/x.pem")
    assert infoexchange(*issue) == 1
    assert len(run(capsys, "ca", "list", "--ca", "ca-th")["certificates"]) == 4 + 3
    assert infoexchange("ca", "crl", "--ca", "ca-th", "--out", "no/such/x") == 1
    assert run(capsys, "ca", "crl", "--ca", "ca-th", "--out", "x")["number"] == 2  # 1 may have left the house


def test_lists_have_rising_numbers_reasons_and_an_end(exchange, capsys):
    listed = run(capsys, "ca", "list", "--ca", "ca-th")["certificates"]
    words = ("ca", "revoke", "--ca", "ca-th", listed[1]["serial"], "--reason", "keyCompromise")
    since = (datetime.now(UTC) - 3 * DAY).replace(microsecond=0)
    run(capsys, *words, "--since", since.isoformat())
    run(capsys, *words, "--reason", "superseded")  # the first date and reason stand
    for number in (1, 2):
        data = run(capsys, "ca", "crl", "--ca", "ca-th", "--out", "th.crl")
        assert (data["number"], data["revoked"]) == (number, [listed[1]["serial"]])
        crl = x509.load_der_x509_crl(Path("th.crl").read_bytes())
        assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number
        assert crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        assert crl.next_update_utc - crl.last_update_utc == 7 * DAY
        [entry] = crl
        assert entry.revocation_date_utc == since
        assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    states = [c["state"] for c in run(capsys, "ca", "list", "--ca", "ca-th")["certificates"]]
    assert [state.startswith("revoked") for state in states] == [False, True, False, False]
    if openssl := shutil.which("openssl"):
        command = [openssl, "crl", "-inform", "DER", "-in", "th.crl", "-CAfile", "ca-th/ca.pem", "-noout", "-text"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, "verify OK" in done.stderr, "Key Compromise" in done.stdout) == (0, True, True)


def test_all_certificates_of_a_name_are_revoked_together(exchange, capsys):
    data = run(capsys, "ca", "revoke", "--ca", "ca-th", NAME, "--reason", "cessationOfOperation")
    assert [row["reason"] for row in data["revoked"]] == ["cessationOfOperation"] * 3
    assert infoexchange("ca", "revoke", "--ca", "ca-th", NAME) == 1  # none of them is left
    assert run(capsys, "ca", "crl", "--ca", "ca-th", "--out", "th.crl")["number"] == 1
    capsys.readouterr()
    assert enroll(exchange, "th", crl="th.crl") == 1
    assert "revoked" in capsys.readouterr().err


def test_a_certificate_that_is_not_in_the_book_can_be_revoked_too(exchange, capsys):
    data = run(capsys, "ca", "revoke", "--ca", "ca-th", "00:BE:EF", "--unregistered")
    assert data["revoked"][0]["serial"] == "beef"
    listed = run(capsys, "ca", "list", "--ca", "ca-th")
    assert listed["revoked_elsewhere"] == ["beef"]
    assert run(capsys, "ca", "crl", "--ca", "ca-th", "--out", "x")["revoked"] == ["beef"]


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"form": "infoexchange CA register 1"}', b"\xff"])
def test_a_damaged_book_stops_everything(exchange, capsys, raw):
    Path("ca-th/register.json").write_bytes(raw)
    for words in (
        ("ca", "crl", "--ca", "ca-th", "--out", "x"),
        ("ca", "list", "--ca", "ca-th"),
        ("ca", "revoke", "--ca", "ca-th", "1"),
        ("ca", "issue", "--ca", "ca-th", "home-th/request.pem", "--out", "x"),
    ):
        capsys.readouterr()
        assert infoexchange(*words) == 1
        assert "Restore it from its backup" in capsys.readouterr().err
    assert not Path("x").exists()


def test_a_ca_signs_nothing_outside_its_suffix(exchange, capsys, monkeypatch):
    """Not even for itself to look at: a certificate that should not exist could be found and believed."""
    monkeypatch.setattr(x509.CertificateBuilder, "sign", lambda *_: pytest.fail("signed"))
    capsys.readouterr()
    assert infoexchange("ca", "issue", "--ca", "ca-th", "home-sg/request.pem", "--out", "x") == 1
    assert "not below th.example" in capsys.readouterr().err


# ML-DSA-65


def test_a_ca_may_sign_with_mldsa(exchange, capsys):
    data = run(capsys, "ca", "init", "my.example", "--algorithm", "ML-DSA-65", "--out", "ca-my")
    assert data["algorithm"] == "ML-DSA-65"
    name = "desk.my.example"
    assert infoexchange("keygen", name, "--home", "home-my") == 0
    assert infoexchange("ca", "issue", "--ca", "ca-my", "home-my/request.pem", "--out", "my.pem") == 0
    cas = tuple(certificates.from_pem(Path("ca-my/ca.pem").read_bytes()))
    leaves = [
        certificates.verify_leaf(der, cas, datetime.now(UTC))
        for der in certificates.from_pem(Path("my.pem").read_bytes())
    ]
    assert [leaf.algorithm for leaf in leaves] == ["Ed25519", "ML-DSA-65", "ECDSA-P256"]
    run(capsys, "ca", "revoke", "--ca", "ca-my", f"{leaves[0].serial:x}")
    assert infoexchange("ca", "crl", "--ca", "ca-my", "--out", "my.crl") == 0
    crl = Path("my.crl").read_bytes()
    assert certificates.check_not_revoked(leaves[1], (crl,), cas, datetime.now(UTC))
    with pytest.raises(ExchangeError) as caught:
        certificates.check_not_revoked(leaves[0], (crl,), cas, datetime.now(UTC))
    assert caught.value.reason is Reason.REVOKED


@pytest.mark.parametrize("kind", CaKey)
def test_either_kind_comes_back_from_its_files(kind):
    ca = NationalCa.make("my.example", now=NOW, kind=kind)
    again = NationalCa.parse(ca.key_pem, certificates.to_pem(ca.certificate))
    assert (again.certificate, again.suffixes) == (ca.certificate, ("my.example",))


def test_a_partial_list_is_none():
    """A list of changes only, or of some certificates only, would seem to clear what it does not speak of."""
    ca = NationalCa.make("th.example", now=NOW)
    leaf = certificates.verify_leaf(
        ca.issue(certificates.identity_requests(NAME, IdentityKey.make())[0], now=NOW), (ca.certificate,), NOW
    )
    key = serialization.load_pem_private_key(ca.key_pem, None)
    issuer = certificates.load(ca.certificate)
    for part in (x509.DeltaCRLIndicator(1), x509.IssuingDistributionPoint(None, None, True, False, None, False, False)):
        builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
        partial = builder.last_update(NOW).next_update(NOW + DAY).add_extension(part, critical=True)
        raw = partial.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)
        with pytest.raises(ExchangeError) as caught:
            certificates.check_not_revoked(leaf, (raw,), (ca.certificate,), NOW)
        assert caught.value.reason is Reason.BAD_CERTIFICATE
    whole = ca.crl(now=NOW, revoked=[Revoked(1, NOW, RevocationReason.SUPERSEDED), (2, NOW)])
    assert certificates.check_not_revoked(leaf, (whole,), (ca.certificate,), NOW)
    assert certificates.list_until((whole,), (ca.certificate,)) == NOW + 7 * DAY


# Requests and certificates for those who have a CA


@pytest.mark.skipif(not shutil.which("openssl"), reason="the program openssl is not installed")
def test_requests_are_standard(exchange):
    """As another program reads them; it is too old for ML-DSA, whose request is read by another library below."""
    pem = Path("home-th/request.pem").read_bytes()
    requests = [b"-----BEGIN" + part for part in pem.split(b"-----BEGIN")[1:]]
    for request in (requests[0], requests[2]):
        done = subprocess.run(
            ["openssl", "req", "-verify", "-noout", "-text"], input=request, capture_output=True, check=False
        )
        assert done.returncode == 0
        assert b"OK" in done.stderr
        assert f"DNS:{NAME}".encode() in done.stdout
    assert all(x509.load_pem_x509_csr(request).is_signature_valid for request in requests)


def foreign_ca(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A national CA as other software makes it: P-256, a long name, an identifier, a path without a limit."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "TH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Government"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Root G3"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 3650 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName("th.example")], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "foreign.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key, certificate


def foreign_leaf(key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, request: bytes) -> bytes:
    """A certificate as other software issues it: with a subject, key usages and an extended key usage."""
    csr = x509.load_pem_x509_csr(request)
    san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Police")]))
        .issuer_name(ca.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 300 * DAY)
        .add_extension(san.value, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def test_an_agency_enrols_with_certificates_of_its_nations_own_ca(exchange):
    key, ca = foreign_ca(exchange)
    draft = json.loads((exchange / "draft.json").read_text().split("\n", 1)[1])
    for nation in draft["nations"]:
        if nation["code"] == "th":
            nation["identity_cas"] = nation["tls_cas"] = ["foreign.pem"]
    directory = make_directory(exchange, "second", "--after", "directory.pb", nations=draft["nations"])
    pem = (exchange / "home-th/request.pem").read_bytes()
    requests = [b"-----BEGIN" + part for part in pem.split(b"-----BEGIN")[1:]]
    (exchange / "foreign-leaves.pem").write_bytes(b"".join(foreign_leaf(key, ca, request) for request in requests))
    assert enroll(exchange, "th", certificates="foreign-leaves.pem", directory=directory) == 0
    home = Home.open("home-th")
    assert home.bundle.verify(home.directory, now=datetime.now(UTC)).name == NAME
    assert (home.bundle.epoch, home.bundle.previous) == (2, home.bundles[1].digest)


def test_times_are_read_with_their_zone():
    assert ca_module._time("2026-11-22T08:00Z") == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert ca_module._time("2026-11-22T15:00+07:00") == datetime(2026, 11, 22, 8, tzinfo=UTC)
