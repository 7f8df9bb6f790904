"""Needs: who needs which attachment, in the store's own tables, so that it changes with the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from infoexchange import wire
from infoexchange.chunks import Blob
from infoexchange.ports import Change
from infoexchange_relay.stores.engine import Engine, Row, Rows


class RowNeeds:
    """The `Needs` of a `RowStore`."""

    def __init__(self, engine: Engine) -> None:
        """Use the store's tables, in transactions of their own."""
        self._engine = engine

    def readable(self, party: str, root: bytes) -> Blob | None:
        """Return the attachment of that root that a party needs, if it needs one."""
        query = "SELECT owner, root FROM need WHERE party = ? AND root = ? AND ended = 0 LIMIT 1"
        with self._engine.reading("need") as db:
            row = db.execute(query, (party, root)).fetchone()
        return Blob(*row) if row else None

    def known(self, blobs: Sequence[Blob]) -> Sequence[bool]:
        """Return of each whether an envelope has named it: until it is forgotten, also when nobody needs it."""
        query = "SELECT 1 FROM need WHERE owner = ? AND root = ? LIMIT 1"
        with self._engine.reading("need") as db:
            return [db.execute(query, (blob.owner, blob.root)).fetchone() is not None for blob in blobs]

    def over(self, past: datetime, *, limit: int) -> Sequence[Blob]:
        """Return what is needed by nobody any more; needs of envelopes that ended before `past` are over."""
        is_over = "CASE WHEN ended = 1 OR expires_ms < ? THEN 1 ELSE 0 END"
        query = f"SELECT owner, root FROM need GROUP BY owner, root HAVING min({is_over}) = 1 LIMIT ?"  # noqa: S608  constants only
        with self._engine.reading("need") as db:
            return [Blob(*row) for row in db.execute(query, (wire.to_ms(past), limit))]

    def forget(self, blobs: Sequence[Blob], past: datetime) -> None:
        """Drop the needs that are over, once the bytes are deleted; a blob that is needed again stays known."""
        end = wire.to_ms(past)
        with self._engine.changing() as db:
            db.executemany(
                "DELETE FROM need WHERE owner = ? AND root = ? AND (ended = 1 OR expires_ms < ?)",
                [(blob.owner, blob.root, end) for blob in blobs],
            )


class NeedRows:
    """Needs that begin and end with the changes of one transaction."""

    def __init__(self) -> None:
        """Begin with none."""
        self._begun: list[Row] = []
        self._ended: list[Row] = []

    def take(self, change: Change) -> None:
        """Note what a new change begins and ends."""
        if change.blobs and change.envelope:
            expires_ms = wire.to_ms(change.envelope.expires_at)
            self._begun += [
                (blob.owner, blob.root, change.digest, party, expires_ms)
                for blob in change.blobs
                for party in change.starts
            ]
        if change.ends:
            self._ended.append((change.digest, change.party, change.party))

    def write(self, db: Rows) -> None:
        """Write the rows into the open transaction."""
        db.executemany(
            "INSERT INTO need (owner, root, digest, party, expires_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            self._begun,
        )
        db.executemany(
            "UPDATE need SET ended = 1 WHERE digest = ? AND ended = 0 AND (party = ? OR ? = '')", self._ended
        )
