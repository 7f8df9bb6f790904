"""Uncosigned: a relay that no quorum of witnesses sees takes nothing new after a while, and brings the rest home."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
import structlog

from conftest import RECIPIENT, SENDER
from infoexchange.errors import ExchangeError, Reason
from infoexchange.receipt import Receipt
from infoexchange.testing import Exchange
from infoexchange.tlog import Checkpoint
from infoexchange_relay.cosigned import Cosigned
from infoexchange_relay.metrics import Metrics
from messages import officer_acknowledgement
from patience import until
from recalling import lay
from relays import AGENCIES, Relays

LIMIT = timedelta(hours=4)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def exchange(exchange: Exchange) -> Exchange:
    for name in (SENDER, RECIPIENT):
        exchange.mailbox(name)  # publishes its keys
    exchange.witness()
    for node in exchange.nodes.values():
        node.max_uncosigned = LIMIT
    return exchange


def home(exchange: Exchange):
    return exchange.node_of(SENDER)


def send(exchange: Exchange):
    return exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])


def refused(exchange: Exchange) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        send(exchange)
    return caught.value


def test_the_age_is_that_of_the_oldest_entry_without_a_quorum(exchange: Exchange) -> None:
    node = home(exchange)
    exchange.clock.advance(10 * LIMIT)
    assert node.uncosigned() == timedelta()  # nothing is without one
    send(exchange)
    exchange.clock.advance(MINUTE)
    send(exchange)
    exchange.clock.advance(MINUTE)
    assert node.uncosigned() == 2 * MINUTE
    exchange.witness()
    assert node.uncosigned() == timedelta()


def test_after_the_limit_nothing_new_is_taken_and_the_rest_goes_on(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lay(exchange, monkeypatch)
    line.cut = {"submit"}
    first = send(exchange)
    exchange.clock.advance(LIMIT)
    send(exchange)  # to the end of the limit
    exchange.clock.advance(timedelta(seconds=1))
    problem = refused(exchange)
    assert (problem.reason, problem.field) == (Reason.UNAVAILABLE, "relay")
    assert "240 minutes" in problem.detail
    # What was acknowledged is acknowledged again, under the same entry.
    envelope = home(exchange).store.envelope(first.subject.envelope_digest)
    [again] = exchange.mailbox(SENDER).relay.submit([envelope])
    assert isinstance(again, Receipt)
    assert again.index == first.index
    # What waits goes to the peer, whose log is in order, and to its recipient.
    exchange.node_of(RECIPIENT).max_uncosigned = None
    line.cut = set()
    exchange.forward()
    assert len(list(exchange.mailbox(RECIPIENT).receive())) == 2
    # The sender has kept what was refused, and hands it over when the witnesses are back.
    exchange.witness()
    [kept] = exchange.mailbox(SENDER).flush()
    assert isinstance(kept, Receipt)


def test_a_relay_refuses_peers_as_well_and_takes_it_later(exchange: Exchange) -> None:
    home(exchange).max_uncosigned = None
    exchange.mailbox(RECIPIENT).send(officer_acknowledgement(), to=[SENDER])
    exchange.clock.advance(LIMIT + MINUTE)
    send(exchange)
    assert list(exchange.mailbox(RECIPIENT).receive()) == []
    exchange.witness()
    exchange.forward()
    assert len(list(exchange.mailbox(RECIPIENT).receive())) == 1


def test_without_a_limit_there_is_none(exchange: Exchange) -> None:
    send(exchange)
    exchange.clock.advance(LIMIT + MINUTE)
    home(exchange).max_uncosigned = None
    send(exchange)


# The program


@pytest.fixture
def relays(tmp_path):
    with contextlib.closing(Relays(tmp_path, AGENCIES)) as relays:
        yield relays


def test_what_was_cosigned_is_known_after_a_restart(relays: Relays) -> None:
    th = relays.configs["th"]
    relays.start("vn")
    ledger = relays.start("th").node.ledger
    until(lambda: th.cosigned.exists() and ledger.cosigned_size == ledger.size)
    kept = Checkpoint.parse(th.cosigned.read_bytes())
    relays.stop("th")
    relays.stop("vn")
    again = relays.start("th")  # alone: nobody cosigns anew
    assert again.node.ledger.cosigned_size == kept.size
    assert again.node.max_uncosigned == LIMIT
    relays.stop("th")
    # What does not hold is not used: a log's own signatures are not enough.
    th.cosigned.write_bytes(again.node.ledger.checkpoint())
    assert relays.start("th").node.ledger.cosigned_size == 0


def test_a_quorum_for_what_the_data_does_not_hold_stops_the_log(exchange: Exchange, tmp_path) -> None:
    node = home(exchange)
    file = tmp_path / "cosigned"
    Cosigned(node, file, Metrics()).resume()  # there is none yet
    assert Cosigned(node, file, Metrics()).take(node.ledger._witnessed)
    send(exchange)
    exchange.witness()
    newer = node.ledger._witnessed
    file.write_bytes(newer.raw)
    node.ledger._signed = Checkpoint.parse(node.ledger._keys.sign(2, bytes(32), now=exchange.clock()).raw)
    with pytest.raises(ExchangeError) as caught:
        Cosigned(node, file, Metrics()).resume()
    assert caught.value.reason is Reason.LOG_STOPPED


def test_a_missing_quorum_is_said_once_and_so_is_its_end(exchange: Exchange, tmp_path) -> None:
    node, metrics = home(exchange), Metrics()
    cosigned = Cosigned(node, tmp_path / "cosigned", metrics)
    with structlog.testing.capture_logs() as logs:
        cosigned.look()
        send(exchange)
        exchange.clock.advance(15 * MINUTE)
        cosigned.look()
        exchange.clock.advance(timedelta(seconds=1))
        cosigned.look()
        assert b"uncosigned_seconds 901.0" in metrics.render()
        cosigned.look()
        exchange.witness()
        cosigned.look()
        cosigned.look()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("quorum_missing", "error"),
        ("quorum_back", "info"),
    ]
