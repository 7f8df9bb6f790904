"""New: a message to fill in, as a form in a file or question by question at the terminal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from infoexchange.cli.output import PASSED, Output, UsageError
from infoexchange.cli.parser import EXIT_CODES, Subparsers, add_command

if TYPE_CHECKING:
    from google.protobuf.message import Message

_EXAMPLES = """\
examples:
  infoexchange new DrugSeizureReport --out seizure.yaml     a form to fill in with an editor
  infoexchange new Alert --short                            the required fields only, on the screen
  infoexchange new Alert --out alert.yaml --ask             question by question; again: goes on where it stopped
  infoexchange new VictimReferral --example --out try.yaml  the type's example, to change

"""


def register(subparsers: Subparsers) -> None:
    """Add `new`."""
    new = add_command(subparsers, "new", "write a form for a message, or fill one in at the terminal", _new)
    new.epilog = _EXAMPLES + EXIT_CODES
    new.add_argument("type", metavar="TYPE", help="a message type; `infoexchange types` lists them")
    new.add_argument("--out", metavar="FILE", type=Path, help="file to write; its name decides: .json, else YAML")
    form = new.add_mutually_exclusive_group()
    form.add_argument("--yaml", action="store_true", help="YAML with comments that explain every field; the default")
    form.add_argument("--bare", action="store_true", help="JSON, which has no comments: only what is filled in")
    new.add_argument("--short", action="store_true", help="required fields only")
    new.add_argument("--example", action="store_true", help="begin with the type's example instead of an empty form")
    new.add_argument("--ask", action="store_true", help="ask at the terminal, check each answer, and save after it")


def _new(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.catalogue import examples, template

    if args.ask and not args.out:
        raise UsageError("--ask saves after every answer: add --out FILE")
    if args.yaml and args.out and args.out.suffix.lower() == ".json":
        raise UsageError("--yaml does not go with a file called .json")
    if args.bare and args.out and args.out.suffix.lower() != ".json":
        raise UsageError("--bare writes JSON: call the file .json")
    message = template.started(args.type)
    if args.example:
        message.CopyFrom(examples.message(message.DESCRIPTOR.name))
    if args.ask:
        return _ask(args, message, out)
    written = _written(args, message)
    if args.out is None:
        out.show({"type": message.DESCRIPTOR.name, "form": written}, written.rstrip("\n"))
        return PASSED
    from infoexchange.home.files import write_new

    write_new(args.out, written.encode())
    _tell_next(args, message, out)
    return PASSED


def _written(args: argparse.Namespace, message: Message) -> str:
    from infoexchange.catalogue import template, text

    if args.bare or (args.out and args.out.suffix.lower() == ".json"):
        return text.to_json(message) + "\n"
    return template.template(message.DESCRIPTOR.name, message, short=args.short)


def _ask(args: argparse.Namespace, message: Message, out: Output) -> int:
    """Fill in a message at the terminal, going on with a file that is there already."""
    from infoexchange.catalogue import text, yaml_text
    from infoexchange.cli.form import Form
    from infoexchange.cli.written import decoded, is_yaml
    from infoexchange.home.files import in_file, read_file, write_file

    out.check_person()
    if args.out.exists():
        raw = read_file(args.out, next_step="Check the path.")
        with in_file(args.out):
            read = yaml_text.draft_from_yaml if is_yaml(args.out) else text.draft_from_json
            message.CopyFrom(read(message.DESCRIPTOR.name, decoded(raw)))
        out.say(f"Going on with {args.out}.")

    def save() -> None:
        write_file(args.out, _written(args, message).encode(), mode=0o600)

    save()
    try:
        Form(message, out.ask, out.say, save).fill()
    except EOFError:
        raise KeyboardInterrupt from None  # no more answers come: as when somebody leaves
    finally:
        save()
    _tell_next(args, message, out)
    return PASSED


def _tell_next(args: argparse.Namespace, message: Message, out: Output) -> None:
    name = message.DESCRIPTOR.name
    out.show(
        {"type": name, "file": str(args.out)},
        f"Wrote {args.out}.",
        f"Next: infoexchange send {args.out} --type {name} --to NAME --home HOME",
    )
