"""Salvage: a new log takes what still waited in the data of a lost one, as if it were handed over again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from infoexchange.audit import Routing
from infoexchange.bundle import KeyBundle
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.node import bulletin, intake, recalls
from infoexchange.node.desk import Desk, Job
from infoexchange.ports import Notice, Store, Waiting
from infoexchange.recall import RecallOrder
from infoexchange.states import Event

# Implementation constants
_AT_ONCE = 64  # envelopes read together


def salvage(desk: Desk, lost: Store) -> Iterator[Job | ExchangeError]:
    """Yield the job that takes each bundle, envelope and recall order again, or why it is not taken.

    Each is decided when it is asked for: the ones before must be written by then.
    """
    names = [party.name for party in desk.directory.listing.parties]
    for name in names:
        for bundle in reversed(lost.bundles([name])):  # the older first: a newer one follows it
            yield _tried(_bundle, desk, bundle)
    taken: set[bytes] = set()
    for name in names:
        for item in _waiting(lost, name):
            if item.damaged:
                yield _lost(item)
            elif item.digest not in taken:
                taken.add(item.digest)
                yield _tried(_envelope, desk, lost, item)
    for name in names:
        for item in _waiting(lost, recalls.orders_for(name)):
            yield _lost(item) if item.damaged else _tried(_order, desk, lost, RecallOrder.parse(item.raw))


def _lost(item: Waiting) -> ExchangeError:
    detail = f"{item.digest.hex()[:16]} for {item.party} is not what was written"
    return error(Reason.LOG_STOPPED, field="envelope", detail=detail)


def _bundle(desk: Desk, bundle: KeyBundle) -> Job:
    return bulletin.decide_bundle(desk, desk.directory.party(bundle.owner, at=desk.clock()), bundle)


def _envelope(desk: Desk, lost: Store, item: Waiting) -> Job:
    caller = _handed_over(lost, item.digest, Event.ACCEPTED)
    return intake.decide(desk, desk.directory.party(caller, at=desk.clock()), item.raw)


def _order(desk: Desk, lost: Store, order: RecallOrder) -> Job:
    digest = order.statement.envelope_digest
    caller = _handed_over(lost, digest, Event.RECALL_ORDERED)
    notice = Notice(digest, Event.RECALLED, order.raw)
    return recalls.decide_recall(desk, desk.directory.party(caller, at=desk.clock()), notice)


def _handed_over(lost: Store, digest: bytes, event: Event) -> str:
    """Return who handed something over to the lost log."""
    record = next(record for record in lost.records(lost.history(digest)) if record.event is event)
    routing = Routing.parse(record.entry.routing)
    return routing.previous_relay or routing.sender


def _waiting(lost: Store, queue: str) -> Iterator[Waiting]:
    seen: set[int] = set()
    while items := lost.waiting(queue, limit=_AT_ONCE, skip=seen):
        yield from items
        seen.update(item.position for item in items)


def _tried(decide: Callable[..., Job], *arguments: object) -> Job | ExchangeError:
    try:
        return decide(*arguments)
    except ExchangeError as problem:
        return problem
