"""Pace: how many bytes go to a peer in one frame, so that what is urgent never waits long for one that is under way.

A frame of 4 MiB takes milliseconds on a good line and half a minute on a bad one. What comes meanwhile goes with the
next frame, whatever its precedence; so a frame is as large as the line carries in a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from infoexchange.ports import BATCH_BYTES_MAX, Waiting

# Implementation constants
FRAME_SECONDS = 1.0  # what a FLASH message may wait for the frame before it; an order of magnitude below its hour
FRAME_MIN = 64 * 1024  # bytes: half a second at 1 Mbit/s; smaller frames would make a distant peer slow, and not quick
FRAME_FIRST = 256 * 1024  # before anything is known of the line


class Pace:
    """What the line to one peer has carried.

    Attributes:
        size: Bytes that the next frame may hold.
    """

    def __init__(self) -> None:
        """Know nothing of the line."""
        self.size = FRAME_FIRST

    def frame(self, waiting: Sequence[Waiting]) -> Sequence[Waiting]:
        """Return the first of what waits, at least one, that fits into the next frame."""
        taken, size = 0, 0
        for item in waiting:
            size += len(item.raw)
            if taken and size > self.size:
                break
            taken += 1
        return waiting[:taken]

    def took(self, size: int, seconds: float) -> None:
        """Learn from a frame that was answered."""
        if seconds > FRAME_SECONDS:
            self.size = max(FRAME_MIN, min(self.size, size) // 2)
        elif 2 * size > self.size and 2 * seconds < FRAME_SECONDS:
            self.size = min(BATCH_BYTES_MAX, 2 * self.size)

    def lost(self) -> None:
        """Begin anew: the line failed, and may be another one afterwards."""
        self.size = min(self.size, FRAME_FIRST)
