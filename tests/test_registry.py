"""Registry: numbers that never change, national suites that are added at start, and a machine that cannot do one."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import cobblestone
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl.backend import Backend
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import AGENCIES, EVERY_SUITE, RECIPIENT, SECOND, SENDER
from infoexchange import suites
from infoexchange.cli.parser import SUITE_NAMES
from infoexchange.draft import Draft
from infoexchange.errors import Reason
from infoexchange.keys import Identity, OpeningKey, SigningKey
from infoexchange.receipt import Receipt
from infoexchange.suites import CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH, SUITES, Registry, Suite, registry
from infoexchange.suites.ed25519 import Ed25519
from infoexchange.suites.kem import X25519
from infoexchange.testing import Exchange
from infoexchange.testing.national import EXAMPLE, ExampleSealing, ExampleSigning
from infoexchange.testing.sites import environment
from infoexchange.verdict import Verdict
from messages import officer_acknowledgement
from test_suites import refused

ROOT = Path(__file__).resolve().parent.parent


def national(number: int = 0x0100, name: str = "SOME-NATION", **parts: object) -> Suite:
    return dataclasses.replace(EXAMPLE, number=number, name=name, **parts)  # type: ignore[arg-type]


# Numbers


def test_numbers_and_names_are_for_ever() -> None:
    """Whoever changes this line breaks every archive."""
    assert {n: s.name for n, s in SUITES.items()} == {1: "CLASSICAL", 2: "HYBRID", 3: "HYBRID-KEM", 4: "NIST-HIGH"}
    names = {s.number: (s.signing.name, s.sealing.name) for s in SUITES.values()}
    assert names == {
        1: ("Ed25519", "X25519"),
        2: ("id-MLDSA65-Ed25519-SHA512", "X-Wing"),
        3: ("Ed25519", "X-Wing"),
        4: ("id-MLDSA87-ECDSA-P384-SHA512", "MLKEM1024-P384"),
    }
    assert [repr(suite) for suite in (HYBRID, EXAMPLE)] == ["Suite(0x0002 HYBRID)", "Suite(0x01ff EXAMPLE-P256)"]
    assert suites.DEFAULT_SUITE is HYBRID
    assert suites.OFFERED == (HYBRID, HYBRID_KEM)
    with pytest.raises(TypeError):
        SUITES[5] = HYBRID  # type: ignore[index]


def test_there_are_four_of_the_specification() -> None:
    assert [(number, suite.name) for number, suite in registry.SUITES.items()] == [
        (0x0001, "CLASSICAL"),
        (0x0002, "HYBRID"),
        (0x0003, "HYBRID-KEM"),
        (0x0004, "NIST-HIGH"),
    ]


def test_suites_are_found_by_number_and_name() -> None:
    for suite in EVERY_SUITE:
        assert suites.suite_of(suite.number) is suites.usable(suite.number) is suite
        assert suites.suite_named(suite.name) is suite
        assert suites.knows(suite.number)
        assert pickle.loads(pickle.dumps(suite)) == suite
        assert repr(suite) == f"Suite(0x{suite.number:04x} {suite.name})"
    for number in (0, 5, 0x00FF, 0x0100, 0x01FE, 0x0200, 2**32 - 1):
        refused(Reason.SUITE_NOT_ACCEPTED, suites.suite_of, number)
        assert suites.usable(number) is None
        assert not suites.knows(number)
    assert "national" in str(refused(Reason.SUITE_NOT_ACCEPTED, suites.suite_of, 0x0100))
    assert "Choose one of: CLASSICAL, HYBRID" in str(refused(Reason.SUITE_NOT_ACCEPTED, suites.suite_named, "hybrid"))


def test_the_command_line_knows_the_same_names() -> None:
    assert {*SUITE_NAMES} == {suite.name for suite in SUITES.values()}
    assert SUITE_NAMES[0] == suites.DEFAULT_SUITE.name


# National suites


@pytest.mark.parametrize("number", [0, 1, 4, 5, 0x00FF, 0x0200, 0x1FF0, 2**32, -1])
def test_a_national_number_is_in_its_range(number: int) -> None:
    refused(Reason.BAD_FIELD, Registry(SUITES).register, national(number))


def test_the_whole_range_is_free() -> None:
    registry = Registry(SUITES)
    ends = {number: national(number, f"NATION-{number}") for number in (0x0100, 0x01FF)}
    for suite in ends.values():
        registry.register(suite)
    for number, suite in ends.items():
        assert registry.suite_of(number) is suite


def test_a_number_or_name_is_given_once() -> None:
    registry = Registry(SUITES)
    registry.register(national())
    for again in (national(), national(name="OTHER"), national(0x0101)):
        assert "SOME-NATION" in str(refused(Reason.BAD_FIELD, registry.register, again))
    refused(Reason.BAD_FIELD, registry.register, national(0x0102, "HYBRID"))
    for name in ("", "small", "With Blank", "A" * 32, "-A", "Ä"):
        refused(Reason.BAD_FIELD, registry.register, national(0x0102, name))


def test_nothing_is_added_once_suites_are_in_use() -> None:
    """Keys of a suite that came later would have passed through bundles unseen."""
    for use in (lambda r: r.suite_of(2), lambda r: r.knows(2), lambda r: r.usable(9), lambda r: r.probe([3])):
        registry = Registry(SUITES)
        use(registry)
        refused(Reason.NOT_PERMITTED, registry.register, national())
    refused(Reason.NOT_PERMITTED, suites.register, national())
    assert not suites.knows(0x0100)


def test_even_a_question_that_finds_nothing_is_a_use() -> None:
    for use in (lambda r: r.usable(9), lambda r: r.knows(9), lambda r: r.usable(1)):
        registry = Registry({})
        use(registry)
        assert "too late" in refused(Reason.NOT_PERMITTED, registry.register, national()).detail
    registry = Registry({})
    problem = refused(Reason.SUITE_NOT_ACCEPTED, registry.suite_named, "HYBRID")
    assert "no suite 'HYBRID'" in problem.detail
    refused(Reason.NOT_PERMITTED, registry.register, national())
    for number in (0, 0x00FF, 0x0200):
        refused(Reason.BAD_FIELD, Registry({}).register, national(number))
        assert refused(Reason.SUITE_NOT_ACCEPTED, registry.suite_of, number).detail.startswith("there is no suite")
    for number in (0x0100, 0x01FF):
        assert "national" in refused(Reason.SUITE_NOT_ACCEPTED, registry.suite_of, number).detail


def test_the_names_of_the_specification_give_its_numbers() -> None:
    for number, name in enumerate(("CLASSICAL", "HYBRID", "HYBRID-KEM", "NIST-HIGH"), 1):
        assert suites.suite_named(name).number == number


class Accepting(ExampleSigning):
    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        return


class Lenient(ExampleSigning):
    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        super().verify(public, message, signature.removesuffix(b"\x00"))


class Leaking(ExampleSigning):
    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        if len(signature) < 9:
            raise InvalidSignature  # an error that callers do not expect
        super().verify(public, message, signature)


class AnyKey(ExampleSigning):
    def check_key(self, public: bytes) -> None:
        return


class Untied(ExampleSealing):
    def wrap(self, public: bytes, content_key: bytes, info: bytes) -> bytes:
        return super().wrap(public, content_key, b"")

    def opener(self, secret: bytes) -> Callable[[bytes, bytes], bytes]:
        unwrap = super().opener(secret)
        return lambda wrapped, info: unwrap(wrapped, b"")


class Plain(ExampleSealing):
    def wrap(self, public: bytes, content_key: bytes, info: bytes) -> bytes:
        return content_key.ljust(self.wrap_size, b"\x00")

    def opener(self, secret: bytes) -> Callable[[bytes, bytes], bytes]:
        return lambda wrapped, info: wrapped[:32]


class AnyRecipient(ExampleSealing):
    def check_key(self, public: bytes) -> None:
        return


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"signing": Accepting()}, "another message"),
        ({"signing": Lenient()}, "another form"),
        ({"signing": Leaking()}, "another form"),
        ({"signing": AnyKey()}, "another length"),
        ({"sealing": Untied()}, "another info"),
        ({"sealing": Plain()}, "alike"),
        ({"sealing": AnyRecipient()}, "another length"),
        ({"sealing": ExampleSealing(wrap_size=114)}, "gives a wrong result|fails"),
    ],
    ids=lambda value: "-".join(type(v).__name__ for v in value.values()) if isinstance(value, dict) else "",
)
def test_a_suite_that_would_not_protect_is_not_added(parts: dict[str, object], word: str) -> None:
    registry = Registry(SUITES)
    problem = refused(Reason.SUITE_NOT_ACCEPTED, registry.register, national(**parts))
    assert any(each in str(problem) for each in word.split("|")), problem
    assert not registry.knows(0x0100)


def test_a_national_suite_seals_carries_opens_and_proves() -> None:
    """From agency to agency over two relays, to an auditor; every one of them has the suite."""
    exchange = Exchange(AGENCIES, suites=(HYBRID, EXAMPLE))
    sender, *recipients = (exchange.mailbox(name) for name in (SENDER, RECIPIENT, SECOND))
    [receipt] = sender.send_all([Draft(officer_acknowledgement(), [RECIPIENT, SECOND], suite=EXAMPLE)])
    assert isinstance(receipt, Receipt), receipt
    for recipient in recipients:
        [delivery] = recipient.receive()
        assert delivery.envelope.header.suite == 0x01FF
        recipient.acknowledge(delivery)
        recipient.flush()
    exchange.witness()
    evidence = sender.evidence(receipt.subject.envelope_digest)
    report = evidence.verify(exchange.directory, now=exchange.clock())
    assert report.verdict is Verdict.TOTAL_PASSED, report
    assert any("EXAMPLE-P256" in check.detail for check in report.checks)


def test_a_program_without_it_refuses_a_national_suite() -> None:
    """The same bytes in a process that registered nothing."""
    identity = Identity.make("desk.some.th.example", suites=(EXAMPLE,))
    program = "import sys; from infoexchange.keys import Identity; Identity.parse(sys.stdin.buffer.read())"
    done = subprocess.run(
        [sys.executable, "-c", program], input=identity.raw, capture_output=True, env=environment(), check=False
    )
    assert b"suite_not_accepted" in done.stderr
    assert b"0x01ff is a national suite that this program does not have" in done.stderr


# What this machine cannot do


def without(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Take a primitive away, as a distribution's build does."""
    if what in ("mlkem_supported", "mldsa_supported", "x25519_supported"):
        monkeypatch.setattr(Backend, what, lambda _: False)
    elif what == "P-384":
        real = ec.derive_private_key

        def derive(value: int, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
            if curve.name == "secp384r1":
                raise UnsupportedAlgorithm("Curve secp384r1 is not supported")
            return real(value, curve)

        monkeypatch.setattr(ec, "derive_private_key", derive)
    else:

        class Broken:
            def __init__(self, *_: object) -> None:
                raise UnsupportedAlgorithm(what)

        monkeypatch.setattr(cobblestone, what, Broken)


@pytest.mark.parametrize(
    ("what", "words", "left"),
    [
        ("mldsa_supported", "every suite needs ML-DSA-44, which fails (UnsupportedAlgorithm)", ()),
        ("Cobblestone256Encryptor", "every suite needs Cobblestone-256", ()),
        ("mlkem_supported", "HYBRID needs X-Wing, which fails (UnsupportedAlgorithm) with OpenSSL", (CLASSICAL,)),
        ("x25519_supported", "HYBRID needs X-Wing", (NIST_HIGH,)),
        ("P-384", "NIST-HIGH needs id-MLDSA87-ECDSA-P384-SHA512", (CLASSICAL, HYBRID, HYBRID_KEM)),
    ],
)
def test_what_openssl_cannot_do_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, what: str, words: str, left: tuple[Suite, ...]
) -> None:
    without(monkeypatch, what)
    registry = Registry(SUITES)
    for suite in SUITES.values():
        if suite in left:
            assert registry.suite_of(suite.number) is suite
            continue
        for _ in range(2):
            problem = refused(Reason.SUITE_NOT_ACCEPTED, registry.suite_of, suite.number)
            assert suite.name in problem.detail or "every suite" in problem.detail
            assert "pip install" in problem.next_step
            assert "cryptography>=50.0.2" in problem.next_step
        assert registry.usable(suite.number) is None
        assert registry.knows(suite.number)
    problem = refused(Reason.SUITE_NOT_ACCEPTED, registry.probe)
    texts = [str(problem)]
    for suite in (HYBRID, NIST_HIGH):
        if suite not in left:
            texts.append(str(refused(Reason.SUITE_NOT_ACCEPTED, registry.suite_of, suite.number)))
    assert any(words in text for text in texts), texts


def test_a_primitive_that_gives_a_wrong_result_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = hpke.Suite

    class Wrong:
        def __init__(self, *ids: object) -> None:
            self.suite = real(*ids)

        def encrypt(self, *args: object) -> bytes:
            return self.suite.encrypt(*args)

        def decrypt(self, *args: object) -> bytes:
            return bytes(len(self.suite.decrypt(*args)))

    from infoexchange.suites import kem

    kem._hpke.cache_clear()
    monkeypatch.setattr(hpke, "Suite", Wrong)
    try:
        problem = refused(Reason.SUITE_NOT_ACCEPTED, Registry(SUITES).suite_of, 1)
        assert "CLASSICAL needs X25519, which gives a wrong result with OpenSSL" in problem.detail
    finally:
        kem._hpke.cache_clear()


def test_keys_are_made_only_of_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh process, as the suites of this one have been tried long ago."""
    program = """
from cryptography.hazmat.backends.openssl.backend import Backend
from infoexchange.errors import RefusedError
from infoexchange.keys import Identity
from infoexchange.suites import CLASSICAL
Backend.mlkem_supported = lambda _: False
Identity.make("desk.some.th.example", suites=(CLASSICAL,))
try:
    Identity.make("desk.some.th.example")
except RefusedError as problem:
    print(problem)
"""
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.startswith("suite_not_accepted in suite: HYBRID needs X-Wing, which fails")
    for make in (SigningKey.make, OpeningKey.make):
        refused(Reason.SUITE_NOT_ACCEPTED, make, Suite(0x0105, "NOBODYS", Ed25519(), X25519))


def test_a_suite_is_tried_once_and_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr("infoexchange.suites.registry.try_suite", lambda suite: tried.append(suite.name))
    registry = Registry(SUITES)
    assert tried == []
    assert registry.probe([2, 3]) == (HYBRID, HYBRID_KEM)
    for _ in range(3):
        registry.suite_of(2)
        registry.probe([3, 2])
    assert tried == ["HYBRID", "HYBRID-KEM"]
