"""Ledger: the one path on which a leaf is written, signed and proven (SPEC section Log before act).

Store first, then signature, then latch, then answers: a crash between any two of them loses nothing that was
acknowledged and signs no size twice. `commit` is called by one thread at a time; reading is free. Several nodes may
write one log, each of them alone for as long as a batch takes, and each goes on from what the others have signed.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from infoexchange.audit import Entry
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.log import LogKeys
from infoexchange.ports import Change, Clock, ClosedLog, Head, Latch, Result, Store
from infoexchange.receipt import Receipt
from infoexchange.tlog import Checkpoint, Proof, merkle, tiles
from infoexchange.tlog.checkpoint import SKEW_MAX

# Implementation constants
FIRST_BATCH = 3  # genesis, recovery and directory: all that can stand in a log before its first checkpoint is latched


class Ledger:
    """A relay's audit log with the queues that move together with it."""

    def __init__(self, keys: LogKeys, store: Store, latch: Latch, *, clock: Clock) -> None:
        """Hold the ports; call `load` before anything else."""
        self.store = store
        self.relay = keys.relay
        self.origin = keys.origin
        self._keys = keys
        self._latch = latch
        self._clock = clock
        self._latched = b""
        self._signed: Checkpoint | None = None
        self._witnessed: Checkpoint | None = None
        self._closed: tuple[ClosedLog, ...] = ()
        self._shown: Checkpoint | None = None
        self._end = 0  # of the store, as far as this node has written or seen it
        self._alone = False

    @property
    def size(self) -> int:
        """Entries of this log under its newest signed checkpoint."""
        return self._signed.size if self._signed else 0

    @property
    def closed(self) -> Sequence[ClosedLog]:
        """The logs before this one, the oldest first."""
        return self._closed

    @property
    def base(self) -> int:
        """Place of this log's first entry in the store."""
        return self._closed[-1].end if self._closed else 0

    @property
    def end(self) -> int:
        """The place behind the last signed entry."""
        return self.base + self.size

    @property
    def cosigned_size(self) -> int:
        """Entries under the newest checkpoint that enough witnesses have cosigned."""
        return self._witnessed.size if self._witnessed else 0

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""
        return self._signed.raw if self._signed else b""

    def published(self) -> bytes:
        """Return the newest signed checkpoint, with its cosignatures once there are enough of them."""
        shown = self._shown
        return shown.raw if shown and shown.size == self.size else self.checkpoint()

    def load(self) -> None:
        """Check that data and latch fit together; nothing is changed.

        Raises:
            UnavailableError: `LOG_STOPPED` when the data is older than, or differs from, what was signed last, or when
                this log is closed: nobody signs with its keys any more.
        """
        with self.store.alone():  # another node may be between its entries and their signature
            head, note = self.store.head(), self._latch.read()
            self._closed = tuple(self.store.closed())
        if any(log.checkpoint.origin == self.origin for log in self._closed):
            raise self.ended()
        signed = Checkpoint.parse(note) if note else None
        if signed and self._closed and signed.note.text == self._closed[-1].checkpoint.note.text:
            signed = None  # the last that was signed of the log before; this one begins
        if signed:
            signed.verify(self._keys.verifier_keys)
        elif head.size > FIRST_BATCH:
            raise _stopped(f"the data holds {head.size} entries, but there is no latch: it was lost or not mounted")
        size, root = (signed.size, signed.root) if signed else (0, merkle.EMPTY_ROOT)
        # No size is ever signed twice: an older copy of the data must not go on.
        if head.size < size:
            raise _stopped(f"the data holds {head.size} entries, the latch {size}: an old copy was put in place")
        if tiles.root(size, self._read_tile) != root:
            raise _stopped(f"the first {size} entries are not those that were signed")
        if tiles.root(head.size, self._read_tile) != head.root:
            raise _stopped("the stored tree does not give the stored root")
        self._signed, self._latched, self._end = signed, note, head.end

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep other nodes from writing while the block lasts; lend whether one has written since this one did.

        Raises:
            UnavailableError: `UNAVAILABLE` when another node holds on to the log; otherwise as `follow`.
        """
        if self._alone:
            yield False
            return
        with self.store.alone():
            self.follow()
            head = self._head()
            self._alone = True
            try:
                yield head.end != self._end
            finally:
                self._alone = False

    def _head(self) -> Head:
        """Return the head of this log, to which something may be added; raises `LOG_STOPPED` for any other."""
        head = self.store.head()
        if head.base != self.base:  # the tree that grows now is another log's
            raise self.ended()
        if head.size < self.size:
            raise _stopped(f"the data holds {head.size} entries, {self.size} are signed: an old copy was put in place")
        return head

    def follow(self) -> bool:
        """Go on from the newest checkpoint that another node of this relay has signed; return whether there was one.

        Called by the thread that commits.

        Raises:
            UnavailableError: `LOG_STOPPED` when the data does not hold it, or no longer holds what was signed here, or
                when another node has closed this log.
        """
        note = self._latch.read()
        if note == self._latched:
            return False
        self._head()  # of the next log, the latch would hold what these keys cannot verify
        try:
            signed = Checkpoint.parse(note)
            signed.verify(self._keys.verifier_keys)
        except ExchangeError as problem:
            raise _stopped(f"somebody else's checkpoint stands in the latch ({problem.detail})") from None
        read = functools.cache(self._read_tile)
        for checkpoint in (signed, self._signed):
            if checkpoint and tiles.root(checkpoint.size, read) != checkpoint.root:
                raise _stopped(f"the first {checkpoint.size} entries are not those that were signed")
        return self._use(signed, note)

    def _use(self, signed: Checkpoint, note: bytes) -> bool:
        """Let a checkpoint be the newest, unless a newer one is; return whether it is now."""
        newer = signed.size > self.size
        if newer:
            self._signed, self._latched = signed, note
        return newer

    def commit(self, changes: Sequence[Change], answers: Sequence[int] = ()) -> list[Result]:
        """Make changes durable, logged and signed; return a receipt, or the error, for each place in `answers`.

        Also called with nothing, to sign what a crash left unsigned.

        Args:
            changes: In the order in which they are to be logged.
            answers: Places in `changes` for which somebody waits; a proof nobody waits for costs as much as another.

        Raises:
            UnavailableError: `OVERLOADED`, `LOG_STOPPED`, or `UNAVAILABLE` while the clock is behind what was signed
                last; then nothing of the batch may be acknowledged.
        """
        with self.alone():
            self._time()
            before = self.store.head().end  # not the signed size: a batch that failed after its append stands already
            # (1) One transaction: leaves, records, tiles, queue rows. After an I/O error the store takes no more.
            placed = self.store.append(changes) if changes else []
            # (2) and (3) Sign the new head once and move the latch: after this the batch stands.
            self._sign_head()
        # (4) Whoever waits gets the proof of its entry under that checkpoint.
        fresh: dict[int, Entry] = {}
        for index, change in zip(placed, changes, strict=True):
            # A repeat carries a new entry, but the log holds the first one.
            if isinstance(index, int) and index >= before:
                fresh.setdefault(index, change.entry)
        wanted = [placed[place] for place in answers]
        receipts = self._receipts([index for index in wanted if isinstance(index, int)], fresh, self._signed)
        return [receipts[index] if isinstance(index, int) else index for index in wanted]

    def _sign_head(self) -> None:
        head = self._head()
        self._end = head.end
        if head.size == self.size:
            return
        checkpoint = self._keys.sign(head.size, head.root, now=self._time())
        try:
            self._latch.replace(self._latched, checkpoint.raw)
        except UnavailableError:
            raise
        except ExchangeError as problem:
            raise _stopped(f"another checkpoint stands in the latch ({problem.detail})") from None
        self._use(checkpoint, checkpoint.raw)

    def close(self) -> Checkpoint:
        """Close this log for good, and return its last checkpoint; whoever goes on makes a ledger with other keys.

        Raises as `commit`.
        """
        with self.alone():
            self._sign_head()
            assert self._signed
            witnessed = self._witnessed
            last = witnessed if witnessed and witnessed.size == self.size else self._signed
            self.store.close_log(last)
        return last

    def _time(self) -> datetime:
        """Return the time to sign with, which never goes back: two checkpoints would accuse an honest relay.

        A clock that was set back a little is waited out; one that is far behind signs nothing.
        """
        now = self._clock()
        last = datetime.fromtimestamp(self._signed.signed_at if self._signed else 0, UTC)
        if last - now > SKEW_MAX:
            raise error(
                Reason.UNAVAILABLE,
                field="clock",
                detail=f"it shows {now:%Y-%m-%d %H:%M}Z, and the last checkpoint was signed at {last:%Y-%m-%d %H:%M}Z",
                next_step="Set the clock; if it was ahead before, the log goes on when that time has come.",
            )
        return max(now, last)

    def receipts(self, indices: Sequence[int]) -> list[Receipt]:
        """Return receipts of signed entries, under the newest cosigned checkpoint where that covers them all."""
        witnessed = self._witnessed
        covered = witnessed is not None and max(indices, default=0) < self.base + witnessed.size
        found = self._receipts(indices, {}, witnessed if covered else self._signed)
        return [found[index] for index in indices]

    def consistency(self, old_size: int, size: int, log: ClosedLog | None = None) -> list[bytes]:
        """Return the proof that the tree of `size` begins with that of `old_size`; empty where none is needed.

        Of this log, or of a closed one.
        """
        return tiles.consistency_proof(old_size, size, self._reader(log)) if 0 < old_size < size else []

    def prefix(self, old_size: int, size: int, log: ClosedLog | None = None) -> list[bytes]:
        """Return the same with its first hash always named; for 0 < `old_size` < `size` only."""
        return tiles.prefix_path(old_size, size, self._reader(log))

    def cosigned(self) -> bytes:
        """Return the newest checkpoint with enough cosignatures; nothing where there is none yet."""
        return self._shown.raw if self._shown else b""

    def witnessed(self, checkpoint: Checkpoint, shown: Checkpoint | None = None) -> None:
        """Use a checkpoint of this log, with enough cosignatures, for receipts from now on.

        Args:
            checkpoint: Goes into every receipt.
            shown: The same with more lines, for whoever asks for the checkpoint itself; without it the same.

        Raises:
            UnavailableError: `LOG_STOPPED` when the data does not hold what was cosigned: it is not this log's.
        """
        if checkpoint.size > self.size or tiles.root(checkpoint.size, self._read_tile) != checkpoint.root:
            raise _stopped(f"witnesses have cosigned {checkpoint.size} entries that the data does not hold")
        if self._witnessed is None or checkpoint.size >= self._witnessed.size:
            self._witnessed = checkpoint
            self._shown = shown or checkpoint

    def closed_cosigned(self, checkpoint: Checkpoint) -> None:
        """Use the last checkpoint of a closed log with more cosignatures from now on; raises as `Store.append`."""
        self.store.cosign_closed(checkpoint)
        # Without this log, if another node has closed it: what is added is added behind those before it.
        self._closed = tuple(self.store.closed())[: len(self._closed)]

    def _receipts(
        self, indices: Sequence[int], known: dict[int, Entry], checkpoint: Checkpoint | None
    ) -> dict[int, Receipt]:
        wanted = list(dict.fromkeys(indices))
        entries = {index: known[index] for index in wanted if index in known}
        missing = [index for index in wanted if index not in known]
        entries |= {record.index: record.entry for record in self.store.records(missing)}
        found: dict[int, Receipt] = {}
        for log in (*self._closed, None):
            base, signed = (log.base, log.checkpoint) if log else (self.base, checkpoint)
            own = [index for index in wanted if signed and base <= index < base + signed.size]
            if signed and own:
                path_of = tiles.prover(signed.size, self._reader(log))
                proofs = {index: Proof.of(index - base, path_of(index - base), signed) for index in own}
                found |= {index: Receipt.make(entries[index], proof) for index, proof in proofs.items()}
        return found

    def ended(self) -> ExchangeError:
        """Return what to tell whoever goes on with the keys of a log that is closed, or is just being closed."""
        return error(
            Reason.LOG_STOPPED,
            field="log",
            detail=f"{self.origin} is closed, and the next log goes on",
            next_step="Start this node anew with the keys of the next log, which another node of the relay has.",
        )

    def _reader(self, log: ClosedLog | None) -> Callable[[int, int], bytes]:
        return lambda level, n: self.store.tiles([(level, n)], log.base if log else None)[0]

    def _read_tile(self, level: int, n: int) -> bytes:
        return self.store.tiles([(level, n)])[0]


def _stopped(detail: str) -> ExchangeError:
    return error(
        Reason.LOG_STOPPED,
        field="log",
        detail=detail,
        next_step="Put the newest data in place; if it is lost, see `infoexchange-relay recover --help`.",
    )
