"""Run a federation whose processes are killed at random, and check what it did; `make federation` with full size."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
from federation.checking import Found, check
from federation.world import Plan, World
from infoexchange.cli.output import Output, Table


def federation(folder: Path, plan: Plan, out: Output, store: Callable[[], str] = str) -> tuple[Found, World]:
    """Run a federation in a folder and return what was found of it; `store` gives each relay's setting of that name."""
    world = World(folder, plan, store)
    started = time.monotonic()
    with world.running():
        with out.progress("Messages acknowledged while processes are killed") as progress:
            world.disturb(progress)
        disturbed = time.monotonic()
        with out.progress("Messages acknowledged until nothing waits any more") as progress:
            world.drain(progress)
        drained = time.monotonic()
    found = check(world, out)
    found.faults += world.problems
    found.figures = {
        "seed": plan.seed,
        "relays, agencies, processes of agencies": f"{plan.relays}, {plan.agencies}, {len(world.groups)}",
        "relays killed": world.kills["relay"],
        "processes of agencies killed": world.kills["agencies"],
        "seconds with kills": round(disturbed - started, 1),
        "seconds until all had drained": round(drained - disturbed, 1),
        **found.figures,
        "recalled after they had been fetched": found.late,
        **{f"ways that ended {state}": count for state, count in sorted(found.ends.items())},
    }
    if found.figures["messages acknowledged"] < plan.messages:
        found.fault(f"only {found.figures['messages acknowledged']} of {plan.messages} messages were acknowledged")
    return found, world


@contextlib.contextmanager
def _engine(name: str, relays: int) -> Iterator[Callable[[], str]]:
    """Lend what gives a relay its place in a server of databases, or in its own file."""
    if name == "sqlite":
        yield str
        return
    # Each relay holds a few connections, and one that was killed leaves them open for a moment.
    with postgres.running(f"max_connections={20 * relays}") as server:
        yield server.address


def _plan(args: argparse.Namespace) -> Plan:
    return Plan(
        relays=args.relays,
        agencies=args.agencies,
        processes=args.processes,
        messages=args.messages,
        seconds=60 * args.minutes,
        calm=args.calm,
        killers=args.killers,
        seed=args.seed if args.seed is not None else secrets.randbelow(2**32),
    )


def main() -> int:
    """Run it as the arguments say; 0 if nothing was wrong."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="federation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=usual.seconds / 60, help="how long processes are killed")
    parser.add_argument("--relays", type=int, default=usual.relays)
    parser.add_argument("--agencies", type=int, default=usual.agencies)
    parser.add_argument("--processes", type=int, default=usual.processes, help="of agencies")
    parser.add_argument("--messages", type=int, default=usual.messages)
    parser.add_argument("--calm", type=float, default=usual.calm, help="seconds between two kills, on average")
    parser.add_argument("--killers", type=int, default=usual.killers, help="processes that may be down at one time")
    parser.add_argument("--seed", type=int, help="of everything that is drawn; a new one unless given")
    parser.add_argument("--engine", default="sqlite", choices=("sqlite", "postgres"), help="store of the relays")
    parser.add_argument("--folder", type=Path, help="a new folder, which is kept; else a temporary one")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    out, plan = Output("federation", as_json=args.json), _plan(args)
    out.say(f"Seed {plan.seed}")
    folder = args.folder or Path(tempfile.mkdtemp(prefix="federation-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    try:
        with _engine(args.engine, plan.relays) as store:
            found, _ = federation(folder, plan, out, store)
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    data: dict[str, Any] = {"figures": found.figures, "faults": found.faults}
    rows = list(found.figures.items())
    verdict = f"{len(found.faults)} faults" if found.faults else "Nothing lost, nothing twice, every end signed."
    out.show(data, Table(("what", "how much"), rows), *found.faults[:50], verdict)
    print(json.dumps({"seed": plan.seed, "faults": len(found.faults)}), file=sys.stderr)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
