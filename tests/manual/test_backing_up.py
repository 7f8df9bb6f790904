"""Backups by a timer, and the relay again on a machine that has lost its data, its latch, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infoexchange_relay.stores import open_store
from operated import PATIENCE, Machine

pytestmark = pytest.mark.timeout(PATIENCE)
LONG_AGO = 1_700_000_000  # in 2023


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()


def test_old_backups_go_when_a_new_one_is_whole(machine: Machine) -> None:
    machine.backups.mkdir()
    for name in ("relay-20231114T000000Z.tar", "before-1-20231114T000000Z.tar", "notes.txt"):
        (machine.backups / name).write_text("old")
        os.utime(machine.backups / name, (LONG_AGO, LONG_AGO))
    (machine.backups / "relay-20991114T000000Z.tar").write_text("young")
    # A store that cannot be read: no backup, and the old one is kept.
    database, kept = machine.relay / "data" / "relay.sqlite3", machine.folder / "kept"
    machine.stop()
    database.rename(kept)
    database.write_bytes(b"nothing that anybody could read")
    assert "none deleted" in machine.refuses("back-up.sh", 30)
    database.unlink()
    kept.rename(database)
    assert len(list(machine.backups.iterdir())) == 4
    machine.start()
    said = machine.does("back-up.sh", 30)
    assert "Digest of its manifest" in said
    assert "deleted" in said
    left = sorted(file.name for file in machine.backups.iterdir())
    assert left[0] == "before-1-20231114T000000Z.tar"
    assert left[1] == "notes.txt"
    assert left[3] == "relay-20991114T000000Z.tar"
    assert "relay-20231114T000000Z.tar" not in left
    assert len(left) == 4
    assert machine.run("back-up.sh", "x").returncode == 3


def test_lost_data_and_what_is_too_old(machine: Machine) -> None:
    machine.does("back-up.sh")
    [old] = machine.backups.iterdir()
    digest = machine.send()
    said = machine.refuses("restore.sh", old)
    assert "nothing was changed" in said
    assert machine.runs  # as it did before
    machine.stop()
    machine.environment["RELAY_BACKUPS"] = str(machine.folder / "newer")
    newer = machine.does("back-up.sh")
    [new] = (machine.folder / "newer").iterdir()
    machine.lose("data")
    assert "nothing was changed" in machine.refuses("restore.sh", old)
    assert "nothing was changed" in machine.refuses("restore.sh", new, "00" * 32)
    [kept] = [line.rpartition(" ")[2] for line in newer.splitlines() if "Digest" in line]
    assert "takes messages again" in machine.does("restore.sh", new, kept)
    assert machine.received() == [digest]


def test_a_lost_latch_and_a_log_that_is_not_lost(machine: Machine) -> None:
    digest = machine.send()
    assert "nothing was changed" in machine.refuses("recover.sh", "begin", "--yes")
    assert machine.runs
    machine.does("back-up.sh")
    [backup] = machine.backups.iterdir()
    machine.kill()
    machine.lose("data", "latch")
    assert "recover.sh begin" in machine.does("restore.sh", backup)
    assert not machine.runs
    before = (machine.relay / "directory.pb").read_bytes()
    machine.does("recover.sh", "begin", "--yes")
    # A version that too few have signed, and one that still lists the lost log.
    for wrong in (
        machine.directory("one.pb", signers=1),
        machine.directory("old.pb", log_keys=machine.sites.community.directory.listed("relay.xa.example").log_keys),
    ):
        assert "is the version of before" in machine.refuses("recover.sh", "finish", wrong)
        assert (machine.relay / "directory.pb").read_bytes() == before
        assert not machine.runs
    assert "the new log grows" in machine.does("recover.sh", "finish", machine.directory("two.pb"))
    assert machine.received() == [digest]
    with open_store(machine.relay / "data" / "relay.sqlite3") as store:
        assert store.head().size
    assert list((machine.relay / "data").glob("lost-*"))
