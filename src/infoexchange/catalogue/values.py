"""Values: dates, numbers and countries of other formats as ours, and ours as texts.

What cannot be read is None or empty, never guessed: a bridge notes it and goes on.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime

from infoexchange.catalogue import Code, DateKind, Decimal, Minor, PartialDate, codes
from infoexchange.catalogue.marks import decimal_text

# Version of a code whose list is that of another country or year.
UNLISTED = "not listed here"
# ASCII digits only: a digit of another script would be read as something nobody sees in the file.
_DATE = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01])(?:[T ][0-9:.+Z-]*)?)?)?")
_DECIMAL = re.compile(r"(-?)([0-9]{1,18})(?:[.]([0-9]{1,18}))?")
_DIGITS_MAX = 18  # what 64 bits hold of any digits
_EXACT_KINDS = frozenset({DateKind.DATE_KIND_EXACT, DateKind.DATE_KIND_APPROXIMATE})
_OF_AGE = 18  # the Convention on the Rights of the Child


def partial_date(text: str) -> PartialDate | None:
    """Return a date of which parts may be missing, or None where it is none; a time of day is left out."""
    found = _DATE.fullmatch(text)
    if not found:
        return None
    year, month, day = (int(part or 0) for part in found.groups()[:3])
    if not _is_day(year, month or 1, day or 1):
        return None
    return PartialDate(kind=DateKind.DATE_KIND_EXACT, year=year, month=month, day=day)


def date_text(value: PartialDate) -> str:
    """Return a date as far as it is known, or nothing."""
    if value.kind not in _EXACT_KINDS or not value.year or value.year > 9999:
        return ""
    parts = [f"{value.year:04}", f"{value.month:02}", f"{value.day:02}"]
    return "-".join(parts[: 1 if not value.month else 2 if not value.day else 3])


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        return bool(date(year, month, day))
    except ValueError:
        return False


def decimal(text: str) -> Decimal | None:
    """Return a number with its stated precision, or None where it is none or too long."""
    found = _DECIMAL.fullmatch(text)
    after = (found[3] or "") if found else ""
    if not found or len(found[2] + after) > _DIGITS_MAX:
        return None
    return Decimal(unscaled=int(found[1] + found[2] + after), scale=len(after))


def number_text(value: Decimal) -> str:
    """Return a number as people write it."""
    return decimal_text(value.unscaled, value.scale)


def minor(birth: PartialDate, now: datetime) -> Minor.ValueType:
    """Return whether somebody is a minor at a time, as far as the date of birth tells."""
    today = now.astimezone(UTC)
    if birth.kind != DateKind.DATE_KIND_EXACT or not birth.year:
        return Minor.MINOR_UNKNOWN
    turned = (birth.year + _OF_AGE, birth.month or 12, birth.day or 31)
    at_earliest = (birth.year + _OF_AGE, birth.month or 1, birth.day or 1)
    if turned <= (today.year, today.month, today.day):
        return Minor.MINOR_NO
    return Minor.MINOR_YES if at_earliest > (today.year, today.month, today.day) else Minor.MINOR_UNKNOWN


def country(text: str) -> str:
    """Return the code of two letters, or nothing for what ISO 3166-1 does not have."""
    return text.upper() if codes.load("iso-3166-1").find(text) else ""


def alpha3(text: str) -> str:
    """Return the code of three letters for one of two, or nothing."""
    row = codes.load("iso-3166-1").find(text)
    return row["alpha3"] if row else ""


@functools.cache
def _alpha2() -> dict[str, str]:
    return {row["alpha3"]: row["value"] for row in codes.load("iso-3166-1").rows.values()}


def alpha2(text: str) -> str:
    """Return the code of two letters for one of three, or nothing."""
    return _alpha2().get(text, "")


def set_code(code: Code, system: str, value: str) -> bool:
    """Set a code to a value of a packaged list, or of a list that is not here; tell whether the list has it.

    Lists of this kind differ from country to country: a value of another one is kept, and its version says so.
    """
    known = codes.load(system) if system in codes.names() else None
    row = known.find(value) if known else None
    code.system, code.value = system, row["value"] if row else value
    code.version = known.version if known and row else UNLISTED
    return row is not None


def currency(text: str) -> str:
    """Return the code of a currency, or nothing for what ISO 4217 does not have, such as a coin on a chain."""
    return text if text.isupper() and codes.load("iso-4217").find(text) else ""


def is_packaged(system: str) -> bool:
    """Tell whether a code list is here at all."""
    return system in codes.names()
