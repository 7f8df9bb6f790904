"""ECDSA: one form of a point and one length of a secret, asked for by name and number."""

from __future__ import annotations

import pytest

from infoexchange.errors import Reason
from infoexchange.suites.ecdsa import EcdsaP384, load_point, point_of
from test_suites import refused

SCHEME = EcdsaP384()
PUBLIC = SCHEME.public(bytes(range(56)))


def test_a_point_is_uncompressed_and_on_the_curve() -> None:
    assert (SCHEME.name, SCHEME.secret_size, SCHEME.public_size) == ("ECDSA P-384", 56, 97)
    assert point_of(load_point(PUBLIC)) == PUBLIC
    compressed = bytes([2 + (PUBLIC[-1] & 1)]) + PUBLIC[1:49]
    for wrong in (b"", b"\x04", PUBLIC[:-1], PUBLIC + b"\x00", compressed, b"\x06" + PUBLIC[1:], b"\x02" + PUBLIC[1:]):
        problem = refused(Reason.BAD_CERTIFICATE, load_point, wrong)
        assert problem.detail == "a P-384 key is an uncompressed point of 97 bytes"
    for wrong in (PUBLIC[:-1] + bytes([PUBLIC[-1] ^ 1]), b"\x04" + bytes(96)):
        problem = refused(Reason.BAD_CERTIFICATE, SCHEME.check_key, wrong)
        assert problem.detail == "not a point of P-384"


@pytest.mark.parametrize("size", [0, 48, 55, 57])
def test_a_secret_has_56_bytes(size: int) -> None:
    for call in (SCHEME.public, SCHEME.signer):
        with pytest.raises(ValueError, match="56 bytes"):
            call(bytes(size))
