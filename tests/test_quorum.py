"""Whose cosignatures are enough: more than two thirds of the other nations, and never the log's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import AGENCIES
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError
from infoexchange.listing import Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.log import LogKeys
from infoexchange.quorum import policy_for
from infoexchange.suites import public_ed25519
from infoexchange.testing import Community, FakeClock
from infoexchange.tlog import Checkpoint, Cosignature, Policy, VerifierKey, merkle
from infoexchange.tlog.policy import NO_QUORUM, Group
from infoexchange.tlog.policy import Witness as Witnessed
from infoexchange.witness import WitnessKeys

CLOCK = FakeClock()
COMMUNITY = Community.make(AGENCIES, now=CLOCK())
HASHES = [merkle.leaf_hash(bytes([n])) for n in range(20)]


def community_of(nations: int, *, without: Callable[[int], bool] = lambda _: False, policy: str = "") -> Directory:
    """A directory whose signatures nobody asks for: nations n0, n1 ..., each with a relay and a witness."""
    parties, every = [], []
    for n in range(nations):
        name = f"relay.n{n}.example"
        keys = WitnessKeys(f"{name}/witness", bytes([n + 1]) * 32, bytes([n + 101]) * 32)
        lines = () if without(n) else tuple(str(key) for key in keys.verifier_keys)
        parties.append(Party(name=name, nation=f"n{n}", role=Role.RELAY, relay=name, witness_keys=lines))
        every.append(Nation(code=f"n{n}", suffix=f"n{n}.example", member_from=CLOCK()))
    listing = Listing(
        community="exchange.example",
        version=1,
        issued_at=CLOCK(),
        expires_at=CLOCK() + timedelta(days=1),
        roots=Roots(1, (RootKey(public_ed25519(bytes(32)), "one", 3),)),
        nations=tuple(every),
        parties=tuple(parties),
        witness_policy=policy,
    )
    return Directory(listing, COMMUNITY.directory._dsse, ())


def cosigned(relay: str, nations: Sequence[int], *, halves: Sequence[int] = (0, 1)) -> Checkpoint:
    """A checkpoint of a relay's log with cosignatures of some nations."""
    log = LogKeys(f"{relay}/audit/2026h2", bytes(31) + b"\x09", bytes(31) + b"\x08")
    made = log.sign(3, merkle.root(HASHES[:3]), now=CLOCK())
    for n in nations:
        keys = WitnessKeys(f"relay.n{n}.example/witness", bytes([n + 1]) * 32, bytes([n + 101]) * 32)
        signers = [keys.signers[half] for half in halves]
        made = made.with_signatures(Cosignature.sign(made, s, now=CLOCK()).signature for s in signers)
    return made


def enough(policy: Policy, checkpoint: Checkpoint) -> bool:
    try:
        policy.verify(checkpoint, now=CLOCK())
    except ExchangeError as problem:
        if problem.field != "policy.quorum":
            raise
        return False
    return True


NEEDED = {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 8: 6, 9: 7, 10: 7, 11: 8}


@pytest.mark.parametrize("n", NEEDED)
def test_more_than_two_thirds_of_the_others(n: int) -> None:
    assert NEEDED[n] == min(n, 1 + 2 * n // 3)
    policy = policy_for(community_of(n + 1), "relay.n0.example")
    assert policy.has_quorum_rule
    (rule,) = [group for group in policy.groups if group.name == policy.quorum]
    assert (rule.threshold, len(rule.members)) == (NEEDED[n], n)
    others = range(1, n + 1)
    assert enough(policy, cosigned("relay.n0.example", others[: NEEDED[n]]))
    assert not enough(policy, cosigned("relay.n0.example", others[: NEEDED[n] - 1]))


def test_the_own_nation_never_counts() -> None:
    directory = community_of(4)
    for own in range(4):
        relay = f"relay.n{own}.example"
        policy = policy_for(directory, relay)
        assert {w.key.name for w in policy.witnesses} == {f"relay.n{n}.example/witness" for n in range(4) if n != own}
        others = [n for n in range(4) if n != own]
        assert enough(policy, cosigned(relay, others))
        assert not enough(policy, cosigned(relay, [own, *others[:2]]))


def test_one_nation_counts_once_however_many_of_its_keys_sign() -> None:
    directory = community_of(4)
    policy = policy_for(directory, "relay.n0.example")
    assert not enough(policy, cosigned("relay.n0.example", [1, 2]))
    for half in (0, 1):  # one key of each is as good as two
        assert enough(policy, cosigned("relay.n0.example", [1, 2, 3], halves=[half]))
    # A second relay of a nation adds keys and no voice.
    extra = WitnessKeys("relay2.n1.example/witness", bytes([91]) * 32, bytes([191]) * 32)
    second = Party(
        name="relay2.n1.example",
        nation="n1",
        role=Role.RELAY,
        relay="relay2.n1.example",
        witness_keys=tuple(str(key) for key in extra.verifier_keys),
    )
    larger = Directory(replace(directory.listing, parties=(*directory.listing.parties, second)), directory._dsse, ())
    policy = policy_for(larger, "relay.n0.example")
    twice = cosigned("relay.n0.example", [1, 2])
    lines = [Cosignature.sign(twice, signer, now=CLOCK()).signature for signer in extra.signers]
    assert not enough(policy, twice.with_signatures(lines))
    alone = cosigned("relay.n0.example", [2, 3])
    assert enough(policy, alone.with_signatures(lines))


def test_nations_without_witnesses_are_not_counted_and_nobody_is_no_rule() -> None:
    policy = policy_for(community_of(5, without=lambda n: n in (1, 2)), "relay.n0.example")
    (rule,) = [group for group in policy.groups if group.name == policy.quorum]
    assert (rule.threshold, len(rule.members)) == (2, 2)
    for directory in (community_of(1), community_of(5, without=lambda n: n > 0)):
        policy = policy_for(directory, "relay.n0.example")
        assert policy.quorum == NO_QUORUM
        assert not policy.has_quorum_rule


def test_the_directorys_own_rule_comes_first() -> None:
    text = "quorum none\n"
    assert policy_for(community_of(4, policy=text), "relay.n0.example").raw == text.encode()
    with pytest.raises(ExchangeError):
        policy_for(community_of(4, policy="nonsense\n"), "relay.n0.example")


def test_the_own_nation_does_not_count_where_a_policy_text_lists_everybody() -> None:
    everybody = community_of(4)
    witnesses = [
        Witnessed(f"n{n}".encode(), VerifierKey.parse(key))
        for n, party in enumerate(everybody.relays())
        for key in party.witness_keys[:1]
    ]
    rule = Group(b"three", 3, tuple(witness.name for witness in witnesses))
    text = Policy.make([], witnesses, [rule], rule.name).raw.decode()
    directory = community_of(4, policy=text)
    for own in range(4):
        relay = f"relay.n{own}.example"
        policy = policy_for(directory, relay)
        others = [n for n in range(4) if n != own]
        assert enough(policy, cosigned(relay, others))
        assert not enough(policy, cosigned(relay, [own, *others[:2]]))
    # Nobody's own: all four are asked.
    assert len(policy_for(directory, "relay.xx.example").witnesses) == 4
