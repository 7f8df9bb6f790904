"""Outcome: how a message ended for one recipient, as its log entries and the parties' signatures tell.

Several relays log what they know, and what one could not know yet may overtake what another has logged. One order of
their words gives one outcome (SPEC section Evidence, step 8).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Routing
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.statement import SignedStatement
from infoexchange.states import Event

_SIGNED = (Event.OPENED, Event.REFUSED)
_UNDER_WAY = (Event.ACCEPTED, Event.FORWARDED, Event.QUEUED, Event.DELIVERED)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How far a message came for one recipient.

    Attributes:
        recipient: Name of the recipient.
        state: The state that counts; nothing where no entry speaks of that recipient.
        reason: Number of the reason, for what was refused or expired.
        relay: Whose log says so.
        at: When that was logged, by the relay's clock.
        signed: Whether the recipient itself has signed it; for RECALLED, its sender.
        destroyed_at: When the recipient says that it destroyed the content key.
        others: States that contradict it.
    """

    recipient: str
    state: Event | None = None
    reason: int = 0
    relay: str = ""
    at: datetime | None = None
    signed: bool = False
    destroyed_at: datetime | None = None
    others: tuple[Event, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the way to this recipient has ended, in one way only."""
        return self.state is not None and self.state.final and not self.others


def outcome(recipient: str, relay: str, events: Iterable[Receipt], statements: Collection[SignedStatement]) -> Outcome:
    """Return how a message ended for a recipient.

    Args:
        recipient: Name of the recipient.
        relay: The relay that holds its mailbox.
        events: Receipts about the message, verified, each of a relay that has a part in it.
        statements: Statements about the message, verified.
    """
    said = [(r.routing, r.subject.statement_digest) for r in events if _concerns(r.routing, recipient, relay)]
    # (8) the recipient's own word, then its relay's, then that of the relay that could not reach it
    theirs = [s for s in statements if isinstance(s, Acknowledgement) and s.statement.issuer == recipient]
    signed = {s.digest: s.statement.state for s in theirs}
    own = [routing for routing, digest in said if routing.event in _SIGNED and signed.get(digest) is routing.event]
    recalled = any(isinstance(s, RecallOrder) and recipient in s.statement.recipients for s in statements)
    ended = [routing for routing, _ in said if _counts(routing, recalled=recalled)]
    here = [routing for routing in ended if not routing.next_relay]
    under_way = [routing for routing, _ in said if routing.event in _UNDER_WAY]
    delivered = [routing for routing in under_way if routing.event is Event.DELIVERED]
    found = own or here or delivered or ended or under_way
    if not found:
        return Outcome(recipient=recipient)
    last = max(found, key=lambda routing: (routing.event, routing.logged_at))
    destroyed = [s.statement.at for s in theirs if s.statement.state is Event.DESTROYED]
    return Outcome(
        recipient=recipient,
        state=last.event,
        reason=last.reason,
        relay=last.this_relay,
        at=last.logged_at,
        signed=bool(own) or last.event is Event.RECALLED,
        destroyed_at=min(destroyed, default=None),
        others=tuple(sorted({r.event for r in found if r.event.final} - {last.event})),
    )


def _concerns(routing: Routing, recipient: str, relay: str) -> bool:
    """Whether an entry speaks of a recipient; steps on the way of a blind envelope name only its relay."""
    if routing.recipients:
        return recipient in routing.recipients
    return routing.event is Event.ACCEPTED or (bool(relay) and routing.next_relay == relay)


def _counts(routing: Routing, *, recalled: bool) -> bool:
    """Whether an entry ends the way without the recipient's signature: a recall needs its sender's."""
    if routing.event is Event.REFUSED:
        return bool(routing.next_relay)
    if routing.event is Event.RECALLED:
        return recalled
    return routing.event.final and routing.event is not Event.OPENED
