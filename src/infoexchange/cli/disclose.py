"""Disclose: open chosen records of a received message to somebody else, approved, logged and in one file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.endings import opened
from infoexchange.cli.output import FAILED, PASSED, Output, Table, UsageError
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.cli.passphrase import add_home

if TYPE_CHECKING:
    from infoexchange.approval import Approval
    from infoexchange.catalogue.records import Named
    from infoexchange.delivery import Delivery
    from infoexchange.disclosure import Disclosure
    from infoexchange.envelope import Envelope
    from infoexchange.evidence import Evidence
    from infoexchange.mailbox import Mailbox

_PAUSE = 2.0  # seconds between two looks for cosignatures, which come every few seconds
_RECORDS = ("record", "field", "value")


def register(group: Subparsers) -> None:
    """Add `disclose` to the commands about evidence."""
    disclose = add_command(group, "disclose", "open chosen records of a received message to an auditor", _disclose)
    disclose.add_argument("message", metavar="MESSAGE", help="ID of a received message, or the file of its envelope")
    add_home(disclose)
    disclose.add_argument("--list", action="store_true", help="list the records by name, without what they say")
    disclose.add_argument(
        "--field", metavar="NAME", action="append", default=[], help="record to open, such as vessels[2]; repeatable"
    )
    disclose.add_argument("--attestations", action="store_true", help="show the signatures of author and supervisor")
    disclose.add_argument("--for", dest="audience", metavar="TEXT", help="for whom; logged, so no personal data")
    disclose.add_argument("--basis", metavar="TEXT", default="", help="on what legal basis; logged as well")
    disclose.add_argument("--out", metavar="FILE", type=Path, help="new evidence file, by custom .ixev")
    disclose.add_argument("--yes", action="store_true", help="do not ask; for scripts")
    disclose.add_argument("--wait", metavar="SECONDS", type=int, default=30, help="how long to wait for witnesses (30)")


def _disclose(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.catalogue import records
    from infoexchange.disclosure import Disclosure
    from infoexchange.transport import connect

    _check(args)
    with connect(opened(args, out)) as mailbox:
        delivery = _received(mailbox, args)
        content, envelope = delivery.content, delivery.envelope
        named = records.name_records(content.schema, content.records)
        if args.list:
            return _list(out, content.schema, named)
        chosen = records.choose(named, args.field)
        disclosure = Disclosure.make(envelope.manifest, content, chosen, attested=args.attestations)
        cautions = records.cautions(disclosure.schema, disclosure.partial, [named[index] for index in chosen])
        if not args.yes and not _confirmed(args, out, disclosure, cautions):
            out.say("Nothing was disclosed, and nothing was logged.")
            return FAILED
        evidence, witnessed = _approved(mailbox, envelope, disclosure, args)
    return _write(args, out, evidence, cautions, witnessed=witnessed)


def _check(args: argparse.Namespace) -> None:
    """Refuse a command line that lacks something, or that would ask where nobody can answer."""
    from infoexchange.errors import Reason, error

    if args.list:
        return
    needed = {"--field": args.field, "--for": args.audience, "--out": args.out}
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise UsageError(f"to disclose records, {' and '.join(missing)} must be given; --list shows their names")
    if not args.yes and (args.json or not sys.stdin.isatty()):
        raise UsageError("there is no terminal to ask at; --yes discloses without asking")
    if args.out.exists():  # found out now, not once it is logged
        step = "Name another place, or move the file away yourself."
        detail = "the file exists and is not overwritten"
        raise error(Reason.NOT_PERMITTED, field=str(args.out), detail=detail, next_step=step)


def _received(mailbox: Mailbox, args: argparse.Namespace) -> Delivery:
    """Return the message that an ID or a file names, opened again."""
    from infoexchange.cli.evidence import digest_of
    from infoexchange.cli.receive import inbox_of
    from infoexchange.home.files import in_file, read_file

    file = Path(args.message)
    if len(args.message) == 64 and not file.exists():
        digest = digest_of(args.message)
        if mailbox.records and mailbox.records.manifest(digest):
            return mailbox.records.open(digest)  # also when the keys it was sealed to are gone
        file = inbox_of(args.home, digest) / "envelope.bin"
    step = "Give the ID of a message that was received here, or the file of its envelope."
    with in_file(file):
        return mailbox.reopen(read_file(file, next_step=step))


def _list(out: Output, schema: str, named: Sequence[Named]) -> int:
    columns = ("record", "name", "bytes", "personal data", "always goes")
    rows = [(n.index, n.name, n.size, n.personal, "yes" if n.always else "") for n in named]
    out.show(
        {"schema": schema, "records": [dict(zip(columns, row, strict=True)) for row in rows]},
        Table(columns, rows),
        f"{len(named)} records of {schema}. Choose with --field NAME or its number; what always goes is added.",
    )
    return PASSED


def _confirmed(args: argparse.Namespace, out: Output, disclosure: Disclosure, cautions: Sequence[str]) -> bool:
    """Show a person exactly what others will read, and ask."""
    out.say(f"Whoever gets {args.out} can read this, and prove that {disclosure.manifest.header.sender} signed it:\n")
    out.say(Table(_RECORDS, rows_of(disclosure)))
    for attestation in disclosure.attestations:
        out.say(f"Attested: {attestation.role.name.lower()}, {attestation.signer}")
    out.say("\n".join(["", *cautions]))
    basis = f', on the basis "{args.basis}"' if args.basis else ""
    out.say(
        f"\n{len(disclosure.leaves)} of {disclosure.count} records. Logged for relays and the other parties to read: "
        f'disclosed for "{args.audience}"{basis}.'
    )
    try:
        return input("Type yes to disclose: ").strip().lower() == "yes"
    except EOFError:
        return False


def _approved(
    mailbox: Mailbox, envelope: Envelope, disclosure: Disclosure, args: argparse.Namespace
) -> tuple[Evidence, bool]:
    """Return the evidence once the approval is logged, and whether other nations have seen that already."""
    approve = partial(mailbox.disclose, audience=args.audience, legal_basis=args.basis, envelope=envelope)
    evidence = approve(disclosure)
    until = time.monotonic() + args.wait
    while (missing := _unwitnessed(mailbox, evidence)) and time.monotonic() < until:
        time.sleep(_PAUSE)
        evidence = approve(disclosure)  # logs nothing new
    return evidence, not missing


def _unwitnessed(mailbox: Mailbox, evidence: Evidence) -> bool:
    """Whether cosignatures are missing that are still to come."""
    from infoexchange.errors import ExchangeError
    from infoexchange.quorum import policy_for

    for receipt in evidence.events:
        policy = policy_for(mailbox.directory, receipt.routing.this_relay)
        try:
            if policy.has_quorum_rule:
                policy.verify(receipt.proof.checkpoint, now=datetime.now(UTC))
        except ExchangeError:
            return True
    return False


def _write(
    args: argparse.Namespace, out: Output, evidence: Evidence, cautions: Sequence[str], *, witnessed: bool
) -> int:
    from infoexchange.home.files import write_new

    [disclosure] = evidence.disclosures
    said = [a for a in evidence.approvals_of(disclosure) if a.statement.audience == args.audience]
    approval = max(said, key=lambda a: a.statement.at)
    entry = next(r for r in evidence.events if r.subject.statement_digest == approval.digest)
    write_new(args.out, evidence.raw)  # for the owner's eyes: it holds what the message says
    data = {
        "id": evidence.digest.hex(),
        "file": str(args.out),
        "size": len(evidence.raw),
        "records": len(disclosure.leaves),
        "of": disclosure.count,
        "entry": entry.index,
        "relay": entry.routing.this_relay,
        "witnessed": witnessed,
        "cautions": list(cautions),
    }
    later = "Not all its log entries are witnessed yet; run the same with another --out later, nothing is logged twice."
    out.show(
        data,
        f"Wrote {args.out}: {data['records']} of {data['of']} records, {data['size']} bytes; no key and no ciphertext.",
        f'Logged as entry {entry.index} of {entry.routing.this_relay}: disclosed for "{approval.statement.audience}".',
        *cautions,
        *([] if witnessed else [later]),
        f"Next: infoexchange evidence verify {args.out} --roots {args.home / 'roots.pb'}",
    )
    return PASSED


# What `evidence show` tells of disclosures


def rows_of(disclosure: Disclosure) -> list[tuple[int, str, str]]:
    """Return every value that a disclosure shows, with the place of its record."""
    from infoexchange.catalogue import records

    return [
        (leaf.index, row.label, row.value)
        for leaf in disclosure.leaves
        for row in records.rows(disclosure.schema, leaf.index, leaf.record)
    ]


def tell(evidence: Evidence) -> tuple[list[dict[str, object]], list[str | Table]]:
    """Return the disclosures and approvals of an evidence file, for programs and for people; nothing is judged."""
    data: list[dict[str, object]] = []
    parts: list[str | Table] = []
    named: set[bytes] = set()
    for disclosure in evidence.disclosures:
        approvals = evidence.approvals_of(disclosure)
        named |= {approval.digest for approval in approvals}
        rows, problem = _checked_rows(disclosure)
        data.append(
            {
                "approvals": [_words(approval) for approval in approvals],
                "records": len(disclosure.leaves),
                "of": disclosure.count,
                "schema": disclosure.schema,
                "handling_marks": disclosure.marked,
                "fields": [dict(zip(_RECORDS, row, strict=True)) for row in rows],
                "attestations": [f"{a.role.name.lower()} {a.signer}" for a in disclosure.attestations],
                "problem": problem,
            }
        )
        count = f"{len(disclosure.leaves)} of {disclosure.count} records"
        parts += [f"\n{_frame(approval)}; {count}:" for approval in approvals]
        parts += [] if approvals else [f"\nDisclosed without an approval in this file; {count}:"]
        parts += [problem] if problem else [Table(_RECORDS, rows)]
        parts += [] if disclosure.marked else ["The handling marks of the message are not among them."]
        parts += [f"Attested: {a.role.name.lower()}, {a.signer}" for a in disclosure.attestations]
    others = [approval for approval in evidence.approvals if approval.digest not in named]
    data += [{"approvals": [_words(approval)], "records": 0} for approval in others]
    parts += [f"\n{_frame(approval)}; the records are not in this file." for approval in others]
    return data, parts


def _checked_rows(disclosure: Disclosure) -> tuple[list[tuple[int, str, str]], str]:
    """Return what is shown, or why it is not part of the message: then it is not repeated here."""
    from infoexchange.errors import ExchangeError

    try:
        disclosure.check_records()
    except ExchangeError as problem:
        return [], f"These records are not part of the message: {problem.detail}."
    return rows_of(disclosure), ""


def _words(approval: Approval) -> dict[str, object]:
    said = approval.statement
    at = f"{said.at:%Y-%m-%d %H:%M:%S}Z"
    return {"by": said.issuer, "for": said.audience, "basis": said.legal_basis, "at": at, "records": said.record_count}


def _frame(approval: Approval) -> str:
    said = approval.statement
    basis = f', on the basis "{said.legal_basis}"' if said.legal_basis else ""
    return f'Disclosed by {said.issuer} for "{said.audience}"{basis} on {said.at:%Y-%m-%d %H:%M:%S}Z by its own clock'
