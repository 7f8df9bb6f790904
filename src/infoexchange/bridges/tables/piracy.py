"""Piracy: the table of attacks on ships, as published from IMB reports, to MaritimeIncidentReport and back.

Columns that say whose waters or shore a place belongs to are never read: the exchange makes no statement on them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from infoexchange.bridges.tables.columns import TEXT, Column
from infoexchange.bridges.tables.places import DEGREES, to_degrees, write_degrees
from infoexchange.bridges.tables.table import File, Import, Row, Table
from infoexchange.catalogue import (
    IdentityGap,
    IncidentOutcome,
    LegalClass,
    MaritimeIncidentReport,
    Precision,
    ReportStage,
    ShipStatus,
    codes,
)

_LOSSES = (
    "Written: only the columns of the table; every other field of the report stays behind.",
    "Written: the position to the precision of a double, the time as it was stated.",
    "Read: incident numbers are derived from the row, because the table has none; report 1, stage INITIAL.",
    "Read: legal_class is UNDETERMINED: a table cannot decide it.",
    "Read: a local time stays text, because the table does not say which zone it is in.",
    "Read: every column that the table does not have here, above all those on zones, countries and shores.",
)

_COLUMNS = (
    Column("date", "occurred_at", TEXT),
    Column("time", "occurred_at, occurred_at.stated_as", TEXT),
    Column("longitude", "position.longitude", DEGREES),
    Column("latitude", "position.latitude", DEGREES),
    Column("attack_type", "outcome, outcome_text", TEXT),
    Column("location_description", "area_names", TEXT),
    Column("attack_description", "method", TEXT),
    Column("vessel_name", "vessel.name", TEXT),
    Column("vessel_type", "vessel.type", TEXT),
    Column("vessel_status", "ship_status, ship_status_text", TEXT),
    Column("data_source", "source", TEXT),
)
_NAMES = tuple(column.name for column in _COLUMNS)
_NEEDED = frozenset({"date", "longitude", "latitude", "attack_type"})

# ASCII digits only: a digit of another script would be read as something nobody sees in the table.
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?: (UTC))?")
_DAY, _MINUTE = Precision.PRECISION_DAY, Precision.PRECISION_MINUTE


class _Reports:
    """What stays the same from row to row, so that a row costs little."""

    def __init__(self, importing: Import) -> None:
        self.importing = importing
        self.template = MaritimeIncidentReport(
            report_no=1,
            stage=ReportStage.REPORT_STAGE_INITIAL,
            legal_class=LegalClass.LEGAL_CLASS_UNDETERMINED,
        )
        self.template.report_time.utc.FromDatetime(importing.now.astimezone(UTC))
        self.attacks = codes.load("imb-attack-type")
        self.states = codes.load("imb-ship-status")
        self.seen: dict[str, str] = {}

    def report(self, row: Row) -> MaritimeIncidentReport | None:
        """Return the report of one row, or None where it cannot be dated."""
        cells, note = row.cells, self.importing.note
        report = MaritimeIncidentReport()
        report.CopyFrom(self.template)
        report.handling.CopyFrom(self.importing.marks(row))
        if not _set_time(report, row, self.importing):
            return None
        _set_position(report, row, self.importing)
        report.vessel.name = cells.get("vessel_name", "")
        report.vessel.type = cells.get("vessel_type", "")
        if not report.vessel.name:
            report.vessel.identity_gap = IdentityGap.IDENTITY_GAP_NOT_STATED
        self.set_codes(report, row)
        report.method = cells.get("attack_description", "")
        report.source = cells.get("data_source", "")
        if cells.get("location_description"):
            report.area_names.add(text=cells["location_description"], asserted_by=report.source or "the table")
        digest = _digest(report, row)
        report.incident_id = f"{report.source or 'table'}-{cells['date']}-{digest}"
        first = self.seen.setdefault(digest, row.place)
        if first != row.place:
            note(row, "row", f"the same as {first}")
        return report

    def set_codes(self, report: MaritimeIncidentReport, row: Row) -> None:
        """Set outcome and status of the ship from the code lists; the source's word is kept beside them."""
        word = row.cells["attack_type"]
        known = self.attacks.find(word)
        report.outcome_text = word
        report.outcome = IncidentOutcome.INCIDENT_OUTCOME_NOT_STATED
        if word:
            report.outcome = IncidentOutcome.Value(f"INCIDENT_OUTCOME_{known['outcome'] if known else 'OTHER'}")
            if known is None:
                detail = f"not in the list {self.attacks.name} {self.attacks.version}"
                self.importing.note(row, "attack_type", detail)
        word = row.cells.get("vessel_status", "")
        known = self.states.find(word)
        report.ship_status_text = word
        report.ship_status = ShipStatus.SHIP_STATUS_UNKNOWN
        if word:
            report.ship_status = ShipStatus.Value(f"SHIP_STATUS_{known['ship_status'] if known else 'OTHER'}")
            if known is None:
                detail = f"not in the list {self.states.name} {self.states.version}"
                self.importing.note(row, "vessel_status", detail)


def _digest(report: MaritimeIncidentReport, row: Row) -> str:
    """Return what tells this row from others, the same however its numbers are written."""
    place = {"latitude": repr(report.position.latitude), "longitude": repr(report.position.longitude)}
    words = "\x1f".join(place.get(name) or row.cells.get(name, "") for name in _NAMES)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _set_time(report: MaritimeIncidentReport, row: Row, importing: Import) -> bool:
    """Set when it occurred, as finely as the row says; without a date there is no report."""
    found = _DATE.fullmatch(row.cells["date"])
    try:
        day = datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC) if found else None
    except ValueError:
        day = None
    if day is None:
        importing.note(row, "date", "not a date YYYY-MM-DD: row left out")
        return False
    stated = row.cells.get("time", "")
    precision, minutes = _DAY, 0
    if stated:
        time = _TIME.fullmatch(stated)
        if not time or int(time[1]) > 23 or int(time[2]) > 59:
            importing.note(row, "time", "there is no such time: only the day is kept, and the words")
        elif time[3]:
            precision, minutes = _MINUTE, int(time[1]) * 60 + int(time[2])
        else:
            importing.note(row, "time", "local time of an unknown zone: only the day is kept, and the words")
    report.occurred_at.utc.FromDatetime(day + timedelta(minutes=minutes))
    report.occurred_at.precision = precision
    report.occurred_at.stated_as = stated
    return True


def _set_position(report: MaritimeIncidentReport, row: Row, importing: Import) -> None:
    """Set the position; what is out of range stays out, so that a rule can ask for it."""
    for name, limit in (("latitude", 90), ("longitude", 180)):
        degrees = to_degrees(row.cells[name], limit)
        if degrees is None:
            importing.note(row, name, f"not a number from -{limit} to {limit}: left out")
        else:
            setattr(report.position, name, degrees)


def _messages(rows: Iterator[Row], importing: Import) -> Iterator[MaritimeIncidentReport]:
    """Give one report per row that has a date."""
    reports = _Reports(importing)
    for row in rows:
        report = reports.report(row)
        if report is not None:
            yield report


def _rows(report: Any) -> Iterator[dict[str, str]]:
    """Give the one row of a report."""
    when = report.occurred_at.utc.ToDatetime(tzinfo=UTC)
    stated = report.occurred_at.stated_as
    if not stated and report.occurred_at.precision not in {_DAY, Precision.PRECISION_MONTH, Precision.PRECISION_YEAR}:
        stated = f"{when:%H:%M} UTC"
    where = report.position
    yield {
        "date": f"{when:%Y-%m-%d}",
        "time": stated,
        "longitude": write_degrees(where, "longitude"),
        "latitude": write_degrees(where, "latitude"),
        # The source's own word where it gave one; else ours, which the lists do not know and a reader will note.
        "attack_type": report.outcome_text or _own_word(IncidentOutcome, report.outcome, "NOT_STATED"),
        "location_description": report.area_names[0].text if report.area_names else "",
        "attack_description": report.method,
        "vessel_name": report.vessel.name,
        "vessel_type": report.vessel.type,
        "vessel_status": report.ship_status_text or _own_word(ShipStatus, report.ship_status, "UNKNOWN"),
        "data_source": report.source,
    }


def _own_word(enum: Any, number: int, empty: str) -> str:
    """Return our word for a value in the manner of these tables, for example `Fired Upon`."""
    name = enum.Name(number) if number in enum.values() else ""
    word = name.removeprefix(enum.Name(0).removesuffix("UNSPECIFIED"))
    return "" if word in {empty, "UNSPECIFIED"} else word.replace("_", " ").title()


TABLE = Table(
    schema=MaritimeIncidentReport,
    title="reports on incidents at sea",
    columns=_COLUMNS,
    needed=_NEEDED,
    messages=_messages,
    rows=_rows,
    losses=_LOSSES,
    empty="NA",
)
CSV, XLSX = File(TABLE), File(TABLE, is_spreadsheet=True)
