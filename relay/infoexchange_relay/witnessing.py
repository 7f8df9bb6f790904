"""Witnessing: has the other relays cosign this relay's checkpoints, and cosigns theirs.

A dead witness stops nothing: its cosignature is missing until it answers again, and receipts stay under the log's own
signatures meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home.files import write_file
from infoexchange.listing import Party, Role
from infoexchange.log import log_keys
from infoexchange.node import Node
from infoexchange.ports import ClosedLog, Latch
from infoexchange.submission import Submission, name_of
from infoexchange.tlog import Checkpoint, Cosignature, VerifierKey
from infoexchange.tlog.note import Signature, index_keys
from infoexchange.witness import Answer, Cosigner, WitnessKeys
from infoexchange_relay.cosigned import Cosigned
from infoexchange_relay.lasting import lasting
from infoexchange_relay.nodes import Nodes, OneNode
from infoexchange_relay.stores import FileLatch

# Implementation constants
REFRESH_SECONDS = 60.0  # an unchanged checkpoint is cosigned again this often, to show that the log stands still
_WITNESSES_MAX = 64  # threads, each made when it is first needed: a region has fewer relays
RETRY_SECONDS = 5.0  # between two attempts while a witness is missing
_SHOWN_SUFFIX = ".cosigned"  # beside the latch of the same log

_log = structlog.get_logger()


class Witness(Protocol):
    """The port through which another relay's witness is asked."""

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], raw: bytes) -> Answer:
        """Return cosignatures, or the size to prove from."""


class Witnessing:
    """Asks for cosignatures whenever the log has grown."""

    def __init__(
        self,
        node: Node,
        witnesses: Mapping[str, Witness],
        cosigned: Cosigned,
        *,
        seconds: float,
        nodes: Nodes | None = None,
    ) -> None:
        """Hold the node and the witnesses by relay name; `seconds` lie between two rounds at least."""
        self._node = node
        self._nodes: Nodes = nodes or OneNode()
        self._cosigned = cosigned
        self._witnesses = witnesses
        self._seconds = seconds
        self._sizes: dict[tuple[str, str], int] = {}  # what each witness cosigned last of each log
        self._pool = ThreadPoolExecutor(max(_WITNESSES_MAX, len(witnesses)), "witness")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._task = asyncio.create_task(lasting(partial(self._nodes.on_duty, "witnesses", self._run)))

    def renew(self, witnesses: Mapping[str, Witness]) -> None:
        """Ask others from the next round on; what each has cosigned is asked anew where it is not known."""
        self._witnesses = witnesses

    async def close(self) -> None:
        """End the task and its threads."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._pool.shutdown()

    async def _run(self) -> None:
        done, due = b"", 0.0
        loop = asyncio.get_running_loop()
        while True:
            note = self._node.ledger.checkpoint()
            if note and self._witnesses and (note != done or loop.time() >= due):
                try:
                    for log in await asyncio.to_thread(self._cosigned.open_logs):
                        await self._round(log.checkpoint, log)
                    complete = await self._round(Checkpoint.parse(note))
                except ExchangeError as problem:
                    _log.error("witnessing_failed", reason=problem.reason.word)
                    complete = False
                except Exception as bug:  # noqa: BLE001  witnessing goes on whatever happens; the text may hold bytes
                    _log.error("witnessing_failed", reason=type(bug).__name__)
                    complete = False
                self._cosigned.look()
                done, due = note, loop.time() + (REFRESH_SECONDS if complete else RETRY_SECONDS)
            await asyncio.sleep(self._seconds)

    async def _round(self, checkpoint: Checkpoint, log: ClosedLog | None = None) -> bool:
        """Collect cosignatures of one checkpoint, of the log or of a closed one; return whether all gave them."""
        loop = asyncio.get_running_loop()
        witnesses = dict(self._witnesses)  # of one directory version, also if another comes meanwhile
        names = list(witnesses)
        calls = (loop.run_in_executor(self._pool, self._ask, name, witnesses[name], checkpoint, log) for name in names)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        lines: list[Signature] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, BaseException):
                reason = answer.reason.word if isinstance(answer, ExchangeError) else type(answer).__name__
                _log.warning("witness_failed", peer=name, reason=reason)
            else:
                lines += answer
        cosigned = checkpoint.with_signatures(lines)
        if await asyncio.to_thread(self._cosigned.take, cosigned):
            _log.info("witnessed", size=cosigned.size, count=len(lines))
        return not any(isinstance(answer, BaseException) for answer in answers)

    def _ask(self, name: str, witness: Witness, checkpoint: Checkpoint, log: ClosedLog | None) -> list[Signature]:
        """Return one witness's cosignature lines, starting from the size it remembers; in a thread."""
        for _ in range(2):  # the first answer may only tell the size
            old_size = self._sizes.get((name, checkpoint.origin), 0)
            proof = self._node.ledger.consistency(old_size, checkpoint.size, log)
            answer = witness.add_checkpoint(old_size, proof, checkpoint.raw)
            if answer.size > checkpoint.size:
                raise error(Reason.LOG_FORK, field="size", detail=f"{name} says it cosigned {answer.size}")
            self._sizes[name, checkpoint.origin] = answer.size
            if answer.lines:
                return self._checked(name, checkpoint, Cosignature.parse_all(answer.lines))
        raise error(Reason.BAD_PROOF, field="old_size", detail=f"{name} does not say what it has cosigned")

    def _checked(self, name: str, checkpoint: Checkpoint, lines: Sequence[Cosignature]) -> list[Signature]:
        """Return the lines, once each has been found to be this witness's own: a bad one would spoil the note."""
        now = self._node.clock()
        party = self._node.directory.party(name, at=now)
        keys = {(key.name, key.id): key for key in map(VerifierKey.parse, party.witness_keys)}
        found: dict[VerifierKey, Signature] = {}  # one line for each key: more would only fill the note
        for line in lines:
            key = keys.get((line.signature.name, line.signature.key_id))
            if key is None:
                raise error(Reason.BAD_SIGNATURE, field="cosignatures", detail=f"a line that is not {name}'s")
            line.verify(checkpoint, key, now=now)
            found[key] = line.signature
        return list(found.values())


class CosigningDesk:
    """Cosigns other relays' checkpoints: one memory file for each log, one call at a time."""

    def __init__(
        self,
        keys: WitnessKeys,
        node: Node,
        folder: Path,
        *,
        latch: Callable[[Path], Latch] = FileLatch,
        shows: bool = False,
    ) -> None:
        """Keep the last checkpoint of each log below `folder`, in what `latch` gives for a file there.

        With `shows` also what `shown` gives.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._node = node
        self._folder = folder
        self._make_latch = latch
        self._shows = shows
        self._lock = threading.Lock()
        self._latches: dict[str, Latch] = {}
        self.seen: dict[str, tuple[datetime, Checkpoint]] = {}
        """What each log had cosigned here last since this relay started, and when, by its origin."""
        self._cosigner = Cosigner(keys, lambda: node.directory, self._latch, clock=node.clock)

    def _latch(self, origin: str) -> Latch:
        # Kept, because a latch that met an I/O error must go on refusing. An origin may hold characters that no file
        # name may; its digest never does.
        if origin not in self._latches:
            self._latches[origin] = self._make_latch(self._folder / name_of(origin))
        return self._latches[origin]

    async def add_checkpoint(self, caller: Party, old_size: int, proof: Sequence[bytes], raw: bytes) -> Answer:
        """Answer another relay; anybody else is refused."""
        _check_relay(caller, raw)
        return await asyncio.to_thread(partial(self._add, old_size, list(proof), raw))

    async def remembered(self, origin: str) -> bytes:
        """Tell any party what a log last had cosigned here."""
        return await asyncio.to_thread(self._read, origin)

    async def add_submission(self, submission: Submission) -> Answer:
        """Answer whoever brings a checkpoint over HTTP: that its log has signed it is all that counts."""
        raw = submission.checkpoint.raw
        return await asyncio.to_thread(partial(self._add, submission.old_size, submission.proof, raw))

    async def shown(self, name: str) -> bytes:
        """Return what was last cosigned here of the log with a name as `submission.name_of`; nothing if nothing was."""
        return await asyncio.to_thread(self._shown, name)

    def _read(self, origin: str) -> bytes:
        with self._lock:
            return self._cosigner.remembered(origin)

    def _add(self, old_size: int, proof: Sequence[bytes], raw: bytes) -> Answer:
        with self._lock:
            answer = self._cosigner.add_checkpoint(old_size, proof, raw)
            if answer.lines:
                checkpoint = Checkpoint.parse(raw)
                self.seen[checkpoint.origin] = self._node.clock(), checkpoint
                if self._shows:
                    self._show(checkpoint, answer.lines)
            return answer

    def _show(self, checkpoint: Checkpoint, lines: bytes) -> None:
        """Keep a checkpoint with the log's own lines and ours: whoever brought it may have put others into it."""
        try:
            keys = index_keys(log_keys(self._node.directory, checkpoint.origin.partition("/")[0], checkpoint.origin))
            own = [line for line in checkpoint.note.signatures if (line.name, line.key_id) in keys]
            cosigned = [line.signature for line in Cosignature.parse_all(lines)]
            shown = checkpoint.only_signatures([*own, *cosigned])
            write_file(self._folder / f"{name_of(checkpoint.origin)}{_SHOWN_SUFFIX}", shown.raw)
        except (OSError, ExchangeError) as problem:  # what is remembered stands in the latch, whatever is shown
            _log.warning("cosigned_not_shown", peer=checkpoint.origin, reason=type(problem).__name__)

    def _shown(self, name: str) -> bytes:
        try:
            return (self._folder / f"{name}{_SHOWN_SUFFIX}").read_bytes()
        except FileNotFoundError:
            return b""


def _check_relay(caller: Party, raw: bytes) -> None:
    """Raise `NOT_PERMITTED` unless a relay asks for its own log."""
    relay = Checkpoint.parse(raw).origin.partition("/")[0]
    if caller.role is not Role.RELAY or caller.name != relay:
        raise error(Reason.NOT_PERMITTED, field="checkpoint.origin", detail=f"{caller.name} for the log of {relay}")
