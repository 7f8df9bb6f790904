"""Envelope: content sealed and signed; the only thing that travels (SPEC section Envelope).

One signature over header, plaintext commitment and ciphertext digests serves relay, recipient and auditor. Verifying
needs no decryption; opening is impossible without verifying, because `open` does it first.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import TypedDict, Unpack

from infoexchange import suites, wire
from infoexchange.attachment.form import AttachmentRef, check_match
from infoexchange.attachment.stream import attachment_key
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.content import CONTENT_SIZE_MAX, Content
from infoexchange.directory import Directory
from infoexchange.dsse import BATCH_COUNT_MAX, TYPE_MANIFEST, Dsse, pae
from infoexchange.errors import Reason, error
from infoexchange.grant import Grant
from infoexchange.header import RECIPIENTS_MAX, Header, Recipient
from infoexchange.keys import EpochKeys, Identity
from infoexchange.listing import Party
from infoexchange.manifest import Manifest
from infoexchange.states import Precedence
from infoexchange.suites import Entropy, Suite
from infoexchange.v1 import envelope_pb2
from infoexchange.wrap import EpochKek, Wrap

# Specification constants
BODY_SIZE_MAX = CONTENT_SIZE_MAX + 2048  # ciphertext of the largest content: 56 bytes and 16 per 16 KiB chunk
ENVELOPE_SIZE_MAX = 1536 * 1024  # body, 64 wraps of the largest suite, manifest and signature
_BODY_LABEL = b"infoexchange/v1/body\x00"

_NO_KEYS: Mapping[bytes, EpochKek] = {}

Enclose = Callable[[bytes, bytes], Sequence[AttachmentRef]]
"""Seals the attachments of a message, given content key and header digest, and returns what the manifest says of them.

In the order of the content's descriptions; the key is not to be kept.
"""


def nothing_enclosed(_content_key: bytes, _header_digest: bytes) -> Sequence[AttachmentRef]:
    """Return no references: the message has no attachments."""
    return ()


class Along(TypedDict, total=False):
    """What may go along with the content of an envelope.

    Attributes:
        enclose: Seals the attachments that the content describes.
        grant: The originator's consent under which the content is passed on, if it is declared.
    """

    enclose: Enclose
    grant: Grant | None


@dataclass(frozen=True)
class Draught:
    """An envelope that lacks only its signature; its name is fixed already."""

    suite: Suite
    payload: bytes = field(repr=False)
    wraps: tuple[Wrap, ...] = field(repr=False)
    body: bytes = field(repr=False)
    grant: Grant | None = None

    @property
    def digest(self) -> bytes:
        """The envelope's name."""
        return sha256(pae(TYPE_MANIFEST, self.payload)).digest()


@dataclass(frozen=True)
class Envelope:
    """A parsed envelope: `parse` makes no promise, `verify` says who signed it, `open` gives the content."""

    raw: bytes = field(repr=False)
    manifest: Manifest
    wraps: tuple[Wrap, ...] = field(repr=False)
    body: bytes = field(repr=False)
    grant: Grant | None = None

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
        if m.hints:
            raise error(Reason.BAD_FIELD, field="envelope.hints", detail="not offered by this version")
        if len(m.body) > BODY_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="envelope.body", detail=f"{len(m.body)} bytes, at most {BODY_SIZE_MAX}")
        if len(m.wraps) > RECIPIENTS_MAX:
            raise error(Reason.BAD_FIELD, field="envelope.wraps", detail=f"{len(m.wraps)} wraps")
        manifest = Manifest.from_dsse(Dsse.from_wire(m.manifest, payload_type=TYPE_MANIFEST))
        grant = Grant.parse(m.grant) if m.grant else None
        return cls(raw, manifest, tuple(Wrap.parse(w) for w in m.wraps), m.body, grant)

    @classmethod
    def seal(
        cls,
        content: Content,
        header: Header,
        recipients: Sequence[KeyBundle | EpochKek],
        keys: EpochKeys,
        *,
        entropy: Entropy = secrets.token_bytes,
        **along: Unpack[Along],
    ) -> Envelope:
        """Return content sealed for the recipients and signed by the sender; its bytes are final.

        Args:
            content: What to seal.
            header: Addresses, times and choices; recipients and commitment are filled in here.
            recipients: Their verified bundles, or epoch KEKs shared with them, in the order of the header.
            keys: The sender's keys of the epoch that `header.sender_bundle` publishes.
            entropy: Source of the content key.
            along: What goes along with the content.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED` when a recipient does not open that suite, `TOO_LARGE`.
            MalformedError: `BAD_FIELD` when header fields do not fit together.
        """
        content_key = entropy(suites.CONTENT_KEY_SIZE)
        draught = cls.draw_up(content, header, recipients, content_key, entropy=entropy, **along)
        [envelope] = cls.sign([draught], keys)
        return envelope

    @classmethod
    def draw_up(
        cls,
        content: Content,
        header: Header,
        recipients: Sequence[KeyBundle | EpochKek],
        content_key: bytes,
        *,
        entropy: Entropy = secrets.token_bytes,
        **along: Unpack[Along],
    ) -> Draught:
        """Return an envelope as `seal` makes it, but for the signature, so that several can be signed at once."""
        suite, grant = suites.suite_of(header.suite), along.get("grant")
        listed = () if header.blind else tuple(_addressee(recipient) for recipient in recipients)
        header = replace(
            header,
            recipients=listed,
            content_commitment=content.commitment(header.sender, header.message_id),
            grant=grant.digest if grant else b"",
        )
        header.check()
        header_raw = header.raw
        header_digest = sha256(header_raw).digest()
        bundles = [recipient for recipient in recipients if isinstance(recipient, KeyBundle)]
        epoch_keks = [recipient for recipient in recipients if isinstance(recipient, EpochKek)]
        wraps = tuple(Wrap.seal(content_key, suite, header_digest, bundle) for bundle in bundles)
        digests = [wrap.digest for wrap in wraps]
        if header.blind:
            if epoch_keks:
                raise error(Reason.BAD_FIELD, field="recipients", detail="an epoch KEK would name a blind recipient")
            wraps = tuple(sorted(wraps, key=lambda wrap: wrap.digest))
            digests = _padded(digests, entropy)
        context = _BODY_LABEL + header_digest
        body = suites.encrypt_body(suites.derive(content_key, _BODY_LABEL, header_digest), context, content.raw)
        epoch_wraps = [key.wrap(content_key, header_digest) for key in epoch_keks]
        attachments = along.get("enclose", nothing_enclosed)(content_key, header_digest)
        check_match(attachments, content.attachments)
        payload = Manifest.draw_up(header_raw, digests, epoch_wraps, body, attachments)
        return Draught(suite, payload, wraps, body, grant)

    @classmethod
    def sign(cls, draughts: Sequence[Draught], keys: EpochKeys) -> list[Envelope]:
        """Return the envelopes, signed by the sender's epoch keys: one signature for up to 256 of one suite."""
        places: dict[int, list[int]] = {}
        for place, draught in enumerate(draughts):
            places.setdefault(draught.suite.number, []).append(place)
        signed: dict[int, Envelope] = {}
        for number, of_suite in places.items():
            for start in range(0, len(of_suite), BATCH_COUNT_MAX):
                some = of_suite[start : start + BATCH_COUNT_MAX]
                manifests = Manifest.sign([draughts[place].payload for place in some], suites.suite_of(number), keys)
                for place, manifest in zip(some, manifests, strict=True):
                    parts = draughts[place].wraps, draughts[place].body, draughts[place].grant
                    signed[place] = cls(_wrapper(manifest, *parts), manifest, *parts)
        return [signed[place] for place in range(len(draughts))]

    @property
    def header(self) -> Header:
        """What stands in the clear."""
        return self.manifest.header

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: the envelope's name, whatever its transport form."""
        return self.manifest.digest

    @property
    def precedence(self) -> Precedence:
        """Place in a relay's queue."""
        return self.header.precedence

    @property
    def expires_at(self) -> datetime:
        """When delivery is no longer tried."""
        return self.header.expires_at

    def verify(self, directory: Directory, bundle: KeyBundle, *, now: datetime) -> Party:
        """Return the sender, once signature, digests, standing and time have been checked.

        Spec: section Envelope, steps 2 to 6. Nothing is decrypted.

        Args:
            directory: Who is who.
            bundle: The sender's key bundle, as the header names it; verified here.
            now: The time the checks use. Auditors pass the time of the log entry.

        Raises:
            UntrustedError: `UNKNOWN_PARTY`, `BAD_CERTIFICATE`, `REVOKED` or `BAD_SIGNATURE`.
            RefusedError: `SUITE_NOT_ACCEPTED`, `STALE_BUNDLE`, `NOT_YET_VALID` or `EXPIRED`; `NOT_PERMITTED` when the
                grant that the header names is missing.
        """
        party = self.manifest.verify(directory, bundle)
        # (5) every part that travels is the part that was signed
        body_digest = sha256(self.body).digest()
        if body_digest != self.manifest.body_digest or len(self.body) != self.manifest.body_length:
            raise error(Reason.BAD_SIGNATURE, field="envelope.body", detail="the body is not the one that was signed")
        self._verify_wraps()
        if self.header.grant and self.grant is None:
            raise error(
                Reason.NOT_PERMITTED, field="envelope.grant", detail="the grant that the header names is missing"
            )
        if self.grant is not None and self.grant.digest != self.header.grant:
            raise error(Reason.BAD_SIGNATURE, field="envelope.grant", detail="not the grant that the header names")
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
        header, digests = self.header, self.manifest.wrap_digests
        places = {digest: place for place, digest in enumerate(digests)}
        listed = [recipient for recipient in header.recipients if recipient.bundle]
        last = -1
        for wrap in self.wraps:
            place = places.get(wrap.digest)
            if place is None or not (header.blind or listed[place] == Recipient(wrap.recipient, wrap.bundle)):
                raise error(Reason.BAD_SIGNATURE, field="envelope.wraps", detail="a wrap is not one that was signed")
            if place <= last:
                raise error(Reason.BAD_SIGNATURE, field="envelope.wraps", detail="a wrap stands twice or out of order")
            last = place
        if len({wrap.recipient for wrap in self.wraps}) != len(self.wraps):
            raise error(Reason.BAD_FIELD, field="envelope.wraps", detail="two wraps for one recipient")

    def open(
        self,
        identity: Identity,
        own_bundles: Mapping[bytes, KeyBundle],
        directory: Directory,
        sender: KeyBundle,
        *,
        now: datetime,
        epoch_keks: Mapping[bytes, EpochKek] = _NO_KEYS,
    ) -> Content:
        """Return the content, once everything about the envelope has been verified.

        Spec: section Envelope, steps 2 to 9.

        Args:
            identity: The recipient's private half.
            own_bundles: The recipient's bundles by digest.
            directory: Who is who.
            sender: The sender's key bundle.
            now: The time the checks use.
            epoch_keks: Epoch keys that others share with the recipient, by name.

        Raises:
            UntrustedError: As `verify`, and `BAD_CIPHERTEXT` or `BAD_COMMITMENT`.
            RefusedError: As `verify`, and `NOT_ADDRESSED`, `STALE_BUNDLE` or `SUITE_NOT_ACCEPTED`.
        """
        content_key = self.unlock(identity, own_bundles, directory, sender, now=now, epoch_keks=epoch_keks)
        return self.read(content_key)

    def unlock(
        self,
        identity: Identity,
        own_bundles: Mapping[bytes, KeyBundle],
        directory: Directory,
        sender: KeyBundle,
        *,
        now: datetime,
        epoch_keks: Mapping[bytes, EpochKek] = _NO_KEYS,
    ) -> bytes:
        """Return the content key, once everything about the envelope has been verified; as `open`, steps 2 to 8."""
        self.verify(directory, sender, now=now)
        # (7) addressed to me, in a suite I accept, under a bundle or epoch KEK of mine
        header, header_digest = self.header, self.manifest.header_digest
        shared = self.manifest.epoch_wrap_of(identity.name)
        wrap = next((w for w in self.wraps if w.recipient == identity.name), None)
        if shared is not None:
            name, wrapped = shared
            if name not in epoch_keks:
                raise error(Reason.STALE_BUNDLE, field="header.recipients.epoch_kek", detail="it is not held here")
            key = epoch_keks[name]
            key.check_serves(sender=header.sender, recipient=identity.name, suite=header.suite, at=header.created_at)
            return key.unwrap(wrapped, header_digest)
        if wrap is None:
            raise error(Reason.NOT_ADDRESSED, field="envelope.wraps", detail=f"no wrap for {identity.name}")
        bundle = own_bundles.get(wrap.bundle)
        if bundle is None:
            raise error(Reason.STALE_BUNDLE, field="wraps.bundle", detail="sealed to a bundle that is not held here")
        return wrap.unwrap(bundle.keys_in(identity), bundle, suites.suite_of(header.suite), header_digest)

    def read(self, content_key: bytes) -> Content:
        """Return the content under a key that `unlock` gave, now or when the envelope arrived.

        Raises:
            UntrustedError: `BAD_CIPHERTEXT` or `BAD_COMMITMENT`.
        """
        # (8) the body; the same error as for a wrong key
        header, header_digest = self.header, self.manifest.header_digest
        key = suites.derive(content_key, _BODY_LABEL, header_digest)
        content = Content.parse(suites.decrypt_body(key, _BODY_LABEL + header_digest, self.body))
        # (9) the plaintext is the one the signature commits to
        if content.commitment(header.sender, header.message_id) != header.content_commitment:
            raise error(Reason.BAD_COMMITMENT, field="content", detail="not the content that was signed")
        refs = self.manifest.attachments
        check_match(refs, content.attachments)
        keys = tuple(attachment_key(content_key, header_digest, ref.attachment_id) for ref in refs)
        return replace(content, keys=keys)

    def prune(self, names: Collection[str]) -> Envelope:
        """Return the same signed envelope with the wraps of `names` only: what a next hop needs to see."""
        kept = tuple(w for w in self.wraps if w.recipient in names)
        if kept == self.wraps:
            return self
        return replace(self, raw=_wrapper(self.manifest, kept, self.body, self.grant), wraps=kept)

    @property
    def signing_bundles(self) -> frozenset[bytes]:
        """Digests of the bundles without which a next hop cannot verify it: the sender's, and that of its grant."""
        granted = {self.grant.terms.originator_bundle} if self.grant else set()
        return frozenset({self.header.sender_bundle, *granted})


def _addressee(recipient: KeyBundle | EpochKek) -> Recipient:
    if isinstance(recipient, EpochKek):
        return Recipient(recipient.recipient, epoch_kek=recipient.name)
    return Recipient(recipient.owner, bundle=recipient.digest)


def _padded(digests: Sequence[bytes], entropy: Entropy) -> list[bytes]:
    """Return ascending digests, as many as the next power of two: the number of blind recipients tells little."""
    missing = (1 << (len(digests) - 1).bit_length()) - len(digests)
    return sorted([*digests, *(entropy(wire.DIGEST_SIZE) for _ in range(missing))])


def _wrapper(manifest: Manifest, wraps: Sequence[Wrap], body: bytes, grant: Grant | None) -> bytes:
    """Return the transport form around parts that are final already."""
    return wire.canonical(
        envelope_pb2.Envelope(
            manifest=manifest.dsse.to_wire(),
            wraps=[w.raw for w in wraps],
            body=body,
            grant=grant.raw if grant else b"",
        )
    )
