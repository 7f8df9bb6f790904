"""Parser: how commands are declared, and what their exit codes mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from infoexchange.cli.output import PASSED, USAGE, Output, one_line

EXIT_CODES = """\
exit codes:
  0  passed: what was asked for is done, or holds
  1  failed: it was refused, does not hold, or the machine could not do it; one line says why and what to do
  2  indeterminate: what is there neither proves nor disproves it
  3  usage: the command line or the configuration is wrong; nothing was begun
  130  interrupted from the keyboard
"""

# Repeated from the registry, so that help comes without loading it; a test compares.
SUITE_NAMES = ("HYBRID", "HYBRID-KEM", "NIST-HIGH", "CLASSICAL")

Run = Callable[[argparse.Namespace, Output], int]
Subparsers = Any  # argparse gives its type no public name


class Parser(argparse.ArgumentParser):
    """A parser that ends every help page with the exit codes, and says in one line what is wrong with an argument."""

    exit_codes = EXIT_CODES

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("epilog", self.exit_codes)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Leave with the exit code of wrong usage."""
        self.exit(USAGE, f"{self.prog}: {one_line(message)}. See: {self.prog} --help\n")


def add_command(subparsers: Subparsers, name: str, summary: str, run: Run) -> Parser:
    """Declare a command that prints data and can print it as JSON."""
    parser: Parser = subparsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    parser.add_argument("--json", action="store_true", help="print data and errors as JSON")
    parser.set_defaults(run=run)
    return parser


def add_group(subparsers: Subparsers, name: str, summary: str) -> Subparsers:
    """Declare a command that has commands of its own."""
    parser = subparsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    return parser.add_subparsers(metavar="COMMAND", required=True)


def parsed(parser: Parser, argv: Sequence[str] | None) -> argparse.Namespace | int:
    """Return the arguments, or the exit code where help was asked for or the arguments are wrong."""
    try:
        return parser.parse_args(argv)
    except SystemExit as ending:
        sys.stdout.flush()
        return ending.code if isinstance(ending.code, int) else PASSED
