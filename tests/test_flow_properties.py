"""Flows, whatever happens: no step is lost, no order matters, what does not fit changes nothing."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import timedelta

from flowing import ASKED, ASKER, MONDAY, OTHER, REPLY, REQUEST, named
from infoexchange.flows import DEFAULT_CLOCKS, Following, Kind, Said, State, Step, follow
from infoexchange.states import OpStatus, Precedence

AGENCIES = (ASKER, ASKED, OTHER)
TYPES = (REQUEST, REPLY, "OfficerAcknowledgement", "Correction", "Recall", "Feedback", "FirearmTraceRequest")
NAMES = [named(f"step {number}") for number in range(8)]


def history(rng: random.Random) -> list[Step]:
    """Anything that agencies could send, sense or nonsense, each referring to whatever it likes, itself included."""
    found = []
    for number, digest in enumerate(rng.sample(NAMES, rng.randint(1, len(NAMES)))):
        said = Said(
            schema=rng.choice(TYPES),
            kind=rng.choice(list(Kind)),
            asks=rng.random() < 0.5,
            op_status=OpStatus.TEST,
            precedence=rng.choice(list(Precedence)),
            about=tuple(rng.sample(NAMES, rng.randint(0, 2))),
            respond_by=rng.choice([None, MONDAY + timedelta(hours=rng.randint(0, 10**4))]),
        )
        one = Step(
            digest=digest,
            sender=rng.choice(AGENCIES),
            recipients=tuple(rng.sample(AGENCIES, rng.randint(0, 3))),
            at=MONDAY + timedelta(minutes=rng.randint(0, 5)),
            sequence=number,
            in_reply_to=rng.choice([b"", rng.choice(NAMES)]),
            said=said,
        )
        found.append(one)
    return sense(found) if rng.random() < 0.5 else found


def sense(history: list[Step]) -> list[Step]:
    """The same with requests and answers where chance has put anything, so that more of it fits together."""
    root = replace(history[0], sender=ASKER, recipients=(ASKED, OTHER))
    root = replace(root, said=replace(root.said, schema=REQUEST, asks=True, kind=Kind.TELLS, about=()))
    rest = [
        replace(one, said=replace(one.said, schema=REPLY, asks=False, about=(root.digest,)))
        if one.sender != ASKER and one.said.kind.answers
        else one
        for one in history[1:]
    ]
    return [root, *rest]


def everything(found: Following) -> list[Step]:
    return [*(t.root for t in found.threads), *itertools.chain(*(t.steps for t in found.threads)),
            *(one for one, _ in found.loose)]  # fmt: skip


# Each test sees the same histories each time; one that fails names its number.
SEEDS = range(200)


def test_nothing_is_lost() -> None:
    for seed in SEEDS:
        steps = history(random.Random(seed))
        for agency in AGENCIES:
            found = follow(steps, agency)
            assert {one.digest for one in everything(found)} == {one.digest for one in steps}, seed
            assert set(found.objections) <= {one.digest for one in steps}, seed


def test_neither_order_nor_repetition_matters() -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        steps = history(rng)
        agency, again = rng.choice(AGENCIES), [*steps, *rng.choices(steps, k=3)]
        rng.shuffle(again)
        assert follow(again, agency) == follow(steps, agency), seed


def test_what_does_not_fit_changes_no_state() -> None:
    seen = 0
    for seed in SEEDS:
        for thread in follow(history(random.Random(seed)), ASKER).threads:
            strange = {one.digest for one, _ in thread.unexpected}
            seen += len(strange)
            fitting = [one for one in thread.steps if one.digest not in strange]
            without = type(thread).run(thread.root, thread.peer, fitting)
            same = (without.state, without.level, without.since) == (thread.state, thread.level, thread.since)
            assert same, seed
    assert seen


def test_what_is_late_stays_late() -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        found, hours = follow(history(rng), rng.choice(AGENCIES)), sorted(rng.choices(range(3000), k=3))
        late = [
            {(t.root.digest, t.peer) for t in found.overdue(MONDAY + timedelta(hours=hour), DEFAULT_CLOCKS)}
            for hour in hours
        ]
        assert all(before <= after for before, after in itertools.pairwise(late)), seed
        for thread in found.threads:
            dues = thread.dues(DEFAULT_CLOCKS)
            assert [due.at for due in dues] == sorted(due.at for due in dues), seed
            assert {due.who for due in dues} <= {thread.root.sender, thread.peer}, seed
            assert not (thread.state.ended and dues), seed


def test_both_sides_see_the_same() -> None:
    """Who asked and who was asked agree on every thread between them, if each has all of it."""
    moved = 0
    for seed in SEEDS:
        steps = history(random.Random(seed))
        ours = {t.root.digest: t for t in follow(steps, ASKER).threads if t.root.sender == ASKER and t.peer == ASKED}
        theirs = {t.root.digest: t for t in follow(steps, ASKED).threads if t.root.sender == ASKER}
        assert ours.keys() == theirs.keys(), seed
        for digest, thread in ours.items():
            moved += thread.state not in (State.ASKED, State.REPORTED)
            assert (thread.state, thread.since) == (theirs[digest].state, theirs[digest].since), seed
    assert moved


def test_a_long_chain_costs_no_more_than_its_length() -> None:
    """A sender that corrects its correction a thousand times slows nobody down and stops nothing."""
    chain = [_link(number) for number in range(1500)]
    found = follow(chain, ASKED)
    assert sum(len(thread.steps) for thread in found.threads) <= 2 * len(chain)


def _link(number: int) -> Step:
    kind = {"schema": "Correction", "kind": Kind.CORRECTS, "about": (named(f"{number - 1}"),)}
    root = {"schema": REQUEST, "asks": True}
    said = Said(op_status=OpStatus.TEST, **(kind if number else root))  # type: ignore[arg-type]
    return Step(digest=named(f"{number}"), sender=ASKER, recipients=(ASKED,), at=MONDAY, sequence=number, said=said)
