"""Table: what an attack is, who tries it, on what, and what everybody who meets it must answer."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infoexchange.errors import Reason

if TYPE_CHECKING:
    from attacks.scene import Letter, Scene


class Adversary(enum.Enum):
    """Who is hostile. All others keep the rules."""

    RELAY = "relay"
    AGENCY = "agency"
    FELLOW = "fellow recipient"


class Judge(enum.Enum):
    """Who meets the attack."""

    LIBRARY = "sender's library"
    OWN_RELAY = "own relay"
    PEER_RELAY = "peer relay"
    RECIPIENT = "recipient"
    FELLOW = "fellow recipient"
    AUDITOR = "auditor"
    WITNESS = "witness"
    READER = "every reader"


class Kind(enum.Enum):
    """How the envelope was made that is attacked."""

    SINGLE = "single"
    SEVERAL = "several"
    BATCH = "batch"
    EPOCH_KEK = "epoch KEK"
    BLIND = "blind"


# Answers that are no reason. An auditor leaves open what a file cannot settle, in the word that is given for it.
PASSES = "passes"
NOTHING = "nothing new"
Answer = Reason | str
Shown = Mapping[Judge, Callable[[], object]]
"""How the attack is put before each judge; calling raises, or returns the answer."""

ONE = (Kind.SINGLE,)
EVERY = tuple(Kind)
MANY = (Kind.SEVERAL, Kind.BATCH, Kind.EPOCH_KEK, Kind.BLIND)  # several recipients
WRAPPED = (Kind.SINGLE, Kind.SEVERAL, Kind.BATCH, Kind.BLIND)  # with a wrap for each recipient
LISTED = (Kind.SINGLE, Kind.SEVERAL, Kind.BATCH, Kind.EPOCH_KEK)  # with recipients in the header


def everyone(answer: Answer) -> dict[Judge, Answer]:
    """The same answer of all four who meet an envelope on its way and afterwards."""
    return dict.fromkeys((Judge.OWN_RELAY, Judge.PEER_RELAY, Judge.RECIPIENT, Judge.AUDITOR), answer)


@dataclass(frozen=True)
class Attack:
    """One row of the table."""

    name: str
    words: str
    adversary: Adversary
    answers: Mapping[Judge, Answer]
    kinds: Sequence[Kind]
    act: Callable[[Scene, Letter], Shown] = field(repr=False)
    otherwise: Mapping[Kind, Mapping[Judge, Answer]] = field(default_factory=dict)

    def expected(self, kind: Kind) -> dict[Judge, Answer]:
        """Every judge's answer for one kind of envelope."""
        return {**self.answers, **self.otherwise.get(kind, {})}


@dataclass(frozen=True)
class Note:
    """Something besides attacks that the page tells: it is shown by a check that raises if it is not so."""

    name: str
    words: str
    kinds: Sequence[Kind]
    check: Callable[[Scene, Letter], None] = field(repr=False)


ATTACKS: list[Attack] = []
HARMLESS: list[Note] = []  # changes that nobody refuses, because they change nothing
LIMITS: list[Note] = []  # hostile acts that nobody can refuse, and what shows them


def attack(
    adversary: Adversary,
    answers: Mapping[Judge, Answer],
    *,
    kinds: Sequence[Kind] = ONE,
    otherwise: Mapping[Kind, Mapping[Judge, Answer]] | None = None,
) -> Callable[[Callable[[Scene, Letter], Shown]], Callable[[Scene, Letter], Shown]]:
    """Enter a function into the table; its docstring says who, with what in hand, wants what."""

    def enter(act: Callable[[Scene, Letter], Shown]) -> Callable[[Scene, Letter], Shown]:
        ATTACKS.append(Attack(*_said_of(act), adversary, answers, kinds, act, otherwise or {}))
        return act

    return enter


def note(
    notes: list[Note], kinds: Sequence[Kind] = ONE
) -> Callable[[Callable[[Scene, Letter], None]], Callable[[Scene, Letter], None]]:
    """Enter a check into a list of notes."""

    def enter(check: Callable[[Scene, Letter], None]) -> Callable[[Scene, Letter], None]:
        notes.append(Note(*_said_of(check), kinds, check))
        return check

    return enter


def _said_of(function: Callable[..., object]) -> tuple[str, str]:
    return function.__name__.replace("_", " "), " ".join((inspect.getdoc(function) or "").split())
