"""Closing: the logs of a relay's store that nothing is added to any more, with their tiles and last checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from infoexchange.ports import ClosedLog, Head
from infoexchange.tlog import Checkpoint
from infoexchange_relay.stores.engine import Rows
from infoexchange_relay.stores.schema import check_row, damaged, row_digest


def base_of(db: Rows) -> int:
    """Return how many entries all closed logs hold together."""
    (base,) = db.execute("SELECT coalesce(max(base + size), 0) FROM closed").fetchone()
    return int(base)


def closed_logs(db: Rows) -> list[ClosedLog]:
    """Return every closed log, the oldest first."""
    found = []
    for base, size, note, stored in db.execute("SELECT base, size, note, sha256 FROM closed ORDER BY base"):
        check_row("closed", str(base), stored, base, size, note)
        found.append(ClosedLog(base, Checkpoint.parse(note)))
    return found


def close(db: Rows, head: Head, checkpoint: Checkpoint) -> None:
    """Put the log that grows among the closed ones, in the open transaction; its tiles go with it."""
    if not checkpoint.size or (checkpoint.size, checkpoint.root) != (head.size, head.root):
        raise ValueError("not a checkpoint of the whole log")
    _write(db, ClosedLog(head.base, checkpoint))
    db.execute("INSERT INTO closed_tile SELECT ?, level, n, hashes, sha256 FROM tile", (head.base,))
    db.execute("DELETE FROM tile")


def cosign(db: Rows, checkpoint: Checkpoint) -> None:
    """Keep a checkpoint in the place of one that says the same, in the open transaction."""
    for log in closed_logs(db):
        if log.checkpoint.note.text == checkpoint.note.text:
            _write(db, ClosedLog(log.base, checkpoint))
            return
    raise ValueError("not the last checkpoint of a closed log")


def tiles_of(db: Rows, base: int) -> tuple[int, Callable[[Rows, int, int], bytes]]:
    """Return the size of the closed log that begins at `base`, and what reads its tiles."""
    for log in closed_logs(db):
        if log.base == base:
            return log.checkpoint.size, partial(_read_tile, base)
    raise damaged("closed", f"no log begins at {base}")


def _read_tile(base: int, db: Rows, level: int, n: int) -> bytes:
    query = "SELECT hashes, sha256 FROM closed_tile WHERE base = ? AND level = ? AND n = ?"
    row = db.execute(query, (base, level, n)).fetchone()
    if row is None:
        raise damaged("closed_tile", f"row {base}/{level}/{n} is missing")
    hashes: bytes = row[0]
    check_row("closed_tile", f"{base}/{level}/{n}", row[1], level, n, hashes)
    return hashes


def _write(db: Rows, log: ClosedLog) -> None:
    row = (log.base, log.checkpoint.size, log.checkpoint.raw)
    db.execute(
        "INSERT INTO closed VALUES (?, ?, ?, ?) ON CONFLICT (base) DO UPDATE SET"
        " size = excluded.size, note = excluded.note, sha256 = excluded.sha256",
        (*row, row_digest(*row)),
    )
