"""Forging: envelopes that no honest program makes, from parts of real ones or with real keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from attacks.scene import Scene
from attacks.table import Kind
from conftest import RECIPIENT, SENDER
from infoexchange import catalogue, suites, wire
from infoexchange.audit import Routing
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.header import Header, Recipient
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.manifest import Manifest
from infoexchange.states import Event, OpStatus, Precedence
from infoexchange.suites import Suite
from infoexchange.v1 import audit_pb2, envelope_pb2
from infoexchange.wrap import Wrap, wrap_info
from messages import officer_acknowledgement

Wire = envelope_pb2.Envelope
BODY = b"infoexchange/v1/body\x00"
CONTENT_KEY = b"k" * 32
DAY = timedelta(days=1)
EPOCH = Kind.EPOCH_KEK


# Parts exchanged, the signature left as it is


def changed(raw: bytes, change: Callable[[Wire], object]) -> bytes:
    """The envelope after something was done to its transport form."""
    message = Wire.FromString(raw)
    change(message)
    return message.SerializeToString(deterministic=True)


def with_manifest(raw: bytes, change: Callable[[envelope_pb2.Manifest], object]) -> bytes:
    """The envelope after something was done to what is signed, under the signature it had."""

    def inside(message: Wire) -> None:
        manifest = envelope_pb2.Manifest.FromString(message.manifest.payload)
        change(manifest)
        message.manifest.payload = manifest.SerializeToString(deterministic=True)

    return changed(raw, inside)


def with_header(raw: bytes, change: Callable[[envelope_pb2.Header], object]) -> bytes:
    """The envelope after something was done to its header, under the signature it had."""

    def inside(manifest: envelope_pb2.Manifest) -> None:
        header = envelope_pb2.Header.FromString(manifest.header)
        change(header)
        manifest.header = header.SerializeToString(deterministic=True)

    return with_manifest(raw, inside)


def with_signature(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The envelope with another signature."""

    def inside(message: Wire) -> None:
        [signature] = message.manifest.signatures
        signature.sig = change(signature.sig)

    return changed(raw, inside)


# Made anew, with whatever keys the adversary has


def content(**marks: object) -> Content:
    """What the library seals for the smallest message."""
    message = officer_acknowledgement(**marks)
    return Content.make(catalogue.schema_of(message), message.SerializeToString(deterministic=True))


def header(scene: Scene, said: Content, *, sender: str = SENDER, to: Sequence[str] = (RECIPIENT,), **fields) -> Header:
    """A header in which all is right, but for what `fields` say."""
    message_id = fields.pop("message_id", b"forged-message-0")
    right = Header(
        suite=scene.suite.number,
        message_id=message_id,
        sender=sender,
        sender_bundle=scene.bundle(sender).digest,
        recipients=tuple(Recipient(name, scene.bundle(name).digest) for name in to),
        op_status=OpStatus.EXERCISE,
        precedence=Precedence.ROUTINE,
        created_at=scene.now,
        expires_at=scene.now + 14 * DAY,
        sequence=2,
        previous=bytes(32),
        content_commitment=said.commitment(sender, message_id),
    )
    return replace(right, **fields)


def wraps_for(scene: Scene, head: Header, keys: Mapping[str, bytes]) -> list[bytes]:
    """A wrap of a content key for each agency, as its bundle and the header ask for."""
    digest = sha256(head.raw).digest()
    return [Wrap.seal(key, scene.suite, digest, scene.bundle(name)).raw for name, key in keys.items()]


def wrap(scene: Scene, head: Header, name: str, **parts) -> bytes:
    """One wrap with parts of the forger's choice: suite, info, key_index, enc_ct, bundle."""
    bundle: KeyBundle = parts.get("bundle") or scene.bundle(name)
    suite: Suite = parts.get("suite") or scene.suite
    index, public = bundle.opening_key(suite)
    index = parts.get("key_index", index)
    info = parts.get("info") or info_of(scene, head, name, index=index, bundle=bundle)
    enc_ct = parts.get("enc_ct") or suite.wrap(public, CONTENT_KEY, info)
    return wire.canonical(
        envelope_pb2.RecipientWrap(
            recipient=parts.get("named", name), bundle=bundle.digest, key_index=index, enc_ct=enc_ct
        )
    )


def info_of(scene: Scene, head: Header, name: str, **parts) -> bytes:
    """What ties a wrap to everything else, with parts of the forger's choice: named, index, bundle."""
    bundle = parts.get("bundle") or scene.bundle(name)
    index = parts.get("index", bundle.opening_key(scene.suite)[0])
    recipient = Recipient(parts.get("named", name), bundle.digest)
    return wrap_info(scene.suite, sha256(head.raw).digest(), recipient, index)


def body_of(head: Header, said: bytes, content_key: bytes = CONTENT_KEY) -> bytes:
    """The ciphertext of exact content bytes."""
    digest = sha256(head.raw).digest()
    return suites.encrypt_body(suites.derive(content_key, BODY, digest), BODY + digest, said)


def payload_of(head: Header | bytes, wraps: Sequence[bytes], body: bytes, epoch_wraps: Sequence[bytes] = ()) -> bytes:
    """The manifest to sign."""
    raw = head if isinstance(head, bytes) else head.raw
    return Manifest.draw_up(raw, [sha256(wrap).digest() for wrap in wraps], epoch_wraps, body)


def signed(
    scene: Scene,
    head: Header | bytes,
    wraps: Sequence[bytes],
    body: bytes,
    *,
    by: str | EpochKeys = SENDER,
    usage: KeyUsage = KeyUsage.MANIFEST,
    suite: Suite | None = None,
    epoch_wraps: Sequence[bytes] = (),
) -> bytes:
    """An envelope of these parts, signed with a key that the forger has."""
    keys = scene.keys(by) if isinstance(by, str) else by
    payload = payload_of(head, wraps, body, epoch_wraps)
    signature = keys.signer(suite or scene.suite, usage).sign(TYPE_MANIFEST, payload)
    return enclosed(payload, signature, wraps, body)


def enclosed(payload: bytes, signature: bytes, wraps: Sequence[bytes], body: bytes) -> bytes:
    """The transport form around a manifest and a signature."""
    container = Dsse.make(TYPE_MANIFEST, payload, [(signature, "")]).to_wire()
    return wire.canonical(Wire(manifest=container, wraps=wraps, body=body))


def sealed(scene: Scene, head: Header, said: Content, **options) -> bytes:
    """An envelope sealed as the library does, with whatever header and keys."""
    names = [recipient.name for recipient in head.recipients]
    wraps = wraps_for(scene, head, dict.fromkeys(names, CONTENT_KEY))
    return signed(scene, head, wraps, body_of(head, said.raw), **options)


def changed_header(envelope: Envelope, head: Header) -> bytes:
    """The manifest of an envelope with another header and all else as it was, to be signed anew."""
    manifest = envelope_pb2.Manifest.FromString(envelope.manifest.dsse.payload)
    manifest.header = head.raw
    return manifest.SerializeToString(deterministic=True)


def event_of(receipt: audit_pb2.Receipt) -> Event:
    """What an entry of an evidence file records."""
    return Routing.parse(receipt.routing).event


def signed_as_is(scene: Scene, head: Header, said: Content) -> bytes:
    """An envelope under a header that makes no sense, with a wrap for each name in it, all to the recipient's keys."""
    wraps = [
        wrap(scene, head, RECIPIENT, named=name, key_index=n) for n, name in enumerate(r.name for r in head.recipients)
    ]
    return signed(scene, head, wraps, body_of(head, said.raw))
