"""Traces: what a relay tells of each hop of an envelope; nothing at all, unless the operator names a collector.

This module is what everybody else uses; `otel` sends it, and is imported where a collector is named only.
"""

from __future__ import annotations

from collections.abc import Iterable

from infoexchange.errors import Reason
from infoexchange.ports import Change


class Traces:
    """Traces of a relay that has none; also what those with a collector offer.

    Attributes:
        on: Whether anybody looks at what is told.
    """

    on = False

    def committed(self, seconds: float, changes: Iterable[tuple[int, Change]]) -> None:
        """Tell of a batch that is durable now.

        Args:
            seconds: How long the commit took.
            changes: What it changed, each with when the relay got it, in nanoseconds since 1970.
        """

    def forwarded(self, peer: str, began: int, results: Iterable[tuple[bytes, Reason | None]]) -> None:
        """Tell of a call that handed envelopes to a peer, just now answered.

        Args:
            peer: The relay.
            began: When the call began, in nanoseconds since 1970.
            results: Digests, each with why the peer has not taken it, if so.
        """

    def close(self) -> None:
        """Send what waits, for some seconds at most; it blocks."""
