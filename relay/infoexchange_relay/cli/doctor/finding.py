"""Finding: what one look of the doctor's found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from infoexchange.cli.output import of_system
from infoexchange.errors import ExchangeError


class State(IntEnum):
    """How well something is; the worst of a relay decides the exit code."""

    WELL = 0
    ATTENTION = 1  # nothing is lost yet, or nobody can tell
    WRONG = 2

    @property
    def word(self) -> str:
        """For people and programs."""
        return {State.WELL: "ok", State.ATTENTION: "attention", State.WRONG: "wrong"}[self]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `next_step` says what to do unless all is well."""

    name: str
    state: State
    detail: str
    next_step: str = ""


def well(name: str, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(name, State.WELL, detail)


def attention(name: str, detail: str, next_step: str) -> Finding:
    """Return that somebody should look at it soon."""
    return Finding(name, State.ATTENTION, detail, next_step)


def wrong(name: str, detail: str, next_step: str) -> Finding:
    """Return that something has to be done now."""
    return Finding(name, State.WRONG, detail, next_step)


def of_problem(name: str, problem: ExchangeError | OSError) -> Finding:
    """Return what an error says."""
    told = of_system(problem) if isinstance(problem, OSError) else problem
    where = f"{told.field}: " if told.field else ""
    return wrong(name, f"{where}{told.detail}", told.next_step)


def looked(name: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return what a look finds; whatever ends it early is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except (ExchangeError, OSError) as problem:
        found.append(of_problem(name, problem))
    return found
