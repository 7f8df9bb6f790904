"""Every attack of the table, in every suite: whoever meets it gives the answer that the table says."""

from __future__ import annotations

import functools
from collections import Counter

import pytest

from attacks import catalog, page
from attacks.scene import Scene, answer_of
from attacks.table import HARMLESS, LIMITS, PASSES, Adversary, Attack, Judge, Kind, Note
from conftest import EVERY_SUITE
from infoexchange.errors import Reason
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


@pytest.mark.parametrize("note", [*HARMLESS, *LIMITS], ids=lambda note: note.name)
def test_what_is_not_refused_is_as_the_page_says(scene: Scene, note: Note) -> None:
    for kind in note.kinds:
        note.check(scene, scene.letters[kind])


def test_there_are_enough_and_each_is_one() -> None:
    count = Counter(attack.adversary for attack in ATTACKS)
    assert count[Adversary.RELAY] >= 40
    assert count[Adversary.AGENCY] >= 30
    assert count[Adversary.FELLOW] >= 20
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names)
    assert all(len(attack.words) > 40 for attack in ATTACKS)


def test_every_attack_is_stopped_by_somebody() -> None:
    for attack in ATTACKS:
        assert set(attack.answers.values()) != {PASSES}, attack.name


def test_every_kind_every_judge_and_every_reason_that_attacks_can_have_occurs() -> None:
    assert {kind for attack in ATTACKS for kind in attack.kinds} == set(Kind)
    assert {judge for attack in ATTACKS for judge in attack.answers} == set(Judge)
    found = {answer for attack in ATTACKS for kind in attack.kinds for answer in attack.expected(kind).values()}
    # Left are a mark lost in another format, which no envelope shows, and a relay that has too much to do.
    assert set(Reason) - found == {Reason.MARK_LOST, Reason.OVERLOADED}


def test_the_page_is_fresh() -> None:
    hint = "run `python -m attacks.page` in tests/, with src on PYTHONPATH"
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), hint
