"""Refusals: the errors that every suite answers with, so that all of them say the same and none says too much."""

from __future__ import annotations

from infoexchange.errors import ExchangeError, Reason, error


def bad_key(detail: str) -> ExchangeError:
    """Return the error for a public key that must not be accepted."""
    return error(Reason.BAD_CERTIFICATE, field="public_key", detail=detail)


def bad_signature(detail: str) -> ExchangeError:
    """Return the error for a signature that does not hold."""
    return error(Reason.BAD_SIGNATURE, detail=detail)


def bad_ciphertext() -> ExchangeError:
    """Return the single decryption error: more words would help an attacker who tries variants."""
    return error(Reason.BAD_CIPHERTEXT, detail="the content cannot be opened")
