"""The README says what is so: its code runs on two real relays, its commands and files exist."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infoexchange.home import Home
from infoexchange.testing.sites import Sites, environment
from infoexchange.transport import connect
from patience import attempts

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SENDER, RECIPIENT = "desk.agency.xa.example", "duty.cert.xb.example"


def test_the_code_runs_on_two_relays(tmp_path: Path) -> None:
    """The block that defines the message first, then the ten lines: at the sender, then at the recipient."""
    sites = Sites.make(tmp_path / "x", {"xa": ["desk.agency"], "xb": ["duty.cert"]}, now=datetime.now(UTC))
    [ten_lines] = [block for block in BLOCKS if "mailbox.send(" in block]
    handled: list[tuple[object, ...]] = []
    names: dict[str, object] = {"handle": lambda *what: handled.append(what)}
    for block in BLOCKS:
        if block is not ten_lines:
            exec(compile(block, "README.md", "exec"), names)
    message = names["message"]
    # The recipient runs the same lines but one: the only address to which that would send is its own.
    receiving = "\n".join(line for line in ten_lines.splitlines() if "mailbox.send(" not in line)
    with sites.running():
        with connect(Home.open(sites.home(RECIPIENT))):
            pass  # publishes its keys
        exec(compile(ten_lines, "README.md", "exec"), names | {"home": sites.home(SENDER)})
        assert handled == []
        for _ in attempts():
            exec(compile(receiving, "README.md", "exec"), names | {"home": sites.home(RECIPIENT)})
            if handled:
                break
    assert [(sender, status.name) for sender, status, _ in handled] == [(SENDER, "EXERCISE")]
    assert handled[0][2] == message


def test_ten_lines_are_ten() -> None:
    [block] = [block for block in BLOCKS if "mailbox.send(" in block]
    assert len(block.strip().splitlines()) <= 10


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_exist(target: str) -> None:
    assert re.search(rf"^make {target}\b", README, re.MULTILINE)
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def commands() -> list[tuple[str, ...]]:
    """Every command that stands between backquotes in the table of commands, in full."""
    found: list[tuple[str, ...]] = []
    for row in re.findall(r"^\| [^|]+ \| (`.*) \|$", README, re.MULTILINE):
        before: tuple[str, ...] = ()
        for quoted in re.findall(r"`([^`]+)`", row):
            words = tuple(word for word in quoted.split() if word.islower() and not word.startswith("-"))
            # `directory propose`, `sign`: what stands alone continues the command before it.
            if not words[0].startswith("infoexchange"):
                group = words[0] in GROUPS or words[0] in SINGLE
                words = (before[0], *words) if group else (*before[:-1], *words)
            found.append(words)
            before = words
    return found


GROUPS, SINGLE = (
    {"evidence", "audit", "directory", "ca", "consent"},
    {"pass-on", "receive", "receipts", "keygen", "enroll", "check", "serve"},
)


def test_every_command_has_help() -> None:
    named = commands()
    assert ("infoexchange", "evidence", "verify") in named
    assert ("infoexchange", "ca", "crl") in named
    assert ("infoexchange-relay", "serve") in named
    missing = []
    for program, module in (("infoexchange", "infoexchange"), ("infoexchange-relay", "infoexchange_relay")):
        wanted = [[*words[1:], "--help"] for words in named if words[0] == program]
        # In one process: starting Python for each would take most of the time.
        code = f"import sys\nfrom {module}.cli import main\nprint([words for words in {wanted} if main(words)])"
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
        )
        missing += [done.stdout.splitlines()[-1]]
        for words in wanted:
            assert f"usage: {program} {' '.join(words[:-1])}" in done.stdout
        assert done.stdout.count("--json") >= len(wanted)
    assert missing == ["[]", "[]"]


def test_commands_named_elsewhere_in_the_readme_exist() -> None:
    help_pages = [
        subprocess.run(
            [sys.executable, "-m", module, "--help"], env=environment(), capture_output=True, text=True
        ).stdout
        for module in ("infoexchange", "infoexchange_relay")
    ]
    for quoted in re.findall(r"`(infoexchange(?:-relay)? [^`]+)`", README):
        program, command = quoted.split()[:2]
        assert re.search(rf"^\s+{command}\s", help_pages[program == "infoexchange-relay"], re.MULTILINE), quoted


def test_the_exit_codes_are_those_of_the_help() -> None:
    from infoexchange.cli.parser import EXIT_CODES

    [sentence] = re.findall(r"Exit codes: ([^.]*)\.", README)
    stated = dict(part.split() for part in sentence.split(", "))
    assert stated == dict(re.findall(r"^  (\d)  (\w+):", EXIT_CODES, re.MULTILINE))


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
    assert [word for word in re.findall(r"tests/\w+\.py", README) if not (ROOT / word).exists()] == []
