"""Backoff: how long to leave alone what failed: the way to a peer, or one envelope that the peer does not take."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infoexchange.errors import Reason

# Implementation constants
BACKOFF_FIRST = 0.5  # seconds; doubled after each failure
BACKOFF_MAX = 30.0
_REMEMBERED_MAX = 4096  # positions; beyond that those whose time has come are forgotten, and count from nothing again


def jittered(seconds: float) -> float:
    """Return a time around `seconds`, so that relays do not come back in step."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311  spreads retries, guards no secret


def pause_after(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row, at least one."""
    return jittered(min(BACKOFF_FIRST * 2.0 ** min(failures - 1, 32), BACKOFF_MAX))


@dataclass
class _Hold:
    due: float
    tries: int = 0
    faults: list[Reason] = field(default_factory=list)


class Holds:
    """Places in a queue that are passed over for a time, and how often each was tried."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none; `clock` gives seconds."""
        self._clock = clock
        self._holds: dict[int, _Hold] = {}
        self._next: float | None = None

    def active(self) -> tuple[int, ...]:
        """Return the places that are passed over now."""
        now = self._clock()
        found = {position: hold.due for position, hold in self._holds.items() if hold.due > now}
        self._next = min(found.values(), default=None)
        return tuple(found)

    def wait(self) -> float | None:
        """Return the seconds until the first of those is due that `active` gave last; nothing if it gave none.

        One that has become due since counts: nobody has looked at it yet.
        """
        return None if self._next is None else max(0.0, self._next - self._clock())

    def put_off(self, position: int, fault: Reason | None = None) -> None:
        """Pass a place over, each time for longer; `fault` says that the reason lies in what stands there."""
        if len(self._holds) >= _REMEMBERED_MAX:
            now = self._clock()
            self._holds = {place: hold for place, hold in self._holds.items() if hold.due > now}
        hold = self._holds.setdefault(position, _Hold(0.0))
        hold.tries += 1
        hold.faults += [fault] if fault else []
        hold.due = self._clock() + pause_after(hold.tries)

    def faults(self, position: int) -> Sequence[Reason]:
        """Return the faults of what stands at a place, the last one at the end."""
        return self._holds[position].faults if position in self._holds else ()

    def knows(self, position: int) -> bool:
        """Whether a place was put off before."""
        return position in self._holds

    def release(self, position: int) -> None:
        """Let a place go at once; what is known of it stays."""
        if position in self._holds:
            self._holds[position].due = 0.0

    def forget(self, position: int) -> None:
        """Know nothing of a place any more: it has left the queue."""
        self._holds.pop(position, None)
