"""Stores: a relay's durable memory, the attachments beside it, and the latch that is kept apart from both."""

from __future__ import annotations

import contextlib
from pathlib import Path

import structlog

from infoexchange.certificates import CLOCK_SKEW
from infoexchange.chunks import Depot
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.ports import Clock, Latch
from infoexchange_relay.config import Config
from infoexchange_relay.stores.depot import FileDepot
from infoexchange_relay.stores.engine import Engine
from infoexchange_relay.stores.latch import FileLatch
from infoexchange_relay.stores.looking import LookedAt, ReadOnlySqlite
from infoexchange_relay.stores.row_store import RowStore
from infoexchange_relay.stores.shared import Notes, SharedLatch
from infoexchange_relay.stores.sqlite import SqliteEngine

__all__ = [
    "LOG_LATCH",
    "POSTGRES",
    "FileDepot",
    "FileLatch",
    "LookedAt",
    "RowStore",
    "SharedLatch",
    "is_shared",
    "is_there",
    "latch_of",
    "look",
    "notes_of",
    "open_depot",
    "open_store",
]

_log = structlog.get_logger()

POSTGRES = "postgresql://"
LOG_LATCH = "log"  # name of the latch of the relay's own log, among those that its nodes share


def open_store(place: Path | str) -> RowStore:
    """Return the store in a file, or in a database of PostgreSQL; it is made when there is none.

    Args:
        place: Path of the file, or an address that begins with `postgresql://`; the latter needs the extra `postgres`.

    Raises:
        UnavailableError: `UNAVAILABLE`, naming the place and what to do, when it cannot be used; `LOG_STOPPED` when it
            is damaged.
    """
    if is_shared(place):
        return RowStore(_postgres(str(place)))
    return RowStore(SqliteEngine(Path(place)))


def is_shared(place: Path | str) -> bool:
    """Whether several nodes may use a store at a time: it is in a database."""
    return str(place).startswith(POSTGRES)


def is_there(place: Path | str) -> bool:
    """Whether a store's file exists; of a database that is found out by opening it."""
    return is_shared(place) or Path(place).exists()


def notes_of(store: RowStore) -> Notes | None:
    """Return what the nodes over a store have together; nothing for a store that is one node's."""
    return Notes(store.engine) if is_shared(store.engine.place) else None


def latch_of(store: RowStore, file: Path, name: str = LOG_LATCH) -> Latch:
    """Return the latch in a file, or the one of this name that all nodes over the store move together.

    Args:
        store: The log's.
        file: This node's own copy, outside the store.
        name: The same at every node.
    """
    notes = notes_of(store)
    return SharedLatch(notes, name, FileLatch(file)) if notes else FileLatch(file)


def look(place: Path | str) -> LookedAt:
    """Return the store in a file or database for reading only, beside the relay that works on it or while none does.

    Raises:
        UnavailableError: `UNAVAILABLE`, naming the place, when there is none, or it is not one of this version.
    """
    engine = _postgres(str(place)) if is_shared(place) else ReadOnlySqlite(Path(place))
    return LookedAt(engine)


def open_depot(config: Config, *, clock: Clock) -> Depot:
    """Return where a relay keeps attachments, as its settings say: on its disk or in a bucket.

    A store of buckets that does not answer now is asked again later; messages without attachments need none.

    Raises:
        UnavailableError: `UNAVAILABLE` when the extra `s3` is missing or the client library's own settings are wrong.
        RefusedError: `NOT_PERMITTED` when another relay has its attachments in the same place.
    """
    place = config.bucket
    if place is None:
        if is_shared(config.place):
            _log.warning("attachments_on_this_node_only")  # another node over the same database does not see them
        return FileDepot(config.attachments, quota=config.quota, reserve=config.reserve, clock=clock)
    try:
        from infoexchange_relay.stores.bucket import Bucket
        from infoexchange_relay.stores.bucket_depot import BucketDepot
    except ImportError:
        step = "Run: pip install 'infoexchange[relay,s3]'"
        raise error(Reason.UNAVAILABLE, field=str(place), detail="botocore is not installed", next_step=step) from None
    # In the data, not in /tmp: that is often a small one, in memory.
    depot = BucketDepot(
        Bucket(place), config.name, folder=config.data, quota=config.quota, skew=CLOCK_SKEW, clock=clock
    )
    with contextlib.suppress(UnavailableError):  # the bucket has told the operator
        depot.prepare()
    return depot


def _postgres(address: str) -> Engine:
    try:
        from infoexchange_relay.stores.postgres import PostgresEngine
    except ImportError:
        step = "Run: pip install 'infoexchange[relay,postgres]'"
        raise error(Reason.UNAVAILABLE, field="store", detail="psycopg is not installed", next_step=step) from None
    return PostgresEngine(address)
