"""Promises: what a suite from elsewhere must be shown to keep before it is used (SPEC section Suites).

A scheme that forgot one refusal would make every check that rests on it worthless, and nothing else would notice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.suites.cipher import CONTENT_KEY_SIZE
from infoexchange.suites.suite import Suite

# Specification constants
SIGNATURE_SIZE_MAX = 8192  # what a Dsse may carry
WRAP_SIZE_MAX = 3072  # leaves room for names and digests in a wrap of 4 KiB
KEY_SIZE_MAX = 4096  # a bundle of every suite stays below 64 KiB

_MESSAGE, _INFO = b"infoexchange: does it refuse?", b"infoexchange: info"


def check_promises(suite: Suite) -> None:
    """Return if a suite refuses what it must and stays within its sizes.

    Raises:
        RefusedError: `SUITE_NOT_ACCEPTED`, naming the promise that is broken.
    """
    # One after the other: a later one rests on those before it, as bits are flipped in what has a size.
    for promise, kept in itertools.chain(_signing(suite), _sealing(suite)):
        if not kept():
            raise error(
                Reason.SUITE_NOT_ACCEPTED,
                field="suite",
                detail=f"{suite.name} does not keep its promise: {promise}",
                next_step="Have the maker of that suite correct it.",
            )


def _signing(suite: Suite) -> Iterator[tuple[str, Callable[[], bool]]]:
    secret = _secret(suite.signing_secret_size)
    public, other = suite.signing_public(secret), suite.signing_public(secret[::-1])
    signature = suite.signer(secret)(_MESSAGE)

    def refused(key: bytes, message: bytes, attempt: bytes) -> Callable[[], bool]:
        return lambda: _reason_of(lambda: suite.verify(key, message, attempt)) is Reason.BAD_SIGNATURE

    yield "a public key is the same each time", lambda: suite.signing_public(secret) == public != other
    yield "sizes", lambda: len(public) <= KEY_SIZE_MAX and 0 < len(signature) <= SIGNATURE_SIZE_MAX
    yield "another message is refused", refused(public, _MESSAGE + b".", signature)
    yield "another key is refused", refused(other, _MESSAGE, signature)
    for attempt in (b"", signature[:-1], signature + b"\x00", bytes(len(signature))):
        yield "a signature of another form is refused", refused(public, _MESSAGE, attempt)
    for place in (0, len(signature) // 2, len(signature) - 1):
        yield "a changed signature is refused", refused(public, _MESSAGE, _flipped(signature, place))
    for key in (b"", public[:-1], public + b"\x00"):
        yield "a key of another length is refused", _is_bad_key(suite.check_signing_key, key)
    yield "the parts of a key are in it", lambda: all(part in public for part in suite.signing.parts(public))


def _sealing(suite: Suite) -> Iterator[tuple[str, Callable[[], bool]]]:
    secret, content_key = _secret(suite.opening_secret_size), bytes(range(CONTENT_KEY_SIZE))
    public, other = suite.opening_public(secret), suite.opening_public(secret[::-1])
    wrapped = suite.wrap(public, content_key, _INFO)

    def refused(key: bytes, attempt: bytes, info: bytes = _INFO) -> Callable[[], bool]:
        return lambda: _reason_of(lambda: suite.opener(key)(attempt, info)) is Reason.BAD_CIPHERTEXT

    yield "a public key is the same each time", lambda: suite.opening_public(secret) == public != other
    yield "sizes", lambda: len(public) <= KEY_SIZE_MAX and len(wrapped) == suite.wrap_size <= WRAP_SIZE_MAX
    yield "no two wraps are alike", lambda: suite.wrap(public, content_key, _INFO) != wrapped
    yield "the content key does not show", lambda: content_key not in wrapped
    yield "another info is refused", refused(secret, wrapped, _INFO + b".")
    yield "another key is refused", refused(secret[::-1], wrapped)
    for place in (0, len(wrapped) // 2, len(wrapped) - 1):
        yield "a changed wrap is refused", refused(secret, _flipped(wrapped, place))
    yield "a wrap of zeros is refused", refused(secret, bytes(len(wrapped)))
    for key in (b"", public[:-1], public + b"\x00"):
        yield "a key of another length is refused", _is_bad_key(suite.check_opening_key, key)
    yield "the parts of a key are in it", lambda: all(part in public for part in suite.sealing.parts(public))


def _secret(size: int) -> bytes:
    return bytes(1 + n % 255 for n in range(size))


def _is_bad_key(check: Callable[[bytes], None], key: bytes) -> Callable[[], bool]:
    return lambda: _reason_of(lambda: check(key)) is Reason.BAD_CERTIFICATE


def _reason_of(call: Callable[[], object]) -> Reason | None:
    """Return the reason for which a call refuses; no reason is none that callers expect."""
    try:
        call()
    except ExchangeError as problem:
        return problem.reason
    except Exception:  # noqa: BLE001  an error of the scheme's own would go through every caller
        return None
    return None


def _flipped(raw: bytes, place: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ 0x01]) + raw[place + 1 :]
