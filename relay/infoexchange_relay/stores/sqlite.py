"""SqliteEngine: the tables of a relay's store in one SQLite file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import stat
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from infoexchange.database import BUSY_SECONDS, connect, unusable
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange_relay.stores.schema import damaged, migrate

# Implementation constants
_CACHE_KIB = 64 * 1024  # holds the index pages of a batch, which lie all over the file
_CHECKPOINT_PAGES = 8192  # 32 MiB: pages that many batches change are copied once
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteEngine:
    """An `Engine` in one file. One connection writes, one thread at a time; readers have their own and never wait."""

    none_of = "{column} NOT IN (SELECT value FROM json_each(?))"

    def __init__(self, path: Path) -> None:
        """Open the file, which is made when there is none, and bring its tables up to date.

        Raises:
            UnavailableError: `UNAVAILABLE`, naming the file and what to do, when it cannot be used.
        """
        self.place = str(path)
        self._path = path
        self._writing = threading.Lock()
        self._stopped = ""
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        _check_folder(path.absolute().parent)
        self.writer = connect(path)
        try:
            self.writer.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self.writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            migrate(self.writer)
        except sqlite3.Error as problem:
            self.close()
            raise unusable(path, str(problem), "Restore the file from its backup, or name another.") from None
        except UnavailableError as problem:
            self.close()
            raise error(problem.reason, field=self.place, detail=problem.detail, next_step=problem.next_step) from None

    def close(self) -> None:
        """Close the file."""
        with self._writing:
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            self.writer.close()

    def several(self, values: Collection[int]) -> str:
        """Return many numbers as one parameter."""
        return json.dumps(list(values))

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep nobody out: one process at a time has the folder, which is seen to when it starts."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def changing(self, *, secure: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend the writing connection; with `secure`, what is deleted is overwritten, also in the write-ahead log."""
        with self._writing:
            self._check_open()
            if self._stopped:
                raise error(Reason.LOG_STOPPED, field=str(self._path), detail=self._stopped)
            try:
                self.writer.execute(f"PRAGMA secure_delete = {'ON' if secure else 'OFF'}")
                with self._transaction() as db:
                    yield db
                if secure:
                    self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.DatabaseError as problem:
                raise self._write_error(problem) from problem

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the store is closed")

    def _write_error(self, problem: sqlite3.DatabaseError) -> Exception:
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
            self.writer.execute("BEGIN IMMEDIATE")
            yield self.writer
            self.writer.execute("COMMIT")
        except BaseException:
            if self.writer.in_transaction:  # after some errors SQLite has rolled back already
                with contextlib.suppress(sqlite3.Error):
                    self.writer.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def reading(self, table: str) -> Iterator[sqlite3.Connection]:
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
