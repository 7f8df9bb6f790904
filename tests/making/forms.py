"""Forms: the canonical encoding, record by record, and every rewriting that parses alike and is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infoexchange.content import Content
from infoexchange.v1 import content_pb2, envelope_pb2
from making.case import Case, canonical, changed, clear, put
from making.envelopes import message
from making.world import RECIPIENT, SECOND, SENDER, Worlds


def varint(value: int, more: int = 0) -> bytes:
    """Return a number, with as many superfluous bytes as wanted."""
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        if value or more:
            out.append(low | 0x80)
            if not value:
                break
        else:
            out.append(low)
            return bytes(out)
    out += b"\x80" * (more - 1) + b"\x00"
    return bytes(out)


def field(number: int, kind: int, value: bytes | int) -> bytes:
    """Return one field."""
    tag = varint(number << 3 | kind)
    if isinstance(value, int):
        return tag + varint(value)
    return tag + (varint(len(value)) if kind == 2 else b"") + value


def rewritings(header: bytes) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield `(name, outcome, comment, bytes)` for a Header: the same fields in other bytes, or no fields at all."""
    m = envelope_pb2.Header.FromString(header)
    version, suite = field(1, 0, m.version), field(2, 0, m.suite)
    rest = header[len(version) + len(suite) :]
    assert version + suite + rest == header
    same = "not_canonical"
    yield "order", same, "two fields in the other order", suite + version + rest
    yield "twice", same, "a singular field twice, the last one right", field(1, 0, 7) + header
    yield "default", same, "a field written with its default", _with_default(header, m)
    yield "long-tag", same, "a tag of two bytes", varint(1 << 3, 1) + varint(m.version) + suite + rest
    yield "long-number", same, "a number of two bytes", b"\x08" + varint(m.version, 1) + suite + rest
    yield (
        "ten-byte-number",
        same,
        "a number with bits beyond its type",
        b"\x08" + varint(m.version + 2**32) + suite + rest,
    )
    yield "long-length", same, "a length of two bytes", version + suite + _long_length(rest)
    yield "unknown-number", same, "an unknown field with a number", header + field(100, 0, 1)
    yield "unknown-bytes", same, "an unknown field with bytes", header + field(100, 2, b"x")
    yield "unknown-fixed32", same, "an unknown field of four bytes", header + field(100, 5, bytes(4))
    yield "unknown-fixed64", same, "an unknown field of eight bytes", header + field(100, 1, bytes(8))
    yield "unknown-first", same, "an unknown field before all others", field(100, 0, 1) + header
    yield "group", same, "an unknown group", header + varint(100 << 3 | 3) + varint(100 << 3 | 4)
    yield "wrong-type", same, "a known field with another wire type", version + field(2, 2, b"\x03") + suite + rest
    nested = canonical(m.recipients[0])
    yield (
        "nested-unknown",
        same,
        "an unknown field in a field",
        header.replace(field(6, 2, nested), field(6, 2, nested + field(100, 0, 1)), 1),
    )
    yield (
        "nested-order",
        same,
        "fields of a field in the other order",
        header.replace(field(6, 2, nested), field(6, 2, _reversed(m.recipients[0])), 1),
    )
    yield "split", same, "a repeated field in two runs", _apart(header, m)
    yield "cut", "malformed", "the last byte is missing", header[:-1]
    yield "field-zero", "malformed", "field number 0", header + b"\x00\x00"
    yield "endless-number", "malformed", "a number of eleven bytes", version + b"\x10" + b"\x80" * 10 + b"\x01" + rest
    yield "length-beyond", "malformed", "a length beyond the end", header + field(100, 2, b"xx")[:-1]
    yield "open-group", "malformed", "a group that does not end", header + varint(100 << 3 | 3)
    yield "end-group", "malformed", "the end of a group that did not begin", header + varint(100 << 3 | 4)
    yield "wire-type-7", "malformed", "a wire type that does not exist", header + varint(100 << 3 | 7) + b"\x00"
    yield "not-utf8", "malformed", "a name that is not UTF-8", header.replace(SENDER.encode(), b"\xff" * len(SENDER), 1)


def _long_length(rest: bytes) -> bytes:
    """The first field of `rest` is bytes of less than 128: give its length two bytes."""
    return rest[:1] + varint(rest[1], 1) + rest[2:]


def _with_default(header: bytes, m: Any) -> bytes:
    """Write `blind_recipients` as false, in its place."""
    last = field(6, 2, canonical(m.recipients[-1]))
    return header.replace(last, last + field(7, 0, 0), 1)


def _reversed(recipient: Any) -> bytes:
    return field(2, 2, recipient.bundle) + field(1, 2, recipient.name.encode())


def _apart(header: bytes, m: Any) -> bytes:
    first, second = (field(6, 2, canonical(r)) for r in m.recipients)
    return header.replace(first + second, first, 1) + second


def records(payload: bytes) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield payloads as section Content looks at them."""
    yield "ok", "ok", "a catalogue message", payload
    yield "empty", "ok", "no field at all", b""
    yield "repeated", "ok", "one field three times", field(5, 2, b"a") * 3
    yield (
        "unknown-fields",
        "ok",
        "fields that no schema here has",
        field(1, 0, 1) + field(9, 1, bytes(8)) + field(900, 5, bytes(4)),
    )
    yield "falling", "not_canonical", "a field after one of a higher number", field(5, 2, b"a") + field(4, 2, b"a")
    yield "number-zero", "not_canonical", "field number 0", field(0, 0, 1)
    yield "long-tag", "not_canonical", "a tag of two bytes", varint(5 << 3 | 2, 1) + b"\x01a"
    yield "long-length", "not_canonical", "a length of two bytes", b"\x2a\x81\x00a"
    yield "long-number", "ok", "a value of two bytes: values are the schema's business", b"\x28\x81\x00"
    yield "group", "malformed", "a group", varint(5 << 3 | 3) + varint(5 << 3 | 4)
    yield "wire-type-6", "malformed", "a wire type that does not exist", varint(5 << 3 | 6)
    yield "beyond", "malformed", "a length beyond the end", b"\x2a\x05a"
    yield "fixed32-cut", "malformed", "three of four bytes", varint(5 << 3 | 5) + bytes(3)
    yield "fixed64-cut", "malformed", "seven of eight bytes", varint(5 << 3 | 1) + bytes(7)
    yield "endless-number", "malformed", "a number of eleven bytes", b"\x28" + b"\x80" * 10 + b"\x01"
    yield "tag-only", "malformed", "a tag without a value", b"\x2a"


def content(payload: bytes) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield Content in good and bad forms."""
    kind = content_pb2.Content
    made = Content.make("infoexchange.catalogue.v1.OfficerAcknowledgement", payload, thread_id=bytes(16))
    raw = made.raw
    named = Content.make(made.schema, payload, groups=("piracy",), addressees=(RECIPIENT, SECOND)[::-1]).raw
    yield "ok", "ok", "with a thread", raw
    yield "ok-named", "ok", "with groups and addressees", named
    for name, change in {
        "schema-empty": clear("schema"),
        "schema-long": put(schema="a" * 256),
        "schema-not-ascii": put(schema="é"),
        "salt-seed": put(salt_seed=bytes(31)),
        "thread-id": put(thread_id=bytes(15)),
        "in-reply-to": put(in_reply_to=bytes(31)),
        "padding": lambda m: setattr(m, "padding", b"\x01" * max(1, len(m.padding))),
    }.items():
        yield name, "bad_field", "a field with another value than the format allows", changed(kind, raw, change)
    for name, change in {
        "group-empty": lambda m: m.groups.append(""),
        "groups-65": lambda m: m.groups.extend(["g"] * 65),
        "addressees-falling": lambda m: m.addressees.append("a.example"),
        "addressee-name": lambda m: m.addressees.append("Z"),
    }.items():
        yield name, "bad_field", "a list that is not as the format says", changed(kind, named, change)
    yield (
        "padding-more",
        "not_canonical",
        "more padding than Padme gives",
        changed(kind, raw, lambda m: setattr(m, "padding", m.padding + b"\x00")),
    )
    yield "padding-none", "not_canonical", "no padding", changed(kind, raw, clear("padding"))
    yield "large", "too_large", "over 1 MiB", bytes(1024 * 1024 + 1)


def cases(worlds: Worlds) -> Iterator[Case]:
    """Yield every case of the sections Canonical form and Content."""
    makers = worlds.one
    header = makers.seal(message(), [RECIPIENT, SECOND]).header.raw
    yield Case("canonical-ok", "header.parse", "ok", (header,), "a header", "Canonical form 1")
    for name, expect, comment, raw in rewritings(header):
        yield Case(f"canonical-{name}", "header.parse", expect, (raw,), comment, "Canonical form 1")
    for name, expect, comment, raw in records(message()):
        yield Case(f"records-{name}", "records", expect, (raw,), comment)
    for name, expect, comment, raw in content(message()):
        yield Case(f"content-{name}", "content.parse", expect, (raw,), comment)
    made = Content.make("infoexchange.catalogue.v1.OfficerAcknowledgement", message(), groups=("piracy",))
    yield Case(
        "commitment",
        "content.commitment",
        "ok",
        (made.raw, bytes(16)),
        "what a header carries",
        more=(("party", SENDER),),
    )
