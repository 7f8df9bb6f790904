"""Rows: how entries, envelopes and places in queues are read from a relay's store, each against its check sum."""

from __future__ import annotations

from typing import Any

from infoexchange.audit import SALT_SIZE, Entry
from infoexchange.errors import UnavailableError
from infoexchange.ports import Record, Waiting
from infoexchange.record import ShownEntry
from infoexchange.states import Event
from infoexchange_relay.stores.engine import Rows
from infoexchange_relay.stores.schema import check_row, damaged, row_digest

# Implementation constants
ENTRY = "e.idx, e.digest, e.party, e.event, e.leaf, e.routing, e.message, e.operational, e.salts, e.exhibit, e.sha256"
ENVELOPE = "v.digest, v.precedence, v.expires_ms, v.raw, v.sha256"
WAITING = (
    f"SELECT q.position, q.party, q.envelope, {ENVELOPE}"  # noqa: S608  constants only
    " FROM queue AS q LEFT JOIN envelope AS v ON v.idx = q.envelope"
)


def check_entry(index: int, row: tuple[Any, ...]) -> None:
    """Raise `LOG_STOPPED` unless the columns `ENTRY` of one row are what was written."""
    check_row("entry", str(index), row[-1], index, *row[1:-1])


def read_record(db: Rows, index: int) -> Record:
    """Return one entry with its document."""
    row = db.execute(
        f"SELECT x.document, {ENTRY} FROM entry AS e LEFT JOIN exhibit AS x ON x.idx = e.idx WHERE e.idx = ?",  # noqa: S608  constants only
        (index,),
    ).fetchone()
    if row is None:
        raise damaged("entry", f"row {index} is missing")
    document, *rest = row
    check_entry(index, tuple(rest))
    _, _, party, event, leaf, routing, message, operational, salts, exhibit, _ = rest
    if exhibit != (b"" if document is None else row_digest(document)):
        raise damaged("exhibit", f"row {index} does not match its SHA-256")
    first, second, third = (salts[at : at + SALT_SIZE] for at in range(0, 3 * SALT_SIZE, SALT_SIZE))
    kept = (routing, message, operational, (first, second, third))
    entry = Entry(*kept) if salts else ShownEntry(*kept, leaf)
    return Record(index, entry, Event(event), party, document or b"")


def checked_envelope(
    index: int, digest: bytes, precedence: int, expires_ms: int, raw: bytes, stored: bytes
) -> tuple[bytes, bytes]:
    """Return digest and bytes of an envelope, once the row is found to be what was written."""
    check_row("envelope", str(index), stored, index, digest, precedence, expires_ms, raw)
    return digest, raw


def as_waiting(db: Rows, row: tuple[Any, ...]) -> Waiting:
    """Return what a row of `WAITING` holds, or that it is damaged."""
    position, party, *envelope = row
    try:
        return Waiting(position, party, *checked_envelope(*envelope))
    except UnavailableError:
        index, *_, raw, _ = envelope
        return Waiting(position, party, _logged_digest(db, index), b"", remains=raw or b"")


def _logged_digest(db: Rows, index: int) -> bytes:
    """Return what an entry is about; nothing if that is damaged too."""
    try:
        row = db.execute(f"SELECT {ENTRY} FROM entry AS e WHERE e.idx = ?", (index,)).fetchone()  # noqa: S608  constants only
        if row is None:
            return b""
        check_entry(index, row)
    except UnavailableError:
        return b""
    digest: bytes = row[1]
    return digest
