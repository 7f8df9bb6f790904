"""Continuity: what a sender's own numbers prove of messages that nobody shows (SPEC section Continuity).

Every envelope carries, signed, its sender's next sequence number and the name of the one before it. Whoever holds two
neighbours knows that nothing was signed between them; whoever holds two that are none knows what is missing, and the
name of the last of it. Neither sender, relay nor recipient can leave one out unnoticed.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infoexchange.errors import Reason, error
from infoexchange.manifest import Manifest
from infoexchange.verdict import Examination, OpenQuestionError, Report

# Implementation constants
_NAMED = 8  # gaps, or numbers, that one finding names; the sequence itself has them all


@dataclass(frozen=True)
class Link:
    """One envelope in its sender's sequence.

    Attributes:
        number: Its sequence number, from 1.
        digest: Its name.
        previous: Name of the one before it; empty for the first.
        source: Where it was found, for people: a file, or an entry of a log.
    """

    number: int
    digest: bytes
    previous: bytes
    source: str

    @classmethod
    def of(cls, manifest: Manifest, source: str) -> Link:
        """Return the link of a manifest, which the caller has verified."""
        header = manifest.header
        return cls(header.sequence, manifest.digest, header.previous, source)


@dataclass(frozen=True)
class Gap:
    """Envelopes that the sender has signed and nobody shows.

    Attributes:
        first: Number of the first of them.
        last: Number of the last of them.
        digest: Name of the last one, as the envelope after it gives it.
    """

    first: int
    last: int
    digest: bytes

    def __str__(self) -> str:
        numbers = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        return f"{numbers} ({self.last} is {self.digest.hex()[:16]})"


@dataclass(frozen=True)
class Continuity:
    """What is shown of one sender's envelopes, and what that proves.

    Attributes:
        sender: Whose they are.
        links: Each envelope once, ascending by number; of one number there are several only if the sender forked.
        gaps: What is missing between the first and the last, ascending.
        forks: Neighbours that cannot both be of one history: two of one number, or one that names another before it.
    """

    sender: str
    links: tuple[Link, ...]
    gaps: tuple[Gap, ...]
    forks: tuple[tuple[Link, Link], ...]

    @classmethod
    def trace(cls, sender: str, links: Iterable[Link]) -> Continuity:
        """Return what some envelopes of one sender prove; the same one may be shown several times."""
        once = {link.digest: link for link in links}
        ordered = sorted(once.values(), key=lambda link: (link.number, link.digest))
        gaps, forks = [], []
        for one, other in itertools.pairwise(ordered):
            if other.number > one.number + 1:
                gaps.append(Gap(one.number + 1, other.number - 1, other.previous))
            elif other.number == one.number or other.previous != one.digest:
                forks.append((one, other))
        return cls(sender, tuple(ordered), tuple(gaps), tuple(forks))

    @property
    def report(self) -> Report:
        """The findings: failed where the sender has two histories, indeterminate where something is missing."""
        exam = Examination()
        exam.check(f"one history of {self.sender}", self._check_forks)
        exam.check(f"nothing of {self.sender} is missing", self._check_gaps)
        return exam.report()

    def _check_forks(self) -> str:
        # (1) one envelope for each number, and each names the one before it
        for one, other in self.forks:
            if one.number == other.number:
                what = f"two messages are signed with number {one.number}"
            else:
                what = f"number {other.number} names {other.previous.hex()[:16]} before it, not {one.digest.hex()[:16]}"
            raise error(Reason.LOG_FORK, field=self.sender, detail=f"{what}: {one.source} and {other.source}")
        return f"{len(self.links)} messages, each names the one before it where that is shown"

    def _check_gaps(self) -> str:
        # (2) the numbers from the first to the last are all there
        first, last = self.links[0].number, self.links[-1].number
        if self.gaps:
            named = ", ".join(map(str, self.gaps[:_NAMED])) + (", ..." if len(self.gaps) > _NAMED else "")
            count = sum(gap.last - gap.first + 1 for gap in self.gaps)
            detail = f"{count} between {first} and {last} were signed and are not shown: {named}"
            raise OpenQuestionError("missing", detail)
        return f"number {first} to {last}: nothing else was signed between them"


def trace_all(found: Iterable[tuple[str, Link]]) -> Sequence[Continuity]:
    """Return the continuity of each sender, by name, from links with their senders."""
    links: dict[str, list[Link]] = defaultdict(list)
    for sender, link in found:
        links[sender].append(link)
    return [Continuity.trace(sender, links[sender]) for sender in sorted(links)]
