"""Prune: erases the records of old messages from a stopped relay's log; leaves, tiles and every proof stay."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infoexchange.cli.output import FAILED, PASSED, Output, UsageError
from infoexchange.cli.parser import add_command
from infoexchange_relay.config import Config
from infoexchange_relay.opening import Identity, opened

Load = Callable[[argparse.Namespace], Config]


def register(commands: Any, load: Load) -> None:
    """Add `prune`."""
    prune = add_command(
        commands,
        "prune",
        "erase who, whom and what of old messages; the log says so, and every proof stays valid",
        _run,
    )
    prune.add_argument("--config", metavar="FILE", type=Path, required=True, help="relay.toml")
    prune.add_argument("--before", metavar="DAY", required=True, help="what was all logged before it, as 2026-01-31")
    prune.add_argument("--policy", metavar="TEXT", required=True, help="rule under which it is done; it is logged")
    prune.add_argument("--yes", action="store_true", help="do not ask")
    prune.set_defaults(load=load)


def _run(args: argparse.Namespace, out: Output) -> int:
    try:
        before = datetime.strptime(args.before, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"--before {args.before!r} is no day; write it as 2026-01-31") from None
    if not args.yes:
        out.check_person()
    config: Config = args.load(args)
    erased = 0
    with opened(config, Identity.load(config)) as data:
        node = data.node
        if not args.yes and not out.agreed("yes", f"Erase what was logged before {args.before}, for good? Type yes:"):
            out.say("Nothing was changed.")
            return FAILED
        with out.progress("Erasing records") as progress:
            for erased in node.prune(before, args.policy):
                progress(erased, node.ledger.size)
        size = node.ledger.size
    out.show(
        {"before": args.before, "policy": args.policy, "erased": erased, "entry": size - 1},
        f"Erased the records of {erased} entries; entry {size - 1} says so, under: {args.policy}",
        "Leaves and proofs stay. Records in backups and in exported folders are not touched: delete those yourself.",
    )
    return PASSED
