"""Agencies at their commands on two real relays: fixtures and steps for the tests of `send`, `receive` and the rest."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalogue_messages import request
from command_setup import infoexchange
from infoexchange.catalogue import examples, text
from infoexchange.home import Home
from infoexchange.testing.sites import Sites
from patience import attempts

# One recipient for each kind of test, so that none takes another's messages away.
OFFICES = ("duty.cert", "watch.maritime", "desk.cut", "desk.full", "desk.late", "desk.sour")
SENDER = "desk.narcotics.xa.example"
CERT, WATCH, CUT, FULL, LATE, SOUR = (f"{office}.xb.example" for office in OFFICES)
RELAY, PEER = "relay.xa.example", "relay.xb.example"
MARKS = ("--op-status", "EXERCISE", "--tlp", "AMBER", "--pap", "AMBER", "--purpose", "joint exercise")
JSON, CSV = ("--type", "RequestForInformation"), ("--format", "piracy")
SECRET = "knives climbed aboard"  # in piracy.csv, in a field that may name persons


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory):
    made = Sites.make(
        tmp_path_factory.mktemp("sites") / "x", {"xa": ["desk.narcotics"], "xb": OFFICES}, now=datetime.now(UTC)
    )
    samples = {"stix.json": "indicators.stix.json", "misp.json": "event.misp.json", "piracy.csv": "piracy.csv"}
    for name, content in samples.items():
        (made.folder / name).write_bytes(examples.read(content))
    head, *rows = csv.reader(examples.read("piracy.csv").decode().splitlines(keepends=True))
    with (made.folder / "four.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows[:4]])
    (made.folder / "message.json").write_text(text.to_json(request()))
    with made.running():
        for office in OFFICES:  # a first connection publishes the keys
            assert infoexchange("receive", "--home", made.home(f"{office}.xb.example")) == 0
        yield made


@pytest.fixture(autouse=True)
def here(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sites.folder)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run a command; return its exit code, standard output and standard error."""

    def done(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = infoexchange(*words)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return done


@pytest.fixture
def failing(run):
    """Run a command that must fail with a code; return its one line."""

    def line(code: int, *words: object) -> str:
        found, out, err = run(*words)
        assert (found, out, err.count("\n")) == (code, "", 1), (out, err)
        return err

    return line


def send(run, *to: str, file: str = "message.json", home: Path | str = SENDER, options: Sequence[str] = ()) -> str:
    """Send the message and return its id."""
    names = [*(word for name in to for word in ("--to", name)), *options]
    code, out, err = run("send", file, "--home", home, *names, "--type", "RequestForInformation", "--json")
    assert (code, err) == (0, "")
    [message] = json.loads(out)["messages"]
    return message["id"]


def receive(run, name: Path | str, code: int = 0) -> dict[str, object]:
    found, out, _ = run("receive", "--home", name, "--json")
    assert found == code
    return json.loads(out)


def arrived(run, name: Path | str, *ids: str) -> list[str]:
    """Receive until these messages have come, each once; return all that came."""
    came: list[str] = []
    for _ in attempts():
        came += [message["id"] for message in receive(run, name)["messages"]]
        if set(ids) <= set(came):
            break
    assert set(ids) <= set(came)
    assert len(came) == len(set(came))
    return came


def outbox(home: Path | str = SENDER) -> tuple[int, int]:
    """How many messages were ever sealed, and how many wait to be sent."""
    with Home.open(home).spool() as spool:
        return spool.standing().sequence, len(spool.unsent(1000))
