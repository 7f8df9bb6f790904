"""Aside: the tables of a lost log in PostgreSQL, kept in a schema of their own beside those of the new log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import psycopg
from psycopg import conninfo, sql

from infoexchange.errors import Reason, error
from infoexchange_relay.stores.postgres import PostgresEngine, without_secrets
from infoexchange_relay.stores.row_store import RowStore
from infoexchange_relay.stores.schema import APPLICATION_ID

# Implementation constants
_LOST, _READ = "lost_", "salvaged_"
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


def put_aside(address: str, stamp: str) -> None:
    """Move all tables of a store into a new schema, whole or not at all; the user needs the right to create one.

    A store in which nothing is logged stays where it is.

    Raises:
        UnavailableError: `UNAVAILABLE`, naming the database and what to do.
    """
    with _connected(address) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPLICATION_ID,))
        [here] = connection.execute("SELECT current_schema()").fetchone() or [""]
        schema = sql.Identifier(f"{_LOST}{stamp}_{here}")
        tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
        if "entry" not in tables or not connection.execute("SELECT 1 FROM entry LIMIT 1").fetchone():
            return  # nothing is logged there: whoever looked at it since it was put aside has made it anew
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        for name in tables:
            connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(sql.Identifier(name), schema))


def lost(address: str) -> Sequence[str]:
    """Return the schemas of lost logs that were not read yet, the oldest first."""
    with _connected(address) as connection:
        [here] = connection.execute("SELECT current_schema()").fetchone() or [""]
        query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE %s ORDER BY nspname"
        found = connection.execute(query, (f"{_LOST}%",)).fetchall()
        return [name for (name,) in found if name.endswith(f"_{here}")]


@contextlib.contextmanager
def reading_lost(address: str, schema: str) -> Iterator[RowStore]:
    """Lend the store of a lost log; once it is left without an error it counts as read."""
    words = conninfo.conninfo_to_dict(address)
    options = f"{words.get('options', '')} -c search_path={schema}".strip()
    with RowStore(PostgresEngine(conninfo.make_conninfo(address, options=options))) as store:
        yield store
    with _connected(address) as connection:
        renamed = sql.Identifier(_READ + schema.removeprefix(_LOST))
        connection.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(schema), renamed))


@contextlib.contextmanager
def _connected(address: str) -> Iterator[psycopg.Connection[tuple[str, ...]]]:
    place, address = without_secrets(address)
    try:
        with psycopg.connect(address, autocommit=True) as connection:
            yield connection
    except psycopg.Error as problem:
        detail = (str(problem).splitlines() or [type(problem).__name__])[0]
        step = "Check that the server runs, and that this user may create schemas in the database."
        raise error(Reason.UNAVAILABLE, field=place, detail=detail, next_step=step) from None
