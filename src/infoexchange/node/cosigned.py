"""Cosigned: how long entries have been without enough witnesses, and when a relay takes nothing new for it.

A relay that other nations cannot see could be showing its log to nobody else. What waits is delivered and forwarded all
the same: stopping that would lose what was promised. SPEC section Witnesses.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from infoexchange.audit import Routing
from infoexchange.errors import Reason, error
from infoexchange.node.desk import Desk
from infoexchange.quorum import policy_for

NONE = timedelta()


def uncosigned(desk: Desk, now: datetime) -> timedelta:
    """Return the age of the oldest entry without a quorum of cosignatures; zero where no witness is asked for."""
    ledger = desk.ledger
    covered = ledger.cosigned_size
    if covered >= ledger.size or not policy_for(desk.directory, desk.name).has_quorum_rule:
        return NONE
    return max(NONE, now - _logged_at(desk, ledger.base + covered))


def check_cosigned(desk: Desk, now: datetime) -> None:
    """Raise `UNAVAILABLE` if entries have been without a quorum for longer than the relay may go on without."""
    if desk.max_uncosigned is None:
        return
    age = uncosigned(desk, now)
    if age > desk.max_uncosigned:
        raise error(
            Reason.UNAVAILABLE,
            field="relay",
            detail=f"no quorum of witnesses has cosigned its log for {age // timedelta(minutes=1)} minutes",
            next_step="Try again later; what was taken before is delivered meanwhile.",
        )


def _logged_at(desk: Desk, index: int) -> datetime:
    """Return the time of an entry; the same one is asked for until a quorum covers it."""
    known = desk.oldest_uncosigned
    if known is None or known[0] != index:
        [record] = desk.store.records([index])
        known = index, Routing.parse(record.entry.routing).logged_at
        desk.oldest_uncosigned = known
    return known[1]
