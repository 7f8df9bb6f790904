"""Types: which messages there are, and what stands in them."""

from __future__ import annotations

import argparse

from infoexchange.cli.output import PASSED, Output, Table
from infoexchange.cli.parser import Subparsers, add_command


def register(subparsers: Subparsers) -> None:
    """Add `types`."""
    types = add_command(subparsers, "types", "list the message types, or the fields of one", _types)
    types.add_argument("type", metavar="TYPE", nargs="?", help="a message type, such as MaritimeIncidentReport")


def _types(args: argparse.Namespace, out: Output) -> int:
    from infoexchange.catalogue import reference

    if args.type:
        fields = reference.fields(args.type)
        data = {"type": args.type, "fields": [row._asdict() for row in fields]}
        out.show(data, Table(("field", "holds", "example"), fields))
        return PASSED
    types = reference.types()
    data = {"types": [row._asdict() for row in types]}
    out.show(data, Table(("type", "domain"), types), "Next: infoexchange types TYPE")
    return PASSED
