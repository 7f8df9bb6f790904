"""Stash: an agency's large files on disk: sealed attachments until they are uploaded, and attachments as files.

Nothing here is held in memory for longer than one piece. A file takes its name only when all of it is durable and has
been compared with what the sender signed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mimetypes
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from infoexchange import chunks
from infoexchange.attachment import BLOCK_SIZE
from infoexchange.attachment.form import ID_SIZE
from infoexchange.chunks import Progress, Savable
from infoexchange.errors import ExchangeError, Reason, error

# Implementation constants
_DEFAULT_TYPE = "application/octet-stream"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEW = ".new"


class Attachment:
    """A file to be sent with a message: `mailbox.send(message, to=[...], attachments=[Attachment("plan.pdf")])`.

    Attributes:
        path: Where it lies; it must not change while it is being sealed.
        name: What the recipients see.
        media_type: RFC 6838 type.
    """

    def __init__(self, path: chunks.Path, *, name: str = "", media_type: str = "") -> None:
        """Name a file; nothing is read yet.

        Args:
            path: The file.
            name: Another name for the recipients.
            media_type: Its type, where the name does not tell it.
        """
        self.path = Path(path)
        self.name = name or self.path.name
        self.media_type = media_type or mimetypes.guess_type(self.name)[0] or _DEFAULT_TYPE

    @property
    def length(self) -> int:
        """Bytes now."""
        with self._named():
            return self.path.stat().st_size

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes from the beginning."""
        with self._named(), self.path.open("rb", buffering=0) as file:
            while piece := file.read(BLOCK_SIZE):
                yield piece

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            detail = problem.strerror or "it cannot be read"
            raise error(
                Reason.BAD_FIELD, field=str(self.path), detail=detail, next_step="Check the path and the file."
            ) from None


class FileStash:
    """A `Stash` in a folder of its own, which is made when it is first needed."""

    def __init__(self, folder: Path | None) -> None:
        """Name the folder; without one, nothing is ever kept."""
        self._folder = folder

    def _path(self, attachment_id: bytes) -> Path:
        if self._folder is None:
            detail = "the outbox is a database in memory and has no folder for attachments"
            raise error(Reason.UNAVAILABLE, field="attachments", detail=detail, next_step="Use a database file.")
        return self._folder / attachment_id.hex()

    def keep(self, attachment_id: bytes, pieces: Iterable[bytes]) -> None:
        """Keep ciphertext under an id, whole or not at all, durably."""
        path = self._path(attachment_id)
        new = path.with_suffix(_NEW)
        try:
            with _disk(path):
                path.parent.mkdir(mode=0o700, exist_ok=True)
                with _opened(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "wb") as file:
                    for piece in pieces:
                        _write(file, piece)
                    os.fsync(file.fileno())
                new.replace(path)
                _sync(path.parent)
                _sync(path.parent.parent)
        finally:
            new.unlink(missing_ok=True)

    def kept(self) -> Sequence[bytes]:
        """Return the ids under which ciphertext is kept."""
        found: list[bytes] = []
        for path in self._folder.glob("*") if self._folder else ():
            if path.suffix == _NEW:
                path.unlink(missing_ok=True)  # from a crash; one program at a time works with the folder
            with contextlib.suppress(ValueError):
                found.append(bytes.fromhex(path.name))
        return [attachment_id for attachment_id in found if len(attachment_id) == ID_SIZE]

    def pieces(self, attachment_id: bytes, offset: int, size: int) -> Iterator[bytes]:
        """Yield kept ciphertext."""
        path = self._path(attachment_id)
        with _disk(path), path.open("rb", buffering=0) as file:
            file.seek(offset)
            while size > 0 and (piece := file.read(min(size, BLOCK_SIZE))):
                yield piece
                size -= len(piece)

    def drop(self, attachment_ids: Iterable[bytes]) -> None:
        """Forget ciphertext; what is not there is passed over."""
        for attachment_id in attachment_ids:
            with _disk(self._path(attachment_id)):
                self._path(attachment_id).unlink(missing_ok=True)

    def save(self, attachment: Savable, path: chunks.Path, *, overwrite: bool, progress: Progress) -> str:
        """Keep an attachment as a file, whole or not at all, and return its path."""
        return save(attachment, path, overwrite=overwrite, progress=progress)


def save(attachment: Savable, path: chunks.Path, *, overwrite: bool, progress: Progress) -> str:
    """Keep an attachment as a file and return its path; what `Enclosure.save` promises."""
    target = Path(path)
    if target.is_dir():
        target /= attachment.name
    with _disk(target):
        if not overwrite:
            _check_free(target)
        # Named by what it is, so that nothing of another attachment is gone on with.
        part = target.with_name(f"{attachment.root.hex()[:32]}.part")
        with _opened(part, os.O_RDWR | os.O_CREAT | os.O_APPEND, "r+b") as file:
            _lock(file, target)
            try:
                _fill(attachment, file, progress)
            except ExchangeError as problem:
                if problem.reason is Reason.BAD_COMMITMENT:
                    part.unlink()  # what is held may be what is wrong
                raise
            os.fsync(file.fileno())
            _place(part, target, overwrite=overwrite)
        _sync(target.parent)
    return str(target)


def _fill(attachment: Savable, file: IO[bytes], progress: Progress) -> None:
    """Write what is still missing, once there is room for it."""
    held = min(os.fstat(file.fileno()).st_size, attachment.length)
    os.ftruncate(file.fileno(), held)
    disk = os.fstatvfs(file.fileno())
    if disk.f_bavail * disk.f_frsize < attachment.length - held:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    done = held
    progress(done, attachment.length)
    for piece in attachment.pieces(_read(file, held)):
        _write(file, piece)
        done += len(piece)
        progress(done, attachment.length)


def _read(file: IO[bytes], size: int) -> Iterator[bytes]:
    position = 0
    while position < size and (piece := os.pread(file.fileno(), min(BLOCK_SIZE, size - position), position)):
        yield piece
        position += len(piece)


def _write(file: IO[bytes], data: bytes) -> None:
    """Write every byte; the system may take fewer at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _place(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give a finished file its name, in one step that no other file can come between."""
    if overwrite:
        part.replace(target)
        return
    try:
        target.hardlink_to(part)  # unlike a rename, fails where something stands
    except FileExistsError:
        _check_free(target)
    except OSError:  # a file system without links, as on memory sticks
        _check_free(target)
        part.replace(target)
        return
    part.unlink()


def _check_free(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise error(
            Reason.NOT_PERMITTED,
            field=str(target),
            detail="the file exists and is not overwritten",
            next_step="Name another place, or say that it may be overwritten.",
        )


def _lock(file: IO[bytes], target: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise error(Reason.UNAVAILABLE, field=str(target), detail="another program is saving it just now") from None


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turn an error of the disk into one with a next step."""
    try:
        yield
    except FileNotFoundError:
        raise error(
            Reason.UNAVAILABLE, field=str(path), detail="it is not there", next_step="Check the path and the folder."
        ) from None
    except OSError as problem:
        if problem.errno in _FULL:
            step = "Free some space, then try again: it goes on where it stopped."
            raise error(Reason.OVERLOADED, field=str(path), detail="the disk is full", next_step=step) from None
        detail = problem.strerror or "the disk failed"
        raise error(
            Reason.UNAVAILABLE, field=str(path), detail=detail, next_step="Check the disk and the permissions."
        ) from None


def _opened(path: Path, flags: int, mode: str) -> IO[bytes]:
    """Open a file for its owner's eyes only, without a buffer."""
    return os.fdopen(os.open(path, flags, 0o600), mode, buffering=0)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
