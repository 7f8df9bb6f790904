"""Outcomes: what became of a message for each recipient, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infoexchange.cli.output import Table

if TYPE_CHECKING:
    from infoexchange.evidence import Outcome


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """Return one row per recipient."""
    return Table(("recipient", "what became of it"), [(found.recipient, sentence(found)) for found in outcomes])


def outcome_data(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the same for programs."""
    return [
        {
            "recipient": found.recipient,
            "state": found.state.name if found.state else "",
            "final": found.is_final,
            "signed": found.signed,
            "destroyed": found.destroyed_at is not None,
            "what": sentence(found),
        }
        for found in outcomes
    ]


def sentence(found: Outcome) -> str:
    """Return in words how far a message came for one recipient, or how it ended."""
    from infoexchange.errors import Reason
    from infoexchange.states import Event

    if found.state is None:
        return "no log entry speaks of it"
    if found.others:
        names = " and ".join(sorted(event.name for event in (found.state, *found.others)))
        return f"logs disagree: {names}"
    reason = Reason(found.reason).word if found.reason in set(Reason) else f"number {found.reason}"
    gone = f"; its key was destroyed by {found.destroyed_at:%Y-%m-%d %H:%M}Z" if found.destroyed_at else ""
    words = {
        Event.ACCEPTED: f"under way: waits at {found.relay}",
        Event.FORWARDED: "under way: the recipient's relay has it",
        Event.QUEUED: f"under way: {found.relay} keeps it ready",
        Event.DELIVERED: "delivered; the recipient has stated nothing yet",
        Event.OPENED: f"opened, as the recipient has signed{gone}",
        Event.REFUSED: f"refused by {'the recipient, signed' if found.signed else 'a relay'}: {reason}",
        Event.RECALLED: f"recalled before its delivery: {found.relay} stopped it",
        Event.EXPIRED: "not delivered: its time ran out",
        Event.UNDELIVERABLE: f"not delivered: {found.relay} cannot bring it any further, {reason}",
    }
    return words.get(found.state, found.state.name)
