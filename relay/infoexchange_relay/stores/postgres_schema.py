"""The tables of a relay's store in PostgreSQL, and how they came about; what each is for stands in `schema`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from infoexchange.errors import Reason, error

# Implementation constants
# Names are compared byte by byte, whatever language the server sorts in.
_NAME = 'TEXT COLLATE "C" NOT NULL'

# Each step is one transaction; a step that has been released is never edited, a new one is added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE head (
            id BIGINT PRIMARY KEY CHECK (id = 1), size BIGINT NOT NULL, root BYTEA NOT NULL, queued BIGINT NOT NULL,
            sha256 BYTEA NOT NULL
        )""",
        """CREATE TABLE tile (
            level BIGINT NOT NULL, n BIGINT NOT NULL, hashes BYTEA NOT NULL, sha256 BYTEA NOT NULL,
            PRIMARY KEY (level, n)
        )""",
        f"""CREATE TABLE entry (
            idx BIGINT PRIMARY KEY, digest BYTEA NOT NULL, party {_NAME}, event BIGINT NOT NULL,
            leaf BYTEA NOT NULL, routing BYTEA NOT NULL, message BYTEA NOT NULL, operational BYTEA NOT NULL,
            salts BYTEA NOT NULL, exhibit BYTEA NOT NULL, sha256 BYTEA NOT NULL, UNIQUE (digest, party, event)
        )""",
        """CREATE TABLE exhibit (
            idx BIGINT PRIMARY KEY REFERENCES entry, event BIGINT NOT NULL, document BYTEA NOT NULL
        )""",
        "CREATE INDEX exhibit_event ON exhibit (event, idx)",
        "CREATE TABLE claim (claim BYTEA PRIMARY KEY, digest BYTEA NOT NULL)",
        """CREATE TABLE envelope (
            idx BIGINT PRIMARY KEY REFERENCES entry, digest BYTEA NOT NULL, precedence BIGINT NOT NULL,
            expires_ms BIGINT NOT NULL, raw BYTEA NOT NULL, sha256 BYTEA NOT NULL
        )""",
        # Ciphertext and hashes do not get smaller.
        "ALTER TABLE envelope ALTER COLUMN raw SET STORAGE EXTERNAL",
        "ALTER TABLE tile ALTER COLUMN hashes SET STORAGE EXTERNAL",
        "CREATE INDEX envelope_expiry ON envelope (expires_ms)",
        f"""CREATE TABLE queue (
            party {_NAME}, precedence BIGINT NOT NULL, position BIGINT NOT NULL,
            envelope BIGINT NOT NULL REFERENCES envelope, PRIMARY KEY (envelope, party)
        )""",
        "CREATE UNIQUE INDEX queue_order ON queue (party, precedence DESC, position)",
        f"""CREATE TABLE bundle (
            number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, digest BYTEA NOT NULL UNIQUE, owner {_NAME},
            epoch BIGINT NOT NULL, raw BYTEA NOT NULL, certificates TEXT NOT NULL, crls TEXT NOT NULL,
            sha256 BYTEA NOT NULL
        )""",
        "CREATE INDEX bundle_owner ON bundle (owner, epoch DESC, number DESC)",
        f"""CREATE TABLE need (
            owner {_NAME}, root BYTEA NOT NULL, digest BYTEA NOT NULL, party {_NAME},
            expires_ms BIGINT NOT NULL, ended BIGINT NOT NULL DEFAULT 0, PRIMARY KEY (owner, root, digest, party)
        )""",
        "CREATE INDEX need_party ON need (party, root) WHERE ended = 0",
        "CREATE INDEX need_digest ON need (digest) WHERE ended = 0",
        """CREATE TABLE closed (
            base BIGINT PRIMARY KEY, size BIGINT NOT NULL, note BYTEA NOT NULL, sha256 BYTEA NOT NULL
        )""",
        """CREATE TABLE closed_tile (
            base BIGINT NOT NULL REFERENCES closed, level BIGINT NOT NULL, n BIGINT NOT NULL,
            hashes BYTEA NOT NULL, sha256 BYTEA NOT NULL, PRIMARY KEY (base, level, n)
        )""",
    ),
    # What the nodes of one relay have together beside the store.
    (
        f"CREATE TABLE note (name {_NAME} PRIMARY KEY, raw BYTEA NOT NULL, sha256 BYTEA NOT NULL)",
        f"CREATE TABLE member (node {_NAME} PRIMARY KEY, until TIMESTAMPTZ NOT NULL)",
        f"""CREATE TABLE duty (
            name {_NAME} PRIMARY KEY, node {_NAME} DEFAULT '', until TIMESTAMPTZ NOT NULL DEFAULT '-infinity'
        )""",
    ),
)


def migrate(connection: psycopg.Connection[Any], place: str, lock: Callable[[], None]) -> None:
    """Bring the tables to the newest schema, each step whole or not at all.

    Args:
        connection: Nothing is open in it.
        place: Names the database in errors.
        lock: Keeps other processes from writing until the transaction of `connection` has ended.

    Raises:
        UnavailableError: `UNAVAILABLE` when the tables are another program's or a newer version's.
    """
    for number, statements in enumerate(MIGRATIONS, 1):
        with connection.transaction():
            # Another process may be taking this step now.
            lock()
            version = _version(connection, place)
            if version > len(MIGRATIONS):
                raise error(
                    Reason.UNAVAILABLE,
                    field=place,
                    detail=f"schema {version}, this version knows {len(MIGRATIONS)}",
                    next_step="Use the version that wrote the tables, or a newer one.",
                )
            if version < number:
                for statement in statements:
                    connection.execute(statement.encode())
                connection.execute("UPDATE infoexchange_store SET version = %s", (number,))


def _version(connection: psycopg.Connection[Any], place: str) -> int:
    """Return which step was taken last; 0 in a schema without any tables, where there is a first table from now on."""
    here = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    tables = {name for (name,) in connection.execute(here).fetchall()}
    if not tables:
        connection.execute("CREATE TABLE infoexchange_store (version BIGINT NOT NULL)")
        connection.execute("INSERT INTO infoexchange_store VALUES (0)")
    elif "infoexchange_store" not in tables:
        raise error(
            Reason.UNAVAILABLE,
            field=place,
            detail="a database of another program",
            next_step="Name a database of the relay's own; its tables are made when there are none.",
        )
    row = connection.execute("SELECT version FROM infoexchange_store").fetchone()
    return int(row[0]) if row else 0
