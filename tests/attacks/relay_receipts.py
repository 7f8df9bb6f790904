"""Attacks by a relay on the proofs of its work: it holds its own log keys and signs well whatever it likes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from attacks.scene import HOME, PEER, STRANGER, Hostile, Letter, Scene
from attacks.table import PASSES, Adversary, Answer, Judge, Shown, attack
from conftest import RECIPIENT, SENDER
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.audit import Subject
from infoexchange.errors import Reason
from infoexchange.keys import EpochKeys
from infoexchange.log import LogKeys
from infoexchange.node import Job
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import MemorySpool
from infoexchange.tlog import Checkpoint, Proof
from infoexchange.tlog.note import Note
from infoexchange.v1 import audit_pb2

RELAY = Adversary.RELAY
OUTCOME = f"outcome for {RECIPIENT}"
OPEN = "no terminal event"  # an auditor's word for: the file does not show how it ended


def told(scene: Scene, letter: Letter, receipt: Receipt) -> Answer:
    """What the sender's library makes of a relay's answer; what it does not believe stays in the outbox."""
    box = scene.box(SENDER, Hostile(answer=lambda raw: receipt), spool=MemorySpool())
    box.spool.put([letter.envelope])
    result = box._outbox.submit([(letter.envelope.digest, letter.raw)])[letter.envelope.digest]
    assert bool(box.spool.unsent(10)) != isinstance(result, Receipt)
    return PASSES if isinstance(result, Receipt) else result.reason


def accepted_by(scene: Scene, relay: str, letter: Letter) -> Receipt:
    """A relay's own true receipt of its ACCEPTED."""
    key = (relay, letter.envelope.digest)
    if key not in scene.accepted:
        events = scene.exchange.mailbox(SENDER).history(letter.envelope.digest).events
        found = {r.routing.this_relay: r for r in events if r.routing.event is Event.ACCEPTED}
        scene.accepted |= {(name, letter.envelope.digest): receipt for name, receipt in found.items()}
    return scene.accepted[key]


def shown(scene: Scene, letter: Letter, forge: Callable[[Receipt], Receipt]) -> Shown:
    """Put a forged receipt before the hop that handed over, which is library or relay, and before an auditor."""
    home, peer = forge(letter.receipt), forge(accepted_by(scene, PEER, letter))
    return {
        Judge.LIBRARY: lambda: told(scene, letter, home),
        Judge.OWN_RELAY: lambda: scene.exchange.nodes[HOME].forwarded(PEER, letter.envelope.digest, peer),
        Judge.AUDITOR: lambda: scene.audited(letter.raw, events=[peer]),
    }


def refused(reason: Reason) -> dict[Judge, Answer]:
    """To the sender's library a receipt that does not hold is none: it keeps the envelope and tries again."""
    return {Judge.LIBRARY: Reason.UNAVAILABLE, Judge.OWN_RELAY: reason, Judge.AUDITOR: reason}


def rewritten(receipt: Receipt, change: Callable[[audit_pb2.Receipt], object]) -> bytes:
    """A receipt with something changed in its bytes."""
    message = audit_pb2.Receipt.FromString(receipt.raw)
    change(message)
    return message.SerializeToString(deterministic=True)


def under(receipt: Receipt, checkpoint: Checkpoint, path: tuple[bytes, ...]) -> Receipt:
    """The same entry on another way to another checkpoint."""
    proof = Proof.of(receipt.index, path, checkpoint)
    return Receipt.parse(rewritten(receipt, lambda m: setattr(m, "proof", proof.raw)))


def logged(scene: Scene, relay: str, letter: Letter, event: Event, party: str = "", **parts) -> Receipt:
    """An entry that a relay writes about an envelope because it likes to, in its own well-signed log."""
    node = scene.exchange._node(relay)
    node.name = parts.pop("name", node.name)
    [receipt] = node.commit([Job((node.event(event, letter.envelope.manifest, party, **parts),))])
    assert isinstance(receipt, Receipt)
    return receipt


def audited(scene: Scene, letter: Letter, *receipts: Receipt, check: str = "", statements=()) -> Shown:
    """Put entries, beside the acceptance of the sender's relay, before an auditor."""
    events = [letter.receipt, *receipts]
    return {Judge.AUDITOR: lambda: scene.audited(letter.raw, events=events, statements=statements, check=check)}


# Receipts


@attack(RELAY, refused(Reason.BAD_PROOF))
def receipt_of_another_envelope(scene: Scene, letter: Letter) -> Shown:
    """A relay drops an envelope and answers with the receipt of another; it wants the hop before to stop trying."""
    return shown(scene, letter, lambda r: accepted_by(scene, r.routing.this_relay, scene.other))


@attack(RELAY, {Judge.LIBRARY: Reason.UNAVAILABLE, Judge.OWN_RELAY: Reason.BAD_PROOF, Judge.AUDITOR: PASSES})
def receipt_of_another_step(scene: Scene, letter: Letter) -> Shown:
    """A relay answers with the proof of another step of this envelope, which does not say that it took it over."""
    delivered = {relay: logged(scene, relay, letter, Event.DELIVERED, RECIPIENT) for relay in (HOME, PEER)}
    return shown(scene, letter, lambda r: delivered[r.routing.this_relay])


@attack(RELAY, dict.fromkeys((Judge.LIBRARY, Judge.AUDITOR), Reason.BAD_COMMITMENT))
def receipt_rewritten(scene: Scene, letter: Letter) -> Shown:
    """A relay changes the time in the readable part of a receipt; the leaf in the log commits to another."""

    def change(message: audit_pb2.Receipt) -> None:
        routing = audit_pb2.AuditRouting.FromString(message.routing)
        routing.logged_us -= 1
        message.routing = routing.SerializeToString(deterministic=True)

    raw = rewritten(letter.receipt, change)

    def file() -> Answer:
        message = scene.file_of(letter.raw)
        message.events.add().ParseFromString(raw)
        return scene.judged(message)

    return {Judge.LIBRARY: lambda: Receipt.parse(raw), Judge.AUDITOR: file}


@attack(RELAY, refused(Reason.BAD_PROOF))
def receipt_off_the_tree(scene: Scene, letter: Letter) -> Shown:
    """A relay shows an entry on a way that does not lead to its signed root; it wants to leave it out of its log."""
    return shown(scene, letter, lambda r: under(r, r.proof.checkpoint, tuple(bytes(32) for _ in r.proof.path)))


@attack(RELAY, refused(Reason.BAD_SIGNATURE))
def checkpoint_signed_by_half(scene: Scene, letter: Letter) -> Shown:
    """A relay strips one of its log's two signatures; it wants to deny the other once that algorithm is broken."""

    def forge(receipt: Receipt) -> Receipt:
        note, origin = receipt.proof.checkpoint.note, receipt.proof.checkpoint.origin
        own = [line for line in note.signatures if line.name == origin]
        half = Note.assemble(note.text, [line for line in note.signatures if line != own[1]])
        return under(receipt, Checkpoint.parse(half.raw), receipt.proof.path)

    return shown(scene, letter, forge)


@attack(RELAY, refused(Reason.BAD_SIGNATURE))
def checkpoint_signed_by_others(scene: Scene, letter: Letter) -> Shown:
    """A relay keeps a second log under its log's name, with keys that no directory lists."""

    def forge(receipt: Receipt) -> Receipt:
        head = receipt.proof.checkpoint
        second = LogKeys.make(receipt.routing.this_relay, now=scene.now).sign(head.size, head.root, now=scene.now)
        return under(receipt, second, receipt.proof.path)

    return shown(scene, letter, forge)


@attack(RELAY, refused(Reason.UNKNOWN_PARTY))
def entry_in_another_relays_log(scene: Scene, letter: Letter) -> Shown:
    """A third nation's relay writes an acceptance in the name of the right one into its own log."""
    names = (HOME, PEER)
    entries = {name: logged(scene, STRANGER, letter, Event.ACCEPTED, name=name) for name in names}
    return shown(scene, letter, lambda r: entries[r.routing.this_relay])


# What is logged


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_PROOF})
def logged_before_it_was_made(scene: Scene, letter: Letter) -> Shown:
    """The sender's relay dates its acceptance back by an hour; it wants to have known earlier, or a key to hold."""
    with scene.at(scene.now - timedelta(hours=1)):
        early = logged(scene, HOME, letter, Event.ACCEPTED)
    return {Judge.AUDITOR: lambda: scene.audited(letter.raw, events=[early])}


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_PROOF})
def expired_before_its_time(scene: Scene, letter: Letter) -> Shown:
    """The recipient's relay drops an envelope and logs that nobody fetched it in time."""
    return audited(scene, letter, logged(scene, PEER, letter, Event.EXPIRED, RECIPIENT, reason=int(Reason.EXPIRED)))


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_PROOF})
def logged_by_a_relay_off_the_way(scene: Scene, letter: Letter) -> Shown:
    """A third nation's relay logs a delivery of an envelope that it never carried."""
    return audited(scene, letter, logged(scene, STRANGER, letter, Event.DELIVERED, RECIPIENT))


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_PROOF})
def delivery_logged_by_the_senders_relay(scene: Scene, letter: Letter) -> Shown:
    """The sender's relay never handed the envelope over, and logs that a foreign recipient has it."""
    return audited(scene, letter, logged(scene, HOME, letter, Event.DELIVERED, RECIPIENT))


@attack(RELAY, {Judge.AUDITOR: OPEN})
def refusal_claimed(scene: Scene, letter: Letter) -> Shown:
    """The recipient's relay drops the recipient's statement and logs that it refused; it wants it to look unwilling."""
    claim = logged(scene, PEER, letter, Event.REFUSED, RECIPIENT, reason=int(Reason.NOT_PERMITTED))
    return audited(scene, letter, claim, check=OUTCOME)


@attack(RELAY, {Judge.AUDITOR: OPEN})
def opening_claimed(scene: Scene, letter: Letter) -> Shown:
    """The recipient's relay never delivered, and logs that the recipient opened the envelope."""
    return audited(scene, letter, logged(scene, PEER, letter, Event.OPENED, RECIPIENT), check=OUTCOME)


def statement(scene: Scene, letter: Letter, **parts) -> Statement:
    """What the recipient says of an envelope that it opened, but for some parts."""
    said = {
        "envelope_digest": letter.envelope.digest,
        "issuer": RECIPIENT,
        "issuer_bundle": scene.bundle(RECIPIENT).digest,
        "state": Event.OPENED,
        "at": scene.now,
        "content_commitment": letter.envelope.header.content_commitment,
    }
    return Statement(**{**said, **parts})


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_SIGNATURE})
def statement_forged(scene: Scene, letter: Letter) -> Shown:
    """The recipient's relay writes the statement itself, with keys of its own, and logs it."""
    keys = EpochKeys.make(1, suites=(scene.suite,))
    forged = Acknowledgement.sign(statement(scene, letter), scene.suite, keys)
    entry = logged(scene, PEER, letter, Event.OPENED, RECIPIENT, subject=Subject(statement_digest=forged.digest))
    return audited(scene, letter, entry, statements=[forged.raw])


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_PROOF})
def statement_not_logged(scene: Scene, letter: Letter) -> Shown:
    """The recipient's relay logs another outcome than the recipient signed, which turns up beside it."""
    said = Acknowledgement.sign(statement(scene, letter), scene.suite, scene.keys(RECIPIENT))
    entry = logged(scene, PEER, letter, Event.REFUSED, RECIPIENT, subject=Subject(statement_digest=said.digest))
    return audited(scene, letter, entry, statements=[said.raw])


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_PROOF})
def statement_logged_before_it_was_made(scene: Scene, letter: Letter) -> Shown:
    """The recipient's relay dates the outcome back to before the recipient's own date of it."""
    said = Acknowledgement.sign(
        statement(scene, letter, at=scene.now + timedelta(hours=1)), scene.suite, scene.keys(RECIPIENT)
    )
    entry = logged(scene, PEER, letter, Event.OPENED, RECIPIENT, subject=Subject(statement_digest=said.digest))
    return audited(scene, letter, entry, statements=[said.raw])
