"""Passing on what came blind, in a batch, under a shared key or for a gateway: the chain is proven all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from infoexchange import catalogue
from infoexchange.draft import Draft
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.mailbox import consent
from infoexchange.onward import PassedOn
from infoexchange.origin import Origin
from infoexchange.receipt import Receipt
from infoexchange.testing import Exchange
from infoexchange.v1 import content_pb2
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement
from onward_case import AGENCIES, CONSENT, OTHER, A, B, C, Case, D, consented, finding, free, one, reason_of


@pytest.fixture(scope="module")
def blind() -> Case:
    """As `Case`, but A's and B's envelopes hide their recipients."""
    case = Case()
    a, b, c = (case.boxes[name] for name in (A, B, C))
    a.send_all([Draft(officer_acknowledgement(), [B, OTHER], blind=True)])
    case.first = one(b)
    one(case.boxes[OTHER])
    consented(b, a, case.first, [C])
    draft = passed_on(case, B, case.first, [C], case.boxes[B].spool.grants(case.first.digest)[0])
    [result] = b.send_all([replace(draft, blind=True)])
    assert isinstance(result, Receipt)
    case.second = one(c)
    case.grant = consented(c, a, case.second, [D])
    return case


def passed_on(case: Case, holder: str, delivery, to, grant) -> Draft:
    """What `pass_on` sends, before it is sent."""
    desk = case.boxes[holder]._desk
    draft = consent.pass_on(desk, delivery, to, grant=grant, lifetime=Draft(delivery.message, to).lifetime)
    assert isinstance(draft.passed_on, PassedOn)
    return draft


def test_what_came_blind_is_passed_on_with_the_wrap_as_proof(blind: Case) -> None:
    blind.boxes[C].pass_on(blind.second, [D])
    delivery = one(blind.boxes[D])
    assert [(t.sender, t.recipients) for t in delivery.chain] == [(A, (B,)), (B, (C,)), (C, (D,))]
    assert OTHER not in {name for transfer in delivery.chain for name in transfer.recipients}  # D learns of no other


def test_the_auditor_replays_what_came_blind(blind: Case) -> None:
    evidence = blind.proven()
    for file in (evidence, evidence.sealed()):
        assert finding(blind, file.raw) == (Verdict.TOTAL_PASSED, "")


def test_what_goes_on_blind_is_checked_by_the_wraps(blind: Case) -> None:
    grant = blind.signed(recipients=tuple(sorted((D, OTHER))))
    draft = passed_on(blind, C, blind.second, [D, OTHER], grant)
    [receipt] = blind.boxes[C].send_all([replace(draft, blind=True)])
    assert isinstance(receipt, Receipt)
    for name in (D, OTHER):
        delivery = one(blind.boxes[name])
        assert delivery.chain[-1].recipients == (name,)
        blind.exchange.witness()
        own = blind.boxes[name].evidence(delivery.digest, delivery.envelope)
        assert finding(blind, own.raw) == (Verdict.TOTAL_PASSED, "")
    whole = blind.boxes[C].evidence(receipt.subject.envelope_digest)
    for file in (whole, whole.sealed()):
        report = Evidence.parse(file.raw).verify(blind.exchange.directory, now=blind.exchange.clock())
        [check] = [check for check in report.checks if check.name == CONSENT]
        assert check.detail == f"{A} to {B} to {C} to {', '.join(sorted((D, OTHER)))}, consented to by {A}"
    # A recipient whom the grant does not name is found by the relay, and by an auditor in the log entries.
    envelope = blind.seal(blind.grant, blind.origin(), to=(D, OTHER), recipients=(), blind=True)
    result = blind.submit(envelope.raw)
    assert isinstance(result, ExchangeError)
    assert (result.reason, result.field) == (Reason.NOT_PERMITTED, "grant.recipients")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m, c: m.ClearField("wrap"), Reason.BAD_FIELD),
        (lambda m, c: setattr(m, "wrap", b"junk"), Reason.MALFORMED),
        (lambda m, c: setattr(m, "wrap", c.first.envelope.wraps[0].raw), Reason.BAD_COMMITMENT),
    ],
)
def test_another_wrap_proves_nothing(blind: Case, change: Callable[..., object], reason: Reason) -> None:
    message = content_pb2.Origin.FromString(blind.origin().raw)
    change(message, blind)
    box = blind.handed(blind.seal(blind.grant, message.SerializeToString(deterministic=True)).raw)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused[:1]] == [(reason, True)]


def test_who_has_no_wrap_was_no_recipient(blind: Case) -> None:
    """C shows, as received by itself, what A sealed for B: it has B's wrap, but none of its own."""
    members, first = blind.exchange.community.members, blind.first
    origin = Origin.make(first.envelope, first.content, B, [members[A].bundle])
    box = blind.handed(blind.seal(blind.grant, origin).raw)
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.problem.field) for r in box.refused[:1]] == [(Reason.NOT_PERMITTED, "transfer")]
    # Nor does its library make an Origin of it.
    assert reason_of(lambda: Origin.make(first.envelope, first.content, C, [])) is Reason.BAD_FIELD


def test_a_wrap_stands_only_where_recipients_are_hidden() -> None:
    case = Case()
    message = content_pb2.Origin.FromString(case.origin().raw)
    message.wrap = case.second.envelope.wraps[0].raw
    box = case.handed(case.seal(case.grant, message.SerializeToString(deterministic=True)).raw)
    assert list(box.receive()) == []
    assert box.refused[0].problem.reason is Reason.BAD_FIELD


def test_signed_in_a_batch_and_sealed_under_a_shared_key() -> None:
    exchange = Exchange(AGENCIES)
    a, b, c, d = (exchange.mailbox(name) for name in (A, B, C, D))
    [shared] = a.share_keks([B])
    assert isinstance(shared, Receipt)
    assert list(b.receive()) == []
    b.flush()
    a.refresh()
    drafts = [Draft(officer_acknowledgement(**free(purpose=f"number {n}")), [B]) for n in range(3)]
    assert all(isinstance(result, Receipt) for result in a.send_all(drafts))
    came = list(b.receive())
    assert all(delivery.envelope.header.recipients[0].epoch_kek for delivery in came)
    assert all(delivery.envelope.manifest.dsse.batch for delivery in came)
    b.pass_on(came[1], [C])
    c.pass_on(one(c), [D])
    delivery = one(d)
    assert (delivery.originator, catalogue.handling_of(delivery.message).purpose) == (A, "number 1")
    assert b.reopen(came[1].envelope.raw).message == came[1].message


# Gateways


def test_a_gateway_passes_on_to_those_whom_the_originator_named() -> None:
    """Even what is marked NO_ONWARD: it is the sender's own address, only sealed."""
    exchange = Exchange(AGENCIES)
    a, b, c = (exchange.mailbox(name) for name in (A, B, C))
    never = [catalogue.Restriction(kind=catalogue.RESTRICTION_KIND_NO_ONWARD)]
    a.send_all([Draft(officer_acknowledgement(restrictions=never), [B], addressees=[C])])
    came = one(b)
    assert came.content.addressees == (C,)
    assert reason_of(lambda: b.pass_on(came, [D])) is Reason.NOT_PERMITTED
    assert reason_of(lambda: b.pass_on(came, [C, D])) is Reason.NOT_PERMITTED
    b.pass_on(came, came.content.addressees)
    inner = one(c)
    assert (inner.sender, inner.originator, inner.origin.addressees) == (B, A, (C,))
    assert inner.chain[-1].grant is None  # relays are shown nothing
    # The address ends there: whom it names is no gateway itself.
    exchange.mailbox(D)
    assert reason_of(lambda: c.pass_on(inner, [D])) is Reason.NOT_PERMITTED


def test_an_addressee_of_another_sender_is_no_leave_of_the_originator() -> None:
    """B cannot give C leave by sealing an addressee of its own: only the originator's count."""
    case = Case()
    draft = passed_on(case, B, case.first, [C], case.boxes[B].spool.grants(case.first.digest)[0])
    assert (
        reason_of(
            lambda: replace(draft, addressees=[D]).recipients(case.exchange.directory, B, now=case.exchange.clock())
        )
        is Reason.NOT_PERMITTED
    )
    box = case.handed(case.seal(None, case.origin()).raw)
    assert list(box.receive()) == []
    assert box.refused[0].problem.reason is Reason.NOT_PERMITTED
