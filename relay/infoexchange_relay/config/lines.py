"""Lines: in which line of a TOML file each setting stands, which the standard reader of TOML does not tell."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any


def lines_of(text: str, table: str) -> dict[str, int]:
    """Return the line of each key of a TOML text, counted from 1; `x` in the table `[t]` is called `t_x`.

    Args:
        text: A text that is TOML.
        table: The table whose keys count as settings; any other stands for itself.
    """
    lines: dict[str, int] = {}
    inside: list[str] = []
    for number, statement, parsed in _statements(text):
        if statement.startswith("["):
            inside = _path(parsed)
            path = inside
        else:
            path = [*inside, *_path(parsed)]
        if path[:1] == [table] and len(path) > 1:
            lines.setdefault(f"{table}_{path[1]}", number)
        lines.setdefault(path[0], number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield line, text and meaning of each header and each assignment.

    A statement ends with the first line after which it is TOML by itself: only one that goes on can be incomplete.
    """
    begun, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if not begun:
            first = number
        begun = f"{begun}\n{line}" if begun else line.strip()
        if not begun:
            continue
        try:
            parsed = tomllib.loads(begun)
        except (ValueError, RecursionError):
            continue
        if parsed:  # else a comment
            yield first, begun, parsed
        begun = ""


def _path(parsed: dict[str, Any]) -> list[str]:
    """Return the keys from the outside in of a statement that names one thing: tables of one key, one in another."""
    path: list[str] = []
    at: object = parsed
    while isinstance(at, dict) and len(at) == 1:
        [(key, at)] = at.items()
        path.append(key)
        if isinstance(at, list) and len(at) == 1:
            [at] = at  # [[table]]
    return path
