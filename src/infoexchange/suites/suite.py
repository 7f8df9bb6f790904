"""Suite: every cryptographic algorithm in use, chosen whole by one number (SPEC section Suites)."""

from __future__ import annotations

from dataclasses import dataclass

from infoexchange.suites.cipher import CONTENT_KEY_SIZE
from infoexchange.suites.refusals import bad_ciphertext
from infoexchange.suites.scheme import SealingScheme, Sign, SigningScheme, Unwrap


@dataclass(frozen=True)
class Suite:
    """One row of the registry: how to sign and how to wrap a content key.

    Attributes:
        number: Registry number, as in the header; never given to anything else.
        name: Registry name.
        signing: How manifests and statements are signed.
        sealing: How content keys are wrapped.
    """

    number: int
    name: str
    signing: SigningScheme
    sealing: SealingScheme

    def __repr__(self) -> str:
        """Number and name say all."""
        return f"Suite(0x{self.number:04x} {self.name})"

    @property
    def signing_secret_size(self) -> int:
        """Bytes of a signing secret: the seeds of all its parts."""
        return self.signing.secret_size

    @property
    def opening_secret_size(self) -> int:
        """Bytes of the secret that opens."""
        return self.sealing.secret_size

    @property
    def wrap_size(self) -> int:
        """Exact bytes of a wrapped content key."""
        return self.sealing.wrap_size

    def signer(self, secret: bytes) -> Sign:
        """Return a function from message to signature; a seed costs as much as signing, so it is expanded once."""
        return self.signing.signer(secret)

    def signing_public(self, secret: bytes) -> bytes:
        """Return the raw public key of a signing secret."""
        return self.signing.public(secret)

    def check_signing_key(self, public: bytes) -> None:
        """Accept a public key to verify with, or raise `BAD_CERTIFICATE`."""
        self.signing.check_key(public)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Return if the signature holds, or raise `BAD_SIGNATURE`."""
        self.signing.verify(public, message, signature)

    def opening_public(self, secret: bytes) -> bytes:
        """Return the raw public key to seal to."""
        return self.sealing.public(secret)

    def check_opening_key(self, public: bytes) -> None:
        """Accept a public key to seal to, or raise `BAD_CERTIFICATE`."""
        self.sealing.check_key(public)

    def wrap(self, public: bytes, content_key: bytes, info: bytes) -> bytes:
        """Return the content key sealed to a public key, tied to `info`."""
        return self.sealing.wrap(public, content_key, info)

    def opener(self, secret: bytes) -> Unwrap:
        """Return a function that unwraps content keys with a secret, expanded once.

        It returns the content key, or raises the one `BAD_CIPHERTEXT` that says nothing more.
        """
        unwrap = self.sealing.opener(secret)

        def checked(wrapped: bytes, info: bytes) -> bytes:
            # (8) the exact length is checked before any decryption, so that a wrap cannot be probed
            if len(wrapped) == self.wrap_size:
                content_key = unwrap(wrapped, info)
                if len(content_key) == CONTENT_KEY_SIZE:
                    return content_key
            raise bad_ciphertext()

        return checked
