"""Expiry: at the sender's relay, at the recipient's, at the recipient itself, and in evidence."""

from __future__ import annotations

from datetime import timedelta

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from infoexchange.cli.outcomes import sentence
from infoexchange.errors import Reason
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict
from recalling import HOME, PEER, Line, events, lay, opened, outcomes, prepared, send, verdicts

LATER = timedelta(days=14, minutes=6)  # the usual life of an envelope, and a bit more than clocks may differ


@pytest.fixture
def exchange(exchange: Exchange) -> Exchange:
    return prepared(exchange)


@pytest.fixture
def line(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> Line:
    return lay(exchange, monkeypatch)


def proven(exchange: Exchange, digest: bytes) -> dict[str, tuple[Verdict, str]]:
    exchange.witness()
    return verdicts(exchange, exchange.mailbox(SENDER).evidence(digest))


def test_what_never_reached_the_recipients_relay_expires_at_the_senders(exchange: Exchange, line: Line) -> None:
    line.cut = {"submit"}
    digest = send(exchange, RECIPIENT, SECOND)
    exchange.clock.advance(LATER)
    exchange.expire()
    assert events(exchange, HOME, digest) == [("ACCEPTED", ""), ("EXPIRED", PEER)]
    found = outcomes(exchange, digest)
    assert {n: (o.state, o.relay, o.reason, o.is_final) for n, o in found.items()} == dict.fromkeys(
        (RECIPIENT, SECOND), (Event.EXPIRED, HOME, int(Reason.EXPIRED), True)
    )
    checks = proven(exchange, digest)
    index = exchange.nodes[HOME].records(digest)[-1].index
    assert checks[f"outcome for {RECIPIENT}"] == (Verdict.TOTAL_PASSED, f"EXPIRED, entry {index} of {HOME}")
    assert {verdict for verdict, _ in checks.values()} == {Verdict.TOTAL_PASSED}
    line.cut = set()
    exchange.forward()
    assert exchange.nodes[PEER].records(digest) == []  # nothing goes out after its end


def test_what_nobody_fetched_expires_at_the_recipients_relay(exchange: Exchange) -> None:
    digest = send(exchange, RECIPIENT, SECOND)
    assert opened(exchange, SECOND) == [digest]
    exchange.clock.advance(LATER)
    exchange.expire()
    exchange.expire()
    assert events(exchange, PEER, digest)[-1] == ("EXPIRED", RECIPIENT)
    found = outcomes(exchange, digest)
    assert {n: (o.state, o.relay) for n, o in found.items()} == {
        RECIPIENT: (Event.EXPIRED, PEER), SECOND: (Event.OPENED, PEER)
    }  # fmt: skip
    assert sentence(found[RECIPIENT]) == "not delivered: its time ran out"
    checks = proven(exchange, digest)
    index = exchange.nodes[PEER].records(digest)[-1].index
    assert checks[f"outcome for {RECIPIENT}"] == (Verdict.TOTAL_PASSED, f"EXPIRED, entry {index} of {PEER}")
    assert {verdict for verdict, _ in checks.values()} == {Verdict.TOTAL_PASSED}


def test_what_a_relay_hands_out_too_late_the_library_neither_opens_nor_answers(exchange: Exchange) -> None:
    digest = send(exchange)
    exchange.clock.advance(LATER)
    mailbox = exchange.mailbox(RECIPIENT)
    assert list(mailbox.receive()) == []
    [refusal] = mailbox.refused
    assert (refusal.digest, refusal.problem.reason, refusal.signed) == (digest, Reason.EXPIRED, False)
    exchange.expire()
    assert outcomes(exchange, digest)[RECIPIENT].state is Event.EXPIRED


def test_until_five_minutes_after_its_end_it_is_still_opened(exchange: Exchange) -> None:
    digest = send(exchange)
    exchange.clock.advance(timedelta(days=14, minutes=4))
    exchange.expire()
    assert opened(exchange, RECIPIENT) == [digest]


def test_who_had_fetched_it_in_time_still_says_so(exchange: Exchange) -> None:
    digest = send(exchange)
    mailbox = exchange.mailbox(RECIPIENT)
    [delivery] = mailbox.receive()
    exchange.clock.advance(LATER)
    exchange.expire()
    assert outcomes(exchange, digest)[RECIPIENT].state is Event.EXPIRED
    mailbox.acknowledge(delivery)
    mailbox.flush()
    names = [name for name, _ in events(exchange, PEER, digest)]
    assert names == ["ACCEPTED", "QUEUED", "EXPIRED", "DELIVERED", "OPENED"]
    found = outcomes(exchange, digest)[RECIPIENT]
    assert (found.state, found.signed, found.is_final) == (Event.OPENED, True, True)
    index = exchange.nodes[PEER].records(digest)[-1].index
    said = f"OPENED, entry {index} of {PEER}, as {RECIPIENT} signed"
    assert proven(exchange, digest)[f"outcome for {RECIPIENT}"] == (Verdict.TOTAL_PASSED, said)
