"""Timestamps: has a time authority stamp this relay's checkpoints (SPEC section Timestamps; RFC 3161 over HTTP).

An authority that is dead, slow or lying stops nothing: its token is missing until it answers again. It is asked in a
thread of its own, which is left behind if it does not end in time, and what it says is verified before it is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.exported import StampedNote, Stamps
from infoexchange.home.files import in_file, read_file
from infoexchange.node import Node
from infoexchange.quorum import policy_for
from infoexchange.tlog import Checkpoint
from infoexchange.tlog.checkpoint import SKEW_MAX
from infoexchange.tsa import TOKEN_SIZE_MAX, Authorities, TimeQuery, TimeStamp
from infoexchange_relay.config import Config
from infoexchange_relay.lasting import lasting
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.nodes import Nodes, OneNode

# Implementation constants
_ANSWER_SECONDS = 30.0  # authorities answer within a second; twice the time in which TCP gives up a first packet or two
_PAUSE_SECONDS = 10.0  # in which an answer under way must bring another byte
_LOOK_SECONDS = 60.0  # between two looks whether the log has grown
_RETRY_SECONDS = 300.0  # after an attempt that failed: seldom enough to be no burden for an authority in trouble

_log = structlog.get_logger()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nobody: the operator names the authority."""


def ask(url: str, query: bytes, *, seconds: float) -> bytes:
    """Return what a time authority answers to a query.

    Args:
        url: Of the authority, http or https.
        query: A TimeStampReq.
        seconds: After which an answer under way is given up.

    Raises:
        UnavailableError: `UNAVAILABLE`, with the HTTP status or what the network said.
        RefusedError: `TOO_LARGE`.
    """
    end = time.monotonic() + seconds
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    request = urllib.request.Request(url, query, headers)  # noqa: S310  the settings take http and https only
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=min(seconds, _PAUSE_SECONDS)) as answer:
            raw = b""
            while part := answer.read1(TOKEN_SIZE_MAX):
                raw += part
                if len(raw) > TOKEN_SIZE_MAX:
                    raise error(Reason.TOO_LARGE, field="timestamp", detail=f"more than {TOKEN_SIZE_MAX} bytes")
                if time.monotonic() > end:
                    raise TimeoutError
            return raw
    except urllib.error.HTTPError as problem:
        problem.close()
        raise _silent(f"HTTP status {problem.code}") from None
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as problem:  # the last: a huge chunk
        cause = problem.reason if isinstance(problem, urllib.error.URLError) else problem
        raise _silent(getattr(cause, "strerror", None) or type(cause).__name__) from None


class Timestamps:
    """Asks a time authority whenever the log has grown, and not more often than the operator wants."""

    def __init__(self, node: Node, config: Config, believed: Authorities, metrics: Metrics) -> None:
        """Hold the started node, the settings and whom to believe; nothing is asked before `start`."""
        self._node = node
        self._config = config
        self._every = timedelta(minutes=config.tsa_minutes)
        self._authorities = believed
        self._metrics = metrics
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, nodes: Nodes | None = None) -> None:
        """Begin, in the running loop; of several `nodes` one asks."""
        self._task = asyncio.create_task(lasting(partial((nodes or OneNode()).on_duty, "timestamps", self._run)))

    async def close(self) -> None:
        """End the task; a question under way is left to itself."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                pause = await self._look()
            except Exception as problem:  # noqa: BLE001  whatever an authority does, the next attempt comes
                known = problem if isinstance(problem, ExchangeError) else None
                reason = known.reason.word if known else type(problem).__name__  # its text may hold bytes
                _log.warning("timestamp_failed", reason=reason, what=known and known.detail)
                self._metrics.timestamp_failed()
                pause = min(_RETRY_SECONDS, self._every.total_seconds())
            await asyncio.sleep(pause)

    async def _look(self) -> float:
        """Have the newest checkpoint stamped if it is time for that; return the seconds until the next look."""
        checkpoint = self._newest()
        if checkpoint is None:
            return _LOOK_SECONDS
        stamps = Stamps(self._config.timestamps(checkpoint.origin))
        size, wait = await asyncio.to_thread(self._kept, stamps)
        if wait > 0:
            return wait
        if checkpoint.size <= size:
            return _LOOK_SECONDS
        query = TimeQuery.make(checkpoint.raw)
        raw = await self._asked(query.raw)
        await asyncio.to_thread(self._check, checkpoint, query, raw)
        await asyncio.to_thread(stamps.put, StampedNote(checkpoint.size, checkpoint.raw, raw))
        _log.info("timestamped", size=checkpoint.size)
        self._metrics.timestamped(checkpoint.size)
        return self._every.total_seconds()

    def _newest(self) -> Checkpoint | None:
        """Return the newest cosigned checkpoint, or the newest signed one where no other nation could cosign it."""
        ledger = self._node.ledger
        note = ledger.cosigned()
        if not note and not policy_for(self._node.directory, self._node.name).has_quorum_rule:
            note = ledger.checkpoint()
        return Checkpoint.parse(note) if note else None

    def _kept(self, stamps: Stamps) -> tuple[int, float]:
        """Return the size that was stamped last, and the seconds until the next may be."""
        newest = stamps.newest()
        if newest is None:
            return 0, 0.0
        size, written = newest
        age = self._node.clock() - written
        # A file from the future tells of a clock that was wrong, and not when the next is due.
        return size, 0.0 if age < timedelta() else (self._every - age).total_seconds()

    async def _asked(self, query: bytes) -> bytes:
        """Return the answer to a query, asked in a thread that nobody waits for longer than it may take."""
        if self._thread and self._thread.is_alive():
            raise _silent("the last question has not ended yet")
        done: Future[bytes] = Future()
        done.set_running_or_notify_cancel()  # or whoever stops waiting would cancel it while the thread still runs
        self._thread = threading.Thread(
            target=_settle, args=(done, lambda: ask(self._config.tsa_url, query, seconds=_ANSWER_SECONDS)), daemon=True
        )
        self._thread.start()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(done), _ANSWER_SECONDS)
        except TimeoutError:
            raise _silent(f"no answer within {_ANSWER_SECONDS:.0f} seconds") from None

    def _check(self, checkpoint: Checkpoint, query: TimeQuery, raw: bytes) -> None:
        now = self._node.clock()
        said = TimeStamp.parse(raw).verify(checkpoint.raw, self._authorities, now=now, nonce=query.nonce)
        if said.by < now - SKEW_MAX:  # its clock is wrong, or ours: a token that says so helps nobody later
            raise error(Reason.EXPIRED, field="timestamp", detail=f"stamped at {said.time:%Y-%m-%dT%H:%M:%SZ}")


def authorities(config: Config) -> Authorities:
    """Return whom the settings name.

    Raises:
        UnavailableError: There is no such file, or the extra `tsa` is not installed.
        UntrustedError: `BAD_CERTIFICATE`.
    """
    file = Path(config.tsa_roots)
    with in_file(file):
        return Authorities.parse(read_file(file, next_step="Put the certificates of the time authority there."))


def _settle(done: Future[bytes], call: Callable[[], bytes]) -> None:
    """Put what a call returns or raises into a future, whose reader may be gone."""
    with contextlib.suppress(RuntimeError):  # the loop that waited has been closed
        try:
            done.set_result(call())
        except Exception as problem:  # noqa: BLE001  whoever waits gets it
            done.set_exception(problem)


def _silent(detail: str) -> ExchangeError:
    return error(Reason.UNAVAILABLE, field="time authority", detail=detail)
