"""Looking: a relay's store opened for reading only, beside the relay that works on it or while none does."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from infoexchange.audit import Routing
from infoexchange.database import BUSY_SECONDS, unusable
from infoexchange.errors import Reason, error
from infoexchange.states import Precedence
from infoexchange_relay.stores.engine import Rows
from infoexchange_relay.stores.row_store import RowStore
from infoexchange_relay.stores.rows import read_record
from infoexchange_relay.stores.schema import APPLICATION_ID, MIGRATIONS, damaged


@dataclass(frozen=True)
class Queue:
    """What waits for one party with one precedence.

    Attributes:
        party: An agency, or a relay that it is to be forwarded to.
        precedence: Of all of it.
        count: How much.
        since: When the oldest was logged; None where that entry does not say.
    """

    party: str
    precedence: Precedence
    count: int
    since: datetime | None


class LookedAt(RowStore):
    """A `RowStore` of which nothing is changed, not even its schema."""

    def _prepare(self) -> None:
        """Leave everything as it is: the relay makes what is missing, and checks it."""

    def queues(self) -> list[Queue]:
        """Return every queue in which something waits, by party, the highest precedence first; reads all queues."""
        query = (
            "SELECT party, precedence, count(*), min(envelope) FROM queue "
            "GROUP BY party, precedence ORDER BY party, precedence DESC"
        )
        with self.engine.reading("queue") as db:
            rows = db.execute(query).fetchall()
            return [Queue(party, Precedence(p), count, _logged_at(db, oldest)) for party, p, count, oldest in rows]

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


def _logged_at(db: Rows, index: int) -> datetime | None:
    routing = read_record(db, index).entry.routing
    return Routing.parse(routing).logged_at if routing else None
