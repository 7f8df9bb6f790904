"""Files: read with care, written whole or not at all.

For the programs around the library: a crash or a full disk leaves the old file, and a key that others could read is
refused before it is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from infoexchange import certificates
from infoexchange.errors import ExchangeError, Reason, error

# Implementation constants
_ATTEMPTS, _PAUSE = 50, 0.1  # five seconds: longer than a command takes that sends or receives a little
FILE_SIZE_MAX = 16 * 1024 * 1024  # four times the largest directory; more is not a file of ours


def read_file(path: Path, *, next_step: str) -> bytes:
    """Return the bytes of a file.

    Args:
        path: The file.
        next_step: What to do when there is none, for example the command that makes it.

    Raises:
        UnavailableError: `UNAVAILABLE` when there is no such file.
        RefusedError: `TOO_LARGE`.
        OSError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _content(file, path)
    except FileNotFoundError:
        raise missing(path, next_step) from None


def read_key(path: Path, *, next_step: str) -> bytes:
    """Return the bytes of a key file that nobody but its owner can read; arguments and errors as `read_file`.

    Raises:
        RefusedError: `NOT_PERMITTED` when others could read it, or it is another user's.
    """
    try:
        with path.open("rb") as file:
            # The open file is asked, so that nobody can exchange it between the question and the reading.
            _check_own(os.fstat(file.fileno()), path)
            return _content(file, path)
    except FileNotFoundError:
        raise missing(path, next_step) from None


def _check_own(status: os.stat_result, path: Path) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        detail, next_step = "readable by others", f"Run: chmod 600 {path}"
    # Behind a symbolic link may lie a file that its owner can change at any time, and we would sign with it. The
    # administrator may look after the files of others.
    elif os.geteuid() not in (status.st_uid, 0) and status.st_uid != 0:
        detail, next_step = "it belongs to another user", f"Run as its owner, or: chown {os.geteuid()} {path}"
    else:
        return
    raise error(Reason.NOT_PERMITTED, field=str(path), detail=detail, next_step=next_step)


def read_credential(path: Path) -> bytes:
    """Return the bytes of a file that systemd made for this service alone; its folder keeps everybody else out.

    Raises:
        RefusedError: `NOT_PERMITTED` when everybody could read it all the same, or `TOO_LARGE`.
    """
    with path.open("rb") as file:
        # The group's bits may stand for an access list that names the service's user.
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
            next_step = "Have systemd hand it over, with LoadCredential= or LoadCredentialEncrypted=."
            raise error(Reason.NOT_PERMITTED, field=str(path), detail="readable by everybody", next_step=next_step)
        return _content(file, path)


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put `data` in the place of a file, whole or not at all, durably."""
    with _written(path, data, mode) as temporary:
        temporary.replace(path)


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Make a file, whole or not at all, durably; for what must never be overwritten, such as keys.

    Raises:
        RefusedError: `NOT_PERMITTED` when there is such a file.
    """
    try:
        with _written(path, data, mode) as temporary:
            path.hardlink_to(temporary)  # unlike a rename, fails where something stands
    except FileExistsError:
        raise _exists(path) from None


def check_new(path: Path) -> None:
    """Accept a place where nothing stands yet, before work is done whose result is to be written there.

    Raises:
        RefusedError: `NOT_PERMITTED` when there is such a file.
    """
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: Path) -> ExchangeError:
    return error(
        Reason.NOT_PERMITTED,
        field=str(path),
        detail="the file exists and is not overwritten",
        next_step="Name another place, or move the file away yourself.",
    )


def write_pair(key: Path, secret: bytes, beside: Path, public: bytes) -> None:
    """Make a new key file and the file of its public half: both, or neither.

    Raises:
        RefusedError: `NOT_PERMITTED` when there is such a key file.
    """
    write_new(key, secret)
    try:
        write_file(beside, public)
    except BaseException:
        key.unlink()  # nobody has seen its public half, so nothing is lost with it
        raise


@contextlib.contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """Give a durable file beside `path`; afterwards it is gone and the folder is durable too."""
    if path.exists() and not path.is_file():
        raise error(Reason.NOT_PERMITTED, field=str(path), detail="not a file", next_step="Name a file.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except FileExistsError:
        raise  # `write_new` says what it means
    except OSError as problem:
        # The name that the reader knows, not that of the temporary file.
        raise OSError(problem.errno, problem.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _content(file: BinaryIO, path: Path) -> bytes:
    content = file.read(FILE_SIZE_MAX + 1)
    if len(content) > FILE_SIZE_MAX:
        detail = f"more than {FILE_SIZE_MAX} bytes"
        raise error(Reason.TOO_LARGE, field=str(path), detail=detail, next_step="Check the path.")
    return content


@contextlib.contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Put the name of a file into every error about what stands in it."""
    try:
        yield
    except ExchangeError as problem:
        if problem.field.startswith(str(path)):
            raise
        field = f"{path}: {problem.field}" if problem.field else str(path)
        raise error(problem.reason, field=field, detail=problem.detail, next_step=problem.next_step) from None


def missing(path: Path, next_step: str) -> ExchangeError:
    """Return the error for a file that is not there."""
    return error(Reason.UNAVAILABLE, field=str(path), detail="there is no such file", next_step=next_step)


def check_tls_pair(certificate_der: bytes, key_pem: bytes, path: Path) -> None:
    """Return if a TLS certificate belongs to the key that stands in a file, or raise `BAD_CERTIFICATE`."""
    with in_file(path):
        paired = certificates.belong_together(certificate_der, key_pem)
    if not paired:
        raise error(
            Reason.BAD_CERTIFICATE,
            field=str(path),
            detail="the key is not that of the TLS certificate",
            next_step="Have a certificate issued for the request beside this key.",
        )


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while it wrote a file left beside it; nobody may be writing it now."""
    for temporary in path.parent.glob(f".{path.name}.????????"):
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other programs that ask for the same from a folder.

    Raises:
        UnavailableError: Another program has it and does not give it back soon.
    """
    with (folder / ".in-use").open("ab") as file:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_PAUSE)
        else:
            raise error(
                Reason.UNAVAILABLE,
                field=str(folder),
                detail="another program is at work in this folder",
                next_step="Wait until it is done; this one has changed nothing.",
            )
        yield
