"""Courier: what goes to a peer to which no network leads, and what comes of its answer (SPEC section Pouch).

Nothing leaves a queue when it is packed: what waits goes with every pouch until the peer's own log proves, in a later
pouch from there, that it was taken. A disk that is lost, copied or comes late therefore loses and ends nothing.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from infoexchange.attachment import AttachmentRef
from infoexchange.audit import Routing, Subject
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Party, Role
from infoexchange.node import bulletin, handover, intake, reading, recalls
from infoexchange.node.desk import Desk, Job
from infoexchange.ports import BATCH_MAX, History, Waiting, concerns
from infoexchange.pouch import ITEM_SIZE_MAX, ITEMS_MAX, PART_SIZE_MAX, Item, Kind, Part, Refusal, Told
from infoexchange.quorum import policy_for
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event

# Specification constants
VERSIONS_MAX = 16  # directory versions in a pouch: more than come out in a year, and a relay that is behind that far
# has to be given the newest one by hand anyway

# Implementation constants
_MESSAGES_MAX = 65536  # envelopes, and histories, of one pouch; the rest goes with the next one
_ROOM = 3 * _MESSAGES_MAX  # items that stay free for what is no attachment
_RECORDS = 256  # log entries read at a time
_RETOLD = timedelta(days=7)  # witnesses answer within seconds; an outage is over by then, or it is none

Decision = Callable[[], Job]
_TAKEN = (Event.ACCEPTED, Event.RECALL_ORDERED)


class Packing:
    """What goes into the next pouch for one peer.

    Attributes:
        packed: How many items of each kind are in it so far.
        failed: Envelopes that could not be packed, and why.
        told: Place in the log up to which the peer is told what happened, once all items were taken.
    """

    def __init__(self, desk: Desk, peer: Party, refused: Sequence[Refusal], told: int) -> None:
        """Prepare to pack.

        Args:
            desk: The relay that packs.
            peer: Whom the pouch is for.
            refused: What was not taken of the peer's last pouch.
            told: Place in the log up to which the peer knows what happened.
        """
        self.packed: collections.Counter[Kind] = collections.Counter()
        self.failed: list[tuple[bytes, ExchangeError]] = []
        self.told = told
        self._desk = desk
        self._peer = peer
        self._refused = refused
        self._bundles: set[bytes] = set()
        self._roots: set[bytes] = set()

    def items(self) -> Iterator[Item]:
        """Yield what is packed, in the order in which the peer needs it; reads store and depot."""
        for items in (
            self._answers(),
            self._public(),
            self._orders(),
            self._envelopes(),
            self._histories(self._desk.ledger.end),
        ):
            for item in items:
                self.packed[item.kind] += 1
                yield item

    def _answers(self) -> Iterator[Item]:
        return (Item(Kind.REFUSAL, refusal.raw) for refusal in self._refused)

    def _public(self) -> Iterator[Item]:
        """Yield directory versions, and the bundles without which nobody there can write to our agencies."""
        desk = self._desk
        for raw in bulletin.directories(desk, desk.directory.version - VERSIONS_MAX):
            yield Item(Kind.DIRECTORY, raw)
        agencies = [p.name for p in desk.directory.listing.parties if p.role is Role.AGENCY and p.relay == desk.name]
        now = desk.clock()
        for bundle in desk.store.bundles(agencies):
            if bundle.not_after >= now:
                yield from self._needed({bundle.digest})

    def _needed(self, digests: Collection[bytes]) -> Iterator[Item]:
        """Yield bundles that are not in the pouch yet."""
        for digest in sorted(set(digests) - self._bundles):
            bundle = self._desk.store.bundle(digest)
            if bundle is not None:
                self._bundles.add(digest)
                yield Item.bundle(bundle)

    def _orders(self) -> Iterator[Item]:
        for item in _waiting(self._desk, recalls.orders_for(self._peer.name)):
            order = RecallOrder.parse(item.raw)
            yield from self._needed({order.statement.issuer_bundle})
            yield Item(Kind.RECALL, order.raw)

    def _envelopes(self) -> Iterator[Item]:
        for item in _waiting(self._desk, self._peer.name):
            try:
                yield from self._envelope(item)
            except ExchangeError as problem:
                self.failed.append((item.digest, problem))

    def _envelope(self, item: Waiting) -> Iterator[Item]:
        envelope = Envelope.parse(intake.served(self._desk, self._peer, item))
        yield from self._needed(envelope.signing_bundles)
        for ref in envelope.manifest.attachments:
            if ref.ct_root not in self._roots:
                yield from self._parts(ref)
                self._roots.add(ref.ct_root)
        yield Item(Kind.ENVELOPE, envelope.raw)

    def _parts(self, ref: AttachmentRef) -> Iterator[Item]:
        """Yield an attachment; raises `UNAVAILABLE` or `OVERLOADED` where it cannot be had or does not fit in."""
        desk = self._desk
        blob = desk.store.needs.readable(self._peer.name, ref.ct_root)
        if blob is None or desk.depot is None:
            raise error(Reason.UNAVAILABLE, field="attachment", detail="it is not here")
        if self.packed.total() + ref.ct_length // PART_SIZE_MAX > ITEMS_MAX - _ROOM:
            raise error(Reason.OVERLOADED, field="attachment", detail="no room in one pouch; it goes with the next")
        offset, held = 0, bytearray()
        for block in desk.depot.read(blob, 0, ref.ct_length):
            held += block.data
            if len(held) + len(block.data) > PART_SIZE_MAX:
                yield Item(Kind.PART, Part(ref.ct_root, ref.ct_length, offset, bytes(held)).raw)
                offset, held = offset + len(held), bytearray()
        if held:
            yield Item(Kind.PART, Part(ref.ct_root, ref.ct_length, offset, bytes(held)).raw)

    def _histories(self, end: int) -> Iterator[Item]:
        """Yield what happened to envelopes of the peer's agencies, and of ours that the peer was handed."""
        digests: set[bytes] = set()
        while self.told < end and len(digests) < _MESSAGES_MAX:
            places = range(self.told, min(self.told + _RECORDS, end))
            for record in self._desk.store.records(places):
                if record.erased:
                    continue
                digest = Subject.parse(record.entry.message).envelope_digest
                if digest and digest not in digests and self._concerned(Routing.parse(record.entry.routing)):
                    digests.add(digest)
                    yield from self._history(digest)
            self.told = places.stop
        self.told = min(self.told, self._settled())

    def _settled(self) -> int:
        """Return the place up to which nothing will be told better, with cosignatures that it has not got yet.

        Where witnesses have been out of reach for a week, what is older is told as it is, and not again.
        """
        desk = self._desk
        if not policy_for(desk.directory, desk.name).has_quorum_rule:
            return desk.ledger.end
        return max(desk.ledger.base + desk.ledger.cosigned_size, place_at(desk, desk.clock() - _RETOLD))

    def _concerned(self, said: Routing) -> bool:
        """Whether the peer may have a part in what an entry tells; who may see which, `reading` decides."""
        name, relay_of = self._peer.name, self._desk.relay_of
        return name in (said.previous_relay, said.next_relay, relay_of(said.sender)) or any(
            relay_of(recipient) == name for recipient in said.recipients
        )

    def _history(self, digest: bytes) -> Iterator[Item]:
        try:
            found = reading.history(self._desk, self._peer, digest)
        except ExchangeError as problem:
            if problem.reason is Reason.NOT_PERMITTED:
                return
            raise
        told = Told(digest, tuple(r.raw for r in found.events), found.statements)
        if len(told.raw) > ITEM_SIZE_MAX:
            # What proves that it was taken is never left out.
            taken = [r.raw for r in found.events if r.routing.event in _TAKEN]
            told = Told(digest, tuple(taken[:1]), ())
        yield Item(Kind.HISTORY, told.raw)


def place_at(desk: Desk, moment: datetime) -> int:
    """Return the place in the log of the first entry that was made at a time or later; erased ones are older."""
    low, high = 0, desk.ledger.end
    while low < high:
        middle = (low + high) // 2
        [record] = desk.store.records([middle])
        if record.erased or Routing.parse(record.entry.routing).logged_at < moment:
            low = middle + 1
        else:
            high = middle
    return low


def learnt(desk: Desk, told: Told) -> History | None:
    """Return what a peer tells of an envelope, as far as its receipts hold; None for what is not in this log.

    What came along with an envelope that was not taken here is such a history, and so is one made up: nobody could ask
    for it. Nor is it one without a receipt about the envelope.

    Raises:
        ExchangeError: As `Receipt.parse` and `Receipt.verify`; then nothing of it may be kept.
    """
    # (8) every receipt is proven before anything of the history is believed
    receipts = [Receipt.parse(raw) for raw in told.events]
    for receipt in receipts:
        receipt.verify(desk.directory)
    held = tuple(receipt for receipt in receipts if concerns(receipt, told.envelope_digest))
    about = any(receipt.subject.envelope_digest == told.envelope_digest for receipt in held)
    if not about or not desk.records(told.envelope_digest):
        return None
    return History(held, told.statements).of(told.envelope_digest)


def handed_over(desk: Desk, peer: str, history: History) -> list[Decision]:
    """Return the decisions that a peer's receipts make for what went to it from here."""
    decisions: list[Decision] = []
    for receipt in history.events:
        said, digest = receipt.routing, receipt.subject.envelope_digest
        if (said.this_relay, said.previous_relay) != (peer, desk.name):
            continue
        if said.event is Event.ACCEPTED and _went_to(desk, peer, digest):
            decisions.append(partial(handover.forwarded, desk, peer, digest, receipt))
        elif said.event is Event.RECALL_ORDERED:
            for order in _orders_of(desk, digest, receipt.subject.statement_digest):
                decisions.append(partial(recalls.forwarded, desk, peer, order, receipt))
    return decisions


def refused(desk: Desk, peer: str, refusal: Refusal) -> list[Decision]:
    """Return the decision that a peer's refusal makes; none where nothing of that name waits for it."""
    # (9) only what waits for it; that this answers the newest pouch, the caller has seen
    digest = refusal.envelope_digest
    if refusal.order_digest:
        with contextlib.suppress(StopIteration):
            queue = _waiting(desk, recalls.orders_for(peer))
            found = next(i for i in queue if RecallOrder.parse(i.raw).digest == refusal.order_digest)
            return [partial(recalls.failed, desk, peer, RecallOrder.parse(found.raw), refusal.reason)]
        return []
    if not _went_to(desk, peer, digest):
        return []
    return [partial(handover.ended, desk, Event.REFUSED, peer, digest, refusal.reason)]


def _went_to(desk: Desk, peer: str, digest: bytes) -> bool:
    """Whether an envelope waits for a peer, or its way there has ended: nobody ends a way that there was not."""
    if any(record.party == peer for record in desk.records(digest)):
        return True
    raw = desk.store.envelope(digest)
    if raw is None:
        return False
    envelope = Envelope.parse(raw)
    names = {wrap.recipient for wrap in envelope.wraps} | {r.name for r in envelope.header.recipients}
    return any(desk.relay_of(name) == peer for name in names)


def _orders_of(desk: Desk, digest: bytes, order_digest: bytes) -> list[RecallOrder]:
    """Return the recall order of that digest, if it was taken here."""
    name = order_digest.hex()
    taken = [r for r in desk.records(digest) if r.event is Event.RECALL_ORDERED and r.party == name]
    return [RecallOrder.parse(record.exhibit) for record in taken]


def _waiting(desk: Desk, queue: str) -> Iterator[Waiting]:
    """Yield what waits in a queue, the most urgent first."""
    seen: set[int] = set()
    while len(seen) < _MESSAGES_MAX and (items := desk.store.waiting(queue, limit=BATCH_MAX, skip=seen)):
        yield from items
        seen.update(item.position for item in items)
