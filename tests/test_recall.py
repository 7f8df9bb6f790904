"""Recall: every race of an order with its envelope, and everybody who may not give one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange import Draft
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.evidence import Evidence, Outcome
from infoexchange.node import Job
from infoexchange.ports import Notice, Result
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import DirectRelay, Exchange
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement

HOME, PEER, COLLEAGUE = "relay.th.example", "relay.vn.example", "desk.navy.th.example"


@pytest.fixture
def exchange(exchange: Exchange) -> Exchange:
    """Two nations whose agencies have all published their keys."""
    for name in exchange.community.members:
        exchange.mailbox(name)
    return exchange


class Line:
    """A way between relays that can be cut, before or behind the peer."""

    def __init__(self) -> None:
        self.cut: set[str] = set()
        self.deaf: set[str] = set()

    def __call__(self, relay: Any) -> Any:
        line = self

        class Way:
            def __getattr__(self, name: str) -> Any:
                def call(*args: object) -> Any:
                    if name in line.cut:
                        raise error(Reason.UNAVAILABLE, field="peer", detail="down")
                    answer = getattr(relay, name)(*args)
                    if name in line.deaf:
                        raise error(Reason.UNAVAILABLE, field="peer", detail="the answer got lost")
                    return answer

                return call

        return Way()


@pytest.fixture
def line(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> Line:
    line, direct = Line(), exchange.line
    monkeypatch.setattr(exchange, "line", lambda caller, node: line(direct(caller, node)))
    return line


def send(exchange: Exchange, *to: str, blind: bool = False) -> bytes:
    draft = Draft(officer_acknowledgement(), to or [RECIPIENT], suite=HYBRID_KEM, blind=blind)
    [result] = exchange.mailbox(SENDER).send_all([draft])
    assert isinstance(result, Receipt)
    return result.subject.envelope_digest


def recall(exchange: Exchange, digest: bytes, *names: str) -> Receipt:
    [result] = exchange.mailbox(SENDER).recall(digest, names)
    assert isinstance(result, Receipt), result
    return result


def opened(exchange: Exchange, name: str) -> list[bytes]:
    box = exchange.mailbox(name)
    found = []
    for delivery in box.receive():
        box.acknowledge(delivery)
        found.append(delivery.digest)
    return found


def outcomes(exchange: Exchange, digest: bytes, of: str = SENDER) -> dict[str, Outcome]:
    return {found.recipient: found for found in exchange.mailbox(of).outcomes(digest)}


def events(exchange: Exchange, relay: str, digest: bytes) -> list[tuple[str, str]]:
    node = exchange.nodes[relay]
    return [(r.event.name, r.party) for r in node.records(digest) if not r.event.name.startswith("RECALL_")]


def reason_of(result: Result) -> Reason:
    assert isinstance(result, ExchangeError), result
    return result.reason


def verdicts(exchange: Exchange, evidence: Evidence) -> dict[str, tuple[Verdict, str]]:
    report = Evidence.parse(evidence.raw).verify(exchange.directory, now=exchange.clock())
    return {check.name: (check.verdict, check.detail) for check in report.checks}


def order(exchange: Exchange, digest: bytes, *names: str, by: str = SENDER, **changed: Any) -> RecallOrder:
    """An order as the library would sign it, or changed."""
    member = exchange.community.members[by]
    said = Recalled(
        envelope_digest=digest,
        issuer=by,
        issuer_bundle=member.bundle.digest,
        suite=HYBRID_KEM.number,
        recipients=names or (RECIPIENT,),
        at=exchange.clock(),
    )
    return RecallOrder.sign(replace(said, **changed), member.identity.epochs[0])


def handed_over(exchange: Exchange, given: RecallOrder, caller: str = SENDER, node: str = HOME) -> Result:
    party = exchange.directory.party(caller, at=exchange.clock())
    relay = DirectRelay(exchange, exchange.nodes[node], party)
    [result] = relay.acknowledge([Notice(given.statement.envelope_digest, Event.RECALLED, given.raw)])
    return result


# Races


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


class Down:
    """A relay whose network is down for everything that is said; keys are still to be had."""

    def __init__(self, relay: Any) -> None:
        self._relay = relay

    def __getattr__(self, name: str) -> Any:
        if name in {"submit", "acknowledge"}:

            def down(*_: object) -> Any:
                raise error(Reason.UNAVAILABLE, field="relay", detail="down")

            return down
        return getattr(self._relay, name)


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


# Who may not


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
