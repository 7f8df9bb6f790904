"""Documents: JSON of others, bounded, and its values as the cells of a table."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from infoexchange.catalogue import cells
from infoexchange.errors import Reason, error

# A file this large holds more than a map shows; it is refused before it fills the memory.
_SIZE_MAX = 64 * 1024 * 1024
_NUMBER = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,20})?")


def bad(path: str, detail: str) -> NoReturn:
    """Refuse a member of the wrong kind, with its path."""
    raise error(Reason.BAD_FIELD, field=path, detail=detail)


def load(data: bytes) -> dict[str, Any]:
    """Return the object that a file holds.

    Raises:
        MalformedError: `TOO_LARGE` beyond 64 MiB, `MALFORMED` for anything but one JSON object in UTF-8 in which no
            name stands twice and nothing is nested without end.
    """
    if len(data) > _SIZE_MAX:
        raise error(Reason.TOO_LARGE, detail=f"{len(data)} bytes, at most {_SIZE_MAX}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        line = data.count(b"\n", 0, broken.start) + 1
        raise error(Reason.MALFORMED, field=f"line {line}", detail="not UTF-8") from None
    try:
        found = cells.strict_json(text)
    except ValueError as unclear:
        raise error(Reason.MALFORMED, field=_line(text), detail=str(unclear)) from None
    if not isinstance(found, dict):
        raise error(Reason.MALFORMED, detail="not an object { }")
    return found


def _line(text: str) -> str:
    """Return where a text stops being JSON, or nothing where it is."""
    try:
        json.loads(text)
    except json.JSONDecodeError as broken:
        return f"line {broken.lineno}"
    except (RecursionError, ValueError):
        pass
    return ""


def text_of(value: Any) -> str:
    """Return a value of JSON as the text of a cell; what is null says nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def numbered(field: Any, text: str) -> Any:
    """Return the text of a cell as JSON says it: a number or yes and no where that loses nothing, else the text."""
    if field.type == field.TYPE_BOOL and not field.is_repeated:
        return text == "yes"
    if cells.is_number(field) and _NUMBER.fullmatch(text):
        number = float(text) if "." in text else int(text)
        return number if repr(number) == text else text
    return text
