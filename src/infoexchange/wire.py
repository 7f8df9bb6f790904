"""Wire: canonical protobuf bytes or nothing (SPEC section Canonical form).

Protobuf bytes are malleable: most rewritings of a message parse to the same fields. Everything signed here has exactly
one encoding, and a parser accepts nothing else, so that a digest names one thing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError, Message

from infoexchange.errors import Reason, error

M = TypeVar("M", bound=Message)

DIGEST_SIZE = 32  # SHA-256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_MAX_MS = 253402300799999  # 9999-12-31T23:59:59.999Z, the last instant every language can print


def parse(message_type: type[M], raw: bytes, *, size_max: int, field: str) -> M:
    """Return the message if `raw` is its one canonical encoding.

    Args:
        message_type: Generated class.
        raw: Bytes as received.
        size_max: Largest length accepted, in bytes.
        field: What the bytes are, for the error.

    Raises:
        MalformedError: `MALFORMED` or `NOT_CANONICAL`.
        RefusedError: `TOO_LARGE`.
    """
    # (1) lengths and canonical form, before anything is read
    if len(raw) > size_max:
        raise error(Reason.TOO_LARGE, field=field, detail=f"{len(raw)} bytes, at most {size_max}")
    message = message_type()
    try:
        message.ParseFromString(raw)
    except DecodeError:
        raise error(Reason.MALFORMED, field=field, detail="not a protobuf message") from None
    message.DiscardUnknownFields()  # without this, unknown fields and groups would pass
    if message.SerializeToString(deterministic=True) != raw:
        raise error(Reason.NOT_CANONICAL, field=field, detail="the same fields in another encoding, or unknown fields")
    return message


def canonical(message: Message) -> bytes:
    """Return the one encoding of `message`."""
    return message.SerializeToString(deterministic=True)


def require_upb() -> None:
    """Raise if protobuf runs without its C core, whose limits and speed this system relies on."""
    if api_implementation.Type() != "upb":
        raise error(
            Reason.UNAVAILABLE,
            field="protobuf",
            detail=f"the {api_implementation.Type()} implementation is in use",
            next_step="Install a protobuf wheel with its native core for this platform.",
        )


def check_size(value: bytes, size: int, *, field: str, optional: bool = False) -> bytes:
    """Return `value` if it has exactly `size` bytes, or is empty where that is allowed; else raise `BAD_FIELD`."""
    if len(value) != size and not (optional and not value):
        raise error(Reason.BAD_FIELD, field=field, detail=f"{len(value)} bytes, not {size}")
    return value


def check_ascending(values: list[int] | list[str] | list[bytes], *, field: str) -> None:
    """Return if the values rise strictly, so that a set has one encoding; else raise `BAD_FIELD`."""
    if any(a >= b for a, b in itertools.pairwise(values)):  # type: ignore[operator]  # the items are of one type
        raise error(Reason.BAD_FIELD, field=field, detail="values must rise, without repetition")


def check_name(name: str, *, field: str) -> str:
    """Return `name` if it is a plain lower-case dNSName of at least two labels; else raise `BAD_FIELD`."""
    labels = name.split(".")
    ok = len(name) <= 253 and len(labels) >= 2 and all(_is_label(label) for label in labels)
    if not ok:
        raise error(
            Reason.BAD_FIELD,
            field=field,
            detail=f"{name[:80]!r} is not a name such as desk.agency.th.example",
        )
    return name


def _is_label(label: str) -> bool:
    plain = label.isascii() and label == label.lower() and label.replace("-", "").isalnum()
    return len(label) <= 63 and plain and not label.startswith("-") and not label.endswith("-")


def to_ms(moment: datetime) -> int:
    """Return Unix milliseconds of an aware time, rounded down."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def to_us(moment: datetime) -> int:
    """Return Unix microseconds of an aware time."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_ms(value: int, *, field: str) -> datetime:
    """Return the aware time of Unix milliseconds; `BAD_FIELD` if it lies outside 1970 to 9999."""
    if not 0 <= value <= _TIME_MAX_MS:
        raise error(Reason.BAD_FIELD, field=field, detail="not a time between 1970 and 9999")
    return _EPOCH + timedelta(milliseconds=value)


def from_us(value: int, *, field: str) -> datetime:
    """Return the aware time of Unix microseconds; `BAD_FIELD` if it lies outside 1970 to 9999."""
    if not 0 <= value <= _TIME_MAX_MS * 1000:
        raise error(Reason.BAD_FIELD, field=field, detail="not a time between 1970 and 9999")
    return _EPOCH + timedelta(microseconds=value)


def top_level_records(raw: bytes) -> Iterator[bytes]:
    """Yield each exact `tag || value` slice of a protobuf message, in order.

    The payload of Content is committed to, record by record, without knowing its schema; only its outer shape is
    checked: ascending fields, minimal tags and lengths, no groups (SPEC section Content).

    Raises:
        MalformedError: `MALFORMED` or `NOT_CANONICAL`.
    """
    position, last = 0, 0
    while position < len(raw):
        start = position
        tag, position = _varint(raw, position, minimal=True)
        number, kind = tag >> 3, tag & 7
        if number == 0 or number < last:
            raise error(Reason.NOT_CANONICAL, field="payload", detail="fields must stand in ascending order")
        last = number
        position = _skip(raw, position, kind)
        yield raw[start:position]


def field_number(record: bytes) -> int:
    """Return the field number of one record that `top_level_records` gave."""
    tag, _ = _varint(record, 0, minimal=True)
    return tag >> 3


def value_of(record: bytes) -> bytes:
    """Return the value of one record: what a length-delimited field holds, or the bytes of a number."""
    tag, position = _varint(record, 0, minimal=True)
    if tag & 7 == 2:
        _, position = _varint(record, position, minimal=True)
    return record[position:]


def _skip(raw: bytes, position: int, kind: int) -> int:
    """Return the position after one value of wire type `kind`."""
    if kind == 0:
        _, position = _varint(raw, position, minimal=False)
    elif kind == 1:
        position += 8
    elif kind == 2:
        length, position = _varint(raw, position, minimal=True)
        position += length
    elif kind == 5:
        position += 4
    else:
        raise error(Reason.MALFORMED, field="payload", detail="a group or an unknown wire type")
    if position > len(raw):
        raise error(Reason.MALFORMED, field="payload", detail="a field runs over the end")
    return position


def _varint(raw: bytes, position: int, *, minimal: bool) -> tuple[int, int]:
    """Return a varint and the position after it."""
    value = 0
    for count in range(10):  # 64 bits need at most ten groups of seven
        if position + count >= len(raw):
            break
        byte = raw[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if minimal and count and byte == 0:
                raise error(Reason.NOT_CANONICAL, field="payload", detail="a tag or length is longer than needed")
            return value, position + count + 1
    raise error(Reason.MALFORMED, field="payload", detail="a number that does not end")
