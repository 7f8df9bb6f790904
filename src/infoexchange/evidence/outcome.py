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
from infoexchange.verdict import OpenQuestionError

_SIGNED = (Event.OPENED, Event.REFUSED)
_UNDER_WAY = (Event.ACCEPTED, Event.FORWARDED, Event.QUEUED, Event.DELIVERED)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How far a message came for one recipient.

    Attributes:
        recipient: Name of the recipient.
        state: The state that counts; nothing where no entry speaks of that recipient.
        reason: Number of the reason, for what was refused, expired or undeliverable.
        relay: Whose log says so.
        entry: Place of that entry in the log; nothing where no entry speaks of that recipient.
        at: When that was logged, by the relay's clock.
        signed: Whether the recipient itself has signed it; for RECALLED, its sender.
        destroyed_at: When the recipient says that it destroyed the content key.
        others: States that contradict it.
    """

    recipient: str
    state: Event | None = None
    reason: int = 0
    relay: str = ""
    entry: int | None = None
    at: datetime | None = None
    signed: bool = False
    destroyed_at: datetime | None = None
    others: tuple[Event, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the way to this recipient has ended, in one way only."""
        return self.state is not None and self.state.final and not self.others

    def finding(self, sender: str) -> str:
        """Return the terminal event, the entry that has it, and who signed it.

        Args:
            sender: Who sent the message.

        Raises:
            OpenQuestionError: Nothing shows how it ended, or two things do that cannot both be true.
        """
        if self.state is None:
            raise OpenQuestionError("no terminal event", "no entry about it is in the file")
        where = f"{self.state.name}, entry {self.entry} of {self.relay}"
        if not self.state.final:
            raise OpenQuestionError("no terminal event", f"the file does not show how it ended; the last is {where}")
        if self.others:
            both = " and ".join(sorted(event.name for event in (self.state, *self.others)))
            raise OpenQuestionError("two outcomes", f"{both} are both logged")
        by = sender if self.state is Event.RECALLED else self.recipient
        signed = f", as {by} signed" if self.signed else ""
        destroyed = f", content key DESTROYED at {self.destroyed_at:%Y-%m-%d %H:%M:%S}Z" if self.destroyed_at else ""
        return where + signed + destroyed


def outcome(recipient: str, relay: str, events: Iterable[Receipt], statements: Collection[SignedStatement]) -> Outcome:
    """Return how a message ended for a recipient.

    Args:
        recipient: Name of the recipient.
        relay: The relay that holds its mailbox.
        events: Receipts about the message, verified, each of a relay that has a part in it.
        statements: Statements about the message, verified.
    """
    said = [receipt for receipt in events if _concerns(receipt.routing, recipient, relay)]
    # (8) the recipient's own word, then its relay's, then that of the relay that could not reach it
    theirs = [s for s in statements if isinstance(s, Acknowledgement) and s.statement.issuer == recipient]
    signed = {s.digest: s.statement.state for s in theirs if s.statement.state in _SIGNED}
    own = [r for r in said if signed.get(r.subject.statement_digest) is r.routing.event]
    recalled = any(isinstance(s, RecallOrder) and recipient in s.statement.recipients for s in statements)
    ended = [r for r in said if _counts(r.routing, recalled=recalled)]
    here = [r for r in ended if not r.routing.next_relay]
    under_way = [r for r in said if r.routing.event in _UNDER_WAY]
    delivered = [r for r in under_way if r.routing.event is Event.DELIVERED]
    found = own or here or delivered or ended or under_way
    if not found:
        return Outcome(recipient=recipient)
    receipt = max(found, key=lambda r: (r.routing.event, r.routing.logged_at))
    last = receipt.routing
    destroyed = [s.statement.at for s in theirs if s.statement.state is Event.DESTROYED]
    return Outcome(
        recipient=recipient,
        state=last.event,
        reason=last.reason,
        relay=last.this_relay,
        entry=receipt.index,
        at=last.logged_at,
        signed=bool(own) or last.event is Event.RECALLED,
        destroyed_at=min(destroyed, default=None),
        others=tuple(sorted({r.routing.event for r in found if r.routing.event.final} - {last.event})),
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
