"""Foreign witnesses: those outside the community that the operator names, asked over HTTP (SPEC section Submission).

Their lines stand beside those of the other nations in the checkpoint that auditors read; whether they count is for the
directory's policy and for each auditor to say. A foreign witness that is dead, slow or lying holds up nobody: each is
asked in a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.node import Node
from infoexchange.submission import believed
from infoexchange.tlog import Checkpoint
from infoexchange.transport.http_witness import HttpWitness
from infoexchange_relay import witnessing
from infoexchange_relay.config import ForeignWitness
from infoexchange_relay.cosigned import Cosigned
from infoexchange_relay.lasting import lasting
from infoexchange_relay.nodes import Nodes, OneNode

# Implementation constants
_ASK_TIMEOUT = timedelta(seconds=10)  # a name to be looked up, TLS and an answer from the other side of the world

_log = structlog.get_logger()


class Foreign:
    """Asks foreign witnesses for cosignatures whenever the log has grown."""

    def __init__(self, node: Node, witnesses: Sequence[ForeignWitness], cosigned: Cosigned, *, seconds: float) -> None:
        """Hold the node and the settings; `seconds` lie between two looks at the log."""
        self._node = node
        self._cosigned = cosigned
        self._witnesses = witnesses
        self._seconds = seconds
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, nodes: Nodes | None = None) -> None:
        """Begin, in the running loop; of several `nodes` one asks each."""
        on_duty = (nodes or OneNode()).on_duty
        self._tasks = [
            asyncio.create_task(
                lasting(partial(on_duty, f"witness {witness.url}", partial(self._run, _Asked(witness))))
            )
            for witness in self._witnesses
        ]

    async def close(self) -> None:
        """End the tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, asked: _Asked) -> None:
        done, due, failing = b"", 0.0, False
        loop = asyncio.get_running_loop()
        while True:
            note = self._node.ledger.checkpoint()
            if note and (note != done or loop.time() >= due):
                reason = await self._ask_once(asked, Checkpoint.parse(note))
                if bool(reason) != failing:
                    failing = bool(reason)
                    _say(asked, reason)
                done, due = note, loop.time() + (witnessing.RETRY_SECONDS if failing else witnessing.REFRESH_SECONDS)
            await asyncio.sleep(self._seconds)

    async def _ask_once(self, asked: _Asked, checkpoint: Checkpoint) -> str:
        """Have one checkpoint cosigned and shown; return why that failed, or nothing."""
        try:
            lines = await self._ask(asked, checkpoint)
            signatures = await asyncio.to_thread(
                believed, checkpoint, lines, asked.setting.keys, now=self._node.clock()
            )
            await asyncio.to_thread(self._cosigned.add, asked.setting.url, checkpoint, signatures)
        except ExchangeError as problem:
            return problem.reason.word
        except Exception as bug:  # noqa: BLE001  the next round comes whatever happens; the text may hold bytes
            return type(bug).__name__
        return ""

    async def _ask(self, asked: _Asked, checkpoint: Checkpoint) -> bytes:
        """Return a witness's unverified lines, starting from the size it says it cosigned last."""
        for _ in range(2):  # the first answer may only tell the size
            proof = await asyncio.to_thread(self._node.ledger.consistency, asked.size, checkpoint.size)
            answer = await asked.witness.add_checkpoint(asked.size, proof, checkpoint.raw)
            if answer.size > checkpoint.size:
                raise error(Reason.LOG_FORK, field="size", detail=f"it says that it cosigned {answer.size}")
            asked.size = answer.size
            if answer.lines:
                return answer.lines
        raise error(Reason.BAD_PROOF, field="old_size", detail="it does not say what it has cosigned")


class _Asked:
    """A foreign witness, and what it cosigned last as far as it is known."""

    def __init__(self, setting: ForeignWitness) -> None:
        self.setting = setting
        self.witness = HttpWitness(setting.url, timeout=_ASK_TIMEOUT)
        self.size = 0


def _say(asked: _Asked, reason: str) -> None:
    if reason:
        _log.warning("foreign_witness_failed", address=asked.setting.url, reason=reason)
    else:
        _log.info("foreign_witness_back", address=asked.setting.url, size=asked.size)
