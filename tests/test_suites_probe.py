"""Probe: whatever fails on this machine is named, whether it raises or only gives a wrong result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.backends.openssl import backend

from infoexchange.errors import Reason
from infoexchange.suites import SUITES, Registry, Unwrap, cipher, ecdsa, ed25519, kem, mldsa
from infoexchange.suites import registry as registries
from infoexchange.suites.probe import Missing, try_ground, try_suite
from test_suites import refused
from test_suites_promises import Sealing, Signing, broken, raising, suite


def missing(call: Callable[..., object], *args: object) -> str:
    with pytest.raises(Missing) as caught:
        call(*args)
    end = f" with {backend.openssl_version_text()}"
    assert str(caught.value).endswith(end)
    return str(caught.value).removesuffix(end)


def wrong(_scheme: Sealing, _secret: bytes) -> Unwrap:
    return lambda wrapped, info: bytes(32)


FAILS = "which fails (ValueError)"
FAULTS = {
    "verifying": (broken(Signing, verify=raising), FAILS),
    "accepting a signing key": (broken(Signing, check_key=raising), FAILS),
    "signing": (broken(Signing, signer=raising), FAILS),
    "accepting a key to seal to": (broken(Sealing, check_key=raising), FAILS),
    "opening": (broken(Sealing, opener=raising), FAILS),
    "opening to something else": (broken(Sealing, opener=wrong), "which gives a wrong result"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_half_that_does_not_work_is_named(name: str) -> None:
    scheme, words = FAULTS[name]
    scheme.name = "This half"
    flawed = suite(scheme) if isinstance(scheme, Signing) else suite(None, scheme)
    assert missing(try_suite, flawed) == f"This half, {words}"
    registry = Registry({flawed.number: flawed})
    for _ in range(2):
        problem = refused(Reason.SUITE_NOT_ACCEPTED, registry.suite_of, flawed.number)
        assert problem.detail.startswith(f"TOY needs This half, {words} with ")
        assert problem.next_step.endswith("--only-binary :all: 'cryptography>=50.0.2'")


def test_a_suite_that_works_is_tried_with_what_it_makes_itself() -> None:
    signing, sealing = Signing(), Sealing()
    try_suite(suite(signing, sealing))
    secret = bytes(signing.secret_size)
    assert {*signing.secrets, *sealing.secrets} == {secret}
    (key,), (public, message, signature) = signing.asked
    assert (key, public, signature) == (public, signing.public(secret), signing.signature(public, message))
    [(wrapped, (public, info, content_key))] = sealing.made.items()
    assert sealing.asked == [(public,), (secret, wrapped, info)]
    assert (public, content_key) == (sealing.public(secret), bytes(range(32)))


@pytest.mark.parametrize(
    ("module", "function", "name", "words"),
    [
        (ed25519, "sign_ed25519", "Ed25519", "fails (UntrustedError)"),
        (cipher, "encrypt_body", "Cobblestone-256", "fails (UntrustedError)"),
        (cipher, "decrypt_body", "Cobblestone-256", "gives a wrong result"),
    ],
)
def test_the_ground_that_gives_something_else_is_named(
    monkeypatch: pytest.MonkeyPatch, module: object, function: str, name: str, words: str
) -> None:
    monkeypatch.setattr(module, function, lambda *_: bytes(64))
    assert missing(try_ground) == f"{name}, which {words}"


@pytest.mark.parametrize("level", [44, 65])
def test_the_signature_that_does_not_hold_is_named(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    asked: list[tuple[int, bytes | None]] = []

    def verify(kind: mldsa.MlDsa, _public: bytes, _message: bytes, _signature: bytes, context: bytes | None) -> None:
        asked.append((kind.level, context))
        if kind.level == level:
            raise ValueError

    monkeypatch.setattr(mldsa.MlDsa, "verify", verify)
    assert missing(try_ground) == f"ML-DSA-{level}, which fails (ValueError)"
    assert asked == [(44, None), (65, b"infoexchange/v1")][: 1 + (level == 65)]


def test_every_half_of_every_suite_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(kem.Kem, "opener", raising)
        names = ("X25519", "X-Wing", "X-Wing", "MLKEM1024-P384")
        for number, name in enumerate(names, 1):
            assert missing(try_suite, SUITES[number]) == f"{name}, {FAILS}"
    monkeypatch.setattr(ed25519.Ed25519, "verify", raising)
    monkeypatch.setattr(ecdsa.EcdsaP384, "verify", raising)
    names = ("Ed25519", "id-MLDSA65-Ed25519-SHA512", "Ed25519", "id-MLDSA87-ECDSA-P384-SHA512")
    for number, name in enumerate(names, 1):
        assert missing(try_suite, SUITES[number]) == f"{name}, {FAILS}"
    assert (ed25519.Ed25519().name, ecdsa.EcdsaP384().name) == ("Ed25519", "ECDSA P-384")


def test_this_machine_has_the_ground() -> None:
    try_ground()


def test_the_ground_is_tried_once_and_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(registries, "try_ground", lambda: tried.append("ground"))
    monkeypatch.setattr(registries, "try_suite", lambda suite: tried.append(suite.name))
    registry = Registry(SUITES)
    assert registry.probe([]) == ()
    assert tried == ["ground"]
    registry.probe()
    registry.probe()
    assert tried == ["ground", *(SUITES[number].name for number in sorted(SUITES))]


def test_without_the_ground_there_is_no_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    def without() -> None:
        raise Missing("Ed25519")

    monkeypatch.setattr(registries, "try_ground", without)
    monkeypatch.setattr(registries, "try_suite", lambda _: None)
    registry = Registry(SUITES)
    for call in (lambda: registry.probe([]), lambda: registry.register(suite()), lambda: registry.suite_of(1)):
        problem = refused(Reason.SUITE_NOT_ACCEPTED, call)
        assert problem.detail == "every suite needs Ed25519"
    assert registry.usable(2) is None
