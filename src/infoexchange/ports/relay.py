"""Relay: what parties ask of a relay, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from infoexchange.approval import Approval
from infoexchange.bundle import KeyBundle
from infoexchange.chunks import Chunks
from infoexchange.errors import ExchangeError
from infoexchange.receipt import Receipt
from infoexchange.statement import parse_statement, statement_digest
from infoexchange.states import Event

# Specification constants
BATCH_MAX = 256  # envelopes in one frame or transaction: the size from which larger batches gain nothing
BATCH_BYTES_MAX = 4 * 1024 * 1024  # half of the largest gRPC message

Clock = Callable[[], datetime]
"""Gives the time now, aware, in UTC."""

Result = Receipt | ExchangeError


@dataclass(frozen=True)
class Notice:
    """What a party says of an envelope, signed unless it is only DELIVERED.

    A recipient says DELIVERED, OPENED, REFUSED or DESTROYED, its sender RECALLED, and both AUDIT_DISCLOSURE: that
    records of it are shown to somebody else.
    """

    digest: bytes
    state: Event
    statement: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class History:
    """What relays logged of one envelope, sender's relay first, and what sender and recipients signed about it."""

    events: tuple[Receipt, ...]
    statements: tuple[bytes, ...]

    @property
    def approvals(self) -> tuple[Approval, ...]:
        """Those of the statements that approve a disclosure."""
        parsed = (parse_statement(raw) for raw in self.statements)
        return tuple(statement for statement in parsed if isinstance(statement, Approval))

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
        """Say what became of fetched envelopes, which stop waiting; or that envelopes sent are recalled."""


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

    def checkpoint(self, origin: str = "") -> bytes:
        """Return the newest signed checkpoint, or the last one of the closed log of that name.

        Raises:
            MalformedError: `BAD_FIELD` for a log that is not the relay's.
        """

    def cosigned(self) -> bytes:
        """Return the newest checkpoint with enough cosignatures of other nations; nothing where there is none yet."""

    def consistency(self, old_size: int, size: int, origin: str = "") -> Sequence[bytes]:
        """Return the hashes of `merkle.prefix_path` from one size to a larger one, which is at most the newest.

        Raises:
            MalformedError: `BAD_FIELD` for other sizes, and for a log that is not the relay's.
        """

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order, fewer at the end of the log."""

    def events(self, digest: bytes) -> History:
        """Return the history of an envelope the caller takes part in."""


class HomeRelay(Relay, Bulletin, Log, Protocol):
    """All that a party's own relay offers it."""

    @property
    def chunks(self) -> Chunks:
        """Attachment bytes."""
