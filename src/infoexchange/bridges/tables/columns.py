"""Columns: what a cell can say, how it is read into a field and how a field is written into a cell.

A kind reads text into a field and returns what is wrong with the text, or nothing; what is wrong is noted, never
guessed. Digits are those of ASCII: a digit of another script would be read as something nobody sees in the table.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from infoexchange.catalogue import Code, Decimal, codes

_WHOLE = re.compile(r"[0-9]{1,9}")
# An int64 holds any 18 digits.
_DECIMAL = re.compile(r"(-?)([0-9]{1,18})(?:\.([0-9]{1,18}))?")
_DIGITS_MAX = 18
_COUNTRY = re.compile(r"[A-Z]{2}")
# Code of another list, or of another version, than the one the column is for.
_OTHER_CODE = re.compile(r"(.+) \[(\S{1,100}) (\S{1,40})\]", re.DOTALL)
_SEPARATOR = "; "
_LIST_MAX = 200  # no list of the messages holds more
_YES, _NO = frozenset({"yes", "true", "1"}), frozenset({"no", "false", "0"})


class Kind(NamedTuple):
    """What a column's cells can say.

    Attributes:
        shape: What a cell looks like, for people.
        read: Puts a text into a field of a record; returns what is wrong with the text, or nothing.
        write: Returns the text of a field.
        is_number: Whether a spreadsheet can compute with it.
    """

    shape: str
    read: Callable[[Any, str, str], str]
    write: Callable[[Any, str], str]
    is_number: bool = False


class Column(NamedTuple):
    """A column: its name, the field it stands for, and what its cells say. Fields below others have dots between."""

    name: str
    field: str
    kind: Kind


def _read_text(record: Any, field: str, text: str) -> str:
    setattr(record, field, text)
    return ""


def _read_whole(record: Any, field: str, text: str) -> str:
    if not _WHOLE.fullmatch(text):
        return "not a whole number"
    setattr(record, field, int(text))
    return ""


def _write_whole(record: Any, field: str) -> str:
    return str(getattr(record, field)) if _is_said(record, field) else ""


def _is_said(record: Any, field: str) -> bool:
    descriptor = record.DESCRIPTOR.fields_by_name[field]
    return bool(record.HasField(field) if descriptor.has_presence else getattr(record, field))


def to_decimal(text: str) -> Decimal | None:
    """Return a decimal number as it is written, or None where it is none or has more than 18 digits."""
    found = _DECIMAL.fullmatch(text)
    if not found or len(found[2]) + len(found[3] or "") > _DIGITS_MAX:
        return None
    return Decimal(unscaled=int(found[1] + found[2] + (found[3] or "")), scale=len(found[3] or ""))


def from_decimal(number: Decimal) -> str:
    """Return a decimal number with its stated precision."""
    scale = min(max(number.scale, 0), _DIGITS_MAX)  # what a rule will refuse is written all the same
    digits = str(abs(number.unscaled)).zfill(scale + 1)
    sign = "-" if number.unscaled < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def _read_decimal(record: Any, field: str, text: str) -> str:
    number = to_decimal(text)
    if number is None:
        return "not a number such as 1200.5, without separators of thousands"
    getattr(record, field).CopyFrom(number)
    return ""


def _write_decimal(record: Any, field: str) -> str:
    return from_decimal(getattr(record, field)) if record.HasField(field) else ""


def _read_yes(record: Any, field: str, text: str) -> str:
    if text.lower() not in _YES | _NO:
        return "neither yes nor no"
    setattr(record, field, text.lower() in _YES)
    return ""


def _write_yes(record: Any, field: str) -> str:
    return ("yes" if getattr(record, field) else "no") if record.HasField(field) else ""


def _read_country(record: Any, field: str, text: str) -> str:
    if not _COUNTRY.fullmatch(text.upper()):
        return "not a country of two letters, ISO 3166-1"
    setattr(record, field, text.upper())
    return ""


def _parts(text: str) -> tuple[list[str], str]:
    """Return the texts that stand in one cell, each once, and what is wrong with them."""
    found = [part.strip() for part in text.split(_SEPARATOR.strip(), _LIST_MAX)]
    kept = list(dict.fromkeys(part for part in found[:_LIST_MAX] if part))
    return kept, f"more than {_LIST_MAX}, the rest" if len(found) > _LIST_MAX and found[-1] else ""


def _read_countries(record: Any, field: str, text: str) -> str:
    found, wrong = _parts(text.upper())
    if not all(map(_COUNTRY.fullmatch, found)):
        return "not countries of two letters, ISO 3166-1, with ; between"
    getattr(record, field).extend(found)
    return wrong


def _read_texts(record: Any, field: str, text: str) -> str:
    found, wrong = _parts(text)
    getattr(record, field).extend(found)
    return wrong


def _write_texts(record: Any, field: str) -> str:
    return _SEPARATOR.join(one.replace(";", ",") for one in getattr(record, field))


def choice(enum: Any) -> Kind:
    """Return the kind of a column with the values of an enum."""
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")

    def read(record: Any, field: str, text: str) -> str:
        name = prefix + re.sub(r"[ -]", "_", text.upper())
        if name in enum.keys() and enum.Value(name):  # noqa: SIM118  an enum is no mapping
            setattr(record, field, enum.Value(name))
            return ""
        return f"not one of {', '.join(value.removeprefix(prefix) for value in enum.keys()[1:])}"

    def write(record: Any, field: str) -> str:
        number = getattr(record, field)
        return str(enum.Name(number).removeprefix(prefix)) if number and number in enum.values() else ""

    return Kind(f"one of {enum.DESCRIPTOR.name}", read, write)


@functools.cache
def _by_meaning(name: str) -> Mapping[str, str]:
    return {row.get("meaning", "").lower(): row["value"] for row in codes.load(name).rows.values()}


def _to_code(name: str, text: str) -> Code | None:
    known = codes.load(name)
    row = known.find(text)
    value = row["value"] if row else _by_meaning(name).get(text.lower(), "")
    if value:
        return Code(system=known.name, version=known.version, value=value)
    other = _OTHER_CODE.fullmatch(text)
    return Code(system=other[2], version=other[3], value=other[1]) if other else None


def _from_code(name: str, code: Code) -> str:
    known = codes.load(name)
    if (code.system, code.version) == (known.name, known.version):
        return code.value
    return f"{code.value} [{code.system} {code.version}]"


def code(name: str) -> Kind:
    """Return the kind of a column with values, or meanings, of a code list; other lists stand behind in brackets."""

    def read(record: Any, field: str, text: str) -> str:
        found = _to_code(name, text)
        if found is None:
            return _not_in(name)
        getattr(record, field).CopyFrom(found)
        return ""

    def write(record: Any, field: str) -> str:
        return _from_code(name, getattr(record, field)) if record.HasField(field) else ""

    return Kind(f"code of `{name}`", read, write)


def code_list(name: str) -> Kind:
    """Return the kind of a column with several values of a code list."""

    def read(record: Any, field: str, text: str) -> str:
        parts, wrong = _parts(text)
        found = [_to_code(name, part) for part in parts]
        getattr(record, field).extend(known for known in found if known is not None)
        return wrong if None not in found else _not_in(name)

    def write(record: Any, field: str) -> str:
        return _SEPARATOR.join(_from_code(name, one) for one in getattr(record, field))

    return Kind(f"codes of `{name}` with ; between", read, write)


def _not_in(name: str) -> str:
    return f"not in the list {name} {codes.load(name).version}"


TEXT = Kind("text", _read_text, lambda record, field: str(getattr(record, field)))
WHOLE = Kind("whole number", _read_whole, _write_whole, is_number=True)
DECIMAL = Kind("number", _read_decimal, _write_decimal, is_number=True)
YES = Kind("yes or no", _read_yes, _write_yes)
COUNTRY = Kind("country, two letters", _read_country, TEXT.write)
COUNTRIES = Kind("countries with ; between", _read_countries, _write_texts)
TEXTS = Kind("texts with ; between", _read_texts, _write_texts)


def fill(record: Any, columns: Iterable[Column], cells: Mapping[str, str], note: Callable[[str, str], None]) -> None:
    """Put what cells say into a record, and note what was not understood.

    Args:
        record: The message, or a record of it.
        columns: Columns whose fields are fields of that record.
        cells: What the row says.
        note: Takes the name of a column and what is wrong with its cell.
    """
    for column in columns:
        text = cells.get(column.name, "")
        if text:
            wrong = column.kind.read(*_place(record, column.field), text)
            if wrong:
                note(column.name, f"{wrong}: left out")


def cells_of(record: Any, columns: Iterable[Column]) -> dict[str, str]:
    """Return the cells of a record."""
    return {column.name: column.kind.write(*_place(record, column.field)) for column in columns}


def _place(record: Any, path: str) -> tuple[Any, str]:
    """Return the record that holds a field, and the field's own name."""
    *above, field = path.split(".")
    for name in above:
        record = getattr(record, name)
    return record, field
