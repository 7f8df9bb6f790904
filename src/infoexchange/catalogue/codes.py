"""Codes: the versioned lists behind `Code` and behind the bridges.

Lists that change per country and per year are data files, so that a new value costs one line and no release of code.
The source is `proto/codes`; the package carries a copy. First line: list, version, source. Second line: columns.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from infoexchange.errors import Reason, error


@dataclass(frozen=True, slots=True)
class CodeList:
    """One version of one list: what each value means, by the value in small letters."""

    name: str
    version: str
    source: str
    rows: Mapping[str, Mapping[str, str]]

    def find(self, value: str) -> Mapping[str, str] | None:
        """Return the row of a value, whatever its case, or None where the list does not have it."""
        return self.rows.get(value.strip().lower())


def parse(lines: Iterable[str]) -> CodeList:
    """Return the list that these lines hold, for example a newer version than the packaged one.

    Raises:
        MalformedError: `MALFORMED` with the line, where the lines are not a code list.
    """
    reader = csv.reader(lines)
    found = _rows(reader)
    head, columns = next(found, []), next(found, [])
    if len(head) != 3 or not columns or columns[0] != "value":
        detail = "the first two lines are list, version, source and columns"
        raise error(Reason.MALFORMED, field="line 1", detail=detail)
    rows: dict[str, Mapping[str, str]] = {}
    for row in found:
        if len(row) != len(columns) or not row[0] or row[0].lower() in rows:
            raise error(Reason.MALFORMED, field=f"line {reader.line_num}", detail="a value is missing or stands twice")
        rows[row[0].lower()] = dict(zip(columns, row, strict=True))
    return CodeList(head[0], head[1], head[2], rows)


def _rows(reader: Any) -> Iterator[list[str]]:
    """Give the rows, or say in which line the CSV ends."""
    try:
        yield from reader
    except csv.Error:
        field = f"line {reader.line_num}"
        raise error(Reason.MALFORMED, field=field, detail="not CSV, or a cell of more than 128 KiB") from None


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of the packaged lists."""
    found = (entry.name for entry in files("infoexchange.catalogue").joinpath("data").iterdir())
    return tuple(sorted(name.removesuffix(".csv") for name in found if name.endswith(".csv")))


@functools.cache
def load(name: str) -> CodeList:
    """Return a packaged list by name.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where no such list is packaged.
    """
    if name not in names():
        raise error(Reason.UNKNOWN_VERSION, field="system", detail="no code list of this name is known here")
    text = files("infoexchange.catalogue").joinpath("data", f"{name}.csv").read_text(encoding="utf-8")
    return parse(text.splitlines())
