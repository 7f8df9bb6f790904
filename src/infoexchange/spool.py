"""Spool: an agency's durable outbox and inbox in SQLite, in a file of its own or inside the application's database.

On the application's own connection `finish` joins a transaction that is open there, so that an envelope counts as
handed over exactly when the application's own effect stands.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from infoexchange import step_table, wire
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.database import check_durable, connect, unusable
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.flows import Step
from infoexchange.grant import Grant
from infoexchange.header import LIFETIME_MAX
from infoexchange.ports import Known, Notice, Notified, Result, Seen, Sent, Standing
from infoexchange.receipt import Receipt
from infoexchange.stash import FileStash
from infoexchange.states import Event, OpStatus

# Implementation constants
_SCHEMA = 2  # 1 had no steps

# The names are prefixed, because the tables may stand in an application's database.
_TABLES = (
    "CREATE TABLE infoexchange_spool (version INTEGER NOT NULL) STRICT",
    """CREATE TABLE infoexchange_outbox (
        sequence INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, raw BLOB NOT NULL,
        receipt BLOB NOT NULL DEFAULT x'', reason INTEGER NOT NULL DEFAULT 0, refusal TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    "CREATE INDEX infoexchange_unsent ON infoexchange_outbox (sequence) WHERE receipt = x'' AND reason = 0",
    """CREATE TABLE infoexchange_inbox (
        digest BLOB PRIMARY KEY, claim BLOB NOT NULL UNIQUE, expires_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX infoexchange_expiry ON infoexchange_inbox (expires_ms)",
    """CREATE TABLE infoexchange_known (
        digest BLOB PRIMARY KEY, sender TEXT NOT NULL, op_status INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE infoexchange_notice (
        position INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, state INTEGER NOT NULL, statement BLOB NOT NULL,
        said INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX infoexchange_unsaid ON infoexchange_notice (position) WHERE said = 0",
    # Further statements, until the relay has taken them.
    """CREATE TABLE infoexchange_statement (
        position INTEGER PRIMARY KEY, digest BLOB NOT NULL, state INTEGER NOT NULL, statement BLOB NOT NULL,
        UNIQUE (digest, state, statement)
    ) STRICT""",
    """CREATE TABLE infoexchange_kek (
        name BLOB PRIMARY KEY, peer TEXT NOT NULL, given INTEGER NOT NULL, ready INTEGER NOT NULL,
        not_after_ms INTEGER NOT NULL, raw BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE infoexchange_grant (
        position INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, origin BLOB NOT NULL, raw BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX infoexchange_granted ON infoexchange_grant (origin)",
    "CREATE TABLE infoexchange_origin (digest BLOB PRIMARY KEY, raw BLOB NOT NULL) STRICT",
    *step_table.TABLES,
)
_UNSAID = f"""
    SELECT digest, state, statement FROM (
        SELECT digest, state, statement, position, 1 AS turn FROM infoexchange_notice WHERE said = 0
        UNION ALL
        SELECT digest, state, statement, position, CASE state WHEN {int(Event.RECALLED)} THEN 0 ELSE 2 END
        FROM infoexchange_statement
    ) ORDER BY turn, position LIMIT ?"""  # noqa: S608  constants only


class SqliteSpool:
    """A `Spool` in a file of its own, or in tables of the application's database.

    Inside a transaction that the application has begun on its connection, a call becomes part of it and is durable
    when the application commits.
    """

    def __init__(self, database: sqlite3.Connection | Path | str) -> None:
        self._lock = threading.Lock()
        self._owned = not isinstance(database, sqlite3.Connection)
        self._connection = database if isinstance(database, sqlite3.Connection) else connect(Path(database))
        self._name = "spool" if isinstance(database, sqlite3.Connection) else str(database)
        try:
            check_durable(self._connection, self._name)
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; an application's connection stays open."""
        if self._owned:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        with self._transaction() as cursor:
            if not cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'infoexchange_spool'").fetchone():
                for statement in _TABLES:
                    cursor.execute(statement)
                cursor.execute("INSERT INTO infoexchange_spool VALUES (?)", (_SCHEMA,))
            version = cursor.execute("SELECT max(version) FROM infoexchange_spool").fetchone()[0]
            if version == 1:
                for statement in step_table.TABLES:
                    cursor.execute(statement)
                cursor.execute("INSERT INTO infoexchange_spool VALUES (?)", (_SCHEMA,))
                version = _SCHEMA
            if version != _SCHEMA:
                raise unusable(self._name, f"schema {version}, this version knows {_SCHEMA}", "Update this software.")
            _, _, file = cursor.execute("PRAGMA database_list").fetchone()
        self.stash = FileStash(Path(f"{file}-attachments") if file else None)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """Run one transaction, or one step of the application's own."""
        with self._lock:
            cursor = self._connection.cursor()
            cursor.row_factory = None  # the application may have set another on its connection
            joined = self._connection.in_transaction
            try:
                cursor.execute("SAVEPOINT infoexchange" if joined else "BEGIN IMMEDIATE")
                yield cursor
                cursor.execute("RELEASE infoexchange" if joined else "COMMIT")
            except BaseException as problem:
                self._undo(cursor, joined=joined)
                if isinstance(problem, sqlite3.DatabaseError):
                    step = "See that the disk has space and works; what was not kept can be given again."
                    raise unusable(self._name, str(problem), step) from problem
                raise
            finally:
                cursor.close()

    def _undo(self, cursor: sqlite3.Cursor, *, joined: bool) -> None:
        """Roll back; after some errors SQLite has done so already."""
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                cursor.execute("ROLLBACK TO infoexchange" if joined else "ROLLBACK")
                if joined:
                    cursor.execute("RELEASE infoexchange")

    def standing(self) -> Standing:
        """Return the newest sequence number used and its envelope digest; 0 and nothing before the first."""
        with self._transaction() as cursor:
            cursor.execute("SELECT sequence, digest FROM infoexchange_outbox ORDER BY sequence DESC LIMIT 1")
            return Standing(*(cursor.fetchone() or (0, b"")))

    def put(self, envelopes: Sequence[Envelope], steps: Sequence[Step] = ()) -> None:
        """Keep sealed envelopes for sending, and what flows need to know of them.

        Raises:
            RefusedError: `RULE_BROKEN` when a sequence number belongs to another envelope; nothing is kept then.
        """
        with self._transaction() as cursor:
            for envelope in envelopes:
                sequence = envelope.header.sequence
                cursor.execute(
                    "INSERT INTO infoexchange_outbox (sequence, digest, raw) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (sequence, envelope.digest, envelope.raw),
                )
                cursor.execute("SELECT digest FROM infoexchange_outbox WHERE sequence = ?", (sequence,))
                if cursor.fetchone() != (envelope.digest,):
                    raise error(
                        Reason.RULE_BROKEN,
                        field="header.sequence",
                        detail=f"{sequence} is another envelope's number",
                        next_step="Seal the message again with the next sequence number.",
                    )
            step_table.insert(cursor, steps)

    def unsent(self, limit: int) -> Sequence[Sent]:
        """Return envelopes that have neither receipt nor refusal, oldest first."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT digest, raw FROM infoexchange_outbox WHERE receipt = x'' AND reason = 0"
                " ORDER BY sequence LIMIT ?",
                (limit,),
            )
            return [Sent(*row) for row in cursor]

    def settle(self, results: Sequence[tuple[bytes, Result]]) -> None:
        """Keep the result for each digest; an `UnavailableError` leaves the envelope unsent."""
        with self._transaction() as cursor:
            for digest, result in results:
                if isinstance(result, UnavailableError):
                    continue
                receipt, reason, refusal = (
                    (result.raw, 0, "") if isinstance(result, Receipt) else (b"", int(result.reason), str(result))
                )
                # A receipt is proof of acceptance: nothing that comes later takes it away.
                cursor.execute(
                    "UPDATE infoexchange_outbox SET receipt = ?, reason = ?, refusal = ?"
                    " WHERE digest = ? AND receipt = x''",
                    (receipt, reason, refusal, digest),
                )

    def sent(self, digest: bytes) -> Sent | None:
        """Return one envelope of the outbox, whatever its result."""
        with self._transaction() as cursor:
            cursor.execute("SELECT digest, raw, receipt FROM infoexchange_outbox WHERE digest = ?", (digest,))
            row = cursor.fetchone()
            return Sent(*row) if row else None

    def begin(self, digest: bytes, claim: bytes, expires_at: datetime, known: Known | None = None) -> Seen:
        """Record that an envelope is about to be handed over, and what to remember; return what was seen before.

        Raises:
            RefusedError: `REPLAYED` when the claim belongs to another digest.
        """
        with self._transaction() as cursor:
            if cursor.execute("SELECT 1 FROM infoexchange_notice WHERE digest = ?", (digest,)).fetchone():
                return Seen.DONE
            if cursor.execute("SELECT 1 FROM infoexchange_inbox WHERE digest = ?", (digest,)).fetchone():
                return Seen.BEGUN
            if cursor.execute("SELECT 1 FROM infoexchange_inbox WHERE claim = ?", (claim,)).fetchone():
                raise error(Reason.REPLAYED, field="header.message_id", detail="another envelope came under this id")
            row = (digest, claim, wire.to_ms(expires_at))
            cursor.execute("INSERT INTO infoexchange_inbox VALUES (?, ?, ?)", row)
            if known is not None:
                kept = (digest, known.sender, int(known.op_status))
                cursor.execute("INSERT INTO infoexchange_known VALUES (?, ?, ?) ON CONFLICT DO NOTHING", kept)
            return Seen.NEW

    def known(self, digest: bytes) -> Known | None:
        """Return what is remembered of a message that came, however long ago."""
        with self._transaction() as cursor:
            cursor.execute("SELECT sender, op_status FROM infoexchange_known WHERE digest = ?", (digest,))
            row = cursor.fetchone()
            return Known(row[0], OpStatus(row[1])) if row else None

    def finish(self, notice: Notice, step: Step | None = None) -> None:
        """Record that the application has it, and keep what is to be said to the relay; a repeat changes nothing."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO infoexchange_notice (digest, state, statement) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (notice.digest, int(notice.state), notice.statement),
            )
            if cursor.rowcount and notice.state is Event.REFUSED:  # its sender is told that it did not come
                step_table.delete(cursor, step.digest if step else notice.digest)
            elif cursor.rowcount and step:
                step_table.insert(cursor, [step])

    def keep(self, notice: Notice) -> None:
        """Keep another signed statement until the relay has it: RECALLED or DESTROYED; a repeat changes nothing."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO infoexchange_statement (digest, state, statement) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (notice.digest, int(notice.state), notice.statement),
            )

    def said(self, notices: Sequence[Notice]) -> None:
        """Record that the relay has taken what was said."""
        with self._transaction() as cursor:
            rows = [(n.digest, int(n.state), n.statement) for n in notices]
            which = "WHERE digest = ? AND state = ? AND statement = ?"
            cursor.executemany(f"UPDATE infoexchange_notice SET said = 1 {which}", rows)  # noqa: S608  constants only
            cursor.executemany(f"DELETE FROM infoexchange_statement {which}", rows)  # noqa: S608  constants only

    def unsaid(self, limit: int) -> Sequence[Notice]:
        """Return notices the relay has not taken yet: RECALLED, those of `finish`, then DESTROYED, each in order."""
        with self._transaction() as cursor:
            cursor.execute(_UNSAID, (limit,))
            return [Notice(digest, Event(state), statement) for digest, state, statement in cursor]

    def notice(self, digest: bytes) -> Notice | None:
        """Return the notice kept for a finished envelope."""
        with self._transaction() as cursor:
            cursor.execute("SELECT state, statement FROM infoexchange_notice WHERE digest = ?", (digest,))
            row = cursor.fetchone()
            return Notice(digest, Event(row[0]), row[1]) if row else None

    def forget(self, now: datetime) -> int:
        """Drop inbox records whose expiry plus clock skew has passed; what is still unsaid is kept until it is said."""
        with self._transaction() as cursor:
            needless = wire.to_ms(now - LIFETIME_MAX - CLOCK_SKEW)
            cursor.execute("DELETE FROM infoexchange_kek WHERE not_after_ms < ?", (needless,))
            cursor.execute(
                "DELETE FROM infoexchange_inbox WHERE expires_ms < ? AND NOT EXISTS"
                " (SELECT 1 FROM infoexchange_notice AS n WHERE n.digest = infoexchange_inbox.digest AND n.said = 0)",
                (wire.to_ms(now - CLOCK_SKEW),),
            )
            dropped = cursor.rowcount
            cursor.execute(
                "DELETE FROM infoexchange_notice WHERE said = 1 AND digest NOT IN"
                " (SELECT digest FROM infoexchange_inbox)"
            )
            return dropped

    def note_kek(self, notified: Notified) -> None:
        """Keep an envelope that brought an epoch KEK, or replace what was kept under that name."""
        row = (notified.name, notified.peer, notified.given, notified.ready, wire.to_ms(notified.not_after))
        with self._transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO infoexchange_kek VALUES (?, ?, ?, ?, ?, ?)", (*row, notified.raw))

    def keks(self) -> Sequence[Notified]:
        """Return every epoch KEK kept, the first to end first."""
        with self._transaction() as cursor:
            rows = cursor.execute("SELECT * FROM infoexchange_kek ORDER BY not_after_ms, name").fetchall()
            return [
                Notified(name, peer, bool(given), bool(ready), wire.from_ms(not_after, field="not_after"), raw)
                for name, peer, given, ready, not_after, raw in rows
            ]

    def keep_grant(self, grant: Grant) -> None:
        """Keep a grant that was given or received; a repeat changes nothing."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO infoexchange_grant (digest, origin, raw) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (grant.digest, grant.terms.origin, grant.raw),
            )

    def grants(self, origin: bytes) -> Sequence[Grant]:
        """Return the grants for what an originator's envelope held, the one kept last first."""
        with self._transaction() as cursor:
            cursor.execute("SELECT raw FROM infoexchange_grant WHERE origin = ? ORDER BY position DESC", (origin,))
            return [Grant.parse(raw) for (raw,) in cursor]

    def keep_origin(self, digest: bytes, origin: bytes) -> None:
        """Keep the Origin bytes sealed in an envelope of the outbox; a repeat changes nothing."""
        with self._transaction() as cursor:
            cursor.execute("INSERT INTO infoexchange_origin VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, origin))

    def origin(self, digest: bytes) -> bytes:
        """Return the Origin bytes kept for an envelope of the outbox; nothing for what was not passed on."""
        with self._transaction() as cursor:
            cursor.execute("SELECT raw FROM infoexchange_origin WHERE digest = ?", (digest,))
            row = cursor.fetchone()
            return bytes(row[0]) if row else b""

    def note(self, step: Step) -> None:
        """Keep what flows need to know of a message that came; a repeat changes nothing."""
        with self._transaction() as cursor:
            step_table.insert(cursor, [step])

    def steps(self, about: Sequence[bytes] = ()) -> Sequence[Step]:
        """Return what flows need to know: of everything, or of what is tied to these digests."""
        with self._transaction() as cursor:
            return step_table.select(cursor, about)
