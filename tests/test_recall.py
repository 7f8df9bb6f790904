"""Recall: every race of an order with its envelope."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import Draft
from infoexchange.errors import Reason, UnavailableError
from infoexchange.ports import Notice
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement
from recalling import (
    COLLEAGUE,
    HOME,
    PEER,
    Down,
    Line,
    events,
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


def test_queued_at_the_recipients_relay_it_is_stopped_there(exchange: Exchange) -> None:
    digest = send(exchange, RECIPIENT, SECOND)
    receipt = recall(exchange, digest, RECIPIENT)
    assert (receipt.routing.event, receipt.routing.recipients) == (Event.RECALL_ORDERED, (RECIPIENT,))
    assert (opened(exchange, RECIPIENT), opened(exchange, SECOND)) == ([], [digest])
    found = outcomes(exchange, digest)
    assert {name: (o.state, o.is_final) for name, o in found.items()} == {
        RECIPIENT: (Event.RECALLED, True),
        SECOND: (Event.OPENED, True),
    }
    assert found[RECIPIENT].relay == PEER


def test_not_forwarded_yet_it_never_leaves_the_country(exchange: Exchange, line: Line) -> None:
    line.cut = {"submit", "acknowledge"}
    digest = send(exchange, RECIPIENT, SECOND, COLLEAGUE)
    recall(exchange, digest)
    assert events(exchange, HOME, digest) == [
        ("ACCEPTED", ""), ("QUEUED", COLLEAGUE), ("RECALLED", COLLEAGUE), ("RECALLED", PEER)
    ]  # fmt: skip
    assert exchange.nodes[HOME].store.envelope(digest) is None
    assert {o.state for o in outcomes(exchange, digest).values()} == {Event.RECALLED}
    line.cut = set()
    exchange.forward()
    assert exchange.nodes[HOME].orders(PEER, limit=9) == []
    assert [r.event for r in exchange.nodes[PEER].records(digest)] == [Event.RECALL_ORDERED]
    assert [opened(exchange, name) for name in (RECIPIENT, SECOND, COLLEAGUE)] == [[], [], []]


def test_for_some_behind_a_peer_it_travels_and_is_stopped_there(exchange: Exchange, line: Line) -> None:
    line.cut = {"submit"}
    digest = send(exchange, RECIPIENT, SECOND)
    recall(exchange, digest, RECIPIENT)
    assert [r.event for r in exchange.nodes[PEER].records(digest)] == [Event.RECALL_ORDERED]  # before the envelope
    line.cut = set()
    exchange.forward()
    assert events(exchange, PEER, digest) == [("ACCEPTED", ""), ("QUEUED", SECOND), ("RECALLED", RECIPIENT)]
    assert (opened(exchange, RECIPIENT), opened(exchange, SECOND)) == ([], [digest])
    assert [o.is_final for o in outcomes(exchange, digest).values()] == [True, True]


def test_two_orders_that_together_name_everybody_stop_it_at_home(exchange: Exchange, line: Line) -> None:
    line.cut = {"submit", "acknowledge"}
    digest = send(exchange, RECIPIENT, SECOND)
    recall(exchange, digest, RECIPIENT)
    assert exchange.nodes[HOME].store.envelope(digest)
    recall(exchange, digest, SECOND)
    assert exchange.nodes[HOME].store.envelope(digest) is None
    assert {o.state for o in outcomes(exchange, digest).values()} == {Event.RECALLED}
    line.cut = set()
    exchange.forward()
    exchange.witness()
    evidence = exchange.mailbox(SENDER).evidence(digest)
    assert {v for v, _ in verdicts(exchange, evidence).values()} == {Verdict.TOTAL_PASSED}


def test_a_copy_on_its_way_that_the_peer_has_delivered_counts(exchange: Exchange, line: Line) -> None:
    """The peer took the envelope and its answer got lost; then the sender recalled, then the peer delivered."""
    line.deaf, line.cut = {"submit"}, {"acknowledge"}
    digest = send(exchange)
    recall(exchange, digest)
    assert outcomes(exchange, digest)[RECIPIENT].state is Event.RECALLED
    assert opened(exchange, RECIPIENT) == [digest]  # the order has not reached that relay
    line.deaf, line.cut = set(), set()
    exchange.forward()
    found = outcomes(exchange, digest)[RECIPIENT]
    assert (found.state, found.signed, found.others) == (Event.OPENED, True, ())
    assert ("RECALLED", RECIPIENT) not in events(exchange, PEER, digest)


def test_a_copy_on_its_way_is_stopped_when_the_order_comes(exchange: Exchange, line: Line) -> None:
    line.deaf, line.cut = {"submit"}, {"acknowledge"}
    digest = send(exchange)
    recall(exchange, digest)
    line.deaf, line.cut = set(), set()
    exchange.forward()
    assert events(exchange, PEER, digest) == [("ACCEPTED", ""), ("QUEUED", RECIPIENT), ("RECALLED", RECIPIENT)]
    assert opened(exchange, RECIPIENT) == []
    assert outcomes(exchange, digest)[RECIPIENT].is_final


@pytest.mark.parametrize("state", [Event.OPENED, Event.REFUSED])
def test_after_delivery_nothing_is_recalled(exchange: Exchange, state: Event) -> None:
    digest = send(exchange)
    box = exchange.mailbox(RECIPIENT)
    [delivery] = box.receive()
    commitment = delivery.envelope.header.content_commitment
    if state is Event.OPENED:
        box._inbox._conclude(delivery.envelope, state, commitment=commitment)
    else:
        box._inbox._conclude(delivery.envelope, state, reason=int(Reason.RULE_BROKEN))
    box.flush()
    before = events(exchange, PEER, digest)
    recall(exchange, digest)
    assert events(exchange, PEER, digest) == before
    assert outcomes(exchange, digest)[RECIPIENT].state is state
    exchange.witness()
    found = verdicts(exchange, exchange.mailbox(SENDER).evidence(digest))
    assert found[f"recall for {RECIPIENT}"] == (Verdict.TOTAL_PASSED, f"too late: {PEER} had delivered it")
    assert {v for v, _ in found.values()} == {Verdict.TOTAL_PASSED}


def test_what_was_fetched_before_and_opened_after_is_the_recipients_word(exchange: Exchange) -> None:
    """The relay cannot know what a recipient did with bytes it had handed out; the recipient can say so."""
    digest = send(exchange)
    box = exchange.mailbox(RECIPIENT)
    [delivery] = box.receive()
    recall(exchange, digest)
    assert outcomes(exchange, digest)[RECIPIENT].state is Event.RECALLED
    box.acknowledge(delivery)
    box.flush()
    assert events(exchange, PEER, digest) == [
        ("ACCEPTED", ""), ("QUEUED", RECIPIENT), ("RECALLED", RECIPIENT), ("OPENED", RECIPIENT)
    ]  # fmt: skip
    found = outcomes(exchange, digest)[RECIPIENT]
    assert (found.state, found.others) == (Event.OPENED, ())
    exchange.witness()
    checks = verdicts(exchange, exchange.mailbox(SENDER).evidence(digest))
    assert {v for v, _ in checks.values()} == {Verdict.TOTAL_PASSED}


def test_delivered_and_recalled_exclude_each_other_whoever_commits_first(exchange: Exchange) -> None:
    """Both were decided before either was written: the store tells, in its transaction."""
    node = exchange.nodes[PEER]
    caller = exchange.directory.party(RECIPIENT, at=exchange.clock())
    home = exchange.directory.party(HOME, at=exchange.clock())
    for first in ("delivered", "recalled"):
        digest = send(exchange)
        given = order(exchange, digest)
        recalling = node.decide_notice(home, Notice(digest, Event.RECALLED, given.raw))
        delivering = node.decide_notice(caller, Notice(digest, Event.DELIVERED))
        jobs = [delivering, recalling] if first == "delivered" else [replace(recalling, last=False), delivering]
        results = node.commit(jobs)
        ends = [name for name, _ in events(exchange, PEER, digest)[2:]]
        assert ends == [first.upper()]
        assert [isinstance(result, Receipt) for result in results] == [True, first == "delivered"]


@pytest.mark.parametrize("first", ["order", "envelope"])
def test_order_and_envelope_in_one_batch_of_the_peer(exchange: Exchange, line: Line, first: str) -> None:
    """Each is decided while the other is not there; written together, the envelope is stopped all the same."""
    line.cut = {"submit", "acknowledge"}
    digest = send(exchange)
    home, peer = exchange.nodes[HOME], exchange.nodes[PEER]
    us, them = (exchange.directory.party(name, at=exchange.clock()) for name in (HOME, PEER))
    [waiting] = home.store.waiting(PEER, limit=9)
    raw, given = home.served(them, waiting), order(exchange, digest)
    taking = peer.decide(us, raw)
    recalling = peer.decide_notice(us, Notice(digest, Event.RECALLED, given.raw))
    jobs = [recalling, taking] if first == "order" else [taking, recalling]
    assert all(isinstance(result, Receipt) for result in peer.commit(jobs))
    assert events(exchange, PEER, digest) == [("ACCEPTED", ""), ("QUEUED", RECIPIENT), ("RECALLED", RECIPIENT)]
    assert opened(exchange, RECIPIENT) == []


def test_an_envelope_decided_before_an_order_was_written_looks_again(exchange: Exchange, line: Line) -> None:
    line.cut = {"submit", "acknowledge"}
    digest = send(exchange)
    home, peer = exchange.nodes[HOME], exchange.nodes[PEER]
    us, them = (exchange.directory.party(name, at=exchange.clock()) for name in (HOME, PEER))
    [waiting] = home.store.waiting(PEER, limit=9)
    taking = peer.decide(us, home.served(them, waiting))
    peer.commit([peer.decide_notice(us, Notice(digest, Event.RECALLED, order(exchange, digest).raw))])
    peer.commit([taking])
    assert events(exchange, PEER, digest) == [("ACCEPTED", ""), ("RECALLED", RECIPIENT)]
    assert peer.store.envelope(digest) is None


def test_recalled_before_it_was_sent_it_reaches_nobody(exchange: Exchange) -> None:
    """Sealed while the relay was away, then recalled: with the next connection the order goes first."""
    sender = exchange.mailbox(SENDER)
    relay, sender._desk.relay = sender.relay, Down(sender.relay)
    [result] = sender.send_all([Draft(officer_acknowledgement(), [RECIPIENT, COLLEAGUE])])
    [sent] = sender.spool.unsent(9)
    [problem] = sender.recall(sent.digest)
    assert isinstance(result, UnavailableError)
    assert isinstance(problem, UnavailableError)
    [again] = sender.recall(sent.digest)  # one order is enough
    assert isinstance(again, UnavailableError)
    assert len(sender.spool.unsaid(9)) == 1
    sender._desk.relay = relay
    [taken] = sender.flush()
    assert isinstance(taken, Receipt)
    assert sender.spool.unsaid(9) == []
    assert [opened(exchange, name) for name in (RECIPIENT, COLLEAGUE)] == [[], []]
    assert {o.state for o in outcomes(exchange, sent.digest).values()} == {Event.RECALLED}
    assert events(exchange, PEER, sent.digest) == []


def test_twice_is_once(exchange: Exchange) -> None:
    digest = send(exchange)
    given = order(exchange, digest)
    first, again = handed_over(exchange, given), handed_over(exchange, given)
    assert isinstance(first, Receipt)
    assert isinstance(again, Receipt)
    assert first.leaf == again.leaf
    recall(exchange, digest)  # another order, later
    assert [name for name, _ in events(exchange, PEER, digest)].count("RECALLED") == 1
    found = outcomes(exchange, digest)[RECIPIENT]
    assert (found.state, found.others) == (Event.RECALLED, ())


def test_an_order_is_to_be_had_again_after_everything_has_ended(exchange: Exchange) -> None:
    digest = send(exchange)
    given = order(exchange, digest)
    first = handed_over(exchange, given)
    exchange.clock.advance(timedelta(days=30))
    again = handed_over(exchange, given)
    assert isinstance(first, Receipt)
    assert isinstance(again, Receipt)
    assert first.leaf == again.leaf
    assert events(exchange, PEER, digest)[-1] == ("RECALLED", RECIPIENT)


def test_after_its_time_a_message_cannot_be_recalled(exchange: Exchange) -> None:
    digest = send(exchange)
    exchange.clock.advance(timedelta(days=15))
    [result] = exchange.mailbox(SENDER).recall(digest)
    assert reason_of(result) is Reason.EXPIRED
    exchange.expire()
    assert outcomes(exchange, digest)[RECIPIENT].state is Event.EXPIRED
    assert exchange.mailbox(SENDER).spool.unsaid(9) == []


def test_expiry_after_a_recall_changes_nothing(exchange: Exchange, line: Line) -> None:
    line.cut = {"submit", "acknowledge"}
    digest = send(exchange, RECIPIENT, SECOND)
    recall(exchange, digest, RECIPIENT)
    exchange.clock.advance(timedelta(days=15))
    exchange.expire()
    # Nobody behind the peer got it, and for the other it was never recalled: its time ran out for both.
    assert {o.state for o in outcomes(exchange, digest).values()} == {Event.EXPIRED}
    assert all(o.is_final for o in outcomes(exchange, digest).values())
    [waiting] = exchange.nodes[HOME].orders(PEER, limit=9)
    exchange.clock.advance(timedelta(days=90))
    exchange.expire()
    assert exchange.nodes[HOME].orders(PEER, limit=9) == []
    last = exchange.nodes[HOME].records(digest)[-1]
    assert (last.event, last.party) == (Event.RECALL_FAILED, f"{PEER}#{waiting.digest.hex()}")


def test_a_decided_expiry_does_not_overtake_a_recall(exchange: Exchange) -> None:
    node, digest = exchange.nodes[PEER], send(exchange)
    expiring = node.ended(Event.EXPIRED, RECIPIENT, digest, Reason.EXPIRED)
    recall(exchange, digest)
    [result] = node.commit([expiring])
    assert reason_of(result) is Reason.REPLAYED
    assert events(exchange, PEER, digest)[-1] == ("RECALLED", RECIPIENT)


def test_blind_recipients_learn_of_no_other(exchange: Exchange) -> None:
    digest = send(exchange, RECIPIENT, SECOND, COLLEAGUE, blind=True)
    results = exchange.mailbox(SENDER).recall(digest, [RECIPIENT, COLLEAGUE])
    assert [r.routing.recipients for r in results if isinstance(r, Receipt)] == [(COLLEAGUE,), (RECIPIENT,)]
    assert [opened(exchange, name) for name in (RECIPIENT, SECOND, COLLEAGUE)] == [[], [digest], []]
    assert {n: o.state for n, o in outcomes(exchange, digest).items()} == {
        RECIPIENT: Event.RECALLED, SECOND: Event.OPENED, COLLEAGUE: Event.RECALLED
    }  # fmt: skip
    for name in (RECIPIENT, SECOND):
        seen = exchange.mailbox(name).history(digest)
        assert {n for receipt in seen.events for n in receipt.routing.recipients} <= {name}
        assert not any(other.encode() in raw for raw in seen.statements for other in {RECIPIENT, SECOND} - {name})
    exchange.witness()
    checks = verdicts(exchange, exchange.mailbox(SENDER).evidence(digest))
    assert {v for v, _ in checks.values()} == {Verdict.TOTAL_PASSED}


def test_blind_and_not_forwarded_yet_it_stays_at_home(exchange: Exchange, line: Line) -> None:
    line.cut = {"submit"}
    digest = send(exchange, RECIPIENT, SECOND, blind=True)
    exchange.mailbox(SENDER).recall(digest)
    assert exchange.nodes[HOME].store.envelope(digest) is None
    assert {o.state for o in outcomes(exchange, digest).values()} == {Event.RECALLED}
