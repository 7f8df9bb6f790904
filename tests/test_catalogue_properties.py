"""Properties of every message type: right ones survive every form, wrong ones are refused by their place.

Made from the rules in the schema. Seeds are fixed, so that a failure comes again; `python tests/wandering.py` is not a
program: change SEED to look elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from catalogue_messages import building_blocks
from infoexchange import catalogue
from infoexchange.catalogue import examples, rules, schema, text, yaml_text
from infoexchange.errors import RefusedError
from wandering import complete, rules_of, wandered

SEED = 20261122
STEPS, ROUNDS = 12, 2
NAMES = [cls.DESCRIPTOR.name for cls in catalogue.schemas().values()]
UNKNOWN_FIELD = b"\xfa\x3e\x03abc"  # number 1007, which no type has
LARGEST = 2**32 - 1  # that a field of the schema's numbers can hold
UNKNOWN_VALUE = 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_right_messages_survive_every_form(name: str) -> None:
    rng = random.Random(f"{SEED} {name}")
    message = examples.message(name)
    for _ in range(ROUNDS):
        message = wandered(message, rng, STEPS)
        wire = message.SerializeToString(deterministic=True)
        assert type(message).FromString(wire).SerializeToString(deterministic=True) == wire
        assert text.from_json(name, text.to_json(message)) == message
        assert yaml_text.from_yaml(name, yaml_text.to_yaml(message)) == message


def test_wandering_leads_somewhere() -> None:
    """Most changes hold, and every branch of a choice is reached."""
    rng, reached = random.Random(SEED), set()
    begun = examples.message("DrugSeizureReport")
    assert len({wandered(begun, rng, 5).SerializeToString() for _ in range(5)}) == 5
    for _ in range(100):
        place = made(catalogue.Location, rng)
        reached.add(place.WhichOneof("place"))
    assert reached == {field.name for field in place.DESCRIPTOR.oneofs_by_name["place"].fields}


# One rule broken at a time


def parts(message: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every part of a message that has fields of the catalogue, with its path."""
    yield path, message
    for field, value in message.ListFields():
        if schema.is_ours(field):
            for index, one in enumerate(value) if field.is_repeated else ((None, value),):
                here = f"{path}{field.name}" + ("" if index is None else f"[{index}]")
                yield from parts(one, f"{here}.")


def spoilings(record: Any, field: Any) -> Iterator[tuple[str, str]]:
    """Break each rule on a field in turn; give the rule and what stands behind the field's name in the path."""
    words = schema.field_words(field)
    listed, limits = words.rules.get("repeated", {}), rules_of(field)
    before = type(record).FromString(record.SerializeToString())
    value = getattr(record, field.name)

    def put(wrong: Any) -> str:
        if not field.is_repeated:
            setattr(record, field.name, wrong)
            return ""
        value.append(wrong)
        return f"[{len(value) - 1}]"

    made = {
        "max_len": lambda limit: put(("x" if field.type == field.TYPE_STRING else b"x") * (int(limit) + 1)),
        "len": lambda limit: put(bytes(int(limit) - 1)),
        "min_len": lambda _: put(""),
        "lte": lambda limit: put(min(limit + 1, LARGEST) if isinstance(limit, int) else limit + 1),
        "gte": lambda limit: put(limit - 1),
        "pattern": lambda _: put("\u00fc \n"),
        "defined_only": lambda _: put(UNKNOWN_VALUE),
        "not_in": lambda _: put(0),
    }  # fmt: skip
    for rule, limit in limits.items():
        # What the field cannot hold, or what counts as not said, breaks nothing.
        outside = (rule, limit) in (("gte", 1), ("lte", LARGEST))
        if rule in made and not outside:
            yield rule, made[rule](limit)
            record.CopyFrom(before)
            value = getattr(record, field.name)
    if words.required or "min_items" in listed:
        record.ClearField(field.name)
        yield "required", ""
        record.CopyFrom(before)
    if listed.get("unique") and getattr(record, field.name):
        getattr(record, field.name).append(getattr(record, field.name)[0])
        yield "unique", ""
        record.CopyFrom(before)
    if getattr(record, field.name) and 0 < int(listed.get("max_items", 0)) <= 64:
        getattr(record, field.name).extend([getattr(record, field.name)[0]] * int(listed["max_items"]))
        yield "max_items", ""
        record.CopyFrom(before)


# The same rules stand in every message; the types that have them not below another part are enough.
SHARED = {"Handling", "Person", "Location"}


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_rule_is_refused_by_its_place(name: str) -> None:
    message = examples.message(name)
    done: set[str] = set()
    for path, record in parts(message):
        kind = record.DESCRIPTOR.name
        if kind in done or (kind in SHARED and not path.startswith(("handling.", "persons[", "place."))):
            continue
        done.add(kind)
        for field in record.DESCRIPTOR.fields:
            for rule, behind in spoilings(record, field):
                found = {violation.field for violation in rules.violations(message)}
                assert f"{path}{field.name}{behind}" in found, (path, field.name, rule, found)


def test_rules_of_parts_that_no_example_has() -> None:
    found = {record.DESCRIPTOR.name for name in NAMES for _, record in parts(examples.message(name))}
    every = {part for name in NAMES for part in building_blocks(catalogue.message_type(name).DESCRIPTOR)}
    rng = random.Random(SEED)
    for kind in sorted({name.rpartition(".")[2] for name in every} - found):
        record = made(getattr(catalogue, kind), rng)
        for field in record.DESCRIPTOR.fields:
            for rule, behind in spoilings(record, field):
                places = {violation.field for violation in rules.violations(record)}
                assert f"{field.name}{behind}" in places, (kind, field.name, rule, places)


def made(kind: Any, rng: random.Random) -> Any:
    """A random part that holds, but for what it refers to."""
    for _ in range(200):
        record = kind()
        complete(record, rng)
        if not {violation.rule for violation in rules.violations(record)} - {"local_ref.known"}:
            return record
    raise AssertionError(f"no {kind} was made that holds")


# What a newer version knows


@pytest.mark.parametrize("name", NAMES)
def test_what_is_newer_survives(name: str) -> None:
    message = examples.message(name)
    for _, record in parts(message):
        record.MergeFromString(UNKNOWN_FIELD)
    wire = message.SerializeToString(deterministic=True)
    assert wire.count(UNKNOWN_FIELD) == len(list(parts(message)))
    assert type(message).FromString(wire).SerializeToString(deterministic=True) == wire
    rules.check(message)
    known = examples.message(name)
    rng = random.Random(f"{SEED} {name}")
    path, record, field = rng.choice(list(_choices(known)))
    setattr(record, field.name, UNKNOWN_VALUE)
    assert type(known).FromString(known.SerializeToString()) == known
    assert text.draft_from_json(name, text.to_json(known)) == known
    assert yaml_text.draft_from_yaml(name, yaml_text.to_yaml(known)) == known
    with pytest.raises(RefusedError):
        rules.check(known)
    if path.startswith("handling."):
        with pytest.raises(RefusedError):
            rules.check_received(known)
    else:
        rules.check_received(known)


def _choices(message: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every single choice of a value that a message makes."""
    for path, record in parts(message):
        for field, _ in record.ListFields():
            # Who may be a minor is treated as one: a newer answer is no reason for weaker marks.
            if field.enum_type and not field.is_repeated and field.name != "is_minor":
                yield path, record, field
