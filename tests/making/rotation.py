"""Rotation: bundles one after the other, their publication and withdrawal, and key files under a passphrase."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from infoexchange import certificates
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Entry, Operation, Routing, Subject
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import NationalCa
from infoexchange.dsse import TYPE_KEYBUNDLE, Dsse
from infoexchange.header import LIFETIME_DEFAULT
from infoexchange.keys import EpochKeys
from infoexchange.keys.sealed import Cost, Seal
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.tlog import Proof
from infoexchange.v1 import bundle_pb2
from making.case import Case, at, canonical
from making.envelopes import message
from making.files import HERE, SOON, THERE, Files
from making.world import DAY, NOW, RECIPIENT, SECOND, SENDER, Makers, Worlds

HOUR = timedelta(hours=1)
PASSPHRASE = "five words nobody said"


def packed(bundle: KeyBundle, crls: Sequence[bytes] | None = None) -> bytes:
    """Return a SignedBundle."""
    lists = bundle.crls if crls is None else crls
    return canonical(bundle_pb2.SignedBundle(bundle=bundle.raw, certificates=bundle.certificates, crls=lists))


class Chain:
    """Bundles of one agency after its first."""

    def __init__(self, makers: Makers, name: str = SENDER) -> None:
        self.makers, self.member = makers, makers.members[name]
        self.first = self.member.bundle

    def after(
        self, previous: KeyBundle | None = None, start: datetime = NOW + DAY, *, withdraw: bool = False, epoch: int = 0
    ) -> KeyBundle:
        """Return the bundle after another one, the first if none is given."""
        previous = previous or self.first
        keys = EpochKeys.make(epoch or previous.epoch + 1, suites=(HYBRID_KEM,))
        identity = replace(self.member.identity, epochs=(keys,))
        parts = self.member.certificates, (self.member.crl,)
        return KeyBundle.issue(identity, *parts, now=start, previous=previous, withdraw=withdraw)

    def forged(self, bundle: KeyBundle) -> KeyBundle:
        """Return a bundle in the agency's name, signed by another one."""
        payload, key = bundle.dsse.payload, self.makers.members[RECIPIENT].identity.key
        raw = Dsse.make(TYPE_KEYBUNDLE, payload, key.sign(TYPE_KEYBUNDLE, payload)).raw
        return KeyBundle.parse(raw, self.member.certificates, (self.member.crl,))


def chains(makers: Makers, shared: dict[str, bytes]) -> Iterator[Case]:
    """Yield a bundle beside others of its owner."""
    c = Chain(makers)
    first, second, again = c.first, c.after(), c.after()
    third = c.after(second, NOW + 2 * DAY)
    new = c.after(withdraw=True)
    shared["chain-second"], shared["chain-again"], shared["chain-new"] = second.raw, again.raw, new.raw

    def case(
        name: str, expect: str, step: int, comment: str, bundle: KeyBundle, *known: KeyBundle, now: datetime = NOW
    ) -> Case:
        more = (("world", makers.name), at(now))
        blocks = tuple(map(packed, (bundle, *known)))
        return Case(f"chain-{name}", "chain.check", expect, blocks, comment, f"Chain of bundles {step}", more)

    yield case("ok-alone", "ok", 3, "nothing else is known", first)
    yield case("ok-next", "ok", 3, "the one after the one known", second, first)
    yield case("ok-before", "ok", 3, "the one before the one known", first, second)
    yield case("ok-gap", "ok", 3, "a gap: the third beside the first", third, first)
    yield case("ok-same", "ok", 3, "the same once more", second, first, second)
    yield case("ok-forged", "ok", 3, "another of its epoch that its owner did not sign", second, first, c.forged(again))
    yield case("epoch-twice", "log_fork", 1, "another one of the same epoch", second, first, again)
    yield case("torn", "log_fork", 2, "it names another one before it", c.after(again), second)
    yield case("torn-before", "log_fork", 2, "the one after it names another", again, c.after(second))
    late = {"now": NOW + DAY + timedelta(minutes=5, seconds=1)}
    yield case("withdrawn", "revoked", 3, "withdrawn by the next, five minutes and a second ago", first, new, **late)
    on_time = {"now": NOW + DAY + timedelta(minutes=5)}
    yield case("ok-withdrawn-soon", "ok", 3, "withdrawn by the next, five minutes ago", first, new, **on_time)
    yield case("ok-withdrawing", "ok", 3, "the one that withdraws", new, first, **late)
    yield case(
        "ok-withdrawn-forged", "ok", 3, "withdrawn by one that its owner did not sign", first, c.forged(new), **late
    )
    newer = c.after(second, NOW + 2 * DAY, withdraw=True)
    after = {"now": NOW + 3 * DAY}
    yield case("withdrawn-later", "revoked", 3, "withdrawn by the one after the next", first, second, newer, **after)


def publications(makers: Makers, shared: dict[str, bytes]) -> Iterator[Case]:
    """Yield bundles handed to a relay that knows the first of each agency."""
    c = Chain(makers)
    second = c.after()
    shared["publish-second"] = second.raw

    def case(
        name: str, expect: str, step: str, comment: str, *raws: bytes, party: str = SENDER, relay: str = HERE,
        now: datetime = NOW + HOUR,
    ) -> Case:  # fmt: skip
        more = (("world", makers.name), at(now), ("party", party), ("relay", relay))
        return Case(f"publish-{name}", "relay.publish", expect, raws, comment, step, more)

    yield case("ok", "ok", "", "by its owner, a day ahead of use", packed(second))
    yield case("ok-by-relay", "ok", "", "by another relay", packed(second), party=HERE, relay=THERE)
    yield case("ok-again", "ok", "", "twice", packed(second), packed(second))
    ca = makers.community.cas["th"]
    ended = {"now": NOW + 31 * DAY}
    lists = [ca.crl(now=NOW + HOUR)]
    yield case("ok-newer-list", "ok", "", "the first, with a newer list", packed(c.first, lists))
    revoked = ca.crl(now=NOW + HOUR, revoked=[(_serial(makers), NOW)])
    yield case("ok-revoking-list", "ok", "", "the first, with a newer list that revokes it", packed(c.first, [revoked]))
    yield case("revoked", "revoked", "KeyBundle 4", "a new one that a list revokes", packed(second, [revoked]))
    yield case("not-permitted", "not_permitted", "", "another agency's", packed(second), party="desk.navy.th.example")
    yield case("over", "stale_bundle", "", "by its owner, after its end", packed(c.first), **ended)
    ahead = c.after(start=NOW + HOUR + 30 * DAY + timedelta(seconds=1))
    yield case("ahead", "not_yet_valid", "", "more than 30 days ahead of use", packed(ahead))
    yield case("five-lists", "too_large", "", "five lists", packed(second, [c.member.crl] * 5))
    foreign = NationalCa.make("th.example", now=NOW).crl(now=NOW)
    yield case(
        "list-foreign", "bad_certificate", "KeyBundle 4", "a list of no CA that is listed", packed(second, [foreign])
    )
    yield case("forged", "bad_signature", "KeyBundle 5", "signed by another agency", packed(c.forged(second)))
    other = c.after()
    yield case("epoch-twice", "log_fork", "Chain of bundles 1", "two of one epoch", packed(second), packed(other))
    torn = c.after(other, NOW + 2 * DAY)
    yield case("torn", "log_fork", "Chain of bundles 2", "it names another one before it", packed(second), packed(torn))
    yield from _withdrawn(makers, c, shared)


def _serial(makers: Makers) -> int:
    der, ca = makers.members[SENDER].certificates[0], makers.community.cas["th"].certificate
    return certificates.verify_leaf(der, (ca,), NOW).serial


def _withdrawn(makers: Makers, c: Chain, shared: dict[str, bytes]) -> Iterator[Case]:
    """Yield envelopes under keys that were withdrawn: the relay is handed the withdrawal first."""
    new = packed(c.after(start=NOW + HOUR, withdraw=True))
    shared["publish-new"] = new

    def case(name: str, expect: str, comment: str, raw: bytes, now: datetime, **who: str) -> Case:
        who = {"party": SENDER, "relay": HERE, **who}
        more = (("world", makers.name), at(now), *who.items())
        return Case(f"withdrawn-{name}", "relay.withdraw", expect, (new, raw), comment, "Relay 3", more)

    before = makers.seal(message(), header=makers.header(created_at=NOW + HOUR)).raw
    after = makers.seal(message(), header=makers.header(created_at=NOW + 2 * HOUR)).raw
    yield case("dated-back", "revoked", "made before, handed over by its sender after", before, NOW + 2 * HOUR)
    yield case(
        "made-after",
        "revoked",
        "made after, forwarded by the sender's relay",
        after,
        NOW + 2 * HOUR,
        party=HERE,
        relay=THERE,
    )
    passed = case(
        "ok",
        "ok",
        "made before, forwarded by the sender's relay after",
        before,
        NOW + 2 * HOUR,
        party=HERE,
        relay=THERE,
    )
    yield replace(passed, step="Relay 4")
    soon = case("ok-soon", "ok", "five minutes after the withdrawal begins", before, NOW + HOUR + timedelta(minutes=5))
    yield replace(soon, step="Relay 4")


class Withdrawals(Files):
    """Evidence about a message whose sender withdrew its keys later, or earlier."""

    def published(self, bundle: KeyBundle, logged_at: datetime, relay: str = HERE, **others: Any) -> Receipt:
        """Return the entry that published a bundle."""
        routing = Routing(
            event=Event.KEY_BUNDLE, logged_at=logged_at, this_relay=relay, sender=bundle.owner,
            sender_nation=bundle.owner.split(".")[2],
        )  # fmt: skip
        subject = Subject(sender_bundle=bundle.digest, directory_digest=self.makers.directory.digest)
        entry = Entry.make(replace(routing, **others), subject, Operation())
        checkpoint = self.makers.community.log_keys[relay].sign(1, entry.leaf_hash, now=logged_at)
        return Receipt.make(entry, Proof.make(0, [], checkpoint.raw))


def evidence(makers: Makers, shared: dict[str, bytes]) -> Iterator[Case]:
    """Yield evidence in which keys are withdrawn."""
    envelope = makers.seal(message(), header=makers.header(created_at=NOW + HOUR, expires_at=NOW + LIFETIME_DEFAULT))
    f = Withdrawals(makers, envelope)  # logged a minute later
    logged = envelope.header.created_at + SOON
    new = Chain(makers).after(start=NOW + HOUR / 2, withdraw=True)
    foreign = Chain(makers, SECOND).after(start=NOW, withdraw=True)
    theirs = Chain(makers, RECIPIENT).after(start=NOW + HOUR / 2, withdraw=True)
    shared["withdrawn-new"], shared["withdrawn-envelope"] = new.raw, envelope.raw
    shared["withdrawn-accepted"] = f.accepted.raw
    said = f.statement(at=logged)
    opened = f.receipt(
        Event.OPENED, statement=said.digest, this_relay=THERE, recipients=(RECIPIENT,), logged_at=logged + SOON
    )

    def case(
        name: str,
        expect: str,
        step: int,
        comment: str,
        events: Sequence[Receipt],
        *bundles: KeyBundle,
        by: Sequence[Acknowledgement] = (),
    ) -> Case:
        raw = f.file([f.accepted, *events], by, bundles=bundles)
        return f.case(f"withdrawn-{name}", expect, step, comment, raw, now=NOW + 2 * HOUR)

    yield case(
        "ok-after",
        "ok",
        9,
        "withdrawn by an entry after the message was logged",
        [f.published(new, logged + SOON)],
        new,
    )
    yield case("before", "revoked", 4, "withdrawn by an entry before", [f.published(new, logged - SOON / 2)], new)
    yield case("ok-no-entry", "ok", 9, "withdrawn, and no entry shows when", [], new)
    later = Chain(makers).after(start=logged - timedelta(minutes=5), withdraw=True)
    yield case(
        "ok-soon",
        "ok",
        9,
        "withdrawn five minutes before it was logged",
        [f.published(later, logged - SOON / 2)],
        later,
    )
    yield case("ok-of-another", "ok", 9, "another agency withdraws its own", [], foreign)
    yield case(
        "entry-alone",
        "stale_bundle",
        6,
        "an entry about a bundle that is not in the file",
        [f.published(new, logged + SOON)],
    )
    strange = f.published(new, logged + SOON, relay=THERE)
    yield case("entry-elsewhere", "bad_proof", 6, "published at a relay that is not its owner's", [strange], new)
    renamed = f.published(new, logged + SOON, sender=RECIPIENT)
    yield case("entry-sender", "bad_proof", 6, "published as another agency's", [renamed], new)
    gone = f.published(theirs, logged, relay=THERE)
    yield case("statement", "revoked", 7, "the recipient withdrew its keys before", [opened, gone], theirs, by=[said])
    kept = f.published(theirs, logged + 2 * SOON, relay=THERE)
    yield case("ok-statement", "ok", 9, "the recipient withdrew its keys after", [opened, kept], theirs, by=[said])


def files() -> Iterator[Case]:
    """Yield sealed files, at the least that Argon2id can cost."""
    inside = b"what lies in the clear"
    good = Seal.make(PASSPHRASE, cost=Cost(64 * 1024, 1, 2)).seal(inside)
    value = json.loads(good)

    def case(name: str, expect: str, step: int, comment: str, raw: bytes, passphrase: str = PASSPHRASE) -> Case:
        return Case(f"sealed-{name}", "sealed.open", expect, (raw, passphrase.encode()), comment, f"Key files {step}")

    def with_(**fields: Any) -> bytes:
        return json.dumps({**value, **fields}).encode()

    yield case("ok", "ok", 3, "64 KiB, one pass, two lanes", good)
    order = json.dumps(dict(reversed(value.items()))).encode()
    yield case("ok-order", "ok", 3, "its keys in another order", order)
    accents = "tập tin của cơ quan tôi"
    made = Seal.make(accents, cost=Cost(64 * 1024, 1, 1)).seal(inside)
    yield case("ok-accents", "ok", 3, "a passphrase with accents as separate letters", made, _apart(accents))
    for name, comment, raw in (
        ("garbage", "no JSON", b"{"),
        ("form", "another form", with_(form="infoexchange sealed file 2")),
        ("more", "a key more", with_(more=1)),
        ("missing", "a key less", json.dumps({k: v for k, v in value.items() if k != "lanes"}).encode()),
        ("salt", "a salt of 15 bytes", with_(salt="AAAAAAAAAAAAAAAAAAAA")),
        ("float", "a number that is not whole", with_(passes=1.0)),
        ("true", "a truth value in the place of a number", with_(passes=True)),
        ("base64", "no base64", with_(sealed="!")),
    ):
        yield case(name, "malformed", 1, comment, raw)
    for name, expect, comment, fields in (
        ("passes-0", "bad_field", "no pass", {"passes": 0}),
        ("memory-least", "bad_field", "less than 8 KiB for each lane", {"memory_kib": 15}),
        ("memory", "too_large", "more than 1024 MiB", {"memory_kib": 1024 * 1024 + 1}),
        ("passes", "too_large", "17 passes", {"passes": 17}),
        ("lanes", "too_large", "17 lanes", {"memory_kib": 1024, "lanes": 17}),
        ("work", "too_large", "16 passes over 512 MiB", {"memory_kib": 512 * 1024, "passes": 16}),
    ):
        yield case(name, expect, 2, comment, with_(**fields))
    for name, comment, fields in (
        ("costs", "another cost", {"passes": 2}),
        ("other-salt", "another salt", {"salt": "AAAAAAAAAAAAAAAAAAAAAA=="}),
        ("no-ciphertext", "nothing inside", {"sealed": ""}),
    ):
        yield case(name, "bad_ciphertext", 3, comment, with_(**fields))
    yield case("passphrase", "bad_ciphertext", 3, "another passphrase", good, PASSPHRASE + "!")


def _apart(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    yield from chains(worlds.one, worlds.others)
    yield from publications(worlds.one, worlds.others)
    yield from evidence(worlds.three, worlds.others)
    yield from files()
