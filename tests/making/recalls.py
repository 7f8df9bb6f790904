"""Recalls: orders to stop an envelope, what relays make of them, what evidence says of them; and destruction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from infoexchange.acknowledgement import Acknowledgement
from infoexchange.dsse import TYPE_RECALL, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.header import LIFETIME_DEFAULT
from infoexchange.keys import KeyUsage
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.v1 import audit_pb2, envelope_pb2
from making.case import Case, at, changed, clear, edit, inside, put
from making.envelopes import message
from making.files import HERE, SOON, THERE, Files
from making.world import DAY, NOW, OTHER, RECIPIENT, SECOND, SENDER, Makers, Worlds

Change = Callable[[Any], object]
FORTY_DAYS = 40 * 86_400_000


class Orders:
    """Orders about one envelope, right and wrong."""

    def __init__(self, makers: Makers, envelope: Envelope | None = None) -> None:
        self.makers = makers
        self.envelope = envelope or makers.seal(message(), [RECIPIENT])
        self.good = self.signed()

    def signed(self, by: str = SENDER, **others: Any) -> RecallOrder:
        """Return an order with other terms, signed by its issuer or by somebody else."""
        said = Recalled(
            envelope_digest=self.envelope.digest,
            issuer=SENDER,
            issuer_bundle=self.makers.members[SENDER].bundle.digest,
            suite=HYBRID_KEM.number,
            recipients=(RECIPIENT,),
            at=NOW,
        )
        return RecallOrder.sign(replace(said, **others), self.makers.members[by].identity.epochs[0])

    def by(self, name: str, **others: Any) -> RecallOrder:
        """Return an order that another agency issues in its own name."""
        return self.signed(name, issuer=name, issuer_bundle=self.makers.members[name].bundle.digest, **others)

    def again(self, change: Change) -> bytes:
        """Return a change that `sign` would not make, signed."""
        raw = changed(audit_pb2.RecallOrder, self.good.dsse.payload, change)
        key = self.makers.members[SENDER].identity.epochs[0].signing[HYBRID_KEM.number, KeyUsage.MANIFEST]
        return Dsse.make(TYPE_RECALL, raw, [(key.sign(TYPE_RECALL, raw), key.key_id)]).raw

    def spoiled(self, change: Change) -> bytes:
        """Return a change under the old signature."""
        return changed(envelope_pb2.Dsse, self.good.raw, inside("payload", audit_pb2.RecallOrder, change))


def orders(o: Orders) -> Iterator[Case]:
    """Yield orders by themselves."""

    def case(name: str, expect: str, step: int, comment: str, order: RecallOrder | bytes) -> Case:
        raw = order if isinstance(order, bytes) else order.raw
        more = (("world", o.makers.name),)
        return Case(f"recall-{name}", "recall.verify", expect, (raw,), comment, f"Recall {step}", more)

    yield case("ok", "ok", 3, "for one recipient", o.good)
    yield case("ok-hybrid", "ok", 3, "in suite 0x0002", o.signed(suite=HYBRID.number))
    yield case("ok-two", "ok", 3, "for two recipients", o.signed(recipients=(RECIPIENT, SECOND)))
    raw = o.good.raw
    twice = changed(envelope_pb2.Dsse, raw, lambda m: m.signatures.add().CopyFrom(m.signatures[0]))
    yield case("form-unknown-field", "not_canonical", 1, "an unknown field", raw + b"\xa2\x06\x01x")
    yield case("form-cut", "malformed", 1, "the last byte is missing", raw[:-1])
    yield case("form-large", "too_large", 1, "over 32 KiB", bytes(32 * 1024 + 1))
    yield case("form-signatures", "bad_field", 1, "two signatures", twice)
    yield case("form-manifest", "bad_field", 1, "a manifest", o.envelope.manifest.raw)
    for name, comment, change in (
        ("digest", "an envelope digest of 31 bytes", put(envelope_digest=bytes(31))),
        ("issuer", "an issuer in capitals", put(issuer="DESK.th.example")),
        ("bundle", "no bundle", clear("issuer_bundle")),
        ("nobody", "no recipient", clear("recipients")),
        ("order", "recipients that fall", lambda m: m.recipients.append("a.example")),
        ("many", "65 recipients", lambda m: m.recipients.extend(f"office{n:02}.vn.example" for n in range(64))),
        ("time", "a time before 1970", put(at_ms=-1)),
    ):
        yield case(f"form-{name}", "bad_field", 1, comment, o.again(change))
    borrowed = o.makers.members[OTHER].bundle.digest
    for name, expect, comment, change in (
        ("suite-unknown", "suite_not_accepted", "a suite outside the registry", put(suite=0x99)),
        ("bundle-of-another", "stale_bundle", "another agency's bundle", put(issuer_bundle=borrowed)),
        ("bundle-unknown", "stale_bundle", "a bundle nobody published", put(issuer_bundle=bytes(32))),
        ("late", "stale_bundle", "after the bundle's last use", edit("at_ms", lambda at: at + FORTY_DAYS)),
    ):
        yield case(name, expect, 2, comment, o.again(change))
    yield case(
        "changed", "bad_signature", 3, "another envelope under the signature", o.spoiled(put(envelope_digest=bytes(32)))
    )
    yield case("signed-by-another", "bad_signature", 3, "another agency's key", o.signed(OTHER))
    yield case("suite", "suite_not_accepted", 3, "a suite in which the issuer has no key", o.again(put(suite=1)))


def handed(o: Orders) -> Iterator[Case]:
    """Yield orders handed to a relay, after the envelope or before it."""
    envelope, nothing = o.envelope.raw, b""

    def case(
        name: str, expect: str, step: int, comment: str, *blocks: bytes, party: str = SENDER, relay: str = HERE,
        now: datetime = NOW + SOON,
    ) -> Case:  # fmt: skip
        more = (("world", o.makers.name), at(now), ("party", party), ("relay", relay))
        return Case(f"relay-recall-{name}", "relay.recall", expect, blocks, comment, f"Relay {step}", more)

    good, peer = o.good.raw, {"party": HERE, "relay": THERE}
    yield case("ok", "ok", 11, "at the sender's relay: it stops what waits for the next one", envelope, good)
    yield case("ok-before", "ok", 11, "before the envelope has come", nothing, good)
    yield case("ok-twice", "ok", 8, "the same order again", envelope, good, good)
    yield case(
        "ok-at-peer",
        "ok",
        11,
        "at the recipient's relay: it stops what waits for the recipient",
        envelope,
        good,
        **peer,
    )
    yield case("ok-before-at-peer", "ok", 11, "at the recipient's relay, before the envelope", nothing, good, **peer)
    yield case("garbage", "malformed", 8, "no order", envelope, b"\xff")
    another = o.signed(envelope_digest=bytes(32)).raw
    yield case("of-another", "bad_field", 8, "an order about another envelope", envelope, another)
    left = o.again(put(issuer="none.th.example"))
    yield case("issuer-unknown", "unknown_party", 8, "an issuer the directory does not list", nothing, left)
    yield case("by-another", "not_permitted", 8, "handed over by another agency", envelope, good, party=OTHER)
    yield case(
        "by-peer", "not_permitted", 8, "handed over by a relay that is not its issuer's", envelope, good, party=THERE
    )
    ahead = o.signed(at=NOW + 7 * SOON).raw
    yield case("future", "not_yet_valid", 9, "six minutes ahead", envelope, ahead)
    yield case(
        "bundle-unknown",
        "stale_bundle",
        9,
        "a bundle that was not published here",
        envelope,
        o.again(put(issuer_bundle=bytes(32))),
    )
    dated = {"now": NOW + 31 * DAY}
    yield case(
        "dated-back", "stale_bundle", 9, "made while its bundle was in use, handed over after", nothing, good, **dated
    )
    yield case("forged", "bad_signature", 9, "signed by another agency", envelope, o.signed(OTHER).raw)
    by_other = o.by(OTHER).raw
    yield case("not-sender", "not_permitted", 10, "by an agency that did not send it", envelope, by_other, party=OTHER)
    hybrid = o.signed(suite=HYBRID.number).raw
    yield case("suite", "bad_field", 10, "in another suite than the envelope", envelope, hybrid)
    more = o.signed(recipients=(RECIPIENT, SECOND)).raw
    yield case("recipients", "bad_field", 10, "for one to whom it was not addressed", envelope, more)
    late = {"now": NOW + LIFETIME_DEFAULT + 6 * SOON}
    yield case("expired", "expired", 10, "more than five minutes after the envelope's end", envelope, good, **late)
    many = [o.signed(at=NOW + timedelta(milliseconds=n)).raw for n in range(17)]
    yield case("seventeen", "too_large", 10, "a seventeenth order", envelope, *many)
    yield case("ok-sixteen", "ok", 11, "a sixteenth order", envelope, *many[:16])


def evidence(makers: Makers) -> Iterator[Case]:
    """Yield evidence about an envelope that was recalled, and about one whose content key was destroyed."""
    f = Files(makers)
    o = Orders(makers, f.envelope)
    order = o.signed(at=NOW + SOON)

    def entry(event: Event, place: int, relay: str = THERE, **others: Any) -> Receipt:
        return f.receipt(event, statement=order.digest, place=place, this_relay=relay, **others)

    here = entry(Event.RECALL_ORDERED, 1, HERE)
    there = entry(Event.RECALL_ORDERED, 2, previous_relay=HERE)
    stopped = entry(Event.RECALLED, 3)
    delivered = f.receipt(Event.DELIVERED, this_relay=THERE, place=3)
    before = f.receipt(Event.DELIVERED, this_relay=THERE, place=1)

    def case(
        name: str, expect: str, step: int, comment: str, events: Sequence[Receipt], *said: Acknowledgement | RecallOrder
    ) -> Case:
        return f.case(f"recall-{name}", expect, step, comment, f.file([f.accepted, *events], said))

    bad = "bad_proof"
    yield case("ok", "ok", 9, "stopped at the recipient's relay", [here, there, stopped], order)
    yield case("ok-too-late", "ok", 9, "delivered before the order came", [here, before, there], order)
    yield case("ok-not-confirmed", "ok", 9, "the recipient's relay has not said anything", [here], order)
    yield case(
        "ok-stopped-here",
        "ok",
        9,
        "stopped at the sender's relay",
        [here, entry(Event.RECALLED, 2, HERE, next_relay=THERE)],
        order,
    )
    ended = f.receipt(Event.EXPIRED, this_relay=THERE, logged_at=f.header.expires_at + SOON, place=4)
    yield case(
        "ok-two-ends", "ok", 9, "stopped and expired at the recipient's relay", [here, there, stopped, ended], order
    )
    opened = f.statement(at=NOW + 4 * SOON)
    fetched = f.receipt(Event.OPENED, statement=opened.digest, place=4, this_relay=THERE, logged_at=NOW + 5 * SOON)
    yield case(
        "ok-opened",
        "ok",
        9,
        "stopped, but the recipient had fetched it and opened it",
        [here, there, stopped, fetched],
        order,
        opened,
    )
    yield case("ok-no-order", "ok", 9, "RECALLED, and no order in the file", [here, there, stopped])
    yield case(
        "elsewhere",
        bad,
        6,
        "an order taken by a relay that is not on the way",
        [here, entry(Event.RECALL_ORDERED, 1, "relay.la.example")],
        order,
    )
    yield case(
        "forged", "bad_signature", 7, "signed by another agency", [_about(f, forged := o.signed(RECIPIENT))], forged
    )
    for name, comment, wrong in (
        ("of-another", "about another envelope", o.signed(envelope_digest=bytes(32))),
        ("by-another", "by an agency that did not send it", o.by(SECOND)),
        ("dated-after", "made nine minutes after it was logged", o.signed(at=NOW + 10 * SOON)),
    ):
        yield case(name, bad, 7, comment, [_about(f, wrong)], wrong)
    yield case("not-logged", bad, 7, "no entry for it", [], order)
    yield case(
        "delivered-after", bad, 8, "the recipient's relay took the order and delivered", [here, there, delivered], order
    )
    yield from _destroyed(f)


def _about(f: Files, order: RecallOrder) -> Receipt:
    return f.receipt(Event.RECALL_ORDERED, statement=order.digest, recipients=order.statement.recipients)


def _destroyed(f: Files) -> Iterator[Case]:
    """Yield evidence about the destruction of a content key."""
    opened, done = f.statement(), f.statement(state=Event.DESTROYED, at=NOW + 2 * SOON)
    empty = f.statement(state=Event.DESTROYED, at=NOW + 2 * SOON, content_commitment=bytes(32))
    first = f.logged(opened, place=1)

    def case(name: str, expect: str, step: int, comment: str, said: Acknowledgement, place: int) -> Case:
        last = f.logged(said, place=place, logged_at=NOW + 3 * SOON)
        raw = f.file([f.accepted, first, last], [opened, said])
        return f.case(f"destroyed-{name}", expect, step, comment, raw)

    yield case("ok", "ok", 9, "opened, then destroyed", done, 2)
    yield case("before", "bad_proof", 7, "destroyed before it was opened", done, 0)
    yield case("commitment", "bad_commitment", 7, "another content destroyed", empty, 2)


def destructions(makers: Makers) -> Iterator[Case]:
    """Yield statements of destruction handed to a relay, after OPENED or without it."""
    f = Files(makers, makers.seal(message(), [RECIPIENT]))
    opened, done = f.statement(at=NOW), f.statement(state=Event.DESTROYED, at=NOW)
    refused = f.statement(state=Event.REFUSED, at=NOW, reason=int(Reason.RULE_BROKEN), content_commitment=b"")
    other = f.statement(state=Event.DESTROYED, at=NOW, content_commitment=bytes(32))

    def case(name: str, expect: str, step: int, comment: str, *said: Acknowledgement) -> Case:
        blocks = (f.envelope.raw, *(one.raw for one in said))
        more = (("world", makers.name), at(NOW), ("party", RECIPIENT))
        return Case(
            f"acknowledged-destroyed-{name}", "relay.acknowledge", expect, blocks, comment, f"Relay {step}", more
        )

    yield case("ok", "ok", 7, "DESTROYED after OPENED", opened, done)
    yield case("alone", "not_permitted", 6, "DESTROYED without OPENED", done)
    yield case("refused", "not_permitted", 6, "DESTROYED after REFUSED", refused, done)
    yield case("commitment", "bad_commitment", 6, "another content destroyed", opened, other)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    o = Orders(worlds.one)
    worlds.others["recall-envelope"] = o.envelope.raw
    yield from orders(o)
    yield from handed(o)
    yield from evidence(worlds.three)
    yield from destructions(worlds.one)
