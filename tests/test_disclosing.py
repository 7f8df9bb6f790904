"""Disclosing: approved by signature, logged once, and only then handed out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import RECIPIENT, SECOND, SENDER
from disclosed import COURT, Case
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import History
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from test_approval import consent, signed


@pytest.fixture
def fresh() -> Case:
    return Case(suite=HYBRID_KEM)


def test_nothing_is_logged_twice_and_nothing_is_shown_unlogged(fresh):
    disclosure = fresh.disclosure("background")
    first = fresh.box.disclose(disclosure, audience=COURT)
    size = fresh.exchange.node_of(RECIPIENT).ledger.size
    again = fresh.box.disclose(disclosure, audience=COURT)
    assert fresh.exchange.node_of(RECIPIENT).ledger.size == size
    assert again.approvals == first.approvals
    fresh.box.disclose(disclosure, audience="somebody else")
    assert fresh.exchange.node_of(RECIPIENT).ledger.size == size + 1


def test_an_answer_that_was_lost_is_found_in_the_log(fresh, monkeypatch):
    disclosure = fresh.disclosure("background")
    acknowledge = fresh.box.relay.acknowledge

    def lost(notices):
        acknowledge(notices)
        raise error(Reason.UNAVAILABLE, detail="the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(fresh.box.relay, "acknowledge", lost)
        with pytest.raises(ExchangeError) as caught:
            fresh.box.disclose(disclosure, audience=COURT)
        assert caught.value.reason is Reason.UNAVAILABLE
    evidence = fresh.box.disclose(disclosure, audience=COURT)
    assert [r.routing.event for r in evidence.events].count(Event.AUDIT_DISCLOSURE) == 1


def test_without_the_relays_proof_nothing_is_shown(fresh, monkeypatch):
    disclosure = fresh.disclosure("background")
    refused = error(Reason.OVERLOADED)
    other = fresh.box.history(fresh.digest).events[0]
    for answer, reason in ((refused, Reason.OVERLOADED), (other, Reason.UNAVAILABLE)):
        with monkeypatch.context() as patch:
            patch.setattr(fresh.box.relay, "acknowledge", lambda notices, answer=answer: [answer])
            with pytest.raises(ExchangeError) as caught:
                fresh.box.disclose(disclosure, audience=COURT)
            assert caught.value.reason is reason


def test_a_relay_that_makes_up_an_approval_is_found_out(fresh, monkeypatch):
    """It claims that just this was said before, to save itself the entry."""
    disclosure = fresh.disclosure("background")
    said = consent(fresh.exchange, fresh.digest, disclosure_digest=disclosure.digest, audience=COURT, legal_basis="")
    made_up = signed(fresh.exchange, said, HYBRID_KEM, signer=SECOND)
    events = fresh.box.relay.events

    def lied(digest):
        honest = events(digest)
        first = honest.events[0]
        told = replace(first, subject=replace(first.subject, statement_digest=made_up.digest))
        return History((told, *honest.events[1:]), (*honest.statements, made_up.raw))

    monkeypatch.setattr(fresh.box.relay, "events", lied)
    with pytest.raises(ExchangeError) as caught:
        fresh.box.disclose(disclosure, audience=COURT)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_a_message_is_opened_again_long_after_its_time(fresh):
    fresh.exchange.clock.advance(timedelta(days=29))
    delivery = fresh.box.reopen(fresh.delivery.envelope.raw)
    assert (delivery.content, delivery.attestations) == (fresh.delivery.content, fresh.delivery.attestations)
    assert len(delivery.attestations) == 1
    with pytest.raises(ExchangeError) as caught:
        fresh.exchange.mailbox(SENDER).reopen(fresh.delivery.envelope.raw)
    assert caught.value.reason is Reason.NOT_ADDRESSED


def test_who_has_no_part_in_a_message_shows_nothing_of_it(fresh):
    stranger = fresh.exchange.mailbox("desk.navy.th.example")
    with pytest.raises(ExchangeError) as caught:
        stranger.disclose(fresh.disclosure("background"), audience=COURT)
    assert caught.value.reason is Reason.NOT_PERMITTED


@pytest.mark.parametrize("audience", ["", " ", "x" * 254, "a\nb"])
def test_texts_that_cannot_be_signed_are_refused_first(fresh, audience):
    size = fresh.exchange.node_of(RECIPIENT).ledger.size
    with pytest.raises(ExchangeError) as caught:
        fresh.box.disclose(fresh.disclosure("background"), audience=audience)
    assert caught.value.reason is Reason.BAD_FIELD
    assert fresh.exchange.node_of(RECIPIENT).ledger.size == size
