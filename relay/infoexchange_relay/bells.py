"""Bells: who waits at this node for something to arrive, and is woken by what is committed here or elsewhere."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Iterable, Iterator

from infoexchange_relay.nodes import Ring


class Bell:
    """Rings when something starts or stops waiting for one party.

    Attributes:
        sent: Positions by digest of what was handed out and still waits; what stops waiting leaves by itself.
        ended: Whether the relay is stopping.
    """

    def __init__(self) -> None:
        """Make a bell that is silent."""
        self.sent: dict[bytes, int] = {}
        self.ended = False
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever listens."""
        self._event.set()

    def again(self, digest: bytes) -> None:
        """Let something be handed out that could not be before."""
        self.sent.pop(digest, None)
        self.ring()

    async def heard(self, seconds: float | None = None) -> bool:
        """Wait for a ring since the last call; return whether there was one in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
            self._event.clear()
            return True
        return False


class Bells:
    """All bells of one node."""

    def __init__(self) -> None:
        """Begin with none."""
        self._bells: dict[str, set[Bell]] = collections.defaultdict(set)

    @contextlib.contextmanager
    def lend(self, party: str, *, ended: bool = False) -> Iterator[Bell]:
        """Lend a bell that rings for one party; of a relay that is stopping, with `ended`, it is of no use."""
        bell = Bell()
        bell.ended = ended
        self._bells[party].add(bell)
        try:
            yield bell
        finally:
            self._bells[party].discard(bell)
            if not self._bells[party]:
                del self._bells[party]

    def ring(self, rings: Iterable[Ring]) -> int:
        """Wake parties, and return how many bells rang; what one stopped waiting for is not under way to it."""
        count = 0
        for party, digest in rings:
            for bell in self._bells.get(party, ()):
                bell.sent.pop(digest, None)
                bell.ring()
                count += 1
        return count

    def ring_all(self) -> None:
        """Wake everybody: something may have been missed."""
        self.ring([(party, b"") for party in self._bells])

    def end(self) -> None:
        """Tell everybody that the relay is stopping."""
        for bell in [bell for bells in self._bells.values() for bell in bells]:
            bell.ended = True
            bell.ring()
