"""Demo: two countries, their relays, their agencies and an auditor, on this machine."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from infoexchange.cli.demo_audit import report_logs
from infoexchange.cli.output import FAILED, PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.catalogue import Handling
    from infoexchange.delivery import Delivery
    from infoexchange.listing import Roots
    from infoexchange.mailbox import Mailbox
    from infoexchange.receipt import Receipt
    from infoexchange.testing.sites import Sites

T = TypeVar("T")

SENDER = "desk.coordination.xa.example"
RECIPIENTS = ("duty.cert.xb.example", "watch.maritime.xb.example")
# ISO 3166 sets XA to XZ aside for users: these are no countries.
_AGENCIES = {"xa": ["desk.coordination"], "xb": ["duty.cert", "watch.maritime"]}
_SAMPLES = {"stix": "stix21/indicators-for-C2-with-COA.json", "piracy": "piracy/pirate_attacks_region_60.csv"}
_EXAMPLES = {"stix": "indicators.stix.json", "piracy": "piracy.csv"}
_ROWS_SHOWN = 8  # of each recipient; the others look alike
_SECONDS = 20.0  # messages and cosignatures come within two
_PAUSE = 0.1


def register(subparsers: Subparsers) -> None:
    """Add `demo`."""
    demo = add_command(
        subparsers, "demo", "two countries, their relays, agencies and an auditor, on this machine", _demo
    )
    demo.add_argument("--folder", metavar="DIR", type=Path, help="new folder to work in (infoexchange-demo-TIME)")
    demo.add_argument("--samples", metavar="DIR", type=Path, help="folder of real samples (stix21, piracy)")
    demo.add_argument("--keep", action="store_true", help="leave the relays running until Ctrl-C")


def _demo(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.testing.sites import Sites

    now = datetime.now(UTC)
    folder = (args.folder or Path(f"infoexchange-demo-{now:%Y%m%d-%H%M%S}")).absolute()
    if folder.exists() and any(folder.iterdir()):
        from infoexchange.errors import Reason, error

        raise error(Reason.NOT_PERMITTED, field=str(folder), detail="not empty", next_step="Name a new folder.")
    messages, sources = _messages(args.samples, now)
    started = time.monotonic()
    out.say(f"1. Two nations, their CAs, a directory signed by 2 of 3 parties, two relays: {folder}")
    sites = Sites.make(folder, _AGENCIES, now=now)
    with sites.running():
        sent = _send(sites, messages, sources, out)
        received = _receive(sites, len(sent), out)
        evidence = _prove(sites, sent[0], out)
        verdict = _examine(evidence, sites.community.roots, out)
        refusal = _tamper(evidence, sites.community.roots, out)
        logs = _check_logs(sites, out)
        report, audited = report_logs(sites, list(sites.community.log_keys)[::-1], out)  # the recipients' tells more
        if args.keep:
            _wait(out)
    good = received == len(sent) * len(RECIPIENTS) and verdict == "TOTAL-PASSED" and bool(refusal) and logs
    good = good and audited == "TOTAL-PASSED"
    commands = _next_commands(folder, evidence)
    out.show(
        {
            "folder": str(folder),
            "sent": len(sent),
            "received": received,
            "verdict": verdict,
            "tampered": refusal,
            "logs_consistent": logs,
            "report": str(report),
            "audit": audited,
            "seconds": round(time.monotonic() - started, 1),
            "next": commands,
        },
        f"\nEverything is in {folder}. Three commands to try next:",
        *(f"  {command}" for command in commands),
        f"The auditor's report, a page for any browser: {report}",
        f"demo: {len(sent)} messages sent to {len(RECIPIENTS)} recipients each, {received} delivered, "
        f"evidence {verdict}, one flipped byte {f'refused ({refusal})' if refusal else 'NOT refused'}, "
        f"both audit logs {'consistent' if logs else 'NOT consistent'}",
    )
    return PASSED if good else FAILED


def _next_commands(folder: Path, evidence: Path) -> list[str]:
    """Return commands that work as they stand: in this shell, from any folder, without a relay."""
    beside = Path(sys.executable).with_name("infoexchange")
    if shutil.which("infoexchange"):
        program = ["infoexchange"]
    else:
        program = [str(beside)] if beside.exists() else [sys.executable, "-m", "infoexchange"]
    roots = ["--roots", str(folder / "roots.pb")]
    rest = (
        ["evidence", "show", str(evidence)],
        ["evidence", "verify", str(evidence), *roots, "--json"],
        ["directory", "show", str(folder / "directory.pb"), *roots],
    )
    return [shlex.join([*program, *words]) for words in rest]


def _marks(now: datetime, op_status: str, purpose: str) -> Handling:
    from infoexchange import catalogue

    handling = catalogue.Handling(
        op_status=catalogue.OpStatus.Value(f"OP_STATUS_{op_status}"),
        precedence=catalogue.PRECEDENCE_PRIORITY,
        tlp=catalogue.TLP_AMBER,
        pap=catalogue.PAP_AMBER,
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose=purpose,
    )
    handling.valid_until.FromDatetime(now + timedelta(days=90))
    return handling


def _sample(kind: str, samples: Path | None) -> tuple[bytes, str, str]:
    """Return content, status and source: a real sample where there is one, else the library's own example."""
    from infoexchange.catalogue import examples

    folder = samples or Path(os.environ.get("INFOEXCHANGE_SHARED", "../shared/data")) / "samples"
    file = folder / _SAMPLES[kind]
    if file.is_file():
        return file.read_bytes(), "ACTUAL", str(file)
    name = _EXAMPLES[kind]
    return examples.read(name), "EXERCISE", f"{name}, an invented example that comes with the library"


def _messages(samples: Path | None, now: datetime) -> tuple[list[Message], list[str]]:
    """Return indicators and incidents, real ones as ACTUAL, the last one once more for a drill; and where from."""
    from infoexchange import catalogue
    from infoexchange.cli.mail import imported
    from infoexchange.errors import Reason, error
    from infoexchange.home.files import in_file

    found: list[Message] = []
    sources: list[str] = []
    for kind in _SAMPLES:
        raw, status, source = _sample(kind, samples)
        with in_file(Path(source)):
            messages, reading = imported(kind, raw, _marks(now, status, "prevention and investigation"), now)
            if not messages:
                step = "Take it out of the folder of samples; the library's own example is used then."
                raise error(Reason.MALFORMED, detail="no message is in it", next_step=step)
        notes = f"{reading.notes_count} notes on what was not carried"
        sources.append(f"   {source}: {len(messages)} messages, {status}, {notes}")
        found += messages
    drill = type(found[-1])()
    drill.CopyFrom(found[-1])
    marks = catalogue.handling_of(drill)
    actual = marks.op_status == catalogue.OP_STATUS_ACTUAL
    marks.op_status = catalogue.OP_STATUS_EXERCISE if actual else catalogue.OP_STATUS_TEST
    marks.purpose = "joint exercise"
    return [*found, drill], sources


def _send(sites: Sites, messages: list[Message], sources: list[str], out: Output) -> list[Receipt]:
    from infoexchange.cli.mail import batches
    from infoexchange.draft import Draft
    from infoexchange.errors import ExchangeError

    out.say(f"2. {SENDER} imports, seals for {' and '.join(RECIPIENTS)}, and sends")
    for source in sources:
        out.say(source)
    for name in RECIPIENTS:  # their keys are published when they first connect
        _at(sites, name, lambda mailbox: None)
    receipts: list[Receipt] = []

    def send(mailbox: Mailbox) -> None:
        with out.progress("Sealing and sending") as progress:
            for batch in batches(messages):
                for result in mailbox.send_all([Draft(message, RECIPIENTS) for message in batch]):
                    if isinstance(result, ExchangeError):
                        raise result
                    receipts.append(result)
                progress(len(receipts), len(messages))

    _at(sites, SENDER, send)
    size = receipts[-1].proof.checkpoint.size
    out.say(f"   {len(receipts)} receipts, each a proof under the checkpoint of relay.xa.example, size {size}")
    return receipts


def _at(sites: Sites, name: str, work: Callable[[Mailbox], T]) -> T:
    from infoexchange.home import Home
    from infoexchange.transport import connect

    with connect(Home.open(sites.home(name))) as mailbox:
        return work(mailbox)


def _receive(sites: Sites, expected: int, out: Output) -> int:
    from infoexchange.cli.receive import details

    out.say("3. The other country's agencies fetch, verify, open and acknowledge")
    every: list[Delivery] = []
    for name in RECIPIENTS:
        deliveries = _at(sites, name, partial(_receive_all, sites.home(name), expected, out))
        _show_received(name, deliveries, out)
        every += deliveries
    if every:
        out.say("   The last one, personal data hidden:")
        out.say(details(every[-1].message))
    return len(every)


def _receive_all(home: Path, expected: int, out: Output, mailbox: Mailbox) -> list[Delivery]:
    """Return what came within the time; the other relay may still be forwarding when this begins."""
    from infoexchange.cli.receive import keep

    deliveries: list[Delivery] = []
    end = time.monotonic() + _SECONDS
    with out.progress(f"{mailbox.identity.name} receives") as progress:
        while len(deliveries) < expected and time.monotonic() < end:
            for delivery in mailbox.receive():
                keep(home, delivery)
                mailbox.acknowledge(delivery)
                deliveries.append(delivery)
                progress(len(deliveries), expected)
            time.sleep(_PAUSE)
    return deliveries


def _show_received(name: str, deliveries: Sequence[Delivery], out: Output) -> None:
    from infoexchange.cli.receive import summary

    rows = [summary(delivery) for delivery in deliveries]
    shown = rows if len(rows) <= _ROWS_SHOWN else [*rows[: _ROWS_SHOWN - 1], rows[-1]]  # the last one is the drill
    out.say(Table(("message", "status", "tlp", "type"), [(r[0][:16], r[1], r[2], r[4]) for r in shown]))
    if len(rows) > len(shown):
        out.say(f"... and {len(rows) - len(shown)} more")
    counts = ", ".join(f"{count} {status}" for status, count in Counter(row[1] for row in rows).items())
    out.say(f"   {name}: {len(rows)} messages{f': {counts}' if counts else ''}")


def _prove(sites: Sites, receipt: Receipt, out: Output) -> Path:
    """Make the evidence file of the first message, once other nations' witnesses have seen every entry of it."""
    from infoexchange.evidence import Evidence
    from infoexchange.home.files import write_file
    from infoexchange.verdict import Verdict

    digest = receipt.subject.envelope_digest
    file = sites.folder / "evidence.ixev"
    out.say(f"4. {SENDER} collects the evidence of message {digest.hex()[:16]}; the relays witness each other")

    def make(mailbox: Mailbox) -> Evidence:
        end = time.monotonic() + _SECONDS
        while True:
            evidence = mailbox.evidence(digest)
            report = evidence.verify(mailbox.directory, now=datetime.now(UTC))
            if report.verdict is not Verdict.INDETERMINATE or time.monotonic() > end:
                return evidence
            time.sleep(_PAUSE)

    evidence = _at(sites, SENDER, make)
    write_file(file, evidence.raw)
    out.say(f"   {file}: {len(evidence.raw)} bytes, {len(evidence.events)} log entries, no key, no plaintext")
    return file


def _examine(file: Path, roots: Roots, out: Output) -> str:
    from infoexchange.cli.evidence import examine, findings

    out.say("5. An auditor with nothing but the root keys verifies it, offline")
    report = examine(file.read_bytes(), roots)
    out.say(findings(report))
    out.say(f"   {report.verdict.word}")
    return report.verdict.word


def _tamper(file: Path, roots: Roots, out: Output) -> str:
    """Flip one byte of the ciphertext in the file and return the reason of the refusal."""
    from infoexchange.cli.evidence import examine
    from infoexchange.verdict import Verdict

    raw = bytearray(file.read_bytes())
    place = len(raw) // 100
    raw[place] ^= 1
    changed = file.with_name("evidence-changed.ixev")
    changed.write_bytes(raw)
    failed = [c for c in examine(bytes(raw), roots).checks if c.verdict is Verdict.TOTAL_FAILED]
    if not failed:
        out.say(f"6. One bit of byte {place} flipped ({changed.name}): NOT noticed")
        return ""
    reason, detail = failed[0].reason, failed[0].detail
    out.say(f"6. One bit of byte {place} flipped ({changed.name}): TOTAL-FAILED, {reason}: {detail}")
    return reason


def _wait(out: Output) -> None:
    out.say("The relays run until Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _check_logs(sites: Sites, out: Output) -> bool:
    """Fetch every leaf of both audit logs and hash it again."""
    from infoexchange.auditor import verify_log
    from infoexchange.errors import ExchangeError

    good = True
    for agency in (SENDER, RECIPIENTS[0]):

        def check(mailbox: Mailbox, agency: str = agency) -> str:
            relay = mailbox.directory.party(agency, at=datetime.now(UTC)).relay
            return (
                f"{relay}: {verify_log(mailbox.relay, mailbox.directory, relay).size} entries hashed again, they hold"
            )

        try:
            out.say(f"7. Audit log of {_at(sites, agency, check)}")
        except ExchangeError as problem:
            out.say(f"7. Audit log of the relay of {agency}: FAILED, {problem}")
            good = False
    return good
