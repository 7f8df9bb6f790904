"""Overtaking: what is urgent comes on a stream of its own, beside the one on which a long queue is worked off.

What a relay has sent cannot be overtaken any more, and a megabyte of it may lie between the relay and a reader who
handles one message after the other. So once a queue turns out to be long, the urgent part of it is followed as well.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Protocol

from infoexchange.errors import ExchangeError

# Implementation constants
_FRAMES = 8  # urgent frames held for the reader, of 4 MiB at most
_KNOWN = 2048  # envelopes that may have come both ways: twice what a relay hands out before it is acknowledged

Frame = Sequence[bytes]


class Stream(Protocol):
    """A call that yields frames until it ends or is cancelled."""

    def frames(self) -> Iterator[Frame]:
        """Yield frames; raises `ExchangeError`."""

    def cancel(self) -> None:
        """End it, from any thread."""


def overtaken(stream: Stream, urgent: Callable[[], Stream]) -> Iterator[Frame]:
    """Yield the frames of a stream, and between them those of an urgent one; no envelope twice.

    Args:
        stream: Its end is the end, and its errors are raised.
        urgent: Begins the urgent one; called only when more than one frame waits. If it fails, nothing is lost: the
            first stream brings the same.
    """
    recent = _Recent()
    with contextlib.ExitStack() as stack:
        stack.callback(stream.cancel)
        side: _Side | None = None
        for number, frame in enumerate(stream.frames()):
            if number == 1:
                side = _Side(urgent())
                stack.callback(side.close)
            for quick in side.come() if side else ():
                yield from recent.new(quick)
            yield from recent.new(frame)


class _Recent:
    """The envelopes that came last."""

    def __init__(self) -> None:
        """Begin with none."""
        self._order: deque[bytes] = deque()
        self._digests: set[bytes] = set()

    def new(self, frame: Frame) -> Iterator[Frame]:
        """Yield those of a frame that have not come, if there are any, in one frame."""
        fresh = []
        for raw in frame:
            digest = sha256(raw).digest()
            if digest in self._digests:
                continue
            fresh.append(raw)
            self._digests.add(digest)
            self._order.append(digest)
            if len(self._order) > _KNOWN:
                self._digests.discard(self._order.popleft())
        if fresh:
            yield tuple(fresh)


class _Side:
    """A stream that is read in a thread of its own."""

    def __init__(self, stream: Stream) -> None:
        """Begin to read."""
        self._stream = stream
        # What a reader who waits for nothing else leaves here comes the other way too: so the oldest may go.
        self._held: deque[Frame] = deque(maxlen=_FRAMES)
        self._thread = threading.Thread(target=self._read, name="urgent", daemon=True)
        self._thread.start()

    def come(self) -> Iterator[Frame]:
        """Yield what has come; never waits."""
        with contextlib.suppress(IndexError):
            while True:
                yield self._held.popleft()

    def close(self) -> None:
        """Read no more."""
        self._stream.cancel()
        self._thread.join()

    def _read(self) -> None:
        with contextlib.suppress(ExchangeError):
            self._held.extend(self._stream.frames())
