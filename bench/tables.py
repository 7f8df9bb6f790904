"""Tables: rows a second from a file to messages, with and without the rules, and back, on one core."""

from __future__ import annotations

import csv
from datetime import UTC, datetime

from bench.measure import Effort, Result, Step
from bench.primitives import Costs
from infoexchange import bridges, catalogue
from infoexchange.catalogue import examples, rules

_ROWS = 400  # of which each differs from the others, as in a real table
_NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _table() -> bytes:
    """Return a table of attacks on ships, made from the rows of the example."""
    head, *rows = csv.reader(examples.read("piracy.csv").decode().splitlines(keepends=True))
    ship = head.index("vessel_name")
    found = [
        head,
        *([*row[:ship], f"{row[ship]} {n}", *row[ship + 1 :]] for n in range(_ROWS // 8) for row in rows[:8]),
    ]
    handling = _handling()
    lines = [",".join(f'"{cell}"' for cell in row) for row in found]
    # Through the bridge, so that the file looks as one that was exported.
    piracy = bridges.find("piracy")
    return piracy.write(piracy.read("\n".join(lines).encode(), handling, now=_NOW), now=_NOW)


def _handling() -> catalogue.Handling:
    return catalogue.Handling(
        op_status=catalogue.OP_STATUS_EXERCISE,
        precedence=catalogue.PRECEDENCE_ROUTINE,
        tlp=catalogue.TLP_AMBER,
        onward_transfer=catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
        purpose="measurement",
        domain=catalogue.DOMAIN_PIRACY,
    )


def measure(effort: Effort, costs: Costs, step: Step) -> list[Result]:
    """Return the rows; one is one row of a table."""
    handling, rows = _handling(), []
    data = {"piracy": _table()}
    messages = list(bridges.find("piracy").read(data["piracy"], handling, now=_NOW))
    data["piracy-xlsx"] = bridges.find("piracy-xlsx").write(messages, now=_NOW)
    for name, raw in data.items():
        bridge = bridges.find(name)

        def imported(bridge: bridges.Format = bridge, raw: bytes = raw) -> list[object]:
            return list(bridge.read(raw, handling, now=_NOW))

        def exported(bridge: bridges.Format = bridge) -> bytes:
            return bridge.write(messages, now=_NOW)

        with step(f"read and write {name}"):
            rows.append(Result("table", f"import a row of {name}, no rules", effort.time(imported) / len(messages)))
            rows.append(Result("table", f"export a row of {name}", effort.time(exported) / len(messages)))
    with step("check the rules"):
        seconds = effort.time(lambda: [rules.check(message) for message in messages]) / len(messages)
    rows.append(Result("table", "check the rules of a row of piracy", seconds))
    return rows
