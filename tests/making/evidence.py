"""Evidence: files that hold, files that leave something open, and what each step finds wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from infoexchange import certificates
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Entry, Subject
from infoexchange.draft import Draft
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.testing import Exchange, FakeClock
from infoexchange.tlog import Proof
from infoexchange.v1 import envelope_pb2, evidence_pb2
from making.case import Case, changed, clear, put, within
from making.files import ELSEWHERE, HERE, SOON, THERE, Change, Files
from making.onward import GRANTED, HOUR, PASSED, Onward
from making.world import DAY, NOW, OUTSIDER, RECIPIENT, SECOND, SENDER, THIRD, Makers, Worlds
from messages import officer_acknowledgement


def whole(makers: Makers) -> Iterator[Case]:
    """Yield what agencies make at the end of a message: everything is in it."""
    exchange = Exchange({}, community=makers.community, clock=FakeClock(NOW))
    sender, *boxes = [exchange.mailbox(name) for name in (SENDER, RECIPIENT, THIRD)]
    [receipt] = sender.send_all([Draft(officer_acknowledgement(), [RECIPIENT, THIRD], suite=HYBRID_KEM)])
    assert isinstance(receipt, Receipt)
    for box in boxes:
        for delivery in box.receive():
            box.acknowledge(delivery)
    exchange.witness()
    file = sender.evidence(receipt.subject.envelope_digest)
    case = Files(makers).case
    yield case("ok", "ok", 9, "three relays, two recipients that opened it, cosigned", file.raw)
    yield case("ok-sealed", "ok", 9, "the same without the ciphertext", file.sealed().raw)


def forms(f: Files) -> Iterator[Case]:
    """Yield files that end the work at once."""
    raw = f.file()
    yield f.case("unknown-field", "not_canonical", 1, "a field the format does not have", raw + b"\xa2\x06\x01x")
    yield f.case("cut", "malformed", 1, "the last byte is missing", raw[:-1])
    yield f.case("large", "too_large", 1, "over 16 MiB", bytes(16 * 1024 * 1024 + 1))
    manifest = f.envelope.manifest.dsse.to_wire()
    junk = envelope_pb2.Dsse(payload_type="x")
    leaf = evidence_pb2.Evidence().events.add(leaf=b"\xff")
    for name, expect, comment, change in (
        ("version", "unknown_version", "version 2", put(version=2)),
        ("both", "bad_field", "an envelope and a manifest", lambda m: m.manifest.CopyFrom(manifest)),
        ("neither", "bad_field", "neither envelope nor manifest", clear("envelope")),
        ("envelope", "malformed", "an envelope that is none", put(envelope=b"\xff")),
        (
            "manifest",
            "bad_field",
            "a manifest that is none",
            lambda m: (m.ClearField("envelope"), m.manifest.CopyFrom(junk)),
        ),
        ("events", "too_large", "1025 events", lambda m: m.events.extend([leaf] * 1025)),
        ("event", "malformed", "an event that is none", lambda m: m.events.append(leaf)),
        ("commitment", "bad_commitment", "another salt in an event", within("events", put(routing_salt=bytes(32)))),
        ("statement", "malformed", "a statement that is none", lambda m: m.statements.append(b"\xff")),
        ("bundle", "malformed", "a bundle that is none", lambda m: m.bundles.append(b"\xff")),
        ("bundles", "too_large", "257 bundles", lambda m: m.bundles.extend([b""] * 257)),
        ("grant", "bad_field", "a grant beside an envelope", put(grant=b"x")),
        ("transfers", "bad_field", "transfers where no grant is named", lambda m: m.transfers.add(manifest=b"x")),
    ):
        yield f.case(f"form-{name}", expect, 1, comment, f.file([f.accepted], [], change))
    digest = f.file([], [], put(envelope_digest=bytes(32)))
    yield f.case("digest", "bad_field", 2, "a file that names another message", digest)


def standing(f: Files, foreign: bytes) -> Iterator[Case]:
    """Yield what steps (3) and (4) find."""
    raw = f.file()
    ok = "accepted and opened, but not cosigned"
    yield f.case("ok-not-witnessed", "ok", 9, ok, raw)
    other = f.file(change=put(directory=foreign))
    yield f.case("directory", "bad_signature", "Directory 2", "a directory that the trust anchor did not sign", other)
    first = f.makers.directory
    second = f.directory(lambda x: replace(x, version=2, previous=first.digest))
    yield f.case("ok-held-next", "ok", 9, "the auditor holds the next version", raw, second)
    third = f.directory(lambda x: replace(x, version=3, previous=bytes(32)))
    yield f.case("ok-held-later", "ok", 9, "the auditor holds a version after that", raw, third)
    fork = f.directory(lambda x: replace(x, expires_at=x.expires_at - DAY))
    yield f.case("fork", "log_fork", 3, "the auditor holds another version 1", raw, fork)
    ca = f.makers.community.cas["th"]
    member = f.makers.members[SENDER]
    leaf = certificates.verify_leaf(member.certificates[0], (ca.certificate,), NOW)
    lists = {
        "revoked": ("revoked", "the sender's certificate was revoked before", [(leaf.serial, NOW)]),
        "revoked-since": ("revoked", "revoked between sealing and logging", [(leaf.serial, NOW + SOON / 2)]),
        "ok-revoked-later": ("ok", "revoked after it was logged", [(leaf.serial, NOW + HOUR)]),
    }
    theirs = f.makers.community.cas["vn"].crl(now=NOW)
    for name, (expect, comment, revoked) in lists.items():
        crls = sorted([ca.crl(now=NOW, revoked=revoked), theirs])
        changed_ = f.file(change=lambda m, c=crls: m.crls.__setitem__(slice(None), c))
        yield f.case(name, expect, 9 if expect == "ok" else 4, comment, changed_)
    old = sorted([ca.crl(now=NOW - 8 * DAY), theirs])
    strange = certificates.NationalCa.make("th.example", now=NOW).crl(now=NOW)
    own = member.bundle.raw
    for name, expect, comment, change in (
        ("ok-no-list", "ok", "no revocation list", clear("crls")),
        ("ok-old-list", "ok", "a list that is not current", lambda m: m.crls.__setitem__(slice(None), old)),
        ("list-forged", "bad_certificate", "a list of no CA that is listed", lambda m: m.crls.append(strange)),
        ("bundle-missing", "stale_bundle", "without the sender's bundle", lambda m: m.bundles.remove(own)),
        ("certificates-missing", "bad_certificate", "without certificates", clear("certificates")),
    ):
        changed_ = f.file([f.accepted] if expect != "ok" else None, [] if expect != "ok" else None, change)
        yield f.case(name, expect, 9 if expect == "ok" else 4, comment, changed_)


def signatures(f: Files) -> Iterator[Case]:
    """Yield what step (5) finds."""
    wire = envelope_pb2.Envelope
    flipped = bytes([f.envelope.body[0] ^ 1]) + f.envelope.body[1:]
    for name, comment, change in (
        ("body", "one bit of the body", put(body=flipped)),
        ("signature", "another signature", lambda w: setattr(w.manifest.signatures[0], "sig", bytes(64))),
    ):
        raw = changed(wire, f.envelope.raw, change)
        yield f.case(
            name, "bad_signature", 5, comment, f.file([f.accepted], [], lambda m, r=raw: setattr(m, "envelope", r))
        )
    late = f.receipt(Event.ACCEPTED, logged_at=f.header.expires_at + HOUR)
    yield f.case("logged-late", "expired", 5, "accepted an hour after its end", f.file([late], []))
    narrow = partial(replace, version=2, previous=f.makers.directory.digest, suites=(HYBRID.number,))
    held = f.directory(lambda x: narrow(x))
    yield f.case(
        "suite",
        "suite_not_accepted",
        5,
        "the auditor's directory does not list the suite",
        f.file([f.accepted], []),
        held,
    )


def entries(f: Files) -> Iterator[Case]:
    """Yield what step (6) finds."""
    bad, here = "bad_proof", Event.ACCEPTED
    for name, expect, comment, receipt in (
        ("another", bad, "an entry about another message", f.receipt(here, about={"envelope_digest": bytes(32)})),
        (
            "bundle",
            bad,
            "an entry with another bundle of the sender",
            f.receipt(here, about={"sender_bundle": bytes(32)}),
        ),
        ("sender", bad, "an entry about another sender", f.receipt(here, sender=OUTSIDER)),
        ("recipient", bad, "an entry for one who was not addressed", f.receipt(here, recipients=(THIRD,))),
        ("nobody", bad, "an entry for nobody", f.receipt(here, recipients=())),
        ("relay", bad, "accepted by a relay that is not on the way", f.receipt(here, this_relay=ELSEWHERE)),
        ("previous", bad, "accepted by the sender's relay from another", f.receipt(here, previous_relay=ELSEWHERE)),
        (
            "next",
            bad,
            "forwarded to a relay that serves no recipient",
            f.receipt(Event.FORWARDED, next_relay=ELSEWHERE),
        ),
        ("queued", bad, "queued by a relay that does not serve the recipient", f.receipt(Event.QUEUED)),
        ("expired", bad, "expired before its end", f.receipt(Event.EXPIRED, this_relay=THERE)),
        ("early", bad, "logged six minutes before it was made", f.receipt(here, logged_at=NOW - 6 * SOON)),
        ("grant", bad, "accepted with a grant that it does not name", f.receipt(here, statement=bytes(32))),
        ("unknown", "unknown_party", "by a relay the directory does not list", _of_nobody(f)),
        ("forged", "bad_signature", "a time under the signatures that was not signed", _spoiled(f)),
    ):
        yield f.case(f"event-{name}", expect, 6, comment, f.file([f.accepted, receipt], []))
    forwarded = f.receipt(Event.FORWARDED, next_relay=THERE)
    handed = f.receipt(here, this_relay=THERE, previous_relay=HERE)
    refused = f.receipt(Event.REFUSED, next_relay=THERE, reason=int(Reason.OVERLOADED))
    ended = f.receipt(Event.EXPIRED, this_relay=THERE, logged_at=f.header.expires_at + HOUR)
    yield f.case(
        "ok-way",
        "ok",
        9,
        "the whole way, and not taken from the queue",
        f.file([f.accepted, forwarded, handed, ended], []),
    )
    yield f.case("ok-refused", "ok", 9, "refused by the next relay", f.file([f.accepted, refused], []))


def _of_nobody(f: Files) -> Receipt:
    """Return a receipt that names a relay of which the directory has never heard."""
    entry = Entry.make(
        f.routing(Event.ACCEPTED, this_relay="relay.my.example"), Subject(envelope_digest=f.envelope.digest)
    )
    checkpoint = f.makers.community.log_keys[HERE].sign(1, entry.leaf_hash, now=NOW)
    return Receipt.make(entry, Proof.make(0, [], checkpoint.raw))


def _spoiled(f: Files) -> Receipt:
    receipt = f.receipt(Event.ACCEPTED)
    note = receipt.proof.raw
    raw = changed(
        type(evidence_pb2.Evidence().events.add()),
        receipt.raw,
        put(proof=note.replace(b"\n1\n", b"\n2\n")),
    )
    return Receipt.parse(raw)


def statements(f: Files) -> Iterator[Case]:
    """Yield what steps (7) and (8) find."""
    opened = f.opened
    assert opened
    stranger = f.statement(by=SECOND)
    forged = changed(envelope_pb2.Dsse, opened.raw, within("signatures", put(sig=bytes(64))))
    theirs = f.makers.members[RECIPIENT].bundle.raw
    late = f.statement(at=NOW + 10 * SOON)
    other = f.statement(content_commitment=bytes(32))
    elsewhere = f.statement(envelope_digest=bytes(32))
    refused = f.statement(state=Event.REFUSED, reason=int(Reason.RULE_BROKEN), content_commitment=b"")
    for name, expect, comment, said, raw in (
        (
            "bundle",
            "stale_bundle",
            "without the recipient's bundle",
            opened,
            f.file(change=lambda m: m.bundles.remove(theirs)),
        ),
        (
            "forged",
            "bad_signature",
            "another signature",
            opened,
            f.file(change=lambda m: m.statements.__setitem__(0, forged)),
        ),
        ("about-another", "bad_proof", "about another message", elsewhere, b""),
        ("by-another", "bad_proof", "by one who was not addressed", stranger, f.file([f.accepted], [stranger])),
        ("commitment", "bad_commitment", "another commitment", other, b""),
        ("not-logged", "bad_proof", "no entry for it", opened, f.file([f.accepted], [opened])),
        (
            "logged-as",
            "bad_proof",
            "an entry for it that says REFUSED",
            opened,
            f.file([f.accepted, _as_refused(f, opened)]),
        ),
        ("dated-after", "bad_proof", "made nine minutes after it was logged", late, b""),
    ):
        yield f.case(f"statement-{name}", expect, 7, comment, raw or f.file(statements=[said]))
    yield f.case("ok-stated-no", "ok", 9, "the recipient refused it", f.file(statements=[refused]))
    yield f.case("ok-no-entries", "ok", 8, "no entry of any relay", f.file([], []))
    yield f.case("ok-no-outcome", "ok", 8, "accepted, and no more", f.file([f.accepted], []))
    ended = f.receipt(Event.EXPIRED, this_relay=THERE, logged_at=f.header.expires_at + HOUR)
    by_peer = f.receipt(Event.REFUSED, next_relay=THERE, reason=int(Reason.OVERLOADED))
    yield f.case(
        "ok-two-ends",
        "ok",
        8,
        "expired at the recipient's relay, whose word counts before that of the sender's: refused",
        f.file([f.accepted, ended, by_peer], []),
    )
    yield f.case(
        "ok-unsigned",
        "ok",
        8,
        "an entry that it was opened, and no statement",
        f.file([f.accepted, f.logged(opened)], []),
    )


def _as_refused(f: Files, opened: Acknowledgement) -> Receipt:
    fields = {"this_relay": THERE, "recipients": (RECIPIENT,)}
    return f.receipt(Event.REFUSED, statement=opened.digest, **fields)


def witnessed(f: Files) -> Iterator[Case]:
    """Yield what step (9) finds."""
    seen = f.receipt(Event.ACCEPTED, seen_by=(THERE, ELSEWHERE))
    yield f.case("ok-cosigned", "ok", 9, "cosigned by both other nations; not delivered yet", f.file([seen], []))
    one = f.receipt(Event.ACCEPTED, seen_by=(THERE,))
    yield f.case("ok-one-witness", "ok", 9, "cosigned by one nation of two", f.file([one], []))
    own = f.receipt(Event.ACCEPTED, seen_by=(HERE, THERE))
    yield f.case("ok-own-witness", "ok", 9, "its own nation's witness does not count", f.file([own], []))
    head, _, last = seen.proof.raw.decode().rpartition("— ")
    cut = last[: len(last) - 12] + ("A" if last[-12] != "A" else "B") + last[len(last) - 11 :]
    bad = changed(type(evidence_pb2.Evidence().events.add()), seen.raw, put(proof=f"{head}— {cut}".encode()))
    yield f.case(
        "cosignature",
        "bad_signature",
        9,
        "a cosignature that does not hold, beside three that do",
        f.file([Receipt.parse(bad)], []),
    )
    early = NOW + SOON - timedelta(minutes=6)
    yield f.case(
        "cosigned-ahead",
        "not_yet_valid",
        9,
        "cosigned six minutes ahead of the auditor's clock",
        f.file([seen], []),
        now=early,
    )


def onward(makers: Makers) -> Iterator[Case]:
    """Yield what step (10) finds."""
    o = Onward(makers)
    envelope = o.passed_on(o.origin(), o.grant)
    first = Files(makers, o.original).accepted
    transfer = evidence_pb2.Transfer(manifest=o.original.manifest.raw, accepted=first.raw)
    bare = evidence_pb2.Transfer(manifest=o.original.manifest.raw)
    others = [makers.members[SENDER].bundle]

    def files(envelope: Envelope) -> Files:
        made = Files(makers, envelope)
        made.accepted = made.receipt(Event.ACCEPTED, statement=envelope.header.grant, this_relay=THERE)
        return made

    f = files(envelope)

    def case(name: str, expect: str, comment: str, change: Change, of: Files = f, step: int = 10) -> Case:
        return f.case(f"onward-{name}", expect, step, comment, of.file(change=change, bundles=others))

    def with_(*transfers: Any) -> Change:
        return lambda m: m.transfers.extend(transfers)

    yield case("ok", "ok", "passed on under a grant, each transfer logged", with_(transfer))
    yield case("ok-no-chain", "ok", "without the transfers before", lambda _: None)
    yield case("ok-not-logged", "ok", "without the receipt of the original", with_(bare))
    yield case("nine", "too_large", "nine transfers", with_(*[bare] * 9), step=1)
    granted = evidence_pb2.Transfer(manifest=o.original.manifest.raw, grant=o.grant.raw)
    yield case(
        "transfer-grant", "bad_commitment", "a transfer with a grant that it does not name", with_(granted), step=1
    )
    junk = evidence_pb2.Transfer(manifest=b"\xff")
    yield case("transfer", "malformed", "a transfer that is none", with_(junk), step=1)
    other = f.receipt(Event.ACCEPTED, this_relay=THERE)
    wrong = evidence_pb2.Transfer(manifest=o.original.manifest.raw, accepted=other.raw)
    yield case("receipt", "bad_proof", "a transfer with the receipt of another", with_(wrong))
    manifest = envelope.manifest.dsse.to_wire()

    def sealed(grant: bytes) -> Change:
        return lambda m: (
            m.ClearField("envelope"),
            m.manifest.CopyFrom(manifest),
            setattr(m, "grant", grant),
            m.transfers.append(transfer),
        )

    yield case("ok-sealed", "ok", "without the ciphertext", sealed(o.grant.raw))
    swapped = o.signed(expires_at=GRANTED + 9 * DAY)
    yield case("grant", "bad_commitment", "a grant that the header does not name", sealed(swapped.raw))
    gap = o.passed_on(o.origin(), o.signed(holder=SECOND), by=SECOND)
    yield case("gap", "not_permitted", "passed on by one to whom it had not been sent", with_(transfer), files(gap))
    away = o.passed_on(o.origin(), o.signed(recipients=(OUTSIDER,)))
    yield case("recipient", "not_permitted", "a grant for another recipient", with_(transfer), files(away))
    forged = o.passed_on(o.origin(), o.signed(RECIPIENT))
    yield case("forged", "bad_signature", "a grant in the originator's name", with_(transfer), files(forged))
    short = files(o.passed_on(o.origin(), o.signed(expires_at=PASSED + HOUR)))
    short.accepted = short.receipt(
        Event.ACCEPTED, statement=short.header.grant, this_relay=THERE, logged_at=PASSED + 2 * HOUR
    )
    yield case("late", "expired", "logged an hour after the end of its grant", with_(transfer), short)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case of section Evidence."""
    f = Files(worlds.three)
    worlds.others["evidence-envelope"], worlds.others["evidence-accepted"] = f.envelope.raw, f.accepted.raw
    yield from whole(worlds.three)
    yield from forms(f)
    yield from standing(f, worlds.one.directory.raw)
    for part in (signatures, entries, statements, witnessed):
        yield from part(f)
    yield from onward(worlds.three)
