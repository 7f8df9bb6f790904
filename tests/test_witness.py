"""Witnesses: what one relay cosigns of another, in the cases of C2SP tlog-witness, and how many must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import AGENCIES
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.log import LogKeys, log_keys
from infoexchange.quorum import policy_for
from infoexchange.suites import public_ed25519
from infoexchange.testing import Community, FakeClock, MemoryLatch
from infoexchange.tlog import Checkpoint, Cosignature, NoteSigner, Policy, VerifierKey, merkle
from infoexchange.tlog.policy import NO_QUORUM
from infoexchange.witness import Answer, Cosigner, WitnessKeys

CLOCK = FakeClock()
COMMUNITY = Community.make(AGENCIES, now=CLOCK())
LOG = COMMUNITY.log_keys["relay.th.example"]
KEYS = COMMUNITY.witness_keys["relay.vn.example"]
HASHES = [merkle.leaf_hash(bytes([n])) for n in range(20)]


class Witness:
    """A cosigner with its latches at hand."""

    def __init__(self, directory: Directory = COMMUNITY.directory, clock: FakeClock = CLOCK) -> None:
        self.latches: dict[str, MemoryLatch] = {}
        self.cosigner = Cosigner(KEYS, lambda: directory, self.latch, clock=clock)

    def latch(self, origin: str) -> MemoryLatch:
        return self.latches.setdefault(origin, MemoryLatch())

    def add(self, old: int, size: int, hashes: Sequence[bytes] = HASHES) -> Answer:
        proof = merkle.consistency_proof(old, hashes[:size]) if 0 < old < size else []
        return self.cosigner.add_checkpoint(old, proof, checkpoint(size, hashes).raw)

    def refused(self, old: int, raw: bytes, proof: Sequence[bytes] = ()) -> Reason:
        """The reason, after which the witness must know exactly what it knew before."""
        before = {origin: latch.read() for origin, latch in self.latches.items()}
        with pytest.raises(ExchangeError) as caught:
            self.cosigner.add_checkpoint(old, proof, raw)
        assert {origin: latch.read() for origin, latch in self.latches.items() if latch.read()} == {
            origin: note for origin, note in before.items() if note
        }
        return caught.value.reason


def checkpoint(size: int, hashes: Sequence[bytes] = HASHES, keys: LogKeys = LOG) -> Checkpoint:
    return keys.sign(size, merkle.root(hashes[:size]), now=CLOCK())


def test_it_cosigns_what_extends_what_it_saw() -> None:
    witness = Witness()
    for old, size in ((0, 3), (3, 3), (3, 4), (4, 11), (11, 20)):
        answer = witness.add(old, size)
        assert answer.size == size
        lines = Cosignature.parse_all(answer.lines)
        assert [
            line.verify(checkpoint(size), key, now=CLOCK()) for line, key in zip(lines, KEYS.verifier_keys, strict=True)
        ]
        # What was remembered is what was cosigned.
        assert Checkpoint.parse(witness.latch(LOG.origin).read()).size == size


def test_both_of_its_keys_sign_and_neither_is_a_logs() -> None:
    witness = Witness()
    signed = checkpoint(5).with_signatures(line.signature for line in Cosignature.parse_all(witness.add(0, 5).lines))
    policy = policy_for(COMMUNITY.directory, LOG.relay)
    assert {w.key for w in policy.verify(signed, now=CLOCK())} == set(KEYS.verifier_keys)
    assert {key.name for key in KEYS.verifier_keys} == {"relay.vn.example/witness"}
    signed.verify(LOG.verifier_keys, now=CLOCK())


def test_403_and_404_a_log_it_does_not_know_or_that_did_not_sign() -> None:
    witness = Witness()
    stranger = LogKeys.make("relay.xx.example", now=CLOCK())
    assert witness.refused(0, checkpoint(3, keys=stranger).raw) is Reason.UNKNOWN_PARTY
    # A known relay's other log, and a log's name with other keys.
    other = LogKeys.make(LOG.relay, now=CLOCK() + timedelta(days=200))
    assert other.origin != LOG.origin
    assert witness.refused(0, checkpoint(3, keys=other).raw) is Reason.UNKNOWN_PARTY
    forger = replace(LOG, ed25519=bytes(32), mldsa44=bytes(32))
    assert witness.refused(0, checkpoint(3, keys=forger).raw) is Reason.BAD_SIGNATURE
    # Both of a log's keys must have signed.
    good = checkpoint(3)
    for line in good.note.signatures:
        half = good.raw.replace(line.raw, b"")
        assert witness.refused(0, half) is Reason.BAD_SIGNATURE
    damaged = good.raw.replace(b"\n3\n", b"\n4\n")
    assert witness.refused(0, damaged) is Reason.BAD_SIGNATURE


def test_400_what_cannot_be_meant() -> None:
    witness = Witness()
    witness.add(0, 5)
    assert witness.refused(6, checkpoint(5).raw) is Reason.BAD_FIELD
    assert witness.refused(5, checkpoint(6).raw, [bytes(32)] * 64) is Reason.BAD_FIELD
    assert witness.refused(0, b"junk") is Reason.MALFORMED
    assert witness.refused(0, checkpoint(5).raw[:-1]) is Reason.MALFORMED
    late = LOG.sign(5, merkle.root(HASHES[:5]), now=CLOCK() + timedelta(minutes=6)).raw
    assert witness.refused(5, late) is Reason.NOT_YET_VALID


def test_409_another_size_than_it_saw_last_is_answered_with_that_size() -> None:
    witness = Witness()
    witness.add(0, 7)
    seen = witness.latch(LOG.origin).read()
    for old, size in ((0, 7), (0, 9), (3, 9), (6, 7), (8, 9)):
        assert witness.add(old, size) == Answer(7)
    # Going back is never cosigned, whatever old size is claimed.
    assert witness.add(3, 5) == Answer(7)
    assert witness.add(5, 5) == Answer(7)
    assert witness.latch(LOG.origin).read() == seen
    assert Witness().add(3, 5) == Answer(0)


def test_422_a_proof_that_does_not_hold() -> None:
    witness = Witness()
    witness.add(0, 7)
    good = merkle.consistency_proof(7, HASHES[:13])
    raw = checkpoint(13).raw
    for wrong in ([], good[:-1], [*good, bytes(32)], good[::-1], [bytes(32), *good[1:]], [good[0][:-1], *good[1:]]):
        assert witness.refused(7, raw, wrong) is Reason.BAD_PROOF
    # Where there is nothing to prove, nothing may be given.
    assert witness.refused(7, checkpoint(7).raw, [bytes(32)]) is Reason.BAD_PROOF
    assert Witness().refused(0, raw, good) is Reason.BAD_PROOF
    assert witness.cosigner.add_checkpoint(7, good, raw).lines


def test_a_fork_is_refused() -> None:
    witness = Witness()
    witness.add(0, 7)
    fork = [*HASHES[:6], bytes(32), *HASHES[7:]]
    assert witness.refused(7, checkpoint(7, fork).raw) is Reason.LOG_FORK
    proof = merkle.consistency_proof(7, fork[:9])
    assert witness.refused(7, checkpoint(9, fork).raw, proof) is Reason.BAD_PROOF
    assert witness.add(7, 9).lines


def test_an_empty_log_may_be_cosigned_and_is_not_remembered() -> None:
    witness = Witness()
    assert witness.add(0, 0).lines
    assert witness.latch(LOG.origin).read() == b""
    assert witness.add(0, 3).size == 3
    assert witness.add(0, 0) == Answer(3)


class BrokenLatch(MemoryLatch):
    """A latch on a disk that fails, or that somebody else has moved."""

    def __init__(self, problem: Exception) -> None:
        super().__init__()
        self.problem = problem

    def replace(self, old: bytes, new: bytes) -> None:
        raise self.problem


@pytest.mark.parametrize(
    "problem", [error(Reason.LOG_STOPPED, detail="disk"), error(Reason.LOG_FORK, detail="moved"), OSError("disk")]
)
def test_what_is_not_remembered_is_not_cosigned(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    sign = Cosignature.sign
    monkeypatch.setattr(Cosignature, "sign", lambda *args, **named: made.append(args) or sign(*args, **named))
    cosigner = Cosigner(KEYS, lambda: COMMUNITY.directory, lambda _: BrokenLatch(problem), clock=CLOCK)
    with pytest.raises(type(problem)):
        cosigner.add_checkpoint(0, [], checkpoint(3).raw)
    assert made == []


def test_it_remembers_before_it_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the two costs a cosignature and never makes two of different trees."""
    witness = Witness()

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("the power fails")

    with monkeypatch.context() as patch:
        patch.setattr(Cosignature, "sign", crash)
        with pytest.raises(RuntimeError):
            witness.add(0, 3)
    assert Checkpoint.parse(witness.latch(LOG.origin).read()).size == 3
    assert witness.add(0, 3) == Answer(3)
    assert witness.add(3, 3).lines
    fork = [bytes(32), *HASHES[1:]]
    assert witness.refused(3, checkpoint(3, fork).raw) is Reason.LOG_FORK


def test_each_log_is_remembered_on_its_own() -> None:
    witness = Witness()
    mine = COMMUNITY.log_keys["relay.vn.example"]
    witness.add(0, 7)
    assert witness.cosigner.add_checkpoint(0, [], checkpoint(2, keys=mine).raw).size == 2
    assert set(witness.latches) == {LOG.origin, mine.origin}


# Quorum


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


def test_log_keys_are_one_pair_of_one_name() -> None:
    found = log_keys(COMMUNITY.directory, LOG.relay)
    assert list(found) == list(LOG.verifier_keys)
    with pytest.raises(ExchangeError) as caught:
        log_keys(COMMUNITY.directory, "relay.xx.example")
    assert caught.value.reason is Reason.UNKNOWN_PARTY
    listing = COMMUNITY.directory.listing
    first, second = (str(key) for key in LOG.verifier_keys)
    for lines in ((first,), (second, first), (first, first), (first, second, second)):
        parties = tuple(replace(p, log_keys=lines) if p.name == LOG.relay else p for p in listing.parties)
        directory = Directory(replace(listing, parties=parties), COMMUNITY.directory._dsse, ())
        with pytest.raises(ExchangeError) as caught:
            log_keys(directory, LOG.relay)
        assert caught.value.reason is Reason.BAD_FIELD
    assert isinstance(found[0], VerifierKey)
    assert all(isinstance(signer, NoteSigner) for signer in KEYS.signers)
