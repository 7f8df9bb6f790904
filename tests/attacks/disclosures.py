"""Attacks with records shown to others, with approvals of that, and with attestations inside the content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from attacks.epochs import HOUR
from attacks.fellow import opened
from attacks.forging import content, header, sealed
from attacks.relay_receipts import logged
from attacks.scene import COLLEAGUE, PEER, Letter, Scene, alike
from attacks.table import PASSES, Adversary, Answer, Judge, Kind, Shown, attack, everyone
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.approval import Approval, Consent
from infoexchange.attestation import Attestation, AttestationRole
from infoexchange.audit import Subject
from infoexchange.content import Content
from infoexchange.disclosure import Disclosure
from infoexchange.dsse import TYPE_ATTESTATION, TYPE_DISCLOSURE, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.ports import Notice
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.v1 import disclosure_pb2

RELAY, AGENCY, FELLOW = Adversary.RELAY, Adversary.AGENCY, Adversary.FELLOW
Wire = disclosure_pb2.Disclosure
EVERY_KIND = tuple(Kind)


# Records


def disclosed(scene: Scene, letter: Letter) -> Disclosure:
    """Schema, marks and one more record of a letter, as its recipient shows them."""
    _, said = opened(scene, letter, RECIPIENT)
    return Disclosure.make(letter.envelope.manifest, said, [1, 2])


def changed(disclosure: Disclosure, change: Callable[[Wire], object]) -> bytes:
    """A disclosure with something changed in its bytes."""
    message = Wire.FromString(disclosure.raw)
    change(message)
    return message.SerializeToString(deterministic=True)


def shown(scene: Scene, letter: Letter, *raws: bytes, approvals: Sequence[bytes] = (), check: str = "") -> Shown:
    """Put disclosures, with approvals that the recipient's relay logged, before an auditor."""

    def audited(raw: bytes) -> Answer:
        parsed = [Approval.parse(approval) for approval in approvals]
        message = scene.file_of(letter.raw, None, *(approval.statement.issuer for approval in parsed))
        message.disclosures.append(raw)
        message.statements[:] = sorted(approvals)
        for receipt in [entry_of(scene, letter, approval) for approval in parsed]:
            message.events.add().ParseFromString(receipt.raw)
        return scene.judged(message, check)

    return {Judge.AUDITOR: alike(raws, audited)}


def entry_of(scene: Scene, letter: Letter, approval: Approval) -> Receipt:
    """The entry of an approval in the log of the recipient's relay."""
    subject = Subject(statement_digest=approval.digest)
    return logged(scene, PEER, letter, Event.AUDIT_DISCLOSURE, RECIPIENT, subject=subject)


def flipped(value: bytes) -> bytes:
    """The same with one bit changed."""
    return value[:-1] + bytes([value[-1] ^ 1])


@attack(FELLOW, {Judge.AUDITOR: Reason.BAD_COMMITMENT}, kinds=EVERY_KIND)
def record_altered(scene: Scene, letter: Letter) -> Shown:
    """A recipient shows a record with other words, another salt, place or number of records than the sender signed."""
    honest = disclosed(scene, letter)

    def flip(field: str) -> bytes:
        return changed(honest, lambda m: setattr(m.leaves[2], field, flipped(getattr(m.leaves[2], field))))

    forms = [
        flip("record"),
        flip("salt"),
        changed(honest, lambda m: m.leaves[2].path.__setitem__(0, bytes(32))),
        changed(honest, lambda m: setattr(m.leaves[2], "index", 3)),
        changed(honest, lambda m: setattr(m, "leaf_count", m.leaf_count - 1)),
    ]
    return shown(scene, letter, *forms)


@attack(FELLOW, {Judge.AUDITOR: Reason.BAD_COMMITMENT})
def record_of_another_message(scene: Scene, letter: Letter) -> Shown:
    """A recipient shows a true record of another message of the same sender under this one's signature."""
    honest, other = disclosed(scene, letter), disclosed(scene, scene.other)
    leaf = Wire.FromString(other.raw).leaves[2]
    return shown(scene, letter, changed(honest, lambda m: m.leaves[2].CopyFrom(leaf)))


@attack(FELLOW, {Judge.AUDITOR: Reason.BAD_FIELD})
def record_of_another_kind(scene: Scene, letter: Letter) -> Shown:
    """A recipient leaves out what type of message it was, or gives a record another letter, to read as another kind."""
    honest = disclosed(scene, letter)
    forms = [
        changed(honest, lambda m: m.leaves.pop(0)),
        changed(honest, lambda m: setattr(m.leaves[1], "record", b"S" + m.leaves[1].record[1:])),
        changed(honest, lambda m: setattr(m.leaves[1], "record", b"O" + m.leaves[1].record[1:])),
        changed(honest, lambda m: setattr(m.leaves[1], "record", m.leaves[1].record + m.leaves[2].record[1:])),
    ]
    return shown(scene, letter, *forms)


@attack(FELLOW, {Judge.AUDITOR: Reason.BAD_FIELD})
def disclosure_of_another_message(scene: Scene, letter: Letter) -> Shown:
    """A recipient puts the whole disclosure of another message into the file of this one."""
    return shown(scene, letter, disclosed(scene, scene.other).raw)


# Approvals


def approval(
    scene: Scene, letter: Letter, by: str = RECIPIENT, keys: EpochKeys | None = None, **parts: object
) -> bytes:
    """A signed word that records are shown, but for some parts."""
    said = Consent(
        envelope_digest=letter.envelope.digest,
        disclosure_digest=disclosed(scene, letter).digest,
        record_count=3,
        issuer=by,
        issuer_bundle=scene.bundle(by).digest,
        audience="a court",
        at=scene.now,
    )
    return Approval.sign(replace(said, **parts), scene.suite, keys or scene.keys(by)).raw


def logged_at_peer(scene: Scene, letter: Letter, *raws: bytes, caller: str = RECIPIENT) -> Shown:
    """Put approvals before the relay that holds the caller's mailbox."""
    node = scene.exchange.nodes[PEER]

    def told(raw: bytes) -> object:
        return node.decide_notice(scene.party(caller), Notice(letter.envelope.digest, Event.AUDIT_DISCLOSURE, raw))

    return {Judge.PEER_RELAY: alike(raws, told)}


BOTH = (Judge.PEER_RELAY, Judge.AUDITOR)


def either(scene: Scene, letter: Letter, *raws: bytes) -> Shown:
    """Put approvals before the relay and, logged by it all the same, before an auditor."""
    file = shown(scene, letter, disclosed(scene, letter).raw, approvals=raws, check="disclosure 1 approved")
    return {**logged_at_peer(scene, letter, *raws), **file}


@attack(FELLOW, dict.fromkeys(BOTH, Reason.BAD_SIGNATURE), kinds=(Kind.SEVERAL,))
def approved_in_a_fellows_name(scene: Scene, letter: Letter) -> Shown:
    """A recipient shows records and signs in a fellow's name that it was that one; a relay logs it so."""
    return either(scene, letter, approval(scene, letter, keys=scene.keys(SECOND)))


@attack(FELLOW, dict.fromkeys(BOTH, Reason.BAD_SIGNATURE))
def approved_with_a_key_of_another_purpose(scene: Scene, letter: Letter) -> Shown:
    """A recipient signs its approval with its key for manifests; it wants to disown it."""
    honest = Approval.parse(approval(scene, letter))
    signer = scene.keys(RECIPIENT).signer(scene.suite, KeyUsage.MANIFEST)
    pair = (signer.sign(TYPE_DISCLOSURE, honest.dsse.payload), "")
    return either(scene, letter, Dsse.make(TYPE_DISCLOSURE, honest.dsse.payload, [pair]).raw)


@attack(FELLOW, {Judge.PEER_RELAY: Reason.NOT_YET_VALID, Judge.AUDITOR: Reason.BAD_PROOF})
def approved_tomorrow(scene: Scene, letter: Letter) -> Shown:
    """A recipient dates its approval ahead; it wants it to be later than a rule that forbids it."""
    return either(scene, letter, approval(scene, letter, at=scene.now + HOUR))


@attack(FELLOW, {Judge.PEER_RELAY: Reason.BAD_FIELD, Judge.AUDITOR: Reason.BAD_PROOF})
def approval_of_another_message(scene: Scene, letter: Letter) -> Shown:
    """A recipient shows records of this message with its true approval about another one."""
    raw = approval(scene, scene.other, disclosure_digest=disclosed(scene, letter).digest)
    return either(scene, letter, raw)


@attack(FELLOW, {Judge.AUDITOR: "no approval"})
def other_records_than_approved(scene: Scene, letter: Letter) -> Shown:
    """A recipient shows more records than it told its relay that it would."""
    less = Disclosure.make(letter.envelope.manifest, opened(scene, letter, RECIPIENT)[1], [1])
    raw = approval(scene, letter, disclosure_digest=less.digest, record_count=2)
    file = disclosed(scene, letter).raw
    return shown(scene, letter, file, approvals=[raw], check="disclosure 1 approved")


@attack(FELLOW, {Judge.PEER_RELAY: Reason.NOT_ADDRESSED})
def approved_by_a_stranger(scene: Scene, letter: Letter) -> Shown:
    """An agency that the message was not for got hold of it, shows it, and wants that logged as lawful."""
    return logged_at_peer(scene, letter, approval(scene, letter, SECOND), caller=SECOND)


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_SIGNATURE})
def approval_made_up(scene: Scene, letter: Letter) -> Shown:
    """A relay that leaked records signs an approval with its own keys and logs it; the recipient is to have done it."""
    raw = approval(scene, letter, keys=EpochKeys.make(1, suites=(scene.suite,)))
    return shown(scene, letter, disclosed(scene, letter).raw, approvals=[raw])


# Attestations


def attestation(
    scene: Scene, said: Content, signer: str = COLLEAGUE, keys: EpochKeys | None = None, **parts: object
) -> bytes:
    """A supervisor's signature about content, but for some parts: commitment, now, usage."""
    head = header(scene, said)
    made = Attestation.sign(
        parts.get("commitment") or head.content_commitment,
        AttestationRole.SUPERVISOR,
        scene.suite,
        scene.bundle(signer),
        scene.keys(signer),
        now=parts.get("now") or scene.now,
    )
    if keys is None and "usage" not in parts:
        return made.raw
    key = (keys or scene.keys(signer)).signing[scene.suite.number, parts.get("usage", KeyUsage.ATTESTATION)]
    payload = made.dsse.payload
    return Dsse.make(TYPE_ATTESTATION, payload, [(key.sign(TYPE_ATTESTATION, payload), "")]).raw


def attested(scene: Scene, *makers: Callable[[Content], bytes]) -> Shown:
    """Seal content with each attestation and put it before everybody."""
    raws = []
    for make in makers:
        said = content()
        whole = said.attested([make(said)])
        raws.append(sealed(scene, header(scene, whole), whole))
    return scene.shown(*raws)


@attack(AGENCY, {**everyone(PASSES), Judge.RECIPIENT: Reason.BAD_SIGNATURE})
def attestation_forged(scene: Scene, letter: Letter) -> Shown:
    """An agency seals a colleague's signature that was given to other content, or never, or for another use."""
    return attested(
        scene,
        lambda said: attestation(scene, said, commitment=scene.other.envelope.header.content_commitment),
        lambda said: attestation(scene, said, keys=scene.keys(SENDER)),
        lambda said: attestation(scene, said, usage=KeyUsage.MANIFEST),
    )


@attack(AGENCY, {Judge.RECIPIENT: Reason.BAD_SIGNATURE, Judge.AUDITOR: Reason.NOT_YET_VALID})
def attestation_given_afterwards(scene: Scene, letter: Letter) -> Shown:
    """An agency seals a supervisor's signature that is dated after the message; nobody answered for it when it left.

    A recipient has one word for all attestations that do not hold; an auditor, to whom it is shown, says why.
    """
    said = content()
    whole = said.attested([attestation(scene, said, now=scene.now + HOUR)])
    raw = sealed(scene, header(scene, whole), whole)
    file = Disclosure.make(Envelope.parse(raw).manifest, whole, [1], attested=True)

    def audited() -> Answer:
        message = scene.file_of(raw, None, COLLEAGUE)
        message.disclosures.append(file.raw)
        return scene.judged(message)

    return {Judge.RECIPIENT: lambda: scene.delivered(RECIPIENT, raw), Judge.AUDITOR: audited}
