"""Patience: waiting for what other threads and processes do, on a machine however slow.

No test says how fast something is. These limits only end a wait for what will never happen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

LIMIT = 90  # seconds; below pytest's limit for one test, so that the line that waited is named
PATIENT = timedelta(seconds=LIMIT)  # for calls that will be answered

T = TypeVar("T")


def attempts() -> Iterator[int]:
    """Yield the number of the next try, until it is not worth another; whoever asks breaks off."""
    end, number = time.monotonic() + LIMIT, 0
    while time.monotonic() < end:
        yield number
        number += 1
        time.sleep(0.02)


def until(check: Callable[[], T]) -> T:
    """Return what `check` returns as soon as it is true."""
    for _ in attempts():
        if found := check():
            return found
    raise AssertionError("did not happen in time")
