"""Ed25519 at its edges: every small-order and non-canonical input has one verdict, ours, in both libraries.

The set is made here: keys and nonces whose discrete logarithm and small part are known, so that whether the equation
holds is computed and not asked of a library. `test_suites` tries the same rule class by class.
"""

from __future__ import annotations

import functools
import itertools
import random
from dataclasses import dataclass

import pytest

from infoexchange import suites
from infoexchange.errors import ExchangeError
from test_suites import (
    BASE,
    NON_CANONICAL,
    SMALL,
    SMALL_ENCODINGS,
    L,
    P,
    by_openssl,
    by_rule,
    by_sodium,
    challenge,
    encode,
    plus,
    times,
)

MESSAGES = 6  # for a small part of order 8, one message in eight makes it vanish


@dataclass(frozen=True)
class Point:
    """An encoding of `scalar * B + small * T`, where T has order 8; unknown to us where `scalar` is None."""

    encoding: bytes
    scalar: int | None
    small: int

    @property
    def acceptable(self) -> bool:
        """Whether the rule lets it stand as key or nonce: canonical, and not of small order."""
        y = int.from_bytes(self.encoding, "little") % 2**255
        return y < P and self.encoding not in SMALL_ENCODINGS


def small_part(encoding: bytes) -> int:
    """Which multiple of T a small-order encoding decodes to, non-canonical and negative zero taken leniently."""
    y, sign = int.from_bytes(encoding, "little") % 2**255 % P, encoding[31] >> 7
    fitting = [n for n, point in enumerate(SMALL) if point[1] == y]
    return next((n for n in fitting if SMALL[n][0] % 2 == sign), fitting[0])


def edge_points(rng: random.Random) -> list[Point]:
    """All 14 encodings of small order, all 38 that are not canonical, one of each mixed order, one good."""
    points = [Point(encoding, 0, small_part(encoding)) for encoding in SMALL_ENCODINGS]
    points += [Point(encoding, None, 0) for encoding in NON_CANONICAL if encoding not in SMALL_ENCODINGS]
    for n, small in enumerate(SMALL):
        scalar = rng.randrange(1, L)
        points.append(Point(encode(plus(times(scalar, BASE), small)), scalar, n))
    return points


@dataclass(frozen=True)
class Case:
    """A signature, and whether the cofactorless equation holds for it, whatever the encodings."""

    key: Point
    nonce: Point
    s: int
    message: bytes
    holds: bool

    @property
    def signature(self) -> bytes:
        return self.nonce.encoding + self.s.to_bytes(32, "little")

    @property
    def expected(self) -> bool:
        return self.key.acceptable and self.nonce.acceptable and self.s < L and self.holds


def cases_of(key: Point, nonce: Point) -> list[Case]:
    """The S that fits, where one is known, and forms of it that do not count: S + L, S + 2^253, and a wrong one."""
    found = []
    known = key.scalar is not None and nonce.scalar is not None
    for n in range(MESSAGES if known else 1):
        message = b"%d" % n
        h = challenge(nonce.encoding, key.encoding, message)
        s = ((nonce.scalar or 0) + h * (key.scalar or 0)) % L
        holds = known and (h * key.small + nonce.small) % 8 == 0
        found.append(Case(key, nonce, s, message, holds))
        if n == 0:
            found.append(Case(key, nonce, s + L, message, holds))
            found.append(Case(key, nonce, s + 2**253, message, holds=False))
            found.append(Case(key, nonce, (s + 1) % L, message, holds=False))
    return found


@functools.cache
def edge_cases() -> tuple[Case, ...]:
    points = edge_points(random.Random(25519))
    return tuple(case for key, nonce in itertools.product(points, points) for case in cases_of(key, nonce))


def test_the_set_is_whole() -> None:
    points = edge_points(random.Random(25519))
    assert len({point.encoding for point in points}) == len(points) == 14 + 34 + 8
    assert [point.acceptable for point in points] == [False] * 48 + [True] * 8
    known = sum(point.scalar is not None for point in points)
    assert known == 22
    assert len(edge_cases()) == known**2 * (MESSAGES + 3) + (56**2 - known**2) * 4


def test_the_expected_verdicts_are_of_every_kind() -> None:
    """What a library that followed the bare equation would take is there, in each class that the rule refuses."""
    holding = [case for case in edge_cases() if case.holds]
    assert any(case.key.scalar == 0 for case in holding)
    assert any(case.nonce.scalar == 0 and case.key.acceptable for case in holding)
    assert any(case.s >= L for case in holding)
    assert any(case.expected and case.key.small for case in holding)  # mixed order, and still no dispute
    refused = [case for case in edge_cases() if case.key.acceptable and case.nonce.acceptable and not case.expected]
    assert any(case.key.small or case.nonce.small for case in refused)


def test_both_libraries_give_our_verdict() -> None:
    """Under the rule's own conditions either library decides the same, and no input outside them is accepted."""
    accepted = asked = 0
    for case in edge_cases():
        key, message, signature = case.key.encoding, case.message, case.signature
        verdict = by_rule(key, message, signature)
        assert verdict is case.expected, case
        if case.key.acceptable and case.nonce.acceptable and case.s < L:
            assert by_openssl(key, message, signature) is by_sodium(key, message, signature) is verdict, case
            asked += 1
        accepted += verdict
    assert asked == 8 * 8 * (MESSAGES + 1)
    assert 0 < accepted < asked


def test_the_libraries_alone_would_quarrel() -> None:
    """Why there is a rule: each accepts nothing that the equation refuses, but they differ on what else they refuse."""
    quarrels = 0
    for case in edge_cases():
        verdicts = [by(case.key.encoding, case.message, case.signature) for by in (by_openssl, by_sodium)]
        known = case.key.scalar is not None and case.nonce.scalar is not None
        if known and not case.holds:
            assert verdicts == [False, False], case
        quarrels += verdicts[0] is not verdicts[1]
    print(f"{quarrels} of {len(edge_cases())} edge signatures have two verdicts without the rule")


@pytest.mark.parametrize("accept", [suites.check_ed25519_key, suites.HYBRID_KEM.check_signing_key])
def test_a_key_is_accepted_only_of_prime_order(accept) -> None:
    for point in edge_points(random.Random(25519)):
        try:
            accept(point.encoding)
        except ExchangeError:
            assert not (point.acceptable and point.small == 0)
        else:
            assert point.acceptable
            assert point.small == 0
