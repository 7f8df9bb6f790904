"""Quarantine: what can never be handed on leaves its queue, so that it holds up nothing behind it.

Its sender gets a signed UNDELIVERABLE. What is left of it lies in a folder of the relay's data for whoever has to find
out why: bytes that only their recipients can read.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.listing import Party
from infoexchange.node import Job, Node
from infoexchange.ports import Result, Waiting
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange_relay.backoff import pause_after

# Implementation constants
TRIES = 10  # the pauses between them add up to two minutes: what passes has passed by then, and a bug is still there
_KEPT_MAX = 64  # files; a bug shows in the first few, and nobody must be able to fill the disk with them
_COUNTED_MAX = 4096  # envelopes whose faults are counted; beyond that counting begins anew

Decision = Callable[[], Job]
_log = structlog.get_logger()


class Writer(Protocol):
    """What this module needs of `batching.Batching`."""

    node: Node

    async def settle(self, decisions: Sequence[Decision], size: int) -> list[Result]:
        """Decide and commit."""


class Quarantine:
    """Ends the way of what cannot go on."""

    def __init__(self, writer: Writer, folder: Path) -> None:
        """Hold the way to the log; `folder` is made when it is first needed."""
        self._writer = writer
        self._folder = folder
        self._told: set[tuple[str, int]] = set()
        self._faults: collections.Counter[tuple[str, int]] = collections.Counter()

    def decision(self, item: Waiting, reason: Reason) -> Decision:
        """Return the decision that ends the way of what waits; the operator hears of it once."""
        place = (item.party, item.position)
        if place not in self._told:
            if len(self._told) >= _COUNTED_MAX:
                self._told.clear()
            self._told.add(place)
            _log.error("envelope_undeliverable", party=item.party, digest=item.digest.hex(), reason=reason.word)

        def decide() -> Job:
            self._keep(item)
            return self._writer.node.ended(Event.UNDELIVERABLE, item.party, item.digest, reason)

        return decide

    def serve(self, caller: Party, waiting: Sequence[Waiting]) -> tuple[list[bytes], list[Decision]]:
        """Return what waits as an agency may see it, and the decisions about what cannot be shown; in a thread."""
        raws: list[bytes] = []
        decisions: list[Decision] = []
        for item in waiting:
            try:
                if item.damaged:
                    decisions.append(self.decision(item, Reason.MALFORMED))
                else:
                    raws.append(self._writer.node.served(caller, item))
            except UnavailableError:
                raise
            except ExchangeError as problem:
                decisions.append(self.decision(item, problem.reason))
            except Exception as bug:  # noqa: BLE001  one item must not end the stream of all others
                decisions += self._faulty(item, bug)
        return raws, decisions

    def _faulty(self, item: Waiting, bug: Exception) -> list[Decision]:
        """Count a fault of our own; return the end of what has had too many."""
        if len(self._faults) >= _COUNTED_MAX:
            self._faults.clear()
        place = (item.party, item.position)
        self._faults[place] += 1
        if self._faults[place] == 1:
            _log.error("envelope_not_served", party=item.party, digest=item.digest.hex(), reason=type(bug).__name__)
        return [self.decision(item, Reason.MALFORMED)] if self._faults[place] >= TRIES else []

    def pause(self, item: Waiting) -> float:
        """Return how many seconds to leave what waits alone after its last fault, each time more."""
        return pause_after(max(1, self._faults[item.party, item.position]))

    async def end(self, decisions: Sequence[Decision]) -> None:
        """Log the ends of some ways; what cannot be logged now is found again."""
        with suppress(ExchangeError):
            for result in await self._writer.settle(decisions, size=0):
                if not isinstance(result, Receipt) and result.reason is not Reason.REPLAYED:
                    _log.error("undeliverable_not_logged", reason=result.reason.word)

    def _keep(self, item: Waiting) -> None:
        """Keep the bytes as a file; a disk that cannot take it does not keep the envelope in the way."""
        path = self._folder / f"{item.position}-{item.digest.hex()[:16]}.envelope"
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileExistsError):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(descriptor, "wb") as file:
                    file.write(item.raw or item.remains)
            kept = sorted(self._folder.iterdir(), key=lambda file: file.stat().st_mtime)
            for old in kept[:-_KEPT_MAX]:
                old.unlink()
