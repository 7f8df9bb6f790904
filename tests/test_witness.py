"""Witnesses: what one relay cosigns of another, in the cases of C2SP tlog-witness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from conftest import AGENCIES
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.log import LogKeys, log_keys
from infoexchange.quorum import policy_for
from infoexchange.testing import Community, FakeClock, MemoryLatch
from infoexchange.tlog import Checkpoint, Cosignature, NoteSigner, VerifierKey, merkle
from infoexchange.witness import Answer, Cosigner

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


def test_any_auditor_learns_what_it_remembers() -> None:
    """C2SP tlog-witness has GET <origin>/checkpoint; what a log showed here, others can be asked about."""
    witness = Witness()
    assert witness.cosigner.remembered(LOG.origin) == b""
    for old, size in ((0, 3), (3, 7)):
        witness.add(old, size)
        told = Checkpoint.parse(witness.cosigner.remembered(LOG.origin))
        told.verify(LOG.verifier_keys, now=CLOCK())
        assert (told.size, told.root) == (size, merkle.root(HASHES[:size]))
    # A tree that was refused is not told.
    assert witness.refused(7, checkpoint(7, [bytes(32), *HASHES[1:]]).raw) is Reason.LOG_FORK
    assert Checkpoint.parse(witness.cosigner.remembered(LOG.origin)).root == merkle.root(HASHES[:7])
    for stranger in (
        "relay.xx.example/audit/2026h2",
        f"{LOG.relay}/audit/2027h1",
        LOG.relay,
        "",
        "desk.oncb.th.example",
    ):
        with pytest.raises(ExchangeError) as caught:
            witness.cosigner.remembered(stranger)
        assert caught.value.reason is Reason.UNKNOWN_PARTY
    assert set(witness.latches) == {LOG.origin}  # asking leaves nothing behind


def test_the_same_size_again_refreshes_the_time_and_nothing_else() -> None:
    """C2SP tlog-witness: a log that stands still is cosigned again, so that others see that it does."""
    clock = FakeClock()
    witness = Witness(clock=clock)
    witness.add(0, 5)
    seen = witness.latch(LOG.origin).read()
    times = []
    for _ in range(3):
        clock.advance(timedelta(seconds=60))
        again = LOG.sign(5, merkle.root(HASHES[:5]), now=clock())  # signed anew: other bytes, the same tree
        lines = Cosignature.parse_all(witness.cosigner.add_checkpoint(5, [], again.raw).lines)
        times.append({line.time for line in lines})
        assert witness.latch(LOG.origin).read() == seen
    assert times == [{int((CLOCK() + timedelta(seconds=60 * n)).timestamp())} for n in (1, 2, 3)]


def test_two_witnesses_of_one_key_never_cosign_two_trees() -> None:
    """What one process remembers while another one decides is found when it is to be replaced."""
    one, two = Witness(), Witness()
    two.latches = one.latches
    fork = [bytes(32), *HASHES[1:]]

    class Overtaken(MemoryLatch):
        def replace(self, old: bytes, new: bytes) -> None:
            if not self.read():
                super().replace(b"", checkpoint(3, fork).raw)  # the other one was faster
            super().replace(old, new)

    one.latches[LOG.origin] = Overtaken()
    with pytest.raises(ExchangeError) as caught:
        one.add(0, 5)
    assert caught.value.reason is Reason.LOG_FORK
    assert Checkpoint.parse(one.latch(LOG.origin).read()).size == 3


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
