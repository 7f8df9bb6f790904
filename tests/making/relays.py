"""Relays: what they take and refuse, and errors as they stand on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.errors import Reason
from infoexchange.header import LIFETIME_DEFAULT, Recipient
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from making.case import Case, at, put
from making.envelopes import Envelopes, message
from making.world import NOW, OTHER, RECIPIENT, SECOND, SENDER, Makers, Worlds

HERE, THERE = "relay.th.example", "relay.vn.example"


def submitted(makers: Makers) -> Iterator[Case]:
    """Yield envelopes handed to a relay."""
    e = Envelopes(makers)
    envelope = e.envelope

    def case(
        name: str, expect: str, step: int, comment: str, *raws: bytes, party: str = SENDER, relay: str = HERE,
        now: datetime = NOW,
    ) -> Case:  # fmt: skip
        more = (("world", "one"), at(now), ("party", party), ("relay", relay))
        return Case(f"relay-{name}", "relay.submit", expect, raws or (envelope.raw,), comment, f"Relay {step}", more)

    yield case("ok", "ok", 4, "from its sender")
    yield case("ok-from-relay", "ok", 4, "from the sender's relay", party=HERE, relay=THERE)
    yield case("ok-twice", "ok", 1, "the same envelope again", envelope.raw, envelope.raw)
    yield case("garbage", "malformed", 1, "no envelope", b"\xff")
    end = makers.directory.listing.expires_at
    yield case("directory-expired", "directory_expired", 1, "under a directory that has expired", now=end)
    yield case("another-sender", "not_permitted", 2, "from another agency of the relay", party=OTHER)
    yield case("another-relay", "not_permitted", 2, "from a relay that is not the sender's", party=THERE, relay=HERE)
    yield case("foreign-mailbox", "not_permitted", 2, "at a relay that is not the sender's", relay=THERE)
    wraps, body = [wrap.raw for wrap in envelope.wraps], envelope.body
    unknown = e.signed(replace(envelope.header, sender_bundle=bytes(32)), wraps, body)
    yield case("bundle-unknown", "stale_bundle", 3, "a bundle that was not published here", unknown)
    flipped = e.wire(put(body=body[:-1] + bytes([body[-1] ^ 1])))
    yield case("body-flipped", "bad_signature", 3, "one bit of the body", flipped)
    late = NOW + LIFETIME_DEFAULT + timedelta(minutes=6)
    yield case("expired", "expired", 3, "expired", now=late)
    back = makers.seal(
        message(), header=makers.header(created_at=NOW + timedelta(days=29), expires_at=NOW + timedelta(days=40))
    )
    yield case(
        "dated-back",
        "stale_bundle",
        3,
        "made while its bundle was in use, submitted after",
        back.raw,
        now=NOW + timedelta(days=33),
    )
    yield case("wrap-missing", "bad_signature", 4, "without the wrap of a recipient", envelope.prune({RECIPIENT}).raw)
    nobody = replace(envelope.header, recipients=(Recipient("none.vn.example", bytes(32)),))
    yield case(
        "recipient-unknown",
        "unknown_party",
        4,
        "a recipient the directory does not list",
        e.signed(nobody, [], body, digests=[bytes(32)]),
    )
    relay = replace(envelope.header, recipients=(Recipient(THERE, bytes(32)),))
    yield case(
        "recipient-relay", "unknown_party", 4, "a relay as recipient", e.signed(relay, [], body, digests=[bytes(32)])
    )
    home = makers.seal(message(), [OTHER])
    yield case(
        "nobody-here", "not_addressed", 4, "nobody behind this relay is addressed", home.raw, party=HERE, relay=THERE
    )
    header = makers.header()
    first, second = (makers.seal(message(level=level), header=header).raw for level in (1, 2))
    again = case("replayed", "replayed", 1, "another envelope under one message id", first, second)
    yield replace(again, step="Log before act 1")


def acknowledged(makers: Makers) -> Iterator[Case]:
    """Yield statements handed to a recipient's relay, after the envelope they are about."""
    envelope = makers.seal(message(), [RECIPIENT])
    member = makers.members[RECIPIENT]
    keys = member.identity.epochs[0]
    opened = Statement(
        envelope_digest=envelope.digest,
        issuer=RECIPIENT,
        issuer_bundle=member.bundle.digest,
        state=Event.OPENED,
        at=NOW,
        content_commitment=envelope.header.content_commitment,
    )
    refused = replace(opened, state=Event.REFUSED, reason=int(Reason.RULE_BROKEN), content_commitment=b"")

    def case(name: str, expect: str, step: int, comment: str, *said: Statement, party: str = RECIPIENT) -> Case:
        signers = {RECIPIENT: keys, SECOND: makers.members[SECOND].identity.epochs[0]}
        raws = [Acknowledgement.sign(one, HYBRID_KEM, signers[one.issuer]).raw for one in said]
        more = (("world", "one"), at(NOW), ("party", party))
        blocks = (envelope.raw, *raws)
        return Case(f"acknowledged-{name}", "relay.acknowledge", expect, blocks, comment, f"Relay {step}", more)

    yield case("opened", "ok", 7, "OPENED", opened)
    yield case("refused", "ok", 7, "REFUSED", refused)
    yield case("twice", "ok", 7, "OPENED again", opened, opened)
    yield case("by-another", "not_addressed", 5, "by an agency that is no recipient", opened, party=SECOND)
    yield case(
        "of-another", "bad_field", 6, "a statement about another envelope", replace(opened, envelope_digest=bytes(32))
    )
    yield case(
        "for-another",
        "bad_field",
        6,
        "another agency's statement",
        replace(opened, issuer=SECOND, issuer_bundle=makers.members[SECOND].bundle.digest),
    )
    yield case("commitment", "bad_commitment", 6, "another commitment", replace(opened, content_commitment=bytes(32)))
    yield case("future", "not_yet_valid", 6, "six minutes ahead", replace(opened, at=NOW + timedelta(minutes=6)))
    yield case("both", "replayed", 6, "REFUSED after OPENED", opened, refused)
    yield case(
        "bundle-unknown",
        "stale_bundle",
        7,
        "a bundle that was not published here",
        replace(opened, issuer_bundle=bytes(32)),
    )


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case of section Relay."""
    makers = worlds.one
    yield from submitted(makers)
    yield from acknowledged(makers)
