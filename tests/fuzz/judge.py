"""Judge: what one input may do to a reader: be read, or be refused with a typed error, soon and in little memory."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

from fuzz.target import Target

SECONDS_MAX = 3.0  # of the processor, for one input of at most 1 MiB: a table of 110,000 cells takes two
MEMORY_MAX = 256 << 20  # bytes the process may grow by


class FindingError(AssertionError):
    """A reader did what it may not."""


class SlowError(FindingError):
    """A reader took too long: `seconds` of the processor."""

    def __init__(self, words: str, seconds: float) -> None:
        super().__init__(words)
        self.seconds = seconds


@dataclass(frozen=True)
class Cost:
    """What one input cost."""

    read: bool
    seconds: float
    memory: int


def judge(target: Target, raw: bytes, *, seconds_max: float = SECONDS_MAX, memory_max: int = MEMORY_MAX) -> Cost:
    """Return what it cost to read `raw`.

    Raises:
        FindingError: Another error than the reader may raise, other bytes than were read, or too much time or memory.
    """
    before, begin = _peak(), time.process_time()
    read = True
    try:
        found = target.read(raw)
        if target.raw is not None and target.raw(found) != raw:
            raise FindingError(f"{target.name}: what was read is written as other bytes")
    except target.allowed:
        read = False
    except FindingError:
        raise
    except Exception as problem:
        raise FindingError(f"{target.name}: {type(problem).__name__}") from problem
    cost = Cost(read, time.process_time() - begin, _peak() - before)
    if cost.seconds > seconds_max:
        raise SlowError(f"{target.name}: {cost.seconds:.2f} s for {len(raw)} bytes", cost.seconds)
    if cost.memory > memory_max:
        raise FindingError(f"{target.name}: {cost.memory >> 20} MiB for {len(raw)} bytes")
    return cost


def _peak() -> int:
    """Return the most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
