"""Every attack of the table, in every suite: whoever meets it gives the answer that the table says."""

from __future__ import annotations

import functools

import pytest

from attacks import catalog
from attacks.scene import Scene, answer_of
from attacks.table import Attack
from conftest import EVERY_SUITE
from infoexchange.suites import Suite

ATTACKS = catalog.every()


@functools.cache
def scene_of(suite: Suite) -> Scene:
    return Scene(suite)


@pytest.fixture(params=EVERY_SUITE, ids=lambda suite: suite.name)
def scene(request: pytest.FixtureRequest) -> Scene:
    return scene_of(request.param)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_gets_the_answer_of_the_table(scene: Scene, attack: Attack) -> None:
    sizes = {name: node.ledger.size for name, node in scene.fresh.items()}
    for kind in attack.kinds:
        shown = attack.act(scene, scene.letters[kind])
        answers = {judge: answer_of(call) for judge, call in shown.items()}
        assert answers == attack.expected(kind), kind
    # What is common to all attacks stays as it was: nothing was logged, and the next one meets the same relays.
    assert sizes == {name: node.ledger.size for name, node in scene.fresh.items()}
    assert scene.exchange.clock() == scene.now
