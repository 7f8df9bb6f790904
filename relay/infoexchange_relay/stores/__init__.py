"""Stores: a relay's durable memory, the attachments beside it, and the latch that is kept apart from both."""

from __future__ import annotations

from pathlib import Path

from infoexchange.errors import Reason, error
from infoexchange_relay.stores.depot import FileDepot
from infoexchange_relay.stores.engine import Engine
from infoexchange_relay.stores.latch import FileLatch
from infoexchange_relay.stores.looking import LookedAt, Queue, ReadOnlySqlite
from infoexchange_relay.stores.row_store import RowStore
from infoexchange_relay.stores.sqlite import SqliteEngine

__all__ = ["POSTGRES", "FileDepot", "FileLatch", "LookedAt", "Queue", "RowStore", "look", "open_store"]

POSTGRES = "postgresql://"


def open_store(place: Path | str) -> RowStore:
    """Return the store in a file, or in a database of PostgreSQL; it is made when there is none.

    Args:
        place: Path of the file, or an address that begins with `postgresql://`; the latter needs the extra `postgres`.

    Raises:
        UnavailableError: `UNAVAILABLE`, naming the place and what to do, when it cannot be used; `LOG_STOPPED` when it
            is damaged.
    """
    if str(place).startswith(POSTGRES):
        return RowStore(_postgres(str(place)))
    return RowStore(SqliteEngine(Path(place)))


def look(place: Path | str) -> LookedAt:
    """Return the store in a file or database for reading only, beside the relay that works on it or while none does.

    Raises:
        UnavailableError: `UNAVAILABLE`, naming the place, when there is none, or it is not one of this version.
    """
    engine = _postgres(str(place)) if str(place).startswith(POSTGRES) else ReadOnlySqlite(Path(place))
    return LookedAt(engine)


def _postgres(address: str) -> Engine:
    try:
        from infoexchange_relay.stores.postgres import PostgresEngine
    except ImportError:
        step = "Run: pip install 'infoexchange[relay,postgres]'"
        raise error(Reason.UNAVAILABLE, field="store", detail="psycopg is not installed", next_step=step) from None
    return PostgresEngine(address)
