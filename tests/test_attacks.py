"""Every attack of the table: whoever meets it gives the answer that the table says.

In the default suite and in one of the others, in turn; `make attacks` shows each attack to all suites.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Sequence

import pytest

from attacks import catalog, page
from attacks.scene import Scene, answer_of
from attacks.table import HARMLESS, LIMITS, PASSES, Adversary, Attack, Judge, Kind, Note
from conftest import EVERY_SUITE
from infoexchange.errors import Reason
from infoexchange.suites import DEFAULT_SUITE, Suite

ATTACKS = catalog.every()
EVERYWHERE = bool(os.environ.get("INFOEXCHANGE_ATTACKS_IN_EVERY_SUITE"))


@functools.cache
def scene_of(suite: Suite) -> Scene:
    return Scene(suite)


def in_suites(cases: Sequence[Attack | Note]) -> pytest.MarkDecorator:
    """Each case in the suites that it is tried in."""
    others = [suite for suite in EVERY_SUITE if suite is not DEFAULT_SUITE]
    pairs = [
        (suite, case)
        for suite in EVERY_SUITE
        for place, case in enumerate(cases)
        if EVERYWHERE or suite in (DEFAULT_SUITE, others[place % len(others)])
    ]
    return pytest.mark.parametrize(("suite", "case"), pairs, ids=[f"{suite.name}-{case.name}" for suite, case in pairs])


@in_suites(ATTACKS)
def test_an_attack_gets_the_answer_of_the_table(suite: Suite, case: Attack) -> None:
    scene, attack = scene_of(suite), case
    sizes = {name: node.ledger.size for name, node in scene.fresh.items()}
    for kind in attack.kinds:
        shown = attack.act(scene, scene.letters[kind])
        answers = {judge: answer_of(call) for judge, call in shown.items()}
        assert answers == attack.expected(kind), kind
    # What is common to all attacks stays as it was: nothing was logged, and the next one meets the same relays.
    assert sizes == {name: node.ledger.size for name, node in scene.fresh.items()}
    assert scene.exchange.clock() == scene.now


@in_suites([*HARMLESS, *LIMITS])
def test_what_is_not_refused_is_as_the_page_says(suite: Suite, case: Note) -> None:
    scene = scene_of(suite)
    for kind in case.kinds:
        case.check(scene, scene.letters[kind])


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
