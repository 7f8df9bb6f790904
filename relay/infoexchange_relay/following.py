"""Following: one of several nodes goes on from what the others do: signatures, cosignatures, versions of the directory.

Whatever a node does not hear of it finds out within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from infoexchange.errors import ExchangeError, Reason
from infoexchange_relay.batching import Batching
from infoexchange_relay.cosigned import Cosigned
from infoexchange_relay.lasting import lasting
from infoexchange_relay.nodes import Ring
from infoexchange_relay.renewal import Renewal
from infoexchange_relay.standing import NEWS

# Implementation constants
_LOOK_SECONDS = 1.0  # a withdrawal is to be in force everywhere within five seconds

_log = structlog.get_logger()


class Following:
    """What a node does about the others."""

    def __init__(self, batching: Batching, cosigned: Cosigned, renewal: Renewal, keep: Callable[[bytes], None]) -> None:
        """Hold what follows; `keep` puts the newest checkpoint where this node remembers it, outside the database."""
        self._keep = keep
        self._batching = batching
        self._cosigned = cosigned
        self._renewal = renewal
        self._heard: list[Ring] = []
        self._missed = False
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        """Begin, in the running loop."""
        self._batching.nodes.start(self.hear)
        self._tasks = [asyncio.create_task(lasting(run)) for run in (self._run, self._look)]

    async def __aexit__(self, *raised: object) -> None:
        """End, and leave the work to the others."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._batching.nodes.close()

    def hear(self, rings: Iterable[Ring]) -> None:
        """Wake those whom another node has told of; everybody where it is not known what was missed."""
        before = len(self._heard)
        self._heard += rings
        self._missed |= len(self._heard) == before
        self._wake.set()

    async def _run(self) -> None:
        """Ring for what was heard, once this node has what it was told of: a batch of another one at a time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            rings, self._heard = self._heard, []
            missed, self._missed = self._missed, False
            await self._follow()
            self._batching.metrics.woken(self._batching.bells.ring(rings))
            if missed:
                self._batching.bells.ring_all()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._follow()
            try:
                await self._ring_missed()
                await self._batching.read(partial(self._keep, self._batching.node.ledger.checkpoint()))
                await self._batching.read(self._cosigned.follow)
                await self._renewal.follow()
            except Exception as bug:  # noqa: BLE001  the next look may succeed; its text may hold bytes
                reason = bug.reason.word if isinstance(bug, ExchangeError) else type(bug).__name__
                _log.warning("nodes_not_followed", reason=reason)

    async def _ring_missed(self) -> None:
        """Wake those for whom something came, whether or not this node was told.

        A node that dies may have answered and told nobody, and of two that write the other one may sign.
        """
        end = self._batching.node.ledger.end
        parties, owners = await self._batching.read(partial(self._batching.nodes.arrived, end))
        woken = (*parties, *owners, *([NEWS] if owners else []))
        self._batching.metrics.woken(self._batching.bells.ring((party, b"") for party in woken))

    async def _follow(self) -> None:
        """Go on from the newest checkpoint; a log that cannot be gone on from stops this node."""
        try:
            await self._batching.write(self._batching.node.ledger.follow)
        except ExchangeError as problem:
            if problem.reason is Reason.LOG_STOPPED:
                self._batching.fail(problem, [])
        except Exception as bug:  # noqa: BLE001  a node that follows no more would answer from the past
            _log.error("nodes_not_followed", reason=type(bug).__name__)
