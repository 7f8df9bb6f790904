"""Readiness: whether a relay takes new messages just now, for balancers and probes, and why it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.node.cosigned import check_cosigned
from infoexchange_relay.batching import Batching

# Implementation constants
_LOOK = 1.0  # seconds between two looks: within one probe
_BEAT = 0.25  # seconds between two measurements of how late the loop is

_log = structlog.get_logger()
_STARTING = error(Reason.UNAVAILABLE, field="relay", detail="the relay is starting")


class Readiness:
    """Looks every second.

    Attributes:
        problem: Why nothing new was taken at the last look; None when everything was.
    """

    def __init__(self, batching: Batching, tell: Callable[[bool], Awaitable[None]]) -> None:
        """Hold what is looked at, and whom to tell when the answer changes: for a start it is no."""
        self.problem: ExchangeError | None = _STARTING
        self._batching = batching
        self._tell = tell
        self._last: ExchangeError | None = None

    def end(self) -> None:
        """Say no from now on, and for good: the relay is stopping."""
        self._last = error(Reason.UNAVAILABLE, field="relay", detail="the relay is stopping")

    @property
    def now(self) -> ExchangeError | None:
        """Why nothing new is taken; what needs no look is seen at once."""
        return self._last or self._batching.refusal or self.problem

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except Exception as bug:  # noqa: BLE001  the next look may succeed; its text may hold bytes
                _log.error("readiness_not_told", reason=type(bug).__name__)
            await asyncio.sleep(_LOOK)

    async def look(self) -> None:
        """Look once; tell, count and log when the answer is another one."""
        before, self.problem = self.problem, self._last or await self._find()
        self._batching.metrics.gauges.ready(int(self.problem is None))
        if (before is None) == (self.problem is None):
            return
        await self._tell(self.problem is None)
        if self.problem is None:
            _log.info("taking_messages")
        else:
            _log.error("taking_no_messages", reason=self.problem.reason.word, what=self.problem.detail)

    async def _find(self) -> ExchangeError | None:
        node = self._batching.node
        if self._batching.refusal:
            return self._batching.refusal
        try:
            now = node.clock()
            node.directory.check_current(now)
            await asyncio.to_thread(check_cosigned, node, now)  # not `read`: a missing quorum is no error of the store
        except ExchangeError as problem:
            return problem
        except Exception as bug:  # noqa: BLE001  who does not know takes nothing; its text may hold bytes
            return error(Reason.UNAVAILABLE, field="relay", detail=f"an error inside the relay ({type(bug).__name__})")
        return None


async def measure(lagged: Callable[[float], None]) -> None:
    """Measure for ever how much later than it should the loop comes back to a task."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _BEAT
        await asyncio.sleep(_BEAT)
        lagged(max(0.0, loop.time() - due))
