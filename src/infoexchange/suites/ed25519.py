"""Ed25519: signatures, and the one acceptance rule for them (SPEC section Ed25519)."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ed25519
from nacl import bindings as sodium
from nacl import exceptions as sodium_exceptions

from infoexchange.suites.refusals import bad_key, bad_signature
from infoexchange.suites.scheme import Sign

# Specification constants
KEY_SIZE = 32
SIGNATURE_SIZE = 64
_ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, L
_FIELD_PRIME = 2**255 - 19


def _small_order_encodings() -> frozenset[int]:
    """Return the y coordinates, top bit cleared, of every encoding of a small-order point (SPEC section Ed25519)."""
    order8 = (
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
    return frozenset({0, 1, _FIELD_PRIME - 1, *(int.from_bytes(bytes.fromhex(y), "little") for y in order8)})


SMALL_ORDER = _small_order_encodings()


def _is_good_point(encoding: bytes) -> bool:
    """Whether `encoding` is canonical and of large order, as far as its bytes tell."""
    y = int.from_bytes(encoding, "little") & (2**255 - 1)
    return y < _FIELD_PRIME and y not in SMALL_ORDER


def check_ed25519_key(public: bytes) -> None:
    """Accept a key into a bundle, certificate or verifier key, or raise.

    Stricter than verification: a point of mixed order is refused as well, so no signature can be ambiguous later.

    Raises:
        UntrustedError: `BAD_CERTIFICATE` when the key has the wrong length, is not canonical or has a small-order part.
    """
    good = len(public) == KEY_SIZE and _is_good_point(public)
    if not good or not sodium.crypto_core_ed25519_is_valid_point(public):
        raise bad_key("not an acceptable Ed25519 key")


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> None:
    """Return if the signature holds under the one acceptance rule of this system, or raise.

    Libraries differ on small-order points, so the rule is written out here and holds for envelope, log and witness
    alike: canonical large-order A and R, S below the group order, cofactorless equation (SPEC section Ed25519).

    Raises:
        UntrustedError: `BAD_SIGNATURE`.
    """
    ok = (
        len(public) == KEY_SIZE
        and len(signature) == SIGNATURE_SIZE
        and int.from_bytes(signature[32:], "little") < _ORDER
        and _is_good_point(public)
        and _is_good_point(signature[:32])
    )
    if ok:
        try:
            sodium.crypto_sign_open(signature + message, public)
            return
        except (sodium_exceptions.BadSignatureError, sodium_exceptions.ValueError):
            pass
    raise bad_signature("the Ed25519 signature does not hold")


def sign_ed25519(secret: bytes, message: bytes) -> bytes:
    """Return the 64-byte signature made with a 32-byte seed."""
    return _private(secret).sign(message)


def public_ed25519(secret: bytes) -> bytes:
    """Return the 32-byte public key of a 32-byte seed."""
    return _private(secret).public_key().public_bytes_raw()


def ed25519_signer(secret: bytes) -> Sign:
    """Return a function that signs with a 32-byte seed, expanded once."""
    return _private(secret).sign


def _private(secret: bytes) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(secret)


@dataclass(frozen=True)
class Ed25519:
    """Ed25519 as a signing scheme, alone or as half of a composite."""

    name: str = "Ed25519"
    secret_size: int = KEY_SIZE
    public_size: int = KEY_SIZE
    signature_sizes: range = range(SIGNATURE_SIZE, SIGNATURE_SIZE + 1)

    def signer(self, secret: bytes) -> Sign:
        """Return a function that signs with a 32-byte seed."""
        return ed25519_signer(secret)

    def public(self, secret: bytes) -> bytes:
        """Return the 32-byte public key."""
        return public_ed25519(secret)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Return if the signature holds under the one rule, or raise `BAD_SIGNATURE`."""
        verify_ed25519(public, message, signature)

    def check_key(self, public: bytes) -> None:
        """Accept a key of the prime-order subgroup, or raise `BAD_CERTIFICATE`."""
        check_ed25519_key(public)

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        """Return the key: it has no parts."""
        return (public,)
