"""Marks: the order of TLP, what goes with every disclosure, and what must not be shown.

Redaction and tables are derived from the options of the fields (`pii`, `always_disclose`), never kept by hand: a field
that is added to a `.proto` file is treated rightly everywhere on the same day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from infoexchange.catalogue.v1 import common_pb2, options_pb2
from infoexchange.errors import Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

Tlp = common_pb2.Tlp

REDACTED = "[redacted]"
NOT_KNOWN = "not known to this version"

# Labels stay in their original form in every language (first.org/tlp).
TLP_LABELS: dict[int, str] = {
    Tlp.TLP_CLEAR: "TLP:CLEAR",
    Tlp.TLP_GREEN: "TLP:GREEN",
    Tlp.TLP_AMBER: "TLP:AMBER",
    Tlp.TLP_AMBER_STRICT: "TLP:AMBER+STRICT",
    Tlp.TLP_RED: "TLP:RED",
}


class Row(NamedTuple):
    """One line of a table about a message: the path of a field and its value as text."""

    label: str
    value: str


def most_restrictive(marks: Iterable[Tlp.ValueType]) -> Tlp.ValueType:
    """Return the strictest of some TLP marks, leaving out records that have none of their own.

    Raises:
        RefusedError: `RULE_BROKEN` where there is no mark at all, or one this version does not know.
    """
    known = [mark for mark in marks if mark != Tlp.TLP_UNSPECIFIED]
    if not known or any(mark not in TLP_LABELS for mark in known):
        step = "Set handling.tlp to one of CLEAR, GREEN, AMBER, AMBER_STRICT, RED."
        raise error(Reason.RULE_BROKEN, field="handling.tlp", detail="no known TLP mark is given", next_step=step)
    return max(known)


def tlp_of(message: Message) -> Tlp.ValueType:
    """Return the mark under which a whole message travels: the strictest of its own and its records'.

    Raises:
        RefusedError: `RULE_BROKEN` as `most_restrictive`.
    """
    return most_restrictive(_tlp_marks(message))


def _tlp_marks(message: Any) -> Iterator[Tlp.ValueType]:
    for field, value in message.ListFields():
        if field.enum_type and field.enum_type.full_name == Tlp.DESCRIPTOR.full_name:
            yield value
        elif _is_ours(field):
            for record in value if field.is_repeated else (value,):
                yield from _tlp_marks(record)


def _is_ours(field: Any) -> bool:
    """Tell whether a field holds messages of the catalogue, not timestamps."""
    return field.message_type is not None and not field.message_type.full_name.startswith("google.")


def always_disclosed(message_type: type[Message]) -> tuple[int, ...]:
    """Return the numbers of the fields that go with every partial disclosure of a message type."""
    mark = options_pb2.always_disclose
    fields = message_type.DESCRIPTOR.fields
    return tuple(sorted(field.number for field in fields if field.GetOptions().Extensions[mark]))


def redact(message: Message) -> Message:
    """Return a copy without personal data: text becomes `[redacted]`, other values and unknown fields are left out.

    Meant for logs, reports and screens. The copy may break rules; it is never sent.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    # Nobody can tell whether a field of a newer version holds personal data.
    copy.DiscardUnknownFields()
    _redact(copy)
    return copy


def _redact(record: Any) -> None:
    for field, value in record.ListFields():
        if field.GetOptions().Extensions[options_pb2.pii]:
            if field.type != field.TYPE_STRING:
                record.ClearField(field.name)
            elif field.is_repeated:
                value[:] = [REDACTED] * len(value)
            else:
                setattr(record, field.name, REDACTED)
        elif _is_ours(field):
            for child in value if field.is_repeated else (value,):
                _redact(child)


def describe(message: Message) -> list[Row]:
    """Return a table of everything a message says, one row per value, in the order of the fields.

    Fields and enum numbers of a newer version are listed as not known. For a table without personal data, describe
    what `redact` gives.
    """
    return list(_rows(message, ""))


def _rows(record: Any, path: str) -> Iterator[Row]:
    from google.protobuf import unknown_fields

    for field, value in record.ListFields():
        for index, one in enumerate(value) if field.is_repeated else ((None, value),):
            label = f"{path}{field.name}" if index is None else f"{path}{field.name}[{index}]"
            if _is_decimal(field):
                yield Row(label, decimal_text(one.unscaled, one.scale))
            elif _is_ours(field):
                yield from _rows(one, f"{label}.")
            else:
                yield Row(label, _value_text(field, one))
    for unknown in unknown_fields.UnknownFieldSet(record):  # type: ignore[attr-defined]  # not in its stubs
        yield Row(f"{path}field {unknown.field_number}", NOT_KNOWN)


def _is_decimal(field: Any) -> bool:
    return bool(field.message_type and field.message_type.full_name == common_pb2.Decimal.DESCRIPTOR.full_name)


def _value_text(field: Any, value: Any) -> str:
    """Return one value as people read it."""
    if field.message_type:
        return str(value.ToJsonString())
    if field.enum_type:
        if field.enum_type.full_name == Tlp.DESCRIPTOR.full_name and value in TLP_LABELS:
            return TLP_LABELS[value]
        known = field.enum_type.values_by_number.get(value)
        prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
        return known.name.removeprefix(prefix) if known else f"{value} ({NOT_KNOWN})"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


# The largest scale that the rule of Decimal allows. Records that no rule has seen are shown too.
SCALE_MAX = 18


def decimal_text(unscaled: int, scale: int) -> str:
    """Return a decimal with its stated precision, for example 12.50; 5E-99 where no rule would allow the scale."""
    if scale <= 0:
        return str(unscaled)
    if scale > SCALE_MAX:
        # Written out, a scale of ten bytes on the wire could ask for a text of two gigabytes.
        return f"{unscaled}E-{scale}"
    figures = str(abs(unscaled)).rjust(scale + 1, "0")
    return f"{'-' if unscaled < 0 else ''}{figures[:-scale]}.{figures[-scale:]}"
