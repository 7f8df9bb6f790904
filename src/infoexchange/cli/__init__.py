"""Commands: what agencies, maintainers of the directory and auditors do at a terminal.

Each module registers its commands and loads what they need only when one runs, so that help comes at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from infoexchange.cli import (
    archive,
    audit,
    bundle,
    ca,
    demo,
    directory,
    evidence,
    formats,
    keyfile,
    keys,
    mail,
    new,
    onward,
    recall,
    receive,
    share,
    threads,
    types,
)
from infoexchange.cli.output import Output
from infoexchange.cli.parser import Parser, parsed

# Each has `register(subparsers)`; help lists the commands in this order.
COMMANDS = (
    demo,
    mail,
    receive,
    threads,
    recall,
    archive,
    onward,
    share,
    new,
    formats,
    types,
    evidence,
    audit,
    keys,
    bundle,
    keyfile,
    directory,
    ca,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, as the help describes it."""
    parser = Parser(
        prog="infoexchange", description="Signed, encrypted information exchange between national agencies."
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.register(subparsers)
    args = parsed(parser, argv)
    if isinstance(args, int):
        return args
    out = Output(parser.prog, as_json=args.json)
    return out.run(lambda: args.run(args, out))
