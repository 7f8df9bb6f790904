"""Screen: a snapshot as a person reads it, on a terminal that is drawn anew or as plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from infoexchange.cli.output import Table, one_line
from infoexchange_relay.cli.status.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType

# Implementation constants
_LATE = 900.0  # seconds without a quorum from which the relay itself raises an alarm
_FULL = 0.1  # of a disk free
_SHOWN = 40  # queues; the most urgent stand first


def headline(shot: Snapshot) -> tuple[str, str]:
    """Return in a few words how the relay is, and how bad that is: `green`, `yellow` or `red`."""
    if not shot.runs:
        return "does not run", "red"
    if shot.ready is False:
        return "runs, and takes no new messages", "red"
    if any(not there for there in shot.peers.values()):
        return "runs; a peer is away", "yellow"
    return ("runs" if shot.ready is None else "runs and takes messages"), "green"


def tables(shot: Snapshot, before: Snapshot | None = None) -> Iterator[tuple[str, Table]]:
    """Yield the tables, each with its title; `before` gives rates."""
    yield "Log", Table(("", ""), list(_log_rows(shot)))
    waiting = [(one.party, one.precedence.name, one.count, span(one.oldest)) for one in shot.waiting[:_SHOWN]]
    more = sum(one.count for one in shot.waiting[_SHOWN:])
    rows: Sequence[Sequence[object]] = [*waiting, *([("others", "", more, "")] if more else [])]
    yield "Waiting", Table(("for", "precedence", "count", "oldest"), rows or [("nobody", "", 0, "")])
    if shot.peers:
        yield "Peers", Table(("relay", ""), [(name, "there" if ok else "AWAY") for name, ok in shot.peers.items()])
    if shot.counted:
        rates = _rates(shot, before)
        yield (
            "Since it started",
            Table(("", "count", "each second"), [(n, c, rates[n]) for n, c in shot.counted.items()]),
        )
    yield "Disks", Table(("", "free", "of"), [(v.name, size(v.free), size(v.size)) for v in shot.volumes])


def _log_rows(shot: Snapshot) -> Iterator[tuple[str, str]]:
    log = shot.log
    if log:
        yield "entries", str(log.entries)
        yield "signed", str(log.signed)
        age = "never" if log.age is None else f"{log.cosigned}, {span(log.age)} ago"
        yield "cosigned", age + (" LATE" if log.age is not None and log.age > _LATE else "")
    yield "last backup", "never" if shot.backup is None else f"{span((shot.at - shot.backup).total_seconds())} ago"


def _rates(shot: Snapshot, before: Snapshot | None) -> dict[str, str]:
    seconds = (shot.at - before.at).total_seconds() if before else 0.0
    if not before or seconds <= 0:
        return dict.fromkeys(shot.counted, "")
    grown = {name: count - before.counted.get(name, count) for name, count in shot.counted.items()}
    return {name: f"{max(0, one) / seconds:.1f}" for name, one in grown.items()}


def drawn(shot: Snapshot, before: Snapshot | None) -> RenderableType:
    """Return what a terminal shows; names are text and never markup."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table as Grid
    from rich.text import Text

    panels = []
    for title, table in tables(shot, before):
        grid = Grid(box=None, show_header=any(table.columns), header_style="bold", pad_edge=False)
        for heading in table.columns:
            grid.add_column(Text(heading))
        for row in table.rows:
            cells = [one_line(str(cell)) for cell in row]
            style = "red" if any(word in cell.split() for cell in cells for word in ("AWAY", "LATE", "FLASH")) else ""
            grid.add_row(*(Text(cell, style=style) for cell in cells))
        panels.append(Panel(grid, title=title, expand=False))
    words, colour = headline(shot)
    head = Text.assemble((f" {shot.name} ", "bold reverse"), " ", (words, colour), f"  {shot.at:%Y-%m-%d %H:%M:%S}Z")
    remarks = [Text(one_line(remark), style="yellow") for remark in shot.remarks]
    return Group(head, Columns(panels), *remarks, Text("Ctrl-C ends this; the relay goes on.", style="dim"))


def span(seconds: float) -> str:
    """Return a time span in a few characters."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """Return bytes in a few characters."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
