"""Zipped: the parts of a ZIP file, unpacked no further than a limit, and a ZIP file of parts.

Enough of ZIP for spreadsheets, from bytes to bytes: no 64-bit sizes, no encryption, no parts on other disks. What the
directory of the file says of a size is never believed; what comes out is counted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, NoReturn

from infoexchange.errors import Reason, error

START = b"PK\x03\x04"
# A table as large as this has a million cells; more than that is for a database, or for CSV.
FILE_MAX = 64 * 1024 * 1024
# Deflate shrinks to a thousandth at most, so a small file can hide a thousand times its size.
PART_MAX = 128 * 1024 * 1024
# A spreadsheet has a part for each sheet, chart and picture.
_PARTS_MAX = 2000
_CHUNK = 1 << 16
_END = struct.Struct("<4s4H2LH")  # end of the directory; a comment of up to 65 535 bytes follows
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
AS_CSV = "If it is a table that you trust, save it as CSV."
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
# 1980-01-01: a file says nothing of when it was made, and the same table is the same bytes.
_NO_DATE = 0x21


class _Part(NamedTuple):
    method: int
    checksum: int
    packed: int
    offset: int


class Archive:
    """The parts of a ZIP file by name."""

    def __init__(self, data: bytes, parts: Mapping[str, _Part]) -> None:
        self._data, self._parts = data, parts

    @classmethod
    def parse(cls, raw: bytes) -> Archive:
        """Return the parts of a ZIP file; none is unpacked yet.

        Raises:
            MalformedError: `MALFORMED` where it is no ZIP file, or one with encryption, 64-bit sizes, more than 2 000
                parts, or two of one name.
            RefusedError: `TOO_LARGE` beyond 64 MiB.
        """
        if len(raw) > FILE_MAX:
            detail = f"{len(raw)} bytes, at most {FILE_MAX}"
            raise error(Reason.TOO_LARGE, detail=detail, next_step=AS_CSV)
        at = raw.rfind(b"PK\x05\x06", max(0, len(raw) - 65535 - _END.size))
        if at < 0 or at + _END.size > len(raw):
            _refuse("it is cut off, or no ZIP file")
        _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(raw, at)
        if disk or first_disk or here != count or count > _PARTS_MAX or start + size > at:
            _refuse("its directory is damaged, has too many parts or 64-bit sizes")
        parts: dict[str, _Part] = {}
        for _ in range(count):
            name, part, start = _entry(raw, start, at)
            # Two readers could choose different ones of two equal names.
            if name in parts:
                _refuse("two parts have the same name")
            parts[name] = part
        return cls(raw, parts)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def chunks(self, name: str) -> Iterator[bytes]:
        """Give a part, unpacked, in pieces of at most 64 KiB.

        Raises:
            MalformedError: `MALFORMED` where there is no such part or it is damaged.
            RefusedError: `TOO_LARGE` beyond 128 MiB.
        """
        part = self._parts.get(name)
        if part is None:
            _refuse("a part is missing", name)
        rest = memoryview(self._data)[part.offset : part.offset + part.packed]
        pieces = _inflate(rest) if part.method == _DEFLATED else _slices(rest)
        checksum, total = 0, 0
        try:
            for piece in pieces:
                total += len(piece)
                if total > PART_MAX:
                    detail = f"a part unpacks to more than {PART_MAX} bytes"
                    raise error(Reason.TOO_LARGE, field=name[:100], detail=detail, next_step=AS_CSV)
                checksum = zlib.crc32(piece, checksum)
                yield piece
        except zlib.error:
            _refuse("a part is damaged", name)
        if checksum != part.checksum:
            _refuse("a part is damaged", name)


def _refuse(detail: str, name: str = "") -> NoReturn:
    raise error(Reason.MALFORMED, field=name[:100], detail=detail)


def _entry(raw: bytes, at: int, end: int) -> tuple[str, _Part, int]:
    """Return name, place and the next entry's place of an entry of the directory."""
    if at + _ENTRY.size > end:
        _refuse("its directory is damaged")
    found = _ENTRY.unpack_from(raw, at)
    magic, flags, method, checksum, packed = found[0], found[3], found[4], found[7], found[8]
    name_size, extra_size, comment_size, local = found[10], found[11], found[12], found[16]
    name = raw[at + _ENTRY.size : at + _ENTRY.size + name_size].decode("utf-8", "replace")
    if magic != b"PK\x01\x02" or local + _LOCAL.size > end or raw[local : local + 4] != START:
        _refuse("its directory is damaged")
    if flags & _ENCRYPTED or method not in {_STORED, _DEFLATED}:
        _refuse("it is encrypted, or packed in an unusual way")
    # The local head repeats the name, and has extra fields of its own.
    *_, local_name_size, local_extra_size = _LOCAL.unpack_from(raw, local)
    offset = local + _LOCAL.size + local_name_size + local_extra_size
    if offset + packed > end:
        _refuse("its directory is damaged")
    return name, _Part(method, checksum, packed, offset), at + _ENTRY.size + name_size + extra_size + comment_size


def _inflate(packed: memoryview) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in _slices(packed):
        rest = piece
        while rest and not inflater.eof:
            yield inflater.decompress(rest, _CHUNK)
            rest = inflater.unconsumed_tail
    while not inflater.eof:
        piece = inflater.decompress(b"", _CHUNK)
        if not piece:
            raise zlib.error
        yield piece


def _slices(data: memoryview) -> Iterator[bytes]:
    for start in range(0, len(data), _CHUNK):
        yield bytes(data[start : start + _CHUNK])


def pack(parts: Mapping[str, bytes]) -> bytes:
    """Return a ZIP file with these parts, in this order.

    Raises:
        RefusedError: `TOO_LARGE` where the parts together are larger than this module would read.
    """
    local, directory = bytearray(), bytearray()
    for name, data in parts.items():
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = packer.compress(data) + packer.flush()
        if len(data) > PART_MAX or len(local) + len(packed) > FILE_MAX:
            detail = "the table does not fit into a spreadsheet"
            raise error(Reason.TOO_LARGE, detail=detail, next_step="Write it as CSV.")
        # Version 2.0, no flags, method, time, date, checksum, both sizes, name and no extra field.
        shared = (20, 0, _DEFLATED, 0, _NO_DATE, zlib.crc32(data), len(packed), len(data), len(name), 0)
        directory += _ENTRY.pack(b"PK\x01\x02", 20, *shared, 0, 0, 0, 0, len(local)) + name.encode()
        local += _LOCAL.pack(START, *shared) + name.encode() + packed
    end = _END.pack(b"PK\x05\x06", 0, 0, len(parts), len(parts), len(directory), len(local), 0)
    return bytes(local + directory + end)
