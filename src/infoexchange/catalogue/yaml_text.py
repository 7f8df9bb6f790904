"""YAML text: messages as YAML for people and local files, with the same fields, checks and errors as JSON.

What a value means is decided by the schema alone: in a field of text NO, 1:30, 0123 and 2026-01-31 are those very
characters, and where a number or yes/no is asked for nothing but a JSON number, `true` or `false` is one. Decimals are
written as people write them (`amount: "12.50"`) and are never a binary fraction in between; digests of
envelopes are written as commands print them; TLP_AMBER may be written AMBER, as errors and tables write it.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from typing import TYPE_CHECKING, Any

from infoexchange import catalogue
from infoexchange.catalogue import marks, plain_yaml, rules, schema, text
from infoexchange.catalogue.plain_yaml import Mapping, Node, Scalar, Sequence
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,19})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")  # as JSON writes them; a rule refuses them
_DECIMAL = re.compile(r"(-?)([0-9]{1,19})(?:\.([0-9]{1,18}))?")
_DIGEST_SIZE = 32
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DECIMAL_TYPE = f"{catalogue.PACKAGE}.Decimal"
# Words that YAML readers take for nothing. As a name they need quotes, so that nobody's name is lost.
_NOTHING = ("~", "null", "Null", "NULL")
# Text that may stand as a block: what other characters there are is written as escapes, between quotes.
_BLOCK = re.compile(r"(?:[^\W_][^\n]*[^\s])(?:\n{1,2}[^\W_][^\n]*[^\s])+")
_LINE_MAX = 120


def to_yaml(message: Message) -> str:
    """Return a message as YAML; nothing is checked, so that a draft can be kept.

    Texts that other readers of YAML would take for something else stand in quotes. Unknown fields are left out, as in
    JSON.
    """
    import yaml

    written: str = yaml.dump(tree(message), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=_LINE_MAX)
    return written


@functools.cache
def _dumper() -> Any:
    """Return a writer of narratives as blocks, and of lists below their name."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001  PyYAML's own
            super().increase_indent(flow, False)

    def represent(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        style = "|" if _BLOCK.fullmatch(value) and value.replace("\n", "").isprintable() else None
        if style is None and not value.isprintable():
            style = '"'  # the only one that can say every character
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, represent)
    return Dumper


def from_yaml(schema: str, written: str) -> Message:
    """Return the message that YAML describes, once every rule holds.

    Args:
        schema: Name of the message type.
        written: YAML with the field names of the `.proto` files.

    Raises:
        MalformedError: `MALFORMED` where it is no YAML or more of YAML than is taken, `BAD_FIELD` where a field is
            unknown or cannot hold its value; with field and line.
        RefusedError: `RULE_BROKEN` with the first broken rule, `TOO_LARGE`.
    """
    message = draft_from_yaml(schema, written)
    rules.check(message)
    return message


def draft_from_yaml(schema: str, written: str) -> Message:
    """Return the message that YAML describes, before any rule is checked: for forms that are filled in bit by bit.

    Raises:
        MalformedError: As `from_yaml`.
        RefusedError: `TOO_LARGE`.
    """
    descriptor = catalogue.message_type(schema).DESCRIPTOR
    root = plain_yaml.parse(written)
    value = _message(descriptor, root, "") or {}
    try:
        return text.draft_from_json(schema, json.dumps(value))
    except ExchangeError as refused:
        node = _find(root, refused.field)
        if node is None:
            raise
        raise _refusal(refused.field, node, refused.detail, refused.next_step) from None


def set_field(message: Message, name: str, written: str) -> None:
    """Set a field of a message, or add to one that is a list, from what a person has written for it.

    Raises:
        MalformedError: `BAD_FIELD` where the field cannot hold it.
    """
    from google.protobuf import json_format

    field = message.DESCRIPTOR.fields_by_name[name]
    value = _value(field, Scalar(1, written, quoted=field.type == field.TYPE_STRING), name)
    try:
        json_format.ParseDict({name: [value] if field.is_repeated else value}, message)
    except json_format.ParseError:
        raise error(Reason.BAD_FIELD, field=name, detail="the field cannot hold this value") from None


def _message(descriptor: Any, node: Node, path: str) -> Any:
    """Return what JSON would say for a message; null where a form has nothing but names in this place."""
    is_time = descriptor.full_name.startswith("google.")
    if isinstance(node, Scalar):
        if descriptor.full_name == _DECIMAL_TYPE:
            return _decimal(node, path)
        if is_time:
            return node.text
    elif isinstance(node, Mapping) and not is_time:
        found = {}
        for name, below in node.items.items():
            field = descriptor.fields_by_name.get(name)
            found[name] = _field(field, below, f"{path}.{name}" if path else name)
        return found if not found or any(value is not None for value in found.values()) else None
    if is_time:
        raise _refusal(path, node, "a time is one text", "For example: 2026-01-31T08:00:00Z.")
    step = f"Write {', '.join(field.name for field in descriptor.fields)} below it, further to the right."
    raise _refusal(path, node, "the field has fields of its own", step)


def _field(field: Any, node: Node, path: str) -> Any:
    """Return what JSON would say for the value of a field; null where nothing is written."""
    if isinstance(node, Scalar) and node.is_empty:
        return None
    if field is None:
        return _untyped(node)
    if not field.is_repeated:
        return _value(field, node, path)
    if not isinstance(node, Sequence):
        step = "Put each value on a line of its own, after a hyphen and a space."
        raise _refusal(path, node, "the field holds a list", step)
    found = [_value(field, item, f"{path}[{index}]") for index, item in enumerate(node.items)]
    if found and all(value is None for value in found):
        return None
    for index, value in enumerate(found):
        if value is None:
            step = "Fill it in, or take its lines out."
            raise _refusal(f"{path}[{index}]", node.items[index], "nothing is said of it", step)
    return found


def _value(field: Any, node: Node, path: str) -> Any:
    if isinstance(node, Scalar) and node.is_empty:
        raise _refusal(path, node, "there is no value", "Take the line out, or write the value.")
    if field.message_type:
        return _message(field.message_type, node, path)
    if not isinstance(node, Scalar):
        raise _refusal(path, node, "the field holds one value", "Write the value behind the colon.")
    if not node.quoted and node.text in _NOTHING:
        step = "Leave it empty where nothing is meant; put the word in quotes where it is meant."
        raise _refusal(path, node, "this can mean nothing, or the word", step)
    if field.type == field.TYPE_BYTES and _DIGEST.fullmatch(node.text) and schema.holds_digest(field):
        return base64.b64encode(bytes.fromhex(node.text)).decode()
    if field.type in (field.TYPE_STRING, field.TYPE_BYTES):
        return node.text
    if field.type == field.TYPE_BOOL:
        if node.quoted or node.text not in ("true", "false"):
            raise _refusal(path, node, "this is neither true nor false", "Write true or false, without quotes.")
        return node.text == "true"
    if field.enum_type:
        return _choice(field.enum_type, node, path)
    return _number(field, node, path)


def _choice(enum: Any, node: Scalar, path: str) -> Any:
    """Return a value of an enum: its name, the name without what all begin with, or a number that is newer."""
    if not node.quoted and _INTEGER.fullmatch(node.text):
        return int(node.text)
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    for name in (node.text, prefix + node.text):
        if name in enum.values_by_name:
            return name
    names = ", ".join(value.name.removeprefix(prefix) for value in enum.values if value.number)
    raise _refusal(path, node, "there is no such value", f"Set it to one of {names}.")


def _number(field: Any, node: Scalar, path: str) -> Any:
    """Return a number as it stands, as text: JSON's reader makes whole numbers of it without a fraction in between."""
    if field.type not in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        if not _INTEGER.fullmatch(node.text):
            raise _refusal(path, node, "this is not a whole number", "Write digits only, for example 12.")
        return int(node.text)
    if node.text in _NOT_FINITE:
        return node.text
    if not _NUMBER.fullmatch(node.text):
        raise _refusal(path, node, "this is not a number", "Write it with a point, for example 1.25.")
    return node.text


def _decimal(node: Scalar, path: str) -> dict[str, Any]:
    """Return the digits and the scale of a decimal, exactly as stated: 12.50 keeps its nought."""
    found = _DECIMAL.fullmatch(node.text)
    if not found:
        step = "Write digits, and at most 18 of them behind a point, for example 12.50."
        raise _refusal(path, node, "this is not a decimal", step)
    sign, whole, fraction = found[1], found[2], found[3] or ""
    return {"unscaled": str(int(f"{sign}{whole}{fraction}")), "scale": len(fraction)}


def _untyped(node: Node) -> Any:
    """Return a value that no field is there for, so that the reader of JSON names the place."""
    if isinstance(node, Mapping):
        return {name: _untyped(below) for name, below in node.items.items()}
    if isinstance(node, Sequence):
        return [_untyped(item) for item in node.items]
    return None if node.is_empty else node.text


def tree(message: Message) -> dict[str, Any]:
    """Return a message as the names, lists and texts that YAML writes."""
    from google.protobuf import json_format

    value = json_format.MessageToDict(message, preserving_proto_field_name=True)
    _for_people(message.DESCRIPTOR, value)
    return value


def _for_people(descriptor: Any, value: dict[str, Any]) -> None:
    """Replace every decimal and every digest of a tree by the text that people know."""
    for name, below in value.items():
        field = descriptor.fields_by_name[name]
        if field.is_repeated:
            value[name] = [_text_of(field, one) for one in below]
        else:
            value[name] = _text_of(field, below)


def _text_of(field: Any, value: Any) -> Any:
    if field.type == field.TYPE_BYTES and schema.holds_digest(field):
        digest = base64.b64decode(value)
        return digest.hex() if len(digest) == _DIGEST_SIZE else value
    if field.message_type is None or field.message_type.full_name.startswith("google."):
        return value
    if field.message_type.full_name != _DECIMAL_TYPE:
        _for_people(field.message_type, value)
        return value
    scale = value.get("scale", 0)
    return marks.decimal_text(int(value.get("unscaled", 0)), scale) if 0 <= scale <= marks.SCALE_MAX else value


def _find(root: Node, path: str) -> Node | None:
    """Return the node at the path of a field, or the last one on the way there."""
    node: Node = root
    for part in re.findall(r"\w+", path):
        if isinstance(node, Mapping) and part in node.items:
            node = node.items[part]
        elif isinstance(node, Sequence) and part.isdecimal() and int(part) < len(node.items):
            node = node.items[int(part)]
        else:
            return None
    return node


def _refusal(path: str, node: Node, detail: str, next_step: str) -> ExchangeError:
    return error(Reason.BAD_FIELD, field=path, detail=f"{detail} (line {node.line})", next_step=next_step)
