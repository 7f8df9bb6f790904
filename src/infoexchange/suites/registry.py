"""Registry: which number is which suite; the four of the specification, and national ones that a program adds at start.

Numbers are never given out again (SPEC section Suites).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from infoexchange.errors import ExchangeError, Reason, RefusedError, error
from infoexchange.suites.composite import MLDSA65_ED25519, MLDSA87_P384
from infoexchange.suites.ed25519 import Ed25519
from infoexchange.suites.kem import MLKEM1024_P384, X25519, XWING
from infoexchange.suites.probe import REMEDY, Missing, try_ground, try_suite
from infoexchange.suites.promises import check_promises
from infoexchange.suites.suite import Suite

# Specification constants
CLASSICAL = Suite(0x0001, "CLASSICAL", Ed25519(), X25519)
HYBRID = Suite(0x0002, "HYBRID", MLDSA65_ED25519, XWING)
HYBRID_KEM = Suite(0x0003, "HYBRID-KEM", Ed25519(), XWING)
NIST_HIGH = Suite(0x0004, "NIST-HIGH", MLDSA87_P384, MLKEM1024_P384)
SUITES: Mapping[int, Suite] = MappingProxyType({s.number: s for s in (CLASSICAL, HYBRID, HYBRID_KEM, NIST_HIGH)})
NATIONAL = range(0x0100, 0x0200)  # for national cryptography; what a number means, the nation that uses it says
DEFAULT_SUITE = HYBRID
OFFERED = (HYBRID, HYBRID_KEM)  # what an agency makes keys for and a directory accepts, unless more is asked for
_NAME = re.compile(r"[A-Z][A-Z0-9-]{0,30}")  # fits a table, a command line and a log


class Registry:
    """Suites by number. Suites can be added until the first one is asked for; from then on nothing changes.

    Keys of unknown suites are left alone when a bundle is verified, so that a suite that came later would meet keys
    that nobody has looked at.
    """

    def __init__(self, standard: Mapping[int, Suite]) -> None:
        """Begin with the suites of the specification."""
        self._suites = dict(standard)
        self._tried: dict[int, Suite] = {}
        self._missing: dict[int, str] = {}
        self._grounded = False
        self._in_use = False

    def register(self, suite: Suite) -> None:
        """Add a national suite, once it has been shown to keep what the schemes promise.

        Raises:
            MalformedError: `BAD_FIELD` when the number lies outside 0x0100 to 0x01ff, or number or name is taken.
            RefusedError: `NOT_PERMITTED` after the first use of any suite; `SUITE_NOT_ACCEPTED` when it does not work.
        """
        if self._in_use:
            raise error(
                Reason.NOT_PERMITTED,
                field="suite",
                detail=f"{suite.name} comes too late: suites are in use already",
                next_step="Register national suites when the program starts, before anything else of this library.",
            )
        if suite.number not in NATIONAL:
            detail = f"0x{suite.number:04x} is not a national number, which are 0x0100 to 0x01ff"
            raise error(Reason.BAD_FIELD, field="suite", detail=detail)
        taken = next((s for s in self._suites.values() if suite.number == s.number or suite.name == s.name), None)
        if taken or not _NAME.fullmatch(suite.name):
            detail = f"that number or name is {taken!r}'s" if taken else "a name is capital letters, digits and `-`"
            raise error(Reason.BAD_FIELD, field="suite", detail=detail)
        self._ground()
        try:
            try_suite(suite)
        except Missing as missing:
            raise _cannot(f"{suite.name} needs {missing}") from None
        check_promises(suite)
        self._suites[suite.number] = suite

    def knows(self, number: int) -> bool:
        """Whether there is a suite of that number, whatever this machine can do."""
        self._in_use = True
        return number in self._suites

    def suite_of(self, number: int) -> Suite:
        """Return the suite with that number, tried on this machine when it is first asked for.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED` when there is none, or when the installed OpenSSL cannot do it.
        """
        suite = self._tried.get(number)
        if suite is None:
            self._in_use = True
            suite = self._suites.get(number)
            if suite is None:
                raise _unknown(number)
            self._try(suite)
            self._tried[number] = suite
        return suite

    def _ground(self) -> None:
        """Try what every suite rests on, until it has worked once."""
        if not self._grounded:
            try:
                try_ground()
            except Missing as missing:
                raise _cannot(f"every suite needs {missing}") from None
            self._grounded = True

    def _try(self, suite: Suite) -> None:
        """Try a suite; what failed once is not tried again."""
        self._ground()
        if suite.number not in self._missing:
            try:
                try_suite(suite)
            except Missing as missing:
                self._missing[suite.number] = str(missing)
            else:
                return
        raise _cannot(f"{suite.name} needs {self._missing[suite.number]}")

    def usable(self, number: int) -> Suite | None:
        """Return the suite with that number, or nothing where this program or machine does not have it."""
        try:
            return self.suite_of(number)
        except RefusedError:
            return None

    def suite_named(self, name: str) -> Suite:
        """Return the suite of that name; raises as `suite_of`."""
        self._in_use = True
        for suite in self._suites.values():
            if suite.name == name:
                return self.suite_of(suite.number)
        names = ", ".join(suite.name for suite in self._suites.values())
        raise error(
            Reason.SUITE_NOT_ACCEPTED, field="suite", detail=f"no suite {name!r}", next_step=f"Choose one of: {names}."
        )

    def probe(self, numbers: Iterable[int] | None = None) -> tuple[Suite, ...]:
        """Return the suites with these numbers, or all there are, once each has been tried on this machine.

        What every suite rests on is tried even if there is no number. A program that wants to know at its start calls
        this; else a suite is tried when it is first used.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED` for the first that does not work, as `suite_of`.
        """
        self._ground()
        return tuple(self.suite_of(number) for number in (sorted(self._suites) if numbers is None else numbers))


def _cannot(detail: str) -> ExchangeError:
    return error(Reason.SUITE_NOT_ACCEPTED, field="suite", detail=detail, next_step=REMEDY)


def _unknown(number: int) -> ExchangeError:
    if number in NATIONAL:
        return error(
            Reason.SUITE_NOT_ACCEPTED,
            field="suite",
            detail=f"0x{number:04x} is a national suite that this program does not have",
            next_step="Install the program of the nation concerned, which registers it, or use another suite.",
        )
    return error(Reason.SUITE_NOT_ACCEPTED, field="suite", detail=f"there is no suite 0x{number:04x} here")


_REGISTRY = Registry(SUITES)

register = _REGISTRY.register
knows = _REGISTRY.knows
suite_of = _REGISTRY.suite_of
usable = _REGISTRY.usable
suite_named = _REGISTRY.suite_named
probe = _REGISTRY.probe
