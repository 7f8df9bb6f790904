"""Comma: tables as CSV in UTF-8, with cells that no spreadsheet runs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from infoexchange.catalogue.sheets import FORMULA, reader_of
from infoexchange.errors import Reason, error


class Sheet(NamedTuple):
    """The cells of a file: the line of names with its place, and the rows with theirs, read as they are iterated."""

    place: str
    head: list[str]
    rows: Iterator[tuple[str, list[str]]]
    notes: tuple[tuple[str, str, str], ...] = ()
    is_grid: bool = False  # rows end with their last cell that says something, wherever the head ends


def read(data: bytes) -> Sheet:
    """Return the cells of a CSV file; memory holds the file and one row at a time.

    Raises:
        MalformedError: `MALFORMED` with the line, at once for the head and while iterating for a broken row.
    """
    reader = reader_of(data)
    try:
        head: list[str] = next(reader, [])
    except csv.Error:
        raise error(Reason.MALFORMED, field="line 1", detail="the first line is not CSV") from None
    return Sheet("line 1", head, _rows(reader))


def _rows(reader: Any) -> Iterator[tuple[str, list[str]]]:
    while True:
        try:
            row = next(reader, None)
        except csv.Error:
            place = f"line {reader.line_num}"
            raise error(Reason.MALFORMED, field=place, detail="a quote or cell does not end") from None
        if row is None:
            return
        yield f"line {reader.line_num}", row


def said(cell: str) -> str:
    """Return what a cell says, without the mark that only kept a spreadsheet from running it."""
    text = cell.strip()
    return text[1:] if text[:1] == "'" and text.lstrip("'")[:1] in FORMULA else text


class _Lines(list[str]):
    """Takes what csv writes, a line at a time; a list is all the file this needs."""

    def write(self, line: str) -> None:
        self.append(f"{line[:-2]}\n")


def write(head: Iterable[str], numbers: frozenset[int], rows: Iterable[list[str]]) -> bytes:
    """Return a CSV file.

    Args:
        head: The names of the columns.
        numbers: Places of the columns that hold numbers, and may begin with a minus.
        rows: The cells.
    """
    lines = _Lines()
    # It quotes a cell with a character of the line's end in it, and a lone carriage return ends a line for readers.
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([cell if place in numbers else _harmless(cell) for place, cell in enumerate(row)])
    return "".join(lines).encode()


def _harmless(cell: str) -> str:
    """Return a cell that a spreadsheet shows and never runs."""
    text = cell.strip()
    return f"'{text}" if text.lstrip("'")[:1] in FORMULA else text
