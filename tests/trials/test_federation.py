"""A small federation of processes that are killed at random: nothing lost, nothing twice, every end signed."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

import postgres
from federation.__main__ import federation
from federation.checking import check
from federation.journal import ACKNOWLEDGED, HANDED
from federation.world import Plan, World
from infoexchange.cli.output import Output


@pytest.mark.timeout(400)  # a dozen programs start, some of them several times, and all of it must drain
def test_a_federation_that_is_killed_at_random(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    plan = Plan(3, 6, 2, messages=100, seconds=6, calm=1.5, killers=1, witness_seconds=1, seed=seed, patience=300)
    out = Output("federation", as_json=True)
    found, world = federation(tmp_path, plan, out, postgres.store)
    assert found.faults == []
    assert found.figures["messages acknowledged"] >= 100
    assert found.figures["relays killed"] + found.figures["processes of agencies killed"] > 0
    assert found.ends["OPENED"] > 100
    # The checker finds what is wrong where something is.
    expected = spoilt(world)
    faults = check(world, out).faults
    for what, words in expected.items():
        assert [fault for fault in faults if re.search(words, fault)], what
    assert len(faults) == len(expected)


def spoilt(world: World) -> dict[str, str]:
    """Write into the journals what must never be; return it with the words of the faults it gives."""
    path = max(world.journals, key=lambda file: file.read_text().count(f'"{HANDED}"'))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    twice, changed, lost, *_ = [line for line in lines if line["kind"] == HANDED]
    ghost: dict[str, Any] = {"kind": ACKNOWLEDGED, "at": 0, "digest": "00" * 32, "to": [path.stem]}
    kept = [line for line in lines if line is not lost]
    changed["sha256"] = "00" * 32
    path.write_text("".join(json.dumps(line) + "\n" for line in [*kept, twice, ghost]))
    return {
        "twice": f"{twice['digest'][:16]} reached the application of .* 2 times",
        "changed": f"{changed['digest'][:16]} is not what was sent",
        "lost": f"{lost['digest'][:16]} for {path.stem}: OPENED is logged, and its application was not handed it",
        "ghost": f"{'00' * 8} was acknowledged .*, and no log has it",
    }
