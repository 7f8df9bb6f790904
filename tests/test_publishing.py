"""A new version on its way through real processes, and what operators and agencies are told before something ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from command_setup import AGENCIES, enroll, infoexchange, infoexchange_relay, make_directory, make_exchange
from infoexchange.directory import Directory
from infoexchange.home import Home
from infoexchange.testing.sites import Sites
from patience import until

TH, VN = "desk.oncb.th.example", "intel.c04.vn.example"


def successor(sites: Sites, held: Directory, count: int = 2, **fields: Any) -> bytes:
    listing = replace(held.listing, version=held.version + 1, previous=held.digest, **fields)
    return Directory.sign(listing.payload, sites.community.root_keys[:count])


def test_a_version_is_published_and_reaches_agencies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sites = Sites.make(tmp_path / "x", {"th": ["desk.oncb"], "vn": ["intel.c04"]}, now=datetime.now(UTC))
    first = sites.community.directory
    second = tmp_path / "second.pb"
    home = sites.home(TH)
    with sites.running():
        second.write_bytes(successor(sites, first, count=1))
        assert infoexchange("directory", "publish", second, "--home", home) == 1
        assert "bad_signature" in capsys.readouterr().err  # seen here, before it was sent
        second.write_bytes(successor(sites, first))
        assert infoexchange("directory", "publish", second, "--home", home, "--json") == 0
        done = json.loads(capsys.readouterr().out)
        assert (done["version"], done["relay"], done["entry"] > 1) == (2, "relay.th.example", True)
        assert Home.open(home).directory.version == 2
        assert infoexchange("directory", "publish", second, "--home", home, "--json") == 0
        assert json.loads(capsys.readouterr().out)["entry"] == done["entry"]  # the same again is the same entry
        # An agency that has been away first takes what it missed.
        away, third = tmp_path / "away", tmp_path / "third.pb"
        shutil.copytree(home, away)
        (away / "directory.pb").write_bytes(first.raw)
        third.write_bytes(successor(sites, Directory.held(second.read_bytes())))
        assert infoexchange("directory", "publish", third, "--home", away) == 0
        assert "uses version 3" in capsys.readouterr().out
        # The other operator puts the file in place and says so; the relay goes on, in the same process.
        vn = sites.folder / "relay.vn.example"
        shutil.copy(second, vn / "new.pb")
        (vn / "new.pb").replace(vn / "directory.pb")
        os.kill(sites.pid("relay.vn.example"), signal.SIGHUP)
        until(lambda: b"directory_adopted" in (vn / "relay.log").read_bytes())
        assert infoexchange("receive", "--home", sites.home(VN)) == 0
        assert Home.open(sites.home(VN)).directory.version == 2
        # What the relay logs of it is a line of JSON that names version and source.
        lines = [json.loads(line) for line in (vn / "relay.log").read_text().splitlines()]
        [line] = [line for line in lines if line["event"] == "directory_adopted"]
        assert (line["version"], line["source"]) == (2, "file")
        assert capsys.readouterr().err == ""
        # An agency that was shown another version 2 than the rest finds out at once, and keeps the proof.
        other = tmp_path / "other"
        shutil.copytree(sites.home(VN), other)
        (other / "directory.pb").write_bytes(successor(sites, first, suites=(2,)))
        assert infoexchange("receive", "--home", other) == 1
        assert "log_fork in version: there are two versions 2" in capsys.readouterr().err
        [kept] = (other / "forks").iterdir()
        assert Directory.held(kept.read_bytes()).digest == Directory.held(second.read_bytes()).digest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_exchange(tmp_path_factory.mktemp("exchange"))


@pytest.fixture
def exchange(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "exchange"))


@pytest.mark.parametrize(
    ("days", "words"),
    [(99, ""), (20, "warning: Directory version 2 ends in 19 days"), (5, "warning: ACT NOW: Directory")],
)
def test_an_agency_is_warned_beside_whatever_it_does(exchange, capsys, days, words):
    make_directory(exchange, "second", "--after", exchange / "directory.pb", valid_days=days)
    capsys.readouterr()
    assert enroll(exchange, "th", directory=exchange / "second.pb") == 0
    printed = capsys.readouterr()
    assert printed.err.count("\n") == bool(words)
    assert words in printed.err
    # Also where the command itself fails: there is no relay.
    assert infoexchange("receive", "--home", exchange / "home-th", "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [sorted(line)[0] for line in lines] == (["warning", "detail"] if words else ["detail"])


def test_operators_and_readers_see_what_ends(exchange, capsys):
    make_directory(exchange, "second", "--after", exchange / "directory.pb", valid_days=5)
    shutil.copy(exchange / "second.pb", exchange / "relay-th" / "directory.pb")
    config = exchange / "relay-th" / "relay.toml"
    capsys.readouterr()
    infoexchange_relay("check", "--config", config, "--json")
    [ending] = json.loads(capsys.readouterr().out)["endings"]
    assert (ending["what"], ending["days"], ending["urgent"]) == ("Directory version 2", 4, True)
    infoexchange_relay("check", "--config", config)
    assert "NOW" in capsys.readouterr().out
    assert infoexchange("directory", "show", exchange / "second.pb", "--json") == 0
    assert [e["what"] for e in json.loads(capsys.readouterr().out)["endings"]] == ["Directory version 2"]
    assert infoexchange("directory", "show", exchange / "directory.pb") == 0
    text = capsys.readouterr().out
    assert "NOW" not in text
    assert AGENCIES["th"] in text


def test_check_judges_the_file_by_the_log(exchange, capsys):
    """What the operator put there must follow what this relay has used, whatever anchor lies beside it."""
    from test_relay_cli import logged

    relay = exchange / "relay-th"
    logged(relay)
    make_directory(exchange, "second", "--after", exchange / "directory.pb")
    make_directory(exchange, "third", "--after", exchange / "second.pb")
    config = relay / "relay.toml"
    for file, problem in (
        ("second.Thailand", "bad_signature"),
        ("third.pb", "directory_rollback"),
        ("second.pb", ""),
        ("directory.pb", ""),
    ):
        shutil.copy(exchange / file, relay / "directory.pb")
        capsys.readouterr()
        infoexchange_relay("check", "--config", config)
        printed = capsys.readouterr()
        assert (problem in printed.err) if problem else ("directory.pb" not in printed.err)
