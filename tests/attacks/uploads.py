"""Attacks on attachments at the relays that keep them: uploads, fetches, and what is signed of rubbish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from attacks import forging
from attacks.forging import CONTENT_KEY, body_of, wraps_for
from attacks.scene import COLLEAGUE, HOME, PEER, Hostile, Letter, Scene, alike
from attacks.table import PASSES, Adversary, Answer, Judge, Shown, attack
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import catalogue
from infoexchange.attachment import BLOCK_SIZE, AttachmentMeta, AttachmentRef, Block, Sealing
from infoexchange.attachment.blocks import block_hash, blocks_for, path_of
from infoexchange.attachment.stream import attachment_key
from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST
from infoexchange.errors import Reason
from infoexchange.header import Header
from infoexchange.keys import KeyUsage
from infoexchange.manifest import Manifest
from infoexchange.node import Node
from infoexchange.testing import MemorySpool
from infoexchange.tlog import merkle
from messages import officer_acknowledgement

AGENCY, FELLOW = Adversary.AGENCY, Adversary.FELLOW
FILE = bytes(range(256)) * 4096 + b"and some more"  # one block and a bit
ID = b"attachment-id-00"
DESCRIBED = AttachmentMeta(ID, "scan.pdf", "application/pdf", len(FILE), sha256(FILE).digest())


@dataclass(frozen=True)
class Enclosed:
    """An envelope with one attachment, and the ciphertext that goes beside it."""

    raw: bytes
    ref: AttachmentRef
    ciphertext: bytes


def header_for(scene: Scene, sender: str = SENDER) -> tuple[Header, Content]:
    """A header and the content that describes the file."""
    message = officer_acknowledgement()
    payload = message.SerializeToString(deterministic=True)
    said = Content.make(catalogue.schema_of(message), payload, attachments=(DESCRIBED,))
    return forging.header(scene, said, sender=sender), said


def ciphertext_of(head: Header, *, key: bytes = CONTENT_KEY) -> tuple[AttachmentRef, bytes]:
    """The file sealed for an envelope: reference and bytes."""
    sealing = Sealing(DESCRIBED, attachment_key(key, sha256(head.raw).digest(), ID))
    ciphertext = b"".join(sealing.pieces([FILE]))
    return sealing.ref, ciphertext


def enclosing(
    scene: Scene, head: Header, said: Content, ref: AttachmentRef, ciphertext: bytes, sender: str = SENDER
) -> Enclosed:
    """The envelope around a reference, whatever that says."""
    wraps, body = wraps_for(scene, head, {RECIPIENT: CONTENT_KEY}), body_of(head, said.raw)
    payload = Manifest.draw_up(head.raw, [sha256(wrap).digest() for wrap in wraps], [], body, [ref])
    signature = scene.keys(sender).signer(scene.suite, KeyUsage.MANIFEST).sign(TYPE_MANIFEST, payload)
    return Enclosed(forging.enclosed(payload, signature, wraps, body), ref, ciphertext)


def honest(scene: Scene) -> Enclosed:
    """An envelope with the file, all in order."""
    head, said = header_for(scene)
    return enclosing(scene, head, said, *ciphertext_of(head))


def cut(ciphertext: bytes) -> list[bytes]:
    """The blocks."""
    return [ciphertext[start : start + BLOCK_SIZE] for start in range(0, len(ciphertext), BLOCK_SIZE)]


@dataclass(frozen=True)
class Shelf:
    """A relay that hands out these blocks, with true paths."""

    ciphertext: bytes

    def read(self, ref: AttachmentRef, offset: int, size: int) -> Iterator[Block]:
        blocks = cut(self.ciphertext)
        hashes = [block_hash(block) for block in blocks]
        for index in blocks_for(ref, offset, size):
            yield Block(index, blocks[index], tuple(path_of(hashes, index)))


def read(scene: Scene, enclosed: Enclosed) -> Answer:
    """What the recipient's library makes of an attachment that an honest relay hands out."""
    relay = Hostile([enclosed.raw], bundles=scene.bundles)
    relay.chunks = Shelf(enclosed.ciphertext)
    [delivery] = scene.box(RECIPIENT, relay, spool=MemorySpool()).receive()
    found = b"".join(delivery.attachments[0].pieces())
    assert found == FILE
    return PASSES


def upload(scene: Scene, node: Node, caller: str, enclosed: Enclosed) -> int:
    """Write the ciphertext at a relay."""
    return node.chunks(scene.party(caller)).write(enclosed.ref, 0, [enclosed.ciphertext])


def taken(scene: Scene, enclosed: Enclosed) -> dict[Judge, Callable[[], object]]:
    """Put an envelope before the relays, once its attachment is at each of them, and before an auditor."""

    def after_upload(relay: str, caller: str) -> object:
        node = scene.node(relay, SENDER)
        upload(scene, node, caller, enclosed)
        return node.decide(scene.party(caller), enclosed.raw)

    return {
        Judge.OWN_RELAY: lambda: after_upload(HOME, SENDER),
        Judge.PEER_RELAY: lambda: after_upload(PEER, HOME),
        Judge.AUDITOR: lambda: scene.audited(enclosed.raw),
    }


@attack(
    AGENCY,
    {
        Judge.OWN_RELAY: PASSES,
        Judge.PEER_RELAY: PASSES,
        Judge.AUDITOR: PASSES,
        Judge.RECIPIENT: Reason.BAD_CIPHERTEXT,
    },
)
def attachment_that_does_not_open(scene: Scene, letter: Letter) -> Shown:
    """An agency signs a reference to rubbish, or to a file under another key; it wants to have sent it, on paper."""
    head, said = header_for(scene)
    ref, ciphertext = ciphertext_of(head)
    rubbish = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    rooted = replace(ref, ct_root=merkle.root([block_hash(block) for block in cut(rubbish)]))
    forged = [
        enclosing(scene, head, said, rooted, rubbish),
        enclosing(scene, head, said, *ciphertext_of(head, key=bytes(32))),
    ]
    return {**taken(scene, forged[0]), Judge.RECIPIENT: alike(forged, lambda enclosed: read(scene, enclosed))}


@attack(AGENCY, dict.fromkeys((Judge.OWN_RELAY, Judge.PEER_RELAY), Reason.UNAVAILABLE))
def attachment_of_somebody_else(scene: Scene, letter: Letter) -> Shown:
    """An agency names what another uploaded; it wants to have it delivered, or to learn whether it is there."""
    enclosed = honest(scene)
    head, said = header_for(scene, COLLEAGUE)
    claimed = enclosing(scene, head, said, enclosed.ref, b"", COLLEAGUE)
    home, peer = scene.node(HOME, SENDER, COLLEAGUE), scene.node(PEER, SENDER, COLLEAGUE)
    upload(scene, home, SENDER, enclosed)
    return {
        Judge.OWN_RELAY: lambda: home.decide(scene.party(COLLEAGUE), claimed.raw),
        Judge.PEER_RELAY: lambda: peer.decide(scene.party(HOME), claimed.raw),
    }


@attack(AGENCY, {Judge.OWN_RELAY: Reason.BAD_SIGNATURE})
def other_bytes_uploaded(scene: Scene, letter: Letter) -> Shown:
    """An agency uploads other bytes than the root names; a relay is to keep, or to log, what nobody signed."""
    enclosed = honest(scene)
    changed = replace(enclosed, ciphertext=enclosed.ciphertext[:-1] + b"\x00")
    return {Judge.OWN_RELAY: lambda: upload(scene, scene.node(HOME), SENDER, changed)}


@attack(FELLOW, {Judge.PEER_RELAY: Reason.NOT_PERMITTED})
def attachment_fetched_by_a_stranger(scene: Scene, letter: Letter) -> Shown:
    """Agencies and relays that the envelope does not wait for ask for its attachment, whose root they learnt."""
    enclosed = honest(scene)
    node = scene.node(PEER, SENDER)
    upload(scene, node, HOME, enclosed)
    node.commit([node.decide(scene.party(HOME), enclosed.raw)])
    assert next(node.chunks(scene.party(RECIPIENT)).read(enclosed.ref, 0, 1)).index == 0

    def ask(name: str) -> object:
        return list(node.chunks(scene.party(name)).read(enclosed.ref, 0, 1))

    return {Judge.PEER_RELAY: alike([SECOND, SENDER, COLLEAGUE, HOME], ask)}
