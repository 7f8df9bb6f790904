"""Words: the vocabularies, marks and times that reading and writing goAML share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from infoexchange.catalogue import DocumentType, Instant, Precision, Sex, labels

# What a list of a unit has for a value that nobody knows, and we write where an element must stand.
UNKNOWN = "-"
# In the title of a person: the last name is no name but what the message calls a protected person.
PSEUDONYM = "pseudonym"
ROLE = "party to a reported transaction"
CONDUCTS, SIGNATORY = "conducts", "signatory-of"
SEXES = {"M": Sex.SEX_M, "F": Sex.SEX_F, "X": Sex.SEX_X}
SEX_CODES = {number: code for code, number in SEXES.items()}
DOCUMENTS = {
    name.removeprefix("DOCUMENT_TYPE_"): number
    for name, number in DocumentType.items()
    if number not in {DocumentType.DOCUMENT_TYPE_UNSPECIFIED, DocumentType.DOCUMENT_TYPE_OTHER}
}
DOCUMENT_CODES = {number: code for code, number in DOCUMENTS.items()}

_MARKS = re.compile(r"\[(TLP:[^\[\]]*)\]\s*")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_OFFSET_MAX = 840  # minutes; no place on earth is farther from UTC
_MIDNIGHT = "00:00:00"
_COARSE = frozenset({Precision.PRECISION_YEAR, Precision.PRECISION_MONTH, Precision.PRECISION_DAY})


def known(text: str) -> str:
    """Return a value, or nothing where the file says that nobody knows it."""
    return "" if text == UNKNOWN else text


def marked(texts: list[str], text: str) -> str:
    """Return a text behind the marks."""
    return f"[{labels.SEPARATOR.join(texts)}] {text}".strip()


def parted(text: str) -> tuple[list[str], str]:
    """Return the marks before a text, and the text."""
    found = _MARKS.match(text)
    return (found[1].split(labels.SEPARATOR.strip()), text[found.end() :]) if found else ([], text)


def instant(text: str) -> Instant | None:
    """Return a point in time as finely as it is known without the zone, or None where it is none."""
    found = _TIME.fullmatch(text)
    if not found:
        return None
    time, zone = found[2] or _MIDNIGHT, found[3]
    try:
        when = datetime.fromisoformat(f"{found[1]}T{time if zone else _MIDNIGHT}").replace(tzinfo=UTC)
        # What is no time of day is no time in another zone either.
        datetime.fromisoformat(f"{found[1]}T{time}")
        offset = 0 if zone in {None, "Z"} else int(zone[:3]) * 60 + int(zone[0] + zone[4:])
        made = Instant(precision=Precision.PRECISION_SECOND if zone else Precision.PRECISION_DAY)
        made.utc.FromDatetime(when - timedelta(minutes=offset))
    except (ValueError, OverflowError):
        return None
    if abs(offset) > _OFFSET_MAX:
        return None
    if offset:
        made.local_offset_minutes = offset
    if offset or (not zone and time != _MIDNIGHT):
        made.stated_as = text
    return made


def instant_text(value: Instant) -> str:
    """Return a point in time as goAML writes it: as the reporter stated it, or a day, or in UTC."""
    if _TIME.fullmatch(value.stated_as):
        return value.stated_as
    day, _, time = value.utc.ToJsonString()[:19].partition("T")
    return f"{day}T{_MIDNIGHT}" if value.precision in _COARSE else f"{day}T{time}Z"
