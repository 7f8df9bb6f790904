"""Logs: a long audit log made for measuring, exported and verified as an auditor does.

The million entries are made one after the other from their number, so that nothing but the tree is kept in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from infoexchange.audit import Entry, EntryRef, Operation, Routing, Subject
from infoexchange.log import LogKeys
from infoexchange.ports import Record
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint
from infoexchange.tlog.rehash import Rehash

_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


class LongLog:
    """A log of `size` entries such as a relay writes; what `export_log` reads.

    Args:
        relay: Whose log it is.
        size: Entries in it.
    """

    def __init__(self, relay: str, size: int) -> None:
        self.size = size
        self._relay = relay
        self._tiles: dict[tuple[int, int], bytes] = {}
        tree = Rehash()
        for start in range(0, size, 4096):
            leaves = self.leaves(start, min(4096, size - start))
            self._tiles |= {(tile.level, tile.n): hashes for tile, hashes in tree.extend(leaves)}
        self._tiles |= {(tile.level, tile.n): hashes for tile, hashes in tree.partial()}
        self.root = tree.root

    def sign(self, keys: LogKeys) -> Checkpoint:
        """Return the signed checkpoint of all entries."""
        return keys.sign(self.size, self.root, now=_AT)

    def tiles(self, names: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return tiles by (level, n)."""
        return [self._tiles[name] for name in names]

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order."""
        return [self._entry(index).leaf for index in range(start, min(start + count, self.size))]

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked."""
        return [Record(index, self._entry(index), Event.QUEUED, "") for index in indices]

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return no documents."""
        return []

    def _entry(self, index: int) -> Entry:
        groups = _groups(self._relay)
        stream = _random(index)
        routing, message, operational = (group + b"" for group in groups)
        salts = (next(stream), next(stream), next(stream))
        return Entry(routing, message, operational, salts)


@lru_cache
def _groups(relay: str) -> tuple[bytes, bytes, bytes]:
    """Return groups with all that an entry about an envelope for one recipient holds."""
    digest = hashlib.sha256(b"an envelope").digest()
    routing = Routing(
        event=Event.QUEUED,
        logged_at=_AT,
        this_relay=relay,
        sender="desk.oncb.th.example",
        sender_nation="th",
        recipients=("intel.c04.vn.example",),
        op_status=1,
        precedence=2,
        expires_at=_AT,
    )
    subject = Subject(
        envelope_digest=digest,
        message_id=digest[:16],
        envelope_size=4096,
        sender_bundle=digest,
        recipient_bundles=(digest,),
        suite=1,
        directory_digest=digest,
        previous_entry=EntryRef(relay, 1, digest),
    )
    return routing.raw, subject.raw, Operation().raw


def _random(index: int) -> Iterator[bytes]:
    for part in range(3):
        yield hashlib.sha256(b"%d %d" % (index, part)).digest()
