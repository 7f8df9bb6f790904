"""Take out of an image of descriptors what people want to know of the catalogue: comments and rules, as one JSON file.

The generated Python code has neither: comments are dropped by protoc, and rules stay as raw option bytes that only the
rule engine reads. Forms, reference pages and tests of the rules are made from this file.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

PACKAGE = "infoexchange.catalogue.v1"
# Numbers of fields in descriptor.proto, of which the paths of comments are made.
_MESSAGE, _ENUM = 4, 5
_FIELD, _ONEOF, _VALUE = 2, 8, 2


def describe(image: bytes) -> str:
    """Return the JSON file."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    options = _Options(pool)
    found: dict[str, Any] = {"messages": {}, "enums": {}}
    for file in files.file:
        if file.package != PACKAGE:
            continue
        comments = {
            tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location
        }
        for index, message in enumerate(file.message_type):
            found["messages"][message.name] = _message(message, (_MESSAGE, index), comments, options)
        for index, enum in enumerate(file.enum_type):
            values = {v.name: comments.get((_ENUM, index, _VALUE, i), "") for i, v in enumerate(enum.value)}
            found["enums"][enum.name] = {"doc": comments.get((_ENUM, index), ""), "values": values}
    return json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


class _Options:
    """Reads the rules in options, with the extensions that the image itself defines."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def rules(self, options: Any, kind: str) -> dict[str, Any]:
        """Return the rules that stand in the options of a field, a message or a oneof."""
        name = f"google.protobuf.{kind.capitalize()}Options"
        known = message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))
        read = known.FromString(options.SerializeToString())
        extension = self._pool.FindExtensionByName(f"buf.validate.{kind}")
        if not read.HasExtension(extension):
            return {}
        rules = json_format.MessageToDict(read.Extensions[extension], preserving_proto_field_name=True)
        return dict(rules)


def _message(message: Any, path: tuple[int, ...], comments: dict[tuple[int, ...], str], options: _Options) -> Any:
    fields = {}
    for index, field in enumerate(message.field):
        rules = options.rules(field.options, "field")
        fields[field.name] = {"doc": comments.get((*path, _FIELD, index), ""), "rules": rules}
    oneofs = {}
    for index, oneof in enumerate(message.oneof_decl):
        if not oneof.name.startswith("_"):  # what `optional` makes is no choice
            rules = options.rules(oneof.options, "oneof")
            oneofs[oneof.name] = {"doc": comments.get((*path, _ONEOF, index), ""), "rules": rules}
    return {
        "doc": comments.get(path, ""),
        "rules": options.rules(message.options, "message").get("cel", []),
        "fields": fields,
        "oneofs": oneofs,
    }
