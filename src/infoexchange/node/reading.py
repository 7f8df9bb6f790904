"""Reading: what a relay shows of its log, and to whom."""

from __future__ import annotations

from infoexchange.audit import Routing
from infoexchange.errors import Reason, error
from infoexchange.listing import Party, Role
from infoexchange.node.desk import Desk
from infoexchange.ports import History, Record
from infoexchange.receipt import Receipt
from infoexchange.states import Event


def history(desk: Desk, caller: Party, digest: bytes) -> History:
    """Return what was logged of an envelope; what `Node.history` promises."""
    # What another thread is just committing has no checkpoint yet, so it cannot be proven yet.
    signed = desk.ledger.size
    records = [record for record in desk.records(digest) if record.index < signed]
    receipts = desk.ledger.receipts([record.index for record in records])
    kept = [(record, r) for record, r in zip(records, receipts, strict=True) if _may_see(desk, caller, r.routing)]
    # Sender and recipients may see everything, and so may the relay it came from, which answers for the sender.
    if kept and (caller.role is Role.AGENCY or any(r.routing.previous_relay == caller.name for _, r in kept)):
        kept = list(zip(records, receipts, strict=True))
    if not kept:
        next_step = "Check the ID; only sender and recipients of a message can ask for it."
        raise error(
            Reason.NOT_PERMITTED,
            field="envelope_digest",
            detail=f"no message of that name that {caller.name} takes part in",
            next_step=next_step,
        )
    peers = [Receipt.parse(record.exhibit) for record, _ in kept if record.event is Event.FORWARDED]
    statements = [record.exhibit for record, _ in kept if _is_statement(record)]
    return History((*(receipt for _, receipt in kept), *peers), tuple(statements))


def _may_see(desk: Desk, caller: Party, routing: Routing) -> bool:
    """Whether one entry concerns a caller: an agency as sender or recipient, a relay as a step of the way."""
    if caller.role is Role.AGENCY:
        return caller.name == routing.sender or caller.name in routing.recipients
    if routing.event is Event.ACCEPTED:
        return routing.previous_relay == caller.name or _serves(desk, caller, routing)
    return routing.next_relay == caller.name


def _serves(desk: Desk, relay: Party, routing: Routing) -> bool:
    return any(desk.relay_of(name) == relay.name for name in routing.recipients)


def _is_statement(record: Record) -> bool:
    return bool(record.exhibit) and record.event in (Event.OPENED, Event.REFUSED)
