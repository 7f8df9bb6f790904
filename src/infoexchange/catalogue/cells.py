"""Cells: one value of a message as the text of one cell of a table, and back.

What a text means follows from the field alone, so a table of columns needs to say only which column is which field.
Records below a field, such as pieces of evidence, stand in one cell as JSON with the field names of the `.proto` files.
A text that cannot be read raises ValueError with a clause for a person, never with the text itself.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from infoexchange.catalogue import codes, strict_json, wkt
from infoexchange.catalogue.marks import decimal_text
from infoexchange.catalogue.v1 import common_pb2
from infoexchange.errors import ExchangeError

_PREFIX = "infoexchange.catalogue.v1."
_TIME = "google.protobuf.Timestamp"
# Stands between the values of a list, as survey software writes it; a value that holds it makes the list JSON.
SEPARATOR = "; "

_NUMBER = re.compile(r"[-+]?[0-9]{1,20}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?")
_WHOLE = re.compile(r"(-?[0-9]{1,10})(\.0*)?")
_DECIMAL = re.compile(r"([-+]?)([0-9]{1,18})(?:\.([0-9]{0,18}))?")
_DATE = r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?"
_PARTIAL = re.compile(rf"(?:{_DATE}(~)?(?:/{_DATE})?|(unknown))(?: \((.*)\))?", re.DOTALL)
_DATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# A day that is written as a point in time, as many programs do.
_TIMED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ][0-9:.+Z-]*")
_EPOCH = re.compile(r"-?[0-9]{5,15}")
_YES = {"yes": True, "true": True, "1": True, "y": True, "no": False, "false": False, "0": False, "n": False}
_INT64_MAX = 2**63 - 1
# No list of the catalogue that stands in a cell may hold more; what is longer would only be compared with itself.
_LIST_MAX = 1000
# Deeper than any record of the catalogue; what lies deeper is no record and would only tire the reader.
_DEPTH_MAX = 16


def plain_word(word: str) -> str:
    """Return a word without case, spaces and signs: `Fired Upon`, `FIRED_UPON` and `FiredUpon` are one word."""
    return "".join(letter for letter in word.casefold() if letter.isalnum())


def is_record(field: Any) -> bool:
    """Tell whether a field's cell is JSON: records that have no text of their own."""
    return bool(field.message_type and field.message_type.full_name not in _WRITE and not _is_code(field))


def _is_code(field: Any) -> bool:
    return bool(field.message_type and field.message_type.full_name == f"{_PREFIX}Code")


def is_number(field: Any) -> bool:
    """Tell whether a field's cell is a number, so that software may sum and compare it."""
    if field.is_repeated or field.enum_type:
        return False
    if field.message_type:
        return bool(field.message_type.full_name == f"{_PREFIX}Decimal")
    return field.type not in {field.TYPE_STRING, field.TYPE_BOOL, field.TYPE_BYTES}


def prefix_of(enum: Any) -> str:
    """Return what the names of all values of an enum begin with."""
    return str(enum.values[0].name.removesuffix("UNSPECIFIED"))


# Writing


def write_cell(field: Any, value: Any, words: Mapping[str, str], code_list: str = "") -> str:
    """Return the text of a value.

    Args:
        field: Its field; for one element of a list the list's field.
        value: The value, of a repeated field a list of them.
        words: Other words for values of enums and code lists, by the plain form of ours.
        code_list: The list a code is of where the cell holds only its value.

    Raises:
        ValueError: For a time outside the years 1 to 9999.
    """
    if is_record(field):
        return _record_text(value, is_list=field.is_repeated)
    if not field.is_repeated:
        return _text(field, value, words, code_list)
    texts = [_text(field, one, words, code_list) for one in value]
    if any(";" in text or text != text.strip() or not text for text in texts) or (texts and texts[0][0] in "[{"):
        return json.dumps(texts, ensure_ascii=False)
    return SEPARATOR.join(texts)


def _record_text(value: Any, *, is_list: bool) -> str:
    from google.protobuf import json_format

    def plain(one: Any) -> Any:
        return json_format.MessageToDict(one, preserving_proto_field_name=True)

    return json.dumps([plain(one) for one in value] if is_list else plain(value), ensure_ascii=False)


def _text(field: Any, value: Any, words: Mapping[str, str], code_list: str) -> str:
    """Return the text of one value that is no list."""
    if field.enum_type:
        known = field.enum_type.values_by_number.get(value)
        name = known.name.removeprefix(prefix_of(field.enum_type)) if known else str(value)
        return words.get(plain_word(name), name)
    if _is_code(field):
        packaged = codes.load(code_list).version if code_list in codes.names() else ""
        if value.system == code_list and value.version == packaged and value.value[:1] not in {"", "{"}:
            return words.get(plain_word(value.value), str(value.value))
        return _record_text(value, is_list=False)
    if field.message_type:
        return str(_WRITE[field.message_type.full_name](value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value) if isinstance(value, float) else str(value)


def _date_text(value: Any) -> str:
    def one(year: int, month: int, day: int) -> str:
        return f"{year:04d}" + (f"-{month:02d}" if month else "") + (f"-{day:02d}" if month and day else "")

    text = one(value.year, value.month, value.day)
    if value.kind == common_pb2.DATE_KIND_APPROXIMATE:
        text += "~"
    elif value.kind == common_pb2.DATE_KIND_BETWEEN:
        text += "/" + one(value.to_year, value.to_month, value.to_day)
    elif value.kind != common_pb2.DATE_KIND_EXACT:
        text = "unknown"
    return f"{text} ({value.note})" if value.note else text


_WRITE: dict[str, Any] = {
    f"{_PREFIX}Decimal": lambda value: decimal_text(value.unscaled, value.scale),
    f"{_PREFIX}PartialDate": _date_text,
    f"{_PREFIX}Instant": lambda value: value.utc.ToJsonString(),
    f"{_PREFIX}Geometry": wkt.write_wkt,
    _TIME: lambda value: value.ToJsonString(),
}


# Reading


def read_cell(field: Any, text: str, words: Mapping[str, str], code_list: str = "") -> Any:
    """Return the value that a text says: what the field takes, a list for a repeated field.

    Args:
        field: Its field.
        text: The cell, not empty.
        words: Other words for values of enums and code lists, by their own plain form.
        code_list: The list a code is of where the cell holds only its value.

    Raises:
        ValueError: With a clause that says what a cell of this field looks like.
    """
    if is_record(field):
        return _records(field, text)
    if not field.is_repeated:
        return _value(field, text, words, code_list)
    if text.lstrip().startswith("["):
        texts = json_of(text)
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            raise ValueError("not a list of texts")
    else:
        texts = [one.strip() for one in text.split(";") if one.strip()]
    _check_length(texts)
    # The same value twice says no more than once, and fields that hold sets refuse it.
    found: list[Any] = []
    for one in texts:
        value = _value(field, one, words, code_list)
        if value not in found:
            found.append(value)
    return found


def json_of(text: str) -> Any:
    """Return JSON that every reader reads alike, and nested no deeper than records of the catalogue.

    Raises:
        ValueError: For anything else.
    """
    try:
        found = strict_json.load(text.encode())
    except (ExchangeError, UnicodeEncodeError):
        raise ValueError("not JSON, or a name stands twice in it") from None
    check_depth(found)
    return found


def _check_length(found: Sequence[Any]) -> None:
    if len(found) > _LIST_MAX:
        raise ValueError(f"a list of more than {_LIST_MAX}")


def check_depth(value: Any) -> None:
    """Accept a value of JSON that is nested no deeper than records of the catalogue.

    Raises:
        ValueError: For a deeper one.
    """
    level = [value]
    for _ in range(_DEPTH_MAX):
        level = [
            below
            for one in level
            if isinstance(one, (list, dict))
            for below in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {_DEPTH_MAX}")


def new_message(descriptor: Any) -> Any:
    """Return an empty message of a descriptor's type."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(descriptor)()


def _records(field: Any, text: str) -> Any:
    from google.protobuf import json_format

    found = json_of(text)
    if isinstance(found, list) != field.is_repeated:
        raise ValueError("a list of records in JSON is needed" if field.is_repeated else "one record in JSON is needed")
    _check_length(found if field.is_repeated else ())
    made = []
    for one in found if field.is_repeated else [found]:
        record = new_message(field.message_type)
        if not isinstance(one, dict):
            raise ValueError("a record in JSON is an object")
        try:
            json_format.ParseDict(one, record)
        except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            raise ValueError("a record has a field of another name or value") from None
        made.append(record)
    return made if field.is_repeated else made[0]


def _value(field: Any, text: str, words: Mapping[str, str], code_list: str) -> Any:
    """Return one value that is no list."""
    if field.enum_type:
        word = plain_word(words.get(plain_word(text), text))
        number = _numbers(field.enum_type).get(word)
        if number is None:
            raise ValueError("not one of the words for it")
        return number
    if _is_code(field):
        return _code(text, words, code_list)
    if field.message_type:
        return _READ[field.message_type.full_name](text.strip())
    if field.type == field.TYPE_STRING:
        _check_text(text)
        return text
    if field.type == field.TYPE_BOOL:
        if text.strip().lower() not in _YES:
            raise ValueError("neither yes nor no")
        return _YES[text.strip().lower()]
    if field.type == field.TYPE_DOUBLE:
        return read_number(text)
    whole = _WHOLE.fullmatch(text.strip())
    low, high = (0, 2**32) if field.type == field.TYPE_UINT32 else (-(2**31), 2**31)
    if not whole or not low <= int(whole[1]) < high:
        raise ValueError("not a whole number")
    return int(whole[1])


@functools.cache
def _numbers(enum: Any) -> Mapping[str, int]:
    """Return the numbers of an enum's values by their plain words; of two that are one word the first counts."""
    prefix = prefix_of(enum)
    return {plain_word(known.name.removeprefix(prefix)): known.number for known in reversed(enum.values[1:])}


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no text") from None


def read_number(text: str) -> float:
    """Return the number a text says in ASCII digits.

    Raises:
        ValueError: For anything else, infinite numbers among it.
    """
    number = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not math.isfinite(number):
        raise ValueError("not a number such as -12.5")
    return number


def _code(text: str, words: Mapping[str, str], code_list: str) -> Any:
    made = common_pb2.Code()
    if text.lstrip().startswith("{"):
        field = common_pb2.Quantity.DESCRIPTOR.fields_by_name["unit"]  # any field that holds one Code
        made.CopyFrom(_records(field, text))
        return made
    known = codes.load(code_list) if code_list in codes.names() else None
    row = known.find(words.get(plain_word(text), text)) if known else None
    if known is None or row is None:
        raise ValueError("not in the code list")
    made.system, made.version, made.value = known.name, known.version, row["value"]
    return made


def _decimal(text: str) -> Any:
    found = _DECIMAL.fullmatch(text)
    if not found:
        raise ValueError("not a number such as 12.50")
    places = found[3] or ""
    unscaled = int(found[1] + found[2] + places)
    if abs(unscaled) > _INT64_MAX:
        raise ValueError("more digits than a decimal holds")
    return common_pb2.Decimal(unscaled=unscaled, scale=len(places))


def _partial_date(text: str) -> Any:
    made = common_pb2.PartialDate()
    if _EPOCH.fullmatch(text):
        when = _moment(text)
        made.kind, made.year, made.month, made.day = common_pb2.DATE_KIND_EXACT, when.year, when.month, when.day
        return made
    found = _PARTIAL.fullmatch(_TIMED.sub(r"\1", text) if _TIMED.fullmatch(text) else text)
    numbers = [int(part or 0) for part in found.groups()[:3] + found.groups()[4:7]] if found else [0] * 6
    if not found or (found[4] and found[5]) or any(number > 12 for number in numbers[1::3]):
        raise ValueError("not a date such as 2026-02-01, 2026-02~ or 2026-01/2026-03")
    made.year, made.month, made.day, made.to_year, made.to_month, made.to_day = numbers
    for year, month, day in (numbers[:3], numbers[3:]):
        if day:
            _calendar(year, month, day)
    between = common_pb2.DATE_KIND_BETWEEN if found[5] else common_pb2.DATE_KIND_EXACT
    made.kind = common_pb2.DATE_KIND_APPROXIMATE if found[4] else between
    if found[8]:
        made.kind = common_pb2.DATE_KIND_UNKNOWN
    made.note = found[9] or ""
    return made


def _calendar(year: int, month: int, day: int) -> datetime:
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        raise ValueError("there is no such day") from None


def _moment(text: str) -> datetime:
    """Return the time that milliseconds since 1970 say, as map services write times."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(text))
    except OverflowError:
        raise ValueError("outside the years 1 to 9999") from None


def _instant(text: str) -> Any:
    made = common_pb2.Instant()
    if _DATED.fullmatch(text):
        made.utc.FromDatetime(_calendar(*map(int, text.split("-"))))
        made.precision = common_pb2.PRECISION_DAY
    else:
        made.utc.CopyFrom(_timestamp(text))
    return made


def _timestamp(text: str) -> Any:
    made = common_pb2.Instant().utc
    try:
        if _EPOCH.fullmatch(text):
            made.FromDatetime(_moment(text))
        else:
            made.FromJsonString(text)
    except (ValueError, OverflowError):
        raise ValueError("not a time such as 2026-01-31T08:00:00Z") from None
    return made


_READ: dict[str, Any] = {
    f"{_PREFIX}Decimal": _decimal,
    f"{_PREFIX}PartialDate": _partial_date,
    f"{_PREFIX}Instant": _instant,
    f"{_PREFIX}Geometry": wkt.read_wkt,
    _TIME: _timestamp,
}
