"""Erasing: rows of a relay's store lose what they tell, and keep what proofs need."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from infoexchange.states import Event
from infoexchange_relay.stores.schema import row_digest

# Of messages that nothing later is said of, and that nobody waits for.
_ERASABLE = """
    SELECT e.idx FROM entry AS e
    WHERE e.idx >= ?1 AND e.idx < ?2 AND e.event < ?3 AND e.salts != x''
      AND NOT EXISTS (SELECT 1 FROM entry AS later WHERE later.digest = e.digest AND later.idx >= ?2)
      AND NOT EXISTS (
        SELECT 1 FROM entry AS other JOIN envelope AS v ON v.idx = other.idx WHERE other.digest = e.digest
      )
    ORDER BY e.idx LIMIT ?4
"""


def erasable(db: sqlite3.Connection, start: int, end: int, limit: int) -> list[int]:
    """Return what `Store.erasable` does."""
    return [idx for (idx,) in db.execute(_ERASABLE, (start, end, int(Event.LOG_GENESIS), limit))]


def erase(db: sqlite3.Connection, indices: Sequence[int]) -> None:
    """Erase some entries in the open transaction.

    The party's name goes too; a mark of its own stands in its place, because no two rows have one digest, party and
    event.
    """
    for index in indices:
        query = "SELECT idx, digest, event, leaf FROM entry WHERE idx = ?"
        idx, digest, event, leaf = db.execute(query, (index,)).fetchone()
        row = (idx, digest, f"erased {idx}", event, leaf, b"", b"", b"", b"", b"")
        db.execute("DELETE FROM exhibit WHERE idx = ?", (index,))
        db.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, row_digest(*row)))
