"""Checking: what must hold once everything has drained, from the journals of agencies and the exported logs of relays.

Nothing is believed that a process says of itself: every log is hashed again under its signed checkpoint, every record
is found to be what its leaf commits to, and every recipient's statement is verified with its own keys.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from federation.journal import ACKNOWLEDGED, HANDED, MEANT, REFUSED, lines
from federation.world import World
from infoexchange import suites
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Routing, Subject
from infoexchange.cli.anchor import Anchor
from infoexchange.cli.audit.folders import JudgedLog
from infoexchange.cli.output import Output
from infoexchange.exported import export_log
from infoexchange.ports import Record
from infoexchange.reconciling import Side, reconcile
from infoexchange.states import Event, Precedence
from infoexchange.tlog import Checkpoint
from infoexchange.verdict import Verdict
from infoexchange_relay.stores import look

Entry = tuple[str, Record, Routing, Subject]  # in whose log, and what it tells
SHOWN = ("routing", "message")
_SIGNED = (Event.OPENED, Event.REFUSED)


@dataclass
class Found:
    """What the checker found.

    Attributes:
        faults: Whatever must not be, in words.
        figures: Counts and times.
        ends: How many ways ended in which state.
        late: How many messages were recalled when their recipients had fetched them already.
    """

    faults: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    late: int = 0

    def fault(self, what: str) -> None:
        """Note a fault."""
        self.faults.append(what)


class Logs:
    """All logs, exported and judged, with what they tell of each message."""

    def __init__(self, world: World, out: Output, found: Found) -> None:
        self._world = world
        self._found = found
        self.of: dict[bytes, list[Entry]] = defaultdict(list)
        anchor = Anchor(world.sites.community.roots, world.sites.community.directory)
        self._sides: list[Side] = []  # each read once: two are compared at a time
        for relay in world.relays:
            log = JudgedLog(_exported(world, relay), anchor, out)
            for check in log.checks:
                if check.verdict is Verdict.TOTAL_FAILED:
                    found.fault(f"{relay}: {check.name}: {check.reason} {check.detail}")
            kept = []
            for record in log.records():
                # Of the documents only what recipients signed is looked at again; the others would fill the memory.
                slim = record if record is None or record.event in _SIGNED else replace(record, exhibit=b"")
                self._take(relay, slim)
                kept.append(slim)
            self._sides.append(Side(relay, log.checkpoint.origin, kept))
            found.figures["log entries"] = found.figures.get("log entries", 0) + log.checkpoint.size

    def _take(self, relay: str, record: Record | None) -> None:
        if record is None:
            self._found.fault(f"{relay}: a record is not what was logged")
        elif record.event.of_message:
            subject = Subject.parse(record.entry.message)
            self.of[subject.envelope_digest].append((relay, record, Routing.parse(record.entry.routing), subject))

    def reconcile(self, out: Output) -> None:
        """Compare each two logs: every hand-over stands in both, linked and once."""
        pairs = list(itertools.combinations(self._sides, 2))
        matched = 0
        with out.progress("Comparing the logs") as progress:
            for done, (a, b) in enumerate(pairs, 1):
                result = reconcile(a, b)
                matched += sum(result.matched.values())
                for finding in result.findings:
                    if finding.verdict is not Verdict.TOTAL_PASSED:
                        where = f"{finding.giver} to {finding.taker}, {finding.digest.hex()[:16]}"
                        self._found.fault(f"{finding.kind.name}: {where}: {finding.detail}")
                progress(done, len(pairs))
        self._found.figures["hand-overs matched in both logs"] = matched


def _exported(world: World, relay: str) -> Path:
    """Return the folder with a relay's log, as auditors are handed it."""
    folder = world.folder / "exported" / relay
    folder.parent.mkdir(exist_ok=True)
    with look(world.place(relay)) as store:
        export_log(store, folder, Checkpoint.parse((world.data(relay) / "cosigned").read_bytes()), shown=SHOWN)
    return folder


def check(world: World, out: Output) -> Found:
    """Return what is wrong, which should be nothing, and the figures."""
    found = Found()
    journals = {path.stem: list(lines(path)) for path in world.journals}
    meant = {line["token"]: (name, line) for name, every in journals.items() for line in every if line["kind"] == MEANT}
    _check_handed(journals, meant, found)
    logs = Logs(world, out, found)
    acknowledged = {
        bytes.fromhex(line["digest"]): (name, line["to"])
        for name, every in journals.items()
        for line in every
        if line["kind"] == ACKNOWLEDGED
    }
    found.figures["messages acknowledged"] = len(acknowledged)
    handed = {
        (bytes.fromhex(line["digest"]), name): line["kind"]
        for name, every in journals.items()
        for line in every
        if line["kind"] in (HANDED, REFUSED)
    }
    with out.progress("Looking for the end of each message") as progress:
        for done, (digest, (sender, to)) in enumerate(acknowledged.items(), 1):
            about = logs.of.get(digest, [])
            if not any(entry[1].event is Event.ACCEPTED and entry[2].sender == sender for entry in about):
                found.fault(f"{digest.hex()[:16]} was acknowledged to {sender}, and no log has it")
                continue
            for recipient in to:
                _check_end(world, recipient, about, handed.get((digest, recipient), ""), found)
            progress(done, len(acknowledged))
    for digest, name in handed:
        if digest not in acknowledged:
            found.fault(f"{digest.hex()[:16]} was handed to {name}, and its sender has no receipt")
    logs.reconcile(out)
    return found


def _check_handed(journals: dict[str, list[dict[str, Any]]], meant: dict[str, Any], found: Found) -> None:
    """Nothing twice, nothing else than what was sent, to nobody else than it was sent to."""
    delays: dict[int, list[float]] = defaultdict(list)
    again = 0
    for name, every in journals.items():
        handed = [line for line in every if line["kind"] in (HANDED, REFUSED)]
        for digest, times in Counter(line["digest"] for line in handed).items():
            if times > 1:
                found.fault(f"{digest[:16]} reached the application of {name} {times} times")
        for line in handed:
            again += line["repeated"]
            sender, sent = meant.get(line["token"], ("", None))
            if sent is None or line["sha256"] != sent["sha256"]:
                found.fault(f"{line['digest'][:16]} is not what was sent to {name}")
            elif name not in sent["to"]:
                found.fault(f"{line['digest'][:16]} of {sender} was not sent to {name}")
            else:
                delays[sent["precedence"]].append(line["at"] - sent["at"])
    found.figures["handed to applications"] = sum(map(len, delays.values()))
    found.figures["of these after a crash in between"] = again
    for precedence, seconds in sorted(delays.items(), reverse=True):
        name = Precedence(precedence).name
        found.figures[f"{name}: sending to application, median and 99 of 100 (s)"] = (
            f"{statistics.median(seconds):.2f} / {sorted(seconds)[int(len(seconds) * 0.99)]:.2f}"
        )


def _check_end(world: World, recipient: str, told: Sequence[Entry], happened: str, found: Found) -> None:
    """The way to a recipient has one signed end in the logs, and it is what happened."""
    about = [entry for entry in told if entry[2].recipients == (recipient,) or _ends_way_to(world, entry, recipient)]
    # As section Evidence says: what the recipient signed, else its relay's word, else that of the relay before it.
    here = {record.event for _, record, routing, _ in about if record.event.final and not routing.next_relay}
    before = {record.event for _, record, routing, _ in about if record.event.final and routing.next_relay}
    ends = here & set(_SIGNED) or here or before
    name = f"{told[0][3].envelope_digest.hex()[:16]} for {recipient}"
    if len(ends) != 1:
        found.fault(f"{name}: ended {sorted(end.name for end in ends) or 'nowhere'}")
        return
    [end] = ends
    found.ends[end.name] += 1
    found.late += end in _SIGNED and Event.RECALLED in here | before
    expected = {HANDED: Event.OPENED, REFUSED: Event.REFUSED}.get(happened)
    if expected is not None and end is not expected:
        found.fault(f"{name}: {end.name} is logged, and its application was handed it")
    elif expected is None and end in _SIGNED:
        found.fault(f"{name}: {end.name} is logged, and its application was not handed it")
    for _, record, routing, subject in about:
        if record.event in _SIGNED and not routing.next_relay:
            _check_statement(world, recipient, record, subject, found)


def _ends_way_to(world: World, entry: Entry, recipient: str) -> bool:
    """Whether an entry ends the way to a recipient at the relay before its own."""
    _, record, routing, _ = entry
    home = world.sites.community.directory.listed(recipient)
    return bool(record.event.final and home and routing.next_relay == home.relay)


def _check_statement(world: World, recipient: str, record: Record, subject: Subject, found: Found) -> None:
    """The recipient has signed what its relay logged."""
    said = Acknowledgement.parse(record.exhibit)
    community = world.sites.community
    told = said.statement.issuer, said.statement.state, said.digest
    if told != (recipient, record.event, subject.statement_digest):
        found.fault(f"entry {record.index}: the statement is of somebody else")
    said.verify(community.directory, community.members[recipient].bundle, suites.suite_of(subject.suite))
