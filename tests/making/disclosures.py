"""Disclosures: attestations, opened records, approvals, what relays make of these, and what evidence says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from infoexchange.approval import Approval, Consent
from infoexchange.attestation import Attestation, AttestationRole
from infoexchange.content import Content
from infoexchange.disclosure import Disclosure
from infoexchange.dsse import TYPE_ATTESTATION, TYPE_DISCLOSURE, Dsse
from infoexchange.envelope import Envelope
from infoexchange.keys import KeyUsage
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.v1 import audit_pb2, content_pb2, disclosure_pb2, envelope_pb2
from making.case import Case, at, changed, clear, edit, inside, put, within
from making.envelopes import message
from making.files import HERE, SOON, THERE, Change, Files
from making.world import DAY, NOW, OTHER, RECIPIENT, SCHEMA, SECOND, SENDER, Makers, Worlds

FORTY_DAYS = 40 * 86_400_000
WHERE = "the court of the province"


class Shown:
    """A message with an attestation in it, one disclosure of it, and an approval."""

    def __init__(self, makers: Makers) -> None:
        """Seal the message."""
        self.makers = makers
        self.header = makers.header()
        plain = Content.make(SCHEMA, message())
        self.commitment = plain.commitment(SENDER, self.header.message_id)
        self.attestation = self.attested()
        self.content = replace(plain, attestations=(self.attestation.raw,))
        self.envelope = self.sealed(self.content)
        self.disclosure = Disclosure.make(self.envelope.manifest, self.content, [0, 1], attested=True)
        self.approval = self.approved()

    def sealed(self, content: Content) -> Envelope:
        """Return the envelope with this content."""
        bundle, keys = self.makers.members[RECIPIENT].bundle, self.makers.members[SENDER].identity.epochs[0]
        return Envelope.seal(content, self.header, [bundle], keys)

    def attested(self, by: str = SENDER, commitment: bytes = b"", now: datetime = NOW, named: str = "") -> Attestation:
        """Return an attestation, by the keys of one agency under the bundle of another if that is named."""
        members = self.makers.members
        bundle, keys = members[named or by].bundle, members[by].identity.epochs[0]
        return Attestation.sign(
            commitment or self.commitment, AttestationRole.AUTHOR, HYBRID_KEM, bundle, keys, now=now
        )

    def approved(self, by: str = RECIPIENT, signer: str = "", **others: Any) -> Approval:
        """Return an approval."""
        members = self.makers.members
        said = Consent(
            envelope_digest=self.envelope.digest,
            disclosure_digest=self.disclosure.digest,
            record_count=len(self.disclosure.leaves),
            issuer=by,
            issuer_bundle=members[by].bundle.digest,
            audience=WHERE,
            legal_basis="",
            at=NOW,
        )
        return Approval.sign(replace(said, **others), HYBRID_KEM, members[signer or by].identity.epochs[0])

    def again(self, change: Change) -> bytes:
        """Return the attestation with a change, signed."""
        raw = changed(content_pb2.Attestation, self.attestation.dsse.payload, change)
        key = self.makers.members[SENDER].identity.epochs[0].signing[HYBRID_KEM.number, KeyUsage.ATTESTATION]
        return Dsse.make(TYPE_ATTESTATION, raw, [(key.sign(TYPE_ATTESTATION, raw), key.key_id)]).raw

    def approved_again(self, change: Change) -> bytes:
        """Return the approval with a change, signed."""
        raw = changed(audit_pb2.DisclosureApproval, self.approval.dsse.payload, change)
        key = self.makers.members[RECIPIENT].identity.epochs[0].signing[HYBRID_KEM.number, KeyUsage.ACKNOWLEDGEMENT]
        return Dsse.make(TYPE_DISCLOSURE, raw, [(key.sign(TYPE_DISCLOSURE, raw), key.key_id)]).raw


def containers(good: bytes, other: bytes) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield what no reader of one signed object takes."""
    twice = changed(envelope_pb2.Dsse, good, lambda m: m.signatures.add().CopyFrom(m.signatures[0]))
    yield "unknown-field", "not_canonical", "an unknown field", good + b"\xa2\x06\x01x"
    yield "cut", "malformed", "the last byte is missing", good[:-1]
    yield "large", "too_large", "over 16 KiB", bytes(16 * 1024 + 1)
    yield "signatures", "bad_field", "two signatures", twice
    yield "type", "bad_field", "another signed object", other


def attestations(x: Shown) -> Iterator[Case]:
    """Yield attestations, each beside the envelope that holds it."""
    more = (("world", x.makers.name),)

    def case(name: str, expect: str, step: int, comment: str, raw: bytes) -> Case:
        blocks = (raw, x.envelope.raw)
        return Case(f"attestation-{name}", "attestation.verify", expect, blocks, comment, f"Attestation {step}", more)

    good = x.attestation.raw
    yield case("ok", "ok", 4, "by its sender's author", good)
    yield case("ok-other-agency", "ok", 4, "by another agency", x.attested(OTHER).raw)
    supervisor = x.again(put(role=2))
    yield case("ok-supervisor", "ok", 4, "by a supervisor", supervisor)
    for name, expect, comment, raw in containers(good, x.envelope.manifest.raw):
        yield case(f"form-{name}", expect, 1, comment, raw)
    for name, comment, change in (
        ("role-0", "no role", clear("role")),
        ("role-3", "a role outside the list", put(role=3)),
        ("commitment", "a commitment of 31 bytes", put(content_commitment=bytes(31))),
        ("signer", "a signer in capitals", put(signer="DESK.th.example")),
        ("bundle", "no bundle", clear("signer_bundle")),
        ("time", "a time before 1970", put(signed_ms=-1)),
    ):
        yield case(f"form-{name}", "bad_field", 1, comment, x.again(change))
    borrowed = x.makers.members[OTHER].bundle.digest
    for name, expect, comment, raw in (
        ("bundle-unknown", "stale_bundle", "a bundle nobody published", x.again(put(signer_bundle=bytes(32)))),
        ("bundle-of-another", "stale_bundle", "another agency's bundle", x.again(put(signer_bundle=borrowed))),
        ("after", "not_yet_valid", "signed six minutes after the message was made", x.attested(now=NOW + 6 * SOON).raw),
        ("before", "unknown_party", "signed before the signer took part", x.attested(now=NOW - DAY).raw),
    ):
        yield case(name, expect, 2, comment, raw)
    forged = x.attested(OTHER, named=SENDER).raw
    yield case("signed-by-another", "bad_signature", 3, "another agency's key", forged)
    under = inside("payload", content_pb2.Attestation, put(role=2))
    yield case(
        "changed", "bad_signature", 3, "another role under the signature", changed(envelope_pb2.Dsse, good, under)
    )
    yield case("other-content", "bad_signature", 4, "other content", x.attested(commitment=bytes(32)).raw)


def received(x: Shown) -> Iterator[Case]:
    """Yield envelopes whose content holds attestations."""

    def case(name: str, expect: str, step: int, comment: str, *raws: bytes) -> Case:
        envelope = x.sealed(replace(x.content, attestations=tuple(sorted(raws))))
        more = (("world", x.makers.name), at(NOW), ("party", RECIPIENT))
        where = f"Envelope {step}"
        return Case(f"envelope-attested-{name}", "mailbox.receive", expect, (envelope.raw,), comment, where, more)

    good = x.attestation.raw
    yield case("ok", "ok", 10, "an attestation in the content", good)
    yield case("ok-two", "ok", 10, "two attestations, one of another agency", good, x.attested(OTHER).raw)
    yield case(
        "other-content", "bad_signature", 9, "an attestation of other content", x.attested(commitment=bytes(32)).raw
    )
    yield case("forged", "bad_signature", 9, "an attestation in the sender's name", x.attested(OTHER, named=SENDER).raw)
    yield case("after", "bad_signature", 9, "an attestation that was signed after", x.attested(now=NOW + 6 * SOON).raw)


def disclosures(x: Shown) -> Iterator[Case]:
    """Yield disclosures."""
    good, more = x.disclosure.raw, (("world", x.makers.name),)
    kind = disclosure_pb2.Disclosure

    def case(name: str, expect: str, step: int, comment: str, raw: bytes) -> Case:
        return Case(f"disclosure-{name}", "disclosure.verify", expect, (raw,), comment, f"Disclosure {step}", more)

    every = Disclosure.make(x.envelope.manifest, x.content, range(len(x.content.records)))
    yield case("ok", "ok", 4, "type and marks, and an attestation", good)
    yield case("ok-all", "ok", 4, "every record", every.raw)
    yield case("ok-schema", "ok", 4, "the type alone", Disclosure.make(x.envelope.manifest, x.content, [0]).raw)
    yield case("form-unknown-field", "not_canonical", 1, "an unknown field", good + b"\xa2\x06\x01x")
    yield case("form-cut", "malformed", 1, "the last byte is missing", good[:-1])
    yield case("form-large", "too_large", 1, "over 4 MiB", bytes(4 * 1024 * 1024 + 1))

    def second(change: Change) -> Change:
        return lambda m: change(m.leaves[1])

    junk = [bytes([n]) for n in range(9)]
    for name, expect, comment, change in (
        ("manifest", "bad_field", "no manifest", clear("manifest")),
        ("count-0", "bad_field", "no count", clear("leaf_count")),
        ("count", "bad_field", "more than 65536 records", put(leaf_count=65537)),
        ("index-outside", "bad_field", "an index beyond the count", second(put(index=99))),
        ("index-twice", "bad_field", "one index twice", lambda m: m.leaves.add().CopyFrom(m.leaves[1])),
        ("none", "bad_field", "no record", clear("leaves")),
        ("schema-missing", "bad_field", "without the schema record", lambda m: m.leaves.pop(0)),
        ("schema-empty", "bad_field", "a schema record without a name", within("leaves", put(record=b"S"))),
        ("origin", "bad_field", "an Origin", second(put(record=b"Ox"))),
        ("letter", "bad_field", "a record of no kind", second(put(record=b"Xx"))),
        ("record-two", "bad_field", "two fields in one record", second(edit("record", lambda r: r + r[1:]))),
        ("salt", "bad_field", "a salt of 31 bytes", second(put(salt=bytes(31)))),
        ("hash", "bad_field", "a hash of 31 bytes", second(lambda m: m.path.__setitem__(0, bytes(31)))),
        ("path-64", "bad_field", "a path of 64 hashes", second(lambda m: m.path.extend([bytes(32)] * 64))),
        ("attestation", "malformed", "an attestation that is none", lambda m: m.attestations.__setitem__(0, b"\xff")),
        ("attestations-9", "too_large", "nine attestations", lambda m: m.attestations.__setitem__(slice(None), junk)),
    ):
        yield case(f"form-{name}", expect, 1, comment, changed(kind, good, change))
    unsigned = inside("manifest", envelope_pb2.Dsse, within("signatures", put(sig=bytes(64))))
    yield case("signature", "bad_signature", 2, "another signature of the sender", changed(kind, good, unsigned))
    for name, step, comment, change in (
        ("path-short", 3, "a hash is missing", second(lambda m: m.path.pop())),
        ("path-long", 3, "a hash more", second(lambda m: m.path.append(bytes(32)))),
        ("record", 4, "another record", second(edit("record", _flipped))),
        ("salt", 4, "another salt", second(put(salt=bytes(32)))),
        ("path", 4, "another hash", second(lambda m: m.path.__setitem__(0, bytes(32)))),
        ("schema", 4, "another type", within("leaves", edit("record", lambda r: r + b"s"))),
    ):
        yield case(name, "bad_commitment", step, comment, changed(kind, good, change))


def _flipped(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


def approvals(x: Shown) -> Iterator[Case]:
    """Yield approvals by themselves."""
    more = (("world", x.makers.name), ("suite", "0x0003"))

    def case(name: str, expect: str, step: int, comment: str, raw: bytes) -> Case:
        return Case(f"approval-{name}", "approval.verify", expect, (raw,), comment, f"Approval {step}", more)

    good = x.approval.raw
    yield case("ok", "ok", 3, "by a recipient", good)
    yield case("ok-basis", "ok", 3, "with a legal basis", x.approved(legal_basis="Điều 5").raw)
    for name, expect, comment, raw in containers(good, x.attestation.raw):
        yield case(f"form-{name}", expect, 1, comment, raw)
    for name, comment, change in (
        ("digest", "an envelope digest of 31 bytes", put(envelope_digest=bytes(31))),
        ("disclosure", "no disclosure", clear("disclosure_digest")),
        ("count-0", "no record", clear("record_count")),
        ("count", "more than 65536 records", put(record_count=65537)),
        ("issuer", "an issuer in capitals", put(issuer="INTEL.vn.example")),
        ("bundle", "no bundle", clear("issuer_bundle")),
        ("audience-none", "for nobody", clear("audience")),
        ("audience-spaces", "for spaces", put(audience="  ")),
        ("audience-long", "254 characters", put(audience="a" * 254)),
        ("audience-control", "a control character", put(audience="court\x1b[2J")),
        ("basis-long", "a basis of 1001 characters", put(legal_basis="a" * 1001)),
        ("basis-control", "a basis with a control character above ASCII", put(legal_basis="a\x85")),
        ("time", "a time before 1970", put(at_ms=-1)),
    ):
        yield case(f"form-{name}", "bad_field", 1, comment, x.approved_again(change))
    borrowed = x.makers.members[OTHER].bundle.digest
    for name, step, comment, raw in (
        ("bundle-unknown", 2, "a bundle nobody published", x.approved_again(put(issuer_bundle=bytes(32)))),
        ("bundle-of-another", 2, "another agency's bundle", x.approved_again(put(issuer_bundle=borrowed))),
        ("late", 2, "after the bundle's last use", x.approved_again(edit("at_ms", lambda at: at + FORTY_DAYS))),
        ("signed-by-another", 3, "another agency's key", x.approved(signer=SECOND).raw),
        ("changed", 3, "another audience under the signature", _audience(good)),
    ):
        yield case(name, "stale_bundle" if step == 2 else "bad_signature", step, comment, raw)


def _audience(raw: bytes) -> bytes:
    return changed(
        envelope_pb2.Dsse, raw, inside("payload", audit_pb2.DisclosureApproval, put(audience="somebody else"))
    )


def handed(x: Shown) -> Iterator[Case]:
    """Yield approvals handed to a relay that has accepted the envelope."""

    def case(name: str, expect: str, step: int, comment: str, *said: bytes, party: str = RECIPIENT) -> Case:
        more = (("world", x.makers.name), at(NOW), ("party", party))
        blocks = (x.envelope.raw, *said)
        return Case(f"relay-approval-{name}", "relay.approve", expect, blocks, comment, f"Relay {step}", more)

    good = x.approval.raw
    by_sender = x.approved(SENDER).raw
    yield case("ok", "ok", 14, "by a recipient", good)
    yield case("ok-sender", "ok", 14, "by the sender", by_sender, party=SENDER)
    yield case("ok-twice", "ok", 13, "the same again", good, good)
    many = [x.approved(disclosure_digest=bytes([n]) * 32).raw for n in range(9)]
    yield case("ok-eight", "ok", 14, "eight of one party", *many[:8])
    yield case("not-addressed", "not_addressed", 12, "by an agency that is no party of the message", good, party=SECOND)
    yield case("garbage", "malformed", 13, "no approval", b"\xff")
    yield case("of-another", "bad_field", 13, "about another message", x.approved(envelope_digest=bytes(32)).raw)
    yield case("for-another", "bad_field", 13, "another agency's", x.approved(SECOND).raw)
    yield case("future", "not_yet_valid", 13, "six minutes ahead", x.approved(at=NOW + 6 * SOON).raw)
    yield case("nine", "too_large", 13, "a ninth", *many)
    unknown = x.approved_again(put(issuer_bundle=bytes(32)))
    yield case("bundle-unknown", "stale_bundle", 14, "a bundle that was not published here", unknown)
    yield case("forged", "bad_signature", 14, "signed by another agency", x.approved(signer=SECOND).raw)


def evidence(makers: Makers) -> Iterator[Case]:
    """Yield evidence with disclosures."""
    x = Shown(makers)
    f = Files(makers, x.envelope)

    def entry(approval: Approval, **others: Any) -> Receipt:
        fields = {"this_relay": THERE, "recipients": (RECIPIENT,), **others}
        return f.receipt(Event.AUDIT_DISCLOSURE, statement=approval.digest, **fields)

    def case(
        name: str, expect: str, step: int, comment: str, approval: Approval | None, logged: Receipt | None = None,
        shown: Sequence[bytes] = (x.disclosure.raw,), change: Callable[[Any], object] = lambda _: None,
    ) -> Case:  # fmt: skip
        events = [f.accepted] + ([logged or entry(approval)] if approval else [])

        def put_in(m: Any) -> None:
            m.disclosures.extend(shown)
            change(m)

        raw = f.file(events, [approval] if approval else [], put_in, [makers.members[RECIPIENT].bundle])
        return f.case(f"disclosed-{name}", expect, step, comment, raw)

    good, bad = x.approval, "bad_proof"
    kind = disclosure_pb2.Disclosure
    yield case("ok", "ok", 13, "records, and their approval by a recipient", good)
    by_sender = x.approved(SENDER)
    yield case("ok-sender", "ok", 13, "approved by the sender", by_sender, entry(by_sender, this_relay=HERE))
    yield case("ok-alone", "ok", 13, "records, and no approval", None)
    yield case("ok-approval-alone", "ok", 13, "an approval, and no records", good, shown=())
    yield case(
        "ok-not-logged", "ok", 13, "an approval without its entry", good, f.receipt(Event.QUEUED, this_relay=THERE)
    )
    junk = changed(kind, x.disclosure.raw, lambda m: m.leaves[1].path.pop())
    yield case("form", "malformed", 1, "a disclosure that is none", good, shown=(b"\xff",))
    yield case("many", "too_large", 1, "65 disclosures", good, shown=(b"",) * 65)
    other = Shown(makers)
    yield case("of-another", "bad_field", 2, "a disclosure of another message", good, shown=(other.disclosure.raw,))
    yield case("path", "bad_commitment", 11, "a record that is not shown to be one", None, shown=(junk,))
    lie = changed(kind, x.disclosure.raw, lambda m: m.attestations.__setitem__(0, x.attested(commitment=bytes(32)).raw))
    yield case("attestation", "bad_signature", 11, "an attestation of other content", None, shown=(lie,))
    strange = x.attested("watch.navy.la.example").raw
    away = changed(kind, x.disclosure.raw, lambda m: m.attestations.__setitem__(0, strange))
    yield case(
        "attestation-bundle", "stale_bundle", 11, "an attestation whose bundle is not in the file", None, shown=(away,)
    )
    for name, expect, comment, approval, logged in (
        ("forged", "bad_signature", "an approval in a recipient's name", x.approved(signer=SECOND), None),
        (
            "bundle",
            "stale_bundle",
            "an approval whose bundle is not in the file",
            x.approved("watch.navy.la.example"),
            None,
        ),
        ("approval-of-another", bad, "an approval about another message", x.approved(envelope_digest=bytes(32)), None),
        (
            "entry-as-another",
            bad,
            "an entry for it that says QUEUED",
            good,
            f.receipt(Event.QUEUED, statement=good.digest, this_relay=THERE),
        ),
        ("dated-after", bad, "made nine minutes after it was logged", x.approved(at=NOW + 10 * SOON), None),
    ):
        change = _without("watch.navy.la.example", makers)
        yield case(name, expect, 12, comment, approval, logged, change=change)
    fewer = x.approved(record_count=1)
    yield case("count", bad, 13, "an approval of fewer records", fewer)


def _without(name: str, makers: Makers) -> Callable[[Any], object]:
    """Return the change that takes an agency's bundle out of a file."""
    raw = makers.members[name].bundle.raw
    return lambda m: m.bundles.remove(raw) if raw in m.bundles else None


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    x = Shown(worlds.one)
    worlds.others["shown-envelope"], worlds.others["shown-attestation"] = x.envelope.raw, x.attestation.raw
    for part in (attestations, received, disclosures, approvals, handed):
        yield from part(x)
    yield from evidence(worlds.three)
