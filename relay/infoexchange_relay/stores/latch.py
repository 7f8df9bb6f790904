"""Latch: the last signed checkpoint in a small file of its own, outside the store's data and its backup."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from infoexchange.errors import ExchangeError, Reason, error


class FileLatch:
    """A `Latch` in a file that is only ever replaced whole.

    Two files stand beside it: `.lock`, which is locked while one process compares and swaps, and `.new`, which holds
    a note until it is durable; what a crash leaves in it is never read.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._new = self._path.with_name(self._path.name + ".new")
        self._lock = self._path.with_name(self._path.name + ".lock")
        self._stopped = False

    def read(self) -> bytes:
        """Return the signed note, or nothing before the first.

        Raises:
            UnavailableError: `LOG_STOPPED` when the file is there but empty or unreadable; only a damaged file is.
        """
        try:
            note = self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as problem:
            raise self._error(Reason.LOG_STOPPED, problem.strerror or "unreadable") from None
        if not note:
            raise self._error(Reason.LOG_STOPPED, "the file is empty")
        return note

    def replace(self, old: bytes, new: bytes) -> None:
        """Put `new` in the place of `old`, durably.

        Raises:
            UntrustedError: `LOG_FORK` when something else than `old` stands there.
            UnavailableError: `OVERLOADED` when the disk is full; `LOG_STOPPED` after any other error of the disk, and
                from then on.
        """
        if not new:
            raise ValueError("a latch never becomes empty again")
        if self._stopped:
            raise self._error(Reason.LOG_STOPPED, "the disk failed earlier")
        try:
            with self._locked():
                if self.read() != old:
                    raise self._error(Reason.LOG_FORK, "another checkpoint stands in the latch")
                self._write(new)
        except OSError as problem:
            full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
            # A second fsync may succeed although the first lost data, so that none is tried.
            self._stopped = not full
            reason = Reason.OVERLOADED if full else Reason.LOG_STOPPED
            raise self._error(reason, problem.strerror or "not writable") from None

    def _write(self, note: bytes) -> None:
        """Make the note durable under another name, then give it its own, then make the name durable."""
        with _opened(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(note)
            os.fsync(descriptor)
        os.rename(self._new, self._path)
        with _opened(self._path.parent, os.O_RDONLY | os.O_DIRECTORY) as folder:
            os.fsync(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep out other processes and other threads: a lock belongs to the descriptor that was opened here."""
        with _opened(self._lock, os.O_RDWR | os.O_CREAT) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield

    def _error(self, reason: Reason, detail: str) -> ExchangeError:
        return error(reason, field=str(self._path), detail=detail)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
