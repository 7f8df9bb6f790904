"""The operator's manual names commands, options and scripts that there are; `make manual` runs the scripts."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import subprocess
from pathlib import Path

import pytest

from infoexchange.cli import main as agency_main
from infoexchange_relay.cli import main as relay_main
from operated import Machine

FOLDER = Path(__file__).resolve().parent.parent / "relay"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(path for path in (FOLDER / "scripts").glob("*.sh") if path.name != "relay.sh")
PROGRAMS = {"infoexchange": agency_main, "infoexchange-relay": relay_main}
# Fenced blocks line by line, and whatever stands between backquotes elsewhere.
BLOCKS = re.findall(r"```\w*\n(.*?)```", PAGE, re.DOTALL)
QUOTED = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
SPOKEN = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()] + QUOTED


@functools.cache
def help_of(words: tuple[str, ...]) -> str:
    """Return the help of a command that there is."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert PROGRAMS[words[0]]([*words[1:], "--help"]) == 0
    said = out.getvalue()
    assert said.startswith(f"usage: {' '.join(words)} ")
    return said


def commands() -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return every command that the page names in full, with the options that it gives it."""
    found = set()
    for line in SPOKEN:
        words = line.split()
        if words and words[0] in PROGRAMS and len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
            depth = 3 if words[0] == "infoexchange" and words[1] in ("audit", "ca", "directory", "key") else 2
            found.add((tuple(words[:depth]), tuple(word for word in words[depth:] if word.startswith("--"))))
    return found


def test_every_command_and_its_options_exist() -> None:
    named = commands()
    relay = {words[1] for words, _ in named if words[0] == "infoexchange-relay"}
    assert relay >= {"init", "check", "serve", "backup", "restore", "recover", "next-log", "prune", "doctor", "status"}
    for words, options in sorted(named):
        said = help_of(words)
        assert [option for option in options if not re.search(rf"{option}\b", said)] == [], words


def test_every_command_of_the_relay_is_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    relay_main(["--help"])
    there = re.findall(r"^    ([a-z-]+) ", capsys.readouterr().out, re.MULTILINE)
    assert len(there) > 8
    assert [name for name in there if f"infoexchange-relay {name}" not in PAGE] == []


def test_options_that_stand_alone_exist() -> None:
    said = "".join(path.read_text() for path in SCRIPTS)
    said += "".join(help_of(words) for words, _ in commands())
    options = {word for line in SPOKEN for word in line.split() if re.fullmatch(r"--[a-z-]+", word)}
    assert "--backed-up" in options
    assert [option for option in options if not re.search(rf"{option}\b", said)] == []


def test_every_script_is_on_the_page_and_the_other_way_round() -> None:
    assert set(re.findall(r"\b[a-z-]+\.sh\b", PAGE)) == {path.name for path in SCRIPTS} | {"relay.sh"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_plain_and_says_how_it_is_used(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/sh\n# ")
    assert "\nset -eu\n" in text
    assert os.access(path, os.X_OK)
    assert max(map(len, text.splitlines())) <= 120
    subprocess.run(["sh", "-n", path], check=True)
    done = subprocess.run([path, "--help", "x", "y", "z"], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert f"\n  {path.name} " in done.stderr


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in
                re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}  # fmt: skip
    assert len(links) > 5
    for link in links:
        file, _, part = link.partition("#")
        if "://" not in link:
            assert not file or (FOLDER / file).exists(), link
            assert file or part in headings, link


def test_scripts_that_cannot_do_their_work_leave_everything_as_it_was(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    there = tmp_path / "relay-2"
    assert "names no PostgreSQL database" in machine.refuses("add-node.sh", there, "127.0.0.1:7443")
    assert not there.exists()
    machine.backups.mkdir()
    old = machine.backups / "relay-20231114T000000Z.tar"
    old.touch()
    os.utime(old, (1_700_000_000, 1_700_000_000))
    # It has never run, so there is nothing to back up.
    assert "none deleted" in machine.refuses("back-up.sh", 30)
    assert list(machine.backups.iterdir()) == [old]
