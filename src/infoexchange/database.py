"""Database: an SQLite file of an agency, for its owner's eyes only, in which a commit means durable."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from infoexchange.errors import ExchangeError, Reason, UnavailableError, error

# Implementation constants
BUSY_SECONDS = 10.0  # a writer that waits longer stands behind a process that hangs
_SYNCHRONOUS_FULL = 2  # with less, SQLite in WAL mode loses what it acknowledged when the power fails


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to a database for its owner's eyes only, on which a commit means durable.

    It may be used by any thread, one at a time, and begins no transaction by itself.

    Raises:
        UnavailableError: `UNAVAILABLE`, naming the file, when it cannot be used.
    """
    try:
        _make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as problem:
        raise unusable(path, _words(problem), "Check that the folder exists and that this user owns it.") from None
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise unusable(path, "no write-ahead log is possible here", "Put the file on a local file system.")
        check_durable(connection, str(path))
    except sqlite3.Error as problem:
        connection.close()
        raise unusable(path, str(problem), "Restore the file from its backup, or name another file.") from None
    except UnavailableError:
        connection.close()
        raise
    return connection


def check_durable(connection: sqlite3.Connection, name: str) -> None:
    """Raise `UNAVAILABLE` unless a commit on the connection waits for the disk."""
    if connection.execute("PRAGMA synchronous").fetchone()[0] < _SYNCHRONOUS_FULL:
        raise unusable(
            name, "a commit does not wait for the disk", "Run `PRAGMA synchronous = FULL` on the connection."
        )


def unusable(path: Path | str, detail: str, next_step: str) -> ExchangeError:
    """Return the error for a file that cannot serve as a database."""
    return error(Reason.UNAVAILABLE, field=str(path), detail=detail, next_step=next_step)


def _make_private(path: Path) -> None:
    """Make the file if there is none; SQLite gives the files beside it the same mode.

    An existing file is only looked at: closing a descriptor of it would drop the locks that SQLite holds in this
    process.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise unusable(path, "not a file", "Name a file; it is made when there is none.") from None
        if mode & 0o077:
            raise unusable(path, f"open to others (mode {mode & 0o777:o})", f"Run `chmod 600 {path}`.") from None
    else:
        os.fchmod(descriptor, 0o600)  # whatever the umask says
        os.close(descriptor)


def _words(problem: Exception) -> str:
    """Return what went wrong without the path, which stands in the error already."""
    return (isinstance(problem, OSError) and problem.strerror) or str(problem)
