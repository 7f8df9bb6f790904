"""Recalls: a sender's order to stop an envelope, and how far a relay can follow it (SPEC section Relay, steps 8 to 11).

Whatever comes first, order or envelope, the recipient does not get it once the order is taken; whatever was delivered
before stays delivered. An order travels to the recipients' relays beside the envelopes, in a queue of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from infoexchange.audit import EntryRef, Routing, Subject
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.listing import Party, Role
from infoexchange.manifest import Manifest
from infoexchange.node.desk import Desk, Job, other_ends
from infoexchange.ports import Change, Notice, Waiting
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event

# Specification constants
ORDERS_MAX = 16  # of one envelope: with eleven peers their entries leave room in an evidence file for all others

# Implementation constants
_QUEUE = "#recalls"  # no name of a party ends so


def orders_for(peer: str) -> str:
    """Return the name under which recall orders wait for a peer."""
    return peer + _QUEUE


def peer_of(queue: str) -> str:
    """Return the peer whose recall orders wait under a name; nothing for any other queue."""
    return queue.removesuffix(_QUEUE) if queue.endswith(_QUEUE) else ""


def decide_recall(desk: Desk, caller: Party, notice: Notice) -> Job:
    """Return the job that a recall order makes; what `Node.decide_notice` promises."""
    now = desk.clock()
    # (8) an order about this envelope, by the caller or by an agency whose mailbox the caller holds
    order = RecallOrder.parse(notice.statement)
    said = order.statement
    if said.envelope_digest != notice.digest:
        raise error(Reason.BAD_FIELD, field="statement", detail="it speaks of something else")
    submitted = caller.role is Role.AGENCY
    issuer = desk.directory.party(said.issuer, at=now if submitted else min(now, said.at))
    if caller.name != (said.issuer if submitted else issuer.relay) or (submitted and issuer.relay != desk.name):
        raise error(Reason.NOT_PERMITTED, field="recall.issuer", detail=f"{caller.name} for {said.issuer}")
    came_from = "" if submitted else caller.name
    if any(record.party == order.digest.hex() for record in desk.records(notice.digest)):
        return Job((_ordered(desk, order, came_from),))  # taken before: its receipt, however late
    # (9) time and signature
    if said.at > now + CLOCK_SKEW:
        raise error(Reason.NOT_YET_VALID, field="recall.at_ms", detail="more than five minutes in the future")
    bundle = desk.bundle(said.issuer_bundle, "recall.issuer_bundle")
    desk.check_not_withdrawn(bundle, at=said.at)
    if submitted:  # what a thief dates back fails here
        bundle.verify(desk.directory, now=now)
        desk.check_not_withdrawn(bundle, at=now)
    order.verify(desk.directory, bundle)
    # What has come, gone or been delivered until it is written decides, and not what was so a moment before.
    late = partial(_stop, desk, order, came_from)
    return replace(late(), late=late, last=True)


def _stop(desk: Desk, order: RecallOrder, came_from: str) -> Job:
    """Return the job that takes an order and stops what can be stopped here."""
    said = order.statement
    # (10) where the envelope is known, the order is by its sender, in its suite, for its recipients, and in time
    manifest = desk.accepted(said.envelope_digest)
    held = [other for other in _taken(desk, said.envelope_digest) if other.statement.issuer == said.issuer]
    if manifest is not None:
        header = manifest.header
        if said.issuer != header.sender:
            raise error(Reason.NOT_PERMITTED, field="recall.issuer", detail=f"{said.issuer} did not send it")
        listed = {recipient.name for recipient in header.recipients}
        if said.suite != header.suite or not (header.blind or set(said.recipients) <= listed):
            raise error(Reason.BAD_FIELD, field="recall", detail="another suite or recipient than the envelope's")
        if desk.clock() > header.expires_at + CLOCK_SKEW:
            raise error(Reason.EXPIRED, field="header.expires_ms", detail="nobody waits for the message any more")
    if len(held) >= ORDERS_MAX:
        raise error(Reason.TOO_LARGE, field="recall", detail=f"{ORDERS_MAX} orders were taken before")
    # (11) the order itself, and whatever it stops
    stops = stopped(desk, manifest, [*held, order], _addressed(desk, manifest)) if manifest else []
    return Job((_ordered(desk, order, came_from), *stops))


def held(desk: Desk, manifest: Manifest) -> list[RecallOrder]:
    """Return the sender's orders that were taken before its envelope came."""
    about = (manifest.header.sender, manifest.header.suite)
    return [
        order for order in _taken(desk, manifest.digest) if (order.statement.issuer, order.statement.suite) == about
    ]


def _taken(desk: Desk, digest: bytes) -> list[RecallOrder]:
    return [RecallOrder.parse(r.exhibit) for r in desk.records(digest) if r.event is Event.RECALL_ORDERED]


def order_in(desk: Desk, item: Waiting) -> RecallOrder:
    """Return the order that waits; where its row is damaged, the copy in the log, of those for one peer the oldest."""
    if not item.damaged:
        return RecallOrder.parse(item.raw)
    peer, records = peer_of(item.party), desk.records(item.digest)
    gone = {r.party for r in records if r.event in (Event.RECALL_FORWARDED, Event.RECALL_FAILED)}
    for order in _taken(desk, item.digest):
        if f"{peer}#{order.digest.hex()}" not in gone:
            return order
    raise error(Reason.LOG_STOPPED, field="envelope", detail=f"a recall order for {peer} is damaged")


def orders_in(desk: Desk, waiting: Sequence[Waiting]) -> list[RecallOrder]:
    """Return the orders that wait, each once; one of which nothing is left holds up no other."""
    found: dict[bytes, RecallOrder] = {}
    for item in waiting:
        with contextlib.suppress(UnavailableError):  # its time ends like that of all others, and then it is told
            order = order_in(desk, item)
            found[order.digest] = order
    return list(found.values())


def _addressed(desk: Desk, manifest: Manifest) -> set[str]:
    """Return those for whom an envelope is that was accepted here; of a blind one, those of whom this relay knows."""
    listed = {recipient.name for recipient in manifest.header.recipients}
    if not manifest.header.blind:
        return listed
    raw = desk.store.envelope(manifest.digest)  # only while somebody waits for it
    wrapped = {wrap.recipient for wrap in Envelope.parse(raw).wraps} if raw else set()
    return wrapped | {r.party for r in desk.records(manifest.digest) if r.event is Event.QUEUED}


def stopped(desk: Desk, manifest: Manifest, orders: Sequence[RecallOrder], addressed: Collection[str]) -> list[Change]:
    """Return the changes that orders make for recipients served here, and for peers to which nothing needs to go."""
    changes: list[Change] = []
    behind: dict[str, set[str]] = {}
    for name in addressed:
        behind.setdefault(desk.relay_of(name), set()).add(name)
    named: set[str] = set()
    for order in orders:
        named |= set(order.statement.recipients)
        parties = [name for name in sorted(behind.get(desk.name, ())) if name in order.statement.recipients]
        if desk.relay_of(manifest.header.sender) == desk.name:
            parties += [peer for peer, names in behind.items() if peer not in ("", desk.name) and names <= named]
        subject = Subject(statement_digest=order.digest)
        for party in parties:
            change = desk.event(Event.RECALLED, manifest, party, subject=subject)
            # Only the store can tell, in its transaction, that it was not delivered or handed on just now.
            excluded = other_ends(Event.RECALLED)
            changes.append(replace(change, stops=(party,), excludes=excluded, exhibit=order.raw))
    return changes


def _ordered(desk: Desk, order: RecallOrder, came_from: str) -> Change:
    """Return the change that takes an order; one from an agency starts to wait for the recipients' relays."""
    routing = replace(_routing(desk, order, Event.RECALL_ORDERED), previous_relay=came_from)
    change = _change(desk, order, routing, order.digest.hex())
    peers = {desk.relay_of(name) for name in order.statement.recipients} - {"", desk.name}
    starts = () if came_from else tuple(orders_for(peer) for peer in sorted(peers))
    return replace(change, exhibit=order.raw, envelope=order, starts=starts)


def forwarded(desk: Desk, peer: str, order: RecallOrder, receipt: Receipt) -> Job:
    """Return the job that a peer's receipt for an order makes; what `Node.recall_forwarded` promises."""
    receipt.verify(desk.directory)
    said, subject = receipt.routing, receipt.subject
    about = (said.event, said.this_relay, subject.envelope_digest, subject.statement_digest)
    if about != (Event.RECALL_ORDERED, peer, order.statement.envelope_digest, order.digest):
        raise error(Reason.BAD_PROOF, field="receipt", detail=f"not {peer}'s receipt for this order")
    link = receipt.link(receipt.proof.checkpoint.origin)
    change = _gone(desk, peer, order, _routing(desk, order, Event.RECALL_FORWARDED), link)
    return Job((replace(change, exhibit=receipt.raw),))


def failed(desk: Desk, peer: str, order: RecallOrder, reason: Reason) -> Job:
    """Return the job that ends an order's way to a peer without success; what `Node.recall_failed` promises."""
    routing = replace(_routing(desk, order, Event.RECALL_FAILED), reason=int(reason))
    return Job((_gone(desk, peer, order, routing),))


def _gone(desk: Desk, peer: str, order: RecallOrder, routing: Routing, link: EntryRef | None = None) -> Change:
    """Return the change with which an order stops to wait for a peer."""
    theirs = tuple(name for name in order.statement.recipients if desk.relay_of(name) == peer)
    routing = replace(routing, next_relay=peer, recipients=theirs or order.statement.recipients)
    change = _change(desk, order, routing, f"{peer}#{order.digest.hex()}", link)
    return replace(change, stops=(orders_for(peer),))


def _routing(desk: Desk, order: RecallOrder, event: Event) -> Routing:
    """Return what an entry about an order says of it, which is all that is known before the envelope comes."""
    sender = desk.directory.listed(order.statement.issuer)
    return Routing(
        event=event,
        logged_at=desk.clock(),
        this_relay=desk.name,
        sender=order.statement.issuer,
        sender_nation=sender.nation if sender else "",
        recipients=order.statement.recipients,
    )


def _change(desk: Desk, order: RecallOrder, routing: Routing, party: str, link: EntryRef | None = None) -> Change:
    said = order.statement
    subject = Subject(
        envelope_digest=said.envelope_digest,
        sender_bundle=said.issuer_bundle,
        suite=said.suite,
        directory_digest=desk.directory.digest,
        statement_digest=order.digest,
        previous_entry=link,
    )
    return replace(desk.change(routing, subject, said.envelope_digest, party), waits=order.digest)
