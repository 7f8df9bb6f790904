"""Kem: the names and lengths of the specification, and the halves of which a hybrid key is made."""

from __future__ import annotations

import pytest

from infoexchange.errors import Reason
from infoexchange.suites.kem import MLKEM1024_P384, X25519, XWING, Kem
from test_suites import refused

SEED = bytes(range(32))


@pytest.mark.parametrize(
    ("kem", "name", "halves", "wrap_size"),
    [
        (X25519, "X25519", (32,), 32 + 48),
        (XWING, "X-Wing", (1184, 32), 1120 + 48),
        (MLKEM1024_P384, "MLKEM1024-P384", (1568, 97), 1665 + 48),
    ],
    ids=["x25519", "xwing", "nist"],
)
def test_keys_and_wraps_have_their_lengths(kem: Kem, name: str, halves: tuple[int, ...], wrap_size: int) -> None:
    public, size = kem.public(SEED), sum(halves)
    assert (kem.name, kem.secret_size, kem.public_size, len(public)) == (name, 32, size, size)
    parts = kem.parts(public)
    assert tuple(map(len, parts)) == halves
    assert b"".join(parts) == public
    kem.check_key(public)
    wrapped = kem.wrap(public, bytes(32), b"info")
    assert len(wrapped) == kem.wrap_size == wrap_size
    assert kem.opener(SEED)(wrapped, b"info") == bytes(32)
    refused(Reason.BAD_CIPHERTEXT, kem.opener(SEED), wrapped, b"other")
    refused(Reason.BAD_CIPHERTEXT, kem.opener(SEED), b"", b"info")
    for wrong in (b"", public[:-1], public + b"\x00"):
        problem = refused(Reason.BAD_CERTIFICATE, kem.check_key, wrong)
        assert problem.detail == f"a key of {name} has {size} bytes"
    for half in range(len(halves)):
        spoilt = b"".join(part if place != half else b"\xff" * len(part) for place, part in enumerate(parts))
        if kem is not X25519 and half == 0:  # every 32 bytes but a few are a point of X25519
            problem = refused(Reason.BAD_CERTIFICATE, kem.check_key, spoilt)
            assert problem.detail == f"not a key of {name} that is safe to seal to"
    zeros = b"".join((*parts[:-1], bytes(halves[-1])))
    refused(Reason.BAD_CERTIFICATE, kem.check_key, zeros)
