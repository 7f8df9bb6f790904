"""Words: dates, countries, numbers and the vocabularies that reading and writing FollowTheMoney share."""

from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime
from typing import Any

from infoexchange.catalogue import (
    DateKind,
    Decimal,
    Instant,
    Minor,
    PartialDate,
    Precision,
    SanctionsMeasure,
    codes,
)
from infoexchange.catalogue.marks import decimal_text

# ASCII digits only: a digit of another script would be read as something nobody sees in the file.
_DATE = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:[T ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.0+)?)?)?)?)?)?"
)
_DECIMAL = re.compile(r"(-?[0-9]{1,15})(?:\.([0-9]{1,3}))?")
_PRECISIONS = (
    Precision.PRECISION_YEAR,
    Precision.PRECISION_MONTH,
    Precision.PRECISION_DAY,
    Precision.PRECISION_HOUR,
    Precision.PRECISION_MINUTE,
    Precision.PRECISION_SECOND,
)
# How many characters of an ISO 8601 time say it to each precision.
_LENGTHS = dict(zip(_PRECISIONS, (4, 7, 10, 13, 16, 19), strict=True))
_EXACT_KINDS = frozenset({DateKind.DATE_KIND_EXACT, DateKind.DATE_KIND_APPROXIMATE})
_OF_AGE = 18

# Properties of people that belong to the sensitive categories; whoever needs them asks for them.
SENSITIVE = frozenset({"religion", "political", "ethnicity"})
# Where a word of a sanction's provisions says a measure of ours; searched in small letters.
MEASURES = {
    "asset": SanctionsMeasure.SANCTIONS_MEASURE_ASSET_FREEZE,
    "travel": SanctionsMeasure.SANCTIONS_MEASURE_TRAVEL_BAN,
    "arms": SanctionsMeasure.SANCTIONS_MEASURE_ARMS_EMBARGO,
}
MEASURE_TEXTS = {
    SanctionsMeasure.SANCTIONS_MEASURE_ASSET_FREEZE: "Asset freeze",
    SanctionsMeasure.SANCTIONS_MEASURE_TRAVEL_BAN: "Travel ban",
    SanctionsMeasure.SANCTIONS_MEASURE_ARMS_EMBARGO: "Arms embargo",
}
# Symbols of what a chain is used for most, beside the names of the list `crypto-chain`.
_SYMBOLS = {
    "btc": "BITCOIN", "xbt": "BITCOIN", "eth": "ETHEREUM", "trx": "TRON", "bnb": "BNB_SMART_CHAIN",
    "bsc": "BNB_SMART_CHAIN", "sol": "SOLANA", "ltc": "LITECOIN", "bch": "BITCOIN_CASH", "doge": "DOGECOIN",
    "xrp": "RIPPLE", "xmr": "MONERO", "matic": "POLYGON", "pol": "POLYGON",
}  # fmt: skip


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


def instant(text: str) -> Instant | None:
    """Return a point in time with its precision, or None where it is none. FollowTheMoney means UTC always."""
    found = _DATE.fullmatch(text)
    if not found:
        return None
    parts = [int(part) for part in found.groups() if part is not None]
    try:
        when = datetime(*[*parts, 1, 1][: max(len(parts), 3)], tzinfo=UTC)  # type: ignore[arg-type, misc]  # at most six
    except ValueError:
        return None
    made = Instant(precision=_PRECISIONS[len(parts) - 1])
    made.utc.FromDatetime(when)
    return made


def instant_text(value: Instant) -> str:
    """Return a point in time to its precision, to the second at most."""
    if not value.HasField("utc"):
        return ""
    whole = str(value.utc.ToJsonString())[:19]
    return whole[: _LENGTHS.get(value.precision, 19)]


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        return bool(date(year, month, day))
    except ValueError:
        return False


def decimal(text: str) -> Decimal | None:
    """Return a number with its stated precision, or None where it is none or too long."""
    found = _DECIMAL.fullmatch(text)
    if not found:
        return None
    after = found[2] or ""
    return Decimal(unscaled=int(found[1] + after), scale=len(after))


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


@functools.cache
def _chains() -> dict[str, str]:
    found = dict(_SYMBOLS)
    for row in codes.load("crypto-chain").rows.values():
        found |= {row["value"].lower(): row["value"], row["meaning"].lower(): row["value"]}
    return found


def chain(text: str) -> str:
    """Return the value of the list `crypto-chain` for a name or symbol, or nothing."""
    return _chains().get(text.strip().lower(), "")


def set_code(code: Any, system: str, value: str) -> None:
    """Set a code to a value of a packaged list."""
    code.system, code.version, code.value = system, codes.load(system).version, value
