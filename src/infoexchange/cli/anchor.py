"""Anchor: whom an auditor believes, as the command line says."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoexchange.cli.parser import Parser
    from infoexchange.directory import Directory
    from infoexchange.listing import Roots


def add_anchor(command: Parser, what: str) -> None:
    """Add the options that say whom an auditor believes; a `what` brings a copy of the directory along."""
    command.add_argument("--roots", metavar="FILE", type=Path, required=True, help="trust anchor: the root keys")
    command.add_argument(
        "--directory", metavar="FILE", type=Path, help=f"use this directory, not the {what}'s own copy"
    )


@dataclass(frozen=True)
class Anchor:
    """Whom an auditor believes: the root keys, and perhaps a directory of its own under them."""

    roots: Roots
    own: Directory | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> Anchor:
        """Return the anchor that `--roots` and `--directory` name; raises as their `parse`."""
        from infoexchange.directory import Directory
        from infoexchange.home.files import in_file, read_file
        from infoexchange.listing import Roots

        with in_file(args.roots):
            roots = Roots.parse(read_file(args.roots, next_step="Ask the directory's maintainers for the root keys."))
        own = None
        if args.directory:
            with in_file(args.directory):
                own = Directory.parse(read_file(args.directory, next_step="Check the path."), roots=roots)
        return cls(roots, own)
