"""Recall over real relays: orders cross the network, wait for a peer that is down, and outlive restarts."""

from __future__ import annotations

import contextlib

import pytest

from infoexchange.envelope import Envelope
from infoexchange.errors import Reason
from infoexchange.ports import Notice
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.transport import utc_now
from infoexchange_relay import backoff
from patience import until
from relays import A2, AGENCIES, A, B, Relays, delivered, events, fetched

HOME, PEER = "relay.th.example", "relay.vn.example"


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(backoff, "BACKOFF_FIRST", 0.1)
    monkeypatch.setattr(backoff, "BACKOFF_MAX", 0.3)
    with contextlib.closing(Relays(tmp_path, AGENCIES)) as relays:
        yield relays


def order(relays: Relays, envelope: Envelope, *names: str) -> Notice:
    member = relays.community.members[A]
    said = Recalled(
        envelope_digest=envelope.digest,
        issuer=A,
        issuer_bundle=member.bundle.digest,
        suite=envelope.header.suite,
        recipients=names,
        at=utc_now(),
    )
    return Notice(envelope.digest, Event.RECALLED, RecallOrder.sign(said, member.identity.epochs[0]).raw)


def test_an_order_waits_for_a_peer_and_outlives_a_restart(fresh):
    fresh.start("th")
    sender = fresh.remote(A)
    sender.publish([fresh.community.members[A].bundle])
    whole, part = fresh.seal(A, [B, A2]), fresh.seal(A, [B])
    assert all(isinstance(r, Receipt) for r in sender.submit([whole.raw, part.raw]))
    results = sender.acknowledge([order(fresh, whole, A2, B)])
    assert [r.routing.event for r in results] == [Event.RECALL_ORDERED]
    assert fetched(fresh.remote(A2)) == []
    fresh.stop("th")
    fresh.start("vn")
    fresh.start("th")
    recipient, sender = fresh.remote(B), fresh.remote(A)
    until(lambda: fetched(recipient) == [part.digest])
    found = until(lambda: (seen := events(sender, whole.digest)) and (Event.RECALL_FORWARDED, HOME) in seen and seen)
    assert (Event.RECALLED, HOME) in found
    assert (Event.RECALL_ORDERED, PEER) in found
    assert (Event.FORWARDED, HOME) not in found


def test_an_order_follows_an_envelope_that_has_gone(fresh):
    fresh.start("th")
    fresh.start("vn")
    fresh.publish()
    sender, recipient = fresh.remote(A), fresh.remote(B)
    early, late = fresh.seal(A, [B]), fresh.seal(A, [B])
    sender.submit([early.raw, late.raw])
    until(lambda: len(fetched(recipient)) == 2)
    delivered(recipient, [early.digest])
    sender.acknowledge([order(fresh, early, B), order(fresh, late, B)])
    until(lambda: fetched(recipient) == [])
    until(lambda: (Event.RECALL_FORWARDED, HOME) in events(sender, early.digest))
    ends = [[e for e, relay in events(sender, d.digest) if relay == PEER and e.final] for d in (early, late)]
    assert ends == [[], [Event.RECALLED]]
    (refused,) = recipient.acknowledge([Notice(late.digest, Event.DELIVERED)])
    assert refused.reason is Reason.REPLAYED
