"""Epoch: the short-lived keys behind one key bundle, and the two ports behind which such keys may live."""

from __future__ import annotations

import enum
import functools
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from infoexchange import suites
from infoexchange.dsse import pae
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.suites import CONTENT_KEY_SIZE, OFFERED, Entropy, Sign, Suite, Unwrap


class KeyUsage(enum.IntEnum):
    """The one purpose of a signing key."""

    MANIFEST = 1
    ACKNOWLEDGEMENT = 2
    ATTESTATION = 3


REQUIRED = (KeyUsage.MANIFEST, KeyUsage.ACKNOWLEDGEMENT)  # in every suite offered; who attests nothing needs no key


class Signer(Protocol):
    """Signs for one purpose. A key in a hardware token implements this too."""

    @property
    def public(self) -> bytes:
        """Raw public key."""

    @property
    def key_id(self) -> str:
        """Hint that helps a reader find the key; never decides anything."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the signature over the pre-authentication encoding, which separates domains by type."""


class Decrypter(Protocol):
    """Unwraps content keys."""

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Return the 32-byte content key, or raise the one generic `BAD_CIPHERTEXT`."""


def key_id(public: bytes) -> str:
    """Return 16 hexadecimal digits that hint at a public key."""
    return hashlib.sha256(public).hexdigest()[:16]


@dataclass(frozen=True)
class SigningKey:
    """A software signing key of one suite."""

    suite: Suite
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls, suite: Suite, *, entropy: Entropy = secrets.token_bytes) -> SigningKey:
        """Return a new key, or raise `SUITE_NOT_ACCEPTED` when this machine cannot do the suite."""
        return cls(suites.suite_of(suite.number), entropy(suite.signing_secret_size))

    @functools.cached_property
    def public(self) -> bytes:
        """Raw public key."""
        return self.suite.signing_public(self.secret)

    @functools.cached_property
    def key_id(self) -> str:
        """Hint derived from the public key."""
        return key_id(self.public)

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the suite's signature over the pre-authentication encoding."""
        return self._signer(pae(payload_type, payload))

    @functools.cached_property
    def _signer(self) -> Sign:
        return self.suite.signer(self.secret)


@dataclass(frozen=True)
class OpeningKey:
    """A software key that unwraps content keys sealed in one suite."""

    suite: Suite
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls, suite: Suite, *, entropy: Entropy = secrets.token_bytes) -> OpeningKey:
        """Return a new key, or raise `SUITE_NOT_ACCEPTED` when this machine cannot do the suite."""
        return cls(suites.suite_of(suite.number), entropy(suite.opening_secret_size))

    @functools.cached_property
    def public(self) -> bytes:
        """Raw public key to seal to."""
        return self.suite.opening_public(self.secret)

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Return the content key, or raise `BAD_CIPHERTEXT`."""
        return self._opener(wrapped, info)

    @functools.cached_property
    def _opener(self) -> Unwrap:
        return self.suite.opener(self.secret)


@dataclass(frozen=True)
class EpochKeys:
    """The private halves of one key bundle; when its use ends only those that open are kept, for a while."""

    epoch: int
    signing: Mapping[tuple[int, KeyUsage], SigningKey]
    opening: Mapping[int, OpeningKey]
    wrapping: bytes = field(repr=False)  # 32 bytes, from which the epoch KEKs that this party gives out are made

    @property
    def is_whole(self) -> bool:
        """Whether every secret has the length of its kind, and every suite that is opened all its keys.

        What signs is destroyed all together, with the secret of epoch KEKs; what opens stays for a while.
        """
        if len(self.wrapping) != (CONTENT_KEY_SIZE if self.signing else 0):
            return False
        sizes = all(len(key.secret) == key.suite.signing_secret_size for key in self.signing.values())
        sizes &= all(len(key.secret) == key.suite.opening_secret_size for key in self.opening.values())
        all_signed = {(n, u) for n in self.opening for u in REQUIRED} <= self.signing.keys()
        return sizes and (not self.signing or (bool(self.opening) and all_signed))

    @property
    def offered(self) -> tuple[Suite, ...]:
        """The suites in which others may seal to these keys."""
        return tuple(self.opening[number].suite for number in sorted(self.opening))

    @classmethod
    def make(
        cls,
        epoch: int,
        *,
        suites: Sequence[Suite] = OFFERED,
        closing: Sequence[Suite] = (),
        entropy: Entropy = secrets.token_bytes,
    ) -> EpochKeys:
        """Return new keys of an epoch.

        Args:
            epoch: Its number.
            suites: What is offered to others, each whole: a key to open with and one for each purpose of signing.
            closing: What is offered no more, but was: what was sealed before is still acknowledged in it.
            entropy: Source of the seeds.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED` when this machine cannot do one of them, or none is named.
        """
        whole = {suite.number: suite for suite in suites}
        if not whole:
            raise error(Reason.SUITE_NOT_ACCEPTED, field="suites", detail="an agency offers at least one suite")
        wanted = [(suite, usage) for suite in whole.values() for usage in KeyUsage]
        wanted += [(suite, KeyUsage.ACKNOWLEDGEMENT) for suite in closing if suite.number not in whole]
        return cls(
            epoch,
            {(s.number, usage): SigningKey.make(s, entropy=entropy) for s, usage in wanted},
            {s.number: OpeningKey.make(s, entropy=entropy) for s in whole.values()},
            entropy(CONTENT_KEY_SIZE),
        )

    def signer(self, suite: Suite, usage: KeyUsage) -> Signer:
        """Return the key that signs in a suite for a purpose, or raise `SUITE_NOT_ACCEPTED`."""
        key = self.signing.get((suite.number, usage))
        if key is None:
            raise self._without(suite, "signed in")
        return key

    def opener(self, suite: Suite) -> Decrypter:
        """Return the key that opens what was sealed in a suite, or raise `SUITE_NOT_ACCEPTED`."""
        key = self.opening.get(suite.number)
        if key is None:
            raise self._without(suite, "opened")
        return key

    def _without(self, suite: Suite, what: str) -> ExchangeError:
        names = ", ".join(s.name for s in self.offered)
        return error(
            Reason.SUITE_NOT_ACCEPTED,
            field="suite",
            detail=f"{suite.name} is not {what} with the keys of epoch {self.epoch}",
            next_step=f"Use one of {names}, or have keys for {suite.name} made for the next epoch.",
        )
