"""Disclosures: what an operator shows of the log is logged before it is shown, also where the relay runs meanwhile.

One process alone writes the log. A command leaves a file in a folder of the relay's data, which only the relay's user
may write; the relay logs what it asks for, and answers in another file. Where no relay runs, the command logs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.home.files import write_file
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.node.housekeeping import REQUEST_SIZE
from infoexchange.ports import Result
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.transport import utc_now
from infoexchange_relay.batching import Batching
from infoexchange_relay.config import Config
from infoexchange_relay.lock import locked
from infoexchange_relay.stores import RowStore, latch_of

# Implementation constants
_LOOK_SECONDS = 0.5  # between two looks of the relay into the folder
_PAUSE_SECONDS = 0.1  # between two looks of the command for the answer
_WAIT_SECONDS = 60.0  # for the relay's answer: a busy log takes a batch in less
_SIZE_MAX = 64 * 1024
_ASKED, _ANSWERED = ".request", ".answer"

_log = structlog.get_logger()


async def watch(batching: Batching, folder: Path) -> None:
    """Answer what commands ask, for ever."""
    await asyncio.to_thread(_clear, folder)
    while True:
        for file in await asyncio.to_thread(_waiting, folder):
            try:
                await _answer(batching, file)
            except Exception as bug:  # noqa: BLE001  one bad request must not stop the others; the text may hold bytes
                _log.warning("request_failed", reason=type(bug).__name__)
                with contextlib.suppress(OSError):  # whoever waits asks again
                    await asyncio.to_thread(file.unlink, missing_ok=True)
        await asyncio.sleep(_LOOK_SECONDS)


async def _answer(batching: Batching, file: Path) -> None:
    """Log what one request asks for, and say so beside it."""
    said: dict[str, object]
    try:
        request, detail = await asyncio.to_thread(_read, file)
        [result] = await batching.settle([partial(batching.node.shown, request, detail)], len(detail))
        if isinstance(result, ExchangeError):
            raise result
        said = {"entry": result.index}
        _log.info("records_disclosed", size=result.index)
    except ExchangeError as problem:
        said = {"reason": problem.reason.word, "field": problem.field, "detail": problem.detail}
        _log.warning("request_refused", reason=problem.reason.word)
    await asyncio.to_thread(write_file, file.with_suffix(_ANSWERED), json.dumps(said).encode())
    await asyncio.to_thread(file.unlink, missing_ok=True)


def _read(file: Path) -> tuple[bytes, str]:
    """Return name and text of a request."""
    try:
        if file.stat().st_size > _SIZE_MAX:
            raise ValueError
        value = json.loads(file.read_bytes())
        return bytes.fromhex(file.stem), str(value["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise error(Reason.MALFORMED, field=file.name, detail="not a request") from None


def _waiting(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_ASKED}")) if folder.is_dir() else []


def _clear(folder: Path) -> None:
    """Make the folder, or remove what stands in it: whoever waits for an answer finds it gone, and asks again."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for pattern in (f"*{_ASKED}", f"*{_ANSWERED}"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def disclosed(config: Config, store: RowStore, detail: str) -> int:
    """Return the place of the log entry which says what is about to be shown; the relay may be running or not.

    Args:
        config: The relay's settings.
        store: Its data, open.
        detail: What is shown, and to whom.

    Raises:
        UnavailableError: `UNAVAILABLE` when a running relay does not answer; `LOG_STOPPED`.
        MalformedError: `BAD_FIELD` for an empty text, or one that is too long.
    """
    request = secrets.token_bytes(REQUEST_SIZE)
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(config))
            except UnavailableError:
                pass  # a relay runs
            else:
                return _logged(config, store, request, detail)
        found = _asked(config.requests, request, detail, lambda: time.monotonic() < end)
        if found is not None:
            return found
        if time.monotonic() >= end:
            next_step = "Nothing was shown. Look at the relay's own messages, and try again."
            said = "the relay does not answer, so the disclosure is not logged"
            raise error(Reason.UNAVAILABLE, field="relay", detail=said, next_step=next_step)


def _logged(config: Config, store: RowStore, request: bytes, detail: str) -> int:
    """Log it here, where no relay runs; the caller holds the lock."""
    keychain = config.keychain()
    keys = LogKeys.parse(keychain.read(config.log_keys, next_step="Restore it from its backup."))
    directory = Directory.held(store.exhibits(Event.DIRECTORY_VERSION)[-1])
    node = Node(Ledger(keys, store, latch_of(store, config.latch), clock=utc_now), directory, clock=utc_now)
    node.ledger.load()
    return _index(node.commit([node.shown(request, detail)])[0])


def _asked(folder: Path, request: bytes, detail: str, wait: Callable[[], bool]) -> int | None:
    """Return what the running relay answers; nothing where it gives no answer in time, or has gone."""
    if not folder.is_dir():
        time.sleep(_PAUSE_SECONDS)
        return None  # the relay makes it when it has started; it belongs to the relay's user
    asked = folder / f"{request.hex()}{_ASKED}"
    answered = asked.with_suffix(_ANSWERED)
    write_file(asked, json.dumps({"detail": detail}).encode())
    try:
        while wait() and not answered.exists():
            if not asked.exists() and not answered.exists():
                return None  # a relay that has just started has cleared the folder
            time.sleep(_PAUSE_SECONDS)
        if not answered.exists():
            return None
        said = json.loads(answered.read_bytes())
    finally:
        asked.unlink(missing_ok=True)
        answered.unlink(missing_ok=True)
    if "entry" not in said:
        reason = next(each for each in Reason if each.word == said["reason"])
        raise error(reason, field=said["field"], detail=said["detail"], next_step="Nothing was shown; try again.")
    return int(said["entry"])


def _index(result: Result) -> int:
    if isinstance(result, Receipt):
        return result.index
    raise result
