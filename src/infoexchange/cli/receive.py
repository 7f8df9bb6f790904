"""Receive: fetch what waits, keep it with what came along, and acknowledge it."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from infoexchange.cli.attach import HELD_MAX, Saving, add_attachments
from infoexchange.cli.endings import opened
from infoexchange.cli.mail import OUTBOX, OUTBOX_COUNTED
from infoexchange.cli.output import FAILED, PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.cli.passphrase import add_home
from infoexchange.cli.threads import clocks_of

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.delivery import Delivery, Refusal
    from infoexchange.mailbox import Mailbox

_RECEIVED = ("id", "status", "tlp", "from", "type")


def register(subparsers: Subparsers) -> None:
    """Add `receive`."""
    receive = add_command(subparsers, "receive", "fetch, verify and open what waits, and acknowledge it", _receive)
    add_home(receive)
    receive.add_argument("--show", action="store_true", help="print every field; personal data is hidden")
    add_attachments(receive)


def inbox_of(home: Path, digest: bytes) -> Path:
    """Return the folder in which a received message is kept."""
    return home / "inbox" / digest.hex()


@dataclass
class _Received:
    """What one run found, kept and could not keep."""

    saving: Saving
    messages: list[dict[str, object]] = field(default_factory=list)
    shown: list[str | Table] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    waiting: int = 0
    late: int = 0


def _receive(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.transport import connect

    home = opened(args, out)
    clocks = clocks_of(args.home)
    done = False
    with out.transfers() as tell:
        found = _Received(Saving(lambda digest: _attachments_of(args, digest), tell))
        try:
            with connect(home) as mailbox:
                mailbox.watch(tell)
                found.refused = mailbox.refused
                _take_all(mailbox, found, args)
                found.waiting = len(mailbox.spool.unsent(OUTBOX_COUNTED))
                found.late = len(mailbox.overdue(clocks))
            done = True
        finally:
            if done or found.messages or found.refused:  # what was kept before a problem is kept
                _show_received(out, args.home, found)
    return FAILED if found.refused or found.saving.failed else PASSED


def _take_all(mailbox: Mailbox, found: _Received, args: argparse.Namespace) -> None:
    """Keep and acknowledge every message, those with attachments after the others: they may take hours."""
    held: list[tuple[Delivery, dict[str, object]]] = []
    for delivery in mailbox.receive():
        keep(args.home, delivery)  # durable here before the relay is told to forget it
        mailbox.archive(delivery)
        facts = dict(zip(_RECEIVED, summary(delivery), strict=True))
        row: dict[str, object] = {**facts, "repeated": delivery.repeated, "originator": delivery.originator}
        row["attested"] = attested = [f"{a.role.name.lower()} {a.signer}" for a in delivery.attestations]
        row |= {"outdated": delivery.outdated, "corrects": delivery.corrects.hex(), "recalls": delivery.recalls.hex()}
        row["unexpected"] = delivery.unexpected
        found.messages.append(row)
        found.shown += advice(delivery)
        if delivery.origin:
            way = ", ".join(transfer.sender for transfer in delivery.chain)
            found.shown.append(
                f"{delivery.digest.hex()[:16]} is {delivery.originator}'s; passed on, in this order, by: {way}"
            )
        if args.show:
            table = details(delivery.message)
            row["fields"] = [dict(zip(table.columns, r, strict=True)) for r in table.rows]
            found.shown += [f"\n{facts['type']} from {delivery.sender}, {delivery.op_status.name}:", table]
            found.shown += [f"Attested: {who}" for who in attested]
        if delivery.attachments:
            held.append((delivery, row))
        else:
            mailbox.acknowledge(delivery)
        if len(held) == HELD_MAX:
            _save(mailbox, found.saving, held)
    _save(mailbox, found.saving, held)


def _attachments_of(args: argparse.Namespace, digest: bytes) -> Path:
    """Return the folder for the attachments of a message."""
    inbox = inbox_of(args.home, digest)
    return args.attachments / inbox.name if args.attachments else inbox / "attachments"


def _save(mailbox: Mailbox, saving: Saving, held: list[tuple[Delivery, dict[str, object]]]) -> None:
    """Save the attachments of messages held back, and acknowledge each message when all of its own are saved."""
    while held:
        delivery, row = held.pop(0)
        row["attachments"] = saving.finish(mailbox, delivery)


def _show_received(out: Output, home: Path, found: _Received) -> None:
    problems = [{"id": r.digest.hex(), "from": r.sender, "problem": str(r.problem)} for r in found.refused]
    unsaved = [{"id": digest, "name": name, "problem": str(p)} for digest, name, p in found.saving.failed]
    files = [file for row in found.messages for file in cast("list[dict[str, object]]", row.get("attachments", ()))]
    late = len({problem["id"] for problem in unsaved})
    count = len(found.messages) - late
    out.show(
        {"messages": found.messages, "refused": problems, "unsaved": unsaved, "waiting": found.waiting}
        | {"overdue": found.late},
        Table(("message", *_RECEIVED[1:]), [[row[name] for name in _RECEIVED] for row in found.messages]),
        *found.shown,
        *([Table(("attachment", "bytes"), [(file["path"], file["bytes"]) for file in files])] if files else []),
        *(f"refused: {p['from'] or 'unknown sender'}: {p['problem']}" for p in problems),
        *(f"not saved: {p['name']} of {p['id'][:16]}: {p['problem']}" for p in unsaved),
        *([f"Not acknowledged: {late}. Run it again: it goes on where it stopped."] if late else []),
        *([f"In the outbox: {found.waiting}. {OUTBOX}"] if found.waiting else []),
        *([f"Overdue: {found.late}. See: infoexchange threads --overdue --home {home}"] if found.late else []),
        f"{count} messages received, kept in {home / 'inbox'} and acknowledged; {len(problems)} refused.",
    )


def advice(delivery: Delivery) -> list[str]:
    """Return what a duty officer must know of a message before acting on it."""
    name, found = delivery.digest.hex()[:16], []
    if delivery.outdated:
        found.append(f"{name}: do not act on it; it was valid until {delivery.valid_until:%Y-%m-%d %H:%M}Z")
    if delivery.corrects:
        found.append(f"{name} corrects {delivery.corrects.hex()}")
    if delivery.recalls:
        found.append(f"{name} recalls {delivery.recalls.hex()}: do what it asks, and answer with a RecallConfirmation")
    if delivery.unexpected:
        found.append(f"{name} is unexpected: {delivery.unexpected}; ask {delivery.sender} what is meant")
    return found


def summary(delivery: Delivery) -> tuple[str, str, str, str, str]:
    """Return what a duty officer looks at first: id, status, mark, sender and type."""
    from infoexchange.catalogue import marks

    label = marks.TLP_LABELS[marks.tlp_of(delivery.message)]
    return delivery.digest.hex(), delivery.op_status.name, label, delivery.sender, delivery.message.DESCRIPTOR.name


def details(message: Message) -> Table:
    """Return every field as a table, personal data hidden."""
    from infoexchange.catalogue import marks

    return Table(("field", "value"), [(row.label, row.value) for row in marks.describe(marks.redact(message))])


def keep(home: Path, delivery: Delivery) -> Path:
    """Keep a message and its envelope in the home's inbox, durably, and return the folder."""
    from infoexchange.catalogue import text
    from infoexchange.home.files import write_file

    folder = inbox_of(home, delivery.digest)
    first = not folder.parent.exists()
    for new in (folder.parent, folder):  # not by `parents`, which makes folders that others can read
        new.mkdir(mode=0o700, exist_ok=True)
    write_file(folder / "envelope.bin", delivery.envelope.raw, mode=0o600)
    write_file(folder / "message.json", text.to_json(delivery.message).encode(), mode=0o600)
    for made in (folder.parent, home) if first else (folder.parent,):  # the new folder's own name must survive too
        descriptor = os.open(made, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return folder
