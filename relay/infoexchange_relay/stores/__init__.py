"""Stores: a relay's durable memory, the attachments beside it, and the latch that is kept apart from both."""

from __future__ import annotations

from pathlib import Path

from infoexchange_relay.stores.depot import FileDepot
from infoexchange_relay.stores.latch import FileLatch
from infoexchange_relay.stores.row_store import RowStore
from infoexchange_relay.stores.sqlite import SqliteEngine

__all__ = ["FileDepot", "FileLatch", "RowStore", "open_store"]


def open_store(path: Path | str) -> RowStore:
    """Return the store in the file at `path`, which is made when there is none.

    Raises:
        UnavailableError: `UNAVAILABLE`, naming the file and what to do, when it cannot be used; `LOG_STOPPED` when it
            is damaged.
    """
    return RowStore(SqliteEngine(Path(path)))
