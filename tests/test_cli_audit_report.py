"""The commands that count and compare logs: verdicts, exit codes, numbers, and what a changed folder does to them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command_setup import infoexchange
from infoexchange.exported import export_log
from infoexchange.testing import Exchange
from infoexchange.tlog import Checkpoint
from messages import officer_acknowledgement
from reporting import NAMES, RELAY, busy_exchange, records_of

OTHER = "relay.th.example"
SHOWN = ("routing", "message")


def export(exchange: Exchange, relay: str, folder: Path, shown: tuple[str, ...] = SHOWN) -> Path:
    ledger = exchange.nodes[relay].ledger
    export_log(ledger.store, folder, Checkpoint.parse(ledger.published()), shown=shown)
    return folder


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    # It ends a little in the past: commands look at the real clock, and refuse signatures from the future.
    return busy_exchange(days=2, start=datetime.now(UTC) - timedelta(days=30))


@pytest.fixture(scope="module")
def folders(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    (folder / "roots.pb").write_bytes(exchange.community.roots.raw)
    (folder / "directory.pb").write_bytes(exchange.directory.raw)
    export(exchange, RELAY, folder / "vn")
    export(exchange, OTHER, folder / "th")
    export(exchange, RELAY, folder / "vn-routing", ("routing",))
    export(exchange, RELAY, folder / "vn-nothing", ())
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object], str]:
    """Exit code, JSON and standard error."""
    capsys.readouterr()
    code = infoexchange("audit", *words, "--json")
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, json.loads(printed.out) if printed.out else {}, printed.err


def report(capsys, folders: Path, name: str, *more: object) -> tuple[int, dict[str, object], str]:
    return run(capsys, "report", folders / name, "--roots", folders / "roots.pb", *more)


def test_a_whole_log_is_counted(capsys, exchange, folders):
    code, data, err = report(capsys, folders, "vn")
    assert (code, data["verdict"], err) == (0, "TOTAL-PASSED", "")
    names = [check["name"] for check in data["checks"]]
    assert names[0] == "directory"
    assert {"checkpoint", "witnesses", "entries", "root", "records"} <= set(names)
    assert names[-2:] == ["records of the period disclosed", "times in order"]
    records = records_of(exchange)
    assert data["size"] == len(records)
    for event, number in data["events"].items():
        places = [n for a, b in number["entries"] for n in range(a, b + 1)]
        assert places == [r.index for r in records if r.event.name == event]
    assert sum(n["count"] for n in data["events"].values()) == len(records)
    assert {"th to vn", "vn to th"} & set(data["pairs"])


def test_text_says_the_same(capsys, folders):
    _, data, _ = report(capsys, folders, "vn")
    capsys.readouterr()
    assert infoexchange("audit", "report", folders / "vn", "--roots", folders / "roots.pb") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"TOTAL-PASSED  {folders / 'vn'}"
    for event, number in data["events"].items():
        assert f"{event} " in out
        assert f" {number['count']} " in out
    for listed in ("keys", "directory", "expiries"):
        assert data[listed]
        assert all(occurrence["what"] in out for occurrence in data[listed])


def test_periods_and_nations(capsys, folders):
    _, every, _ = report(capsys, folders, "vn")
    first = datetime.fromisoformat(every["first"])
    middle = first + timedelta(hours=10)
    _, early, _ = report(capsys, folders, "vn", "--to", middle.isoformat())
    _, late, _ = report(capsys, folders, "vn", "--from", middle.isoformat())
    assert early["entries"]["counted"]["count"] + late["entries"]["counted"]["count"] == every["size"]
    assert early["entries"]["counted"]["count"] > 0 < late["entries"]["counted"]["count"]
    for event, number in every["events"].items():
        parts = [part["events"].get(event, {"entries": []})["entries"] for part in (early, late)]
        places = [n for entries in parts for a, b in entries for n in range(a, b + 1)]
        assert places == [n for a, b in number["entries"] for n in range(a, b + 1)]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    code, none, _ = report(capsys, folders, "vn", "--from", tomorrow)
    assert (code, none["entries"]["counted"]["count"], none["events"]) == (0, 0, {})
    code, th, _ = report(capsys, folders, "vn", "--nation", "TH")
    assert code == 0
    assert 0 < th["entries"]["counted"]["count"] < every["size"]
    assert th["nation"] == "th"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--from", "yesterday"), "--from: 'yesterday' is no day"),
        (("--to", "2026-13-01"), "--to: '2026-13-01' is no day"),
        (("--from", "2026-02-01", "--to", "2026-02-01"), "--from must be before --to"),
        (("--nation", "xx"), "lists no nation xx, but sg, th, vn"),
    ],
)
def test_wrong_usage_is_one_line(capsys, folders, words, says):
    code, data, err = report(capsys, folders, "vn", *words)
    assert (code, data, err.count("\n")) == (3, {}, 1)
    assert says in err


@pytest.mark.parametrize("name", ["vn-routing", "vn-nothing"])
def test_what_is_not_shown_is_never_passed(capsys, folders, name):
    code, data, _ = report(capsys, folders, name)
    assert (code, data["verdict"]) == (2, "INDETERMINATE")
    hidden = data["entries"]["half" if name == "vn-routing" else "undisclosed"]
    assert hidden == {"count": data["size"], "entries": [[0, data["size"] - 1]]}
    assert (data["events"] == {}) == (name == "vn-nothing")


def changed(folders: Path, tmp_path: Path, file: str, place: int) -> Path:
    """A copy of the log with one bit flipped."""
    copy = tmp_path / "copy"
    shutil.copytree(folders / "vn", copy)
    [path] = copy.glob(file)
    raw = bytearray(path.read_bytes())
    raw[place % len(raw)] ^= 1
    path.write_bytes(raw)
    return copy


@pytest.mark.parametrize("file", ["tile/0/*.p/*", "tile/entries/*.p/*", "records/*.p/*", "checkpoint", "directories/*"])
@pytest.mark.parametrize("place", [40, 1000, -40])
def test_no_flipped_bit_is_passed(capsys, folders, tmp_path, file, place):
    copy = changed(folders, tmp_path, file, place)
    code, data, err = run(capsys, "report", copy, "--roots", folders / "roots.pb")
    assert code == 1
    assert data.get("verdict", "TOTAL-FAILED") == "TOTAL-FAILED"
    assert bool(data) != bool(err)
    code, data, _ = run(capsys, "reconcile", folders / "th", copy, "--roots", folders / "roots.pb")
    assert code == 1
    assert data.get("verdict", "TOTAL-FAILED") == "TOTAL-FAILED"


def test_the_page_is_written_and_replaced(capsys, folders, tmp_path):
    page = tmp_path / "report.html"
    page.write_text("older")
    code, _, _ = report(capsys, folders, "vn", "--html", page, "--from", "2020-01-01")
    text = page.read_text()
    assert code == 0
    assert text.startswith("<!DOCTYPE html>")
    assert "TOTAL-PASSED" in text
    assert "--from 2020-01-01" in text
    code, _, _ = report(capsys, folders, "vn-nothing", "--html", page)
    assert (code, "INDETERMINATE" in page.read_text()) == (2, True)


def test_what_is_no_log_is_one_line(capsys, folders, tmp_path):
    for words in (("report", tmp_path), ("reconcile", tmp_path, folders / "vn")):
        code, data, err = run(capsys, *words, "--roots", folders / "roots.pb")
        assert (code, data, err.count("\n")) == (1, {}, 1)
        assert "export" in err


def test_logs_of_two_relays_agree(capsys, folders):
    code, data, err = run(capsys, "reconcile", folders / "vn", folders / "th", "--roots", folders / "roots.pb")
    assert (code, data["verdict"], data["findings"], err) == (0, "TOTAL-PASSED", [], "")
    assert sum(way["count"] for way in data["matched"]) > 2
    names = [check["name"] for check in data["checks"]]
    assert len(names) == len(set(names))
    assert f"{RELAY}: root" in names
    assert f"{RELAY} to {OTHER}: nothing lost" in names
    # With the auditor's own directory too.
    words = ("reconcile", folders / "vn", folders / "th", "--roots", folders / "roots.pb")
    assert run(capsys, *words, "--directory", folders / "directory.pb")[0] == 0


def test_logs_that_show_too_little_are_never_passed(capsys, folders):
    for name in ("vn-routing", "vn-nothing"):
        code, data, _ = run(capsys, "reconcile", folders / "th", folders / name, "--roots", folders / "roots.pb")
        assert (code, data["verdict"]) == (2, "INDETERMINATE")
        assert data["undisclosed"][RELAY]


def test_an_older_copy_leaves_it_open(capsys, exchange, folders, tmp_path):
    """What the other log was not yet when it was copied nobody can call lost."""
    exchange = busy_exchange(days=1, start=datetime.now(UTC) - timedelta(days=30))
    (tmp_path / "roots.pb").write_bytes(exchange.community.roots.raw)
    export(exchange, RELAY, tmp_path / "vn")

    exchange.mailbox(NAMES[0]).send(officer_acknowledgement(), to=[NAMES[2]])
    exchange.witness()
    export(exchange, OTHER, tmp_path / "th")
    code, data, _ = run(capsys, "reconcile", tmp_path / "th", tmp_path / "vn", "--roots", tmp_path / "roots.pb")
    assert (code, [finding["kind"] for finding in data["findings"]]) == (2, ["lost"])
    assert "entries were compared" in data["findings"][0]["detail"]


def test_one_relay_is_not_compared_with_itself(capsys, folders):
    code, _, err = run(capsys, "reconcile", folders / "vn", folders / "vn-routing", "--roots", folders / "roots.pb")
    assert (code, err.count("\n")) == (3, 1)
    assert RELAY in err
