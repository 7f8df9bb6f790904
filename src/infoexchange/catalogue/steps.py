"""Steps: what a message asks or answers and how far it takes a request, from the options of its schema."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from infoexchange import catalogue
from infoexchange.catalogue.v1 import options_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Stated(NamedTuple):
    """What a message says of where its request stands: the field that says it, and the step."""

    field: str
    step: int


def stated(message: Message) -> Stated:
    """Return the step a message states; `STEP_UNSPECIFIED` and no field where it states none that is known here."""
    for field, value in message.ListFields():
        if field.enum_type and not field.is_repeated:
            known = field.enum_type.values_by_number.get(value)
            step = known.GetOptions().Extensions[options_pb2.step] if known else options_pb2.STEP_UNSPECIFIED
            if step:
                return Stated(field.name, step)
        elif field.GetOptions().Extensions[options_pb2.completes]:
            return Stated(field.name, options_pb2.STEP_FINAL if value else options_pb2.STEP_PARTIAL)
    return Stated("", options_pb2.STEP_UNSPECIFIED)


def asks(message: Message) -> bool:
    """Return whether an answer to a message is owed."""
    always = message.DESCRIPTOR.GetOptions().Extensions[options_pb2.asks]
    return bool(always) or stated(message).step == options_pb2.STEP_ASKS


def deadline(message: Message) -> datetime | None:
    """Return the time by which a message asks for its answer; nothing where it states none, or no time there is."""
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[options_pb2.deadline]:
            with contextlib.suppress(ValueError, OverflowError):  # seconds before year 1, a billion nanoseconds
                moment: datetime = value.ToDatetime(tzinfo=UTC)
                return moment
    return None


def answers(name: str) -> frozenset[str]:
    """Return the message types that messages of a type may answer, by their short names."""
    return _answers().get(name, frozenset())


def replies(name: str) -> tuple[str, ...]:
    """Return the message types that may answer messages of a type, by their short names."""
    return tuple(reply for reply, answered in _answers().items() if name in answered)


def states_a_step(name: str) -> bool:
    """Return whether a type of replies says how far an answer goes; where not, every message is one answer of many."""
    return any(_step_fields(catalogue.message_type(name).DESCRIPTOR))


@functools.cache
def asking() -> frozenset[str]:
    """Return the message types that ask for an answer, always or with some value, by their short names."""
    return frozenset(cls.DESCRIPTOR.name for cls in catalogue.schemas().values() if _may_ask(cls.DESCRIPTOR))


@functools.cache
def _answers() -> Mapping[str, frozenset[str]]:
    found = {}
    for cls in catalogue.schemas().values():
        options = [field.GetOptions() for field in cls.DESCRIPTOR.fields]
        names = frozenset(name for option in options for name in option.Extensions[options_pb2.reply_to])
        if names:
            found[cls.DESCRIPTOR.name] = names
    return found


def _may_ask(descriptor: Any) -> bool:
    if descriptor.GetOptions().Extensions[options_pb2.asks]:
        return True
    return any(
        value.GetOptions().Extensions[options_pb2.step] == options_pb2.STEP_ASKS
        for field in _step_fields(descriptor)
        if field.enum_type
        for value in field.enum_type.values
    )


def _step_fields(descriptor: Any) -> Iterator[Any]:
    """Yield the fields of a type whose values may say how far an answer goes."""
    for field in descriptor.fields:
        values = field.enum_type.values if field.enum_type and not field.is_repeated else ()
        marked = any(value.GetOptions().Extensions[options_pb2.step] for value in values)
        if marked or field.GetOptions().Extensions[options_pb2.completes]:
            yield field
