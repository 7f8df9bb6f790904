"""Table: what all tables have in common: names of columns, marks, notes, what is left out, both kinds of file.

The marks of a message stand in a column of their own, `marks`: a table may lose detail, never a mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from infoexchange.bridges import Reading
from infoexchange.bridges.tables import comma, spreadsheet
from infoexchange.catalogue import Handling, forms, labels
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from infoexchange.bridges.tables.columns import Column

# What says how a row is marked: our labels, and the two marks that other people give a column of their own.
MARKS = (labels.COLUMN, "tlp", "pap")
# Spreadsheets of before 2007, and newer ones that are encrypted, begin so.
_OLD = bytes.fromhex("d0cf11e0a1b11ae1")
# No table of ours has a fifth of these; a line of more names is no line of names.
_COLUMNS_MAX = 500


class Row(NamedTuple):
    """One row: its place for notes, and what its cells say, by the name of the column; empty ones as empty text."""

    place: str
    cells: Mapping[str, str]


class Import:
    """One file on its way in: the marks of the caller, the time, and where notes go."""

    def __init__(self, handling: Handling, now: datetime, reading: Reading) -> None:
        self.now = now
        self.reading = reading
        self._given = handling
        self._marked: tuple[Mapping[str, str], Handling] = ({}, handling)

    def marks(self, row: Row) -> Handling:
        """Return the marks of a row's message; a row marked stricter than the caller's marks is refused."""
        said = _marks_of(row)
        if said != self._marked[0]:  # most rows of a file are marked alike
            self._marked = said, self.join(self._given, row)
        return self._marked[1]

    def join(self, handling: Handling, row: Row) -> Handling:
        """Return marks together with those of a row; a row that is marked stricter, or otherwise, is refused.

        Raises:
            RefusedError: `MARK_LOST` with the place of the row.
        """
        said = _marks_of(row)
        try:
            return labels.with_cells(handling, said) if said else handling
        except ExchangeError as refused:
            raise forms.refused_at(row.place, refused) from None

    def note(self, row: Row, name: str, detail: str) -> None:
        """Note what was not understood or not carried."""
        self.reading.note(row.place, name, detail)


@dataclass(frozen=True)
class Table:
    """One table: which message it holds, its columns, and how rows become messages and messages rows.

    Attributes:
        schema: The message type.
        title: What its rows are, for people.
        columns: The columns, in the order they are written; `marks` follows them.
        needed: Columns without which it is another table.
        empty: How an empty cell is written, and understood beside one with nothing in it.
        messages: Makes messages of rows.
        rows: Makes rows of a message, without its marks.
        losses: What the table cannot carry, in words.
    """

    schema: type[Any]
    title: str
    columns: tuple[Column, ...]
    needed: frozenset[str]
    messages: Callable[[Iterator[Row], Import], Iterator[Any]]
    rows: Callable[[Any], Iterable[Mapping[str, str]]]
    losses: tuple[str, ...]
    empty: str = ""

    def fits(self, names: Iterable[str]) -> bool:
        """Tell whether a line of names may be the first of this table."""
        return self.needed <= {name.strip().lower() for name in names}


@dataclass(frozen=True)
class File:
    """One table in one kind of file; it has what every bridge has: `read`, `write` and `LOSSES`."""

    table: Table
    is_spreadsheet: bool = False

    @property
    def LOSSES(self) -> tuple[str, ...]:  # noqa: N802  what every module of a bridge has
        """What the table cannot carry, in words."""
        return self.table.losses

    def read(self, data: bytes, handling: Handling, *, now: datetime) -> Reading:
        """Return the messages of a table, read row by row as they are iterated, and what was not understood.

        Both kinds of file are understood, whichever this one is.

        Args:
            data: CSV in UTF-8, or XLSX, with a line of column names.
            handling: The marks of every message.
            now: The time of reading; what the table does not date is dated with it.

        Raises:
            MalformedError: `MALFORMED` with the line, at once for the head and while iterating for a broken row.
            RefusedError: `MARK_LOST` with the line, while iterating, where a row is marked stricter than `handling`;
                `TOO_LARGE` for a spreadsheet beyond its limits.
        """
        if data.startswith(_OLD):
            detail = "an .xls file, or one with a password"
            raise error(Reason.MALFORMED, detail=detail, next_step="Save it as .xlsx without a password, or as CSV.")
        is_spreadsheet = data.startswith(spreadsheet.START)
        sheet = spreadsheet.read(data) if is_spreadsheet else comma.read(data)
        said = spreadsheet.said if is_spreadsheet else comma.said
        table = self.table
        names = [name.strip().lower() for name in sheet.head]
        named = [name for name in names if name]
        missing = sorted(table.needed - set(named))
        if missing or len(set(named)) != len(named) or len(names) > _COLUMNS_MAX:
            detail = (
                f"columns missing: {', '.join(missing)}" if missing else "a column stands twice, or there are too many"
            )
            raise error(Reason.MALFORMED, field=sheet.place, detail=detail)
        known = {column.name for column in table.columns} | {*MARKS}
        places = {name: place for place, name in enumerate(names) if name in known}

        def rows(reading: Reading) -> Iterator[Row]:
            for place, row in sheet.rows:
                if not any(row):  # a line with nothing on it is no row
                    continue
                if sheet.is_grid:
                    if len(row) > len(names):
                        reading.note(place, "row", "cells beside the table: not read")
                    row += [""] * (len(names) - len(row))
                elif len(row) != len(names):
                    reading.note(place, "row", f"{len(row)} cells, {len(names)} columns: row left out")
                    continue
                cells = {name: said(row[index]) for name, index in places.items()}
                if table.empty:
                    cells = {name: "" if text == table.empty else text for name, text in cells.items()}
                yield Row(place, cells)

        reading = Reading(lambda current: table.messages(rows(current), Import(handling, now, current)))
        reading.expected = 0 if is_spreadsheet else data.count(b"\n")
        for note in sheet.notes:
            reading.note(*note)
        for name in named:
            if name not in known:
                reading.note(sheet.place, name[:100], "column not read")
        return reading

    def write(self, messages: Iterable[Any], *, now: datetime, allow_red: bool = False) -> bytes:
        """Return a table of messages, with their marks in a column of their own.

        Args:
            messages: Messages of the table's type; any other is refused.
            now: Not used; every bridge takes it.
            allow_red: Said by a person who may take TLP:RED out of the exchange.

        Raises:
            RefusedError: `MARK_LOST` where a mark cannot stand in a cell, `RULE_BROKEN` for another type of message,
                `TOO_LARGE` where the table does not fit into a spreadsheet.
        """
        table = self.table
        names = [column.name for column in table.columns]
        numbers = frozenset(place for place, column in enumerate(table.columns) if column.kind.is_number)

        def rows() -> Iterator[list[str]]:
            for message in messages:
                if not isinstance(message, table.schema):
                    detail = f"the table holds {table.title} only"
                    raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step="Choose another format.")
                marks = labels.to_cell(message.handling, allow_red=allow_red)
                for cells in table.rows(message):
                    yield [*(cells.get(name, "").strip() or table.empty for name in names), marks]

        write = spreadsheet.write if self.is_spreadsheet else comma.write
        return write([*names, labels.COLUMN], numbers, rows())


def _marks_of(row: Row) -> dict[str, str]:
    return {name: row.cells[name] for name in MARKS if row.cells.get(name)}
