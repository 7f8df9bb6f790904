"""Demo: two countries, their relays, their agencies and an auditor, on this machine."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

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
_WITNESS_SECONDS = 20.0  # cosignatures come within two seconds


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
    started = time.monotonic()
    out.say(f"1. Two nations, their CAs, a directory signed by 2 of 3 parties, two relays: {folder}")
    sites = Sites.make(folder, _AGENCIES, now=now)
    with sites.running():
        sent = _send(sites, args.samples, now, out)
        received = _receive(sites, len(sent), out)
        evidence = _prove(sites, sent[0], out)
        verdict = _examine(evidence, sites.community.roots, out)
        refusal = _tamper(evidence, sites.community.roots, out)
        if args.keep:
            _wait(out)
    logs = _check_logs(sites, out)
    good = received == len(sent) * len(RECIPIENTS) and verdict == "TOTAL-PASSED" and bool(refusal) and logs
    out.show(
        {
            "folder": str(folder),
            "sent": len(sent),
            "received": received,
            "verdict": verdict,
            "tampered": refusal,
            "seconds": round(time.monotonic() - started, 1),
        },
        f"\nEverything is in {folder}. Three commands to try next:",
        f"  infoexchange evidence show {evidence}",
        f"  infoexchange evidence verify {evidence} --roots {folder / 'roots.pb'} --json",
        f"  infoexchange-relay check --config {sites.config('relay.xb.example')}",
        f"demo: {len(sent)} messages sent to {len(RECIPIENTS)} recipients each, {received} delivered, "
        f"evidence {verdict}, one flipped byte refused ({refusal}), "
        f"both audit logs {'consistent' if logs else 'NOT consistent'}",
    )
    return PASSED if good else FAILED


def _marks(now: datetime, op_status: str, purpose: str) -> Handling:
    from infoexchange import catalogue

    handling = catalogue.Handling(
        op_status=catalogue.OpStatus.Value(f"OP_STATUS_{op_status}"),
        precedence=catalogue.PRECEDENCE_PRIORITY,
        tlp=catalogue.TLP_AMBER,
        pap=catalogue.PAP_GREEN,
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose=purpose,
    )
    handling.valid_until.FromDatetime(now + timedelta(days=90))
    return handling


def _sample(kind: str, samples: Path | None) -> tuple[bytes, str]:
    """Return a real sample where the folder of samples is there, else the example that comes with the library."""
    from infoexchange.catalogue import examples

    given = [samples] if samples else [Path(os.environ.get("INFOEXCHANGE_SHARED", "../shared/data")) / "samples"]
    for folder in given:
        file = folder / _SAMPLES[kind]
        if file.is_file():
            return file.read_bytes(), str(file)
    return examples.read(_EXAMPLES[kind]), f"{_EXAMPLES[kind]}, an example that comes with the library"


def _messages(samples: Path | None, now: datetime, out: Output) -> list[Message]:
    """Return the indicators and incidents as ACTUAL, and one incident once more as EXERCISE."""
    from infoexchange import catalogue
    from infoexchange.cli.mail import imported

    found: list[Message] = []
    for kind in ("stix", "piracy"):
        raw, source = _sample(kind, samples)
        messages, reading = imported(kind, raw, _marks(now, "ACTUAL", "prevention and investigation"), now)
        out.say(f"   {source}: {len(messages)} messages, {reading.notes_count} notes on what was not carried")
        found += messages
    exercise = type(found[-1])()
    exercise.CopyFrom(found[-1])
    marks = exercise.handling  # type: ignore[attr-defined]
    marks.op_status, marks.purpose = catalogue.OP_STATUS_EXERCISE, "joint exercise"
    return [*found, exercise]


def _send(sites: Sites, samples: Path | None, now: datetime, out: Output) -> list[Receipt]:
    from infoexchange.cli.mail import batches
    from infoexchange.draft import Draft
    from infoexchange.errors import ExchangeError

    out.say(f"2. {SENDER} imports, seals for {' and '.join(RECIPIENTS)}, and sends")
    messages = _messages(samples, now, out)
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
    from infoexchange.cli.mail import details, keep, summary

    out.say("3. The other country's agencies fetch, verify, open and acknowledge")
    total = 0
    for name in RECIPIENTS:
        deliveries: list[Delivery] = []

        def receive(mailbox: Mailbox, name: str = name, deliveries: list[Delivery] = deliveries) -> None:
            end = time.monotonic() + _WITNESS_SECONDS
            with out.progress(f"{name} receives") as progress:
                while len(deliveries) < expected and time.monotonic() < end:
                    for delivery in mailbox.receive():
                        keep(sites.home(name), delivery)
                        mailbox.acknowledge(delivery)
                        deliveries.append(delivery)
                        progress(len(deliveries), expected)

        _at(sites, name, receive)
        total += len(deliveries)
        _show_received(name, deliveries, summary, out)
    out.say("   The last one, personal data hidden:")
    out.say(details(deliveries[-1].message))
    return total


def _show_received(
    name: str, deliveries: Sequence[Delivery], summary: Callable[[Delivery], Sequence[str]], out: Output
) -> None:
    rows = [summary(delivery) for delivery in deliveries]
    exercises = [row for row in rows if row[1] != "ACTUAL"]
    shown = [*[row for row in rows if row[1] == "ACTUAL"][: _ROWS_SHOWN - len(exercises)], *exercises]
    out.say(Table(("message", "status", "tlp", "type"), [(r[0][:16], r[1], r[2], r[4]) for r in shown]))
    out.say(f"   {name}: {len(rows)} messages, {len(exercises)} of them EXERCISE")


def _prove(sites: Sites, receipt: Receipt, out: Output) -> Path:
    """Make the evidence file of the first message, once other nations' witnesses have seen every entry of it."""
    from infoexchange.evidence import Evidence
    from infoexchange.home.files import write_file
    from infoexchange.verdict import Verdict

    digest = receipt.subject.envelope_digest
    file = sites.folder / "evidence.ixev"
    out.say(f"4. {SENDER} collects the evidence of message {digest.hex()[:16]}; the relays witness each other")

    def make(mailbox: Mailbox) -> Evidence:
        end = time.monotonic() + _WITNESS_SECONDS
        while True:
            evidence = mailbox.evidence(digest)
            report = evidence.verify(mailbox.directory, now=datetime.now(UTC))
            if report.verdict is not Verdict.INDETERMINATE or time.monotonic() > end:
                return evidence
            time.sleep(0.2)

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
    from infoexchange.errors import ExchangeError
    from infoexchange.verdict import Verdict

    raw = bytearray(file.read_bytes())
    place = len(raw) // 100
    raw[place] ^= 1
    changed = file.with_name("evidence-changed.ixev")
    changed.write_bytes(raw)
    try:
        failed = [c for c in examine(bytes(raw), roots).checks if c.verdict is Verdict.TOTAL_FAILED]
        reason, detail = (failed[0].reason, failed[0].detail) if failed else ("", "")
    except ExchangeError as problem:
        reason, detail = problem.reason.word, problem.detail
    out.say(f"6. One bit of byte {place} flipped ({changed.name}): TOTAL-FAILED, {reason}: {detail}")
    return reason


def _wait(out: Output) -> None:
    out.say("The relays run until Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _check_logs(sites: Sites, out: Output) -> bool:
    """Hash both stopped relays' logs again, as `infoexchange-relay check` does."""
    import subprocess
    import sys

    from infoexchange.testing.sites import environment

    good = True
    for name in sites.community.log_keys:
        command = [sys.executable, "-m", "infoexchange_relay", "check", "--json", "--config", str(sites.config(name))]
        done = subprocess.run(command, env=environment(), capture_output=True, check=False)  # noqa: S603
        good = good and b'"passed": true, "detail": ' in done.stdout
        out.say(f"7. {name}: audit log hashed again, {'holds' if done.returncode in (0, 1) else 'FAILED'}")
    return good
