"""Wrap: the content key for one recipient, sealed to a bundle or under a shared epoch KEK (SPEC section Envelope).

Sealing to a bundle costs a key encapsulation and a kilobyte for each recipient of each envelope. Two parties that write
to one another often share an epoch KEK instead: one envelope brings it, sealed to a bundle like any other, and those
that follow need 48 bytes and a few microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from infoexchange import suites, wire
from infoexchange.bundle import KeyBundle
from infoexchange.errors import Reason, error
from infoexchange.header import EPOCH_KEK_SIZE, Recipient
from infoexchange.keys import EpochKeys
from infoexchange.suites import Suite
from infoexchange.v1 import content_pb2, envelope_pb2

# Specification constants
WRAP_SIZE_MAX = 4096
_WRAP_LABEL = b"infoexchange/v1/wrap\x00"
_EPOCH_KEK_LABEL = b"infoexchange/v1/epoch-kek\x00"
EPOCH_KEK_NOTICE = "infoexchange.v1.EpochKekNotice"  # schema of an envelope that brings a KEK
_EPOCH_WRAP_LABEL = b"infoexchange/v1/epoch-wrap\x00"


@dataclass(frozen=True)
class Wrap:
    """The content key, sealed to a recipient's bundle."""

    raw: bytes = field(repr=False)
    recipient: str
    bundle: bytes = field(repr=False)
    key_index: int
    enc_ct: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Wrap:
        """Return the wrap of canonical bytes, or raise `MALFORMED`, `NOT_CANONICAL` or `BAD_FIELD`."""
        m = wire.parse(envelope_pb2.RecipientWrap, raw, size_max=WRAP_SIZE_MAX, field="wraps")
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

    def unwrap(self, keys: EpochKeys, bundle: KeyBundle, suite: Suite, header_digest: bytes) -> bytes:
        """Return the content key with the private half of the recipient's bundle.

        Raises:
            UntrustedError: The one `BAD_CIPHERTEXT`.
            RefusedError: `SUITE_NOT_ACCEPTED` when the bundle does not open the suite.
        """
        index, _ = bundle.opening_key(suite)
        # (8) the key; one error for whatever goes wrong
        if self.key_index != index:
            raise suites.bad_ciphertext()
        info = wrap_info(suite, header_digest, Recipient(self.recipient, self.bundle), self.key_index)
        return keys.opener(suite).unwrap(self.enc_ct, info)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the exact bytes, as the manifest lists it."""
        return sha256(self.raw).digest()


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
class EpochKek:
    """A key that one sender shares with one recipient, for one direction, one suite and one epoch.

    Attributes:
        name: 16 bytes, the beginning of the SHA-256 of the wrap that brought it.
        sender: Who seals with it.
        recipient: Who opens with it.
        suite: Number of the suite in which it was brought, and the only one in which it serves.
        not_after: Last moment at which an envelope may be made with it.
        secret: 32 bytes.
    """

    name: bytes
    sender: str
    recipient: str
    suite: int
    not_after: datetime
    secret: bytes = field(repr=False)

    @classmethod
    def brought(
        cls, wrap: Wrap, content_key: bytes, header_digest: bytes, *, sender: str, suite: int, not_after: datetime
    ) -> EpochKek:
        """Return the key that an envelope with this wrap, content key and header brings to the wrap's recipient."""
        secret = suites.derive(content_key, _EPOCH_KEK_LABEL, header_digest)
        return cls(cls.name_of(wrap), sender, wrap.recipient, suite, not_after, secret)

    @staticmethod
    def name_of(wrap: Wrap) -> bytes:
        """Return the name of the KEK that an envelope with this wrap brings."""
        return wrap.digest[:EPOCH_KEK_SIZE]

    @staticmethod
    def notice(not_after: datetime) -> bytes:
        """Return the payload of an envelope that brings a KEK."""
        return wire.canonical(content_pb2.EpochKekNotice(not_after_ms=wire.to_ms(not_after)))

    @staticmethod
    def noticed(payload: bytes) -> datetime:
        """Return the end that the payload of such an envelope gives; raises as `wire.parse`."""
        m = wire.parse(content_pb2.EpochKekNotice, payload, size_max=WRAP_SIZE_MAX, field="payload")
        return wire.from_ms(m.not_after_ms, field="payload.not_after_ms")

    def wrap(self, content_key: bytes, header_digest: bytes) -> bytes:
        """Return 48 bytes: the content key of one envelope under a key of that envelope's own."""
        return suites.wrap_key(self._key_for(header_digest), content_key)

    def unwrap(self, wrapped: bytes, header_digest: bytes) -> bytes:
        """Return the content key, or raise the one `BAD_CIPHERTEXT`."""
        return suites.unwrap_key(self._key_for(header_digest), wrapped)

    def _key_for(self, header_digest: bytes) -> bytes:
        """Return a key that serves one envelope only, so that no nonce can repeat and no counter is kept."""
        name = self.recipient.encode()
        return suites.derive(
            self.secret,
            _EPOCH_WRAP_LABEL,
            b"".join((self.suite.to_bytes(2, "big"), header_digest, bytes([len(name)]), name, self.name)),
        )

    def check_serves(self, *, sender: str, recipient: str, suite: int, at: datetime) -> None:
        """Raise unless the key is for this sender, recipient, suite and time.

        Raises:
            UntrustedError: `BAD_CIPHERTEXT` when it is another's.
            RefusedError: `STALE_BUNDLE` when its epoch was over.
        """
        if (self.sender, self.recipient, self.suite) != (sender, recipient, suite):
            raise suites.bad_ciphertext()
        if at > self.not_after:
            raise error(
                Reason.STALE_BUNDLE, field="header.recipients.epoch_kek", detail="the epoch of this key was over"
            )
