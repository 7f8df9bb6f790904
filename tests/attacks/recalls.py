"""Attacks with recall orders, and with statements that a content key was destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attacks.epochs import HOUR
from attacks.fellow import said, stated
from attacks.forging import DAY
from attacks.relay_receipts import OPEN, OUTCOME, accepted_by, audited, logged
from attacks.scene import COLLEAGUE, HOME, PEER, Letter, Scene, alike
from attacks.table import Adversary, Judge, Kind, Shown, attack
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Subject
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.dsse import TYPE_RECALL, Dsse
from infoexchange.errors import Reason
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.node import Job, Node
from infoexchange.ports import Notice
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import CLASSICAL, HYBRID

RELAY, AGENCY, FELLOW = Adversary.RELAY, Adversary.AGENCY, Adversary.FELLOW
RELAYS = (Judge.OWN_RELAY, Judge.PEER_RELAY)


def terms(scene: Scene, letter: Letter, by: str = SENDER, **parts: object) -> Recalled:
    """What an order for the recipient says, but for some parts."""
    right = Recalled(
        envelope_digest=letter.envelope.digest,
        issuer=by,
        issuer_bundle=scene.bundle(by).digest,
        suite=scene.suite.number,
        recipients=(RECIPIENT,),
        at=scene.now,
    )
    return replace(right, **parts)


def order(scene: Scene, letter: Letter, by: str = SENDER, keys: EpochKeys | None = None, **parts: object) -> bytes:
    """An order signed by an agency that it says it is from, or by other keys."""
    return RecallOrder.sign(terms(scene, letter, by, **parts), keys or scene.keys(by)).raw


def given(scene: Scene, letter: Letter, *raws: bytes, caller: str = SENDER, carrier: str = HOME) -> Shown:
    """Put orders before the relay of the caller, and, as if that one helped, before the recipient's."""
    digest, own = letter.envelope.digest, scene.party(caller).relay

    home, peer = scene.exchange.nodes[own], scene.fresh_node(PEER)
    peer.commit([peer.decide(scene.party(HOME), letter.raw)])

    def told(node: Node, name: str, raw: bytes) -> object:
        return node.decide_notice(scene.party(name), Notice(digest, Event.RECALLED, raw))

    return {
        Judge.OWN_RELAY: alike(raws, lambda raw: told(home, caller, raw)),
        Judge.PEER_RELAY: alike(raws, lambda raw: told(peer, carrier, raw)),
    }


@attack(AGENCY, dict.fromkeys(RELAYS, Reason.NOT_PERMITTED))
def recall_of_anothers_message(scene: Scene, letter: Letter) -> Shown:
    """An agency behind the same relay orders in its own name that another's envelope be stopped."""
    return given(scene, letter, order(scene, letter, COLLEAGUE), caller=COLLEAGUE)


@attack(AGENCY, {Judge.OWN_RELAY: Reason.NOT_PERMITTED, Judge.PEER_RELAY: Reason.BAD_SIGNATURE})
def recall_in_the_senders_name(scene: Scene, letter: Letter) -> Shown:
    """An agency signs an order in the sender's name, and a relay carries it."""
    return given(scene, letter, order(scene, letter, keys=scene.keys(COLLEAGUE)), caller=COLLEAGUE)


@attack(FELLOW, {Judge.PEER_RELAY: Reason.NOT_PERMITTED})
def recall_by_a_recipient(scene: Scene, letter: Letter) -> Shown:
    """A recipient orders that the envelope be stopped, for a fellow or for itself, so that it was never told."""
    raw = order(scene, letter, SECOND)
    return {Judge.PEER_RELAY: given(scene, letter, raw, carrier=SECOND)[Judge.PEER_RELAY]}


@attack(AGENCY, dict.fromkeys(RELAYS, Reason.BAD_FIELD))
def recall_that_does_not_fit(scene: Scene, letter: Letter) -> Shown:
    """A sender shows an order about another envelope, for an agency it did not write to, or in another suite."""
    other = HYBRID if scene.suite is not HYBRID else CLASSICAL
    return given(
        scene,
        letter,
        order(scene, scene.other),
        order(scene, letter, recipients=(SECOND,)),
        order(scene, letter, suite=other.number),
    )


@attack(AGENCY, dict.fromkeys(RELAYS, Reason.BAD_SIGNATURE))
def recall_with_a_key_of_another_purpose(scene: Scene, letter: Letter) -> Shown:
    """A sender signs an order with its key for statements; it wants to disown the order when it did harm."""
    honest = RecallOrder.parse(order(scene, letter))
    signer = scene.keys(SENDER).signer(scene.suite, KeyUsage.ACKNOWLEDGEMENT)
    pair = (signer.sign(TYPE_RECALL, honest.dsse.payload), "")
    return given(scene, letter, Dsse.make(TYPE_RECALL, honest.dsse.payload, [pair]).raw)


@attack(AGENCY, dict.fromkeys(RELAYS, Reason.NOT_YET_VALID))
def recall_of_tomorrow(scene: Scene, letter: Letter) -> Shown:
    """A sender dates an order ahead; it wants to decide later whether it was given."""
    return given(scene, letter, order(scene, letter, at=scene.now + HOUR))


@attack(AGENCY, dict.fromkeys(RELAYS, Reason.EXPIRED))
def recall_after_expiry(scene: Scene, letter: Letter) -> Shown:
    """A sender recalls what nobody waits for any more; it wants it to look as if nobody should have read it."""
    late = letter.envelope.header.expires_at + CLOCK_SKEW + DAY / 1000
    shown = given(scene, letter, order(scene, letter, at=late))

    def then(judge: Judge) -> object:
        with scene.at(late):
            return shown[judge]()

    return {judge: lambda judge=judge: then(judge) for judge in shown}


@attack(RELAY, {Judge.OWN_RELAY: Reason.NOT_PERMITTED, Judge.PEER_RELAY: Reason.BAD_SIGNATURE})
def recall_made_up_by_a_relay(scene: Scene, letter: Letter) -> Shown:
    """A relay signs an order with keys of its own; the recipient's relay is to stop the envelope in its stead."""
    raw = order(scene, letter, keys=EpochKeys.make(1, suites=(scene.suite,)))
    shown = given(scene, letter, raw)
    backwards = Notice(letter.envelope.digest, Event.RECALLED, raw)
    return {**shown, Judge.OWN_RELAY: lambda: scene.exchange.nodes[HOME].decide_notice(scene.party(PEER), backwards)}


@attack(RELAY, {Judge.AUDITOR: OPEN})
def recall_claimed(scene: Scene, letter: Letter) -> Shown:
    """A relay drops an envelope and logs that it was recalled, which nobody ordered."""
    return audited(scene, letter, logged(scene, PEER, letter, Event.RECALLED, RECIPIENT), check=OUTCOME)


@attack(RELAY, {Judge.AUDITOR: Reason.BAD_PROOF})
def recall_ignored(scene: Scene, letter: Letter) -> Shown:
    """The recipient's relay takes an order, and delivers the envelope afterwards all the same."""
    raw = order(scene, letter)
    notice = Notice(letter.envelope.digest, Event.RECALLED, raw)

    def ordered(relay: str, caller: str) -> tuple[Receipt, ...]:
        node = scene.fresh_node(relay)
        node.commit([node.decide(scene.party(SENDER if relay == HOME else HOME), letter.raw)])
        job = node.decide_notice(scene.party(caller), notice)
        after = node.event(Event.DELIVERED, letter.envelope.manifest, RECIPIENT)
        changes = (job.changes[0], after) if relay == PEER else job.changes[:1]
        return tuple(node.commit([Job((change,)) for change in changes]))  # type: ignore[arg-type]

    receipts: Sequence[Receipt] = [*ordered(HOME, SENDER), *ordered(PEER, HOME)]
    return audited(scene, letter, *receipts, statements=[raw])


@attack(AGENCY, {Judge.AUDITOR: Reason.BAD_PROOF})
def anothers_recall_in_the_file(scene: Scene, letter: Letter) -> Shown:
    """Somebody puts an order of another agency, or about another envelope, into the file; it is to look recalled."""
    digests = [order(scene, letter, COLLEAGUE), order(scene, scene.other)]

    def file(raw: bytes) -> object:
        return scene.audited(letter.raw, events=[letter.receipt], statements=[raw])

    return {Judge.AUDITOR: alike(digests, file)}


# Destruction


@attack(FELLOW, {Judge.PEER_RELAY: Reason.NOT_PERMITTED, Judge.AUDITOR: Reason.BAD_PROOF}, kinds=(Kind.SEVERAL,))
def destroyed_before_it_was_opened(scene: Scene, letter: Letter) -> Shown:
    """A recipient states that it has destroyed the content key and never that it had opened the envelope."""
    what = replace(said(scene, letter), state=Event.DESTROYED)
    statement = Acknowledgement.sign(what, scene.suite, scene.keys(RECIPIENT))
    node = scene.fresh_node(PEER)
    node.commit([node.decide(scene.party(HOME), letter.raw)])

    def told() -> object:
        notice = Notice(letter.envelope.digest, Event.DESTROYED, statement.raw)
        return node.commit([node.decide_notice(scene.party(RECIPIENT), notice)])[0]

    subject = Subject(statement_digest=statement.digest)
    entry = logged(scene, PEER, letter, Event.DESTROYED, RECIPIENT, subject=subject)
    events = [letter.receipt, accepted_by(scene, PEER, letter), entry]
    return {
        Judge.PEER_RELAY: told,
        Judge.AUDITOR: lambda: scene.audited(letter.raw, events=events, statements=[statement.raw]),
    }


@attack(FELLOW, {Judge.PEER_RELAY: Reason.BAD_SIGNATURE, Judge.AUDITOR: Reason.BAD_SIGNATURE}, kinds=(Kind.SEVERAL,))
def destroyed_in_a_fellows_name(scene: Scene, letter: Letter) -> Shown:
    """A recipient states in a fellow's name that it has destroyed the content key; it wants it not to be asked."""
    what = replace(said(scene, letter), state=Event.DESTROYED)
    return stated(scene, letter, Acknowledgement.sign(what, scene.suite, scene.keys(SECOND)).raw)
