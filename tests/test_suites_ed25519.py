"""Ed25519: the rule by itself, without the strictness of any library; `test_ed25519_edges` asks them all."""

from __future__ import annotations

import pytest
from nacl import bindings as sodium
from nacl import exceptions as sodium_exceptions

from infoexchange import suites
from infoexchange.errors import Reason
from infoexchange.suites import ed25519
from test_suites import BASE, NON_CANONICAL, SMALL, SMALL_ENCODINGS, L, P, by_rule, encode, refused


def test_a_scheme_knows_its_sizes() -> None:
    scheme, secret = ed25519.Ed25519(), bytes(range(32))
    public, signature = scheme.public(secret), scheme.signer(secret)(b"m")
    scheme.check_key(public)
    scheme.verify(public, b"m", signature)
    assert scheme.parts(public) == (public,)
    assert (scheme.name, scheme.secret_size, scheme.public_size) == ("Ed25519", 32, len(public))
    assert [*scheme.signature_sizes] == [len(signature)] == [64]
    assert suites.ed25519_signer(secret)(b"m") == suites.sign_ed25519(secret, b"m") == signature
    refused(Reason.BAD_SIGNATURE, scheme.verify, public, b"n", signature)
    refused(Reason.BAD_CERTIFICATE, scheme.check_key, SMALL_ENCODINGS[0])


def test_the_numbers_of_the_rule_are_those_of_the_curve() -> None:
    assert ed25519._small_order_encodings() == ed25519.SMALL_ORDER == {y for _, y in SMALL}
    assert len(ed25519.SMALL_ORDER) == 5
    assert (ed25519._FIELD_PRIME, ed25519._ORDER) == (P, L)
    for y, good in ((2, True), (P - 2, True), (P - 1, False), (P, False), (P + 2, False), (2**255 - 1, False)):
        for sign in (0, 1):
            assert ed25519._is_good_point((y | sign << 255).to_bytes(32, "little")) is good


def test_the_rule_needs_no_library_to_be_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a library to take everything, only what the rule itself lets stand would be accepted."""
    monkeypatch.setattr(sodium, "crypto_sign_open", lambda *_: b"")
    monkeypatch.setattr(sodium, "crypto_core_ed25519_is_valid_point", lambda _: True)
    encoding, zeros = encode(BASE), bytes(32)
    suites.check_ed25519_key(encoding)
    for other in (encoding, *SMALL_ENCODINGS, *NON_CANONICAL):
        for s in (0, 1, 2**252, L - 1, L, L + 1, 2**253, 2**256 - 1):
            for key, nonce in ((other, encoding), (encoding, other)):
                signature = nonce + s.to_bytes(32, "little")
                assert by_rule(key, b"m", signature) is (other == encoding and s < L)
        if other != encoding:
            refused(Reason.BAD_CERTIFICATE, suites.check_ed25519_key, other)
    assert by_rule(encoding, b"m", encoding + zeros)
    for wrong in (b"", encoding[:31], encoding + b"\x00", b"\x00" + encoding):
        assert not by_rule(wrong, b"m", encoding + zeros)
        refused(Reason.BAD_CERTIFICATE, suites.check_ed25519_key, wrong)
    for wrong in (b"", encoding, encoding + zeros[1:], encoding + zeros + b"\x00", encoding[1:] + zeros):
        assert not by_rule(encoding, b"m", wrong)


def test_whatever_the_library_says_there_is_one_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    public, signature = suites.public_ed25519(bytes(32)), suites.sign_ed25519(bytes(32), b"m")
    for kind in (sodium_exceptions.BadSignatureError, sodium_exceptions.ValueError):

        def refuse(*_: object, kind: type[Exception] = kind) -> None:
            raise kind("no")

        monkeypatch.setattr(sodium, "crypto_sign_open", refuse)
        refused(Reason.BAD_SIGNATURE, suites.verify_ed25519, public, b"m", signature)
    monkeypatch.setattr(sodium, "crypto_core_ed25519_is_valid_point", lambda _: False)
    refused(Reason.BAD_CERTIFICATE, suites.check_ed25519_key, public)
