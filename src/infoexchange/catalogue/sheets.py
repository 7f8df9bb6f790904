"""Sheets: a table as CSV in UTF-8, one line of names and then rows, as spreadsheets read and write it.

A spreadsheet runs a cell that begins like a formula, so such a text is written with a quote before it, which reading
takes away again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from infoexchange.catalogue.strict_json import SIZE_MAX
from infoexchange.errors import Reason, error

# More columns than the largest form has, many times over; rows are as wide as the first line says.
COLUMNS_MAX = 2000
# What the csv module of Python reads in one cell; what is longer would be written and never read again.
CELL_MAX = 131_072
# How a formula begins in one spreadsheet or another, wide characters of East Asian ones among them.
FORMULA = frozenset("=+-@\t\r＝＋－＠")
_QUOTED = frozenset('",\r\n')


class Row(NamedTuple):
    """One row: where it stands, and its cells by the names of their columns in small letters."""

    place: str
    cells: dict[str, str]


class Sheet(NamedTuple):
    """A table that is being read: names as they stand, and its rows as they are iterated."""

    names: tuple[str, ...]
    rows: Iterator[Row | str]


def read_sheet(data: bytes) -> Sheet:
    """Return the names and rows of a table; in place of a row of another length stands the place it has.

    Commas, semicolons or tabs stand between cells.

    Raises:
        MalformedError: `MALFORMED` with the line, at once for the head and while iterating for a broken row;
            `TOO_LARGE` beyond 64 MiB or 2000 columns.
    """
    if len(data) > SIZE_MAX:
        raise error(Reason.TOO_LARGE, detail=f"{len(data)} bytes, at most {SIZE_MAX}")
    reader = reader_of(data)
    head = next(_cells(reader), [])
    names = tuple(name.strip() for name in head)
    if len(names) > COLUMNS_MAX:
        raise error(Reason.TOO_LARGE, field="line 1", detail=f"{len(names)} columns, at most {COLUMNS_MAX}")
    keys = [name.lower() for name in names]
    if not any(keys) or len({key for key in keys if key}) != len([key for key in keys if key]):
        raise error(Reason.MALFORMED, field="line 1", detail="there are no columns, or a column stands twice")
    return Sheet(names, _rows(reader, keys))


def reader_of(data: bytes) -> Any:
    """Return what gives the cells of a table row by row, as `csv.reader`.

    Raises:
        MalformedError: `MALFORMED` with the line where the table is not UTF-8.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        line = data.count(b"\n", 0, broken.start) + 1
        raise error(Reason.MALFORMED, field=f"line {line}", detail="the table is not UTF-8") from None
    # Spreadsheets write what their language has between numbers: the first line, which has none, tells which it is.
    first = text.partition("\n")[0]
    return csv.reader(_lines(text), strict=True, delimiter=max(",;\t", key=first.count))


def _lines(text: str) -> Iterator[str]:
    """Give the lines with their ends: quoted cells keep their own line breaks, and memory holds one line at a time."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _cells(reader: Any) -> Iterator[list[str]]:
    """Give the cells of each row, or say in which line the CSV ends."""
    try:
        yield from reader
    except csv.Error:
        place, detail = f"line {reader.line_num}", "a quote or cell does not end, or holds more than 128 KiB"
        raise error(Reason.MALFORMED, field=place, detail=detail) from None


def _rows(reader: Any, keys: list[str]) -> Iterator[Row | str]:
    for cells in _cells(reader):
        place = f"line {reader.line_num}"
        if len(cells) == len(keys):
            yield Row(place, {key: _shown(cell) for key, cell in zip(keys, cells, strict=True) if key})
        elif cells:  # a line with nothing on it is no row
            yield place


def _shown(cell: str) -> str:
    """Return what a cell says, without the quote that only kept a spreadsheet from running it."""
    return cell[1:] if cell[:1] == "'" and cell.lstrip("'")[:1] in FORMULA and cell.lstrip("'") else cell


def _safe(name: str, cell: str, numbers: frozenset[str]) -> str:
    """Return a cell that a spreadsheet shows and never runs; a number stays one, its sign too."""
    if len(cell) + 1 > CELL_MAX:
        step = "Export to GeoJSON, or divide the message."
        raise error(Reason.TOO_LARGE, field=name, detail=f"a cell holds {CELL_MAX} characters", next_step=step)
    inner = cell.lstrip("'")
    return f"'{cell}" if inner[:1] in FORMULA and inner and name not in numbers else cell


def _quoted(cell: str) -> str:
    """Return a cell as CSV; the csv module leaves a lone carriage return bare, which its own reader refuses."""
    return '"' + cell.replace('"', '""') + '"' if _QUOTED & set(cell) or cell != cell.strip() else cell


def write_sheet(names: Iterable[str], rows: Iterable[Mapping[str, str]], numbers: Iterable[str] = ()) -> bytes:
    """Return a table.

    Args:
        names: The columns, in order.
        rows: The cells of each row by name; a missing one is empty.
        numbers: Columns whose cells are numbers, which need no quote before a sign.

    Raises:
        RefusedError: `TOO_LARGE` where a cell is longer than a reader takes.
    """
    columns, plain = tuple(names), frozenset(numbers)
    lines = [columns, *([_safe(name, row.get(name, ""), plain) for name in columns] for row in rows)]
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines).encode()
