"""Quotas: how much of a relay one party may use, so that none can use up another's share.

A share fills evenly up to what a minute gives, and everything handed over is taken out of it. What is refused for want
of a share was not looked at: it costs the relay next to nothing, and its sender keeps it and tries again.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infoexchange.errors import Reason, error
from infoexchange.listing import Party, Role

# Implementation constants
_MINUTE = 60.0
PEER = 16  # times an agency's share: a peer brings what all agencies of its nation send
_PARTIES_MAX = 4096  # shares remembered, as many as a directory has parties; a full one need not be


@dataclass(frozen=True)
class Share:
    """What one agency may use; another relay may use sixteen times that.

    Attributes:
        messages: Envelopes, bundles, and notices that are refused, in a minute.
        size: Bytes of these in a minute.
        calls: Calls under way at once, streams that are followed among them.
        connections: Connections with calls under way at once.
    """

    messages: int = 30_000
    size: int = 512 * 1024 * 1024
    calls: int = 64
    connections: int = 16


class Quotas:
    """What each party has used lately."""

    def __init__(self, share: Share, clock: Callable[[], float]) -> None:
        """Begin with everybody's share untouched; `clock` gives seconds that never go back."""
        self._share = share
        self._clock = clock
        self._messages: dict[str, _Bucket] = {}
        self._bytes: dict[str, _Bucket] = {}
        self._calls: dict[str, collections.Counter[str]] = {}

    def check(self, party: Party) -> None:
        """Return if a party has some of its share left, or raise `OVERLOADED`."""
        self.take(party, 0, 0)

    def take(self, party: Party, messages: int, size: int) -> None:
        """Take messages and their bytes out of a party's share, or raise `OVERLOADED` and take nothing."""
        times = PEER if party.role is Role.RELAY else 1
        wanted = (
            (self._bucket(self._messages, party.name, self._share.messages * times), messages, "messages"),
            (self._bucket(self._bytes, party.name, self._share.size * times), size, "bytes"),
        )
        for bucket, amount, what in wanted:
            seconds = bucket.seconds_to(amount)
            if seconds > 0:
                detail = f"{party.name} has used up its {what} of this minute; some are free in {seconds:.0f} s"
                raise error(Reason.OVERLOADED, field="quota", detail=detail)
        for bucket, amount, _ in wanted:
            bucket.level -= amount

    def charge(self, party: Party, messages: int) -> None:
        """Take out of a party's share what turned out to be worth nothing, also if it has not that much."""
        times = PEER if party.role is Role.RELAY else 1
        self._bucket(self._messages, party.name, self._share.messages * times).level -= messages

    def _bucket(self, buckets: dict[str, _Bucket], name: str, capacity: int) -> _Bucket:
        now = self._clock()
        if name not in buckets and len(buckets) >= _PARTIES_MAX:
            for other in [other for other, bucket in buckets.items() if bucket.filled(now)]:
                del buckets[other]
        bucket = buckets.setdefault(name, _Bucket(capacity, now))
        bucket.filled(now)
        return bucket

    @contextlib.contextmanager
    def call(self, name: str, connection: str, times: int = 1) -> Iterator[None]:
        """Count a call for as long as it lasts, or raise `OVERLOADED`.

        Args:
            name: Whose it is.
            connection: Names the connection.
            times: How many times an agency's share there is.
        """
        under_way = self._calls.setdefault(name, collections.Counter())
        if under_way.total() >= self._share.calls * times:
            raise error(Reason.OVERLOADED, field="quota", detail=f"{under_way.total()} calls are under way already")
        if connection not in under_way and len(under_way) >= self._share.connections * times:
            raise error(Reason.OVERLOADED, field="quota", detail=f"{len(under_way)} connections are in use already")
        under_way[connection] += 1
        try:
            yield
        finally:
            under_way[connection] -= 1
            if not under_way[connection]:
                del under_way[connection]
            if not under_way:
                self._calls.pop(name, None)


class _Bucket:
    """A share that fills evenly."""

    def __init__(self, capacity: int, now: float) -> None:
        self._capacity = capacity
        self._at = now
        self.level: float = capacity

    def filled(self, now: float) -> bool:
        """Fill it up to a time; return whether nothing is missing."""
        self.level = min(self._capacity, self.level + (now - self._at) * self._capacity / _MINUTE)
        self._at = now
        return self.level >= self._capacity

    def seconds_to(self, amount: int) -> float:
        """Return after how many seconds there is enough; what is more than all of it needs a full one."""
        return (min(amount, self._capacity) - self.level) * _MINUTE / self._capacity
