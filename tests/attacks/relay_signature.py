"""Attacks by a relay on what is signed and on the signature: it holds no key that signs, and all that passes."""

from __future__ import annotations

from attacks.forging import DAY, changed, with_header, with_signature
from attacks.scene import Letter, Scene
from attacks.table import EVERY, Adversary, Kind, Shown, attack, everyone
from infoexchange import wire
from infoexchange.errors import Reason
from infoexchange.states import OpStatus, Precedence
from infoexchange.suites import CLASSICAL, HYBRID, NIST_HIGH, Suite
from infoexchange.v1 import envelope_pb2

RELAY = Adversary.RELAY
REFUSED = everyone(Reason.BAD_SIGNATURE)
ALONE = (Kind.SINGLE, Kind.SEVERAL, Kind.EPOCH_KEK, Kind.BLIND)  # signed for itself
Wire = envelope_pb2.Envelope


def split_of(suite: Suite, signature: bytes) -> int:
    """Where the second half of a composite signature begins; the middle of any other."""
    return {HYBRID.number: 3309, NIST_HIGH.number: 4627}.get(suite.number, len(signature) // 2)


# What the header says


@attack(RELAY, REFUSED, kinds=EVERY)
def exercise_made_actual(scene: Scene, letter: Letter) -> Shown:
    """A relay marks an exercise as a real event; it wants people and ships to move."""
    return scene.shown(with_header(letter.raw, lambda h: setattr(h, "op_status", int(OpStatus.ACTUAL))))


@attack(RELAY, REFUSED, kinds=EVERY)
def precedence_raised(scene: Scene, letter: Letter) -> Shown:
    """A relay marks routine traffic as FLASH; it wants it to overtake what others send."""
    return scene.shown(with_header(letter.raw, lambda h: setattr(h, "precedence", int(Precedence.FLASH))))


@attack(RELAY, REFUSED, kinds=EVERY)
def life_prolonged(scene: Scene, letter: Letter) -> Shown:
    """A relay moves the expiry; it wants to deliver when the sender no longer expects it."""
    later = wire.to_ms(scene.now + 80 * DAY)
    return scene.shown(with_header(letter.raw, lambda h: setattr(h, "expires_ms", later)))


@attack(RELAY, REFUSED, kinds=EVERY)
def date_changed(scene: Scene, letter: Letter) -> Shown:
    """A relay changes when the envelope was made, back or forth; it wants it judged by another time."""
    forms = [
        with_header(letter.raw, lambda h, by=by: setattr(h, "created_ms", h.created_ms + by))
        for by in (-60_000, 60_000)
    ]
    return scene.shown(*forms)


@attack(RELAY, REFUSED, kinds=EVERY)
def message_id_changed(scene: Scene, letter: Letter) -> Shown:
    """A relay gives an envelope another message id; it wants a copy to get past whoever remembers the first."""
    return scene.shown(with_header(letter.raw, lambda h: setattr(h, "message_id", bytes(16))))


@attack(RELAY, REFUSED, kinds=EVERY)
def gap_hidden(scene: Scene, letter: Letter) -> Shown:
    """A relay has dropped an envelope and renumbers the next; it wants nobody to see the gap."""

    def change(header: envelope_pb2.Header) -> None:
        header.sequence += 1
        header.previous = scene.other.envelope.digest[::-1]

    return scene.shown(with_header(letter.raw, change))


@attack(RELAY, REFUSED, kinds=EVERY)
def commitment_exchanged(scene: Scene, letter: Letter) -> Shown:
    """A relay puts in the commitment of another envelope; it wants the recipient's statement to speak of that one."""
    other = scene.other.envelope.header.content_commitment
    return scene.shown(with_header(letter.raw, lambda h: setattr(h, "content_commitment", other)))


# The signature


@attack(RELAY, everyone(Reason.BAD_FIELD), kinds=EVERY)
def signature_removed(scene: Scene, letter: Letter) -> Shown:
    """A relay strips the signature, whole; it wants unsigned envelopes to be taken for old or plain ones."""
    return scene.shown(changed(letter.raw, lambda m: m.manifest.ClearField("signatures")))


@attack(RELAY, REFUSED, kinds=EVERY)
def signature_emptied(scene: Scene, letter: Letter) -> Shown:
    """A relay leaves a signature of no bytes, or of zeros; it wants a verifier that compares nothing."""
    return scene.shown(with_signature(letter.raw, lambda s: b""), with_signature(letter.raw, lambda s: bytes(len(s))))


@attack(RELAY, REFUSED, kinds=EVERY)
def half_a_signature_removed(scene: Scene, letter: Letter) -> Shown:
    """A relay strips one half of a composite signature; it wants to break only the other algorithm, later."""
    return scene.shown(
        with_signature(letter.raw, lambda s: s[split_of(scene.suite, s) :]),
        with_signature(letter.raw, lambda s: s[: split_of(scene.suite, s)]),
    )


@attack(RELAY, REFUSED, kinds=EVERY)
def half_a_signature_zeroed(scene: Scene, letter: Letter) -> Shown:
    """A relay blanks one half of a composite signature and keeps the length; it wants one half to do."""

    def blanked(signature: bytes, *, first: bool) -> bytes:
        at = split_of(scene.suite, signature)
        return bytes(at) + signature[at:] if first else signature[:at] + bytes(len(signature) - at)

    return scene.shown(*(with_signature(letter.raw, lambda s, f=f: blanked(s, first=f)) for f in (True, False)))


@attack(RELAY, REFUSED, kinds=EVERY)
def halves_of_two_signatures_joined(scene: Scene, letter: Letter) -> Shown:
    """A relay joins halves of the sender's signatures under two envelopes; it wants each half to vouch for one."""
    [other] = scene.other.envelope.manifest.dsse.signatures
    at = split_of(scene.suite, other)
    return scene.shown(
        with_signature(letter.raw, lambda s: s[:at] + other[at:]),
        with_signature(letter.raw, lambda s: other[:at] + s[at:]),
    )


@attack(RELAY, REFUSED, kinds=EVERY)
def signature_of_another_envelope(scene: Scene, letter: Letter) -> Shown:
    """A relay puts the sender's signature under another envelope; it wants any good signature to do."""
    [other] = scene.other.envelope.manifest.dsse.signatures
    return scene.shown(with_signature(letter.raw, lambda s: other))


@attack(RELAY, everyone(Reason.BAD_FIELD), kinds=EVERY)
def second_signature_added(scene: Scene, letter: Letter) -> Shown:
    """A relay adds a signature beside the good one; it wants readers to disagree about which one counts."""
    return scene.shown(changed(letter.raw, lambda m: m.manifest.signatures.add(sig=bytes(64))))


# The suite


@attack(RELAY, REFUSED, kinds=EVERY)
def suite_lowered(scene: Scene, letter: Letter) -> Shown:
    """A relay writes the number of the weakest suite, or from that one the next, and keeps the half that fits it."""
    number = 3 if scene.suite is CLASSICAL else CLASSICAL.number
    lowered = with_header(letter.raw, lambda h: setattr(h, "suite", number))
    return scene.shown(lowered, with_signature(lowered, lambda s: s[split_of(scene.suite, s) :]))


@attack(RELAY, everyone(Reason.SUITE_NOT_ACCEPTED), kinds=EVERY)
def suite_of_nobody(scene: Scene, letter: Letter) -> Shown:
    """A relay writes a number that no suite has; it wants a reader to fall back to something."""
    return scene.shown(*(with_header(letter.raw, lambda h, n=n: setattr(h, "suite", n)) for n in (0, 5, 0x0100)))


@attack(RELAY, everyone(Reason.UNKNOWN_VERSION), kinds=EVERY)
def version_lowered(scene: Scene, letter: Letter) -> Shown:
    """A relay writes an older or newer version; it wants it read by other rules."""
    return scene.shown(*(with_header(letter.raw, lambda h, n=n: setattr(h, "version", n)) for n in (0, 2)))


@attack(RELAY, everyone(Reason.BAD_FIELD), kinds=EVERY)
def type_exchanged(scene: Scene, letter: Letter) -> Shown:
    """A relay writes another type on the container; it wants a manifest read as something else, or unread."""
    kinds = ("application/vnd.infoexchange.batch.v1+protobuf", "application/json", "")
    return scene.shown(*(changed(letter.raw, lambda m, k=k: setattr(m.manifest, "payload_type", k)) for k in kinds))


# The batch


@attack(RELAY, REFUSED, kinds=(Kind.BATCH,))
def batch_proof_removed(scene: Scene, letter: Letter) -> Shown:
    """A relay strips the way to the batch's root; it wants the batch's signature to stand for the envelope."""
    return scene.shown(changed(letter.raw, lambda m: m.manifest.ClearField("batch")))


@attack(RELAY, REFUSED, kinds=(Kind.BATCH,))
def batch_proof_of_a_sibling(scene: Scene, letter: Letter) -> Shown:
    """A relay gives an envelope another place in its batch; it wants one envelope to stand for two."""
    return scene.shown(*(changed(letter.raw, lambda m, i=i: setattr(m.manifest.batch, "index", i)) for i in (0,)))


@attack(RELAY, REFUSED, kinds=(Kind.BATCH,))
def batch_path_altered(scene: Scene, letter: Letter) -> Shown:
    """A relay changes a hash on the way to the root; it wants another root."""
    return scene.shown(changed(letter.raw, lambda m: m.manifest.batch.path.__setitem__(0, bytes(32))))


@attack(RELAY, REFUSED, kinds=(Kind.BATCH,))
def batch_grown(scene: Scene, letter: Letter) -> Shown:
    """A relay writes a larger count, for which the path has the right length too; it wants room for one of its own."""
    return scene.shown(changed(letter.raw, lambda m: setattr(m.manifest.batch, "count", 4)))


@attack(RELAY, everyone(Reason.BAD_FIELD), kinds=(Kind.BATCH,))
def batch_path_that_fits_no_tree(scene: Scene, letter: Letter) -> Shown:
    """A relay shortens or lengthens the path, or writes a place or count that no batch has."""
    changes = (
        lambda m: m.manifest.batch.path.pop(),
        lambda m: m.manifest.batch.path.append(bytes(32)),
        lambda m: setattr(m.manifest.batch, "index", 3),
        lambda m: setattr(m.manifest.batch, "count", 1),
        lambda m: setattr(m.manifest.batch, "count", 257),
    )
    return scene.shown(*(changed(letter.raw, change) for change in changes))


@attack(RELAY, REFUSED, kinds=ALONE)
def batch_proof_added(scene: Scene, letter: Letter) -> Shown:
    """A relay adds the way of another envelope to a root, with the signature over it; both are the sender's own."""
    batched = scene.letters[Kind.BATCH].envelope.manifest.dsse

    def change(message: Wire) -> None:
        message.manifest.batch.CopyFrom(batched.to_wire().batch)
        message.manifest.signatures[0].sig = batched.signatures[0]

    return scene.shown(changed(letter.raw, change))
