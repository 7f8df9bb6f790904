"""Wire: one encoding and no other; the outer shape of a payload; names and times."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.internal import api_implementation
from google.protobuf.message import Message

from infoexchange import wire
from infoexchange.errors import ExchangeError, MalformedError, Reason
from infoexchange.v1 import audit_pb2, bundle_pb2, content_pb2, directory_pb2, envelope_pb2


def varint(value: int, *, extra: int = 0) -> bytes:
    """The number in its least length, or in `extra` bytes more."""
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    if not extra:
        return out + bytes([value])
    return out + bytes([value | 128]) + b"\x80" * (extra - 1) + b"\x00"


def tag(number: int, kind: int, *, extra: int = 0) -> bytes:
    return varint(number << 3 | kind, extra=extra)


def number(field: int, value: int) -> bytes:
    return tag(field, 0) + varint(value)


def data(field: int, value: bytes) -> bytes:
    return tag(field, 2) + varint(len(value)) + value


# A Header with a scalar of each kind, a Recipient in it, and a KeyBundle with packed numbers.
RECIPIENT = data(1, b"a.th.example") + data(2, b"digest")
HEADER = (
    number(1, 1)
    + number(2, 300)
    + data(3, b"id")
    + data(4, b"b.th.example")
    + data(6, RECIPIENT)
    + number(7, 1)
    + number(8, 2)
    + number(10, 5)
    + number(12, 7)
)
BUNDLE = data(1, b"b.th.example") + number(2, 1) + data(7, b"\x02\x03") + data(9, b"one") + data(9, b"two")
ENVELOPE = data(1, data(1, b"payload") + data(2, b"type") + data(3, data(1, b"sig"))) + data(3, b"wrap")


def test_what_is_canonical_passes() -> None:
    for kind, raw in (
        (envelope_pb2.Header, HEADER),
        (bundle_pb2.KeyBundle, BUNDLE),
        (envelope_pb2.Envelope, ENVELOPE),
        (envelope_pb2.Header, b""),
    ):
        message = wire.parse(kind, raw, size_max=1000, field="it")
        assert wire.canonical(message) == raw


UNKNOWN_INSIDE = data(6, RECIPIENT + data(9, b"x"))
ANOTHER_ENCODING: dict[str, tuple[type[Message], bytes]] = {
    "unknown field at the end": (envelope_pb2.Header, HEADER + data(99, b"x")),
    "unknown number at the end": (envelope_pb2.Header, HEADER + number(99, 1)),
    "unknown fixed32": (envelope_pb2.Header, HEADER + tag(99, 5) + b"abcd"),
    "unknown fixed64": (envelope_pb2.Header, HEADER + tag(99, 1) + b"abcdefgh"),
    "unknown field of the largest number": (envelope_pb2.Header, HEADER + number(2**29 - 1, 1)),
    "unknown field at the beginning": (envelope_pb2.Header, data(99, b"x") + HEADER),
    "unknown field between": (envelope_pb2.Header, HEADER[:2] + number(15, 1) + HEADER[2:]),
    "unknown field inside": (envelope_pb2.Header, number(1, 1) + UNKNOWN_INSIDE),
    "unknown field two levels down": (envelope_pb2.Envelope, data(1, data(3, data(1, b"s") + number(9, 1)))),
    "unknown group": (envelope_pb2.Header, HEADER + tag(99, 3) + number(1, 1) + tag(99, 4)),
    "empty unknown group": (envelope_pb2.Header, HEADER + tag(99, 3) + tag(99, 4)),
    "nested unknown groups": (envelope_pb2.Header, HEADER + (tag(99, 3) * 5 + tag(99, 4) * 5)),
    "group inside": (envelope_pb2.Header, data(6, RECIPIENT + tag(9, 3) + tag(9, 4))),
    "group with the number of a known field": (envelope_pb2.Header, HEADER + tag(13, 3) + tag(13, 4)),
    "a reserved field": (audit_pb2.AuditLeaf, number(1, 1) + data(12, b"x")),
    "fields reordered": (envelope_pb2.Header, number(2, 300) + number(1, 1)),
    "fields reordered inside": (envelope_pb2.Header, data(6, data(2, b"digest") + data(1, b"a.th.example"))),
    "repeated fields torn apart": (bundle_pb2.KeyBundle, data(9, b"one") + number(2, 1) + data(9, b"two")),
    "a number twice": (envelope_pb2.Header, number(1, 1) + number(1, 1)),
    "a number twice, the last counts": (envelope_pb2.Header, number(1, 9) + number(1, 1)),
    "bytes twice": (envelope_pb2.Header, data(3, b"first") + data(3, b"last")),
    "a submessage twice, merged": (envelope_pb2.Envelope, data(1, data(1, b"p")) + data(1, data(2, b"t"))),
    "a submessage and an empty one": (envelope_pb2.Envelope, data(1, data(1, b"p")) + data(1, b"")),
    "long tag": (envelope_pb2.Header, tag(1, 0, extra=1) + b"\x01"),
    "longest tag": (envelope_pb2.Header, tag(1, 0, extra=4) + b"\x01"),
    "long tag inside": (envelope_pb2.Header, data(6, tag(1, 2, extra=1) + varint(3) + b"a.b")),
    "long length": (envelope_pb2.Header, tag(3, 2) + varint(2, extra=1) + b"id"),
    "long length of a submessage": (envelope_pb2.Header, tag(6, 2) + varint(len(RECIPIENT), extra=2) + RECIPIENT),
    "long number": (envelope_pb2.Header, tag(1, 0) + varint(1, extra=1)),
    "longest number": (envelope_pb2.Header, tag(12, 0) + varint(1, extra=9)),
    "a uint32 above 2^32": (envelope_pb2.Header, number(1, 2**32 + 1)),
    "a uint32 of 64 ones": (envelope_pb2.Header, number(1, 2**64 - 1)),
    "an enum above 2^32": (envelope_pb2.Header, number(8, 2**32 + 2)),
    "a bool of 2": (envelope_pb2.Header, number(7, 2)),
    "a bool of 2^63": (envelope_pb2.Header, number(7, 2**63)),
    "default number": (envelope_pb2.Header, number(1, 0)),
    "default bool": (envelope_pb2.Header, number(7, 0)),
    "default enum": (envelope_pb2.Header, number(8, 0)),
    "default bytes": (envelope_pb2.Header, data(3, b"")),
    "default string": (envelope_pb2.Header, data(4, b"")),
    "default inside": (envelope_pb2.Header, data(6, RECIPIENT[:-8] + data(2, b""))),
    "numbers not packed": (bundle_pb2.KeyBundle, number(7, 2) + number(7, 3)),
    "numbers packed in two runs": (bundle_pb2.KeyBundle, data(7, b"\x02") + data(7, b"\x03")),
    "an empty run of numbers": (bundle_pb2.KeyBundle, data(7, b"")),
    "packed and not": (bundle_pb2.KeyBundle, data(7, b"\x02") + number(7, 3)),
    "long number in a run": (bundle_pb2.KeyBundle, data(7, b"\x82\x00\x03")),
    "a number in a run above its type": (bundle_pb2.KeyBundle, data(7, varint(2**32 + 2))),
    "one number not packed": (directory_pb2.Agency, number(5, 7)),
    "wrong wire type, taken as unknown": (envelope_pb2.Header, tag(1, 5) + b"\x01\x00\x00\x00"),
    "wrong wire type, a number as bytes": (envelope_pb2.Header, data(1, b"\x01")),
    "wrong wire type, bytes as a number": (envelope_pb2.Header, number(3, 1)),
    "wrong wire type, a message as a number": (envelope_pb2.Header, number(6, 1)),
    "wrong wire type, a number as fixed64": (envelope_pb2.Header, tag(10, 1) + bytes(8)),
    "padding field before the others": (content_pb2.Content, data(15, bytes(2)) + data(1, b"schema")),
}
NOT_A_MESSAGE: dict[str, tuple[type[Message], bytes]] = {
    "a tag without value": (envelope_pb2.Header, HEADER + tag(14, 2)),
    "bytes over the end": (envelope_pb2.Header, HEADER + tag(14, 2) + b"\x05abcd"),
    "a length of 2^31": (envelope_pb2.Header, tag(3, 2) + varint(2**31) + b"x"),
    "a length of 2^64 - 1": (envelope_pb2.Header, tag(3, 2) + varint(2**64 - 1) + b"x"),
    "a number without end": (envelope_pb2.Header, tag(1, 0) + b"\x80" * 3),
    "a number of eleven bytes": (envelope_pb2.Header, tag(12, 0) + b"\x80" * 10 + b"\x01"),
    "a tag of six bytes": (envelope_pb2.Header, b"\x88\x80\x80\x80\x80\x80\x00\x01"),
    "field number zero": (envelope_pb2.Header, b"\x00\x01"),
    "wire type 6": (envelope_pb2.Header, tag(1, 6)),
    "wire type 7": (envelope_pb2.Header, tag(1, 7)),
    "a group without end": (envelope_pb2.Header, tag(99, 3)),
    "the end of no group": (envelope_pb2.Header, tag(99, 4)),
    "the end of another group": (envelope_pb2.Header, tag(99, 3) + tag(98, 4)),
    "a string that is not UTF-8": (envelope_pb2.Header, data(4, b"\xff\xfe")),
    "a surrogate in a string": (envelope_pb2.Header, data(4, b"\xed\xa0\x80")),
    "an overlong NUL in a string": (envelope_pb2.Header, data(4, b"\xc0\x80")),
    "not UTF-8 inside": (envelope_pb2.Header, data(6, data(1, b"\x80"))),
    "a submessage over its end": (envelope_pb2.Header, data(6, tag(1, 2) + b"\x09a")),
    "a run that ends within a number": (bundle_pb2.KeyBundle, data(7, b"\x80")),
    "groups too deep": (envelope_pb2.Header, tag(99, 3) * 200 + tag(99, 4) * 200),
    "text": (envelope_pb2.Header, b"version: 1"),
}


def reason_of(call: Callable[..., object], *args: object, **named: object) -> Reason:
    with pytest.raises(ExchangeError) as caught:
        call(*args, **named)
    assert caught.value.field
    return caught.value.reason


@pytest.mark.parametrize("name", ANOTHER_ENCODING)
def test_another_encoding_is_refused(name: str) -> None:
    kind, raw = ANOTHER_ENCODING[name]
    kind.FromString(raw)  # protobuf itself has nothing against it
    assert reason_of(wire.parse, kind, raw, size_max=1000, field="it") is Reason.NOT_CANONICAL


@pytest.mark.parametrize("name", NOT_A_MESSAGE)
def test_what_is_no_message_is_refused(name: str) -> None:
    kind, raw = NOT_A_MESSAGE[name]
    assert reason_of(wire.parse, kind, raw, size_max=1000, field="it") is Reason.MALFORMED


def test_the_lists_above_are_long() -> None:
    assert len(ANOTHER_ENCODING) + len(NOT_A_MESSAGE) >= 60


def test_length_comes_first() -> None:
    wire.parse(envelope_pb2.Header, HEADER, size_max=len(HEADER), field="it")
    for raw in (HEADER, b"\xff" * len(HEADER)):
        with pytest.raises(ExchangeError) as caught:
            wire.parse(envelope_pb2.Header, raw, size_max=len(HEADER) - 1, field="header")
        assert (caught.value.reason, caught.value.field) == (Reason.TOO_LARGE, "header")


def test_protobuf_has_its_native_core(monkeypatch: pytest.MonkeyPatch) -> None:
    wire.require_upb()
    monkeypatch.setattr(api_implementation, "Type", lambda: "python")
    assert reason_of(wire.require_upb) is Reason.UNAVAILABLE


# Payload records


def records(raw: bytes) -> list[bytes]:
    return list(wire.top_level_records(raw))


def test_records_are_exact_slices() -> None:
    parts = [
        number(1, 300),
        data(2, b"x" * 200),
        data(2, b""),
        tag(3, 5) + b"abcd",
        tag(4, 1) + b"abcdefgh",
        number(2000, 0),
        data(2**29 - 1, b"\xff\xff"),
    ]
    assert records(b"".join(parts)) == parts
    assert records(b"") == []
    # The value of a number is its sender's business; only the outer shape is ours.
    loose = tag(1, 0) + varint(1, extra=3)
    assert records(loose) == [loose]
    for longest in (varint(2**64 - 1), varint(0, extra=9)):
        assert records(tag(1, 0) + longest) == [tag(1, 0) + longest]
    assert records(data(1, b"x" * 127) + data(2, b"x" * 128)) == [data(1, b"x" * 127), data(2, b"x" * 128)]
    # Ascending is said of the field alone: what kind of value it holds has no order.
    assert records(tag(1, 5) + b"abcd" + number(1, 7)) == [tag(1, 5) + b"abcd", number(1, 7)]
    assert records(HEADER)[4] == data(6, RECIPIENT)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (number(2, 1) + number(1, 1), Reason.NOT_CANONICAL),
        (b"\x00\x01", Reason.NOT_CANONICAL),
        (b"\x02\x00", Reason.NOT_CANONICAL),
        (tag(1, 0, extra=1) + b"\x01", Reason.NOT_CANONICAL),
        (tag(1, 0, extra=8) + b"\x01", Reason.NOT_CANONICAL),
        (tag(1, 2) + varint(1, extra=1) + b"x", Reason.NOT_CANONICAL),
        (tag(1, 2) + varint(0, extra=1), Reason.NOT_CANONICAL),
        (tag(1, 3) + tag(1, 4), Reason.MALFORMED),
        (tag(1, 4), Reason.MALFORMED),
        (tag(1, 6), Reason.MALFORMED),
        (tag(1, 7), Reason.MALFORMED),
        (tag(1, 0), Reason.MALFORMED),
        (tag(1, 0) + b"\x80", Reason.MALFORMED),
        (tag(1, 0) + b"\x80" * 10 + b"\x01", Reason.MALFORMED),
        (tag(1, 5) + b"abc", Reason.MALFORMED),
        (tag(1, 1) + b"abcdefg", Reason.MALFORMED),
        (tag(1, 2) + b"\x05abcd", Reason.MALFORMED),
        (tag(1, 2) + varint(2**63), Reason.MALFORMED),
        (b"\x80", Reason.MALFORMED),
        (b"\xff" * 20, Reason.MALFORMED),
    ],
)
def test_payloads_without_the_outer_shape(raw: bytes, reason: Reason) -> None:
    assert reason_of(records, raw) is reason


@pytest.mark.parametrize(
    ("record", "number", "value"),
    [
        (b"\x08\x01", 1, b"\x01"),
        (b"\x0a\x03abc", 1, b"abc"),
        (b"\x12\x00", 2, b""),
        (b"\x7a\x80\x01" + bytes(128), 15, bytes(128)),
        (b"\x82\x01\x01x", 16, b"x"),
        (b"\x80\x01\x96\x01", 16, b"\x96\x01"),
        (b"\x19" + bytes(8), 3, bytes(8)),
        (b"\x1d\x0a\x00\x00\x00", 3, b"\x0a\x00\x00\x00"),
    ],
)
def test_a_record_comes_apart(record: bytes, number: int, value: bytes) -> None:
    assert list(wire.top_level_records(record)) == [record]
    assert (wire.field_number(record), wire.value_of(record)) == (number, value)


@pytest.mark.parametrize("read", [wire.field_number, wire.value_of])
@pytest.mark.parametrize("record", [b"\x8a\x00\x01x", b""])
def test_what_is_no_record_does_not(read: Callable[[bytes], object], record: bytes) -> None:
    with pytest.raises(MalformedError):
        read(record)


def test_a_length_that_is_longer_than_needed_is_refused() -> None:
    with pytest.raises(MalformedError):
        wire.value_of(b"\x0a\x81\x00x")


def test_records_of_anything_are_all_of_it() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    split = 0
    for _ in range(3000):
        raw = rng.choices((rng.randbytes(rng.randrange(12)), bytes(rng.choices(b"\x08\x0a\x12\x18\x01\x02", k=8))))[0]
        try:
            assert b"".join(records(raw)) == raw
            split += 1
        except MalformedError:
            continue
    assert split > 30


# Schemas


@pytest.mark.parametrize(
    "module", [audit_pb2, bundle_pb2, content_pb2, directory_pb2, envelope_pb2], ids=lambda m: m.__name__
)
def test_no_message_has_what_makes_one_meaning_two_encodings(module: Any) -> None:
    """Maps have no order, floats several forms of one value, and an optional number is there or not when it is 0."""
    fields = [field for message in module.DESCRIPTOR.message_types_by_name.values() for field in message.fields]
    assert fields
    for field in fields:
        assert field.type not in (field.TYPE_DOUBLE, field.TYPE_FLOAT, field.TYPE_GROUP), field.full_name
        assert not (field.message_type and field.message_type.GetOptions().map_entry), field.full_name
        assert field.message_type or field.is_repeated or not field.has_presence, field.full_name


# Fields


def test_sizes() -> None:
    assert wire.check_size(b"12", 2, field="f") == b"12"
    assert wire.check_size(b"", 2, field="f", optional=True) == b""
    for value, optional in ((b"", False), (b"1", True), (b"123", True), (b"1", False)):
        assert reason_of(wire.check_size, value, 2, field="f", optional=optional) is Reason.BAD_FIELD


@pytest.mark.parametrize("values", [[], [1], [1, 2, 9], ["a", "b"], [b"", b"\x00", b"\x01"]], ids=str)
def test_sets_that_rise(values: list[int]) -> None:
    wire.check_ascending(values, field="f")


@pytest.mark.parametrize("values", [[1, 1], [2, 1], [1, 2, 2], ["b", "a"], [b"\x01", b""]], ids=str)
def test_sets_that_do_not(values: list[int]) -> None:
    assert reason_of(wire.check_ascending, values, field="f") is Reason.BAD_FIELD


LONG = ".".join(["a" * 63] * 3 + ["b" * 61])


@pytest.mark.parametrize("name", ["a.b", "desk.oncb.th.example", "1.2", "a-b.c--d", "xn--o3cw4h.example", LONG])
def test_names(name: str) -> None:
    assert wire.check_name(name, field="name") == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "a", "a.", ".a", "a..b", "A.b", "a.B", "-a.b", "a-.b", "a.-", "-.-", "a_b.c", "a b.c", "a.b\n",
        "\x00.a", "*.a.b", "a.b/c", "a:1.b", "é.b", "a.ü", "ａ.b", "١.b", "ß.b", "a" * 64 + ".b", LONG + "x",
        "a.b." + "c" * 250, "²．a.b", "a\u200d.b", "a.b.",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_name(name: str) -> None:
    assert reason_of(wire.check_name, name, field="name") is Reason.BAD_FIELD


# Times


INSTANTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
    datetime(2026, 11, 22, 8, 0, 0, 1000, tzinfo=UTC),
]


@pytest.mark.parametrize("moment", INSTANTS, ids=str)
def test_times_there_and_back(moment: datetime) -> None:
    assert wire.from_ms(wire.to_ms(moment), field="t") == moment
    assert wire.from_us(wire.to_us(moment), field="t") == moment


def test_times_are_rounded_down_whatever_their_zone() -> None:
    moment = datetime(2026, 11, 22, 8, 0, 0, 1999, tzinfo=UTC)
    assert wire.to_ms(moment) % 1000 == 1
    elsewhere = moment.astimezone(timezone(timedelta(hours=7)))
    assert (wire.to_ms(elsewhere), wire.to_us(elsewhere)) == (wire.to_ms(moment), wire.to_us(moment))
    assert wire.to_ms(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    assert wire.from_ms(1, field="t").tzinfo is UTC
    with pytest.raises(TypeError):
        wire.to_ms(datetime(2026, 1, 1))  # noqa: DTZ001  a time without a zone is a bug, not an input


@pytest.mark.parametrize("read", [wire.from_ms, wire.from_us], ids=lambda f: f.__name__)
def test_times_outside_the_calendar(read: Callable[..., datetime]) -> None:
    end = 253402300799999 * (1000 if read is wire.from_us else 1)
    assert read(end, field="t").year == 9999
    for value in (-1, end + 1000, -(2**63), 2**63 - 1):
        assert reason_of(read, value, field="t") is Reason.BAD_FIELD
