"""The commands around a log: exported beside a running relay, verified by anybody, one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from command_setup import infoexchange, infoexchange_relay
from conftest import RECIPIENT, SENDER
from infoexchange.cli.output import Output
from infoexchange.exported import LogFolder
from infoexchange.home import Home
from infoexchange.states import Event
from infoexchange.testing.sites import Sites
from infoexchange.transport import connect
from infoexchange_relay.config import Config
from messages import officer_acknowledgement
from patience import until

HOME, PEER = "relay.th.example", "relay.vn.example"
SHOWN = "routing,message"
FOR = ("--for", "the court of nowhere")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Two relays that run, and have something to tell."""
    folder = tmp_path_factory.mktemp("sites")
    made = Sites.make(folder, {"th": ["desk.oncb"], "vn": ["intel.c04"]}, now=datetime.now(UTC))
    with made.running():
        say(made)
        yield made


def say(sites: Sites) -> None:
    with connect(Home.open(sites.home(RECIPIENT))):
        pass
    with connect(Home.open(sites.home(SENDER))) as mailbox:
        mailbox.send(officer_acknowledgement(), to=[RECIPIENT])


def export(capsys: pytest.CaptureFixture[str], sites: Sites, folder: Path, *more: object) -> dict[str, Any]:
    capsys.readouterr()
    assert infoexchange_relay("export", "--config", sites.config(HOME), "--to", folder, "--json", *more) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def verify(capsys: pytest.CaptureFixture[str], log: object, *more: object) -> tuple[int, str, dict[str, str]]:
    """Exit code, verdict, and the verdicts of the checks."""
    capsys.readouterr()
    code = infoexchange("audit", "verify-log", log, "--json", *more)
    found = json.loads(capsys.readouterr().out)
    return code, found["verdict"], {check["name"]: check["verdict"] for check in found["checks"]}


def line(capsys: pytest.CaptureFixture[str], command: Any, code: int, *words: object) -> str:
    """The one line of a command that fails."""
    capsys.readouterr()
    assert command(*words) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1), printed
    return printed.err


def cosigned(sites: Sites, *, size: int, relay: str = HOME) -> None:
    """Wait until the witness has seen so many entries."""
    file = sites.config(relay).parent / "data" / "cosigned"
    until(lambda: file.exists() and int(file.read_bytes().splitlines()[1]) >= size)


def test_a_log_is_exported_beside_its_relay_and_grows(
    capsys: pytest.CaptureFixture[str], sites: Sites, tmp_path: Path
) -> None:
    roots, folder = sites.folder / "roots.pb", tmp_path / "log"
    cosigned(sites, size=3)
    first = export(capsys, sites, folder, "--groups", SHOWN, *FOR)
    assert (first["new"], first["groups"], first["directories"]) == (first["size"], ["routing", "message"], 1)
    assert verify(capsys, folder, "--roots", roots)[:2] == (0, "TOTAL-PASSED")
    say(sites)
    cosigned(sites, size=max(first["size"] + 2, first["entry"] + 1))
    second = export(capsys, sites, folder, "--groups", SHOWN, *FOR)
    assert second["new"] == second["size"] - first["size"] > 0
    code, verdict, checks = verify(capsys, folder, "--roots", roots)
    assert (code, verdict, set(checks.values())) == (0, "TOTAL-PASSED", {"TOTAL-PASSED"})
    assert list(checks) == [
        "directory", "checkpoint", "witnesses", "entries", "tiles", "root", "records", "documents"
    ]  # fmt: skip
    assert all(LogFolder(folder).records(0, second["size"]))
    # Each run that shows something leaves an entry, which the run after the next may add.
    [said] = LogFolder(folder).records(first["entry"], 1)
    assert said is not None
    assert said.event is Event.AUDIT_DISCLOSURE
    third = export(capsys, sites, folder, "--groups", SHOWN, *FOR)
    assert (third["files"] == 0) == (third["entry"] is None) == (third["new"] == 0)


def test_people_read_a_table_and_a_verdict(capsys: pytest.CaptureFixture[str], sites: Sites, tmp_path: Path) -> None:
    assert infoexchange_relay("export", "--config", sites.config(HOME), "--to", tmp_path / "log") == 0
    told = capsys.readouterr().out
    assert "Shown of every entry: nothing." in told
    assert f"audit verify-log {tmp_path / 'log'} --roots" in told
    directory = sites.folder / "directory.pb"
    words = (tmp_path / "log", "--roots", sites.folder / "roots.pb", "--directory", directory)
    assert infoexchange("audit", "verify-log", *words) in (0, 2)
    told = capsys.readouterr().out
    assert "entries hashed again" in told
    assert f"  {tmp_path / 'log'}" in told.splitlines()[-1]


def test_a_relay_is_asked_directly(capsys: pytest.CaptureFixture[str], sites: Sites) -> None:
    """Any agency may ask any relay."""
    cosigned(sites, size=3)
    cosigned(sites, size=3, relay=PEER)
    for relay in (HOME, PEER):
        code, verdict, checks = verify(capsys, relay, "--home", sites.home(SENDER))
        assert list(checks) == ["checkpoint", "witnesses", "entries", "root"]
        assert (code, verdict, set(checks.values())) == (0, "TOTAL-PASSED", {"TOTAL-PASSED"})
    assert "is not in directory" in line(
        capsys, infoexchange, 1, "audit", "verify-log", "relay.xx.example", "--home", sites.home(SENDER)
    )
    assert "is an agency" in line(
        capsys, infoexchange, 1, "audit", "verify-log", RECIPIENT, "--home", sites.home(SENDER)
    )


def test_the_auditors_own_policy(capsys: pytest.CaptureFixture[str], sites: Sites, tmp_path: Path) -> None:
    cosigned(sites, size=3)
    export(capsys, sites, tmp_path / "log")
    policy = tmp_path / "policy"
    for key, expected in ((PEER, (0, "TOTAL-PASSED")), (HOME, (2, "INDETERMINATE"))):
        witness = sites.community.witness_keys[key].verifier_keys[0]
        policy.write_text(f"witness w {witness}\nquorum w\n")
        found = verify(capsys, tmp_path / "log", "--roots", sites.folder / "roots.pb", "--policy", policy)
        assert found[:2] == expected
    policy.write_text("quorum two\n")
    words = ("audit", "verify-log", tmp_path / "log", "--roots", sites.folder / "roots.pb", "--policy", policy)
    assert str(policy) in line(capsys, infoexchange, 1, *words)


def test_a_changed_log_fails(capsys: pytest.CaptureFixture[str], sites: Sites, tmp_path: Path) -> None:
    export(capsys, sites, tmp_path / "log", "--groups", SHOWN, *FOR)
    [tile] = (tmp_path / "log/tile/0").rglob("*.p/*")
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    code, verdict, checks = verify(capsys, tmp_path / "log", "--roots", sites.folder / "roots.pb")
    assert (code, verdict, checks["tiles"], checks["root"]) == (1, "TOTAL-FAILED", "TOTAL-FAILED", "TOTAL-PASSED")


def test_wrong_words_are_one_line(capsys: pytest.CaptureFixture[str], sites: Sites, tmp_path: Path) -> None:
    roots, config = sites.folder / "roots.pb", sites.config(HOME)
    verify_log, export_to = ("audit", "verify-log"), ("export", "--config", config, "--to", tmp_path / "log")
    assert "no folder nowhere/log" in line(capsys, infoexchange, 3, *verify_log, "nowhere/log", "--roots", roots)
    assert "trust anchor" in line(capsys, infoexchange, 3, *verify_log, tmp_path)
    assert "trust anchor" in line(capsys, infoexchange, 3, *verify_log, tmp_path, "--home", sites.home(SENDER))
    assert "--home" in line(capsys, infoexchange, 3, *verify_log, HOME)
    assert "--home" in line(capsys, infoexchange, 3, *verify_log, HOME, "--home", tmp_path, "--roots", roots)
    assert "no such file" in line(capsys, infoexchange, 1, *verify_log, tmp_path, "--roots", roots)
    assert "--groups takes" in line(capsys, infoexchange_relay, 3, *export_to, "--groups", "routing,all")
    assert "--for TEXT" in line(capsys, infoexchange_relay, 3, *export_to, "--groups", SHOWN)
    assert "--for TEXT" in line(capsys, infoexchange_relay, 3, *export_to, *FOR)
    assert "routing goes with" in line(capsys, infoexchange_relay, 3, *export_to, "--groups", "message")
    assert "no such file" in line(capsys, infoexchange_relay, 3, "export", "--config", tmp_path / "x", "--to", tmp_path)
    assert not (tmp_path / "log").exists()


def test_what_a_folder_shows_is_not_changed(capsys: pytest.CaptureFixture[str], sites: Sites, tmp_path: Path) -> None:
    export(capsys, sites, tmp_path / "log", "--groups", "routing", *FOR)
    words = ("export", "--config", sites.config(HOME), "--to", tmp_path / "log", "--groups", SHOWN, *FOR)
    assert "it shows the groups routing" in line(capsys, infoexchange_relay, 1, *words)


def test_a_relay_that_never_ran_has_no_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = Sites.make(tmp_path / "sites", {"th": ["desk"]}, now=datetime.now(UTC))
    words = ("export", "--config", made.config(HOME), "--to", tmp_path / "log")
    assert "Run the relay first" in line(capsys, infoexchange_relay, 1, *words)


def test_without_a_checkpoint_of_witnesses_the_relays_own_is_exported(
    capsys: pytest.CaptureFixture[str], sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Config, "cosigned", tmp_path / "none")
    found = export(capsys, sites, tmp_path / "log")
    assert found["size"] > 3
    code, verdict, checks = verify(capsys, tmp_path / "log", "--roots", sites.folder / "roots.pb")
    assert (code, verdict, checks["witnesses"]) == (2, "INDETERMINATE", "INDETERMINATE")
    # A smaller checkpoint takes nothing back from a folder that is ahead of it.
    old = tmp_path / "old"
    monkeypatch.setattr(Config, "cosigned", old)
    small = export(capsys, sites, tmp_path / "other")
    old.write_bytes((tmp_path / "other/checkpoint").read_bytes())
    say(sites)
    grown = export(capsys, sites, tmp_path / "new")
    assert grown["size"] == small["size"]
    old.unlink()
    ahead = export(capsys, sites, tmp_path / "new")
    assert ahead["size"] > small["size"]
    old.write_bytes((tmp_path / "other/checkpoint").read_bytes())
    assert export(capsys, sites, tmp_path / "new")["size"] >= ahead["size"]


def test_both_commands_tell_how_far_they_are(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int]] = []

    @contextmanager
    def progress(self: Output, what: str) -> Iterator[Any]:
        yield lambda done, total: told.append((done, total))

    monkeypatch.setattr(Output, "progress", progress)
    size = export(capsys, sites, tmp_path / "log")["size"]
    assert told == [(size, size)]
    verify(capsys, tmp_path / "log", "--roots", sites.folder / "roots.pb")
    assert told == [(size, size)] * 2
