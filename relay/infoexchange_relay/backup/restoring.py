"""Restoring a backup: all of it is checked beside the data, and put in place only where nothing newer is known."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home.files import in_file, read_file, sync_folder
from infoexchange.listing import Roots
from infoexchange.log import log_keys
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint
from infoexchange_relay.backup.making import ASIDE, LOST, is_transient
from infoexchange_relay.backup.manifest import NAME, SIZE_MAX, Held, Manifest
from infoexchange_relay.config import Config
from infoexchange_relay.lock import locked
from infoexchange_relay.proving import prove
from infoexchange_relay.stores import FileLatch, is_shared, is_there, look

# Implementation constants
_PIECE = 1024 * 1024
_STAGED = ".restoring"
_OTHER = "Name a whole backup of this relay; `infoexchange-relay backup` makes one."
_RECOVER = (
    "Put the newest data in place; if there is none, start a new log with `infoexchange-relay recover`, "
    "and before it run `restore --to-recover`, so that it takes what waited in this backup. Never remove the latch."
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Restored:
    """A backup whose data is in place.

    Attributes:
        manifest: What it held.
        aside: Where the data of before lies, or what is to be recovered; None where there is none.
        latched: Whether the latch is there, so that the relay can go on with this log.
    """

    manifest: Manifest
    aside: Path | None
    latched: bool


def restore(
    config: Config, file: Path, *, digest: str, to_recover: bool, now: datetime, progress: Progress
) -> Restored:
    """Put the data of a backup in place, unless a longer log is known here; broken off, the same call goes on.

    Args:
        config: Settings of the relay that is to have the data.
        file: From `make_backup`.
        digest: SHA-256 of the manifest, if it was kept elsewhere; empty for not compared.
        to_recover: Put it beside the data instead, however old it is: the log goes on without it, and takes what
            waited in it as from a log that was lost.
        now: The time.
        progress: Told how many bytes are done, and how many there are.

    Raises:
        RefusedError: `NOT_PERMITTED` when latch, cosigned checkpoint or data in place know a longer log, or when it is
            another relay's.
        MalformedError: `MALFORMED` when it is not a whole backup, or not the bytes of the manifest.
        UnavailableError: `UNAVAILABLE` when a process serves the data; `LOG_STOPPED` when its log is not whole.
        UntrustedError: `BAD_SIGNATURE` when its checkpoint is not the log's; `LOG_FORK` when another history is known.
    """
    if is_shared(config.place):
        step = "Restore the database with its own tools, then run `infoexchange-relay check` before anything else."
        raise error(Reason.NOT_PERMITTED, field="store", detail="the log is in a database", next_step=step)
    with _opened(file) as tar, locked(config):
        manifest = _manifest(tar, file, config, digest)
        if not to_recover:
            check_newest(config, manifest)
        staged = config.data / _STAGED
        shutil.rmtree(staged, ignore_errors=True)
        try:
            _unpack(tar, manifest, staged, progress)
            note = b"" if to_recover else FileLatch(config.latch).read()
            _prove(config, manifest, staged, Checkpoint.parse(note) if note else manifest.signed)
            aside = _put_beside(config, staged, now) if to_recover else _put_in_place(config, staged, now)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return Restored(manifest, aside, bool(FileLatch(config.latch).read()))


def check_newest(config: Config, manifest: Manifest) -> None:
    """Return if nothing here knows of a longer log than a backup holds, or of another one; raises as `restore`."""
    for what, checkpoint in _known(config):
        size, root = manifest.logs.get(checkpoint.origin, (0, ""))
        if checkpoint.size > size:
            raise _refused(f"{what} knows {checkpoint.size} entries of {checkpoint.origin}, the backup {size}")
        if (checkpoint.size, checkpoint.root.hex()) != (size, root) and checkpoint.size == size:
            raise error(Reason.LOG_FORK, field=what, detail="another history of the same length", next_step=_RECOVER)
    if is_there(config.place):
        end = 0
        with contextlib.suppress(ExchangeError), look(config.place) as store:  # what is damaged may be replaced
            end = store.head().end
        if end > manifest.end:
            raise _refused(f"the data in place holds {end} entries, the backup {manifest.end}")


def _known(config: Config) -> Iterator[tuple[str, Checkpoint]]:
    """Yield what is known of the log without the data that a backup would replace."""
    note = FileLatch(config.latch).read()
    if note:
        with in_file(config.latch):
            yield "the latch", Checkpoint.parse(note)
    with contextlib.suppress(OSError, ExchangeError):  # of this file the latch knows as much
        yield "the cosigned checkpoint", Checkpoint.parse(config.cosigned.read_bytes())


def _refused(detail: str) -> ExchangeError:
    return error(Reason.NOT_PERMITTED, field="backup", detail=detail, next_step=_RECOVER)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r:") as tar:
            yield tar
    except tarfile.TarError:
        raise error(Reason.MALFORMED, field=str(file), detail="no whole backup", next_step=_OTHER) from None


def _manifest(tar: tarfile.TarFile, file: Path, config: Config, digest: str) -> Manifest:
    """Return the manifest, which is the last member: where it is missing, so may be anything."""
    members = tar.getmembers()
    if not members or members[-1].name != NAME or members[-1].size > SIZE_MAX:
        raise error(Reason.MALFORMED, field=str(file), detail="it has no end: no whole backup", next_step=_OTHER)
    with in_file(file):
        raw = _reader(tar, members[-1]).read()
        manifest = Manifest.parse(raw)
        if digest and hashlib.sha256(raw).hexdigest() != digest.lower():
            raise error(Reason.BAD_FIELD, field=NAME, detail="not the digest that was kept", next_step=_OTHER)
        if manifest.relay != config.name:
            detail = f"the data of {manifest.relay}, not of {config.name}"
            raise error(Reason.NOT_PERMITTED, field="relay", detail=detail, next_step=_OTHER)
        places = [member.name for member in members[:-1]]
        if set(manifest.files) - set(places) or Path(config.place).name not in manifest.files:
            raise error(Reason.MALFORMED, field=NAME, detail="files that it names are missing", next_step=_OTHER)
    return manifest


def _reader(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    reader = tar.extractfile(member) if member.isreg() else None
    if reader is None:
        raise error(Reason.MALFORMED, field=member.name, detail="not a plain file", next_step=_OTHER)
    return reader


def _unpack(tar: tarfile.TarFile, manifest: Manifest, staged: Path, progress: Progress) -> None:
    """Write the files that the manifest names, and no others, each compared with its digest."""
    done, total = 0, sum(held.length for held in manifest.files.values())
    staged.mkdir(mode=0o700)
    folders = {staged}
    for member in tar.getmembers():
        held = manifest.files.get(member.name)
        if held is None:
            continue
        path = staged / member.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders.add(path.parent)
        digest, length = hashlib.sha256(), 0
        reader = _reader(tar, member)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            while piece := reader.read(_PIECE):
                digest.update(piece)
                length += len(piece)
                file.write(piece)
                progress(done + length, total)
            file.flush()
            os.fsync(file.fileno())
        done += length
        if Held(length, digest.hexdigest()) != held:
            detail = "its bytes are not those that were backed up"
            raise error(Reason.MALFORMED, field=member.name, detail=detail, next_step=_OTHER)
    for folder in folders:
        sync_folder(folder)


def _prove(config: Config, manifest: Manifest, staged: Path, signed: Checkpoint | None) -> None:
    """Hash the whole log in the staged store, against what the latch holds or else against what was signed before."""
    with in_file(config.directory):
        raw = read_file(config.directory, next_step="Put a signed directory there; every relay has one.")
        roots = Roots.parse(read_file(config.roots, next_step="Put the trust anchor there."))

    with look(staged / Path(config.place).name) as store:
        with in_file(config.directory):
            # By the versions in the log: root keys may have changed since the trust anchor was made.
            directory = Directory.resume(store.exhibits(Event.DIRECTORY_VERSION), raw, roots=roots)

        def verify(checkpoint: Checkpoint) -> None:
            checkpoint.verify(log_keys(directory, config.name, checkpoint.origin))

        head, _ = prove(store, signed, verify, lambda done, total: None)
    if (head.end, head.size, head.root.hex()) != (manifest.end, manifest.size, manifest.root):
        raise error(Reason.MALFORMED, field=NAME, detail="it tells of another log", next_step=_OTHER)


def _put_in_place(config: Config, staged: Path, now: datetime) -> Path | None:
    """Move what lies in the data aside and the staged files there, the store last; nothing is deleted."""
    aside = config.data / f"{ASIDE}{now:%Y%m%dT%H%M%SZ}"
    store = Path(config.place).name
    for path in sorted(config.data.iterdir(), key=lambda path: path.name.startswith(store)):
        if path.name.startswith(store) or not (is_transient(path.name) or path.name.startswith(LOST)):
            aside.mkdir(mode=0o700, exist_ok=True)
            path.rename(aside / path.name)
    _move_attachments(staged / "attachments", config.attachments)
    for path in sorted(staged.iterdir(), key=lambda path: path.name == store):
        if not (config.data / path.name).exists():  # else evidence of a lost log, which is there already
            path.rename(config.data / path.name)
    sync_folder(config.data)
    return aside if aside.exists() else None


def _put_beside(config: Config, staged: Path, now: datetime) -> Path:
    """Put the staged store where a log that follows a lost one looks for what waited in that."""
    aside = config.data / f"{LOST}{now:%Y%m%dT%H%M%SZ}"
    _move_attachments(staged / "attachments", config.attachments)
    store = staged / Path(config.place).name
    (staged / aside.name).mkdir(mode=0o700)
    store.rename(staged / aside.name / store.name)
    (staged / aside.name).rename(aside)  # whole, or not there
    sync_folder(config.data)
    return aside


def _move_attachments(source: Path, target: Path) -> None:
    """Put attachments beside those that are there; what is there already stays, its blocks prove what it is."""
    if not source.exists():
        return
    for path in sorted(source.glob("*/*"), key=lambda path: path.suffix != ".tree"):  # bytes count once hashes do
        place = target / path.relative_to(source)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not place.exists():
            path.rename(place)
        sync_folder(place.parent)
    shutil.rmtree(source)
