"""Codes: the versioned lists behind `Code` and behind the bridges.

Lists that change per country and per year are data files, so that a new value costs one line and no release of code.
The source is `proto/codes`; the package carries a copy, and an authority adds its own with `add`. First line: list,
version, source. Second line: columns.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from infoexchange.errors import Reason, error


@dataclass(frozen=True, slots=True, eq=False)
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
def _packaged() -> frozenset[str]:
    found = (entry.name for entry in files("infoexchange.catalogue").joinpath("data").iterdir())
    return frozenset(name.removesuffix(".csv") for name in found if name.endswith(".csv"))


@functools.cache
def _packaged_names() -> tuple[str, ...]:
    return tuple(sorted(_packaged()))


# Lists that a national authority or an operator has added, by name and version; for the whole process, as the
# packaged ones are.
_added: dict[str, dict[str, CodeList]] = {}


def add(lines: Iterable[str]) -> CodeList:
    """Make a list known to this process: a new one, another version of one, or more values of a version.

    Values are never taken away, so that a message which was right stays right. A new version becomes the one that
    `load` gives; older ones stay known. `infoexchange` does this with every CSV file in the folder `codes` of a home.

    Returns:
        The list as it is known now.

    Raises:
        MalformedError: As `parse`.
    """
    found = parse(lines)
    before = version_of(found.name, found.version)
    if before:
        found = CodeList(found.name, found.version, found.source, {**before.rows, **found.rows})
    versions = _added.setdefault(found.name, {})
    versions.pop(found.version, None)
    versions[found.version] = found
    return found


def forget_added() -> None:
    """Know the packaged lists alone again; for tests."""
    _added.clear()


def names() -> tuple[str, ...]:
    """Return the names of the lists that are known."""
    return tuple(sorted({*_packaged(), *_added})) if _added else _packaged_names()


def version_of(name: str, version: str) -> CodeList | None:
    """Return a version of a list, or None where it is not known here."""
    found = _added.get(name, {}).get(version)
    if found is None and name in _packaged() and _load(name).version == version:
        found = _load(name)
    return found


def load(name: str) -> CodeList:
    """Return a list by name: the version that was added last, else the packaged one.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where no such list is known.
    """
    if name in _added:
        return next(reversed(_added[name].values()))
    if name not in _packaged():
        raise error(Reason.UNKNOWN_VERSION, field="system", detail="no code list of this name is known here")
    return _load(name)


@functools.cache
def _load(name: str) -> CodeList:
    text = files("infoexchange.catalogue").joinpath("data", f"{name}.csv").read_text(encoding="utf-8")
    return parse(text.splitlines())
