"""Renewal: takes newer directory versions while the relay runs, from its file, from any caller and from the peers.

A version proves itself, so it does not matter who brings it. It is verified, logged, and in force for whatever is
decided afterwards; calls under way are answered under the version before. What is refused is one line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.home.files import read_file
from infoexchange.home.held import put_fork
from infoexchange.listing import DIRECTORY_SIZE_MAX
from infoexchange.ports import Result
from infoexchange.states import Event
from infoexchange_relay.batching import Batching
from infoexchange_relay.neighbours import Neighbours

# Implementation constants
_LOOK_SECONDS = 10.0  # between two looks at the file; SIGHUP makes one at once
_ASK_SECONDS = 60.0  # between two questions to a peer, so that a version goes round a region within minutes

_FILE, _NODE = "file", "node"
_log = structlog.get_logger()


class Renewal:
    """Keeps a relay's directory up to date."""

    def __init__(self, batching: Batching, neighbours: Neighbours, file: Path, kept: Path) -> None:
        """Hold what a new version changes.

        Args:
            batching: The way to the log, and the node behind it.
            neighbours: Renewed with the directory.
            file: Where the operator puts new versions.
            kept: Folder in which second histories are kept as evidence.
        """
        self._batching = batching
        self._node = batching.node
        self._neighbours = neighbours
        self._file = file
        self._kept = kept
        self._seen: tuple[int, ...] | None = None
        self._sources: set[str] = set()  # of what is being taken
        self._told: set[tuple[str, Reason]] = set()  # refusals that the log has, since the last adoption
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._taking: set[asyncio.Task[Result]] = set()
        self.check: Callable[[Directory], None] = lambda directory: None
        """Says, by raising, what is wrong with this relay under a version; it is logged, and changes nothing."""

    def start(self) -> None:
        """Begin to look at the file and to ask the peers, in the running loop."""
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._ask())]

    async def close(self) -> None:
        """End both; what is being taken is finished."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._taking, return_exceptions=True)

    def look_now(self) -> None:
        """Look at the file at once."""
        self._seen = None
        self._wake.set()

    async def take(self, raw: bytes, source: str) -> Result:
        """Return the receipt of a version that is in force now, be it new or not, or why it is not taken.

        Args:
            raw: Signed directory.
            source: Who brought it, for the log; nobody may have two looked at together, which would hold up others.
        """
        if source in self._sources:
            detail = "another version from the same caller is being looked at"
            return error(Reason.OVERLOADED, field="directory", detail=detail)
        self._sources.add(source)
        # A caller that goes away must not stop this between the log and the rules.
        task = asyncio.create_task(self._take(raw, source))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)
        task.add_done_callback(lambda _: self._sources.discard(source))
        return await asyncio.shield(task)

    async def _take(self, raw: bytes, source: str) -> Result:
        async with self._lock:  # versions follow one another
            before = self._node.directory
            decide = partial(self._node.decide_directory, raw)
            try:
                newer = await self._batching.read(partial(before.succeed, raw))
                if newer is before:
                    return (await self._batching.settle([decide], len(raw)))[0]
                result = await self._batching.settle_alone(decide, partial(self._node.adopt, newer))
                if isinstance(result, ExchangeError):
                    raise result
            except ExchangeError as problem:
                await self._refused(problem, raw, source)
                return problem
            _log.info("directory_adopted", version=newer.version, digest=newer.digest.hex(), source=source)
            await self._follow(newer)
        return result

    async def _follow(self, directory: Directory) -> None:
        """Let everything beside the rules go on under a version that is in force."""
        self._seen = None  # what was too new in the file may follow now
        self._told.clear()
        try:
            await self._neighbours.renew(directory)
            self.check(directory)
        except ExchangeError as problem:
            _log.error("directory_does_not_fit", version=directory.version, reason=problem.reason.word)

    async def _refused(self, problem: ExchangeError, raw: bytes, source: str) -> None:
        """Log why a version was not taken; keep what proves a second history."""
        told = (source, problem.reason)
        if told in self._told and source != _FILE:
            return  # a peer shows it again every minute, and a caller could fill the log
        self._told.add(told)
        version = self._node.directory.version
        _log.error("directory_refused", reason=problem.reason.word, source=source, version=version)
        if problem.reason is Reason.LOG_FORK:
            with contextlib.suppress(OSError, ExchangeError):
                file = str(await asyncio.to_thread(put_fork, self._kept, raw))
                _log.error("directory_fork_kept", source=source, address=file)

    # The file

    async def _watch(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as bug:  # noqa: BLE001  the relay goes on under the version it has
                _log.error("directory_not_looked_at", reason=type(bug).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    async def _look(self) -> None:
        """Take what stands in the file, if it was written since the last look and was not in force before."""
        mark = await asyncio.to_thread(self._mark)
        if mark == self._seen:
            return
        self._seen = mark
        try:
            raw = await asyncio.to_thread(partial(read_file, self._file, next_step="Put the signed directory there."))
            if await self._batching.read(partial(self._was_in_force, raw)):
                return
        except (OSError, ExchangeError) as problem:
            reason = problem.reason.word if isinstance(problem, ExchangeError) else problem.strerror
            _log.error("directory_refused", reason=reason, source=_FILE)
            return
        await self.take(raw, _FILE)
        self._seen = mark

    def _mark(self) -> tuple[int, ...]:
        """Return what changes when the file is written again."""
        try:
            found = os.stat(self._file)
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def _was_in_force(self, raw: bytes) -> bool:
        """Whether a version is in the log: nothing happens when an older copy stays in its place."""
        digest = _digest(raw)
        return any(_digest(logged) == digest for logged in self._node.store.exhibits(Event.DIRECTORY_VERSION))

    # The other nodes of this relay

    async def follow(self) -> None:
        """Take what another node has logged."""
        if await self._batching.read(partial(self._node.store.latest, Event.DIRECTORY_VERSION)) == (
            self._node.directory_place
        ):
            return
        for raw in await self._batching.read(self._after_own):
            await self.take(raw, _NODE)

    def _after_own(self) -> list[bytes]:
        logged = list(self._node.store.exhibits(Event.DIRECTORY_VERSION))
        digests = [_digest(raw) for raw in logged]
        own = self._node.directory.digest
        return logged[digests.index(own) + 1 :] if own in digests else []

    # The peers

    async def _ask(self) -> None:
        while True:
            await asyncio.sleep(_ASK_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311  spreads questions
            try:
                # The peer's copy of the version in force is asked for too: another one would be a second history.
                peer, raws = await self._neighbours.peers.directories(self._node.directory.version - 1)
                for raw in raws:
                    same = _digest(raw) == self._node.directory.digest
                    if not same and isinstance(await self.take(raw, peer), ExchangeError):
                        break
            except UnavailableError:
                continue  # another one is asked next time
            except Exception as problem:  # noqa: BLE001  a peer may answer anything
                reason = problem.reason.word if isinstance(problem, ExchangeError) else type(problem).__name__
                _log.warning("directories_not_learnt", reason=reason)


def _digest(raw: bytes) -> bytes:
    return Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX).digest
