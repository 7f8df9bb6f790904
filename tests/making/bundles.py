"""Bundles: key bundles with their certificates, and what recipients state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from infoexchange import certificates
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import NationalCa
from infoexchange.dsse import TYPE_ACKNOWLEDGEMENT, TYPE_KEYBUNDLE, Dsse
from infoexchange.keys import Identity, KeyUsage
from infoexchange.states import Event
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.testing.community import enrol
from infoexchange.v1 import audit_pb2, bundle_pb2, envelope_pb2
from making.case import Case, at, changed, clear, edit, inside, put, within
from making.world import DAY, NOW, OTHER, RECIPIENT, SECOND, Makers, Worlds


class Bundles:
    """Bundles of one agency, and changes of them under good signatures."""

    def __init__(self, makers: Makers) -> None:
        self.makers = makers
        self.ca: NationalCa = makers.community.cas["vn"]
        self.member = makers.members[RECIPIENT]

    def case(
        self, name: str, expect: str, step: int, comment: str, bundle: KeyBundle, now: datetime = NOW, raw: bytes = b""
    ) -> Case:
        blocks = (raw or bundle.raw, *bundle.certificates, *bundle.crls)
        more = (("world", self.makers.name), at(now))
        return Case(f"bundle-{name}", "bundle.verify", expect, blocks, comment, f"KeyBundle {step}", more)

    def resigned(self, change: Callable[[Any], object], identity: Identity | None = None) -> bytes:
        """Return the bundle with a change of its payload, signed by an identity."""
        key = (identity or self.member.identity).key
        payload = changed(bundle_pb2.KeyBundle, self.member.bundle.dsse.payload, change)
        return Dsse.make(TYPE_KEYBUNDLE, payload, key.sign(TYPE_KEYBUNDLE, payload)).raw


def forms(b: Bundles) -> Iterator[Case]:
    """Yield bundles that step (1) refuses."""
    bundle, day = b.member.bundle, 86_400_000
    yield b.case("unknown-field", "not_canonical", 1, "an unknown field", bundle, raw=bundle.raw + b"\x7a\x01x")
    for name, comment, change in (
        ("owner", "an owner in capitals", put(owner="INTEL.vn.example")),
        ("epoch-0", "epoch 0", clear("epoch")),
        ("time", "31 days", edit("not_after_ms", lambda end: end + day)),
        ("time-0", "no time at all", edit("not_after_ms", lambda end: end - 30 * day)),
        ("previous", "epoch 2 with a digest of 31 bytes before it", put(epoch=2, previous=bytes(31))),
        ("first-after", "epoch 1 with one before it", put(previous=bytes(32))),
        ("second-alone", "epoch 2 with none before it", put(epoch=2)),
        ("first-withdraws", "epoch 1 that withdraws older ones", put(withdraws_older=True)),
        ("suites-order", "suites that do not rise", lambda m: m.accept_suites.append(1)),
        ("keys-order", "keys that do not rise", lambda m: m.enc_keys.reverse()),
        ("usage", "a key for no use", within("sig_keys", clear("usage"))),
        ("certificates", "one identity certificate", lambda m: m.identity_certs.pop()),
    ):
        yield b.case(f"form-{name}", "bad_field", 1, comment, bundle, raw=b.resigned(change))


def owners(b: Bundles) -> Iterator[Case]:
    """Yield bundles that steps (2) to (4) refuse."""
    bundle, members, bad = b.member.bundle, b.makers.members, "bad_certificate"
    for name, expect, step, comment, owner in (
        ("owner-unknown", "unknown_party", 2, "an owner the directory does not list", "none.vn.example"),
        ("owner-another", bad, 3, "another agency's name", SECOND),
    ):
        yield b.case(name, expect, step, comment, bundle, raw=b.resigned(put(owner=owner)))
    yield b.case("certificates-early", "unknown_party", 2, "before the nation was a member", bundle, NOW - 10 * DAY)
    leaf = certificates.verify_leaf(b.member.certificates[0], b.makers.directory.nation("vn").identity_cas, NOW)
    revoking = b.ca.crl(now=NOW, revoked=[(leaf.serial, NOW)])
    stranger = NationalCa.make("vn.example", now=NOW)
    foreign = enrol(RECIPIENT, NationalCa.make("vn.example", now=NOW), NOW).bundle
    swapped = replace(bundle, certificates=bundle.certificates[::-1])
    thief = replace(bundle, certificates=members[SECOND].certificates)
    for name, expect, step, comment, other in (
        ("certificates-swapped", bad, 3, "the certificates in the other order", swapped),
        ("certificates-foreign", bad, 3, "a CA of the same name that is not listed", foreign),
        ("certificates-of-another", bad, 3, "another agency's certificates", thief),
        ("revoked", "revoked", 4, "a list that names the certificate", replace(bundle, crls=(revoking,))),
        (
            "list-forged",
            bad,
            4,
            "a list in the CA's name by another key",
            replace(bundle, crls=(stranger.crl(now=NOW),)),
        ),
    ):
        yield b.case(name, expect, step, comment, other)


def proofs(b: Bundles) -> Iterator[Case]:
    """Yield bundles that steps (5) and (6) refuse, and one that none does."""
    bundle, dsse = b.member.bundle, b.member.bundle.dsse
    pairs = list(zip(dsse.signatures, dsse.key_ids, strict=True))
    end = inside("payload", bundle_pb2.KeyBundle, edit("not_after_ms", lambda end: end - 1))

    def under(*some: tuple[bytes, str]) -> bytes:
        return Dsse.make(TYPE_KEYBUNDLE, dsse.payload, list(some)).raw

    stranger = b.resigned(lambda _: None, b.makers.members[SECOND].identity)
    for name, comment, raw in (
        ("signatures-swapped", "the signatures in the other order", under(*pairs[::-1])),
        ("signature-classical", "the Ed25519 signature alone", under(pairs[0])),
        ("signature-post-quantum", "the ML-DSA signature alone", under(pairs[1])),
        ("signed-by-another", "another identity's signatures", stranger),
        ("payload-changed", "another end under the signatures", changed(envelope_pb2.Dsse, bundle.raw, end)),
    ):
        yield b.case(name, "bad_signature", 5, comment, bundle, raw=raw)

    def key(make: Callable[[bytes], bytes]) -> Callable[[Any], None]:
        return within("enc_keys", edit("public_key", make))

    first = bundle_pb2.KeyBundle.FromString(dsse.payload).sig_keys[0].public_key
    for name, comment, change in (
        ("key-twice", "one key for two uses", lambda m: setattr(m.sig_keys[1], "public_key", first)),
        ("key-small", "an opening key of low order", key(lambda raw: raw[:1184] + bytes(32))),
        ("key-short", "an opening key that is too short", key(lambda raw: raw[:-1])),
    ):
        yield b.case(name, "bad_certificate", 5, comment, bundle, raw=b.resigned(change))
    later = KeyBundle.issue(b.member.identity, b.member.certificates, (b.member.crl,), now=NOW + DAY)
    yield b.case("early", "stale_bundle", 6, "a day before its first use", later)
    yield b.case("late", "stale_bundle", 6, "a day after its last use", bundle, NOW + 31 * DAY)
    yield b.case("ok", "ok", 6, "an agency's bundle", bundle)


def statements(makers: Makers) -> Iterator[Case]:
    """Yield acknowledgements."""
    member, suite = makers.members[RECIPIENT], HYBRID_KEM
    keys = member.identity.epochs[0]
    said = Statement(
        envelope_digest=bytes(range(32)),
        issuer=RECIPIENT,
        issuer_bundle=member.bundle.digest,
        state=Event.OPENED,
        at=NOW,
        content_commitment=bytes(32),
    )
    made = Acknowledgement.sign(said, suite, keys)
    key = keys.signing[suite.number, KeyUsage.ACKNOWLEDGEMENT]

    def case(name: str, expect: str, step: int, comment: str, raw: bytes, number: int = suite.number) -> Case:
        more, where = (("world", "one"), ("suite", f"0x{number:04x}")), f"Acknowledgement {step}"
        return Case(f"statement-{name}", "acknowledgement.verify", expect, (raw,), comment, where, more)

    def under(change: Callable[[Any], object]) -> bytes:
        """Return a change under the old signature."""
        return changed(envelope_pb2.Dsse, made.raw, inside("payload", audit_pb2.RecipientAcknowledgement, change))

    def again(change: Callable[[Any], object]) -> bytes:
        """Return a change, signed."""
        raw = changed(audit_pb2.RecipientAcknowledgement, made.dsse.payload, change)
        return Dsse.make(TYPE_ACKNOWLEDGEMENT, raw, [(key.sign(TYPE_ACKNOWLEDGEMENT, raw), key.key_id)]).raw

    refused = Acknowledgement.sign(replace(said, state=Event.REFUSED, reason=38, content_commitment=b""), suite, keys)
    yield case("opened", "ok", 3, "OPENED", made.raw)
    yield case("refused", "ok", 3, "REFUSED, with a reason", refused.raw)
    yield case("hybrid", "ok", 3, "in suite 0x0002", Acknowledgement.sign(said, HYBRID, keys).raw, 2)
    for name, comment, change in (
        ("state", "a state that is none of a recipient's", put(state=1)),
        ("opened-reason", "OPENED with a reason", put(reason=38)),
        ("opened-nothing", "OPENED without a commitment", clear("content_commitment")),
        ("refused-commitment", "REFUSED with a commitment", put(state=6, reason=38)),
        ("refused-nothing", "REFUSED without a reason", lambda m: (put(state=6)(m), clear("content_commitment")(m))),
        ("digest", "an envelope digest of 31 bytes", put(envelope_digest=bytes(31))),
        ("issuer", "an issuer in capitals", put(issuer="INTEL.vn.example")),
        ("bundle-odd", "a bundle digest of 31 bytes", put(issuer_bundle=bytes(31))),
    ):
        yield case(name, "bad_field", 1, comment, under(change))
    yield case("unknown-field", "not_canonical", 1, "an unknown field", made.raw + b"\x7a\x01x")
    yield case("cut", "malformed", 1, "the last byte is missing", made.raw[:-1])
    borrowed, forty = makers.members[OTHER].bundle.digest, 40 * 86_400_000
    forged = Acknowledgement.sign(said, suite, makers.members[SECOND].identity.epochs[0])
    for name, step, comment, raw in (
        ("bundle-of-another", 2, "another agency's bundle", again(put(issuer_bundle=borrowed))),
        ("bundle-unknown", 2, "a bundle nobody published", again(put(issuer_bundle=bytes(32)))),
        ("late", 2, "after the bundle's last use", again(edit("at_ms", lambda at: at + forty))),
        ("changed", 3, "another envelope under the signature", under(put(envelope_digest=bytes(32)))),
        ("signed-by-another", 3, "another recipient's key", forged.raw),
    ):
        yield case(name, "stale_bundle" if step == 2 else "bad_signature", step, comment, raw)
    yield case("another-suite", "bad_signature", 3, "judged in another suite", made.raw, 2)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case."""
    for part in (forms, owners, proofs):
        yield from part(Bundles(worlds.one))
    yield from statements(worlds.one)
