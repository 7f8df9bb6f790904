"""A relay's certificate is replaced on disk: it is taken while calls go on, on both sides of the relay."""

from __future__ import annotations

import contextlib
import ssl
import threading

import pytest
import structlog

from infoexchange import certificates
from infoexchange.envelope import Envelope
from infoexchange.receipt import Receipt
from infoexchange.transport import utc_now
from infoexchange_relay import edge, tls
from onslaught import Target
from patience import LIMIT, until
from relays import A2, AGENCIES, A, B, Relays, delivered, fetched


@pytest.fixture
def relays(tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0.05)
    with contextlib.closing(Relays(tmp_path, AGENCIES)) as relays:
        yield relays


def put(file, content):
    """Replace a file as an operator does."""
    beside = file.with_suffix(".new")
    beside.write_bytes(content)
    beside.chmod(0o600)
    beside.replace(file)


def shown(relays, tmp_path):
    """The certificate that a relay shows whoever connects now, as DER."""
    key, certificate = relays.tls(A)
    files = {"roots": certificates.to_pem(relays.community.cas["th"].certificate), "chain": certificate, "key": key}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    aim = Target(relays.addresses["th"], "relay.th.example", *(str(tmp_path / name) for name in files))
    with aim.socket() as plain, aim.context().wrap_socket(plain, server_hostname=aim.name) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        return connection.getpeercert(binary_form=True)


def test_it_is_taken_without_dropping_a_call(relays, tmp_path, monkeypatch):
    seen = set()
    check = edge.caller

    def noting(connection, *rest):
        party = check(connection, *rest)
        seen.add((party.name, next(iter(connection["x509_pem_cert"]))))
        return party

    monkeypatch.setattr(edge, "caller", noting)
    for code in AGENCIES:
        relays.start(code)
    relays.publish()
    config, name = relays.configs["th"], "relay.th.example"
    sender, stream, results, stop = relays.remote(A), relays.remote(A2).follow(), [], threading.Event()

    def send():
        while not stop.is_set():
            results.extend(sender.submit([relays.seal(A, [A2, B]).raw]))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        until(lambda: len(results) > 2)
        old = shown(relays, tmp_path)
        key, certificate = relays.tls(name)
        put(config.tls_key, key)
        for _ in range(20):  # with the key alone nothing fits, and everything goes on
            assert shown(relays, tmp_path) == old
        put(config.tls_certificate, certificate)
        (new,) = certificates.from_pem(certificate)
        until(lambda: shown(relays, tmp_path) == new)
        count = len(results)
        until(lambda: len(results) > count + 2)
        # Other relays see it too: what goes on to them is handed over under the new one.
        until(lambda: (name, certificate) in seen)
    finally:
        stop.set()
        thread.join(LIMIT)
    assert all(isinstance(result, Receipt) for result in results)
    sent = {receipt.subject.envelope_digest for receipt in results}
    came = set()
    while came != sent:  # the stream that was open stays open
        digests = [Envelope.parse(raw).digest for raw in next(stream)]
        delivered(relays.remote(A2), digests)
        came |= set(digests)
    stream.close()
    assert until(lambda: set(fetched(relays.remote(B))) == sent)


def test_what_does_not_fit_changes_nothing(relays, tmp_path):
    relays.start("th")
    config, name = relays.configs["th"], "relay.th.example"
    old = shown(relays, tmp_path)
    first_key, first = config.tls_key.read_bytes(), config.tls_certificate.read_bytes()
    ca = relays.community.cas["th"]
    other_key, others = relays.tls("relay.vn.example")
    stranger = certificates.NationalCa.make("th.example", now=utc_now())
    pairs = {
        "of another key": (first_key, relays.tls(name)[1]),
        "of another name": (other_key, others),
        "of another relay of the nation": relays.tls("relay2.th.example", ca=ca),
        "of an unknown CA": relays.tls(name, ca=stranger),
        "nothing": (first_key, b""),
        "no key": (b"none", first),
    }
    with structlog.testing.capture_logs() as lines:
        for key, certificate in pairs.values():
            before = len(lines)
            put(config.tls_key, key)
            put(config.tls_certificate, certificate)
            until(lambda before=before: len(lines) > before)
            assert shown(relays, tmp_path) == old
        key, certificate = relays.tls(name)
        put(config.tls_key, key)
        put(config.tls_certificate, certificate)
        until(lambda: lines[-1]["event"] == "certificate_renewed")
    assert {line["event"] for line in lines[:-1]} == {"certificate_refused"}
    assert len(lines) <= 3 * len(pairs) + 3  # each of them is said once, however often it is looked at
    assert [shown(relays, tmp_path)] == certificates.from_pem(certificate)
