"""Recall: everybody who may not give an order, what a liar makes of one, and its format."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason
from infoexchange.node import Job
from infoexchange.ports import Notice
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict
from recalling import (
    COLLEAGUE,
    HOME,
    PEER,
    Line,
    handed_over,
    lay,
    opened,
    order,
    outcomes,
    prepared,
    reason_of,
    recall,
    send,
    verdicts,
)


@pytest.fixture
def exchange(exchange: Exchange) -> Exchange:
    return prepared(exchange)


@pytest.fixture
def line(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> Line:
    return lay(exchange, monkeypatch)


def test_only_the_sender_recalls(exchange: Exchange) -> None:
    digest = send(exchange, RECIPIENT, COLLEAGUE)
    cases: Sequence[tuple[RecallOrder, str, str, Reason]] = (
        (order(exchange, digest, by=COLLEAGUE), COLLEAGUE, HOME, Reason.NOT_PERMITTED),  # another agency of ours
        (order(exchange, digest, by=RECIPIENT), RECIPIENT, PEER, Reason.NOT_PERMITTED),  # a recipient
        (order(exchange, digest), COLLEAGUE, HOME, Reason.NOT_PERMITTED),  # somebody else's order
        (order(exchange, digest), SENDER, PEER, Reason.NOT_PERMITTED),  # straight to another country's relay
        (order(exchange, digest), PEER, HOME, Reason.NOT_PERMITTED),  # a relay without the sender's mailbox
        (order(exchange, digest, SECOND), SENDER, HOME, Reason.BAD_FIELD),  # nobody of the message
        (order(exchange, digest, suite=2), SENDER, HOME, Reason.BAD_FIELD),
        (order(exchange, digest, at=exchange.clock() + timedelta(minutes=6)), SENDER, HOME, Reason.NOT_YET_VALID),
        (order(exchange, digest, issuer_bundle=bytes(32)), SENDER, HOME, Reason.STALE_BUNDLE),
        (order(exchange, digest, at=exchange.clock() - timedelta(days=1)), SENDER, HOME, Reason.UNKNOWN_PARTY),
    )
    for given, caller, node, reason in cases:
        assert reason_of(handed_over(exchange, given, caller, node)) is reason
    forged = order(exchange, digest)
    forged = RecallOrder.parse(replace(forged.dsse, signatures=(bytes(64),)).raw)
    assert reason_of(handed_over(exchange, forged)) is Reason.BAD_SIGNATURE
    assert opened(exchange, RECIPIENT) == [digest]
    assert opened(exchange, COLLEAGUE) == [digest]


def test_the_digest_beside_an_order_is_its_own(exchange: Exchange) -> None:
    one, other = send(exchange), send(exchange)
    relay = exchange.mailbox(SENDER).relay
    [result] = relay.acknowledge([Notice(other, Event.RECALLED, order(exchange, one).raw)])
    assert reason_of(result) is Reason.BAD_FIELD
    [result] = relay.acknowledge([Notice(other, Event.RECALLED, b"junk")])
    assert reason_of(result) is Reason.MALFORMED


def test_the_library_recalls_only_what_it_sent(exchange: Exchange) -> None:
    digest = send(exchange)
    for caller, names in ((RECIPIENT, ()), (SENDER, (SECOND,))):
        with pytest.raises(ExchangeError) as caught:
            exchange.mailbox(caller).recall(digest, names)
        assert caught.value.reason is Reason.NOT_ADDRESSED


def test_a_strangers_early_order_stops_nothing_and_spoils_no_evidence(exchange: Exchange, line: Line) -> None:
    """Another agency behind the sender's relay knows the digest before the peer has the envelope."""
    line.cut = {"submit", "acknowledge"}
    digest = send(exchange)
    exchange.nodes[PEER].commit(
        [
            exchange.nodes[PEER].decide_bundle(
                exchange.directory.party(HOME, at=exchange.clock()), exchange.community.members[COLLEAGUE].bundle
            )
        ]
    )
    stranger = order(exchange, digest, by=COLLEAGUE)
    assert isinstance(handed_over(exchange, stranger, HOME, PEER), Receipt)  # by a relay that colludes
    line.cut = set()
    exchange.forward()
    assert opened(exchange, RECIPIENT) == [digest]
    exchange.witness()
    for name in (SENDER, RECIPIENT):
        envelope = Envelope.parse(exchange.mailbox(SENDER).spool.sent(digest).raw)  # type: ignore[union-attr]
        checks = verdicts(exchange, exchange.mailbox(name).evidence(digest, envelope))
        assert {v for v, _ in checks.values()} == {Verdict.TOTAL_PASSED}


def test_orders_about_one_message_are_bounded(exchange: Exchange) -> None:
    """Otherwise a sender could make the evidence of its message too long to be examined."""
    digest = send(exchange)
    exchange.clock.advance(timedelta(minutes=1))
    orders = [order(exchange, digest, at=exchange.clock() - timedelta(seconds=i)) for i in range(20)]
    results = exchange.mailbox(SENDER).relay.acknowledge([Notice(digest, Event.RECALLED, o.raw) for o in orders])
    assert sum(isinstance(result, Receipt) for result in results) == 16
    assert {reason_of(r) for r in results[16:]} == {Reason.TOO_LARGE}


# What a liar does


def test_a_relay_that_ignores_an_order_it_took_is_found_out(exchange: Exchange, monkeypatch: Any) -> None:
    digest = send(exchange)
    liar = exchange.nodes[PEER]
    settle = liar.settle
    monkeypatch.setattr(
        liar, "settle", lambda jobs: settle([Job(j.changes[:1], late=None) if j.last else j for j in jobs])
    )
    recall(exchange, digest)
    assert opened(exchange, RECIPIENT) == [digest]
    monkeypatch.undo()
    exchange.witness()
    checks = verdicts(exchange, exchange.mailbox(SENDER).evidence(digest))
    failed = {name: detail for name, (verdict, detail) in checks.items() if verdict is Verdict.TOTAL_FAILED}
    assert failed == {f"recall for {RECIPIENT}": f"recall: {PEER} delivered it after it had taken the recall"}


def test_a_relay_that_never_answers_an_order_leaves_a_question(exchange: Exchange, line: Line) -> None:
    digest = send(exchange)
    line.cut = {"acknowledge"}
    recall(exchange, digest)
    exchange.witness()
    checks = verdicts(exchange, exchange.mailbox(SENDER).evidence(digest))
    opens = {name for name, (verdict, _) in checks.items() if verdict is Verdict.INDETERMINATE}
    assert opens == {f"outcome for {RECIPIENT}", f"recall for {RECIPIENT}"}


def test_a_relay_that_claims_a_recall_nobody_ordered_is_not_believed(exchange: Exchange) -> None:
    digest = send(exchange)
    liar = exchange.nodes[PEER]
    manifest = liar.accepted(digest)
    assert manifest is not None
    liar.commit([Job((replace(liar.event(Event.RECALLED, manifest, RECIPIENT), stops=(RECIPIENT,)),))])
    assert outcomes(exchange, digest)[RECIPIENT].state is Event.QUEUED
    exchange.witness()
    checks = verdicts(exchange, exchange.mailbox(SENDER).evidence(digest))
    assert checks[f"outcome for {RECIPIENT}"][0] is Verdict.INDETERMINATE


def test_a_peers_false_receipt_leaves_the_order_waiting(exchange: Exchange, line: Line) -> None:
    line.cut = {"acknowledge"}
    digest = send(exchange)
    receipt = recall(exchange, digest)
    node = exchange.nodes[HOME]
    [waiting] = node.orders(PEER, limit=9)
    with pytest.raises(ExchangeError) as caught:
        node.recall_forwarded(PEER, waiting, receipt)  # ours, not the peer's
    assert caught.value.reason is Reason.BAD_PROOF
    job = node.recall_failed(PEER, waiting, Reason.NOT_PERMITTED)
    node.commit([job])
    assert node.orders(PEER, limit=9) == []
    exchange.witness()
    names = {n: d for n, (_, d) in verdicts(exchange, exchange.mailbox(SENDER).evidence(digest)).items()}
    assert any("RECALL_FAILED" in name for name in names)


# The format


def test_an_order_has_one_form(exchange: Exchange) -> None:
    good = order(exchange, bytes(32), SECOND, RECIPIENT)
    assert RecallOrder.parse(good.raw) == good
    assert good.statement.recipients == tuple(sorted((SECOND, RECIPIENT)))
    good.verify(exchange.directory, exchange.community.members[SENDER].bundle)
    for changed, reason in (
        ({"recipients": ()}, Reason.BAD_FIELD),
        ({"recipients": tuple(f"a{i:03}.th.example" for i in range(65))}, Reason.BAD_FIELD),
        ({"recipients": (RECIPIENT, RECIPIENT)}, Reason.BAD_FIELD),
        ({"recipients": ("nobody",)}, Reason.BAD_FIELD),
        ({"envelope_digest": bytes(31)}, Reason.BAD_FIELD),
        ({"issuer_bundle": b""}, Reason.BAD_FIELD),
    ):
        with pytest.raises(ExchangeError) as caught:
            order(exchange, bytes(32), **changed) if "recipients" in changed else order(
                exchange, bytes(32), SECOND, **changed
            )
        assert caught.value.reason is reason
    with pytest.raises(ExchangeError) as caught:
        good.verify(exchange.directory, exchange.community.members[RECIPIENT].bundle)
    assert caught.value.reason is Reason.STALE_BUNDLE


def test_no_bit_of_an_order_can_change(exchange: Exchange) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    good, bundle = order(exchange, bytes(32)), exchange.community.members[SENDER].bundle
    hints = 0
    for place in rng.sample(range(len(good.raw)), 150):
        raw = bytearray(good.raw)
        raw[place] ^= 1 << rng.randrange(8)
        try:
            changed = RecallOrder.parse(bytes(raw))
            changed.verify(exchange.directory, bundle)
        except ExchangeError:
            continue
        hints += 1  # the key id, which decides nothing
        assert changed.statement == good.statement
    assert hints < 20
