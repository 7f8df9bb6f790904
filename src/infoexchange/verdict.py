"""Verdict: the findings of an examination, one by one, and the word that sums them up (EN 319 102-1 status words)."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from infoexchange.errors import ExchangeError


class Verdict(enum.Enum):
    """The three words; the number is the exit code of the command line."""

    TOTAL_PASSED = 0
    TOTAL_FAILED = 1
    INDETERMINATE = 2

    @property
    def word(self) -> str:
        """The verdict as it is printed: TOTAL-PASSED, TOTAL-FAILED or INDETERMINATE."""
        return self.name.replace("_", "-")


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it came out, and why."""

    name: str
    verdict: Verdict
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """All findings of one examination."""

    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """Failed if anything failed, else indeterminate if anything is, else passed."""
        found = {check.verdict for check in self.checks}
        for verdict in (Verdict.TOTAL_FAILED, Verdict.INDETERMINATE):
            if verdict in found:
                return verdict
        return Verdict.TOTAL_PASSED


class OpenQuestionError(Exception):
    """What a file cannot settle: neither proven nor disproven."""

    def __init__(self, reason: str, detail: str) -> None:
        """Say in a word, and in a clause, what is missing."""
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)


class Examination:
    """Collects findings: an auditor wants all of them, not the first."""

    def __init__(self) -> None:
        """Start with none."""
        self._checks: list[Check] = []

    def check(self, name: str, examine: Callable[[], str]) -> bool:
        """Run one check, which returns a detail or raises; return whether it passed."""
        try:
            finding = Check(name, Verdict.TOTAL_PASSED, "", examine())
        except ExchangeError as problem:
            detail = f"{problem.field}: {problem.detail}" if problem.field else problem.detail
            finding = Check(name, Verdict.TOTAL_FAILED, problem.reason.word, detail)
        except OpenQuestionError as question:
            finding = Check(name, Verdict.INDETERMINATE, question.reason, question.detail)
        self._checks.append(finding)
        return finding.verdict is Verdict.TOTAL_PASSED

    def report(self) -> Report:
        """Return the findings so far."""
        return Report(tuple(self._checks))
