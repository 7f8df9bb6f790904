"""Onward: grants, and content that is passed on with the way it has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from infoexchange import catalogue
from infoexchange.content import Content
from infoexchange.dsse import TYPE_GRANT, Dsse
from infoexchange.envelope import Envelope
from infoexchange.grant import Grant, Terms
from infoexchange.keys import KeyUsage
from infoexchange.origin import Origin
from infoexchange.suites import HYBRID_KEM
from infoexchange.v1 import content_pb2, envelope_pb2, grant_pb2
from making.case import Case, at, canonical, changed, clear, edit, inside, put, within
from making.envelopes import message
from making.world import DAY, NOW, OUTSIDER, RECIPIENT, SCHEMA, SECOND, SENDER, THIRD, Makers, Worlds

HOUR = timedelta(hours=1)
GRANTED, PASSED, JUDGED = NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR
Change = Callable[[Any], object]


class Onward:
    """SENDER to RECIPIENT, which passes it on to THIRD; and what is needed to forge around that."""

    def __init__(self, makers: Makers, payload: bytes = b"", **content: Any) -> None:
        """Seal the original and a grant for passing it on."""
        self.makers, self.payload = makers, payload or message()
        header = makers.header(message_id=content.pop("message_id", bytes(range(16))))
        along = {"enclose": content.pop("enclose")} if "enclose" in content else {}
        self.content = Content.make(SCHEMA, self.payload, thread_id=bytes(16), **content)
        self.original = self.seal_as(SENDER, self.content, [RECIPIENT], header, **along)
        self.grant = self.signed()

    def seal_as(self, name: str, content: Content, to: Sequence[str], header: Any, **along: Any) -> Envelope:
        """Return an envelope by anybody, with a grant or attachments if they are given."""
        members = self.makers.members
        header = replace(header, sender=name, sender_bundle=members[name].bundle.digest)
        bundles = [members[n].bundle for n in to]
        return Envelope.seal(content, header, bundles, members[name].identity.epochs[0], **along)

    @property
    def terms(self) -> Terms:
        """What SENDER consents to."""
        return Terms(
            origin=self.original.digest,
            originator=SENDER,
            originator_bundle=self.makers.members[SENDER].bundle.digest,
            holder=RECIPIENT,
            recipients=(THIRD,),
            granted_at=GRANTED,
            expires_at=GRANTED + 10 * DAY,
            suite=HYBRID_KEM.number,
        )

    def signed(self, by: str = SENDER, **others: Any) -> Grant:
        """Return a grant with other terms, signed by anybody."""
        return Grant.sign(replace(self.terms, **others), self.makers.members[by].identity.epochs[0])

    def resigned(self, change: Change) -> bytes:
        """Return a grant with a change of its payload that `sign` would not make."""
        payload = changed(grant_pb2.Grant, self.grant.dsse.payload, change)
        key = self.makers.members[SENDER].identity.epochs[0].signing[HYBRID_KEM.number, KeyUsage.MANIFEST]
        return Dsse.make(TYPE_GRANT, payload, [(key.sign(TYPE_GRANT, payload), key.key_id)]).raw

    def origin(
        self, envelope: Envelope | None = None, content: Content | None = None, owners: Sequence[str] = (SENDER,)
    ) -> Origin:
        """Return the Origin of an envelope, the original if none is given."""
        bundles = [self.makers.members[name].bundle for name in owners]
        return Origin.make(envelope or self.original, content or self.content, RECIPIENT, bundles)

    def passed_on(
        self, origin: Origin | bytes, grant: Grant | None, *, by: str = RECIPIENT, to: Sequence[str] = (THIRD,),
        payload: bytes = b"", **header: Any,
    ) -> Envelope:  # fmt: skip
        """Return what a holder seals, honest or not."""
        raw = origin if isinstance(origin, bytes) else origin.raw
        attachments = header.pop("attachments", ())
        along = {"enclose": header.pop("enclose")} if attachments else {}
        content = Content.make(SCHEMA, payload or self.payload, origin=raw, attachments=attachments)
        times = {"created_at": PASSED, "expires_at": PASSED + 5 * DAY}
        return self.seal_as(by, content, to, self.makers.header(**{**times, **header}), grant=grant, **along)

    def case(
        self, name: str, expect: str, step: int, comment: str, envelope: Envelope | bytes, *, party: str = THIRD,
        now: datetime = JUDGED,
    ) -> Case:  # fmt: skip
        """Return a case of section Origin."""
        raw = envelope if isinstance(envelope, bytes) else envelope.raw
        more = (("world", "three"), at(now), ("party", party))
        return Case(f"origin-{name}", "mailbox.receive", expect, (raw,), comment, f"Origin {step}", more)


def grants(o: Onward, shared: dict[str, bytes]) -> Iterator[Case]:
    """Yield grants, each beside the envelope that it is to cover."""
    covered = o.passed_on(o.origin(), o.grant)
    shared["onward-envelope"] = covered.raw

    def case(
        name: str, expect: str, step: int, comment: str, grant: Grant | bytes, envelope: Envelope = covered
    ) -> Case:
        raw = grant if isinstance(grant, bytes) else grant.raw
        more = (("world", "three"),)
        return Case(f"grant-{name}", "grant.verify", expect, (raw, envelope.raw), comment, f"Grant {step}", more)

    yield case("ok", "ok", 5, "for one holder and one recipient", o.grant)
    yield case("ok-more", "ok", 5, "for more recipients than there are", o.signed(recipients=(OUTSIDER, THIRD)))
    yield case("ok-early", "ok", 5, "given five minutes after", o.signed(granted_at=PASSED + timedelta(minutes=5)))
    yield case("ok-late", "ok", 5, "ended five minutes before", o.signed(expires_at=PASSED - timedelta(minutes=5)))
    yield from (
        case(f"form-{name}", expect, 1, comment, raw)
        for name, expect, comment, raw in (
            ("unknown-field", "not_canonical", "an unknown field", o.grant.raw + b"\xa2\x06\x01x"),
            ("cut", "malformed", "the last byte is missing", o.grant.raw[:-1]),
            ("large", "too_large", "over 24 KiB", bytes(24 * 1024 + 1)),
            ("manifest", "bad_field", "a manifest", covered.manifest.raw),
        )
    )
    twice = changed(envelope_pb2.Dsse, o.grant.raw, lambda m: m.signatures.add().CopyFrom(m.signatures[0]))
    yield case("form-signatures", "bad_field", 1, "two signatures", twice)
    day = 86_400_000
    for name, comment, change in (
        ("origin", "an origin of 31 bytes", put(origin=bytes(31))),
        ("bundle", "a bundle digest of 33 bytes", put(originator_bundle=bytes(33))),
        ("originator", "an originator in capitals", put(originator="DESK.th.example")),
        ("holder", "no holder", clear("holder")),
        ("nobody", "no recipient", clear("recipients")),
        ("order", "recipients that fall", lambda m: m.recipients.append("a.example")),
        ("many", "65 recipients", lambda m: m.recipients.extend(f"office{n:02}.la.example" for n in range(64))),
        ("times", "an end that is the beginning", lambda m: setattr(m, "expires_ms", m.granted_ms)),
        ("long", "90 days and a millisecond", lambda m: setattr(m, "expires_ms", m.granted_ms + 90 * day + 1)),
    ):
        yield case(f"form-{name}", "bad_field", 1, comment, o.resigned(change))
    suite = o.resigned(put(suite=0x99))
    yield case("suite-unknown", "suite_not_accepted", 2, "a suite outside the registry", suite)
    suite = o.resigned(put(suite=2))
    yield case("suite-not-listed", "suite_not_accepted", 2, "a suite this directory does not accept", suite)
    borrowed = o.makers.members[SECOND].bundle.digest
    yield case("bundle-of-another", "stale_bundle", 2, "another agency's bundle", o.signed(originator_bundle=borrowed))
    yield case("bundle-unknown", "stale_bundle", 2, "a bundle nobody published", o.signed(originator_bundle=bytes(32)))
    early = {"granted_at": NOW - HOUR, "expires_at": NOW + 5 * DAY}
    yield case("bundle-early", "unknown_party", 2, "given before the originator took part", o.signed(**early))
    yield case("signed-by-another", "bad_signature", 3, "signed by its holder", o.signed(RECIPIENT))
    terms = changed(grant_pb2.Grant, o.grant.dsse.payload, lambda m: m.recipients.append(OUTSIDER))
    yield case("changed", "bad_signature", 3, "a recipient more under the signature", _under(o.grant, terms))
    yield case("holder", "not_permitted", 4, "for another holder", o.signed(holder=SECOND))
    yield case("recipients", "not_permitted", 4, "for another recipient", o.signed(recipients=(OUTSIDER,)))
    both = o.passed_on(o.origin(), o.grant, to=(THIRD, OUTSIDER))
    yield case("one-more", "not_permitted", 4, "an envelope to one more", o.grant, both)
    second = timedelta(minutes=5, seconds=1)
    yield case("early", "not_yet_valid", 5, "given more than five minutes after", o.signed(granted_at=PASSED + second))
    yield case("late", "expired", 5, "ended more than five minutes before", o.signed(expires_at=PASSED - second))


def _under(grant: Grant, payload: bytes) -> bytes:
    """Return another payload under the old signature."""
    return changed(envelope_pb2.Dsse, grant.raw, put(payload=payload))


def ways(o: Onward) -> Iterator[Case]:
    """Yield what was passed on as it should, and ways that are none."""
    good = o.passed_on(o.origin(), o.grant)
    yield o.case("ok", "ok", 7, "passed on once, under a grant", good)
    blind = o.passed_on(o.origin(), o.grant, blind=True)
    yield o.case("ok-blind", "ok", 7, "passed on to recipients that are not named", blind.prune({THIRD}))
    hidden = Onward(o.makers)
    hidden.original = hidden.seal_as(SENDER, hidden.content, [RECIPIENT, SECOND], o.makers.header(blind=True))
    grant = hidden.signed()
    yield o.case(
        "ok-hidden", "ok", 7, "of an original that hides its recipients", hidden.passed_on(hidden.origin(), grant)
    )
    free = Onward(o.makers, _free())
    yield o.case("ok-free", "ok", 7, "its marks leave it free: no grant", free.passed_on(free.origin(), None))
    listed = Onward(o.makers, _free(releasable_to=[THIRD]))
    yield o.case("ok-releasable", "ok", 7, "its marks name the recipient", listed.passed_on(listed.origin(), None))
    behind = Onward(o.makers, addressees=(THIRD,))
    yield o.case("ok-gateway", "ok", 7, "sent to a gateway for just that", behind.passed_on(behind.origin(), None))
    yield from _twice(o)


def spoiled(o: Onward) -> Iterator[Case]:
    """Yield what was passed on with an Origin that steps (1) to (3) refuse."""
    yield o.case("no-origin", "bad_commitment", 1, "a grant for what is not passed on", o.passed_on(b"", o.grant))
    content, bundle = content_pb2.Content, content_pb2.Origin().bundles.add()
    wrap = o.original.wraps[0].raw
    for name, expect, comment, change in (
        (
            "unknown-field",
            "not_canonical",
            "an unknown field in it",
            edit("content", lambda raw: raw + b"\xa2\x06\x01x"),
        ),
        ("manifest", "bad_field", "no manifest", clear("manifest")),
        ("payload", "bad_field", "content with its payload", inside("content", content, put(payload=b"\x0a\x01x"))),
        ("padding", "bad_field", "content with padding", inside("content", content, put(padding=b"\x00"))),
        ("receipt", "malformed", "a receipt that is none", put(accepted=b"\xff")),
        ("receipt-large", "too_large", "a receipt over 48 KiB", put(accepted=bytes(48 * 1024 + 1))),
        ("bundles-order", "bad_field", "one bundle twice", lambda m: m.bundles.append(m.bundles[0])),
        ("bundles-five", "too_large", "five bundles", lambda m: m.bundles.extend([bundle] * 4)),
        ("lists-large", "too_large", "lists over 32 KiB", lambda m: m.bundles[0].crls.append(bytes(32 * 1024))),
        ("wrap", "bad_field", "a wrap, though the recipients are listed", put(wrap=wrap)),
        ("grant", "bad_commitment", "a grant that the header does not name", put(grant=o.grant.raw)),
    ):
        raw = changed(content_pb2.Origin, o.origin().raw, change)
        yield o.case(name, expect, 1, comment, o.passed_on(raw, o.grant))
    for name, expect, step, comment, change in (
        ("salt", "bad_commitment", 2, "another salt", inside("content", content, put(salt_seed=bytes(32)))),
        ("schema", "bad_commitment", 2, "another type", inside("content", content, put(schema=f"{SCHEMA}s"))),
        ("bundle-missing", "stale_bundle", 3, "without the bundle of its sender", clear("bundles")),
        ("certificates", "bad_certificate", 3, "without certificates", within("bundles", clear("certificates"))),
        ("signature", "bad_signature", 3, "another signature of the original", edit("manifest", _unsigned)),
    ):
        raw = changed(content_pb2.Origin, o.origin().raw, change)
        yield o.case(name, expect, step, comment, o.passed_on(raw, o.grant))


def _unsigned(manifest: bytes) -> bytes:
    def change(m: Any) -> None:
        m.signatures[0].sig = bytes(len(m.signatures[0].sig))

    return changed(envelope_pb2.Dsse, manifest, change)


def _free(**marks: object) -> bytes:
    free = {"onward_transfer": catalogue.ONWARD_TRANSFER_FREE_WITHIN_MARKS, "tlp": catalogue.TLP_GREEN}
    return _marked(**{**free, **marks})


def _marked(**marks: object) -> bytes:
    made = catalogue.OfficerAcknowledgement.FromString(message())
    made.handling.MergeFrom(catalogue.Handling(**marks))  # type: ignore[arg-type]  # fields of the block
    return canonical(made)


def _twice(o: Onward) -> Iterator[Case]:
    """Yield what was passed on twice, with the right way and with a gap."""
    first = o.signed(recipients=(SECOND,))
    to_second = o.passed_on(o.origin(), first, to=(SECOND,))
    content = Content.make(SCHEMA, o.payload, origin=o.origin().raw)
    to_second = o.seal_as(
        RECIPIENT, content, [SECOND], o.makers.header(created_at=PASSED, expires_at=PASSED + DAY), grant=first
    )
    origin = o.origin(to_second, content, (SENDER, RECIPIENT))
    second = o.signed(holder=SECOND)
    later = {"created_at": JUDGED, "expires_at": JUDGED + DAY}
    yield o.case("ok-twice", "ok", 7, "passed on twice", o.passed_on(origin, second, by=SECOND, **later))
    gap = o.passed_on(o.origin(), second, by=SECOND)
    yield o.case("gap", "not_permitted", 4, "passed on by one to whom it had not been sent", gap)
    declared = Onward(o.makers)
    declared.original = o.seal_as(SENDER, declared.content, [RECIPIENT], o.makers.header(), grant=o.grant)
    raw = declared.passed_on(declared.origin(), declared.signed())
    yield o.case("declared", "bad_commitment", 4, "an original that names a grant", raw)


def permissions(o: Onward) -> Iterator[Case]:
    """Yield what was passed on under a grant that does not serve, or without one."""
    origin = o.origin()
    other = Onward(o.makers, message_id=bytes(16))
    for name, expect, step, comment, grant in (
        ("grant-of-another", "bad_commitment", 5, "a grant for another message", other.grant),
        (
            "grant-by-another",
            "not_permitted",
            5,
            "a grant by who passes it on",
            o.signed(RECIPIENT, originator=RECIPIENT),
        ),
        ("grant-suite", "suite_not_accepted", 5, "a grant in another suite", Grant.parse(o.resigned(put(suite=2)))),
        (
            "grant-bundle",
            "stale_bundle",
            5,
            "a grant under a bundle that did not come along",
            o.signed(originator_bundle=bytes(32)),
        ),
        ("grant-forged", "bad_signature", 5, "a grant in the originator's name", o.signed(RECIPIENT)),
        ("grant-holder", "not_permitted", 6, "a grant for another holder", o.signed(holder=SECOND)),
        ("grant-recipient", "not_permitted", 6, "a grant for another recipient", o.signed(recipients=(OUTSIDER,))),
        ("grant-late", "not_yet_valid", 6, "a grant given six minutes after", o.signed(granted_at=PASSED + HOUR / 10)),
        ("grant-ended", "expired", 6, "a grant that ended six minutes before", o.signed(expires_at=PASSED - HOUR / 10)),
    ):
        yield o.case(name, expect, step, comment, o.passed_on(origin, grant))
    yield o.case("undeclared", "not_permitted", 7, "its marks ask for a grant", o.passed_on(origin, None))
    no_onward = {"restrictions": [catalogue.Restriction(kind=3)]}
    over = catalogue.Handling()
    over.retention_until.FromDatetime(NOW + HOUR)
    for name, comment, marks in (
        ("no-onward", "NO_ONWARD, and a grant", no_onward),
        ("retention", "to be deleted before it was passed on, and a grant", {"retention_until": over.retention_until}),
    ):
        never = Onward(o.makers, _marked(**marks))
        yield o.case(name, "not_permitted", 7, comment, never.passed_on(never.origin(), never.grant))
    for name, comment, marks in (
        ("amber", "TLP:AMBER without a grant", {"tlp": catalogue.TLP_AMBER}),
        ("releasable", "releasable to another, without a grant", {"releasable_to": [OUTSIDER]}),
    ):
        bound = Onward(o.makers, _free(**marks))
        yield o.case(name, "not_permitted", 7, comment, bound.passed_on(bound.origin(), None))
    behind = Onward(o.makers, addressees=(OUTSIDER,))
    yield o.case(
        "gateway", "not_permitted", 7, "the gateway was asked for another", behind.passed_on(behind.origin(), None)
    )


def relayed(o: Onward) -> Iterator[Case]:
    """Yield declared envelopes handed to the relay of their sender."""
    declared = o.passed_on(o.origin(), o.grant)

    def case(name: str, expect: str, step: str, comment: str, raw: bytes, now: datetime = JUDGED) -> Case:
        more = (("world", "three"), at(now), ("party", RECIPIENT), ("relay", "relay.vn.example"))
        return Case(f"relay-{name}", "relay.submit", expect, (raw,), comment, step, more)

    yield case("ok-declared", "ok", "Relay 4", "under a grant", declared.raw)
    wire = envelope_pb2.Envelope
    without = changed(wire, declared.raw, clear("grant"))
    yield case("grant-missing", "not_permitted", "Envelope 5", "without the grant it names", without)
    swapped = changed(wire, declared.raw, put(grant=o.signed(expires_at=NOW + 9 * DAY).raw))
    yield case("grant-swapped", "bad_signature", "Envelope 5", "with another grant", swapped)
    plain = o.passed_on(o.origin(), None)
    added = changed(wire, plain.raw, put(grant=o.grant.raw))
    yield case("grant-added", "bad_signature", "Envelope 5", "with a grant it does not name", added)
    for name, expect, comment, grant in (
        ("grant-forged", "bad_signature", "a grant in the originator's name", o.signed(RECIPIENT)),
        (
            "grant-bundle",
            "stale_bundle",
            "a grant under a bundle nobody published",
            o.signed(originator_bundle=bytes(32)),
        ),
        ("grant-recipient", "not_permitted", "a grant for another recipient", o.signed(recipients=(OUTSIDER,))),
    ):
        yield case(name, expect, "Relay 3", comment, o.passed_on(o.origin(), grant).raw)
    short = o.signed(expires_at=PASSED + HOUR / 2)
    dated = o.passed_on(o.origin(), short).raw
    yield case("grant-dated-back", "expired", "Relay 3", "dated back into the time of its grant", dated, PASSED + HOUR)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case of the sections Grant and Origin."""
    o = Onward(worlds.three)
    yield from grants(o, worlds.others)
    for part in (ways, spoiled, permissions, relayed):
        yield from part(o)
