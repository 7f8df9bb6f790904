"""The relay program over real TLS on loopback: who gets in, what travels, and what happens when a part fails."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from infoexchange import certificates
from infoexchange.certificates import NationalCa
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.states import Event, Precedence
from infoexchange.suites import HYBRID_KEM
from infoexchange.tlog import Checkpoint, merkle
from infoexchange.transport import RemoteRelay, status, utc_now
from infoexchange.transport.witness import RemoteWitness
from infoexchange.v1 import relay_pb2, relay_pb2_grpc
from infoexchange_relay import edge, fetching
from patience import LIMIT, PATIENT, until
from relays import A2, AGENCIES, A, B, Relays, delivered, events, fetched, raised


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with contextlib.closing(Relays(tmp_path_factory.mktemp("relays"), AGENCIES)) as relays:
        relays.start("th")
        relays.start("vn")
        relays.publish()
        yield relays


# What travels


def test_an_envelope_travels_from_agency_to_agency(two):
    sender, recipient = two.remote(A), two.remote(B)
    envelopes = [two.seal(A, [B]) for _ in range(3)]
    receipts = sender.submit([e.raw for e in envelopes])
    for receipt, envelope in zip(receipts, envelopes, strict=True):
        receipt.verify(two.directory)
        assert receipt.subject.envelope_digest == envelope.digest
    digests = until(lambda: fetched(recipient) if len(fetched(recipient)) == 3 else [])
    assert digests == [e.digest for e in envelopes]
    delivered(recipient, digests)
    assert fetched(recipient) == []
    th, vn = "relay.th.example", "relay.vn.example"
    until(lambda: (Event.DELIVERED, vn) in events(sender, digests[0]))
    assert events(sender, digests[0]) == [
        (Event.ACCEPTED, th),
        (Event.FORWARDED, th),
        (Event.ACCEPTED, vn),
        (Event.QUEUED, vn),
        (Event.DELIVERED, vn),
    ]
    for receipt in sender.events(digests[0]).events:
        receipt.verify(two.directory)
    assert raised(lambda: two.remote(A2).events(digests[0])).reason is Reason.NOT_PERMITTED


def test_sending_again_gives_the_same_entry(two):
    sender, envelope = two.remote(A), two.seal(A, [A2])
    first, second = (sender.submit([envelope.raw])[0] for _ in range(2))
    assert first.leaf == second.leaf
    delivered(two.remote(A2), [envelope.digest])


def test_one_bad_envelope_among_good_ones_is_refused_alone(two):
    sender = two.remote(A)
    good = [two.seal(A, [A2]) for _ in range(3)]
    bad = good[1].raw[:-40] + bytes(40)
    results = sender.submit([good[0].raw, b"\x00", bad, good[2].raw, two.seal(A2, [A]).raw])
    assert [r.reason if isinstance(r, ExchangeError) else None for r in results] == [
        None,
        Reason.MALFORMED,
        Reason.BAD_SIGNATURE,
        None,
        Reason.NOT_PERMITTED,
    ]
    assert fetched(two.remote(A2)) == [good[0].digest, good[2].digest]
    delivered(two.remote(A2), [good[0].digest, good[2].digest])


def test_a_flash_message_overtakes(two):
    sender, recipient = two.remote(A), two.remote(A2)
    slow = [two.seal(A, [A2]) for _ in range(3)]
    sender.submit([e.raw for e in slow])
    flash = two.seal(A, [A2], precedence=Precedence.FLASH)
    sender.submit([flash.raw])
    digests = fetched(recipient)
    assert digests == [flash.digest, *(e.digest for e in slow)]
    delivered(recipient, digests)


def test_a_following_stream_gets_what_arrives(two):
    sender, recipient = two.remote(A), two.remote(A2)
    stream = recipient.follow()
    for _ in range(2):
        envelope = two.seal(A, [A2])
        sender.submit([envelope.raw])
        (raw,) = next(stream)
        assert Envelope.parse(raw).digest == envelope.digest
        delivered(recipient, [envelope.digest])
    stream.close()


def test_a_stream_for_flash_alone(two):
    """It begins with what waits of them, goes on with what arrives, and leaves the rest to the other stream."""
    sender, recipient = two.remote(A), two.remote(A2)
    routine, *flashes = (two.seal(A, [A2], precedence=p) for p in (Precedence.ROUTINE, *[Precedence.FLASH] * 3))
    sender.submit([routine.raw, flashes[0].raw])
    stream = recipient._stream(follow=True, flash=True)
    frames = stream.frames()
    assert [Envelope.parse(raw).digest for raw in next(frames)] == [flashes[0].digest]
    for flash in flashes[1:]:
        sender.submit([flash.raw])
        assert [Envelope.parse(raw).digest for raw in next(frames)] == [flash.digest]
    stream.cancel()
    digests = [*(flash.digest for flash in flashes), routine.digest]
    assert fetched(recipient) == digests
    delivered(recipient, digests)


def test_flash_overtakes_what_is_under_way(two):
    sender, recipient = two.remote(A), two.remote(A2)
    queued = [two.seal(A, [A2], suite=HYBRID_KEM) for _ in range(200)]
    sender.submit([envelope.raw for envelope in queued])
    frames = recipient.fetch()
    seen = [Envelope.parse(raw).digest for _ in range(2) for raw in next(frames)]
    flash = two.seal(A, [A2], precedence=Precedence.FLASH)
    sender.submit([flash.raw])
    side = next(thread for thread in threading.enumerate() if thread.name == "urgent")
    assert side.is_alive()
    before = len(seen)
    for frame in frames:
        seen += [Envelope.parse(raw).digest for raw in frame]
    assert seen.count(flash.digest) == 1
    assert sorted(seen) == sorted([flash.digest, *(envelope.digest for envelope in queued)])
    assert before < len(queued)
    side.join(LIMIT)
    delivered(recipient, seen)


def test_credit_bounds_what_is_out(two, monkeypatch):
    monkeypatch.setattr(fetching, "CREDIT", 4)
    monkeypatch.setattr(fetching, "_PATIENCE", 0.2)
    sender, recipient = two.remote(A), two.remote(A2)
    digests = [e.digest for e in (two.seal(A, [A2]) for _ in range(6)) if sender.submit([e.raw])]
    assert fetched(recipient) == digests[:4]  # none acknowledged: it ends there
    monkeypatch.setattr(fetching, "_PATIENCE", PATIENT.total_seconds())
    seen = []
    for frame in recipient.fetch():
        seen += [Envelope.parse(raw).digest for raw in frame]
        delivered(recipient, seen)
    assert seen == digests


def test_bundles_of_another_nation_come_from_its_relay(two):
    found = two.remote(A).bundles([B, A, "nobody.xx.example"])
    assert [bundle.owner for bundle in found] == [B, A]
    for bundle in found:
        bundle.verify(two.directory, now=utc_now())
    receipt = two.remote(A).publish([two.community.members[A2].bundle])[0]
    assert receipt.reason is Reason.NOT_PERMITTED


def test_directory_and_log_can_be_read(two):
    remote = two.remote(B)
    assert remote.directories(0) == [two.directory.raw]
    assert remote.directories(1) == []
    leaves = remote.leaves(0, 10_000)
    receipt = remote.publish([two.community.members[B].bundle])[0]
    assert leaves[receipt.index] == receipt.leaf
    assert b"relay.vn.example/audit/" in remote.checkpoint()


# Who gets in


def connected(relays, key, certificate):
    return RemoteRelay(relays.channel("th", key=key, certificate=certificate), timeout=PATIENT)


def test_the_connection_is_tls_1_3_with_a_hybrid_key_exchange(two, monkeypatch):
    seen = []
    check = edge.caller
    monkeypatch.setattr(edge, "caller", lambda connection, *rest: seen.append(connection) or check(connection, *rest))
    two.remote(A).checkpoint()
    assert seen[0]["ssl_tls_version"] == [b"TLSv1.3"]
    assert seen[0]["ssl_negotiated_key_exchange_group"] == [b"X25519MLKEM768"]


def test_no_certificate_no_connection(two):
    roots = certificates.to_pem(two.community.cas["th"].certificate)
    options = [("grpc.ssl_target_name_override", "relay.th.example")]
    credentials = grpc.ssl_channel_credentials(roots)
    with grpc.secure_channel(two.addresses["th"], credentials, options=options) as channel:
        assert isinstance(raised(RemoteRelay(channel).checkpoint), UnavailableError)


def test_the_certificate_of_an_unknown_ca_is_no_use(two):
    stranger = NationalCa.make("th.example", now=two.now)
    assert isinstance(raised(connected(two, *two.tls(A, ca=stranger)).checkpoint), UnavailableError)


def test_another_nations_ca_cannot_vouch_for_a_name(two):
    """TLS accepts the chain; only the edge knows whose CA it is."""
    problem = raised(connected(two, *two.tls(A, ca=two.meddler)).checkpoint)
    assert problem.reason is Reason.BAD_CERTIFICATE


def test_a_name_outside_the_directory_gets_nothing(two):
    problem = raised(connected(two, *two.tls("nobody.th.example")).checkpoint)
    assert problem.reason is Reason.UNKNOWN_PARTY


def test_a_certificate_with_two_names_gets_nothing(two):
    key, one = two.tls(A)
    ca = two.community.cas["th"]
    template = x509.load_pem_x509_certificate(one)
    san = x509.SubjectAlternativeName([x509.DNSName(A), x509.DNSName(A2)])
    builder = x509.CertificateBuilder(
        issuer_name=template.issuer,
        subject_name=template.subject,
        public_key=template.public_key(),
        serial_number=7,
        not_valid_before=template.not_valid_before_utc,
        not_valid_after=template.not_valid_after_utc,
    ).add_extension(san, critical=True)
    ca_key = serialization.load_pem_private_key(ca.key_pem, None)
    both = builder.sign(ca_key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)
    problem = raised(connected(two, key, both).checkpoint)
    assert (problem.reason, "exactly one dNSName" in problem.detail) == (Reason.BAD_CERTIFICATE, True)


def test_the_wrong_relay_behind_an_address_is_noticed(two):
    roots = certificates.to_pem(two.community.cas["th"].certificate)
    key, certificate = two.tls(B)
    credentials = grpc.ssl_channel_credentials(roots, key, certificate)
    options = [("grpc.ssl_target_name_override", "relay.vn.example")]
    with grpc.secure_channel(two.addresses["th"], credentials, options=options) as channel:
        assert isinstance(raised(RemoteRelay(channel).checkpoint), UnavailableError)


def connection(certificate, **changed):
    return {"ssl_tls_version": [b"TLSv1.3"], "x509_pem_cert": [certificate], **changed}


def test_the_edge_checks_every_call(two):
    now = two.now
    _, certificate = two.tls(A)
    assert edge.caller(connection(certificate), two.directory, now).name == A
    for version in ([b"TLSv1.2"], []):
        old = connection(certificate, ssl_tls_version=version)
        assert raised(lambda old=old: edge.caller(old, two.directory, now)).field == "tls"
    for bad in ([], [b"junk"], [certificate, certificate]):
        none = connection(certificate, x509_pem_cert=bad)
        reason = raised(lambda none=none: edge.caller(none, two.directory, now)).reason
        assert reason is Reason.BAD_CERTIFICATE


def test_what_the_edge_remembers_ends_with_the_minute(two, monkeypatch):
    monkeypatch.setattr(edge, "_PROVEN_MAX", 2)
    _, certificate = two.tls(A)
    end = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    start = (end - timedelta(seconds=1)).replace(second=0, microsecond=0)
    assert edge.caller(connection(certificate), two.directory, start).name == A
    late = end + timedelta(seconds=60)
    assert raised(lambda: edge.caller(connection(certificate), two.directory, late)).reason is Reason.BAD_CERTIFICATE
    for minute in range(4):
        edge.caller(connection(certificate), two.directory, two.now + timedelta(minutes=minute))
    assert len(edge._proven) <= 2


# Limits


def submitted(two, frame, *, timeout=10):
    with status.calling("there"):
        remote = two.remote(A)
        return list(remote._relay.Submit(iter([relay_pb2.SubmitRequest(envelopes=frame)]), timeout=timeout))


def test_an_oversized_frame_is_refused(two):
    assert raised(lambda: submitted(two, [b"x"] * 257)).reason is Reason.TOO_LARGE
    assert raised(lambda: submitted(two, [b"x" * 1024 * 1024] * 5)).reason is Reason.TOO_LARGE
    problem = raised(lambda: submitted(two, [b"x" * 1024 * 1024] * 9))  # gRPC itself refuses it
    assert (problem.reason, "RESOURCE_EXHAUSTED" in problem.detail) == (Reason.UNAVAILABLE, True)


def test_a_call_without_a_deadline_is_refused(two):
    assert raised(lambda: submitted(two, [b"x"], timeout=None)).field == "deadline"


def test_health_and_reflection(two):
    channel = two.channel("th", A)
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "infoexchange.v1.RelayService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked, timeout=5)
    assert "infoexchange.v1.AuditService" in [s.name for s in answer.list_services_response.service]


def test_any_party_learns_what_a_witness_remembers_and_nobody_else_has_one_cosigned(two):
    witness = RemoteWitness(two.channel("vn", A), timeout=PATIENT, address="vn")
    newest = two.remote(A).checkpoint()
    origin = Checkpoint.parse(newest).origin
    told = until(lambda: witness.remembered(origin))
    Checkpoint.parse(told).verify(two.community.log_keys["relay.th.example"].verifier_keys)
    assert raised(lambda: witness.remembered("relay.xx.example/audit/2026h2")).reason is Reason.UNKNOWN_PARTY
    assert raised(lambda: witness.add_checkpoint(0, [], newest)).reason is Reason.NOT_PERMITTED
    stub = relay_pb2_grpc.WitnessServiceStub(two.channel("vn", A))
    for call in (
        lambda: stub.GetRemembered(relay_pb2.GetRememberedRequest(origin=origin)),
        lambda: stub.AddCheckpoint(relay_pb2.AddCheckpointRequest(checkpoint=newest)),
    ):
        with pytest.raises(ExchangeError) as caught, status.calling("vn"):
            call()
        assert caught.value.field == "deadline"


def test_sizes_hang_together_over_the_wire(two):
    remote = two.remote(A)
    leaves = [merkle.leaf_hash(leaf) for leaf in remote.leaves(0, 1000)]
    for old in range(1, len(leaves)):
        roots = merkle.prefix_roots(old, len(leaves), remote.consistency(old, len(leaves)))
        assert roots == (merkle.root(leaves[:old]), merkle.root(leaves))
    assert raised(lambda: remote.consistency(0, 1)).reason is Reason.BAD_FIELD
    cosigned = Checkpoint.parse(until(remote.cosigned))
    assert len(cosigned.note.signatures) == 4
