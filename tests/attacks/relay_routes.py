"""Attacks by a relay on where and when envelopes go: it holds no agency's key, and every envelope it ever carried."""

from __future__ import annotations

from attacks.forging import DAY
from attacks.scene import COLLEAGUE, FELLOW, HOME, OUTSIDER, PEER, STRANGER, Hostile, Letter, Scene, alike
from attacks.table import EVERY, NOTHING, PASSES, Adversary, Answer, Judge, Kind, Shown, attack
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.errors import Reason
from infoexchange.ledger import Ledger
from infoexchange.node import Node
from infoexchange.receipt import Receipt
from infoexchange.testing import MemorySpool

RELAY = Adversary.RELAY
WITH_OTHERS_WRAPS = (Kind.SEVERAL, Kind.BATCH, Kind.BLIND)


def names(letter: Letter) -> set[str]:
    """The agencies that the sender sealed for."""
    return {r.name for r in letter.envelope.header.recipients} | {wrap.recipient for wrap in letter.envelope.wraps}


# Whom it is given to


@attack(RELAY, {Judge.RECIPIENT: Reason.NOT_ADDRESSED}, kinds=EVERY)
def handed_to_a_stranger(scene: Scene, letter: Letter) -> Shown:
    """A relay hands the whole envelope to agencies it was not sealed for; it wants them to read or to answer it."""
    strangers = (COLLEAGUE, OUTSIDER)
    assert not names(letter) & set(strangers)
    return {Judge.RECIPIENT: alike(strangers, lambda name: scene.delivered(name, letter.raw))}


@attack(RELAY, {Judge.RECIPIENT: Reason.NOT_ADDRESSED}, kinds=WITH_OTHERS_WRAPS)
def given_a_fellows_copy(scene: Scene, letter: Letter) -> Shown:
    """A relay hands one recipient the copy of another; it wants it to fail and the sender to be blamed."""
    copy = letter.envelope.prune({SECOND}).raw
    return {Judge.RECIPIENT: lambda: scene.delivered(RECIPIENT, copy)}


@attack(RELAY, {Judge.OWN_RELAY: Reason.NOT_PERMITTED}, kinds=EVERY)
def sent_back(scene: Scene, letter: Letter) -> Shown:
    """The recipient's relay submits the envelope to the relay it came from; it wants it to go round."""
    return {Judge.OWN_RELAY: lambda: scene.fresh[HOME].decide(scene.party(PEER), letter.raw)}


@attack(RELAY, {Judge.PEER_RELAY: Reason.NOT_PERMITTED}, kinds=EVERY)
def carried_by_a_relay_with_no_part_in_it(scene: Scene, letter: Letter) -> Shown:
    """A third nation's relay got hold of the envelope and submits it; it wants to stand in the chain of custody."""
    return {Judge.PEER_RELAY: lambda: scene.fresh[PEER].decide(scene.party(STRANGER), letter.raw)}


@attack(RELAY, {Judge.PEER_RELAY: Reason.NOT_ADDRESSED}, kinds=EVERY)
def replayed_to_another_relay(scene: Scene, letter: Letter) -> Shown:
    """The sender's relay submits the envelope to a nation that nobody addressed; it wants it kept and logged there."""
    return {Judge.PEER_RELAY: lambda: scene.fresh[STRANGER].decide(scene.party(HOME), letter.raw)}


@attack(RELAY, {Judge.PEER_RELAY: Reason.NOT_PERMITTED}, kinds=EVERY)
def submitted_in_an_agencys_stead(scene: Scene, letter: Letter) -> Shown:
    """An agency behind the recipient's relay submits what it received as if it were the sender's relay."""
    return {Judge.PEER_RELAY: lambda: scene.fresh[PEER].decide(scene.party(SECOND), letter.raw)}


# Again


def again(scene: Scene, node: Node, caller: str, letter: Letter) -> Answer:
    """What a relay that accepted an envelope once makes of it: nothing new is the first entry's receipt."""
    size = node.ledger.size
    [result] = node.commit([node.decide(scene.party(caller), letter.raw)])
    if isinstance(result, Receipt) and node.ledger.size == size and result.index < size:
        return NOTHING
    return PASSES if isinstance(result, Receipt) else result.reason


@attack(RELAY, dict.fromkeys((Judge.OWN_RELAY, Judge.PEER_RELAY, Judge.RECIPIENT, Judge.FELLOW), NOTHING), kinds=EVERY)
def replayed(scene: Scene, letter: Letter) -> Shown:
    """A relay sends all it once carried again, byte for byte; it wants it acted upon twice, or logged twice."""
    nodes = scene.exchange.nodes
    inboxes = {name: scene.exchange.mailbox(name).spool for name in (RECIPIENT, FELLOW)}
    fellow = FELLOW if FELLOW in names(letter) else RECIPIENT
    return {
        Judge.OWN_RELAY: lambda: again(scene, nodes[HOME], SENDER, letter),
        Judge.PEER_RELAY: lambda: again(scene, nodes[PEER], HOME, letter),
        Judge.RECIPIENT: lambda: scene.delivered(RECIPIENT, letter.raw, letter.raw, spool=inboxes[RECIPIENT]),
        Judge.FELLOW: lambda: scene.delivered(fellow, letter.raw, spool=inboxes[fellow]),
    }


@attack(RELAY, dict.fromkeys((Judge.OWN_RELAY, Judge.PEER_RELAY, Judge.RECIPIENT), NOTHING), kinds=EVERY)
def replayed_after_a_restart(scene: Scene, letter: Letter) -> Shown:
    """A relay sends it again when the others have started anew from what they stored; they may have forgotten it."""

    def restarted(name: str) -> Node:
        before = scene.exchange.nodes[name].ledger
        keys = scene.exchange.community.log_keys[name]
        ledger = Ledger(keys, before.store, before._latch, clock=scene.exchange.clock)
        node = Node(ledger, scene.exchange.directory, clock=scene.exchange.clock)
        node.start()
        return node

    def reopened() -> Answer:
        spool = scene.exchange.mailbox(RECIPIENT).spool
        box = scene.box(RECIPIENT, Hostile([letter.raw] * 2, bundles=scene.bundles), spool=spool)
        return PASSES if list(box.receive()) else box.refused[0].problem.reason if box.refused else NOTHING

    return {
        Judge.OWN_RELAY: lambda: again(scene, restarted(HOME), SENDER, letter),
        Judge.PEER_RELAY: lambda: again(scene, restarted(PEER), HOME, letter),
        Judge.RECIPIENT: reopened,
    }


@attack(RELAY, dict.fromkeys((Judge.OWN_RELAY, Judge.PEER_RELAY, Judge.RECIPIENT), Reason.EXPIRED), kinds=EVERY)
def replayed_after_expiry(scene: Scene, letter: Letter) -> Shown:
    """A relay kept an envelope until those who had seen it may forget it; it wants it to be new to them."""
    late = letter.envelope.header.expires_at + CLOCK_SKEW + DAY / 1000

    def forgetful() -> Answer:
        spool = MemorySpool()
        assert scene.delivered(RECIPIENT, letter.raw, letter.raw, spool=spool_with_keks(scene, spool)) is PASSES
        with scene.at(late):
            assert spool.forget(late) == 1
            return scene.delivered(RECIPIENT, letter.raw, spool=spool)

    def at(node: str, caller: str) -> object:
        with scene.at(late):
            return scene.fresh[node].decide(scene.party(caller), letter.raw)

    return {
        Judge.OWN_RELAY: lambda: at(HOME, SENDER),
        Judge.PEER_RELAY: lambda: at(PEER, HOME),
        Judge.RECIPIENT: forgetful,
    }


def spool_with_keks(scene: Scene, spool: MemorySpool) -> MemorySpool:
    """An inbox that holds the KEKs which the recipient was given, and no envelope."""
    for row in scene.exchange.mailbox(RECIPIENT).spool.keks():
        spool.note_kek(row)
    return spool
