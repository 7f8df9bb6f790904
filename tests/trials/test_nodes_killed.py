"""Nodes of one relay as processes: one is killed and another goes on; nothing is lost and nothing comes twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import postgres
from infoexchange_relay.stores import open_store
from node_trial import Trial

pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")


@pytest.mark.parametrize("count", [2, 3])
def test_a_killed_node_loses_nothing(tmp_path: Path, count: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    with postgres.running() as server:
        address = server.address()
        trial = Trial(tmp_path / "exchange", address, count, seed)
        seen = trial.run(6)
        with open_store(address) as store:
            assert len(store.leaves(0, 10_000)) == store.head().size
    assert seen.kills
    assert seen.acknowledged
    assert trial.lost() == set()
    assert trial.doubled() == 0
