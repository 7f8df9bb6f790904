"""Clocks: hours, working days, zones and holidays, and the file in which an agency sets its own."""

from __future__ import annotations

import random
import re
import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from infoexchange.errors import MalformedError, Reason
from infoexchange.flows import DEFAULT_CLOCKS, Clocks
from infoexchange.states import Precedence

FRIDAY = datetime(2026, 2, 6, 18, 30, tzinfo=UTC)
INDOCHINA = timezone(timedelta(hours=7))


def test_the_times_of_the_agreement() -> None:
    by = {p.name: DEFAULT_CLOCKS.acknowledge_by(p, FRIDAY) - FRIDAY for p in Precedence if p > Precedence.ROUTINE}
    assert by == {"FLASH": timedelta(minutes=15), "IMMEDIATE": timedelta(hours=1), "PRIORITY": timedelta(hours=24)}
    # Friday does not count, nor the weekend; the fifth day ends at midnight.
    assert DEFAULT_CLOCKS.acknowledge_by(Precedence.ROUTINE, FRIDAY) == datetime(2026, 2, 14, tzinfo=UTC)
    assert {DEFAULT_CLOCKS.answer_by(p, FRIDAY) - FRIDAY for p in Precedence} == {timedelta(days=30)}


@pytest.mark.parametrize(
    ("clocks", "due"),
    [
        # 18:30 in Greenwich on Friday is Saturday there: Monday is the first day all the same.
        (Clocks(zone=INDOCHINA), datetime(2026, 2, 13, 17, tzinfo=UTC)),
        (Clocks(holidays=frozenset({date(2026, 2, 10), date(2026, 2, 7)})), datetime(2026, 2, 17, tzinfo=UTC)),
        (Clocks(working=frozenset({0, 1, 2, 3, 5})), datetime(2026, 2, 13, tzinfo=UTC)),  # off on Friday and Sunday
        (Clocks(working=frozenset({6})), datetime(2026, 3, 9, tzinfo=UTC)),
    ],
)
def test_working_days_follow_the_calendar(clocks: Clocks, due: datetime) -> None:
    assert clocks.acknowledge_by(Precedence.ROUTINE, FRIDAY) == due


def test_a_clock_at_the_end_of_time_never_rings() -> None:
    last = datetime(9999, 12, 31, 23, tzinfo=UTC)
    for precedence in Precedence:
        assert DEFAULT_CLOCKS.acknowledge_by(precedence, last) >= last
        assert DEFAULT_CLOCKS.answer_by(precedence, last).year == 9999


def calendar(rng: random.Random) -> Clocks:
    return Clocks(
        working=frozenset(rng.sample(range(7), rng.randint(1, 7))),
        holidays=frozenset(FRIDAY.date() + timedelta(days=rng.randint(0, 60)) for _ in range(rng.randint(0, 20))),
        zone=timezone(timedelta(minutes=rng.randint(-720, 840))),
    )


def test_what_came_later_is_due_later_and_urgency_shortens() -> None:
    for seed in range(100):
        _check_order(random.Random(seed))  # one that fails shows its numbers


def _check_order(rng: random.Random) -> None:
    clocks, times = calendar(rng), sorted(FRIDAY + timedelta(minutes=rng.randint(0, 40 * 24 * 60)) for _ in range(5))
    for precedence in Precedence:
        for limit in (clocks.acknowledge_by, clocks.answer_by):
            dues = [limit(precedence, at) for at in times]
            assert dues == sorted(dues)
            assert all(at < due for at, due in zip(times, dues, strict=True))
    hours = [clocks.acknowledge_by(precedence, times[0]) for precedence in list(Precedence)[:0:-1]]
    assert hours == sorted(hours)
    longer = replace(clocks, holidays=clocks.holidays | {times[0].date() + timedelta(days=rng.randint(1, 9))})
    assert clocks.acknowledge_by(Precedence.ROUTINE, times[0]) <= longer.acknowledge_by(Precedence.ROUTINE, times[0])


def test_a_file_changes_what_it_names_and_nothing_else() -> None:
    clocks = Clocks.read(
        tomllib.loads("""
            zone = "+07:00"
            working_days = ["MON", "TUE", "WED", "THU", "SAT"]
            holidays = [2026-04-14, 2026-04-15]
            reports_from = "PRIORITY"
            [acknowledge]
            FLASH = "5 minutes"
            ROUTINE = "3 working days"
            [answer]
            PRIORITY = "72 hours"
            IMMEDIATE = "1 day"
        """)
    )
    at = datetime(2026, 4, 13, 1, tzinfo=UTC)
    assert clocks.acknowledge_by(Precedence.FLASH, at) - at == timedelta(minutes=5)
    assert clocks.acknowledge_by(Precedence.PRIORITY, at) - at == timedelta(hours=24)
    assert clocks.acknowledge_by(Precedence.ROUTINE, at) == datetime(2026, 4, 20, 17, tzinfo=UTC)
    assert clocks.answer_by(Precedence.PRIORITY, at) - at == timedelta(days=3)
    assert clocks.answer_by(Precedence.IMMEDIATE, at) - at == timedelta(days=1)
    assert clocks.reports_from is Precedence.PRIORITY
    assert Clocks.read({}) == DEFAULT_CLOCKS
    assert Clocks.read({"zone": "-03:30"}).zone.utcoffset(None) == -timedelta(hours=3, minutes=30)


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ('zones = "+07:00"', "zones"),
        ('zone = "Asia/Bangkok"', "zone"),
        ('zone = "+7:00"', "zone"),
        ("zone = 7", "zone"),
        ("working_days = []", "working_days"),
        ('working_days = ["Monday"]', "working_days"),
        ('working_days = "MON"', "working_days"),
        ('holidays = ["2026-04-14"]', "holidays"),
        ("holidays = [2026-04-14T00:00:00Z]", "holidays"),
        ("holidays = 2026-04-14", "holidays"),
        ('reports_from = "URGENT"', "reports_from"),
        ("reports_from = 3", "reports_from"),
        ("reports_from = [1]", "reports_from"),
        ("answer = 30", "answer"),
        ('[answer]\nSLOW = "30 days"', "answer"),
        ('[acknowledge]\nFLASH = "0 minutes"', "acknowledge.FLASH"),
        ('[acknowledge]\nFLASH = "soon"', "acknowledge.FLASH"),
        ("[acknowledge]\nFLASH = 15", "acknowledge.FLASH"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_name(setting: str, field: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Clocks.read(tomllib.loads(setting))
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, f"clocks.{field}")
    assert caught.value.next_step


def test_the_example_of_the_readme_is_read() -> None:
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    clocks = Clocks.read(tomllib.loads(block))
    assert clocks.acknowledge_by(Precedence.FLASH, FRIDAY) - FRIDAY == timedelta(minutes=10)
    assert clocks.answer_by(Precedence.IMMEDIATE, FRIDAY) - FRIDAY == timedelta(days=3)
