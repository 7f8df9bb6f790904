"""Validation cost: what checking each type's example costs after the first time, and which parts are slow.

Writes docs/validation-cost.md, with the machine it was measured on. Figures are the best of several runs, because
other work on a machine only ever adds to them. No test compares them: they say something about this machine only.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from infoexchange import catalogue
from infoexchange.catalogue import examples, rules, schema

PAGE = Path(__file__).resolve().parent.parent / "docs" / "validation-cost.md"
LIMIT = 300  # microseconds; above it the slow parts are named
_RUNS = 200
_HEAD = """# What validation costs

Made by `python tools/validation_cost.py` on {machine}, Python {python}: microseconds for the rules of each message
type's example after the first time, best of {runs}. The first message of a process costs about a hundred
milliseconds more, and the first of a type some milliseconds: the rule engine is loaded and the rules are compiled.

{above} of {count} types are above {limit} microseconds; the middle one takes {middle}.

| type | bytes | microseconds |
|---|---|---|
"""


def cost(run: Callable[[], Any]) -> float:
    """Return the microseconds one run takes at best."""
    run()
    found = []
    for _ in range(_RUNS):
        begin = time.thread_time()
        run()
        found.append(time.thread_time() - begin)
    return min(found) * 1e6


def parts(record: Any) -> Iterator[Any]:
    """Yield every part below a record that has rules of its own."""
    for field, value in record.ListFields():
        if schema.is_ours(field):
            for one in value if field.is_repeated else (value,):
                yield one
                yield from parts(one)


def slow_parts(message: Any) -> str:
    """Return the kinds of parts that cost most, each alone: a part contains those below it."""
    found: dict[str, float] = {}
    for part in parts(message):
        name = part.DESCRIPTOR.name
        found[name] = found.get(name, 0) + cost(lambda part=part: rules.violations(part))  # type: ignore[misc]
    slowest = sorted(found.items(), key=lambda row: -row[1])[:4]
    return ", ".join(f"{name} {microseconds:.0f}" for name, microseconds in slowest)


def page() -> str:
    """Return the page."""
    measured = []
    for cls in catalogue.schemas().values():
        message = examples.message(cls.DESCRIPTOR.name)
        measured.append((cost(lambda message=message: rules.violations(message)), message))  # type: ignore[misc]
    measured.sort(key=lambda row: -row[0])
    slow = [row for row in measured if row[0] > LIMIT]
    text = _HEAD.format(
        machine=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        runs=_RUNS,
        above=len(slow) or "None",
        count=len(measured),
        limit=LIMIT,
        middle=f"{measured[len(measured) // 2][0]:.0f}",
    )
    text += "".join(f"| {m.DESCRIPTOR.name} | {m.ByteSize()} | {microseconds:.0f} |\n" for microseconds, m in measured)
    # Of the slowest the parts are named in any case, so that whoever adds rules sees where time goes.
    text += "\nWhere the time of the slowest goes, part by part with what stands below it:\n\n"
    return text + "".join(f"- {m.DESCRIPTOR.name}: {slow_parts(m)}\n" for _, m in measured[:3])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}", file=sys.stderr)
