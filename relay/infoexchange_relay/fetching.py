"""Fetching: one stream on which a party gets what waits for it, highest precedence first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from infoexchange.listing import Party
from infoexchange.node import Job
from infoexchange.states import Precedence
from infoexchange.transport.forms import next_limit
from infoexchange_relay.batching import Batching
from infoexchange_relay.bells import Bell
from infoexchange_relay.outgoing import Handing, Outgoing
from infoexchange_relay.quarantine import Quarantine

# Specification constants
CREDIT = 1024  # envelopes handed out on one stream that the caller has not acknowledged yet

# Implementation constants
_PATIENCE = 10.0  # seconds without an acknowledgement after which a spent stream that does not follow ends
_FIRST = 4  # envelopes in the first frame, of whose size nothing is known yet
_LOOK = 2.0  # seconds between two looks at who follows a quiet mailbox: a revoked party is gone within five


@dataclass
class _Taken:
    """One frame for a reader.

    Attributes:
        frame: Envelopes as the reader may see them.
        places: What is not looked at again for now: it went into the frame, or cannot; positions by digest.
        ended: Decisions about what can never go out.
        faulty: What could not be made ready just now, with the seconds until it is tried again.
        larger: Bytes of the next envelope, if it is larger than a frame and so not in it.
    """

    frame: list[bytes] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)
    ended: list[Callable[[], Job]] = field(default_factory=list)
    faulty: dict[bytes, float] = field(default_factory=dict)
    larger: int = 0

    def give(self) -> list[bytes]:
        """Return the frame and keep none of it: a stream that nobody reads holds it long enough."""
        frame, self.frame = self.frame, []
        return frame


class Fetching:
    """One stream of one caller."""

    def __init__(
        self, batching: Batching, quarantine: Quarantine, outgoing: Outgoing, caller: Callable[[], Party]
    ) -> None:
        """Serve whom `caller` names; it is asked again for every frame, because streams outlive certificates."""
        self._batching = batching
        self._quarantine = quarantine
        self._outgoing = outgoing
        self._caller = caller
        self._least = Precedence.ROUTINE

    async def frames(self, *, follow: bool, least: Precedence) -> AsyncIterator[Sequence[bytes]]:
        """Yield frames of what waits, looking anew for each, so that a FLASH message overtakes what is not out yet.

        Args:
            follow: Whether to go on with what arrives.
            least: What has a lower precedence is left out.
        """
        self._least = least
        name = self._caller().name
        with self._batching.bell(name) as bell, self._outgoing.stream():
            limit = _FIRST
            while not bell.ended:
                room = CREDIT - len(bell.sent)
                taken = await self._take(bell, min(limit, room), self._outgoing.frame) if room > 0 else _Taken()
                if taken.frame:
                    limit = next_limit(taken.frame, self._outgoing.frame)
                    with Handing(self._caller):
                        yield taken.give()
                    continue
                if taken.larger:
                    async with self._outgoing.large.hold(name, taken.larger):
                        taken = await self._take(bell, 1, taken.larger)
                        if taken.frame:  # unless a still larger one has overtaken
                            with Handing(self._caller):
                                yield taken.give()
                    continue
                everything_is_out = room > 0
                if everything_is_out and not follow:
                    return
                if not await self._heard(bell, None if follow else _PATIENCE):
                    return

    async def _heard(self, bell: Bell, seconds: float | None) -> bool:
        """Wait for a ring as `Bell.heard`; who may not be served any more is told so meanwhile."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while end is None or loop.time() < end:
            if await bell.heard(_LOOK if end is None else min(_LOOK, end - loop.time())):
                return True
            self._caller()
        return False

    async def _take(self, bell: Bell, limit: int, size: int) -> _Taken:
        """Return the next envelopes as the caller may see them, and remember that they are out."""
        caller = self._caller()
        skip = tuple(bell.sent.values())
        taken = await self._batching.read(lambda: self._served(caller, limit, skip, size))
        bell.sent |= taken.places
        for digest, seconds in taken.faulty.items():
            asyncio.get_running_loop().call_later(seconds, bell.again, digest)
        if taken.ended:
            await self._quarantine.end(taken.ended)
        if taken.places and not taken.frame and not taken.larger:
            # Nothing of it can be shown to anybody; the next may be all right.
            return await self._take(bell, limit, size) if len(bell.sent) < CREDIT else _Taken()
        return taken

    def _served(self, caller: Party, limit: int, skip: Sequence[int], size: int) -> _Taken:
        """Return what goes out now; in a thread."""
        node = self._batching.node
        node.check_standing(caller)
        taken, length = _Taken(), 0
        for item in node.store.waiting(caller.name, limit=limit, skip=skip, least=self._least):
            raws, ended = self._quarantine.serve(caller, [item])
            length += sum(map(len, raws))
            if raws and length > size:
                taken.larger = 0 if taken.frame else length
                break
            taken.frame += raws
            taken.ended += ended
            digest = item.digest or b"%d" % item.position
            taken.places[digest] = item.position
            if not raws and not ended:
                taken.faulty[digest] = self._quarantine.pause(item)
        return taken
