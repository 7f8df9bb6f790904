"""Eleven national logs: every attack by one to f relays is noticed by every honest auditor, and honest ones pass."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import pytest

import histories
from infoexchange.verdict import Verdict
from lies import ATTACKS, Campaign, faults, fork
from region import LIARS_MAX, NATIONS, OTHERS, QUORUM, National, Region

HISTORIES = 32  # half of them with every line up; `make histories` runs ten thousand


def test_the_region_is_that_of_the_rule() -> None:
    assert (len(NATIONS), OTHERS, QUORUM, LIARS_MAX) == (11, 10, 7, 3)


@pytest.mark.parametrize("liars", range(1, LIARS_MAX + 1))
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_every_attack_is_noticed_by_every_honest_auditor(
    attack: Callable[[National, Region], None], liars: int
) -> None:
    seed = zlib.crc32(f"{attack.__name__} {liars}".encode())  # the same in each run; others: `make histories`
    silent = bool(seed % 2)
    print("seed", seed, "silent", silent)
    assert faults(Campaign(attack, liars, seed, silent).run()) == []


def test_what_only_a_refused_checkpoint_shows_is_noticed_too() -> None:
    """One auditor is shown what all honest witnesses are, and learns of the rest from what others refused."""
    campaign = Campaign(fork, 3, seed=1196554885, silent=True).run()
    assert {relay.views["alpha"] for relay in campaign.attackers} == {0, 1}
    assert faults(campaign) == []


@pytest.mark.parametrize("part", range(4))
def test_honest_histories_give_no_false_alarm(part: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    for place in range(0, HISTORIES // 4, 2):
        assert histories.run(seed + place) == [], seed + place


def test_the_histories_reach_every_check() -> None:
    """Otherwise no alarm would mean nothing."""
    passed, kinds = set(), set()
    for seed in range(1, 6):
        for auditor in histories.rough(seed).auditors:
            kinds |= {check.reason for _, check in auditor.found if check.verdict is Verdict.INDETERMINATE}
            passed |= {len(known.notes) for known in auditor.known.values()}
    assert {"unavailable", "too_few_witnesses", "stale"} <= kinds
    assert max(passed) > 3
