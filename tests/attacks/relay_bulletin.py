"""Attacks by a relay on what it hands out of others: key bundles and directories. It holds none of their keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from attacks import epochs
from attacks.epochs import HOUR
from attacks.forging import DAY
from attacks.scene import COLLEAGUE, HOME, PEER, STRANGER, Hostile, Letter, Scene, alike
from attacks.table import NOTHING, PASSES, Adversary, Answer, Judge, Shown, attack
from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.draft import Draft
from infoexchange.dsse import TYPE_DIRECTORY, TYPE_KEYBUNDLE, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import OpeningKey, SigningKey
from infoexchange.listing import Listing, RootKey, Roots
from infoexchange.testing import MemorySpool
from infoexchange.v1 import bundle_pb2
from messages import officer_acknowledgement

RELAY = Adversary.RELAY


# Key bundles


def sealed_to(scene: Scene, *bundles: KeyBundle) -> Answer:
    """What the sender's library answers when its relay hands out these bundles and no others."""
    box = scene.box(SENDER, Hostile(bundles=bundles, answer=lambda raw: scene.other.receipt), spool=MemorySpool())
    [result] = box.send_all([Draft(officer_acknowledgement(), [RECIPIENT], suite=scene.suite)])
    if box.spool.standing().sequence:  # it was sealed, whatever the relay said then
        return PASSES
    assert isinstance(result, ExchangeError)
    return result.reason


def published(scene: Scene, bundle: KeyBundle, *, caller: str = HOME) -> Callable[[], object]:
    """Present a bundle to the recipient's relay."""
    return lambda: scene.fresh[PEER].decide_bundle(scene.party(caller), bundle)


def altered(scene: Scene, change: Callable[[bundle_pb2.KeyBundle], object]) -> KeyBundle:
    """The recipient's bundle with something changed under the signatures it had."""
    member = scene.member(RECIPIENT)
    message = bundle_pb2.KeyBundle.FromString(member.bundle.dsse.payload)
    change(message)
    pairs = list(zip(member.bundle.dsse.signatures, member.bundle.dsse.key_ids, strict=True))
    raw = Dsse.make(TYPE_KEYBUNDLE, message.SerializeToString(deterministic=True), pairs).raw
    return KeyBundle.parse(raw, member.certificates, (member.crl,))


def handed_out(scene: Scene, bundle: KeyBundle) -> Shown:
    """Put a bundle before the sender's library, which would seal to it, and the recipient's relay."""
    return {Judge.LIBRARY: lambda: sealed_to(scene, bundle), Judge.PEER_RELAY: published(scene, bundle)}


def both(reason: Reason) -> dict[Judge, Answer]:
    """The same answer of both."""
    return {Judge.LIBRARY: reason, Judge.PEER_RELAY: reason}


@attack(RELAY, both(Reason.BAD_SIGNATURE))
def own_key_put_into_a_bundle(scene: Scene, letter: Letter) -> Shown:
    """A relay puts a key of its own in the place of the recipient's; it wants to read what is sealed to it."""
    own = OpeningKey.make(scene.suite).public

    def change(message: bundle_pb2.KeyBundle) -> None:
        place = [key.suite for key in message.enc_keys].index(scene.suite.number)
        message.enc_keys[place].public_key = own

    return handed_out(scene, altered(scene, change))


@attack(RELAY, both(Reason.BAD_SIGNATURE))
def suite_struck_out_of_a_bundle(scene: Scene, letter: Letter) -> Shown:
    """A relay strikes the suite out of the recipient's bundle; it wants the sender to fall back to a weaker one."""

    def change(message: bundle_pb2.KeyBundle) -> None:
        keep = [key for key in message.enc_keys if key.suite != scene.suite.number]
        del message.enc_keys[:], message.accept_suites[:]
        message.enc_keys.extend(keep)
        message.accept_suites.extend(key.suite for key in keep)
        signing = [key for key in message.sig_keys if key.suite != scene.suite.number]
        del message.sig_keys[:]
        message.sig_keys.extend(signing)

    return handed_out(scene, altered(scene, change))


@attack(RELAY, both(Reason.BAD_SIGNATURE))
def bundles_life_prolonged(scene: Scene, letter: Letter) -> Shown:
    """A relay gives an old bundle, whose private keys it may have come by, a later time of use."""

    def change(message: bundle_pb2.KeyBundle) -> None:
        message.not_before_ms -= 60_000
        message.not_after_ms -= 60_000

    return handed_out(scene, altered(scene, change))


@attack(RELAY, both(Reason.BAD_SIGNATURE))
def bundle_signed_by_half(scene: Scene, letter: Letter) -> Shown:
    """A relay strips one of the two identity signatures, or doubles the other; one broken algorithm is to be enough."""
    member = scene.member(RECIPIENT)
    pairs = list(zip(member.bundle.dsse.signatures, member.bundle.dsse.key_ids, strict=True))
    forms = [
        KeyBundle.parse(
            Dsse.make(TYPE_KEYBUNDLE, member.bundle.dsse.payload, form).raw, member.certificates, (member.crl,)
        )
        for form in (pairs[:1], pairs[1:], pairs[::-1], [pairs[0], pairs[0]])
    ]
    return {
        Judge.LIBRARY: alike(forms, lambda bundle: sealed_to(scene, bundle)),
        Judge.PEER_RELAY: alike(forms, lambda bundle: published(scene, bundle)()),
    }


@attack(RELAY, both(Reason.BAD_CERTIFICATE))
def bundle_with_anothers_certificates(scene: Scene, letter: Letter) -> Shown:
    """A relay hands out a bundle with certificates of another agency, or with none."""
    forms = [KeyBundle.parse(scene.bundle(RECIPIENT).raw, certs) for certs in (scene.member(SECOND).certificates, ())]
    return {
        Judge.LIBRARY: alike(forms, lambda bundle: sealed_to(scene, bundle)),
        Judge.PEER_RELAY: alike(forms, lambda bundle: published(scene, bundle)()),
    }


@attack(RELAY, {Judge.LIBRARY: Reason.STALE_BUNDLE})
def bundle_of_another_agency(scene: Scene, letter: Letter) -> Shown:
    """A relay hands out the bundle of an agency that it serves when asked for the recipient's."""
    return {Judge.LIBRARY: lambda: sealed_to(scene, scene.bundle(SECOND), scene.bundle(COLLEAGUE))}


@attack(RELAY, {Judge.LIBRARY: Reason.STALE_BUNDLE, Judge.PEER_RELAY: PASSES})
def stale_bundle(scene: Scene, letter: Letter) -> Shown:
    """A relay keeps the newest bundle back and hands out one whose time is over, and whose keys may be known.

    A relay takes old ones: envelopes that were sealed while they were in use are still on their way.
    """
    short = epochs.second(scene, RECIPIENT, lasts=HOUR).bundle

    def later(call: Callable[[], object]) -> object:
        with scene.at(scene.now + 2 * HOUR):
            return call()

    return {
        Judge.LIBRARY: lambda: later(lambda: sealed_to(scene, short)),
        Judge.PEER_RELAY: lambda: later(published(scene, short)),
    }


@attack(RELAY, {Judge.LIBRARY: Reason.STALE_BUNDLE, Judge.PEER_RELAY: PASSES})
def bundle_before_its_time(scene: Scene, letter: Letter) -> Shown:
    """A relay hands out only a bundle that begins tomorrow, while the recipient's machine may lack its keys.

    Relays take it, so that all have it when it begins.
    """
    return handed_out(scene, epochs.second(scene, RECIPIENT, begins=scene.now + DAY).bundle)


@attack(RELAY, {Judge.LIBRARY: NOTHING, Judge.PEER_RELAY: Reason.BAD_SIGNATURE})
def withdrawal_forged(scene: Scene, letter: Letter) -> Shown:
    """A relay makes up a bundle that withdraws the recipient's; it wants nobody to write to that agency.

    The sender's library takes no notice of it and seals to the good one.
    """
    bundle = epochs.second(scene, RECIPIENT, withdraw=True).bundle
    pairs = scene.member(SECOND).identity.key.sign(TYPE_KEYBUNDLE, bundle.dsse.payload)
    raw = Dsse.make(TYPE_KEYBUNDLE, bundle.dsse.payload, pairs).raw
    forged = KeyBundle.parse(raw, bundle.certificates, bundle.crls)

    def late() -> Answer:
        with scene.at(scene.now + HOUR):
            found = sealed_to(scene, scene.bundle(RECIPIENT), forged)
            return NOTHING if found == PASSES else found

    return {Judge.LIBRARY: late, Judge.PEER_RELAY: published(scene, forged)}


# Directories


class Ceremony:
    """A directory under root keys of the scene's suite, and versions made of it."""

    def __init__(self, scene: Scene) -> None:
        self.keys = [SigningKey.make(scene.suite) for _ in range(3)]
        entries = (RootKey(key.public, f"party {n}", scene.suite.number) for n, key in enumerate(self.keys))
        self.roots = Roots(2, tuple(entries))
        listing = replace(scene.exchange.directory.listing, roots=self.roots)
        self.first = Directory.parse(self.signed(listing), roots=self.roots)

    def signed(self, listing: Listing, *signers: int) -> bytes:
        """A version signed by some of the keys, by default by enough."""
        return Directory.sign(listing.payload, [self.keys[n] for n in signers or (0, 1)])

    def after(self, directory: Directory, **changes: object) -> Listing:
        """The content of the next version."""
        listing = directory.listing
        right = replace(listing, version=listing.version + 1, previous=directory.digest)
        return replace(right, **changes)


def offered(scene: Scene, held: Directory, *raws: bytes) -> Shown:
    """Put directories before an agency's library that holds one, as its relay hands them out."""

    def refreshed() -> Answer:
        box = scene.box(RECIPIENT, Hostile(directories=raws), spool=MemorySpool())
        box._desk.directory = held
        box.refresh()
        return PASSES

    return {Judge.RECIPIENT: refreshed}


@attack(RELAY, {Judge.RECIPIENT: Reason.DIRECTORY_ROLLBACK, Judge.OWN_RELAY: Reason.DIRECTORY_ROLLBACK})
def old_directory(scene: Scene, letter: Letter) -> Shown:
    """A relay hands out the version before the one held, in which an agency that was put out still takes part."""
    ceremony = Ceremony(scene)
    second = ceremony.first.succeed(ceremony.signed(ceremony.after(ceremony.first)))
    third = second.succeed(ceremony.signed(ceremony.after(second)))
    return {
        **offered(scene, third, second.raw),
        Judge.OWN_RELAY: lambda: ceremony.first.check_follows(third.raw),  # as a relay asks when it starts
    }


@attack(RELAY, {Judge.RECIPIENT: Reason.LOG_FORK})
def two_directories_of_one_version(scene: Scene, letter: Letter) -> Shown:
    """A relay and enough holders of root keys made a second version 2 for one agency alone, and go on from there."""
    ceremony = Ceremony(scene)
    held, other = (
        ceremony.first.succeed(ceremony.signed(ceremony.after(ceremony.first, **changes)))
        for changes in ({}, {"suites": (scene.suite.number,)})
    )
    raws = [other.raw, ceremony.signed(ceremony.after(other))]
    return {Judge.RECIPIENT: alike(raws, lambda raw: offered(scene, held, raw)[Judge.RECIPIENT]())}


@attack(RELAY, {Judge.RECIPIENT: Reason.DIRECTORY_ROLLBACK})
def directory_version_skipped(scene: Scene, letter: Letter) -> Shown:
    """A relay leaves out the version that removed a root key, and goes on with the next."""
    ceremony = Ceremony(scene)
    second = ceremony.first.succeed(ceremony.signed(ceremony.after(ceremony.first)))
    return offered(scene, ceremony.first, ceremony.signed(ceremony.after(second)))


@attack(RELAY, {Judge.RECIPIENT: Reason.BAD_SIGNATURE})
def directory_signed_by_too_few(scene: Scene, letter: Letter) -> Shown:
    """A relay's host holds one root key and signs a version alone, once, twice, and with a key that is no root."""
    ceremony = Ceremony(scene)
    listing = ceremony.after(ceremony.first)
    doubled = Dsse.parse(ceremony.signed(listing, 0), payload_type=TYPE_DIRECTORY, size_max=1 << 22)
    pair = (doubled.signatures[0], doubled.key_ids[0])
    strange = SigningKey.make(scene.suite)
    forms = [
        [pair],
        [pair, pair],
        [pair, (pair[0], ceremony.keys[1].key_id)],
        [pair, (strange.sign(TYPE_DIRECTORY, doubled.payload), strange.key_id)],
    ]
    raws = [Dsse.make(TYPE_DIRECTORY, doubled.payload, form).raw for form in forms]
    return {Judge.RECIPIENT: alike(raws, lambda raw: offered(scene, ceremony.first, raw)[Judge.RECIPIENT]())}


@attack(RELAY, {Judge.RECIPIENT: Reason.BAD_SIGNATURE})
def directory_under_its_own_roots(scene: Scene, letter: Letter) -> Shown:
    """A relay's host makes a directory in which its own keys are the roots, and signs it with all of them."""
    ceremony, own = Ceremony(scene), Ceremony(scene)
    return offered(scene, ceremony.first, own.signed(ceremony.after(ceremony.first, roots=own.roots)))


@attack(RELAY, {Judge.RECIPIENT: Reason.BAD_SIGNATURE})
def directory_altered(scene: Scene, letter: Letter) -> Shown:
    """A relay moves an agency's mailbox to itself under the signatures that the version had."""
    ceremony = Ceremony(scene)
    listing = ceremony.after(ceremony.first)
    signed = Dsse.parse(ceremony.signed(listing), payload_type=TYPE_DIRECTORY, size_max=1 << 22)
    moved = replace(
        listing, parties=tuple(replace(p, relay=STRANGER) if p.name == RECIPIENT else p for p in listing.parties)
    )
    pairs = list(zip(signed.signatures, signed.key_ids, strict=True))
    return offered(scene, ceremony.first, Dsse.make(TYPE_DIRECTORY, moved.payload, pairs).raw)


@attack(
    RELAY,
    dict.fromkeys((Judge.LIBRARY, Judge.OWN_RELAY, Judge.PEER_RELAY, Judge.RECIPIENT), Reason.DIRECTORY_EXPIRED),
)
def newer_directories_kept_back(scene: Scene, letter: Letter) -> Shown:
    """A relay keeps every newer version back until the last one has expired; nobody is to notice."""
    over = scene.exchange.directory.listing.expires_at

    def then(call: Callable[[], object]) -> object:
        with scene.at(over):
            return call()

    return {
        Judge.LIBRARY: lambda: then(lambda: sealed_to(scene, scene.bundle(RECIPIENT))),
        Judge.OWN_RELAY: lambda: then(lambda: scene.fresh[HOME].decide(scene.party(SENDER), letter.raw)),
        Judge.PEER_RELAY: lambda: then(lambda: scene.fresh[PEER].decide(scene.party(HOME), letter.raw)),
        Judge.RECIPIENT: lambda: then(lambda: scene.delivered(RECIPIENT, letter.raw)),
    }
