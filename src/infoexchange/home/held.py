"""Held: the directory in an agency's folder, with the root keys that sign it, through every crash."""

from __future__ import annotations

from pathlib import Path

from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, UntrustedError, error
from infoexchange.home.files import in_file, read_file, write_file
from infoexchange.listing import Roots

ROOTS = "roots.pb"
ROOTS_NEXT = "roots.next.pb"
DIRECTORY = "directory.pb"
FORKS = "forks"


def read(path: Path, *, next_step: str) -> Directory:
    """Return the directory in a folder, signed by the roots beside it.

    Raises:
        UnavailableError: A file is missing; `next_step` says what makes it.
        UntrustedError: `BAD_SIGNATURE`.
    """
    raw = read_file(path / DIRECTORY, next_step=next_step)
    try:
        with in_file(path / DIRECTORY):
            return Directory.parse(raw, roots=_roots(path / ROOTS, next_step))
    except UntrustedError:
        if not (path / ROOTS_NEXT).exists():
            raise
    with in_file(path / DIRECTORY):
        return Directory.parse(raw, roots=_roots(path / ROOTS_NEXT, next_step))


def _roots(file: Path, next_step: str) -> Roots:
    with in_file(file):
        return Roots.parse(read_file(file, next_step=next_step))


def read_if_whole(path: Path) -> Directory | None:
    """Return the directory in the folder, or nothing where it is missing or damaged and may be put in again."""
    try:
        return read(path, next_step="")
    except ExchangeError:
        return None


def put(path: Path, directory: Directory, roots: Roots, before: Directory | None) -> None:
    """Put a directory and the roots that sign it into the folder; `read` finds a pair that fits at every step."""
    # (1) The held directory is signed by its own roots too, whatever an earlier crash left in the file.
    if before:
        write_file(path / ROOTS, before.listing.roots.raw)
    # (2) New roots lie ready before the directory that needs them, and take their place after it.
    write_file(path / ROOTS_NEXT, roots.raw)
    write_file(path / DIRECTORY, directory.raw)
    (path / ROOTS_NEXT).replace(path / ROOTS)


def check_not_older(directory: Directory, before: Directory) -> None:
    """Raise `DIRECTORY_ROLLBACK` for an older version than the one held, `LOG_FORK` for another one of its number."""
    if directory.version < before.version:
        detail = f"{directory.version}, but {before.version} is held here"
        raise error(Reason.DIRECTORY_ROLLBACK, field="version", detail=detail)
    if directory.version == before.version and directory.digest != before.digest:
        before.check_next(directory.listing)


def put_fork(path: Path, raw: bytes) -> Path:
    """Keep a directory version that shows a second history; return the file. The same again changes nothing."""
    folder = path / FORKS
    folder.mkdir(mode=0o700, exist_ok=True)
    fork = Directory.held(raw)  # named by what was signed: the same content with other signatures is no second proof
    file = folder / f"version-{fork.version}-{fork.digest.hex()[:16]}.pb"
    if not file.exists():
        write_file(file, raw)
    return file
