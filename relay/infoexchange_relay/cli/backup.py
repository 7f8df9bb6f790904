"""The commands `backup` and `restore`: the data as one file while the relay runs, and back where nothing is newer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infoexchange.cli.output import PASSED, Output
from infoexchange.cli.parser import add_command
from infoexchange_relay.backup import make_backup, restore
from infoexchange_relay.config import Config

Load = Callable[[argparse.Namespace], Config]


def register(commands: Any, load: Load) -> None:
    """Add `backup` and `restore`."""
    backup = add_command(commands, "backup", "put log, envelopes and queues into one file; the relay may run", _backup)
    backup.add_argument("file", metavar="FILE", type=Path, help="new file; nothing is overwritten")
    backup.add_argument("--attachments", action="store_true", help="the bytes of attachments, too")
    back = add_command(
        commands, "restore", "put the data of a backup in place, unless anything here knows a longer log", _restore
    )
    back.add_argument("file", metavar="FILE", type=Path, help="from `backup`")
    back.add_argument("--digest", metavar="HEX", default="", help="what `backup` printed, if it was kept elsewhere")
    back.add_argument(
        "--to-recover", action="store_true", help="beside the data, for `recover`, which takes what waited in it"
    )
    for command in (backup, back):
        command.add_argument("--config", metavar="FILE", type=Path, required=True, help="relay.toml")
        command.set_defaults(load=load)


def _backup(args: argparse.Namespace, out: Output) -> int:
    config: Config = args.load(args)
    with out.progress("Backing up") as progress:
        made = make_backup(config, args.file, attachments=args.attachments, now=datetime.now(UTC), progress=progress)
    manifest = made.manifest
    missing = sum(not whole for whole in manifest.attachments.values())
    out.show(
        {"file": str(made.file), "bytes": made.length, "entries": manifest.end, "digest": manifest.digest}
        | {"attachments": len(manifest.attachments), "attachments_left_out": missing}
        | {"left_out": dict(manifest.left_out)},
        f"{made.file}: {manifest.end} log entries, {made.length} bytes, every leaf hashed again.",
        f"Digest of its manifest, to be kept elsewhere: {manifest.digest}",
        *([f"The bytes of {missing} attachments that still wait are not in it; see --attachments."] if missing else []),
        "Not in it, to be kept in other ways:",
        *(f"  {path}: {why}" for path, why in manifest.left_out.items()),
    )
    return PASSED


def _restore(args: argparse.Namespace, out: Output) -> int:
    config: Config = args.load(args)
    with out.progress("Restoring") as progress:
        restored = restore(
            config, args.file, digest=args.digest, to_recover=args.to_recover, now=datetime.now(UTC), progress=progress
        )
    manifest, where = restored.manifest, restored.aside if args.to_recover else config.data
    steps = (
        [f"infoexchange-relay check --config {args.config}", f"infoexchange-relay serve --config {args.config}"]
        if restored.latched and not args.to_recover
        else [f"infoexchange-relay recover --config {args.config}"]
    )
    out.show(
        {"entries": manifest.end, "made_at": manifest.made_at.isoformat(), "latched": restored.latched}
        | {"aside": str(restored.aside) if restored.aside else None, "next": steps},
        f"{manifest.end} log entries as of {manifest.made_at:%Y-%m-%d %H:%M:%S}Z are in {where}.",
        *([f"What was there before lies in {restored.aside}."] if restored.aside and not args.to_recover else []),
        *([_TO_RECOVER] if args.to_recover else [] if restored.latched else [_NO_LATCH]),
        *([] if manifest.settings == config.digest.hex() else ["The settings were others when it was made."]),
        "Next:",
        *(f"  {number}. {step}" for number, step in enumerate(steps, 1)),
    )
    return PASSED


_TO_RECOVER = "The log goes on without it; when the relay starts, it takes what waited in it and is not known yet."
_NO_LATCH = (
    "The latch is lost, so nobody can tell whether this is all that was signed: the relay goes on with a new log, "
    "which takes what waits in this data."
)
