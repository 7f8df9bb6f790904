"""The demo: what a newcomer runs first, and the three commands it names."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command_setup import infoexchange
from infoexchange.cli import demo
from infoexchange.testing.sites import environment
from patience import until

WITHOUT = {"INFOEXCHANGE_SHARED": "/nonexistent"}  # as on a newcomer's machine: no folder of real samples


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "infoexchange", "demo", *words]
    settings = {"env": environment() | WITHOUT, "cwd": cwd, "text": True}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=100)
    assert "Traceback" not in err
    return process.returncode, out, err


def relays_of(folder: Path) -> list[str]:
    """The relay processes that still serve from a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_text("utf-8", "replace").split("\0")
        except OSError:
            continue
        if "serve" in words and any(str(folder) in word for word in words):
            found.append(file.parent.name)
    return found


def test_the_demo_works_and_so_do_the_commands_it_names(tmp_path: Path) -> None:
    """Run both ways at once, from a folder whose name needs quoting."""
    here = tmp_path / "my folder"
    here.mkdir()
    for_people = start(cwd=here)
    for_programs = start("--json", "--folder", "second", cwd=here)
    code, out, err = ended(for_people)
    assert (code, err) == (0, "")
    out_for_people = out
    assert "TOTAL-PASSED" in out
    assert "refused (bad_signature)" in out.splitlines()[-1]
    assert "both audit logs consistent" in out.splitlines()[-1]
    [folder] = [path for path in here.iterdir() if path.name.startswith("infoexchange-demo-")]
    assert f"Everything is in {folder}." in out
    commands = [line.strip() for line in out.splitlines() if line.startswith(("  /", "  infoexchange"))]
    assert len(commands) == 3

    code, out, err = ended(for_programs)
    assert (code, err) == (0, "")
    data = json.loads(out)  # nothing else is printed
    assert list(data) == [
        *("folder", "sent", "received", "verdict", "tampered", "logs_consistent", "report", "audit", "seconds", "next"),
    ]
    assert data["folder"] == str(here / "second")
    assert (data["audit"], data["report"]) == ("TOTAL-PASSED", str(here / "second" / "report.html"))
    assert f"a page for any browser: {folder / 'report.html'}" in out_for_people
    assert "TOTAL-PASSED" in (folder / "report.html").read_text()
    assert (data["verdict"], data["tampered"], data["logs_consistent"]) == ("TOTAL-PASSED", "bad_signature", True)
    assert data["received"] == 2 * data["sent"] > 0
    first, second = ([shlex.split(command) for command in some] for some in (commands, data["next"]))
    assert [[word.replace(str(folder), data["folder"]) for word in words] for words in first] == second

    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd="/", env=environment(), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout
    changed, roots = folder / "evidence-changed.ixev", folder / "roots.pb"
    assert infoexchange("evidence", "verify", changed, "--roots", roots) == 1
    assert relays_of(here) == []


def test_a_folder_without_samples_gives_the_examples(tmp_path: Path) -> None:
    for kind in ("stix", "piracy"):
        raw, status, source = demo._sample(kind, tmp_path)
        assert (bool(raw), status) == (True, "EXERCISE")
        assert "example" in source
    (tmp_path / "piracy").mkdir()
    (tmp_path / demo._SAMPLES["piracy"]).write_bytes(b"real")
    assert demo._sample("piracy", tmp_path)[:2] == (b"real", "ACTUAL")


@pytest.mark.parametrize("content", [b"", b"date,time,longitude,latitude,attack_type\n", b"\x00\xff"])
def test_a_sample_that_holds_nothing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], content) -> None:
    file = tmp_path / demo._SAMPLES["piracy"]
    file.parent.mkdir()
    file.write_bytes(content)
    code = infoexchange("demo", "--samples", tmp_path, "--folder", tmp_path / "new", "--json")
    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (1, "", 1)
    assert "piracy" in printed.err
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for folder, word in ((tmp_path / "used", "Name a new folder"), (tmp_path / "file", "not a folder")):
        assert infoexchange("demo", "--folder", folder) == 1
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert word in printed.err
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["mine.txt"]


def test_interrupted_it_leaves_no_relay_behind(tmp_path: Path) -> None:
    process = start("--folder", "demo", "--keep", cwd=tmp_path)
    until(lambda: relays_of(tmp_path))
    os.kill(process.pid, signal.SIGINT)
    code, _, err = ended(process)
    assert (code, err.count("\n")) == (130, 1)
    assert relays_of(tmp_path) == []
