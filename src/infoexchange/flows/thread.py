"""Thread: one message and one agency that it was for: where the matter stands, who is to act, and by when."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from infoexchange.catalogue import steps as schemas
from infoexchange.flows.clocks import Clocks
from infoexchange.flows.step import Kind, Step


class State(enum.Enum):
    """Where a request, or a report, stands with one agency that it was sent to."""

    REPORTED = "reported"
    ASKED = "asked"
    ACKNOWLEDGED = "acknowledged"
    ACCEPTED = "accepted"
    NEEDS_CLARIFICATION = "needs clarification"
    CLARIFIED = "clarified"
    PARTIAL = "answered in part"
    FINAL = "answered"
    NO_TRACE = "no trace"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"
    CLOSED = "closed"

    @property
    def ended(self) -> bool:
        """Whether nobody owes anything any more."""
        return self in _ENDED


_ENDED = frozenset({State.FINAL, State.NO_TRACE, State.REFUSED, State.WITHDRAWN, State.REPLACED, State.CLOSED})

# The machine: what the agency that was asked may say in each state, and where it leads.
_ANSWERS: Mapping[Kind, State] = MappingProxyType(
    {
        Kind.ACCEPTED: State.ACCEPTED,
        Kind.NEEDS_CLARIFICATION: State.NEEDS_CLARIFICATION,
        Kind.PARTIAL: State.PARTIAL,
        Kind.FINAL: State.FINAL,
        Kind.NO_TRACE: State.NO_TRACE,
        Kind.REFUSED: State.REFUSED,
        Kind.WITHDRAWN: State.WITHDRAWN,
        Kind.ANSWERS: State.FINAL,
    }
)
_MOVES: Mapping[State, Mapping[Kind, State]] = MappingProxyType(
    {
        **dict.fromkeys((State.ASKED, State.ACKNOWLEDGED, State.ACCEPTED, State.CLARIFIED), _ANSWERS),
        State.NEEDS_CLARIFICATION: _ANSWERS,
        State.PARTIAL: {**_ANSWERS, Kind.ACCEPTED: State.PARTIAL},  # work goes on; what came stays
        State.FINAL: {Kind.ANSWERS: State.FINAL},
    }
)


class Rule(enum.Enum):
    """Which rule of flows a message is against."""

    UNKNOWN = "nobody has asked"
    NOT_ASKED = "not asked"
    WRONG_TYPE = "wrong type"
    OVER = "over"
    LEVEL = "level"
    OP_STATUS = "op_status"


class Objection(NamedTuple):
    """Why a message does not fit: the rule, what is the matter, and what its sender can do instead."""

    rule: Rule
    detail: str
    next_step: str


class Duty(enum.Enum):
    """What an agency owes."""

    ACKNOWLEDGE = "acknowledge"
    ANSWER = "answer"
    CLARIFY = "clarify"


class Due(NamedTuple):
    """What an agency owes, and by when."""

    duty: Duty
    who: str
    at: datetime


@dataclass(frozen=True)
class Thread:
    """One message and one agency that it was for.

    Attributes:
        root: The message: a request, or a report.
        peer: The agency it was for.
        state: Where it stands.
        level: The highest acknowledgement of the message by an officer there: READ, ACTIONED or nothing.
        acknowledged: Whether anything from there shows that the message was seen by a person.
        since: When the time to answer began: with the request, a clarification or the last part of the answer.
        steps: Everything that came after it, in order.
        unexpected: Those that do not fit, and why; they change nothing.
    """

    root: Step
    peer: str
    state: State
    since: datetime
    level: Kind | None = None
    acknowledged: bool = False
    steps: tuple[Step, ...] = ()
    unexpected: tuple[tuple[Step, Objection], ...] = ()

    @classmethod
    def run(cls, root: Step, peer: str, steps: Sequence[Step]) -> Thread:
        """Return the thread of a message with everything that came after it, in order."""
        return _Run(root, peer, steps).thread()

    @property
    def may_follow(self) -> tuple[Kind, ...]:
        """What the agency that was asked may say next about the answer."""
        stated = any(schemas.states_a_step(name) for name in schemas.replies(self.root.said.schema))
        fitting = _MOVES.get(self.state, {}) if self.root.said.asks else {}
        return tuple(k for k in fitting if k is not Kind.WITHDRAWN and (k is Kind.ANSWERS) is not stated)

    def dues(self, clocks: Clocks) -> list[Due]:
        """Return what is owed now, the first to fall due first; nothing once the matter is over."""
        said = self.root.said
        if self.state.ended:
            return []
        if self.state is State.NEEDS_CLARIFICATION:
            return [Due(Duty.CLARIFY, self.root.sender, clocks.answer_by(said.precedence, self.since))]
        found = []
        answer = clocks.answer_by(said.precedence, self.since)
        if said.respond_by:  # the time that was asked for, but never less than usual after a part or a clarification
            answer = said.respond_by if self.since <= self.root.at else max(said.respond_by, answer)
        if not self.acknowledged and (said.asks or said.precedence >= clocks.reports_from):
            by = clocks.acknowledge_by(said.precedence, self.root.at)
            found.append(Due(Duty.ACKNOWLEDGE, self.peer, min(by, answer) if said.asks else by))
        if said.asks:
            found.append(Due(Duty.ANSWER, self.peer, answer))
        return found

    def overdue(self, now: datetime, clocks: Clocks) -> list[Due]:
        """Return what is owed and late."""
        return [due for due in self.dues(clocks) if due.at < now]


class _Run:
    """One run of the machine over the steps of a thread."""

    def __init__(self, root: Step, peer: str, steps: Sequence[Step]) -> None:
        self._root, self._peer, self._steps = root, peer, steps
        self._state = State.ASKED if root.said.asks else State.REPORTED
        self._level: Kind | None = None
        self._acknowledged = False
        self._since = root.at
        self._questions: set[bytes] = set()
        self._unexpected: list[tuple[Step, Objection]] = []

    def thread(self) -> Thread:
        taken_back = _taken_back(self._root, self._steps)
        for step in self._steps:
            if step.digest in taken_back:
                continue
            objection = self._as_real(step) or (
                self._by_peer(step) if step.sender == self._peer else self._by_asker(step)
            )
            if objection:
                self._unexpected.append((step, objection))
            elif step.sender == self._peer:
                self._acknowledged = True
        return Thread(
            root=self._root,
            peer=self._peer,
            state=self._state,
            since=self._since,
            level=self._level,
            acknowledged=self._acknowledged,
            steps=tuple(self._steps),
            unexpected=tuple(self._unexpected),
        )

    def _as_real(self, step: Step) -> Objection | None:
        """Return what speaks against a message that is not as real as the one it is about."""
        theirs, said = self._root.said.op_status, step.said
        if said.op_status == theirs or not (said.kind.may_not_fit and step.is_about(self._root)):
            return None
        detail = f"{said.op_status.name}, but the message that it is about is {theirs.name}"
        return Objection(Rule.OP_STATUS, detail, f"Set handling.op_status to {theirs.name}.")

    def _by_peer(self, step: Step) -> Objection | None:
        kind = step.said.kind
        if kind.acknowledges:
            return self._acknowledge(step)
        answers = step.is_about(self._root) and (kind.answers or kind is Kind.WITHDRAWN)
        if not self._root.said.asks or not answers:
            if self._state is State.REPORTED:
                self._state = State.ACKNOWLEDGED
            return None
        if self._root.said.schema not in schemas.answers(step.said.schema):
            wanted = " or ".join(schemas.replies(self._root.said.schema))
            detail = f"{step.said.schema} does not answer {self._root.said.schema}"
            return Objection(Rule.WRONG_TYPE, detail, f"Answer it with {wanted}.")
        moved = _MOVES.get(self._state, {}).get(kind)
        if moved is None:
            return self._over(kind)
        if moved is State.NEEDS_CLARIFICATION:
            self._questions.add(step.digest)
        if moved in (State.NEEDS_CLARIFICATION, State.PARTIAL):
            self._since = max(self._since, step.at)
        self._state = moved
        return None

    def _acknowledge(self, step: Step) -> Objection | None:
        if step.is_about(self._root):
            if self._level is Kind.ACTIONED and step.said.kind is Kind.READ:
                next_step = "Leave it out: ACTIONED says that it was read."
                return Objection(Rule.LEVEL, "it was acknowledged as ACTIONED before", next_step)
            self._level = step.said.kind
            if self._state in (State.ASKED, State.REPORTED):
                self._state = State.ACKNOWLEDGED
        return None

    def _by_asker(self, step: Step) -> Objection | None:
        said = step.said
        about_root = step.is_about(self._root)
        if said.kind.answers and about_root:
            detail = f"{step.sender} sent the request itself"
            return Objection(Rule.NOT_ASKED, detail, "Correct or recall a request of your own; the other side answers.")
        if said.kind is Kind.WITHDRAWN and about_root:
            self._state = State.WITHDRAWN
        elif self._state is State.NEEDS_CLARIFICATION:
            replied = bool(self._questions.intersection(step.refers_to))
            if replied and said.asks and said.schema == self._root.said.schema:
                self._state = State.REPLACED
            elif (replied and step.opens) or (said.kind is Kind.CORRECTS and about_root):
                self._state, self._since = State.CLARIFIED, max(self._since, step.at)
        elif said.kind is Kind.FEEDBACK and self._state in (State.FINAL, State.NO_TRACE, State.REFUSED):
            self._state = State.CLOSED
        return None

    def _over(self, kind: Kind) -> Objection:
        instead = {
            State.WITHDRAWN: "Nothing is owed. What the other side should know all the same is SpontaneousInformation.",
            State.REPLACED: "Answer the request that has taken its place.",
        }
        usual = "Correct the answer that was given, or recall it and answer again; news are SpontaneousInformation."
        detail = f"{kind.name} after the request was {_PAST[self._state]}"
        return Objection(Rule.OVER, detail, instead.get(self._state, usual))


_PAST: Mapping[State, str] = MappingProxyType(
    {
        State.FINAL: "answered finally",
        State.NO_TRACE: "answered with NO_TRACE",
        State.REFUSED: "refused",
        State.WITHDRAWN: "withdrawn",
        State.REPLACED: "replaced by a new one",
        State.CLOSED: "closed",
    }
)


def _taken_back(root: Step, steps: Sequence[Step]) -> frozenset[bytes]:
    """Return the answers that their own sender has recalled: they do not count, and others may come."""
    senders = {step.digest: step.sender for step in steps}
    return frozenset(
        digest
        for step in steps
        if step.said.kind is Kind.WITHDRAWN
        for digest in step.said.about[:1]
        if digest != root.digest and senders.get(digest) == step.sender
    )
