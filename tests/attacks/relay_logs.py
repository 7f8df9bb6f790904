"""Attacks by a relay on its log as a whole: it may keep several, forget some, and show each reader another."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.relay_receipts import RELAY, audited, logged, under
from attacks.scene import HOME, PEER, Letter, Scene, alike
from attacks.table import NOTHING, PASSES, Answer, Judge, Shown, attack
from conftest import RECIPIENT, SENDER
from infoexchange.auditor import verify_log
from infoexchange.errors import Reason
from infoexchange.ledger import Ledger
from infoexchange.node import Node
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import MemoryLatch, MemoryStore
from infoexchange.tlog import Checkpoint, merkle
from infoexchange.tlog.note import Signature
from infoexchange.witness import Cosigner

WITNESSED = "checkpoints witnessed"
TOO_FEW = "too few witnesses yet"
LEAVES = [merkle.leaf_hash(bytes([n])) for n in range(8)]


class Witness:
    """Another nation's witness, which has cosigned the first five entries of a log."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._keys = scene.exchange.community.log_keys[HOME]
        latch = MemoryLatch()
        witness_keys = scene.exchange.community.witness_keys[PEER]
        self._cosigner = Cosigner(
            witness_keys, lambda: scene.exchange.directory, lambda _: latch, clock=lambda: scene.now
        )
        assert self.asked(0, LEAVES[:5]) is PASSES

    def asked(self, old_size: int, leaves: Sequence[bytes], proof: Sequence[bytes] = ()) -> Answer:
        """What it says to a signed tree; no lines are no cosignature."""
        signed = self._keys.sign(len(leaves), merkle.root(leaves), now=self._scene.now)
        return PASSES if self._cosigner.add_checkpoint(old_size, proof, signed.raw).lines else NOTHING


@attack(RELAY, {Judge.WITNESS: Reason.LOG_FORK})
def two_logs_of_one_size(scene: Scene, letter: Letter) -> Shown:
    """A relay keeps a log for friends and one for others, and has a witness cosign both."""
    return {Judge.WITNESS: lambda: Witness(scene).asked(5, [*LEAVES[:4], LEAVES[7]])}


@attack(RELAY, {Judge.WITNESS: Reason.BAD_PROOF})
def history_rewritten(scene: Scene, letter: Letter) -> Shown:
    """A relay exchanges an old entry and grows; it has the proof for the true history only."""
    other = [LEAVES[7], *LEAVES[1:7]]
    proofs = [merkle.consistency_proof(5, leaves) for leaves in (LEAVES[:7], other)]
    return {Judge.WITNESS: alike([*proofs, []], lambda proof: Witness(scene).asked(5, other, proof))}


@attack(RELAY, {Judge.WITNESS: NOTHING})
def history_begun_anew(scene: Scene, letter: Letter) -> Shown:
    """A relay asks a witness as if it had never asked before; it wants a second history cosigned from the start."""
    return {Judge.WITNESS: lambda: Witness(scene).asked(0, LEAVES[::-1])}


def cosigned(receipt: Receipt, lines: Sequence[Signature]) -> Receipt:
    """The same receipt under a checkpoint with more lines."""
    return under(receipt, receipt.proof.checkpoint.with_signatures(lines), receipt.proof.path)


@attack(RELAY, {Judge.AUDITOR: TOO_FEW})
def log_that_nobody_saw(scene: Scene, letter: Letter) -> Shown:
    """A relay shows one reader a log that no witness of another nation has seen."""
    return audited(scene, letter, logged(scene, PEER, letter, Event.DELIVERED, RECIPIENT), check=WITNESSED)


@attack(RELAY, {Judge.AUDITOR: TOO_FEW})
def log_seen_by_its_own_nation(scene: Scene, letter: Letter) -> Shown:
    """A relay has only its own nation's witness, which it runs itself, cosign what it shows."""
    receipt = logged(scene, PEER, letter, Event.DELIVERED, RECIPIENT)
    keys = scene.exchange.community.witness_keys[PEER]
    lines = [receipt.proof.checkpoint.signed_by(signer, now=scene.now) for signer in keys.signers]
    return audited(scene, letter, cosigned(receipt, lines), check=WITNESSED)


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_SIGNATURE})
def cosignature_forged(scene: Scene, letter: Letter) -> Shown:
    """A relay writes the line of another nation's witness itself."""
    receipt = logged(scene, PEER, letter, Event.DELIVERED, RECIPIENT)
    keys = scene.exchange.community.witness_keys[HOME]
    true = receipt.proof.checkpoint.signed_by(keys.signers[0], now=scene.now)
    forged = Signature(true.name, true.key_id, true.blob[:-1] + bytes([true.blob[-1] ^ 1]))
    return audited(scene, letter, cosigned(receipt, [forged]), check=WITNESSED)


@attack(RELAY, {Judge.AUDITOR: Reason.NOT_YET_VALID})
def cosignature_of_tomorrow(scene: Scene, letter: Letter) -> Shown:
    """A relay and a friend's witness date a cosignature ahead; it is to look newer than another one."""
    receipt = logged(scene, PEER, letter, Event.DELIVERED, RECIPIENT)
    keys = scene.exchange.community.witness_keys[HOME]
    later = scene.exchange.community.directory.listing.expires_at
    lines = [receipt.proof.checkpoint.signed_by(signer, now=later) for signer in keys.signers]
    return audited(scene, letter, cosigned(receipt, lines), check=WITNESSED)


class View:
    """A log as a relay shows it to an auditor."""

    def __init__(self, checkpoint: bytes, leaves: Sequence[bytes]) -> None:
        self._checkpoint, self._leaves = checkpoint, leaves

    def checkpoint(self) -> bytes:
        return self._checkpoint

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        return self._leaves[start : start + count]


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_PROOF})
def entries_left_out(scene: Scene, letter: Letter) -> Shown:
    """A relay shows its log without the last entry, with one exchanged, or with two swapped."""
    ledger = scene.exchange.nodes[HOME].ledger
    leaves = list(ledger.store.leaves(0, 1000))
    forms = [leaves[:-1], [*leaves[:-1], leaves[0]], [*leaves[:-2], leaves[-1], leaves[-2]]]

    def read(form: Sequence[bytes]) -> Checkpoint:
        return verify_log(View(ledger.checkpoint(), form), scene.exchange.directory, HOME)

    return {Judge.AUDITOR: alike(forms, read)}


@attack(RELAY, {Judge.OWN_RELAY: Reason.LOG_STOPPED})
def old_data_put_in_place(scene: Scene, letter: Letter) -> Shown:
    """Whoever runs the relay's machine restores yesterday's data; it wants an accepted envelope never to have been."""
    node = scene.fresh_node(HOME)
    old = MemoryStore()
    old._now = node.store._now
    node.commit([node.decide(scene.party(SENDER), letter.raw)])
    ledger = Ledger(scene.exchange.community.log_keys[HOME], old, node.ledger._latch, clock=scene.exchange.clock)
    return {Judge.OWN_RELAY: Node(ledger, scene.exchange.directory, clock=scene.exchange.clock).start}
