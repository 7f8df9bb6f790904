"""Recalling: a community, ways that can be cut, and orders to give, for the tests of recall."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conftest import RECIPIENT, SENDER
from infoexchange import Draft
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.evidence import Evidence, Outcome
from infoexchange.ports import Notice, Result
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing import DirectRelay, Exchange
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement

HOME, PEER, COLLEAGUE = "relay.th.example", "relay.vn.example", "desk.navy.th.example"


def prepared(exchange: Exchange) -> Exchange:
    """Let every agency publish its keys."""
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


def lay(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Put a line that can be cut between the relays."""
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
