"""Attacks by a relay on the parts of an envelope: it holds no key, and everything passes through its hands."""

from __future__ import annotations

from hashlib import sha256

from attacks import forging
from attacks.forging import changed
from attacks.scene import COLLEAGUE, RECIPIENTS, Letter, Scene
from attacks.table import EVERY, LISTED, PASSES, WRAPPED, Adversary, Judge, Kind, Shown, attack, everyone
from conftest import RECIPIENT
from infoexchange.envelope import ENVELOPE_SIZE_MAX
from infoexchange.errors import Reason
from infoexchange.v1 import envelope_pb2

RELAY = Adversary.RELAY
REFUSED = everyone(Reason.BAD_SIGNATURE)
UNSIGNED_WRAPS = (Kind.SEVERAL, Kind.BATCH, Kind.BLIND)  # more than one wrap
Wire = envelope_pb2.Envelope


def wrap_of(message: Wire, name: str) -> int:
    """The place of an agency's wrap."""
    names = [envelope_pb2.RecipientWrap.FromString(raw).recipient for raw in message.wraps]
    return names.index(name)


# The body


@attack(RELAY, REFUSED, kinds=EVERY)
def body_altered(scene: Scene, letter: Letter) -> Shown:
    """A relay changes one bit of the ciphertext; it wants the recipient to read something else."""
    return scene.shown(changed(letter.raw, lambda m: setattr(m, "body", bytes([m.body[0] ^ 1]) + m.body[1:])))


@attack(RELAY, REFUSED, kinds=EVERY)
def body_cut_short(scene: Scene, letter: Letter) -> Shown:
    """A relay cuts off the end of the ciphertext; it wants the beginning to be read as the whole."""
    return scene.shown(
        changed(letter.raw, lambda m: setattr(m, "body", m.body[:-1])),
        changed(letter.raw, lambda m: setattr(m, "body", m.body[:56])),
        changed(letter.raw, lambda m: setattr(m, "body", b"")),
    )


@attack(RELAY, REFUSED, kinds=EVERY)
def body_lengthened(scene: Scene, letter: Letter) -> Shown:
    """A relay appends bytes to the ciphertext; it wants to smuggle a mark to a later hop."""
    return scene.shown(changed(letter.raw, lambda m: setattr(m, "body", m.body + b"\x00")))


@attack(RELAY, REFUSED, kinds=EVERY)
def bodies_mixed_up(scene: Scene, letter: Letter) -> Shown:
    """A relay holds two envelopes of one sender and exchanges their bodies; each is to be read for the other."""
    return scene.shown(changed(letter.raw, lambda m: setattr(m, "body", scene.other.envelope.body)))


# The wraps


@attack(RELAY, REFUSED, kinds=WRAPPED)
def wrap_readdressed(scene: Scene, letter: Letter) -> Shown:
    """A relay writes another agency's name on a wrap; it wants the envelope delivered to that agency."""

    def change(message: Wire) -> None:
        wrap = envelope_pb2.RecipientWrap.FromString(message.wraps[0])
        wrap.recipient = COLLEAGUE
        message.wraps[0] = wrap.SerializeToString(deterministic=True)

    return scene.shown(changed(letter.raw, change))


@attack(RELAY, REFUSED, kinds=WRAPPED)
def wrap_of_another_envelope(scene: Scene, letter: Letter) -> Shown:
    """A relay puts in the recipient's wrap of another envelope; it wants the wrong key to be tried."""

    def change(message: Wire) -> None:
        message.wraps[wrap_of(message, RECIPIENT)] = scene.other.envelope.wraps[0].raw

    return scene.shown(changed(letter.raw, change))


@attack(RELAY, REFUSED, kinds=WRAPPED)
def wrap_sealed_anew(scene: Scene, letter: Letter) -> Shown:
    """A relay seals a content key of its own to the recipient's public key; it wants to choose what is read."""

    def change(message: Wire) -> None:
        message.wraps[wrap_of(message, RECIPIENT)] = forging.wrap(scene, letter.envelope.header, RECIPIENT)

    return scene.shown(changed(letter.raw, change))


@attack(RELAY, REFUSED, kinds=UNSIGNED_WRAPS)
def wraps_swapped(scene: Scene, letter: Letter) -> Shown:
    """A relay changes the order of the wraps; it wants two forms of one envelope to be about."""
    return scene.shown(changed(letter.raw, lambda m: m.wraps.__setitem__(slice(None), list(m.wraps)[::-1])))


@attack(RELAY, REFUSED, kinds=WRAPPED)
def wrap_doubled(scene: Scene, letter: Letter) -> Shown:
    """A relay puts one wrap in twice; it wants readers to disagree about which one counts."""
    return scene.shown(changed(letter.raw, lambda m: m.wraps.insert(0, m.wraps[0])))


@attack(
    RELAY,
    {**REFUSED, Judge.RECIPIENT: Reason.NOT_ADDRESSED, Judge.AUDITOR: PASSES},
    kinds=WRAPPED,
    otherwise={Kind.BLIND: {Judge.OWN_RELAY: PASSES, Judge.PEER_RELAY: PASSES}},
)
def wrap_left_out(scene: Scene, letter: Letter) -> Shown:
    """A relay strips one recipient's wrap; it wants that agency to get nothing, and everybody to think it did.

    Wraps are left out on the way to whom they do not concern, so a file without one is no forgery. That a blind
    recipient is missing only the sender can see, who has no receipt that names it.
    """
    return scene.shown(changed(letter.raw, lambda m: m.wraps.pop(wrap_of(m, RECIPIENT))))


@attack(
    RELAY,
    {**everyone(Reason.NOT_ADDRESSED), Judge.AUDITOR: PASSES},
    kinds=(Kind.BLIND,),
)
def every_blind_wrap_left_out(scene: Scene, letter: Letter) -> Shown:
    """A relay strips all wraps of a blind envelope; it wants it accepted for nobody."""
    return scene.shown(changed(letter.raw, lambda m: m.ClearField("wraps")))


@attack(RELAY, REFUSED, kinds=(Kind.EPOCH_KEK,))
def epoch_wraps_swapped(scene: Scene, letter: Letter) -> Shown:
    """A relay exchanges the wrapped keys of two recipients; it wants both to fail and blame the sender."""

    def change(manifest: envelope_pb2.Manifest) -> None:
        manifest.epoch_wraps[0], manifest.epoch_wraps[1] = manifest.epoch_wraps[1], manifest.epoch_wraps[0]

    return scene.shown(forging.with_manifest(letter.raw, change))


@attack(RELAY, everyone(Reason.BAD_FIELD), kinds=(Kind.EPOCH_KEK,))
def epoch_wrap_left_out(scene: Scene, letter: Letter) -> Shown:
    """A relay strips the wrapped key of one recipient; it wants that agency shut out."""
    return scene.shown(forging.with_manifest(letter.raw, lambda m: m.epoch_wraps.pop()))


@attack(RELAY, REFUSED, kinds=(Kind.EPOCH_KEK,))
def epoch_kek_renamed(scene: Scene, letter: Letter) -> Shown:
    """A relay names another KEK for a recipient; it wants the key to be sought in vain."""
    return scene.shown(forging.with_header(letter.raw, lambda h: setattr(h.recipients[0], "epoch_kek", bytes(16))))


# Whom it is for


@attack(RELAY, REFUSED, kinds=LISTED)
def header_readdressed(scene: Scene, letter: Letter) -> Shown:
    """A relay writes another agency in the place of a recipient; it wants the envelope delivered there."""
    return scene.shown(forging.with_header(letter.raw, lambda h: setattr(h.recipients[0], "name", COLLEAGUE)))


@attack(RELAY, REFUSED, kinds=LISTED)
def recipient_added(scene: Scene, letter: Letter) -> Shown:
    """A relay adds an agency with a wrap of its own making; it wants it to look addressed."""
    wrap = forging.wrap(scene, letter.envelope.header, COLLEAGUE)

    def change(manifest: envelope_pb2.Manifest) -> None:
        header = envelope_pb2.Header.FromString(manifest.header)
        header.recipients.add(name=COLLEAGUE, bundle=scene.bundle(COLLEAGUE).digest)
        manifest.header = header.SerializeToString(deterministic=True)
        manifest.wrap_digests.append(sha256(wrap).digest())

    return scene.shown(changed(forging.with_manifest(letter.raw, change), lambda m: m.wraps.append(wrap)))


@attack(RELAY, REFUSED, kinds=(Kind.SEVERAL,))
def recipient_removed(scene: Scene, letter: Letter) -> Shown:
    """A relay strikes out a recipient with its wrap; it wants the others to think that they alone were told."""

    def change(manifest: envelope_pb2.Manifest) -> None:
        header = envelope_pb2.Header.FromString(manifest.header)
        header.recipients.pop()
        manifest.header = header.SerializeToString(deterministic=True)
        manifest.wrap_digests.pop()

    return scene.shown(changed(forging.with_manifest(letter.raw, change), lambda m: m.wraps.pop()))


@attack(RELAY, REFUSED, kinds=(Kind.BLIND,))
def blind_recipients_written_out(scene: Scene, letter: Letter) -> Shown:
    """A relay, which knows from the wraps whom it serves, writes their names into the header of a blind envelope."""

    def change(manifest: envelope_pb2.Manifest) -> None:
        header = envelope_pb2.Header.FromString(manifest.header)
        header.blind_recipients = False
        for name in [*RECIPIENTS, COLLEAGUE]:
            header.recipients.add(name=name, bundle=scene.bundle(name).digest)
        manifest.header = header.SerializeToString(deterministic=True)

    return scene.shown(forging.with_manifest(letter.raw, change))


@attack(RELAY, REFUSED, kinds=(Kind.SEVERAL,))
def recipients_blotted_out(scene: Scene, letter: Letter) -> Shown:
    """A relay makes an open envelope blind; it wants recipients not to learn who else knows."""

    def change(manifest: envelope_pb2.Manifest) -> None:
        header = envelope_pb2.Header.FromString(manifest.header)
        header.blind_recipients = True
        del header.recipients[:]
        manifest.header = header.SerializeToString(deterministic=True)
        manifest.wrap_digests[:] = sorted(manifest.wrap_digests)

    return scene.shown(forging.with_manifest(letter.raw, change))


# The form


@attack(RELAY, everyone(Reason.MALFORMED), kinds=EVERY)
def bytes_cut_off(scene: Scene, letter: Letter) -> Shown:
    """A relay stops in the middle of the bytes; it wants a half-read envelope to be acted upon."""
    return scene.shown(letter.raw[:-1], letter.raw[: len(letter.raw) // 2])


@attack(RELAY, everyone(Reason.NOT_CANONICAL), kinds=EVERY)
def unknown_field_slipped_in(scene: Scene, letter: Letter) -> Shown:
    """A relay adds fields that no version has, in the container and in what is signed; a later reader may see them."""
    unknown = b"\x7a\x01x"
    return scene.shown(letter.raw + unknown, forging.with_manifest(letter.raw, lambda m: m.MergeFromString(unknown)))


@attack(RELAY, everyone(Reason.NOT_CANONICAL), kinds=EVERY)
def same_meaning_other_bytes(scene: Scene, letter: Letter) -> Shown:
    """A relay writes the body twice, as protobuf allows; it wants two forms of one envelope, each with a digest."""
    return scene.shown(Wire(body=b"first").SerializeToString() + letter.raw)


@attack(RELAY, everyone(Reason.TOO_LARGE), kinds=EVERY)
def blown_up(scene: Scene, letter: Letter) -> Shown:
    """A relay appends bytes up to beyond the limit; it wants the readers' memory."""
    return scene.shown(letter.raw + bytes(ENVELOPE_SIZE_MAX))
