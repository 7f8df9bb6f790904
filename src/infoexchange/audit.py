"""Audit: what a relay logs, the receipt that proves it, and what recipients sign (SPEC section Audit log).

A leaf holds three salted commitments and nothing readable; who, what and how stand beside the tree and open one by one.
A receipt is a proof under the log's checkpoint, so that it needs no signature and no promise of its own.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from infoexchange import wire
from infoexchange.errors import Reason, error
from infoexchange.states import Event
from infoexchange.suites import Entropy
from infoexchange.tlog import merkle
from infoexchange.v1 import audit_pb2, envelope_pb2

# Specification constants
LEAF_VERSION = 1
SALT_SIZE = 32
GROUP_SIZE_MAX = 64 * 1024  # tlog-tiles entries are shorter than 64 KiB
RECEIPT_SIZE_MAX = 512 * 1024
LEAF_SIZE_MAX = 256  # this version's have 104 bytes
GROUPS = ("routing", "message", "operational")
PREFIXES = {group: b"infoexchange/audit/v1/" + group.encode() + b"\x00" for group in GROUPS}

# Implementation constants
_LEAF_SIZE = 104
# Version 1 has one encoding, read at a glance: tags and lengths stand at these places, commitments between them.
COMMITMENTS = slice(4, 36), slice(38, 70), slice(72, 104)
_FRAME = {0: 0x08, 1: LEAF_VERSION, 2: 0x12, 3: 32, 36: 0x1A, 37: 32, 70: 0x22, 71: 32}


@dataclass(frozen=True, kw_only=True)
class Routing:
    """Group "routing": who, whom, when. Times are the relay's claim; bounds come from checkpoints."""

    event: Event
    logged_at: datetime
    this_relay: str
    sender: str = ""
    sender_nation: str = ""
    recipients: tuple[str, ...] = ()
    previous_relay: str = ""
    next_relay: str = ""
    op_status: int = 0
    precedence: int = 0
    accepted_at: datetime | None = None
    expires_at: datetime | None = None
    reason: int = 0

    @property
    def raw(self) -> bytes:
        """Canonical group bytes."""
        return wire.canonical(
            audit_pb2.AuditRouting(
                event=self.event,
                logged_us=wire.to_us(self.logged_at),
                sender=self.sender,
                sender_nation=self.sender_nation,
                recipients=self.recipients,
                previous_relay=self.previous_relay,
                this_relay=self.this_relay,
                next_relay=self.next_relay,
                op_status=envelope_pb2.OpStatus.ValueType(self.op_status),
                precedence=envelope_pb2.Precedence.ValueType(self.precedence),
                accepted_us=wire.to_us(self.accepted_at) if self.accepted_at else 0,
                expires_ms=wire.to_ms(self.expires_at) if self.expires_at else 0,
                reason=self.reason,
            )
        )

    @classmethod
    def parse(cls, raw: bytes) -> Routing:
        """Return the group of canonical bytes; an event outside the closed list is refused."""
        m = wire.parse(audit_pb2.AuditRouting, raw, size_max=GROUP_SIZE_MAX, field="routing")
        try:
            event = Event(m.event)
        except ValueError:
            raise error(Reason.BAD_FIELD, field="routing.event", detail=f"event {m.event} is not known") from None
        return cls(
            event=event,
            logged_at=wire.from_us(m.logged_us, field="routing.logged_us"),
            this_relay=m.this_relay,
            sender=m.sender,
            sender_nation=m.sender_nation,
            recipients=tuple(m.recipients),
            previous_relay=m.previous_relay,
            next_relay=m.next_relay,
            op_status=m.op_status,
            precedence=m.precedence,
            accepted_at=wire.from_us(m.accepted_us, field="routing.accepted_us") if m.accepted_us else None,
            expires_at=wire.from_ms(m.expires_ms, field="routing.expires_ms") if m.expires_ms else None,
            reason=m.reason,
        )


@dataclass(frozen=True)
class EntryRef:
    """An entry of some log: one link in the chain of custody."""

    origin: str
    index: int
    leaf_hash: bytes

    def to_wire(self) -> audit_pb2.EntryRef:
        """Return the protobuf form, for placing inside a group."""
        return audit_pb2.EntryRef(origin=self.origin, index=self.index, leaf_hash=self.leaf_hash)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Group "message": what the event is about, as digests."""

    envelope_digest: bytes = b""
    message_id: bytes = b""
    envelope_size: int = 0
    sender_bundle: bytes = b""
    recipient_bundles: tuple[bytes, ...] = ()
    suite: int = 0
    directory_digest: bytes = b""
    statement_digest: bytes = b""
    previous_entry: EntryRef | None = None

    @property
    def raw(self) -> bytes:
        """Canonical group bytes."""
        link = self.previous_entry
        return wire.canonical(
            audit_pb2.AuditMessage(
                envelope_digest=self.envelope_digest,
                message_id=self.message_id,
                envelope_size=self.envelope_size,
                sender_bundle=self.sender_bundle,
                recipient_bundles=self.recipient_bundles,
                suite=self.suite,
                directory_digest=self.directory_digest,
                statement_digest=self.statement_digest,
                previous_entry=link.to_wire() if link else None,
            )
        )

    @classmethod
    def parse(cls, raw: bytes) -> Subject:
        """Return the group of canonical bytes."""
        m = wire.parse(audit_pb2.AuditMessage, raw, size_max=GROUP_SIZE_MAX, field="message")
        link = m.previous_entry
        return cls(
            envelope_digest=m.envelope_digest,
            message_id=m.message_id,
            envelope_size=m.envelope_size,
            sender_bundle=m.sender_bundle,
            recipient_bundles=tuple(m.recipient_bundles),
            suite=m.suite,
            directory_digest=m.directory_digest,
            statement_digest=m.statement_digest,
            previous_entry=EntryRef(link.origin, link.index, link.leaf_hash) if m.HasField("previous_entry") else None,
        )


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Group "operational": how."""

    tls_peer: bytes = b""
    operator: str = ""
    software: str = ""
    config: bytes = b""
    latency_us: int = 0
    detail: str = ""
    data: bytes = field(default=b"", repr=False)

    @property
    def raw(self) -> bytes:
        """Canonical group bytes."""
        return wire.canonical(
            audit_pb2.AuditOperational(
                tls_peer=self.tls_peer,
                operator=self.operator,
                software=self.software,
                config_sha256=self.config,
                latency_us=self.latency_us,
                detail=self.detail,
                data=self.data,
            )
        )

    @classmethod
    def parse(cls, raw: bytes) -> Operation:
        """Return the group of canonical bytes."""
        m = wire.parse(audit_pb2.AuditOperational, raw, size_max=GROUP_SIZE_MAX, field="operational")
        return cls(
            tls_peer=m.tls_peer,
            operator=m.operator,
            software=m.software,
            config=m.config_sha256,
            latency_us=m.latency_us,
            detail=m.detail,
            data=m.data,
        )


def commit(group: str, salt: bytes, raw: bytes) -> bytes:
    """Return `SHA-256("infoexchange/audit/v1/" || group || 0x00 || salt || raw)`."""
    return sha256(PREFIXES[group] + salt + raw).digest()


def commitments(leaf: bytes, *, field: str = "leaf") -> tuple[bytes, bytes, bytes]:
    """Return the commitments of a leaf to its groups, in the order of `GROUPS`.

    Raises:
        MalformedError: `MALFORMED`, `NOT_CANONICAL`, `UNKNOWN_VERSION`, or `BAD_FIELD` for a commitment of other than
            32 bytes.
        RefusedError: `TOO_LARGE`.
    """
    m = wire.parse(audit_pb2.AuditLeaf, leaf, size_max=LEAF_SIZE_MAX, field=field)
    if m.version != LEAF_VERSION:
        raise error(Reason.UNKNOWN_VERSION, field=field, detail=f"leaf version {m.version}")
    found = (m.c_routing, m.c_message, m.c_operational)
    for group, commitment in zip(GROUPS, found, strict=True):
        wire.check_size(commitment, wire.DIGEST_SIZE, field=f"{field}.c_{group}")
    return found


def are_leaves(leaves: Sequence[bytes]) -> bool:
    """Whether `commitments` takes every one of these; read by the million, they are looked at together."""
    joined = b"".join(leaves)
    return all(len(leaf) == _LEAF_SIZE for leaf in leaves) and all(
        joined[place::_LEAF_SIZE] == bytes([value]) * len(leaves) for place, value in _FRAME.items()
    )


def commitments_in(leaf: bytes) -> tuple[bytes, bytes, bytes]:
    """Return what `commitments` does, of one of those that `are_leaves` has taken."""
    routing, message, operational = COMMITMENTS
    return leaf[routing], leaf[message], leaf[operational]


@dataclass(frozen=True)
class Entry:
    """One event: the readable groups with their salts, and the leaf that commits to them."""

    routing: bytes
    message: bytes
    operational: bytes
    salts: tuple[bytes, bytes, bytes] = field(repr=False)

    @classmethod
    def make(
        cls,
        routing: Routing,
        subject: Subject,
        operation: Operation | None = None,
        *,
        entropy: Entropy = secrets.token_bytes,
    ) -> Entry:
        """Return a new entry with fresh salts."""
        salts = (entropy(SALT_SIZE), entropy(SALT_SIZE), entropy(SALT_SIZE))
        return cls(routing.raw, subject.raw, (operation or Operation()).raw, salts)

    @functools.cached_property
    def leaf(self) -> bytes:
        """The exact bytes logged."""
        parts = zip(GROUPS, self.salts, (self.routing, self.message, self.operational), strict=True)
        c_routing, c_message, c_operational = (commit(group, salt, raw) for group, salt, raw in parts)
        return wire.canonical(
            audit_pb2.AuditLeaf(
                version=LEAF_VERSION, c_routing=c_routing, c_message=c_message, c_operational=c_operational
            )
        )

    @property
    def leaf_hash(self) -> bytes:
        """RFC 6962 leaf hash."""
        return merkle.leaf_hash(self.leaf)
