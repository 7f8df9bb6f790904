"""Attacks by an agency on keys: its own bundles, the time they hold, the KEKs it gives out, and batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from attacks import epochs, forging
from attacks.epochs import HOUR
from attacks.forging import CONTENT_KEY, DAY, body_of, content, header, sealed, signed
from attacks.scene import COLLEAGUE, FELLOW, HOME, PEER, Letter, Scene, alike
from attacks.table import NOTHING, PASSES, Adversary, Judge, Shown, attack, everyone
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import certificates, wire
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.dsse import TYPE_BATCH, TYPE_KEYBUNDLE, TYPE_MANIFEST, Dsse, batch_payload, pae
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.header import Recipient
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.manifest import Manifest
from infoexchange.states import OpStatus
from infoexchange.suites import CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH, Suite
from infoexchange.v1 import bundle_pb2, envelope_pb2
from infoexchange.wrap import EPOCH_KEK_NOTICE, EpochKek

AGENCY = Adversary.AGENCY
SMALL_ORDER = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


# Bundles


def issued(scene: Scene, change: Callable[[bundle_pb2.KeyBundle], object], name: str = SENDER) -> KeyBundle:
    """An agency's own bundle with something changed before it was signed."""
    member = scene.member(name)
    message = bundle_pb2.KeyBundle.FromString(member.bundle.dsse.payload)
    change(message)
    payload = message.SerializeToString(deterministic=True)
    dsse = Dsse.make(TYPE_KEYBUNDLE, payload, member.identity.key.sign(TYPE_KEYBUNDLE, payload))
    return KeyBundle.parse(dsse.raw, member.certificates, (member.crl,))


def presented(scene: Scene, *makers: Callable[[], KeyBundle], caller: str = SENDER) -> Shown:
    """Present bundles at the owner's relay, and with an envelope sealed under each to recipient and auditor."""

    def under(make: Callable[[], KeyBundle]) -> tuple[bytes, KeyBundle]:
        bundle, said = make(), content()
        return sealed(scene, header(scene, said, sender_bundle=bundle.digest), said), bundle

    def delivered(make: Callable[[], KeyBundle]) -> object:
        raw, bundle = under(make)
        return scene.delivered(RECIPIENT, raw, bundles=[bundle])

    def audited(make: Callable[[], KeyBundle]) -> object:
        raw, bundle = under(make)
        return scene.audited(raw, bundles=[bundle])

    return {
        Judge.OWN_RELAY: alike(makers, lambda make: scene.fresh[HOME].decide_bundle(scene.party(caller), make())),
        Judge.PEER_RELAY: alike(makers, lambda make: scene.fresh[PEER].decide_bundle(scene.party(HOME), make())),
        Judge.RECIPIENT: alike(makers, delivered),
        Judge.AUDITOR: alike(makers, audited),
    }


def weak_keys(suite: Suite) -> list[bytes]:
    """Public signing keys of a suite under which signatures mean nothing, or more than one thing."""
    good = suite.signing_public(bytes(suite.signing_secret_size))
    if suite in (CLASSICAL, HYBRID, HYBRID_KEM):
        return [good[:-32] + point for point in (SMALL_ORDER, bytes(32), b"\x01" + bytes(31))]
    first = 2592 if suite is NIST_HIGH else 0  # bytes of ML-DSA-87 before the point
    infinity, compressed = b"\x00", b"\x02" + good[first + 1 : first + (len(good) - first) // 2 + 1]
    return [good[:first] + infinity, good[:first] + compressed, good[:-1] + bytes([good[-1] ^ 1])]


@attack(AGENCY, everyone(Reason.BAD_CERTIFICATE))
def small_order_keys(scene: Scene, letter: Letter) -> Shown:
    """An agency publishes a key of small order, or no point at all, to sign with; it wants to disown what it signs."""

    def with_key(public: bytes) -> Callable[[bundle_pb2.KeyBundle], object]:
        def change(message: bundle_pb2.KeyBundle) -> None:
            for key in message.sig_keys:
                if (key.suite, key.usage) == (scene.suite.number, KeyUsage.MANIFEST):
                    key.public_key = public

        return change

    return presented(scene, *(lambda k=k: issued(scene, with_key(k)) for k in weak_keys(scene.suite)))


@attack(AGENCY, everyone(Reason.BAD_CERTIFICATE))
def key_to_seal_to_that_is_none(scene: Scene, letter: Letter) -> Shown:
    """An agency publishes a key to seal to that gives everybody the same secret; it wants its mail to be read."""

    def change(message: bundle_pb2.KeyBundle) -> None:
        for key in message.enc_keys:
            if key.suite == scene.suite.number:
                # All zeros: no point of a prime-order curve, and the all-zero secret of X25519.
                key.public_key = key.public_key[:-32] + bytes(32)

    return presented(scene, lambda: issued(scene, change))


@attack(AGENCY, everyone(Reason.BAD_CERTIFICATE))
def one_key_for_two_purposes(scene: Scene, letter: Letter) -> Shown:
    """An agency uses its manifest key for statements too; it wants to pass one for the other."""

    def change(message: bundle_pb2.KeyBundle) -> None:
        own = [key for key in message.sig_keys if key.suite == scene.suite.number]
        own[1].public_key = own[0].public_key

    return presented(scene, lambda: issued(scene, change))


@attack(AGENCY, everyone(Reason.BAD_FIELD))
def bundle_for_too_long(scene: Scene, letter: Letter) -> Shown:
    """An agency gives its bundle a time of use of 31 days, or offers a suite without all the keys of it."""

    def longer(message: bundle_pb2.KeyBundle) -> None:
        message.not_after_ms += 24 * 3600 * 1000

    def less(message: bundle_pb2.KeyBundle) -> None:
        keep = [k for k in message.sig_keys if (k.suite, k.usage) != (scene.suite.number, KeyUsage.MANIFEST)]
        del message.sig_keys[:]
        message.sig_keys.extend(keep)

    def more(message: bundle_pb2.KeyBundle) -> None:
        message.accept_suites.append(0x01F0)

    return presented(scene, *(lambda c=c: issued(scene, c) for c in (longer, less, more)))


@attack(AGENCY, {Judge.OWN_RELAY: Reason.NOT_PERMITTED})
def another_agencys_bundle_published(scene: Scene, letter: Letter) -> Shown:
    """An agency publishes the bundle of another one, an old one perhaps; it wants to choose what is sealed to."""
    return {
        Judge.OWN_RELAY: lambda: scene.fresh[HOME].decide_bundle(scene.party(COLLEAGUE), scene.bundle(SENDER)),
    }


@attack(AGENCY, everyone(Reason.BAD_CERTIFICATE))
def bundle_in_anothers_name(scene: Scene, letter: Letter) -> Shown:
    """An agency signs a bundle in another's name, with its own certificates or the other's, and a relay helps it."""

    def forged(certs: Sequence[bytes]) -> KeyBundle:
        made = issued(scene, lambda m: setattr(m, "owner", SENDER), COLLEAGUE)
        return KeyBundle.parse(made.raw, certs, made.crls)

    owners = (scene.member(COLLEAGUE).certificates, scene.member(SENDER).certificates)
    return presented(scene, *(lambda c=c: forged(c) for c in owners))


# Time


@attack(AGENCY, {Judge.OWN_RELAY: Reason.STALE_BUNDLE, Judge.PEER_RELAY: PASSES, Judge.RECIPIENT: PASSES})
def dated_back_into_an_old_bundle(scene: Scene, letter: Letter) -> Shown:
    """A thief holds keys of a bundle that is over, and dates an envelope back into its time.

    Its own relay alone sees when it came. All others must take it for one that was long on its way; what the relay
    logged says when it was not yet there.
    """
    old = epochs.second(scene, SENDER, lasts=HOUR)
    short = old.bundle
    said = content()
    raw = sealed(scene, header(scene, said, sender_bundle=short.digest), said, by=old.keys)
    home, peer = scene.fresh_node(HOME), scene.fresh_node(PEER)
    for node, caller in ((home, SENDER), (peer, HOME)):
        node.commit([node.decide_bundle(scene.party(caller), short)])

    def later(call: Callable[[], object]) -> object:
        with scene.at(scene.now + 2 * HOUR):
            return call()

    return {
        Judge.OWN_RELAY: lambda: later(lambda: home.decide(scene.party(SENDER), raw)),
        Judge.PEER_RELAY: lambda: later(lambda: peer.decide(scene.party(HOME), raw)),
        Judge.RECIPIENT: lambda: later(lambda: scene.delivered(RECIPIENT, raw, bundles=[short])),
    }


@attack(AGENCY, everyone(Reason.REVOKED))
def revoked(scene: Scene, letter: Letter) -> Shown:
    """A thief signs with an agency's keys after its nation withdrew the certificate; it wants to be that agency."""
    member, ca = scene.member(SENDER), scene.exchange.community.cas["th"]
    leaf = certificates.verify_leaf(member.certificates[0], (ca.certificate,), scene.now)
    crl = ca.crl(now=scene.now, revoked=[(leaf.serial, scene.now)])
    withdrawn = KeyBundle.parse(member.bundle.raw, member.certificates, (crl,))
    said = content()
    raw = sealed(scene, header(scene, said), said)
    nodes = {}
    for name in (HOME, PEER):
        nodes[name] = scene.fresh_node(name)
        nodes[name].commit([nodes[name].decide_bundle(scene.party(HOME), withdrawn)])
    return {
        Judge.OWN_RELAY: lambda: nodes[HOME].decide(scene.party(SENDER), raw),
        Judge.PEER_RELAY: lambda: nodes[PEER].decide(scene.party(HOME), raw),
        Judge.RECIPIENT: lambda: scene.delivered(RECIPIENT, raw, bundles=[withdrawn]),
        Judge.AUDITOR: lambda: scene.audited(raw, bundles=[withdrawn]),
    }


@attack(AGENCY, {Judge.RECIPIENT: Reason.STALE_BUNDLE})
def sealed_to_keys_that_are_gone(scene: Scene, letter: Letter) -> Shown:
    """An agency seals to a bundle that the recipient never made or has destroyed, and claims that it was told."""
    said = content()
    right = header(scene, said)
    head = replace(right, recipients=(Recipient(RECIPIENT, scene.bundle(SECOND).digest),))
    wrap = forging.wrap(scene, head, RECIPIENT, bundle=scene.bundle(SECOND))
    return {
        Judge.RECIPIENT: lambda: scene.delivered(RECIPIENT, signed(scene, head, [wrap], body_of(head, said.raw))),
    }


# Epoch KEKs


def kek_of(scene: Scene, name: str, holder: str) -> EpochKek:
    """The KEK that the sender gave to one agency, as that agency holds it."""
    envelope = scene.letters[forging.EPOCH].envelope
    box = scene.exchange.mailbox(holder)
    [kek] = box._keks.needed(envelope).values()
    assert kek.recipient == name
    return kek


def under_kek(scene: Scene, kek: EpochKek, *, name: bytes = b"", wrapped: bytes = b"", **fields) -> bytes:
    """An envelope of the sender's to the recipient under a KEK, whatever that KEK is for."""
    said = content()
    recipients = (Recipient(RECIPIENT, epoch_kek=name or kek.name),)
    head = header(scene, said, **{"recipients": recipients, **fields})
    epoch_wrap = wrapped or kek.wrap(CONTENT_KEY, sha256(head.raw).digest())
    return signed(scene, head, [], body_of(head, said.raw), epoch_wraps=[epoch_wrap], by=head.sender)


ONLY_INSIDE = {**everyone(PASSES), Judge.RECIPIENT: Reason.BAD_CIPHERTEXT}


@attack(AGENCY, ONLY_INSIDE)
def garbage_under_a_kek(scene: Scene, letter: Letter) -> Shown:
    """An agency names the KEK it shares with the recipient and wraps rubbish; it wants to have told it, on paper."""
    kek = kek_of(scene, RECIPIENT, RECIPIENT)
    return scene.shown(*(under_kek(scene, kek, wrapped=bad) for bad in (bytes(48), b"\xff" * 48)))


@attack(AGENCY, ONLY_INSIDE)
def kek_of_another_sender(scene: Scene, letter: Letter) -> Shown:
    """An agency came by the KEK of another sender and seals with it in its own name."""
    kek = kek_of(scene, RECIPIENT, RECIPIENT)
    raw = under_kek(scene, kek, sender=COLLEAGUE, sender_bundle=scene.bundle(COLLEAGUE).digest)
    return scene.shown(raw, caller=COLLEAGUE)


@attack(AGENCY, {**everyone(PASSES), Judge.RECIPIENT: Reason.STALE_BUNDLE})
def kek_shared_with_somebody_else(scene: Scene, letter: Letter) -> Shown:
    """An agency seals to one recipient under the KEK it shares with another, who could then open it too."""
    return scene.shown(under_kek(scene, kek_of(scene, FELLOW, FELLOW)))


@attack(AGENCY, ONLY_INSIDE)
def kek_of_another_suite(scene: Scene, letter: Letter) -> Shown:
    """An agency uses a KEK that came in one suite for an envelope that says another, stronger or weaker."""
    other = HYBRID if scene.suite is not HYBRID else CLASSICAL
    kek, said = kek_of(scene, RECIPIENT, RECIPIENT), content()
    head = header(scene, said, suite=other.number, recipients=(Recipient(RECIPIENT, epoch_kek=kek.name),))
    epoch_wrap = kek.wrap(CONTENT_KEY, sha256(head.raw).digest())
    return scene.shown(signed(scene, head, [], body_of(head, said.raw), epoch_wraps=[epoch_wrap], suite=other))


@attack(AGENCY, {Judge.PEER_RELAY: PASSES, Judge.RECIPIENT: Reason.STALE_BUNDLE})
def kek_beyond_its_time(scene: Scene, letter: Letter) -> Shown:
    """An agency goes on with a KEK when the epoch is over in which it was given; keys are to live for ever."""
    kek, member, said = kek_of(scene, RECIPIENT, RECIPIENT), scene.member(SENDER), content()
    late = kek.not_after + timedelta(hours=1)
    keys = EpochKeys.make(2, suites=(scene.suite,))
    identity = replace(member.identity, epochs=(keys, *member.identity.epochs))
    next_bundle = KeyBundle.issue(identity, member.certificates, (member.crl,), now=late, previous=member.bundle)
    head = header(
        scene,
        said,
        recipients=(Recipient(RECIPIENT, epoch_kek=kek.name),),
        sender_bundle=next_bundle.digest,
        created_at=late,
        expires_at=late + DAY,
    )
    epoch_wrap = kek.wrap(CONTENT_KEY, sha256(head.raw).digest())
    raw = signed(scene, head, [], body_of(head, said.raw), by=keys, epoch_wraps=[epoch_wrap])

    def at_peer() -> object:
        with scene.at(late):
            node = scene.fresh_node(PEER)
            node.commit([node.decide_bundle(scene.party(HOME), next_bundle)])
            return node.decide(scene.party(HOME), raw)

    def delivered() -> object:
        with scene.at(late):
            return scene.delivered(RECIPIENT, raw, bundles=[next_bundle])

    return {Judge.PEER_RELAY: at_peer, Judge.RECIPIENT: delivered}


def notice(scene: Scene, *, to: Sequence[str] = (RECIPIENT,), **fields) -> bytes:
    """An envelope that brings a KEK."""
    said = Content.make(EPOCH_KEK_NOTICE, EpochKek.notice(scene.now + DAY))
    return sealed(scene, header(scene, said, to=to, **{"op_status": OpStatus.SYSTEM, **fields}), said)


@attack(AGENCY, {**everyone(PASSES), Judge.RECIPIENT: Reason.BAD_FIELD})
def one_kek_for_two(scene: Scene, letter: Letter) -> Shown:
    """An agency gives two recipients one KEK, each of whom could then open what is for the other alone."""
    assert scene.delivered(RECIPIENT, notice(scene)) is NOTHING  # one for it alone is kept, and nothing handed out
    return scene.shown(notice(scene, to=[RECIPIENT, SECOND]))


@attack(AGENCY, {**everyone(PASSES), Judge.RECIPIENT: Reason.BAD_FIELD})
def kek_in_an_ordinary_message(scene: Scene, letter: Letter) -> Shown:
    """An agency marks an envelope with a KEK as a real event; it wants a FLASH that no application ever sees."""
    return scene.shown(notice(scene, op_status=OpStatus.ACTUAL))


# Batches


def batched(payloads: Sequence[bytes], keys: EpochKeys, suite: Suite) -> list[Dsse]:
    """Manifests under one signature of anybody's keys."""
    covered, proofs = batch_payload([pae(TYPE_MANIFEST, payload) for payload in payloads])
    signer = keys.signer(suite, KeyUsage.MANIFEST)
    pair = (signer.sign(TYPE_BATCH, covered), signer.key_id)
    return [Dsse.make(TYPE_MANIFEST, p, [pair], proof) for p, proof in zip(payloads, proofs, strict=True)]


@attack(AGENCY, {**everyone(Reason.BAD_SIGNATURE)})
def anothers_manifest_in_the_own_batch(scene: Scene, letter: Letter) -> Shown:
    """An agency puts another's manifest into a batch of its own and signs the root; it wants to vouch for it."""
    said = content()
    head = header(scene, said, sender=COLLEAGUE)
    own = Envelope.parse(sealed(scene, head, said, by=COLLEAGUE))
    payloads = [letter.envelope.manifest.dsse.payload, own.manifest.dsse.payload]
    taken, _ = batched(payloads, scene.keys(COLLEAGUE), scene.suite)
    return scene.shown(forging.changed(letter.raw, lambda m: m.manifest.CopyFrom(taken.to_wire())))


@attack(AGENCY, everyone(Reason.BAD_SIGNATURE))
def batch_of_two_suites(scene: Scene, letter: Letter) -> Shown:
    """An agency signs envelopes of two suites under one root in the weaker one."""
    other = HYBRID if scene.suite is not HYBRID else CLASSICAL
    said = content()
    heads = [header(scene, said), header(scene, said, suite=other.number, message_id=bytes(16))]
    mine = Envelope.parse(sealed(scene, heads[0], said))
    payloads = [mine.manifest.dsse.payload, Manifest.draw_up(heads[1].raw, [bytes(32)], [], b"")]
    first, _ = batched(payloads, scene.keys(SENDER), other)
    return scene.shown(forging.changed(mine.raw, lambda m: m.manifest.CopyFrom(first.to_wire())))


@attack(AGENCY, everyone(Reason.BAD_SIGNATURE))
def root_signed_as_a_manifest(scene: Scene, letter: Letter) -> Shown:
    """An agency signs the root without the type of a batch, or one manifest as if it were a root."""
    said = content()
    mine = Envelope.parse(sealed(scene, header(scene, said), said))
    payloads = [mine.manifest.dsse.payload] * 2
    covered, proofs = batch_payload([pae(TYPE_MANIFEST, payload) for payload in payloads])
    signer = scene.keys(SENDER).signer(scene.suite, KeyUsage.MANIFEST)
    forms = [(signer.sign(TYPE_MANIFEST, covered), proofs[0]), (signer.sign(TYPE_BATCH, payloads[0]), None)]
    return scene.shown(*(_with(mine, signature, proof) for signature, proof in forms))


def _with(envelope: Envelope, signature: bytes, proof: object) -> bytes:
    dsse = Dsse.make(TYPE_MANIFEST, envelope.manifest.dsse.payload, [(signature, "")], proof)
    wraps = [wrap.raw for wrap in envelope.wraps]
    return wire.canonical(envelope_pb2.Envelope(manifest=dsse.to_wire(), wraps=wraps, body=envelope.body))
