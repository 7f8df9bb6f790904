"""Upgrade: another version is installed beside, and the one before runs again whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from operated import PATIENCE, Machine

pytestmark = pytest.mark.timeout(PATIENCE)

OFFLINE = ("--no-index", "--no-deps")
DIES = """\
import sys
def main():
    if "serve" in sys.argv:
        sys.exit("it cannot")
"""
# Changes the tables before it dies, as a version does that fails after its migration.
CHANGES = f"""\
{DIES.rstrip()[: DIES.index("        sys.exit")]}\
        import pathlib, sqlite3
        file = pathlib.Path(sys.argv[sys.argv.index("--config") + 1]).parent / "data" / "relay.sqlite3"
        sqlite3.connect(file).execute("PRAGMA user_version = 99")
        sys.exit("it cannot")
"""
OTHER_SETTINGS = """\
import sys
def main():
    sys.exit(3)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()


def same(machine: Machine) -> None:
    """The version before runs, with all that was accepted, and takes more."""
    assert machine.programs.readlink() == machine.folder / "programs-1"
    assert machine.runs
    machine.send()
    machine.size()


def test_another_version_goes_on_with_the_log(machine: Machine) -> None:
    digest, before, pid = machine.send(), machine.size(), machine.pid
    said = machine.does("upgrade.sh", "2", *OFFLINE, machine.wheel("2"))
    assert "takes messages" in said
    assert machine.programs.readlink() == machine.folder / "programs-2"
    assert machine.pid != pid
    assert machine.received() == [digest]
    assert machine.size() > before
    assert [file.name[:9] for file in machine.backups.iterdir()] == ["before-2-"]
    assert "is there already" in machine.refuses("upgrade.sh", "2", *OFFLINE, machine.wheel("2"))


def test_a_version_that_does_not_start(machine: Machine) -> None:
    digest = machine.send()
    assert "the version before runs again, " in machine.refuses("upgrade.sh", "2", *OFFLINE, machine.wheel("2", DIES))
    same(machine)
    assert digest in machine.received()


def test_a_version_that_changes_the_tables_and_does_not_start(machine: Machine) -> None:
    digest = machine.send()
    said = machine.refuses("upgrade.sh", "2", *OFFLINE, machine.wheel("2", CHANGES))
    assert "the version before runs again on the data of" in said
    same(machine)
    assert digest in machine.received()


def test_what_cannot_be_installed_or_cannot_read_the_settings_stops_nothing(machine: Machine) -> None:
    pid = machine.pid
    assert "not installed" in machine.refuses("upgrade.sh", "2", *OFFLINE, machine.folder / "none.whl")
    wheel = machine.wheel("2", OTHER_SETTINGS)
    assert "cannot read" in machine.refuses("upgrade.sh", "2", *OFFLINE, wheel)
    assert not (machine.folder / "programs-2").exists()
    assert machine.pid == pid
    same(machine)
    machine.stop()
    assert "does not take messages now" in machine.refuses("upgrade.sh", "2", *OFFLINE, wheel)


def test_without_a_backup_nothing_is_exchanged(machine: Machine) -> None:
    machine.backups.write_text("a file where the folder should be")
    said = machine.refuses("upgrade.sh", "2", *OFFLINE, machine.wheel("2"))
    assert "cannot be made" in said
    same(machine)
