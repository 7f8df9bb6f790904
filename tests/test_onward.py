"""Passing on what is another's: three transfers replayed, and what sender, relay, recipient and auditor each refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from conftest import EVERY_SUITE
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.grant import Grant
from infoexchange.node import Job
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import CLASSICAL, HYBRID_KEM
from infoexchange.transfer import Transfer
from infoexchange.v1 import evidence_pb2
from infoexchange.verdict import Report, Verdict
from messages import officer_acknowledgement
from onward_case import CONSENT, DAY, OTHER, A, B, C, Case, D, finding, one, reason_of, rewritten


@pytest.fixture(scope="module", params=EVERY_SUITE, ids=lambda suite: suite.name)
def case(request: pytest.FixtureRequest) -> Case:
    """In each suite, for tests that add messages and change nothing."""
    return Case(request.param)


@pytest.fixture(scope="module")
def evidence(case: Case) -> Evidence:
    """Of the third transfer, as its sender makes it, with everything that can be had."""
    return case.proven()


# What goes well


def test_three_transfers_are_replayed_by_the_recipient(case: Case) -> None:
    case.boxes[C].pass_on(case.second, [D])
    delivery = one(case.boxes[D])
    assert (delivery.sender, delivery.originator) == (C, A)
    assert [(t.sender, t.recipients) for t in delivery.chain] == [(A, (B,)), (B, (C,)), (C, (D,))]
    assert [t.grant.terms.holder if t.grant else None for t in delivery.chain] == [None, B, C]
    assert delivery.content.payload == case.first.content.payload
    assert delivery.message == officer_acknowledgement()
    assert delivery.content.thread_id != case.first.content.thread_id
    assert case.first.chain == (Transfer(case.first.envelope.manifest),)
    assert (case.first.originator, case.first.origin) == (A, None)


def test_the_auditor_replays_them_offline(case: Case, evidence: Evidence) -> None:
    for file in (evidence, evidence.sealed()):
        parsed = Evidence.parse(file.raw)
        report = parsed.verify(parsed.directory(case.exchange.community.roots), now=case.exchange.clock())
        assert [c for c in report.checks if c.verdict is not Verdict.TOTAL_PASSED] == []
        [check] = [c for c in report.checks if c.name == CONSENT]
        assert check.detail == f"{A} to {B} to {C} to {D}, consented to by {A}"
        assert all(t.accepted for t in parsed.transfers)


def test_the_recipient_makes_the_same_evidence(case: Case) -> None:
    case.boxes[C].pass_on(case.second, [D])
    delivery = one(case.boxes[D])
    case.exchange.witness()
    made = case.boxes[D].evidence(delivery.digest, delivery.envelope)
    assert finding(case, made.raw) == (Verdict.TOTAL_PASSED, "")
    assert [t.digest for t in made.transfers] == [t.digest for t in delivery.chain[:-1]]


def test_an_ordinary_message_has_no_finding_of_consent(case: Case) -> None:
    digest = case.boxes[A].send(officer_acknowledgement(), [B]).subject.envelope_digest
    one(case.boxes[B])
    report: Report = case.boxes[A].evidence(digest).verify(case.exchange.directory, now=case.exchange.clock())
    assert CONSENT not in [check.name for check in report.checks]


def test_the_relay_logs_the_grant(case: Case, evidence: Evidence) -> None:
    accepted = [r for r in evidence.events if r.routing.event is Event.ACCEPTED]
    assert len(accepted) == 2  # at C's relay and at D's
    assert {r.subject.statement_digest for r in accepted} == {case.grant.digest}
    assert {r.subject.statement_digest for r in evidence.events if r.routing.event is Event.QUEUED} == {b""}


def test_an_entry_that_names_another_grant_is_no_proof(case: Case, evidence: Evidence) -> None:
    node = case.exchange._node("relay.vn.example")  # C's relay, as it would be without what it logged so far
    [receipt] = node.commit([Job((node.event(Event.ACCEPTED, evidence.manifest),))])
    message = evidence_pb2.Evidence.FromString(rewritten(evidence, events=[], statements=[]))
    message.events.add().ParseFromString(receipt.raw)
    raw = message.SerializeToString(deterministic=True)
    assert finding(case, raw, "event 1: ACCEPTED by relay.vn.example") == (Verdict.TOTAL_FAILED, "bad_proof")


# Grants that do not fit: refused by the library of who passes on, by relays, by recipients and by auditors


@dataclass(frozen=True)
class Wrong:
    """A grant that does not fit, and who says what; the relay cannot see what only the content shows."""

    grant: Callable[[Case], Grant]
    sender: Reason
    relay: Reason | None
    recipient: Reason


def _now(case: Case, days: int) -> object:
    return case.exchange.clock() + days * DAY


WRONG = {
    "for another holder": Wrong(
        lambda c: c.signed(holder=B), Reason.NOT_PERMITTED, Reason.NOT_PERMITTED, Reason.NOT_PERMITTED
    ),
    "for another message": Wrong(
        lambda c: c.signed(origin=bytes(32)), Reason.NOT_PERMITTED, None, Reason.BAD_COMMITMENT
    ),
    "for another recipient": Wrong(
        lambda c: c.signed(recipients=(OTHER,)), Reason.NOT_PERMITTED, Reason.NOT_PERMITTED, Reason.NOT_PERMITTED
    ),
    "expired": Wrong(
        lambda c: c.signed(granted_at=_now(c, -3), expires_at=_now(c, -1)),
        Reason.EXPIRED,
        Reason.EXPIRED,
        Reason.EXPIRED,
    ),
    "not yet valid": Wrong(
        lambda c: c.signed(granted_at=_now(c, 1), expires_at=_now(c, 2)),
        Reason.NOT_YET_VALID,
        Reason.NOT_YET_VALID,
        Reason.NOT_YET_VALID,
    ),
    "forged by the holder": Wrong(
        lambda c: c.signed(C), Reason.BAD_SIGNATURE, Reason.BAD_SIGNATURE, Reason.BAD_SIGNATURE
    ),
    "forged under the holder's own keys": Wrong(
        lambda c: c.signed(C, originator_bundle=c.exchange.community.members[C].bundle.digest),
        Reason.UNAVAILABLE,  # the originator's relay has no such keys, so far
        Reason.STALE_BUNDLE,
        Reason.STALE_BUNDLE,
    ),
    "by the holder in its own name": Wrong(
        lambda c: c.signed(C, originator=C, originator_bundle=c.exchange.community.members[C].bundle.digest),
        Reason.NOT_PERMITTED,
        None,
        Reason.NOT_PERMITTED,
    ),
    "in a weaker suite": Wrong(
        lambda c: c.signed(suite=(HYBRID_KEM if c.suite is not HYBRID_KEM else CLASSICAL).number),
        Reason.SUITE_NOT_ACCEPTED,
        None,
        Reason.SUITE_NOT_ACCEPTED,
    ),
}
NAMED = pytest.mark.parametrize("name", WRONG)


def forged(case: Case, name: str) -> Envelope:
    """C seals under a grant that does not fit."""
    return case.seal(WRONG[name].grant(case), case.origin())


@NAMED
def test_the_library_of_the_holder_refuses(case: Case, name: str) -> None:
    standing = case.boxes[C].spool.standing()
    grant = WRONG[name].grant(case)
    assert reason_of(lambda: case.boxes[C].pass_on(case.second, [D], grant=grant)) is WRONG[name].sender
    assert case.boxes[C].spool.standing() == standing


@NAMED
def test_the_relay_refuses(case: Case, name: str) -> None:
    node = case.exchange.node_of(C)
    size = node.ledger.size
    result = case.submit(forged(case, name).raw)
    if WRONG[name].relay is None:
        assert isinstance(result, Receipt)
        list(case.boxes[D].receive())  # takes it away, refused
    else:
        assert isinstance(result, ExchangeError)
        assert (result.reason, node.ledger.size) == (WRONG[name].relay, size)


@NAMED
def test_the_recipient_refuses(case: Case, name: str) -> None:
    box = case.handed(forged(case, name).raw)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused[:1]] == [(WRONG[name].recipient, True)]


@NAMED
def test_the_auditor_refuses(case: Case, evidence: Evidence, name: str) -> None:
    raw = rewritten(evidence, forged(case, name))
    assert finding(case, raw) == (Verdict.TOTAL_FAILED, WRONG[name].recipient.word)


def test_every_recipient_must_be_named(case: Case) -> None:
    both = (D, OTHER)
    assert reason_of(lambda: case.boxes[C].pass_on(case.second, both)) is Reason.NOT_PERMITTED
    assert reason_of(lambda: case.boxes[C].pass_on(case.second, ["everyone"])) is Reason.NOT_PERMITTED
    envelope = case.seal(case.grant, case.origin(), to=both)
    result = case.submit(envelope.raw)
    assert isinstance(result, ExchangeError)
    assert (result.reason, result.field) == (Reason.NOT_PERMITTED, "grant.recipients")
    box = case.handed(envelope.raw)
    assert list(box.receive()) == []
    assert box.refused[0].problem.reason is Reason.NOT_PERMITTED


# No grant


def test_without_a_grant_it_does_not_leave(case: Case) -> None:
    with pytest.raises(ExchangeError) as caught:
        case.boxes[B].pass_on(case.first, [OTHER])
    problem = caught.value
    assert (problem.reason, problem.field) == (Reason.NOT_PERMITTED, "grant.recipients")  # B holds one, for C
    with pytest.raises(ExchangeError) as caught:
        case.boxes[D].pass_on(delivered(case), [OTHER])
    problem = caught.value
    assert (problem.reason, problem.field) == (Reason.NOT_PERMITTED, "handling.onward_transfer")
    assert f"infoexchange consent request {case.first.digest.hex()} --to {OTHER}" in problem.next_step


def delivered(case: Case):
    case.boxes[C].pass_on(case.second, [D])
    return one(case.boxes[D])


def test_a_holder_that_names_no_grant_is_found_out_by_recipient_and_auditor(case: Case) -> None:
    """The relay is blind to marks, so it passes; the recipient's signed refusal tells everybody."""
    envelope = case.seal(None, case.origin())
    assert isinstance(case.submit(envelope.raw), Receipt)
    box = case.boxes[D]
    before = len(box.refused)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused[before:]] == [(Reason.NOT_PERMITTED, True)]
    box.flush()
    made = box.evidence(envelope.digest, envelope)
    [statement] = made.statements
    assert (statement.statement.state, statement.statement.reason) == (Event.REFUSED, Reason.NOT_PERMITTED)
    report = made.verify(case.exchange.directory, now=case.exchange.clock())
    said = {c.name: c.detail for c in report.checks}[f"outcome for {D}"]
    assert said.startswith("REFUSED, entry ")
    assert said.endswith(f", as {D} signed")


def test_a_grant_for_what_is_not_passed_on(case: Case) -> None:
    box = case.handed(case.seal(case.grant, None).raw)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused[:1]] == [(Reason.BAD_COMMITMENT, True)]
