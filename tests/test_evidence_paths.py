"""Evidence of one message over three hops to ten recipients: how each path ended, or that nothing shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command_setup import infoexchange
from conftest import SENDER
from infoexchange import Draft, suites
from infoexchange.errors import Reason
from infoexchange.evidence import Evidence
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.testing import Exchange, FakeClock
from infoexchange.testing.sites import environment
from infoexchange.v1 import evidence_pb2
from infoexchange.verdict import Check, Verdict
from messages import officer_acknowledgement
from recalling import Down, opened, recall
from test_cli_evidence import WITHOUT_SOCKETS

HOME, UNREACHED = "relay.th.example", "relay.mm.example"
LATER = timedelta(days=14, minutes=6)  # the usual life of an envelope, and a bit more than clocks may differ
ENDS = {
    "desk.a.vn.example": Event.OPENED,
    "desk.b.vn.example": Event.OPENED,
    "desk.c.vn.example": Event.REFUSED,
    "desk.a.la.example": Event.OPENED,
    "desk.b.la.example": Event.REFUSED,
    "desk.c.la.example": Event.RECALLED,
    "desk.a.kh.example": Event.OPENED,
    "desk.b.kh.example": Event.EXPIRED,
    "desk.c.kh.example": Event.OPENED,
    "desk.a.mm.example": Event.EXPIRED,  # its relay was never there
}


@dataclass(frozen=True)
class Case:
    exchange: Exchange
    whole: Evidence

    def checks(self, evidence: Evidence) -> dict[str, Check]:
        """Findings by name on a file that was read anew."""
        found = Evidence.parse(evidence.raw)
        directory = found.directory(self.exchange.community.roots)
        return {check.name: check for check in found.verify(directory, now=self.exchange.clock()).checks}

    def ending(self, name: str) -> tuple[int, Receipt]:
        """The entry with which the path to a recipient ended, and its place in the file."""
        found = [
            (place, receipt)
            for place, receipt in enumerate(self.whole.events)
            if receipt.routing.event is ENDS[name]
            and (name in receipt.routing.recipients or receipt.routing.recipients == ())
            and receipt.routing.this_relay == (HOME if "mm" in name else f"relay.{name.split('.')[2]}.example")
        ]
        assert len(found) == 1, name
        return found[0]

    def without(self, name: str) -> Evidence:
        """The file without the end of one path: the entry, and what the recipient has stated."""
        message = evidence_pb2.Evidence.FromString(self.whole.raw)
        del message.events[self.ending(name)[0]]
        kept = [
            raw
            for raw, said in zip(message.statements, self.whole.statements, strict=True)
            if said.statement.issuer != name
        ]
        del message.statements[:]
        message.statements.extend(kept)
        return Evidence.parse(message.SerializeToString(deterministic=True))


@pytest.fixture(scope="module")
def case() -> Case:
    units = ["desk.a", "desk.b", "desk.c"]
    # So long ago that all of it lies before the real clock, which the command looks at.
    clock = FakeClock(datetime.now(UTC) - LATER - timedelta(hours=1))
    nations = {"th": ["desk.oncb"], "vn": units, "la": units, "kh": units, "mm": ["desk.a"]}
    exchange = Exchange(nations, clock=clock)
    for name in exchange.community.members:
        exchange.mailbox(name)
    line = exchange.line
    exchange.line = lambda caller, node: Down(line(caller, node)) if node.name == UNREACHED else line(caller, node)
    [sent] = exchange.mailbox(SENDER).send_all([Draft(officer_acknowledgement(), tuple(ENDS))])
    assert isinstance(sent, Receipt)
    digest = sent.subject.envelope_digest
    recall(exchange, digest, *(name for name, event in ENDS.items() if event is Event.RECALLED))
    for name, event in ENDS.items():
        if event is Event.OPENED:
            assert opened(exchange, name) == [digest]
        elif event is Event.REFUSED:
            [delivery] = exchange.mailbox(name).receive()
            exchange.mailbox(name).refuse(delivery, Reason.NOT_PERMITTED)
            exchange.mailbox(name).flush()
    clock.advance(LATER)
    exchange.expire()
    exchange.witness()
    return Case(exchange, exchange.mailbox(SENDER).evidence(digest))


def test_every_path_ends_in_an_entry_that_is_named(case: Case) -> None:
    checks = case.checks(case.whole)
    assert [c for c in checks.values() if c.verdict is not Verdict.TOTAL_PASSED] == []
    assert [name for name in checks if name.startswith("outcome for ")] == [f"outcome for {name}" for name in ENDS]
    signed = {Event.OPENED: "{}", Event.REFUSED: "{}", Event.RECALLED: SENDER}
    for name, event in ENDS.items():
        _, receipt = case.ending(name)
        by = f", as {signed[event].format(name)} signed" if event in signed else ""
        detail = f"{event.name}, entry {receipt.index} of {receipt.routing.this_relay}{by}"
        assert checks[f"outcome for {name}"].detail == detail
        # The entry named is one whose proof holds, and the statement behind it one whose signature does.
        place = case.whole.events.index(receipt) + 1
        assert checks[f"event {place}: {event.name} by {receipt.routing.this_relay}"].verdict is Verdict.TOTAL_PASSED
        if event in (Event.OPENED, Event.REFUSED):
            assert f"{event.name}" in checks[f"statement of {name}"].detail
            assert checks[f"statement of {name}"].detail.endswith(f", entry {receipt.index}")


@pytest.mark.parametrize("name", ENDS)
def test_a_path_whose_end_is_withheld_is_named_as_missing(case: Case, name: str) -> None:
    checks = case.checks(case.without(name))
    missing = checks[f"outcome for {name}"]
    assert (missing.verdict, missing.reason) == (Verdict.INDETERMINATE, "no terminal event")
    assert missing.detail.startswith("the file does not show how it ended; the last is ")
    for check in checks.values():
        if check.name not in (f"outcome for {name}", f"recall for {name}"):
            assert check.verdict is Verdict.TOTAL_PASSED, check
    if ENDS[name] is Event.RECALLED:
        assert checks[f"recall for {name}"].verdict is Verdict.INDETERMINATE


def test_a_statement_without_its_entry_ends_nothing(case: Case) -> None:
    name = next(iter(ENDS))
    message = evidence_pb2.Evidence.FromString(case.whole.raw)
    del message.events[case.ending(name)[0]]
    checks = case.checks(Evidence.parse(message.SerializeToString(deterministic=True)))
    assert checks[f"statement of {name}"].verdict is Verdict.TOTAL_FAILED
    assert checks[f"outcome for {name}"].verdict is Verdict.INDETERMINATE


def test_a_path_of_which_nothing_is_there_is_named_too(case: Case) -> None:
    message = evidence_pb2.Evidence.FromString(case.whole.raw)
    del message.events[:], message.statements[:]
    checks = case.checks(Evidence.parse(message.SerializeToString(deterministic=True)))
    for name in ENDS:
        missing = checks[f"outcome for {name}"]
        assert (missing.verdict, missing.detail) == (Verdict.INDETERMINATE, "no entry about it is in the file")


def test_signatures_that_entries_share_are_judged_once(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[bytes] = []
    verify = suites.verify_mldsa44

    def count(public: bytes, message: bytes, signature: bytes) -> None:
        judged.append(signature)
        verify(public, message, signature)

    monkeypatch.setattr(suites, "verify_mldsa44", count)
    case.checks(case.whole)
    checkpoints = {receipt.proof.checkpoint.raw for receipt in case.whole.events}
    assert len(checkpoints) == 4 < len(case.whole.events)
    assert len(judged) == len(set(judged))
    assert len(judged) >= len(checkpoints) * 3  # of the four other nations, three must have cosigned


def test_the_command_says_so_where_no_socket_can_be_made(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "roots.pb").write_bytes(case.exchange.community.roots.raw)
    gone = "desk.c.kh.example"
    for file, evidence in (("whole.ixev", case.whole), ("part.ixev", case.without(gone))):
        (tmp_path / file).write_bytes(evidence.raw)
    words = ("evidence", "verify", "whole.ixev", "part.ixev", "--json", "--roots", "roots.pb")
    command = [sys.executable, "-c", WITHOUT_SOCKETS, *words]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "False\n")  # gRPC is not even loaded
    whole, part = map(json.loads, done.stdout.splitlines())
    assert (whole["verdict"], part["verdict"]) == ("TOTAL-PASSED", "INDETERMINATE")
    assert [c["name"] for c in part["checks"] if c["verdict"] != "TOTAL-PASSED"] == [f"outcome for {gone}"]
    capsys.readouterr()
    infoexchange("evidence", "verify", str(tmp_path / "part.ixev"), "--roots", str(tmp_path / "roots.pb"))
    [line] = [line for line in capsys.readouterr().out.splitlines() if f"outcome for {gone}" in line]
    assert "no terminal event" in line or "does not show how it ended" in line
