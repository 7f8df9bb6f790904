"""Words: points in time and the vocabularies that reading and writing FollowTheMoney share."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime

from infoexchange.catalogue import Instant, Precision, SanctionsMeasure, codes

# ASCII digits only: a digit of another script would be read as something nobody sees in the file.
_TIME = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:[T ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.0+)?)?)?)?)?)?"
)
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


def instant(text: str) -> Instant | None:
    """Return a point in time with its precision, or None where it is none. FollowTheMoney means UTC always."""
    found = _TIME.fullmatch(text)
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


@functools.cache
def _chains() -> dict[str, str]:
    found = dict(_SYMBOLS)
    for row in codes.load("crypto-chain").rows.values():
        found |= {row["value"].lower(): row["value"], row["meaning"].lower(): row["value"]}
    return found


def chain(text: str) -> str:
    """Return the value of the list `crypto-chain` for a name or symbol, or nothing."""
    return _chains().get(text.strip().lower(), "")
