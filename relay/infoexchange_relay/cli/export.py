"""Export: puts the audit log into a folder of static files while the relay runs, for auditors and foreign tools."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infoexchange.audit import GROUPS
from infoexchange.cli.output import PASSED, Output, UsageError
from infoexchange.cli.parser import add_command
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError
from infoexchange.exported import LogFolder, Stamps, export_log
from infoexchange.exported.folder import CHECKPOINT
from infoexchange.home.files import in_file, missing
from infoexchange.log import log_keys
from infoexchange.ports import Record
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint
from infoexchange_relay.config import Config
from infoexchange_relay.disclosures import disclosed
from infoexchange_relay.stores import RowStore, is_there, latch_of, open_store

Load = Callable[[argparse.Namespace], Config]


def register(commands: Any, load: Load) -> None:
    """Add `export`."""
    export = add_command(
        commands, "export", "put the audit log into a folder for auditors; again, to add what is new", _run
    )
    export.add_argument("--config", metavar="FILE", type=Path, required=True, help="relay.toml")
    export.add_argument("--to", metavar="DIR", type=Path, required=True, help="folder; made when there is none")
    export.add_argument(
        "--groups",
        metavar="GROUPS",
        default="",
        help=f"what auditors may read of every entry: some of {','.join(GROUPS)}; without it nothing",
    )
    export.add_argument("--log", metavar="ORIGIN", default="", help="a closed log (default: the one that grows)")
    export.add_argument(
        "--for",
        dest="audience",
        metavar="TEXT",
        default="",
        help="with --groups: to whom it is shown and why; it is logged before anything is",
    )
    export.set_defaults(load=load)


def _run(args: argparse.Namespace, out: Output) -> int:
    shown = tuple(group.strip() for group in args.groups.split(",")) if args.groups else ()
    if not set(shown) <= set(GROUPS):
        raise UsageError(f"--groups takes some of {', '.join(GROUPS)}, with commas between them")
    if shown and "routing" not in shown:
        raise UsageError("--groups: routing goes with each of the others")
    if bool(shown) != bool(args.audience.strip()):
        raise UsageError("--groups shows records: say to whom and why with --for TEXT, and only then")
    config: Config = args.load(args)
    if not is_there(config.place):
        raise missing(Path(config.place), "Run the relay first; it makes its log when it starts.")
    with open_store(config.place) as store, out.progress("Exporting the audit log") as progress:
        # Before anything of the data is read: what comes meanwhile is not covered by it, and waits for the next run.
        base, checkpoint = _closed(store, args.log) if args.log else (store.head().base, None)
        checkpoint = checkpoint or _checkpoint(config, args.to, store)
        entry = None
        if shown and not _is_there(args.to, checkpoint):
            entry = disclosed(config, store, _said(shown, checkpoint, args.audience))
        stamps = Stamps(config.timestamps(checkpoint.origin))
        done = export_log(_OneLog(store, base), args.to, checkpoint, shown=shown, stamps=stamps, progress=progress)
    out.show(
        {"folder": str(args.to), "origin": checkpoint.origin, "size": done.size, "new": done.size - done.before}
        | {"groups": list(shown), "entry": entry, "files": done.files, "directories": done.directories}
        | {"timestamps": done.stamps},
        f"{args.to}: {done.size} entries of {checkpoint.origin}, {done.size - done.before} of them new; "
        f"{done.files} files written, {done.directories} directory versions, {done.stamps} timestamps.",
        f"Shown of every entry: {', '.join(shown) or 'nothing'}"
        + (f"; entry {entry} says so." if entry is not None else "."),
        f"Next: infoexchange audit verify-log {args.to} --roots {config.roots}",
    )
    return PASSED


class _OneLog:
    """One log of a store, with places of its own."""

    def __init__(self, store: RowStore, base: int) -> None:
        self._store = store
        self._base = base

    def tiles(self, names: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return stored tiles."""
        return self._store.tiles(names, self._base)

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaf bytes in order."""
        return self._store.leaves(self._base + start, count)

    def records(self, indices: Sequence[int]) -> Sequence[Record]:
        """Return entries in the order asked."""
        return self._store.records([self._base + index for index in indices])

    def exhibits(self, event: Event) -> Sequence[bytes]:
        """Return the documents of every entry of one event, of all logs: directories are those of the relay."""
        return self._store.exhibits(event)


def _closed(store: RowStore, origin: str) -> tuple[int, Checkpoint]:
    """Return the place of the first entry of a closed log, and its last checkpoint."""
    closed = {log.checkpoint.origin: log for log in store.closed()}
    if origin not in closed:
        names = ", ".join(closed) or "none"
        raise UsageError(f"--log {origin!r} is no closed log of this relay; there are: {names}")
    return closed[origin].base, closed[origin].checkpoint


def _is_there(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether an earlier run, which was logged, has shown all that this one could."""
    return (
        (folder / "records").exists() and (folder / CHECKPOINT).exists() and LogFolder(folder).size == checkpoint.size
    )


def _said(shown: Sequence[str], checkpoint: Checkpoint, audience: str) -> str:
    """Return what the log says of an export that shows records: all that is in the folder then."""
    last = checkpoint.size - 1
    return f"groups {','.join(shown)} of entries 0 to {last} of {checkpoint.origin}, for {audience.strip()}"


def _checkpoint(config: Config, folder: Path, store: RowStore) -> Checkpoint:
    """Return the newest checkpoint that witnesses have cosigned, or the newest signed one where the folder is ahead."""
    note = latch_of(store, config.latch).read()
    logged = store.exhibits(Event.DIRECTORY_VERSION)
    if not note or not logged:
        raise missing(config.latch, "Run the relay first; it signs its log when it starts.")
    with in_file(config.latch):
        signed = Checkpoint.parse(note)
        # No private key is needed to hand out what is signed.
        keys = log_keys(Directory.held(logged[-1]), config.name, signed.origin)
        signed.verify(keys)
    try:
        cosigned = Checkpoint.parse(config.cosigned.read_bytes())
        cosigned.verify(keys)
    except (OSError, ExchangeError):
        return signed
    there = LogFolder(folder).size if (folder / CHECKPOINT).exists() else 0
    return cosigned if there <= cosigned.size <= signed.size else signed
