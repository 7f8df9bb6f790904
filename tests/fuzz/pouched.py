"""Pouched: targets of what a courier brings: the whole file, its seal, and each kind of item in it."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Iterator, Sequence
from typing import Any

from fuzz import changing
from fuzz.target import Target, message_of, of, qualified
from fuzz.world import World
from infoexchange.errors import ExchangeError
from infoexchange.node import courier
from infoexchange.pouch import Item, Kind, Part, Pouch, Refusal, Seal, Told, bundle_of
from infoexchange.pouch.items import FRAME
from infoexchange.v1 import envelope_pb2, pouch_pb2
from pouches import FIRST, SECOND, items_of, written


def targets(world: World) -> list[Target]:
    """Return the targets; a whole pouch is also verified and every item of it read."""
    community = world.exchange.community
    told = Told(world.envelopes[0].digest, tuple(r.raw for r in world.receipts), (world.order.raw,))
    items = items_of(world.bundles[0], world.order, world.envelopes[0], told, world.exchange.directory.raw)
    raw, seal = written(items, community, now=world.now)
    bodies = {kind: [item.body for item in items if item.kind is kind] for kind in Kind}
    frames = [item.raw for item in items]
    read = functools.partial(_read, world)
    return [
        message_of("Seal", Seal, envelope_pb2.Dsse, [seal.raw]),
        of("Item", Item, frames),
        message_of("Part", Part, pouch_pb2.PouchPart, bodies[Kind.PART]),
        message_of("Told", Told, pouch_pb2.PouchHistory, bodies[Kind.HISTORY]),
        message_of("Refusal", Refusal, pouch_pb2.PouchRefusal, bodies[Kind.REFUSAL]),
        Target("Pouch", (qualified(Pouch.parse),), read, (raw,)),
        # Sealed again, so that what is spoilt is found by whoever unpacks it.
        Target("Pouch, resealed", (), read, (raw,), functools.partial(_resealed, world)),
    ]


def _read(world: World, raw: bytes) -> list[Any]:
    node = world.exchange.nodes[SECOND]
    contents = Pouch.parse(io.BytesIO(raw)).verify(world.exchange.directory, recipient=SECOND, now=world.now)
    return [_use(node, item) for item in contents.items()]


def _use(node: Any, item: Item) -> Any:
    """Read an item as whoever takes it does; one that is none must not end the others."""
    try:
        if item.kind is Kind.PART:
            return Part.parse(item.body)
        if item.kind is Kind.BUNDLE:
            return bundle_of(item.body)
        if item.kind is Kind.HISTORY:
            history = courier.learnt(node, Told.parse(item.body))
            return history and [decide() for decide in courier.handed_over(node, FIRST, history)]
        if item.kind is Kind.REFUSAL:
            return [decide() for decide in courier.refused(node, FIRST, Refusal.parse(item.body))]
    except ExchangeError as problem:
        return problem
    return item


def _resealed(world: World, raw: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return a pouch whose items are spoilt, and whose seal holds."""
    try:
        items = list(_items(raw))
    except ExchangeError:  # the fuzzer has cut it
        items = list(_items(rng.choice(others)))
    at = rng.randrange(len(items))
    spoilt = changing.plain(items[at].body, others, rng)[: 1 << 19]
    kind = rng.choice(list(Kind)) if rng.random() < 0.2 else items[at].kind
    items[at] = Item(kind, spoilt)
    return written(items, world.exchange.community, now=world.now)[0]


def _items(raw: bytes) -> Iterator[Item]:
    """Yield the items of a pouch that is whole."""
    pouch = Pouch.parse(io.BytesIO(raw))
    at = raw.index(b"\n") + 1
    for _ in range(pouch.seal.said.items):
        end = at + FRAME.size + FRAME.unpack_from(raw, at)[0]
        yield Item.parse(raw[at:end])
        at = end
