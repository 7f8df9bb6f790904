"""Consent: asking, granting, denying, and what a decision must be before its grant is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from infoexchange import catalogue
from infoexchange.draft import Draft
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.grant import Grant
from infoexchange.suites import HYBRID_KEM
from messages import handling, officer_acknowledgement
from onward_case import DAY, OTHER, A, B, C, Case, D, consented, one


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def reason_of(call: Callable[[], object]) -> tuple[Reason, str]:
    with pytest.raises(ExchangeError) as caught:
        call()
    return caught.value.reason, caught.value.field


def test_a_request_speaks_of_the_originators_message(case: Case) -> None:
    case.boxes[C].request_consent(case.second, [D, OTHER, D], purpose="They patrol there.")
    asked = one(case.boxes[A])
    said = asked.message
    assert isinstance(said, catalogue.OnwardConsentRequest)
    assert (asked.sender, said.information_ref) == (C, case.first.digest)  # not what B sealed, which A never saw
    assert list(said.proposed_recipients) == [D, OTHER]
    assert (asked.content.thread_id, asked.content.in_reply_to) == (case.first.content.thread_id, case.first.digest)
    marks, theirs = said.handling, case.first.message.handling
    assert (marks.tlp, marks.domain, marks.op_status) == (theirs.tlp, theirs.domain, theirs.op_status)
    case.boxes[A].deny(asked, explanation="Not yet.")
    answer = one(case.boxes[C])
    assert (answer.message.decision, answer.message.explanation) == (3, "Not yet.")
    assert answer.message.request_ref == asked.digest == answer.content.in_reply_to
    assert answer.message.grant == b""


def test_groups_are_named_one_by_one(case: Case) -> None:
    case.boxes[C].request_consent(case.second, ["everyone"], purpose="Everybody needs it.")
    asked = one(case.boxes[A])
    assert sorted(asked.message.proposed_recipients) == sorted({A, B, D, OTHER})
    case.boxes[A].deny(asked)
    one(case.boxes[C])


def test_a_grant_says_what_was_asked_or_less(case: Case) -> None:
    case.boxes[C].request_consent(case.second, [D, OTHER], purpose="They patrol there.")
    asked = one(case.boxes[A])
    now = case.exchange.clock()
    case.boxes[A].grant(asked, to=[OTHER], lifetime=2 * DAY, conditions="Intelligence only.")
    answer = one(case.boxes[C])
    grant = Grant.parse(answer.message.grant)
    assert answer.message.decision == catalogue.CONSENT_DECISION_GRANTED_WITH_CONDITIONS
    assert answer.message.conditions == "Intelligence only."
    assert (grant.terms.holder, grant.terms.recipients, grant.terms.origin) == (C, (OTHER,), case.first.digest)
    assert (grant.terms.granted_at, grant.terms.expires_at) == (now, now + 2 * DAY)
    assert answer.message.expires_at.ToDatetime(now.tzinfo) == now + 2 * DAY
    # Both sides keep it: the one to use it, the other to know what it consented to.
    assert case.boxes[C].spool.grants(case.first.digest)[0] == grant
    assert case.boxes[A].spool.grants(case.first.digest)[0] == grant


def test_a_grant_is_of_the_suite_that_the_message_was_sealed_in() -> None:
    case = Case()
    a, b = case.boxes[A], case.boxes[B]
    a.send_all([Draft(officer_acknowledgement(), [B], suite=HYBRID_KEM)])
    delivery = one(b)
    grant = consented(b, a, delivery, [D])
    assert grant.terms.suite == HYBRID_KEM.number
    b.pass_on(delivery, [D])
    passed = one(case.boxes[D])
    assert (passed.originator, passed.envelope.header.suite) == (A, HYBRID_KEM.number)


def test_only_what_was_sent_from_here_is_granted(case: Case) -> None:
    b, c = case.boxes[B], case.boxes[C]
    stray = catalogue.OnwardConsentRequest(
        handling=handling(), information_ref=bytes(32), proposed_recipients=[D], purpose="x"
    )
    c.send(stray, [B])
    asked = one(b)
    assert reason_of(lambda: b.grant(asked)) == (Reason.NOT_ADDRESSED, "information_ref")
    stray.information_ref = case.second.digest  # B passed it on; it is A's
    c.send(stray, [B])
    asked = one(b)
    with pytest.raises(ExchangeError) as caught:
        b.grant(asked)
    assert (caught.value.reason, caught.value.field) == (Reason.NOT_PERMITTED, "information_ref")
    assert A in caught.value.next_step
    assert reason_of(lambda: b.grant(case.first)) == (Reason.BAD_FIELD, "request")
    assert reason_of(lambda: b.deny(case.first)) == (Reason.BAD_FIELD, "request")
    assert reason_of(lambda: b.grant(asked, lifetime=91 * DAY))[0] is Reason.NOT_PERMITTED  # it is not B's at all


def test_a_grant_of_more_than_ninety_days_is_not_made(case: Case) -> None:
    case.boxes[C].request_consent(case.second, [D], purpose="x")
    asked = one(case.boxes[A])
    assert reason_of(lambda: case.boxes[A].grant(asked, lifetime=91 * DAY)) == (Reason.BAD_FIELD, "grant.expires_ms")
    assert reason_of(lambda: case.boxes[A].grant(asked, to=["everyone"])) == (Reason.BAD_FIELD, "grant.recipients")


def decision(case: Case, made_of: Grant, **changed: object) -> catalogue.OnwardConsentDecision:
    made = catalogue.OnwardConsentDecision(
        handling=handling(),
        **{
            "request_ref": bytes(32),
            "information_ref": made_of.terms.origin,
            "decision": 1,
            "grant": made_of.raw,
            **changed,
        },
    )
    made.expires_at.FromDatetime(made_of.terms.expires_at)
    return made


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda c: decision(c, c.signed(holder=B)), Reason.RULE_BROKEN),
        (lambda c: decision(c, c.grant, information_ref=bytes(32)), Reason.RULE_BROKEN),
        (lambda c: decision(c, c.signed(originator=B)), Reason.RULE_BROKEN),
        (lambda c: decision(c, c.signed(originator_bundle=bytes(32))), Reason.RULE_BROKEN),
        (lambda c: decision(c, c.signed(C)), Reason.BAD_SIGNATURE),
        (lambda c: decision(c, c.grant, grant=b"junk"), Reason.MALFORMED),
    ],
)
def test_a_decision_with_a_grant_for_something_else_is_refused(
    case: Case, make: Callable[[Case], object], reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infoexchange.mailbox.threads.check_fits", lambda *_: None)  # nobody has asked
    box = case.boxes[C]
    held, before = box.spool.grants(case.first.digest), len(box.refused)
    case.boxes[A].send(make(case), [C])
    assert list(box.receive()) == []
    assert [(r.problem.reason, r.signed) for r in box.refused[before:]] == [(reason, True)]
    assert box.spool.grants(case.first.digest) == held


def test_a_grant_is_kept_before_its_decision_is_handed_over_and_only_once() -> None:
    """A crash between receiving and acknowledging loses nothing and doubles nothing."""
    case = Case()
    c = case.boxes[C]
    c.request_consent(case.second, [OTHER], purpose="x")
    case.boxes[A].grant(one(case.boxes[A]))
    for repeated in (False, True):
        [delivery] = c.receive()  # not acknowledged: it comes again
        assert delivery.repeated is repeated
        grants = c.spool.grants(case.first.digest)
        assert [g.terms.recipients for g in grants] == [(OTHER,), (D,)]
    c.pass_on(case.second, [OTHER])
    assert one(case.boxes[OTHER]).originator == A


def test_what_could_not_be_sent_goes_out_later_byte_for_byte() -> None:
    case = Case()
    c, relay = case.boxes[C], case.boxes[C].relay
    down = error(Reason.UNAVAILABLE, field="relay", detail="the line is cut")

    def submit(envelopes: object) -> object:
        raise down

    relay.submit = submit  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        c.pass_on(case.second, [D])
    [waiting] = c.spool.unsent(10)
    assert c.spool.origin(waiting.digest) == case_origin(c, waiting.digest)
    del relay.submit
    [result] = c.flush()
    assert result.subject.envelope_digest == waiting.digest  # type: ignore[union-attr]
    assert one(case.boxes[D]).envelope.digest == waiting.digest


def case_origin(box: object, digest: bytes) -> bytes:
    raw = box.spool.origin(digest)  # type: ignore[attr-defined]
    assert raw
    return raw


def test_a_message_is_reopened_from_its_bytes(case: Case) -> None:
    again = case.boxes[C].reopen(case.second.envelope.raw)
    assert (again.message, again.originator, again.chain) == (case.second.message, A, case.second.chain)
    assert reason_of(lambda: case.boxes[D].reopen(case.second.envelope.raw))[0] is Reason.NOT_ADDRESSED
    case.boxes[C].pass_on(again, [D])
    assert one(case.boxes[D]).originator == A
