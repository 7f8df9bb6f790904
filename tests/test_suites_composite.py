"""Composite: the lengths of both halves are looked at before either half is."""

from __future__ import annotations

import pytest

from infoexchange.errors import Reason
from infoexchange.suites.composite import MLDSA65_ED25519, MLDSA87_P384, Composite
from test_suites import refused


@pytest.mark.parametrize(
    ("scheme", "name", "secret_size", "key_size", "shortest", "longest"),
    [
        (MLDSA65_ED25519, "id-MLDSA65-Ed25519-SHA512", 64, 1984, 3373, 3373),
        (MLDSA87_P384, "id-MLDSA87-ECDSA-P384-SHA512", 88, 2689, 4635, 4731),
    ],
    ids=lambda value: value.name if isinstance(value, Composite) else "",
)
def test_other_lengths_are_refused_as_such(
    scheme: Composite, name: str, secret_size: int, key_size: int, shortest: int, longest: int
) -> None:
    assert (scheme.name, scheme.secret_size) == (name, secret_size)
    public = scheme.public(bytes(range(secret_size)))
    scheme.check_key(public)
    assert b"".join(scheme.parts(public)) == public
    for size in (0, 32, key_size - 1, key_size + 1):
        problem = refused(Reason.BAD_CERTIFICATE, scheme.check_key, public.ljust(size, b"\x00")[:size])
        assert problem.detail == f"a key of {name} has {key_size} bytes"
    for size in (0, 64, shortest - 1, longest + 1):
        problem = refused(Reason.BAD_SIGNATURE, scheme.verify, public, b"m", bytes(size))
        assert problem.detail == f"not of the length of both halves of {name}"
    for size in (shortest, longest):
        problem = refused(Reason.BAD_SIGNATURE, scheme.verify, public, b"m", bytes(size))
        assert "does not hold" in problem.detail
