"""Following: every step in its place, whatever order they came in: which threads there are, and what fits none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from graphlib import CycleError, TopologicalSorter

from infoexchange.flows.clocks import Clocks
from infoexchange.flows.step import Kind, Step
from infoexchange.flows.thread import Objection, Rule, Thread

# A thread, by the name of its first message and the agency that it was for.
_Place = tuple[bytes, str]


@dataclass(frozen=True)
class Following:
    """Where everything stands, as one agency knows it.

    Attributes:
        threads: One for each message and agency that it was for, oldest first.
        loose: Steps in no thread, and why where that is against a rule: every step is in a thread or here.
        objections: By digest, why messages do not fit their flow.
    """

    threads: tuple[Thread, ...]
    loose: tuple[tuple[Step, Objection | None], ...] = ()
    objections: Mapping[bytes, Objection] = field(default_factory=dict, repr=False)

    def overdue(self, now: datetime, clocks: Clocks) -> list[Thread]:
        """Return the threads in which something is late, the longest first."""
        late = [(thread.overdue(now, clocks), thread) for thread in self.threads]
        return [thread for dues, thread in sorted((pair for pair in late if pair[0]), key=lambda pair: pair[0][0].at)]


def follow(steps: Iterable[Step], agency: str) -> Following:
    """Return where everything stands, as an agency knows it that sent and received these steps.

    A function of the set of steps: neither their order nor a repetition changes anything.
    """
    by_digest = {step.digest: step for step in steps}
    ordered = _ordered(by_digest)
    peers = {step.digest: _peers(step, agency) for step in ordered if step.opens}
    attached: dict[_Place, list[Step]] = {(digest, peer): [] for digest, names in peers.items() for peer in names}
    places = _Places(by_digest, peers)
    loose = []
    for step in ordered:
        found = [place for place in places.of(step) if place in attached]
        for place in found:
            attached[place].append(step)
        if not found and not peers.get(step.digest):
            loose.append((step, _objection(step, by_digest, agency)))
    threads = tuple(Thread.run(by_digest[digest], peer, those) for (digest, peer), those in attached.items())
    against = {step.digest: why for step, why in loose if why}
    against |= {step.digest: why for thread in threads for step, why in thread.unexpected}
    return Following(threads, tuple(loose), against)


def _peers(step: Step, agency: str) -> tuple[str, ...]:
    """Return the agencies with which a message begins a thread here."""
    if step.sender == agency:
        return tuple(name for name in dict.fromkeys(step.recipients) if name != agency)
    return (agency,) if agency in step.recipients else ()


def _ordered(by_digest: Mapping[bytes, Step]) -> list[Step]:
    """Return steps in the order in which they happened, as far as that can be known.

    Times are each sender's own. What refers to a message came after it, whatever its clock said.
    """
    sorter = TopologicalSorter(
        {digest: [d for d in step.refers_to if d in by_digest and d != digest] for digest, step in by_digest.items()}
    )
    try:
        after = list(sorter.static_order())
    except CycleError:  # digests cannot name each other; only steps that nobody sealed do
        after = sorted(by_digest)
    ranks: dict[bytes, tuple[datetime, int]] = {}
    for digest in after:
        step = by_digest[digest]
        known = [ranks[d] for d in step.refers_to if d in ranks]
        ranks[digest] = (max([step.at, *(at for at, _ in known)]), 1 + max((depth for _, depth in known), default=-1))
    # In the same millisecond a correction comes after the question that it may be for.
    return sorted(
        by_digest.values(),
        key=lambda s: (ranks[s.digest], s.said.kind is Kind.CORRECTS, s.sender, s.sequence, s.digest),
    )


class _Places:
    """Finds the threads that steps belong to; asked in order, so that what a step refers to was found before."""

    def __init__(self, by_digest: Mapping[bytes, Step], peers: Mapping[bytes, Sequence[str]]) -> None:
        self._by_digest = by_digest
        self._peers = peers
        self._found: dict[bytes, tuple[_Place, ...]] = defaultdict(tuple)

    def of(self, step: Step) -> tuple[_Place, ...]:
        """Return the places of a step, which need not exist: the sender may have been asked by nobody."""
        found: dict[_Place, None] = {}
        for digest in step.refers_to:
            target = self._by_digest.get(digest)
            if target is None or target is step:
                continue
            if target.opens:
                found |= dict.fromkeys(self._with(step, target))
            if not target.said.asks and target.said.kind is not Kind.TELLS:
                # What continues an answer or a correction belongs where that belongs; but a chain of corrections
                # would belong to everything before it, so the way goes on to the message they are all about.
                for root, peer in self._found[digest]:
                    about = self._by_digest[root]
                    if about.said.asks or about.said.kind is Kind.TELLS:
                        found[(root, step.sender if step.sender != about.sender else peer)] = None
        self._found[step.digest] = tuple(found)
        return self._found[step.digest]

    def _with(self, step: Step, root: Step) -> list[_Place]:
        if step.sender != root.sender:
            return [(root.digest, step.sender)]
        # A request may be corrected or recalled for some of its recipients only.
        return [(root.digest, peer) for peer in self._peers[root.digest] if peer in step.recipients]


def _objection(step: Step, by_digest: Mapping[bytes, Step], agency: str) -> Objection | None:
    """Return why a step is in no thread, if that is against a rule."""
    if not (step.said.kind.answers or step.said.kind.acknowledges) or not step.said.about:
        return None
    target = by_digest.get(step.said.about[0])
    what = "request" if step.said.kind.answers else "message"
    if target is None:
        detail = f"no {what} of this name is known here"
        next_step = "Check the ID, and receive what waits; what nobody asked for is SpontaneousInformation."
        return Objection(Rule.UNKNOWN, detail, next_step)
    if target.sender == agency:
        next_step = f"It was for {', '.join(target.recipients)}."
        return Objection(Rule.NOT_ASKED, f"the {what} was not sent to {step.sender}", next_step)
    return None
