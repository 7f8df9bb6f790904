"""Store: a relay's durable memory, and the latch that is kept apart from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from infoexchange.audit import Entry
from infoexchange.bundle import KeyBundle
from infoexchange.chunks import Blob, Needs
from infoexchange.errors import ExchangeError
from infoexchange.ports.relay import BATCH_BYTES_MAX
from infoexchange.states import Event, Precedence
from infoexchange.tlog import Checkpoint


class Parcel(Protocol):
    """What can wait for a party: an envelope, or a recall order on its way to a peer."""

    @property
    def raw(self) -> bytes:
        """Its bytes."""

    @property
    def precedence(self) -> Precedence:
        """A higher one overtakes a lower one."""

    @property
    def expires_at(self) -> datetime:
        """When nobody waits for it any more."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One log entry and what it changes in the queues.

    Attributes:
        entry: What is logged.
        digest: Envelope or document the event is about.
        party: Recipient or peer relay concerned; empty for the envelope as a whole. What a party may do several times
            has the party's name, a space and a number.
        event: With digest and party the key of idempotence.
        claim: If set, may belong to one digest only; another digest gives `REPLAYED`.
        excludes: Events that must not be logged for the same digest and party; one that is gives `REPLAYED`.
        requires: Events that must be logged for the same digest and party; one that is not gives `NOT_PERMITTED`.
        envelope: Kept until nobody waits for it.
        waits: Name of what waits, where that is not the envelope that `digest` names.
        starts: Parties that start waiting for it.
        stops: Parties that stop waiting for it.
        exhibit: The event's own document: a peer's receipt, a statement, a directory.
        bundle: A bundle to be found by owner and digest from now on.
        blobs: Attachments that everybody in `starts` needs until its part ends: by a final event or FORWARDED for it,
            or with the time of the envelope.
    """

    entry: Entry
    digest: bytes
    party: str
    event: Event
    claim: bytes = b""
    excludes: tuple[Event, ...] = ()
    requires: tuple[Event, ...] = ()
    envelope: Parcel | None = None
    waits: bytes = b""
    starts: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    exhibit: bytes = field(default=b"", repr=False)
    bundle: KeyBundle | None = None
    blobs: tuple[Blob, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether the party, or everybody if none is named, needs the envelope's attachments no longer."""
        return self.event.final or self.event is Event.FORWARDED

    @property
    def parcel(self) -> bytes:
        """Name of what parties start or stop waiting for."""
        return self.waits or self.digest


@dataclass(frozen=True)
class Head:
    """The log that grows: size and root of its tree, and how many entries the closed logs before it hold together."""

    size: int
    root: bytes
    base: int = 0

    @property
    def end(self) -> int:
        """Entries of all logs together: the place of the next one."""
        return self.base + self.size


@dataclass(frozen=True)
class ClosedLog:
    """A log to which nothing is added any more.

    Attributes:
        base: Place of its first entry.
        checkpoint: Its last checkpoint, cosigned as far as that is known.
    """

    base: int
    checkpoint: Checkpoint

    @property
    def end(self) -> int:
        """The place behind its last entry."""
        return self.base + self.checkpoint.size


@dataclass(frozen=True)
class Record:
    """A stored entry with its place and its document; of an exported log the place is that in it."""

    index: int
    entry: Entry
    event: Event
    party: str
    exhibit: bytes = field(default=b"", repr=False)

    @property
    def erased(self) -> bool:
        """Whether groups, salts and document are gone; the leaf stays."""
        return not any(self.entry.salts)


@dataclass(frozen=True)
class Waiting:
    """An envelope or order that waits for a party.

    Attributes:
        position: Names the place in the queue.
        party: Who waits, or the name of the queue.
        digest: Of what waits. Of what is damaged: the digest of the envelope it is or is about, as the log has it;
            nothing if the log's entry is damaged as well.
        raw: Its bytes; nothing where they are not what was written.
        remains: Of what is damaged, what was read in place of the bytes: for the operator, and for nobody else.
    """

    position: int
    party: str
    digest: bytes
    raw: bytes = field(repr=False)
    remains: bytes = field(default=b"", repr=False)

    @property
    def damaged(self) -> bool:
        """Whether there is nothing that could be handed on."""
        return not self.raw


@dataclass(frozen=True)
class Queue:
    """How much waits for a party at one precedence; `oldest` is the place of the entry that brought the oldest."""

    party: str
    precedence: Precedence
    count: int
    oldest: int


class Store(Protocol):
    """A relay's durable memory: the log, its tiles, the envelopes on the way and the queues.

    `append` is one transaction: all or nothing, durable on return, idempotent by (digest, party, event) whoever races;
    a repeat returns the first index and changes nothing. Indices are given inside the transaction, so that duplicates
    leave no gap. Leaves, tiles, size and root move together (`tlog.tiles.extend` computes, the store saves). A store
    holds one log after the other: places run on through all of them, each has a tree of its own. Every row of content
    carries its SHA-256, checked on every read; a damaged row raises, it is never skipped. One that waits in a queue is
    given as damaged, because it must not hold up what waits behind it. A full disk raises
    `OVERLOADED` and changes nothing; any other I/O error raises `LOG_STOPPED`, after which `append` refuses until the
    process starts again.
    """

    def head(self) -> Head:
        """Return size and root, in constant time."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep every other node of the relay from writing for as long as the block lasts.

        Raises:
            UnavailableError: `UNAVAILABLE` when another one holds on to it.
        """

    def append(self, changes: Sequence[Change]) -> Sequence[int | ExchangeError]:
        """Make the changes durable; return one index, `REPLAYED` or `NOT_PERMITTED`, each."""

    def tiles(self, names: Sequence[tuple[int, int]], base: int | None = None) -> Sequence[bytes]:
        """Return stored tiles by (level, n) of the log that grows, or of the closed one that begins at `base`."""

    def closed(self) -> Sequence[ClosedLog]:
        """Return every closed log, the oldest first."""

    def close_log(self, checkpoint: Checkpoint) -> None:
        """Close the log that grows, durably; `checkpoint` is of all of it. The next one begins empty.

        Raises as `append`; ValueError for a checkpoint of anything else.
        """

    def cosign_closed(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint of a closed log, which says the same and has more cosignatures; raises as `append`."""

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaf bytes in order, fewer at the end."""

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked."""

    def history(self, digest: bytes) -> Sequence[int]:
        """Return the indices of all events of an envelope or document, ascending."""

    def waiting(
        self, party: str, *, limit: int, skip: Collection[int] = (), least: Precedence = Precedence.ROUTINE
    ) -> Sequence[Waiting]:
        """Return what waits for a party: precedence first, then arrival; positions in `skip` left out.

        At most `limit` envelopes, and no more once they hold 4 MiB together, so that memory is bounded whatever waits.
        """

    def queues(self) -> Sequence[Queue]:
        """Return every queue in which something waits, by party and precedence.

        The time that takes grows with what waits, so this is for watching, and not for every message.
        """

    def envelope(self, digest: bytes) -> bytes | None:
        """Return an envelope that somebody waits for."""

    def expired(self, now: datetime, *, limit: int) -> Sequence[Waiting]:
        """Return what still waits although its time has run out."""

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return bundles by owner, newest epoch first for each."""

    def bundle(self, digest: bytes) -> KeyBundle | None:
        """Return one bundle by digest."""

    def erasable(self, start: int, end: int, *, limit: int) -> Sequence[int]:
        """Return places from `start` to before `end` whose records can be erased and are not yet, ascending.

        They are of messages all of whose entries stand before `end`, and that nobody waits for.
        """

    def erase(self, indices: Sequence[int]) -> None:
        """Delete groups, salts, parties and documents of entries, durably; leaves, tiles and digests stay.

        What is erased already stays so. Raises as `append`.
        """

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return the documents of every entry of one event, in log order."""

    def latest(self, event: Event) -> int:
        """Return the place of the newest entry of one event that has a document; -1 if there is none."""

    @property
    def needs(self) -> Needs:
        """Who needs which attachment; `append` writes it."""


class Latch(Protocol):
    """The last signed checkpoint, outside the store's data and its backup; it moves one way."""

    def read(self) -> bytes:
        """Return the signed note, or nothing before the first."""

    def replace(self, old: bytes, new: bytes) -> None:
        """Put `new` in the place of `old`, durably; raise `LOG_FORK` if something else stands there."""


def within_batch(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Return the first of some waiting envelopes, at least one, that hold no more than a batch together."""
    taken: list[Waiting] = []
    size = 0
    for item in waiting:
        size += len(item.raw)
        if taken and size > BATCH_BYTES_MAX:
            break
        taken.append(item)
    return taken
