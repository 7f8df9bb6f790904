"""Attacks on attachments: by relays that hand out their blocks, and by agencies that name, describe and seal them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from attacks import forging
from attacks.forging import CONTENT_KEY, body_of, with_manifest, wraps_for
from attacks.scene import COLLEAGUE, HOME, PEER, Hostile, Letter, Scene, alike
from attacks.table import PASSES, Adversary, Answer, Judge, Shown, attack, everyone
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

RELAY, AGENCY, FELLOW = Adversary.RELAY, Adversary.AGENCY, Adversary.FELLOW
FILE = bytes(range(256)) * 4096 + b"and some more"  # one block and a bit
ID = b"attachment-id-00"


def described(data: bytes, **parts: object) -> AttachmentMeta:
    """What the content says of a file, but for some parts."""
    return replace(AttachmentMeta(ID, "scan.pdf", "application/pdf", len(data), sha256(data).digest()), **parts)


@dataclass(frozen=True)
class Enclosed:
    """An envelope with one attachment, and the ciphertext that goes beside it."""

    raw: bytes
    ref: AttachmentRef
    ciphertext: bytes


def header_for(scene: Scene, meta: AttachmentMeta, sender: str = SENDER) -> tuple[Header, Content]:
    """A header and the content that describes a file."""
    message = officer_acknowledgement()
    payload = message.SerializeToString(deterministic=True)
    said = Content.make(catalogue.schema_of(message), payload, attachments=(meta,))
    return forging.header(scene, said, sender=sender), said


def ciphertext_of(head: Header, data: bytes, *, key: bytes = CONTENT_KEY) -> tuple[AttachmentRef, bytes]:
    """A file sealed for an envelope: reference and bytes."""
    sealing = Sealing(described(data), attachment_key(key, sha256(head.raw).digest(), ID))
    ciphertext = b"".join(sealing.pieces([data]))
    return sealing.ref, ciphertext


def enclosing(
    scene: Scene, head: Header, said: Content, ref: AttachmentRef, ciphertext: bytes, sender: str = SENDER
) -> Enclosed:
    """The envelope around a reference, whatever that says."""
    wraps, body = wraps_for(scene, head, {RECIPIENT: CONTENT_KEY}), body_of(head, said.raw)
    payload = Manifest.draw_up(head.raw, [sha256(wrap).digest() for wrap in wraps], [], body, [ref])
    signature = scene.keys(sender).signer(scene.suite, KeyUsage.MANIFEST).sign(TYPE_MANIFEST, payload)
    return Enclosed(forging.enclosed(payload, signature, wraps, body), ref, ciphertext)


def honest(scene: Scene, sender: str = SENDER) -> Enclosed:
    """An envelope with a file, all in order."""
    head, said = header_for(scene, described(FILE), sender)
    return enclosing(scene, head, said, *ciphertext_of(head, FILE), sender)


def rooted(ref: AttachmentRef, ciphertext: bytes) -> AttachmentRef:
    """The reference that a lying sender signs for other bytes."""
    return replace(ref, ct_length=len(ciphertext), ct_root=merkle.root([block_hash(b) for b in cut(ciphertext)]))


def cut(ciphertext: bytes) -> list[bytes]:
    """The blocks."""
    return [ciphertext[start : start + BLOCK_SIZE] for start in range(0, len(ciphertext), BLOCK_SIZE)]


@dataclass(frozen=True)
class Shelf:
    """Blocks as a relay hands them out, true paths included, but for what `spoil` does."""

    ciphertext: bytes
    spoil: Callable[[Block], Block] = lambda block: block

    def read(self, ref: AttachmentRef, offset: int, size: int) -> Iterator[Block]:
        blocks = cut(self.ciphertext)
        hashes = [block_hash(block) for block in blocks]
        for index in blocks_for(replace(ref, ct_length=len(self.ciphertext)), offset, size):
            yield self.spoil(Block(index, blocks[index], tuple(path_of(hashes, index))))


def read(scene: Scene, enclosed: Enclosed, shelf: Shelf) -> Answer:
    """What the recipient's library makes of an attachment whose blocks come from a shelf."""
    relay = Hostile([enclosed.raw], bundles=scene.bundles)
    relay.chunks = shelf
    [delivery] = scene.box(RECIPIENT, relay, spool=MemorySpool()).receive()
    found = b"".join(delivery.attachments[0].pieces())
    assert found == FILE
    return PASSES


# By relays


@attack(RELAY, {Judge.RECIPIENT: Reason.BAD_SIGNATURE})
def block_altered(scene: Scene, letter: Letter) -> Shown:
    """A relay hands out a block with a bit changed, another block's bytes, a block of another file, or a cut one."""
    enclosed = honest(scene)
    other = ciphertext_of(header_for(scene, described(FILE))[0], FILE)[1]
    spoils: Sequence[Callable[[Block], Block]] = (
        lambda b: replace(b, data=bytes([b.data[0] ^ 1]) + b.data[1:]),
        lambda b: replace(b, index=b.index ^ 1),
        lambda b: replace(b, data=cut(other)[b.index]),
        lambda b: replace(b, data=b.data[:-1]),
        lambda b: replace(b, path=()),
        lambda b: replace(b, path=(*b.path, bytes(32))),
    )
    return {
        Judge.RECIPIENT: alike(spoils, lambda spoil: read(scene, enclosed, Shelf(enclosed.ciphertext, spoil))),
    }


@attack(RELAY, {Judge.RECIPIENT: Reason.BAD_SIGNATURE})
def attachment_cut_short(scene: Scene, letter: Letter) -> Shown:
    """A relay hands out the beginning of an attachment, with paths that fit a shorter one."""
    enclosed = honest(scene)
    shorter = [enclosed.ciphertext[:BLOCK_SIZE], enclosed.ciphertext[:-1], enclosed.ciphertext + b"\x00"]
    return {Judge.RECIPIENT: alike(shorter, lambda ciphertext: read(scene, enclosed, Shelf(ciphertext)))}


@attack(RELAY, everyone(Reason.BAD_SIGNATURE))
def attachment_exchanged(scene: Scene, letter: Letter) -> Shown:
    """A relay names the attachment of another envelope in the manifest, or none; the signature is left as it was."""
    enclosed, other = honest(scene), honest(scene)
    raws = [
        with_manifest(enclosed.raw, lambda m: m.attachments[0].CopyFrom(other.ref.to_wire())),
        with_manifest(enclosed.raw, lambda m: m.ClearField("attachments")),
    ]
    return scene.shown(*raws)


# By agencies


def taken(scene: Scene, enclosed: Enclosed, sender: str = SENDER) -> dict[Judge, Callable[[], object]]:
    """Put an envelope before the relays, once its attachment is at each of them, and before an auditor."""

    def after_upload(relay: str, caller: str) -> object:
        node = scene.node(relay, sender)
        upload(scene, node, caller, enclosed)
        return node.decide(scene.party(caller), enclosed.raw)

    return {
        Judge.OWN_RELAY: lambda: after_upload(HOME, sender),
        Judge.PEER_RELAY: lambda: after_upload(PEER, HOME),
        Judge.AUDITOR: lambda: scene.audited(enclosed.raw),
    }


def upload(scene: Scene, node: Node, caller: str, enclosed: Enclosed) -> int:
    """Write the ciphertext at a relay."""
    return node.chunks(scene.party(caller)).write(enclosed.ref, 0, [enclosed.ciphertext])


ONLY_INSIDE = {Judge.OWN_RELAY: PASSES, Judge.PEER_RELAY: PASSES, Judge.AUDITOR: PASSES}


@attack(AGENCY, {**ONLY_INSIDE, Judge.RECIPIENT: Reason.BAD_COMMITMENT})
def attachments_other_than_described(scene: Scene, letter: Letter) -> Shown:
    """An agency describes other attachments than it signs references to: another id, another length, or one too few."""
    lies = (described(FILE, attachment_id=bytes(16)), described(FILE + bytes(2 * BLOCK_SIZE)))
    forged = []
    for meta in lies:
        head, said = header_for(scene, meta)
        forged.append(enclosing(scene, head, said, *ciphertext_of(head, FILE)))
    return {
        **taken(scene, forged[0]),
        Judge.RECIPIENT: alike([e.raw for e in forged], lambda raw: scene.delivered(RECIPIENT, raw)),
    }


@attack(AGENCY, {**ONLY_INSIDE, Judge.RECIPIENT: Reason.BAD_CIPHERTEXT})
def attachment_that_does_not_open(scene: Scene, letter: Letter) -> Shown:
    """An agency signs a reference to rubbish, or to a file under another key; it wants to have sent it, on paper."""
    head, said = header_for(scene, described(FILE))
    ref, ciphertext = ciphertext_of(head, FILE)
    rubbish = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    forged = [
        enclosing(scene, head, said, rooted(ref, rubbish), rubbish),
        enclosing(scene, head, said, *ciphertext_of(head, FILE, key=bytes(32))),
    ]
    return {
        **taken(scene, forged[0]),
        Judge.RECIPIENT: alike(forged, lambda enclosed: read(scene, enclosed, Shelf(enclosed.ciphertext))),
    }


@attack(AGENCY, {**ONLY_INSIDE, Judge.RECIPIENT: Reason.BAD_COMMITMENT})
def attachment_other_than_described(scene: Scene, letter: Letter) -> Shown:
    """An agency commits to one file and seals another of the same length; the first is for the auditor."""
    head, said = header_for(scene, described(FILE))
    enclosed = enclosing(scene, head, said, *ciphertext_of(head, bytes(len(FILE))))
    return {
        **taken(scene, enclosed),
        Judge.RECIPIENT: lambda: read(scene, enclosed, Shelf(enclosed.ciphertext)),
    }


@attack(AGENCY, dict.fromkeys((Judge.OWN_RELAY, Judge.PEER_RELAY), Reason.UNAVAILABLE))
def attachment_of_somebody_else(scene: Scene, letter: Letter) -> Shown:
    """An agency names what another uploaded; it wants to have it delivered, or to learn whether it is there."""
    enclosed = honest(scene)
    head, said = header_for(scene, described(FILE), COLLEAGUE)
    claimed = enclosing(scene, head, said, enclosed.ref, b"", COLLEAGUE)
    home, peer = scene.node(HOME, SENDER, COLLEAGUE), scene.node(PEER, SENDER, COLLEAGUE)
    upload(scene, home, SENDER, enclosed)
    return {
        Judge.OWN_RELAY: lambda: home.decide(scene.party(COLLEAGUE), claimed.raw),
        Judge.PEER_RELAY: lambda: peer.decide(scene.party(HOME), claimed.raw),
    }


@attack(AGENCY, dict.fromkeys((Judge.OWN_RELAY, Judge.PEER_RELAY), Reason.UNAVAILABLE))
def envelope_before_its_attachment(scene: Scene, letter: Letter) -> Shown:
    """An agency, or its relay, hands over the envelope without the attachment; it wants a receipt for both."""
    shown = scene.shown(honest(scene).raw)
    return {judge: shown[judge] for judge in (Judge.OWN_RELAY, Judge.PEER_RELAY)}


@attack(AGENCY, {Judge.OWN_RELAY: Reason.BAD_SIGNATURE})
def other_bytes_uploaded(scene: Scene, letter: Letter) -> Shown:
    """An agency uploads other bytes than the root names; a relay is to keep, or to log, what nobody signed."""
    enclosed = honest(scene)
    changed = replace(enclosed, ciphertext=enclosed.ciphertext[:-1] + b"\x00")
    return {Judge.OWN_RELAY: lambda: upload(scene, scene.node(HOME), SENDER, changed)}


# By others


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
