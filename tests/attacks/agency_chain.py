"""Attacks with an agency's bundles one after the other: two histories, and keys that were withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from attacks import epochs
from attacks.epochs import HOUR
from attacks.forging import DAY, content, header, sealed
from attacks.relay_bulletin import sealed_to
from attacks.relay_receipts import logged
from attacks.scene import HOME, PEER, Letter, Scene, alike
from attacks.table import NOTHING, PASSES, Adversary, Answer, Judge, Shown, attack, everyone
from conftest import RECIPIENT, SENDER
from infoexchange.bundle import KeyBundle
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.node import Node
from infoexchange.receipt import Receipt
from infoexchange.states import Event

AGENCY = Adversary.AGENCY
BOTH_RELAYS = (Judge.OWN_RELAY, Judge.PEER_RELAY)


def published(scene: Scene, *bundles: KeyBundle) -> dict[Judge, Callable[[], object]]:
    """Publish bundles, one by one: by their owner at its relay, and by that relay at another."""

    def at(name: str, caller: str) -> Callable[[], object]:
        return alike(bundles, lambda bundle: scene.fresh[name].decide_bundle(scene.party(caller), bundle))

    owner = bundles[0].owner
    return {Judge.OWN_RELAY: at(scene.party(owner).relay, owner), Judge.PEER_RELAY: at(PEER, HOME)}


# Two histories


@attack(AGENCY, dict.fromkeys((*BOTH_RELAYS, Judge.LIBRARY), Reason.LOG_FORK))
def two_bundles_of_one_epoch(scene: Scene, letter: Letter) -> Shown:
    """An agency, or who restored its keys from a backup, publishes a second bundle of an epoch for some to see."""
    other = epochs.changed(scene, RECIPIENT, scene.bundle(RECIPIENT), not_before_ms=epochs.ms(scene.now))
    shown = published(scene, epochs.changed(scene, SENDER, scene.bundle(SENDER), not_before_ms=epochs.ms(scene.now)))
    return {**shown, Judge.LIBRARY: lambda: sealed_to(scene, scene.bundle(RECIPIENT), other)}


@attack(AGENCY, dict.fromkeys((*BOTH_RELAYS, Judge.LIBRARY), Reason.LOG_FORK))
def bundle_that_follows_another(scene: Scene, letter: Letter) -> Shown:
    """An agency's next bundle names one before it that nobody has seen; it wants a history beside the public one."""
    mine, theirs = (
        epochs.changed(scene, name, epochs.second(scene, name).bundle, previous=bytes(32))
        for name in (SENDER, RECIPIENT)
    )
    return {
        **published(scene, mine),
        Judge.LIBRARY: lambda: sealed_to(scene, scene.bundle(RECIPIENT), theirs),
    }


@attack(AGENCY, dict.fromkeys(BOTH_RELAYS, Reason.NOT_YET_VALID))
def bundle_far_ahead(scene: Scene, letter: Letter) -> Shown:
    """An agency publishes a bundle that begins in 31 days; it wants keys to outlive a change that nobody plans yet."""
    return published(scene, epochs.second(scene, SENDER, begins=scene.now + 31 * DAY).bundle)


@attack(AGENCY, {Judge.OWN_RELAY: Reason.STALE_BUNDLE, Judge.PEER_RELAY: PASSES})
def bundle_published_after_its_end(scene: Scene, letter: Letter) -> Shown:
    """An agency publishes a bundle when its time is over; it wants to have had other keys than everybody saw."""
    past = epochs.second(scene, SENDER, begins=scene.now - HOUR, lasts=HOUR / 2).bundle
    return published(scene, past)


# Withdrawn keys


class Theft:
    """The sender withdrew its first bundle now; somebody else has the keys and uses them ten minutes later."""

    def __init__(self, scene: Scene, made: datetime) -> None:
        self._scene = scene
        self.withdrawing = epochs.second(scene, SENDER, withdraw=True).bundle
        self.bundles = [*scene.bundles, self.withdrawing]
        said = content()
        self.raw = sealed(scene, header(scene, said, created_at=made, expires_at=made + DAY), said)
        self.home, self.peer = (scene.fresh_node(name) for name in (HOME, PEER))
        [self.published] = self.home.commit([self.home.decide_bundle(scene.party(SENDER), self.withdrawing)])
        self.peer.commit([self.peer.decide_bundle(scene.party(HOME), self.withdrawing)])

    def shown(self) -> Shown:
        """Put the envelope before all four; its own relay, which logs it all the same, for the auditor only."""
        scene = self._scene
        late = scene.now + HOUR / 6

        def then(call: Callable[[], object]) -> Callable[[], object]:
            def called() -> object:
                with scene.at(late):
                    return call()

            return called

        def decide(node: Node, caller: str) -> Callable[[], object]:
            return then(lambda: node.decide(scene.party(caller), self.raw))

        return {
            Judge.OWN_RELAY: decide(self.home, SENDER),
            Judge.PEER_RELAY: decide(self.peer, HOME),
            Judge.RECIPIENT: then(lambda: scene.delivered(RECIPIENT, self.raw, bundles=self.bundles)),
            Judge.AUDITOR: then(self._audited),
        }

    def _audited(self) -> Answer:
        scene = self._scene
        accepted = logged(scene, HOME, replace(scene.other, envelope=Envelope.parse(self.raw)), Event.ACCEPTED)
        assert isinstance(self.published, Receipt)
        bundles: Sequence[KeyBundle] = [scene.bundle(SENDER), self.withdrawing]
        return scene.audited(self.raw, events=[accepted, self.published], bundles=bundles)


@attack(AGENCY, everyone(Reason.REVOKED))
def signed_with_withdrawn_keys(scene: Scene, letter: Letter) -> Shown:
    """A thief signs with the keys of a bundle that its owner has withdrawn, as if nothing had happened."""
    return Theft(scene, scene.now + HOUR / 6).shown()


@attack(
    AGENCY,
    {Judge.OWN_RELAY: Reason.REVOKED, Judge.PEER_RELAY: PASSES, Judge.RECIPIENT: PASSES, Judge.AUDITOR: Reason.REVOKED},
)
def dated_back_before_a_withdrawal(scene: Scene, letter: Letter) -> Shown:
    """A thief of withdrawn keys dates an envelope back to before the withdrawal, and the owner's relay helps it.

    To those further on it looks like one that was long on its way; the time of logging tells the auditor.
    """
    return Theft(scene, scene.now - HOUR / 6).shown()


@attack(AGENCY, {Judge.AUDITOR: NOTHING})
def own_words_disowned(scene: Scene, letter: Letter) -> Shown:
    """An agency withdraws its keys with a date before a message it sent, to disown it; what was logged first stands."""
    withdrawing = epochs.second(scene, SENDER, begins=scene.now - HOUR, withdraw=True).bundle

    def audited() -> Answer:
        node = scene.fresh_node(HOME)
        with scene.at(scene.now + HOUR):
            [published] = node.commit([node.decide_bundle(scene.party(SENDER), withdrawing)])
        assert isinstance(published, Receipt)
        bundles = [scene.bundle(SENDER), withdrawing]
        found = scene.audited(letter.raw, events=[letter.receipt, published], bundles=bundles)
        return NOTHING if found == PASSES else found

    return {Judge.AUDITOR: audited}
