"""Risk education: a table of explosive ordnance risk education, to EoreReport and back.

The codes are those of the forms of IMSMA Core. The six numbers of people have a column each; an empty one is not known,
and a report without it cannot be sent: where there were none, the cell is 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from infoexchange.bridges.tables import places
from infoexchange.bridges.tables.columns import TEXT, WHOLE, YES, Column, cells_of, code, code_list, fill
from infoexchange.bridges.tables.table import File, Import, Row, Table
from infoexchange.bridges.tables.times import DATE
from infoexchange.catalogue import EoreReport

_HEAD = (
    Column("report_id", "report_id", TEXT),
    Column("start_date", "period.start", DATE),
    Column("end_date", "period.end", DATE),
    Column("org", "org", TEXT),
)
_BODY = (
    Column("location_type", "location_type", code("eore-location-type")),
    Column("category", "category", code("eore-category")),
    Column("activity", "activity", code("eore-activity")),
    Column("method", "method", code("eore-method")),
    Column("method_text", "method_text", TEXT),
    Column("audience", "audience", code_list("eore-audience")),
    Column("other_activities", "other_activities", code_list("eore-other-activity")),
    Column("sessions", "sessions", WHOLE),
    Column("boys_5_12", "beneficiaries.male_5_to_12", WHOLE),
    Column("boys_13_17", "beneficiaries.male_13_to_17", WHOLE),
    Column("men", "beneficiaries.male_from_18", WHOLE),
    Column("girls_5_12", "beneficiaries.female_5_to_12", WHOLE),
    Column("girls_13_17", "beneficiaries.female_13_to_17", WHOLE),
    Column("women", "beneficiaries.female_from_18", WHOLE),
    Column("estimated", "beneficiaries_estimated", YES),
    Column("first_time", "first_time", WHOLE),
)
_MATERIALS = Column("materials", "materials", TEXT)
_REMARKS = Column("remarks", "remarks", TEXT)
# How materials are written: poster: 200; leaflet: 50
_QUANTITY = re.compile(r"[0-9]{1,9}")
_LOSSES = (
    "Written: only the columns of the table; attachments stay behind.",
    "Written: of a place one position, code or country with one name; of an address country and locality; no areas.",
    "Written: dates without their notes; a kind of material with a semicolon in it has a comma there.",
    "Read: whose name of a place it is, is the organisation.",
)


def _messages(rows: Iterator[Row], importing: Import) -> Iterator[EoreReport]:
    """Give one report per row."""
    seen: dict[str, str] = {}
    for row in rows:
        report = EoreReport()
        report.handling.CopyFrom(importing.marks(row))

        def note(name: str, detail: str, row: Row = row) -> None:
            importing.note(row, name, detail)

        fill(report, (*_HEAD, *_BODY, _REMARKS), row.cells, note)
        places.read(report.location, row.cells, report.org, note)
        for part in filter(None, row.cells.get("materials", "").split(";")):
            kind, _, quantity = (said.strip() for said in part.rpartition(":"))
            if kind and _QUANTITY.fullmatch(quantity):
                report.materials.add(kind=kind, quantity=int(quantity))
            elif part.strip():
                note("materials", "not a kind, a colon and a number: left out")
        first = seen.setdefault(report.report_id, row.place) if report.report_id else row.place
        if first != row.place:
            note("report_id", f"the same as {first}")
        yield report


def _rows(report: Any) -> Iterator[dict[str, str]]:
    """Give the one row of a report."""
    materials = "; ".join(f"{one.kind.replace(';', ',')}: {one.quantity}" for one in report.materials)
    cells = cells_of(report, (*_HEAD, *_BODY, _REMARKS)) | places.write(report.location)
    yield cells | {"materials": materials}


TABLE = Table(
    schema=EoreReport,
    title="reports on risk education",
    columns=(*_HEAD, *places.columns("location"), *_BODY, _MATERIALS, _REMARKS),
    needed=frozenset({"report_id", "org", "category"}),
    messages=_messages,
    rows=_rows,
    losses=_LOSSES,
)
CSV, XLSX = File(TABLE), File(TABLE, is_spreadsheet=True)
