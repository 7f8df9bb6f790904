"""Outgoing: what was handed to gRPC for readers that have not taken it yet, bounded for all of them together.

A reader that opens a stream and never reads costs one frame, not its queue. The more streams there are, the smaller the
frames, so that any number of slow readers holds the same. An envelope that is larger than a frame waits for one of few
places; whoever holds one for long while another waits is cut off and fetches again: nothing is lost by that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange_relay.places import Places, cut_off

# Implementation constants
FRAMES = 16 * 1024 * 1024  # bytes of all frames together; Python and gRPC hold each about three times
FRAME_MAX = 32 * 1024  # what one stream is handed ahead: a reader works it off before it sees what is more urgent
FRAME_MIN = 8 * 1024  # about one envelope of the usual size
_LARGE = 8 * 1024 * 1024  # bytes of envelopes that are larger than a frame
_LARGE_PARTY = 4 * 1024 * 1024
_LARGE_SECONDS = 10.0  # what a megabyte takes on a line of 1 Mbit/s
_LOOK = 2.0  # seconds between two looks at a reader that does not take its frame: a revoked one ends within five
_SECONDS = 60.0  # a frame that was not taken in this time never will be
_UNTAKEN = error(Reason.UNAVAILABLE, field="relay", detail="what was sent was not read in time; nothing was lost")


class Outgoing:
    """All streams on which envelopes go out.

    Attributes:
        large: Room for envelopes that are larger than a frame.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.large = Places(_LARGE, _LARGE_PARTY, _LARGE_SECONDS)
        self._streams = 0

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Count a stream for as long as it lasts."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    @property
    def frame(self) -> int:
        """Bytes that the next frame of a stream may have; a larger envelope needs a place in `large`."""
        return max(FRAME_MIN, min(FRAME_MAX, FRAMES // max(1, self._streams)))


class Handing:
    """Watches the reader of the running task while it has a frame to take: it is cut off when it does not.

    Use it as `with Handing(check): yield frame`; `check` raises when the reader may not be served any more.
    """

    def __init__(self, check: Callable[[], object]) -> None:
        """Say what to look at."""
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._end = self._loop.time() + _SECONDS
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._timer = self._loop.call_later(_LOOK, self._look)

    def __exit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()

    def _look(self) -> None:
        problem = _UNTAKEN
        if self._loop.time() < self._end:
            try:
                self._check()
            except ExchangeError as refusal:
                problem = refusal
            else:
                self._timer = self._loop.call_later(_LOOK, self._look)
                return
        if self._task:
            cut_off(self._task, problem)
