"""Memory: store, latch and spool that keep the contracts of their ports without a disk.

They are implementations, not stand-ins: the same contract tests run over them and over the durable ones.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import (
    Change,
    ClosedLog,
    Head,
    Parcel,
    Queue,
    Record,
    Waiting,
    within_batch,
)
from infoexchange.record import ShownEntry
from infoexchange.states import Event, Precedence
from infoexchange.testing.depot import MemoryNeeds
from infoexchange.tlog import Checkpoint, merkle, tiles


@dataclass(frozen=True)
class _Memory:
    """Everything a store knows at one moment; a batch works on a copy, so that it happens whole or not at all."""

    head: Head = field(default_factory=lambda: Head(0, merkle.root([])))
    queued: int = 0
    records: tuple[Record, ...] = ()
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    closed: tuple[ClosedLog, ...] = ()
    closed_tiles: dict[int, dict[tuple[int, int], bytes]] = field(default_factory=dict)
    keys: dict[tuple[bytes, str, Event], int] = field(default_factory=dict)
    claims: dict[bytes, bytes] = field(default_factory=dict)
    envelopes: dict[bytes, Parcel] = field(default_factory=dict)
    about: dict[bytes, bytes] = field(default_factory=dict)  # of which message a parcel is
    brought: dict[bytes, int] = field(default_factory=dict)  # which entry brought a parcel
    queue: dict[tuple[bytes, str], int] = field(default_factory=dict)
    bundles: dict[bytes, KeyBundle] = field(default_factory=dict)

    def waiting(self, key: tuple[bytes, str]) -> Waiting:
        """Return one place of the queue as the port gives it."""
        digest, party = key
        return Waiting(self.queue[key], party, digest, self.envelopes[digest].raw)


class MemoryStore:
    """A `Store` that lasts as long as its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = _Memory()
        self.needs = MemoryNeeds()

    def head(self) -> Head:
        """Return size and root."""
        return self._now.head

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep nobody out: another node would have a memory of its own."""
        return contextlib.nullcontext()

    def append(self, changes: Sequence[Change]) -> Sequence[int | ExchangeError]:
        """Make the changes; return one index, or `REPLAYED`, each."""
        with self._lock:
            now = self._now
            batch = _Batch(now)
            results = [batch.take(change) for change in changes]
            self._now = batch.done()
            self.needs.follow(batch.changes)
            return results

    def tiles(self, names: Sequence[tuple[int, int]], base: int | None = None) -> Sequence[bytes]:
        """Return stored tiles by (level, n) of one log."""
        now = self._now
        found = now.tiles if base is None or base == now.head.base else now.closed_tiles[base]
        for level, n in names:
            if (level, n) not in found:
                raise error(Reason.BAD_FIELD, field="tile", detail=f"no tile {level}/{n} in the tree")
        return [found[name] for name in names]

    def closed(self) -> Sequence[ClosedLog]:
        """Return every closed log, the oldest first."""
        return self._now.closed

    def close_log(self, checkpoint: Checkpoint) -> None:
        """Close the log that grows; the next one begins empty."""
        with self._lock:
            now, head = self._now, self._now.head
            if not checkpoint.size or (checkpoint.size, checkpoint.root) != (head.size, head.root):
                raise ValueError("not a checkpoint of the whole log")
            self._now = replace(
                now,
                head=Head(0, merkle.EMPTY_ROOT, head.end),
                tiles={},
                closed=(*now.closed, ClosedLog(head.base, checkpoint)),
                closed_tiles={**now.closed_tiles, head.base: now.tiles},
            )

    def cosign_closed(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint of a closed log with more cosignatures."""
        with self._lock:
            logs = [
                ClosedLog(log.base, checkpoint) if log.checkpoint.note.text == checkpoint.note.text else log
                for log in self._now.closed
            ]
            if all(log.checkpoint is not checkpoint for log in logs):
                raise ValueError("not the last checkpoint of a closed log")
            self._now = replace(self._now, closed=tuple(logs))

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaf bytes in order, fewer at the end."""
        return [record.entry.leaf for record in self._now.records[start : start + count]]

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked."""
        now = self._now
        for index in indices:
            if not 0 <= index < now.head.end:
                raise error(Reason.BAD_FIELD, field="index", detail=f"no entry {index} in a log of {now.head.end}")
        return [now.records[index] for index in indices]

    def history(self, digest: bytes) -> Sequence[int]:
        """Return the indices of all events of an envelope or document, ascending."""
        return [index for (about, _, _), index in self._now.keys.items() if about == digest]

    def waiting(
        self, party: str, *, limit: int, skip: Collection[int] = (), least: Precedence = Precedence.ROUTINE
    ) -> Sequence[Waiting]:
        """Return what waits for a party: precedence first, then arrival.

        Positions in `skip` are left out, and what has a lower precedence than `least`.
        """
        now = self._now
        keys = [key for key, position in now.queue.items() if key[1] == party and position not in skip]
        keys = [key for key in keys if now.envelopes[key[0]].precedence >= least]
        keys.sort(key=lambda key: (-now.envelopes[key[0]].precedence, now.queue[key]))
        return within_batch(now.waiting(key) for key in keys[:limit])

    def queues(self) -> Sequence[Queue]:
        """Return every queue in which something waits."""
        now, found = self._now, dict[tuple[str, Precedence], list[int]]()
        for name, party in now.queue:
            found.setdefault((party, now.envelopes[name].precedence), []).append(now.brought[name])
        return [Queue(*key, len(brought), min(brought)) for key, brought in sorted(found.items())]

    def expired(self, now: datetime, *, limit: int) -> Sequence[Waiting]:
        """Return what still waits although its time has run out, longest ago first."""
        memory = self._now
        ends = {key: wire.to_ms(memory.envelopes[key[0]].expires_at) for key in memory.queue}
        keys = [key for key, end in ends.items() if end < wire.to_ms(now)]
        keys.sort(key=lambda key: (ends[key], memory.queue[key]))
        return [memory.waiting(key) for key in keys[:limit]]

    def envelope(self, digest: bytes) -> bytes | None:
        """Return an envelope that somebody waits for."""
        found = self._now.envelopes.get(digest)
        return found.raw if found else None

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return bundles by owner, newest epoch first for each."""
        latest_first = list(reversed(self._now.bundles.values()))
        owned = [[bundle for bundle in latest_first if bundle.owner == name] for name in names]
        return [bundle for mine in owned for bundle in sorted(mine, key=lambda bundle: -bundle.epoch)]

    def bundle(self, digest: bytes) -> KeyBundle | None:
        """Return one bundle by digest."""
        return self._now.bundles.get(digest)

    def erasable(self, start: int, end: int, *, limit: int) -> Sequence[int]:
        """Return places whose records can be erased and are not yet, ascending."""
        now = self._now
        about = {index: digest for (digest, _, _), index in now.keys.items()}
        kept = {digest for index, digest in about.items() if index >= end}
        kept |= {now.about[parcel] for parcel in now.envelopes}
        found = (
            record.index
            for record in now.records[start:end]
            if record.event.of_message and not record.erased and about[record.index] not in kept
        )
        return list(itertools.islice(found, limit))

    def erase(self, indices: Sequence[int]) -> None:
        """Delete groups, salts, parties and documents of entries."""
        with self._lock:
            now, records, keys = self._now, list(self._now.records), dict(self._now.keys)
            names = {index: key for key, index in keys.items()}
            for index in indices:
                digest, _, event = names[index]
                mark = f"erased {index}"
                keys = {key: at for key, at in keys.items() if at != index} | {(digest, mark, event): index}
                entry = ShownEntry(b"", b"", b"", (b"", b"", b""), records[index].entry.leaf)
                records[index] = Record(index, entry, event, mark)
            self._now = replace(now, records=tuple(records), keys=dict(sorted(keys.items(), key=lambda item: item[1])))

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return the documents of every entry of one event, in log order."""
        return [record.exhibit for record in self._now.records if record.event is event and record.exhibit]

    def latest(self, event: Event) -> int:
        """Return the place of the newest entry of one event that has a document; -1 if there is none."""
        found = (record.index for record in self._now.records if record.event is event and record.exhibit)
        return max(found, default=-1)


class _Batch:
    """Changes on their way into a copy of the memory."""

    def __init__(self, before: _Memory) -> None:
        self._before = before
        self._new: list[Record] = []
        self._stopped: set[bytes] = set()
        self._queued = before.queued
        self._keys = dict(before.keys)
        self._claims = dict(before.claims)
        self._envelopes = dict(before.envelopes)
        self._about = dict(before.about)
        self._brought = dict(before.brought)
        self._queue = dict(before.queue)
        self._bundles = dict(before.bundles)
        self.changes: list[Change] = []

    def take(self, change: Change) -> int | ExchangeError:
        """Return the index of a change, or why it is not taken."""
        key = (change.digest, change.party, change.event)
        if key in self._keys:
            return self._keys[key]
        if any((change.digest, change.party, event) in self._keys for event in change.excludes):
            return error(Reason.REPLAYED, field="event", detail=f"{change.party} has ended this in another way before")
        if any((change.digest, change.party, event) not in self._keys for event in change.requires):
            return error(Reason.NOT_PERMITTED, field="event", detail=f"{change.party} has not said what this follows")
        if change.claim and self._claims.setdefault(change.claim, change.digest) != change.digest:
            return error(Reason.REPLAYED, field="claim", detail="the message id belongs to another envelope")
        index = self._keys[key] = self._before.head.end + len(self._new)
        self._new.append(Record(index, change.entry, change.event, change.party, change.exhibit))
        if change.bundle:
            self._bundles.pop(change.bundle.digest, None)  # what is published again becomes the newest
            self._bundles[change.bundle.digest] = change.bundle
        self._move(index, change)
        self.changes.append(change)
        return index

    def _move(self, index: int, change: Change) -> None:
        """Let parties start and stop waiting."""
        name = change.parcel
        if change.envelope and change.starts:
            if name not in self._envelopes:
                self._brought[name] = index
            self._envelopes.setdefault(name, change.envelope)
            self._about[name] = change.digest
        if change.starts and name not in self._envelopes:
            raise ValueError("parties cannot wait for an envelope that is not stored")
        for party in change.starts:
            self._queued += 1
            self._queue.setdefault((name, party), self._queued)
        for party in change.stops:
            self._queue.pop((name, party), None)
            self._stopped.add(name)

    def done(self) -> _Memory:
        """Return the memory after all changes."""
        for digest in self._stopped - {waited for waited, _ in self._queue}:
            self._envelopes.pop(digest, None)
        before = self._before
        hashes = [record.entry.leaf_hash for record in self._new]
        changed, root = tiles.extend(before.head.size, hashes, lambda level, n: before.tiles[level, n])
        return replace(
            before,
            head=Head(before.head.size + len(hashes), root, before.head.base),
            queued=self._queued,
            records=(*before.records, *self._new),
            tiles={**before.tiles, **changed},
            keys=self._keys,
            claims=self._claims,
            envelopes=self._envelopes,
            about=self._about,
            brought=self._brought,
            queue=self._queue,
            bundles=self._bundles,
        )


class MemoryLatch:
    """A `Latch` that lasts as long as its process."""

    def __init__(self, note: bytes = b"") -> None:
        self._lock = threading.Lock()
        self._note = note

    def read(self) -> bytes:
        """Return the signed note, or nothing before the first."""
        return self._note

    def replace(self, old: bytes, new: bytes) -> None:
        """Put `new` in the place of `old`; raise `LOG_FORK` if something else stands there."""
        if not new:
            raise ValueError("a latch never becomes empty again")
        with self._lock:
            if self._note != old:
                raise error(Reason.LOG_FORK, field="latch", detail="another checkpoint stands in the latch")
            self._note = new
