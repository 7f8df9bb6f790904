"""Ports: everything the rules need from the outside world, with the contract each implementation keeps.

Every port works on sequences, because one verification pool, one transaction, one checkpoint signature and one fsync
serve a whole batch; a single envelope is a batch of one. A *result* is a receipt or the error for that item, in item
order; a call raises only when it knows nothing about any item.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from infoexchange.acknowledgement import statement_digest
from infoexchange.audit import Entry
from infoexchange.bundle import KeyBundle
from infoexchange.chunks import Blob, Chunks, Needs, Stash
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError
from infoexchange.grant import Grant
from infoexchange.receipt import Receipt
from infoexchange.states import Event

# Specification constants
BATCH_MAX = 256  # envelopes in one frame or transaction: the size from which larger batches gain nothing
BATCH_BYTES_MAX = 4 * 1024 * 1024  # half of the largest gRPC message

Clock = Callable[[], datetime]
"""Gives the time now, aware, in UTC."""

Result = Receipt | ExchangeError


@dataclass(frozen=True)
class Notice:
    """What became of a fetched envelope: DELIVERED, or OPENED or REFUSED with the recipient's signed statement."""

    digest: bytes
    state: Event
    statement: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class History:
    """What relays logged of one envelope, sender's relay first, and what the recipients signed."""

    events: tuple[Receipt, ...]
    statements: tuple[bytes, ...]

    @classmethod
    def merged(cls, histories: Iterable[History]) -> History:
        """Return several histories as one.

        A receipt is made anew under every checkpoint. Of several for one entry the one counts that most witnesses have
        seen: the others are copies from before.
        """
        best: dict[bytes, Receipt] = {}
        statements: dict[bytes, None] = {}
        for history in histories:
            statements |= dict.fromkeys(history.statements)
            for receipt in history.events:
                best[receipt.leaf] = max(receipt, best.get(receipt.leaf, receipt), key=_witnesses)
        return cls(tuple(best.values()), tuple(statements))

    def of(self, digest: bytes) -> History:
        """Return what concerns one envelope, and of the statements those that a verified receipt names.

        A hostile relay may add anything; what is not tied to a log entry would only spoil the evidence of the rest.
        """
        events = tuple(r for r in self.events if concerns(r, digest))
        named = {r.subject.statement_digest for r in events} - {b""}
        return History(events, tuple(raw for raw in self.statements if statement_digest(raw) in named))

    @property
    def published(self) -> set[bytes]:
        """Digests of key bundles whose publication is among the entries."""
        return {r.subject.sender_bundle for r in self.events if r.routing.event is Event.KEY_BUNDLE}

    def with_keys(self, digests: Collection[bytes]) -> History:
        """Return the history with the publications of these key bundles and no others."""
        events = [r for r in self.events if r.routing.event is not Event.KEY_BUNDLE]
        kept = [r for r in self.events if r not in events and r.subject.sender_bundle in digests]
        return History((*events, *kept), self.statements)


def concerns(receipt: Receipt, digest: bytes) -> bool:
    """Whether an entry is about an envelope, or about keys that may have been withdrawn when it was logged."""
    return receipt.subject.envelope_digest == digest or receipt.routing.event is Event.KEY_BUNDLE


def _witnesses(receipt: Receipt) -> int:
    return len(receipt.proof.checkpoint.note.signatures)


class Relay(Protocol):
    """What a relay does for one party, to which an implementation is bound.

    On return every accepted item is durable and under a signed checkpoint; repeating a call returns receipts of the
    same entries. `UnavailableError` means: the same bytes again, later.
    """

    def submit(self, envelopes: Sequence[bytes]) -> Sequence[Result]:
        """Hand over envelopes; one result each."""

    def fetch(self) -> Iterator[Sequence[bytes]]:
        """Yield batches of what waits, highest precedence first, until nothing is left that was not yielded."""

    def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Result]:
        """Say what became of fetched envelopes; they stop waiting."""


class Bulletin(Protocol):
    """Public signed statements. Nothing read here is trusted before the caller has verified it."""

    def directories(self, after: int) -> Sequence[bytes]:
        """Return every directory version after `after`, ascending."""

    def publish_directory(self, raw: bytes) -> Result:
        """Publish the next directory version; it becomes a log entry, and the relay's rules follow it from then on."""

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return the bundles of the parties named that may still be in use, newest epoch first for each."""

    def publish(self, bundles: Sequence[KeyBundle]) -> Sequence[Result]:
        """Publish bundles; each becomes a log entry."""


class Log(Protocol):
    """Raw bytes of a relay's audit log, never trusted."""

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order, fewer at the end of the log."""

    def events(self, digest: bytes) -> History:
        """Return the history of an envelope the caller takes part in."""


class HomeRelay(Relay, Bulletin, Log, Protocol):
    """All that a party's own relay offers it."""

    @property
    def chunks(self) -> Chunks:
        """Attachment bytes."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One log entry and what it changes in the queues.

    Attributes:
        entry: What is logged.
        digest: Envelope or document the event is about.
        party: Recipient or peer relay concerned; empty for the envelope as a whole.
        event: With digest and party the key of idempotence.
        claim: If set, may belong to one digest only; another digest gives `REPLAYED`.
        excludes: Events that must not be logged for the same digest and party; one that is gives `REPLAYED`.
        envelope: Kept until nobody waits for it.
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
    envelope: Envelope | None = None
    starts: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    exhibit: bytes = field(default=b"", repr=False)
    bundle: KeyBundle | None = None
    blobs: tuple[Blob, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether the party, or everybody if none is named, needs the envelope's attachments no longer."""
        return self.event.final or self.event is Event.FORWARDED


@dataclass(frozen=True)
class Head:
    """Size and root of the stored tree."""

    size: int
    root: bytes


@dataclass(frozen=True)
class Record:
    """A stored entry with its place and its document."""

    index: int
    entry: Entry
    event: Event
    party: str
    exhibit: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Waiting:
    """An envelope that waits for a party; `position` names the place in the queue."""

    position: int
    party: str
    digest: bytes
    raw: bytes = field(repr=False)


class Store(Protocol):
    """A relay's durable memory: the log, its tiles, the envelopes on the way and the queues.

    `append` is one transaction: all or nothing, durable on return, idempotent by (digest, party, event) whoever races;
    a repeat returns the first index and changes nothing. Indices are given inside the transaction, so that duplicates
    leave no gap. Leaves, tiles, size and root move together (`tlog.tiles.extend` computes, the store saves). Every row
    of content carries its SHA-256, checked on every read; a damaged row raises, it is never skipped. A full
    disk raises `OVERLOADED` and changes nothing; any other I/O error raises `LOG_STOPPED`, after which `append` refuses
    until the process starts again.
    """

    def head(self) -> Head:
        """Return size and root, in constant time."""

    def append(self, changes: Sequence[Change]) -> Sequence[int | ExchangeError]:
        """Make the changes durable; return one index, or `REPLAYED`, each."""

    def tiles(self, names: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return stored tiles by (level, n)."""

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaf bytes in order, fewer at the end."""

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked."""

    def history(self, digest: bytes) -> Sequence[int]:
        """Return the indices of all events of an envelope or document, ascending."""

    def waiting(self, party: str, *, limit: int, skip: Collection[int] = ()) -> Sequence[Waiting]:
        """Return what waits for a party: precedence first, then arrival; positions in `skip` left out.

        At most `limit` envelopes, and no more once they hold 4 MiB together, so that memory is bounded whatever waits.
        """

    def expired(self, now: datetime, *, limit: int) -> Sequence[Waiting]:
        """Return what still waits although its time has run out."""

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return bundles by owner, newest epoch first for each."""

    def bundle(self, digest: bytes) -> KeyBundle | None:
        """Return one bundle by digest."""

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return the documents of every entry of one event, in log order."""

    @property
    def needs(self) -> Needs:
        """Who needs which attachment; `append` writes it."""


class Latch(Protocol):
    """The last signed checkpoint, outside the store's data and its backup; it moves one way."""

    def read(self) -> bytes:
        """Return the signed note, or nothing before the first."""

    def replace(self, old: bytes, new: bytes) -> None:
        """Put `new` in the place of `old`, durably; raise `LOG_FORK` if something else stands there."""


@dataclass(frozen=True)
class Sent:
    """An envelope in the outbox, and the receipt once there is one."""

    digest: bytes
    raw: bytes = field(repr=False)
    receipt: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Standing:
    """Where an agency's outbox stands: the sequence number and digest of the newest envelope sealed."""

    sequence: int
    digest: bytes


class Seen(enum.Enum):
    """What an inbox knows of a digest."""

    NEW = "new"
    BEGUN = "begun"
    DONE = "done"


@dataclass(frozen=True)
class Notified:
    """An envelope that brought an epoch KEK: what is kept of the KEK, since the KEK itself is secret.

    Attributes:
        name: 16 bytes, as headers name the KEK.
        peer: The other party: the recipient of a KEK given out, the sender of one received.
        given: Whether this agency gave it out.
        ready: Whether it may be used; a KEK given out only once its recipient has stated that it holds it.
        not_after: Last moment of sealing with it.
        raw: The envelope.
    """

    name: bytes
    peer: str
    given: bool
    ready: bool
    not_after: datetime
    raw: bytes = field(repr=False)


class Spool(Protocol):
    """An agency's durable outbox and inbox.

    `put` happens before any network use, so that a retry sends the same bytes. `begin` records a digest before its
    first hand-over to the application; after `finish` it is never handed over again, until expiry plus clock skew.
    Grants, and the origins of what was passed on, are kept for good: later questions are answered from them.
    Every call is one transaction and durable on return.
    """

    @property
    def stash(self) -> Stash:
        """Files too large for it, beside it."""

    def standing(self) -> Standing:
        """Return the newest sequence number used and its envelope digest; 0 and nothing before the first."""

    def put(self, envelopes: Sequence[Envelope]) -> None:
        """Keep sealed envelopes for sending."""

    def unsent(self, limit: int) -> Sequence[Sent]:
        """Return envelopes that have neither receipt nor refusal, oldest first."""

    def settle(self, results: Sequence[tuple[bytes, Result]]) -> None:
        """Keep the result for each digest; an `UnavailableError` leaves the envelope unsent."""

    def sent(self, digest: bytes) -> Sent | None:
        """Return one envelope of the outbox, whatever its result."""

    def begin(self, digest: bytes, claim: bytes, expires_at: datetime) -> Seen:
        """Record that an envelope is about to be handed over; return what was known before.

        Raises:
            RefusedError: `REPLAYED` when the claim belongs to another digest.
        """

    def finish(self, notice: Notice) -> None:
        """Record that the application has it, and keep what is to be said to the relay; a repeat changes nothing."""

    def said(self, digests: Sequence[bytes]) -> None:
        """Record that the relay has taken what was said."""

    def unsaid(self, limit: int) -> Sequence[Notice]:
        """Return notices the relay has not taken yet, oldest first."""

    def notice(self, digest: bytes) -> Notice | None:
        """Return the notice kept for a finished envelope."""

    def forget(self, now: datetime) -> int:
        """Drop inbox records whose expiry plus clock skew has passed; return how many. KEKs nobody can need go too."""

    def note_kek(self, notified: Notified) -> None:
        """Keep an envelope that brought an epoch KEK, or replace what was kept under that name."""

    def keks(self) -> Sequence[Notified]:
        """Return every epoch KEK kept, the first to end first."""

    def keep_grant(self, grant: Grant) -> None:
        """Keep a grant that was given or received; a repeat changes nothing."""

    def grants(self, origin: bytes) -> Sequence[Grant]:
        """Return the grants for what an originator's envelope held, the one kept last first."""

    def keep_origin(self, digest: bytes, origin: bytes) -> None:
        """Keep the Origin bytes sealed in an envelope of the outbox, which its sender cannot open; as `keep_grant`."""

    def origin(self, digest: bytes) -> bytes:
        """Return the Origin bytes kept for an envelope of the outbox; nothing for what was not passed on."""


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
