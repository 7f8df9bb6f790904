"""An auditor's inspection of a log: every finding good or bad for its own reason, and no changed bit unnoticed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import AGENCIES, RECIPIENT, SENDER
from exported_logs import export, idle_bits, talk
from infoexchange.audit import are_leaves, commitments, commitments_in
from infoexchange.cli.audit.verifying import Witnessed, inspect_folder
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.exported import LogFolder, export_log
from infoexchange.exported.folder import directory_path
from infoexchange.inspection import Inspection, Standard, history
from infoexchange.listing import Roots
from infoexchange.record import LogRecord, parse_records, records_path, write_records
from infoexchange.states import Event
from infoexchange.testing import DirectRelay, Exchange
from infoexchange.tlog import Checkpoint, Policy
from infoexchange.v1 import audit_pb2
from infoexchange.verdict import Report, Verdict
from messages import officer_acknowledgement
from spoilt_logs import SPOILT, in_record

HOME, PEER = "relay.th.example", "relay.vn.example"
EVERY = ["checkpoint", "witnesses", "entries", "tiles", "root", "records", "documents"]


@pytest.fixture(scope="module")
def busy() -> Exchange:
    exchange = Exchange(AGENCIES)
    talk(exchange)
    exchange.witness()
    return exchange


@pytest.fixture(scope="module", params=[HOME, PEER])
def whole(request: pytest.FixtureRequest, busy: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(busy, tmp_path_factory.mktemp("whole"), request.param)


@pytest.fixture(scope="module")
def home(busy: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(busy, tmp_path_factory.mktemp("home"), HOME)


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(home, tmp_path / "log"))


def inspect(exchange: Exchange, folder: Path, **standard: Any) -> Report:
    log = LogFolder(folder)
    measure = Standard(**{"directories": [exchange.directory], **standard})
    return Inspection(log, measure, now=exchange.clock(), files=log).report()


def found(report: Report) -> dict[str, tuple[Verdict, str]]:
    return {check.name: (check.verdict, check.reason) for check in report.checks}


def faults(report: Report) -> dict[str, str]:
    return {check.name: check.reason for check in report.checks if check.verdict is Verdict.TOTAL_FAILED}


def test_a_whole_log_passes(busy: Exchange, whole: Path) -> None:
    report = inspect(busy, whole)
    assert [check.name for check in report.checks] == EVERY
    assert report.verdict is Verdict.TOTAL_PASSED, report
    details = {check.name: check.detail for check in report.checks}
    size = LogFolder(whole).size
    assert details["records"].startswith(f"{size} of {size} shown")
    assert not details["documents"].startswith("0 ")


def test_progress_is_told(busy: Exchange, home: Path) -> None:
    told: list[tuple[int, int]] = []
    log = LogFolder(home)
    Inspection(log, Standard(directories=[busy.directory]), now=busy.clock(), files=log).report(
        lambda done, total: told.append((done, total))
    )
    assert told == [(log.size, log.size)]


def test_a_log_that_shows_nothing_passes_and_says_so(busy: Exchange, tmp_path: Path) -> None:
    report = inspect(busy, export(busy, tmp_path, HOME, ()))
    assert report.verdict is Verdict.TOTAL_PASSED
    assert report.checks[-2].detail.startswith("0 of ")


def test_a_relay_is_inspected_without_files(busy: Exchange) -> None:
    node = busy.nodes[HOME]
    remote = DirectRelay(busy, node, busy.directory.party(SENDER, at=busy.clock()))
    standard = Standard(directories=[busy.directory], relay=HOME)
    report = Inspection(remote, standard, now=busy.clock()).report()
    assert [check.name for check in report.checks] == ["checkpoint", "witnesses", "entries", "root"]
    assert report.verdict is Verdict.TOTAL_PASSED
    other = Standard(directories=[busy.directory], relay=PEER)
    assert faults(Inspection(remote, other, now=busy.clock()).report()) == {"checkpoint": "unknown_party"}


def test_of_a_relay_the_cosigned_part_is_verified(tmp_path: Path) -> None:
    exchange = Exchange(AGENCIES)
    talk(exchange)
    remote = DirectRelay(exchange, exchange.nodes[HOME], exchange.directory.party(SENDER, at=exchange.clock()))

    def judged() -> tuple[Verdict, int, str]:
        log = Witnessed(remote)
        report = Inspection(log, Standard(directories=[exchange.directory]), now=exchange.clock()).report()
        return report.verdict, log.later, report.checks[0].detail

    size = exchange.nodes[HOME].ledger.size
    assert judged()[:2] == (Verdict.INDETERMINATE, 0)  # before there is a cosigned one
    exchange.witness()
    assert judged()[:2] == (Verdict.TOTAL_PASSED, 0)
    exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT])
    more = exchange.nodes[HOME].ledger.size - size
    assert more > 0
    verdict, later, detail = judged()
    assert (verdict, later) == (Verdict.TOTAL_PASSED, more)
    assert detail.startswith(f"{size} entries of ")


def test_a_relay_that_goes_away_is_no_finding(busy: Exchange) -> None:
    class Gone(DirectRelay):
        def leaves(self, start: int, count: int) -> Sequence[bytes]:
            raise error(Reason.UNAVAILABLE, field="relay", detail="gone")

    gone = Gone(busy, busy.nodes[HOME], busy.directory.party(SENDER, at=busy.clock()))
    with pytest.raises(ExchangeError, match="gone"):
        Inspection(gone, Standard(directories=[busy.directory]), now=busy.clock()).report()


# Witnesses


def test_without_witnesses_the_question_stays_open(busy: Exchange, tmp_path: Path) -> None:
    ledger = busy.nodes[HOME].ledger
    export_log(ledger.store, tmp_path, Checkpoint.parse(ledger.checkpoint()))
    report = inspect(busy, tmp_path)
    assert found(report)["witnesses"] == (Verdict.INDETERMINATE, "too few witnesses")
    assert report.verdict is Verdict.INDETERMINATE
    # The cosigned one of the same size takes its place in the next run, and stays whoever comes later.
    for raw in (ledger.published(), ledger.checkpoint()):
        export_log(ledger.store, tmp_path, Checkpoint.parse(raw))
        assert inspect(busy, tmp_path).verdict is Verdict.TOTAL_PASSED


def test_the_auditors_own_policy_decides(busy: Exchange, home: Path) -> None:
    none = Policy.make(busy.community.log_keys[HOME].verifier_keys, [], [], b"none")
    assert found(inspect(busy, home, policy=none))["witnesses"] == (Verdict.INDETERMINATE, "no quorum rule")
    witnesses = [b"witness w %s\nquorum w\n" % str(k).encode() for k in busy.community.witness_keys[PEER].verifier_keys]
    assert inspect(busy, home, policy=Policy.parse(witnesses[0])).verdict is Verdict.TOTAL_PASSED
    own = str(busy.community.witness_keys[HOME].verifier_keys[0]).encode()
    policy = Policy.parse(b"witness w %s\nquorum w\n" % own)
    assert found(inspect(busy, home, policy=policy))["witnesses"] == (Verdict.INDETERMINATE, "too few witnesses")


# Faults, each with its finding and reason


@pytest.mark.parametrize("name", SPOILT)
def test_each_fault_is_a_finding_of_its_own(busy: Exchange, folder: Path, name: str) -> None:
    spoil, expected = SPOILT[name]
    spoil(folder)
    report = inspect(busy, folder)
    assert faults(report) == expected
    assert report.verdict is Verdict.TOTAL_FAILED


def test_a_document_that_the_entry_does_not_name_is_found(busy: Exchange, tmp_path: Path) -> None:
    """Another one of the same kind: another agency's bundle, another message's manifest."""
    folder = export(busy, tmp_path, HOME)
    log = LogFolder(folder)
    records = [r for r in log.records(0, log.size) if r and r.event is Event.KEY_BUNDLE]
    assert len(records) > 1
    in_record(folder, Event.KEY_BUNDLE, lambda m: setattr(m, "document", records[-1].exhibit))
    assert faults(inspect(busy, folder)) == {"documents": "bad_proof"}
    folder = export(busy, tmp_path / "none", HOME)
    raws = parse_records((folder / records_path(0, log.size)).read_bytes(), log.size)
    message = audit_pb2.LogRecord.FromString(raws[0])  # LOG_GENESIS names none
    message.document = b"x"
    raws[0] = message.SerializeToString(deterministic=True)
    (folder / records_path(0, log.size)).write_bytes(write_records(raws))
    assert faults(inspect(busy, folder)) == {"documents": "bad_proof"}


def test_a_receipt_of_an_unknown_log_is_open(busy: Exchange, home: Path) -> None:
    listing = busy.directory.listing
    parties = tuple(p for p in listing.parties if p.relay != PEER)
    payload = replace(listing, parties=parties, groups=()).payload
    smaller = Directory.parse(Directory.sign(payload, busy.community.root_keys[:2]), roots=busy.community.roots)
    report = inspect(busy, home, directories=[smaller])
    assert found(report)["documents"] == (Verdict.INDETERMINATE, "another directory")


def test_a_checkpoint_of_the_future_and_of_nobody(busy: Exchange, home: Path) -> None:
    log = LogFolder(home)
    early = busy.clock() - timedelta(hours=1)
    report = Inspection(log, Standard(directories=[busy.directory]), now=early, files=log).report()
    assert faults(report) == {"checkpoint": "not_yet_valid", "witnesses": "not_yet_valid"}
    stranger = Exchange({"xx": ["desk"], "yy": ["desk"]})
    report = Inspection(log, Standard(directories=[stranger.directory]), now=busy.clock(), files=log).report()
    assert faults(report)["checkpoint"] == "unknown_party"


def test_no_changed_bit_passes(busy: Exchange, folder: Path) -> None:
    """Whichever file it is in, whatever it means there."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    roots = busy.community.roots
    every = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(every) == 5

    def judged() -> Verdict:
        return inspect_folder(LogFolder(folder), roots).verdict

    assert judged() is Verdict.TOTAL_PASSED
    for path in every:
        raw = path.read_bytes()
        idle = idle_bits(raw) if path.name == "checkpoint" else set()
        for bit in rng.sample([bit for bit in range(8 * len(raw)) if bit not in idle], 16):
            path.write_bytes(raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :])
            assert judged() is not Verdict.TOTAL_PASSED, (path.name, bit)
        path.write_bytes(raw)


def test_a_witness_by_another_name_is_a_stranger(busy: Exchange, folder: Path) -> None:
    """The bits that may change unseen: with every witness's name changed nobody is left who has seen the log."""
    raw = (folder / "checkpoint").read_bytes()
    (folder / "checkpoint").write_bytes(raw.replace(b"/witness ", b"/witnesr "))
    assert found(inspect(busy, folder))["witnesses"] == (Verdict.INDETERMINATE, "too few witnesses")


# Directories


def test_directories_are_read_from_the_first_that_the_roots_have_signed(busy: Exchange) -> None:
    community = busy.community
    first = busy.directory
    second = Directory.sign(replace(first.listing, version=2, previous=first.digest).payload, community.root_keys[:2])
    third = Directory.sign(
        replace(first.listing, version=3, previous=Directory.held(second).digest).payload, community.root_keys[:2]
    )
    stranger = Exchange({"xx": ["desk"]}).directory.raw
    assert [d.version for d in history([stranger, first.raw, second, third], community.roots)] == [1, 2, 3]
    assert history([stranger], community.roots) == []
    with pytest.raises(ExchangeError) as caught:
        history([first.raw, third], community.roots)
    assert caught.value.reason is Reason.DIRECTORY_ROLLBACK


def test_the_auditors_own_directory_comes_first(busy: Exchange, folder: Path) -> None:
    roots, own = busy.community.roots, busy.directory
    # The folder's clock is the exchange's; a report by today's clock is good as well.
    assert inspect_folder(LogFolder(folder), roots).verdict is Verdict.TOTAL_PASSED
    assert inspect_folder(LogFolder(folder), roots, own).verdict is Verdict.TOTAL_PASSED
    other = Directory.sign(replace(own.listing, suites=own.listing.suites[:1]).payload, busy.community.root_keys[:2])
    (folder / directory_path(1, other)).write_bytes(other)
    assert faults(inspect_folder(LogFolder(folder), roots, own)) == {"directory": "log_fork"}
    for file in (folder / "directories").iterdir():
        file.unlink()
    assert faults(inspect_folder(LogFolder(folder), roots)) == {"directory": "bad_signature"}
    assert inspect_folder(LogFolder(folder), roots, own).verdict is Verdict.TOTAL_PASSED
    strangers = Roots.parse(Exchange({"xx": ["desk"]}).community.roots.raw)
    assert faults(inspect_folder(LogFolder(folder), strangers)) == {"directory": "bad_signature"}


# Leaves


def test_leaves_read_together_are_those_read_one_by_one(busy: Exchange) -> None:
    leaves = list(busy.nodes[HOME].store.leaves(0, 99))
    assert are_leaves(leaves)
    assert [commitments_in(leaf) for leaf in leaves] == [commitments(leaf) for leaf in leaves]
    assert are_leaves([])
    for place in range(104):
        spoilt = bytearray(leaves[1])
        spoilt[place] ^= 1 << random.randrange(8)
        try:
            commitments(bytes(spoilt))
            good = True
        except ExchangeError:
            good = False
        assert are_leaves([leaves[0], bytes(spoilt), leaves[2]]) == good, place
    assert not are_leaves([leaves[0] + b"\x00", leaves[1][:-1]])
    with pytest.raises(ExchangeError, match="31 bytes"):
        commitments(leaves[0].replace(b"\x12\x20", b"\x12\x1f", 1)[:36][:-1] + leaves[0][36:])


def test_an_empty_record_is_of_any_leaf() -> None:
    assert LogRecord.parse(b"").is_empty
