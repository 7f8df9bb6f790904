"""Unpacked evidence: what stands in the plain files is checked here with hashlib, OpenSSL and nothing of ours."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from command_setup import infoexchange
from conftest import AGENCIES, RECIPIENT, SECOND, SENDER
from infoexchange.evidence import Evidence
from infoexchange.evidence.unpacking import INDEX, unpack
from infoexchange.testing import Exchange, FakeClock
from messages import officer_acknowledgement


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evidence]:
    """A folder with evidence of one opened message, the roots, and the unpacked files in `plain`."""
    exchange = Exchange(AGENCIES, clock=FakeClock(datetime.now(UTC) - timedelta(minutes=1)))
    for name in (SENDER, RECIPIENT, SECOND):
        exchange.mailbox(name)
    sender = exchange.mailbox(SENDER)
    digest = sender.send(officer_acknowledgement(), to=[RECIPIENT, SECOND]).subject.envelope_digest
    for name in (RECIPIENT, SECOND):
        for delivery in exchange.mailbox(name).receive():
            exchange.mailbox(name).acknowledge(delivery)
    exchange.witness()
    evidence = sender.evidence(digest)
    folder = tmp_path_factory.mktemp("unpack")
    (folder / "whole.ixev").write_bytes(evidence.raw)
    (folder / "sealed.ixev").write_bytes(evidence.sealed().raw)
    (folder / "roots.pb").write_bytes(exchange.community.roots.raw)
    assert unpacked(folder, "whole.ixev", "plain") == 0
    return folder, evidence


def unpacked(folder: Path, file: str, to: str, *more: object) -> int:
    words = more or ("--roots", folder / "roots.pb")
    return infoexchange("evidence", "unpack", folder / file, "--to", folder / to, *words)


def test_every_part_is_there_once_and_listed(case) -> None:
    folder, evidence = case
    plain = folder / "plain"
    names = {path.name for path in plain.iterdir()}
    listed = [line.split()[0] for line in (plain / INDEX).read_text().splitlines()]
    assert len(listed) == len(set(listed))
    assert set(listed) | {INDEX, "report.json"} == names
    events, bundles = len(evidence.events), len(evidence.bundles)
    assert {f"leaf-{n}.bin" for n in range(1, events + 1)} <= names
    assert {f"event-{n}.tlog-proof" for n in range(1, events + 1)} <= names
    assert {f"bundle-{n}.dsse" for n in range(1, bundles + 1)} <= names
    assert {f"policy-relay.{c}.example.txt" for c in AGENCIES} <= names
    assert (plain / "envelope.bin").read_bytes() == evidence.envelope.raw
    assert (plain / "directory.dsse").read_bytes() == evidence.directory_raw
    report = json.loads((plain / "report.json").read_text())
    assert report["verdict"] == "TOTAL-PASSED"
    assert all(check["verdict"] == "TOTAL-PASSED" for check in report["checks"])


def test_a_sealed_file_gives_the_manifest_alone(case) -> None:
    folder, evidence = case
    assert unpacked(folder, "sealed.ixev", "sealed") == 0
    assert not (folder / "sealed" / "envelope.bin").exists()
    assert (folder / "sealed" / "manifest.dsse").read_bytes() == evidence.manifest.raw


def root_of(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162, 2.1.3.2, word for word."""
    r, fn, sn = sha256(b"\0" + leaf).digest(), index, size - 1
    for p in path:
        assert sn != 0
        if fn & 1 or fn == sn:
            r = sha256(b"\1" + p + r).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\1" + r + p).digest()
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return r


def test_each_proof_leads_from_its_leaf_to_a_signed_root(case) -> None:
    folder, evidence = case
    for place in range(1, len(evidence.events) + 1):
        leaf = (folder / "plain" / f"leaf-{place}.bin").read_bytes()
        head, note = (folder / "plain" / f"event-{place}.tlog-proof").read_text().split("\n\n", 1)
        first, index, *path = head.split("\n")
        assert first == "c2sp.org/tlog-proof@v1"
        text, signatures = note.split("\n\n", 1)
        origin, size, root = text.split("\n")
        found = root_of(leaf, int(index.removeprefix("index ")), int(size), list(map(base64.b64decode, path)))
        assert base64.b64encode(found).decode() == root
        policy = (folder / "plain" / f"policy-{origin.split('/')[0]}.txt").read_text().splitlines()
        keys = [line.removeprefix("log ") for line in policy if line.startswith(f"log {origin}+")]
        [key] = [raw for raw in (base64.b64decode(k.split("+", 2)[2]) for k in keys) if raw[0] == 1]
        lines = [line.split(" ") for line in signatures.splitlines()]
        [signature] = [raw for _, name, s in lines if name == origin and len(raw := base64.b64decode(s)) == 68]
        Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode() + b"\n")


def test_each_group_is_the_one_its_leaf_commits_to(case) -> None:
    folder, evidence = case
    for place in range(1, len(evidence.events) + 1):
        leaf = (folder / "plain" / f"leaf-{place}.bin").read_bytes()
        for number, group in ((2, "routing"), (3, "message")):
            raw = (folder / "plain" / f"event-{place}.{group}").read_bytes()
            salt = (folder / "plain" / f"event-{place}.{group}.salt").read_bytes()
            commitment = sha256(b"infoexchange/audit/v1/" + group.encode() + b"\0" + salt + raw).digest()
            assert bytes([number << 3 | 2, 32]) + commitment in leaf


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_openssl_reads_certificates_and_verifies_bundles(case) -> None:
    folder, evidence = case
    plain = folder / "plain"

    def openssl(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["openssl", *words], cwd=plain, capture_output=True, text=True, check=False)

    keys = []
    for file in sorted(plain.glob("certificate-*.pem")):
        shown = openssl("x509", "-in", file.name, "-noout", "-subject")
        assert shown.returncode == 0, shown.stderr
        der = openssl("x509", "-in", file.name, "-noout", "-text").stdout
        if "Public Key Algorithm: ED25519" in der:
            keys.append(file.name)
    assert len(keys) == len(evidence.bundles)
    for file in plain.glob("crl-*.pem"):
        assert openssl("crl", "-in", file.name, "-noout", "-issuer").returncode == 0
    for place in range(1, len(evidence.bundles) + 1):
        check = ("pkeyutl", "-verify", "-certin", "-rawin", "-in", f"bundle-{place}.signed")
        done = [openssl(*check, "-inkey", key, "-sigfile", f"bundle-{place}.signature-1") for key in keys]
        assert [d.returncode for d in done].count(0) == 1, [d.stderr for d in done]


def test_without_roots_nothing_is_judged(case, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = case
    assert unpacked(folder, "whole.ixev", "unjudged", "--json") == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "INDETERMINATE"
    assert json.loads((folder / "unjudged" / "report.json").read_text())["verdict"] == "INDETERMINATE"
    assert not list((folder / "unjudged").glob("policy-*"))


def test_what_fails_is_unpacked_with_its_verdict(case) -> None:
    folder, evidence = case
    raw = bytearray(evidence.raw)
    place = evidence.raw.index(evidence.envelope.raw) + len(evidence.envelope.raw) - 40
    raw[place] ^= 1  # within the last bytes of the ciphertext
    (folder / "changed.ixev").write_bytes(raw)
    assert unpacked(folder, "changed.ixev", "changed") == 1
    assert json.loads((folder / "changed" / "report.json").read_text())["verdict"] == "TOTAL-FAILED"


def test_nothing_is_mixed_with_other_files(case, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = case
    (folder / "used").mkdir()
    (folder / "used" / "mine").write_text("mine")
    for file, to, reason in (
        ("whole.ixev", "used", "not_permitted"),
        ("roots.pb", "new", "not_canonical"),
        ("nothing.ixev", "new", "unavailable"),
    ):
        assert unpacked(folder, file, to, "--json") == 1
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert json.loads(printed.err)["reason"] == reason
    assert not (folder / "new").exists()
    assert [path.name for path in (folder / "used").iterdir()] == ["mine"]


def test_unpacking_is_a_pure_function(case) -> None:
    _, evidence = case
    parts = unpack(Evidence.parse(evidence.raw))
    assert parts == unpack(evidence)
    assert len({part.name for part in parts}) == len(parts)
