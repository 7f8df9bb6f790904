"""Forms: which column of a foreign table is which field of a message, as data that an operator can replace.

First line: name, version, message type, source. Second line: the names of the columns below. Each further line is one
column of the foreign table:

    column   its name, as it is written; the first one is the key: a row without it is of another form
    field    the field, as a path: `benchmark.latitude`, `languages[0]`, `languages[2:]` for the rest of a list,
             `results[].area_m2` where a message takes one row for each element; empty: the column is never read
    also     other names it has in files, separated by |
    words    other words for its values, as theirs=ours separated by |; `list:NAME` is the code list of a code
    default  what is taken where the file says nothing; `@now` is the time of reading
    meaning  for people; for a column that is never read, why
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from infoexchange import catalogue
from infoexchange.catalogue import cells, paths
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

HEAD = ("column", "field", "also", "words", "default", "meaning")
# A form this long is no form; the largest here has sixty columns.
_COLUMNS_MAX = 500

# Takes the name of a column and why something in it was not read.
TakeNote = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its names, the field it is, and the words of its values."""

    name: str
    path: str
    names: tuple[str, ...]
    steps: tuple[paths.Step, ...]
    theirs: Mapping[str, str]
    ours: Mapping[str, str]
    code_list: str
    default: str
    meaning: str

    @property
    def field(self) -> Any:
        """The descriptor of the field the path ends in."""
        return self.steps[-1].field

    @property
    def is_record(self) -> bool:
        """Whether the cell is JSON."""
        return cells.is_record(self.field) and self.steps[-1].index is None


@dataclass(frozen=True)
class Form:
    """One form: a message type as a row of named cells."""

    name: str
    version: str
    source: str
    message_type: type[Message]
    columns: tuple[Column, ...]
    never: Mapping[str, str]

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Form:
        """Return the form that these lines of CSV hold.

        Raises:
            MalformedError: `MALFORMED` with the line where they are no form, `BAD_FIELD` where a path is none of the
                type's, `UNKNOWN_VERSION` where the type is not known here.
        """
        rows = _rows(lines)
        if len(rows) < 3 or len(rows[0][1]) != 4 or tuple(rows[1][1]) != HEAD:
            detail = f"the first two lines are name, version, type, source and {','.join(HEAD)}"
            raise error(Reason.MALFORMED, field="line 1", detail=detail)
        name, version, schema, source = rows[0][1]
        kind = catalogue.message_type(schema)
        columns: list[Column] = []
        never: dict[str, str] = {}
        for line, row in rows[2:]:
            if len(row) != len(HEAD) or not row[0].strip():
                raise error(Reason.MALFORMED, field=f"line {line}", detail=f"not {len(HEAD)} cells, or no name")
            if row[1]:
                columns.append(_column(kind, row, line))
            else:
                never |= dict.fromkeys(_names(row), row[5])
        if not columns:
            raise error(Reason.MALFORMED, field="line 3", detail="a form has at least one column that is read")
        return cls(name, version, source, kind, tuple(columns), never)

    @property
    def key(self) -> Column:
        """The column that tells whether a row is of this form, and which message it belongs to."""
        return self.columns[0]

    @functools.cached_property
    def each(self) -> str:
        """The list that takes one row for each element, or nothing."""
        return next((s.field.name for column in self.columns for s in column.steps if s.is_each), "")

    def known(self, name: str) -> bool:
        """Tell whether a column of this name is read."""
        return name.strip().lower() in self._names

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(name for column in self.columns for name in column.names)

    def fits(self, names: Iterable[str]) -> bool:
        """Tell whether a table with these columns is of this form."""
        return not set(self.key.names).isdisjoint(name.strip().lower() for name in names)

    def read(self, row: Mapping[str, str], note: TakeNote, *, now: datetime, into: Message | None = None) -> Message:
        """Return the message of one row, without marks.

        Args:
            row: The cells, by the names of their columns in small letters; an empty cell says nothing.
            note: Told of every cell that was not understood or says otherwise than one before it.
            now: The time of reading, for defaults.
            into: A message that already holds what the file says elsewhere; it is added to.
        """
        message: Any = self.message_type() if into is None else into
        for column in self.columns:
            for name in column.names:
                if row.get(name):
                    self._take(message, column, row[name], functools.partial(note, name))
        for column in self.columns:
            if column.default and paths.get(message, column.steps, 0) is None:
                text = now.astimezone(UTC).isoformat() if column.default == "@now" else column.default
                self._take(message, column, text, functools.partial(note, column.name))
        filled: Message = message
        return filled

    def _take(self, message: Any, column: Column, text: str, note: Callable[[str], None]) -> None:
        """Set a field from a cell, or say why not."""
        field = column.field
        try:
            value = cells.read_cell(field, text, column.theirs, column.code_list)
        except ValueError as unclear:
            other = _other(field)
            if other is None or not text.strip():
                note(f"{unclear}: left out")
                return
            # The word is kept beside OTHER, where the type has a place for it.
            note("not one of the words for it: taken as OTHER, with the word")
            value = other
            record = paths.enter(message, column.steps[:-1])
            if record is not None and not getattr(record, f"{field.name}_text"):
                setattr(record, f"{field.name}_text", text)
        if not paths.put(message, column.steps, value):
            note("another column says otherwise: left out")

    def write(self, message: Message, place: int = 0) -> dict[str, str]:
        """Return the cells of a message by the names of their columns, empty ones too.

        Args:
            message: A message of this form's type.
            place: Which element of the list `each` the row is for.

        Raises:
            RefusedError: `RULE_BROKEN` for a message of another type, or a value that no cell can hold.
        """
        if not isinstance(message, self.message_type):
            detail = f"the form {self.name} holds {self.message_type.DESCRIPTOR.name} only"
            raise error(Reason.RULE_BROKEN, field="schema", detail=detail, next_step="Choose another format.")
        row: dict[str, str] = {}
        for column in self.columns:
            value = paths.get(message, column.steps, place)
            if column.name not in row or not row[column.name]:
                try:
                    text = "" if value is None else _write(column, value)
                except ValueError:
                    detail = "outside the years 1 to 9999"
                    raise error(Reason.RULE_BROKEN, field=column.path, detail=detail) from None
                row[column.name] = text
        return row


def _write(column: Column, value: Any) -> str:
    if column.steps[-1].index is not None and column.field.is_repeated and not column.steps[-1].is_rest:
        # One element of a list is written as a list of one, so that no text in it is taken for a separator.
        return cells.write_cell(column.field, [value], column.ours, column.code_list)
    return cells.write_cell(column.field, value, column.ours, column.code_list)


def load(name: str) -> Form:
    """Return a packaged form by name.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where no such form is packaged.
    """
    if name not in names():
        raise error(Reason.UNKNOWN_VERSION, field="form", detail="no form of this name is known here")
    return _load(name)


@functools.cache
def _load(name: str) -> Form:
    text = files("infoexchange.catalogue").joinpath("maps", f"{name}.csv").read_text(encoding="utf-8")
    return Form.parse(text.splitlines(keepends=True))


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of the packaged forms."""
    found = (entry.name for entry in files("infoexchange.catalogue").joinpath("maps").iterdir())
    return tuple(sorted(name.removesuffix(".csv") for name in found if name.endswith(".csv")))


def _rows(lines: Iterable[str]) -> list[tuple[int, list[str]]]:
    reader = csv.reader(lines, strict=True)
    rows = []
    try:
        for row in reader:
            if row:
                rows.append((reader.line_num, row))
            if len(rows) > _COLUMNS_MAX:
                raise error(Reason.TOO_LARGE, detail=f"more than {_COLUMNS_MAX} columns")
    except csv.Error:
        raise error(Reason.MALFORMED, field=f"line {reader.line_num}", detail="not CSV") from None
    return rows


def _names(row: list[str]) -> list[str]:
    return [name.strip().lower() for name in (row[0], *row[2].split("|")) if name.strip()]


def _column(kind: Any, row: list[str], line: int) -> Column:
    """Return one column of a form."""
    steps = tuple(paths.steps_of(kind.DESCRIPTOR, row[1], line))
    theirs: dict[str, str] = {}
    ours: dict[str, str] = {}
    code_list = ""
    for part in filter(None, (part.strip() for part in row[3].split("|"))):
        word, equals, own = part.partition("=")
        if part.startswith("list:"):
            code_list = part.removeprefix("list:")
        elif equals:
            theirs[cells.plain_word(word)] = own
            # Of several words for one value the first is the one that is written.
            ours.setdefault(cells.plain_word(own), word)
        else:
            raise error(Reason.MALFORMED, field=f"line {line}", detail="words are theirs=ours or list:NAME")
    return Column(row[0].strip(), row[1], tuple(_names(row)), steps, theirs, ours, code_list, row[4], row[5])


def _other(field: Any) -> int | None:
    """Return the number of OTHER where a text beside the field can say what it is."""
    if field.is_repeated or not field.enum_type or f"{field.name}_text" not in field.containing_type.fields_by_name:
        return None
    name = f"{cells.prefix_of(field.enum_type)}OTHER"
    known = field.enum_type.values_by_name.get(name)
    return known.number if known else None


def refused_at(place: str, refused: ExchangeError) -> ExchangeError:
    """Return the same refusal with the place in the file where it arose."""
    field = f"{place}: {refused.field}" if refused.field else place
    return error(refused.reason, field=field, detail=refused.detail, next_step=refused.next_step)
