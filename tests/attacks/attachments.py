"""Attacks on attachments: on what is signed of them, on their bytes at a relay, and on what their sender says."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from attacks.forging import CONTENT_KEY, body_of, content, enclosed, header, with_manifest, wraps_for
from attacks.scene import Letter, Scene, alike
from attacks.table import EVERY, Adversary, Judge, Shown, attack, everyone
from conftest import RECIPIENT, SENDER
from infoexchange import suites, wire
from infoexchange.attachment import (
    BLOCK_SIZE,
    AttachmentMeta,
    AttachmentRef,
    Block,
    Sealing,
    attachment_key,
    sealed_length,
)
from infoexchange.attachment.blocks import BlockTree, path_of
from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST
from infoexchange.enclosure import Enclosure
from infoexchange.errors import Reason
from infoexchange.header import Header
from infoexchange.keys import KeyUsage
from infoexchange.manifest import Manifest
from infoexchange.padding import padme
from infoexchange.testing.depot import MemoryStash
from infoexchange.tlog import merkle
from infoexchange.v1 import content_pb2, envelope_pb2

RELAY, AGENCY = Adversary.RELAY, Adversary.AGENCY
PLAIN = random.Random(3).randbytes(BLOCK_SIZE + 20_000)
FIRST, SECOND_ID = bytes(15) + b"\x01", bytes(15) + b"\x02"


def only_reader(reason: Reason) -> dict[Judge, Reason | str]:
    """Relays see padded bytes under a root; the recipient alone can tell."""
    return {Judge.RECIPIENT: reason}


def meta_of(plain: bytes = PLAIN, attachment_id: bytes = FIRST, name: str = "plan.pdf") -> AttachmentMeta:
    return AttachmentMeta(attachment_id, name, "application/pdf", len(plain), sha256(plain).digest())


@dataclass
class Parcel:
    """One attachment as its sender sealed it, and a relay that may do anything with its blocks."""

    head: Header
    meta: AttachmentMeta
    ref: AttachmentRef
    blocks: list[bytes]

    @classmethod
    def seal(cls, scene: Scene, *, said: AttachmentMeta | None = None, by: bytes = CONTENT_KEY) -> Parcel:
        """Seal the plaintext, and describe it as `said`."""
        head = header(scene, content())
        key = attachment_key(by, sha256(head.raw).digest(), FIRST)
        sealing = Sealing(meta_of(), key)
        raw = b"".join(sealing.pieces([PLAIN]))
        return cls(
            head, said or meta_of(), sealing.ref, [raw[n : n + BLOCK_SIZE] for n in range(0, len(raw), BLOCK_SIZE)]
        )

    @classmethod
    def of_bytes(cls, scene: Scene, padded: bytes, said: AttachmentMeta) -> Parcel:
        """Encrypt any padded plaintext rightly, as no library would."""
        head = header(scene, content())
        key = attachment_key(CONTENT_KEY, sha256(head.raw).digest(), FIRST)
        cipher = suites.encrypting(key.key, key.context)
        raw = cipher.update(padded) + cipher.finalize()
        tree = BlockTree()
        tree.update(raw)
        ref = AttachmentRef(FIRST, len(raw), tree.root())
        return cls(head, said, ref, [raw[n : n + BLOCK_SIZE] for n in range(0, len(raw), BLOCK_SIZE)])

    def served(self) -> list[Block]:
        """What an honest relay hands out."""
        hashes = [merkle.leaf_hash(block) for block in self.blocks]
        return [Block(n, block, path_of(hashes, n)) for n, block in enumerate(self.blocks)]

    def opened(self, *handed: Sequence[Block]) -> Shown:
        """The recipient's library reads the attachment from each of these."""
        key = attachment_key(CONTENT_KEY, sha256(self.head.raw).digest(), FIRST)

        def read(blocks: Sequence[Block]) -> bytes:
            return b"".join(Enclosure(self.meta, self.ref, key, Serving(blocks), MemoryStash()).pieces())

        return {Judge.RECIPIENT: alike(handed, read)}


class Serving:
    """A relay that hands out these blocks, whatever is asked."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks

    def length(self, ref: AttachmentRef) -> int:
        raise NotImplementedError

    def write(self, ref: AttachmentRef, offset: int, pieces: Iterable[bytes]) -> int:
        raise NotImplementedError

    def read(self, ref: AttachmentRef, offset: int, size: int) -> Iterator[Block]:
        return iter(self._blocks[offset // BLOCK_SIZE :])


def envelope(scene: Scene, said: Content, refs: Sequence[AttachmentRef], raw: bytes = b"") -> bytes:
    """An envelope that names attachments, sealed and signed by its sender, which checks nothing."""
    head = header(scene, said)
    wraps = wraps_for(scene, head, {RECIPIENT: CONTENT_KEY})
    body = body_of(head, raw or said.raw)
    payload = Manifest.draw_up(head.raw, [sha256(wrap).digest() for wrap in wraps], [], body, refs)
    signature = scene.keys(SENDER).signer(scene.suite, KeyUsage.MANIFEST).sign(TYPE_MANIFEST, payload)
    return enclosed(payload, signature, wraps, body)


def describing(*metas: AttachmentMeta) -> Content:
    """The smallest message, with attachments."""
    said = content()
    return Content.make(said.schema, said.payload, attachments=metas)


def ref_of(attachment_id: bytes = FIRST, length: int = len(PLAIN), root: bytes = bytes(32)) -> AttachmentRef:
    return AttachmentRef(attachment_id, sealed_length(length), root)


# What is signed of them


@attack(RELAY, everyone(Reason.BAD_SIGNATURE), kinds=EVERY)
def attachment_slipped_in(scene: Scene, letter: Letter) -> Shown:
    """A relay names an attachment of its own in the manifest; it wants it taken for the sender's."""
    return scene.shown(with_manifest(letter.raw, lambda m: m.attachments.add().CopyFrom(ref_of().to_wire())))


@attack(RELAY, everyone(Reason.BAD_SIGNATURE))
def attachment_exchanged(scene: Scene, letter: Letter) -> Shown:
    """A relay puts the root of other bytes, or another length, in the place of an attachment that the sender named."""
    raw = envelope(scene, describing(meta_of()), [ref_of()])
    return scene.shown(
        with_manifest(raw, lambda m: setattr(m.attachments[0], "ct_root", b"\x01" * 32)),
        with_manifest(raw, lambda m: setattr(m.attachments[0], "ct_length", sealed_length(0))),
        with_manifest(raw, lambda m: setattr(m.attachments[0], "attachment_id", SECOND_ID)),
    )


@attack(RELAY, everyone(Reason.BAD_SIGNATURE))
def attachment_struck_out(scene: Scene, letter: Letter) -> Shown:
    """A relay strikes an attachment out of the manifest; it wants the message to arrive without what it is about."""
    metas = [meta_of(), meta_of(b"", SECOND_ID, "empty")]
    raw = envelope(scene, describing(*metas), [ref_of(), ref_of(SECOND_ID, 0)])
    return scene.shown(
        with_manifest(raw, lambda m: m.attachments.pop()),
        with_manifest(raw, lambda m: m.ClearField("attachments")),
    )


@attack(RELAY, everyone(Reason.BAD_FIELD))
def attachments_out_of_order(scene: Scene, letter: Letter) -> Shown:
    """A relay swaps two attachments, or names one twice; it wants one to be saved under the name of the other."""
    metas = [meta_of(), meta_of(b"", SECOND_ID, "empty")]
    raw = envelope(scene, describing(*metas), [ref_of(), ref_of(SECOND_ID, 0)])

    def swapped(manifest: envelope_pb2.Manifest) -> None:
        first, second = list(manifest.attachments)
        del manifest.attachments[:]
        manifest.attachments.extend([second, first])

    return scene.shown(
        with_manifest(raw, swapped), with_manifest(raw, lambda m: m.attachments.add().CopyFrom(m.attachments[1]))
    )


# Their bytes


@attack(RELAY, only_reader(Reason.BAD_SIGNATURE))
def attachment_altered(scene: Scene, letter: Letter) -> Shown:
    """A relay changes a bit of an attachment, with the path to match; it wants something else to be read."""
    parcel = Parcel.seal(scene)
    honest = parcel.served()
    bent = bytes([honest[1].data[0] ^ 1]) + honest[1].data[1:]
    forged = Parcel(parcel.head, parcel.meta, parcel.ref, [parcel.blocks[0], bent]).served()
    return parcel.opened([honest[0], replace(honest[1], data=bent)], [honest[0], forged[1]], forged)


@attack(RELAY, only_reader(Reason.BAD_SIGNATURE))
def attachment_cut_or_rearranged(scene: Scene, letter: Letter) -> Shown:
    """A relay leaves out the end of an attachment, hands out its blocks in another order, or one twice."""
    parcel = Parcel.seal(scene)
    first, second = parcel.served()
    short = replace(second, data=second.data[:-1])
    longer = replace(second, data=second.data + bytes(1))
    return parcel.opened([first], [], [second, first], [first, first], [first, short], [first, longer])


@attack(RELAY, only_reader(Reason.BAD_SIGNATURE))
def attachment_of_another_message(scene: Scene, letter: Letter) -> Shown:
    """A relay hands out an attachment of the same sender and the same length that belongs to another message."""
    return Parcel.seal(scene).opened(Parcel.seal(scene, by=b"another key, of 32 bytes as well").served())


# What their sender says of them


@attack(AGENCY, {Judge.OWN_RELAY: Reason.UNAVAILABLE, Judge.PEER_RELAY: Reason.UNAVAILABLE})
def attachment_never_uploaded(scene: Scene, letter: Letter) -> Shown:
    """An agency names an attachment that it never uploaded; it wants a receipt for what it did not hand over."""
    raw = envelope(scene, describing(meta_of()), [ref_of(root=b"\x02" * 32)])
    shown = scene.shown(raw)
    return {judge: shown[judge] for judge in (Judge.OWN_RELAY, Judge.PEER_RELAY)}


@attack(AGENCY, only_reader(Reason.BAD_COMMITMENT))
def attachments_inside_and_outside_differ(scene: Scene, letter: Letter) -> Shown:
    """An agency signs other attachments than its message tells of; it wants one to come that nobody was told of."""
    both = describing(meta_of(), meta_of(b"", SECOND_ID, "empty"))
    forged = (
        envelope(scene, describing(meta_of()), []),
        envelope(scene, content(), [ref_of()]),
        envelope(scene, both, [ref_of()]),
        envelope(scene, both, [ref_of(FIRST, 0), ref_of(SECOND_ID)]),
        envelope(scene, describing(meta_of()), [ref_of(SECOND_ID)]),
        envelope(scene, describing(meta_of()), [ref_of(length=2**40)]),  # it fills the disk of whoever believes it
    )
    return {Judge.RECIPIENT: scene.shown(*forged)[Judge.RECIPIENT]}


@attack(AGENCY, only_reader(Reason.BAD_FIELD))
def attachment_named_as_a_path(scene: Scene, letter: Letter) -> Shown:
    """An agency gives an attachment a name that leads elsewhere or hides what it is; it wants to write anywhere."""
    names = ("../x", "/etc/x", "..", "a\\b", ".profile", "a\nb", "a\u202efdp.exe", "a\x00b", " a", "a" * 256)
    forged = []
    for name in names:
        said = describing(meta_of())
        message = content_pb2.Content.FromString(said.raw)
        message.attachments[0].name = name
        forged.append(envelope(scene, said, [ref_of()], wire.canonical(message)))
    return {Judge.RECIPIENT: scene.shown(*forged)[Judge.RECIPIENT]}


@attack(AGENCY, only_reader(Reason.BAD_COMMITMENT))
def attachment_not_as_described(scene: Scene, letter: Letter) -> Shown:
    """An agency describes one file and seals another, or hides bytes in the padding; it wants to deny what it sent."""
    zeros = padme(len(PLAIN)) - len(PLAIN)
    parcels = (
        Parcel.seal(scene, said=replace(meta_of(), sha256=sha256(b"other").digest())),
        Parcel.of_bytes(scene, PLAIN + bytes(zeros - 1) + b"\x01", meta_of()),
        Parcel.of_bytes(scene, PLAIN + bytes(zeros), meta_of(PLAIN[:-1])),
    )
    return {Judge.RECIPIENT: alike(parcels, lambda parcel: parcel.opened(parcel.served())[Judge.RECIPIENT]())}


@attack(AGENCY, only_reader(Reason.BAD_CIPHERTEXT))
def attachment_under_another_key(scene: Scene, letter: Letter) -> Shown:
    """An agency seals an attachment under a key that only some recipients have; they are to see what others cannot."""
    parcel = Parcel.seal(scene, by=b"another key, of 32 bytes as well")
    return parcel.opened(parcel.served())
