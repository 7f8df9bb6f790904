"""Strict JSON: the files of others, read so that no two readers can see different things in them."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from infoexchange.errors import ExchangeError, Reason, error

# A file this large holds more records than a message may; it is refused before it fills the memory.
SIZE_MAX = 64 * 1024 * 1024


def load(data: bytes) -> Any:
    """Return the value of a JSON file in UTF-8.

    How deep it may be nested is bounded by the reader of the standard library, at about a thousand levels.

    Raises:
        MalformedError: `MALFORMED` with the line where it is no JSON, where a name stands twice in one object, or for
            a number that is not one; `TOO_LARGE` (a RefusedError) beyond 64 MiB.
    """
    if len(data) > SIZE_MAX:
        raise error(Reason.TOO_LARGE, detail=f"{len(data)} bytes, at most {SIZE_MAX}")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=once, parse_constant=_no_constant)
    except json.JSONDecodeError as broken:
        detail = f"not JSON: column {broken.colno}"
        raise error(Reason.MALFORMED, field=f"line {broken.lineno}", detail=detail) from None
    except (RecursionError, ValueError):
        raise error(Reason.MALFORMED, detail="not UTF-8, nested too deeply, or not JSON") from None


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object in which no name stands twice: of two, readers could choose different ones, marks among them.

    Raises:
        MalformedError: `MALFORMED`.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise error(Reason.MALFORMED, detail="an object of the file has the same name twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def bad(path: str, detail: str) -> ExchangeError:
    """Return the error for a value that cannot be what it should be, with its path."""
    return error(Reason.BAD_FIELD, field=path, detail=detail)


def text(found: dict[str, Any], name: str, path: str) -> str:
    """Return a text of an object, nothing where there is none.

    Raises:
        MalformedError: `BAD_FIELD` with the path.
    """
    value = found.get(name)
    if value is None:
        return ""
    where = f"{path}.{name}".lstrip(".")
    if not isinstance(value, str):
        raise bad(where, "text is needed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise bad(where, "half of a surrogate pair is no text") from None
    return value


def objects(found: dict[str, Any], name: str, path: str) -> list[dict[str, Any]]:
    """Return a list of objects inside an object, an empty one where there is none.

    Raises:
        MalformedError: `BAD_FIELD` with the path.
    """
    value = found.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise bad(f"{path}.{name}".lstrip("."), "a list of objects is needed")
    return value
