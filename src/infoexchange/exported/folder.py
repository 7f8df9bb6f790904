"""Folder: an exported log, read file by file; nothing in it is trusted (SPEC section Log folder)."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from infoexchange.audit import Routing, Subject
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.home.files import in_file, missing
from infoexchange.listing import DIRECTORY_SIZE_MAX
from infoexchange.ports import Record
from infoexchange.record import EMPTY, RECORDS_SIZE_MAX, LogRecord, ShownEntry, parse_records, records_path
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint, tiles
from infoexchange.tlog.merkle import HASH_SIZE
from infoexchange.tlog.note import NOTE_SIZE_MAX

# Where things stand below the folder; tiles and entries as C2SP tlog-tiles says
CHECKPOINT = "checkpoint"
DIRECTORIES = "directories"
_BUNDLE_SIZE_MAX = tiles.WIDTH * (2 + tiles.ENTRY_SIZE_MAX)


class LogFolder:
    """A log as it was exported, up to the checkpoint that stands in the folder when it is first asked for.

    It offers `checkpoint` and `leaves` as the port `Log` does, so that whatever reads a relay reads a folder too.
    """

    def __init__(self, path: Path | str) -> None:
        """Name the folder; nothing is read yet."""
        self.path = Path(path)

    @functools.cached_property
    def _note(self) -> bytes:
        next_step = "Name a folder that `infoexchange-relay export` has written."
        file = self.path / CHECKPOINT
        note = _read(file, NOTE_SIZE_MAX)
        if note is None:
            raise missing(file, next_step)
        return note

    @functools.cached_property
    def size(self) -> int:
        """Entries that the checkpoint claims; it may be anybody's."""
        with in_file(self.path / CHECKPOINT):
            return Checkpoint.parse(self._note).size

    def checkpoint(self) -> bytes:
        """Return the signed checkpoint.

        Raises:
            UnavailableError: `UNAVAILABLE` when there is none: this is no exported log.
        """
        return self._note

    def tile(self, level: int, n: int) -> bytes | None:
        """Return the hashes of a tile as they stand in its file; nothing where there is none."""
        width = tiles.width_at(level, n, self.size)
        found = self._bytes(level, n, width, HASH_SIZE * tiles.WIDTH)
        if found is None and width < tiles.WIDTH:  # the folder has grown since
            whole = self._bytes(level, n, tiles.WIDTH, HASH_SIZE * tiles.WIDTH)
            found = None if whole is None else whole[: HASH_SIZE * width]
        return found

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order, fewer at the end of the log or where a file is missing.

        Raises:
            MalformedError: A bundle of entries is not one.
        """
        found: list[bytes] = []
        for n, first, last in _bundles(start, min(start + count, self.size)):
            entries = self._entries(n)
            if entries is None:
                break
            found += entries[first:last]
        return found

    def raw_records(self, start: int, count: int) -> list[bytes]:
        """Return the bytes of records in order, empty where nothing is shown; nothing at all where no file is.

        Raises:
            MalformedError: A bundle of records is not one.
            RefusedError: `TOO_LARGE`.
        """
        found: list[bytes] = []
        there = False
        for n, first, last in _bundles(start, min(start + count, self.size)):
            records = self._records(n)
            there = there or records is not None
            found += [EMPTY] * (last - first) if records is None else records[first:last]
        return found if there else []

    def records(self, start: int, count: int) -> list[Record | None]:
        """Return entries as far as they are shown, each found to be what its leaf commits to; nothing for the others.

        Whether the leaf stands in the signed log is not asked here: `audit verify-log` does. In `Record.entry` groups
        that are not shown are empty, and so are their salts. `Record.party` is what the group "routing" tells of it.

        Raises:
            MalformedError: A file, a record or a group is not one.
            UntrustedError: `BAD_COMMITMENT`.
        """
        leaves, raws = self.leaves(start, count), self.raw_records(start, count)
        found: list[Record | None] = []
        for index, (leaf, raw) in enumerate(zip(leaves, raws or [EMPTY] * len(leaves), strict=False), start):
            with in_file(self.path / records_path(index // tiles.WIDTH)):
                record = LogRecord.parse(raw)
                found.append(None if record.is_empty else self._record(index, record.verify(leaf), record.document))
        return found

    def directories(self) -> Sequence[bytes]:
        """Return every directory version in the folder, in the order of their numbers; nothing is verified.

        Raises:
            UntrustedError: `BAD_PROOF` for a file that is not the one its name says.
        """
        folder = self.path / DIRECTORIES
        found = []
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            raw = _read(file, DIRECTORY_SIZE_MAX)
            if raw is None or file.name.rpartition("-")[2] != sha256(raw).hexdigest():
                raise error(Reason.BAD_PROOF, field=str(file), detail="the name does not fit the content")
            found.append(raw)
        return found

    @functools.cached_property
    def _documents(self) -> dict[bytes, bytes]:
        """Directory versions by digest: records leave them out."""
        return {Directory.held(raw).digest: raw for raw in self.directories()}

    def _record(self, index: int, entry: ShownEntry, document: bytes) -> Record:
        said = Routing.parse(entry.routing)
        whole = said.event in (Event.ACCEPTED, Event.RECALL_ORDERED)  # about all recipients, even if there is one only
        party = said.next_relay or (said.recipients[0] if len(said.recipients) == 1 and not whole else "")
        if said.event is Event.DIRECTORY_VERSION and entry.salts[1]:
            document = self._documents.get(Subject.parse(entry.message).directory_digest, b"")
        return Record(index, entry, said.event, party, document)

    def _entries(self, n: int) -> list[bytes] | None:
        width = tiles.width_at(0, n, self.size)
        for each in dict.fromkeys((width, tiles.WIDTH)):
            file = self.path / tiles.tile_path(tiles.ENTRIES, n, each)
            raw = _read(file, _BUNDLE_SIZE_MAX)
            if raw is not None:
                with in_file(file):
                    return tiles.parse_entries(raw, each)[:width]
        return None

    def _records(self, n: int) -> list[bytes] | None:
        width = tiles.width_at(0, n, self.size)
        for each in dict.fromkeys((width, tiles.WIDTH)):
            file = self.path / records_path(n, each)
            raw = _read(file, RECORDS_SIZE_MAX)
            if raw is not None:
                with in_file(file):
                    return parse_records(raw, each)[:width]
        return None

    def _bytes(self, level: int, n: int, width: int, size_max: int) -> bytes | None:
        return _read(self.path / tiles.tile_path(level, n, width), size_max)


def directory_path(version: int, raw: bytes) -> str:
    """Return where a directory version stands: its name tells two of one number apart, and what a disk has changed."""
    return f"{DIRECTORIES}/{version:08d}-{sha256(raw).hexdigest()}"


def _read(file: Path, size_max: int) -> bytes | None:
    """Return the bytes of a file, nothing where there is none."""
    try:
        with file.open("rb") as opened:
            # Not `size_max` at once: for a buffer of that size the system works longer than for what is read.
            raw = opened.read(min(size_max, os.fstat(opened.fileno()).st_size) + 1)
    except FileNotFoundError:
        return None
    if len(raw) > size_max:
        detail = f"more than {size_max} bytes"
        raise error(Reason.TOO_LARGE, field=str(file), detail=detail, next_step="Check the path.")
    return raw


def _bundles(start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each bundle that holds some of these entries, and which of its own they are."""
    while start < end:
        n, first = divmod(start, tiles.WIDTH)
        last = min(tiles.WIDTH, end - n * tiles.WIDTH)
        yield n, first, last
        start = n * tiles.WIDTH + last
