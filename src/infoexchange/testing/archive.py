"""Archive: one that keeps the contract of its port without a disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from infoexchange.retention import Entry, Kept


class MemoryArchive:
    """An `Archive` that lasts as long as its process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: dict[bytes, Kept] = {}
        self._keys: dict[bytes, bytes] = {}
        self._stated: set[bytes] = set()

    def keep(self, kept: Kept, sealed_key: bytes) -> None:
        """Keep a message; a repeat changes nothing, and one that was destroyed stays so."""
        with self._lock:
            if kept.entry.digest not in self._kept:
                self._kept[kept.entry.digest] = kept
                self._keys[kept.entry.digest] = sealed_key

    def entries(self) -> Sequence[Entry]:
        """Return every line, oldest first."""
        return sorted((kept.entry for kept in self._kept.values()), key=lambda entry: entry.received_at)

    def find(self, digest: bytes) -> Kept | None:
        """Return one message."""
        return self._kept.get(digest)

    def sealed_key(self, digest: bytes) -> bytes:
        """Return the sealed content key of a message; nothing once it is destroyed."""
        return self._keys.get(digest, b"")

    def due(self, now: datetime) -> Sequence[bytes]:
        """Return the digests of messages past their retention whose keys are not destroyed."""
        held = [entry for entry in self.entries() if entry.digest in self._keys]
        return [entry.digest for entry in held if entry.retention_until and entry.retention_until < now]

    def destroy(self, digests: Sequence[bytes], now: datetime) -> None:
        """Destroy content keys, and of each envelope everything but the manifest; unknown digests change nothing."""
        with self._lock:
            for digest in digests:
                if self._keys.pop(digest, None) is not None:
                    kept = self._kept[digest]
                    entry = replace(kept.entry, destroyed_at=now)
                    self._kept[digest] = replace(kept, entry=entry, raw=kept.manifest.raw)

    def unstated(self) -> Sequence[Entry]:
        """Return what is destroyed and was not stated to be so."""
        return [e for e in self.entries() if e.destroyed_at is not None and e.digest not in self._stated]

    def stated(self, digests: Sequence[bytes]) -> None:
        """Record that the statement of a destruction is on its way."""
        with self._lock:
            self._stated.update(digests)
