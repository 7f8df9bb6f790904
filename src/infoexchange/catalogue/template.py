"""Template: a form to fill in, as YAML with comments made from the schema.

What is required stands open, what is optional behind a `#` without a space: taking it away makes it a field. A message
that is half filled in keeps its values, so that the same writer saves what somebody has entered so far.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from infoexchange import catalogue
from infoexchange.catalogue import schema, yaml_text
from infoexchange.catalogue.v1 import options_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

_WIDTH = 110
# How deep parts of optional parts are written out; what lies deeper is named and found with `infoexchange types`.
_DEPTH_MAX = 3
_HEAD = (
    "Fill in what stands open. A line that begins with # and no space after it is an optional field: take the # away "
    "to use it, and away from the line with the name of the part it stands in. What is left empty is not sent.",
    "Check it, and send it: infoexchange send FILE --type {name} --to NAME --home HOME",
)


def template(name: str, given: Message | None = None, *, short: bool = False) -> str:
    """Return a form for a message type.

    Args:
        name: The message type.
        given: What is filled in already; the type's domain is filled in always.
        short: Whether optional fields that are not filled in are left out.

    Raises:
        MalformedError: `UNKNOWN_VERSION` where no message of this name is known here.
    """
    message = given if given is not None else started(name)
    writer = _Writer(short=short)
    descriptor = message.DESCRIPTOR
    head = [f"{descriptor.name}: {schema.words(descriptor.name).doc}", *(part.format(name=name) for part in _HEAD)]
    head += [f"Rule: {rule}." for rule in schema.words(descriptor.name).rules]
    lines = [line for part in head for line in _comment(part, "")]
    return "\n".join([*lines, *writer.fields(message, "", 0), ""])


def started(name: str) -> Message:
    """Return a message of a type in which only what the type itself decides is filled in: its domain."""
    message = catalogue.message_type(name)()
    domain = message.DESCRIPTOR.GetOptions().Extensions[options_pb2.domain]
    if domain:
        catalogue.handling_of(message).domain = domain
    return message


class _Writer:
    """Writes the lines of a form."""

    def __init__(self, *, short: bool) -> None:
        self._short = short

    def fields(self, message: Any, indent: str, depth: int, off: str = "") -> Iterator[str]:
        """Give the lines of the fields of a message; `off` is what stands before the fields of an optional part."""
        given = {field.name for field, _ in message.ListFields()}
        told: set[str] = set()
        for field in message.DESCRIPTOR.fields:
            choice = _choice_of(field)
            if choice is not None and choice.name not in told:
                told.add(choice.name)
                yield from self._choice(choice, indent)
            here = off
            if field.name not in given and not schema.field_words(field).required:
                if self._short and not (choice is not None and _is_required(choice)):
                    continue
                here = "#"
            yield from self._field(message, field, indent, depth, here)

    def _choice(self, choice: Any, indent: str) -> Iterator[str]:
        names = ", ".join(field.name for field in choice.fields)
        how = "Exactly one of" if _is_required(choice) else "At most one of"
        yield ""
        yield from _comment(f"{how} {names}.", indent)

    def _field(self, message: Any, field: Any, indent: str, depth: int, off: str) -> Iterator[str]:
        if depth == 0:
            yield ""
        yield from _said(field, indent)
        if field.name in {found.name for found, _ in message.ListFields()}:
            yield from self._given(message, field, indent, depth)
        elif not schema.is_ours(field) or schema.is_decimal(field):
            yield f"{indent}{off}{field.name}:" + (" []" if field.is_repeated and not off else "")
        elif depth >= _DEPTH_MAX and off:
            yield f"{indent}{off}{field.name}:  # its fields: infoexchange types {field.message_type.name}"
        else:
            yield f"{indent}{off}{field.name}:"
            part = getattr(message, field.name)
            empty = part.add() if field.is_repeated else part
            lines = self.fields(type(empty)(), indent + "  ", depth + 1, off)
            if field.is_repeated:
                del part[:]
                lines = _as_item(lines, indent + "  ")
            yield from lines

    def _given(self, message: Any, field: Any, indent: str, depth: int) -> Iterator[str]:
        """Give a field that is filled in; the parts of a single part with their comments."""
        if schema.is_ours(field) and not schema.is_decimal(field) and not field.is_repeated:
            part = getattr(message, field.name)
            yield f"{indent}{field.name}:" + ("" if part.ListFields() or not self._short else " {}")
            yield from self.fields(part, indent + "  ", depth + 1)
            return
        alone = type(message)()
        alone.MergeFrom(message)
        for other, _ in message.ListFields():
            if other.name != field.name:
                alone.ClearField(other.name)
        yield from (indent + line if line else "" for line in yaml_text.to_yaml(alone).splitlines())


def _as_item(lines: Iterator[str], indent: str) -> Iterator[str]:
    """Give the lines of one element of a list: the first field behind a hyphen, everything two places in."""
    begun = False
    for line in lines:
        found = line[len(indent) :]
        if not begun and found.startswith("# "):
            yield line
        elif begun or not found:
            yield f"{indent}  {found}".rstrip()
        else:
            begun = True
            off = "#" if found.startswith("#") else ""
            yield f"{indent}{off}- {found.removeprefix('#')}"


def _choice_of(field: Any) -> Any:
    """Return the choice a field belongs to, or None; what `optional` makes of a field is none."""
    choice = field.containing_oneof
    return choice if choice is not None and len(choice.fields) > 1 else None


def _is_required(choice: Any) -> bool:
    return schema.words(choice.containing_type.name).choices[choice.name].required


@functools.cache  # the marks alone are thirty fields, in every form
def _said(field: Any, indent: str) -> tuple[str, ...]:
    """Return what is said of a field: meaning, whether it is required, what it holds, limits, values, an example."""
    words = schema.field_words(field)
    kind = schema.kind_of(field)
    parts = [f"a list, each {kind}" if field.is_repeated else kind, *words.limits()]
    found = f"{words.doc} [{'required' if words.required else 'optional'}] {'; '.join(parts)}."
    example = schema.example_of(field)
    listed = schema.list_of(field)
    if listed:
        values = ", ".join(row["value"] for row in listed.rows.values())
        found += f" List {listed.name}, version {listed.version}: {values}."
    if schema.is_ours(field) and not schema.is_decimal(field):
        found += "".join(f" Rule: {rule}." for rule in schema.words(field.message_type.name).rules)
    return tuple(_comment(found + (f" For example: {example}" if example else ""), indent))


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(text, max(_WIDTH - len(indent), 60), break_long_words=False, break_on_hyphens=False):
        yield f"{indent}# {line}"
