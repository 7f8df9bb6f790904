"""Shared: what all nodes of one relay have together beside the store: latches, small notes, and who does what.

Kept in tables beside the store's. What nobody may be able to take back by restoring the database stands in a file of
each node as well.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from infoexchange.errors import Reason, UntrustedError, error
from infoexchange.ports import Latch
from infoexchange.tlog import Checkpoint
from infoexchange_relay.stores.engine import Engine, Rows
from infoexchange_relay.stores.schema import check_row, row_digest

# Implementation constants
LEASE_SECONDS = 4  # a duty goes to another node when its own has not asked for it for so long; renewed every second
_KEEP_TRIES = 8  # each that fails means that another thread of this node has kept something


class Notes:
    """Short documents by name."""

    def __init__(self, engine: Engine) -> None:
        """Hold the database."""
        self._engine = engine

    @property
    def place(self) -> str:
        """Names the database in errors."""
        return self._engine.place

    def read(self, name: str) -> bytes:
        """Return a document; nothing if there is none."""
        with self._engine.reading("note") as db:
            return _note(db, name)

    def put(self, name: str, raw: bytes) -> None:
        """Keep a document, durably, whatever was there before; raises as `Engine.changing`."""
        with self._engine.changing() as db:
            _put(db, name, raw)

    def swap(self, name: str, old: bytes, new: bytes) -> bool:
        """Keep `new` in the place of `old`, or of what is older still; return whether that stood there."""
        with self._engine.changing() as db:
            found = _note(db, name)
            if found != old and not is_newer(old, found):
                return False
            _put(db, name, new)
            return True


class SharedLatch:
    """A `Latch` that all nodes move together; each keeps what it last saw in a file of its own as well.

    A database that was put back to an older state shows it by what the files know.
    """

    def __init__(self, notes: Notes, name: str, kept: Latch) -> None:
        """Hold the shared row's name, and this node's own file."""
        self._notes = notes
        self._name = name
        self._kept = kept

    def read(self) -> bytes:
        """Return the newer of the two; the shared one where this node's is still of the log before."""
        shared, kept = self._notes.read(self._name), self._kept.read()
        return kept if is_newer(kept, shared) else shared

    def replace(self, old: bytes, new: bytes) -> None:
        """Put `new` in the place of `old` in the row, then in the file.

        Raises:
            UnavailableError: `UNAVAILABLE` when another node was first; otherwise as both of them.
        """
        if not self._notes.swap(self._name, old, new):
            raise error(Reason.UNAVAILABLE, field=self._notes.place, detail="another node has gone on meanwhile")
        self.keep(new)

    def keep(self, note: bytes) -> None:
        """Put what another node has signed into this node's file."""
        for left in reversed(range(_KEEP_TRIES)):
            kept = self._kept.read()
            if note == kept or is_newer(kept, note):
                return
            try:
                self._kept.replace(kept, note)
            except UntrustedError:  # this node's writer and its look both keep what they know, and one was first
                if not left:
                    raise


def is_newer(note: bytes, other: bytes) -> bool:
    """Whether a checkpoint came after another one of the same log, or after nothing."""
    if not note or not other:
        return bool(note)
    one, two = Checkpoint.parse(note), Checkpoint.parse(other)
    return one.origin == two.origin and one.size > two.size


@dataclass(frozen=True)
class Shift:
    """What became of a node's wishes.

    Attributes:
        held: The duties that are its own until its lease ends.
        nodes: How many nodes share them.
    """

    held: frozenset[str]
    nodes: int


class Workplace(Protocol):
    """A database in which nodes may also tell each other what has nothing to do with the log."""

    def working(self) -> AbstractContextManager[Rows]:
        """Lend a transaction; raises `UNAVAILABLE`."""


class Duties:
    """Who does what: each duty is one node's until it stops asking for it; nodes that are there share them evenly."""

    def __init__(self, engine: Workplace, node: str) -> None:
        """Hold the database, and the name of this node."""
        self._engine = engine
        self._node = node

    def renew(self, wanted: Collection[str]) -> Shift:
        """Say that this node is there and which duties there are; return those that are its own now.

        Raises:
            UnavailableError: `UNAVAILABLE`; the node then has to stop what it does before its lease ends.
        """
        names = sorted(wanted)
        with self._engine.working() as db:
            db.execute(
                "INSERT INTO member VALUES (?, now() + ? * interval '1 second')"
                " ON CONFLICT (node) DO UPDATE SET until = excluded.until",
                (self._node, LEASE_SECONDS),
            )
            db.execute("DELETE FROM member WHERE until < now()")
            (nodes,) = db.execute("SELECT count(*) FROM member").fetchone()
            db.execute("INSERT INTO duty (name) SELECT unnest(?::text[]) ON CONFLICT DO NOTHING", (names,))
            share = -(-len(names) // nodes)
            held = self._keep(db, names, share)
            if len(held) < share:
                held |= self._take(db, names, share - len(held))
        return Shift(frozenset(held), nodes)

    def _keep(self, db: Rows, names: list[str], share: int) -> set[str]:
        """Go on with what is this node's own, up to its share; the rest is free for others."""
        rows = db.execute(
            "SELECT name FROM duty WHERE node = ? AND until >= now() AND name = ANY(?) ORDER BY name FOR UPDATE",
            (self._node, names),
        ).fetchall()
        kept = [name for (name,) in rows][:share]
        db.execute("UPDATE duty SET until = '-infinity' WHERE node = ? AND name <> ALL(?)", (self._node, kept))
        db.execute(
            "UPDATE duty SET until = now() + ? * interval '1 second' WHERE node = ? AND name = ANY(?)",
            (LEASE_SECONDS, self._node, kept),
        )
        return set(kept)

    def _take(self, db: Rows, names: list[str], count: int) -> set[str]:
        """Take what nobody does; whatever another node is just taking is skipped."""
        rows = db.execute(
            "UPDATE duty SET node = ?, until = now() + ? * interval '1 second' WHERE name IN ("
            " SELECT name FROM duty WHERE until < now() AND name = ANY(?) ORDER BY random() LIMIT ?"
            " FOR UPDATE SKIP LOCKED) RETURNING name",
            (self._node, LEASE_SECONDS, names, count),
        ).fetchall()
        return {name for (name,) in rows}

    def leave(self) -> None:
        """Give everything back, so that nobody has to wait for it."""
        with self._engine.working() as db:
            db.execute("DELETE FROM member WHERE node = ?", (self._node,))
            db.execute("UPDATE duty SET until = '-infinity' WHERE node = ?", (self._node,))


class Arrivals:
    """What came into a database since it was last looked at, whoever wrote it and whether or not that was told."""

    def __init__(self, engine: Workplace) -> None:
        """Hold the database; the first look is at all that is there."""
        self._engine = engine
        self._end = 0
        self._bundle = 0

    def look(self, end: int) -> tuple[list[str], list[str]]:
        """Return for whom something came before place `end` of the log, and whose bundles were published.

        What a party does not wait for any more is left out.

        Raises:
            UnavailableError: `UNAVAILABLE`; then the next look is at this as well.
        """
        with self._engine.working() as db:
            # What is written after the end was read is seen twice.
            came = db.execute("SELECT DISTINCT party FROM queue WHERE envelope >= ?", (self._end,)).fetchall()
            bundles = db.execute("SELECT owner, number FROM bundle WHERE number > ?", (self._bundle,)).fetchall()
        self._end = end
        self._bundle = max((number for _, number in bundles), default=self._bundle)
        return [party for (party,) in came], sorted({owner for owner, _ in bundles})


def _note(db: Rows, name: str) -> bytes:
    row = db.execute("SELECT raw, sha256 FROM note WHERE name = ?", (name,)).fetchone()
    if row is None:
        return b""
    raw, stored = row
    check_row("note", name, stored, name, raw)
    return bytes(raw)


def _put(db: Rows, name: str, raw: bytes) -> None:
    db.execute(
        "INSERT INTO note VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET raw = excluded.raw, sha256 = excluded.sha256",
        (name, raw, row_digest(name, raw)),
    )
