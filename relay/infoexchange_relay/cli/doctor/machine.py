"""Machine: disks, files, memory and limits of the machine that a relay runs on."""

from __future__ import annotations

import os
import resource
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from infoexchange_relay.cli.doctor.finding import Finding, attention, well, wrong
from infoexchange_relay.config import Config

# Implementation constants
_MIB = 2**20
_FREE_MIN = 256 * _MIB  # what the store's write-ahead log and a batch of the largest frames may need at once
_FREE_SHARE = 0.1  # below a tenth people begin to delete things in a hurry
_INODES_MIN = 1000  # attachments and exported logs are many files
_FSYNC_SLOW = 0.25  # seconds; each batch of the log waits for two of them
_MEMORY_MIN = 320 * _MIB  # a relay with a million queued messages or a thousand slow readers
_MEMORY_GOOD = 512 * _MIB
_FILES_MIN = 1024  # one for each connection, and some for the store


def disks(config: Config) -> Iterator[Finding]:
    """Look at the file systems that the relay writes to, each once: room, files, and whether fsync works."""
    places = {"data": config.data, "latch": config.latch.parent, "attachments": config.attachments}
    seen: set[int] = set()
    for name, folder in places.items():
        if not folder.is_dir():
            if name != "attachments":  # made with the first start
                yield wrong(f"disk of {name}", f"{folder}: no such folder", f"Run: mkdir -m 700 -p {folder}")
            continue
        device = folder.stat().st_dev
        if device not in seen or name == "latch":
            yield from _room(f"disk of {name}", folder, config.reserve if name != "latch" else 0)
            yield _writing(f"writing to {name}", folder)
        seen.add(device)
    if config.latch.parent.is_dir() and config.data.is_dir():
        yield _apart(config)


def _room(name: str, folder: Path, reserve: int) -> Iterator[Finding]:
    state = os.statvfs(folder)
    free, total = state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize
    share = free / total if total else 0.0
    said = f"{folder}: {_size(free)} free of {_size(total)}"
    needed = max(_FREE_MIN, reserve)
    if free < needed:
        step = f"Make room: below {_size(needed)} the relay may refuse what is new. Delete nothing of its own by hand."
        yield wrong(name, said, step)
    elif share < _FREE_SHARE:
        yield attention(name, f"{said}, {share:.0%}", "Make room, or give it a larger disk, before it is full.")
    else:
        yield well(name, said)
    if state.f_files and state.f_favail < _INODES_MIN:  # some file systems count none
        yield wrong(
            f"{name}, inodes", f"{folder}: {state.f_favail} left", "Delete small files that are not the relay's."
        )


def _writing(name: str, folder: Path) -> Finding:
    """Write a small file and wait until it is on disk, as every batch of the log does."""
    file = folder / f".doctor-{secrets.token_hex(4)}"
    try:
        before = time.monotonic()
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            file.unlink()
        took = time.monotonic() - before
    except OSError as problem:
        step = "Nothing can be logged: correct that, and start the relay again if it has stopped."
        return wrong(name, f"{folder}: {problem.strerror}", step)
    said = f"on disk after {took * 1000:.1f} ms"
    if took > _FSYNC_SLOW:
        return attention(name, said, "Look at the disk's health and load: each batch of messages waits for it twice.")
    return well(name, said)


def _apart(config: Config) -> Finding:
    """Tell whether one dead disk takes log and latch along."""
    name = "latch and data apart"
    if config.latch.parent.stat().st_dev == config.data.stat().st_dev:
        return well(name, "one file system holds both; another disk for the latch would be better")
    return well(name, "on file systems of their own")


def permissions(config: Config, file: Path) -> Iterator[Finding]:
    """Look at who else may read or change what belongs to the relay alone."""
    for name in ("log_keys", "witness_keys", "tls_key"):
        path: Path = getattr(config, name)
        if path.exists():  # else among the credentials, or missed by another look
            yield _closed(f"permissions of {name}", path, 0o077, "600")
    for name, folder in (("data", config.data), ("latch", config.latch.parent)):
        if folder.is_dir():
            yield _closed(f"permissions of {name}", folder, 0o007, "700")
    # Whoever can change these decides which keys and which log the relay uses.
    for name, path in (("settings", file), ("directory", config.directory), ("roots", config.roots)):
        if path.exists():
            yield _closed(f"permissions of {name}", path, 0o022, "644")


def _closed(name: str, path: Path, others: int, wanted: str) -> Finding:
    state = path.stat()
    mode = stat.S_IMODE(state.st_mode)
    if mode & others:
        return wrong(name, f"{path}: mode {mode:o}", f"Run: chmod {wanted} {path}")
    if state.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        return wrong(name, f"{path}: it belongs to another user", f"Run: chown {os.geteuid()} {path}")
    return well(name, f"mode {mode:o}")


def limits(process: int, system: Path = Path("/")) -> Iterator[Finding]:
    """Look at what the system lets a process have: memory and open files.

    Args:
        process: Number of the relay's process, or of this one where none runs.
        system: Where `/proc` and `/sys` are.
    """
    ceilings = dict(_groups(process, system))
    if (most := _limit(process, resource.RLIMIT_AS)) is not None:
        ceilings["limit of the process (ulimit -v)"] = most
    what, least = min(ceilings.items(), key=lambda item: item[1], default=("", 0))
    said = f"{_size(least)}, {what}" if ceilings else "not limited"
    step = f"Raise it to {_size(_MEMORY_GOOD)} or more (systemd: MemoryMax=)."
    if ceilings and least < _MEMORY_MIN:
        yield wrong("memory", said, f"{step} Under load the system would kill the relay.")
    elif ceilings and least < _MEMORY_GOOD:
        yield attention("memory", said, step)
    else:
        yield well("memory", said)
    files = _limit(process, resource.RLIMIT_NOFILE)
    if files is not None and files < _FILES_MIN:
        step = f"Raise it to {_FILES_MIN} or more (systemd: LimitNOFILE=)."
        yield attention("open files", f"at most {files}", step)
    else:
        yield well("open files", "not limited" if files is None else f"at most {files}")


def _limit(process: int, kind: int) -> int | None:
    soft, _ = resource.prlimit(process, kind)
    return None if soft == resource.RLIM_INFINITY else soft


def _groups(process: int, system: Path) -> Iterator[tuple[str, int]]:
    """Yield the memory limits of the control groups around a process, of either version of the interface."""
    try:
        lines = (system / f"proc/{process}/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            root, name = system / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, name = system / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = root / path.strip("/")
        for folder in (group, *group.parents):  # a group around it limits it too
            if not folder.is_relative_to(root):
                break
            ceiling = _ceiling(folder / name)
            if ceiling is not None:
                yield f"limit of the group {folder}", ceiling


def _ceiling(file: Path) -> int | None:
    """Return the bytes in a control group's file; None where there is none, or no limit."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    # Without a limit version 2 says `max`, and version 1 a number larger than any memory.
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _size(count: int) -> str:
    """Return bytes in words of a person."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
