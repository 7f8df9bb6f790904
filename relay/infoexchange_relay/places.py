"""Places: room in memory that callers hold for a while; those who are slow make way when others wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

# Implementation constants
_LOOK = 1.0  # seconds between two looks at who holds a place for long, while somebody waits


class Places:
    """So many units of room for everybody, and so many for one party."""

    def __init__(self, total: int, party_max: int, seconds: float) -> None:
        """Begin with all of it free.

        Args:
            total: Units for everybody.
            party_max: Units for one party.
            seconds: How long a place is safe; after that its holder is cut off if another waits for it.
        """
        self._total = total
        self._party_max = party_max
        self._seconds = seconds
        self._held: dict[_Place, None] = {}  # the longest held first
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def hold(self, party: str, size: int = 1) -> AsyncIterator[None]:
        """Hold units of room, as soon as there are that many; what needs more than there is has it alone."""
        async with self._changed:
            while not self._fits(party, size):
                self._cut_slow(party, size)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):
                        await self._changed.wait()
        place = _Place(party, size)
        self._held[place] = None
        try:
            yield
        finally:
            del self._held[place]
            async with self._changed:
                self._changed.notify_all()

    def _fits(self, party: str, size: int) -> bool:
        own = [place.size for place in self._held if place.party == party]
        every = sum(place.size for place in self._held)
        return (not own or sum(own) + size <= self._party_max) and (not every or every + size <= self._total)

    def _cut_slow(self, party: str, size: int) -> None:
        """End the slowest call that is in the way: one of the party's own if its share is used up."""
        own = [place for place in self._held if place.party == party]
        in_the_way = own if own and sum(place.size for place in own) + size > self._party_max else list(self._held)
        for place in in_the_way[:1]:
            if place.loop.time() - place.since > self._seconds and place.task:
                place.task.cancel()


class _Place:
    """What one call holds."""

    def __init__(self, party: str, size: int) -> None:
        self.party = party
        self.size = size
        self.loop = asyncio.get_running_loop()
        self.since = self.loop.time()
        self.task = asyncio.current_task()
