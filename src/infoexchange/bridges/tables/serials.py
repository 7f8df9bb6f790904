"""Serials: numbers of a spreadsheet as text: as short as the number allows, and dates where the format says so.

A spreadsheet keeps a date as a number of days, and only the format of its cell tells that from any other number.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from decimal import Decimal

_PLAIN = re.compile(r"-?[0-9]{1,18}")
# What in a format is no letter of a date: quoted text, escaped characters, colours and conditions, but not [h].
_SILENT = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]{0,60}\]')
_FORMAT_MAX = 255  # the longest that Excel takes
_DATE_LETTERS = re.compile(r"[ymdhs]")
# Formats that have a number instead of words, ECMA-376 part 1, 18.8.30.
_BUILT_IN = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
# Day 0; the year 1900 counts a 29 February that never was, so real dates begin with 1 March.
_SINCE_1900, _SINCE_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)  # noqa: DTZ001  a sheet knows no zones
_REAL_FROM, _REAL_TO = 61, 2958466  # 1900-03-01 to 9999-12-31
_SECONDS = 86400


def is_date(number: int, words: str | None) -> bool:
    """Tell whether a format shows a number as a date or a time.

    Args:
        number: The format's number.
        words: What the file says the format is; None where it is built in.
    """
    if words is None:
        return number in _BUILT_IN
    first = words[:_FORMAT_MAX].split(";", 1)[0].lower()
    return bool(_DATE_LETTERS.search(_SILENT.sub("", first))) and "general" not in first


def number(text: str) -> str:
    """Return a number as short as it can be written without another meaning; other text as it is."""
    if _PLAIN.fullmatch(text):
        return text
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value):
        return text
    if value.is_integer() and abs(value) < 10**15:
        return str(int(value))
    short = repr(value)
    return format(Decimal(short), "f") if "e" in short else short


def moment(text: str, *, since_1904: bool) -> str:
    """Return what a number means as date, time, or both: 2026-02-03, 04:10, 2026-02-03T04:10."""
    try:
        serial = float(text)
    except ValueError:
        return text
    if since_1904 and math.isfinite(serial):
        serial += (_SINCE_1904 - _SINCE_1900).days if serial >= 1 else 0
    if 0 <= serial < 1:
        return _clock(round(serial * _SECONDS))
    if not _REAL_FROM <= serial < _REAL_TO:
        return number(text)
    day, seconds = divmod(round(serial * _SECONDS), _SECONDS)
    date = f"{_SINCE_1900 + timedelta(days=day):%Y-%m-%d}"
    return f"{date}T{_clock(seconds)}" if seconds else date


def _clock(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
