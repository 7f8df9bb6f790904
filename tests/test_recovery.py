"""Recovery: an old copy of the data signs nothing; a new log names the lost one and takes what still waited in it."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace

import pytest

import postgres
from infoexchange.audit import GROUPS, Routing, Subject
from infoexchange.directory import Directory
from infoexchange.errors import Reason
from infoexchange.exhibit import check_exhibit
from infoexchange.exported import LogFolder, export_log
from infoexchange.inspection import Inspection, Standard
from infoexchange.log import LogKeys
from infoexchange.ports import Notice
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import DEFAULT_SUITE
from infoexchange.tlog import Checkpoint
from infoexchange.transport import utc_now
from infoexchange_relay import recovery, renewal, witnessing
from infoexchange_relay.lock import locked
from patience import until
from relays import A2, AGENCIES, A, B, Relays, delivered, fetched, raised

TH = "relay.th.example"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(renewal, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.1)


@pytest.fixture
def relays(tmp_path):
    with contextlib.closing(Relays(tmp_path, AGENCIES)) as relays:
        yield relays


def submitted(relays, envelope) -> Receipt:
    [receipt] = relays.remote(A).submit([envelope.raw])
    assert isinstance(receipt, Receipt)
    return receipt


def registered(relays, keys: LogKeys) -> Directory:
    """The next directory version, which lists the keys of the new log, at both relays."""
    listing = relays.directory.listing
    new = tuple(str(key) for key in keys.verifier_keys)
    parties = tuple(replace(p, log_keys=new) if p.name == keys.relay else p for p in listing.parties)
    listing = replace(listing, version=2, previous=relays.directory.digest, parties=parties)
    raw = Directory.sign(listing.payload, relays.community.root_keys[:2])
    for config in relays.configs.values():
        config.directory.write_bytes(raw)
    return Directory.held(raw)


def entries(node):
    return [(r.event, r) for r in node.store.records(range(node.store.head().size))]


@pytest.fixture
def lost(relays):
    """A relay that was given back yesterday's data, with what it had acknowledged before and after."""
    relays.start("vn")
    relays.start("th")
    relays.publish()
    relays.stop("vn")
    relays.before = [relays.seal(A, [B]), relays.seal(A, [A2]), relays.seal(A, [B])]
    relays.receipts = [submitted(relays, envelope) for envelope in relays.before]
    config = relays.configs["th"]
    # The sender takes the last one back; its order has to reach the other relay too.
    member = relays.community.members[A]
    said = Recalled(
        envelope_digest=relays.before[2].digest,
        issuer=A,
        issuer_bundle=member.bundle.digest,
        suite=DEFAULT_SUITE.number,
        recipients=(B,),
        at=utc_now(),
    )
    order = RecallOrder.sign(said, member.identity.epochs[0])
    [taken] = relays.remote(A).acknowledge([Notice(said.envelope_digest, Event.RECALLED, order.raw)])
    assert isinstance(taken, Receipt)
    relays.stop("th")
    yesterday = config.data.with_name("yesterday")
    shutil.copytree(config.data, yesterday)
    store = postgres.copied(config.store)
    relays.start("th")
    relays.after = relays.seal(A, [A2])
    relays.receipts.append(submitted(relays, relays.after))
    delivered(relays.remote(A2), fetched(relays.remote(A2)))
    relays.stop("th")
    shutil.rmtree(config.data)
    yesterday.rename(config.data)
    relays.configs["th"] = replace(config, store=store)
    return relays


def test_an_old_copy_signs_nothing_and_says_what_to_do(lost: Relays) -> None:
    problem = raised(lambda: lost.start("th"))
    assert problem.reason is Reason.LOG_STOPPED
    assert "an old copy was put in place" in problem.detail
    assert "infoexchange-relay recover" in problem.next_step


def test_a_new_log_names_the_lost_one_and_takes_what_waited(lost: Relays, tmp_path) -> None:
    config, old_keys = lost.configs["th"], lost.community.log_keys[TH]
    last = Checkpoint.parse(config.latch.read_bytes())
    loss = recovery.assess(config)
    assert (loss.origin, loss.size, loss.checkpoint) == (old_keys.origin, last.size, last.raw)
    assert "old copy" in loss.why
    keys = recovery.begin_anew(config, loss, now=utc_now())
    assert (keys.origin, keys.relay) == (f"{old_keys.origin}-2", TH)
    # Nobody could verify receipts of a log that the directory does not list.
    problem = raised(lambda: lost.start("th"))
    assert (problem.reason, problem.field) == (Reason.BAD_FIELD, str(config.log_keys))
    assert "registration.json" in problem.next_step
    two = registered(lost, keys)
    node = lost.start("th").node
    found = entries(node)
    assert [event for event, _ in found[:3]] == [Event.LOG_GENESIS, Event.RECOVERY, Event.DIRECTORY_VERSION]
    [recovered] = node.store.exhibits(Event.RECOVERY)
    assert recovered == last.raw
    assert Routing.parse(found[1][1].entry.routing).this_relay == TH
    exported = export_log(node.store, tmp_path / "log", Checkpoint.parse(node.ledger.checkpoint()), shown=GROUPS)
    assert exported.size == node.ledger.size
    standard = Standard(directories=[two])
    judged = Inspection(
        LogFolder(tmp_path / "log"), standard, now=utc_now(), files=LogFolder(tmp_path / "log")
    ).report()
    assert {check.name: check.reason for check in judged.checks}["documents"] == ""
    wrong = Subject.parse(found[1][1].entry.message)
    assert (
        raised(lambda: check_exhibit(Event.RECOVERY, wrong, node.ledger.checkpoint(), [two])).reason is Reason.BAD_PROOF
    )
    # What waited yesterday goes on, also what was delivered since: whoever has it knows it.
    assert lost.before[1].digest in fetched(lost.remote(A2))
    lost.start("vn")
    until(lambda: lost.before[0].digest in fetched(lost.remote(B)))
    assert lost.before[2].digest not in fetched(lost.remote(B))  # it was recalled
    # Old proofs hold under the directory of their time, new ones under the new, and witnesses follow the new log.
    for receipt in lost.receipts:
        assert receipt.verify(lost.directory).origin == old_keys.origin
    assert submitted(lost, lost.seal(A, [A2])).verify(two).origin == keys.origin
    until(lambda: node.ledger.cosigned_size == node.ledger.size)
    # It starts like any other, and takes nothing twice.
    lost.stop("th")
    size = lost.start("th").node.store.head().size
    assert size == node.ledger.size
    assert raised(lambda: recovery.assess(config)).reason is Reason.NOT_PERMITTED


def test_what_was_lost_stays_as_evidence(lost: Relays) -> None:
    config = lost.configs["th"]
    contents = {path.name: path.read_bytes() for path in config.data.iterdir() if path.is_file()}
    note, key = config.latch.read_bytes(), config.log_keys.read_bytes()
    recovery.begin_anew(config, recovery.assess(config), now=utc_now())
    [aside] = config.data.glob("lost-*")
    if config.store:
        postgres_aside = pytest.importorskip("infoexchange_relay.stores.postgres_aside")
        [schema] = postgres_aside.lost(config.store)
        with postgres_aside.reading_lost(config.store, schema) as store:
            assert store.exhibits(Event.DIRECTORY_VERSION) == [lost.directory.raw]
        assert not postgres_aside.lost(config.store)
    else:
        assert (aside / "relay.sqlite3").read_bytes() == contents["relay.sqlite3"]
    assert [path.read_bytes() for path in config.latch.parent.glob("latch.lost-*")] == [note]
    assert [path.read_bytes() for path in config.log_keys.parent.glob("log.key.lost-*")] == [key]


@pytest.mark.parametrize(
    "place",
    ["infoexchange_relay.recovery.write_file", "pathlib.Path.rename", "infoexchange.home.keychain.write_new"],
)
def test_a_recovery_that_breaks_off_is_taken_up_again(lost: Relays, monkeypatch, place: str) -> None:
    config, note = lost.configs["th"], lost.configs["th"].latch.read_bytes()
    loss = recovery.assess(config)

    def fail(*_: object, **__: object) -> None:
        raise OSError("the power failed")

    with monkeypatch.context() as broken:
        broken.setattr(place, fail)
        with pytest.raises(OSError, match="power"):
            recovery.begin_anew(config, loss, now=utc_now())
    loss = recovery.assess(config)
    assert loss.checkpoint == note
    keys = recovery.begin_anew(config, loss, now=utc_now())
    assert keys.origin == f"{lost.community.log_keys[TH].origin}-2"
    assert config.predecessor.read_bytes() == note
    registered(lost, keys)
    assert lost.start("th").node.store.exhibits(Event.RECOVERY) == [note]


def test_nothing_is_lost_where_all_fits(relays: Relays) -> None:
    config = relays.configs["th"]
    assert raised(lambda: recovery.assess(config)).reason is Reason.NOT_PERMITTED  # not even begun
    relays.start("th")
    with locked(relays.configs["vn"]):
        assert raised(lambda: relays.start("vn")).reason is Reason.UNAVAILABLE
    relays.stop("th")
    assert raised(lambda: recovery.assess(config)).reason is Reason.NOT_PERMITTED


def test_all_is_lost(relays: Relays) -> None:
    config = relays.configs["th"]
    relays.start("th")
    relays.stop("th")
    for file in (config.log_keys, config.latch):
        file.unlink()
    shutil.rmtree(config.data)
    loss = recovery.assess(config)
    assert (loss.origin, loss.size, loss.why) == ("", 0, "the log keys are gone")
    keys = recovery.begin_anew(config, loss, now=utc_now())
    registered(relays, keys)
    found = entries(relays.start("th").node)
    assert [event for event, _ in found[:3]] == [Event.LOG_GENESIS, Event.RECOVERY, Event.DIRECTORY_VERSION]
    assert Subject.parse(found[1][1].entry.message).statement_digest == b""
