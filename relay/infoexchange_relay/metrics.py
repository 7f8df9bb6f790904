"""Metrics: what Prometheus may ask a relay; labels come from closed sets, so nobody can make series without end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from infoexchange.errors import Reason

_PREFIX = "infoexchange_relay"
_OTHER = "other"
# From one fsync on a good disk to a disk that is in trouble.
_COMMIT_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The counters of one relay, in a registry of its own, so that two relays in one process do not mix."""

    def __init__(self, peers: Iterable[str] = ()) -> None:
        """Start at zero; `peers` are the relays of the directory, and every other name counts as `other`."""
        self.registry = CollectorRegistry()
        self._peers = frozenset(peers)
        self._accepted = self._counter("envelopes_accepted", "Envelopes taken, durable and logged.")
        self._refused = self._counter("envelopes_refused", "Envelopes and notices refused.", "reason")
        self._forwarded = self._counter("envelopes_forwarded", "Envelopes that another relay has taken.", "peer")
        self._delivered = self._counter("envelopes_delivered", "Envelopes that an agency has taken.")
        self._wakes = self._counter("queue_wakes", "Times that a waiting reader was woken.")
        self._commit = Histogram(
            f"{_PREFIX}_commit_seconds",
            "Time from the start of a batch to its signed checkpoint.",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self._log_size = Gauge(f"{_PREFIX}_log_entries", "Entries in the audit log.", registry=self.registry)
        self._uncosigned = Gauge(
            f"{_PREFIX}_uncosigned_seconds",
            "Age of the oldest log entry that no quorum of witnesses has cosigned.",
            registry=self.registry,
        )
        self._timestamped = Gauge(
            f"{_PREFIX}_timestamped_entries",
            "Entries under the newest checkpoint that a time authority has stamped since the relay started.",
            registry=self.registry,
        )
        self._untimed = self._counter("timestamps_failed", "Attempts to have a checkpoint stamped that failed.")
        for reason in Reason:
            self._refused.labels(reason.word)  # shown as zero before the first
        self.know(self._peers)

    def know(self, peers: Iterable[str]) -> None:
        """Count for the relays of another directory version by name too; those before stay."""
        self._peers |= frozenset(peers)
        for peer in self._peers:
            self._forwarded.labels(peer)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", what, labels, registry=self.registry)

    def accepted(self, count: int = 1) -> None:
        """Count accepted envelopes."""
        self._accepted.inc(count)

    def refused(self, reason: Reason, count: int = 1) -> None:
        """Count refused items by reason."""
        self._refused.labels(reason.word).inc(count)

    def forwarded(self, peer: str, count: int = 1) -> None:
        """Count envelopes that a peer has taken."""
        self._forwarded.labels(peer if peer in self._peers else _OTHER).inc(count)

    def delivered(self, count: int = 1) -> None:
        """Count envelopes that agencies have taken."""
        self._delivered.inc(count)

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

    def render(self) -> bytes:
        """Return all values in the Prometheus text format."""
        return generate_latest(self.registry)

    def export(self, listen: str) -> Callable[[], None]:
        """Answer Prometheus from a thread of its own; return the function that ends this.

        Args:
            listen: `host:port`, in the form that the configuration has checked.

        Raises:
            OSError: The port is taken.
        """
        host, _, port = listen.rpartition(":")
        server, thread = start_http_server(int(port), host.strip("[]"), registry=self.registry)

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end
