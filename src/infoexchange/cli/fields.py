"""Fields: objects of a JSON page that a person wrote, with every mistake named by its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from infoexchange.errors import ExchangeError, Reason, error

T = TypeVar("T")


class Fields:
    """One object of the draft, whose every key is asked for or refused.

    Attributes:
        where: Its place in the draft, with a dot behind it.
    """

    def __init__(self, value: object, where: str) -> None:
        """Hold an object, or raise if it is none."""
        if not isinstance(value, dict):
            raise bad(where.rstrip(".") or "the draft", "not an object { }")
        self.where = where
        self._value: dict[str, Any] = value
        self._asked: set[str] = set()

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """Return the value of a key if it is of that kind; without a default it must be there."""
        self._asked.add(key)
        value = self._value.get(key, default)
        if value is None:
            raise bad(self.where + key, "is missing" + self._meant(key))
        if type(value) is not kind:  # exactly: a JSON true is no number
            raise bad(self.where + key, f"not a {_WORDS[kind]}")
        _check_text(self.where + key, value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty where there is none."""
        values: list[Any] = self.take(key, list, [])
        for i, value in enumerate(values):
            if type(value) is not str:
                raise bad(f"{self.where}{key}[{i}]", "not a text")
            _check_text(f"{self.where}{key}[{i}]", value)
        return tuple(values)

    def objects(self, key: str) -> list[Fields]:
        """Return a list of objects, empty where there is none."""
        return [Fields(v, f"{self.where}{key}[{i}].") for i, v in enumerate(self.take(key, list, []))]

    def either(self, key: str) -> Any:
        """Return the value of a key, of whatever kind; the caller refuses what it does not know."""
        self._asked.add(key)
        if self._value.get(key) is None:
            raise bad(self.where + key, "is missing" + self._meant(key))
        return self._value[key]

    def moment(self, key: str) -> datetime:
        """Return a time, in UTC where it names no zone."""
        text = self.take(key, str)
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise bad(self.where + key, f"{text!r} is not a date such as 2026-01-31") from None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def moment_or_none(self, key: str) -> datetime | None:
        """Return a time, nothing where there is none."""
        self._asked.add(key)
        return self.moment(key) if key in self._value else None

    def close(self) -> None:
        """Raise if there is a key that nothing asked for."""
        for key in self._value.keys() - self._asked:
            raise bad(self.where + key, f"no such key{nearest(key, self._asked)}")

    def _meant(self, key: str) -> str:
        near = difflib.get_close_matches(key, self._value.keys() - self._asked, 1)
        return f"; {near[0]!r} stands there" if near else ""


_WORDS: dict[type, str] = {str: "text", int: "whole number", list: "list [ ]"}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the one that was meant, or all there are."""
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(known))}"


def bad(where: str, detail: str) -> ExchangeError:
    """Return the error for a mistake at a place of the draft."""
    return error(Reason.BAD_FIELD, field=where, detail=detail, next_step="Correct it in the draft and run it again.")


def _check_text(where: str, value: object) -> None:
    """Raise for half of a surrogate pair, which JSON can write and no encoding can."""
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise bad(where, "holds half of a character")
