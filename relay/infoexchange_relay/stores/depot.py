"""Depot: attachment bytes outside the store: a folder for each owner, in it a file for each root."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, Block, blocks_for
from infoexchange.attachment.blocks import block_hash, verify_root
from infoexchange.chunks import Blob
from infoexchange.errors import Reason, error
from infoexchange.ports import Clock
from infoexchange_relay.room import free_bytes
from infoexchange_relay.stores.shelf import FileWriting, Shelf, damaged_block
from infoexchange_relay.stores.tree import TreeFile


class FileDepot:
    """A `Depot` in a folder, which one process has for itself.

    Attributes:
        quota: Bytes that one owner may have here without an envelope that names them.
    """

    def __init__(self, folder: Path, *, quota: int, reserve: int, clock: Clock) -> None:
        """Find what is there; what a crash left and nobody can go on with is deleted.

        Args:
            folder: Made when there is none.
            quota: See above.
            reserve: Bytes that stay free on the disk, so that attachments never stop the log.
            clock: Gives the time now.
        """
        self.quota = quota
        self._reserve = reserve
        self._clock = clock
        self._folder = folder
        self._lock = threading.Lock()
        self._beginning = threading.Lock()  # taken before the others
        self._shelves: dict[str, dict[bytes, Shelf]] = {}
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in sorted({file.with_suffix("") for file in folder.glob("*/*")}):
            shelf = Shelf.find(path)
            if shelf is None:
                for leftover in (path, path.with_suffix(".part"), path.with_suffix(".tree")):
                    leftover.unlink(missing_ok=True)
            else:
                self._shelves.setdefault(path.parent.name, {})[shelf.ref.ct_root] = shelf

    @property
    def size(self) -> int:
        """Bytes of attachments on disk."""
        return sum(shelf.length for _, shelf in self._all())

    def _all(self) -> list[tuple[Blob, Shelf]]:
        with self._lock:
            pairs = [(owner, shelf) for owner, shelves in self._shelves.items() for shelf in shelves.values()]
        return [(Blob(owner, shelf.ref.ct_root), shelf) for owner, shelf in pairs]

    def _shelf(self, blob: Blob) -> Shelf | None:
        return self._shelves.get(blob.owner, {}).get(blob.root)

    def length(self, blob: Blob, ct_length: int) -> int:
        """Return how many of so many bytes are durable; all of them only if the blob is whole."""
        shelf = self._shelf(blob)
        return shelf.length if shelf and shelf.ref.ct_length == ct_length else 0

    def begin(self, blob: Blob, ct_length: int, offset: int) -> FileWriting:
        """Go on writing a blob; whoever wrote it until now is cut off."""
        ref = AttachmentRef(b"", ct_length, blob.root)
        with self._beginning:  # one at a time: each leaves room for what those before it have still to write
            self._check_room(blob, ct_length)
            shelf = self._shelf(blob)
            if shelf is None or (shelf.ref != ref and not shelf.whole):
                if shelf:
                    shelf.delete()
                shelf = Shelf(self._folder / blob.owner / blob.root.hex(), ref, self._clock())
            with shelf.lock:
                verify_root(ref, shelf.ref.ct_length, blob.root)
                if offset > shelf.length:
                    raise error(Reason.BAD_FIELD, field="offset", detail=f"{offset}, but {shelf.length} bytes are here")
                writing = shelf.writing = FileWriting(shelf, offset, self._clock, self._reserve)
                shelf.touched = self._clock()
            with self._lock:  # only now: what was refused must not count against the quota
                self._shelves.setdefault(blob.owner, {})[blob.root] = shelf
            return writing

    def _check_room(self, blob: Blob, ct_length: int) -> None:
        """Return if a blob fits on the disk with all that is being written to it, or raise `OVERLOADED`."""
        needed = ct_length - self.length(blob, ct_length)
        others = [shelf for other, shelf in self._all() if other != blob and shelf.writing]
        coming = sum(shelf.ref.ct_length - shelf.length for shelf in others)
        if needed and free_bytes(self._folder) - coming - needed < self._reserve:
            raise error(Reason.OVERLOADED, field="attachment", detail="the relay's disk is full")

    def read(self, blob: Blob, offset: int, size: int) -> Iterator[Block]:
        """Yield blocks of a whole blob, each compared with the hash that was kept of it."""
        shelf = self._shelf(blob)
        if shelf is None or not shelf.whole:
            raise error(Reason.UNAVAILABLE, field="attachment", detail="it is not here")
        with shelf.path.open("rb", buffering=0) as data, shelf.tree.open("rb", buffering=0) as hashes:
            tree = TreeFile(hashes.fileno(), shelf.ref)
            for index in blocks_for(shelf.ref, offset, size):
                block = os.pread(data.fileno(), BLOCK_SIZE, index * BLOCK_SIZE)
                if block_hash(block) != tree.leaf(index):
                    raise damaged_block(blob, index)
                yield Block(index, block, tree.path(index))

    def claim(self, blob: Blob, ct_length: int, *, now: datetime) -> bool:
        """Return whether a blob is whole and has that length, and note the time, so that it is kept a while."""
        shelf = self._shelf(blob)
        if shelf is None:
            return False
        with shelf.lock:
            if not shelf.whole or shelf.ref.ct_length != ct_length:
                return False
            shelf.touched = now
            os.utime(shelf.path, (now.timestamp(), now.timestamp()))
            return True

    def kept(self, owner: str) -> Sequence[tuple[Blob, int]]:
        """Return what an owner has here, begun or whole, each with the bytes it takes in the end."""
        return [(blob, shelf.ref.ct_length) for blob, shelf in self._all() if blob.owner == owner]

    def untouched(self, since: datetime) -> Sequence[Blob]:
        """Return the blobs that were neither written nor claimed since a time."""
        return [blob for blob, shelf in self._all() if shelf.touched < since]

    def drop(self, blob: Blob, *, untouched_since: datetime) -> bool:
        """Delete a blob unless it was written or claimed since a time; return whether it is gone."""
        with self._lock:
            shelf = self._shelf(blob)
            if shelf is None:
                return True
            with shelf.lock:
                if shelf.touched >= untouched_since:
                    return False
                shelf.delete()
            del self._shelves[blob.owner][blob.root]
            return True
