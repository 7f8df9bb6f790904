"""A new TLS key and the log of the next half-year: what does not fit is put away, and the relay is as it was."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infoexchange import certificates
from infoexchange.certificates import NationalCa
from infoexchange.log import LogKeys
from operated import PATIENCE, RELAY, Machine

pytestmark = pytest.mark.timeout(PATIENCE)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()


def shown(machine: Machine) -> bytes:
    """Return the certificate that the relay shows to whoever calls."""
    address = machine.sites.community.directory.listed(RELAY).address
    host, _, port = address.rpartition(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))


def issued(machine: Machine, ca: NationalCa) -> Path:
    """Return a file with what a CA issued for the request."""
    request = (machine.relay / "next-tls" / "request.pem").read_bytes()
    file = machine.folder / "issued.pem"
    file.write_bytes(certificates.to_pem(ca.issue(request, now=datetime.now(UTC))))
    return file


def test_a_new_tls_key(machine: Machine) -> None:
    first, ca = shown(machine), machine.sites.community.cas["xa"]
    key = (machine.relay / "tls.key").read_bytes()
    assert "there is no new key" in machine.refuses("rotate-tls.sh", "install", machine.relay / "tls.pem")
    machine.does("rotate-tls.sh", "request")
    assert {file.name for file in (machine.relay / "next-tls").iterdir()} >= {"tls.key", "request.pem"}
    assert not (machine.relay / "next-tls" / "log.key").exists()
    # The certificate of the old key, and one of a CA that the directory does not list: the relay has not noticed.
    stranger = NationalCa.make("xa.example", now=datetime.now(UTC))
    pid = machine.pid
    for wrong in (machine.relay / "tls.pem", issued(machine, stranger)):
        assert "TLS certificate: " in machine.refuses("rotate-tls.sh", "install", wrong)
        assert (machine.relay / "tls.key").read_bytes() == key
        assert machine.pid == pid
    # It does not start with the right one, for whatever reason: it runs with the old one again.
    (machine.sites.folder / "fails").touch()
    right = issued(machine, ca)
    assert "are those of before" in machine.refuses("rotate-tls.sh", "install", right)
    assert shown(machine) == first
    assert "uses the new certificate" in machine.does("rotate-tls.sh", "install", right)
    assert shown(machine) == certificates.from_pem(right.read_bytes())[0] != first
    machine.send()
    machine.does("rotate-tls.sh", "back")
    assert shown(machine) == first


def test_the_next_half_year(machine: Machine) -> None:
    digest, log_key = machine.send(), machine.relay / "log.key"
    keys, papers = log_key.read_bytes(), (machine.relay / "directory.pb").read_bytes()
    assert "no keys wait" in machine.refuses("next-half-year.sh", "turn", machine.relay / "directory.pb")
    machine.does("next-half-year.sh", "keys")
    pid = machine.pid
    said = machine.refuses("next-half-year.sh", "turn", machine.directory("one.pb", signers=1))
    assert "is the version of before" in said
    assert (machine.relay / "directory.pb").read_bytes() == papers
    assert machine.pid == pid
    assert "the next one grows" in machine.does("next-half-year.sh", "turn", machine.directory("two.pb"))
    now = LogKeys.parse(log_key.read_bytes())
    assert now.origin == f"{LogKeys.parse(keys).origin}-2"
    assert machine.received() == [digest]
