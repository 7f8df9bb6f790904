"""Clocks: by when a message is to be acknowledged and answered, by its precedence.

They run from the moment the sender signed into the message, so that both sides find the same time, and an agency that
does not look does not stop them. Hours run day and night: desks for urgent matters are staffed so. Working days are
those of a calendar with a zone: the day of arrival does not count, and the last one ends at midnight there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import NamedTuple

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.states import Precedence

# Implementation constants
_WEEK = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_SETTINGS = frozenset({"acknowledge", "answer", "reports_from", "working_days", "holidays", "zone"})
_SPAN = re.compile(r"([1-9]\d{0,3}) (minutes?|hours?|days?|working days?)")
_ZONE = re.compile(r"([+-])([01]\d):([0-5]\d)")
_EXAMPLE = '"15 minutes", "1 hour", "30 days" or "5 working days"'


class WorkingDays(NamedTuple):
    """A number of working days."""

    days: int


Limit = timedelta | WorkingDays

# Specification constants
ACKNOWLEDGE: Mapping[Precedence, Limit] = MappingProxyType(
    {
        Precedence.FLASH: timedelta(minutes=15),  # lives, or the first hours of a stopped payment
        Precedence.IMMEDIATE: timedelta(hours=1),  # desks that are staffed day and night
        Precedence.PRIORITY: timedelta(hours=24),  # the next day, whatever the zone
        Precedence.ROUTINE: WorkingDays(5),  # a week in which somebody is at the desk
    }
)
ANSWER: Mapping[Precedence, Limit] = MappingProxyType(
    # One for all: who needs an answer sooner says so in the request, with a reason.
    dict.fromkeys(Precedence, timedelta(days=30))
)


@dataclass(frozen=True)
class Clocks:
    """What an agency counts with; each may have its own.

    Attributes:
        acknowledge: Until a message is to be acknowledged.
        answer: Until a request is to be answered that states no time itself.
        reports_from: Reports, which ask for no answer, are to be acknowledged from this precedence on.
        working: Days of the week on which is worked: 0 is Monday.
        holidays: Days off besides.
        zone: In which days begin and end.
    """

    acknowledge: Mapping[Precedence, Limit] = field(default_factory=lambda: ACKNOWLEDGE)
    answer: Mapping[Precedence, Limit] = field(default_factory=lambda: ANSWER)
    reports_from: Precedence = Precedence.IMMEDIATE
    working: frozenset[int] = frozenset(range(5))
    holidays: frozenset[date] = frozenset()
    zone: tzinfo = UTC

    @classmethod
    def read(cls, table: Mapping[str, object]) -> Clocks:
        """Return the clocks of a table, as a TOML file gives it; what is left out is as by default.

        Raises:
            MalformedError: `BAD_FIELD`, naming the setting.
        """
        for name in table.keys() - _SETTINGS:
            raise _wrong(name, "there is no such setting", f"Use {', '.join(sorted(_SETTINGS))}.")
        usual = DEFAULT_CLOCKS
        return cls(
            acknowledge={**usual.acknowledge, **_limits("acknowledge", table.get("acknowledge", {}))},
            answer={**usual.answer, **_limits("answer", table.get("answer", {}))},
            reports_from=_precedence("reports_from", table.get("reports_from", usual.reports_from.name)),
            working=_working("working_days", table.get("working_days", list(_WEEK[:5]))),
            holidays=_holidays("holidays", table.get("holidays", [])),
            zone=_zone("zone", table.get("zone", "+00:00")),
        )

    def acknowledge_by(self, precedence: Precedence, at: datetime) -> datetime:
        """Return by when a message made at some time is to be acknowledged."""
        return self._after(at, self.acknowledge[precedence])

    def answer_by(self, precedence: Precedence, at: datetime) -> datetime:
        """Return by when a request made at some time is to be answered."""
        return self._after(at, self.answer[precedence])

    def _after(self, at: datetime, limit: Limit) -> datetime:
        try:
            return at + limit if isinstance(limit, timedelta) else self._working(at, limit.days)
        except OverflowError:  # a clock at the end of time never rings
            return datetime.max.replace(tzinfo=UTC)

    def _working(self, at: datetime, days: int) -> datetime:
        day = at.astimezone(self.zone).date()
        while days:
            day += timedelta(days=1)
            days -= day.weekday() in self.working and day not in self.holidays
        midnight = datetime.combine(day + timedelta(days=1), time(), tzinfo=self.zone)
        return midnight.astimezone(UTC)


DEFAULT_CLOCKS = Clocks()


def _wrong(name: str, detail: str, next_step: str) -> ExchangeError:
    return error(Reason.BAD_FIELD, field=f"clocks.{name}", detail=detail, next_step=next_step)


def _limits(name: str, value: object) -> dict[Precedence, Limit]:
    if not isinstance(value, Mapping):
        raise _wrong(name, "not a table", f"Write [{name}], and below it a line such as FLASH = {_EXAMPLE[:12]}.")
    return {_precedence(name, word): _limit(f"{name}.{word}", span) for word, span in value.items()}


def _limit(name: str, value: object) -> Limit:
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise _wrong(name, f"{value!r} is no span of time", f"Write {_EXAMPLE}.")
    count, unit = int(found[1]), found[2].removesuffix("s")
    spans = {"minute": timedelta(minutes=count), "hour": timedelta(hours=count), "day": timedelta(days=count)}
    return spans.get(unit, WorkingDays(count))


def _precedence(name: str, value: object) -> Precedence:
    if not isinstance(value, str) or value not in Precedence.__members__:
        raise _wrong(name, f"{value!r} is no precedence", f"Use {', '.join(Precedence.__members__)}.")
    return Precedence[value]


def _working(name: str, value: object) -> frozenset[int]:
    if not isinstance(value, list) or not value or not all(day in _WEEK for day in value):
        raise _wrong(name, "not a list of days", f"Use {', '.join(_WEEK)}, at least one.")
    return frozenset(map(_WEEK.index, value))


def _holidays(name: str, value: object) -> frozenset[date]:
    if not isinstance(value, list) or not all(type(day) is date for day in value):
        raise _wrong(name, "not a list of dates", "Write dates such as 2027-01-01, without quotation marks.")
    return frozenset(value)


def _zone(name: str, value: object) -> tzinfo:
    found = _ZONE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        step = 'Write hours and minutes from UTC, such as "+07:00"; no state of the region changes its clocks.'
        raise _wrong(name, f"{value!r} is no zone", step)
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-offset if found[1] == "-" else offset)
