"""Threads: what was asked and not answered yet, both ways, and what is late."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infoexchange.cli.endings import opened
from infoexchange.cli.output import FAILED, PASSED, Output, Table, UsageError
from infoexchange.cli.parser import Subparsers, add_command
from infoexchange.cli.passphrase import add_home

if TYPE_CHECKING:
    from infoexchange.flows import Clocks, Following, Step, Thread

CLOCKS = "clocks.toml"  # in the agency's folder, where it counts otherwise than by default
_COLUMNS = ("message", "status", "precedence", "type", "with", "state", "who is to act", "by")


def register(subparsers: Subparsers) -> None:
    """Add `threads`."""
    threads = add_command(subparsers, "threads", "list what waits for an answer, here and elsewhere", _threads)
    threads.add_argument("id", metavar="ID", nargs="?", help="everything about one message: 64 hexadecimal digits")
    add_home(threads)
    which = threads.add_mutually_exclusive_group()
    which.add_argument("--overdue", action="store_true", help="only what is late; exit code 1 if anything is")
    which.add_argument("--all", action="store_true", help="what is over, too")
    threads.add_argument("--clocks", metavar="FILE", type=Path, help=f"what is late (DIR/{CLOCKS}, if it is there)")


def clocks_of(home: Path, file: Path | None = None) -> Clocks:
    """Return the clocks in a file, in the agency's folder, or the default.

    Raises:
        MalformedError: `MALFORMED` or `BAD_FIELD`, naming the file.
    """
    import tomllib

    from infoexchange.errors import Reason, error
    from infoexchange.flows import DEFAULT_CLOCKS, Clocks
    from infoexchange.home.files import in_file, read_file

    if file is None and not (home / CLOCKS).exists():
        return DEFAULT_CLOCKS
    path = file or home / CLOCKS
    raw = read_file(path, next_step="Check the path.")
    with in_file(path):
        try:
            table = tomllib.loads(raw.decode())
        except ValueError as problem:  # of TOML and of UTF-8
            raise error(Reason.MALFORMED, detail=f"not TOML: {problem}", next_step="Correct the file.") from None
        return Clocks.read(table)


def _threads(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.cli.evidence import digest_of
    from infoexchange.flows import follow

    if args.id and (args.overdue or args.all):
        raise UsageError("name a message, or give --overdue or --all")
    digest = digest_of(args.id) if args.id else b""
    home = opened(args, out)
    clocks, now = clocks_of(args.home, args.clocks), datetime.now(UTC)
    with home.spool() as spool:
        found = follow(spool.steps([digest] if digest else ()), home.name)
    if digest:
        return _show_one(out, found, digest, clocks, now)
    late = {id(thread) for thread in found.overdue(now, clocks)}
    shown = sorted(found.threads, key=lambda thread: _order(thread, clocks))
    if not args.all:
        shown = [t for t in shown if (id(t) in late if args.overdue else t.dues(clocks))]
    rows = [_row(thread, home.name, clocks, now) for thread in shown]
    strange = [(step, why.detail) for step, why in found.loose if why]
    strange += [(step, why.detail) for thread in found.threads for step, why in thread.unexpected]
    strange = [] if args.overdue else strange
    out.show(
        {
            "threads": [_data(thread, home.name, clocks, now) for thread in shown],
            "overdue": len(late),
            "unexpected": [_step_data(step) | {"why": why} for step, why in strange],
        },
        *([Table(_COLUMNS, rows)] if rows else []),
        *(f"unexpected: {s.digest.hex()} ({s.said.schema} of {s.sender}): {why}" for s, why in strange),
        f"{len(rows)} shown, {len(late)} overdue."
        + (f" What became of one on its way: infoexchange receipts ID --home {args.home}" if late else ""),
    )
    return FAILED if args.overdue and late else PASSED


def _order(thread: Thread, clocks: Clocks) -> tuple[bool, float, bytes, str]:
    """Return what sorts threads: what falls due first, then what is over, the newest first."""
    dues = thread.dues(clocks)
    moment = dues[0].at.timestamp() if dues else -thread.root.at.timestamp()
    return not dues, moment, thread.root.digest, thread.peer


def _row(thread: Thread, me: str, clocks: Clocks, now: datetime) -> Sequence[str]:
    root, dues = thread.root, thread.dues(clocks)
    asked = root.sender == me
    who = f"{'we' if dues[0].who == me else dues[0].who} {dues[0].duty.value}" if dues else ""
    return (
        root.digest.hex(),
        root.said.op_status.name,
        root.said.precedence.name,
        root.said.schema,
        f"{'to' if asked else 'from'} {thread.peer if asked else root.sender}",
        _state(thread),
        who,
        _by(dues[0].at, now) if dues else "",
    )


def _state(thread: Thread) -> str:
    level = f", {thread.level.name}" if thread.level else ""
    strange = f", {len(thread.unexpected)} unexpected" if thread.unexpected else ""
    return f"{thread.state.value}{level}{strange}"


def _by(at: datetime, now: datetime) -> str:
    late = now - at
    words = f"{at:%Y-%m-%d %H:%M}Z"
    return f"{words}, OVERDUE {_span(late)}" if late > timedelta() else words


def _span(span: timedelta) -> str:
    if span >= timedelta(days=2):
        return f"{span.days} days"
    minutes = int(span.total_seconds()) // 60
    return f"{minutes // 60} h {minutes % 60:02} min"


def _data(thread: Thread, me: str, clocks: Clocks, now: datetime) -> dict[str, Any]:
    root, dues = thread.root, thread.dues(clocks)
    return _step_data(root) | {
        "direction": "sent" if root.sender == me else "received",
        "with": thread.peer if root.sender == me else root.sender,
        "state": thread.state.name,
        "acknowledged": thread.level.name if thread.level else "",
        "dues": [
            {"what": due.duty.name, "who": due.who, "by": due.at.isoformat(), "overdue": due.at < now} for due in dues
        ],
        "may_follow": [kind.name for kind in thread.may_follow],
        "unexpected": [{"id": step.digest.hex(), "why": why.detail} for step, why in thread.unexpected],
    }


def _step_data(step: Step) -> dict[str, Any]:
    said = step.said
    facts = {"id": step.digest.hex(), "from": step.sender, "at": step.at.isoformat(), "type": said.schema}
    return facts | {"status": said.op_status.name, "precedence": said.precedence.name, "says": said.kind.name}


def _show_one(out: Output, found: Following, digest: bytes, clocks: Clocks, now: datetime) -> int:
    """Show the threads in which a message stands, each with all that belongs to it."""
    from infoexchange.catalogue import steps
    from infoexchange.errors import Reason, error

    threads = [t for t in found.threads if digest in (t.root.digest, *(step.digest for step in t.steps))]
    loose = [(step, why) for step, why in found.loose if step.digest == digest]
    if not threads and not loose:
        step = "Check the ID; `threads --all` lists what is known."
        raise error(Reason.NOT_ADDRESSED, field="ID", detail="no such message was sent or received", next_step=step)
    parts: list[str | Table] = [f"{step.said.schema} of {step.sender} alone: {why.detail if why else 'no flow'}."
                                for step, why in loose]  # fmt: skip
    data = []
    for thread in threads:
        whys = {step.digest: why for step, why in thread.unexpected}
        steps_of = (thread.root, *thread.steps)
        rows = [
            (f"{s.at:%Y-%m-%d %H:%M:%S}Z", s.sender, s.said.schema, s.said.kind.name if s is not thread.root else "",
             s.digest.hex(), f"unexpected: {whys[s.digest].detail}" if s.digest in whys else "")
            for s in steps_of
        ]  # fmt: skip
        parts += [
            f"{thread.root.said.schema} of {thread.root.sender} for {thread.peer}: {_state(thread)}.",
            Table(("made", "by", "type", "says", "message", ""), rows),
            *(f"{due.who} is to {due.duty.value} by {_by(due.at, now)}." for due in thread.dues(clocks)),
        ]
        if thread.may_follow:
            names = " or ".join(steps.replies(thread.root.said.schema))
            words = ", ".join(kind.name for kind in thread.may_follow)
            parts.append(f"{thread.peer} may answer with {names}: {words}.")
        data.append(_data(thread, "", clocks, now) | {
            "direction": "", "with": thread.peer, "steps": [_step_data(s) for s in steps_of]
        })  # fmt: skip
    alone = [_step_data(step) | {"why": why.detail if why else ""} for step, why in loose]
    out.show({"threads": data, "unexpected": alone}, *parts)
    return PASSED
