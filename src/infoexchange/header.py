"""Header: all that a relay may know of an envelope (SPEC section Envelope)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from infoexchange import wire
from infoexchange.errors import Reason, error
from infoexchange.states import OpStatus, Precedence
from infoexchange.v1 import envelope_pb2

E = TypeVar("E", OpStatus, Precedence)

# Specification constants (SPEC section Limits gives each its reason)
VERSION = 1
HEADER_SIZE_MAX = 16 * 1024  # 64 recipients with long names fit
RECIPIENTS_MAX = 64  # a region's agencies of one domain, and room to grow
LIFETIME_MAX = timedelta(days=90)  # old private keys live this long after their bundle, and no longer
LIFETIME_DEFAULT = timedelta(days=14)  # two weeks cover a holiday and an outage
MESSAGE_ID_SIZE = 16
EPOCH_KEK_SIZE = 16  # bytes of an epoch KEK's name


@dataclass(frozen=True)
class Recipient:
    """One addressee, and what was sealed to: a bundle, or an epoch KEK that sender and addressee share."""

    name: str
    bundle: bytes = b""
    epoch_kek: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What stands in the clear: addresses, times, order and the commitment; never a domain, mark or subject.

    With `blind` the recipients are left out: relays learn from the wraps whom they serve, recipients learn of no other.
    """

    suite: int
    message_id: bytes
    sender: str
    sender_bundle: bytes
    recipients: tuple[Recipient, ...]
    op_status: OpStatus
    precedence: Precedence
    created_at: datetime
    expires_at: datetime
    sequence: int
    previous: bytes
    content_commitment: bytes
    blind: bool = False
    grant: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> Header:
        """Return the header of canonical bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or `UNKNOWN_VERSION`.
            RefusedError: `TOO_LARGE`.
        """
        m = wire.parse(envelope_pb2.Header, raw, size_max=HEADER_SIZE_MAX, field="header")
        if m.version != VERSION:
            raise error(Reason.UNKNOWN_VERSION, field="header.version", detail=f"version {m.version}")
        header = cls(
            suite=m.suite,
            message_id=wire.check_size(m.message_id, MESSAGE_ID_SIZE, field="header.message_id"),
            sender=wire.check_name(m.sender, field="header.sender"),
            sender_bundle=wire.check_size(m.sender_bundle, wire.DIGEST_SIZE, field="header.sender_bundle"),
            recipients=tuple(_recipient(r) for r in m.recipients),
            op_status=_member(OpStatus, m.op_status, "header.op_status"),
            precedence=_member(Precedence, m.precedence, "header.precedence"),
            created_at=wire.from_ms(m.created_ms, field="header.created_ms"),
            expires_at=wire.from_ms(m.expires_ms, field="header.expires_ms"),
            sequence=m.sequence,
            previous=wire.check_size(m.previous, wire.DIGEST_SIZE, field="header.previous", optional=True),
            content_commitment=wire.check_size(
                m.content_commitment, wire.DIGEST_SIZE, field="header.content_commitment"
            ),
            blind=m.blind_recipients,
            grant=wire.check_size(m.grant, wire.DIGEST_SIZE, field="header.grant", optional=True),
        )
        header.check()
        return header

    def check(self) -> None:
        """Raise `BAD_FIELD` unless recipients, lifetime and sequence make sense together."""
        names = [r.name for r in self.recipients]
        least, most = (0, 0) if self.blind else (1, RECIPIENTS_MAX)
        if not least <= len(names) <= most or len(set(names)) != len(names):
            raise error(
                Reason.BAD_FIELD,
                field="header.recipients",
                detail=f"1 to {RECIPIENTS_MAX} different recipients, none at all when blind",
            )
        if not timedelta(0) < self.expires_at - self.created_at <= LIFETIME_MAX:
            raise error(
                Reason.BAD_FIELD, field="header.expires_ms", detail=f"at most {LIFETIME_MAX.days} days after created_ms"
            )
        if self.sequence < 1 or (self.sequence == 1) != (not self.previous):
            raise error(
                Reason.BAD_FIELD, field="header.sequence", detail="from 1; `previous` is empty for the first only"
            )

    @property
    def raw(self) -> bytes:
        """Canonical bytes, for a header just made; a received one keeps its own."""
        return wire.canonical(
            envelope_pb2.Header(
                version=VERSION,
                suite=self.suite,
                message_id=self.message_id,
                sender=self.sender,
                sender_bundle=self.sender_bundle,
                recipients=[
                    envelope_pb2.Recipient(name=r.name, bundle=r.bundle, epoch_kek=r.epoch_kek) for r in self.recipients
                ],
                blind_recipients=self.blind,
                op_status=envelope_pb2.OpStatus.ValueType(self.op_status),
                precedence=envelope_pb2.Precedence.ValueType(self.precedence),
                created_ms=wire.to_ms(self.created_at),
                expires_ms=wire.to_ms(self.expires_at),
                sequence=self.sequence,
                previous=self.previous,
                content_commitment=self.content_commitment,
                grant=self.grant,
            )
        )

    @property
    def claim(self) -> bytes:
        """SHA-256 over sender and message id: what may belong to one envelope only."""
        return hashlib.sha256(self.sender.encode() + b"\x00" + self.message_id).digest()


def _recipient(message: envelope_pb2.Recipient) -> Recipient:
    if bool(message.bundle) == bool(message.epoch_kek):
        raise error(Reason.BAD_FIELD, field="header.recipients.bundle", detail="either a bundle or an epoch KEK")
    return Recipient(
        wire.check_name(message.name, field="header.recipients.name"),
        wire.check_size(message.bundle, wire.DIGEST_SIZE, field="header.recipients.bundle", optional=True),
        wire.check_size(message.epoch_kek, EPOCH_KEK_SIZE, field="header.recipients.epoch_kek", optional=True),
    )


def _member(kind: type[E], value: int, where: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise error(Reason.BAD_FIELD, field=where, detail=f"{value} is not in the closed list") from None
