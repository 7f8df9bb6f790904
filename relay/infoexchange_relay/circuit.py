"""Circuit: whether a peer can be reached, so that one that cannot is asked seldom, and its operator told once.

After a few failures in a row the circuit opens. From then on one thing at a time is tried, with pauses between, until
one succeeds; whoever else wants something of that peer learns at once that it is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol, TypeVar

import structlog

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange_relay import backoff

# Implementation constants
OPEN_AFTER = 5  # failures in a row: with the pauses between them a restart or a lost packet has passed by then

T = TypeVar("T")
_log = structlog.get_logger()


class Gauges(Protocol):
    """What this module needs of `metrics.Metrics`."""

    def circuit(self, peer: str, *, is_open: bool) -> None:
        """Record the state of the circuit to a peer."""


class PeerError(Exception):
    """A call to a peer failed as a whole; of what it carried nothing is known."""

    def __init__(self, problem: ExchangeError) -> None:
        """Hold what was raised."""
        super().__init__(problem)
        self.problem = problem


class Circuit:
    """The state of the way to one peer; used in one event loop only.

    Attributes:
        peer: Its name.
        closed: Set while the circuit is closed.
        failures: Failures in a row.
        on_open: Called when it opens: wakes whoever then looks after the peer until it is back.
    """

    def __init__(self, peer: str, metrics: Gauges) -> None:
        """Begin closed."""
        self.peer = peer
        self.failures = 0
        self.closed = asyncio.Event()
        self.closed.set()
        self.on_open: Callable[[], None] = _nothing
        self._metrics = metrics
        metrics.circuit(peer, is_open=False)

    @property
    def is_open(self) -> bool:
        """Whether the peer counts as away."""
        return not self.closed.is_set()

    def check(self) -> None:
        """Raise `UNAVAILABLE` at once while the circuit is open, instead of after a long wait."""
        if self.is_open:
            raise error(Reason.UNAVAILABLE, field=self.peer, detail="it could not be reached lately")

    def failed(self, reason: Reason) -> float:
        """Count a failure; return how many seconds to wait before the next try."""
        self.failures += 1
        if self.failures == OPEN_AFTER:
            self.closed.clear()
            self._metrics.circuit(self.peer, is_open=True)
            _log.warning("peer_lost", peer=self.peer, reason=reason.word, count=self.failures)
            self.on_open()
        return backoff.pause_after(self.failures)

    def left(self) -> None:
        """Close the circuit, since nobody here looks after the peer any more: perhaps another node does."""
        self.on_open = _nothing
        self.failures = 0
        self.closed.set()
        self._metrics.circuit(self.peer, is_open=False)

    def succeeded(self) -> None:
        """Close the circuit."""
        if self.is_open:
            self.closed.set()
            self._metrics.circuit(self.peer, is_open=False)
            _log.info("peer_back", peer=self.peer, count=self.failures)
        self.failures = 0


async def called(pool: Executor, call: Callable[[], T]) -> T:
    """Return what a call to a peer returns, from a thread; raise `PeerError` where it raises."""
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, call)
    except ExchangeError as problem:
        raise PeerError(problem) from None


def _nothing() -> None:
    """Wake nobody."""
