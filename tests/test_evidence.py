"""Evidence: what one file proves offline, and what it refuses to be made to prove."""

from __future__ import annotations

import random
import socket

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import certificates
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.node import Job
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.v1 import evidence_pb2
from infoexchange.verdict import Report, Verdict
from messages import officer_acknowledgement

WITNESSED = "checkpoints witnessed"


def make(exchange: Exchange, *, opened_by: tuple[str, ...] = (), witnessed: bool = True) -> Evidence:
    to = (RECIPIENT, SECOND)
    for name in to:
        exchange.mailbox(name)
    sender = exchange.mailbox(SENDER)
    digest = sender.send(officer_acknowledgement(), to=list(to)).subject.envelope_digest
    for name in opened_by:
        for delivery in exchange.mailbox(name).receive():
            exchange.mailbox(name).acknowledge(delivery)
    if witnessed:
        exchange.witness()
    return sender.evidence(digest)


@pytest.fixture(scope="module")
def whole(shared_exchange: Exchange) -> Evidence:
    return make(shared_exchange, opened_by=(RECIPIENT, SECOND))


def changed(evidence: Evidence, **parts: object) -> bytes:
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    for name, value in parts.items():
        message.ClearField(name)
        if isinstance(value, bytes | int):
            setattr(message, name, value)
        else:
            getattr(message, name).extend(value)
    return message.SerializeToString(deterministic=True)


def failures(report: Report) -> dict[str, str]:
    return {c.name: c.reason for c in report.checks if c.verdict is Verdict.TOTAL_FAILED}


def test_everything_holds(shared_exchange: Exchange, whole: Evidence) -> None:
    report = Evidence.parse(whole.raw).verify(shared_exchange.directory, now=shared_exchange.clock())
    assert [c for c in report.checks if c.verdict is not Verdict.TOTAL_PASSED] == []
    assert report.verdict is Verdict.TOTAL_PASSED
    said = {c.name: c.detail for c in report.checks}[f"outcome for {RECIPIENT}"]
    assert said.startswith("OPENED, entry ")
    assert said.endswith(f" of relay.vn.example, as {RECIPIENT} signed")


def test_without_witnesses_nothing_is_ever_passed(exchange: Exchange) -> None:
    evidence = make(exchange, opened_by=(RECIPIENT, SECOND), witnessed=False)
    report = evidence.verify(exchange.directory, now=exchange.clock())
    assert [c.name for c in report.checks if c.verdict is not Verdict.TOTAL_PASSED] == [WITNESSED]
    assert report.verdict is Verdict.INDETERMINATE


def test_it_needs_no_socket_and_no_key(
    shared_exchange: Exchange, whole: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    directory = Evidence.parse(whole.raw).directory(shared_exchange.community.roots)
    assert failures(Evidence.parse(whole.raw).verify(directory, now=shared_exchange.clock())) == {}


def test_it_holds_no_plaintext(whole: Evidence) -> None:
    for marker in (b"joint exercise", b"OfficerAcknowledgement"):
        assert marker not in whole.raw


def test_a_recipient_whose_outcome_is_unknown_is_named(exchange: Exchange) -> None:
    report = make(exchange, opened_by=(RECIPIENT,)).verify(exchange.directory, now=exchange.clock())
    open_questions = [c.name for c in report.checks if c.verdict is Verdict.INDETERMINATE]
    assert open_questions == [f"outcome for {SECOND}"]


def test_flipped_bits_are_refused_or_change_nothing(shared_exchange: Exchange, whole: Evidence) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    expected = whole.verify(shared_exchange.directory, now=shared_exchange.clock())
    unchanged = 0
    for place in rng.sample(range(len(whole.raw)), 200):
        raw = bytearray(whole.raw)
        raw[place] ^= 1 << rng.randrange(8)
        try:
            evidence = Evidence.parse(bytes(raw))
            report = evidence.verify(evidence.directory(shared_exchange.community.roots), now=shared_exchange.clock())
        except ExchangeError:
            continue
        if failures(report):
            continue
        unchanged += 1  # a key-id hint, which decides nothing
        assert report == expected
    assert unchanged < 8


def test_parts_of_another_message_do_not_pass(exchange: Exchange) -> None:
    one, other = make(exchange, opened_by=(RECIPIENT, SECOND)), make(exchange, opened_by=(RECIPIENT, SECOND))
    a, b = (evidence_pb2.Evidence.FromString(e.raw) for e in (one, other))
    verify = lambda raw: failures(Evidence.parse(raw).verify(exchange.directory, now=exchange.clock()))  # noqa: E731
    assert set(verify(changed(one, events=b.events)).values()) == {"bad_proof"}
    assert set(verify(changed(one, statements=b.statements)).values()) == {"bad_proof"}
    with pytest.raises(ExchangeError) as caught:
        Evidence.parse(changed(one, envelope=b.envelope))
    assert caught.value.reason is Reason.BAD_FIELD
    assert set(verify(changed(one, envelope=b.envelope, envelope_digest=b.envelope_digest)).values()) == {"bad_proof"}
    assert a.envelope != b.envelope


def test_parts_left_out_are_missed(shared_exchange: Exchange, whole: Evidence) -> None:
    verify = lambda raw: Evidence.parse(raw).verify(shared_exchange.directory, now=shared_exchange.clock())  # noqa: E731
    assert verify(changed(whole, events=[])).verdict is Verdict.TOTAL_FAILED  # statements without their entries
    bare = verify(changed(whole, events=[], statements=[]))
    assert bare.verdict is Verdict.INDETERMINATE
    assert next(c.name for c in bare.checks if c.verdict is Verdict.INDETERMINATE) == "accepted by the sender's relay"
    assert failures(verify(changed(whole, bundles=[])))["sender's keys"] == "stale_bundle"
    assert failures(verify(changed(whole, certificates=[])))["sender's keys"] == "bad_certificate"
    no_crl = verify(changed(whole, crls=[]))
    assert "sender's certificate not revoked" in [c.name for c in no_crl.checks if c.verdict is Verdict.INDETERMINATE]


def test_another_communitys_directory_proves_nothing(whole: Evidence, exchange: Exchange) -> None:
    assert failures(whole.verify(exchange.directory, now=exchange.clock()))["sender's keys"] == "bad_certificate"
    with pytest.raises(ExchangeError) as caught:
        whole.directory(exchange.community.roots)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_a_sealed_file_shows_authorship_without_ciphertext(exchange: Exchange) -> None:
    evidence = make(exchange, opened_by=(RECIPIENT, SECOND))
    sealed = evidence.sealed()
    assert evidence.envelope is not None
    assert evidence.envelope.body not in sealed.raw
    report = Evidence.parse(sealed.raw).verify(exchange.directory, now=exchange.clock())
    assert failures(report) == {}


def test_a_revoked_sender_is_found_out(exchange: Exchange) -> None:
    evidence = make(exchange)
    member = exchange.community.members[SENDER]
    ca = exchange.community.cas["th"]
    leaf = certificates.verify_leaf(member.certificates[0], (ca.certificate,), exchange.clock())
    crl = ca.crl(now=exchange.clock(), revoked=[(leaf.serial, exchange.clock())])
    report = Evidence.parse(changed(evidence, crls=[crl])).verify(exchange.directory, now=exchange.clock())
    assert failures(report)["sender's keys"] == "revoked"


def test_relays_off_the_way_prove_nothing() -> None:
    """A third nation's relay logs what it likes about a message that it never carried."""
    exchange = Exchange({"th": ["desk.oncb"], "vn": ["intel.c04"], "la": ["desk.lcdc"]})
    for name in (SENDER, RECIPIENT):
        exchange.mailbox(name)
    digest = exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT]).subject.envelope_digest
    evidence = exchange.mailbox(SENDER).evidence(digest)
    liar = exchange.nodes["relay.la.example"]
    for event in (Event.EXPIRED, Event.ACCEPTED):
        job = Job((liar.event(event, evidence.manifest, RECIPIENT if event is Event.EXPIRED else ""),))
        [receipt] = liar.commit([job])
        message = evidence_pb2.Evidence.FromString(evidence.raw)
        message.events.add().ParseFromString(receipt.raw)
        report = Evidence.parse(message.SerializeToString(deterministic=True)).verify(
            exchange.directory, now=exchange.clock()
        )
        assert set(failures(report).values()) == {"bad_proof"}


def test_a_sender_revoked_between_making_and_logging_is_a_finding(exchange: Exchange) -> None:
    evidence = make(exchange)
    leaf = certificates.verify_leaf(
        exchange.community.members[SENDER].certificates[0],
        (exchange.community.cas["th"].certificate,),
        exchange.clock(),
    )
    header = evidence.manifest.header
    crl = exchange.community.cas["th"].crl(now=exchange.clock(), revoked=[(leaf.serial, header.created_at)])
    report = Evidence.parse(changed(evidence, crls=[crl])).verify(exchange.directory, now=exchange.clock())
    assert failures(report)["sender's certificate not revoked"] == "revoked"


def test_junk_is_a_typed_error() -> None:
    for raw in (b"", b"junk", bytes(100), b"\xff" * 64):
        with pytest.raises(ExchangeError):
            Evidence.parse(raw)
