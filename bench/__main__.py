"""`python -m bench`: measure, then print a table or JSON. Nothing here ever fails because it was slow."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import messages, network, primitives, proof, relay, tables
from bench.measure import QUICK, WHOLE, Effort, Result, Step

PARTS = {
    "message": messages.measure,
    "proof": proof.measure,
    "relay": relay.measure,
    "network": network.measure,
    "table": tables.measure,
}


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than 15 seconds; the numbers scatter more")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="measure this part; may be repeated")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _steps(console: Console) -> Iterator[Step]:
    """Give what shows progress: a moving line on a terminal, a line for each step in a file."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        @contextlib.contextmanager
        def step(what: str) -> Iterator[None]:
            task = progress.add_task(what, total=1)
            start = time.perf_counter()
            yield
            progress.update(task, completed=1)
            if not console.is_terminal:
                console.print(f"{what}: {time.perf_counter() - start:.1f} s", highlight=False)

        yield step


def _run(effort: Effort, parts: Sequence[str], step: Step) -> list[Result]:
    costs, rows = primitives.measure(effort, step)
    for part in parts:
        rows += PARTS[part](effort, costs, step)
    return rows


def _machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "machine": platform.machine(),
        "cryptography": importlib.metadata.version("cryptography"),
        "infoexchange": importlib.metadata.version("infoexchange"),
    }


def _table(rows: Sequence[Result]) -> Table:
    title = ", ".join(f"{name} {value}" for name, value in _machine().items())
    table = Table(title=title, caption="ratio: times what the primitives alone take, measured in the same run")
    for name in ("", ""):
        table.add_column(name)
    for name in ("one takes", "a second", "ratio"):
        table.add_column(name, justify="right")
    last = ""
    for row in rows:
        if last and row.group != last:
            table.add_section()
        group, last = ("" if row.group == last else row.group), row.group
        ratio = f"{row.ratio:.1f}" if row.ratio else ""
        table.add_row(group, row.name, f"{row.seconds * 1e6:,.0f} µs", f"{1 / row.seconds:,.0f}", ratio)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    chosen = _arguments(arguments)
    with _steps(Console(stderr=True)) as step:
        start = time.perf_counter()
        rows = _run(QUICK if chosen.quick else WHOLE, chosen.only or list(PARTS), step)
        taken = time.perf_counter() - start
    if chosen.json:
        print(json.dumps({"machine": _machine(), "seconds": taken, "rows": [r.to_json() for r in rows]}, indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
