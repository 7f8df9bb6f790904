"""Pruning: erases the records of old messages, once the log says so (SPEC section Pruning)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

from infoexchange.audit import Routing, Subject
from infoexchange.errors import Reason, error
from infoexchange.node.desk import Desk, Job
from infoexchange.pruning import RecordsPruned, check_kept
from infoexchange.states import Event

# Implementation constants
_AT_ONCE = 1024  # records erased in one transaction
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def order(desk: Desk, before: datetime, policy: str) -> RecordsPruned:
    """Return the order that erases what was logged before a time; what `Node.prune` promises."""
    check_kept(desk.clock() - before)
    # Times never go back in a log, and what has no time any more is older than all that has.
    end = bisect_left(range(desk.ledger.end), before, key=lambda index: _logged_at(desk, index))
    if not desk.store.erasable(0, end, limit=1):
        raise error(
            Reason.NOT_PERMITTED,
            field="before",
            detail=f"no message before {before:%Y-%m-%d} has records that can be erased",
            next_step="What is younger, still waits, or was erased before stays as it is.",
        )
    logs = [(log.base, log.checkpoint.origin) for log in desk.ledger.closed]
    base, origin = max(log for log in [*logs, (desk.ledger.base, desk.ledger.origin)] if log[0] < end)
    found = RecordsPruned(origin, end - base, policy)
    found.check()
    return found


def decide(desk: Desk, told: RecordsPruned) -> Job:
    """Return the job that logs an order; the same one is logged once."""
    digest = sha256(told.raw).digest()
    routing = Routing(event=Event.RECORDS_PRUNED, logged_at=desk.clock(), this_relay=desk.name)
    subject = Subject(directory_digest=desk.directory.digest, statement_digest=digest)
    return Job((replace(desk.change(routing, subject, digest), exhibit=told.raw),))


def carry_out(desk: Desk, told: RecordsPruned) -> Iterator[int]:
    """Erase what an order names, which is in the log by now; yield how many records are erased so far."""
    bases = {log.checkpoint.origin: log.base for log in desk.ledger.closed}
    end = bases.get(told.log, desk.ledger.base) + told.end
    erased = start = 0
    while places := desk.store.erasable(start, end, limit=_AT_ONCE):
        desk.store.erase(places)
        erased, start = erased + len(places), places[-1] + 1
        yield erased


def _logged_at(desk: Desk, index: int) -> datetime:
    [record] = desk.store.records([index])
    return _LONG_AGO if record.erased else Routing.parse(record.entry.routing).logged_at
