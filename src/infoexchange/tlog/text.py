"""Text: the one strict form of numbers, base64 and lines that all C2SP formats share.

Python's own readers are too kind for signed text: `int` takes signs, spaces, underscores and foreign digits,
`b64decode` skips junk and ignores trailing bits, `splitlines` splits at U+2028. Two texts that mean the same would be
two names for one thing, so exactly one form of each is accepted.
"""

from __future__ import annotations

import binascii
import re

from infoexchange.errors import Reason, error
from infoexchange.tlog.merkle import HASH_SIZE, SIZE_MAX

_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


def parse_decimal(raw: bytes, *, field: str) -> int:
    """Return a number from 0 to 2^63-1 written in ASCII digits without leading zeros.

    Raises:
        MalformedError: `MALFORMED`, `NOT_CANONICAL` for leading zeros, or `BAD_FIELD` when it is too large.
    """
    if not raw.isdigit():  # of bytes, this is ASCII digits only, and at least one
        raise error(Reason.MALFORMED, field=field, detail="not a plain decimal number")
    if raw.startswith(b"0") and len(raw) > 1:
        raise error(Reason.NOT_CANONICAL, field=field, detail="a number with leading zeros")
    if len(raw) > len(str(SIZE_MAX)) or int(raw) > SIZE_MAX:
        raise error(Reason.BAD_FIELD, field=field, detail="a number above 2^63-1")
    return int(raw)


def parse_base64(raw: bytes, *, field: str) -> bytes:
    """Return what standard base64 with exact padding and zero trailing bits stands for (RFC 4648, section 4).

    Raises:
        MalformedError: `MALFORMED`, or `NOT_CANONICAL` when the same bytes have another form.
    """
    if len(raw) % 4 or not _BASE64.fullmatch(raw):  # then nothing is left on which versions of `binascii` differ
        raise error(Reason.MALFORMED, field=field, detail="not base64")
    data = binascii.a2b_base64(raw)
    if write_base64(data) != raw:
        raise error(Reason.NOT_CANONICAL, field=field, detail="base64 in another than its canonical form")
    return data


def write_base64(data: bytes) -> bytes:
    """Return the canonical base64 form of `data`."""
    return binascii.b2a_base64(data, newline=False)


def parse_hash(raw: bytes, *, field: str) -> bytes:
    """Return a 32-byte hash from its base64 form, or raise as `parse_base64` and `BAD_FIELD` for other lengths."""
    data = parse_base64(raw, field=field)
    if len(data) != HASH_SIZE:
        raise error(Reason.BAD_FIELD, field=field, detail=f"a hash of {len(data)} bytes instead of {HASH_SIZE}")
    return data


def parse_lines(raw: bytes, *, field: str) -> list[bytes]:
    """Return the lines of `raw`, each of which ends in 0x0A and in nothing else.

    Raises:
        MalformedError: `MALFORMED` when there is no line or the last newline is missing.
    """
    if not raw.endswith(b"\n"):
        raise error(Reason.MALFORMED, field=field, detail="no newline at the end")
    return raw[:-1].split(b"\n")
