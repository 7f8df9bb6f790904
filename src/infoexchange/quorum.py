"""Quorum: whose witnesses must have cosigned a checkpoint before an auditor believes it (SPEC section Witnesses).

A relay could show different logs to different readers. Relays of other nations therefore cosign each other's
checkpoints; a nation's own witness never counts for its own log, and more than two thirds of the others must agree.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from infoexchange.directory import Directory
from infoexchange.tlog import Policy, VerifierKey
from infoexchange.tlog.policy import NO_QUORUM, Group, Witness


def policy_for(directory: Directory, relay: str) -> Policy:
    """Return the policy under which the checkpoints of a relay's log are judged.

    The directory's own policy text decides if it has one. Otherwise k = 1 + floor(2n/3) of the n other nations that
    have witnesses, so that n - k of them may be dead or lying; with no other nation there is no quorum rule. Whichever
    decides, a witness of the relay's own nation does not count, also where a policy text lists it for everybody.
    """
    nation = next((p.nation for p in directory.relays() if p.name == relay), "")
    if directory.listing.witness_policy:
        policy = Policy.parse(directory.listing.witness_policy.encode())
        own = {
            VerifierKey.parse(key).public for p in directory.relays() if p.nation == nation for key in p.witness_keys
        }
        return replace(policy, witnesses=tuple(w for w in policy.witnesses if w.key.public not in own))
    others: dict[str, tuple[str, ...]] = {}
    for party in directory.relays():
        if party.nation != nation and party.witness_keys:
            others[party.nation] = (*others.get(party.nation, ()), *party.witness_keys)
    return _policy(tuple(sorted(others.items())))


@functools.lru_cache(maxsize=256)
def _policy(others: tuple[tuple[str, tuple[str, ...]], ...]) -> Policy:
    """Return the rule over nations, each of which speaks with any of its keys."""
    witnesses: list[Witness] = []
    groups: list[Group] = []
    for nation, keys in others:
        members = [Witness(f"{nation}-{i}".encode(), VerifierKey.parse(key)) for i, key in enumerate(keys, 1)]
        witnesses += members
        groups.append(Group(f"nation-{nation}".encode(), 1, tuple(member.name for member in members)))
    if not groups:
        return Policy.make([], [], [], NO_QUORUM)
    needed = min(len(groups), 1 + 2 * len(groups) // 3)
    quorum = Group(b"all-nations", needed, tuple(group.name for group in groups))
    return Policy.make([], witnesses, [*groups, quorum], quorum.name)
