"""Step table: where a spool in SQLite keeps what flows need to know of every message."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from infoexchange import wire
from infoexchange.flows import Kind, Said, Step
from infoexchange.ports.spool import TIED_MAX
from infoexchange.states import OpStatus, Precedence

TABLES = (
    """CREATE TABLE infoexchange_step (
        digest BLOB PRIMARY KEY, sender TEXT NOT NULL, recipients TEXT NOT NULL, at_ms INTEGER NOT NULL,
        sequence INTEGER NOT NULL, thread_id BLOB NOT NULL, in_reply_to BLOB NOT NULL, schema TEXT NOT NULL,
        kind INTEGER NOT NULL, asks INTEGER NOT NULL, op_status INTEGER NOT NULL, precedence INTEGER NOT NULL,
        about BLOB NOT NULL, respond_ms INTEGER
    ) STRICT""",
    """CREATE TABLE infoexchange_tie (
        about BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (about, digest)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX infoexchange_tied ON infoexchange_tie (digest)",
)
# What the own relay refused was never sent. A receipt overrules a refusal; `settle` then sets its reason to 0.
_SENT = """NOT EXISTS (
    SELECT 1 FROM infoexchange_outbox AS o WHERE o.digest = s.digest AND o.reason <> 0 AND o.receipt = x''
)"""
_WITH_FLOW = f"""SELECT s.* FROM infoexchange_step AS s WHERE {_SENT} AND (
    asks = 1 OR precedence > {int(Precedence.ROUTINE)}
    OR EXISTS (SELECT 1 FROM infoexchange_tie AS t WHERE t.digest = s.digest)
    OR EXISTS (SELECT 1 FROM infoexchange_tie AS t WHERE t.about = s.digest)
)"""  # noqa: S608  constants only
_TIED = f"""
    WITH RECURSIVE found (digest) AS (
        VALUES {{}}
        UNION SELECT t.about FROM infoexchange_tie AS t JOIN found AS f ON t.digest = f.digest
        UNION SELECT t.digest FROM infoexchange_tie AS t JOIN found AS f ON t.about = f.digest
        LIMIT {TIED_MAX}
    ) SELECT s.* FROM infoexchange_step AS s JOIN found AS f ON s.digest = f.digest WHERE {_SENT}"""  # noqa: S608  constants only


def insert(cursor: sqlite3.Cursor, steps: Iterable[Step]) -> None:
    """Keep steps; a repeat changes nothing."""
    for step in steps:
        row = _row(step)
        marks = ", ".join("?" * len(row))
        statement = f"INSERT INTO infoexchange_step VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608  marks only
        cursor.execute(statement, row)
        if cursor.rowcount:
            ties = [(about, step.digest) for about in step.refers_to]
            cursor.executemany("INSERT INTO infoexchange_tie VALUES (?, ?) ON CONFLICT DO NOTHING", ties)


def delete(cursor: sqlite3.Cursor, digest: bytes) -> None:
    """Forget a step."""
    cursor.execute("DELETE FROM infoexchange_step WHERE digest = ?", (digest,))
    cursor.execute("DELETE FROM infoexchange_tie WHERE digest = ?", (digest,))


def select(cursor: sqlite3.Cursor, about: Sequence[bytes]) -> list[Step]:
    """Return the steps tied to these digests, or all that have a flow."""
    if about:
        return [_step(row) for row in cursor.execute(_TIED.format(", ".join(["(?)"] * len(about))), about)]
    return [_step(row) for row in cursor.execute(_WITH_FLOW)]


def _row(step: Step) -> tuple[Any, ...]:
    said = step.said
    return (
        step.digest,
        step.sender,
        " ".join(step.recipients),
        wire.to_ms(step.at),
        step.sequence,
        step.thread_id,
        step.in_reply_to,
        said.schema,
        int(said.kind),
        int(said.asks),
        int(said.op_status),
        int(said.precedence),
        b"".join(said.about),
        wire.to_ms(said.respond_by) if said.respond_by else None,
    )


def _step(row: Sequence[Any]) -> Step:
    digest, sender, recipients, at, sequence, thread_id, in_reply_to, schema, kind, asks = row[:10]
    op_status, precedence, about, respond = row[10:]
    said = Said(
        schema=schema,
        kind=Kind(kind),
        asks=bool(asks),
        op_status=OpStatus(op_status),
        precedence=Precedence(precedence),
        about=tuple(about[i : i + wire.DIGEST_SIZE] for i in range(0, len(about), wire.DIGEST_SIZE)),
        respond_by=wire.from_ms(respond, field="respond_by") if respond is not None else None,
    )
    return Step(
        digest=digest,
        sender=sender,
        recipients=tuple(recipients.split()),
        at=wire.from_ms(at, field="at"),
        sequence=sequence,
        thread_id=thread_id,
        in_reply_to=in_reply_to,
        said=said,
    )
