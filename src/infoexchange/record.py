"""Record: what stands beside the leaves of an exported log, as far as the operator shows it (SPEC section Log folder).

A leaf tells nothing; the record beside it holds the groups that were logged, each with the salt without which its
commitment cannot be computed again. What is not shown leaves no trace: an empty record is as good as none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from infoexchange import wire
from infoexchange.audit import GROUP_SIZE_MAX, GROUPS, SALT_SIZE, Entry, commit, commitments
from infoexchange.errors import Reason, error
from infoexchange.listing import DIRECTORY_SIZE_MAX
from infoexchange.tlog import tiles
from infoexchange.v1 import audit_pb2

# Specification constants
RECORD_SIZE_MAX = DIRECTORY_SIZE_MAX + 4 * GROUP_SIZE_MAX  # the largest document, three groups, and room around them
_LENGTH_SIZE = 4  # a uint32: documents are longer than the 64 KiB of a tile's entry
_CHECK_SIZE = 32  # SHA-256

EMPTY = b""
"""The record of an entry of which nothing is shown."""

ReadBytes = Callable[[int], bytes]
"""Gives the next bytes of a file, at most so many; nothing at its end."""


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
            document: The event's own; it tells what the group "message" tells, and is shown with it only.
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
        # (1) canonical form; each group with its salt, "routing" before any other, a document with "message" only
        m = wire.parse(audit_pb2.LogRecord, raw, size_max=RECORD_SIZE_MAX, field="record")
        groups, salts = (m.routing, m.message, m.operational), _salts(m)
        for group, shown, salt in zip(GROUPS, groups, salts, strict=True):
            if len(salt) != SALT_SIZE and (salt or shown):
                raise error(Reason.BAD_FIELD, field=f"record.{group}_salt", detail=f"{len(salt)} bytes")
        if not salts[0] and any(salts):
            raise error(Reason.BAD_FIELD, field="record.routing", detail="another group is shown, and this is not")
        if m.document and not salts[1]:
            raise error(Reason.BAD_FIELD, field="record.document", detail="shown without the group that names it")
        return cls(raw, groups, salts, m.document)

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
        # (2) the leaf is a canonical AuditLeaf, and each group shown gives its commitment
        self.check(commitments(leaf))
        return ShownEntry(*self.groups, self.salts, leaf)

    def check(self, committed: tuple[bytes, bytes, bytes]) -> None:
        """Return if every group shown gives its commitment, or raise `BAD_COMMITMENT`."""
        for group, raw, salt, commitment in zip(GROUPS, self.groups, self.salts, committed, strict=True):
            if salt and commit(group, salt, raw) != commitment:
                raise error(Reason.BAD_COMMITMENT, field=f"record.{group}", detail="not the group that was logged")


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
    body = b"".join(len(raw).to_bytes(_LENGTH_SIZE, "big") + raw for raw in raws)
    return body + sha256(body).digest()


def read_records(read: ReadBytes, width: int) -> Iterator[bytes]:
    """Yield the records of a bundle, which must hold exactly `width` of them; the last one comes once all is checked.

    Raises:
        MalformedError: `MALFORMED` for a file that ends too early or too late, or does not have its check sum.
        RefusedError: `TOO_LARGE`, before such a record is read.
    """
    seen = sha256()

    def take(size: int) -> bytes:
        found = read(size)
        if len(found) != size:
            raise error(Reason.MALFORMED, field="records", detail="the bundle ends within a record")
        return found

    for place in range(1, width + 1):
        prefix = take(_LENGTH_SIZE)
        size = int.from_bytes(prefix, "big")
        if size > RECORD_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="records", detail=f"{size} bytes, at most {RECORD_SIZE_MAX}")
        raw = take(size)
        seen.update(prefix)
        seen.update(raw)
        if place == width and (take(_CHECK_SIZE) != seen.digest() or read(1)):
            raise error(Reason.MALFORMED, field="records", detail="the bundle does not match its check sum")
        yield raw
