"""The command `status`: what waits, for whom and how long; how log, peers and disks are; drawn anew all the time."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infoexchange.cli.output import FAILED, PASSED, Output
from infoexchange.cli.parser import add_command
from infoexchange_relay.cli.status.screen import drawn, headline, tables
from infoexchange_relay.cli.status.snapshot import Snapshot, take, utc_now
from infoexchange_relay.config import Config

# Implementation constants
_EVERY = 2.0
_EVERY_LIMITS = (0.5, 3600.0)
_SHARE = 10  # looking takes at most one part in so many of the time: a million waiting messages take long to count


def register(commands: Any, load: Callable[[argparse.Namespace], Config]) -> None:
    """Add `status`."""
    status = add_command(
        commands, "status", "show queues, peers, log and disks, again and again; changes nothing", _run
    )
    status.add_argument("--config", metavar="FILE", type=Path, required=True, help="relay.toml")
    status.add_argument("--once", action="store_true", help="print it once, as lines; without a terminal always")
    status.add_argument("--every", metavar="SECONDS", type=_seconds, default=_EVERY, help="default: %(default)s")
    status.epilog = """\
exit codes:
  0  the relay runs and takes messages, or what it does was shown until Ctrl-C
  1  once: the relay does not run, or takes no new messages
  3  the command line or the configuration is wrong
"""
    status.set_defaults(load=load)


def _seconds(text: str) -> float:
    value = float(text)
    if not _EVERY_LIMITS[0] <= value <= _EVERY_LIMITS[1]:
        raise argparse.ArgumentTypeError(f"{text} is not {_EVERY_LIMITS[0]} to {_EVERY_LIMITS[1]}")
    return value


def _run(args: argparse.Namespace, out: Output) -> int:
    config: Config = args.load(args)
    if not args.once and not args.json and sys.stdout.isatty():
        return _watch(config, args.every)
    shot = take(config, utc_now())
    words, _ = headline(shot)
    parts = [part for title, table in tables(shot) for part in ("", f"{title}:", table)]
    out.show(shot.data, f"{shot.name} {words}.", *shot.remarks, *parts)
    return PASSED if shot.runs and shot.ready is not False else FAILED


def _watch(config: Config, every: float) -> int:
    """Draw it anew until somebody has seen enough."""
    from rich.live import Live

    before: Snapshot | None = None
    try:
        with Live(screen=True, auto_refresh=False) as live:
            while True:
                began = time.monotonic()
                shot = take(config, utc_now())
                live.update(drawn(shot, before), refresh=True)
                before = shot
                time.sleep(max(every, _SHARE * (time.monotonic() - began)))
    except KeyboardInterrupt:
        return PASSED
