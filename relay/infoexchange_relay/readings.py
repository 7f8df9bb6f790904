"""Readings: looks at queues, disks, log and papers from time to time, so that a scrape costs the same whatever waits.

Whoever asks for metrics gets what the last look found. Counting a million waiting messages takes a database part of a
second, so the pause grows with what a look has cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from datetime import datetime

import structlog

from infoexchange.audit import Routing
from infoexchange.errors import ExchangeError
from infoexchange.node import Node
from infoexchange.node.recalls import peer_of
from infoexchange.states import Precedence
from infoexchange.tlog import Checkpoint
from infoexchange_relay import expiry
from infoexchange_relay.batching import Batching
from infoexchange_relay.config import Config
from infoexchange_relay.gauges import AGENCIES, Depth, Gauges
from infoexchange_relay.stores import FileDepot

# Implementation constants
PAUSE = 15.0  # seconds between two looks: the usual scrape
_SHARE = 50  # a look takes at most one part in so many of the time

_log = structlog.get_logger()


class Readings:
    """Keeps the gauges of one relay up to date."""

    def __init__(self, config: Config, batching: Batching) -> None:
        """Hold what is looked at; `run` looks."""
        self._config = config
        self._batching = batching
        self._node = batching.node
        self._gauges = batching.metrics.gauges
        self._shown: set[str] = set()
        self._failed = False

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(pause(await self.look()))

    async def look(self) -> float:
        """Look once, and return how many seconds it took; what cannot be read is said once, and stays as it was."""
        started = time.monotonic()
        try:
            await self._batching.read(self._read)
            if self._failed:
                _log.info("readings_back")
            self._failed = False
        except Exception as problem:  # noqa: BLE001  the next look may succeed; its text may hold bytes
            if not self._failed:
                _log.error("readings_failed", reason=_reason(problem))
            self._failed = True
            return time.monotonic() - started
        took = time.monotonic() - started
        self._gauges.looked(self._node.clock(), took)
        return took

    def _read(self) -> None:
        """Read everything; in a thread."""
        node, now = self._node, self._node.clock()
        peers = {party.name for party in node.directory.relays()} - {node.name}
        self._gauges.queues(peers, depths(node, now))
        for gone in self._shown - peers:
            self._gauges.forget(gone)
        self._shown = peers
        _read_log(node, self._gauges)
        _read_disks(self._config, self._gauges)
        if isinstance(node.depot, FileDepot):
            self._gauges.attachments(node.depot.size)
        self._gauges.ends(expiry.last_days(self._config, node.directory))


def _reason(problem: Exception) -> str:
    if isinstance(problem, ExchangeError):
        return problem.reason.word
    return (isinstance(problem, OSError) and problem.strerror) or type(problem).__name__


def pause(took: float) -> float:
    """Return the seconds until the next look, after one that took so long."""
    return max(PAUSE, took * _SHARE)


def depths(node: Node, now: datetime) -> Mapping[tuple[str, Precedence], Depth]:
    """Return what waits, by peer or for all agencies together; recall orders count with their peer's messages."""
    peers = {party.name for party in node.directory.relays()}
    counts: dict[tuple[str, Precedence], int] = {}
    oldest: dict[tuple[str, Precedence], int] = {}
    for queue in node.store.queues():
        name = peer_of(queue.party) or queue.party
        key = name if name in peers else AGENCIES, queue.precedence
        counts[key] = counts.get(key, 0) + queue.count
        oldest[key] = min(oldest.get(key, queue.oldest), queue.oldest)
    records = node.store.records(list(oldest.values()))
    ages = ((now - Routing.parse(record.entry.routing).logged_at).total_seconds() for record in records)
    return {key: Depth(counts[key], max(0.0, age)) for key, age in zip(oldest, ages, strict=True)}


def _read_log(node: Node, gauges: Gauges) -> None:
    newest, cosigned = (note and Checkpoint.parse(note) for note in (node.ledger.checkpoint(), node.ledger.cosigned()))
    limit = node.max_uncosigned.total_seconds() if node.max_uncosigned else 0.0
    gauges.log(newest.signed_at if newest else 0, cosigned.signed_at if cosigned else 0, limit)


def _read_disks(config: Config, gauges: Gauges) -> None:
    folders = {"data": config.data, "latch": config.latch.parent, "attachments": config.attachments}
    for volume, folder in folders.items():
        with contextlib.suppress(FileNotFoundError):  # attachments may be kept elsewhere
            disk = os.statvfs(folder)
            gauges.disk(volume, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
