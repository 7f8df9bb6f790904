"""Primitives: what the algorithms alone take, as this run's own yardstick."""

from __future__ import annotations

from dataclasses import dataclass

from bench.measure import Effort, Result, Step
from infoexchange import suites
from infoexchange.suites import OFFERED, SUITES, Registry, Suite

_BODY = bytes(1088)


@dataclass(frozen=True)
class SuiteCost:
    """Seconds for one call of each primitive of a suite."""

    sign: float
    verify: float
    wrap: float
    unwrap: float


@dataclass(frozen=True)
class Costs:
    """Seconds for one call of each primitive."""

    suites: dict[int, SuiteCost]
    encrypt: float
    decrypt: float
    log_sign: float
    log_verify: float

    def seal(self, suite: Suite, recipients: int) -> float:
        """One signature, one wrap for each recipient, one body."""
        cost = self.suites[suite.number]
        return cost.sign + recipients * cost.wrap + self.encrypt

    def open(self, suite: Suite) -> float:
        """One signature verified, one wrap, one body."""
        cost = self.suites[suite.number]
        return cost.verify + cost.unwrap + self.decrypt

    def way(self, suite: Suite) -> float:
        """All that a message needs from one agency through two relays to another, and its acknowledgement.

        Sealed once; verified by two relays and the recipient; opened; acknowledged with a signature that the relay
        verifies. What a frame shares is left out.
        """
        cost = self.suites[suite.number]
        return self.seal(suite, 1) + 2 * cost.verify + self.open(suite) + cost.sign + cost.verify


def _suite(suite: Suite, effort: Effort) -> SuiteCost:
    secret = bytes(range(suite.signing_secret_size))
    public, seed = suite.signing_public(secret), bytes(suite.opening_secret_size)
    message, opening = bytes(500), suite.opening_public(seed)
    signature, wrapped = suite.signer(secret)(message), suite.wrap(opening, bytes(32), b"info")
    return SuiteCost(
        effort.time(lambda: suite.signer(secret)(message)),
        effort.time(lambda: suite.verify(public, message, signature)),
        effort.time(lambda: suite.wrap(opening, bytes(32), b"info")),
        effort.time(lambda: suite.opener(seed)(wrapped, b"info")),
    )


def measure(effort: Effort, step: Step) -> tuple[Costs, list[Result]]:
    """Return the costs, and a row for each."""
    key, note = bytes(32), bytes(200)
    found: dict[int, SuiteCost] = {}
    rows: list[Result] = []
    for suite in SUITES.values():
        with step(f"primitives of {suite.name}"):
            cost = found[suite.number] = _suite(suite, effort)
        for name in ("sign", "verify", "wrap", "unwrap"):
            rows.append(Result("primitives", f"{name} {suite.name}", getattr(cost, name)))
    with step("probe"):
        offered = [suite.number for suite in OFFERED]
        rows.append(
            Result("primitives", "probe of what is offered", effort.time(lambda: Registry(SUITES).probe(offered)))
        )
        rows.append(Result("primitives", "probe of every suite", effort.time(lambda: Registry(SUITES).probe())))
    with step("primitives of body and log"):
        body = suites.encrypt_body(key, b"", _BODY)
        encrypt = effort.time(lambda: suites.encrypt_body(key, b"", _BODY))
        decrypt = effort.time(lambda: suites.decrypt_body(key, b"", body))
        classical, post_quantum = suites.sign_ed25519(key, note), suites.sign_mldsa44(key, note)
        publics = suites.public_ed25519(key), suites.public_mldsa44(key)

        def sign() -> None:
            suites.sign_ed25519(key, note)
            suites.sign_mldsa44(key, note)

        def verify() -> None:
            suites.verify_ed25519(publics[0], note, classical)
            suites.verify_mldsa44(publics[1], note, post_quantum)

        log = effort.time(sign), effort.time(verify)
    rows += [
        Result("primitives", name, value)
        for name, value in (
            ("encrypt 1 KiB", encrypt),
            ("decrypt 1 KiB", decrypt),
            ("sign checkpoint", log[0]),
            ("verify checkpoint", log[1]),
        )
    ]
    return Costs(found, encrypt, decrypt, *log), rows
