"""Looking: a relay's store opened for reading only, beside the relay that works on it or while none does."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from infoexchange.database import BUSY_SECONDS, unusable
from infoexchange.errors import Reason, error
from infoexchange_relay.stores.engine import Rows
from infoexchange_relay.stores.row_store import RowStore
from infoexchange_relay.stores.schema import APPLICATION_ID, MIGRATIONS, damaged


class LookedAt(RowStore):
    """A `RowStore` of which nothing is changed, not even its schema."""

    def _prepare(self) -> None:
        """Leave everything as it is: the relay makes what is missing, and checks it."""

    def needed(self) -> list[tuple[str, bytes]]:
        """Return owner and root of every attachment that a message of this store still needs."""
        with self.engine.reading("need") as db:
            rows = db.execute("SELECT DISTINCT owner, root FROM need WHERE ended = 0 ORDER BY owner, root")
            return [(owner, root) for owner, root in rows]


class ReadOnlySqlite:
    """An `Engine` on an SQLite file that lends reading transactions only."""

    none_of = "{column} NOT IN (SELECT value FROM json_each(?))"

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            UnavailableError: `UNAVAILABLE`, naming the file, when there is none, or it is not one of this version.
        """
        self.place = str(path)
        address = f"{path.absolute().as_uri()}?mode=ro"
        try:
            self._connection = sqlite3.connect(
                address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._check()
        except sqlite3.Error as problem:
            raise unusable(path, str(problem), "Check the path, and the permissions of the folder.") from None

    def _check(self) -> None:
        try:
            (application,) = self._connection.execute("PRAGMA application_id").fetchone()
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if (application, version) != (APPLICATION_ID, len(MIGRATIONS)):
                detail = f"a store of schema {version}, this version reads {len(MIGRATIONS)}"
                step = "Use the version that wrote it; `serve` of a newer one brings it up to date."
                raise unusable(self.place, detail, step)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def several(self, values: Collection[int]) -> object:
        """Return many numbers as one parameter."""
        return json.dumps(list(values))

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep nobody out: nothing is written."""
        return contextlib.nullcontext()

    def changing(self, *, secure: bool = False) -> contextlib.AbstractContextManager[Rows]:
        """Refuse."""
        raise error(Reason.NOT_PERMITTED, field=self.place, detail="opened for reading only")

    @contextlib.contextmanager
    def reading(self, table: str) -> Iterator[sqlite3.Connection]:
        """Lend the connection in one read transaction."""
        try:
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite3.DatabaseError as problem:
            raise damaged(table, f"cannot be read: {problem}") from problem
