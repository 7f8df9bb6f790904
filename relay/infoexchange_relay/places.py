"""Places: room in memory that callers hold for a while; those who are slow make way when others wait.

Who has least is served first: so a few parties that ask for everything hold up themselves, and nobody else for longer
than one of their places is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from weakref import WeakKeyDictionary

from infoexchange.errors import ExchangeError, Reason, error

# Implementation constants
_LOOK = 1.0  # seconds between two looks at who holds a place for long, while somebody waits
_SLOW = error(Reason.UNAVAILABLE, field="relay", detail="it took too long while others waited; nothing was lost")

_ended: WeakKeyDictionary[asyncio.Task[object], ExchangeError] = WeakKeyDictionary()


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
        self._own: Counter[str] = Counter()  # units by party
        self._waiting: dict[str, deque[_Place]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, party: str, size: int = 1) -> AsyncIterator[None]:
        """Hold units of room, as soon as there are that many; what needs more than there is has it alone."""
        place = _Place(party, size)
        self._waiting.setdefault(party, deque()).append(place)
        self._admit()
        try:
            while not place.taken.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):
                        await place.taken.wait()
                if not place.taken.is_set():
                    self._cut_slow(place)
            yield
        finally:
            self._give_back(place)
            self._admit()

    def _admit(self) -> None:
        """Give places to those who wait, to the party that has least first."""
        while place := self._next():
            self._leave(place)
            self._held[place] = None
            self._own[place.party] += place.size
            place.begin()

    def _next(self) -> _Place | None:
        for party in sorted(self._waiting, key=self._own.__getitem__):
            if self._fits(self._waiting[party][0]):
                return self._waiting[party][0]
        return None

    def _give_back(self, place: _Place) -> None:
        if place not in self._held:
            self._leave(place)
            return
        del self._held[place]
        self._own[place.party] -= place.size
        if not self._own[place.party]:
            del self._own[place.party]

    def _leave(self, place: _Place) -> None:
        queue = self._waiting[place.party]
        queue.remove(place)
        if not queue:
            del self._waiting[place.party]

    def _fits(self, place: _Place) -> bool:
        own, every = self._own[place.party], self._own.total()
        return (not own or own + place.size <= self._party_max) and (not every or every + place.size <= self._total)

    def _cut_slow(self, waiting: _Place) -> None:
        """End the slowest call that is in the way: one of the party's own if its share is used up."""
        own = [place for place in self._held if place.party == waiting.party]
        full = self._own[waiting.party] + waiting.size > self._party_max
        for place in (own if own and full else list(self._held))[:1]:
            if place.loop.time() - place.since > self._seconds and place.task:
                cut_off(place.task, _SLOW)


class _Place:
    """What one call holds, or waits for."""

    def __init__(self, party: str, size: int) -> None:
        self.party = party
        self.size = size
        self.loop = asyncio.get_running_loop()
        self.since = self.loop.time()
        self.task = asyncio.current_task()
        self.taken = asyncio.Event()

    def begin(self) -> None:
        self.since = self.loop.time()
        self.taken.set()


def cut_off(task: asyncio.Task[object], problem: ExchangeError) -> None:
    """End a call wherever it is; without `told` its caller would wait for ever, for grpc.aio sends nothing then."""
    _ended[task] = problem
    task.cancel()


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raise the error with which the running call was cut off."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        problem = _ended.pop(task, None) if task else None
        if task is None or problem is None:
            raise  # the caller has gone
        task.uncancel()
        raise problem from None
