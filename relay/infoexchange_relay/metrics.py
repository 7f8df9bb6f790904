"""Metrics: what Prometheus may ask a relay; labels come from closed sets, so nobody can make series without end."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from infoexchange.errors import Reason
from infoexchange.states import Event
from infoexchange_relay.gauges import Gauges

_PREFIX = "infoexchange_relay"
_OTHER = "other"
# From one fsync on a good disk to a disk that is in trouble.
_COMMIT_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The counters of one relay, in a registry of its own, so that two relays in one process do not mix.

    Attributes:
        registry: What a scrape shows.
        gauges: What is read from time to time.
    """

    def __init__(self, peers: Iterable[str] = ()) -> None:
        """Start at zero; `peers` are the relays of the directory, and every other name counts as `other`."""
        self.registry = CollectorRegistry()
        self.gauges = Gauges(self.registry)
        self._peers = frozenset(peers)
        self._accepted = self._counter("envelopes_accepted", "Envelopes taken, durable and logged.")
        self._refused = self._counter("envelopes_refused", "Envelopes and notices refused.", "reason")
        self._forwarded = self._counter("envelopes_forwarded", "Envelopes that another relay has taken.", "peer")
        self._unheard = self._counter("calls_refused", "Calls of which nothing was looked at, by reason.", "reason")
        self._store_errors = self._counter("store_errors", "Times that the store could not be used.", "reason")
        self._connected: collections.Counter[str] = collections.Counter()
        self._calls = self._state("calls", "Calls under way, streams among them.")
        self._connections = self._state("connections", "Connections on which a call is under way.")
        self._delivered = self._counter("envelopes_delivered", "Envelopes that an agency has taken.")
        self._ended = self._counter("envelopes_ended", "Ends of an envelope's way to a recipient.", "event")
        for event in Event:
            if event.final:
                self._ended.labels(event.name.lower())
        self._wakes = self._counter("queue_wakes", "Times that a waiting reader was woken.")
        self._commit = Histogram(
            f"{_PREFIX}_commit_seconds",
            "Time from the start of a batch to its signed checkpoint.",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self._circuit = self._state(
            "peer_circuit",
            "Whether a peer counts as away: 0 it is there, 1 it is tried with one thing at a time.",
            "peer",
        )
        self._log_size = self._state("log_entries", "Entries in the audit log.")
        self._uncosigned = self._state(
            "uncosigned_seconds", "Age of the oldest log entry that no quorum of witnesses has cosigned."
        )
        self._timestamped = self._state(
            "timestamped_entries",
            "Entries under the newest checkpoint that a time authority has stamped since the relay started.",
        )
        self._untimed = self._counter("timestamps_failed", "Attempts to have a checkpoint stamped that failed.")
        self._spans_lost = self._counter("spans_lost", "Spans of traces that no collector took.")
        for reason in Reason:
            for counter in (self._refused, self._unheard, self._store_errors):
                counter.labels(reason.word)  # shown as zero before the first
        self.know(self._peers)

    def know(self, peers: Iterable[str]) -> None:
        """Count for the relays of another directory version by name too; those before stay."""
        self._peers |= frozenset(peers)
        for peer in self._peers:
            self._forwarded.labels(peer)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", what, labels, registry=self.registry)

    def _state(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", what, labels, registry=self.registry)

    def accepted(self, count: int = 1) -> None:
        """Count accepted envelopes."""
        self._accepted.inc(count)

    def refused(self, reason: Reason, count: int = 1) -> None:
        """Count refused items by reason."""
        self._refused.labels(reason.word).inc(count)

    def call_refused(self, reason: Reason) -> None:
        """Count a call whose caller may not have it."""
        self._unheard.labels(reason.word).inc()

    def call_began(self, connection: str) -> None:
        """Record a call under way on a connection, until `call_ended`; in the event loop."""
        self._connected[connection] += 1
        self._calls.inc()
        self._connections.set(len(self._connected))

    def call_ended(self, connection: str) -> None:
        """Record the end of a call."""
        self._connected[connection] -= 1
        if not self._connected[connection]:
            del self._connected[connection]
        self._calls.dec()
        self._connections.set(len(self._connected))

    def store_failed(self, reason: Reason) -> None:
        """Count a time that the store could not be used."""
        self._store_errors.labels(reason.word).inc()

    def forwarded(self, peer: str, count: int = 1) -> None:
        """Count envelopes that a peer has taken."""
        self._forwarded.labels(peer if peer in self._peers else _OTHER).inc(count)

    def circuit(self, peer: str, *, is_open: bool) -> None:
        """Record the state of the circuit to a peer."""
        self._circuit.labels(peer if peer in self._peers else _OTHER).set(is_open)

    def delivered(self, count: int = 1) -> None:
        """Count envelopes that agencies have taken."""
        self._delivered.inc(count)

    def ended(self, event: Event) -> None:
        """Count the end of an envelope's way to a recipient."""
        self._ended.labels(event.name.lower()).inc()

    def woken(self, count: int = 1) -> None:
        """Count readers woken because something waits for them."""
        self._wakes.inc(count)

    def committed(self, seconds: float, log_size: int) -> None:
        """Record how long a batch took, and the size of the log after it."""
        self._commit.observe(seconds)
        self._log_size.set(log_size)

    def uncosigned(self, seconds: float) -> None:
        """Record the age of the oldest entry without a quorum."""
        self._uncosigned.set(seconds)

    def timestamped(self, size: int) -> None:
        """Record that a time authority has stamped a checkpoint."""
        self._timestamped.set(size)

    def timestamp_failed(self) -> None:
        """Count an attempt that a time authority did not answer as it should."""
        self._untimed.inc()

    def spans_lost(self, count: int) -> None:
        """Count spans that could not be sent."""
        self._spans_lost.inc(count)

    def render(self) -> bytes:
        """Return all values in the Prometheus text format."""
        return generate_latest(self.registry)
