"""Turning: a log is closed and the next one begins; what was on its way goes on, and proofs of both hold together."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from changes import change
from command_setup import infoexchange, infoexchange_relay, make_exchange
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason
from infoexchange.evidence import Evidence
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys, half_year_end, log_keys
from infoexchange.ports import ClosedLog, Head, Store
from infoexchange.quorum import policy_for
from infoexchange.states import Event
from infoexchange.testing import FakeClock
from infoexchange.testing.memory import MemoryLatch, MemoryStore
from infoexchange.tlog import Checkpoint, Cosignature, merkle, tiles
from infoexchange.transport import utc_now
from infoexchange.verdict import Verdict
from infoexchange.watch import Known, Watch
from infoexchange.witness import WitnessKeys
from infoexchange_relay import turning
from infoexchange_relay.stores import open_store
from patience import until
from relays import A2, AGENCIES, A, B, Relays, delivered, fetched, raised
from test_renewal import put, signed

TH, VN = "relay.th.example", "relay.vn.example"


# The store and the ledger


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
    else:
        with open_store(tmp_path / "relay.db") as opened:
            yield opened


def filled(store: Store, clock: FakeClock, count: int, *, latch: MemoryLatch | None = None, after: str = "") -> Ledger:
    keys = LogKeys.make("relay.aa.example", now=clock(), after=after)
    ledger = Ledger(keys, store, latch or MemoryLatch(), clock=clock)
    ledger.load()
    start = store.head().end
    ledger.commit([change(Event.QUEUED, b"%032d" % n) for n in range(start, start + count)])
    return ledger


def test_places_run_on_and_each_log_has_a_tree_of_its_own(store: Store) -> None:
    clock, latch = FakeClock(), MemoryLatch()
    first = filled(store, clock, 300, latch=latch)
    old = store.head()
    last = first.close()
    assert store.closed() == [ClosedLog(0, last)] or store.closed() == (ClosedLog(0, last),)
    assert store.head() == Head(0, merkle.EMPTY_ROOT, 300)
    second = filled(store, clock, 5, latch=latch, after=first.origin)
    assert (second.origin, second.base, second.size, second.end) == (f"{first.origin}-2", 300, 5, 305)
    leaves = store.leaves(0, 999)
    assert len(leaves) == 305
    for base, head in ((0, old), (300, store.head())):
        own = leaves[base : base + head.size]
        assert merkle.root([merkle.leaf_hash(leaf) for leaf in own]) == head.root
        assert tiles.root(head.size, lambda level, n, base=base: store.tiles([(level, n)], base)[0]) == head.root
    # A repeat finds its entry in the log that is closed, and gets the receipt from there.
    [again, fresh] = second.commit([change(Event.QUEUED, b"%032d" % n) for n in (7, 305)], [0, 1])
    assert (again.index, again.proof.checkpoint.origin, again.proof.checkpoint.size) == (7, first.origin, 300)
    assert (fresh.index, fresh.proof.checkpoint.origin) == (5, second.origin)
    for receipt, leaf in zip(second.receipts([299, 300]), leaves[299:301], strict=True):
        merkle.verify_inclusion(
            merkle.leaf_hash(leaf),
            receipt.index,
            receipt.proof.checkpoint.size,
            receipt.proof.path,
            receipt.proof.checkpoint.root,
        )
    with pytest.raises(ValueError, match="whole log"):
        store.close_log(last)


def test_a_closed_log_can_still_be_cosigned(store: Store) -> None:
    clock = FakeClock()
    first = filled(store, clock, 3)
    last = first.close()
    lines = [Cosignature.sign(last, signer, now=clock()) for signer in WitnessKeys.make("relay.bb.example").signers]
    more = last.with_signatures([line.signature for line in lines])
    ledger = filled(store, clock, 1, latch=MemoryLatch(last.raw), after=first.origin)
    for _ in range(2):
        ledger.closed_cosigned(more)
    assert [log.checkpoint.raw for log in store.closed()] == [more.raw]
    assert [receipt.proof.checkpoint.raw for receipt in ledger.receipts([0, 2])] == [more.raw] * 2
    with pytest.raises(ValueError, match="closed log"):
        ledger.closed_cosigned(Checkpoint.parse(ledger.checkpoint()))


def test_a_latch_tells_old_data_from_new_across_the_turn(store: Store) -> None:
    clock, latch = FakeClock(), MemoryLatch()
    first = filled(store, clock, 5, latch=latch)
    keys = LogKeys.make("relay.aa.example", now=clock(), after=first.origin)
    # Before the close the next keys are a stranger's.
    with pytest.raises(ExchangeError):
        Ledger(keys, store, latch, clock=clock).load()
    first.close()
    begun = Ledger(keys, store, latch, clock=clock)
    begun.load()
    begun.commit([change(Event.QUEUED, b"%032d" % n) for n in range(5, 12)])
    Ledger(keys, store, latch, clock=clock).load()
    # The latch of before the turn is gone for good: data that has gone on without it is not believed.
    with pytest.raises(ExchangeError) as caught:
        Ledger(keys, store, MemoryLatch(first.checkpoint()), clock=clock).load()
    assert caught.value.reason is Reason.LOG_STOPPED


# Two relays


@pytest.fixture
def relays(tmp_path):
    with contextlib.closing(Relays(tmp_path, AGENCIES)) as made:
        yield made


def listing_both(relays: Relays, following: LogKeys) -> Directory:
    """The next directory version, in which the next log of th stands before the one that is to be closed."""
    parties = tuple(
        replace(p, log_keys=(*(str(key) for key in following.verifier_keys), *p.log_keys)) if p.name == TH else p
        for p in relays.directory.listing.parties
    )
    return Directory.held(signed(relays, relays.directory, parties=parties))


def turned(relays: Relays) -> tuple[Directory, LogKeys]:
    """Let th turn under a version that both relays have adopted."""
    config, old = relays.configs["th"], relays.community.log_keys[TH]
    following = turning.prepare(config, old, now=utc_now())
    assert turning.prepare(config, old, now=utc_now()) == following  # once is enough
    two = listing_both(relays, following)
    put(relays, "th", two.raw)
    put(relays, "vn", two.raw)
    if "vn" not in relays.running:
        relays.start("vn")
    relays.start("th")
    return two, following


def test_what_was_on_its_way_goes_on_in_the_next_log(relays: Relays, tmp_path: Path, capsys) -> None:
    relays.start("vn")
    old = relays.start("th").node
    relays.publish()
    envelopes = [relays.seal(A, [A2]), relays.seal(A, [B]), relays.seal(A, [A2])]
    before = relays.remote(A).submit([e.raw for e in envelopes])
    until(lambda: envelopes[1].digest in fetched(relays.remote(B)))
    delivered(relays.remote(A2), [envelopes[0].digest])
    origin, size = old.ledger.origin, old.ledger.size
    relays.stop("th")
    relays.stop("vn")
    two, following = turned(relays)
    relays.stop("th")
    node = relays.start("th").node  # once more changes nothing
    [closed] = node.ledger.closed
    assert (closed.base, closed.checkpoint.origin, node.ledger.origin) == (0, origin, following.origin)
    records = node.store.records(range(node.ledger.end))
    assert (records[closed.end - 1].event, records[closed.end].event) == (Event.LOG_CLOSE, Event.LOG_GENESIS)
    assert Checkpoint.parse(records[closed.end].exhibit).note.text == closed.checkpoint.note.text
    assert [r.event for r in records].count(Event.LOG_GENESIS) == 2
    assert closed.end >= size + 1
    # The one that waits is still there; the one that was delivered can still be asked about.
    assert set(fetched(relays.remote(A2))) == {envelopes[2].digest}
    delivered(relays.remote(A2), [envelopes[2].digest])
    events = relays.remote(A).events(envelopes[2].digest).events
    assert {e.proof.checkpoint.origin for e in events} == {origin, following.origin}
    assert [e.routing.event for e in events] == [Event.ACCEPTED, Event.QUEUED, Event.DELIVERED]
    for receipt in (*events, *before):
        receipt.verify(two)
    for receipt in before:
        receipt.verify(relays.directory)  # under the version of its time, as ever
    evidence = Evidence.make(
        envelopes[2], two, [relays.community.members[A].bundle], relays.remote(A).events(envelopes[2].digest)
    )
    checks = {check.name: check.verdict for check in evidence.verify(two, now=utc_now()).checks}
    assert {verdict for name, verdict in checks.items() if name.startswith("event")} == {Verdict.TOTAL_PASSED}
    assert Verdict.TOTAL_FAILED not in checks.values()
    # The same again gets the receipt from the closed log; a new one goes into the next.
    [again] = relays.remote(A).submit([envelopes[0].raw])
    assert (again.leaf, again.proof.checkpoint.origin) == (before[0].leaf, origin)
    [new] = relays.remote(A).submit([relays.seal(A, [A2]).raw])
    assert new.verify(two).origin == following.origin
    # Witnesses cosign the last checkpoint of the closed log, and the next one.
    policy = policy_for(two, TH)
    until(lambda: not cosigned_problem(policy, node.ledger.closed[0].checkpoint))
    until(lambda: node.ledger.cosigned_size == node.ledger.size)
    look_back(relays, two, before[0].proof.checkpoint, closed.end)
    relays.stop("th")  # what they log goes where the commands print
    relays.stop("vn")
    # Both are exported, and an auditor passes each; the genesis of one is tied to the end of the other.
    toml = tmp_path / "relay.toml"
    toml.write_text("".join(f"{key} = {json.dumps(str(value))}\n" for key, value in settings(relays).items()))
    roots = tmp_path / "roots.pb"
    roots.write_bytes(relays.community.roots.raw)
    capsys.readouterr()
    for log in ((), ("--log", origin)):
        to = tmp_path / f"log{len(log)}"
        shown = ("--groups", "routing,message", "--for", "the court of the exercise")
        assert infoexchange_relay("export", "--config", toml, "--to", to, *shown, *log) == 0
        capsys.readouterr()
        assert infoexchange("audit", "verify-log", to, "--roots", roots, "--json") == 0
        checks = {check["name"]: check["verdict"] for check in json.loads(capsys.readouterr().out)["checks"]}
        assert set(checks.values()) == {"TOTAL-PASSED"}, checks
        assert infoexchange("audit", "report", to, "--roots", roots, "--json") == 0
        counted = json.loads(capsys.readouterr().out)
        assert counted["verdict"] == "TOTAL-PASSED"
    words = ("export", "--config", toml, "--to", tmp_path / "none", "--log", "another")
    assert infoexchange_relay(*words) == 3
    assert origin in capsys.readouterr().err


def look_back(relays: Relays, directory: Directory, seen: Checkpoint, end: int) -> None:
    """Whoever saw a log before it was closed asks how it ended."""
    line = relays.remote(A)
    sight = Watch(directory, clock=utc_now).look_back(TH, line, Known((seen,)))
    assert (sight.report.verdict, sight.known.newest.size) == (Verdict.TOTAL_PASSED, end)
    for ask in (lambda: line.checkpoint("another"), lambda: line.consistency(1, end + 1, seen.origin)):
        assert raised(ask).reason is Reason.BAD_FIELD


def settings(relays: Relays) -> dict[str, object]:
    config = relays.configs["th"]
    names = ("name", "listen", "data", "latch", "log_keys", "witness_keys", "tls_key", "tls_certificate", "directory")
    return {name: getattr(config, name) for name in (*names, "roots", "store")}


def cosigned_problem(policy, checkpoint) -> str:
    try:
        policy.verify(checkpoint, now=utc_now())
    except ExchangeError as problem:
        return problem.detail
    return ""


def test_it_turns_only_when_the_directory_says_so_and_crashes_change_nothing(relays: Relays, monkeypatch) -> None:
    config, old = relays.configs["th"], relays.community.log_keys[TH]
    relays.start("th")
    relays.stop("th")
    following = turning.prepare(config, old, now=utc_now())
    assert relays.start("th").node.ledger.origin == old.origin  # nobody could verify the other's receipts
    relays.stop("th")
    two = listing_both(relays, following)
    put(relays, "th", two.raw)
    # The process ends when the log is closed and the keys are still the old ones; and once more in between.
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            relays.start("th")
    with open_store(config.place) as store:
        assert [log.checkpoint.origin for log in store.closed()] == [old.origin]
    node = relays.start("th").node
    assert node.ledger.origin == following.origin
    assert [r.event for r in node.store.records(range(node.ledger.end))].count(Event.LOG_CLOSE) == 1
    assert LogKeys.parse(config.log_keys.read_bytes()) == following
    [kept] = config.log_keys.parent.glob("log.key.closed-*")
    assert LogKeys.parse(kept.read_bytes()) == old
    # The old keys alone are not those of this data any more.
    relays.stop("th")
    config.log_keys.write_bytes(old.raw)
    problem = raised(lambda: relays.start("th"))
    assert (problem.reason, problem.detail) == (Reason.LOG_STOPPED, f"{old.origin} is closed, and the next log goes on")
    config.log_keys.write_bytes(following.raw)
    relays.start("th")


def test_a_directory_lists_pairs_of_keys(relays: Relays) -> None:
    following = LogKeys.make(TH, now=utc_now(), after=relays.community.log_keys[TH].origin)
    two = listing_both(relays, following)
    old = relays.community.log_keys[TH]
    assert tuple(log_keys(two, TH)) == following.verifier_keys
    assert tuple(log_keys(two, TH, old.origin)) == old.verifier_keys
    assert tuple(log_keys(two, TH, "relay.th.example/audit/1999h1")) == following.verifier_keys
    for wrong in (
        lambda keys: keys[:3],
        lambda keys: (keys[0], keys[2], keys[1], keys[3]),
        lambda keys: (keys[1], keys[0], *keys[2:]),
    ):
        parties = tuple(replace(p, log_keys=wrong(p.log_keys)) if p.name == TH else p for p in two.listing.parties)
        bad = Directory.held(signed(relays, relays.directory, parties=parties))
        assert raised(lambda bad=bad: log_keys(bad, TH)).field == "relays.log_keys"


# The operator and the auditor


def test_the_command_makes_keys_once_and_registers_both_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_exchange(tmp_path / "exchange", {"th": "127.0.0.1:0", "sg": "127.0.0.1:1"}) / "relay-th"
    config = folder / "relay.toml"
    capsys.readouterr()
    assert infoexchange_relay("next-log", "--config", config, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["origin"] == f"{said['before']}-2"
    registration = json.loads((folder / "registration.json").read_bytes())
    origins = [key.partition("+")[0] for key in registration["log_keys"]]
    assert origins == [said["origin"]] * 2 + [said["before"]] * 2
    assert infoexchange_relay("next-log", "--config", config, "--json") == 0
    assert json.loads((folder / "registration.json").read_bytes()) == registration
    capsys.readouterr()


@pytest.mark.parametrize(
    ("origin", "end"),
    [
        ("relay.th.example/audit/2026h1", (2026, 7, 1)),
        ("relay.th.example/audit/2026h2-3", (2027, 1, 1)),
        ("relay.th.example/audit/2026h3", None),
        ("relay.th.example", None),
    ],
)
def test_a_log_is_named_after_its_half_year(origin: str, end: tuple[int, int, int] | None) -> None:
    assert half_year_end(origin) == (datetime(*end, tzinfo=UTC) if end else None)
