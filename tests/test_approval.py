"""Approvals: the agency's word in its exact form, and what a relay does with it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import AGENCIES, RECIPIENT, SECOND, SENDER
from infoexchange import Draft
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.approval import AUDIENCE_MAX, LEGAL_BASIS_MAX, Approval, Consent
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.content import RECORDS_MAX
from infoexchange.dsse import TYPE_ACKNOWLEDGEMENT, TYPE_DISCLOSURE, Dsse
from infoexchange.errors import ExchangeError, Reason
from infoexchange.keys import KeyUsage
from infoexchange.node.approvals import DISCLOSURES_MAX
from infoexchange.ports import Notice, Result
from infoexchange.receipt import Receipt
from infoexchange.statement import parse_statement, statement_digest
from infoexchange.states import Event
from infoexchange.suites import HYBRID, HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.v1 import audit_pb2
from messages import officer_acknowledgement
from test_mailbox import direct, reason_of
from turning import Agency, taken

THIRD = "desk.navy.th.example"


def consent(exchange: Exchange, digest: bytes = bytes(32), issuer: str = RECIPIENT, **changed: object) -> Consent:
    said = Consent(
        envelope_digest=digest,
        disclosure_digest=bytes(range(32)),
        record_count=4,
        issuer=issuer,
        issuer_bundle=exchange.community.members[issuer].bundle.digest,
        audience="Port State Control court",
        legal_basis="Maritime Code, article 12",
        at=exchange.clock(),
    )
    return replace(said, **changed)


def signed(exchange: Exchange, said: Consent, suite=HYBRID, signer: str = "") -> Approval:
    return Approval.sign(said, suite, exchange.community.members[signer or said.issuer].identity.epochs[0])


def refusal(call, *arguments: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*arguments)
    return caught.value.reason


# The format


@pytest.mark.parametrize("suite", [HYBRID, HYBRID_KEM])
def test_it_says_what_was_signed(shared_exchange, suite):
    said = consent(shared_exchange)
    approval = Approval.parse(signed(shared_exchange, said, suite).raw)
    assert approval.statement == said
    bundle = shared_exchange.community.members[RECIPIENT].bundle
    assert approval.verify(shared_exchange.directory, bundle, suite).name == RECIPIENT
    assert parse_statement(approval.raw) == approval
    said = parse_statement(approval.raw).statement
    assert statement_digest(approval.raw) == approval.digest
    assert (said.issuer, said.issuer_bundle) == (RECIPIENT, bundle.digest)


def changed(approval: Approval, **fields: object) -> bytes:
    payload = audit_pb2.DisclosureApproval.FromString(approval.dsse.payload)
    for name, value in fields.items():
        setattr(payload, name, value)
    pairs = list(zip(approval.dsse.signatures, approval.dsse.key_ids, strict=True))
    return Dsse.make(TYPE_DISCLOSURE, payload.SerializeToString(deterministic=True), pairs).raw


BAD = {
    "no message": {"envelope_digest": b""},
    "a short digest": {"disclosure_digest": bytes(31)},
    "no records": {"record_count": 0},
    "more records than can be": {"record_count": RECORDS_MAX + 1},
    "no name": {"issuer": "somebody"},
    "no bundle": {"issuer_bundle": b""},
    "nobody": {"audience": ""},
    "only spaces": {"audience": "   "},
    "an audience too long": {"audience": "x" * (AUDIENCE_MAX + 1)},
    "a basis too long": {"legal_basis": "x" * (LEGAL_BASIS_MAX + 1)},
    "a new line": {"audience": "court\nof appeal"},
    "an escape sequence": {"legal_basis": "\x1b[2J"},
    "a C1 control": {"audience": "court\x9b2J"},
    "a time before time": {"at_ms": -1},
}


@pytest.mark.parametrize("name", BAD)
def test_other_values_are_refused(shared_exchange, name):
    assert refusal(Approval.parse, changed(signed(shared_exchange, consent(shared_exchange)), **BAD[name])) is (
        Reason.BAD_FIELD
    )


def test_texts_may_have_their_full_length_in_any_language(shared_exchange):
    said = consent(shared_exchange, audience="ศ" * AUDIENCE_MAX, legal_basis="法" * LEGAL_BASIS_MAX)
    assert Approval.parse(signed(shared_exchange, said).raw).statement == said
    assert Approval.parse(signed(shared_exchange, replace(said, legal_basis="")).raw).statement.legal_basis == ""
    assert refusal(signed, shared_exchange, replace(said, audience="")) is Reason.BAD_FIELD


def test_it_passes_for_no_other_statement(shared_exchange):
    approval = signed(shared_exchange, consent(shared_exchange))
    assert refusal(Acknowledgement.parse, approval.raw) is Reason.BAD_FIELD
    relabelled = Dsse.make(TYPE_ACKNOWLEDGEMENT, approval.dsse.payload, [(approval.dsse.signatures[0], "x")])
    with pytest.raises(ExchangeError):
        Acknowledgement.parse(relabelled.raw)
    twice = Dsse.make(TYPE_DISCLOSURE, approval.dsse.payload, [(approval.dsse.signatures[0], "x")] * 2)
    assert refusal(Approval.parse, twice.raw) is Reason.BAD_FIELD
    assert statement_digest(b"junk") == b""
    assert statement_digest(twice.raw) == b""


def test_other_keys_do_not_sign_it(shared_exchange):
    exchange, bundle = shared_exchange, shared_exchange.community.members[RECIPIENT].bundle
    verify = lambda approval, suite=HYBRID, b=bundle: approval.verify(exchange.directory, b, suite)  # noqa: E731
    stolen = signed(exchange, consent(exchange), signer=SECOND)
    assert refusal(verify, stolen) is Reason.BAD_SIGNATURE
    approval = signed(exchange, consent(exchange))
    assert refusal(verify, approval, HYBRID_KEM) is Reason.BAD_SIGNATURE  # another suite than the envelope's
    assert refusal(verify, approval, HYBRID, exchange.community.members[SECOND].bundle) is Reason.STALE_BUNDLE
    member = exchange.community.members[RECIPIENT]
    now = exchange.clock() + timedelta(seconds=1)
    reissued = KeyBundle.issue(member.identity, member.certificates, (member.crl,), now=now)
    assert refusal(verify, approval, HYBRID, reissued) is Reason.STALE_BUNDLE
    in_another_name = signed(exchange, replace(approval.statement, issuer=SECOND), signer=RECIPIENT)
    assert refusal(verify, in_another_name) is Reason.STALE_BUNDLE
    keys = member.identity.epochs[0]
    wrong = keys.signing[HYBRID.number, KeyUsage.MANIFEST]
    pair = (wrong.sign(TYPE_DISCLOSURE, approval.dsse.payload), wrong.key_id)
    assert refusal(verify, Approval.parse(Dsse.make(TYPE_DISCLOSURE, approval.dsse.payload, [pair]).raw)) is (
        Reason.BAD_SIGNATURE
    )
    old = signed(exchange, consent(exchange, at=exchange.clock() + timedelta(days=31)))
    assert refusal(verify, old) is Reason.STALE_BUNDLE


def test_no_flipped_bit_gets_through(shared_exchange):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    approval = signed(shared_exchange, consent(shared_exchange), HYBRID_KEM)
    bundle = shared_exchange.community.members[RECIPIENT].bundle
    hint = approval.raw.index(approval.dsse.key_ids[0].encode())
    for place in range(len(approval.raw)):
        raw = bytearray(approval.raw)
        raw[place] ^= 1 << rng.randrange(8)
        try:
            Approval.parse(bytes(raw)).verify(shared_exchange.directory, bundle, HYBRID_KEM)
        except ExchangeError:
            continue
        assert hint <= place < hint + 16, place


# The relay


@pytest.fixture
def sent() -> tuple[Exchange, bytes]:
    """A message to one of two agencies behind a relay."""
    exchange = Exchange(AGENCIES)
    exchange.mailbox(RECIPIENT)
    return exchange, exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT]).subject.envelope_digest


def say(exchange: Exchange, approval: Approval, digest: bytes, by: str = RECIPIENT) -> Result:
    [result] = direct(exchange, by).acknowledge([Notice(digest, Event.AUDIT_DISCLOSURE, approval.raw)])
    return result


def test_a_relay_logs_it_and_answers_with_the_proof(sent):
    exchange, digest = sent
    approval = signed(exchange, consent(exchange, digest))
    receipt = say(exchange, approval, digest)
    assert isinstance(receipt, Receipt)
    receipt.verify(exchange.directory)
    assert (receipt.routing.event, receipt.routing.recipients) == (Event.AUDIT_DISCLOSURE, (RECIPIENT,))
    assert receipt.subject.statement_digest == approval.digest
    assert b"Port State Control" not in receipt.raw  # the leaf names the statement by digest only
    # It still waits for its recipient: showing something and having taken it are two things.
    assert sum(len(batch) for batch in direct(exchange, RECIPIENT).fetch()) == 1


def test_sender_and_recipients_see_it_in_the_history(sent):
    exchange, digest = sent
    approval = signed(exchange, consent(exchange, digest))
    say(exchange, approval, digest)
    own = signed(exchange, consent(exchange, digest, SENDER, audience="an auditor"))
    assert isinstance(say(exchange, own, digest, SENDER), Receipt)
    for name in (SENDER, RECIPIENT):
        history = exchange.mailbox(name).history(digest)
        assert {a.digest for a in history.approvals} == {approval.digest, own.digest}
        assert [r.routing.event for r in history.events].count(Event.AUDIT_DISCLOSURE) == 2
    with pytest.raises(ExchangeError):
        exchange.mailbox(SECOND).history(digest)


def test_the_same_approval_is_logged_once_and_another_again(sent):
    exchange, digest = sent
    node = exchange.node_of(RECIPIENT)
    first = signed(exchange, consent(exchange, digest))
    receipts = [say(exchange, first, digest) for _ in range(3)]
    assert len({r.index for r in receipts}) == 1
    size = node.ledger.size
    exchange.clock.advance(timedelta(days=60))  # its receipt is to be had however late, with keys long out of use
    assert say(exchange, first, digest).index == receipts[0].index
    assert node.ledger.size == size


def test_several_disclosures_of_one_message_are_several_entries(sent):
    exchange, digest = sent
    approvals = [
        signed(exchange, consent(exchange, digest, disclosure_digest=bytes([n]) * 32), HYBRID)
        for n in range(DISCLOSURES_MAX + 1)
    ]
    receipts = [say(exchange, approval, digest) for approval in approvals[:-1]]
    assert len({r.index for r in receipts}) == DISCLOSURES_MAX
    assert [r.subject.statement_digest for r in receipts] == [a.digest for a in approvals[:-1]]
    size = exchange.node_of(RECIPIENT).ledger.size
    assert reason_of(say(exchange, approvals[-1], digest)) is Reason.TOO_LARGE
    assert say(exchange, approvals[3], digest).index == receipts[3].index
    assert exchange.node_of(RECIPIENT).ledger.size == size
    assert isinstance(say(exchange, signed(exchange, consent(exchange, digest, SENDER)), digest, SENDER), Receipt)


def test_a_frame_full_of_approvals_logs_no_more_than_the_limit(sent):
    """All are decided before any is logged; the store keeps one entry for each number."""
    exchange, digest = sent
    approvals = [signed(exchange, consent(exchange, digest, disclosure_digest=bytes([n]) * 32)) for n in range(20)]
    notices = [Notice(digest, Event.AUDIT_DISCLOSURE, approval.raw) for approval in approvals]
    for _ in range(12):
        results = direct(exchange, RECIPIENT).acknowledge(notices)
    logged = [r for r in exchange.node_of(RECIPIENT).records(digest) if r.event is Event.AUDIT_DISCLOSURE]
    assert len(logged) == DISCLOSURES_MAX
    # Whoever got a number that another one had taken sees it by the digest, and is never told that it is logged.
    named = [
        r.subject.statement_digest == a.digest
        for r, a in zip(results, approvals, strict=True)
        if isinstance(r, Receipt)
    ]
    assert sum(named) == DISCLOSURES_MAX


REFUSED = {
    "of a message it was not sent": (lambda e, d: (signed(e, consent(e, d, SECOND)), d, SECOND), Reason.NOT_ADDRESSED),
    "of another agency of the sender's relay": (
        lambda e, d: (signed(e, consent(e, d, THIRD)), d, THIRD),
        Reason.NOT_ADDRESSED,
    ),
    "of a message nobody knows": (
        lambda e, d: (signed(e, consent(e, bytes(32))), bytes(32), RECIPIENT),
        Reason.NOT_ADDRESSED,
    ),
    "of another message": (lambda e, d: (signed(e, consent(e, bytes(32))), d, RECIPIENT), Reason.BAD_FIELD),
    "by somebody else": (lambda e, d: (signed(e, consent(e, d, SENDER)), d, RECIPIENT), Reason.BAD_FIELD),
    "from the future": (
        lambda e, d: (signed(e, consent(e, d, at=e.clock() + timedelta(minutes=6))), d, RECIPIENT),
        Reason.NOT_YET_VALID,
    ),
    "under keys not published": (
        lambda e, d: (signed(e, consent(e, d, issuer_bundle=bytes(32))), d, RECIPIENT),
        Reason.STALE_BUNDLE,
    ),
    "with somebody else's keys": (
        lambda e, d: (signed(e, consent(e, d), signer=SECOND), d, RECIPIENT),
        Reason.BAD_SIGNATURE,
    ),
    "in another suite": (lambda e, d: (signed(e, consent(e, d), HYBRID_KEM), d, RECIPIENT), Reason.BAD_SIGNATURE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_relay_refuses_it(sent, name):
    exchange, digest = sent
    make, reason = REFUSED[name]
    approval, about, by = make(exchange, digest)
    nodes = {node.name: node.ledger.size for node in exchange.nodes.values()}
    assert reason_of(say(exchange, approval, about, by)) is reason
    assert nodes == {node.name: node.ledger.size for node in exchange.nodes.values()}


def test_only_the_own_relay_takes_it(sent):
    exchange, digest = sent
    for name, relay in ((SENDER, "relay.vn.example"), (RECIPIENT, "relay.th.example")):
        approval = signed(exchange, consent(exchange, digest, name))
        [result] = direct(exchange, name, relay).acknowledge([Notice(digest, Event.AUDIT_DISCLOSURE, approval.raw)])
        assert reason_of(result) is Reason.NOT_ADDRESSED


def test_keys_out_of_use_approve_nothing_new(sent):
    exchange, digest = sent
    dated_back = signed(exchange, consent(exchange, digest))
    exchange.clock.advance(timedelta(days=31))
    assert reason_of(say(exchange, dated_back, digest)) is Reason.STALE_BUNDLE


def test_withdrawn_keys_approve_nothing(sent):
    exchange, digest = sent
    agency = Agency(exchange, RECIPIENT)
    before = signed(exchange, consent(exchange, digest))
    assert isinstance(say(exchange, before, digest), Receipt)
    assert taken(agency.publish(agency.next(exchange.clock(), withdraw=True)))
    exchange.clock.advance(CLOCK_SKEW + timedelta(seconds=1))
    after = signed(exchange, consent(exchange, digest, disclosure_digest=bytes(32)))
    assert reason_of(say(exchange, after, digest)) is Reason.REVOKED
    assert isinstance(say(exchange, before, digest), Receipt)


def test_an_acknowledgement_says_nothing_of_disclosures(sent):
    exchange, digest = sent
    approval = signed(exchange, consent(exchange, digest))
    for state, statement in (
        (Event.OPENED, approval.raw),
        (Event.AUDIT_DISCLOSURE, b""),
        (Event.AUDIT_DISCLOSURE, b"x"),
    ):
        [result] = direct(exchange, RECIPIENT).acknowledge([Notice(digest, state, statement)])
        assert isinstance(result, ExchangeError)
        assert result.reason in (Reason.BAD_FIELD, Reason.MALFORMED)


def test_who_shows_what_of_a_blind_message_is_seen_by_the_sender_alone():
    exchange = Exchange(AGENCIES)
    for name in (RECIPIENT, SECOND):
        exchange.mailbox(name)
    draft = Draft(officer_acknowledgement(), [RECIPIENT, SECOND], blind=True)
    [receipt] = exchange.mailbox(SENDER).send_all([draft])
    digest = receipt.subject.envelope_digest
    own = signed(exchange, consent(exchange, digest, SENDER, audience="sender's auditor"))
    by_recipient = signed(exchange, consent(exchange, digest))
    assert say(exchange, own, digest, SENDER).routing.recipients == ()
    assert say(exchange, by_recipient, digest).routing.recipients == (RECIPIENT,)
    approvals = lambda name: {a.digest for a in exchange.mailbox(name).history(digest).approvals}  # noqa: E731
    assert approvals(SENDER) == {own.digest, by_recipient.digest}
    assert approvals(RECIPIENT) == {own.digest, by_recipient.digest}
    assert approvals(SECOND) == {own.digest}
    assert reason_of(say(exchange, signed(exchange, consent(exchange, digest, THIRD)), digest, THIRD)) is (
        Reason.NOT_ADDRESSED
    )
