"""Step: one message sent or received, as far as flows need to know it; nothing of what it says about the world."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from infoexchange import catalogue, wire
from infoexchange.catalogue import steps
from infoexchange.catalogue.references import Reference, references
from infoexchange.states import OpStatus, Precedence

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Kind(enum.IntEnum):
    """What a message does to the one it refers to; 2 to 10 are the steps of the schemas. Kept on disk: never renumber.

    ANSWERS is an answer whose type does not say how far it goes; several may follow one another.
    """

    TELLS = 0
    READ = 2
    ACTIONED = 3
    ACCEPTED = 4
    NEEDS_CLARIFICATION = 5
    PARTIAL = 6
    FINAL = 7
    NO_TRACE = 8
    REFUSED = 9
    WITHDRAWN = 10
    ANSWERS = 11
    CORRECTS = 12
    FEEDBACK = 13

    @property
    def acknowledges(self) -> bool:
        """Whether it is an officer's acknowledgement."""
        return self in (Kind.READ, Kind.ACTIONED)

    @property
    def answers(self) -> bool:
        """Whether it says how far an answer goes."""
        return Kind.ACCEPTED <= self <= Kind.REFUSED or self is Kind.ANSWERS

    @property
    def may_not_fit(self) -> bool:
        """Whether there are rules about when it may be said; everything else fits everywhere."""
        return self.answers or self.acknowledges or self is Kind.WITHDRAWN


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a message itself says for its flow.

    Attributes:
        schema: Its type, by the short name.
        kind: What it does to the message it refers to.
        asks: Whether an answer to it is owed.
        op_status: Whether it is about the real world.
        precedence: How urgent it is.
        about: Digests of the envelopes that its fields name, first the one that it changes or answers.
        respond_by: When it asks for its answer, if it says so.
    """

    schema: str
    kind: Kind = Kind.TELLS
    asks: bool = False
    op_status: OpStatus
    precedence: Precedence = Precedence.ROUTINE
    about: tuple[bytes, ...] = ()
    respond_by: datetime | None = None

    @classmethod
    def of(cls, message: Message) -> Said:
        """Return what a catalogue message says; its marks have been checked before."""
        handling, named = catalogue.handling_of(message), references(message)
        return cls(
            schema=message.DESCRIPTOR.name,
            kind=_kind(message, named),
            asks=steps.asks(message),
            op_status=OpStatus(handling.op_status),
            precedence=Precedence(handling.precedence),
            about=tuple(dict.fromkeys(r.digest for r in sorted(named, key=lambda r: (not r.own, not r.reply_to)))),
            respond_by=_moment(steps.deadline(message)),
        )


def _moment(stated: datetime | None) -> datetime | None:
    """Return a time as it can be kept: in milliseconds, and not before 1970, which is as late as any."""
    return wire.from_ms(max(0, wire.to_ms(stated)), field="respond_by") if stated else None


def _kind(message: Message, named: list[Reference]) -> Kind:
    step = steps.stated(message).step
    if any(reference.own for reference in named):
        recall = step == Kind.WITHDRAWN or (not step and steps.asks(message))
        return Kind.WITHDRAWN if recall else Kind.CORRECTS
    if not named:
        return Kind.TELLS
    if message.DESCRIPTOR.name == "Feedback":
        return Kind.FEEDBACK
    if step and step in set(Kind):
        return Kind(step)
    # A step of a newer schema, or one that moves nothing, is shown and changes nothing.
    several = any(r.reply_to for r in named) and not steps.states_a_step(message.DESCRIPTOR.name)
    return Kind.ANSWERS if several else Kind.TELLS


@dataclass(frozen=True, kw_only=True)
class Step:
    """One message sent or received.

    Attributes:
        digest: The envelope's name; where it was passed on to those it was for, that of the originator's envelope.
        sender: Agency whose message it is.
        recipients: Agencies it is for, as far as they are known here; nobody where it came for information only.
        at: When it was made, by its sender's clock, as signed: both sides count from the same moment.
        sequence: Its number among its sender's envelopes.
        thread_id: 16 bytes that join the messages of one case.
        in_reply_to: Digest of the envelope that it continues, if any.
        said: What the message says for its flow.
    """

    digest: bytes
    sender: str
    recipients: tuple[str, ...]
    at: datetime
    sequence: int
    thread_id: bytes = b""
    in_reply_to: bytes = b""
    said: Said

    @property
    def refers_to(self) -> tuple[bytes, ...]:
        """Digests of every envelope it names, each once, what it answers first."""
        more = (self.in_reply_to,) if self.in_reply_to else ()
        return tuple(dict.fromkeys((*self.said.about, *more)))

    def is_about(self, other: Step) -> bool:
        """Whether the other message is the one that this one answers, changes or acknowledges."""
        return self.said.about[:1] == (other.digest,)

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits for anything because of it: a routine report that refers to nothing."""
        return not (self.said.asks or self.refers_to or self.said.precedence > Precedence.ROUTINE)

    @property
    def opens(self) -> bool:
        """Whether it begins a flow of its own: it is no answer, acknowledgement or feedback."""
        return self.said.asks or self.said.kind in (Kind.TELLS, Kind.CORRECTS, Kind.WITHDRAWN)
