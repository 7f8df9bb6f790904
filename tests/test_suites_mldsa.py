"""ML-DSA: the sizes of FIPS 204, and a context for each use."""

from __future__ import annotations

from infoexchange import suites
from infoexchange.errors import Reason
from infoexchange.suites.mldsa import CONTEXT, MLDSA44, MLDSA65, MLDSA87
from test_suites import refused


def test_signatures_have_the_lengths_of_the_standard() -> None:
    for kind, size in ((MLDSA44, 2420), (MLDSA65, 3309), (MLDSA87, 4627)):
        assert kind.signature_size == len(kind.signer(bytes(32), None)(b"m")) == size
        public = kind.public(bytes(32))
        kind.check_key(public)
        for wrong in (b"", public[:-1], public + b"\x00"):
            problem = refused(Reason.BAD_CERTIFICATE, kind.check_key, wrong)
            assert problem.detail == f"an ML-DSA-{kind.level} key has {len(public)} bytes"


def test_logs_and_identities_sign_with_their_own_kind() -> None:
    secret = bytes(range(32))
    public, signature = suites.public_mldsa44(secret), suites.sign_mldsa44(secret, b"m")
    assert (len(public), len(signature)) == (MLDSA44.public_size, MLDSA44.signature_size) == (1312, 2420)
    assert (MLDSA44.level, MLDSA44.name) == (44, "ML-DSA-44")
    suites.verify_mldsa44(public, b"m", signature)
    refused(Reason.BAD_SIGNATURE, suites.verify_mldsa44, public, b"n", signature)
    MLDSA44.verify(public, b"m", suites.mldsa44_signer(secret)(b"m"), None)
    refused(Reason.BAD_SIGNATURE, MLDSA44.verify, public, b"m", signature, CONTEXT)
    public, signature = suites.public_mldsa65(secret), suites.sign_mldsa65(secret, b"m")
    assert (len(public), len(signature)) == (MLDSA65.public_size, MLDSA65.signature_size) == (1952, 3309)
    assert (MLDSA65.level, MLDSA65.name) == (65, "ML-DSA-65")
    suites.verify_mldsa65(public, b"m", signature)
    refused(Reason.BAD_SIGNATURE, suites.verify_mldsa65, public, b"n", signature)
    MLDSA65.verify(public, b"m", signature, b"infoexchange/v1")
    for context in (None, b"infoexchange/v2", bytes(256)):
        refused(Reason.BAD_SIGNATURE, MLDSA65.verify, public, b"m", signature, context)
