"""Examples: every message type has one that holds, says EXERCISE, and survives every form it is written in."""

from __future__ import annotations

from importlib.resources import files

import pytest

from infoexchange import catalogue
from infoexchange.catalogue import Handling, OpStatus, examples, marks, rules, text

NAMES = [cls.DESCRIPTOR.name for cls in catalogue.schemas().values()]


def test_there_is_one_for_every_type_and_no_other() -> None:
    folder = files(examples).joinpath("messages")
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{name}.json" for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_and_belongs_to_an_exercise(name: str) -> None:
    message = examples.message(name)
    handling: Handling = catalogue.handling_of(message)
    assert handling.op_status == OpStatus.OP_STATUS_EXERCISE
    assert rules.violations(message) == []
    wire = message.SerializeToString(deterministic=True)
    assert type(message).FromString(wire) == message == text.from_json(name, text.to_json(message))
    assert catalogue.domain_of(message)
    assert marks.describe(message)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_required_is_missed(name: str) -> None:
    """A message with one top-level field less is refused for that field, or the field is optional."""
    message = examples.message(name)
    for field, _ in message.ListFields():
        less = type(message).FromString(message.SerializeToString())
        less.ClearField(field.name)
        for found in rules.violations(less):
            assert found.field
            assert found.next_step
