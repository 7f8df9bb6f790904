"""Schema: what the `.proto` files say of messages and fields in words, and their rules, for forms and reference pages.

The file `data/schema.json` is made from them by `make generate`; nothing here is kept by hand.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from infoexchange.catalogue import PACKAGE, codes
from infoexchange.catalogue.v1 import options_pb2

_LIST = re.compile(r"[`\"]([a-z0-9-]+)[`\"]")  # how a comment or an example names a code list
# Rules on the length or the value of what a field holds, in words; {} is the number.
_MEASURES = {
    "min_len": "at least {} characters",
    "max_len": "at most {} characters",
    "gte": "at least {}",
    "lte": "at most {}",
    "min_items": "at least {} of them",
    "max_items": "at most {} of them",
}


@dataclass(frozen=True, slots=True)
class FieldWords:
    """What the schema says of one field: its meaning, and its rules as protovalidate names them."""

    doc: str
    rules: Mapping[str, Any]

    @property
    def required(self) -> bool:
        """Tell whether a message without the field is refused, a list without any element included."""
        some = int(self.rules.get("repeated", {}).get("min_items", 0)) > 0 and "ignore" not in self.rules
        return some or bool(self.rules.get("required"))

    def limits(self) -> list[str]:
        """Return the rules in words, without that it is required."""
        return list(_limits(self.rules))


@dataclass(frozen=True, slots=True)
class MessageWords:
    """What the schema says of a message: its meaning, its fields, and the rules over several of them."""

    doc: str
    fields: Mapping[str, FieldWords]
    choices: Mapping[str, FieldWords]
    rules: tuple[str, ...]


@functools.cache
def words(name: str) -> MessageWords:
    """Return what the schema says of a message or building block of this name, such as `Vessel`."""
    found = _file()["messages"][name]
    return MessageWords(
        doc=found["doc"],
        fields={name: FieldWords(field["doc"].strip(), field["rules"]) for name, field in found["fields"].items()},
        choices={name: FieldWords(choice["doc"].strip(), choice["rules"]) for name, choice in found["oneofs"].items()},
        rules=tuple(rule["message"] for rule in found["rules"]),
    )


def field_words(field: Any) -> FieldWords:
    """Return what the schema says of a field, by its descriptor."""
    return words(field.containing_type.name).fields[field.name]


def enum_words(enum: Any) -> dict[str, str]:
    """Return the values of an enum that may be set, without what all begin with, and their meaning."""
    meanings = _file()["enums"][enum.name]["values"]
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return {v.name.removeprefix(prefix): meanings[v.name].strip() for v in enum.values if v.number}


def is_ours(field: Any) -> bool:
    """Tell whether a field holds messages that have fields of the catalogue, not points in time."""
    return bool(field.message_type and field.message_type.full_name.startswith(f"{PACKAGE}."))


def is_decimal(field: Any) -> bool:
    """Tell whether a field holds decimals, which people write as one number."""
    return bool(field.message_type and field.message_type.full_name == f"{PACKAGE}.Decimal")


def holds_digest(field: Any) -> bool:
    """Tell whether a field holds digests of envelopes: 32 bytes, which commands print as 64 hexadecimal digits."""
    rules = field_words(field).rules
    rules = rules.get("repeated", {}).get("items", {}) if field.is_repeated else rules
    return str(rules.get("bytes", {}).get("len", "")) == "32"


def list_of(field: Any) -> codes.CodeList | None:
    """Return the packaged list from which a field of type Code takes its values, where its comment names one."""
    if not (field.message_type and field.message_type.full_name == f"{PACKAGE}.Code"):
        return None
    said = f"{field_words(field).doc} {example_of(field)}"
    named = (found[1] for found in _LIST.finditer(said))
    return next((codes.load(name) for name in named if name in codes.names()), None)


def example_of(field: Any) -> str:
    """Return a right value of a field, where the schema gives one."""
    return str(field.GetOptions().Extensions[options_pb2.example])


def kind_of(field: Any) -> str:
    """Return in a word or two what one value of a field is."""
    if is_decimal(field):
        return "decimal, such as 12.50"
    if field.message_type:
        return str(field.message_type.name) if is_ours(field) else "UTC time, such as 2026-01-31T08:00:00Z"
    if field.enum_type:
        return f"one of {', '.join(enum_words(field.enum_type))}"
    if field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        return "number"
    if field.type == field.TYPE_BYTES:
        return "64 hexadecimal digits, or base64" if holds_digest(field) else "base64"
    return {field.TYPE_STRING: "text", field.TYPE_BOOL: "true or false"}.get(field.type, "whole number")


def _limits(rules: Mapping[str, Any]) -> Iterator[str]:
    for name, value in rules.items():
        if name == "items":
            yield from (f"each {limit}" for limit in _limits(value))
        elif isinstance(value, dict):
            yield from _limits(value)
        elif name in _MEASURES and (name, value) != ("min_len", "1"):  # a value that is given is not empty
            yield _MEASURES[name].format(value)
        elif name == "pattern":
            yield f"of the form {value}"
        elif name == "unique":
            yield "none twice"


@functools.cache
def _file() -> dict[str, Any]:
    text = files("infoexchange.catalogue").joinpath("data", "schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
