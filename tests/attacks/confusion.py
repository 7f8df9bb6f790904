"""Attacks by confusion: one kind of signed object presented as another, with good signatures of the right keys.

Every kind that `dsse` names is here; a new one that is missing fails the test of this module.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from attacks.disclosures import approval, attestation
from attacks.forging import DAY, content
from attacks.recalls import order
from attacks.relay_receipts import statement
from attacks.scene import COLLEAGUE, Letter, Scene, alike
from attacks.table import Adversary, Judge, Shown, attack
from conftest import RECIPIENT, SENDER
from infoexchange import dsse
from infoexchange.acknowledgement import STATEMENT_SIZE_MAX, Acknowledgement
from infoexchange.approval import Approval
from infoexchange.attestation import Attestation
from infoexchange.bundle import BUNDLE_SIZE_MAX, KeyBundle
from infoexchange.content import ATTESTATION_SIZE_MAX
from infoexchange.directory import Directory
from infoexchange.dsse import Dsse, batch_payload, pae
from infoexchange.errors import Reason
from infoexchange.grant import GRANT_SIZE_MAX, Grant, Terms
from infoexchange.keys import KeyUsage
from infoexchange.listing import DIRECTORY_SIZE_MAX
from infoexchange.manifest import MANIFEST_SIZE_MAX, Manifest
from infoexchange.pouch import Seal
from infoexchange.pouch.seal import SEAL_SIZE_MAX, Sealed
from infoexchange.recall import ORDER_SIZE_MAX, RecallOrder

Sign = Callable[[str, bytes], list[tuple[bytes, str]]]
TYPES = tuple(value for name, value in sorted(vars(dsse).items()) if name.startswith("TYPE_"))
LIMITS = {
    dsse.TYPE_MANIFEST: 2 * MANIFEST_SIZE_MAX,  # the container of a manifest of the largest size
    dsse.TYPE_KEYBUNDLE: BUNDLE_SIZE_MAX,
    dsse.TYPE_DIRECTORY: DIRECTORY_SIZE_MAX,
    dsse.TYPE_ACKNOWLEDGEMENT: STATEMENT_SIZE_MAX,
    dsse.TYPE_RECALL: ORDER_SIZE_MAX,
    dsse.TYPE_GRANT: GRANT_SIZE_MAX,
    dsse.TYPE_ATTESTATION: ATTESTATION_SIZE_MAX,
    dsse.TYPE_DISCLOSURE: STATEMENT_SIZE_MAX,
    dsse.TYPE_POUCH: SEAL_SIZE_MAX,
}


@dataclass(frozen=True)
class Signed:
    """A kind of signed object: a good payload of it, whoever signs it, and its reader."""

    payload: bytes
    sign: Sign
    read: Callable[[Dsse], object]

    def made(self, kind: str, shown: str) -> Dsse:
        """This payload, signed as one kind by the keys that this one's reader trusts, and labelled as another."""
        return Dsse.make(shown, self.payload, self.sign(kind, self.payload))


def epoch(scene: Scene, name: str, usage: KeyUsage) -> Sign:
    """Sign with an epoch key of an agency."""
    key = scene.keys(name).signer(scene.suite, usage)
    return lambda kind, payload: [(key.sign(kind, payload), key.key_id)]


def every(scene: Scene, letter: Letter) -> Mapping[str, Signed]:
    """One of each kind, all of them good."""
    directory, member = scene.exchange.directory, scene.member(SENDER)
    manifest, manifests = letter.envelope.manifest.dsse.payload, epoch(scene, SENDER, KeyUsage.MANIFEST)
    covered, [proof, _] = batch_payload([pae(dsse.TYPE_MANIFEST, manifest)] * 2)
    said = Acknowledgement.sign(statement(scene, letter), scene.suite, scene.keys(RECIPIENT))
    consent = Grant.sign(
        Terms(
            origin=letter.envelope.digest,
            originator=SENDER,
            originator_bundle=member.bundle.digest,
            holder=RECIPIENT,
            recipients=(COLLEAGUE,),
            granted_at=scene.now,
            expires_at=scene.now + DAY,
            suite=scene.suite.number,
        ),
        scene.keys(SENDER),
    )
    attested = attestation(scene, content(), commitment=letter.envelope.header.content_commitment)
    roots = scene.exchange.community.root_keys[:2]

    def batched(container: Dsse) -> object:
        """A batch is a signature in each manifest's container, over the root that its own way leads to."""
        pairs = list(zip(container.signatures, container.key_ids, strict=True))
        return Manifest.from_dsse(Dsse.make(dsse.TYPE_MANIFEST, manifest, pairs, proof)).verify(
            directory, member.bundle
        )

    return {
        dsse.TYPE_MANIFEST: Signed(
            manifest, manifests, lambda d: Manifest.parse(d.raw).verify(directory, member.bundle)
        ),
        dsse.TYPE_BATCH: Signed(covered, manifests, batched),
        dsse.TYPE_KEYBUNDLE: Signed(
            member.bundle.dsse.payload,
            lambda kind, payload: list(member.identity.key.sign(kind, payload)),
            lambda d: KeyBundle.parse(d.raw, member.certificates, (member.crl,)).verify(directory, now=scene.now),
        ),
        dsse.TYPE_DIRECTORY: Signed(
            Dsse.parse(directory.raw, payload_type=dsse.TYPE_DIRECTORY, size_max=DIRECTORY_SIZE_MAX).payload,
            lambda kind, payload: [(root.sign(kind, payload), root.key_id) for root in roots],
            lambda d: Directory.parse(d.raw, roots=scene.exchange.community.roots),
        ),
        dsse.TYPE_ACKNOWLEDGEMENT: Signed(
            said.dsse.payload,
            epoch(scene, RECIPIENT, KeyUsage.ACKNOWLEDGEMENT),
            lambda d: Acknowledgement.parse(d.raw).verify(directory, scene.bundle(RECIPIENT), scene.suite),
        ),
        dsse.TYPE_RECALL: Signed(
            RecallOrder.parse(order(scene, letter)).dsse.payload,
            manifests,
            lambda d: RecallOrder.parse(d.raw).verify(directory, member.bundle),
        ),
        dsse.TYPE_ATTESTATION: Signed(
            Attestation.parse(attested).dsse.payload,
            epoch(scene, COLLEAGUE, KeyUsage.ATTESTATION),
            lambda d: Attestation.parse(d.raw).verify(directory, scene.bundle(COLLEAGUE), letter.envelope.header),
        ),
        dsse.TYPE_DISCLOSURE: Signed(
            Approval.parse(approval(scene, letter)).dsse.payload,
            epoch(scene, RECIPIENT, KeyUsage.ACKNOWLEDGEMENT),
            lambda d: Approval.parse(d.raw).verify(directory, scene.bundle(RECIPIENT), scene.suite),
        ),
        dsse.TYPE_GRANT: Signed(
            consent.dsse.payload, manifests, lambda d: Grant.parse(d.raw).verify(directory, member.bundle)
        ),
        dsse.TYPE_POUCH: pouch(scene),
    }


def pouch(scene: Scene) -> Signed:
    """The seal of a pouch, which both keys of its relay's log sign."""
    directory, (home, other) = scene.exchange.directory, list(scene.exchange.community.log_keys)[:2]
    keys = scene.exchange.community.log_keys[home]
    said = Sealed(
        sender=home, recipient=other, origin=keys.origin, made_at=scene.now, items=1, size=1, contents=bytes(32)
    )

    def sign(kind: str, payload: bytes) -> list[tuple[bytes, str]]:
        return [(signer.sign(pae(kind, payload)), signer.key.id.hex()) for signer in keys.signers]

    return Signed(
        Seal.sign(said, keys).dsse.payload,
        sign,
        lambda d: Seal.parse(d.raw).verify(directory, recipient=other, now=scene.now),
    )


def pairs(kinds: Mapping[str, Signed]) -> Iterator[tuple[str, str]]:
    """Every kind with every other, once every kind that there is has been found to pass as itself."""
    assert set(kinds) == set(TYPES)
    for kind, signed in kinds.items():
        signed.read(signed.made(kind, kind))
    return itertools.permutations(kinds, 2)


@attack(Adversary.AGENCY, {Judge.READER: Reason.BAD_SIGNATURE})
def signature_for_another_kind(scene: Scene, letter: Letter) -> Shown:
    """Somebody got a party to sign bytes as one kind of object and presents bytes and signature as another.

    The bytes are good for the other kind and the key is the one that its reader trusts: only the type that was signed
    is wrong. Every kind is tried for every other.
    """
    kinds = every(scene, letter)
    return {Judge.READER: alike(list(pairs(kinds)), lambda p: kinds[p[1]].read(kinds[p[1]].made(p[0], p[1])))}


def misplaced(scene: Scene, letter: Letter, *, too_long: bool) -> Shown:
    """Put each good object before the reader of each other kind, as far as it is, or is not, over that one's limit."""
    kinds = every(scene, letter)
    objects = {kind: signed.made(kind, kind) for kind, signed in kinds.items()}
    # A batch is read from a manifest's container, so that no container is in its place.
    possible = [(made, shown) for made, shown in pairs(kinds) if shown != dsse.TYPE_BATCH]
    chosen = [(m, s) for m, s in possible if (len(objects[m].raw) > LIMITS[s]) == too_long]
    return {Judge.READER: alike(chosen, lambda p: kinds[p[1]].read(objects[p[0]]))}


@attack(Adversary.RELAY, {Judge.READER: Reason.BAD_FIELD})
def object_in_the_place_of_another(scene: Scene, letter: Letter) -> Shown:
    """A relay delivers one good signed object where another kind is expected. Every kind is tried for every other."""
    return misplaced(scene, letter, too_long=False)


@attack(Adversary.RELAY, {Judge.READER: Reason.TOO_LARGE})
def large_object_in_the_place_of_a_small_one(scene: Scene, letter: Letter) -> Shown:
    """A relay delivers a directory or a bundle where something short is expected: its length alone is refused."""
    return misplaced(scene, letter, too_long=True)


@attack(Adversary.AGENCY, {Judge.READER: Reason.BAD_SIGNATURE})
def hash_signed_elsewhere(scene: Scene, letter: Letter) -> Shown:
    """Somebody got a party to sign the hash of an object in another protocol, and presents that as the signature."""
    kinds = every(scene, letter)

    def bare(kind: str) -> Dsse:
        signed = kinds[kind]
        # The keys sign whatever they are given: a type that makes PAE begin otherwise stands for any other protocol.
        return Dsse.make(kind, signed.payload, signed.sign("", sha256(signed.payload).digest()))

    return {Judge.READER: alike(list(kinds), lambda kind: kinds[kind].read(bare(kind)))}
