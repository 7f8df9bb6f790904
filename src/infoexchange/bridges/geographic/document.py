"""Documents: JSON of others, bounded, and its values as the cells of a table."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from infoexchange.catalogue import cells, strict_json
from infoexchange.errors import Reason, error

_NUMBER = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,20})?")


def bad(path: str, detail: str) -> NoReturn:
    """Refuse a member of the wrong kind, with its path."""
    raise error(Reason.BAD_FIELD, field=path, detail=detail)


def load(data: bytes) -> dict[str, Any]:
    """Return the object that a file holds.

    Raises:
        MalformedError: `MALFORMED` as `strict_json.load`, and where it is no object or nested deeper than records are.
        RefusedError: `TOO_LARGE` beyond 64 MiB.
    """
    found = strict_json.load(data)
    try:
        cells.check_depth(found)
    except ValueError as unclear:
        raise error(Reason.MALFORMED, detail=str(unclear)) from None
    if not isinstance(found, dict):
        raise error(Reason.MALFORMED, detail="not an object { }")
    return found


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
