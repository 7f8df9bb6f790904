"""Courier: carries what waits for a relay to which no network leads, on a disk or through a diode."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infoexchange.cli.output import FAILED, PASSED, Output
from infoexchange.cli.parser import add_command, add_group
from infoexchange_relay.config import Config
from infoexchange_relay.errands import fetch_pouch, hand_in

Load = Callable[[argparse.Namespace], Config]


def register(commands: Any, load: Load) -> None:
    """Add `courier export` and `courier import`."""
    group = add_group(commands, "courier", "carry messages to a relay to which no network leads, by disk or diode")
    make = add_command(
        group,
        "export",
        "put all that waits for a relay into a pouch, a signed file; nothing leaves the queue until a pouch from there "
        "proves that it was taken, so a lost one costs nothing, and behind a diode messages end as EXPIRED here",
        _export,
    )
    make.add_argument("--to", metavar="NAME", required=True, help="the relay, one of those in the setting `courier`")
    make.add_argument("file", metavar="FILE", type=Path, help="new file for the pouch")
    take = add_command(
        group,
        "import",
        "take what a pouch from another relay brings, as if that had called; the same pouch again changes nothing",
        _import,
    )
    take.add_argument("file", metavar="FILE", type=Path, help="the pouch")
    take.add_argument(
        "--answer", metavar="FILE", type=Path, help="then make a pouch for the way back, with receipts and refusals"
    )
    for command in (make, take):
        command.add_argument(
            "--config", metavar="CONFIG", type=Path, required=True, help="relay.toml of a relay that runs"
        )
        command.set_defaults(load=load)


def _export(args: argparse.Namespace, out: Output) -> int:
    made = fetch_pouch(args.load(args), args.to, args.file)
    out.show({"file": str(args.file)} | made, *_made(args.file, made), _next(args.to))
    return PASSED


def _import(args: argparse.Namespace, out: Output) -> int:
    config: Config = args.load(args)
    taken = hand_in(config, args.file)
    sender = str(taken["from"])
    made = fetch_pouch(config, sender, args.answer) if args.answer else None
    lines = [
        f"From {sender}, made {str(taken['made'])[:19]}: {taken['envelopes']} envelopes and {taken['recalls']} recalls "
        f"taken, {taken['refused']} refused.",
        f"It tells of {taken['histories']} messages; {taken['forwarded']} receipts and {taken['refusals']} refusals "
        "for what went there from here.",
    ]
    if made:
        lines += [*_made(args.answer, made), _next(sender)]
    else:
        lines.append(f"Next: infoexchange-relay courier export --config {args.config} --to {sender} FILE")
    out.show({"file": str(args.file)} | taken | ({"answer": {"file": str(args.answer)} | made} if made else {}), *lines)
    left = taken["left"]
    if isinstance(left, dict) and left:
        out.warn(f"not taken now, {_reasons(left)}: see to that, and import the same file again")
        return FAILED
    return PASSED


def _made(file: Path, made: dict[str, object]) -> list[str]:
    left = made["left"]
    lines = [
        f"{file}: {made['envelopes']} envelopes, {made['recalls']} recalls, {made['refusals']} refusals and news of "
        f"{made['histories']} messages for {made['to']}, {made['bytes']} bytes."
    ]
    if isinstance(left, dict) and left:
        lines.append(f"Not in it, and still in the queue unless refused: {_reasons(left)}.")
    return lines


def _next(name: str) -> str:
    return f"Next, at {name}: infoexchange-relay courier import --config relay.toml --answer ANSWER FILE"


def _reasons(left: dict[str, int]) -> str:
    return ", ".join(f"{count} for {reason}" for reason, count in sorted(left.items()))
