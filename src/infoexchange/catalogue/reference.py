"""Reference: the message types, their parts and fields as tables, from the schemas themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from infoexchange import catalogue
from infoexchange.catalogue import codes, schema
from infoexchange.catalogue.v1 import options_pb2
from infoexchange.errors import ExchangeError

_DEPTH_MAX = 4  # deeper than any field a person fills in
_STATED = "as the message says"
SENTENCE_END = ". "


class TypeRow(NamedTuple):
    """A message type, the domain it belongs to, and its meaning in a sentence."""

    name: str
    domain: str
    meaning: str


class FieldRow(NamedTuple):
    """A field: its path, what it holds, an example, whether it must be there, its limits and its meaning."""

    path: str
    kind: str
    example: str
    required: bool
    limits: tuple[str, ...]
    meaning: str


def types(domain: str = "") -> list[TypeRow]:
    """Return every message type, or those of a domain such as DRUGS; flow messages serve any and state theirs."""
    rows = []
    for found in catalogue.schemas().values():
        number = found.DESCRIPTOR.GetOptions().Extensions[options_pb2.domain]
        words = options_pb2.Domain.Name(number).removeprefix("DOMAIN_") if number else _STATED
        if domain in ("", words):
            meaning = schema.words(found.DESCRIPTOR.name).doc.partition(SENTENCE_END)[0].rstrip(".") + "."
            rows.append(TypeRow(found.DESCRIPTOR.name, words, meaning))
    return rows


def descriptor(name: str) -> Any:
    """Return the descriptor of a message type, or of a part such as Vessel.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where neither of this name is known here.
    """
    try:
        return catalogue.message_type(name).DESCRIPTOR
    except ExchangeError:
        part = getattr(catalogue, name, None) if name.isidentifier() and name[:1].isupper() else None
        if not hasattr(getattr(part, "DESCRIPTOR", None), "fields"):
            raise
        return part.DESCRIPTOR  # type: ignore[union-attr]  # what has fields has a descriptor


def fields(name: str, depth: int = _DEPTH_MAX) -> list[FieldRow]:
    """Return the fields of a message type or part, and of its parts down to a depth, in order.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where neither of this name is known here.
    """
    return list(_fields(descriptor(name), "", depth))


def rules(name: str) -> tuple[str, ...]:
    """Return the rules over several fields of a message type or part, in words."""
    return schema.words(descriptor(name).name).rules


def lists(name: str) -> list[codes.CodeList]:
    """Return the code lists that the fields of a message type or part take their values from."""
    found: dict[str, codes.CodeList] = {}
    for field in _all_fields(descriptor(name), set()):
        listed = schema.list_of(field)
        standard = field.GetOptions().Extensions[options_pb2.standard]
        if listed is None and standard in codes.names():
            listed = codes.load(standard)
        if listed is not None:
            found[listed.name] = listed
    return [found[name] for name in sorted(found)]


def _all_fields(part: Any, seen: set[str]) -> Iterator[Any]:
    if part.full_name in seen:
        return
    seen.add(part.full_name)
    for field in part.fields:
        yield field
        if schema.is_ours(field):
            yield from _all_fields(field.message_type, seen)


def _fields(part: Any, prefix: str, depth: int) -> Iterator[FieldRow]:
    for field in part.fields:
        path = f"{prefix}{field.name}" + ("[]" if field.is_repeated else "")
        words = schema.field_words(field)
        yield FieldRow(path, _kind(field), schema.example_of(field), words.required, tuple(words.limits()), words.doc)
        if schema.is_ours(field) and depth > 1:
            yield from _fields(field.message_type, f"{path}.", depth - 1)


def _kind(field: Any) -> str:
    """Return what a field holds, in words."""
    if field.enum_type:
        return " | ".join(value.name for value in field.enum_type.values if value.number)
    if field.message_type:
        return str(field.message_type.name)
    words = {field.TYPE_STRING: "text", field.TYPE_BYTES: "bytes, base64 in JSON", field.TYPE_BOOL: "true | false"}
    return words.get(field.type, "number")
