"""Errands: what commands ask the running relay to do with pouches, by files in a folder of its data.

One process alone writes the log, and it has no business with disks that somebody brings: the command copies a pouch
into the folder, or out of it, and the relay works on the copy. A request is a file, and so is the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home.files import check_new, sync_folder, write_file
from infoexchange_relay.config import Config
from infoexchange_relay.courier import Courier, Report
from infoexchange_relay.lock import is_locked
from infoexchange_relay.room import check_room

# Implementation constants
_LOOK_SECONDS = 0.5  # between two looks of the relay into the folder
_PAUSE_SECONDS = 0.1  # between two looks of the command for the answer
_GONE_SECONDS = 10.0  # without folder or answer before a relay that starts counts as none
_OVER_SECONDS = 3600.0  # untouched for so long, a pouch that nobody asks about is nobody's
_SIZE_MAX = 64 * 1024
_ASKED, _ANSWERED, _POUCH = ".request", ".answer", ".pouch"

_log = structlog.get_logger()


async def watch(courier: Courier, folder: Path) -> None:
    """Do what commands ask, one after the other, for ever."""
    await asyncio.to_thread(_clear, folder)
    while True:
        await asyncio.to_thread(_clear_old, folder)
        for file in await asyncio.to_thread(_waiting, folder):
            try:
                await _do(courier, file)
            except Exception as bug:  # noqa: BLE001  one bad request must not stop the others; the text may hold bytes
                _log.warning("request_failed", reason=type(bug).__name__)
                await asyncio.to_thread(_say, file, error(Reason.UNAVAILABLE, detail="an error inside the relay"))
        await asyncio.sleep(_LOOK_SECONDS)


async def _do(courier: Courier, file: Path) -> None:
    """Do one errand, and say beside it what came of it."""
    pouch = file.with_suffix(_POUCH)
    try:
        to = await asyncio.to_thread(_read, file)
        said: Report | ExchangeError = await (courier.make(to, pouch) if to else courier.take(pouch))
    except ExchangeError as problem:
        said = problem
    except OSError as problem:
        said = error(Reason.UNAVAILABLE, field="data", detail=problem.strerror or "the disk cannot be used")
    if isinstance(said, ExchangeError):
        _log.warning("request_refused", reason=said.reason.word)
    await asyncio.to_thread(_say, file, said)


def _read(file: Path) -> str:
    """Return the relay that a pouch is to be made for; nothing where one is to be taken."""
    try:
        if file.stat().st_size > _SIZE_MAX:
            raise ValueError
        value = json.loads(file.read_bytes())
        return str(value["to"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise error(Reason.MALFORMED, field=file.name, detail="not a request") from None


def _say(file: Path, said: Report | ExchangeError) -> None:
    if not file.exists():  # whoever asked has gone
        file.with_suffix(_POUCH).unlink(missing_ok=True)
        return
    if isinstance(said, ExchangeError):
        parts = {"reason": int(said.reason), "field": said.field, "detail": said.detail, "next_step": said.next_step}
        said = {"problem": parts}
    with contextlib.suppress(OSError):  # on a full disk the command finds its request gone, and says so
        write_file(file.with_suffix(_ANSWERED), json.dumps(said).encode())
    file.unlink(missing_ok=True)


def _waiting(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_ASKED}")) if folder.is_dir() else []


def _clear(folder: Path) -> None:
    """Make the folder, or remove what stands in it: whoever waits for an answer finds it gone, and is told so."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for pattern in (f"*{_ASKED}", f"*{_ANSWERED}", f"*{_POUCH}"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def _clear_old(folder: Path) -> None:
    """Remove what commands that were killed left; whoever still copies a pouch has it open, and goes on."""
    for pattern in (f"*{_ANSWERED}", f"*{_POUCH}"):
        for file in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):  # whoever asked has just fetched it
                old = time.time() - file.stat().st_mtime > _OVER_SECONDS
                if old and not file.with_suffix(_ASKED).exists():
                    file.unlink()


def fetch_pouch(config: Config, to: str, file: Path) -> Report:
    """Have the running relay make a pouch for a peer, put it into a new file, and return what it is.

    Raises:
        RefusedError: `NOT_PERMITTED` when there is such a file.
        UnavailableError: `UNAVAILABLE` when no relay runs; `OVERLOADED`.
        ExchangeError: As `Courier.make`.
        OSError: The file cannot be written.
    """
    check_new(file)
    with _errand(config) as asked:
        said = _ask(config, asked, to)
        _copy(asked.with_suffix(_POUCH), file)
    return said


def hand_in(config: Config, file: Path) -> Report:
    """Have the running relay take the pouch in a file, and return what it brought.

    Raises:
        UnavailableError: `UNAVAILABLE` when no relay runs; `OVERLOADED`.
        ExchangeError: As `Courier.take`.
        OSError: The file cannot be read.
    """
    size = file.stat().st_size
    with file.open("rb") as source, _errand(config) as asked:
        check_room(asked.parent, config.reserve + size)
        with asked.with_suffix(_POUCH).open("xb") as copy:
            shutil.copyfileobj(source, copy, 1024 * 1024)
        return _ask(config, asked, "")


@contextlib.contextmanager
def _errand(config: Config) -> Iterator[Path]:
    """Give the file of a new request, and leave nothing of it behind."""
    end = time.monotonic() + _GONE_SECONDS
    while not config.errands.is_dir():  # the relay makes it when it has started; it belongs to the relay's user
        _check_runs(config)
        if time.monotonic() >= end:
            raise _silent(config)
        time.sleep(_PAUSE_SECONDS)
    _check_runs(config)
    asked = config.errands / f"{secrets.token_hex(16)}{_ASKED}"
    try:
        yield asked
    finally:
        for suffix in (_ASKED, _ANSWERED, _POUCH):
            asked.with_suffix(suffix).unlink(missing_ok=True)


def _ask(config: Config, asked: Path, to: str) -> Report:
    """Return what the running relay answers, however long it takes: a pouch may hold terabytes."""
    answered = asked.with_suffix(_ANSWERED)
    write_file(asked, json.dumps({"to": to}).encode())
    while not answered.exists():
        if not asked.exists() and not answered.exists():
            raise _silent(config)  # a relay that has just started has cleared the folder
        _check_runs(config)
        time.sleep(_PAUSE_SECONDS)
    said: dict[str, object] = json.loads(answered.read_bytes())
    problem = said.get("problem")
    if isinstance(problem, dict):
        raise error(
            Reason(problem["reason"]),
            field=problem["field"],
            detail=problem["detail"],
            next_step=problem["next_step"],
        )
    return said


def _check_runs(config: Config) -> None:
    """Return if a relay works on the data, or raise `UNAVAILABLE`."""
    if is_locked(config):
        return
    step = f"Start it with: infoexchange-relay serve, and run this again. Data: {config.data}"
    raise error(Reason.UNAVAILABLE, field="relay", detail="it does not run, and only it may do this", next_step=step)


def _silent(config: Config) -> ExchangeError:
    detail = f"it gave no answer; it was perhaps started anew meanwhile, or the disk of {config.data} is full"
    return error(Reason.UNAVAILABLE, field="relay", detail=detail, next_step="Run the same command again.")


def _copy(pouch: Path, file: Path) -> None:
    """Put a pouch into a new file, whole or not at all, durably; nobody else may read who writes to whom."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as target, pouch.open("rb") as source:
            shutil.copyfileobj(source, target, 1024 * 1024)
            target.flush()
            # A disk that is pulled out too early must not leave half a pouch under its name.
            os.fsync(target.fileno())
        part.rename(file)
        sync_folder(file.parent)
    finally:
        part.unlink(missing_ok=True)
