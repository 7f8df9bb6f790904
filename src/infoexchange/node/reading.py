"""Reading: what a relay shows of its log, and to whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infoexchange import chain
from infoexchange.audit import Routing
from infoexchange.errors import Reason, error
from infoexchange.listing import Party, Role
from infoexchange.manifest import Manifest
from infoexchange.node.desk import Desk
from infoexchange.ports import ClosedLog, History, Record
from infoexchange.receipt import Receipt
from infoexchange.statement import parse_statement
from infoexchange.states import Event

# Entries whose document is a peer's receipt, entries about orders, and entries whose document somebody has signed.
_RECEIPTS = (Event.FORWARDED, Event.RECALL_FORWARDED)
_OF_ORDERS = (Event.RECALL_ORDERED, Event.RECALL_FORWARDED, Event.RECALL_FAILED)
_STATEMENTS = (
    Event.OPENED,
    Event.REFUSED,
    Event.DESTROYED,
    Event.RECALL_ORDERED,
    Event.RECALLED,
    Event.AUDIT_DISCLOSURE,
)


def history(desk: Desk, caller: Party, digest: bytes) -> History:
    """Return what was logged of an envelope; what `Node.history` promises."""
    # What another thread is just committing has no checkpoint yet, so it cannot be proven yet.
    signed = desk.ledger.end
    records = _about(record for record in desk.records(digest) if record.index < signed)
    receipts = desk.ledger.receipts([record.index for record in records])
    seen = _seen_by(desk, caller, [receipt.routing for receipt in receipts], blind=_is_blind(records))
    kept = [(record, r) for record, r, may in zip(records, receipts, seen, strict=True) if may]
    if not kept:
        next_step = "Check the ID; only sender and recipients of a message can ask for it."
        raise error(
            Reason.NOT_PERMITTED,
            field="envelope_digest",
            detail=f"no message of that name that {caller.name} takes part in",
            next_step=next_step,
        )
    peers = [Receipt.parse(record.exhibit) for record, _ in kept if record.event in _RECEIPTS]
    statements = dict.fromkeys(record.exhibit for record, _ in kept if record.event in _STATEMENTS and record.exhibit)
    signed_with = {r.subject.sender_bundle for _, r in kept} - {b""}
    signed_with |= {parse_statement(raw).statement.issuer_bundle for raw in statements}
    published = [receipt for digest in sorted(signed_with) for receipt in _withdrawals(desk, digest)]
    return History((*(receipt for _, receipt in kept), *peers, *published), tuple(statements))


def checkpoint(desk: Desk, origin: str) -> bytes:
    """Return the newest checkpoint of a log; what `Node.checkpoint` promises."""
    log = _closed(desk, origin)
    return log.checkpoint.raw if log else desk.ledger.published()


def consistency(desk: Desk, old_size: int, size: int, origin: str) -> list[bytes]:
    """Return how two sizes of a log hang together; what `Node.consistency` promises."""
    log = _closed(desk, origin)
    newest = log.checkpoint.size if log else desk.ledger.size
    if not 0 < old_size < size <= newest:
        detail = f"{old_size} to {size}, where the log has {newest} entries"
        raise error(Reason.BAD_FIELD, field="old_size", detail=detail)
    return desk.ledger.prefix(old_size, size, log)


def _closed(desk: Desk, origin: str) -> ClosedLog | None:
    """Return the closed log of that name; None for the one that grows."""
    if origin in ("", desk.ledger.origin):
        return None
    for log in desk.ledger.closed:
        if log.checkpoint.origin == origin:
            return log
    raise error(Reason.BAD_FIELD, field="origin", detail=f"{desk.name} has no log {origin[:253]!r}")


def _withdrawals(desk: Desk, digest: bytes) -> list[Receipt]:
    """Return the entries with which a party published that it withdraws a bundle: auditors judge by their time."""
    bundle = desk.store.bundle(digest)
    later = chain.withdrawing(bundle, desk.chain_of(bundle.owner)) if bundle else []
    indices = [index for other in later for index in desk.store.history(other.digest)[:1] if index < desk.ledger.end]
    return desk.ledger.receipts(indices)


def _seen_by(desk: Desk, caller: Party, routings: Sequence[Routing], *, blind: bool) -> list[bool]:
    """Return for each entry whether a caller may see it."""
    name = caller.name
    if caller.role is Role.AGENCY:
        named = [name in routing.recipients for routing in routings]
        # The sender may see everything, and so may the recipients, who know of one another.
        if any(routing.sender == name for routing in routings) or (any(named) and not blind):
            return [True] * len(routings)
        # Blind recipients see what concerns them alone: an entry that names nobody else, on no way to others.
        alone = [set(routing.recipients) <= {name} and not routing.next_relay for routing in routings]
        return [any(named) and own for own in alone]
    # The relay it came from answers for the sender.
    if any(routing.previous_relay == name for routing in routings):
        return [True] * len(routings)
    handed = any(routing.next_relay == name for routing in routings)
    taken = (Event.ACCEPTED, Event.RECALL_ORDERED, Event.AUDIT_DISCLOSURE)  # of disclosures only the sender's name all
    serves = [routing.event in taken and _serves(desk, name, routing) for routing in routings]
    whole = [routing.event is Event.ACCEPTED or _is_senders_disclosure(routing, blind=blind) for routing in routings]
    seen = [
        own or routing.next_relay == name or (handed and of_all)
        for own, of_all, routing in zip(serves, whole, routings, strict=True)
    ]
    # Orders name whom they are for, and the relay would show them to the other recipients.
    return [may and not (blind and r.event in _OF_ORDERS) for may, r in zip(seen, routings, strict=True)]


def _about(records: Iterable[Record]) -> list[Record]:
    """Return entries without orders of others than the sender, which were taken before the envelope and do nothing."""
    found = [(record, Routing.parse(record.entry.routing).sender) for record in records]
    senders = {sender for record, sender in found if record.event is Event.ACCEPTED}
    return [record for record, sender in found if not senders or sender in senders]


def _serves(desk: Desk, relay: str, routing: Routing) -> bool:
    return any(desk.relay_of(name) == relay for name in routing.recipients)


def _is_senders_disclosure(routing: Routing, *, blind: bool) -> bool:
    """Whether the sender shows records of a blind envelope to somebody: such an entry names nobody."""
    return blind and routing.event is Event.AUDIT_DISCLOSURE and not routing.recipients


def _is_blind(records: Sequence[Record]) -> bool:
    return any(Manifest.parse(r.exhibit).header.blind for r in records if r.event is Event.ACCEPTED)
