"""Reference: the message types and their fields as tables, from the schemas themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from infoexchange import catalogue
from infoexchange.catalogue.v1 import options_pb2

_DEPTH_MAX = 4  # deeper than any field a person fills in
_STATED = "as the message says"


class TypeRow(NamedTuple):
    """A message type and the domain it belongs to."""

    name: str
    domain: str


class FieldRow(NamedTuple):
    """A field: its path, what it holds and an example."""

    path: str
    kind: str
    example: str


def types() -> list[TypeRow]:
    """Return every message type; flow messages serve any domain and state theirs."""
    rows = []
    for found in catalogue.schemas().values():
        domain = found.DESCRIPTOR.GetOptions().Extensions[options_pb2.domain]
        words = options_pb2.Domain.Name(domain).removeprefix("DOMAIN_") if domain else _STATED
        rows.append(TypeRow(found.DESCRIPTOR.name, words))
    return rows


def fields(schema: str) -> list[FieldRow]:
    """Return the fields of a message type and of its parts, in order.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where no message of this name is known here.
    """
    return list(_fields(catalogue.message_type(schema).DESCRIPTOR, "", 1))


def _fields(descriptor: Any, prefix: str, depth: int) -> Iterator[FieldRow]:
    for field in descriptor.fields:
        path = f"{prefix}{field.name}" + ("[]" if field.is_repeated else "")
        yield FieldRow(path, _kind(field), field.GetOptions().Extensions[options_pb2.example])
        part = field.message_type
        if part and part.full_name.startswith(f"{catalogue.PACKAGE}.") and depth < _DEPTH_MAX:
            yield from _fields(part, f"{path}.", depth + 1)


def _kind(field: Any) -> str:
    """Return what a field holds, in words."""
    if field.enum_type:
        return " | ".join(value.name for value in field.enum_type.values if value.number)
    if field.message_type:
        return str(field.message_type.name)
    words = {field.TYPE_STRING: "text", field.TYPE_BYTES: "bytes, base64 in JSON", field.TYPE_BOOL: "true | false"}
    return words.get(field.type, "number")
