"""Attacks by a recipient on sender and fellow recipients: it opened the envelope rightly and holds its content key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from attacks import epochs, forging
from attacks.agency_keys import kek_of
from attacks.epochs import HOUR
from attacks.forging import CONTENT_KEY, body_of, changed, content, header, signed
from attacks.relay_receipts import OUTCOME, accepted_by, logged, statement
from attacks.scene import FELLOW, FELLOW_RELAY, HOME, OUTSIDER, PEER, RECIPIENTS, Letter, Scene, alike
from attacks.table import MANY, NOTHING, PASSES, Adversary, Answer, Judge, Kind, Shown, attack, everyone
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.audit import Subject
from infoexchange.content import Content
from infoexchange.dsse import TYPE_ACKNOWLEDGEMENT, TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.header import Header, Recipient
from infoexchange.keys import KeyUsage
from infoexchange.ports import Notice
from infoexchange.states import Event
from infoexchange.suites import CLASSICAL, HYBRID
from infoexchange.v1 import evidence_pb2

THIEF = Adversary.FELLOW
WITH_WRAPS = (Kind.SEVERAL, Kind.BATCH, Kind.BLIND)


def opened(scene: Scene, letter: Letter, name: str = FELLOW) -> tuple[bytes, Content]:
    """What a recipient learns: content key and content."""
    member = scene.member(name)
    key = letter.envelope.unlock(
        member.identity,
        {member.bundle.digest: member.bundle},
        scene.exchange.directory,
        scene.bundle(SENDER),
        now=scene.now,
        epoch_keks=scene.exchange.mailbox(name)._keks.needed(letter.envelope),
    )
    return key, letter.envelope.read(key)


def as_own(scene: Scene, letter: Letter, **fields) -> Header:
    """The letter's header in the thief's name."""
    return replace(letter.envelope.header, sender=FELLOW, sender_bundle=scene.bundle(FELLOW).digest, **fields)


# What was sent, as something else


@attack(THIEF, {**everyone(PASSES), Judge.RECIPIENT: Reason.BAD_CIPHERTEXT}, kinds=MANY)
def authorship_stolen(scene: Scene, letter: Letter) -> Shown:
    """A recipient signs the same wraps and body under its own name; it wants to have said it first."""
    envelope, head = letter.envelope, as_own(scene, letter)
    parts = [wrap.raw for wrap in envelope.wraps]
    payload = forging.changed_header(envelope, head)
    signature = scene.keys(FELLOW).signer(scene.suite, KeyUsage.MANIFEST).sign(TYPE_MANIFEST, payload)
    return scene.shown(forging.enclosed(payload, signature, parts, envelope.body), caller=FELLOW)


@attack(THIEF, {**everyone(PASSES), Judge.RECIPIENT: Reason.BAD_COMMITMENT}, kinds=MANY)
def commitment_stolen(scene: Scene, letter: Letter) -> Shown:
    """A recipient seals the content anew in its own name with the sender's commitment.

    It wants an auditor to take its envelope and the sender's for one piece of information, and its own for the source.
    """
    key, said = opened(scene, letter)
    head = as_own(scene, letter, blind=False, recipients=(Recipient(RECIPIENT, scene.bundle(RECIPIENT).digest),))
    raw = signed(scene, head, [_wrap(scene, head, key)], body_of(head, said.raw, key), by=FELLOW)
    return scene.shown(raw, caller=FELLOW)


def _wrap(scene: Scene, head: Header, key: bytes, name: str = RECIPIENT) -> bytes:
    [wrap] = forging.wraps_for(scene, head, {name: key})
    return wrap


@attack(
    THIEF,
    {**everyone(Reason.BAD_SIGNATURE), Judge.OWN_RELAY: Reason.NOT_PERMITTED},
    kinds=MANY,
)
def forwarded_in_the_senders_name(scene: Scene, letter: Letter) -> Shown:
    """A recipient wraps the content key it learnt for a third party, which is to think that the sender chose it.

    Its own relay refuses to take an envelope of another's; shown to the rest as if the sender's relay helped.
    """
    key, _ = opened(scene, letter)
    wrap = _wrap(scene, letter.envelope.header, key, OUTSIDER)
    raw = changed(letter.raw, lambda m: m.wraps.append(wrap))
    shown = scene.shown(raw, recipient=OUTSIDER)
    return {
        **shown,
        Judge.OWN_RELAY: lambda: scene.fresh[FELLOW_RELAY].decide(scene.party(FELLOW), raw),
    }


@attack(THIEF, everyone(Reason.BAD_SIGNATURE), kinds=WITH_WRAPS)
def content_key_wrapped_anew_for_a_fellow(scene: Scene, letter: Letter) -> Shown:
    """A recipient exchanges a fellow's wrap for one of the same key; the relay then knows which of both it opened."""
    key, _ = opened(scene, letter)
    place = [wrap.recipient for wrap in letter.envelope.wraps].index(RECIPIENT)
    wrap = _wrap(scene, letter.envelope.header, key)
    return scene.shown(changed(letter.raw, lambda m: m.wraps.__setitem__(place, wrap)))


@attack(THIEF, everyone(Reason.BAD_SIGNATURE), kinds=MANY)
def other_text_under_the_learnt_key(scene: Scene, letter: Letter) -> Shown:
    """A recipient encrypts another text under the content key, and a relay delivers it to the fellows."""
    key, _ = opened(scene, letter)
    body = body_of(letter.envelope.header, content(purpose="another exercise").raw, key)
    return scene.shown(changed(letter.raw, lambda m: setattr(m, "body", body)))


# Epoch KEKs


def under(scene: Scene, kek_name: bytes, epoch_wrap: bytes | None, to: str, kek=None) -> bytes:
    """An envelope of the thief's under the name of somebody's KEK."""
    said = content()
    head = header(scene, said, sender=FELLOW, recipients=(Recipient(to, epoch_kek=kek_name),))
    wrapped = epoch_wrap or kek.wrap(CONTENT_KEY, sha256(head.raw).digest())
    return signed(scene, head, [], body_of(head, said.raw), by=FELLOW, epoch_wraps=[wrapped])


@attack(THIEF, {**everyone(PASSES), Judge.RECIPIENT: Reason.BAD_CIPHERTEXT})
def name_of_a_fellows_kek(scene: Scene, letter: Letter) -> Shown:
    """A recipient saw the name of a fellow's KEK in a header and seals in its own name under that name."""
    name = kek_of(scene, RECIPIENT, RECIPIENT).name
    return scene.shown(under(scene, name, bytes(48), RECIPIENT), caller=FELLOW)


@attack(THIEF, {**everyone(PASSES), Judge.RECIPIENT: Reason.STALE_BUNDLE})
def own_kek_turned_round(scene: Scene, letter: Letter) -> Shown:
    """A recipient seals to the sender under the KEK that the sender gave it, which serves one direction only."""
    kek = kek_of(scene, FELLOW, FELLOW)
    return scene.shown(under(scene, kek.name, None, SENDER, kek), caller=FELLOW, recipient=SENDER)


@attack(THIEF, {Judge.RECIPIENT: Reason.BAD_CIPHERTEXT}, kinds=(Kind.EPOCH_KEK,))
def fellows_epoch_wrap_opened(scene: Scene, letter: Letter) -> Shown:
    """A recipient tries its own KEK on the wrapped key of a fellow, to see what the fellow was given."""
    kek = kek_of(scene, FELLOW, FELLOW)
    _, wrapped = letter.envelope.manifest.epoch_wrap_of(RECIPIENT)
    return {Judge.RECIPIENT: lambda: kek.unwrap(wrapped, letter.envelope.manifest.header_digest)}


# Statements


def said(scene: Scene, letter: Letter, by: str = RECIPIENT, **parts) -> Statement:
    """A statement of one recipient, but for some parts."""
    own = {"issuer": by, "issuer_bundle": scene.bundle(by).digest}
    return statement(scene, letter, **{**own, **parts})


def made(scene: Scene, what: Statement, by: str, usage: KeyUsage = KeyUsage.ACKNOWLEDGEMENT, suite=None) -> bytes:
    """A statement signed with an agency's keys, whoever it says it is from."""
    honest = Acknowledgement.sign(what, scene.suite, scene.keys(by))
    key = scene.keys(by).signer(suite or scene.suite, usage)
    pair = (key.sign(TYPE_ACKNOWLEDGEMENT, honest.dsse.payload), "")
    return Dsse.make(TYPE_ACKNOWLEDGEMENT, honest.dsse.payload, [pair]).raw


def stated(scene: Scene, letter: Letter, *raws: bytes, caller: str = RECIPIENT) -> Shown:
    """Put statements before the relay that holds the caller's mailbox, and, logged by it all the same, an auditor."""
    relay = scene.party(caller).relay

    def told(raw: bytes) -> object:
        what = Acknowledgement.parse(raw).statement
        notice = Notice(letter.envelope.digest, what.state, raw)
        return scene.exchange.nodes[relay].decide_notice(scene.party(caller), notice)

    def file(raw: bytes) -> Answer:
        parsed = Acknowledgement.parse(raw)
        what = parsed.statement
        subject = Subject(statement_digest=parsed.digest)
        entry = logged(scene, relay, letter, what.state, caller, subject=subject, reason=what.reason)
        events = [letter.receipt, accepted_by(scene, relay, letter), entry]
        return scene.audited(letter.raw, events=events, statements=[raw], check=OUTCOME)

    return {Judge.PEER_RELAY: alike(raws, told), Judge.AUDITOR: alike(raws, file)}


def both(reason: Reason, auditor: Reason | None = None) -> dict[Judge, Answer]:
    """What the relay of the recipient and an auditor say."""
    return {Judge.PEER_RELAY: reason, Judge.AUDITOR: auditor or reason}


@attack(THIEF, both(Reason.BAD_SIGNATURE), kinds=(Kind.SEVERAL, Kind.BLIND))
def opened_in_a_fellows_name(scene: Scene, letter: Letter) -> Shown:
    """A recipient signs in a fellow's name that it opened, or refused, and a relay submits it as the fellow's."""
    refusal = said(scene, letter, state=Event.REFUSED, reason=int(Reason.NOT_PERMITTED), content_commitment=b"")
    return stated(scene, letter, *(made(scene, what, FELLOW) for what in (said(scene, letter), refusal)))


@attack(THIEF, both(Reason.STALE_BUNDLE), kinds=(Kind.SEVERAL,))
def own_bundle_in_a_fellows_name(scene: Scene, letter: Letter) -> Shown:
    """A recipient signs in a fellow's name and names its own bundle, under which the signature holds."""
    what = said(scene, letter, issuer_bundle=scene.bundle(FELLOW).digest)
    return stated(scene, letter, made(scene, what, FELLOW))


@attack(THIEF, {Judge.PEER_RELAY: Reason.BAD_FIELD}, kinds=MANY)
def statement_of_a_fellow_submitted(scene: Scene, letter: Letter) -> Shown:
    """A recipient submits as its own the true statement of a fellow."""
    raw = made(scene, said(scene, letter, by=SECOND), SECOND)
    return {Judge.PEER_RELAY: stated(scene, letter, raw)[Judge.PEER_RELAY]}


@attack(THIEF, both(Reason.BAD_FIELD, Reason.BAD_PROOF), kinds=(Kind.SEVERAL,))
def old_statement_for_a_new_envelope(scene: Scene, letter: Letter) -> Shown:
    """A recipient answers a new envelope with its true statement about an old one."""
    return stated(scene, letter, made(scene, said(scene, scene.other), RECIPIENT))


@attack(THIEF, both(Reason.BAD_COMMITMENT), kinds=(Kind.SEVERAL,))
def opened_something_else(scene: Scene, letter: Letter) -> Shown:
    """A recipient states that it opened other content than was sent; it wants to deny later what it read."""
    other = scene.other.envelope.header.content_commitment
    return stated(scene, letter, made(scene, said(scene, letter, content_commitment=other), RECIPIENT))


@attack(THIEF, both(Reason.BAD_SIGNATURE), kinds=(Kind.SEVERAL,))
def statement_with_a_key_of_another_purpose(scene: Scene, letter: Letter) -> Shown:
    """A recipient signs its statement with its key for manifests, or in another suite; it wants to disown it."""
    other = HYBRID if scene.suite is not HYBRID else CLASSICAL
    what = said(scene, letter)
    return stated(
        scene,
        letter,
        made(scene, what, RECIPIENT, KeyUsage.MANIFEST),
        made(scene, what, RECIPIENT, suite=other),
    )


@attack(THIEF, both(Reason.NOT_YET_VALID, Reason.BAD_PROOF), kinds=(Kind.SEVERAL,))
def stated_tomorrow(scene: Scene, letter: Letter) -> Shown:
    """A recipient dates its statement ahead; it wants it to be newer than the bundle that was stolen."""
    later = scene.now + HOUR
    return stated(scene, letter, made(scene, said(scene, letter, at=later), RECIPIENT))


@attack(THIEF, {Judge.PEER_RELAY: Reason.STALE_BUNDLE}, kinds=(Kind.SEVERAL,))
def stated_with_an_old_bundle(scene: Scene, letter: Letter) -> Shown:
    """A thief holds keys of a bundle that is over, and dates a statement back into its time."""
    old = epochs.second(scene, RECIPIENT, lasts=HOUR)
    node = scene.fresh_node(PEER)
    node.commit([node.decide_bundle(scene.party(HOME), old.bundle), node.decide(scene.party(HOME), letter.raw)])
    what = said(scene, letter, issuer_bundle=old.bundle.digest)
    raw = Acknowledgement.sign(what, scene.suite, old.keys).raw

    def later() -> object:
        with scene.at(scene.now + 2 * HOUR):
            return node.decide_notice(scene.party(RECIPIENT), Notice(letter.envelope.digest, Event.OPENED, raw))

    return {Judge.PEER_RELAY: later}


@attack(THIEF, {Judge.PEER_RELAY: Reason.REPLAYED}, kinds=MANY)
def opened_and_refused(scene: Scene, letter: Letter) -> Shown:
    """A recipient states that it opened, and then that it refused; it wants to choose later which of both was true."""
    refusal = said(scene, letter, state=Event.REFUSED, reason=int(Reason.NOT_PERMITTED), content_commitment=b"")
    raw = made(scene, refusal, RECIPIENT)
    node = scene.exchange.nodes[PEER]

    def after() -> object:
        job = node.decide_notice(scene.party(RECIPIENT), Notice(letter.envelope.digest, Event.REFUSED, raw))
        return node.commit([job])[0]

    return {Judge.PEER_RELAY: after}


@attack(THIEF, {Judge.PEER_RELAY: Reason.NOT_ADDRESSED}, kinds=(Kind.SINGLE,))
def acknowledged_by_a_stranger(scene: Scene, letter: Letter) -> Shown:
    """An agency that another envelope was for acknowledges this one; it wants the recipient's copy to stop waiting."""
    strange = made(scene, said(scene, letter, by=SECOND), SECOND)
    shown = stated(scene, letter, strange, caller=SECOND)
    return {Judge.PEER_RELAY: shown[Judge.PEER_RELAY]}


# What can be learnt


@attack(THIEF, {Judge.FELLOW: NOTHING}, kinds=(Kind.BLIND,))
def co_recipients_sought(scene: Scene, letter: Letter) -> Shown:
    """A blind recipient looks through all it gets, envelope, events and statements, for a name or wrap of others."""

    def found() -> Answer:
        box = scene.exchange.mailbox(RECIPIENT)
        [waiting] = [raw for raw in served(scene, letter) if Envelope.parse(raw).digest == letter.envelope.digest]
        history = box.history(letter.envelope.digest)
        seen = b"".join([waiting, *(receipt.raw for receipt in history.events), *history.statements])
        others = [name.encode() for name in RECIPIENTS if name != RECIPIENT]
        others += [scene.bundle(name).digest for name in RECIPIENTS if name != RECIPIENT]
        assert RECIPIENT.encode() in seen
        # Nor the number: three digests are filled up to four.
        assert len(letter.envelope.manifest.wrap_digests) == 4
        return "learnt" if any(other in seen for other in others) else NOTHING

    return {Judge.FELLOW: found}


def served(scene: Scene, letter: Letter) -> Sequence[bytes]:
    """What a relay that has just accepted the letter hands out to the recipient."""
    node = scene.fresh_node(PEER)
    node.commit([node.decide(scene.party(HOME), letter.raw)])
    waiting = node.store.waiting(RECIPIENT, limit=10)
    return [node.served(scene.party(RECIPIENT), item) for item in waiting]


@attack(THIEF, {Judge.PEER_RELAY: Reason.NOT_PERMITTED, Judge.OWN_RELAY: Reason.NOT_PERMITTED})
def history_asked_for(scene: Scene, letter: Letter) -> Shown:
    """A recipient of other envelopes asks the relays what became of one that it has no part in."""
    digest, nodes = letter.envelope.digest, scene.exchange.nodes
    return {
        Judge.PEER_RELAY: lambda: nodes[PEER].history(scene.party(SECOND), digest),
        Judge.OWN_RELAY: lambda: nodes[HOME].history(scene.party(FELLOW), digest),
    }


# Evidence


@attack(THIEF, {Judge.AUDITOR: Reason.BAD_FIELD})
def evidence_under_another_name(scene: Scene, letter: Letter) -> Shown:
    """A recipient presents the file of one envelope as that of another."""
    message = evidence_pb2.Evidence.FromString(scene.evidence(letter).raw)
    message.envelope_digest = scene.other.envelope.digest
    return {Judge.AUDITOR: lambda: scene.judged(message)}


@attack(THIEF, {Judge.AUDITOR: Reason.BAD_PROOF})
def evidence_with_anothers_events(scene: Scene, letter: Letter) -> Shown:
    """A recipient puts the events, or the statements, of another envelope into the file of this one."""
    own, other = (evidence_pb2.Evidence.FromString(scene.evidence(of).raw) for of in (letter, scene.other))
    forms = []
    for field in ("events", "statements"):
        form = evidence_pb2.Evidence.FromString(own.SerializeToString())
        form.ClearField(field)
        getattr(form, field).extend(getattr(other, field))
        forms.append(form)
    return {Judge.AUDITOR: alike(forms, scene.judged)}


@attack(THIEF, {Judge.AUDITOR: "no terminal event"})
def evidence_without_the_end(scene: Scene, letter: Letter) -> Shown:
    """A recipient leaves its own statement and its entry out of the file; it wants to look as if it was never told."""
    message = evidence_pb2.Evidence.FromString(scene.evidence(letter).raw)
    keep = [event for event in message.events if forging.event_of(event) is not Event.OPENED]
    del message.events[:], message.statements[:]
    message.events.extend(keep)
    return {Judge.AUDITOR: lambda: scene.judged(message, OUTCOME)}
