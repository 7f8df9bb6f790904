"""Proof: what receipts and evidence take an auditor, with everything parsed from bytes."""

from __future__ import annotations

from bench.measure import Effort, Result, Step
from bench.messages import note
from bench.primitives import Costs
from infoexchange.evidence import Evidence
from infoexchange.receipt import Receipt
from infoexchange.suites import HYBRID
from infoexchange.testing import Exchange
from infoexchange.verdict import Verdict

_PER = 4  # events: a message within one nation has as many
_SENDER = "desk.a.th.example"
_ABROAD = ("vn", "la", "kh", "mm", "my")  # with the sender's a third of the nations there may be
_CASES = {
    "to a neighbour": ("desk.b.th.example",),
    "three hops, ten recipients": tuple(f"desk.{unit}.{code}.example" for code in _ABROAD for unit in "ab"),
}


def _evidence(exchange: Exchange, to: tuple[str, ...]) -> Evidence:
    """Return the evidence of a message that everybody has opened, witnessed by the other nations."""
    digest = exchange.mailbox(_SENDER).send(note(), to=list(to)).subject.envelope_digest
    for name in to:
        for delivery in exchange.mailbox(name).receive():
            exchange.mailbox(name).acknowledge(delivery)
    exchange.witness()
    return exchange.mailbox(_SENDER).evidence(digest)


def _parts(evidence: Evidence, costs: Costs) -> float:
    """Return the seconds that its signatures take.

    Each checkpoint has a pair of its log's and a pair of each witness; entries that were fetched together share one.
    Then there are those of the sender, of each statement, and of the bundles behind them.
    """
    checkpoints = {receipt.proof.checkpoint.raw: receipt.proof.checkpoint for receipt in evidence.events}
    pairs = sum(len(checkpoint.note.signatures) // 2 for checkpoint in checkpoints.values())
    signed = 1 + len(evidence.statements) + len(evidence.bundles)
    return pairs * costs.log_verify + signed * costs.suites[HYBRID.number].verify


def measure(effort: Effort, costs: Costs, step: Step) -> list[Result]:
    """Return the rows."""
    exchange = Exchange({code: ["desk.a", "desk.b"] for code in ("th", *_ABROAD)})
    for name in exchange.community.members:
        exchange.mailbox(name)
    directory, now, rows = exchange.directory, exchange.clock(), []
    for name, to in _CASES.items():
        with step(f"evidence of a message {name}"):
            evidence = _evidence(exchange, to)
            assert Evidence.parse(evidence.raw).verify(directory, now=now).verdict is Verdict.TOTAL_PASSED
            share = _PER / len(evidence.events)
            seconds = effort.time(lambda raw=evidence.raw: Evidence.parse(raw).verify(directory, now=now)) * share
        what = f"evidence verify {name}, {_PER} of {len(evidence.events)} events"
        rows.append(Result("proof", what, seconds, _parts(evidence, costs) * share))
    receipt = evidence.events[0].raw
    with step("receipt"):
        seconds = effort.time(lambda: Receipt.parse(receipt).verify(directory))
    return [Result("proof", "receipt verify", seconds, costs.log_verify), *rows]
