"""Tables: the CSV of attacks on ships, as published from IMB reports, to MaritimeIncidentReport and back.

Columns are found by name. Columns that say whose waters or shore a place belongs to are never read: the exchange makes
no statement on them. A cell that cannot be understood never stops the file: it is noted, and the rest of its row
counts.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
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
    labels,
)
from infoexchange.errors import ExchangeError, Reason, error

LOSSES: tuple[str, ...] = (
    "Written: only the columns below; every other field of the report stays behind.",
    "Written: the position to the precision of a double, the time as it was stated.",
    "Read: incident numbers are derived from the row, because the table has none; report 1, stage INITIAL.",
    "Read: legal_class is UNDETERMINED: a table cannot decide it.",
    "Read: a local time stays text, because the table does not say which zone it is in.",
    "Read: every column not listed here, above all those on zones, countries and shores.",
)

COLUMNS = (
    "date", "time", "longitude", "latitude", "attack_type", "location_description", "attack_description",
    "vessel_name", "vessel_type", "vessel_status", "data_source",
)  # fmt: skip
_NEEDED = frozenset({"date", "longitude", "latitude", "attack_type"})
# Our own additional column: the marks a report travels under must survive in the table.
_MARKS = "marks"

# How such tables write an empty cell.
_EMPTY = frozenset({"", "NA"})
# Spreadsheets run a cell that begins so.
_FORMULA = frozenset("=+-@")
# ASCII digits only: a digit of another script would be read as something nobody sees in the table.
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?: (UTC))?")
_DAY, _MINUTE = Precision.PRECISION_DAY, Precision.PRECISION_MINUTE


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the reports of a table, read row by row as they are iterated, and what was not understood.

    Args:
        data: CSV in UTF-8 with a line of column names.
        handling: The marks of every report.
        now: The time of reading, which becomes the time of the report.

    Raises:
        MalformedError: `MALFORMED` with the line, at once for the head and while iterating for a broken row.
        RefusedError: `MARK_LOST` with the line, while iterating, where a row is marked stricter than `handling`.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        line = data.count(b"\n", 0, broken.start) + 1
        raise error(Reason.MALFORMED, field=f"line {line}", detail="the table is not UTF-8") from None
    reader = csv.reader(_lines(text), strict=True)
    try:
        head = next(reader, [])
    except csv.Error:
        raise error(Reason.MALFORMED, field="line 1", detail="the first line is not CSV") from None
    names = [name.strip().lower() for name in head]
    missing = sorted(_NEEDED - set(names))
    if missing or len(set(names)) != len(names):
        detail = f"columns missing: {', '.join(missing)}" if missing else "a column stands twice"
        raise error(Reason.MALFORMED, field="line 1", detail=detail)
    table = _Table(names, handling, now)
    reading = Reading(lambda current: table.reports(reader, current))
    for name in names:
        if name not in COLUMNS and name != _MARKS:
            reading.note("line 1", name[:100], "column not read")
    return reading


def _lines(text: str) -> Iterator[str]:
    """Give the lines with their ends: quoted cells keep their own line breaks, and memory holds one line at a time."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


class _Table:
    """What stays the same from row to row, so that a row costs little."""

    def __init__(self, names: list[str], handling: Handling, now: datetime) -> None:
        self.names = names
        self.indexes = {name: names.index(name) for name in (*COLUMNS, _MARKS) if name in names}
        self.handling = handling
        self.template = MaritimeIncidentReport(
            report_no=1,
            stage=ReportStage.REPORT_STAGE_INITIAL,
            legal_class=LegalClass.LEGAL_CLASS_UNDETERMINED,
        )
        self.template.handling.CopyFrom(handling)
        self.template.report_time.utc.FromDatetime(now.astimezone(UTC))
        self.attacks = codes.load("imb-attack-type")
        self.states = codes.load("imb-ship-status")
        self.seen: dict[str, int] = {}

    def reports(self, reader: Any, reading: Reading) -> Iterator[MaritimeIncidentReport]:
        """Give one report per row that has a date."""
        while True:
            try:
                row = next(reader, None)
            except csv.Error:
                place = f"line {reader.line_num}"
                raise error(Reason.MALFORMED, field=place, detail="a quote or cell does not end") from None
            if row is None:
                return
            line = reader.line_num
            if len(row) != len(self.names):
                # A line with nothing on it is no row.
                if row:
                    detail = f"{len(row)} cells, {len(self.names)} columns: row left out"
                    reading.note(f"line {line}", "row", detail)
                continue
            report = self.report(row, line, reading)
            if report is not None:
                yield report

    def report(self, row: list[str], line: int, reading: Reading) -> MaritimeIncidentReport | None:
        """Return the report of one row, or None where it cannot be dated."""
        place = f"line {line}"
        cells = {name: _text(row[index]) for name, index in self.indexes.items()}
        report = MaritimeIncidentReport()
        report.CopyFrom(self.template)
        if cells.get(_MARKS):
            self.take_marks(report, cells[_MARKS], place)
        if not _set_time(report, cells, place, reading):
            return None
        _set_position(report, cells, place, reading)
        _set_vessel(report, cells)
        self.set_codes(report, cells, place, reading)
        report.method = cells.get("attack_description", "")
        report.source = cells.get("data_source", "")
        if cells.get("location_description"):
            report.area_names.add(text=cells["location_description"], asserted_by=report.source or "the table")
        digest = _digest(report, cells)
        report.incident_id = f"{report.source or 'table'}-{cells['date']}-{digest}"
        first = self.seen.setdefault(digest, line)
        if first != line:
            reading.note(place, "row", f"the same as line {first}")
        return report

    def take_marks(self, report: MaritimeIncidentReport, text: str, place: str) -> None:
        """Take the marks of a row into its report; a row marked stricter than the caller's marks is refused."""
        try:
            marks = labels.with_labels(self.handling, text.split(labels.SEPARATOR))
        except ExchangeError as refused:
            where = f"{place}: {refused.field}"
            raise error(refused.reason, field=where, detail=refused.detail, next_step=refused.next_step) from None
        report.handling.CopyFrom(marks)

    def set_codes(self, report: MaritimeIncidentReport, cells: dict[str, str], place: str, reading: Reading) -> None:
        """Set outcome and status of the ship from the code lists; the source's word is kept beside them."""
        word = cells.get("attack_type", "")
        row = self.attacks.find(word)
        report.outcome_text = word
        report.outcome = IncidentOutcome.INCIDENT_OUTCOME_NOT_STATED
        if word:
            report.outcome = IncidentOutcome.Value(f"INCIDENT_OUTCOME_{row['outcome'] if row else 'OTHER'}")
            if row is None:
                reading.note(place, "attack_type", f"not in the list {self.attacks.name} {self.attacks.version}")
        word = cells.get("vessel_status", "")
        row = self.states.find(word)
        report.ship_status_text = word
        report.ship_status = ShipStatus.SHIP_STATUS_UNKNOWN
        if word:
            report.ship_status = ShipStatus.Value(f"SHIP_STATUS_{row['ship_status'] if row else 'OTHER'}")
            if row is None:
                reading.note(place, "vessel_status", f"not in the list {self.states.name} {self.states.version}")


def _digest(report: MaritimeIncidentReport, cells: dict[str, str]) -> str:
    """Return what tells this row from others, the same however its numbers are written."""
    place = {"latitude": repr(report.position.latitude), "longitude": repr(report.position.longitude)}
    words = "\x1f".join(place.get(name) or cells.get(name, "") for name in COLUMNS)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _text(cell: str) -> str:
    """Return what a cell says; nothing for an empty one, and no mark that only kept a spreadsheet from running it."""
    text = cell.strip()
    if text in _EMPTY:
        return ""
    return text[1:] if text[0] == "'" and text[1:2] in _FORMULA else text


def _set_time(report: MaritimeIncidentReport, cells: dict[str, str], place: str, reading: Reading) -> bool:
    """Set when it occurred, as finely as the row says; without a date there is no report."""
    found = _DATE.fullmatch(cells["date"])
    try:
        day = datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC) if found else None
    except ValueError:
        day = None
    if day is None:
        reading.note(place, "date", "not a date YYYY-MM-DD: row left out")
        return False
    stated = cells.get("time", "")
    precision, minutes = _DAY, 0
    if stated:
        time = _TIME.fullmatch(stated)
        if not time or int(time[1]) > 23 or int(time[2]) > 59:
            reading.note(place, "time", "there is no such time: only the day is kept, and the words")
        elif time[3]:
            precision, minutes = _MINUTE, int(time[1]) * 60 + int(time[2])
        else:
            reading.note(place, "time", "local time of an unknown zone: only the day is kept, and the words")
    report.occurred_at.utc.FromDatetime(day + timedelta(minutes=minutes))
    report.occurred_at.precision = precision
    report.occurred_at.stated_as = stated
    return True


def _set_position(report: MaritimeIncidentReport, cells: dict[str, str], place: str, reading: Reading) -> None:
    """Set the position; what is out of range stays out, so that a rule can ask for it."""
    for name, limit in (("latitude", 90), ("longitude", 180)):
        try:
            degrees = float(cells[name])
        except ValueError:
            degrees = float("nan")
        if -limit <= degrees <= limit:
            setattr(report.position, name, degrees)
        else:
            reading.note(place, name, f"not a number from -{limit} to {limit}: left out")


def _set_vessel(report: MaritimeIncidentReport, cells: dict[str, str]) -> None:
    report.vessel.name = cells.get("vessel_name", "")
    report.vessel.type = cells.get("vessel_type", "")
    if not report.vessel.name:
        report.vessel.identity_gap = IdentityGap.IDENTITY_GAP_NOT_STATED


class _Lines(list[str]):
    """Takes what csv writes; a list is all the file this needs."""

    write = list.append


def write(messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
    """Return a table of reports, with their marks in a column of their own.

    Args:
        messages: Reports; any other type is refused.
        now: Not used; every bridge takes it.
        allow_red: Said by a person who may take TLP:RED out of the exchange.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot stand in a cell, `RULE_BROKEN` for another type of message.
    """
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow((*COLUMNS, _MARKS))
    for report in messages:
        if not isinstance(report, MaritimeIncidentReport):
            detail = "the table holds reports on incidents at sea only"
            raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step="Choose another format.")
        writer.writerow(_row(report, allow_red=allow_red))
    return "".join(lines).encode()


def _row(report: Any, *, allow_red: bool) -> tuple[str, ...]:
    """Return the cells of one report."""
    marks = labels.to_labels(report.handling, allow_red=allow_red)
    if any("|" in label or "\n" in label or label != label.strip() for label in marks):
        detail = "the text of a restriction cannot stand in a cell of a table"
        raise error(Reason.MARK_LOST, field="handling.restrictions", detail=detail)
    when = report.occurred_at.utc.ToDatetime(tzinfo=UTC)
    stated = report.occurred_at.stated_as
    if not stated and report.occurred_at.precision not in {_DAY, Precision.PRECISION_MONTH, Precision.PRECISION_YEAR}:
        stated = f"{when:%H:%M} UTC"
    # The source's own word where it gave one; else ours, which the lists do not know and a reader will note.
    outcome = report.outcome_text or _own_word(IncidentOutcome, report.outcome, "NOT_STATED")
    status = report.ship_status_text or _own_word(ShipStatus, report.ship_status, "UNKNOWN")
    where = report.position
    place = [repr(getattr(where, axis)) if where.HasField(axis) else "NA" for axis in ("longitude", "latitude")]
    area = report.area_names[0].text if report.area_names else ""
    words = (outcome, area, report.method, report.vessel.name, report.vessel.type, status, report.source)
    return (f"{when:%Y-%m-%d}", stated or "NA", *place, *map(_cell, words), labels.SEPARATOR.join(marks))


def _own_word(enum: Any, number: int, empty: str) -> str:
    """Return our word for a value in the manner of these tables, for example `Fired Upon`."""
    name = enum.Name(number) if number in enum.values() else ""
    word = name.removeprefix(enum.Name(0).removesuffix("UNSPECIFIED"))
    return "" if word in {empty, "UNSPECIFIED"} else word.replace("_", " ").title()


def _cell(text: str) -> str:
    """Return a cell that a spreadsheet shows and never runs; empty ones as these tables write them."""
    text = text.strip()
    return "NA" if not text else f"'{text}" if text[0] in _FORMULA else text
