"""Exported logs for tests: one that is real and small, and plain ones of any length that are made fast."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from conftest import RECIPIENT, SENDER
from infoexchange.audit import GROUPS
from infoexchange.exported import export_log
from infoexchange.log import LogKeys
from infoexchange.ports import Record
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.testing.clock import START
from infoexchange.tlog import Checkpoint
from infoexchange.tlog.rehash import Rehash
from messages import officer_acknowledgement


def talk(exchange: Exchange) -> None:
    """Let entries of many kinds be logged, with documents of many kinds."""
    receipt = exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    box = exchange.mailbox(RECIPIENT)
    for delivery in box.receive():
        box.acknowledge(delivery)
    exchange.mailbox(SENDER).recall(receipt.subject.envelope_digest, [RECIPIENT])
    exchange.forward()


def export(exchange: Exchange, folder: Path, relay: str, shown: Sequence[str] = GROUPS) -> Path:
    """Export a node's log, cosigned if it is."""
    ledger = exchange.nodes[relay].ledger
    export_log(ledger.store, folder, Checkpoint.parse(ledger.published()), shown=shown)
    return folder


class PlainLog:
    """Leaves of the right form that commit to nothing, as fast as they can be made; grows."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self._tree = Rehash()
        self._tiles: dict[tuple[int, int], bytes] = {}

    def grow(self, size: int) -> None:
        fresh = [leaf(index) for index in range(len(self.all), size)]
        self.all += fresh
        for tile, hashes in (*self._tree.extend(fresh), *self._tree.partial()):
            self._tiles[tile.level, tile.n] = hashes

    def sign(self, keys: LogKeys) -> Checkpoint:
        return keys.sign(len(self.all), self._tree.root, now=START)

    def tiles(self, names: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        return [self._tiles[name] for name in names]

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        return self.all[start : start + count]

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        raise NotImplementedError  # nothing of it is shown

    def exhibits(self, event: Event) -> Sequence[bytes]:
        return []


def leaf(index: int) -> bytes:
    """A canonical AuditLeaf."""
    some = hashlib.shake_256(b"%d" % index).digest(96)
    return b"\x08\x01\x12\x20" + some[:32] + b"\x1a\x20" + some[32:64] + b"\x22\x20" + some[64:]


def idle_bits(note: bytes) -> set[int]:
    """Bits of a checkpoint that may change unseen: those that say whose a witness's line is; a stranger's is skipped.

    C2SP signed-note wants that; what the log and the other witnesses have signed stays as it is.
    """
    found: set[int] = set()
    start = note.index(b"\n\n") + 2
    for line in note[start:].splitlines(keepends=True):
        if b"/witness " in line:
            name = line.index(b" ") + 1
            key_id = line.index(b" ", name) + 1
            found.update(range(8 * (start + name), 8 * (start + key_id + 6)))  # 32 bits in base64
        start += len(line)
    return found
