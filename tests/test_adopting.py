"""Two nodes of one relay: each follows one directory version, and notices a newer one, or the end of the log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conftest import AGENCIES
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason
from infoexchange.ledger import Ledger
from infoexchange.node import Node
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.testing.memory import MemoryLatch

HERE = "relay.th.example"


def newer(exchange: Exchange, last: Directory) -> Directory:
    listing = replace(last.listing, version=last.version + 1, previous=last.digest)
    return last.succeed(Directory.sign(listing.payload, exchange.community.root_keys[:2]))


def two_nodes(exchange: Exchange) -> tuple[Node, Node]:
    """Return a node, and another one of the same relay over the same store and latch."""
    node = exchange.nodes[HERE]
    latch = MemoryLatch(node.ledger.checkpoint())
    node.ledger._latch = latch
    ledger = Ledger(exchange.community.log_keys[HERE], node.store, latch, clock=exchange.clock)
    other = Node(ledger, node.directory, clock=exchange.clock)
    other.start()
    return node, other


def test_a_version_that_another_node_logged_before_this_one_adopted_its_own_is_noticed() -> None:
    exchange = Exchange(AGENCIES)
    node, other = two_nodes(exchange)
    two = newer(exchange, node.directory)
    three = newer(exchange, two)
    node.commit([node.decide_directory(two.raw)])
    for version in (two, three):
        other.commit([other.decide_directory(version.raw)])
        other.adopt(version)
    node.adopt(two)
    assert node.directory_place < node.store.latest(Event.DIRECTORY_VERSION) == other.directory_place
    # What it decides under the older version is not written behind the newer one.
    party = two.party("desk.navy.th.example", at=exchange.clock())
    job = node.decide_bundle(party, exchange.community.members[party.name].bundle)
    with pytest.raises(ExchangeError) as caught:
        node.commit([job])
    assert (caught.value.reason, caught.value.field) == (Reason.UNAVAILABLE, "directory")
    node.commit([node.decide_directory(three.raw)])
    node.adopt(three)
    node.commit([node.decide_bundle(party, exchange.community.members[party.name].bundle)])


def test_nothing_is_written_behind_a_close_whose_node_died_before_it_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Exchange(AGENCIES)
    node, other = two_nodes(exchange)

    def die() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(other.ledger, "close", die)
        with pytest.raises(KeyboardInterrupt):
            other.close_log()
    before = node.store.head()
    party = node.directory.party("desk.navy.th.example", at=exchange.clock())
    with pytest.raises(ExchangeError) as caught:
        node.commit([node.decide_bundle(party, exchange.community.members[party.name].bundle)])
    assert (caught.value.reason, caught.value.detail) == (
        Reason.LOG_STOPPED,
        f"{node.ledger.origin} is closed, and the next log goes on",
    )
    assert node.store.head() == before
    last = other.close_log()  # as its next start does
    assert last.size == before.size
