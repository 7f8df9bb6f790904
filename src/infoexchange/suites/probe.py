"""Probe: each suite tried once on this machine, because builds of OpenSSL differ in what they can do.

A suite that cannot be done whole is refused whole, in words that say what is missing and what to install.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.backends.openssl import backend

from infoexchange.suites import cipher, ed25519, mldsa
from infoexchange.suites.suite import Suite

# Implementation constants
REMEDY = (
    "Install the wheel of `cryptography`, which brings its own OpenSSL, in place of a distribution's build: "
    "pip install --force-reinstall --only-binary :all: 'cryptography>=50.0.2'"
)
_MESSAGE = b"infoexchange: does it work?"
_CONTENT_KEY = bytes(range(cipher.CONTENT_KEY_SIZE))


class Missing(Exception):  # noqa: N818  what is missing is no error of anybody's yet
    """What cannot be done here, in words that follow `needs`."""


def try_ground() -> None:
    """Return if all that every suite rests on gives what it should, or raise `Missing`.

    Identities sign with Ed25519 and ML-DSA-65, logs and witnesses with Ed25519 and ML-DSA-44, whatever the suite, and
    every body is in one cipher.
    """
    _try("Ed25519", _signs_ed25519)
    _try("ML-DSA-44", lambda: _signs_mldsa(mldsa.MLDSA44, None))
    _try("ML-DSA-65", lambda: _signs_mldsa(mldsa.MLDSA65, mldsa.CONTEXT))
    _try("Cobblestone-256", _encrypts)


def try_suite(suite: Suite) -> None:
    """Return if both halves of a suite give what they should, or raise `Missing`."""
    _try(suite.signing.name, lambda: _signs(suite))
    _try(suite.sealing.name, lambda: _wraps(suite))


def _try(what: str, step: Callable[[], bool]) -> None:
    try:
        works, why = step(), "gives a wrong result"
    except Exception as problem:  # noqa: BLE001  builds of other people fail in ways that nobody can list
        works, why = False, f"fails ({type(problem).__name__})"
    if not works:
        raise Missing(f"{what}, which {why} with {backend.openssl_version_text()}")


def _signs_ed25519() -> bool:
    seed = bytes(ed25519.KEY_SIZE)
    ed25519.verify_ed25519(ed25519.public_ed25519(seed), _MESSAGE, ed25519.sign_ed25519(seed, _MESSAGE))
    return True


def _signs_mldsa(kind: mldsa.MlDsa, context: bytes | None) -> bool:
    seed = bytes(mldsa.SEED_SIZE)
    kind.verify(kind.public(seed), _MESSAGE, kind.signer(seed, context)(_MESSAGE), context)
    return True


def _encrypts() -> bool:
    key = cipher.derive(_CONTENT_KEY, _MESSAGE, _MESSAGE)
    return cipher.decrypt_body(key, _MESSAGE, cipher.encrypt_body(key, _MESSAGE, _MESSAGE)) == _MESSAGE


def _signs(suite: Suite) -> bool:
    secret = bytes(suite.signing_secret_size)
    public = suite.signing_public(secret)
    suite.check_signing_key(public)
    suite.verify(public, _MESSAGE, suite.signer(secret)(_MESSAGE))
    return True


def _wraps(suite: Suite) -> bool:
    secret = bytes(suite.opening_secret_size)
    public = suite.opening_public(secret)
    suite.check_opening_key(public)
    wrapped = suite.wrap(public, _CONTENT_KEY, _MESSAGE)
    return suite.opener(secret)(wrapped, _MESSAGE) == _CONTENT_KEY
