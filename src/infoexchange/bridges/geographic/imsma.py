"""IMSMA Core CSV: tables of mine action, one message type each, as an information management office exports them.

Columns are found by name in the forms; shapes stand in a column as well-known text. No real sample of such a table was
to be had: names are those of published forms, and an operator gives forms of their own where theirs differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from infoexchange.bridges import Reading
from infoexchange.bridges.geographic import features
from infoexchange.catalogue import Handling, cells, labels, sheets
from infoexchange.errors import Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.catalogue.forms import Form

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the table.",
    "Written: altitudes of a shape of which not every point has one.",
    "Written: values and fields of a newer version of a message type; empty records.",
    "Read: the time of day where a field holds a day.",
    "Read: columns that no field holds (each is noted once), above all those on verification and acceptance.",
    "Read: a name of a part of released land that the table does not give is made: area-1, area-2.",
)


def read(data: bytes, handling: Handling, *, now: datetime, forms: Sequence[Form] | None = None) -> Reading:
    """Return the reports of a table, read row by row, and what was not understood.

    Args:
        data: CSV in UTF-8 with a line of column names.
        handling: The marks of every report; what a row is marked with beyond them is added or must be covered.
        now: Not used by the packaged forms; an operator's form may ask for it.
        forms: Forms of the operator, in place of the packaged ones for their message types.

    Raises:
        MalformedError: `MALFORMED` with the line, at once for the head and while iterating for a broken row,
            `TOO_LARGE` beyond 64 MiB.
        RefusedError: `MARK_LOST` with the line, while iterating, where a row is marked stricter than `handling`.
    """
    sheet = sheets.read_sheet(data)
    known = features.packaged(features.MINE_ACTION, forms)
    form = next((form for form in known if form.fits(sheet.names)), None)
    if form is None:
        keys = ", ".join(form.key.name for form in known)
        step = "Rename the column, or give a form of your own."
        raise error(Reason.MALFORMED, field="line 1", detail=f"no column is one of {keys}", next_step=step)

    def source(current: Reading) -> Iterator[Message]:
        return features.Reader((form,), handling, now, current, names_once=True).messages(_rows(sheet, current))

    reading = Reading(source)
    for name in sheet.names:
        if not form.known(name) and name.lower() not in features.OWN:
            why = form.never.get(name.lower(), "")
            reading.note("line 1", name[:100], f"never read: {why}" if why else "column not read")
    return reading


def _rows(sheet: sheets.Sheet, reading: Reading) -> Iterator[features.Feature]:
    for row in sheet.rows:
        if isinstance(row, str):
            reading.note(row, "row", f"not {len(sheet.names)} cells as the first line has: row left out")
        else:
            yield features.Feature(row.place, row.cells)


def write(
    messages: Iterable[Any], *, now: datetime, allow_red: bool = False, forms: Sequence[Form] | None = None
) -> bytes:
    """Return a table of reports of one type, with their marks in a column of their own.

    Args:
        messages: Reports of one of the types above.
        now: Not used; every bridge takes it.
        allow_red: Said by a person who may take TLP:RED out of the exchange.
        forms: Forms of the operator, in place of the packaged ones for their message types.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot stand in a cell, `RULE_BROKEN` for another type of message, none
            or several, `TOO_LARGE` where a cell is longer than a reader takes.
    """
    known = features.packaged(features.MINE_ACTION, forms)
    rows = list(features.written(messages, known, allow_red=allow_red, has_geometry=False))
    if len({row.form.name for row in rows}) != 1:
        step = "Export the messages of each type to a file of their own."
        raise error(Reason.RULE_BROKEN, field="schema", detail="a table holds exactly one type", next_step=step)
    columns = rows[0].form.columns
    numbers = [column.name for column in columns if cells.is_number(column.field)]
    names = (*dict.fromkeys(column.name for column in columns), labels.COLUMN)
    return sheets.write_sheet(names, (row.cells for row in rows), numbers)
