"""Next log: makes the keys of the log that follows this one, for the next version of the directory."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infoexchange.cli.output import PASSED, Output
from infoexchange.cli.parser import add_command
from infoexchange.witness import WitnessKeys
from infoexchange_relay.cli.folder import write_registration
from infoexchange_relay.config import Config
from infoexchange_relay.opening import CHECK, Identity
from infoexchange_relay.turning import next_file, prepare

Load = Callable[[argparse.Namespace], Config]


def register(commands: Any, load: Load) -> None:
    """Add `next-log`."""
    command = add_command(
        commands, "next-log", "make the keys of the next half-year's log; the relay may run meanwhile", _run
    )
    command.add_argument("--config", metavar="FILE", type=Path, required=True, help="relay.toml")
    command.set_defaults(load=load)


def _run(args: argparse.Namespace, out: Output) -> int:
    config: Config = args.load(args)
    keys = Identity.load(config).keys
    witness = WitnessKeys.parse(config.keychain().read(config.witness_keys, next_step=CHECK))
    following = prepare(config, keys, now=datetime.now(UTC))
    registration = args.config.parent / "registration.json"
    listed = [str(key) for key in keys.verifier_keys]
    earlier = [key for key in registered(registration).get("log_keys", []) if str(key) not in listed]
    own = {str(key) for key in following.verifier_keys}
    before = [*listed, *(str(key) for key in earlier if str(key) not in own)]
    place = {"nation": config.name.split(".")[1], "address": config.listen}
    place |= {key: str(value) for key, value in registered(registration).items() if key in place}
    write_registration(registration, following, witness, before=before, **place)
    out.show(
        {"origin": following.origin, "before": keys.origin, "registration": str(registration)},
        f"Made the keys of the log {following.origin}, which wait in {next_file(config)}.",
        "Next:",
        f"  1. Give {registration} to whoever writes the directory, and put its next version at {config.directory}.",
        f"  2. When every relay has adopted it, restart this one: it closes {keys.origin}, and begins the next.",
        "The directory lists the keys of closed logs for as long as their receipts are to be verified.",
    )
    return PASSED


def registered(file: Path) -> dict[str, Any]:
    """Return what was registered last; nothing where there is no such file any more."""
    try:
        found = json.loads(file.read_bytes())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
