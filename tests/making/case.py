"""Case: a vector before it is written, and the changes most of them are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from vectors import Vector


@dataclass(frozen=True)
class Case:
    """One vector to be: its name, what it is for, and what is to come out."""

    name: str
    entry: str
    expect: str
    blocks: tuple[bytes, ...]
    comment: str
    step: str = ""
    more: tuple[tuple[str, str], ...] = ()

    @property
    def vector(self) -> Vector:
        """The vector, its result not known yet."""
        headers = {"expect": self.expect, "entry": self.entry}
        headers |= {"step": self.step} if self.step else {}
        return Vector(self.name, headers | {"comment": self.comment} | dict(self.more), self.blocks)

    def checked(self) -> Vector:
        """Return the vector with its result, once the library gives the outcome expected."""
        vector = self.vector
        outcome = vector.outcome()
        if outcome != self.expect:
            raise SystemExit(f"{self.name}: {outcome} where {self.expect} was expected")
        return replace(vector, headers={**vector.headers, "result": vector.run()}) if self.expect == "ok" else vector


def put(**fields: object) -> Callable[[Any], None]:
    """Return the change that gives fields of a message other values."""

    def change(message: Any) -> None:
        for name, value in fields.items():
            setattr(message, name, value)

    return change


def clear(*names: str) -> Callable[[Any], None]:
    """Return the change that empties fields of a message."""

    def change(message: Any) -> None:
        for name in names:
            message.ClearField(name)

    return change


def edit(name: str, make: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return the change that makes a field's value from the one it has."""
    return lambda message: setattr(message, name, make(getattr(message, name)))


def inside(name: str, kind: type[Message], change: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return the change of a message that stands as bytes in a field."""
    return edit(name, lambda raw: changed(kind, raw, change))


def within(name: str, change: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return the change of the first of a message's repeated submessages."""

    def inner(message: Any) -> None:
        change(getattr(message, name)[0])

    return inner


def at(moment: datetime) -> tuple[str, str]:
    """Return the header line of a time."""
    return ("now", f"{moment:%Y-%m-%dT%H:%M:%SZ}")


def canonical(message: Message) -> bytes:
    """Return the one encoding."""
    return message.SerializeToString(deterministic=True)


def changed(kind: type[Message], raw: bytes, change: Callable[[Any], object]) -> bytes:
    """Return the bytes of a message after a change."""
    message = kind()
    message.ParseFromString(raw)
    change(message)
    return canonical(message)
