"""Seizures: a table of seized drugs, after the columns of the UNODC tables, to DrugSeizureReport and back.

One row is one thing found; rows that follow one another with the same number are one seizure. Tables as published have
neither numbers nor dates nor agencies: a number is then derived from the row, the date is unknown, and the rest is for
whoever imports the table to add.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from infoexchange.bridges.tables import places
from infoexchange.bridges.tables.columns import (
    COUNTRIES,
    COUNTRY,
    DECIMAL,
    TEXT,
    TEXTS,
    WHOLE,
    YES,
    Column,
    cells_of,
    choice,
    code,
    fill,
)
from infoexchange.bridges.tables.table import File, Import, Row, Table
from infoexchange.bridges.tables.times import DATE
from infoexchange.catalogue import DateKind, DrugItem, DrugSeizureReport, DrugTransport

_ITEMS_MAX = 200  # of the message

_ID = Column("seizure_id", "seizure_id", TEXT)
# Said once for a seizure; repeated in each of its rows.
_SEIZURE = (
    Column("seized_at", "seized_at", DATE),
    Column("agency", "agency", TEXT),
    Column("producing_country", "route.producing", COUNTRY),
    Column("departure_country", "route.departure", COUNTRY),
    Column("transit_countries", "route.transit", COUNTRIES),
    Column("destination_country", "route.destination", COUNTRY),
    Column("transport", "transport", choice(DrugTransport)),
    Column("transport_text", "transport_text", TEXT),
    Column("concealment", "concealment", TEXT),
    Column("conveyance", "conveyance_text", TEXT),
    Column("consignment_numbers", "consignment_numbers", TEXTS),
    Column("arrests", "arrests.count", WHOLE),
    Column("arrested_women", "arrests.women", WHOLE),
    Column("arrested_men", "arrests.men", WHOLE),
    Column("arrested_minors", "arrests.minors", WHOLE),
    Column("estimated_value", "estimated_value.amount", DECIMAL),
    Column("currency", "estimated_value.currency", TEXT),
    Column("linked_cases", "linked_cases", TEXTS),
    Column("summary", "summary", TEXT),
)
_PLACE = places.columns("place")
_ITEM = (
    Column("drug_name", "substance.name", TEXT),
    Column("amount", "quantity.amount", DECIMAL),
    Column("drug_unit", "quantity.unit", code("drug-unit")),
    Column("drug_class", "substance.drug_class", code("drug-class")),
    Column("cas", "substance.cas", TEXT),
    Column("control", "substance.control", code("drug-control")),
    Column("form", "substance.form", code("misp-drug-form")),
    Column("purity_pct", "substance.purity_pct", DECIMAL),
    Column("kg_equivalent", "kg_equivalent.value_kg", DECIMAL),
    Column("kg_factor", "kg_equivalent.factor", DECIMAL),
    Column("kg_source", "kg_equivalent.factor_source", TEXT),
    Column("packages", "packages", WHOLE),
    Column("packaging", "packaging", TEXT),
    Column("logo", "logo", TEXT),
    Column("lab_confirmed", "lab_confirmed", YES),
)
_COMMON = tuple(column.name for column in (*_SEIZURE, *_PLACE))
_COLUMNS = (_ID, _SEIZURE[0], *_PLACE, *_SEIZURE[1:2], *_ITEM, *_SEIZURE[2:])
_LOSSES = (
    "Written: only the columns of the table; persons, organisations, ships, vehicles, containers, mixtures and "
    "attachments stay behind.",
    "Written: of a place one position, code or country with one name; of an address country and locality; no areas.",
    "Written: a semicolon in one of several texts of a cell becomes a comma.",
    "Written: a date without its note, a value without its day, an InChIKey and an INN not at all.",
    "Read: names of records are item-1, item-2 and so on; whose name of a place it is, is the agency.",
    "Read: a number is derived from the row where the table has none; a date is unknown where it has none.",
)


def _messages(rows: Iterator[Row], importing: Import) -> Iterator[DrugSeizureReport]:
    """Give one report for rows that follow one another with one number."""
    report: DrugSeizureReport | None = None
    first: Row | None = None
    seen: dict[str, str] = {}
    for row in rows:
        number = row.cells.get("seizure_id", "")
        if report is not None and first is not None and number and number == report.seizure_id:
            if len(report.items) < _ITEMS_MAX:
                report.handling.CopyFrom(importing.join(report.handling, row))
                _compare(first, row, importing)
                _add_item(report, row, importing)
                continue
            importing.note(row, "seizure_id", f"a report holds {_ITEMS_MAX} items: the rest is another one")
        if report is not None:
            yield report
        report, first = _report(row, importing), row
        earlier = seen.setdefault(report.seizure_id, row.place)
        if earlier != row.place:
            what = "a report of its own with the number of" if number else "the same as"
            importing.note(row, "row", f"{what} {earlier}")
    if report is not None:
        yield report


def _report(row: Row, importing: Import) -> DrugSeizureReport:
    """Return a report with what the first of its rows says."""
    report = DrugSeizureReport()
    report.handling.CopyFrom(importing.marks(row))

    def note(name: str, detail: str) -> None:
        importing.note(row, name, detail)

    fill(report, (_ID, *_SEIZURE), row.cells, note)
    if not report.HasField("seized_at"):
        report.seized_at.kind = DateKind.DATE_KIND_UNKNOWN
    places.read(report.place, row.cells, report.agency, note)
    if not report.seizure_id:
        words = "\x1f".join(row.cells.get(column.name, "") for column in _COLUMNS)
        report.seizure_id = f"table-{hashlib.sha256(words.encode()).hexdigest()[:16]}"
    _add_item(report, row, importing)
    return report


def _add_item(report: DrugSeizureReport, row: Row, importing: Import) -> None:
    item = DrugItem(local_id=f"item-{len(report.items) + 1}")
    fill(item, _ITEM, row.cells, lambda name, detail: importing.note(row, name, detail))
    report.items.append(item)


def _compare(first: Row, row: Row, importing: Import) -> None:
    """Note what a later row of a seizure says otherwise than the first."""
    for name in _COMMON:
        if row.cells.get(name, "") not in {"", first.cells.get(name, "")}:
            importing.note(row, name, f"{first.place} says otherwise for the same seizure: that is kept")


def _rows(report: Any) -> Iterator[dict[str, str]]:
    """Give one row for each thing found."""
    common = cells_of(report, (_ID, *_SEIZURE)) | places.write(report.place)
    for item in report.items or [DrugItem()]:
        yield common | cells_of(item, _ITEM)


TABLE = Table(
    schema=DrugSeizureReport,
    title="reports on seizures of drugs",
    columns=_COLUMNS,
    needed=frozenset({"drug_name", "amount", "drug_unit"}),
    messages=_messages,
    rows=_rows,
    losses=_LOSSES,
)
CSV, XLSX = File(TABLE), File(TABLE, is_spreadsheet=True)
