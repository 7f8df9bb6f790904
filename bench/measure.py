"""Measure: time something often enough, and keep the result beside what its primitives alone would take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

Step = Callable[[str], AbstractContextManager[None]]
"""Shows what is being measured for as long as it is."""


@dataclass(frozen=True)
class Result:
    """One row: seconds for one item, and for the primitives of one item in the same run."""

    group: str
    name: str
    seconds: float
    primitives: float = 0.0

    @property
    def ratio(self) -> float:
        """How many times the primitives' own cost; 0 where there is nothing to compare with."""
        return self.seconds / self.primitives if self.primitives else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the row for a file."""
        return {**asdict(self), "per_second": 1 / self.seconds, "ratio": self.ratio}


@dataclass(frozen=True)
class Effort:
    """How long to measure: seconds for each small thing, items for each large one."""

    seconds: float
    envelopes: int
    frames: int

    def time(self, call: Callable[[], object]) -> float:
        """Return the median of the seconds that one call takes, over at least seven calls."""
        call()  # what is made once is not what is measured
        taken: list[float] = []
        end = time.perf_counter() + self.seconds
        while len(taken) < 7 or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)


QUICK = Effort(seconds=0.04, envelopes=256, frames=1)
WHOLE = Effort(seconds=0.4, envelopes=1024, frames=12)


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Give a function that says how many seconds have passed since."""
    start = time.perf_counter()
    yield lambda: time.perf_counter() - start
