"""Eleven national logs: every attack by one to f relays is noticed by every honest auditor, and honest ones pass."""

from __future__ import annotations

import random

import pytest

from lies import ATTACKS, Campaign, Proof
from region import LIARS_MAX, NATIONS, OTHERS, QUORUM


def test_the_region_is_that_of_the_rule() -> None:
    assert (len(NATIONS), OTHERS, QUORUM, LIARS_MAX) == (11, 10, 7, 3)


@pytest.mark.parametrize("liars", range(1, LIARS_MAX + 1))
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_every_attack_is_noticed_by_every_honest_auditor(attack, liars: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    found = Campaign(attack, liars, seed).run()
    assert found.undetected() == []
    assert found.slandered() == []
    if ATTACKS[attack] is Proof.ALWAYS:
        assert found.unproven() == []
    else:
        assert len(found.unproven()) == liars
    assert found.accused()
