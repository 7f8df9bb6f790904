"""Manifest: the signed bytes of an envelope: header and digests of all that travels with it (SPEC section Envelope).

It stands alone: a relay keeps it after delivery, and an auditor judges authorship with it, neither having the body.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from infoexchange import suites, wire
from infoexchange.attachment.form import AttachmentRef, check_refs
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_BATCH, TYPE_MANIFEST, Dsse, batch_payload, pae
from infoexchange.errors import Reason, error
from infoexchange.header import HEADER_SIZE_MAX, RECIPIENTS_MAX, Header
from infoexchange.keys import EpochKeys, KeyUsage
from infoexchange.listing import Party
from infoexchange.suites import Suite
from infoexchange.v1 import envelope_pb2

# Specification constants
MANIFEST_SIZE_MAX = HEADER_SIZE_MAX + 16 * 1024  # header, 64 digests or epoch wraps, 64 attachment references
EPOCH_WRAP_SIZE = suites.CONTENT_KEY_SIZE + 16  # the content key and an AES-GCM tag


@dataclass(frozen=True)
class Manifest:
    """A parsed manifest; `verify` says who signed it."""

    dsse: Dsse = field(repr=False)
    header: Header
    wrap_digests: tuple[bytes, ...] = field(repr=False)
    body_digest: bytes = field(repr=False)
    body_length: int
    epoch_wraps: tuple[bytes, ...] = field(default=(), repr=False)
    attachments: tuple[AttachmentRef, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Return the manifest of canonical container bytes.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or `UNKNOWN_VERSION`.
            RefusedError: `TOO_LARGE`.
        """
        return cls.from_dsse(Dsse.parse(raw, payload_type=TYPE_MANIFEST, size_max=2 * MANIFEST_SIZE_MAX))

    @classmethod
    def from_dsse(cls, dsse: Dsse) -> Manifest:
        """Return the manifest that a container holds; raises as `parse`."""
        m = wire.parse(envelope_pb2.Manifest, dsse.payload, size_max=MANIFEST_SIZE_MAX, field="manifest")
        if len(dsse.signatures) != 1:
            raise error(Reason.BAD_FIELD, field="manifest.signatures", detail="exactly one signature")
        for digest in (*m.wrap_digests, m.body_digest):
            wire.check_size(digest, wire.DIGEST_SIZE, field="manifest.wrap_digests")
        header = Header.parse(m.header)
        for wrapped in m.epoch_wraps:
            wire.check_size(wrapped, EPOCH_WRAP_SIZE, field="manifest.epoch_wraps")
        keyed = sum(bool(r.epoch_kek) for r in header.recipients)
        if header.blind:
            # In ascending order, so that it tells nothing; some digests may stand for no wrap at all.
            wire.check_ascending(list(m.wrap_digests), field="manifest.wrap_digests")
            fits = 1 <= len(m.wrap_digests) <= RECIPIENTS_MAX
        else:
            fits = len(m.wrap_digests) == len(set(m.wrap_digests)) == len(header.recipients) - keyed
        if not fits or len(m.epoch_wraps) != keyed:
            raise error(Reason.BAD_FIELD, field="manifest.wrap_digests", detail="not one for each recipient")
        attachments = tuple(AttachmentRef.from_wire(ref) for ref in m.attachments)
        check_refs(attachments)
        wraps, epoch_wraps = tuple(m.wrap_digests), tuple(m.epoch_wraps)
        return cls(dsse, header, wraps, m.body_digest, m.body_length, epoch_wraps, attachments)

    @staticmethod
    def draw_up(
        header_raw: bytes,
        wrap_digests: Sequence[bytes],
        epoch_wraps: Sequence[bytes],
        body: bytes,
        attachments: Sequence[AttachmentRef] = (),
    ) -> bytes:
        """Return the bytes to sign for an exact header, its wraps, its body and its attachments."""
        return wire.canonical(
            envelope_pb2.Manifest(
                header=header_raw,
                wrap_digests=wrap_digests,
                body_digest=sha256(body).digest(),
                body_length=len(body),
                epoch_wraps=epoch_wraps,
                attachments=[ref.to_wire() for ref in attachments],
            )
        )

    @classmethod
    def sign(cls, payloads: Sequence[bytes], suite: Suite, keys: EpochKeys) -> list[Manifest]:
        """Return manifests of exact bytes, all in one suite and under one signature of the sender's epoch keys.

        At most 256 at once. A single one is signed for itself, so that any DSSE verifier can check it.
        """
        signer = keys.signer(suite, KeyUsage.MANIFEST)
        if len(payloads) == 1:
            pair = (signer.sign(TYPE_MANIFEST, payloads[0]), signer.key_id)
            return [cls.from_dsse(Dsse.make(TYPE_MANIFEST, payloads[0], [pair]))]
        covered, proofs = batch_payload([pae(TYPE_MANIFEST, payload) for payload in payloads])
        pair = (signer.sign(TYPE_BATCH, covered), signer.key_id)
        made = [Dsse.make(TYPE_MANIFEST, p, [pair], proof) for p, proof in zip(payloads, proofs, strict=True)]
        return [cls.from_dsse(dsse) for dsse in made]

    def epoch_wrap_of(self, name: str) -> tuple[bytes, bytes] | None:
        """Return `(name of the epoch KEK, wrapped content key)` for a recipient that has one."""
        keyed = [r for r in self.header.recipients if r.epoch_kek]
        for recipient, wrapped in zip(keyed, self.epoch_wraps, strict=True):
            if recipient.name == name:
                return recipient.epoch_kek, wrapped
        return None

    @property
    def raw(self) -> bytes:
        """Exact container bytes."""
        return self.dsse.raw

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: the envelope's name."""
        return self.dsse.digest

    @functools.cached_property
    def header_digest(self) -> bytes:
        """SHA-256 of the exact header bytes, to which wraps and body are tied."""
        m = envelope_pb2.Manifest.FromString(self.dsse.payload)
        return sha256(m.header).digest()

    def verify(self, directory: Directory, bundle: KeyBundle) -> Party:
        """Return the sender, once suite, bundle and signature have been checked.

        Spec: section Envelope, steps 2 to 4.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `SUITE_NOT_ACCEPTED` or `STALE_BUNDLE`.
        """
        header = self.header
        # (2) a suite that exists and that the community accepts
        suite = suites.suite_of(header.suite)
        directory.listing.check_suite(suite, field="header.suite")
        # (3) the sender's own bundle, in use when the envelope was made
        if bundle.digest != header.sender_bundle or bundle.owner != header.sender:
            raise error(Reason.STALE_BUNDLE, field="header.sender_bundle", detail="not the bundle the header names")
        party = bundle.verify(directory, now=header.created_at)
        # (4) the signature
        suite.verify(bundle.signing_public(suite, KeyUsage.MANIFEST), self.dsse.message, self.dsse.signatures[0])
        return party
