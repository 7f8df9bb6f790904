"""Scheme: the two halves of a suite, as whoever adds a suite must provide them (SPEC section Suites).

Secrets are seeds: any bytes of the right size are one. Keys and signatures are raw bytes. A scheme keeps nothing and
may be used from many threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Entropy = Callable[[int], bytes]
Sign = Callable[[bytes], bytes]
Unwrap = Callable[[bytes, bytes], bytes]


class SigningScheme(Protocol):
    """How a suite signs."""

    @property
    def name(self) -> str:
        """What it is, for the person who reads that it is missing."""

    @property
    def secret_size(self) -> int:
        """Bytes of a secret: the seeds of all its parts."""

    def signer(self, secret: bytes) -> Sign:
        """Return a function from message to signature; a seed costs as much as signing, so it is expanded once."""

    def public(self, secret: bytes) -> bytes:
        """Return the raw public key of a secret."""

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Return if the signature holds, or raise `BAD_SIGNATURE`; signatures of any length may come."""

    def check_key(self, public: bytes) -> None:
        """Accept a public key into a bundle or root list, or raise `BAD_CERTIFICATE`; bytes of any length may come."""

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        """Return the keys that an accepted public key is made of; none of them may serve anywhere else."""


class SealingScheme(Protocol):
    """How a suite wraps a content key."""

    @property
    def name(self) -> str:
        """What it is, for the person who reads that it is missing."""

    @property
    def secret_size(self) -> int:
        """Bytes of a secret."""

    @property
    def wrap_size(self) -> int:
        """Exact bytes of a wrapped 32-byte content key."""

    def public(self, secret: bytes) -> bytes:
        """Return the raw public key of a secret."""

    def check_key(self, public: bytes) -> None:
        """Accept a public key to seal to, or raise `BAD_CERTIFICATE`; bytes of any length may come."""

    def wrap(self, public: bytes, content_key: bytes, info: bytes) -> bytes:
        """Return the content key sealed to an accepted public key, tied to `info`."""

    def opener(self, secret: bytes) -> Unwrap:
        """Return a function from wrap and info to the content key, which raises `BAD_CIPHERTEXT` whatever is wrong.

        It is called with wraps of the right size only.
        """

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        """Return the keys that an accepted public key is made of; none of them may serve anywhere else."""
