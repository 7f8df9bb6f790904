"""RowStore: a relay's log, envelopes and queues in the tables of a database."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import Change, ClosedLog, Head, Queue, Record, Waiting, within_batch
from infoexchange.states import Event, Precedence
from infoexchange.tlog import Checkpoint, merkle, tiles
from infoexchange_relay.stores import closing, erasing
from infoexchange_relay.stores.batch import Batch
from infoexchange_relay.stores.engine import Engine, Rows
from infoexchange_relay.stores.needs import RowNeeds
from infoexchange_relay.stores.rows import (
    ENTRY,
    ENVELOPE,
    WAITING,
    as_waiting,
    check_entry,
    checked_envelope,
    read_record,
)
from infoexchange_relay.stores.schema import check_row, damaged, row_digest

# Implementation constants
_BUNDLES_MAX = 4096  # parsed bundles remembered: one for each party that a directory can name


class RowStore:
    """A `Store` in a database, whichever it is.

    Attributes:
        engine: The database.
        needs: Who needs which attachment.
    """

    def __init__(self, engine: Engine) -> None:
        """Begin a log where there is none, and see that head, tiles and entries belong together.

        Raises:
            UnavailableError: `LOG_STOPPED` when they do not.
        """
        self.engine = engine
        self.needs = RowNeeds(engine)
        self._bundles: dict[bytes, KeyBundle] = {}
        self._edge: dict[tuple[int, int], bytes] = {}
        self._edge_head: Head | None = None
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        with self.engine.changing() as db:
            if not db.execute("SELECT 1 FROM head").fetchone():
                _write_head(db, Head(0, merkle.root([])), 0)
        with self.engine.reading("head") as db:
            head, _ = _read_head(db)
            (last,) = db.execute("SELECT coalesce(max(idx), -1) FROM entry").fetchone()
            root = tiles.root(head.size, lambda level, n: _read_tile(db, level, n))
        if (last + 1, root) != (head.end, head.root):
            raise damaged("head", f"size {head.end} and its root do not fit {last + 1} entries and their tiles")

    def alone(self) -> AbstractContextManager[None]:
        """Keep every other node from writing for as long as the block lasts; raises as `Engine.alone`."""
        return self.engine.alone()

    def append(self, changes: Sequence[Change]) -> Sequence[int | ExchangeError]:
        """Make the changes durable in one transaction; return one index, `REPLAYED` or `NOT_PERMITTED`, each.

        Raises:
            UnavailableError: As `Engine.changing`.
        """
        with self.engine.changing() as db:
            head, queued = _read_head(db)
            batch = Batch(db, head.end, queued)
            results = [batch.take(change) for change in changes]
            if not batch.hashes:
                return results
            edge = dict(self._edge) if self._edge_head == head else {}  # another process may have written since

            def read(level: int, n: int) -> bytes:
                if (level, n) not in edge:
                    edge[level, n] = _read_tile(db, level, n)
                return edge[level, n]

            batch.write()
            changed, root = tiles.extend(head.size, batch.hashes, read)
            _write_tiles(db, changed)
            head = Head(head.size + len(batch.hashes), root, head.base)
            _write_head(db, head, batch.queued)
        # Only now, because a transaction that did not commit has changed no tile.
        edge.update(changed)
        self._edge = {name: edge[name] for name in _edge_names(head.size) if name in edge}
        self._edge_head = head
        return results

    def head(self) -> Head:
        """Return size and root, in constant time."""
        with self.engine.reading("head") as db:
            return _read_head(db)[0]

    def tiles(self, names: Sequence[tuple[int, int]], base: int | None = None) -> Sequence[bytes]:
        """Return stored tiles by (level, n) of one log; `BAD_FIELD` for one that its tree does not have."""
        with self.engine.reading("tile") as db:
            head, _ = _read_head(db)
            size, read = (head.size, _read_tile) if base in (None, head.base) else closing.tiles_of(db, base)
            for level, n in names:
                if level < 0 or n < 0 or not tiles.width_at(level, n, size):
                    raise error(Reason.BAD_FIELD, field="tile", detail=f"no tile {level}/{n} in a tree of {size}")
            return [read(db, level, n) for level, n in names]

    def closed(self) -> Sequence[ClosedLog]:
        """Return every closed log, the oldest first."""
        with self.engine.reading("closed") as db:
            return closing.closed_logs(db)

    def close_log(self, checkpoint: Checkpoint) -> None:
        """Close the log that grows, durably; the next one begins empty."""
        with self.engine.changing() as db:
            head, queued = _read_head(db)
            closing.close(db, head, checkpoint)
            _write_head(db, Head(0, merkle.EMPTY_ROOT, head.end), queued)

    def cosign_closed(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint of a closed log with more cosignatures."""
        with self.engine.changing() as db:
            closing.cosign(db, checkpoint)

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaf bytes in order, fewer at the end."""
        with self.engine.reading("entry") as db:
            head, _ = _read_head(db)
            indices = range(head.end)[start : start + count]
            rows = db.execute(
                f"SELECT {ENTRY} FROM entry AS e WHERE idx >= ? ORDER BY idx LIMIT ?",  # noqa: S608  constants only
                (start, len(indices)),
            ).fetchall()
        for index, row in zip(indices, rows, strict=False):
            check_entry(index, row)
        if len(rows) != len(indices):
            raise damaged("entry", f"{len(rows)} rows from {start} on where {len(indices)} were written")
        return [row[4] for row in rows]

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked; `BAD_FIELD` for an index that the log does not have."""
        with self.engine.reading("entry") as db:
            head, _ = _read_head(db)
            for index in indices:
                if not 0 <= index < head.end:
                    raise error(Reason.BAD_FIELD, field="index", detail=f"no entry {index} in a log of {head.end}")
            return [read_record(db, index) for index in indices]

    def history(self, digest: bytes) -> Sequence[int]:
        """Return the indices of all events of an envelope or document, ascending."""
        with self.engine.reading("entry") as db:
            return [idx for (idx,) in db.execute("SELECT idx FROM entry WHERE digest = ? ORDER BY idx", (digest,))]

    def waiting(
        self, party: str, *, limit: int, skip: Collection[int] = (), least: Precedence = Precedence.ROUTINE
    ) -> Sequence[Waiting]:
        """Return what waits for a party: precedence first, then arrival.

        Positions in `skip` are left out, and what has a lower precedence than `least`.
        """
        with self.engine.reading("queue") as db:
            unskipped = self.engine.none_of.format(column="q.position")
            rows = db.execute(
                f"{WAITING} WHERE q.party = ? AND q.precedence >= ? AND {unskipped}"
                " ORDER BY q.precedence DESC, q.position LIMIT ?",
                (party, int(least), self.engine.several(skip), limit),
            )
            return within_batch(as_waiting(db, row) for row in rows)

    def queues(self) -> Sequence[Queue]:
        """Return every queue in which something waits."""
        with self.engine.reading("queue") as db:
            rows = db.execute(
                "SELECT party, precedence, count(*), min(envelope) FROM queue GROUP BY party, precedence"
                " ORDER BY party, precedence"
            )
            return [Queue(party, Precedence(precedence), *counted) for party, precedence, *counted in rows]

    def expired(self, now: datetime, *, limit: int) -> Sequence[Waiting]:
        """Return what still waits although its time has run out, longest ago first."""
        with self.engine.reading("queue") as db:
            rows = db.execute(
                f"{WAITING} WHERE v.expires_ms < ? ORDER BY v.expires_ms, q.position LIMIT ?",
                (wire.to_ms(now), limit),
            )
            return [as_waiting(db, row) for row in rows.fetchall()]

    def envelope(self, digest: bytes) -> bytes | None:
        """Return an envelope that somebody waits for."""
        with self.engine.reading("envelope") as db:
            row = db.execute(
                f"SELECT v.idx, {ENVELOPE} FROM entry AS e JOIN envelope AS v ON v.idx = e.idx"  # noqa: S608  constants only
                " WHERE e.digest = ? AND v.digest = ?",
                (digest, digest),
            ).fetchone()
        return checked_envelope(*row)[1] if row else None

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return bundles by owner, newest epoch first for each."""
        with self.engine.reading("bundle") as db:
            query = "SELECT * FROM bundle WHERE owner = ? ORDER BY epoch DESC, number DESC"
            rows = [row for name in names for row in db.execute(query, (name,))]
        return [self._bundle(row) for row in rows]

    def bundle(self, digest: bytes) -> KeyBundle | None:
        """Return one bundle by digest."""
        with self.engine.reading("bundle") as db:
            row = db.execute("SELECT * FROM bundle WHERE digest = ?", (digest,)).fetchone()
        return self._bundle(row) if row else None

    def _bundle(self, row: tuple[Any, ...]) -> KeyBundle:
        """Return the bundle of a row; the same object for the same row, because bundles remember their proofs."""
        _, digest, owner, epoch, raw, certificates, crls, stored = row
        check_row("bundle", digest.hex(), stored, digest, owner, epoch, raw, certificates, crls)
        if stored not in self._bundles:
            if len(self._bundles) >= _BUNDLES_MAX:
                self._bundles.clear()
            parts = [[bytes.fromhex(part) for part in json.loads(text)] for text in (certificates, crls)]
            self._bundles[stored] = KeyBundle.parse(raw, *parts)
        return self._bundles[stored]

    def erasable(self, start: int, end: int, *, limit: int) -> Sequence[int]:
        """Return places whose records can be erased and are not yet, ascending."""
        with self.engine.reading("entry") as db:
            return erasing.erasable(db, start, end, limit)

    def erase(self, indices: Sequence[int]) -> None:
        """Delete groups, salts, parties and documents of entries, and overwrite them as far as the engine can."""
        with self.engine.changing(secure=True) as db:
            erasing.erase(db, indices)

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return the documents of every entry of one event, in log order."""
        with self.engine.reading("exhibit") as db:
            rows = db.execute("SELECT idx FROM exhibit WHERE event = ? ORDER BY idx", (int(event),)).fetchall()
            return [read_record(db, idx).exhibit for (idx,) in rows]

    def latest(self, event: Event) -> int:
        """Return the place of the newest entry of one event that has a document; -1 if there is none."""
        with self.engine.reading("exhibit") as db:
            (idx,) = db.execute("SELECT coalesce(max(idx), -1) FROM exhibit WHERE event = ?", (int(event),)).fetchone()
            return int(idx)


def _edge_names(size: int) -> list[tuple[int, int]]:
    """Return the names of the right-edge tiles, which the next append reads."""
    levels = range(tiles.LEVEL_MAX // tiles.HEIGHT + 1)
    return [(level, (size >> (tiles.HEIGHT * level)) // tiles.WIDTH) for level in levels]


def _read_head(db: Rows) -> tuple[Head, int]:
    """Return the head, and how many places in queues were ever given."""
    row = db.execute("SELECT size, root, queued, sha256 FROM head").fetchone()
    if row is None:
        raise damaged("head", "the row is missing")
    size, root, queued, stored = row
    check_row("head", "1", stored, size, root, queued)
    return Head(size, root, closing.base_of(db)), queued


def _write_head(db: Rows, head: Head, queued: int) -> None:
    row = (head.size, head.root, queued)
    db.execute(
        "INSERT INTO head VALUES (1, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " size = excluded.size, root = excluded.root, queued = excluded.queued, sha256 = excluded.sha256",
        (*row, row_digest(*row)),
    )


def _write_tiles(db: Rows, changed: dict[tuple[int, int], bytes]) -> None:
    db.executemany(
        "INSERT INTO tile VALUES (?, ?, ?, ?) ON CONFLICT (level, n) DO UPDATE SET"
        " hashes = excluded.hashes, sha256 = excluded.sha256",
        [(level, n, hashes, row_digest(level, n, hashes)) for (level, n), hashes in changed.items()],
    )


def _read_tile(db: Rows, level: int, n: int) -> bytes:
    row = db.execute("SELECT hashes, sha256 FROM tile WHERE level = ? AND n = ?", (level, n)).fetchone()
    if row is None:
        raise damaged("tile", f"row {level}/{n} is missing")
    hashes: bytes = row[0]
    check_row("tile", f"{level}/{n}", row[1], level, n, hashes)
    return hashes
