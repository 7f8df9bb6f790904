"""Text: one spelling of a number, of a hash and of a line."""

from __future__ import annotations

import base64

import pytest

from infoexchange.errors import ExchangeError, Reason
from infoexchange.tlog.text import parse_base64, parse_decimal, parse_hash, parse_lines, write_base64

LARGEST = 9_223_372_036_854_775_807


def reason_of(call, raw):
    with pytest.raises(ExchangeError) as caught:
        call(raw, field="here")
    assert caught.value.field == "here"
    return caught.value.reason


@pytest.mark.parametrize("number", [0, 1, 9, 10, 4096, 10**18, LARGEST - 1, LARGEST])
def test_numbers(number):
    assert parse_decimal(b"%d" % number, field="here") == number


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"-1", Reason.MALFORMED),
        (b"+1", Reason.MALFORMED),
        (b"1 ", Reason.MALFORMED),
        (b"1_0", Reason.MALFORMED),
        ("١".encode(), Reason.MALFORMED),
        (b"00", Reason.NOT_CANONICAL),
        (b"01", Reason.NOT_CANONICAL),
        (b"%d" % (LARGEST + 1), Reason.BAD_FIELD),
        (b"9" * 19, Reason.BAD_FIELD),
        (b"1" + b"0" * 19, Reason.BAD_FIELD),
        (b"9" * 100_000, Reason.BAD_FIELD),  # which int() would refuse in its own words
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else str(len(value)),
)
def test_what_is_no_number(raw, reason):
    assert reason_of(parse_decimal, raw) is reason


def test_a_hash_has_32_bytes():
    assert parse_hash(base64.b64encode(bytes(range(32))), field="here") == bytes(range(32))
    for size in (0, 31, 33):
        assert reason_of(parse_hash, base64.b64encode(bytes(size))) is Reason.BAD_FIELD


def test_base64_has_one_spelling():
    for raw in (b"", b"a", b"ab", b"abc"):
        assert parse_base64(write_base64(raw), field="here") == raw
    for raw in (b"YQ", b"YQ=", b"YQ==\n", b" YQ==", b"Y-Q=", b"YQ==YQ==", b"Y===", b"===="):
        assert reason_of(parse_base64, raw) is Reason.MALFORMED
    for raw in (b"YR==", b"YWJ=", b"AAAAYR=="):
        assert reason_of(parse_base64, raw) is Reason.NOT_CANONICAL


def test_every_line_ends():
    assert parse_lines(b"a\n\nb\n", field="here") == [b"a", b"", b"b"]
    for raw in (b"", b"a", b"a\nb"):
        assert reason_of(parse_lines, raw) is Reason.MALFORMED
