"""Cosigned: keeps the newest checkpoint that a quorum has cosigned, and says so when there has been none for long."""

from __future__ import annotations

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
from infoexchange_relay.metrics import Metrics

# Implementation constants
_ALARM = timedelta(minutes=15)  # a restart of a witness takes less; a person should look at what takes more

_log = structlog.get_logger()


class Cosigned:
    """What the other nations' witnesses have last said of this log."""

    def __init__(self, node: Node, file: Path, metrics: Metrics) -> None:
        """Hold the started node and the file; `resume` reads it."""
        self._node = node
        self._file = file
        self._metrics = metrics
        self._said = False

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

    def take(self, checkpoint: Checkpoint) -> bool:
        """Use and keep a checkpoint of this log, if a quorum has cosigned it; return whether one has.

        Raises:
            OSError: It is in use, but could not be kept.
        """
        try:
            self._check(checkpoint)
        except ExchangeError:
            return False  # receipts stay under the log's own signatures
        if checkpoint.origin != self._node.ledger.origin:
            self._node.ledger.closed_cosigned(checkpoint)
            return True
        self._node.ledger.witnessed(checkpoint)
        write_file(self._file, checkpoint.raw)
        return True

    def open_logs(self) -> list[ClosedLog]:
        """Return the closed logs of whose last checkpoint no quorum has been heard yet."""
        found = []
        for log in self._node.ledger.closed:
            try:
                self._check(log.checkpoint)
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
