"""Random messages that hold: an example changed bit by bit, each change kept if every rule still holds.

What a change may be comes from the schema's own rules, so that a field added to a `.proto` file is wandered into on the
same day, choices between fields included.
"""

from __future__ import annotations

import random
import re
from typing import Any

from infoexchange.catalogue import rules, schema

TEXTS = (
    "NO", "yes", "1:30", "0123", "2026-01-31", "12.50", "null", "~", "true", "a: b", "- a", "# a", "{", "[", "*a", "&a",
    "!a", "%a", "@a", "`a", "'", '"', "a\nb", "a\n\nb\n", " a ", "\ta", "ทดสอบ", "试验", "\U0001f6a2", "a\u2028b",
    "\x85", "\ufeff", "=1+1", "x" * 130, "|", ">", "?", "\\", "a #b", "a: |\n  b", "\x7f", "e\u0301",
)  # fmt: skip
_ATTEMPTS = 6


def wandered(message: Any, rng: random.Random, steps: int) -> Any:
    """A message some valid changes away."""
    for _ in range(steps):
        other = type(message).FromString(message.SerializeToString())
        _change(other, rng)
        if not rules.violations(other):
            message = other
    return message


def _change(record: Any, rng: random.Random) -> None:
    """Change one field somewhere in a record."""
    given = [field for field, _ in record.ListFields()]
    field = rng.choice(given) if given and rng.random() < 0.5 else rng.choice(list(record.DESCRIPTOR.fields))
    value = getattr(record, field.name)
    kind = rng.random()
    if kind < 0.15:
        record.ClearField(field.name)
    elif not schema.is_ours(field):
        if field.is_repeated:
            value.append(leaf(field, rng)) if not _is_time(field) else value.add().MergeFrom(leaf(field, rng))
        elif _is_time(field):
            value.CopyFrom(leaf(field, rng))
        else:
            setattr(record, field.name, leaf(field, rng))
    elif field.is_repeated:
        if value and kind < 0.6:
            _change(rng.choice(value), rng)
        else:
            complete(value.add(), rng)
    elif record.HasField(field.name) and kind < 0.8:
        _change(value, rng)
    else:
        value.SetInParent()
        complete(value, rng)


def complete(record: Any, rng: random.Random) -> None:
    """Fill in whatever a record must have, and some of what it may."""
    words = schema.words(record.DESCRIPTOR.name)
    chosen = {rng.choice(list(choice.fields)).name for choice in record.DESCRIPTOR.oneofs}
    for field in record.DESCRIPTOR.fields:
        is_choice = field.containing_oneof is not None and len(field.containing_oneof.fields) > 1
        wanted = field.name in chosen if is_choice else words.fields[field.name].required or rng.random() < 0.2
        if not wanted:
            continue
        value = getattr(record, field.name)
        least = int(words.fields[field.name].rules.get("repeated", {}).get("min_items", 1))
        if schema.is_ours(field) and field.is_repeated:
            for _ in range(least):
                complete(value.add(), rng)
        elif schema.is_ours(field):
            value.SetInParent()
            complete(value, rng)
        elif _is_time(field):
            (value.add() if field.is_repeated else value).MergeFrom(leaf(field, rng))
        elif field.is_repeated:
            value.append(leaf(field, rng))
        else:
            setattr(record, field.name, leaf(field, rng))


def _is_time(field: Any) -> bool:
    return field.message_type is not None and not schema.is_ours(field)


def anything(record: Any, rng: random.Random) -> None:
    """Fill a record with whatever its fields can hold, of each choice one field at most, whatever the rules say."""
    for field in record.DESCRIPTOR.fields:
        choice = field.containing_oneof
        taken = choice is not None and len(choice.fields) > 1 and record.WhichOneof(choice.name)
        if taken or rng.random() < 0.6:
            continue
        value = getattr(record, field.name)
        for _ in range(rng.choice((1, 1, 2)) if field.is_repeated else 1):
            if schema.is_ours(field):
                part = value.add() if field.is_repeated else value
                part.SetInParent()
                anything(part, rng)
            elif field.message_type:
                part = value.add() if field.is_repeated else value
                part.seconds, part.nanos = rng.randint(-62135596800, 253402300799), rng.randrange(1_000_000_000)
            elif field.is_repeated:
                value.append(_any_value(field, rng))
            else:
                setattr(record, field.name, _any_value(field, rng))


def _any_value(field: Any, rng: random.Random) -> Any:
    if field.type == field.TYPE_STRING:
        return rng.choice((*TEXTS, "", "".join(chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x11000))))
                                               for _ in range(rng.randrange(8)))))  # fmt: skip
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 8, 31, 32, 33, 48)))
    if field.type == field.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == field.TYPE_DOUBLE:
        return rng.choice((0.0, -0.0, 0.1, 1e300, 5e-324, -1.5, float("inf"), float("-inf"), rng.random() * 1e6))
    if field.type == field.TYPE_ENUM:
        return rng.choice((0, 1, 2, 5, 2_000, -1))
    bits = 64 if field.type in (field.TYPE_INT64, field.TYPE_UINT64, field.TYPE_SINT64) else 32
    unsigned = field.type in (field.TYPE_UINT32, field.TYPE_UINT64)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return rng.choice((low, high, 0, 1, rng.randint(low, high)))


def rules_of(field: Any) -> dict[str, Any]:
    """The rules on one value of a field."""
    found = dict(schema.field_words(field).rules)
    if field.is_repeated:
        found = found.get("repeated", {}).get("items", {})
    kinds = [value for value in found.values() if isinstance(value, dict)]
    return kinds[0] if kinds else {}


def leaf(field: Any, rng: random.Random) -> Any:
    """A random value that the rules on the field itself allow."""
    limits = rules_of(field)
    if field.message_type:
        found = field.message_type._concrete_class()
        found.seconds, found.nanos = rng.randrange(946_684_800, 4_102_444_800), rng.choice((0, 1, 500_000_000))
        return found
    if field.enum_type:
        return rng.choice([value.number for value in field.enum_type.values if value.number])
    if field.type == field.TYPE_STRING:
        return _text(field, limits, rng)
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(int(limits.get("len", 8)))
    if field.type == field.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == field.TYPE_DOUBLE:
        low, high = limits.get("gte", -1e9), limits.get("lte", 1e9)
        return rng.choice((low, high, rng.uniform(low, high), max(low, 0.1), max(low, min(high, 1e-7))))
    least = {field.TYPE_UINT32: 0, field.TYPE_UINT64: 0}.get(field.type, -(2**31))
    low, high = int(limits.get("gte", least)), int(limits.get("lte", 2**31 - 1))
    return rng.choice((low, high, rng.randint(low, high)))


def _text(field: Any, limits: dict[str, Any], rng: random.Random) -> str:
    example = schema.example_of(field)
    if "pattern" in limits:
        return example if example and rng.random() < 0.5 else matching(limits["pattern"], rng)
    if field.name.endswith(("_ref", "local_id")) or rng.random() < 0.2:
        return example or "x"
    for _ in range(_ATTEMPTS):
        text = rng.choice(TEXTS)
        if len(text) <= int(limits.get("max_len", 10**6)):
            return text
    return "x"


def matching(pattern: str, rng: random.Random) -> str:
    """A random text that a regular expression of the schema matches."""
    parsed: Any = re._parser.parse(pattern)  # type: ignore[attr-defined]
    return "".join(_sample(parsed, rng))


def _sample(parsed: Any, rng: random.Random) -> Any:
    for kind, value in parsed:
        name = str(kind)
        if name == "LITERAL":
            yield chr(value)
        elif name == "IN":
            yield _one_of(value, rng)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, below = value
            for _ in range(rng.randint(low, min(int(high), low + 3))):
                yield from _sample(below, rng)
        elif name == "SUBPATTERN":
            yield from _sample(value[3], rng)
        elif name == "BRANCH":
            yield from _sample(rng.choice(value[1]), rng)
        else:
            assert name == "AT", f"the schema has a pattern with {name}"


def _one_of(choices: Any, rng: random.Random) -> str:
    kind, value = rng.choice(choices)
    if str(kind) == "RANGE":
        return chr(rng.randint(*value))
    assert str(kind) == "LITERAL", f"the schema has a class with {kind}"
    return chr(value)
