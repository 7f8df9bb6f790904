"""Real files of others: each comes in, is completed by a person where it must be, travels sealed, and goes out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from conftest import RECIPIENT, SENDER
from infoexchange import bridges, catalogue
from infoexchange.catalogue import examples, rules, text
from infoexchange.draft import Draft
from infoexchange.errors import ExchangeError
from infoexchange.testing import Exchange
from infoexchange.testing.clock import START
from messages import handling
from test_bridges import shared

CYBER, AT_SEA = catalogue.DOMAIN_CYBER, catalogue.DOMAIN_PIRACY
MONEY, LISTED = catalogue.DOMAIN_ECONOMIC_CRIME, catalogue.DOMAIN_TERRORISM
# Format, file, domain, and how many messages it holds.
FILES = [
    ("stix", "stix21/indicator-for-c2-ip-address.json", CYBER, 1),
    ("stix", "stix21/indicators-for-C2-with-COA.json", CYBER, 1),
    ("stix", "stix21/infrastructure.json", CYBER, 1),
    ("stix", "stix21/malicious-email-indicator-with-attachment.json", CYBER, 1),
    ("stix", "stix21/xorist_from_misp.json", CYBER, 1),
    ("misp", "misp/57c4445b-c548-4654-af0b-4be3950d210f.json", CYBER, 1),
    ("misp", "misp/misp_event.json", CYBER, 1),
    ("asam", "asam/asams_2022.json", AT_SEA, 6),
    ("geojson", "geojson/asams_2022.geojson", AT_SEA, 6),
    ("piracy", "piracy/pirate_attacks_region_60.csv", AT_SEA, 60),
    ("iso20022", "iso20022/camt056_synthetic.xml", MONEY, 1),
    ("unlist", "un_sanctions/un_consolidated_entities12_202303.xml", LISTED, 12),
]
READ_ONLY = {"unlist"}


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return Exchange({"th": ["desk.oncb"], "vn": ["intel.c04"]})


def completed(message: Any) -> Message:
    """What a person adds to a file that cannot know it."""
    if isinstance(message, catalogue.IndicatorSet):
        message.handling.valid_until.FromDatetime(START + timedelta(days=30))
        if not message.indicators:
            first = examples.message("IndicatorSet").indicators[0]  # type: ignore[attr-defined]
            message.indicators.add().CopyFrom(first)
    if isinstance(message, catalogue.StopPaymentRequest):
        message.scheme, message.victim_kind, message.contact = 1, 2, "duty desk, fraud@police.example"
        message.reported_at.FromDatetime(START)
        for transfer in message.transfers:
            transfer.executed_at.utc.FromDatetime(START)
        for account in message.accounts:
            account.account_no = "0000000001"
    return message


@pytest.mark.parametrize(("name", "file", "domain", "count"), FILES, ids=[file for _, file, _, _ in FILES])
def test_a_file_comes_in_travels_and_goes_out(
    exchange: Exchange, name: str, file: str, domain: int, count: int
) -> None:
    raw, bridge = shared(file), bridges.find(name)
    assert bridges.detect(raw) is bridge
    marks = handling(domain=domain, pap=catalogue.PAP_AMBER)
    messages = [completed(message) for message in bridge.read(raw, marks, now=START)]
    assert len(messages) == count
    for message in messages:
        rules.check(message)
    receipts = exchange.mailbox(SENDER).send_all([Draft(message, [RECIPIENT]) for message in messages])
    assert not [one for one in receipts if isinstance(one, ExchangeError)]
    inbox, came = exchange.mailbox(RECIPIENT), []
    for delivery in inbox.receive():
        came.append(delivery.message)
        inbox.acknowledge(delivery)
    assert sorted(map(text.to_json, came)) == sorted(map(text.to_json, messages))
    if name in READ_ONLY:
        return
    again = list(bridge.read(bridge.write(came, now=START), marks, now=START))
    assert len(again) == len(messages)
    assert {type(message) for message in again} == {type(message) for message in messages}
