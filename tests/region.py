"""Eleven national logs with their witnesses, in memory: honest ones, and relays that show readers what they like."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infoexchange.audit import Entry, Routing, Subject
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ledger import Ledger
from infoexchange.listing import Listing, Nation, Party, Role, RootKey, Roots
from infoexchange.log import LogKeys
from infoexchange.misbehaviour import Misbehaviour
from infoexchange.ports import Change
from infoexchange.quorum import policy_for
from infoexchange.states import Event
from infoexchange.suites import ed25519_signer, public_ed25519
from infoexchange.testing import MemoryLatch, MemoryStore
from infoexchange.testing.clock import START
from infoexchange.tlog import Checkpoint, Cosignature
from infoexchange.tlog.checkpoint import SKEW_MAX
from infoexchange.tlog.note import NoteSigner
from infoexchange.verdict import Check, Verdict
from infoexchange.watch import Known, Sight, Watch
from infoexchange.witness import Cosigner, WitnessKeys

NATIONS = ("bn", "id", "kh", "la", "mm", "my", "ph", "sg", "th", "tl", "vn")
OTHERS = len(NATIONS) - 1
QUORUM = 1 + 2 * OTHERS // 3
LIARS_MAX = 2 * QUORUM - OTHERS - 1  # f < 2k - n: more could have two histories cosigned


class OneKey(WitnessKeys):
    """A witness that signs with its Ed25519 key alone: either is enough, and each costs time."""

    @functools.cached_property
    def signers(self) -> tuple[NoteSigner, ...]:  # type: ignore[override]
        return (NoteSigner(self.verifier_keys[0], ed25519_signer(self.ed25519)),)


LOG_KEYS = {
    f"relay.{code}.example": LogKeys(f"relay.{code}.example/audit/2026h2", bytes([n]) * 32, bytes([n + 50]) * 32)
    for n, code in enumerate(NATIONS, 1)
}
WITNESS_KEYS = {
    name: OneKey(f"{name}/witness", bytes([n + 100]) * 32, bytes([n + 150]) * 32) for n, name in enumerate(LOG_KEYS, 1)
}
RELAYS = tuple(LOG_KEYS)


def _directory() -> Directory:
    """A directory whose own signatures nobody asks for."""
    parties = tuple(
        Party(
            name=name,
            nation=name.split(".")[1],
            role=Role.RELAY,
            relay=name,
            log_keys=tuple(map(str, LOG_KEYS[name].verifier_keys)),
            witness_keys=tuple(map(str, WITNESS_KEYS[name].verifier_keys)),
        )
        for name in RELAYS
    )
    listing = Listing(
        community="exchange.example",
        version=1,
        issued_at=START,
        expires_at=START + timedelta(days=365),
        roots=Roots(1, (RootKey(public_ed25519(bytes(32)), "one", 3),)),
        nations=tuple(Nation(code=code, suffix=f"{code}.example", member_from=START) for code in NATIONS),
        parties=parties,
    )
    return Directory(listing, Dsse.make(TYPE_DIRECTORY, listing.payload, []), ())


DIRECTORY = _directory()
POLICIES = {name: policy_for(DIRECTORY, name) for name in RELAYS}


@dataclass
class Time:
    """The true time, from which every clock of the region is a little off."""

    now: datetime = START

    def clock(self, off: Callable[[], timedelta]) -> Callable[[], datetime]:
        return lambda: self.now + off()


class History:
    """One history of a log: its ledger, and the newest checkpoint that its relay shows as cosigned."""

    def __init__(self, keys: LogKeys, clock: Callable[[], datetime], changes: Sequence[Change] = ()) -> None:
        self.keys, self.clock = keys, clock
        self.changes: list[Change] = []
        self.ledger = Ledger(keys, MemoryStore(), MemoryLatch(), clock=clock)
        self.ledger.load()
        self.shown: tuple[bytes, bytes] | None = None  # what is shown for ever, once it stands still
        self.cosigned = b""
        self.sizes: dict[str, int] = {}  # what each witness cosigned last
        self.add(changes)

    def add(self, changes: Sequence[Change]) -> None:
        self.changes += changes
        if changes:
            self.ledger.commit(changes)

    def grow(self, rng: random.Random, count: int) -> None:
        self.add([change(rng) for _ in range(count)])

    def copy(self, size: int | None = None) -> History:
        """The same entries, or the first of them, in a history that goes on by itself; what was signed stands."""
        twin = History(self.keys, self.clock)
        if size is None:
            twin.ledger.store._now = self.ledger.store._now  # type: ignore[attr-defined]
            twin.changes = list(self.changes)
            twin.restart(self.ledger.checkpoint())
        else:
            twin.add(self.changes[:size])
        twin.cosigned = self.cosigned
        return twin

    def restart(self, note: bytes = b"") -> None:
        note = note or self.ledger.checkpoint()
        self.ledger = Ledger(self.keys, self.ledger.store, MemoryLatch(note), clock=self.clock)
        self.ledger.load()

    # What a relay answers

    def checkpoint(self) -> bytes:
        return self.shown[0] if self.shown else self.ledger.checkpoint()

    def newest_cosigned(self) -> bytes:
        return self.shown[1] if self.shown else self.cosigned

    def consistency(self, old_size: int, size: int) -> list[bytes]:
        if not 0 < old_size < size <= self.ledger.size:
            raise error(Reason.BAD_FIELD, field="old_size", detail="no such sizes")
        return self.ledger.prefix(old_size, size)


def change(rng: random.Random) -> Change:
    routing = Routing(event=Event.ACCEPTED, logged_at=START, this_relay="relay.th.example")
    entry = Entry.make(routing, Subject(directory_digest=bytes(32)), entropy=rng.randbytes)
    return Change(entry=entry, digest=rng.randbytes(32), party="", event=Event.ACCEPTED)


class National:
    """A relay with its log and its witness. A liar keeps several histories and cosigns whatever a friend wants."""

    def __init__(self, name: str, time: Time, rng: random.Random) -> None:
        self.name, self.rng = name, rng
        self.off = timedelta(seconds=rng.uniform(-60, 60))
        self.clock = time.clock(lambda: self.off)
        self.histories: list[History] = []
        self.lies = False
        self.silent = False
        self.views: dict[str, int] = {}  # which history a reader is shown, by name
        self.asked: dict[str, int] = {}  # the size each reader knows of
        self.latches: dict[str, MemoryLatch] = {}
        self.cosigner = Cosigner(WITNESS_KEYS[name], lambda: DIRECTORY, self._latch, clock=self.clock)

    def _latch(self, origin: str) -> MemoryLatch:
        return self.latches.setdefault(origin, MemoryLatch())

    def begin(self) -> None:
        self.histories = [History(LOG_KEYS[self.name], self.clock)]
        self.histories[0].grow(self.rng, 2)

    def view(self, reader: str) -> History:
        return self.histories[self.views.get(reader, 0)]

    def remembered(self, origin: str) -> bytes:
        return self._latch(origin).read()

    def cosign(self, history: History, *, friend: bool) -> list[Cosignature]:
        """What its witness says to the newest checkpoint of a history; nothing if that does not fit what it saw."""
        checkpoint = Checkpoint.parse(history.ledger.checkpoint())
        if friend:
            return [Cosignature.sign(checkpoint, WITNESS_KEYS[self.name].signers[0], now=self.clock())]
        for _ in range(2):
            size = history.sizes.get(self.name, 0)
            try:
                proof = history.ledger.consistency(size, checkpoint.size)
                answer = self.cosigner.add_checkpoint(size, proof, checkpoint.raw)
            except ExchangeError:
                return []
            if answer.lines:
                history.sizes[self.name] = answer.size
                return list(Cosignature.parse_all(answer.lines))
            history.sizes[self.name] = answer.size
        return []


class Line:
    """The way from one reader to one relay; now and then it is down."""

    def __init__(self, relay: National, reader: str, odds: float = 0.0) -> None:
        self._relay, self._reader, self._odds = relay, reader, odds

    def _history(self) -> History:
        if self._relay.rng.random() < self._odds:
            raise error(Reason.UNAVAILABLE, field="relay", detail="the line is down")
        return self._relay.view(self._reader)

    def checkpoint(self) -> bytes:
        return self._history().checkpoint()

    def cosigned(self) -> bytes:
        return self._history().newest_cosigned()

    def consistency(self, old_size: int, size: int) -> list[bytes]:
        history = self._history()
        if self._relay.silent and old_size != self._relay.asked.get(self._reader):
            raise error(Reason.OVERLOADED, field="relay", detail="no time for that")
        return history.consistency(old_size, size)


@dataclass
class Auditor:
    """An honest auditor: what it keeps of each log, what it found, and the proofs it holds."""

    name: str
    watch: Watch
    known: dict[str, Known] = field(default_factory=dict)
    found: list[tuple[str, Check]] = field(default_factory=list)
    proofs: dict[bytes, Misbehaviour] = field(default_factory=dict)
    refused: dict[str, tuple[Checkpoint, ...]] = field(default_factory=dict)

    def look(self, relay: National, others: Mapping[str, bytes] | None = None, odds: float = 0.0) -> Sight:
        sight = self.watch.look(relay.name, Line(relay, self.name, odds), self.known.get(relay.name, Known()), others)
        self.known[relay.name] = sight.known
        if sight.known.newest:
            relay.asked[self.name] = sight.known.newest.size
        self.found += [(relay.name, c) for c in sight.report.checks if c.verdict is not Verdict.TOTAL_PASSED]
        self.proofs |= {proof.raw: proof for proof in sight.proofs}
        self.refused[relay.name] = sight.refused
        return sight

    def files(self, relay: str) -> dict[str, bytes]:
        """The checkpoint files that this auditor hands to others."""
        newest = self.known[relay].newest if relay in self.known else None
        found = {self.name: newest.raw} if newest else {}
        return found | {f"{self.name}, refused, {c.size}": c.raw for c in self.refused.get(relay, ())}


class Region:
    """All eleven, their auditors, and the true time."""

    def __init__(self, rng: random.Random, *, auditors: Sequence[str] = ("alpha", "bravo", "charlie")) -> None:
        self.rng, self.time = rng, Time()
        self.nations = {name: National(name, self.time, rng) for name in RELAYS}
        self.auditors = [self._auditor(name) for name in auditors]

    def _auditor(self, name: str) -> Auditor:
        off = timedelta(seconds=self.rng.uniform(-60, 60))
        return Auditor(name, Watch(DIRECTORY, clock=self.time.clock(lambda: off)))

    def pass_time(self, seconds: float) -> None:
        self.time.now += timedelta(seconds=seconds)
        for nation in self.nations.values():  # clocks drift, and are set right
            nation.off += timedelta(seconds=self.rng.uniform(-2, 2))

    def witness(self, relay: National, *, down: Sequence[str] = ()) -> None:
        """Have the newest checkpoint of every history cosigned by whoever does it."""
        for place, history in enumerate(relay.histories):
            checkpoint = Checkpoint.parse(history.ledger.checkpoint())
            lines = [
                line.signature
                for nation in self.nations.values()
                if nation is not relay and nation.name not in down
                # A liar asks each honest witness about one history only, or it would be found out at once.
                if nation.lies or relay.views.get(nation.name, 0) == place
                for line in nation.cosign(history, friend=nation.lies and relay.lies)
                if line.time <= (relay.clock() + SKEW_MAX).timestamp()  # as the relay program checks each answer
            ]
            cosigned = checkpoint.with_signatures(lines)
            try:
                POLICIES[relay.name].verify(cosigned, now=relay.clock())
            except ExchangeError:
                if not relay.lies:
                    continue
            history.cosigned = cosigned.raw

    def others(self, relay: National, auditor: Auditor, *, swap: bool) -> dict[str, bytes]:
        """What others were shown of a log: what witnesses remember, and files of other auditors."""
        origin = LOG_KEYS[relay.name].origin
        found = {n.name: n.remembered(origin) for n in self.nations.values() if n is not relay}
        if swap:
            for other in self.auditors:
                found |= other.files(relay.name) if other is not auditor else {}
        return {name: raw for name, raw in found.items() if raw}
