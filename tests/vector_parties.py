"""Entries at parties: what recipients, relays and witnesses do with the blocks of a vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from infoexchange import chain, wire
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.bundle import KeyBundle
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ledger import Ledger
from infoexchange.mailbox import Mailbox
from infoexchange.node import Node
from infoexchange.ports import Notice
from infoexchange.recall import RecallOrder
from infoexchange.states import Event
from infoexchange.testing.clock import FakeClock
from infoexchange.testing.memory import MemoryLatch, MemoryStore
from infoexchange.testing.spool import MemorySpool
from infoexchange.tlog import Cosignature
from infoexchange.v1 import bundle_pb2
from infoexchange.witness import Cosigner, WitnessKeys
from vector_world import Waiting, World, world

if TYPE_CHECKING:
    from vectors import Vector


def world_of(vector: Vector) -> World:
    return world(vector.headers["world"])


def named(name: str, *, bundles: Mapping[bytes, KeyBundle], field: str, digest: bytes) -> KeyBundle:
    if digest not in bundles:
        raise error(Reason.STALE_BUNDLE, field=field, detail=f"the bundle of {name} is not in this world")
    return bundles[digest]


def _receive(vector: Vector) -> str:
    """Hand envelopes to a recipient one after the other; the outcome is that of the last."""
    known, name = world_of(vector), vector.headers["party"]
    waiting = Waiting(known, vector.blocks)
    clock = FakeClock(vector.now)
    box = Mailbox(known.identities[name], [known.bundle_of(name)], known.directory, waiting, MemorySpool(), clock=clock)
    found = ""
    for raw in vector.blocks:
        waiting.raws, found = [raw], "nothing"
        box.refused.clear()
        for delivery in box.receive():
            found = sha256(delivery.content.payload).hexdigest()
            box.acknowledge(delivery)
    if box.refused:
        raise box.refused[-1].problem
    return found


def _handed_recall(vector: Vector) -> str:
    """Hand recall orders of `party` to a relay that has accepted the envelope, if there is one."""
    known = world_of(vector)
    node, _ = known.node(vector.headers["relay"], vector.now)
    raw, *orders = vector.blocks
    digest = b""
    if raw:
        envelope = Envelope.parse(raw)
        digest = envelope.digest
        sender = known.directory.party(envelope.header.sender, at=vector.now)
        peer = sender if sender.relay == node.name else known.directory.relay_of(sender)
        early, clock = known.node(node.name, envelope.header.created_at)
        early.commit([early.decide(peer, raw)])
        clock.now, node = vector.now, early
    caller = known.directory.party(vector.headers["party"], at=vector.now)
    found = ""
    for order in orders:
        about = digest or RecallOrder.parse(order).statement.envelope_digest
        [result] = node.commit([node.decide_notice(caller, Notice(about, Event.RECALLED, order))])
        if isinstance(result, ExchangeError):
            raise result
        found = result.routing.event.name
    return found


def _signed_bundle(raw: bytes) -> KeyBundle:
    made = wire.parse(bundle_pb2.SignedBundle, raw, size_max=2**20, field="bundle")
    return KeyBundle.parse(made.bundle, made.certificates, made.crls)


def _chain(vector: Vector) -> str:
    bundle, *known = map(_signed_bundle, vector.blocks)
    directory = world_of(vector).directory
    chain.check_follows(bundle, known, directory, now=vector.now)
    chain.check_not_withdrawn(bundle, known, directory, at=vector.now)
    return "ok"


def _publish(vector: Vector) -> str:
    """Hand bundles to a relay; the outcome is that of the last."""
    known = world_of(vector)
    caller = known.directory.party(vector.headers["party"], at=vector.now)
    node, _ = known.node(vector.headers["relay"], vector.now)
    results = [node.commit([node.decide_bundle(caller, _signed_bundle(raw))])[0] for raw in vector.blocks]
    if isinstance(results[-1], ExchangeError):
        raise results[-1]
    return results[-1].routing.event.name


def _submit(vector: Vector) -> str:
    """Hand envelopes to the relay of the world's directory that serves `party`; the outcome is that of the last."""
    node, _ = world_of(vector).node(vector.headers["relay"], vector.now)
    return _handed(vector, node, vector.blocks)


def _withdraw(vector: Vector) -> str:
    """Publish a bundle at the relay before the envelope comes."""
    first, *envelopes = vector.blocks
    bundle, known = _signed_bundle(first), world_of(vector)
    node, _ = known.node(vector.headers["relay"], vector.now)
    owner = known.directory.party(bundle.owner, at=vector.now)
    node.commit([node.decide_bundle(known.directory.relay_of(owner), bundle)])
    return _handed(vector, node, envelopes)


def _handed(vector: Vector, node: Node, envelopes: Sequence[bytes]) -> str:
    caller = world_of(vector).directory.party(vector.headers["party"], at=vector.now)
    found = ""
    for raw in envelopes:
        [result] = node.commit([node.decide(caller, raw)])
        if isinstance(result, ExchangeError):
            raise result
        found = result.routing.event.name
    return found


def _acknowledge(vector: Vector) -> str:
    return _stated(vector, lambda raw: Acknowledgement.parse(raw).statement.state)


def _approve(vector: Vector) -> str:
    return _stated(vector, lambda _: Event.AUDIT_DISCLOSURE)


def _stated(vector: Vector, state_of: Callable[[bytes], Event]) -> str:
    """Hand over an envelope from the sender's relay, then statements of `party`; the outcome is that of the last."""
    known = world_of(vector)
    caller = known.directory.party(vector.headers["party"], at=vector.now)
    node, _ = known.node(caller.relay, vector.now)
    raw, *statements = vector.blocks
    envelope = Envelope.parse(raw)
    sender = known.directory.party(envelope.header.sender, at=vector.now)
    peer = sender if sender.relay == node.name else known.directory.relay_of(sender)
    node.commit([node.decide(peer, raw)])
    found = ""
    for statement in statements:
        [result] = node.commit([node.decide_notice(caller, Notice(envelope.digest, state_of(statement), statement))])
        if isinstance(result, ExchangeError):
            raise result
        found = result.routing.event.name
    return found


def _witness(vector: Vector) -> str:
    before, now, *proof = vector.blocks
    known, latch = world_of(vector), MemoryLatch()
    if before:
        latch.replace(b"", before)
    cosigner = Cosigner(
        WitnessKeys.make("relay.vn.example"), lambda: known.directory, lambda _: latch, clock=FakeClock(vector.now)
    )
    answer = cosigner.add_checkpoint(int(vector.headers["index"]), proof, now)
    return f"{answer.size}, {len(Cosignature.parse_all(answer.lines)) if answer.lines else 0} cosignatures"


def _start(vector: Vector) -> str:
    known, latch = world_of(vector), MemoryLatch()
    if vector.blocks[0]:
        latch.replace(b"", vector.blocks[0])
    clock = FakeClock(vector.now)
    Node(
        Ledger(known.logs["relay.th.example"], MemoryStore(), latch, clock=clock), known.directory, clock=clock
    ).start()
    return "ok"


def _opened(vector: Vector) -> str:
    """Fetch the first attachment of an envelope, its ciphertext being what the relay hands out."""
    known, name = world_of(vector), vector.headers["party"]
    raw, ciphertext = vector.blocks
    waiting = Waiting(known, [raw], ciphertext)
    clock = FakeClock(vector.now)
    box = Mailbox(known.identities[name], [known.bundle_of(name)], known.directory, waiting, MemorySpool(), clock=clock)
    [delivery] = box.receive()
    digest = sha256()
    for piece in delivery.attachments[0].pieces():
        digest.update(piece)
    return digest.hexdigest()


PARTIES: dict[str, Callable[[Vector], str]] = {
    "mailbox.receive": _receive,
    "attachment.read": _opened,
    "witness.add": _witness,
    "log.start": _start,
    "chain.check": _chain,
    "relay.publish": _publish,
    "relay.submit": _submit,
    "relay.withdraw": _withdraw,
    "relay.acknowledge": _acknowledge,
    "relay.recall": _handed_recall,
    "relay.approve": _approve,
}
