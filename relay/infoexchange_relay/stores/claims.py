"""Claims: what a depot far away said of attachments, for those who must not wait for it.

Threads that check envelopes serve everybody: none of them may wait for a store that is slow or away. A check that needs
an answer nobody has asked for yet is broken off; the question is asked beside the checks, and the check made again.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator

from infoexchange.chunks import Blob
from infoexchange.errors import ExchangeError, Reason, error

# Implementation constants
FRESH_SECONDS = 20.0  # so long a claim stands for another one: well below the minute for which a claim keeps a blob
_REMEMBERED_MAX = 4096  # claims; each takes some hundred bytes
_UNASKED = "attachment.claim"  # field of the error that breaks a check off

_hurried: contextvars.ContextVar[bool] = contextvars.ContextVar("hurried", default=False)


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Wait for no depot until the block ends."""
    token = _hurried.set(True)
    try:
        yield
    finally:
        _hurried.reset(token)


def is_hurried() -> bool:
    """Whether the caller must not wait."""
    return _hurried.get()


def is_unasked(result: object) -> bool:
    """Whether a check was broken off because of a question that nobody had asked."""
    return isinstance(result, ExchangeError) and (result.reason, result.field) == (Reason.UNAVAILABLE, _UNASKED)


class Claims:
    """Answers to claims: good ones for a while, any other for the next who asks."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[Blob, int], tuple[float, bool | ExchangeError]] = OrderedDict()

    def put(self, blob: Blob, ct_length: int, answer: bool | ExchangeError) -> None:  # noqa: FBT001  what was answered
        """Remember an answer that was given just now."""
        with self._lock:
            self._answers[blob, ct_length] = (time.monotonic(), answer)
            self._answers.move_to_end((blob, ct_length))
            while len(self._answers) > _REMEMBERED_MAX:
                self._answers.popitem(last=False)

    def get(self, blob: Blob, ct_length: int) -> bool:
        """Return the answer, or raise the error that was it.

        Raises:
            UnavailableError: `UNAVAILABLE`, of which `is_unasked` is true, when nobody has asked.
        """
        with self._lock:
            when, answer = self._answers.pop((blob, ct_length), (0.0, None))
            fresh = time.monotonic() - when < FRESH_SECONDS
            if answer is True and fresh:
                self._answers[blob, ct_length] = (when, answer)
        if answer is None or not fresh:
            raise error(Reason.UNAVAILABLE, field=_UNASKED, detail="the store of attachments was not asked yet")
        if isinstance(answer, ExchangeError):
            raise answer
        return answer
