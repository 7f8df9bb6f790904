"""Erasing: rows of a relay's store lose what they tell, and keep what proofs need."""

from __future__ import annotations

from collections.abc import Sequence

from infoexchange.states import Event
from infoexchange_relay.stores.engine import Rows
from infoexchange_relay.stores.schema import row_digest

# Of messages that nothing later is said of, and that nobody waits for.
_ERASABLE = """
    SELECT e.idx FROM entry AS e
    WHERE e.idx >= ? AND e.idx < ? AND e.event < ? AND length(e.salts) > 0
      AND NOT EXISTS (SELECT 1 FROM entry AS later WHERE later.digest = e.digest AND later.idx >= ?)
      AND NOT EXISTS (
        SELECT 1 FROM entry AS other JOIN envelope AS v ON v.idx = other.idx WHERE other.digest = e.digest
      )
    ORDER BY e.idx LIMIT ?
"""


def erasable(db: Rows, start: int, end: int, limit: int) -> list[int]:
    """Return what `Store.erasable` does."""
    return [idx for (idx,) in db.execute(_ERASABLE, (start, end, int(Event.LOG_GENESIS), end, limit))]


def erase(db: Rows, indices: Sequence[int]) -> None:
    """Erase some entries in the open transaction.

    The party's name goes too; a mark of its own stands in its place, because no two rows have one digest, party and
    event.
    """
    for index in indices:
        query = "SELECT idx, digest, event, leaf FROM entry WHERE idx = ?"
        idx, digest, event, leaf = db.execute(query, (index,)).fetchone()
        row = (idx, digest, f"erased {idx}", event, leaf, b"", b"", b"", b"", b"")
        db.execute("DELETE FROM exhibit WHERE idx = ?", (index,))
        db.execute(
            "UPDATE entry SET party = ?, routing = ?, message = ?, operational = ?, salts = ?, exhibit = ?, sha256 = ?"
            " WHERE idx = ?",
            (row[2], b"", b"", b"", b"", b"", row_digest(*row), idx),
        )
