"""Promises: for each of them a suite that breaks only that one, and one that keeps all and notes what it was asked.

The schemes protect nothing: keys are hashes of secrets, signatures hashes of both, and wraps are remembered.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from infoexchange.errors import Reason
from infoexchange.suites import Sign, Suite, Unwrap, bad_ciphertext
from infoexchange.suites.promises import check_promises
from infoexchange.suites.refusals import bad_key, bad_signature
from test_suites import refused

SECRET_SIZE = 300  # more than the values of a byte
SECRET = bytes([*range(1, 256), *range(1, 46)])
CONTENT_KEY = bytes(range(32))


def hashed(*parts: bytes, size: int) -> bytes:
    return hashlib.shake_256(b"\x00".join(parts)).digest(size)


def without(raw: bytes, place: int) -> bytes:
    """Return the bytes but for one, which a lenient scheme forgets to look at."""
    return raw[:place] + raw[place + 1 :]


@dataclass
class Signing:
    """Keeps every promise; `asked` is what it was given to verify and to accept."""

    name: str = "toy"
    secret_size: int = SECRET_SIZE
    key_size: int = 40
    signature_size: int = 21
    secrets: list[bytes] = field(default_factory=list)
    asked: list[tuple[bytes, ...]] = field(default_factory=list)

    def public(self, secret: bytes) -> bytes:
        assert len(secret) == self.secret_size
        self.secrets.append(secret)
        return hashed(b"public", secret, size=self.key_size)

    def signature(self, public: bytes, message: bytes) -> bytes:
        return hashed(public, message, size=self.signature_size)

    def signer(self, secret: bytes) -> Sign:
        return lambda message: self.signature(self.public(secret), message)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        self.asked.append((public, message, signature))
        if not self.takes(signature, self.signature(public, message)):
            raise bad_signature("no")

    def takes(self, given: bytes, right: bytes) -> bool:
        return given == right

    def check_key(self, public: bytes) -> None:
        self.asked.append((public,))
        if not self.fits(len(public)):
            raise bad_key("no")

    def fits(self, size: int) -> bool:
        return size == self.key_size

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        return public[:7], public[7:]


@dataclass
class Sealing:
    """Keeps every promise; `asked` is what it was given to open and to accept."""

    name: str = "toy"
    secret_size: int = SECRET_SIZE
    key_size: int = 40
    wrap_size: int = 57
    secrets: list[bytes] = field(default_factory=list)
    asked: list[tuple[bytes, ...]] = field(default_factory=list)
    made: dict[bytes, tuple[bytes, bytes, bytes]] = field(default_factory=dict)

    def public(self, secret: bytes) -> bytes:
        assert len(secret) == self.secret_size
        self.secrets.append(secret)
        return hashed(b"public", secret, size=self.key_size)

    def check_key(self, public: bytes) -> None:
        self.asked.append((public,))
        if not self.fits(len(public)):
            raise bad_key("no")

    def fits(self, size: int) -> bool:
        return size == self.key_size

    def wrap(self, public: bytes, content_key: bytes, info: bytes) -> bytes:
        wrapped = self.wrapped(len(self.made), content_key)
        self.made[wrapped] = (public, info, content_key)
        return wrapped

    def wrapped(self, number: int, content_key: bytes) -> bytes:
        return hashed(b"%d" % number, size=self.wrap_size)

    def opener(self, secret: bytes) -> Unwrap:
        def unwrap(wrapped: bytes, info: bytes) -> bytes:
            self.asked.append((secret, wrapped, info))
            for made, (public, under, content_key) in self.made.items():
                if self.takes(wrapped, made) and self.is_for(self.public(secret), public) and self.under(info, under):
                    return content_key
            raise bad_ciphertext()

        return unwrap

    def takes(self, given: bytes, made: bytes) -> bool:
        return given == made

    def is_for(self, given: bytes, public: bytes) -> bool:
        return given == public

    def under(self, given: bytes, info: bytes) -> bool:
        return given == info

    def parts(self, public: bytes) -> tuple[bytes, ...]:
        return public[:7], public[7:]


def suite(signing: Signing | None = None, sealing: Sealing | None = None) -> Suite:
    return Suite(0x0100, "TOY", signing or Signing(), sealing or Sealing())


def broken(kind: type[Signing | Sealing], **methods: Callable[..., object]) -> Signing | Sealing:
    """Return a scheme of a kind that differs in these methods."""
    return dataclasses.dataclass(type("Broken", (kind,), methods))()  # type: ignore[no-any-return, call-overload]


def raising(*_: object) -> None:
    raise ValueError("an error that callers do not expect")


FLAWS: dict[str, tuple[str, Signing | Sealing]] = {}


def flaw(name: str, promise: str, scheme: Signing | Sealing) -> None:
    FLAWS[f"{type(scheme).__mro__[-2].__name__.lower()} {name}"] = (promise, scheme)


for kind in (Signing, Sealing):
    changing = iter(range(99))
    same = "a public key is the same each time"
    flaw("a new key each time", same, broken(kind, public=lambda s, _, n=changing: bytes([next(n)]) * s.key_size))
    flaw("one key for all", same, broken(kind, public=lambda s, _: bytes(s.key_size)))
    flaw("a long key", "sizes", kind(key_size=4097))
    length = "a key of another length is refused"
    for size in (0, 39, 41):
        flaw(f"a key of {size}", length, broken(kind, fits=lambda s, given, also=size: given in (s.key_size, also)))
    flaw("an unexpected error", length, broken(kind, check_key=raising))
    flaw("a foreign part", "the parts of a key are in it", broken(kind, parts=lambda s, key: (key, b"foreign")))
flaw("a long signature", "sizes", Signing(signature_size=8193))
flaw("no signature", "sizes", Signing(signature_size=0))
flaw("no wrap", "no two wraps are alike", Sealing(wrap_size=0))
flaw(
    "any message",
    "another message is refused",
    broken(Signing, signature=lambda s, public, message: hashed(public, size=s.signature_size)),
)
flaw("an unexpected error in verifying", "another message is refused", broken(Signing, verify=raising))
flaw(
    "any key",
    "another key is refused",
    broken(Signing, signature=lambda s, public, message: hashed(message, size=s.signature_size)),
)
for name, also in {
    "nothing": lambda given, right: given == b"",
    "a start": lambda given, right: given == right[:-1],
    "something behind": lambda given, right: given == right + b"\x00",
    "zeros": lambda given, right: given == bytes(len(right)),
}.items():
    taken = lambda s, given, right, also=also: given == right or also(given, right)  # noqa: E731
    flaw(name, "a signature of another form is refused", broken(Signing, takes=taken))
for place in (0, 10, 20):
    loose = lambda s, given, right, at=place: bool(given) and without(given, at) == without(right, at)  # noqa: E731
    strict = lambda s, given, right, at=place, loose=loose: len(given) == len(right) and loose(s, given, right)  # noqa: E731
    flaw(f"a change at {place}", "a changed signature is refused", broken(Signing, takes=strict))
flaw("a long wrap", "sizes", Sealing(wrap_size=3073))
flaw(
    "another size than it says",
    "sizes",
    broken(Sealing, wrapped=lambda s, number, key: hashed(b"%d" % number, size=s.wrap_size - 1)),
)
flaw("one wrap", "no two wraps are alike", broken(Sealing, wrapped=lambda s, number, key: hashed(size=s.wrap_size)))
flaw(
    "the key in clear",
    "the content key does not show",
    broken(Sealing, wrapped=lambda s, number, key: (b"%d" % number + key).ljust(s.wrap_size)),
)
flaw("any info", "another info is refused", broken(Sealing, under=lambda s, given, info: True))
flaw("any key", "another key is refused", broken(Sealing, is_for=lambda s, given, public: True))
for place in (0, 28, 56):
    loose = lambda s, given, made, at=place: without(given, at) == without(made, at)  # noqa: E731
    flaw(f"a change at {place}", "a changed wrap is refused", broken(Sealing, takes=loose))
flaw(
    "zeros",
    "a wrap of zeros is refused",
    broken(Sealing, takes=lambda s, given, made: given in (made, bytes(len(made)))),
)


@pytest.mark.parametrize("name", FLAWS)
def test_the_promise_that_is_broken_is_named(name: str) -> None:
    promise, scheme = FLAWS[name]
    flawed = suite(scheme) if isinstance(scheme, Signing) else suite(None, scheme)
    problem = refused(Reason.SUITE_NOT_ACCEPTED, check_promises, flawed)
    assert problem.field == "suite"
    assert problem.detail == f"TOY does not keep its promise: {promise}"
    assert "maker" in problem.next_step


def test_every_promise_can_be_broken() -> None:
    """Those of the specification, section Suites."""
    assert len({promise for promise, scheme in FLAWS.values() if isinstance(scheme, Signing)}) == 8
    assert len({promise for promise, scheme in FLAWS.values() if isinstance(scheme, Sealing)}) == 10


def test_the_largest_that_is_allowed_is_accepted() -> None:
    check_promises(suite())
    check_promises(suite(Signing(key_size=4096, signature_size=8192), Sealing(key_size=4096, wrap_size=3072)))
    check_promises(suite(Signing(signature_size=1)))


def flipped(raw: bytes, place: int) -> bytes:
    changed = bytearray(raw)
    changed[place] ^= 1
    return bytes(changed)


def test_what_a_suite_is_asked_is_as_close_to_good_as_can_be() -> None:
    """One byte more or less, one bit changed at both ends and in the middle, a secret that is whole."""
    signing, sealing = Signing(), Sealing()
    check_promises(suite(signing, sealing))
    assert {*signing.secrets} == {*sealing.secrets} == {SECRET, SECRET[::-1]}

    public, other = signing.public(SECRET), signing.public(SECRET[::-1])
    message = next(message for key, message, _ in (ask for ask in signing.asked if len(ask) == 3) if key == other)
    good = signing.signature(public, message)
    longer, *asked = signing.asked
    assert (longer[0], longer[1][:-1], len(longer[1]), longer[2]) == (public, message, len(message) + 1, good)
    attempts = [b"", good[:-1], good + b"\x00", bytes(21), *(flipped(good, place) for place in (0, 10, 20))]
    keys = [(b"",), (public[:-1],), (public + b"\x00",)]
    assert asked == [(other, message, good), *((public, message, each) for each in attempts), *keys]

    [wrapped, _] = sealing.made  # the second was made to be compared
    public, info, content_key = sealing.made[wrapped]
    assert (public, content_key) == (sealing.public(SECRET), CONTENT_KEY)
    (secret, under_other, longer_info), *rest = sealing.asked
    assert (secret, under_other, longer_info[:-1], len(longer_info)) == (SECRET, wrapped, info, len(info) + 1)
    attempts = [*(flipped(wrapped, place) for place in (0, 28, 56)), bytes(57)]
    keys = [(b"",), (public[:-1],), (public + b"\x00",)]
    assert rest == [(SECRET[::-1], wrapped, info), *((SECRET, each, info) for each in attempts), *keys]
