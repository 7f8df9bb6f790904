"""Batch: the changes of one transaction, decided one by one and written together."""

from __future__ import annotations

import json

from infoexchange import wire
from infoexchange.bundle import KeyBundle
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import Change, Parcel
from infoexchange.states import Event
from infoexchange.tlog import merkle
from infoexchange_relay.stores.engine import Row, Rows
from infoexchange_relay.stores.needs import NeedRows
from infoexchange_relay.stores.schema import row_digest


class Batch:
    """Rows on their way into the tables of one open transaction.

    Attributes:
        hashes: Hashes of the new leaves, in order.
        queued: Places in queues ever given, with those of this batch.
    """

    def __init__(self, db: Rows, size: int, queued: int) -> None:
        self.hashes: list[bytes] = []
        self.queued = queued
        self._db = db
        self._size = size
        self._indices: dict[tuple[bytes, str, int], int] = {}
        self._entries: list[Row] = []
        self._exhibits: list[Row] = []
        self._claims: dict[bytes, bytes] = {}
        self._bundles: list[Row] = []
        self._envelopes: list[Row] = []
        self._stored: dict[bytes, tuple[int, int] | None] = {}
        self._starts: dict[tuple[int, str], tuple[int, int]] = {}
        self._stops: set[tuple[int, str]] = set()
        self._needs = NeedRows()

    def take(self, change: Change) -> int | ExchangeError:
        """Return the index of a change, or why it is not taken; nothing is written yet."""
        key = (change.digest, change.party, int(change.event))
        found = self._indices.get(key)
        if found is None:
            row = self._db.execute("SELECT idx FROM entry WHERE digest = ? AND party = ? AND event = ?", key).fetchone()
            found = row[0] if row else None
        if found is not None:
            return found
        if any(self._is_logged(change.digest, change.party, event) for event in change.excludes):
            return error(Reason.REPLAYED, field="event", detail=f"{change.party} has ended this in another way before")
        if not all(self._is_logged(change.digest, change.party, event) for event in change.requires):
            return error(Reason.NOT_PERMITTED, field="event", detail=f"{change.party} has not said what this follows")
        if change.claim and self._owner(change.claim, change.digest) != change.digest:
            return error(Reason.REPLAYED, field="claim", detail="the message id belongs to another envelope")
        index = self._indices[key] = self._size + len(self.hashes)
        leaf = change.entry.leaf
        self.hashes.append(merkle.leaf_hash(leaf))
        self._entries.append(_entry_row(index, change, leaf))
        if change.exhibit:
            self._exhibits.append((index, int(change.event), change.exhibit))
        if change.bundle:
            self._bundles.append(_bundle_row(change.bundle))
        if change.starts or change.stops:
            self._move(index, change)
        self._needs.take(change)
        return index

    def _is_logged(self, digest: bytes, party: str, event: Event) -> bool:
        key = (digest, party, int(event))
        query = "SELECT 1 FROM entry WHERE digest = ? AND party = ? AND event = ?"
        return key in self._indices or self._db.execute(query, key).fetchone() is not None

    def _owner(self, claim: bytes, digest: bytes) -> bytes:
        """Return the digest that a claim belongs to: `digest` from now on if it was free."""
        if claim not in self._claims:
            row = self._db.execute("SELECT digest FROM claim WHERE claim = ?", (claim,)).fetchone()
            self._claims[claim] = row[0] if row else digest
        return self._claims[claim]

    def _move(self, index: int, change: Change) -> None:
        """Let parties start and stop waiting; of several moves of one party the last one counts."""
        found = self._envelope(change.digest, change.parcel)
        if found is None and change.starts:
            if change.envelope is None:
                raise ValueError("parties cannot wait for an envelope that is not stored")
            row = _envelope_row(index, change.parcel, change.envelope)
            self._envelopes.append(row)
            found = self._stored[change.parcel] = (index, int(change.envelope.precedence))
        if found is None:  # nobody waits any more
            return
        envelope, precedence = found
        for party in change.starts:
            self.queued += 1
            self._starts.setdefault((envelope, party), (precedence, self.queued))
        for party in change.stops:
            self._starts.pop((envelope, party), None)
            self._stops.add((envelope, party))

    def _envelope(self, digest: bytes, parcel: bytes) -> tuple[int, int] | None:
        """Return number and precedence of a stored envelope, or of an order that is about it."""
        if parcel not in self._stored:
            self._stored[parcel] = self._db.execute(
                "SELECT v.idx, v.precedence FROM entry AS e JOIN envelope AS v ON v.idx = e.idx"
                " WHERE e.digest = ? AND v.digest = ?",
                (digest, parcel),
            ).fetchone()
        return self._stored[parcel]

    def write(self) -> None:
        """Write every row; whoever stops waiting stops before anybody starts, which `_move` has allowed for."""
        run = self._db.executemany
        run("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._entries)
        run("INSERT INTO exhibit VALUES (?, ?, ?)", self._exhibits)
        run("INSERT INTO claim VALUES (?, ?) ON CONFLICT (claim) DO NOTHING", list(self._claims.items()))
        # A bundle that is published again is the newest again.
        run("DELETE FROM bundle WHERE digest = ?", [(row[0],) for row in self._bundles])
        run(
            "INSERT INTO bundle (digest, owner, epoch, raw, certificates, crls, sha256) VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._bundles,
        )
        run("INSERT INTO envelope VALUES (?, ?, ?, ?, ?, ?)", self._envelopes)
        run("DELETE FROM queue WHERE envelope = ? AND party = ?", list(self._stops))
        run(
            "INSERT INTO queue VALUES (?, ?, ?, ?) ON CONFLICT (envelope, party) DO NOTHING",
            [(party, *place, envelope) for (envelope, party), place in self._starts.items()],
        )
        run(
            "DELETE FROM envelope AS v WHERE v.idx = ?"
            " AND NOT EXISTS (SELECT 1 FROM queue AS q WHERE q.envelope = v.idx)",
            list({(envelope,) for envelope, _ in self._stops}),
        )
        self._needs.write(self._db)


def _entry_row(index: int, change: Change, leaf: bytes) -> Row:
    entry = change.entry
    row = (
        index,
        change.digest,
        change.party,
        int(change.event),
        leaf,
        entry.routing,
        entry.message,
        entry.operational,
        b"".join(entry.salts),
        row_digest(change.exhibit) if change.exhibit else b"",
    )
    return (*row, row_digest(*row))


def _envelope_row(index: int, digest: bytes, envelope: Parcel) -> Row:
    row = (index, digest, int(envelope.precedence), wire.to_ms(envelope.expires_at), envelope.raw)
    return (*row, row_digest(*row))


def _bundle_row(bundle: KeyBundle) -> Row:
    certificates, crls = (json.dumps([part.hex() for part in parts]) for parts in (bundle.certificates, bundle.crls))
    row = (bundle.digest, bundle.owner, bundle.epoch, bundle.raw, certificates, crls)
    return (*row, row_digest(*row))
