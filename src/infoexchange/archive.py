"""Archive: what an agency has received, in an SQLite file of its own that forgets for good what is destroyed.

A deleted row would linger in free pages and in the write-ahead log. Deleted bytes are overwritten, the file is written
anew and the log is emptied before a destruction counts as done.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.database import connect, unusable
from infoexchange.errors import ExchangeError
from infoexchange.retention import Entry, Kept

# Implementation constants
_SCHEMA = 1
_TABLES = (
    "CREATE TABLE archive (version INTEGER NOT NULL) STRICT",
    # Directories, bundles, certificates and revocation lists, each once however many messages need it.
    "CREATE TABLE document (digest BLOB PRIMARY KEY, raw BLOB NOT NULL) STRICT",
    """CREATE TABLE kept (
        digest BLOB PRIMARY KEY, sender TEXT NOT NULL, received_ms INTEGER NOT NULL, retention_ms INTEGER,
        destroyed_ms INTEGER, stated INTEGER NOT NULL DEFAULT 0, raw BLOB NOT NULL, documents TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX kept_retention ON kept (retention_ms) WHERE destroyed_ms IS NULL",
    "CREATE TABLE sealed_key (digest BLOB PRIMARY KEY REFERENCES kept, sealed BLOB NOT NULL) STRICT",
    # One row while destroyed bytes may still stand in the file.
    "CREATE TABLE unerased (id INTEGER PRIMARY KEY CHECK (id = 1)) STRICT",
)
_ENTRY = "digest, sender, received_ms, retention_ms, destroyed_ms"


class SqliteArchive:
    """An `Archive` in a file."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._lock = threading.RLock()
        self._connection = connect(self._path)
        try:
            self._connection.execute("PRAGMA secure_delete = ON")
            self._prepare()
            self._erase()  # what a crash left
        except sqlite3.Error as problem:
            self.close()
            raise unusable(self._path, str(problem), "Restore the file from its backup.") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        with self._transaction() as cursor:
            if not cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'archive'").fetchone():
                for statement in _TABLES:
                    cursor.execute(statement)
                cursor.execute("INSERT INTO archive VALUES (?)", (_SCHEMA,))
            (version,) = cursor.execute("SELECT max(version) FROM archive").fetchone()
            if version != _SCHEMA:
                detail = f"schema {version}, this version knows {_SCHEMA}"
                raise unusable(self._path, detail, "Update this software.")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            cursor = self._connection.cursor()
            try:
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                cursor.execute("COMMIT")
            except BaseException as problem:
                if self._connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        cursor.execute("ROLLBACK")
                if isinstance(problem, sqlite3.DatabaseError):
                    raise self._unusable(problem) from problem
                raise
            finally:
                cursor.close()

    def _unusable(self, problem: sqlite3.Error) -> ExchangeError:
        return unusable(self._path, str(problem), "See that the disk has space and works, then do it again.")

    def keep(self, kept: Kept, sealed_key: bytes) -> None:
        """Keep a message; a repeat changes nothing, and one that was destroyed stays so."""
        entry, bundle = kept.entry, kept.bundle
        parts = [kept.directory, bundle.raw, *bundle.certificates, *bundle.crls]
        documents = {sha256(part).digest(): part for part in parts}
        names = [sha256(part).hexdigest() for part in parts]
        counts = (len(bundle.certificates), len(bundle.crls))
        retention = wire.to_ms(entry.retention_until) if entry.retention_until else None
        row = (entry.digest, entry.sender, wire.to_ms(entry.received_at), retention, kept.raw)
        with self._transaction() as cursor:
            if cursor.execute("SELECT 1 FROM kept WHERE digest = ?", (entry.digest,)).fetchone():
                return
            cursor.executemany("INSERT INTO document VALUES (?, ?) ON CONFLICT DO NOTHING", documents.items())
            columns = "digest, sender, received_ms, retention_ms, raw, documents"
            values = (*row, json.dumps([names, counts]))
            cursor.execute(f"INSERT INTO kept ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)  # noqa: S608  constants only
            cursor.execute("INSERT INTO sealed_key VALUES (?, ?)", (entry.digest, sealed_key))

    def entries(self) -> Sequence[Entry]:
        """Return every line, oldest first."""
        with self._transaction() as cursor:
            cursor.execute(f"SELECT {_ENTRY} FROM kept ORDER BY received_ms, rowid")  # noqa: S608  constants only
            return [_entry(row) for row in cursor]

    def find(self, digest: bytes) -> Kept | None:
        """Return one message."""
        with self._transaction() as cursor:
            query = f"SELECT {_ENTRY}, raw, documents FROM kept WHERE digest = ?"  # noqa: S608  constants only
            row = cursor.execute(query, (digest,)).fetchone()
            if row is None:
                return None
            *line, raw, text = row
            names, (certificates, _) = json.loads(text)
            parts = [self._document(cursor, bytes.fromhex(name)) for name in names]
        directory, bundle, *others = parts
        made = KeyBundle.parse(bundle, others[:certificates], others[certificates:])
        return Kept(_entry(line), raw, made, directory)

    def _document(self, cursor: sqlite3.Cursor, digest: bytes) -> bytes:
        row = cursor.execute("SELECT raw FROM document WHERE digest = ?", (digest,)).fetchone()
        if row is None or sha256(row[0]).digest() != digest:
            detail = f"document {digest.hex()[:16]} is missing or damaged"
            raise unusable(self._path, detail, "Restore the file from its backup.")
        raw: bytes = row[0]
        return raw

    def sealed_key(self, digest: bytes) -> bytes:
        """Return the sealed content key of a message; nothing once it is destroyed."""
        with self._transaction() as cursor:
            row = cursor.execute("SELECT sealed FROM sealed_key WHERE digest = ?", (digest,)).fetchone()
            return bytes(row[0]) if row else b""

    def due(self, now: datetime) -> Sequence[bytes]:
        """Return the digests of messages past their retention whose keys are not destroyed."""
        with self._transaction() as cursor:
            query = "SELECT digest FROM kept WHERE destroyed_ms IS NULL AND retention_ms < ? ORDER BY retention_ms"
            return [digest for (digest,) in cursor.execute(query, (wire.to_ms(now),))]

    def destroy(self, digests: Sequence[bytes], now: datetime) -> None:
        """Destroy content keys, and of each envelope everything but the manifest; unknown digests change nothing.

        Raises:
            UnavailableError: The disk failed, or another program reads the file; what was begun is done again when the
                archive is opened.
        """
        found = [self.find(digest) for digest in dict.fromkeys(digests)]
        held = [kept for kept in found if kept is not None and kept.entry.destroyed_at is None]
        with self._transaction() as cursor:
            for kept in held:
                cursor.execute("DELETE FROM sealed_key WHERE digest = ?", (kept.entry.digest,))
                cursor.execute(
                    "UPDATE kept SET raw = ?, destroyed_ms = ? WHERE digest = ?",
                    (kept.manifest.raw, wire.to_ms(now), kept.entry.digest),
                )
            if held:
                cursor.execute("INSERT INTO unerased VALUES (1) ON CONFLICT DO NOTHING")
        self._erase()

    def _erase(self) -> None:
        """Write the file anew without what was destroyed, and empty the log beside it."""
        with self._lock:
            try:
                if not self._connection.execute("SELECT 1 FROM unerased").fetchone():
                    return
                self._connection.execute("VACUUM")
                self._checkpoint()
                self._connection.execute("DELETE FROM unerased")
                self._checkpoint()
            except sqlite3.DatabaseError as problem:
                raise self._unusable(problem) from problem

    def _checkpoint(self) -> None:
        busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            step = "End the other program and do it again: traces may still be in the file."
            raise unusable(self._path, "another program reads the archive", step)

    def unstated(self) -> Sequence[Entry]:
        """Return what is destroyed and was not stated to be so."""
        self._erase()  # nothing is stated that is not so
        with self._transaction() as cursor:
            query = f"SELECT {_ENTRY} FROM kept WHERE destroyed_ms IS NOT NULL AND stated = 0 ORDER BY destroyed_ms"  # noqa: S608  constants only
            return [_entry(row) for row in cursor.execute(query)]

    def stated(self, digests: Sequence[bytes]) -> None:
        """Record that the statement of a destruction is on its way."""
        with self._transaction() as cursor:
            cursor.executemany("UPDATE kept SET stated = 1 WHERE digest = ?", [(digest,) for digest in digests])


def _entry(row: Sequence[Any]) -> Entry:
    digest, sender, received, retention, destroyed = row
    return Entry(
        digest=digest,
        sender=sender,
        received_at=wire.from_ms(received, field="archive"),
        retention_until=None if retention is None else wire.from_ms(retention, field="archive"),
        destroyed_at=None if destroyed is None else wire.from_ms(destroyed, field="archive"),
    )
