"""Record: what stands beside the leaves of an exported log, as far as the operator shows it (SPEC section Log folder).

A leaf tells nothing; the record beside it holds the groups that were logged, each with the salt without which its
commitment cannot be computed again. What is not shown leaves no trace: an empty record is as good as none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct

from infoexchange import wire
from infoexchange.audit import (
    COMMITMENTS,
    GROUP_SIZE_MAX,
    GROUPS,
    PREFIXES,
    RECEIPT_SIZE_MAX,
    SALT_SIZE,
    Entry,
    commitments,
    commitments_in,
)
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.tlog import tiles
from infoexchange.v1 import audit_pb2

# Specification constants
RECORD_SIZE_MAX = RECEIPT_SIZE_MAX + 4 * GROUP_SIZE_MAX  # the longest document, three groups, and room around them
RECORDS_SIZE_MAX = tiles.WIDTH * (4 + RECORD_SIZE_MAX) + 32  # so much memory reads any bundle
_LENGTH = Struct(">I")  # a uint32: documents are longer than the 64 KiB of a tile's entry
_CHECK_SIZE = 32  # SHA-256

EMPTY = b""
"""The record of an entry of which nothing is shown."""

# Implementation constants
_FRAMES_MAX = 1024  # kept; the names in a log, and so the lengths in its records, are always the same few

_SALT_SIZES = {0, SALT_SIZE}
_ROUTING, _MESSAGE, _OPERATIONAL = (PREFIXES[group] for group in GROUPS)
_BEGUN = tuple(sha256(PREFIXES[group]) for group in GROUPS)  # a copy costs less than a new one
_C_ROUTING, _C_MESSAGE, _C_OPERATIONAL = COMMITMENTS


@dataclass(frozen=True)
class ShownEntry(Entry):
    """An entry of which perhaps not every group is shown: then group and salt are empty.

    Attributes:
        logged: The leaf beside which the record stood.
    """

    logged: bytes = field(default=b"", repr=False)

    @property
    def leaf(self) -> bytes:
        """The exact bytes logged."""
        return self.logged


@dataclass(frozen=True)
class LogRecord:
    """The groups of one entry, in the order of `audit.GROUPS`, their salts, and the event's document."""

    raw: bytes = field(repr=False)
    groups: tuple[bytes, bytes, bytes] = field(repr=False)
    salts: tuple[bytes, bytes, bytes] = field(repr=False)
    document: bytes = field(repr=False)

    @classmethod
    def make(cls, entry: Entry, document: bytes, shown: Collection[str]) -> LogRecord:
        """Return the record that shows these groups of an entry; of one that was erased it is empty.

        Args:
            entry: As the store has it, without salts where it was erased.
            document: The event's own; it tells what the group "message" tells, and is shown with it only. That of
                DIRECTORY_VERSION stands in a folder of its own.
            shown: Some of `audit.GROUPS`; "routing" is among them if any is.
        """
        kept = {group for group, salt in zip(GROUPS, entry.salts, strict=True) if salt and group in shown}
        if "routing" not in kept:
            return cls.parse(EMPTY)
        routing, message, operational = (
            (raw, salt) if group in kept else (b"", b"")
            for group, raw, salt in zip(
                GROUPS, (entry.routing, entry.message, entry.operational), entry.salts, strict=True
            )
        )
        m = audit_pb2.LogRecord(
            routing=routing[0],
            routing_salt=routing[1],
            message=message[0],
            message_salt=message[1],
            operational=operational[0],
            operational_salt=operational[1],
            document=document if "message" in kept else b"",
        )
        return cls(wire.canonical(m), (m.routing, m.message, m.operational), _salts(m), m.document)

    @classmethod
    def parse(cls, raw: bytes) -> LogRecord:
        """Return the record of canonical bytes; nothing in it may be believed before `verify` has returned.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`.
            RefusedError: `TOO_LARGE`.
        """
        m = _message(raw)
        return cls(raw, (m.routing, m.message, m.operational), _salts(m), m.document)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is shown: it was never disclosed, or has been erased."""
        return not self.raw

    def verify(self, leaf: bytes) -> ShownEntry:
        """Return the entry, once every group shown is what the leaf beside it commits to.

        Raises:
            MalformedError: As `audit.commitments`.
            UntrustedError: `BAD_COMMITMENT`.
        """
        _check(_message(self.raw), commitments(leaf))
        return ShownEntry(*self.groups, self.salts, leaf)


def check_record(raw: bytes, committed: tuple[bytes, bytes, bytes]) -> bool:
    """Return whether a record has a document, once it is found to be what its leaf commits to.

    As `LogRecord.parse` and `verify`, for the auditor who has read the leaf's commitments already and looks at records
    by the million.

    Raises:
        MalformedError: As `LogRecord.parse`.
        UntrustedError: `BAD_COMMITMENT`.
    """
    m = _message(raw)
    _check(m, committed)
    return bool(m.document)


class Glance:
    """What `check_record` does, for the auditor who looks at records by the million.

    Most of them have parts of the same lengths as one before. What stands between those parts, tags and lengths, is
    then the same in both if both are canonical, and only then; so it is compared, and nothing is parsed. Whatever does
    not pass at a glance is parsed, and judged by that alone.
    """

    def __init__(self) -> None:
        """Start with no record seen."""
        self._frames: dict[tuple[int, bytes], Frame] = {}

    def check(self, raw: bytes, leaf: bytes) -> bool:
        """Return whether a record has a document, and raise, as `check_record`.

        Args:
            raw: The record.
            leaf: The one beside it, which `are_leaves` has taken.
        """
        key = len(raw), raw[:3]  # the length of all, and of the first group
        frame = self._frames.get(key)
        parts = frame(raw) if frame else None
        if parts and _fit(parts.groups(), leaf):
            return False
        documented = check_record(raw, commitments_in(leaf))
        if raw and not documented and frame is None and len(self._frames) < _FRAMES_MAX:
            self._frames[key] = _frame(raw)  # which takes longer than parsing a record
        return documented


Frame = Callable[[bytes], re.Match[bytes] | None]
"""Gives the parts of a record, if their lengths are those of the record that it was made of."""


def _frame(raw: bytes) -> Frame:
    """Return the frame of a canonical record without a document."""
    m = audit_pb2.LogRecord.FromString(raw)
    pattern, at = [], 0
    for part in (m.routing, m.routing_salt, m.message, m.message_salt, m.operational, m.operational_salt):
        start = at + (1 + max(1, -(-len(part).bit_length() // 7)) if part else 0)  # a tag and a varint
        pattern.append(re.escape(raw[at:start]) + b"(.{%d})" % len(part))
        at = start + len(part)
    return re.compile(b"".join(pattern), re.DOTALL).fullmatch


def _fit(parts: Sequence[bytes], leaf: bytes) -> bool:
    """Whether each group shown gives the commitment of the leaf; written out, as an auditor's time goes here."""
    routing, routing_salt, message, message_salt, operational, operational_salt = parts
    if routing_salt:
        state = _BEGUN[0].copy()
        state.update(routing_salt)
        state.update(routing)
        if state.digest() != leaf[_C_ROUTING]:
            return False
    if message_salt:
        state = _BEGUN[1].copy()
        state.update(message_salt)
        state.update(message)
        if state.digest() != leaf[_C_MESSAGE]:
            return False
    if operational_salt:
        state = _BEGUN[2].copy()
        state.update(operational_salt)
        state.update(operational)
        return state.digest() == leaf[_C_OPERATIONAL]
    return True


def _message(raw: bytes) -> audit_pb2.LogRecord:
    # (1) canonical form; each group with its salt, "routing" before any other, a document with "message" only
    m = wire.parse(audit_pb2.LogRecord, raw, size_max=RECORD_SIZE_MAX, field="record")
    routing, message, operational = len(m.routing_salt), len(m.message_salt), len(m.operational_salt)
    if not {routing, message, operational} <= _SALT_SIZES:
        detail = f"salts of {routing}, {message} and {operational} bytes"
        raise error(Reason.BAD_FIELD, field="record", detail=detail)
    if (m.routing and not routing) or (m.message and not message) or (m.operational and not operational):
        raise error(Reason.BAD_FIELD, field="record", detail="a group without its salt")
    if not routing and (message or operational):
        raise error(Reason.BAD_FIELD, field="record.routing", detail="another group is shown, and this is not")
    if m.document and not message:
        raise error(Reason.BAD_FIELD, field="record.document", detail="shown without the group that names it")
    return m


def _check(m: audit_pb2.LogRecord, committed: tuple[bytes, bytes, bytes]) -> None:
    # (2) each group shown gives the commitment of the leaf; written out, as this is where an auditor's time goes
    c_routing, c_message, c_operational = committed
    if (salt := m.routing_salt) and sha256(_ROUTING + salt + m.routing).digest() != c_routing:
        raise _another("routing")
    if (salt := m.message_salt) and sha256(_MESSAGE + salt + m.message).digest() != c_message:
        raise _another("message")
    if (salt := m.operational_salt) and sha256(_OPERATIONAL + salt + m.operational).digest() != c_operational:
        raise _another("operational")


def _another(group: str) -> ExchangeError:
    return error(Reason.BAD_COMMITMENT, field=f"record.{group}", detail="not the group that was logged")


def _salts(m: audit_pb2.LogRecord) -> tuple[bytes, bytes, bytes]:
    return m.routing_salt, m.message_salt, m.operational_salt


def records_path(n: int, width: int = tiles.WIDTH) -> str:
    """Return the path of a bundle of records, numbered as the bundle of entries that it stands beside."""
    return tiles.tile_path(tiles.ENTRIES, n, width).replace("tile/entries/", "records/", 1)


def write_records(raws: Iterable[bytes]) -> bytes:
    """Return the bundle of these records: each behind its length in 4 bytes, then SHA-256 of all that.

    The check sum proves nothing; it lets whoever reads the file see that a disk or a copy has changed it, also where
    nothing signed says so, as in a document.
    """
    body = b"".join(_LENGTH.pack(len(raw)) + raw for raw in raws)
    return body + sha256(body).digest()


def parse_records(raw: bytes, width: int) -> list[bytes]:
    """Return the records of a bundle, which must hold exactly `width` of them.

    Raises:
        MalformedError: `MALFORMED` for any other length, or another check sum.
    """
    end = len(raw) - _CHECK_SIZE
    if end < 0 or sha256(memoryview(raw)[:end]).digest() != raw[end:]:
        raise error(Reason.MALFORMED, field="records", detail="the bundle does not match its check sum")
    records, at = [], 0
    for _ in range(width):
        if at + _LENGTH.size > end:
            at = -1
            break
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(raw, at)[0]
        records.append(raw[start:at])
    if at != end:
        raise error(Reason.MALFORMED, field="records", detail=f"the bundle does not hold just {width} records")
    return records
