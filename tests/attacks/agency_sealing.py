"""Attacks by a sending agency on what it seals: it holds its own keys and a relay that knows no better."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from attacks import forging
from attacks.forging import CONTENT_KEY, DAY, body_of, content, header, sealed, signed, wraps_for
from attacks.relay_receipts import logged
from attacks.salamander import two_readings
from attacks.scene import COLLEAGUE, HOME, PEER, Letter, Scene
from attacks.table import PASSES, Adversary, Judge, Shown, attack, everyone
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import catalogue, wire
from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.header import Recipient
from infoexchange.keys import KeyUsage
from infoexchange.receipt import Receipt
from infoexchange.states import Event, OpStatus, Precedence
from infoexchange.suites import CLASSICAL, HYBRID
from infoexchange.v1 import content_pb2, envelope_pb2
from messages import officer_acknowledgement

AGENCY = Adversary.AGENCY
SIGNED_WELL = everyone(PASSES)  # all that can be seen without the recipient's key is in order
PAIR = [RECIPIENT, SECOND]


def only_inside(reason: Reason) -> dict[Judge, Reason | str]:
    """The recipient alone can see it; its signed refusal then tells everybody."""
    return {**SIGNED_WELL, Judge.RECIPIENT: reason}


# Whose it is


@attack(AGENCY, {**everyone(Reason.BAD_SIGNATURE), Judge.OWN_RELAY: Reason.NOT_PERMITTED})
def another_agencys_name(scene: Scene, letter: Letter) -> Shown:
    """An agency signs in the name of another one, whose bundle it names; it wants to be believed in its place."""
    said = content()
    raw = sealed(scene, header(scene, said, sender=SENDER), said, by=COLLEAGUE)
    return scene.shown(raw, caller=COLLEAGUE)


@attack(AGENCY, everyone(Reason.STALE_BUNDLE) | {Judge.RECIPIENT: Reason.UNAVAILABLE})
def another_agencys_bundle(scene: Scene, letter: Letter) -> Shown:
    """An agency names another one's bundle in its own envelope; it wants to deny it, for it did not sign with that.

    The recipient's library asks its relay for bundles of the sender and does not find this one among them; it tries
    again as long as the envelope lives, because a bundle may be published later.
    """
    said = content()
    head = header(scene, said, sender=COLLEAGUE, sender_bundle=scene.bundle(SENDER).digest)
    return scene.shown(sealed(scene, head, said, by=COLLEAGUE), caller=COLLEAGUE)


@attack(AGENCY, {Judge.OWN_RELAY: Reason.NOT_PERMITTED, Judge.PEER_RELAY: Reason.NOT_PERMITTED})
def anothers_envelope_submitted(scene: Scene, letter: Letter) -> Shown:
    """An agency got hold of another's envelope and submits it, to its own relay and to the recipient's."""
    return {
        Judge.OWN_RELAY: lambda: scene.fresh[HOME].decide(scene.party(COLLEAGUE), letter.raw),
        Judge.PEER_RELAY: lambda: scene.fresh[PEER].decide(scene.party(COLLEAGUE), letter.raw),
    }


@attack(AGENCY, everyone(Reason.BAD_SIGNATURE))
def key_of_another_purpose(scene: Scene, letter: Letter) -> Shown:
    """An agency signs with its key for statements, with its key of another suite, or with its identity key."""
    said = content()
    head = header(scene, said)
    other = HYBRID if scene.suite is not HYBRID else CLASSICAL
    wraps, body = wraps_for(scene, head, {RECIPIENT: CONTENT_KEY}), body_of(head, said.raw)
    payload = forging.payload_of(head, wraps, body)
    pairs = scene.member(SENDER).identity.key.sign(TYPE_MANIFEST, payload)
    return scene.shown(
        signed(scene, head, wraps, body, usage=KeyUsage.ACKNOWLEDGEMENT),
        signed(scene, head, wraps, body, suite=other),
        *(forging.enclosed(payload, signature, wraps, body) for signature, _ in pairs),
    )


@attack(AGENCY, dict.fromkeys((Judge.OWN_RELAY, Judge.PEER_RELAY, Judge.RECIPIENT), Reason.REPLAYED))
def message_id_used_twice(scene: Scene, letter: Letter) -> Shown:
    """An agency gives two envelopes one message id; it wants to say later that the other one was meant."""
    said = content(purpose="another exercise")
    second = sealed(scene, header(scene, said, message_id=letter.envelope.header.message_id), said)

    def after(relay: str, caller: str) -> object:
        node = scene.fresh_node(relay)
        [first] = node.commit([node.decide(scene.party(caller), letter.raw)])
        assert isinstance(first, Receipt)
        size = node.ledger.size
        [result] = node.commit([node.decide(scene.party(caller), second)])
        assert node.ledger.size == size
        return result

    return {
        Judge.OWN_RELAY: lambda: after(HOME, SENDER),
        Judge.PEER_RELAY: lambda: after(PEER, HOME),
        Judge.RECIPIENT: lambda: scene.delivered(RECIPIENT, letter.raw, second),
    }


# Two readers, two texts


@attack(AGENCY, only_inside(Reason.BAD_CIPHERTEXT))
def two_keys_for_two_recipients(scene: Scene, letter: Letter) -> Shown:
    """An agency gives two recipients different content keys; one is to read, the other to look as if it had."""
    said = content()
    head = header(scene, said, to=PAIR)
    wraps = wraps_for(scene, head, {RECIPIENT: b"other key" + bytes(23), SECOND: CONTENT_KEY})
    raw = signed(scene, head, wraps, body_of(head, said.raw))
    assert scene.delivered(SECOND, raw) is PASSES
    return scene.shown(raw)


@attack(AGENCY, only_inside(Reason.BAD_CIPHERTEXT))
def two_plaintexts_in_one_ciphertext(scene: Scene, letter: Letter) -> Shown:
    """An agency makes a ciphertext that AES-GCM opens under two keys, to another text each (invisible salamander).

    The chunk names the commitment of one key, so the other recipient refuses before it decrypts; and as the keys depend
    on the header, not even the first text is the one that the header commits to.
    """
    said = content()
    head, other_key = header(scene, said, to=PAIR), b"other key" + bytes(23)
    wraps = wraps_for(scene, head, {RECIPIENT: other_key, SECOND: CONTENT_KEY})
    raw = signed(scene, head, wraps, two_readings(head, said, CONTENT_KEY, other_key))
    assert scene.delivered(SECOND, raw) is Reason.BAD_COMMITMENT
    return scene.shown(raw)


@attack(AGENCY, only_inside(Reason.BAD_CIPHERTEXT))
def garbage_wrap_for_one(scene: Scene, letter: Letter) -> Shown:
    """An agency seals rubbish for one of two recipients; it wants to have told it, on paper."""
    said = content()
    head = header(scene, said, to=PAIR)
    [good] = wraps_for(scene, head, {SECOND: CONTENT_KEY})
    size = scene.suite.wrap_size
    forms = [forging.wrap(scene, head, RECIPIENT, enc_ct=enc_ct) for enc_ct in (bytes(size), b"\xff" * size)]
    raws = [signed(scene, head, [bad, good], body_of(head, said.raw)) for bad in forms]
    assert {scene.delivered(SECOND, raw) for raw in raws} == {PASSES}
    return scene.shown(*raws)


@attack(AGENCY, only_inside(Reason.BAD_CIPHERTEXT))
def wrap_of_another_length(scene: Scene, letter: Letter) -> Shown:
    """An agency seals a wrap that is too long or too short, or a content key that is; it probes what is tried."""
    said = content()
    head = header(scene, said)
    right = forging.wrap(scene, head, RECIPIENT)
    enc_ct = envelope_pb2.RecipientWrap.FromString(right).enc_ct
    long_key = scene.suite.wrap(
        scene.bundle(RECIPIENT).opening_key(scene.suite)[1], bytes(48), forging.info_of(scene, head, RECIPIENT)
    )
    forms = [forging.wrap(scene, head, RECIPIENT, enc_ct=bad) for bad in (enc_ct[:-1], enc_ct + b"\x00", long_key)]
    return scene.shown(*(signed(scene, head, [bad], body_of(head, said.raw)) for bad in forms))


@attack(AGENCY, only_inside(Reason.BAD_CIPHERTEXT))
def wrap_tied_to_something_else(scene: Scene, letter: Letter) -> Shown:
    """An agency seals the right key for another header, another recipient or another place in the bundle.

    It wants a wrap that opens in one envelope to open in another, and the same answer for each tells it nothing.
    """
    said = content()
    head = header(scene, said)
    other = replace(head, message_id=bytes(16))
    index, _ = scene.bundle(RECIPIENT).opening_key(scene.suite)
    infos = [
        forging.info_of(scene, other, RECIPIENT),
        forging.info_of(scene, head, RECIPIENT, named=SECOND),
        forging.info_of(scene, head, RECIPIENT, index=index + 1),
    ]
    forms = [forging.wrap(scene, head, RECIPIENT, info=info) for info in infos]
    forms.append(forging.wrap(scene, head, RECIPIENT, key_index=index + 1))
    return scene.shown(*(signed(scene, head, [bad], body_of(head, said.raw)) for bad in forms))


@attack(AGENCY, only_inside(Reason.BAD_CIPHERTEXT))
def body_of_another_header(scene: Scene, letter: Letter) -> Shown:
    """An agency encrypts under the right key, but for another header; it wants one ciphertext to serve for two."""
    said = content()
    head = header(scene, said)
    body = body_of(replace(head, message_id=bytes(16)), said.raw)
    return scene.shown(signed(scene, head, wraps_for(scene, head, {RECIPIENT: CONTENT_KEY}), body))


@attack(AGENCY, only_inside(Reason.BAD_CIPHERTEXT))
def wrap_in_another_suite(scene: Scene, letter: Letter) -> Shown:
    """An agency wraps the key in another suite than the header says, to the recipient's key of either suite."""
    said = content()
    head = header(scene, said)
    other = HYBRID if scene.suite is not HYBRID else CLASSICAL
    index, _ = scene.bundle(RECIPIENT).opening_key(scene.suite)
    forms = [
        forging.wrap(scene, head, RECIPIENT, suite=other),
        forging.wrap(scene, head, RECIPIENT, suite=other, key_index=index),
    ]
    return scene.shown(*(signed(scene, head, [bad], body_of(head, said.raw)) for bad in forms))


# What is inside and what stands outside


@attack(AGENCY, only_inside(Reason.BAD_COMMITMENT))
def commitment_to_other_content(scene: Scene, letter: Letter) -> Shown:
    """An agency commits to one text and seals another; it wants to show the first to an auditor later."""
    said, shown = content(), content(purpose="another exercise")
    return scene.shown(sealed(scene, header(scene, shown), said))


@attack(AGENCY, only_inside(Reason.BAD_COMMITMENT))
def marks_other_than_outside(scene: Scene, letter: Letter) -> Shown:
    """An agency writes another operational status or precedence outside than inside; relays are to rush it."""
    said = content()
    heads = [
        header(scene, said, op_status=OpStatus.ACTUAL),
        header(scene, said, op_status=OpStatus.SYSTEM),
        header(scene, said, precedence=Precedence.FLASH),
    ]
    return scene.shown(*(sealed(scene, head, said) for head in heads))


@attack(AGENCY, only_inside(Reason.NOT_CANONICAL))
def hidden_words_in_the_length(scene: Scene, letter: Letter) -> Shown:
    """An agency pads to another length than the rule's; the length is to say something that no log shows."""
    said = content()
    message = content_pb2.Content.FromString(said.raw)
    message.padding += bytes(1)
    return _sealed_raw(scene, said, message)


@attack(AGENCY, only_inside(Reason.BAD_FIELD))
def hidden_words_in_the_padding(scene: Scene, letter: Letter) -> Shown:
    """An agency hides words in the padding, which no commitment covers."""
    said = content()
    message = content_pb2.Content.FromString(said.raw)
    message.padding = b"!" * len(message.padding)
    assert message.padding
    return _sealed_raw(scene, said, message)


def _sealed_raw(scene: Scene, said: Content, message: content_pb2.Content) -> Shown:
    """Seal other bytes than those of the content committed to."""
    head = header(scene, said)
    body = body_of(head, wire.canonical(message))
    return scene.shown(signed(scene, head, wraps_for(scene, head, {RECIPIENT: CONTENT_KEY}), body))


@attack(AGENCY, only_inside(Reason.UNKNOWN_VERSION))
def message_of_no_known_type(scene: Scene, letter: Letter) -> Shown:
    """An agency seals something that no catalogue knows; it wants it handed to the application unread."""
    said = Content.make("infoexchange.catalogue.v1.Command", officer_acknowledgement().SerializeToString())
    return scene.shown(sealed(scene, header(scene, said), said))


@attack(AGENCY, only_inside(Reason.RULE_BROKEN))
def message_against_the_rules(scene: Scene, letter: Letter) -> Shown:
    """An agency leaves out the marks that say how to handle its message; its library checks nothing."""
    said = content(purpose="", tlp=catalogue.TLP_UNSPECIFIED)
    return scene.shown(sealed(scene, header(scene, said), said))


# Recipients and times


@attack(AGENCY, everyone(Reason.BAD_FIELD))
def header_that_contradicts_itself(scene: Scene, letter: Letter) -> Shown:
    """An agency addresses one recipient twice, lives for 91 days, or breaks its numbering in one envelope."""
    said = content()
    right = header(scene, said)
    heads = [
        replace(right, recipients=right.recipients * 2),
        replace(right, recipients=()),
        replace(right, expires_at=right.created_at + 91 * DAY),
        replace(right, expires_at=right.created_at),
        replace(right, sequence=1),
        replace(right, previous=b""),
        replace(right, sequence=0),
    ]
    return scene.shown(*(forging.signed_as_is(scene, head, said) for head in heads))


@attack(AGENCY, {Judge.OWN_RELAY: Reason.UNKNOWN_PARTY, Judge.PEER_RELAY: Reason.UNKNOWN_PARTY})
def recipient_that_is_no_agency(scene: Scene, letter: Letter) -> Shown:
    """An agency addresses a relay, which shall then queue for itself what nobody fetches."""
    said = content()
    head = header(scene, said, to=[RECIPIENT])
    recipients = (Recipient(PEER, scene.bundle(RECIPIENT).digest), *head.recipients)
    raw = forging.signed_as_is(scene, replace(head, recipients=recipients), said)
    shown = scene.shown(raw)
    return {judge: shown[judge] for judge in (Judge.OWN_RELAY, Judge.PEER_RELAY)}


@attack(AGENCY, {Judge.OWN_RELAY: Reason.UNKNOWN_PARTY})
def recipient_that_nobody_knows(scene: Scene, letter: Letter) -> Shown:
    """An agency addresses a name that the directory does not list, beside one that it does."""
    said = content()
    head = header(scene, said, to=[RECIPIENT])
    nobody = Recipient("desk.nobody.vn.example", scene.bundle(RECIPIENT).digest)
    raw = forging.signed_as_is(scene, replace(head, recipients=(*head.recipients, nobody)), said)
    return {Judge.OWN_RELAY: scene.shown(raw)[Judge.OWN_RELAY]}


@attack(AGENCY, {**everyone(Reason.NOT_YET_VALID), Judge.AUDITOR: Reason.BAD_PROOF})
def made_tomorrow(scene: Scene, letter: Letter) -> Shown:
    """An agency dates an envelope ahead, and its own relay logs it all the same; it is to look newer than another."""
    said = content()
    ahead = scene.now + DAY
    raw = sealed(scene, header(scene, said, created_at=ahead, expires_at=ahead + DAY), said)
    accepted = logged(scene, HOME, replace(letter, envelope=Envelope.parse(raw)), Event.ACCEPTED)
    return {**scene.shown(raw), Judge.AUDITOR: lambda: scene.audited(raw, events=[accepted])}


@attack(AGENCY, everyone(Reason.BAD_FIELD))
def blind_envelope_with_two_wraps_for_one(scene: Scene, letter: Letter) -> Shown:
    """An agency puts two wraps for one blind recipient into an envelope, each with a key of its own."""
    said = content()
    head = header(scene, said, to=[], blind=True)
    wraps = [forging.wrap(scene, head, RECIPIENT), forging.wrap(scene, head, RECIPIENT)]
    wraps.sort(key=lambda raw: sha256(raw).digest())
    return scene.shown(signed(scene, head, wraps, body_of(head, said.raw)))
