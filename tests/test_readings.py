"""What a relay reads of itself from time to time: queues, disks, log and papers."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from conftest import RECIPIENT, SENDER
from infoexchange.errors import Reason, error
from infoexchange.states import Precedence
from infoexchange.testing import Exchange
from infoexchange_relay import expiry, readings
from infoexchange_relay.batching import Batching
from infoexchange_relay.gauges import AGENCIES as OWN
from infoexchange_relay.gauges import ENDINGS, Depth, Gauges
from infoexchange_relay.readings import Readings, depths, pause
from messages import officer_acknowledgement
from recalling import lay
from relays import AGENCIES, Relays

DAY = timedelta(days=1)
NEIGHBOUR = "desk.navy.th.example"


def test_queues_are_counted_for_each_peer_and_for_all_agencies_together(exchange: Exchange, monkeypatch):
    for name in (SENDER, RECIPIENT, NEIGHBOUR):
        exchange.mailbox(name)  # publishes its keys
    lay(exchange, monkeypatch).cut = {"submit"}
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT, NEIGHBOUR])
    exchange.clock.advance(timedelta(minutes=3))
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    node = exchange.node_of(SENDER)
    exchange.clock.advance(timedelta(minutes=1))
    found = depths(node, node.clock())
    assert found == {
        ("relay.vn.example", Precedence.ROUTINE): Depth(2, 240.0),
        (OWN, Precedence.ROUTINE): Depth(1, 240.0),
    }


def test_the_more_a_look_costs_the_seldomer_it_is():
    assert pause(0.001) == readings.PAUSE
    assert pause(2.0) == 100.0


def test_a_store_that_cannot_be_read_is_said_once_and_its_gauges_stay(tmp_path: Path, exchange: Exchange):
    relays = Relays(tmp_path, AGENCIES)
    relays.close()
    node = exchange.node_of(SENDER)
    broken = error(Reason.LOG_STOPPED, field="queue", detail="cannot be read")

    def queues() -> list[object]:
        raise broken

    async def work() -> list[str]:
        batching = Batching(node)
        batching.start()
        looking = Readings(relays.configs["th"], batching)
        whole = node.store.queues
        await looking.look()
        with structlog.testing.capture_logs() as lines:
            node.store.queues = queues  # type: ignore[method-assign]
            await looking.look()
            await looking.look()
            assert b"infoexchange_relay_looked_timestamp_seconds 0.0" not in batching.metrics.render()
            assert b'store_errors_total{reason="log_stopped"} 2.0' in batching.metrics.render()
            node.store.queues = whole  # type: ignore[method-assign]
            await looking.look()
        await batching.close()
        return [f"{line['event']} {line.get('reason')}" for line in lines]

    assert asyncio.run(work()) == ["readings_failed log_stopped", "readings_back None"]


def test_papers_of_every_kind_have_a_last_day(tmp_path: Path):
    relays = Relays(tmp_path, AGENCIES)
    relays.close()
    days = expiry.last_days(relays.configs["th"], relays.directory)
    assert set(days) == {"directory", "certificate", "ca", "log"}  # the membership has no end
    assert days["directory"] == relays.directory.listing.expires_at
    listing = relays.directory.listing
    parties = tuple(dataclasses.replace(party, member_to=relays.now + 9 * DAY) for party in listing.parties)
    ended = dataclasses.replace(listing, parties=parties)
    directory = type(relays.directory)(ended, relays.directory._dsse, ())
    assert expiry.last_days(relays.configs["th"], directory)["membership"] == relays.now + 9 * DAY
    gauges = Gauges(registry := CollectorRegistry())
    gauges.ends(dict.fromkeys(ENDINGS, relays.now))
    gauges.ends({"directory": relays.now})
    assert registry.get_sample_value("infoexchange_relay_ends_timestamp_seconds", {"what": "ca"}) is None


def test_a_peer_that_the_directory_lists_no_more_is_shown_no_more():
    gauges = Gauges(registry := CollectorRegistry())
    gauges.queues(["relay.vn.example"], {("relay.vn.example", Precedence.FLASH): Depth(3, 1.0)})
    labels = {"queue": "relay.vn.example", "precedence": "flash"}
    assert registry.get_sample_value("infoexchange_relay_queue_envelopes", labels) == 3.0
    gauges.forget("relay.vn.example")
    assert registry.get_sample_value("infoexchange_relay_queue_envelopes", labels) is None
