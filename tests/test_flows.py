"""Flows: the machine of requests and reports, step by step, and what does not fit it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowing import ASKED, ASKER, OTHER, REQUEST, after, answer, named, request, seen, stands, step, thread
from infoexchange import catalogue
from infoexchange.catalogue import examples, steps
from infoexchange.catalogue.references import references
from infoexchange.catalogue.v1 import options_pb2
from infoexchange.flows import DEFAULT_CLOCKS, Clocks, Duty, Kind, Rule, Said, State, Step
from infoexchange.states import OpStatus, Precedence
from test_spec import rows

# What the design page draws, written down once more: state, what may be said in it, and where that leads.
OPEN = ("ACCEPTED", "NEEDS_CLARIFICATION", "PARTIAL", "FINAL", "NO_TRACE", "REFUSED")
ARROWS = {(state, kind): kind for state in ("ASKED", "ACKNOWLEDGED", *OPEN[:3], "CLARIFIED") for kind in OPEN}
ARROWS |= {("PARTIAL", "ACCEPTED"): "PARTIAL"}
# How to get into each state.
WAYS = {
    "ASKED": [],
    "ACKNOWLEDGED": [seen(Kind.READ)],
    **{kind: [answer("first", Kind[kind], at=2)] for kind in OPEN},
    "CLARIFIED": [
        answer("first", Kind.NEEDS_CLARIFICATION, at=2),
        step("more", ASKER, at=3, schema="Correction", kind=Kind.CORRECTS, about="request"),
    ],
    "WITHDRAWN": [step("recall", ASKER, at=2, schema="Recall", kind=Kind.WITHDRAWN, asks=True, about="request")],
    "REPLACED": [
        answer("first", Kind.NEEDS_CLARIFICATION, at=2),
        request("anew", at=3, reply="first"),
    ],
    "CLOSED": [
        answer("first", Kind.FINAL, at=2),
        step("thanks", ASKER, at=3, schema="Feedback", kind=Kind.FEEDBACK, about="first"),
    ],
}


@pytest.mark.parametrize("state", WAYS)
def test_every_arrow_and_no_other(state: str) -> None:
    for kind in OPEN:
        for agency in (ASKER, ASKED):
            _check_arrow(state, kind, agency)


def _check_arrow(state: str, kind: str, agency: str) -> None:
    before = thread(request(), *WAYS[state], agency=agency)
    assert before.state is State[state]
    last = answer("last", Kind[kind], at=9)
    found = thread(request(), *WAYS[state], last, agency=agency)
    allowed = (state, kind) in ARROWS
    assert found.state is State[ARROWS.get((state, kind), state)]
    assert [(s.digest, why.rule) for s, why in found.unexpected] == ([] if allowed else [(last.digest, Rule.OVER)])
    assert (Kind[kind] in before.may_follow) == allowed
    assert found.steps[-1] == last  # shown, whatever it means
    if not allowed:
        [(_, why)] = found.unexpected
        assert why.detail
        assert why.next_step


def test_the_states_are_those_of_the_enum() -> None:
    assert {*WAYS, "REPORTED"} == set(State.__members__)
    assert {state for state in State if state.ended} == {
        State.FINAL, State.NO_TRACE, State.REFUSED, State.WITHDRAWN, State.REPLACED, State.CLOSED
    }  # fmt: skip


def test_each_recipient_has_a_thread_of_its_own() -> None:
    both = request(to=(ASKED, OTHER))
    found = stands(both, answer("one", Kind.FINAL, at=1), answer("two", Kind.PARTIAL, by=OTHER, at=2))
    assert {t.peer: t.state for t in found.threads} == {ASKED: State.FINAL, OTHER: State.PARTIAL}
    # One of those who were asked learns nothing of the other, unless it is told.
    assert [t.peer for t in stands(both, agency=OTHER).threads] == [OTHER]


def test_a_clarification_may_also_be_any_message_in_reply() -> None:
    asked = answer("what", Kind.NEEDS_CLARIFICATION, at=2)
    told = step("told", ASKER, at=3, schema="SpontaneousInformation", reply="what")
    assert thread(request(), asked, told).state is State.CLARIFIED
    for silent in (
        step("seen", ASKER, at=3, schema="OfficerAcknowledgement", kind=Kind.READ, about="what"),
        step("other", ASKER, at=3, schema="SpontaneousInformation"),
    ):
        assert thread(request(), asked, silent).state is State.NEEDS_CLARIFICATION
    again = answer("again", Kind.NEEDS_CLARIFICATION, at=4)
    assert thread(request(), asked, told, again).state is State.NEEDS_CLARIFICATION


def test_an_answer_that_is_recalled_does_not_count_any_more() -> None:
    wrong = answer("wrong", Kind.FINAL, at=1)
    recall = step("recall", ASKED, ASKER, at=2, schema="Recall", kind=Kind.WITHDRAWN, asks=True, about="wrong")
    right = answer("right", Kind.NO_TRACE, at=3)
    assert thread(request(), wrong, recall).state is State.ASKED
    found = thread(request(), wrong, recall, right)
    assert (found.state, found.unexpected) == (State.NO_TRACE, ())
    [own] = [t for t in stands(wrong, recall, request(), right).threads if t.root == recall]
    assert (own.state, own.peer) == (State.ASKED, ASKER)  # the recall itself waits for its confirmation
    done = answer("done", Kind.FINAL, by=ASKER, about="recall", to=ASKED, schema="RecallConfirmation", at=4)
    assert thread(recall, done, agency=ASKED).state is State.FINAL


def test_a_request_recalled_for_one_is_still_asked_of_the_other() -> None:
    recall = step("recall", ASKER, OTHER, at=1, schema="Recall", kind=Kind.WITHDRAWN, asks=True, about="request")
    found = stands(request(to=(ASKED, OTHER)), recall)
    assert {t.peer: t.state for t in found.threads if t.root.said.schema == REQUEST} == {
        ASKED: State.ASKED,
        OTHER: State.WITHDRAWN,
    }


def test_levels_of_acknowledgement_rise() -> None:
    found = thread(request(), seen(Kind.READ), seen(Kind.READ, at=2), seen(Kind.ACTIONED, at=3))
    assert (found.level, found.state, found.unexpected) == (Kind.ACTIONED, State.ACKNOWLEDGED, ())
    back = thread(request(), seen(Kind.ACTIONED), seen(Kind.READ, at=2))
    assert (back.level, [why.rule for _, why in back.unexpected]) == (Kind.ACTIONED, [Rule.LEVEL])


def test_an_answer_without_status_may_come_in_several_messages() -> None:
    root = request(schema="TakedownRequest")
    several = [answer(f"{n}", Kind.ANSWERS, at=n, schema="TakedownReply") for n in (1, 2)]
    found = thread(root, *several)
    assert (found.state, found.unexpected) == (State.FINAL, ())
    assert thread(root).may_follow == found.may_follow == (Kind.ANSWERS,)


@pytest.mark.parametrize(
    ("strange", "rule"),
    [
        (answer("x", Kind.FINAL, about="nothing"), Rule.UNKNOWN),
        (seen(Kind.READ, about="nothing"), Rule.UNKNOWN),
        (answer("x", Kind.FINAL, by=OTHER), Rule.NOT_ASKED),
        (seen(Kind.READ, by=OTHER), Rule.NOT_ASKED),
        (answer("x", Kind.FINAL, by=ASKER, to=ASKED), Rule.NOT_ASKED),
        (answer("x", Kind.FINAL, schema="FirearmTraceResponse"), Rule.WRONG_TYPE),
        (answer("x", Kind.FINAL, op_status=OpStatus.ACTUAL), Rule.OP_STATUS),
    ],
)
def test_what_does_not_fit_is_kept_and_changes_nothing(strange: object, rule: Rule) -> None:
    found = stands(request(), strange)  # type: ignore[arg-type]
    assert found.objections[strange.digest].rule is rule  # type: ignore[attr-defined]
    [waiting] = [t for t in found.threads if t.root.digest == named("request")]
    assert (waiting.state, waiting.acknowledged) == (State.ASKED, False)
    assert strange in (*waiting.steps, *(loose for loose, _ in found.loose))


def test_what_others_say_to_each_other_is_nobodys_fault() -> None:
    """A copy of another agency's answer, or of its request, breaks no rule."""
    asked = request(to=(ASKED, OTHER))
    assert not stands(asked, answer("copy", Kind.FINAL, to=(ASKER, OTHER), at=1), agency=OTHER).objections
    found = stands(request(to=()), agency=OTHER)
    assert (found.threads, [why for _, why in found.loose]) == ((), [None])


def test_a_consent_about_a_request_answers_the_question_and_not_the_request() -> None:
    """The decision names both: the question, and the information it was about, which was a request itself."""
    question = step("question", ASKED, ASKER, at=1, schema="OnwardConsentRequest", asks=True, about="request")
    decision = {"schema": "OnwardConsentDecision", "kind": Kind.FINAL, "about": "question request"}
    said = step("yes", ASKER, ASKED, at=2, **decision)
    found = stands(request(), question, said)
    assert {t.root.said.schema: t.state for t in found.threads} == {
        REQUEST: State.ASKED,
        "OnwardConsentRequest": State.FINAL,
    }
    assert not found.objections


def test_reports_are_acknowledged_when_they_are_urgent() -> None:
    for precedence, owed in ((1, 0), (2, 0), (3, 1), (4, 1)):
        report = step("report", ASKER, schema="MaritimeIncidentReport", precedence=Precedence(precedence))
        found = thread(report)
        assert (found.state, len(found.dues(DEFAULT_CLOCKS)), found.may_follow) == (State.REPORTED, owed, ())
        known = thread(report, seen(Kind.READ, about="report"))
        assert (known.state, known.dues(DEFAULT_CLOCKS)) == (State.ACKNOWLEDGED, [])
    replied = thread(report, step("thanks", ASKED, ASKER, at=1, schema="Feedback", kind=Kind.FEEDBACK, about="report"))
    assert replied.dues(DEFAULT_CLOCKS) == []


def test_clocks_that_differ_cannot_turn_the_order_round() -> None:
    """The clock of those who were asked is late: what answers comes after what it answers."""
    found = thread(
        request(at=5), answer("part", Kind.PARTIAL, at=1), answer("rest", Kind.FINAL, at=2), seen(Kind.READ, at=0)
    )
    assert (found.state, found.unexpected) == (State.FINAL, ())


def test_who_owes_what() -> None:
    def owed(*after_it: object) -> list[tuple[Duty, str]]:
        return [(due.duty, due.who) for due in thread(request(), *after_it).dues(DEFAULT_CLOCKS)]  # type: ignore[arg-type]

    assert owed() == [(Duty.ACKNOWLEDGE, ASKED), (Duty.ANSWER, ASKED)]
    assert owed(seen(Kind.READ)) == owed(answer("a", Kind.PARTIAL)) == [(Duty.ANSWER, ASKED)]
    assert owed(answer("a", Kind.NEEDS_CLARIFICATION)) == [(Duty.CLARIFY, ASKER)]
    assert owed(*WAYS["CLARIFIED"]) == [(Duty.ANSWER, ASKED)]
    for state in State:
        if state.ended:
            assert owed(*WAYS[state.name]) == []


def test_a_part_or_a_clarification_gives_the_usual_time_again() -> None:
    month = 30 * 24 * 60
    for told in ([answer("part", Kind.PARTIAL, at=100)], WAYS["CLARIFIED"]):
        since = told[-1].at
        [due] = thread(request(), *told).dues(DEFAULT_CLOCKS)
        assert (due.duty, due.at) == (Duty.ANSWER, DEFAULT_CLOCKS.answer_by(Precedence.ROUTINE, since))
    soon, late = after(60), after(2 * month)
    assert [due.at for due in thread(request(respond_by=soon)).dues(DEFAULT_CLOCKS)] == [soon, soon]
    part = answer("part", Kind.PARTIAL, at=100)
    assert [due.at for due in thread(request(respond_by=soon), part).dues(DEFAULT_CLOCKS)] == [after(100 + month)]
    assert [due.at for due in thread(request(respond_by=late), part).dues(DEFAULT_CLOCKS)] == [late]


# The specification


def test_the_tables_of_the_specification_are_the_code() -> None:
    drawn = {
        (state, kind): kind if (state, kind) != ("PARTIAL", "ACCEPTED") else "PARTIAL"
        for states, kinds, _ in rows("Flows", 3)[1:]
        for state in states.split(", ")
        if state in State.__members__
        for kind in (OPEN if kinds == "the same" else kinds.split(", "))
        if kind != "nothing"
    }
    assert drawn == ARROWS
    words = {name: (ack, answered) for name, ack, answered in rows("Flows", 3)[1:] if name in Precedence.__members__}
    assert words.keys() == Precedence.__members__.keys()
    told = {"acknowledge": {n: a for n, (a, _) in words.items()}, "answer": {n: a for n, (_, a) in words.items()}}
    assert Clocks.read(told) == DEFAULT_CLOCKS


# The schemas


def test_every_request_has_a_reply_and_every_reply_answers_what_asks() -> None:
    names = {cls.DESCRIPTOR.name for cls in catalogue.schemas().values()}
    for name in steps.asking():
        assert steps.replies(name), name
    for name in names:
        assert steps.answers(name) <= steps.asking(), name
    # Whatever is called a request is one, so that none is forgotten.
    assert {name for name in names if name.endswith("Request")} <= steps.asking()


def test_every_type_has_its_place() -> None:
    """The example of each type says what its schema says, and a reply to it does what its value means."""
    for cls in catalogue.schemas().values():
        _check_place(cls.DESCRIPTOR.name)


def _check_place(name: str) -> None:
    message = examples.message(name)
    said = Said.of(message)
    assert (said.schema, said.op_status) == (name, OpStatus.EXERCISE)
    assert set(said.about) == {reference.digest for reference in references(message)}
    if name in ("Correction", "Recall", "Feedback"):
        kinds = {"Correction": Kind.CORRECTS, "Recall": Kind.WITHDRAWN, "Feedback": Kind.FEEDBACK}
        assert said.kind is kinds[name]
    elif said.kind.answers:
        assert steps.answers(name)
    elif not said.kind.acknowledges:
        assert said.kind is Kind.TELLS


@pytest.mark.parametrize("name", sorted(steps.asking()))
def test_every_value_of_a_reply_moves_its_request(name: str) -> None:
    for reply in steps.replies(name):
        reached = {said.kind: thread(request(schema=name), _told(said)).state for said in _values(reply)}
        assert State.FINAL in reached.values(), reply
        assert State.ASKED not in reached.values(), reply
        assert all(state is State.FINAL if kind is Kind.ANSWERS else state.name == kind.name
                   for kind, state in reached.items())  # fmt: skip


def _values(reply: str) -> Iterator[Said]:
    """Yield what a reply says with each of its values that says how far it goes."""
    message = examples.message(reply)
    for field in message.DESCRIPTOR.fields:
        for value in field.enum_type.values if field.enum_type and not field.is_repeated else ():
            if value.GetOptions().Extensions[options_pb2.step]:
                setattr(message, field.name, value.number)
                if Said.of(message).kind.answers:
                    yield Said.of(message)
    if Said.of(message).kind.answers:
        yield Said.of(message)


def _told(said: Said) -> Step:
    return answer("reply", said.kind, schema=said.schema, at=1)
