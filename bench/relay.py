"""Relay: deciding and committing in batches, and the log alone, in memory and in SQLite."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import Effort, Result, Step, stopwatch
from bench.primitives import Costs
from bench.world import RECIPIENTS, SENDER, World
from infoexchange.audit import Entry, Routing, Subject
from infoexchange.ledger import Ledger
from infoexchange.node import Node
from infoexchange.ports import Change, Latch, Store
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID
from infoexchange.testing import MemoryLatch, MemoryStore
from infoexchange_relay.stores import open_store
from infoexchange_relay.stores.latch import FileLatch

STORES = ("memory", "SQLite")
BATCHES = (64, 256)
_RELAY = "relay.th.example"


@contextmanager
def _store(kind: str) -> Iterator[tuple[Store, Latch]]:
    """Lend a fresh store with its latch."""
    if kind == "memory":
        yield MemoryStore(), MemoryLatch()
        return
    with TemporaryDirectory(prefix="bench-") as folder:
        latch = Path(folder) / "latch"
        latch.mkdir(mode=0o700)
        with closing(open_store(Path(folder) / "relay.sqlite3")) as store:
            yield store, FileLatch(latch / "checkpoint")


@contextmanager
def _node(world: World, kind: str) -> Iterator[Node]:
    """Lend a started node of the sender's nation that knows the sender's keys."""
    exchange = world.exchange
    with _store(kind) as (store, latch):
        ledger = Ledger(exchange.community.log_keys[_RELAY], store, latch, clock=exchange.clock)
        node = Node(ledger, exchange.directory, clock=exchange.clock)
        node.start()
        party = exchange.directory.party(SENDER, at=exchange.clock())
        node.commit([node.decide_bundle(party, world.sender.bundle)])
        yield node


def _carry(node: Node, raws: Sequence[bytes], batch: int) -> tuple[float, float]:
    """Return the seconds of deciding and of committing one envelope."""
    party = node.directory.party(SENDER, at=node.clock())
    deciding = committing = 0.0
    for start in range(0, len(raws), batch):
        with stopwatch() as passed:
            jobs = [node.decide(party, raw) for raw in raws[start : start + batch]]
            deciding += passed()
        with stopwatch() as passed:
            results = node.commit(jobs)
            committing += passed()
        assert all(isinstance(result, Receipt) for result in results)
    return deciding / len(raws), committing / len(raws)


def _changes(count: int, world: World) -> list[Change]:
    """Return entries that concern nobody's queue."""
    routing = Routing(event=Event.DELIVERED, logged_at=world.exchange.clock(), this_relay=_RELAY, sender=SENDER)
    digests = [secrets.token_bytes(32) for _ in range(count)]
    return [
        Change(entry=Entry.make(routing, Subject(envelope_digest=d)), digest=d, party=SENDER, event=Event.DELIVERED)
        for d in digests
    ]


def _append(world: World, kind: str, count: int, batch: int) -> float:
    """Return the seconds of logging and signing one entry."""
    changes = _changes(count, world)
    with _node(world, kind) as node, stopwatch() as passed:
        for start in range(0, count, batch):
            node.ledger.commit(changes[start : start + batch])
        return passed() / count


def measure(effort: Effort, costs: Costs, step: Step) -> list[Result]:
    """Return the rows."""
    world = World()
    with step(f"{effort.envelopes} envelopes to carry"):
        raws = [world.seal(HYBRID, RECIPIENTS[:1]).raw for _ in range(effort.envelopes)]
    rows: list[Result] = []
    verify = costs.suites[HYBRID.number].verify
    for kind in STORES:
        for batch in BATCHES:
            with step(f"decide and commit, {kind}, batches of {batch}"), _node(world, kind) as node:
                deciding, committing = _carry(node, raws, batch)
            name, share = f"{kind}, batches of {batch}", costs.log_sign / batch
            rows += [
                Result("relay", f"decide + commit, {name}", deciding + committing, verify + share),
                Result("relay", f"  decide, {name}", deciding, verify),
                Result("relay", f"  commit, {name}", committing, share),
            ]
        with step(f"log append, {kind}"):
            seconds = _append(world, kind, 2 * effort.envelopes, BATCHES[-1])
        rows.append(Result("relay", f"log append, {kind}", seconds, costs.log_sign / BATCHES[-1]))
    return rows
