"""Making a backup: a moment of the store, and the files around it, while the relay goes on."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from infoexchange.database import BUSY_SECONDS
from infoexchange.errors import Reason, error
from infoexchange.home.files import check_new, sync_folder, write_file
from infoexchange.tlog import Checkpoint
from infoexchange_relay import __version__
from infoexchange_relay.backup.manifest import NAME, Held, Manifest
from infoexchange_relay.config import Config
from infoexchange_relay.proving import prove
from infoexchange_relay.stores import FileLatch, is_shared, is_there, look

# Implementation constants
_PAGES = 4096  # copied at a time: 16 MiB
_PIECE = 1024 * 1024
LOST = "lost-"  # as in `recovery`: what begins so are stores in which messages may wait
ASIDE = "replaced-"  # folders in the data with what a backup has taken the place of
_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite puts beside a file
_RECORD = "backup.json"  # in the data: what the last backup was
_OVER_SECONDS = 12 * 3600  # untouched for so long, a working file is nobody's; back-up.sh comes once a day
_KEYS_APART = "keep it apart and safe, once and after changes"
_LEFT_OUT = {
    "latch": "NEVER: it tells old data from new",
    "log_keys": _KEYS_APART,
    "witness_keys": _KEYS_APART,
    "tls_key": _KEYS_APART,
    "passphrase_file": _KEYS_APART,
    "tls_certificate": "issued anew by the national CA",
    "directory": "every relay has it",
    "roots": "whoever signs the directory hands it out",
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Made:
    """A backup that is on disk."""

    file: Path
    manifest: Manifest
    length: int


def make_backup(config: Config, file: Path, *, attachments: bool, now: datetime, progress: Progress) -> Made:
    """Write everything that a relay needs to go on into one new file, durably; the relay may run.

    Args:
        config: The relay's settings.
        file: Where it goes; nothing may stand there.
        attachments: Whether the bytes of attachments go into it, too.
        now: The time.
        progress: Told how many bytes are done, and how many there are, about.

    Raises:
        RefusedError: `NOT_PERMITTED` when there is such a file.
        UnavailableError: `UNAVAILABLE` where there is no store in a file; `LOG_STOPPED` when it is damaged.
        OSError: The disk is full, or nothing can be written there.
    """
    check_new(file)
    _check_store(config)
    _clear(file)
    copy = file.with_name(f".{file.name}.{secrets.token_hex(4)}.store")
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        # Read before the moment of the copy: the data is never behind the latch.
        note = FileLatch(config.latch).read()
        store = Path(config.place)
        meter = _Meter(progress, store.stat().st_size)
        _copy(store, copy, meter)
        manifest = _Writing(config, copy, meter).write(part, note, attachments=attachments, now=now)
        try:
            file.hardlink_to(part)  # unlike a rename, fails where something stands
        except FileExistsError:
            check_new(file)
            raise
        sync_folder(file.absolute().parent)
    finally:
        for leftover in (copy, part, *(copy.with_name(f"{copy.name}{ending}") for ending in _BESIDE)):
            leftover.unlink(missing_ok=True)
    made = Made(file, manifest, file.stat().st_size)
    _remember(config, made)
    return made


def last_backup(config: Config) -> tuple[datetime, str] | None:
    """Return when the last backup was made, and where it was put; None for never, as far as the data tells."""
    try:
        record = json.loads((config.data / _RECORD).read_bytes())
        return datetime.fromisoformat(record["made_at"]), str(record["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_transient(name: str) -> bool:
    """Whether a file or folder of the data is made anew by whoever needs it, or stands for this moment only."""
    return name.startswith((".", "relay.sqlite3", ASIDE)) or name in ("requests", "errands", "attachments", _RECORD)


class _Meter:
    """Counts bytes of all steps together; the store is read three times: copied, hashed and written."""

    def __init__(self, progress: Progress, store: int) -> None:
        self._progress = progress
        self.store = store
        self.total = 3 * store
        self.done = 0
        self._hashed = 0

    def hashed(self, done: int, total: int) -> None:
        """Count leaves, of which the beginning of a log comes twice, as bytes of the store."""
        now = self.store * done // max(1, total)
        self.add(max(0, now - self._hashed))
        self._hashed = max(self._hashed, now)

    def add(self, count: int) -> None:
        self.done += count
        self._progress(min(self.done, self.total), self.total)


def _check_store(config: Config) -> None:
    if is_shared(config.place):
        step = "Use pg_dump or the database's own backup; after restoring it run `infoexchange-relay check`."
        detail = "the log is in a database, which has a backup of its own"
        raise error(Reason.UNAVAILABLE, field="store", detail=detail, next_step=step)
    if not is_there(config.place):
        step = "Start the relay first: there is nothing to back up."
        raise error(Reason.UNAVAILABLE, field=str(config.place), detail="there is no such file", next_step=step)


def _clear(file: Path) -> None:
    """Delete what backups that were killed left beside this one: each holds a copy of the whole store."""
    working = re.compile(rf"\..+{re.escape(file.suffix)}\.[0-9a-f]{{8}}\.(store|part)({'|'.join(_BESIDE)})?")
    for path in file.absolute().parent.iterdir():
        with contextlib.suppress(OSError):  # another one has, or it is somebody else's
            if working.fullmatch(path.name) and time.time() - path.stat().st_mtime > _OVER_SECONDS:
                path.unlink()


def _copy(store: Path, copy: Path, meter: _Meter) -> None:
    """Copy one moment of the store: the transaction that is held keeps it while the relay writes on."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    address = f"{store.absolute().as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as source,
        contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target,
    ):
        left = 0

        def copied(_: int, remaining: int, total: int) -> None:
            nonlocal left
            left, before = remaining, left or total
            meter.add(meter.store * (before - remaining) // max(1, total))

        try:
            source.execute("BEGIN")
            source.execute("SELECT size FROM head").fetchone()
            source.backup(target, pages=_PAGES, progress=copied)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, whatever stands beside it
        except sqlite3.Error as problem:
            if getattr(problem, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
                raise error(Reason.OVERLOADED, field=str(copy.parent), detail="the disk is full") from None
            raise error(Reason.LOG_STOPPED, field=str(store), detail=f"cannot be copied: {problem}") from None


class _Writing:
    """Writes the tar file from a copy of the store and from what lies around it."""

    def __init__(self, config: Config, copy: Path, meter: _Meter) -> None:
        self._config = config
        self._copy = copy
        self._meter = meter
        self._files: dict[str, Held] = {}

    def write(self, part: Path, note: bytes, *, attachments: bool, now: datetime) -> Manifest:
        """Write everything, with the manifest at the end, and wait until it is on disk."""
        signed = Checkpoint.parse(note) if note else None
        with look(self._copy) as store:
            # The keys are not needed for a backup; whoever restores it verifies the signature.
            head, _ = prove(store, signed, lambda checkpoint: None, self._meter.hashed)
            needed = [f"{owner}/{root.hex()}" for owner, root in store.needed()]
            logs = {log.checkpoint.origin: (log.checkpoint.size, log.checkpoint.root.hex()) for log in store.closed()}
        if signed:
            logs.setdefault(signed.origin, (head.size, head.root.hex()))
        with part.open("xb") as target:
            os.fchmod(target.fileno(), 0o600)
            with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for name, path in _files(self._config, self._copy):
                    self._add(tar, name, path)
                held = {name: attachments and self._add_attachment(tar, name) for name in needed}
                manifest = Manifest(
                    relay=self._config.name, software=__version__, made_at=now, settings=self._config.digest.hex(),
                    end=head.end, size=head.size, root=head.root.hex(), checkpoint=note, logs=logs,
                    files=self._files, attachments=held, left_out=_left_out(self._config),
                )  # fmt: skip
                _add_bytes(tar, NAME, manifest.raw, now)
            target.flush()
            os.fsync(target.fileno())
        return manifest

    def _add_attachment(self, tar: tarfile.TarFile, name: str) -> bool:
        """Add one attachment with the hashes of its blocks, if it is whole; it may be delivered meanwhile, and gone."""
        path = self._config.attachments / name
        with contextlib.suppress(FileNotFoundError):
            self._meter.total += path.stat().st_size
            self._add(tar, f"attachments/{name}", path)
            tree = path.with_suffix(".tree")
            self._add(tar, f"attachments/{name}.tree", tree)
            return True
        self._files.pop(f"attachments/{name}", None)  # its bytes stand in the file, and nobody will look for them
        return False

    def _add(self, tar: tarfile.TarFile, name: str, path: Path) -> None:
        """Add one file, exactly as many bytes as it had when it was opened."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = status.st_size, 0o600, int(status.st_mtime)
            hashing = _Hashing(file, self._meter)
            tar.addfile(info, hashing)  # type: ignore[arg-type]  # it needs `read` only
        self._files[name] = Held(info.size, hashing.digest.hexdigest())


def _files(config: Config, copy: Path) -> Iterator[tuple[str, Path]]:
    """Yield place and path of every file but the attachments, the store last read being the copy."""
    yield Path(config.place).name, copy
    for path in sorted(config.data.rglob("*")):
        place = path.relative_to(config.data)
        if path.is_file() and not is_transient(place.parts[0]) and not place.name.startswith("."):
            yield place.as_posix(), path


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO, meter: _Meter) -> None:
        self._file = file
        self._meter = meter
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        self._meter.add(len(piece))
        return piece


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes, now: datetime) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o600, int(now.timestamp())
    tar.addfile(info, io.BytesIO(content))


def _left_out(config: Config) -> dict[str, str]:
    """Return what has to be kept in other ways, by its path."""
    paths = {str(getattr(config, name)): why for name, why in _LEFT_OUT.items() if str(getattr(config, name))}
    return paths | {"relay.toml": "once, and after changes"}


def _remember(config: Config, made: Made) -> None:
    """Leave in the data when this was, for `status` and `doctor`; a backup is good without it."""
    record = {"made_at": made.manifest.made_at.isoformat(), "file": str(made.file.absolute())}
    with contextlib.suppress(OSError):
        write_file(config.data / _RECORD, json.dumps(record).encode() + b"\n", mode=0o600)
