"""Shelf: where one attachment lies on disk, and how far it is.

While it grows its file ends in `.part`; the hashes of its blocks stand beside it in `.tree`. A block counts once it and
then its hash are on disk: whatever follows the last one that counts is cut off when writing goes on.
"""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from infoexchange.attachment import BLOCK_SIZE, AttachmentRef
from infoexchange.attachment.blocks import block_hash, verify_root
from infoexchange.attachment.form import check_sealed
from infoexchange.chunks import Blob
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import Clock
from infoexchange.tlog import merkle
from infoexchange_relay.room import free_bytes
from infoexchange_relay.stores.cutting import Cutting
from infoexchange_relay.stores.tree import RECORD, TreeFile, size_of, write_all

# Implementation constants
_SYNC_BLOCKS = 32  # blocks between two waits for the disk: so much is sent again after a crash, at most
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_log = structlog.get_logger()


@dataclass
class Shelf:
    """One blob.

    Attributes:
        path: The file once it is whole.
        ref: Length and root.
        touched: When it was written or claimed last.
        blocks: Blocks that count.
        whole: Whether all of them are there and have the root.
        writing: Who writes it.
        lock: Held while it changes.
    """

    path: Path
    ref: AttachmentRef
    touched: datetime
    blocks: int = 0
    whole: bool = False
    writing: FileWriting | None = None
    lock: Any = field(default_factory=threading.Lock)

    @classmethod
    def find(cls, path: Path) -> Shelf | None:
        """Return what counts of the blob whose whole file would be `path`; nothing when none of it does."""
        found = path if path.exists() else path.with_suffix(".part")
        try:
            with path.with_suffix(".tree").open("rb") as file:
                ref = AttachmentRef(b"", int.from_bytes(file.read(RECORD)[:8], "big"), bytes.fromhex(path.name))
                hashes = os.fstat(file.fileno()).st_size // RECORD - 1
            check_sealed(ref.ct_length)
            state = found.stat()
        except (OSError, ValueError, ExchangeError):
            return None
        if len(ref.ct_root) != merkle.HASH_SIZE:
            return None
        shelf = cls(path, ref, datetime.fromtimestamp(state.st_mtime, UTC))
        if found == path:
            shelf.whole = (state.st_size, (hashes + 1) * RECORD) == (ref.ct_length, size_of(ref))
            shelf.blocks = ref.blocks if shelf.whole else 0
        else:
            # A crash may have come before the whole was compared with its root: then the last block comes again.
            shelf.blocks = max(0, min(hashes, state.st_size // BLOCK_SIZE, ref.blocks - 1))
        return shelf

    @property
    def length(self) -> int:
        """Bytes that count."""
        return min(self.blocks * BLOCK_SIZE, self.ref.ct_length)

    @property
    def part(self) -> Path:
        """The file while it grows."""
        return self.path.with_suffix(".part")

    @property
    def tree(self) -> Path:
        """The hashes of its blocks."""
        return self.path.with_suffix(".tree")

    def delete(self) -> None:
        """Delete every file, the bytes first: bytes without hashes could never be proven."""
        self.writing, self.blocks, self.whole = None, 0, False
        for path in (self.path, self.part, self.tree):
            path.unlink(missing_ok=True)


class FileWriting:
    """One blob that is being written. Its methods may be called from any thread, one at a time."""

    def __init__(self, shelf: Shelf, offset: int, clock: Clock, reserve: int) -> None:
        """Go on after the last block that counts. The shelf is locked.

        Args:
            shelf: What is written.
            offset: Where the bytes to come begin.
            clock: Gives the time now.
            reserve: Bytes that stay free on the disk.
        """
        self._shelf = shelf
        self._clock = clock
        self._reserve = reserve
        self._cutting = Cutting(shelf.ref, shelf.blocks, offset)
        self._hashes: list[bytes] = []  # of blocks written that do not count yet
        self._descriptors: list[int] = []
        if not shelf.whole:
            try:
                self._open()
            except OSError as problem:
                self._close()
                raise disk_error(shelf.ref.ct_root, problem) from None

    def _open(self) -> None:
        """Open both files at what counts, their names durable."""
        shelf, folder = self._shelf, self._shelf.path.parent
        new = not folder.exists()
        folder.mkdir(mode=0o700, exist_ok=True)
        for path, size in ((shelf.part, shelf.length), (shelf.tree, (1 + shelf.blocks) * RECORD)):
            self._descriptors.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            os.ftruncate(self._descriptors[-1], size)
        self._tree_file.write_length()
        for named in (folder, *([folder.parent] if new else [])):
            sync_folder(named)

    def _close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    @property
    def _tree_file(self) -> TreeFile:
        return TreeFile(self._descriptors[1], self._shelf.ref)

    def add(self, data: bytes) -> None:
        """Take the next bytes; what makes up a block is written."""
        shelf = self._shelf
        with shelf.lock:
            if shelf.writing is not self:
                raise error(Reason.UNAVAILABLE, field="attachment", detail="another call goes on with it")
            shelf.touched = self._clock()
            try:
                for block in self._cutting.take(data):
                    self._write(block)
            except OSError as problem:
                raise self._failed(problem) from None

    def _write(self, block: memoryview) -> None:
        shelf = self._shelf
        index = shelf.blocks + len(self._hashes)
        write_all(self._descriptors[0], block, index * BLOCK_SIZE)
        self._hashes.append(block_hash(block))
        last = index + 1 == shelf.ref.blocks
        if last or len(self._hashes) >= _SYNC_BLOCKS:
            self._sync()
        if last:
            self._finish()

    def _sync(self) -> None:
        """Let the blocks written count: first the bytes must be durable, then their hashes."""
        if self._hashes:
            # There was room when it began; since then the log has grown, or somebody else has filled the disk.
            if free_bytes(self._shelf.path.parent) < self._reserve:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptors[0])
            self._tree_file.write_leaves(self._shelf.blocks, self._hashes)
            os.fsync(self._descriptors[1])
            self._shelf.blocks += len(self._hashes)
            self._hashes = []

    def _finish(self) -> None:
        """Compare the whole with its root, and give it its name."""
        shelf, tree = self._shelf, self._tree_file
        tree.write_levels()
        try:
            verify_root(shelf.ref, shelf.length, tree.root)
        except ExchangeError:
            shelf.delete()
            raise
        os.fsync(self._descriptors[1])
        shelf.part.rename(shelf.path)
        sync_folder(shelf.path.parent)
        shelf.whole = True

    def close(self) -> int:
        """Let the blocks that are whole count, and return how many bytes do."""
        shelf = self._shelf
        with shelf.lock:
            try:
                if shelf.writing is self:
                    self._sync()
            except OSError as problem:
                raise self._failed(problem) from None
            finally:
                if shelf.writing is self:
                    shelf.writing = None
                self._close()
            return shelf.length

    def _failed(self, problem: OSError) -> ExchangeError:
        """Return what an error of the disk means; nothing more is taken from this call."""
        shelf, full = self._shelf, problem.errno in _FULL
        shelf.writing = None
        try:
            if full:
                shelf.blocks = min(shelf.blocks, shelf.ref.blocks - 1)  # the whole was not compared with its root yet
                os.truncate(shelf.part, shelf.length)  # gives back the space of what does not count
            else:
                # A second fsync may succeed although the first one lost data: nothing of this file can be believed.
                shelf.delete()
        except OSError:
            shelf.blocks = 0
        return disk_error(shelf.ref.ct_root, problem)


def disk_error(root: bytes, problem: OSError) -> ExchangeError:
    """Return what an error of the disk means to whoever writes an attachment."""
    full = problem.errno in _FULL
    why = "the relay's disk is full" if full else "the relay's disk failed"
    _log.error("attachment_not_written", digest=root.hex(), reason=problem.strerror)
    return error(Reason.OVERLOADED if full else Reason.UNAVAILABLE, field="attachment", detail=why)


def damaged_block(blob: Blob, index: int) -> ExchangeError:
    """Return the error for a block that is not what was written; the operator is told."""
    _log.error("attachment_damaged", digest=blob.root.hex(), party=blob.owner)
    detail, next_step = (
        f"block {index} is damaged there",
        "Tell the relay's operator; the message has to be sent again.",
    )
    return error(Reason.UNAVAILABLE, field="attachment", detail=detail, next_step=next_step)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
