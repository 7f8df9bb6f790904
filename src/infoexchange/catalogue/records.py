"""Records: what the records of sealed content are called, and which of them may not be left out when some are shown.

A disclosure is chosen by the names of fields and verified without them. Records of a type that is not known here are
called by their numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from infoexchange import catalogue, wire
from infoexchange.catalogue import marks
from infoexchange.catalogue.v1 import options_pb2
from infoexchange.errors import ExchangeError, Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

HANDLING = 1  # every catalogue message has its marks in this field, also one that is not known here
PERHAPS = "not known"
# What stands beside the payload; the dot keeps these names apart from fields of messages.
_BESIDE = {b"S": "content.schema", b"T": "content.thread", b"O": "content.origin"}
_LISTS = {b"A": "content.attachments", b"G": "content.groups", b"D": "content.addressees"}  # one record for each
_ATTACHMENT = {1: "attachment_id", 2: "name", 3: "media_type", 4: "length", 5: "sha256"}  # fields of an "A" record
_FIRST = re.compile(r"^(\w+)\[0\]")


@dataclass(frozen=True)
class Named:
    """One record: its place, name, length in bytes, the personal data it may hold, and whether it always goes."""

    index: int
    name: str
    size: int
    personal: str
    always: bool


def name_records(schema: str, records: Sequence[bytes]) -> list[Named]:
    """Return the names of all records of one message, in order.

    Args:
        schema: Full name of the message's type.
        records: Every record with its letter, as `Content.records` gives them.
    """
    known = _type_of(schema)
    always = marks.always_disclosed(known) if known else (HANDLING,)
    numbers = Counter(wire.field_number(record[1:]) for record in records if record[:1] == b"R")
    seen: Counter[int | bytes] = Counter()
    found = []
    for index, record in enumerate(records):
        letter, value = record[:1], record[1:]
        if letter != b"R":
            name = _name_of(letter, index)
            if letter in _LISTS:
                name += f"[{seen[letter]}]"
                seen[letter] += 1
            found.append(Named(index, name, len(value), "", letter == b"S"))
            continue
        number = wire.field_number(value)
        field = known.DESCRIPTOR.fields_by_number.get(number) if known else None
        name = field.name if field else f"field {number}"
        if numbers[number] > 1 or (field and field.is_repeated and not field.is_packed):
            name += f"[{seen[number]}]"
        seen[number] += 1
        found.append(Named(index, name, len(value), _personal(field), number in always))
    return found


def choose(named: Sequence[Named], wanted: Sequence[str]) -> list[int]:
    """Return the places of the records that are wanted, and of those that go with every disclosure.

    Args:
        named: Every record of the message.
        wanted: Names of fields such as `subject`, `vessels` for all of them, `vessels[2]`; or places such as `7`.

    Raises:
        MalformedError: `BAD_FIELD` when a name is none of the message's, or nothing is wanted.
    """
    chosen = {record.index for record in named if record.always}
    for name in wanted:
        found = [r.index for r in named if name in (r.name, r.name.partition("[")[0], str(r.index))]
        if not found:
            step = "List the records with --list."
            raise error(Reason.BAD_FIELD, field=name, detail="the message has no such record", next_step=step)
        chosen.update(found)
    if not wanted:
        raise error(Reason.BAD_FIELD, field="field", detail="no record is chosen", next_step="Name at least one.")
    return sorted(chosen)


def rows(schema: str, index: int, record: bytes) -> list[marks.Row]:
    """Return what one record says as a table, for whoever it is shown to: nothing is hidden.

    Of a type or field that is not known here the bytes are given, and as text where they are text.
    """
    letter, value = record[:1], record[1:]
    if letter == b"A":
        return _attachment(_name_of(letter, index), value)
    if letter != b"R":
        text = value.decode("utf-8", "replace") if letter in (b"S", b"G", b"D") else value.hex()
        return [marks.Row(_name_of(letter, index), text)]
    raw = [marks.Row(f"field {wire.field_number(value)}", _text(wire.value_of(value)))]
    known = _type_of(schema)
    if known is None:
        return raw
    message = known()
    try:
        message.ParseFromString(value)
        found = marks.describe(message)
    except (DecodeError, ValueError):  # not of its type, or a time that is none
        return raw
    # Alone in its message, an element of a list counts as its first: the true place is that of the record.
    found = [marks.Row(_FIRST.sub(r"\1", row.label), row.value) for row in found]
    return found + raw if not found or any(row.value == marks.NOT_KNOWN for row in found) else found


def cautions(schema: str, partial: bytes, chosen: Sequence[Named]) -> list[str]:
    """Return what a person should think of before records are shown: personal data, and marks that restrict their use.

    Args:
        schema: Full name of the message's type.
        partial: The chosen records of the payload, joined.
        chosen: Their names.
    """
    personal = [f"{record.name} ({record.personal})" for record in chosen if record.personal]
    found = [f"May hold personal data: {'; '.join(personal)}."] if personal else []
    known = _type_of(schema)
    message = known() if known else None
    try:
        if message is None or not message.ParseFromString(partial):
            raise DecodeError
    except DecodeError:
        return [*found, "The type of this message is not known here, so its marks are not either."]
    handling = catalogue.handling_of(message)
    if handling.onward_transfer == catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED:
        found.append("Its marks ask for the originator's consent before it is passed on.")
    names = {number: name.removeprefix("RESTRICTION_KIND_") for name, number in catalogue.RestrictionKind.items()}
    kinds = [names.get(restriction.kind, f"number {restriction.kind}") for restriction in handling.restrictions]
    return [*found, *([f"Its marks restrict its use: {', '.join(kinds)}."] if kinds else [])]


def _name_of(letter: bytes, index: int) -> str:
    return _BESIDE.get(letter) or _LISTS.get(letter) or f"record {index}"


def _attachment(name: str, value: bytes) -> list[marks.Row]:
    """Return what is said of an attachment, field by field; the bytes where they are not of this form."""
    found = []
    try:
        for record in wire.top_level_records(value):
            label, held = _ATTACHMENT.get(wire.field_number(record), "other"), wire.value_of(record)
            if label == "length":
                text = str(sum((byte & 0x7F) << 7 * place for place, byte in enumerate(held)))
            else:
                text = held.decode("utf-8", "replace") if label in ("name", "media_type") else held.hex()
            found.append(marks.Row(f"{name}.{label}", text))
    except ExchangeError:
        return [marks.Row(name, value.hex())]
    return found


def _type_of(schema: str) -> type[Message] | None:
    try:
        return catalogue.message_type(schema)
    except ExchangeError:
        return None


def _personal(field: Any) -> str:
    """Return the kinds of personal data that a field may hold, itself or below."""
    if field is None:
        return PERHAPS
    kinds = {
        options_pb2.Pii.Name(options_pb2.Pii.ValueType(kind)).removeprefix("PII_").lower() for kind in _kinds(field)
    }
    return ", ".join(sorted(kinds))


def _kinds(field: Any) -> set[int]:
    kind = field.GetOptions().Extensions[options_pb2.pii]
    found = {kind} if kind else set()
    if field.message_type is not None and field.message_type.full_name.startswith(catalogue.PACKAGE):
        for below in field.message_type.fields:
            found |= _kinds(below)
    return found


def _text(value: bytes) -> str:
    """Return bytes as hexadecimal, followed by the text in them if they are one."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return f"{value.hex()} {text!r}" if text and text.isprintable() else value.hex()
