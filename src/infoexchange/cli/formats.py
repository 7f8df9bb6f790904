"""Formats: files of other systems become messages, and messages files of other systems."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.bridges import FORMATS
from infoexchange.cli.mail import add_marks, check_marks, marks_of
from infoexchange.cli.output import FAILED, PASSED, Output, Table, UsageError
from infoexchange.cli.parser import EXIT_CODES, Subparsers, add_command

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.bridges import Reading
    from infoexchange.errors import ExchangeError, MalformedError

_LINES = ".jsonl"
_SINGLE = (".json", ".yaml", ".yml")
_GROUPS_SHOWN = 40  # of what was noted; programs get all of them
_STEP = 64  # messages between two moves of the bar
# What differs between notes that say the same.
_PLACES = re.compile(r"(?<=\[)\d+(?=\])|(?<=\bline )\d+|(?<=\brow )\d+")
_IMPORTS = """\
examples:
  infoexchange import piracy attacks.csv --op-status ACTUAL --tlp GREEN --purpose "sea watch"
      reads the table, checks every rule, and tells what it did not understand; writes nothing
  infoexchange import seizures-xlsx seizures.xlsx ... --out seizures.jsonl --report notes.csv
      writes the messages that hold every rule, one on a line, and a list of all that was noted

"""


def register(subparsers: Subparsers) -> None:
    """Add `import` and `export`."""
    taking = add_command(subparsers, "import", "read a file of another format, and tell what it did not carry", _import)
    taking.epilog = _IMPORTS + EXIT_CODES
    taking.add_argument(
        "format", metavar="FORMAT", choices=sorted(FORMATS), help=f"one of {', '.join(sorted(FORMATS))}"
    )
    taking.add_argument("file", metavar="FILE", type=Path, help="the file")
    taking.add_argument(
        "--out", metavar="FILE", type=Path, help="new file for the messages: .jsonl; .json or .yaml for a single one"
    )
    taking.add_argument("--report", metavar="FILE", type=Path, help="new CSV file for all that was noted or left out")
    taking.add_argument("--drafts", action="store_true", help="write messages too that break a rule")
    taking.set_defaults(type=None)
    add_marks(taking)

    giving = add_command(subparsers, "export", "write messages as a file of another format", _export)
    giving.add_argument(
        "format", metavar="FORMAT", choices=sorted(FORMATS), help=f"one of {', '.join(sorted(FORMATS))}"
    )
    giving.add_argument("file", metavar="FILE", type=Path, help="messages: .jsonl, or one as .json or .yaml")
    giving.add_argument("--type", metavar="TYPE", help="message type of a .json or .yaml file")
    giving.add_argument("--out", metavar="FILE", type=Path, required=True, help="new file")
    giving.add_argument("--allow-red", action="store_true", help="you may take TLP:RED out of the exchange")


@dataclass
class _Found:
    """What came of an import: the messages to write, and what was noted or left out, alike things counted together."""

    messages: list[Message] = field(default_factory=list)
    broken: int = 0
    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def groups(self) -> list[tuple[str, str, str, int]]:
        """Return field, what is wrong, the first place and how often, the most frequent first."""
        counted: dict[tuple[str, str], list[str]] = {}
        for place, name, detail in self.rows:
            counted.setdefault((_PLACES.sub("…", name), _PLACES.sub("…", detail)), []).append(place)
        found = [(name, detail, places[0], len(places)) for (name, detail), places in counted.items()]
        return sorted(found, key=lambda group: -group[3])


def _import(args: argparse.Namespace, out: Output) -> int:
    from infoexchange import bridges
    from infoexchange.errors import MalformedError
    from infoexchange.home.files import check_new, in_file, read_file, write_new

    check_marks(args)
    if args.out and args.out.suffix.lower() not in {_LINES, *_SINGLE}:
        raise UsageError("--out is a file called .jsonl, or .json or .yaml for a single message")
    raw = read_file(args.file, next_step="Check the path.")
    for path in filter(None, (args.report, args.out)):
        check_new(path)  # before half of what was asked for is written
    now = datetime.now(UTC)
    with in_file(args.file):
        try:
            reading = bridges.find(args.format).read(raw, marks_of(args, now), now=now)
            found = _checked(reading, out, keep_drafts=args.drafts)
        except MalformedError as refused:
            raise _explained(refused, args.format, raw) from None
    if args.out and args.out.suffix.lower() != _LINES and len(found.messages) > 1:
        raise UsageError(f"{len(found.messages)} messages go into a file called .jsonl; nothing was written")
    if args.report:
        write_new(args.report, _report(found))
    if args.out and found.messages:
        _write(args.out, found.messages)
    _show(args, found, reading, out)
    return PASSED if reading.messages_count and not found.broken else FAILED


def _explained(refused: MalformedError, name: str, raw: bytes) -> ExchangeError:
    """Return the error with a next step for whoever may only have chosen another format than the file's."""
    from infoexchange import bridges
    from infoexchange.errors import Reason, error

    usual = error(Reason.MALFORMED, detail="").next_step
    if refused.reason is not Reason.MALFORMED:
        return refused
    seems, step = bridges.detect(raw), refused.next_step
    if seems is not None and seems.name.partition("-")[0] != name.partition("-")[0]:
        step = f"The file looks like the format {seems.name}; import it as that."
    elif step == usual:
        step = f"Check that the file is whole, and in the format {name}: {bridges.find(name).title}."
    return error(refused.reason, field=refused.field, detail=refused.detail, next_step=step)


def _checked(reading: Reading, out: Output, *, keep_drafts: bool) -> _Found:
    """Return the messages of a file, checked, each in the domain of its type."""
    from infoexchange import catalogue
    from infoexchange.catalogue import rules
    from infoexchange.errors import ExchangeError

    found = _Found()
    with out.progress("reading and checking") as tell:
        for number, message in enumerate(reading, 1):
            with contextlib.suppress(ExchangeError):  # that there is none, a rule says better
                catalogue.handling_of(message).domain = catalogue.domain_of(message)
            broken = rules.violations(message)
            found.broken += bool(broken)
            found.rows += [(f"message {number}", one.field, f"{one.detail}. {one.next_step}") for one in broken]
            if not broken or keep_drafts:
                found.messages.append(message)
            if number % _STEP == 0:
                tell(number, max(reading.expected, number))
    found.rows[:0] = [(note.place, note.field, note.detail) for note in reading.notes]
    return found


def _write(path: Path, messages: list[Message]) -> None:
    from infoexchange.catalogue import lines
    from infoexchange.cli.written import write_message
    from infoexchange.home.files import write_new

    if path.suffix.lower() == _LINES:
        write_new(path, "".join(map(lines.to_line, messages)).encode())
    else:
        write_message(path, messages[0])


def _report(found: _Found) -> bytes:
    """Return all that was noted as CSV; a cell that begins like a formula is text."""
    from infoexchange.catalogue import sheets

    names = ("place", "field", "detail")
    # A name in a foreign file may hold half of a surrogate pair, which no file can.
    rows = ([cell.encode("utf-8", "replace").decode() for cell in row] for row in found.rows)
    return sheets.write_sheet(names, (dict(zip(names, row, strict=True)) for row in rows))


def _show(args: argparse.Namespace, found: _Found, reading: Reading, out: Output) -> None:
    groups = found.groups()
    more = len(groups) - _GROUPS_SHOWN
    unkept = reading.notes_count - len(reading.notes)
    written = len(found.messages) if args.out else 0
    out.show(
        {
            "messages": reading.messages_count,
            "broken": found.broken,
            "written": written,
            "notes": reading.notes_count,
            "noted": [dict(zip(("field", "detail", "first", "times"), group, strict=True)) for group in groups],
        },
        *([Table(("field", "noted or left out", "first", "times"), groups[:_GROUPS_SHOWN])] if groups else []),
        *([f"{more} more kinds; --report FILE lists everything"] if more > 0 else []),
        *([f"{unkept} more notes were only counted"] if unkept else []),
        f"{reading.messages_count} messages read; {found.broken} break a rule; {reading.notes_count} notes.",
        *([f"{written} messages are written to {args.out}."] if args.out and written else ["No message was written."]),
    )


def _export(args: argparse.Namespace, out: Output) -> int:
    from infoexchange import bridges
    from infoexchange.home.files import write_new

    is_lines = args.file.suffix.lower() == _LINES
    if is_lines == bool(args.type):
        raise UsageError("a .jsonl file says the types itself; any other file needs --type")
    chosen = bridges.find(args.format)
    count = 0

    def counted() -> Iterator[Message]:
        nonlocal count
        with out.progress("writing") as tell:
            for count, message in enumerate(_messages(args.file, args.type), 1):
                yield message
                if count % _STEP == 0:
                    tell(count, 0)

    data = chosen.write(counted(), now=datetime.now(UTC), allow_red=args.allow_red)
    write_new(args.out, data)
    out.show(
        {"messages": count, "bytes": len(data), "losses": chosen.losses},
        f"{count} messages are written to {args.out}, {len(data)} bytes.",
        "What this format cannot carry:",
        *(f"  {loss}" for loss in chosen.losses if not loss.startswith("Read")),
    )
    return PASSED


def _messages(path: Path, schema: str | None) -> Iterator[Message]:
    from infoexchange.catalogue import lines
    from infoexchange.cli.written import read_message
    from infoexchange.home.files import in_file, read_file

    if schema:
        yield read_message(path, schema)
        return
    raw = read_file(path, next_step="Check the path.")
    with in_file(path):
        yield from lines.from_lines(raw)
