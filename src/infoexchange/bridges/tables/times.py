"""Times: dates of which parts may be missing, in cells: 2026-02-03, 2026-02, 2026, 2026~, 2026-02/2026-04, unknown.

The forms are those of EDTF (ISO 8601-2) as far as PartialDate needs them: ~ stands for "about", / for "somewhere from
the one to the other".
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from infoexchange.bridges.tables.columns import Kind
from infoexchange.catalogue import DateKind, PartialDate

_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_UNKNOWN = "unknown"
_EXACT, _ABOUT = DateKind.DATE_KIND_EXACT, DateKind.DATE_KIND_APPROXIMATE
_BETWEEN, _NOTHING = DateKind.DATE_KIND_BETWEEN, DateKind.DATE_KIND_UNKNOWN


def to_partial(text: str) -> PartialDate | None:
    """Return the date a cell says, or None where it says none."""
    if text.lower() == _UNKNOWN:
        return PartialDate(kind=_NOTHING)
    first, between, second = text.partition("/")
    about = text.endswith("~") and not between
    start = _parts(first.removesuffix("~") if about else first)
    end = _parts(second) if between else (0, 0, 0)
    if start is None or end is None:
        return None
    kind = _BETWEEN if between else _ABOUT if about else _EXACT
    year, month, day = start
    return PartialDate(kind=kind, year=year, month=month, day=day, to_year=end[0], to_month=end[1], to_day=end[2])


def _parts(text: str) -> tuple[int, int, int] | None:
    found = _DATE.fullmatch(text)
    if not found:
        return None
    year, month, day = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    try:
        date(year, month if found[2] else 1, day if found[3] else 1)  # the calendar has it
    except ValueError:
        return None
    return year, month, day


def from_partial(when: PartialDate) -> str:
    """Return the cell of a date; nothing for one without a kind."""
    if when.kind == _NOTHING:
        return _UNKNOWN
    text = _text(when.year, when.month, when.day)
    if when.kind == _BETWEEN:
        return f"{text}/{_text(when.to_year, when.to_month, when.to_day)}"
    return f"{text}~" if when.kind == _ABOUT else text if when.kind == _EXACT else ""


def _text(year: int, month: int, day: int) -> str:
    return f"{year:04}" + (f"-{month:02}" if month else "") + (f"-{day:02}" if month and day else "")


def _read(record: Any, field: str, text: str) -> str:
    when = to_partial(text)
    if when is None:
        return "not a date such as 2026-02-03, 2026-02, 2026~ or unknown"
    getattr(record, field).CopyFrom(when)
    return ""


def _write(record: Any, field: str) -> str:
    return from_partial(getattr(record, field)) if record.HasField(field) else ""


DATE = Kind("date, or the part that is known", _read, _write)
