"""An exchange with something of everything to report on, and the account of one of its logs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from infoexchange import catalogue
from infoexchange.cli.pages.account import Account
from infoexchange.errors import Reason
from infoexchange.ports import Record
from infoexchange.summary import Period, summarise
from infoexchange.testing import Exchange, FakeClock
from infoexchange.tlog import Checkpoint
from infoexchange.verdict import Check, Verdict
from messages import officer_acknowledgement

AGENCIES = {"th": ["desk.oncb", "desk.navy"], "vn": ["intel.c04", "duty.guard"], "sg": ["desk.cnb"]}
NAMES = [f"{unit}.{code}.example" for code, units in AGENCIES.items() for unit in units]
RELAY = "relay.vn.example"
START = datetime(2026, 11, 2, 8, tzinfo=UTC)
MADE_AT = datetime(2026, 12, 24, 8, tzinfo=UTC)
HOLDS = (Check("root", Verdict.TOTAL_PASSED, "", "the signed one"),)


def busy_exchange(days: int = 4, seed: int = 7, start: datetime = START) -> Exchange:
    """Messages in all directions for some days: opened, refused, recalled, expired."""
    rng = random.Random(seed)
    exchange = Exchange(AGENCIES, clock=FakeClock(start))
    for name in NAMES:
        exchange.mailbox(name)
    for _ in range(days):
        for _ in range(rng.randint(1, 4)):
            _one_message(exchange, rng)
        exchange.clock.advance(timedelta(hours=20))
    unread = exchange.mailbox(NAMES[0])
    unread.send(officer_acknowledgement(), to=[NAMES[3]])
    for delivery in exchange.mailbox(NAMES[3]).receive():
        exchange.mailbox(NAMES[3]).refuse(delivery, Reason.RULE_BROKEN)
    unread.send(officer_acknowledgement(precedence=catalogue.PRECEDENCE_FLASH), to=[NAMES[2]])
    exchange.clock.advance(timedelta(days=20))
    exchange.expire()
    exchange.witness()
    return exchange


def _one_message(exchange: Exchange, rng: random.Random) -> None:
    sender = rng.choice(NAMES)
    to = rng.sample([name for name in NAMES if name != sender], rng.randint(1, 3))
    message = officer_acknowledgement(precedence=rng.choice([1, 1, 2, 3]), op_status=rng.choice([1, 2]))
    receipt = exchange.mailbox(sender).send(message, to=to)
    if rng.random() < 0.2:
        exchange.mailbox(sender).recall(receipt.subject.envelope_digest)
    exchange.clock.advance(timedelta(seconds=rng.choice([1, 20, 90, 4000])))
    for name in to:
        for delivery in exchange.mailbox(name).receive():
            if rng.random() < 0.2:
                exchange.mailbox(name).refuse(delivery, Reason.RULE_BROKEN)
            else:
                exchange.mailbox(name).acknowledge(delivery)


def records_of(exchange: Exchange, relay: str = RELAY) -> list[Record | None]:
    store = exchange.nodes[relay].store
    return list(store.records(range(store.head().size)))


def account_of(
    exchange: Exchange,
    records: Sequence[Record | None] | None = None,
    *,
    period: Period | None = None,
    nation: str = "",
    checks: tuple[Check, ...] = HOLDS,
) -> Account:
    """The account of one log, or of other records under its checkpoint."""
    return Account(
        relay=RELAY,
        checkpoint=Checkpoint.parse(exchange.nodes[RELAY].ledger.checkpoint()),
        checks=checks,
        summary=summarise(
            records_of(exchange) if records is None else records,
            period or Period(),
            nation=nation,
            nations={p.name: p.nation for p in exchange.directory.listing.parties},
        ),
        made_at=MADE_AT,
    )
