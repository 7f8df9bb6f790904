"""Writing: a log put into a folder of static files, or what has come since the last time (SPEC section Log folder).

Files come before the checkpoint that needs them, and what no checkpoint needs any more goes after it: a reader, or a
crash, in between finds a whole log, the old one or the new one. A complete file is never written again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infoexchange.audit import GROUPS
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.exported.folder import CHECKPOINT, DIRECTORIES, LogFolder, directory_path
from infoexchange.exported.stamps import TIMESTAMPS, Stamps
from infoexchange.home.files import in_file, remove_leftovers, write_file
from infoexchange.ports import Record
from infoexchange.record import LogRecord, records_path, write_records
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint, tiles
from infoexchange.tlog.merkle import HASH_SIZE

Progress = Callable[[int, int], None]
"""Called with entries written and entries in all."""


class Source(Protocol):
    """Where the log comes from: a relay's store, or what stands in for one."""

    def tiles(self, names: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return stored tiles by (level, n), perhaps wider than the checkpoint needs."""

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaf bytes in order."""

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked."""

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return the documents of every entry of one event, in log order."""


@dataclass(frozen=True)
class Exported:
    """What one run has done.

    Attributes:
        size: Entries under the checkpoint in the folder.
        before: Entries that were there before.
        files: Files written.
        directories: Directory versions in the folder.
        stamps: Checkpoints in the folder with a time authority's token.
    """

    size: int
    before: int
    files: int
    directories: int
    stamps: int


def export_log(
    source: Source,
    path: Path,
    checkpoint: Checkpoint,
    *,
    shown: Collection[str] = (),
    stamps: Stamps | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Bring a folder to the state of a checkpoint; it may be new, or one that an earlier call has written.

    Args:
        source: Holds at least the entries under the checkpoint.
        path: The folder; made when there is none.
        checkpoint: Of the source's log, verified by the caller.
        shown: Which of `audit.GROUPS` are shown of every entry, "routing" among them if any is.
        stamps: Kept checkpoints with a time authority's token; those that the checkpoint covers go along, unjudged.
        progress: Told how far the work is.

    Raises:
        MalformedError: `BAD_FIELD` for groups that are none, or without "routing".
        UntrustedError: `LOG_FORK` when the folder holds another log, or another history of this one.
        RefusedError: `NOT_PERMITTED` when the folder shows other groups: what was shown cannot be taken back.
        UnavailableError: `UNAVAILABLE` while another program writes into it; `LOG_STOPPED` when the source does not
            give the checkpoint's root.
    """
    if not set(shown) <= set(GROUPS) or (shown and "routing" not in shown):
        detail = f"some of {', '.join(GROUPS)}; routing goes with each of the others"
        raise error(Reason.BAD_FIELD, field="groups", detail=detail)
    path.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        return _Run(source, path, checkpoint, frozenset(shown), stamps).run(progress or (lambda done, total: None))


class _Run:
    """One run, which nobody else disturbs."""

    def __init__(
        self, source: Source, path: Path, checkpoint: Checkpoint, shown: frozenset[str], stamps: Stamps | None
    ) -> None:
        self._source = source
        self._path = path
        self._checkpoint = checkpoint
        self._size = checkpoint.size
        self._shown = shown
        self._stamps = stamps
        self._files = 0

    def run(self, progress: Progress) -> Exported:
        size = self._size
        if tiles.root(size, self._tile) != self._checkpoint.root:
            raise error(
                Reason.LOG_STOPPED, field="store", detail=f"its first {size} entries do not give the signed root"
            )
        before = self._standing()
        self._check_shown()
        for n in range(before // tiles.WIDTH, -(-size // tiles.WIDTH)):
            self._write_entries(n)
            progress(min((n + 1) * tiles.WIDTH, size), size)
        for level in range(1, tiles.LEVEL_MAX // tiles.HEIGHT + 1):
            for n in range(before >> tiles.HEIGHT * (level + 1), (size >> tiles.HEIGHT * (level + 1)) + 1):
                self._write_tile(level, n)
        if self._shown:
            self._write_all_records(before)
        directories = self._write_directories()
        stamps = self._write_stamps()
        if size > before or not (self._path / CHECKPOINT).exists() or self._says_more():
            self._write(CHECKPOINT, self._checkpoint.raw)
        self._clear()
        return Exported(size, before, self._files, directories, stamps)

    def _standing(self) -> int:
        """Return how many entries the folder has, once it is found to hold the beginning of this log."""
        file = self._path / CHECKPOINT
        remove_leftovers(file)
        if not file.exists():
            return 0
        with in_file(file):
            found = Checkpoint.parse(file.read_bytes())
            if found.size > self._size:
                detail = f"{found.size} entries are there, the checkpoint at hand has {self._size}"
                raise error(Reason.LOG_FORK, detail=detail, next_step="Name another folder, and keep this one.")
            same = tiles.root(found.size, self._tile) == found.root
            if found.origin != self._checkpoint.origin or not same:
                detail = f"there stands another log, or another history, of {found.origin}"
                raise error(Reason.LOG_FORK, detail=detail, next_step="Name another folder, and keep this one.")
        return found.size

    def _says_more(self) -> bool:
        """Whether our checkpoint of the same size has lines that the folder's has not, such as cosignatures."""
        standing = Checkpoint.parse((self._path / CHECKPOINT).read_bytes())
        return len(self._checkpoint.note.signatures) > len(standing.note.signatures)

    def _check_shown(self) -> None:
        if not (self._path / "records").exists() or not (self._path / CHECKPOINT).exists():
            return  # a first run that was interrupted has shown nobody anything
        there: frozenset[str] | None = None
        for raw in LogFolder(self._path).raw_records(0, tiles.WIDTH):
            record = LogRecord.parse(raw)
            if not record.is_empty:
                there = frozenset(group for group, salt in zip(GROUPS, record.salts, strict=True) if salt)
                break
        if there is not None and there != self._shown:
            raise error(
                Reason.NOT_PERMITTED,
                field=str(self._path),
                detail=f"it shows the groups {','.join(g for g in GROUPS if g in there)}",
                next_step="Ask for the same groups, or name a new folder for others; delete the old one yourself.",
            )

    def _write_entries(self, n: int) -> None:
        width = tiles.width_at(0, n, self._size)
        leaves = self._source.leaves(n * tiles.WIDTH, width)
        self._write(tiles.tile_path(tiles.ENTRIES, n, width), tiles.write_entries(leaves))
        self._write_tile(0, n)

    def _write_tile(self, level: int, n: int) -> None:
        width = tiles.width_at(level, n, self._size)
        if width:
            self._write(tiles.tile_path(level, n, width), self._tile(level, n)[: HASH_SIZE * width])

    def _write_all_records(self, before: int) -> None:
        for n in range(-(-self._size // tiles.WIDTH)):
            width = tiles.width_at(0, n, self._size)
            path = records_path(n, width)
            if n < before // tiles.WIDTH and (self._path / path).exists():
                continue
            stored = self._source.records(range(n * tiles.WIDTH, n * tiles.WIDTH + width))
            made = (LogRecord.make(r.entry, _document(r), self._shown).raw for r in stored)
            self._write(path, write_records(made))

    def _write_directories(self) -> int:
        found = [Directory.held(raw) for raw in self._source.exhibits(Event.DIRECTORY_VERSION)]
        for directory in found:
            path = directory_path(directory.version, directory.raw)
            if not (self._path / path).exists():
                self._write(path, directory.raw)
        return len(found)

    def _write_stamps(self) -> int:
        """Add what a time authority has said since; what was said of a size once stays as it is."""
        there = Stamps(self._path / TIMESTAMPS)
        before = set(there.sizes())
        for size in self._stamps.sizes() if self._stamps else ():
            if size <= self._size and size not in before:
                assert self._stamps
                kept = self._stamps.read(size)
                token, note = (str(file.relative_to(self._path)) for file in there.files(size))
                self._write(note, kept.note)
                self._write(token, kept.token)
        return len(there.sizes())

    def _write(self, path: str, data: bytes) -> None:
        file = self._path / path
        if file.exists() and file.stat().st_size == len(data) and file.read_bytes() == data:
            return  # a run that was interrupted has written it
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, data)
        self._files += 1

    def _tile(self, level: int, n: int) -> bytes:
        return self._source.tiles([(level, n)])[0]

    def _clear(self) -> None:
        """Remove partial files that this checkpoint does not need, also those that an interrupted run has left."""
        kept = set(self._edge())
        for top in ("tile", "records", DIRECTORIES, TIMESTAMPS):
            for folder, _, names in os.walk(self._path / top, topdown=False):
                for name in names:  # what a process that was killed left while it wrote
                    if name.startswith("."):
                        (Path(folder) / name).unlink()
                if folder.endswith(".p"):
                    self._clear_partial(Path(folder), kept)

    def _edge(self) -> Iterator[Path]:
        for level in (tiles.ENTRIES, *range(tiles.LEVEL_MAX // tiles.HEIGHT + 1)):
            n = self._size >> (tiles.HEIGHT * (max(level, 0) + 1))
            width = tiles.width_at(level, n, self._size)
            if width:
                yield self._path / tiles.tile_path(level, n, width)
                if level == tiles.ENTRIES:
                    yield self._path / records_path(n, width)

    @staticmethod
    def _clear_partial(folder: Path, kept: set[Path]) -> None:
        for file in folder.iterdir():
            if file not in kept:
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what is needed still stands there
            folder.rmdir()


def _document(record: Record) -> bytes:
    """Return what stands in an entry's record: directories have files of their own."""
    return b"" if record.event is Event.DIRECTORY_VERSION else record.exhibit


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other runs away: two that end at different sizes would each remove what the other needs."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            detail = "another program is exporting into this folder"
            raise error(
                Reason.UNAVAILABLE, field=str(path), detail=detail, next_step="Wait until it is done."
            ) from None
        yield
    finally:
        os.close(folder)
