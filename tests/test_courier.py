"""Messages by courier: nothing is lost, nothing comes twice, nothing ends wrongly, and the proofs are the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from couriers import Post, refusal
from infoexchange import Draft
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.evidence import Evidence
from infoexchange.node import Node
from infoexchange.pouch import Kind, Told
from infoexchange.receipt import Receipt
from infoexchange.reconciling import Kind as Finding
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement
from reconciled import TH, VN


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path)


def verdicts(post: Post, digest: bytes, exchange: Exchange | None = None) -> tuple[Verdict, set[str]]:
    """What an auditor finds in the sender's evidence, and which events it proves, and where."""
    exchange = exchange or post.exchange
    evidence = exchange.mailbox(SENDER).evidence(digest)
    report = Evidence.parse(evidence.raw).verify(exchange.directory, now=exchange.clock())
    return report.verdict, {f"{r.routing.event.name} {r.routing.this_relay}" for r in evidence.events}


def refusing(monkeypatch: pytest.MonkeyPatch, post: Post, relay: str, reason: Reason) -> None:
    """Have a relay refuse every envelope."""

    def decide(caller: Any, raw: bytes) -> Any:
        raise error(reason)

    monkeypatch.setattr(post.exchange.nodes[relay], "decide", decide)


def test_a_message_goes_there_and_its_receipts_come_back(post: Post) -> None:
    digest = post.send()
    file, made = post.make(TH)
    assert (made["envelopes"], made["left"], made["answers"]) == (1, {}, "")
    assert post.waiting(TH, VN) == [digest]
    taken = post.take(VN, file)
    assert (taken["from"], taken["envelopes"], taken["refused"], taken["left"]) == (TH, 1, 0, {})
    assert post.waiting(TH, VN) == [digest]
    assert post.receive() == [digest]
    back = post.carry(VN)
    assert (back["forwarded"], back["histories"]) == (1, 1)
    assert post.waiting(TH, VN) == []
    assert post.events(TH, digest) == ["ACCEPTED", "FORWARDED"]
    assert post.make(TH)[1]["envelopes"] == 0


def test_evidence_is_the_same_as_over_a_network(post: Post) -> None:
    digest = post.send()
    post.carry(TH)
    post.receive()
    post.carry(VN)
    post.exchange.witness()
    # What was told before witnesses had seen it is told again.
    assert verdicts(post, digest)[0] is Verdict.INDETERMINATE
    post.carry(VN)
    by_courier = verdicts(post, digest)
    assert by_courier[0] is Verdict.TOTAL_PASSED
    assert {f"FORWARDED {TH}", f"ACCEPTED {VN}", f"DELIVERED {VN}", f"OPENED {VN}"} <= by_courier[1]

    network = Exchange({}, community=post.exchange.community, clock=post.exchange.clock)
    receipt = network.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    for delivery in network.mailbox(RECIPIENT).receive():
        network.mailbox(RECIPIENT).acknowledge(delivery)
    network.witness()
    assert verdicts(post, receipt.subject.envelope_digest, network) == by_courier
    found = post.reconciled()
    assert (found.report.verdict, found.findings) == (Verdict.TOTAL_PASSED, ())
    assert found.matched == {(TH, VN): 1, (VN, TH): 0}
    outcomes = post.exchange.mailbox(SENDER).outcomes(digest)
    assert [(o.recipient, o.state) for o in outcomes] == [(RECIPIENT, Event.OPENED)]


def test_the_same_pouch_again_changes_nothing(post: Post) -> None:
    post.send()
    file, _ = post.make(TH)
    first = post.take(VN, file)
    before = post.sizes()
    assert post.take(VN, file) == first
    answer, _ = post.make(VN)
    assert post.take(TH, answer)["forwarded"] == 1
    after = post.sizes()
    assert post.take(TH, answer)["forwarded"] == 1
    assert (before[VN], after) == (after[VN], post.sizes())


def test_a_lost_pouch_loses_nothing_and_an_old_one_is_refused(post: Post) -> None:
    first = post.send()
    old, _ = post.make(TH)
    second = post.send()
    new, made = post.make(TH)
    assert made["envelopes"] == 2
    assert post.take(VN, new)["envelopes"] == 2
    before = post.sizes()
    assert refusal(lambda: post.take(VN, old)) is Reason.REPLAYED
    assert post.sizes() == before
    assert sorted(post.receive()) == sorted([first, second])


def test_pouches_cross_on_their_way(post: Post) -> None:
    there, back = post.send(), post.send(SENDER, by=RECIPIENT)
    one, other = post.make(TH)[0], post.make(VN)[0]
    post.take(VN, one)
    post.take(TH, other)
    assert (post.receive(RECIPIENT), post.receive(SENDER)) == ([there], [back])
    assert (post.carry(TH)["forwarded"], post.carry(VN)["forwarded"]) == (1, 1)
    assert post.waiting(TH, VN) == post.waiting(VN, TH) == []
    assert post.reconciled().report.verdict is Verdict.TOTAL_PASSED


def test_what_the_other_relay_refuses_ends_with_its_reason(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = post.send()
    with monkeypatch.context() as patch:
        refusing(patch, post, VN, Reason.SUITE_NOT_ACCEPTED)
        assert post.carry(TH)["refused"] == 1
    answer, made = post.make(VN)
    assert made["refusals"] == 1
    assert post.take(TH, answer)["refusals"] == 1
    last = post.exchange.nodes[TH].history(_party(post, SENDER), digest).events[-1]
    assert (last.routing.event, last.routing.reason) == (Event.REFUSED, Reason.SUITE_NOT_ACCEPTED)
    assert post.waiting(TH, VN) == []
    before = post.sizes()
    assert post.take(TH, answer)["refusals"] == 1
    assert post.sizes() == before


def test_the_same_pouch_stays_refused_once_the_answer_may_have_left(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = post.send()
    file, _ = post.make(TH)
    with monkeypatch.context() as patch:
        refusing(patch, post, VN, Reason.SUITE_NOT_ACCEPTED)
        post.take(VN, file)
    answer, _ = post.make(VN)
    again = post.take(VN, file)  # would be accepted now
    assert (again["refused"], again["envelopes"]) == (1, 0)
    assert post.receive() == []
    post.take(TH, answer)
    assert post.events(TH, digest)[-1] == "REFUSED"
    assert post.reconciled().report.verdict is Verdict.TOTAL_PASSED


def test_a_refusal_of_an_older_pouch_ends_nothing(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = post.send()
    old, _ = post.make(TH)
    new, _ = post.make(TH)
    with monkeypatch.context() as patch:
        refusing(patch, post, VN, Reason.SUITE_NOT_ACCEPTED)
        post.take(VN, old)
    late, _ = post.make(VN)
    assert post.take(VN, new)["envelopes"] == 1
    assert post.take(TH, late)["refusals"] == 0
    assert post.waiting(TH, VN) == [digest]
    assert post.carry(VN)["forwarded"] == 1
    assert post.events(TH, digest) == ["ACCEPTED", "FORWARDED"]


def test_what_cannot_be_taken_now_is_neither_refused_nor_lost(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = post.send()
    file, _ = post.make(TH)
    for reason in (Reason.OVERLOADED, Reason.DIRECTORY_EXPIRED):
        with monkeypatch.context() as patch:
            refusing(patch, post, VN, reason)
            found = post.take(VN, file)
        assert (found["refused"], found["left"]) == (0, {reason.word: 1})
    assert post.take(VN, file)["envelopes"] == 1
    assert post.receive() == [digest]


@pytest.mark.parametrize("broken", ["bundles", "envelopes"])
def test_a_crash_in_between_leaves_a_pouch_that_can_be_taken_again(
    post: Post, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    digests = [post.send(), post.send(SECOND)]
    file, _ = post.make(TH)
    settle, events = Node.settle, {"bundles": Event.KEY_BUNDLE, "envelopes": Event.ACCEPTED}

    def failing(self: Node, jobs: Any) -> Any:
        if any(job.changes[0].event is events[broken] for job in jobs):
            raise error(Reason.OVERLOADED, field="disk", detail="full")
        return settle(self, jobs)

    with monkeypatch.context() as patch:
        patch.setattr(Node, "settle", failing)
        assert refusal(lambda: post.take(VN, file)) is Reason.OVERLOADED
    # A pouch that was not taken as a whole is not answered.
    assert post.make(VN)[1]["answers"] == ""
    assert post.take(VN, file)["envelopes"] == 2
    assert [post.receive(RECIPIENT), post.receive(SECOND)] == [[digests[0]], [digests[1]]]
    assert post.carry(VN)["forwarded"] == 2
    assert post.reconciled().report.verdict is Verdict.TOTAL_PASSED


def test_orders_travel_too_and_go_before_what_they_stop(post: Post) -> None:
    box = post.exchange.mailbox(SENDER)
    early, late = post.send(), post.send()
    post.carry(TH)
    assert post.receive() == [early, late]
    stopped, kept = post.send(), post.send(SECOND)
    first, _ = post.make(TH)
    post.take(VN, first)
    box.recall(stopped)
    assert post.carry(TH)["recalls"] == 1
    assert post.receive() == []
    assert post.receive(SECOND) == [kept]
    assert post.events(VN, stopped)[-1] == "RECALLED"
    assert post.carry(VN)["forwarded"] == 5
    assert "RECALL_FORWARDED" in post.events(TH, stopped)
    never = post.send()
    box.recall(never)
    assert post.carry(TH)["recalls"] == 1
    assert post.receive() == []
    assert post.reconciled().report.verdict is not Verdict.TOTAL_FAILED
    assert [o.state for o in box.outcomes(stopped)] == [Event.RECALLED]


def test_a_refused_order_ends_with_its_reason(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = post.send()
    post.exchange.mailbox(SENDER).recall(digest)

    def refuse(caller: Any, notice: Any) -> Any:
        raise error(Reason.NOT_PERMITTED)

    with monkeypatch.context() as patch:
        patch.setattr(post.exchange.nodes[VN], "decide_notice", refuse)
        assert post.carry(TH)["refused"] == 1
    assert post.carry(VN)["refusals"] == 1
    assert "RECALL_FAILED" in post.events(TH, digest)
    assert post.make(TH)[1]["recalls"] == 0


def test_behind_a_diode_messages_expire_here_and_arrive_there(post: Post) -> None:
    digest = post.send()
    file, _ = post.make(TH)
    post.take(VN, file)
    assert post.receive() == [digest]
    answer, _ = post.make(VN)
    post.exchange.clock.advance(timedelta(days=20))
    post.exchange.expire()
    assert post.events(TH, digest) == ["ACCEPTED", "EXPIRED"]
    [finding] = post.reconciled().findings
    assert (finding.kind, finding.verdict) == (Finding.ONE_SIDED, Verdict.INDETERMINATE)
    # An answer that does come, however late, tells what happened.
    assert post.take(TH, answer)["forwarded"] == 1
    assert post.events(TH, digest) == ["ACCEPTED", "EXPIRED", "FORWARDED"]
    assert post.reconciled().report.verdict is Verdict.TOTAL_PASSED
    assert [o.state for o in post.exchange.mailbox(SENDER).outcomes(digest)] == [Event.OPENED]


def test_an_expired_message_is_refused_and_stays_expired(post: Post) -> None:
    digest = post.send()
    file, _ = post.make(TH)
    post.exchange.clock.advance(timedelta(days=20))
    assert post.take(VN, file)["refused"] == 1
    post.exchange.expire()
    post.carry(VN)
    assert post.events(TH, digest) == ["ACCEPTED", "EXPIRED"]
    assert post.reconciled().report.verdict is Verdict.TOTAL_PASSED


def test_only_news_is_told_and_what_was_lost_is_told_again(post: Post) -> None:
    first = post.send()
    post.carry(TH)
    post.receive()
    post.exchange.witness()
    post.make(VN)  # lost
    answer, made = post.make(VN)
    assert made["histories"] == 1
    post.take(TH, answer)
    second = post.send()
    post.carry(TH)
    file, made = post.make(VN)
    assert made["histories"] == 1
    with post.opened(file, TH) as contents:
        [told] = [Told.parse(item.body) for item in contents.items() if item.kind is Kind.HISTORY]
    assert told.envelope_digest == second
    assert {r.routing.event for r in post.courier(TH).told(VN, first).events} >= {Event.ACCEPTED, Event.OPENED}


def test_a_message_to_several_nations_behind_it_and_one_from_there(post: Post) -> None:
    draft = Draft(officer_acknowledgement(), [RECIPIENT, SECOND], suite=HYBRID_KEM, blind=True)
    [receipt] = post.exchange.mailbox(SENDER).send_all([draft])
    assert isinstance(receipt, Receipt)
    digest = receipt.subject.envelope_digest
    post.carry(TH)
    assert [post.receive(RECIPIENT), post.receive(SECOND)] == [[digest], [digest]]
    assert post.carry(VN)["forwarded"] == 1
    outcomes = post.exchange.mailbox(SENDER).outcomes(digest)
    assert {o.recipient: o.state for o in outcomes} == {RECIPIENT: Event.OPENED, SECOND: Event.OPENED}


def test_a_new_directory_travels_along(post: Post) -> None:
    community = post.exchange.community
    listing = post.exchange.directory.listing
    newer = Directory.sign(
        replace(listing, version=2, previous=post.exchange.directory.digest).payload, community.root_keys[:2]
    )
    node = post.exchange.nodes[TH]
    node.commit([node.decide_directory(newer)])
    node.adopt(node.directory.succeed(newer))
    assert post.carry(TH)["directories"] == 2
    assert post.exchange.nodes[VN].directory.version == 2
    # What comes from one that is behind changes nothing.
    assert post.carry(TH)["left"] == {}


def _party(post: Post, name: str) -> Any:
    return post.exchange.directory.party(name, at=post.exchange.clock())
