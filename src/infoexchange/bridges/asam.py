"""ASAM: anti-shipping activity messages as JSON, as a hydrographic office published them, to MaritimeIncidentReport.

A file is an object with a list `asam`, or the list alone. Marks stand in a member of their own, `marks`, which readers
of the published form pass over. Numbers of navigational areas become names of the area, asserted by the publisher; what
the description says of countries and coasts is text, and nothing is read out of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from infoexchange.bridges import Reading
from infoexchange.catalogue import (
    Handling,
    IdentityGap,
    IncidentOutcome,
    LegalClass,
    MaritimeIncidentReport,
    Precision,
    ReportStage,
    ShipStatus,
    codes,
    forms,
    labels,
    strict_json,
)
from infoexchange.errors import ExchangeError, Reason, error

LOSSES: tuple[str, ...] = (
    "Written: reference, date, position, area, hostility, victim, description and marks; nothing else of the report.",
    "Written: the day only; a name of the ship that is not in capitals becomes a part of its type.",
    "Read: the words in capitals at the end of `victim` are the ship's name, all before them its type.",
    "Read: report 1; an update of another entry is a FOLLOW_UP that names it as its alert.",
    "Read: legal_class is UNDETERMINED and ship_status UNKNOWN: only the description may say more.",
    "Read: `position`, which says in words what latitude and longitude say; members not listed here.",
)

_MEMBERS = frozenset(
    {"reference", "date", "latitude", "longitude", "position", "navArea", "subreg", "hostility", "victim",
     "description", "marks", "tlp", "pap"}
)  # fmt: skip
_MARKS = frozenset({labels.COLUMN, "tlp", "pap"})
_REFERENCE = re.compile(r"[0-9]{4}-[0-9]{1,6}")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_UPDATE = re.compile(r"\(Update of entry ([0-9]{4}-[0-9]{1,6})\)\s*")
# Two capitals at least, so that neither a single letter nor a number of a small craft is taken for a name.
_NAME = re.compile(r"(?:^|(?<= ))[A-Z][A-Z0-9.'&-]+(?: [A-Z0-9.'&-]+)*$")
_NAME_MAX = 200  # of the message
_SOURCE, _PREFIX = "asam", "asam-"
_AREA = re.compile(r"NAVAREA ([IVX]+)(?:, subregion ([0-9]{1,3}))?")


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the reports of a file and what was not understood, read as they are iterated.

    Args:
        data: JSON in UTF-8.
        handling: The marks of every report.
        now: The time of reading, which becomes the time of the report.

    Raises:
        MalformedError: `MALFORMED` where it is no such JSON; `BAD_FIELD` with the path, while iterating, where marks
            are no text.
        RefusedError: `TOO_LARGE` beyond 64 MiB; `MARK_LOST` with the path, while iterating, where an entry is marked
            stricter than `handling`.
    """
    found = strict_json.load(data)
    entries = found.get("asam") if isinstance(found, dict) else found
    if not isinstance(entries, list):
        raise error(Reason.MALFORMED, field="asam", detail="a list of messages is needed")
    # What stands beside the list holds for every entry.
    marks = _marks(handling, found, "file") if isinstance(found, dict) else handling
    return Reading(lambda reading: _reports(entries, marks, now, reading), expected=len(entries))


def _reports(
    entries: list[Any], handling: Handling, now: datetime, reading: Reading
) -> Iterator[MaritimeIncidentReport]:
    seen: dict[str, str] = {}
    for index, entry in enumerate(entries):
        path = f"asam[{index}]"
        if not isinstance(entry, dict):
            reading.note(path, "entry", "no object: left out")
            continue
        for name in entry.keys() - _MEMBERS:
            reading.note(path, _printable(name)[:100], "member not read")
        texts = {name: _text(entry, name, path, reading) for name in _MEMBERS - _MARKS - {"latitude", "longitude"}}
        report = _report(entry, texts, path, reading)
        if report is None:
            continue
        report.handling.CopyFrom(_marks(handling, entry, path))
        report.report_time.utc.FromDatetime(now.astimezone(UTC))
        first = seen.setdefault(report.incident_id, path)
        if first != path:
            reading.note(path, "reference", f"the same as {first}")
        yield report


def _text(entry: dict[str, Any], name: str, path: str, reading: Reading) -> str:
    """Return a member that is a text; null and what is not there say nothing."""
    value = entry.get(name)
    if value is not None and (not isinstance(value, str) or _printable(value) != value):
        reading.note(path, name, "no text: left out")
        return ""
    return (value or "").strip()


def _printable(text: str) -> str:
    """Return a text without halves of surrogate pairs, which are no text."""
    return text.encode("utf-8", "replace").decode()


def _marks(handling: Handling, entry: dict[str, Any], path: str) -> Handling:
    """Return the marks of one entry; a mark that is no text is never passed over.

    Raises:
        MalformedError: `BAD_FIELD` with the path where it is none.
        RefusedError: `MARK_LOST` with the path where `handling` is weaker.
    """
    said = {name: strict_json.text(entry, name, path) for name in _MARKS}
    try:
        return labels.with_cells(handling, said) if any(said.values()) else handling
    except ExchangeError as refused:
        raise forms.refused_at(path, refused) from None


def _report(entry: dict[str, Any], texts: dict[str, str], path: str, reading: Reading) -> MaritimeIncidentReport | None:
    """Return the report of one entry, or None where it has no number or no date."""
    day = _day(texts["date"])
    if not _REFERENCE.fullmatch(texts["reference"]) or day is None:
        name = "date" if day is None else "reference"
        reading.note(path, name, "without reference and date there is no report: left out")
        return None
    report = MaritimeIncidentReport(
        incident_id=_PREFIX + texts["reference"],
        report_no=1,
        stage=ReportStage.REPORT_STAGE_INITIAL,
        legal_class=LegalClass.LEGAL_CLASS_UNDETERMINED,
        ship_status=ShipStatus.SHIP_STATUS_UNKNOWN,
        method=texts["description"],
        source=_SOURCE,
    )
    update = _UPDATE.match(texts["description"])
    if update:
        report.stage = ReportStage.REPORT_STAGE_FOLLOW_UP
        report.reference_alert = _PREFIX + update[1]
    report.occurred_at.utc.FromDatetime(day)
    report.occurred_at.precision = Precision.PRECISION_DAY
    for name, limit in (("latitude", 90), ("longitude", 180)):
        value = entry.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and -limit <= value <= limit:
            setattr(report.position, name, value)
        else:
            reading.note(path, name, f"not a number from -{limit} to {limit}: left out")
    _set_words(report, texts, path, reading)
    return report


def _day(text: str) -> datetime | None:
    found = _DATE.fullmatch(text)
    try:
        return datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC) if found else None
    except ValueError:
        return None


def _set_words(report: MaritimeIncidentReport, texts: dict[str, str], path: str, reading: Reading) -> None:
    """Set ship, outcome and area."""
    victim = texts["victim"]
    name = _NAME.search(victim, max(0, len(victim) - _NAME_MAX))
    report.vessel.name = name[0] if name else ""
    report.vessel.type = victim[: name.start() if name else None].strip()
    if not name:
        report.vessel.identity_gap = IdentityGap.IDENTITY_GAP_NOT_STATED
    word = texts["hostility"]
    report.outcome_text = word
    report.outcome = IncidentOutcome.INCIDENT_OUTCOME_NOT_STATED
    if word:
        known = codes.load("imb-attack-type").find(word)
        report.outcome = IncidentOutcome.Value(f"INCIDENT_OUTCOME_{known['outcome'] if known else 'OTHER'}")
        if known is None:
            reading.note(path, "hostility", "not in the list imb-attack-type: kept as words")
    area = f"NAVAREA {texts['navArea']}" + (f", subregion {texts['subreg']}" if texts["subreg"] else "")
    if _AREA.fullmatch(area):
        report.area_names.add(text=area, asserted_by=_SOURCE)
    elif texts["navArea"] or texts["subreg"]:
        reading.note(path, "navArea", "no navigational area and subregion: left out")


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return a file of reports, with their marks in a member of their own.

    Args:
        messages: Reports; any other type is refused.
        now: Not used; every bridge takes it.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark has no label, `RULE_BROKEN` for another type of message.
    """
    entries = [_entry(report, allow_red=allow_red) for report in messages]
    return (json.dumps({"asam": entries}, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def _entry(report: Any, *, allow_red: bool) -> dict[str, Any]:
    if not isinstance(report, MaritimeIncidentReport):
        detail = "the file holds reports on incidents at sea only"
        raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step="Choose another format.")
    marks = labels.to_labels(report.handling, allow_red=allow_red)
    if any("|" in label or label != label.strip() for label in marks):
        detail = "the text of a restriction cannot stand in one text with the other marks"
        raise error(Reason.MARK_LOST, field="handling.restrictions", detail=detail)
    reference = report.incident_id.removeprefix(_PREFIX)
    if not _REFERENCE.fullmatch(reference):
        detail = "an entry has a number of the form 2026-123"
        raise error(Reason.RULE_BROKEN, field="incident_id", detail=detail, next_step="Choose another format.")
    areas = (_AREA.fullmatch(name.text) for name in report.area_names)
    area = next((found for found in areas if found), None)
    where = report.position
    return {
        "reference": reference,
        "date": f"{report.occurred_at.utc.ToDatetime(tzinfo=UTC):%Y-%m-%d}",
        "latitude": where.latitude if where.HasField("latitude") else None,
        "longitude": where.longitude if where.HasField("longitude") else None,
        "navArea": area[1] if area else None,
        "subreg": area[2] if area else None,
        "hostility": report.outcome_text or None,
        "victim": f"{report.vessel.type} {report.vessel.name}".strip() or None,
        "description": report.method,
        "marks": labels.SEPARATOR.join(marks),
    }
