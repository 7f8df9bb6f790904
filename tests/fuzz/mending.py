"""Mending: what was spoilt is made to fit again around the damage, so that a reader gets past its first check."""

from __future__ import annotations

import hashlib

from google.protobuf.message import DecodeError

from fuzz import changing
from infoexchange import wire
from infoexchange.audit import commit
from infoexchange.content import _padding_for
from infoexchange.dsse import Dsse
from infoexchange.errors import ExchangeError
from infoexchange.v1 import audit_pb2, content_pb2, envelope_pb2, evidence_pb2


def recommitted(raw: bytes) -> bytes:
    """A receipt whose leaf commits to the groups it shows."""
    message = audit_pb2.Receipt.FromString(raw)
    leaf = audit_pb2.AuditLeaf.FromString(message.leaf)
    leaf.c_routing = commit("routing", message.routing_salt, message.routing)
    leaf.c_message = commit("message", message.message_salt, message.message)
    if message.operational_salt:
        leaf.c_operational = commit("operational", message.operational_salt, message.operational)
    message.leaf = wire.canonical(leaf)
    return wire.canonical(message)


def repadded(raw: bytes) -> bytes:
    """A content padded to the one length it may have."""
    m = content_pb2.Content.FromString(raw)
    m.ClearField("padding")
    m.padding = bytes(_padding_for(m.ByteSize()))
    return wire.canonical(m)


def renamed(raw: bytes) -> bytes:
    """Evidence that names the message it holds."""
    m = evidence_pb2.Evidence.FromString(raw)
    inner = envelope_pb2.Envelope.FromString(m.envelope).manifest if m.envelope else m.manifest
    m.envelope_digest = Dsse(inner.payload_type, inner.payload, ()).digest
    for event in m.events:
        event.ParseFromString(recommitted(event.SerializeToString()))
    return wire.canonical(m)


def regranted(raw: bytes) -> bytes:
    """An origin whose manifest names the grant that it holds."""
    m = content_pb2.Origin.FromString(raw)
    container = envelope_pb2.Dsse.FromString(m.manifest)
    payload = envelope_pb2.Manifest.FromString(container.payload)
    header = envelope_pb2.Header.FromString(payload.header)
    header.grant = hashlib.sha256(m.grant).digest() if m.grant else b""
    payload.header = wire.canonical(header)
    container.payload = wire.canonical(payload)
    m.manifest = wire.canonical(container)
    return wire.canonical(m)


def lenient(mend: changing.Mend) -> changing.Mend:
    """Mend what can be mended."""

    def mended(raw: bytes) -> bytes:
        try:
            return mend(raw)
        except (DecodeError, ValueError, ExchangeError):
            return raw

    return mended
