"""Wire targets: formats that are protobuf messages, and what is done at once with what was read of them."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from google.protobuf.message import DecodeError

from fuzz import changing
from fuzz.target import SIZE_MAX, Target, lenient, message, of, qualified
from fuzz.world import RECIPIENT, SENDER, World
from infoexchange import catalogue, delivery, wire
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Routing, Subject, commit
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content, _padding_for
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError
from infoexchange.evidence import Evidence
from infoexchange.grant import Grant
from infoexchange.header import Header
from infoexchange.listing import Listing, Roots
from infoexchange.manifest import Manifest
from infoexchange.origin import Origin
from infoexchange.receipt import Receipt
from infoexchange.transfer import Transfer
from infoexchange.v1 import audit_pb2, content_pb2, directory_pb2, envelope_pb2, evidence_pb2
from infoexchange.wrap import Wrap
from messages import officer_acknowledgement

# Mending


def _recommitted(raw: bytes) -> bytes:
    """A receipt whose leaf commits to the groups it shows."""
    message = audit_pb2.Receipt.FromString(raw)
    leaf = audit_pb2.AuditLeaf.FromString(message.leaf)
    leaf.c_routing = commit("routing", message.routing_salt, message.routing)
    leaf.c_message = commit("message", message.message_salt, message.message)
    if message.operational_salt:
        leaf.c_operational = commit("operational", message.operational_salt, message.operational)
    message.leaf = wire.canonical(leaf)
    return wire.canonical(message)


def _repadded(raw: bytes) -> bytes:
    """A content padded to the one length it may have."""
    m = content_pb2.Content.FromString(raw)
    m.ClearField("padding")
    m.padding = bytes(_padding_for(m.ByteSize()))
    return wire.canonical(m)


def _renamed(raw: bytes) -> bytes:
    """Evidence that names the message it holds."""
    m = evidence_pb2.Evidence.FromString(raw)
    inner = envelope_pb2.Envelope.FromString(m.envelope).manifest if m.envelope else m.manifest
    m.envelope_digest = Dsse(inner.payload_type, inner.payload, ()).digest
    for event in m.events:
        event.ParseFromString(_recommitted(event.SerializeToString()))
    return wire.canonical(m)


def _regranted(raw: bytes) -> bytes:
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


def _transfer(raw: bytes) -> Any:
    m = evidence_pb2.Transfer.FromString(raw)
    return Transfer.parse(m.manifest, m.grant, m.accepted, m.wrap)


# Readers that need more than bytes


def _received(world: World, raw: bytes) -> Any:
    content = Content(catalogue.schema_of(officer_acknowledgement()), raw, bytes(32))
    header = world.envelopes[0].header
    return delivery.read(header, content, world.exchange.directory, RECIPIENT, now=world.now)


def _opened(world: World, raw: bytes) -> Any:
    """All that a recipient does with an envelope from the network."""
    members = world.exchange.community.members
    envelope, bundle = Envelope.parse(raw), members[RECIPIENT].bundle
    own = {bundle.digest: bundle}
    return envelope.open(
        members[RECIPIENT].identity, own, world.exchange.directory, members[SENDER].bundle, now=world.now
    )


def _examined(world: World, raw: bytes) -> Any:
    """All that an auditor does with a file from anybody."""
    evidence = Evidence.parse(raw)
    return evidence.verify(world.exchange.directory, now=world.now)


def _proven(world: World, raw: bytes) -> Any:
    """All that is done with a bundle somebody publishes."""
    bundle = world.bundles[0]
    return KeyBundle.parse(raw, bundle.certificates, bundle.crls).verify(world.exchange.directory, now=world.now)


def protobuf(world: World) -> list[Target]:
    """Every message that is signed, or holds what is."""
    e, envelopes, manifests = envelope_pb2, world.envelopes, [m.manifest.raw for m in world.envelopes]
    statements = [s.raw for s in world.evidence[0].statements]
    wraps, receipts = [w.raw for m in envelopes for w in m.wraps], [r.raw for r in world.receipts]
    routings, subjects = ([getattr(r, part).raw for r in world.receipts] for part in ("routing", "subject"))
    bundles, directory = [bundle.raw for bundle in world.bundles], world.directory
    dsse = functools.partial(Dsse.parse, payload_type=TYPE_MANIFEST, size_max=SIZE_MAX)
    header = functools.partial(wire.parse, e.Header, size_max=SIZE_MAX, field="header")
    resigned = lenient(lambda raw: world.signed_directory(e.Dsse.FromString(raw).payload))
    payload = (directory.listing.payload,)
    origins = [step.raw for step in world.onward.origin()]
    transfers = [wire.canonical(step.transfer.to_wire()) for step in world.onward.origin()]
    transfers += [
        wire.canonical(Transfer.of(m).to_wire()) for m in envelopes if len(m.wraps) == 1 or not m.header.blind
    ]
    return [
        message("Envelope", Envelope, e.Envelope, [m.raw for m in envelopes]),
        message("Manifest", Manifest, e.Dsse, manifests),
        message("Dsse", Dsse, e.Dsse, manifests, read=dsse),
        message("Header", Header, e.Header, [m.header.raw for m in envelopes]),
        message("Wrap", Wrap, e.RecipientWrap, wraps),
        message("Content", Content, content_pb2.Content, [c.raw for c in world.contents], mend=lenient(_repadded)),
        message("KeyBundle", KeyBundle, e.Dsse, bundles),
        message("Listing", Listing, directory_pb2.Directory, payload, raw=lambda found: found.payload),
        message("Roots", Roots, directory_pb2.Roots, [world.exchange.community.roots.raw, world.roots.raw]),
        message(
            "Directory", Directory, e.Dsse, [directory.raw], mend=resigned,
            read=functools.partial(Directory.parse, roots=world.roots),
        ),
        message("Acknowledgement", Acknowledgement, e.Dsse, statements),
        message("Grant", Grant, e.Dsse, [world.onward.grant.raw]),
        message("Origin", Origin, content_pb2.Origin, origins, mend=lenient(_regranted)),
        message("Transfer", Transfer, evidence_pb2.Transfer, transfers, read=_transfer, raw=None,
                 allowed=(ExchangeError, DecodeError)),
        message("Routing", Routing, audit_pb2.AuditRouting, routings),
        message("Subject", Subject, audit_pb2.AuditMessage, subjects),
        message("Receipt", Receipt, audit_pb2.Receipt, receipts, mend=lenient(_recommitted)),
        message("Evidence", Evidence, evidence_pb2.Evidence, [v.raw for v in world.evidence], mend=lenient(_renamed)),
        message("canonical form", wire.parse, e.Header, [m.header.raw for m in envelopes], read=header),
        of("records", wire.top_level_records, [c.payload for c in world.contents],
            read=lambda raw: list(wire.top_level_records(raw))),
    ]  # fmt: skip


def used(world: World) -> list[Target]:
    """What is read and then used at once: the object that passed its reader must not trip what comes next."""
    e, sent = envelope_pb2, officer_acknowledgement()
    opened, examined, proven, received = (
        functools.partial(use, world) for use in (_opened, _examined, _proven, _received)
    )
    mine = tuple(m.raw for m in world.envelopes if any(wrap.recipient == RECIPIENT for wrap in m.wraps))
    return [
        Target("Envelope, opened", (), opened, mine, changing.fields(e.Envelope)),
        Target(
            "Evidence, verified", (), examined, tuple(v.raw for v in world.evidence),
            changing.fields(evidence_pb2.Evidence), lenient(_renamed),
        ),
        Target("KeyBundle, verified", (), proven, (world.bundles[0].raw,), changing.fields(e.Dsse)),
        Target(
            "message, received", (qualified(delivery.read),), received,
            (sent.SerializeToString(deterministic=True),), changing.fields(type(sent)),
        ),
    ]  # fmt: skip
