"""Unpacking: takes what a verified pouch brings, with the decisions that its relay would get over the network.

Every decision may be made again: a pouch that is taken twice, or once more after a crash, changes nothing. What was
refused once stays refused as long as the same pouch comes again, for the answer may have left already.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import structlog

from infoexchange.attachment import AttachmentRef
from infoexchange.chunks import Writing, is_missing
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.listing import DIRECTORY_SIZE_MAX, Listing
from infoexchange.node import Job, courier
from infoexchange.ports import BATCH_BYTES_MAX, BATCH_MAX, Notice, Result
from infoexchange.pouch import Contents, Item, Kind, Part, Refusal, Told, bundle_of
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange_relay.answers import OF_THE_PEER
from infoexchange_relay.forward import Decision, Writer
from infoexchange_relay.pouches import Memory, Shelf

TakeDirectory = Callable[[bytes, str], Awaitable[Result]]
_log = structlog.get_logger()

# Implementation constants
_REFUSED_MAX = 65536  # as many as the envelopes of one pouch; all are read, and answered, with each pouch to the peer


class Unpacking:
    """What becomes of one pouch.

    Attributes:
        taken: How many items of each kind were taken, or were known.
        left: Why items were neither taken nor refused, and how many; they come again with the next pouch.
        forwarded: How many receipts came for what had gone to the sender.
    """

    def __init__(
        self,
        writer: Writer,
        contents: Contents,
        shelf: Shelf,
        memory: Memory,
        take_directory: TakeDirectory,
        *,
        reserve: int,
    ) -> None:
        """Prepare to take a pouch.

        Args:
            writer: The way to the log.
            contents: What was verified.
            shelf: Where what the peer tells is kept.
            memory: What is known of the pouches to and from the peer.
            take_directory: Takes a directory version that somebody brings.
            reserve: Bytes that stay free on the disk.
        """
        self.taken: collections.Counter[Kind] = collections.Counter()
        self.left: collections.Counter[Reason] = collections.Counter()
        self.forwarded = 0
        self._writer = writer
        self._node = writer.node
        self._contents = contents
        self._peer = contents.sender
        self._shelf = shelf
        self._is_answer = memory.is_answer(contents.seal)
        self._refused = {(r.envelope_digest, r.order_digest): r for r in memory.refused}
        self._take_directory = take_directory
        self._reserve = reserve
        self._unanswered = 0  # refusals without room among those that are remembered
        self._unknown = 0  # histories of what is not in this log
        self._chunks = writer.node.chunks(contents.sender)
        self._writing: tuple[bytes, Writing] | None = None
        self._broken: dict[bytes, ExchangeError] = {}  # attachments that are not taken, by root

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What was refused, now or when the same pouch was taken before."""
        return tuple(self._refused.values())

    async def run(self) -> None:
        """Take everything; what fails as a whole may be begun anew.

        Raises:
            UntrustedError: `BAD_COMMITMENT` when the file was changed meanwhile.
            UnavailableError: Nothing can be taken just now.
        """
        take = {
            Kind.DIRECTORY: self._directories,
            Kind.BUNDLE: self._bundles,
            Kind.RECALL: self._orders,
            Kind.PART: self._parts,
            Kind.ENVELOPE: self._envelopes,
            Kind.HISTORY: self._histories,
            Kind.REFUSAL: self._refusals,
        }
        batches = _batches(self._contents.items())
        try:
            while batch := await asyncio.to_thread(next, batches, None):
                kind, bodies = batch
                await take[kind](bodies)
        finally:
            await asyncio.to_thread(self._close)
            # Once for the whole pouch: a hostile one could hold a million of them.
            if self._unanswered:
                _log.warning("refusals_left_out", peer=self._peer.name, count=self._unanswered)
            if self._unknown:
                _log.warning("histories_not_kept", peer=self._peer.name, count=self._unknown)

    async def _directories(self, raws: Sequence[bytes]) -> None:
        for raw in raws:
            with self._counting(Kind.DIRECTORY):
                if await asyncio.to_thread(_version, raw) >= self._node.directory.version:
                    result = await self._take_directory(raw, self._peer.name)
                    if isinstance(result, ExchangeError):
                        raise result

    async def _bundles(self, bodies: Sequence[bytes]) -> None:
        results = await self._settle([partial(self._bundle, body) for body in bodies], bodies)
        for result in results:
            if isinstance(result, Receipt):
                self.taken[Kind.BUNDLE] += 1
            elif _comes_again(result):
                raise result  # without it envelopes would be refused that are in order
            else:
                _log.warning("bundle_refused", peer=self._peer.name, reason=result.reason.word)

    def _bundle(self, body: bytes) -> Job:
        return self._node.decide_bundle(self._peer, bundle_of(body))

    async def _orders(self, raws: Sequence[bytes]) -> None:
        orders: list[RecallOrder] = []
        for raw in raws:
            with self._counting(None):
                orders.append(RecallOrder.parse(raw))
        told = [(order.statement.envelope_digest, order.digest) for order in orders]
        decisions = [partial(self._order, order) for order in orders]
        self._judge(Kind.RECALL, told, await self._settle_new(told, decisions, raws))

    def _order(self, order: RecallOrder) -> Job:
        notice = Notice(order.statement.envelope_digest, Event.RECALLED, order.raw)
        return self._node.decide_notice(self._peer, notice)

    async def _envelopes(self, raws: Sequence[bytes]) -> None:
        envelopes: list[Envelope] = []
        for raw in raws:
            with self._counting(None):
                envelopes.append(Envelope.parse(raw))
        told = [(envelope.digest, b"") for envelope in envelopes]
        decisions = [partial(self._node.decide, self._peer, envelope.raw) for envelope in envelopes]
        results = await self._settle_new(told, decisions, raws)
        self._judge(Kind.ENVELOPE, told, [self._without(e, r) for e, r in zip(envelopes, results, strict=True)])

    def _without(self, envelope: Envelope, result: Result | None) -> Result | None:
        """Return what an envelope's result is where attachments of it were refused before."""
        if not is_missing(result):
            return result
        broken = [self._broken[ref.ct_root] for ref in envelope.manifest.attachments if ref.ct_root in self._broken]
        return next((problem for problem in broken if not isinstance(problem, UnavailableError)), result)

    async def _settle_new(
        self, told: Sequence[tuple[bytes, bytes]], decisions: Sequence[Decision], raws: Sequence[bytes]
    ) -> list[Result | None]:
        """Return the result of each decision; none for what the peer may know to be refused."""
        new = [place for place, name in enumerate(told) if name not in self._refused]
        results: list[Result | None] = [None] * len(told)
        for place, result in zip(new, await self._settle([decisions[p] for p in new], raws), strict=True):
            results[place] = result
        return results

    def _judge(self, kind: Kind, told: Sequence[tuple[bytes, bytes]], results: Sequence[Result | None]) -> None:
        for (digest, order), result in zip(told, results, strict=True):
            if result is None:
                continue
            if isinstance(result, Receipt):
                self.taken[kind] += 1
            elif _comes_again(result):
                self.left[result.reason] += 1
            elif len(self._refused) >= _REFUSED_MAX and (digest, order) not in self._refused:
                self.left[result.reason] += 1  # nobody is told, so it comes again
                self._unanswered += 1
            else:
                self._refused[digest, order] = Refusal(digest, order, result.reason)
                _log.warning("item_refused", peer=self._peer.name, what=kind.name.lower(), reason=result.reason.word)

    async def _parts(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            with self._counting(Kind.PART):
                await asyncio.to_thread(self._part, Part.parse(body))

    def _part(self, part: Part) -> None:
        """Write a part where it is not there yet; a broken attachment holds up nothing else."""
        if self._writing and self._writing[0] != part.ct_root:
            self._close()
        if part.ct_root in self._broken:
            return
        ref, end = AttachmentRef(b"", part.ct_length, part.ct_root), part.offset + len(part.data)
        try:
            if self._writing is None:
                if end <= self._chunks.length(ref):
                    return
                self._writing = part.ct_root, self._chunks.begin(ref, part.offset)
            self._writing[1].add(part.data)
            if end == part.ct_length:
                self._close()
        except ExchangeError as problem:
            if len(self._broken) < _REFUSED_MAX:  # any others are tried anew with each part
                self._broken[part.ct_root] = problem.with_traceback(None)
            with contextlib.suppress(ExchangeError):
                self._close()

    def _close(self) -> None:
        """Make durable what was written of an attachment."""
        writing, self._writing = self._writing, None
        if writing:
            writing[1].close()

    async def _histories(self, bodies: Sequence[bytes]) -> None:
        decisions: list[Decision] = []
        await asyncio.to_thread(self._shelf.check_room, self._reserve)
        for body in bodies:
            try:
                decisions += await self._writer.read(partial(self._history, body))
            except UnavailableError:
                raise
            except ExchangeError as problem:
                _log.warning("history_not_learnt", peer=self._peer.name, reason=problem.reason.word)
        for result in await self._settle(decisions, bodies):
            if isinstance(result, UnavailableError):
                raise result
            if isinstance(result, ExchangeError):
                _log.warning("receipt_refused", peer=self._peer.name, reason=result.reason.word)
            else:
                self.forwarded += 1

    def _history(self, body: bytes) -> list[Decision]:
        told = Told.parse(body)
        history = courier.learnt(self._node, told)
        if history is None:
            self._unknown += 1
            return []
        self._shelf.keep(told.envelope_digest, history)
        self.taken[Kind.HISTORY] += 1
        return courier.handed_over(self._node, self._peer.name, history)

    async def _refusals(self, bodies: Sequence[bytes]) -> None:
        if not self._is_answer:
            return
        decisions = [
            decision
            for body in bodies
            for decision in await self._writer.read(
                partial(courier.refused, self._node, self._peer.name, Refusal.parse(body))
            )
        ]
        for result in await self._settle(decisions, bodies):
            if isinstance(result, UnavailableError):
                raise result
            self.taken[Kind.REFUSAL] += isinstance(result, Receipt)  # others had ended before, in another way

    async def _settle(self, decisions: Sequence[Decision], bodies: Sequence[bytes]) -> list[Result]:
        return await self._writer.settle(decisions, sum(len(body) for body in bodies))

    @contextlib.contextmanager
    def _counting(self, kind: Kind | None) -> Iterator[None]:
        """Count an item as taken, or as left if it is not what it should be: the sender cannot be told of it."""
        try:
            yield
        except ExchangeError as problem:
            self.left[problem.reason] += 1
            _log.warning("item_not_taken", peer=self._peer.name, reason=problem.reason.word)
        else:
            if kind is not None:
                self.taken[kind] += 1


def _batches(items: Iterator[Item]) -> Iterator[tuple[Kind, list[bytes]]]:
    """Yield runs of items of one kind, at most 256 and 4 MiB."""
    kind, bodies, size = None, list[bytes](), 0
    for item in items:
        if bodies and (item.kind is not kind or len(bodies) == BATCH_MAX or size + len(item.body) > BATCH_BYTES_MAX):
            assert kind is not None
            yield kind, bodies
            bodies, size = [], 0
        kind = item.kind
        bodies.append(item.body)
        size += len(item.body)
    if bodies and kind is not None:
        yield kind, bodies


def _version(raw: bytes) -> int:
    """Return the version that a directory gives itself."""
    return Listing.parse(Dsse.parse(raw, payload_type=TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX).payload).version


def _comes_again(problem: ExchangeError) -> bool:
    """Whether an error speaks of this relay, and not of the item."""
    return isinstance(problem, UnavailableError) or problem.reason in OF_THE_PEER
