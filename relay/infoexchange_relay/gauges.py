"""Gauges: what a relay is like just now, as it was last looked at; labels come from closed sets here too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from infoexchange.states import Precedence
from infoexchange_relay import __version__

_PREFIX = "infoexchange_relay"
AGENCIES = "agencies"  # the queues of all own agencies together: an operator's graph need not name them
VOLUMES = ("data", "latch", "attachments")
ENDINGS = ("directory", "certificate", "ca", "membership", "log")
# From a loop that has time to one that holds up every caller.
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(frozen=True)
class Depth:
    """What waits in one queue at one precedence, and for how many seconds the oldest of it has waited."""

    count: int
    oldest: float


class Gauges:
    """The gauges of one relay, in the registry of its counters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Begin with nothing known."""
        self._registry = registry
        ProcessCollector(registry=registry)  # memory, processor time and open files, as every Prometheus client has
        self._info = self._gauge("info", "Version of the relay that runs.", "version")
        self._info.labels(__version__).set(1)
        self._ready = self._gauge("ready", "1 while new messages are taken, 0 while they are refused.")
        self._looked = self._gauge(
            "looked_timestamp_seconds", "When the gauges of queues, disks and log were last read."
        )
        self._cost = self._gauge("look_seconds", "How long that took.")
        self._waiting = self._gauge("queue_envelopes", "Envelopes and orders that wait.", "queue", "precedence")
        self._oldest = self._gauge(
            "queue_oldest_seconds", "How long the oldest of them has waited; 0 while none waits.", "queue", "precedence"
        )
        self._attachments = self._gauge("attachments_bytes", "Bytes of attachments on this relay.")
        self._free = self._gauge("disk_free_bytes", "Bytes that the relay can still write.", "volume")
        self._size = self._gauge("disk_size_bytes", "Bytes that the disk has.", "volume")
        self._signed = self._gauge("checkpoint_timestamp_seconds", "When the newest checkpoint was signed.")
        self._cosigned = self._gauge(
            "cosigned_timestamp_seconds",
            "When the newest checkpoint was signed that a quorum of witnesses has cosigned.",
        )
        self._limit = self._gauge(
            "uncosigned_limit_seconds", "Age of the oldest entry without a quorum from which nothing new is taken."
        )
        self._ends = self._gauge("ends_timestamp_seconds", "When a paper of this relay ends.", "what")
        self._lag = Histogram(
            f"{_PREFIX}_loop_lag_seconds",
            "How much later than it should the event loop came to a task that slept.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", what, labels, registry=self._registry)

    def ready(self, is_ready: int) -> None:
        """Record whether new messages are taken, as 1 or 0."""
        self._ready.set(is_ready)

    def lagged(self, seconds: float) -> None:
        """Record how late the event loop was once."""
        self._lag.observe(seconds)

    def looked(self, now: datetime, seconds: float) -> None:
        """Record that everything was read anew, and how long it took."""
        self._looked.set(now.timestamp())
        self._cost.set(seconds)

    def queues(self, peers: Iterable[str], depths: Mapping[tuple[str, Precedence], Depth]) -> None:
        """Record what waits for each peer and for the agencies; what is not in `depths` is empty."""
        empty = Depth(0, 0.0)
        for queue in (AGENCIES, *peers):
            for precedence in Precedence:
                found = depths.get((queue, precedence), empty)
                labels = queue, precedence.name.lower()
                self._waiting.labels(*labels).set(found.count)
                self._oldest.labels(*labels).set(found.oldest)

    def forget(self, peer: str) -> None:
        """Show a relay that the directory no longer lists no more."""
        for precedence in Precedence:
            for gauge in (self._waiting, self._oldest):
                _hide(gauge, peer, precedence.name.lower())

    def disk(self, volume: str, free: int, size: int) -> None:
        """Record the room on one of `VOLUMES`."""
        self._free.labels(volume).set(free)
        self._size.labels(volume).set(size)

    def attachments(self, size: int) -> None:
        """Record the bytes of all attachments."""
        self._attachments.set(size)

    def log(self, signed_at: float, cosigned_at: float, limit: float) -> None:
        """Record when the newest checkpoints were signed, and the limit of `uncosigned_seconds`; 0 for none."""
        self._signed.set(signed_at)
        self._cosigned.set(cosigned_at)
        self._limit.set(limit)

    def ends(self, at: Mapping[str, datetime]) -> None:
        """Record when each of `ENDINGS` comes; one that has no end is not shown."""
        for what in ENDINGS:
            if what in at:
                self._ends.labels(what).set(at[what].timestamp())
            else:
                _hide(self._ends, what)


def _hide(gauge: Gauge, *labels: str) -> None:
    with contextlib.suppress(KeyError):  # it was not shown
        gauge.remove(*labels)
