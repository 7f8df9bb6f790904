"""Composite: two signatures of which both must hold (draft-ietf-lamps-pq-composite-sigs; SPEC section Suites).

Whoever breaks one algorithm has gained nothing, and neither half is a signature of anything alone: both are over a
message that begins with the composite's own label.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from infoexchange.suites.ecdsa import EcdsaP384
from infoexchange.suites.ed25519 import Ed25519
from infoexchange.suites.mldsa import CONTEXT, MLDSA65, MLDSA87, SEED_SIZE, MlDsa
from infoexchange.suites.refusals import bad_key, bad_signature
from infoexchange.suites.scheme import Sign

_PREFIX = b"CompositeAlgorithmSignatures2025"  # the draft, section on prefixes


@dataclass(frozen=True)
class Composite:
    """One algorithm of the draft.

    Attributes:
        name: Its name in the draft.
        label: Its label there, which is also the context of the ML-DSA half.
        post_quantum: The first half.
        classical: The second half.
        context: Application context, at most 255 bytes.
    """

    name: str
    label: bytes
    post_quantum: MlDsa
    classical: Ed25519 | EcdsaP384
    context: bytes = CONTEXT

    @property
    def secret_size(self) -> int:
        """Bytes of a secret: the ML-DSA seed, then the classical half's."""
        return SEED_SIZE + self.classical.secret_size

    def signer(self, secret: bytes) -> Sign:
        """Return a function that signs with both halves."""
        first = self.post_quantum.signer(secret[:SEED_SIZE], self.label)
        second = self.classical.signer(secret[SEED_SIZE:])

        def sign(message: bytes) -> bytes:
            inner = self._inner(message)
            return first(inner) + second(inner)

        return sign

    def public(self, secret: bytes) -> bytes:
        """Return both public keys, ML-DSA first."""
        return self.post_quantum.public(secret[:SEED_SIZE]) + self.classical.public(secret[SEED_SIZE:])

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Return if both halves hold, or raise `BAD_SIGNATURE`."""
        # (1) the length of both halves
        split = self.post_quantum.signature_size
        if len(signature) - split not in self.classical.signature_sizes:
            raise bad_signature(f"not of the length of both halves of {self.name}")
        first, second = self.parts(public)
        inner = self._inner(message)
        # (2) the second, which is quicker, and (3) the first
        self.classical.verify(second, inner, signature[split:])
        self.post_quantum.verify(first, inner, signature[:split], self.label)

    def check_key(self, public: bytes) -> None:
        """Accept a public key of which both halves are acceptable, or raise `BAD_CERTIFICATE`."""
        size = self.post_quantum.public_size + self.classical.public_size
        if len(public) != size:
            raise bad_key(f"a key of {self.name} has {size} bytes")
        first, second = self.parts(public)
        self.post_quantum.check_key(first)
        self.classical.check_key(second)

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        """Return both keys."""
        return public[: self.post_quantum.public_size], public[self.post_quantum.public_size :]

    def _inner(self, message: bytes) -> bytes:
        """Return M' of the draft, which both halves sign."""
        digest = hashlib.sha512(message).digest()
        return _PREFIX + self.label + bytes([len(self.context)]) + self.context + digest


# OID 1.3.6.1.5.5.7.6.48
MLDSA65_ED25519 = Composite("id-MLDSA65-Ed25519-SHA512", b"COMPSIG-MLDSA65-Ed25519-SHA512", MLDSA65, Ed25519())
# OID 1.3.6.1.5.5.7.6.49
MLDSA87_P384 = Composite("id-MLDSA87-ECDSA-P384-SHA512", b"COMPSIG-MLDSA87-ECDSA-P384-SHA512", MLDSA87, EcdsaP384())
