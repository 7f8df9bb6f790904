"""Schema: the tables of a relay's store, how they came about, and the check sum that each row of content carries."""

from __future__ import annotations

import sqlite3
from hashlib import sha256

from infoexchange.errors import ExchangeError, Reason, error

# Implementation constants
APPLICATION_ID = 0x49584C47  # "IXLG": tells a relay's store from any other SQLite file

# Each step is one transaction; a step that has been released is never edited, a new one is added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {APPLICATION_ID}",
        # `queued` counts the places ever given in queues, so that none is given twice.
        """CREATE TABLE head (
            id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root BLOB NOT NULL, queued INTEGER NOT NULL,
            sha256 BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE tile (
            level INTEGER NOT NULL, n INTEGER NOT NULL, hashes BLOB NOT NULL, sha256 BLOB NOT NULL,
            UNIQUE (level, n)
        ) STRICT""",
        # `exhibit` is the digest of the event's document, or nothing when there is none.
        """CREATE TABLE entry (
            idx INTEGER PRIMARY KEY, digest BLOB NOT NULL, party TEXT NOT NULL, event INTEGER NOT NULL,
            leaf BLOB NOT NULL, routing BLOB NOT NULL, message BLOB NOT NULL, operational BLOB NOT NULL,
            salts BLOB NOT NULL, exhibit BLOB NOT NULL, sha256 BLOB NOT NULL,
            UNIQUE (digest, party, event)
        ) STRICT""",
        """CREATE TABLE exhibit (
            idx INTEGER PRIMARY KEY REFERENCES entry, event INTEGER NOT NULL, document BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX exhibit_event ON exhibit (event, idx)",
        "CREATE TABLE claim (claim BLOB PRIMARY KEY, digest BLOB NOT NULL) STRICT, WITHOUT ROWID",
        # An envelope is named by the entry that brought it: new rows then stand together, whatever their digests, and
        # a batch touches few pages.
        """CREATE TABLE envelope (
            idx INTEGER PRIMARY KEY REFERENCES entry, digest BLOB NOT NULL, precedence INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL, raw BLOB NOT NULL, sha256 BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX envelope_expiry ON envelope (expires_ms)",
        """CREATE TABLE queue (
            party TEXT NOT NULL, precedence INTEGER NOT NULL, position INTEGER NOT NULL,
            envelope INTEGER NOT NULL REFERENCES envelope,
            PRIMARY KEY (party, precedence DESC, position), UNIQUE (envelope, party)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE bundle (
            number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
            raw BLOB NOT NULL, certificates TEXT NOT NULL, crls TEXT NOT NULL, sha256 BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX bundle_owner ON bundle (owner, epoch DESC, number DESC)",
    ),
    (
        # Who needs which attachment of which envelope. A row stays, ended, until the bytes are deleted, so that a crash
        # in between leaves none behind.
        """CREATE TABLE need (
            owner TEXT NOT NULL, root BLOB NOT NULL, digest BLOB NOT NULL, party TEXT NOT NULL,
            expires_ms INTEGER NOT NULL, ended INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (owner, root, digest, party)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX need_party ON need (party, root) WHERE ended = 0",
        "CREATE INDEX need_digest ON need (digest) WHERE ended = 0",
    ),
    (
        # One log follows the other: places of entries run on, each log has a tree and a last checkpoint of its own.
        """CREATE TABLE closed (
            base INTEGER PRIMARY KEY, size INTEGER NOT NULL, note BLOB NOT NULL, sha256 BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE closed_tile (
            base INTEGER NOT NULL REFERENCES closed, level INTEGER NOT NULL, n INTEGER NOT NULL,
            hashes BLOB NOT NULL, sha256 BLOB NOT NULL, PRIMARY KEY (base, level, n)
        ) STRICT, WITHOUT ROWID""",
    ),
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest schema, each step whole or not at all.

    Raises:
        UnavailableError: `UNAVAILABLE` when the file is another program's or a newer version's.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and tables:
        raise error(
            Reason.UNAVAILABLE,
            detail="a database of another program",
            next_step="Name the relay's own file; a new one is made when there is none.",
        )
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise error(
            Reason.UNAVAILABLE,
            detail=f"schema {version}, this version knows {len(MIGRATIONS)}",
            next_step="Use the version that wrote the file, or a newer one.",
        )
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have taken this step while we waited.
            if connection.execute("PRAGMA user_version").fetchone()[0] < number:
                for statement in (*statements, f"PRAGMA user_version = {number}"):
                    connection.execute(statement)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def row_digest(*parts: bytes | str | int) -> bytes:
    """Return SHA-256 over the values of a row, each with its length, so that no two rows read alike."""
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    lengths = b"%d," * len(encoded) % tuple(map(len, encoded))
    return sha256(lengths + b"".join(encoded)).digest()


def check_row(table: str, row: str, stored: bytes, *parts: bytes | str | int) -> None:
    """Raise `LOG_STOPPED` unless a row read has the check sum that was written with it."""
    if stored != row_digest(*parts):
        raise damaged(table, f"row {row} does not match its SHA-256")


def damaged(table: str, detail: str) -> ExchangeError:
    """Return the error for a row that is not what was written."""
    return error(
        Reason.LOG_STOPPED,
        field=table,
        detail=detail,
        next_step="Stop the relay, keep the file as evidence and restore the store from its backup.",
    )
