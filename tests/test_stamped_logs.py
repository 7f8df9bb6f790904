"""Stamped checkpoints in an exported log: they go along, and an auditor judges each of them, offline."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from command_setup import infoexchange
from conftest import AGENCIES
from exported_logs import talk
from infoexchange.exported import LogFolder, StampedNote, Stamps, export_log, verify_stamp
from infoexchange.log import log_keys
from infoexchange.testing import Exchange, FakeClock
from infoexchange.tlog import Checkpoint
from infoexchange.tsa import Authorities, TimeQuery
from timekeeper import NAME, Timekeeper, timekeeper

HOME, PEER = "relay.th.example", "relay.vn.example"


class Case:
    """A log that was stamped twice, and once more after what is exported."""

    def __init__(self, folder: Path) -> None:
        self.keeper = timekeeper(folder / "authority")
        self.exchange = Exchange(AGENCIES, clock=FakeClock(datetime.now(UTC)))
        self.ledger = self.exchange.nodes[HOME].ledger
        self.stamps = Stamps(folder / "timestamps")
        self.folder = folder / "log"
        self.roots = folder / "roots.pb"
        self.tsa_roots = self.keeper.folder / "roots.pem"
        self.roots.write_bytes(self.exchange.community.roots.raw)
        for _ in range(3):
            talk(self.exchange)
            self.exchange.witness()
            self.stamp(self.ledger.cosigned())
        self.sizes = self.stamps.sizes()
        self.export(self.sizes[1])

    def stamp(self, note: bytes, *, folder: Stamps | None = None, size: int = 0) -> None:
        token = self.keeper.reply(TimeQuery.make(note).raw)
        (folder or self.stamps).put(StampedNote(size or Checkpoint.parse(note).size, note, token))

    def export(self, size: int) -> int:
        """Export up to one of the stamped checkpoints; return how many timestamps there are then."""
        checkpoint = Checkpoint.parse(self.stamps.read(size).note)
        return export_log(self.ledger.store, self.folder, checkpoint, stamps=self.stamps).stamps


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("stamped"))


@pytest.fixture
def spoilt(case: Case, tmp_path: Path) -> Path:
    """A copy of the exported log, for a test that changes it."""
    return shutil.copytree(case.folder, tmp_path / "log")


def verify(capsys: pytest.CaptureFixture[str], case: Case, log: Path, *more: object) -> dict[str, Any]:
    capsys.readouterr()
    code = infoexchange("audit", "verify-log", log, "--roots", case.roots, "--json", *more)
    printed = capsys.readouterr()
    return json.loads(printed.out) | {"code": code, "err": printed.err}


def finding(capsys: pytest.CaptureFixture[str], case: Case, log: Path) -> dict[str, str]:
    """The finding on timestamps that do not hold; nothing else of the log is worse than open."""
    found = verify(capsys, case, log, "--tsa-roots", case.tsa_roots)
    assert (found["code"], found["verdict"]) == (1, "TOTAL-FAILED")
    failed = [check for check in found["checks"] if check["verdict"] == "TOTAL-FAILED"]
    assert [check["name"] for check in failed] == ["timestamps"]
    return failed[0]


def test_what_the_checkpoint_covers_goes_along(case: Case) -> None:
    assert Stamps(case.folder / "timestamps").sizes() == case.sizes[:2]
    assert case.export(case.sizes[1]) == 2  # the same again adds nothing
    for size in case.sizes[:2]:
        assert Stamps(case.folder / "timestamps").read(size) == case.stamps.read(size)


def test_each_token_gives_the_time_by_which_entries_existed(capsys: pytest.CaptureFixture[str], case: Case) -> None:
    found = verify(capsys, case, case.folder, "--tsa-roots", case.tsa_roots)
    assert (found["code"], found["verdict"]) == (0, "TOTAL-PASSED")
    check = found["checks"][-1]
    assert (check["name"], check["verdict"]) == ("timestamps", "TOTAL-PASSED")
    first, last = found["timestamps"]
    assert [first["size"], last["size"]] == case.sizes[:2]
    for told in (first, last):
        assert f"the first {told['size']} entries existed by {told['existed_by']}, says {NAME}" in check["detail"]
        assert told["time"] < told["existed_by"]
        assert (told["verified"], told["authority"], told["accuracy_seconds"]) == (True, NAME, 1.5)


def test_the_account_of_a_log_has_the_finding_too(
    capsys: pytest.CaptureFixture[str], case: Case, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    words = ("audit", "report", case.folder, "--roots", case.roots, "--html", page)
    assert infoexchange(*words, "--tsa-roots", case.tsa_roots) == 2  # nothing is shown of the entries
    assert f"says {NAME}" in page.read_text()
    assert f"--tsa-roots {case.tsa_roots}" in page.read_text()  # for whoever wants to find the same
    assert infoexchange(*words) == 2
    assert "timestamps" not in page.read_text()
    assert infoexchange(*words, "--tsa-roots", "nowhere.pem") == 1
    assert "nowhere.pem" in capsys.readouterr().err


def test_without_roots_nothing_is_judged_and_nothing_is_open(
    capsys: pytest.CaptureFixture[str], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)  # nor is the extra needed
    found = verify(capsys, case, case.folder)
    assert (found["code"], found["verdict"]) == (0, "TOTAL-PASSED")
    assert "timestamps" not in [check["name"] for check in found["checks"]]
    assert found["timestamps"] == [{"size": size, "verified": False} for size in case.sizes[:2]]
    assert "2 timestamps were not judged" in found["err"]
    words = ("audit", "verify-log", case.folder, "--roots", case.roots, "--tsa-roots", case.tsa_roots)
    assert infoexchange(*words) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert "pip install 'infoexchange[tsa]'" in printed.err


def test_asked_for_and_not_there_is_open(capsys: pytest.CaptureFixture[str], case: Case, spoilt: Path) -> None:
    shutil.rmtree(spoilt / "timestamps")
    found = verify(capsys, case, spoilt, "--tsa-roots", case.tsa_roots)
    assert (found["code"], found["verdict"], found["timestamps"]) == (2, "INDETERMINATE", [])
    assert verify(capsys, case, spoilt)["code"] == 0


def swapped(case: Case, stamps: Stamps) -> None:
    """The token of one checkpoint beside another."""
    first, second = (stamps.read(size) for size in case.sizes[:2])
    stamps.put(StampedNote(first.size, first.note, second.token))


def renamed(case: Case, stamps: Stamps) -> None:
    """A good pair under another size."""
    first = stamps.read(case.sizes[0])
    stamps.put(StampedNote(first.size - 1, first.note, first.token))


def beyond(case: Case, stamps: Stamps) -> None:
    """A good pair of what the folder does not hold."""
    stamps.put(case.stamps.read(case.sizes[2]))


def foreign(case: Case, stamps: Stamps) -> None:
    """A checkpoint of another log."""
    note = case.exchange.nodes[PEER].ledger.cosigned()
    case.stamp(note, folder=stamps)


def other_history(case: Case, stamps: Stamps) -> None:
    """A checkpoint that the log's own keys have signed, of a tree that is not this one's."""
    keys, size = case.exchange.community.log_keys[HOME], case.sizes[0]
    case.stamp(keys.sign(size, bytes(32), now=case.exchange.clock()).raw, folder=stamps)


def unsigned(case: Case, stamps: Stamps) -> None:
    """A checkpoint that nobody has signed."""
    note = stamps.read(case.sizes[0]).note
    case.stamp(note[: note.index(b"\n\n") + 2], folder=stamps, size=case.sizes[0])


def one_cosignature_less(case: Case, stamps: Stamps) -> None:
    """The same checkpoint, and not the same bytes."""
    found = stamps.read(case.sizes[0])
    lines = found.note.splitlines(keepends=True)
    stamps.put(StampedNote(found.size, b"".join(lines[:-1]), found.token))


def no_note(case: Case, stamps: Stamps) -> None:
    """A token alone."""
    stamps.files(case.sizes[0])[1].unlink()


def garbage(case: Case, stamps: Stamps) -> None:
    """What is no token."""
    stamps.files(case.sizes[0])[0].write_bytes(b"<html>")


@pytest.mark.parametrize(
    ("change", "reason", "file"),
    [
        (swapped, "bad_proof", ".tsr"),
        (renamed, "bad_proof", ".checkpoint"),
        (beyond, "bad_proof", ".checkpoint"),
        (foreign, "unknown_party", ".checkpoint"),
        (other_history, "bad_proof", ".checkpoint"),
        (unsigned, "malformed", ".checkpoint"),
        (one_cosignature_less, "bad_proof", ".tsr"),
        (no_note, "unavailable", ".checkpoint"),
        (garbage, "malformed", ".tsr"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_timestamp_that_does_not_hold_fails_and_is_named(
    capsys: pytest.CaptureFixture[str],
    case: Case,
    spoilt: Path,
    change: Callable[[Case, Stamps], None],
    reason: str,
    file: str,
) -> None:
    change(case, Stamps(spoilt / "timestamps"))
    check = finding(capsys, case, spoilt)
    assert check["reason"] == reason
    assert str(spoilt / "timestamps") in check["detail"]
    assert f"{file}: " in check["detail"]


def test_other_authorities_are_not_believed(
    capsys: pytest.CaptureFixture[str], case: Case, spoilt: Path, tmp_path: Path
) -> None:
    other = Timekeeper(tmp_path / "other", name="Another")
    found = verify(capsys, case, spoilt, "--tsa-roots", other.folder / "roots.pem")
    assert found["code"] == 1
    assert "not signed by a time authority under the certificates given, and 1 more" in found["checks"][-1]["detail"]
    both = tmp_path / "both.pem"
    both.write_bytes(other.roots + case.keeper.roots)
    assert verify(capsys, case, spoilt, "--tsa-roots", both)["code"] == 0


def test_a_program_verifies_one_by_one(case: Case) -> None:
    keys = log_keys(case.exchange.directory, HOME)
    authorities = Authorities.parse(case.keeper.roots)
    times = [verify_stamp(LogFolder(case.folder), s, keys, authorities, now=datetime.now(UTC)) for s in case.sizes[:2]]
    assert times[0].by <= times[1].by


def test_one_line_says_what_is_wrong_with_the_command(capsys: pytest.CaptureFixture[str], case: Case) -> None:
    for code, words in (
        (1, (case.folder, "--roots", case.roots, "--tsa-roots", "nowhere.pem")),
        (1, (case.folder, "--roots", case.roots, "--tsa-roots", case.roots)),
        (3, (HOME, "--home", case.folder, "--tsa-roots", case.tsa_roots)),
    ):
        capsys.readouterr()
        assert infoexchange("audit", "verify-log", *words) == code
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1), printed
