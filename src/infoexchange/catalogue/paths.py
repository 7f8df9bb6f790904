"""Paths: fields of a message by the way that leads to them, read and set one at a time.

`benchmark.latitude` is a field below a record, `languages[0]` one place of a list, `languages[2:]` the rest of it, and
`results[].area_m2` the place of whichever element a row is for. Setting never replaces: what is set stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from infoexchange.errors import Reason, error

_STEP = re.compile(r"([a-z][a-z0-9_]*)(?:\[([0-9]{0,2})(:)?\])?")
_SUPPORTED = ("STRING", "BOOL", "DOUBLE", "UINT32", "SINT32", "INT32", "ENUM", "MESSAGE")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: a field, and of a list one place, each row's place, or the rest."""

    field: Any
    index: int | None = None
    is_each: bool = False
    is_rest: bool = False


def steps_of(descriptor: Any, path: str, line: int) -> Iterable[Step]:
    """Give the steps of a path, checked against the type."""
    refused = error(Reason.BAD_FIELD, field=f"line {line}", detail="the message type has no such field for a cell")
    field: Any = None
    for part in path.split("."):
        found = _STEP.fullmatch(part)
        field = descriptor.fields_by_name.get(found[1]) if descriptor is not None and found else None
        if field is None or found is None:
            raise refused
        is_each = found[2] == "" and found[3] is None and "[" in part
        if ("[" in part) != field.is_repeated and not (field.is_repeated and part == path.rpartition(".")[2]):
            raise refused
        yield Step(field, int(found[2]) if found[2] else None, is_each, found[3] is not None)
        descriptor = field.message_type
    # The walk above ends in `field`, because a path has at least one part.
    if field.type not in {getattr(field, f"TYPE_{name}") for name in _SUPPORTED}:
        raise refused
    if field.name == "handling" or path.startswith("handling"):
        raise refused  # marks have a column of their own, that no form can turn off


def enter(record: Any, steps: Iterable[Step]) -> Any:
    """Return the record that steps lead to, made where it is missing; None where a choice was made otherwise."""
    for step in steps:
        choice = step.field.containing_oneof
        if choice is not None and record.WhichOneof(choice.name) not in {None, step.field.name}:
            return None
        below = getattr(record, step.field.name)
        if step.field.is_repeated:
            index = step.index or 0
            below = below[index] if index < len(below) else below.add()
        record = below
    return record


def put(message: Any, steps: tuple[Step, ...], value: Any) -> bool:
    """Set a field that is not set yet; tell whether the message now says this value."""
    record, last = enter(message, steps[:-1]), steps[-1]
    if record is None:
        return False
    field, name = last.field, last.field.name
    if field.is_repeated:
        held = getattr(record, name)
        values = value if isinstance(value, list) else [value]
        if last.index is None and held:
            return list(held) == values
        held.extend([one for one in values if last.index is None or one not in held])
        return True
    choice = field.containing_oneof
    if choice is not None and record.WhichOneof(choice.name) not in {None, name}:
        return False
    if record.HasField(name) if field.has_presence else getattr(record, name) != field.default_value:
        return bool(getattr(record, name) == value)
    if field.message_type:
        getattr(record, name).CopyFrom(value)
    else:
        setattr(record, name, value)
    return True


def get(message: Any, steps: tuple[Step, ...], place: int) -> Any:
    """Return what a field holds, None where it is not set; of one row's element that at `place`."""
    record = message
    for step in steps:
        field = step.field
        value = getattr(record, field.name)
        if field.is_repeated:
            if step.is_rest or (step.index is None and not step.is_each):
                return list(value)[step.index or 0 :] or None
            index = place if step.is_each else step.index or 0
            if index >= len(value):
                return None
            value = value[index]
        elif field.has_presence:
            if not record.HasField(field.name):
                return None
        elif value == field.default_value:
            return None
        record = value
    return record
