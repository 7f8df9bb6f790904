"""Cosigned: keeps the newest checkpoint that a quorum has cosigned, and says so when there has been none for long."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import structlog

from infoexchange.errors import ExchangeError
from infoexchange.home.files import write_file
from infoexchange.log import log_keys
from infoexchange.node import Node
from infoexchange.ports import ClosedLog
from infoexchange.quorum import policy_for
from infoexchange.tlog import Checkpoint
from infoexchange.tlog.note import Signature
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.stores.shared import Notes

# Implementation constants
_NOTE = "cosigned"
_ALARM = timedelta(minutes=15)  # a restart of a witness takes less; a person should look at what takes more

_log = structlog.get_logger()


class Cosigned:
    """What the other nations' witnesses have last said of this log."""

    def __init__(self, node: Node, file: Path, metrics: Metrics, notes: Notes | None = None) -> None:
        """Hold the started node and the file; `resume` reads it.

        Args:
            node: Whose log it is.
            file: Where the newest is kept.
            metrics: What is counted.
            notes: Where other nodes of this relay find it.
        """
        self._node = node
        self._file = file
        self._notes = notes
        self._metrics = metrics
        self._said = False
        self._settled: set[int] = set()  # closed logs, by their places, that a quorum is known to have cosigned
        self._lock = threading.Lock()  # both of the following come from threads of their own
        self._newest: Checkpoint | None = None
        self._followed = b""
        self._further: dict[str, tuple[bytes, Sequence[Signature]]] = {}

    def resume(self) -> None:
        """Go on from the checkpoint that was kept; what does not hold any more is replaced by the next one.

        Raises:
            UnavailableError: `LOG_STOPPED` when the witnesses have cosigned what the data does not hold.
        """
        try:
            checkpoint = Checkpoint.parse(self._file.read_bytes())
            self._check(checkpoint)
        except (OSError, ExchangeError):
            return
        if checkpoint.origin == self._node.ledger.origin:  # else of the log before this one
            self._node.ledger.witnessed(checkpoint)

    def follow(self) -> None:
        """Go on from what another node of this relay was told.

        Raises:
            UnavailableError: The notes cannot be read now; `LOG_STOPPED` when the data does not hold it.
            OSError: It is in use, but could not be kept.
        """
        raw = self._notes.read(_NOTE) if self._notes else b""
        if not raw or raw == self._followed:
            return
        checkpoint = Checkpoint.parse(raw)
        if checkpoint.origin != self._node.ledger.origin or checkpoint.size > self._node.ledger.size:
            return  # of a log after or before this one, or of entries that this node has not seen yet
        with self._lock:
            if self._is_met(checkpoint) and checkpoint.size >= self._node.ledger.cosigned_size:
                self._node.ledger.witnessed(checkpoint)
                write_file(self._file, raw)
            self._followed = raw

    def take(self, checkpoint: Checkpoint) -> bool:
        """Use and keep a checkpoint of this log, if a quorum has cosigned it; return whether one has.

        Raises:
            OSError: It is in use, but could not be kept.
        """
        with self._lock:
            if checkpoint.origin != self._node.ledger.origin:
                met = self._is_met(checkpoint)
                if met:
                    self._node.ledger.closed_cosigned(checkpoint)
                return met
            if not self._is_ahead_of(checkpoint):
                self._newest = checkpoint
            return self._settle(checkpoint)

    def add(self, witness: str, checkpoint: Checkpoint, lines: Sequence[Signature]) -> None:
        """Show verified lines of a foreign witness too, for as long as they are about the newest checkpoint.

        Args:
            witness: Whose lines of before these replace.
            checkpoint: What they are about.
            lines: One for each of its keys.

        Raises:
            OSError: As `take`.
        """
        with self._lock:
            if checkpoint.origin != self._node.ledger.origin or self._is_ahead_of(checkpoint):
                return
            self._further[witness] = checkpoint.note.text, lines
            newest = self._newest
            if newest is None or newest.note.text != checkpoint.note.text:
                newest = checkpoint  # the round of the other relays is still under way, or there are none
            self._settle(newest)

    def _is_ahead_of(self, checkpoint: Checkpoint) -> bool:
        newest = self._newest
        return newest is not None and newest.origin == checkpoint.origin and newest.size > checkpoint.size

    def _settle(self, checkpoint: Checkpoint) -> bool:
        """Use a checkpoint with the lines of foreign witnesses where the directory's rule is met."""
        further = self._with_further(checkpoint)
        met = [one for one in (checkpoint, further) if self._is_met(one)]
        if not met:
            return False  # receipts stay under the log's own signatures
        if checkpoint.size >= self._node.ledger.cosigned_size:
            # Foreign lines go into receipts only where the rule counts them: a receipt has to stay small enough to
            # travel in the Origin of what is passed on.
            self._node.ledger.witnessed(met[0], met[-1])
            write_file(self._file, met[-1].raw)
            if self._notes:
                self._notes.put(_NOTE, met[-1].raw)
        return True

    def _with_further(self, checkpoint: Checkpoint) -> Checkpoint:
        lines = [line for text, lines in self._further.values() if text == checkpoint.note.text for line in lines]
        try:
            return checkpoint.with_signatures(lines) if lines else checkpoint
        except ExchangeError:
            return checkpoint  # more than a note holds: the other relays' lines matter more

    def _is_met(self, checkpoint: Checkpoint) -> bool:
        try:
            self._check(checkpoint)
        except ExchangeError:
            return False
        return True

    def open_logs(self) -> list[ClosedLog]:
        """Return the closed logs of whose last checkpoint no quorum has been heard yet."""
        found = []
        for log in self._node.ledger.closed:
            if log.base in self._settled:
                continue
            try:
                self._check(log.checkpoint)
                self._settled.add(log.base)
            except ExchangeError:
                found.append(log)
        return found

    def look(self) -> None:
        """Record how long entries have been without a quorum; log when that becomes too long, and when it ends."""
        age = self._node.uncosigned()
        self._metrics.uncosigned(age.total_seconds())
        late = age > _ALARM
        if late != self._said:
            limit = self._node.max_uncosigned
            minutes = None if limit is None else limit // timedelta(minutes=1)
            if late:
                _log.error("quorum_missing", seconds=int(age.total_seconds()), minutes=minutes)
            else:
                _log.info("quorum_back", size=self._node.ledger.cosigned_size)
        self._said = late

    def _check(self, checkpoint: Checkpoint) -> None:
        checkpoint.verify(log_keys(self._node.directory, self._node.name, checkpoint.origin))
        policy_for(self._node.directory, self._node.name).verify(checkpoint, now=self._node.clock())
