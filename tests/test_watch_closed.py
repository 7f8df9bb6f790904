"""Looking back at a log that a relay has closed: what was seen of it must be in it, and others must know its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from changes import change
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys, origins
from infoexchange.misbehaviour import Kind
from infoexchange.ports import Store
from infoexchange.states import Event
from infoexchange.testing import MemoryLatch, MemoryStore
from infoexchange.testing.clock import START
from infoexchange.tlog import Checkpoint, Cosignature
from infoexchange.verdict import Verdict
from infoexchange.watch import Known, Sight, Watch
from region import DIRECTORY, LOG_KEYS, RELAYS, WITNESS_KEYS

NAME = "relay.th.example"
OLD, NEW = LOG_KEYS[NAME], LogKeys(f"{NAME}/audit/2027h1", bytes([77]) * 32, bytes([78]) * 32)
WITNESSES = [WITNESS_KEYS[name] for name in RELAYS if name != NAME]


def directory() -> Directory:
    """The region's, in which one relay writes its next log."""
    lines = tuple(str(key) for keys in (NEW, OLD) for key in keys.verifier_keys)
    listing = DIRECTORY.listing
    parties = tuple(replace(p, log_keys=lines) if p.name == NAME else p for p in listing.parties)
    return Directory(replace(listing, parties=parties), DIRECTORY._dsse, ())


class Closed:
    """A relay that wrote ten entries, was looked at, wrote two more and closed that log; answers can be exchanged."""

    def __init__(self) -> None:
        self.now = START
        self.ledger = Ledger(OLD, MemoryStore(), MemoryLatch(), clock=self.clock)
        self.ledger.load()
        self.watch = Watch(directory(), clock=self.clock)
        self.answer: bytes | ExchangeError | None = None
        self.grow(range(10))
        first = Checkpoint.parse(self.ledger.checkpoint())
        self.known = Known((first,), self.now)
        self.pass_time()
        self.grow(range(10, 12))
        self.last = self.cosigned(Checkpoint.parse(self.ledger.checkpoint()))

    def clock(self) -> datetime:
        return self.now

    def pass_time(self) -> None:
        self.now += timedelta(hours=1)

    def grow(self, numbers: Sequence[int]) -> None:
        self.ledger.commit([change(Event.QUEUED, b"%032d" % n) for n in numbers])

    def cosigned(self, checkpoint: Checkpoint, count: int = len(WITNESSES)) -> Checkpoint:
        lines = [Cosignature.sign(checkpoint, keys.signers[0], now=self.now) for keys in WITNESSES[:count]]
        return checkpoint.with_signatures([line.signature for line in lines])

    def checkpoint(self, origin: str = "") -> bytes:
        assert origin == OLD.origin
        if isinstance(self.answer, ExchangeError):
            raise self.answer
        return self.answer or self.last.raw

    def consistency(self, old_size: int, size: int, origin: str = "") -> Sequence[bytes]:
        assert origin == OLD.origin
        return self.ledger.prefix(old_size, size)

    def look(self, others: dict[str, bytes] | None = None) -> Sight:
        return self.watch.look_back(NAME, self, self.known, others)  # type: ignore[arg-type]


@pytest.fixture
def relay() -> Closed:
    return Closed()


def problems(sight: Sight) -> dict[str, tuple[Verdict, str]]:
    checks = sight.report.checks
    return {c.name: (c.verdict, c.reason) for c in checks if c.verdict is not Verdict.TOTAL_PASSED}


def test_what_was_seen_is_in_the_log_that_was_closed(relay: Closed) -> None:
    assert origins(relay.watch.directory, NAME) == [NEW.origin, OLD.origin]
    for _ in range(3):  # months later too: nothing in it grows old
        sight = relay.look({"vn": relay.last.raw, "early": relay.known.notes[0].raw})
        assert problems(sight) == {}
        assert (sight.log, sight.known.newest.size) == (OLD.origin, 12)
        assert [check.name for check in sight.report.checks][:3] == ["checkpoint signed", "witnessed", "log only grew"]
        relay.known = sight.known
        relay.now += timedelta(days=30)


def test_a_log_that_ends_before_what_was_shown_was_cut(relay: Closed) -> None:
    """The next log would be the place to forget entries in."""
    ledger = Ledger(OLD, MemoryStore(), MemoryLatch(), clock=relay.clock)
    ledger.load()
    ledger.commit([change(Event.QUEUED, b"%032d" % n) for n in range(8)])
    relay.last = relay.cosigned(Checkpoint.parse(ledger.checkpoint()))
    sight = relay.look()
    assert problems(sight)["log only grew"] == (Verdict.TOTAL_FAILED, Reason.LOG_FORK.word)
    assert [proof.kind for proof in sight.proofs][:1] == [Kind.ORDER]
    assert sight.known is relay.known
    assert [checkpoint.size for checkpoint in sight.refused] == [8]


def test_a_log_that_was_written_anew_before_its_end_proves_itself(relay: Closed) -> None:
    store: Store = MemoryStore()
    relay.ledger = Ledger(OLD, store, MemoryLatch(), clock=relay.clock)
    relay.ledger.load()
    relay.grow(range(100, 114))
    relay.last = relay.cosigned(Checkpoint.parse(relay.ledger.checkpoint()))
    sight = relay.look()
    assert problems(sight)["log only grew"] == (Verdict.TOTAL_FAILED, Reason.LOG_FORK.word)
    [proof] = [proof for proof in sight.proofs if proof.is_of_log]
    assert proof.kind is Kind.PREFIX
    proof.verify(OLD.verifier_keys)


def test_an_end_that_too_few_have_seen_or_that_is_not_told_stays_open(relay: Closed) -> None:
    relay.last = relay.cosigned(Checkpoint.parse(relay.ledger.checkpoint()), count=3)
    assert problems(relay.look()) == {"witnessed": (Verdict.INDETERMINATE, "too_few_witnesses")}
    relay.answer = error(Reason.BAD_FIELD, field="origin", detail="no such log")
    assert problems(relay.look()) == {"checkpoint signed": (Verdict.INDETERMINATE, Reason.BAD_FIELD.word)}
    relay.answer = NEW.sign(1, bytes(32), now=relay.now).raw
    assert problems(relay.look()) == {"checkpoint signed": (Verdict.INDETERMINATE, "unknown_party")}
    assert relay.look().known is relay.known


def test_others_who_saw_more_than_the_end_contradict_it(relay: Closed) -> None:
    end = relay.last
    relay.pass_time()
    relay.grow(range(12, 15))
    more = relay.ledger.checkpoint()
    relay.last = end
    assert problems(relay.look({"vn": more})) == {"same as vn": (Verdict.TOTAL_FAILED, Reason.LOG_FORK.word)}
