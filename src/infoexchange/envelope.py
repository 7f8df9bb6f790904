"""Envelope: content sealed and signed; the only thing that travels (SPEC section Envelope).

One signature over header, plaintext commitment and ciphertext digests serves relay, recipient and auditor. Verifying
needs no decryption; opening is impossible without verifying, because `open` does it first.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256

from infoexchange import suites, wire
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.content import CONTENT_SIZE_MAX, Content
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.errors import Reason, error
from infoexchange.header import RECIPIENTS_MAX, Header, Recipient
from infoexchange.keys import EpochKeys, Identity
from infoexchange.listing import Party
from infoexchange.manifest import Manifest
from infoexchange.suites import Entropy, Suite
from infoexchange.v1 import envelope_pb2

# Specification constants
BODY_SIZE_MAX = CONTENT_SIZE_MAX + 2048  # ciphertext of the largest content: 56 bytes and 16 per 16 KiB chunk
ENVELOPE_SIZE_MAX = 1536 * 1024  # body, 64 wraps of the largest suite, manifest and signature
WRAP_SIZE_MAX = 4096
_WRAP_LABEL = b"infoexchange/v1/wrap\x00"
_BODY_LABEL = b"infoexchange/v1/body\x00"


@dataclass(frozen=True)
class Wrap:
    """The content key, sealed for one recipient."""

    raw: bytes = field(repr=False)
    recipient: str
    bundle: bytes = field(repr=False)
    key_index: int
    enc_ct: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Wrap:
        """Return the wrap of canonical bytes, or raise `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`."""
        m = wire.parse(envelope_pb2.RecipientWrap, raw, size_max=WRAP_SIZE_MAX, field="wraps")
        if m.epoch_kek_id or m.nonce:
            raise error(Reason.BAD_FIELD, field="wraps.epoch_kek_id", detail="not offered by this version")
        wire.check_size(m.bundle, wire.DIGEST_SIZE, field="wraps.bundle")
        return cls(raw, m.recipient, m.bundle, m.key_index, m.enc_ct)

    @classmethod
    def seal(cls, content_key: bytes, suite: Suite, header_digest: bytes, recipient: KeyBundle) -> Wrap:
        """Return a new wrap of `content_key` for the owner of a bundle."""
        index, public = recipient.opening_key(suite)
        info = wrap_info(suite, header_digest, Recipient(recipient.owner, recipient.digest), index)
        enc_ct = suite.wrap(public, content_key, info)
        raw = wire.canonical(
            envelope_pb2.RecipientWrap(
                recipient=recipient.owner, bundle=recipient.digest, key_index=index, enc_ct=enc_ct
            )
        )
        return cls(raw, recipient.owner, recipient.digest, index, enc_ct)


def wrap_info(suite: Suite, header_digest: bytes, recipient: Recipient, key_index: int) -> bytes:
    """Return the HPKE info that ties a wrap to suite, header, recipient and key."""
    name = recipient.name.encode()
    return b"".join(
        (
            _WRAP_LABEL,
            suite.number.to_bytes(2, "big"),
            header_digest,
            bytes([len(name)]),
            name,
            recipient.bundle,
            key_index.to_bytes(4, "big"),
        )
    )


@dataclass(frozen=True)
class Envelope:
    """A parsed envelope: `parse` makes no promise, `verify` says who signed it, `open` gives the content."""

    raw: bytes = field(repr=False)
    manifest: Manifest
    wraps: tuple[Wrap, ...] = field(repr=False)
    body: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Envelope:
        """Return the envelope of canonical bytes; nothing is trusted yet.

        Spec: section Envelope, step 1.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or `UNKNOWN_VERSION`.
            RefusedError: `TOO_LARGE`.
        """
        # (1) lengths and canonical forms
        m = wire.parse(envelope_pb2.Envelope, raw, size_max=ENVELOPE_SIZE_MAX, field="envelope")
        if m.HasField("batch") or m.hints:
            raise error(Reason.BAD_FIELD, field="envelope.batch", detail="not offered by this version")
        if len(m.body) > BODY_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="envelope.body", detail=f"{len(m.body)} bytes, at most {BODY_SIZE_MAX}")
        if len(m.wraps) > RECIPIENTS_MAX:
            raise error(Reason.BAD_FIELD, field="envelope.wraps", detail=f"{len(m.wraps)} wraps")
        manifest = Manifest.from_dsse(Dsse.from_wire(m.manifest, payload_type=TYPE_MANIFEST))
        return cls(raw, manifest, tuple(Wrap.parse(w) for w in m.wraps), m.body)

    @classmethod
    def seal(
        cls,
        content: Content,
        header: Header,
        recipients: Sequence[KeyBundle],
        keys: EpochKeys,
        *,
        entropy: Entropy = secrets.token_bytes,
    ) -> Envelope:
        """Return content sealed for the recipients and signed by the sender; its bytes are final.

        Args:
            content: What to seal.
            header: Addresses, times and choices; recipients and commitment are filled in here.
            recipients: Their verified bundles, in the order of the wraps.
            keys: The sender's keys of the epoch that `header.sender_bundle` publishes.
            entropy: Source of the content key.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED` when a recipient does not open that suite, `TOO_LARGE`.
            MalformedError: `BAD_FIELD` when header fields do not fit together.
        """
        suite = suites.suite_of(header.suite)
        header = replace(
            header,
            recipients=tuple(Recipient(b.owner, b.digest) for b in recipients),
            content_commitment=content.commitment(header.sender, header.message_id),
        )
        header.check()
        header_raw = header.raw
        header_digest = sha256(header_raw).digest()
        content_key = entropy(suites.CONTENT_KEY_SIZE)
        wraps = tuple(Wrap.seal(content_key, suite, header_digest, bundle) for bundle in recipients)
        context = _BODY_LABEL + header_digest
        body = suites.encrypt_body(suites.derive(content_key, _BODY_LABEL, header_digest), context, content.raw)
        manifest = Manifest.sign(header_raw, [w.raw for w in wraps], body, keys)
        return cls(_wrapper(manifest, wraps, body), manifest, wraps, body)

    @property
    def header(self) -> Header:
        """What stands in the clear."""
        return self.manifest.header

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: the envelope's name, whatever its transport form."""
        return self.manifest.digest

    def verify(self, directory: Directory, bundle: KeyBundle, *, now: datetime) -> Party:
        """Return the sender, once signature, digests, standing and time have been checked.

        Spec: section Envelope, steps 2 to 6. Nothing is decrypted.

        Args:
            directory: Who is who.
            bundle: The sender's key bundle, as the header names it; verified here.
            now: The time the checks use. Auditors pass the time of the log entry.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `SUITE_NOT_ACCEPTED`, `STALE_BUNDLE`, `NOT_YET_VALID` or `EXPIRED`.
        """
        party = self.manifest.verify(directory, bundle)
        # (5) every part that travels is the part that was signed
        body_digest = sha256(self.body).digest()
        if body_digest != self.manifest.body_digest or len(self.body) != self.manifest.body_length:
            raise error(Reason.BAD_SIGNATURE, field="envelope.body", detail="the body is not the one that was signed")
        self._verify_wraps()
        # (6) time
        if self.header.created_at > now + CLOCK_SKEW:
            raise error(Reason.NOT_YET_VALID, field="header.created_ms", detail="more than five minutes in the future")
        if now > self.header.expires_at + CLOCK_SKEW:
            raise error(
                Reason.EXPIRED, field="header.expires_ms", detail=f"since {self.header.expires_at:%Y-%m-%d %H:%M}Z"
            )
        return party

    def _verify_wraps(self) -> None:
        """Raise unless the wraps present are signed ones, in order, each for the recipient the header names there."""
        digests = self.manifest.wrap_digests
        signed = dict(zip(digests, self.header.recipients, strict=True))
        places = {digest: place for place, digest in enumerate(digests)}
        last = -1
        for wrap in self.wraps:
            digest = sha256(wrap.raw).digest()
            if digest not in signed or signed[digest] != Recipient(wrap.recipient, wrap.bundle):
                raise error(Reason.BAD_SIGNATURE, field="envelope.wraps", detail="a wrap is not one that was signed")
            if places[digest] <= last:
                raise error(Reason.BAD_SIGNATURE, field="envelope.wraps", detail="a wrap stands twice or out of order")
            last = places[digest]

    def open(
        self,
        identity: Identity,
        own_bundles: Mapping[bytes, KeyBundle],
        directory: Directory,
        sender: KeyBundle,
        *,
        now: datetime,
    ) -> Content:
        """Return the content, once everything about the envelope has been verified.

        Spec: section Envelope, steps 2 to 9.

        Args:
            identity: The recipient's private half.
            own_bundles: The recipient's bundles by digest.
            directory: Who is who.
            sender: The sender's key bundle.
            now: The time the checks use.

        Raises:
            UntrustedError: As `verify`, and `BAD_CIPHERTEXT` or `BAD_COMMITMENT`.
            RefusedError: As `verify`, and `NOT_ADDRESSED`, `STALE_BUNDLE` or `SUITE_NOT_ACCEPTED`.
        """
        self.verify(directory, sender, now=now)
        # (7) addressed to me, in a suite I accept, under a bundle of mine
        wrap = next((w for w in self.wraps if w.recipient == identity.name), None)
        if wrap is None:
            raise error(Reason.NOT_ADDRESSED, field="envelope.wraps", detail=f"no wrap for {identity.name}")
        bundle = own_bundles.get(wrap.bundle)
        if bundle is None:
            raise error(Reason.STALE_BUNDLE, field="wraps.bundle", detail="sealed to a bundle that is not held here")
        suite = suites.suite_of(self.header.suite)
        index, _ = bundle.opening_key(suite)
        # (8) the key, then the body; one error for whatever goes wrong
        info = wrap_info(suite, self.manifest.header_digest, Recipient(wrap.recipient, wrap.bundle), wrap.key_index)
        if wrap.key_index != index:
            raise suites.bad_ciphertext()
        content_key = bundle.keys_in(identity).opening[suite.number].unwrap(wrap.enc_ct, info)
        context = _BODY_LABEL + self.manifest.header_digest
        key = suites.derive(content_key, _BODY_LABEL, self.manifest.header_digest)
        content = Content.parse(suites.decrypt_body(key, context, self.body))
        # (9) the plaintext is the one the signature commits to
        if content.commitment(self.header.sender, self.header.message_id) != self.header.content_commitment:
            raise error(Reason.BAD_COMMITMENT, field="content", detail="not the content that was signed")
        return content

    def prune(self, names: Collection[str]) -> Envelope:
        """Return the same signed envelope with the wraps of `names` only: what a next hop needs to see."""
        kept = tuple(w for w in self.wraps if w.recipient in names)
        if kept == self.wraps:
            return self
        return replace(self, raw=_wrapper(self.manifest, kept, self.body), wraps=kept)


def _wrapper(manifest: Manifest, wraps: Sequence[Wrap], body: bytes) -> bytes:
    """Return the transport form around parts that are final already."""
    return wire.canonical(
        envelope_pb2.Envelope(manifest=manifest.dsse.to_wire(), wraps=[w.raw for w in wraps], body=body)
    )
