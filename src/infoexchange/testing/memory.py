"""Memory: store, latch and spool that keep the contracts of their ports without a disk.

They are implementations, not stand-ins: the same contract tests run over them and over the durable ones.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.grant import Grant
from infoexchange.header import LIFETIME_MAX
from infoexchange.ports import (
    Change,
    Head,
    Known,
    Notice,
    Notified,
    Parcel,
    Record,
    Result,
    Seen,
    Sent,
    Standing,
    Waiting,
    within_batch,
)
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing.depot import MemoryNeeds, MemoryStash
from infoexchange.tlog import merkle, tiles


@dataclass(frozen=True)
class _Memory:
    """Everything a store knows at one moment; a batch works on a copy, so that it happens whole or not at all."""

    head: Head = field(default_factory=lambda: Head(0, merkle.root([])))
    queued: int = 0
    records: tuple[Record, ...] = ()
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    keys: dict[tuple[bytes, str, Event], int] = field(default_factory=dict)
    claims: dict[bytes, bytes] = field(default_factory=dict)
    envelopes: dict[bytes, Parcel] = field(default_factory=dict)
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

    def append(self, changes: Sequence[Change]) -> Sequence[int | ExchangeError]:
        """Make the changes; return one index, or `REPLAYED`, each."""
        with self._lock:
            now = self._now
            batch = _Batch(now)
            results = [batch.take(change) for change in changes]
            self._now = batch.done()
            self.needs.follow(batch.changes)
            return results

    def tiles(self, names: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return stored tiles by (level, n)."""
        now = self._now
        for level, n in names:
            if (level, n) not in now.tiles:
                raise error(Reason.BAD_FIELD, field="tile", detail=f"no tile {level}/{n} in a tree of {now.head.size}")
        return [now.tiles[name] for name in names]

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaf bytes in order, fewer at the end."""
        return [record.entry.leaf for record in self._now.records[start : start + count]]

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked."""
        now = self._now
        for index in indices:
            if not 0 <= index < now.head.size:
                raise error(Reason.BAD_FIELD, field="index", detail=f"no entry {index} in a log of {now.head.size}")
        return [now.records[index] for index in indices]

    def history(self, digest: bytes) -> Sequence[int]:
        """Return the indices of all events of an envelope or document, ascending."""
        return [index for (about, _, _), index in self._now.keys.items() if about == digest]

    def waiting(self, party: str, *, limit: int, skip: Collection[int] = ()) -> Sequence[Waiting]:
        """Return what waits for a party: precedence first, then arrival; positions in `skip` left out."""
        now = self._now
        keys = [key for key, position in now.queue.items() if key[1] == party and position not in skip]
        keys.sort(key=lambda key: (-now.envelopes[key[0]].precedence, now.queue[key]))
        return within_batch(now.waiting(key) for key in keys[:limit])

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

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return the documents of every entry of one event, in log order."""
        return [record.exhibit for record in self._now.records if record.event is event and record.exhibit]


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
        index = self._keys[key] = self._before.head.size + len(self._new)
        self._new.append(Record(index, change.entry, change.event, change.party, change.exhibit))
        if change.bundle:
            self._bundles.pop(change.bundle.digest, None)  # what is published again becomes the newest
            self._bundles[change.bundle.digest] = change.bundle
        self._move(change)
        self.changes.append(change)
        return index

    def _move(self, change: Change) -> None:
        """Let parties start and stop waiting."""
        name = change.parcel
        if change.envelope and change.starts:
            self._envelopes.setdefault(name, change.envelope)
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
        return _Memory(
            Head(before.head.size + len(hashes), root),
            self._queued,
            (*before.records, *self._new),
            {**before.tiles, **changed},
            self._keys,
            self._claims,
            self._envelopes,
            self._queue,
            self._bundles,
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


class MemorySpool:
    """A `Spool` that lasts as long as its process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._outbox: dict[bytes, Sent] = {}
        self._sequences: dict[int, bytes] = {}
        self._refusals: dict[bytes, ExchangeError] = {}
        self._inbox: dict[bytes, tuple[bytes, datetime]] = {}
        self._known: dict[bytes, Known] = {}
        self._notices: dict[bytes, Notice] = {}
        self._said: set[bytes] = set()
        self._keks: dict[bytes, Notified] = {}
        self._statements: dict[Notice, None] = {}
        self._grants: dict[bytes, Grant] = {}
        self._origins: dict[bytes, bytes] = {}
        self.stash = MemoryStash()

    def standing(self) -> Standing:
        """Return the newest sequence number used and its envelope digest; 0 and nothing before the first."""
        with self._lock:
            newest = max(self._sequences, default=0)
            return Standing(newest, self._sequences.get(newest, b""))

    def put(self, envelopes: Sequence[Envelope]) -> None:
        """Keep sealed envelopes for sending."""
        with self._lock:
            sequences = dict(self._sequences)
            for envelope in envelopes:
                sequence = envelope.header.sequence
                if sequences.setdefault(sequence, envelope.digest) != envelope.digest:
                    raise error(
                        Reason.RULE_BROKEN,
                        field="header.sequence",
                        detail=f"{sequence} is another envelope's number",
                        next_step="Seal the message again with the next sequence number.",
                    )
            self._sequences = sequences
            for envelope in envelopes:
                self._outbox.setdefault(envelope.digest, Sent(envelope.digest, envelope.raw))

    def unsent(self, limit: int) -> Sequence[Sent]:
        """Return envelopes that have neither receipt nor refusal, oldest first."""
        with self._lock:
            ordered = (self._outbox[digest] for _, digest in sorted(self._sequences.items()))
            waiting = (sent for sent in ordered if not sent.receipt and sent.digest not in self._refusals)
            return list(itertools.islice(waiting, limit))

    def settle(self, results: Sequence[tuple[bytes, Result]]) -> None:
        """Keep the result for each digest; an `UnavailableError` leaves the envelope unsent."""
        with self._lock:
            for digest, result in results:
                sent = self._outbox.get(digest)
                if sent is None or sent.receipt or isinstance(result, UnavailableError):
                    continue
                if isinstance(result, Receipt):
                    self._outbox[digest] = replace(sent, receipt=result.raw)
                else:
                    self._refusals[digest] = result

    def sent(self, digest: bytes) -> Sent | None:
        """Return one envelope of the outbox, whatever its result."""
        return self._outbox.get(digest)

    def begin(self, digest: bytes, claim: bytes, expires_at: datetime, known: Known | None = None) -> Seen:
        """Record that an envelope is about to be handed over, and what to remember; return what was seen before."""
        with self._lock:
            if digest in self._notices:
                return Seen.DONE
            if digest in self._inbox:
                return Seen.BEGUN
            if any(claim == other for other, _ in self._inbox.values()):
                raise error(Reason.REPLAYED, field="header.message_id", detail="another envelope came under this id")
            self._inbox[digest] = (claim, expires_at)
            if known is not None:
                self._known.setdefault(digest, known)
            return Seen.NEW

    def known(self, digest: bytes) -> Known | None:
        """Return what is remembered of a message that came, however long ago."""
        return self._known.get(digest)

    def finish(self, notice: Notice) -> None:
        """Record that the application has it, and keep what is to be said to the relay; a repeat changes nothing."""
        with self._lock:
            self._notices.setdefault(notice.digest, notice)

    def keep(self, notice: Notice) -> None:
        """Keep another signed statement until the relay has it: RECALLED or DESTROYED; a repeat changes nothing."""
        with self._lock:
            self._statements.setdefault(notice)

    def said(self, notices: Sequence[Notice]) -> None:
        """Record that the relay has taken what was said."""
        with self._lock:
            self._said.update(notice.digest for notice in notices if self._notices.get(notice.digest) == notice)
            for notice in notices:
                self._statements.pop(notice, None)

    def unsaid(self, limit: int) -> Sequence[Notice]:
        """Return notices the relay has not taken yet: RECALLED, those of `finish`, then DESTROYED, each in order."""
        with self._lock:
            finished = [notice for digest, notice in self._notices.items() if digest not in self._said]
            orders = [notice for notice in self._statements if notice.state is Event.RECALLED]
            others = [notice for notice in self._statements if notice.state is not Event.RECALLED]
            return [*orders, *finished, *others][:limit]

    def notice(self, digest: bytes) -> Notice | None:
        """Return the notice kept for a finished envelope."""
        return self._notices.get(digest)

    def forget(self, now: datetime) -> int:
        """Drop inbox records whose expiry plus clock skew has passed; what is still unsaid is kept until it is said."""
        with self._lock:
            ended = {digest for digest, (_, expires_at) in self._inbox.items() if expires_at + CLOCK_SKEW < now}
            ended -= self._notices.keys() - self._said
            self._inbox = {digest: seen for digest, seen in self._inbox.items() if digest not in ended}
            for digest in self._said - self._inbox.keys():
                del self._notices[digest]
            self._said &= self._notices.keys()
            needed = now - LIFETIME_MAX - CLOCK_SKEW
            self._keks = {name: kek for name, kek in self._keks.items() if kek.not_after >= needed}
            return len(ended)

    def note_kek(self, notified: Notified) -> None:
        """Keep an envelope that brought an epoch KEK, or replace what was kept under that name."""
        with self._lock:
            self._keks[notified.name] = notified

    def keks(self) -> Sequence[Notified]:
        """Return every epoch KEK kept, the first to end first."""
        with self._lock:
            return sorted(self._keks.values(), key=lambda kek: (kek.not_after, kek.name))

    def keep_grant(self, grant: Grant) -> None:
        """Keep a grant that was given or received; a repeat changes nothing."""
        with self._lock:
            self._grants.setdefault(grant.digest, grant)

    def grants(self, origin: bytes) -> Sequence[Grant]:
        """Return the grants for what an originator's envelope held, the one kept last first."""
        with self._lock:
            return [grant for grant in reversed(self._grants.values()) if grant.terms.origin == origin]

    def keep_origin(self, digest: bytes, origin: bytes) -> None:
        """Keep the Origin bytes sealed in an envelope of the outbox; a repeat changes nothing."""
        with self._lock:
            self._origins.setdefault(digest, origin)

    def origin(self, digest: bytes) -> bytes:
        """Return the Origin bytes kept for an envelope of the outbox; nothing for what was not passed on."""
        return self._origins.get(digest, b"")
