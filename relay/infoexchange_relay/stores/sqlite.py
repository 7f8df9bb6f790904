"""SqliteStore: a relay's log, envelopes and queues in one SQLite file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import stat
import threading
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.ports import Change, ClosedLog, Head, Record, Waiting, within_batch
from infoexchange.spool import BUSY_SECONDS, connect, unusable
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint, merkle, tiles
from infoexchange_relay.stores import closing, erasing
from infoexchange_relay.stores.batch import Batch
from infoexchange_relay.stores.needs import SqliteNeeds
from infoexchange_relay.stores.rows import (
    ENTRY,
    ENVELOPE,
    WAITING,
    as_waiting,
    check_entry,
    checked_envelope,
    read_record,
)
from infoexchange_relay.stores.schema import check_row, damaged, migrate, row_digest

# Implementation constants
_BUNDLES_MAX = 4096  # parsed bundles remembered: one for each party that a directory can name
_CACHE_KIB = 64 * 1024  # holds the index pages of a batch, which lie all over the file
_CHECKPOINT_PAGES = 8192  # 32 MiB: pages that many batches change are copied once
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteStore:
    """A `Store` in one file. One connection writes, one thread at a time; readers have their own and never wait.

    After an error of the disk other than "full" every further `append` is refused until the process starts again: a
    second fsync may succeed although the first one lost data.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._stopped = ""
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        self._bundles: dict[bytes, KeyBundle] = {}
        self._edge: dict[tuple[int, int], bytes] = {}
        self._edge_size = 0
        self.needs = SqliteNeeds(lambda: self._reading("need"), self._changing)
        _check_folder(path.absolute().parent)
        self._writer = connect(path)
        self._writer.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._writing:
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        """Make or update the tables, and see that head, tiles and entries belong together."""
        try:
            migrate(self._writer)
            with self._transaction() as db:
                if not db.execute("SELECT 1 FROM head").fetchone():
                    _write_head(db, Head(0, merkle.root([])), 0)
        except sqlite3.Error as problem:
            raise unusable(self._path, str(problem), "Restore the file from its backup, or name another.") from None
        except UnavailableError as problem:
            field = problem.field or str(self._path)
            raise error(problem.reason, field=field, detail=problem.detail, next_step=problem.next_step) from None
        with self._reading("head") as db:
            head, _ = _read_head(db)
            (last,) = db.execute("SELECT coalesce(max(idx), -1) FROM entry").fetchone()
            root = tiles.root(head.size, lambda level, n: _read_tile(db, level, n))
        if (last + 1, root) != (head.end, head.root):
            raise damaged("head", f"size {head.end} and its root do not fit {last + 1} entries and their tiles")

    def append(self, changes: Sequence[Change]) -> Sequence[int | ExchangeError]:
        """Make the changes durable in one transaction; return one index, `REPLAYED` or `NOT_PERMITTED`, each.

        Raises:
            UnavailableError: `OVERLOADED` when the disk is full, `UNAVAILABLE` when another process keeps the file
                locked: nothing was changed, and later calls may succeed. `LOG_STOPPED` after any other error of the
                disk, and from then on.
        """
        with self._writing:
            self._check_open()
            if self._stopped:
                raise error(Reason.LOG_STOPPED, field=str(self._path), detail=self._stopped)
            try:
                with self._transaction() as db:
                    head, queued = _read_head(db)
                    batch = Batch(db, head.end, queued)
                    results = [batch.take(change) for change in changes]
                    if not batch.hashes:
                        return results
                    if self._edge_size != head.size:  # another process has written since
                        self._edge.clear()
                    batch.write()
                    changed, root = tiles.extend(head.size, batch.hashes, self._edge_tile)
                    rows = [(level, n, hashes, row_digest(level, n, hashes)) for (level, n), hashes in changed.items()]
                    db.executemany("INSERT OR REPLACE INTO tile VALUES (?, ?, ?, ?)", rows)
                    size = head.size + len(batch.hashes)
                    _write_head(db, Head(size, root, head.base), batch.queued)
            except sqlite3.DatabaseError as problem:
                raise self._append_error(problem) from problem
            # Only now, because a transaction that did not commit has changed no tile.
            self._edge.update(changed)
            self._edge = {name: self._edge[name] for name in _edge_names(size) if name in self._edge}
            self._edge_size = size
            return results

    @contextlib.contextmanager
    def _changing(self, *, secure: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend the writing connection for a transaction that adds no log entry; raises as `append`.

        With `secure`, what it deletes is overwritten, in the file and in the write-ahead log.
        """
        with self._writing:
            self._check_open()
            if self._stopped:
                raise error(Reason.LOG_STOPPED, field=str(self._path), detail=self._stopped)
            try:
                self._writer.execute(f"PRAGMA secure_delete = {'ON' if secure else 'OFF'}")
                with self._transaction() as db:
                    yield db
                if secure:
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.DatabaseError as problem:
                raise self._append_error(problem) from problem

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the store is closed")

    def _edge_tile(self, level: int, n: int) -> bytes:
        if (level, n) not in self._edge:
            self._edge[level, n] = _read_tile(self._writer, level, n)
        return self._edge[level, n]

    def _append_error(self, problem: sqlite3.DatabaseError) -> Exception:
        """Return what a failed transaction means, and stop the store if the disk cannot be trusted any more."""
        code = _code(problem)
        if code == sqlite3.SQLITE_FULL:
            return error(Reason.OVERLOADED, field=str(self._path), detail="the disk is full")
        if code in _LOCKED:
            return error(Reason.UNAVAILABLE, field=str(self._path), detail="another process keeps the store locked")
        if code in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISUSE):
            return ValueError(f"changes that no store can hold: {problem}")
        self._stopped = f"the disk failed: {problem}"
        return error(Reason.LOG_STOPPED, field=str(self._path), detail=self._stopped)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:  # after some errors SQLite has rolled back already
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _reading(self, table: str) -> Iterator[sqlite3.Connection]:
        """Lend a connection in one read transaction, so that all its answers are of one moment."""
        self._check_open()
        try:
            with self._reader() as connection:
                connection.execute("BEGIN")
                yield connection
        except sqlite3.DatabaseError as problem:
            if _code(problem) in (*_LOCKED, sqlite3.SQLITE_CANTOPEN):
                raise error(Reason.UNAVAILABLE, field=str(self._path), detail=str(problem)) from problem
            raise damaged(table, f"cannot be read: {problem}") from problem

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """Lend an idle connection, or a new one: there are never more than there were readers at one time."""
        try:
            connection = self._idle.pop()
        except IndexError:
            address = f"{self._path.absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(
                address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            yield connection
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            self._idle.append(connection)
            if self._closed:
                self._idle.pop().close()

    def head(self) -> Head:
        """Return size and root, in constant time."""
        with self._reading("head") as db:
            return _read_head(db)[0]

    def tiles(self, names: Sequence[tuple[int, int]], base: int | None = None) -> Sequence[bytes]:
        """Return stored tiles by (level, n) of one log; `BAD_FIELD` for one that its tree does not have."""
        with self._reading("tile") as db:
            head, _ = _read_head(db)
            size, read = (head.size, _read_tile) if base in (None, head.base) else closing.tiles_of(db, base)
            for level, n in names:
                if level < 0 or n < 0 or not tiles.width_at(level, n, size):
                    raise error(Reason.BAD_FIELD, field="tile", detail=f"no tile {level}/{n} in a tree of {size}")
            return [read(db, level, n) for level, n in names]

    def closed(self) -> Sequence[ClosedLog]:
        """Return every closed log, the oldest first."""
        with self._reading("closed") as db:
            return closing.closed_logs(db)

    def close_log(self, checkpoint: Checkpoint) -> None:
        """Close the log that grows, durably; the next one begins empty."""
        with self._changing() as db:
            head, queued = _read_head(db)
            closing.close(db, head, checkpoint)
            _write_head(db, Head(0, merkle.EMPTY_ROOT, head.end), queued)
            self._edge.clear()

    def cosign_closed(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint of a closed log with more cosignatures."""
        with self._changing() as db:
            closing.cosign(db, checkpoint)

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaf bytes in order, fewer at the end."""
        with self._reading("entry") as db:
            head, _ = _read_head(db)
            indices = range(head.end)[start : start + count]
            rows = db.execute(
                f"SELECT {ENTRY} FROM entry AS e WHERE idx >= ? ORDER BY idx LIMIT ?",  # noqa: S608  constants only
                (start, len(indices)),
            ).fetchall()
        for index, row in zip(indices, rows, strict=False):
            check_entry(index, row)
        if len(rows) != len(indices):
            raise damaged("entry", f"{len(rows)} rows from {start} on where {len(indices)} were written")
        return [row[4] for row in rows]

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked; `BAD_FIELD` for an index that the log does not have."""
        with self._reading("entry") as db:
            head, _ = _read_head(db)
            for index in indices:
                if not 0 <= index < head.end:
                    raise error(Reason.BAD_FIELD, field="index", detail=f"no entry {index} in a log of {head.end}")
            return [read_record(db, index) for index in indices]

    def history(self, digest: bytes) -> Sequence[int]:
        """Return the indices of all events of an envelope or document, ascending."""
        with self._reading("entry") as db:
            return [idx for (idx,) in db.execute("SELECT idx FROM entry WHERE digest = ? ORDER BY idx", (digest,))]

    def waiting(self, party: str, *, limit: int, skip: Collection[int] = ()) -> Sequence[Waiting]:
        """Return what waits for a party: precedence first, then arrival; positions in `skip` left out."""
        with self._reading("queue") as db:
            rows = db.execute(
                # One parameter, because `skip` may hold more positions than a statement takes parameters.
                f"{WAITING} WHERE q.party = ? AND q.position NOT IN (SELECT value FROM json_each(?))"  # noqa: S608  constants only
                " ORDER BY q.precedence DESC, q.position LIMIT ?",
                (party, json.dumps(list(skip)), limit),
            )
            return within_batch(as_waiting(row) for row in rows)

    def expired(self, now: datetime, *, limit: int) -> Sequence[Waiting]:
        """Return what still waits although its time has run out, longest ago first."""
        with self._reading("queue") as db:
            rows = db.execute(
                f"{WAITING} WHERE v.expires_ms < ? ORDER BY v.expires_ms, q.position LIMIT ?",
                (wire.to_ms(now), limit),
            )
            return [as_waiting(row) for row in rows]

    def envelope(self, digest: bytes) -> bytes | None:
        """Return an envelope that somebody waits for."""
        with self._reading("envelope") as db:
            row = db.execute(
                f"SELECT v.idx, {ENVELOPE} FROM entry AS e JOIN envelope AS v ON v.idx = e.idx"  # noqa: S608  constants only
                " WHERE e.digest = ?1 AND v.digest = ?1",
                (digest,),
            ).fetchone()
        return checked_envelope(*row)[1] if row else None

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return bundles by owner, newest epoch first for each."""
        with self._reading("bundle") as db:
            query = "SELECT * FROM bundle WHERE owner = ? ORDER BY epoch DESC, number DESC"
            rows = [row for name in names for row in db.execute(query, (name,))]
        return [self._bundle(row) for row in rows]

    def bundle(self, digest: bytes) -> KeyBundle | None:
        """Return one bundle by digest."""
        with self._reading("bundle") as db:
            row = db.execute("SELECT * FROM bundle WHERE digest = ?", (digest,)).fetchone()
        return self._bundle(row) if row else None

    def _bundle(self, row: tuple[Any, ...]) -> KeyBundle:
        """Return the bundle of a row; the same object for the same row, because bundles remember their proofs."""
        _, digest, owner, epoch, raw, certificates, crls, stored = row
        check_row("bundle", digest.hex(), stored, digest, owner, epoch, raw, certificates, crls)
        if stored not in self._bundles:
            if len(self._bundles) >= _BUNDLES_MAX:
                self._bundles.clear()
            parts = [[bytes.fromhex(part) for part in json.loads(text)] for text in (certificates, crls)]
            self._bundles[stored] = KeyBundle.parse(raw, *parts)
        return self._bundles[stored]

    def erasable(self, start: int, end: int, *, limit: int) -> Sequence[int]:
        """Return places whose records can be erased and are not yet, ascending."""
        with self._reading("entry") as db:
            return erasing.erasable(db, start, end, limit)

    def erase(self, indices: Sequence[int]) -> None:
        """Delete groups, salts, parties and documents of entries, also from the free pages of the file."""
        with self._changing(secure=True) as db:
            erasing.erase(db, indices)

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return the documents of every entry of one event, in log order."""
        with self._reading("exhibit") as db:
            rows = db.execute("SELECT idx FROM exhibit WHERE event = ? ORDER BY idx", (int(event),)).fetchall()
            return [read_record(db, idx).exhibit for (idx,) in rows]


def _check_folder(folder: Path) -> None:
    """Raise `UNAVAILABLE` unless the folder is there and closed to everybody else on the machine."""
    try:
        mode = folder.stat().st_mode
    except OSError as problem:
        raise unusable(folder, problem.strerror or "no folder", f"Run `mkdir -m 700 {folder}`.") from None
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXO:
        raise unusable(folder, f"open to everybody (mode {mode & 0o777:o})", f"Run `chmod o-rwx {folder}`.")


def _code(problem: sqlite3.DatabaseError) -> int:
    """Return the primary result code; Python's own complaints have none and are misuse."""
    return getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF


def _edge_names(size: int) -> list[tuple[int, int]]:
    """Return the names of the right-edge tiles, which the next append reads."""
    levels = range(tiles.LEVEL_MAX // tiles.HEIGHT + 1)
    return [(level, (size >> (tiles.HEIGHT * level)) // tiles.WIDTH) for level in levels]


def _read_head(db: sqlite3.Connection) -> tuple[Head, int]:
    """Return the head, and how many places in queues were ever given."""
    row = db.execute("SELECT size, root, queued, sha256 FROM head").fetchone()
    if row is None:
        raise damaged("head", "the row is missing")
    size, root, queued, stored = row
    check_row("head", "1", stored, size, root, queued)
    return Head(size, root, closing.base_of(db)), queued


def _write_head(db: sqlite3.Connection, head: Head, queued: int) -> None:
    row = (head.size, head.root, queued)
    db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?, ?)", (*row, row_digest(*row)))


def _read_tile(db: sqlite3.Connection, level: int, n: int) -> bytes:
    row = db.execute("SELECT hashes, sha256 FROM tile WHERE level = ? AND n = ?", (level, n)).fetchone()
    if row is None:
        raise damaged("tile", f"row {level}/{n} is missing")
    hashes: bytes = row[0]
    check_row("tile", f"{level}/{n}", row[1], level, n, hashes)
    return hashes
