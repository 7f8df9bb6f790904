"""The way that passed-on content has come: what a relay, a holder and a forger of evidence cannot make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from infoexchange import certificates
from infoexchange.audit import Subject
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.keys import EpochKeys
from infoexchange.node import Job
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.transfer import Transfer
from infoexchange.v1 import envelope_pb2, evidence_pb2
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement
from onward_case import DAY, OTHER, A, B, C, Case, D, consented, finding, one, reason_of, rewritten

MOMENT = timedelta(milliseconds=1)


@pytest.fixture(scope="module")
def case() -> Case:
    """For tests that add messages and change nothing."""
    return Case()


@pytest.fixture(scope="module")
def evidence(case: Case) -> Evidence:
    """Of the third transfer, as its sender makes it, with everything that can be had."""
    return case.proven()


# What a relay does to it


def strip(message: envelope_pb2.Envelope, case: Case) -> None:
    message.ClearField("grant")


def swap(message: envelope_pb2.Envelope, case: Case) -> None:
    message.grant = case.signed().raw  # the same terms, signed again


def add(message: envelope_pb2.Envelope, case: Case) -> None:
    strip_header(message, case)
    message.grant = case.grant.raw


def strip_header(message: envelope_pb2.Envelope, case: Case) -> None:
    manifest = envelope_pb2.Manifest.FromString(message.manifest.payload)
    header = envelope_pb2.Header.FromString(manifest.header)
    header.ClearField("grant")
    manifest.header = header.SerializeToString(deterministic=True)
    message.manifest.payload = manifest.SerializeToString(deterministic=True)
    message.ClearField("grant")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (strip, Reason.NOT_PERMITTED),
        (swap, Reason.BAD_SIGNATURE),
        (strip_header, Reason.BAD_SIGNATURE),
        (add, Reason.BAD_SIGNATURE),
    ],
)
def test_a_relay_that_tampers_is_caught_and_the_holder_not_blamed(
    case: Case, evidence: Evidence, change: Callable[..., None], reason: Reason
) -> None:
    envelope = case.seal(case.grant, case.origin())
    message = envelope_pb2.Envelope.FromString(envelope.raw)
    change(message, case)
    raw = message.SerializeToString(deterministic=True)
    result = case.submit(raw)
    assert isinstance(result, ExchangeError)
    assert result.reason is reason
    box = case.handed(raw)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused] == [(reason, False)]  # nobody is told: nobody is shown
    forged = rewritten(evidence, Envelope.parse(raw), transfers=[])
    assert finding(case, forged, "sender's signature") == (Verdict.TOTAL_FAILED, reason.word)


# The way it came


def test_a_gap_in_the_chain(case: Case, evidence: Evidence) -> None:
    """C shows A's envelope to B as if it had come straight from there."""
    origin = case.origin(case.first)
    box = case.handed(case.seal(case.grant, origin).raw)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.problem.field) for r in box.refused[:1]] == [(Reason.NOT_PERMITTED, "transfer")]
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    del message.transfers[1]
    assert finding(case, message.SerializeToString(deterministic=True)) == (Verdict.TOTAL_FAILED, "not_permitted")


def test_another_payload_under_the_same_origin(case: Case) -> None:
    other = officer_acknowledgement(purpose="another purpose").SerializeToString(deterministic=True)
    envelope = case.seal(case.grant, case.origin(), payload=other)
    assert isinstance(case.submit(envelope.raw), Receipt)  # a relay cannot know what is inside
    box = case.boxes[D]
    before = len(box.refused)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused[before:]] == [(Reason.BAD_COMMITMENT, True)]


def test_a_grant_used_for_another_message_of_the_same_originator(case: Case, evidence: Evidence) -> None:
    case.boxes[A].send(officer_acknowledgement(purpose="something else"), [C])
    other = one(case.boxes[C])
    assert reason_of(lambda: case.boxes[C].pass_on(other, [D], grant=case.grant)) is Reason.NOT_PERMITTED
    origin = case.origin(other)
    envelope = case.seal(case.grant, origin, payload=other.content.payload)
    box = case.handed(envelope.raw)
    assert list(box.receive()) == []
    assert box.refused[0].problem.reason is Reason.BAD_COMMITMENT
    transfers = [Transfer(other.envelope.manifest).to_wire()]
    assert finding(case, rewritten(evidence, envelope, transfers=transfers)) == (
        Verdict.TOTAL_FAILED,
        "bad_commitment",
    )


def test_dated_back_into_the_time_of_a_grant() -> None:
    """C's relay refuses; a relay that helps C is caught by the time of its own log entry."""
    case = Case()
    case.boxes[C].pass_on(case.second, [D])
    good = one(case.boxes[D])
    evidence = case.boxes[D].evidence(good.digest, good.envelope)
    made = case.exchange.clock()
    case.exchange.clock.advance(16 * DAY)
    late = case.seal(case.grant, case.origin(), created_at=made, expires_at=made + 30 * DAY)
    result = case.submit(late.raw)
    assert isinstance(result, ExchangeError)
    assert (result.reason, result.field) == (Reason.EXPIRED, "grant.expires_ms")
    assert reason_of(lambda: case.boxes[C].pass_on(case.second, [D])) is Reason.EXPIRED
    node, subject = case.exchange.node_of(C), Subject(statement_digest=case.grant.digest)
    [receipt] = node.commit([Job((node.event(Event.ACCEPTED, late.manifest, subject=subject),))])
    message = evidence_pb2.Evidence.FromString(rewritten(evidence, late, events=[], statements=[]))
    message.events.add().ParseFromString(receipt.raw)
    raw = message.SerializeToString(deterministic=True)
    assert finding(case, raw) == (Verdict.TOTAL_FAILED, "expired")
    report = Evidence.parse(raw).verify(case.exchange.directory, now=case.exchange.clock())
    passed = {c.name for c in report.checks if c.verdict is Verdict.TOTAL_PASSED}
    assert "event 1: ACCEPTED by relay.vn.example" in passed


def test_an_originator_whose_keys_were_revoked_grants_nothing_any_more() -> None:
    case = Case()
    exchange = case.exchange
    member, ca = exchange.community.members[A], exchange.community.cas["th"]
    exchange.clock.advance(DAY)
    leaf = certificates.verify_leaf(member.certificates[0], (ca.certificate,), exchange.clock())
    crl = ca.crl(now=exchange.clock(), revoked=[(leaf.serial, exchange.clock())])
    revoked = KeyBundle.parse(member.bundle.raw, member.certificates, (crl,))
    node = exchange.node_of(C)
    relay = exchange.directory.party("relay.th.example", at=exchange.clock())
    node.commit([node.decide_bundle(relay, revoked)])
    result = case.submit(case.seal(case.grant, case.origin()).raw)
    assert isinstance(result, ExchangeError)
    assert result.reason is Reason.REVOKED


def test_an_originator_that_withdrew_its_keys_grants_nothing_with_them_any_more() -> None:
    case = Case()
    exchange = case.exchange
    member, start = exchange.community.members[A], exchange.clock()
    newer = replace(member.identity, epochs=(EpochKeys.make(2), *member.identity.epochs))
    parts = {"previous": member.bundle, "withdraw": True}
    withdrawing = KeyBundle.issue(newer, member.certificates, (member.crl,), now=start, **parts)
    envelope = case.seal(case.grant, case.origin())
    exchange.clock.advance(CLOCK_SKEW + MOMENT)
    node, relay = exchange.node_of(C), exchange.directory.party("relay.th.example", at=exchange.clock())
    node.commit([node.decide_bundle(relay, withdrawing)])
    result = case.submit(envelope.raw)
    assert isinstance(result, ExchangeError)
    assert (result.reason, "epoch 2" in result.detail) == (Reason.REVOKED, True)


# What an evidence file leaves open


def test_what_is_not_in_the_file_is_open(case: Case, evidence: Evidence) -> None:
    assert finding(case, rewritten(evidence, transfers=[])) == (Verdict.INDETERMINATE, "chain not in the file")
    sealed = evidence_pb2.Evidence.FromString(evidence.sealed().raw)
    sealed.ClearField("grant")
    raw = sealed.SerializeToString(deterministic=True)
    assert finding(case, raw) == (Verdict.INDETERMINATE, "chain not in the file")
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    message.transfers[1].ClearField("accepted")
    raw = message.SerializeToString(deterministic=True)
    assert finding(case, raw) == (Verdict.INDETERMINATE, "no log entry")


def test_receipts_of_something_else_prove_no_transfer(case: Case, evidence: Evidence) -> None:
    message = evidence_pb2.Evidence.FromString(evidence.raw)
    message.transfers[1].accepted = message.transfers[0].accepted
    raw = message.SerializeToString(deterministic=True)
    assert finding(case, raw) == (Verdict.TOTAL_FAILED, "bad_proof")
    spoiled = evidence_pb2.Evidence.FromString(evidence.raw)
    spoiled.transfers[1].grant = message.transfers[0].manifest  # no grant at all
    assert reason_of(lambda: Evidence.parse(spoiled.SerializeToString(deterministic=True))) is Reason.BAD_FIELD
    spoiled.transfers[1].grant = case.grant.raw
    assert reason_of(lambda: Evidence.parse(spoiled.SerializeToString(deterministic=True))) is Reason.BAD_COMMITMENT


def test_grant_and_transfers_stand_only_where_they_belong(case: Case, evidence: Evidence) -> None:
    assert reason_of(lambda: Evidence.parse(rewritten(evidence, grant=case.grant.raw))) is Reason.BAD_FIELD
    digest = case.boxes[A].send(officer_acknowledgement(), [B]).subject.envelope_digest
    one(case.boxes[B])
    transfers = [t.to_wire() for t in evidence.transfers]
    plain = case.boxes[A].evidence(digest)
    assert reason_of(lambda: Evidence.parse(rewritten(plain, transfers=transfers))) is Reason.BAD_FIELD
    many = [evidence.transfers[0].to_wire()] * 9
    assert reason_of(lambda: Evidence.parse(rewritten(evidence, transfers=many))) is Reason.TOO_LARGE


def test_a_consent_for_two_holders_at_once(case: Case) -> None:
    """Grants held here for other recipients do not stand in the way of the one that fits."""
    consented(case.boxes[C], case.boxes[A], case.second, [OTHER])
    case.boxes[C].pass_on(case.second, [D])
    assert one(case.boxes[D]).originator == A
    case.boxes[C].pass_on(case.second, [OTHER])
    assert one(case.boxes[OTHER]).originator == A
