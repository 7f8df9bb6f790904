"""Changing: real bytes spoilt, so that they reach a reader's later checks as well as its first.

Plain changes of bytes are mixed with changes of what they mean: fields of a message, at any depth and through the
signed bytes inside others, values of a JSON tree, words and lines of a text. What a first check would refuse is mended.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from google.protobuf.message import DecodeError, Message

from infoexchange import dsse
from infoexchange.v1 import audit_pb2, bundle_pb2, content_pb2, directory_pb2, envelope_pb2, grant_pb2

Mend = Callable[[bytes], bytes]

INTERESTING = (
    b"\x00", b"\xff", b"\x80", b"\x0a", b"\x08\x00", b"\x7a\x00", b"\n", b"\n\n", b" ", b"+", b"=", b"0", b"-1",
    b"\r\n", b"\xe2\x80\x94 x y\n", b"\xc2\x85", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'"', b"[", b"{", b"[[",
    b"9" * 30, b"\xfb\x06\xfc\x06", b"\xff" * 9 + b"\x01", b"\xef\xbb\xbf", b"\x1b[0m", b"1e999", b"NaN", b"null",
    b"--", b"..",
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 15, 64, 65, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63))
TEXTS = ("", "x", "a.b", "x" * 300, "\x00", "é", "A.B", "a.b\n", "\u202e", "desk.oncb.th.example", "=1+1", "x" * 5000)
_DEEP = "nested deeply"
COPIES = (2, 2, 2, 2, 64, 65, 65, 1000, 1000, 20_000)  # limits of ours are at 64, and many copies take long
COPIED_MAX = 4 << 20  # bytes that copies make together: more than any reader takes, and no danger to the machine

# The signed bytes inside other messages: by message and field.
INNER: dict[tuple[str, str], Any] = {
    ("Manifest", "header"): envelope_pb2.Header,
    ("Envelope", "wraps"): envelope_pb2.RecipientWrap,
    ("Receipt", "leaf"): audit_pb2.AuditLeaf,
    ("Receipt", "routing"): audit_pb2.AuditRouting,
    ("Receipt", "message"): audit_pb2.AuditMessage,
    ("Receipt", "operational"): audit_pb2.AuditOperational,
    ("Envelope", "grant"): envelope_pb2.Dsse,
    ("Content", "origin"): content_pb2.Origin,
    ("Origin", "manifest"): envelope_pb2.Dsse,
    ("Origin", "content"): content_pb2.Content,
    ("Origin", "grant"): envelope_pb2.Dsse,
    ("LogRecord", "routing"): audit_pb2.AuditRouting,
    ("LogRecord", "message"): audit_pb2.AuditMessage,
    ("LogRecord", "operational"): audit_pb2.AuditOperational,
    ("Origin", "accepted"): audit_pb2.Receipt,
    ("Origin", "wrap"): envelope_pb2.RecipientWrap,
    ("SignedBundle", "bundle"): envelope_pb2.Dsse,
    ("Transfer", "manifest"): envelope_pb2.Dsse,
    ("Transfer", "grant"): envelope_pb2.Dsse,
    ("Transfer", "accepted"): audit_pb2.Receipt,
    ("Transfer", "wrap"): envelope_pb2.RecipientWrap,
    ("Evidence", "grant"): envelope_pb2.Dsse,
    ("Evidence", "envelope"): envelope_pb2.Envelope,
    ("Evidence", "bundles"): envelope_pb2.Dsse,
    ("Evidence", "directory"): envelope_pb2.Dsse,
    ("Evidence", "statements"): envelope_pb2.Dsse,
}
PAYLOADS: dict[str, Any] = {
    dsse.TYPE_MANIFEST: envelope_pb2.Manifest,
    dsse.TYPE_KEYBUNDLE: bundle_pb2.KeyBundle,
    dsse.TYPE_DIRECTORY: directory_pb2.Directory,
    dsse.TYPE_GRANT: grant_pb2.Grant,
    dsse.TYPE_ACKNOWLEDGEMENT: audit_pb2.RecipientAcknowledgement,
    dsse.TYPE_RECALL: audit_pb2.RecallOrder,
}


def plain(raw: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return bytes with one or a few places changed, or with much more of them."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        a, b = sorted((rng.randrange(len(raw) + 1), rng.randrange(len(raw) + 1)))
        kind = rng.randrange(9)
        if kind == 0 and raw:
            place = rng.randrange(len(raw))
            raw = raw[:place] + bytes([raw[place] ^ 1 << rng.randrange(8)]) + raw[place + 1 :]
        elif kind == 1:
            raw = raw[:b]
        elif kind == 2:
            raw = raw[:a] + raw[min(b, a + 8) :]
        elif kind == 3:
            raw = raw[:a] + rng.choice(INTERESTING) + raw[a:]
        elif kind == 4:
            extra = rng.choice(INTERESTING)
            raw = raw[:a] + extra + raw[a + len(extra) :]
        elif kind == 5:
            raw = raw[:b] + raw[a:]
        elif kind == 6:
            other = rng.choice(others)
            raw = raw[:a] + other[rng.randrange(len(other) + 1) :]
        elif kind == 7:
            raw = raw[:a] + rng.randbytes(rng.choice((1, 2, 4, 32))) + raw[b:]
        else:
            raw = raw[:a] + raw[a : min(b, a + 200)] * rng.choice(COPIES) + raw[b:]
    return raw


def _copies(size: int, rng: random.Random, choice: Sequence[int] = COPIES) -> int:
    """Return how many copies to make of something of so many bytes."""
    return max(2, min(rng.choice(choice), COPIED_MAX // (size + 1)))


def fields(kind: Any) -> Callable[[bytes, Sequence[bytes], random.Random], bytes]:
    """Return a change of the fields of a protobuf type; the result is canonical."""

    def change(raw: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
        try:
            message = kind.FromString(raw)
        except DecodeError:
            message = kind.FromString(rng.choice(others))
        for _ in range(rng.choice((1, 1, 2, 3))):
            _change_field(message, rng)
        made: bytes = message.SerializeToString(deterministic=True)
        return made

    return change


def _change_field(message: Message, rng: random.Random) -> None:
    descriptor = message.DESCRIPTOR
    given = [field for field, _ in message.ListFields()]
    field = rng.choice(given if given and rng.random() < 0.8 else list(descriptor.fields))
    value = getattr(message, field.name)
    inner = INNER.get((descriptor.name, field.name))
    if descriptor.name == "Dsse" and field.name == "payload":
        inner = PAYLOADS.get(message.payload_type)  # type: ignore[attr-defined]
    if rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.is_repeated:
        _change_many(field, value, inner, rng)
    elif field.type == field.TYPE_MESSAGE:
        value.SetInParent()
        _change_field(value, rng)
    elif inner is not None and rng.random() < 0.9:
        setattr(message, field.name, _inside(inner, value, rng))
    else:
        _put(lambda new: setattr(message, field.name, new), _other(field, value, rng))


def _change_many(field: Any, values: Any, inner: Any, rng: random.Random) -> None:
    """Change one of several values, or their number or order."""
    kind = rng.randrange(6)
    place = rng.randrange(len(values)) if values else 0
    if field.type == field.TYPE_MESSAGE:
        if not values or kind == 0:
            values.add()
        elif kind == 1:
            del values[place]
        elif kind == 2:
            chosen = values[place]
            values.extend([chosen] * _copies(chosen.ByteSize(), rng, COPIES[:7] if chosen.ByteSize() > 50 else COPIES))
        else:
            _change_field(values[place], rng)
        return
    if not values or kind == 0:
        _put(values.append, _other(field, _empty(field), rng))
    elif kind == 1:
        del values[place]
    elif kind == 2:
        values.extend(
            [values[place]] * _copies(len(values[place]) if isinstance(values[place], str | bytes) else 8, rng)
        )
    elif inner is not None and kind != 3:
        values[place] = _inside(inner, values[place], rng)
    else:
        new = _other(field, values[place], rng)
        _put(lambda new: values.__setitem__(place, new), new)


def _inside(kind: Any, raw: bytes, rng: random.Random) -> bytes:
    """Return the bytes of a message that stands as bytes in another, with a field changed."""
    try:
        message = kind.FromString(raw)
    except DecodeError:
        return b""
    _change_field(message, rng)
    made: bytes = message.SerializeToString(deterministic=True)
    return made


def _empty(field: Any) -> Any:
    return "" if field.type == field.TYPE_STRING else b"" if field.type == field.TYPE_BYTES else 0


def _other(field: Any, value: Any, rng: random.Random) -> Any:
    if field.type == field.TYPE_STRING:
        text = str(value)
        place = rng.randrange(len(text) + 1)
        return rng.choice((*TEXTS, text[:place] + rng.choice(TEXTS) + text[place:], text[place:], text.upper()))
    if field.type == field.TYPE_BYTES:
        if value and rng.random() < 0.5:
            return plain(value, [value], rng)
        return rng.randbytes(rng.choice((0, 1, 15, 16, 17, 31, 32, 33, 300, 20_000)))
    if field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        return rng.choice((0.0, -1.0, 1e308, float("inf"), float("nan"), 90.5))
    return rng.choice((*NUMBERS, int(value) + 1, int(value) - 1))


def _put(put: Callable[[Any], None], value: Any) -> None:
    try:
        put(value)
    except (ValueError, TypeError, OverflowError):
        return  # outside the field's type


def tree(raw: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return JSON with one or a few values exchanged, taken out, doubled or moved; what is none, by its lines."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        try:
            value = json.loads(rng.choice(others))
        except ValueError:
            return lines(raw, others, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _other_tree(value, rng)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1)))
    opening, closing = rng.choice((("[", "]"), ('{"x":', "}")))
    depth = rng.choice((10, 500, 5000, 100_000))
    text = text.replace(json.dumps(_DEEP), opening * depth + "1" + closing * depth)  # deeper than `dumps` can write
    return text.encode("utf-8", "surrogatepass")


def _other_tree(value: Any, rng: random.Random) -> Any:
    leaf: Any = rng.choice(
        (None, True, False, 0, -1, 1.5, 2**70, 1e308, "", "x", [], {}, [[]], "x" * 5000, "\ud800", *TEXTS, *NUMBERS)
    )
    if rng.random() < 0.02:
        return _DEEP
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        if isinstance(value, str) and value and rng.random() < 0.5:
            place = rng.randrange(len(value))
            return value[:place] + rng.choice(TEXTS) + value[place + rng.randrange(2) :]
        return leaf
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    keys = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
    key = rng.choice(keys)
    kind = rng.randrange(8)
    if kind == 0:
        del copy[key]
    elif kind == 1 and isinstance(copy, dict):
        copy[rng.choice((*TEXTS, str(key).upper()))] = copy[key]
    elif kind == 1:
        copy.extend([copy[key]] * rng.choice(COPIES[:9]))
    else:
        copy[key] = _other_tree(copy[key], rng)
    return copy


def lines(raw: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return a text with lines or words changed, doubled, moved or taken from another."""
    found = raw.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(found) or 1)
        kind = rng.randrange(7)
        if kind == 0 or not found:
            found.insert(place, rng.choice(rng.choice(others).split(b"\n")))
        elif kind == 1:
            del found[place]
        elif kind == 2:
            found[place:place] = [found[place]] * _copies(len(found[place]), rng)
        elif kind == 3:
            found.insert(rng.randrange(len(found)), found.pop(place))
        else:
            separator = rng.choice((b" ", b"+", b",", b"/", b"="))
            words = found[place].split(separator)
            word = rng.randrange(len(words))
            many = words[word] * _copies(len(words[word]), rng, COPIES[:9])
            words[word] = rng.choice((*INTERESTING, b"", many, words[word] + b"A"))
            found[place] = separator.join(words)
    return b"\n".join(found)


def elements(raw: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return XML with one or a few elements emptied, doubled, moved, renamed or given another text."""
    try:
        root = ET.fromstring(raw)
    except (ET.ParseError, LookupError, ValueError):  # it may name an encoding that there is not
        root = ET.fromstring(rng.choice(others))
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = list(root.iter())
        one, other = rng.choice(found), rng.choice(found)
        kind = rng.randrange(9)
        if kind == 0:
            one.clear()
        elif kind == 1 and len(one):
            one.remove(rng.choice(list(one)))
        elif kind == 2 and len(one):
            child = rng.choice(list(one))
            one.extend([child] * _copies(len(ET.tostring(child)), rng, COPIES[:9]))
        elif kind == 3:
            one.tag = rng.choice((other.tag, "x", "{urn:x}" + str(one.tag).rpartition("}")[2]))
        elif kind == 4:
            one.set(rng.choice(("x", *other.attrib)), rng.choice(TEXTS))
        elif kind == 5 and one not in other.iter():
            one.append(other)
        elif kind == 6:
            child = one
            for _ in range(rng.choice((3, 64, 65))):
                child = ET.SubElement(child, str(other.tag))
        else:
            text = one.text or ""
            place = rng.randrange(len(text) + 1)
            word = rng.choice((*TEXTS, "2026-02-30", "-0.5", "1" * 30, "EXACT", "ZZ"))
            one.text = rng.choice((word, text[:place] + word + text[place:], text[place:]))
    made: bytes = ET.tostring(root, encoding=rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "us-ascii")))
    return made
