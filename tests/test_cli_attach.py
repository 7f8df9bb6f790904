"""The commands with attachments: files that go with a message, files that come with one, and runs that break off."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import mailing
from infoexchange.attachment import BLOCK_SIZE
from infoexchange.cli.output import Output
from infoexchange.enclosure import Enclosure
from infoexchange.errors import Reason, error
from infoexchange.testing.sites import environment
from infoexchange.transport.attachments import RemoteChunks
from mailing import CERT, CSV, CUT, FULL, JSON, LATE, MARKS, SENDER, SOUR, WATCH, outbox
from patience import attempts

# Fixtures.
sites, here, run, failing = mailing.sites, mailing.here, mailing.run, mailing.failing

SIZE = 3 * BLOCK_SIZE + 7
SENT = random.Random(11).randbytes(SIZE)


@pytest.fixture(scope="module", autouse=True)
def plan(sites: Any) -> None:
    (sites.folder / "plan.pdf").write_bytes(SENT)
    (sites.folder / "empty.txt").write_bytes(b"")


def send(run: Any, to: str, *paths: str, home: str = SENDER) -> str:
    """Send a message with files; return its ID."""
    attach = [word for path in paths for word in ("--attach", path)]
    code, out, err = run("send", "message.json", "--home", home, "--to", to, *JSON, *attach, "--json")
    assert code == 0, err
    [message] = json.loads(out)["messages"]
    return message["id"]


def receive(run: Any, name: str, *words: object, code: int = 0) -> dict[str, Any]:
    """Receive until something came."""
    for _ in attempts():
        found, out, err = run("receive", "--home", name, "--json", *words)
        data = json.loads(out)
        if any(data[key] for key in ("messages", "refused", "unsaved")):
            assert found == code, err
            return data
    raise AssertionError("nothing came")


def events(err: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.splitlines()]


# The way there


def test_files_go_and_come_with_a_message(run: Any, sites: Any) -> None:
    code, out, err = run(
        *("send", "message.json", "--home", SENDER, "--to", CERT, *JSON, "--json"),
        *("--attach", "plan.pdf", "--attach", "empty.txt"),
    )
    assert code == 0
    told = {e["what"]: e for e in events(err)}
    assert set(told) == {"reading plan.pdf", "sealing plan.pdf", "uploading 1 of 2", "uploading 2 of 2"}
    assert all(e["event"] == "progress" and e["done"] == e["total"] for e in told.values())
    [sent] = json.loads(out)["messages"]
    found = receive(run, CERT)
    [message] = found["messages"]
    assert (message["id"], found["unsaved"]) == (sent["id"], [])
    folder = Path(CERT) / "inbox" / sent["id"] / "attachments"
    assert message["attachments"] == [
        {"name": "plan.pdf", "type": "application/pdf", "bytes": SIZE, "path": str(folder / "plan.pdf")},
        {"name": "empty.txt", "type": "text/plain", "bytes": 0, "path": str(folder / "empty.txt")},
    ]
    assert (folder / "plan.pdf").read_bytes() == SENT
    assert sorted(os.listdir(folder)) == ["empty.txt", "plan.pdf"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert json.loads(run("receive", "--home", CERT, "--json")[1])["messages"] == []  # acknowledged
    show_evidence(run, sites, sent["id"])


def show_evidence(run: Any, sites: Any, digest: str) -> None:
    """Auditors see number and sealed lengths, and neither name nor type."""
    for words in ((), ("--sealed",)):
        file = sites.folder / f"attached{len(words)}.ixev"
        assert run("evidence", "make", digest, "--home", SENDER, "--out", file, *words)[0] == 0
        out = run("evidence", "show", file)[1]
        assert re.search(r"attachments +2, of \d+, \d+ bytes, padded and sealed", out)
        assert "plan.pdf" not in out
        facts = json.loads(run("evidence", "show", file, "--json")[1])
        assert sorted(a["bytes"] > SIZE for a in facts["attachments"]) == [False, True]
        assert b"plan.pdf" not in file.read_bytes()


def test_a_person_is_told_where_the_files_are(run: Any, tmp_path: Path) -> None:
    digest = send(run, WATCH, "plan.pdf")
    (tmp_path / "files").mkdir()
    for _ in attempts():
        code, out, err = run("receive", "--home", WATCH, "--attachments", tmp_path / "files")
        if digest in out:
            break
    assert (code, err) == (0, "")
    path = tmp_path / "files" / digest / "plan.pdf"
    assert re.search(rf"{re.escape(str(path))} +{SIZE}", out)
    assert path.read_bytes() == SENT
    assert not (Path(WATCH) / "inbox" / digest / "attachments").exists()


# What is refused before anything leaves


def test_files_go_with_one_message_only(failing: Any) -> None:
    before = outbox()
    line = failing(
        3, "send", "four.csv", "--home", SENDER, "--to", CERT, *CSV, *MARKS, "--attach", "plan.pdf", "--pap", "AMBER"
    )
    assert "four.csv holds 4 messages; --attach needs a file with one" in line
    assert outbox() == before


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["missing.pdf"], "bad_field in missing.pdf: No such file or directory; the message not sent. Check the path"),
        (["."], "bad_field"),
        (["plan.pdf", "plan.pdf"], "bad_field"),
        ([".hidden"], "bad_field"),
    ],
)
def test_files_that_cannot_go_cost_one_line(failing: Any, sites: Any, paths: list[str], words: str) -> None:
    (sites.folder / ".hidden").write_bytes(b"x")
    before = outbox()
    attach = [word for path in paths for word in ("--attach", path)]
    line = failing(1, "send", "message.json", "--home", SENDER, "--to", CERT, *JSON, *attach)
    assert words in line
    assert outbox() == before


# What breaks off


def test_what_was_saved_before_a_crash_is_not_fetched_again(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    digest = send(run, CUT, "plan.pdf", "empty.txt")
    original = Enclosure.save

    def broken(self: Enclosure, *args: Any, **options: Any) -> str:
        if self.name == "empty.txt":
            raise error(Reason.UNAVAILABLE, field=CUT, detail="the line broke")
        return original(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Enclosure, "save", broken)
        found = receive(run, CUT, "--attachments", tmp_path, code=1)
    assert [(u["id"], u["name"]) for u in found["unsaved"]] == [(digest, "empty.txt")]
    saved = tmp_path / digest / "plan.pdf"
    before = saved.stat()
    found = receive(run, CUT, "--attachments", tmp_path)
    assert [a["name"] for a in found["messages"][0]["attachments"]] == ["plan.pdf", "empty.txt"]
    assert found["messages"][0]["repeated"]
    assert (saved.stat().st_ino, saved.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_file_of_that_name_is_not_overwritten(run: Any, tmp_path: Path) -> None:
    digest = send(run, FULL, "plan.pdf")
    (tmp_path / digest).mkdir()
    mine = tmp_path / digest / "plan.pdf"
    mine.write_bytes(b"mine")
    for _ in attempts():
        code, out, _ = run("receive", "--home", FULL, "--attachments", tmp_path)
        if digest in out:
            break
    assert code == 1
    assert "not saved: plan.pdf" in out
    assert "Not acknowledged: 1. Run it again" in out
    assert mine.read_bytes() == b"mine"
    mine.rename(tmp_path / "elsewhere")
    receive(run, FULL, "--attachments", tmp_path)
    assert mine.read_bytes() == SENT


def test_what_the_sender_sealed_wrongly_is_refused_with_a_statement(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = send(run, SOUR, "plan.pdf")

    def damaged(*_: Any, **__: Any) -> str:
        raise error(Reason.BAD_CIPHERTEXT, field="plan.pdf", detail="not what its sender signed")

    with monkeypatch.context() as patch:
        patch.setattr(Enclosure, "save", damaged)
        found = receive(run, SOUR, code=1)
    assert [u["id"] for u in found["unsaved"]] == [digest]
    for _ in attempts():
        out = run("receipts", digest, "--home", SENDER)[1]
        if "refused" in out:
            break
    assert f"refused for {SOUR}, reason bad_ciphertext" in out
    assert json.loads(run("receive", "--home", SOUR, "--json")[1])["messages"] == []


def test_interrupted_uploads_wait_and_go_on(run: Any, sites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of an upload, in a process of its own: a message without files is not held up by it."""
    program = (
        "import os, signal, sys\n"
        "from infoexchange import cli\n"
        "from infoexchange.transport.attachments import RemoteChunks\n"
        "original = RemoteChunks.write\n"
        "def write(self, ref, offset, pieces):\n"
        "    def cut():\n"
        "        for number, piece in enumerate(pieces):\n"
        "            if number == 2:\n"
        "                os.kill(os.getpid(), signal.SIGINT)\n"
        "            yield piece\n"
        "    return original(self, ref, offset, cut())\n"
        "RemoteChunks.write = write\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    words = ["send", "message.json", "--home", SENDER, "--to", LATE, *JSON, "--attach", "plan.pdf"]
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr
    assert "interrupted; what was finished before is kept" in done.stderr
    assert "In the outbox: 1." in done.stdout
    assert outbox()[1] == 1

    offsets: list[int] = []
    original = RemoteChunks.write

    def heard(self: RemoteChunks, ref: Any, offset: int, pieces: Any) -> int:
        offsets.append(offset)
        return original(self, ref, offset, pieces)

    monkeypatch.setattr(RemoteChunks, "write", heard)
    code, out, _ = run("send", "message.json", "--home", SENDER, "--to", LATE, *JSON, "--json")
    data = json.loads(out)
    assert (code, data["sent"], len(data["earlier"]), data["waiting"]) == (0, 1, 1, 0)
    assert offsets
    with_files = data["earlier"][0]["id"]
    came: dict[str, Any] = {}
    while len(came) < 2:
        came |= {m["id"]: m for m in receive(run, LATE)["messages"]}
    assert Path(came[with_files]["attachments"][0]["path"]).read_bytes() == SENT


# What is drawn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def output(monkeypatch: pytest.MonkeyPatch, err: io.StringIO, **options: bool) -> Output:
    monkeypatch.setattr(sys, "stderr", err)
    return Output("infoexchange", **options)


def test_a_terminal_gets_a_bar_for_each_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    err = Terminal()
    with output(monkeypatch, err).transfers() as tell:
        tell("sealing [red]\x1b[2Jplan.pdf", 1, 4)
        tell("uploading 1 of 1", 3_000_000, 4_000_000)
        time.sleep(0.2)
    drawn = err.getvalue()
    assert "uploading 1 of 1" in drawn
    assert "3.0/4.0 MB" in drawn
    assert "[red]" in drawn  # a name is no markup
    assert "\x1b[2J" not in drawn  # and steers no terminal


def test_without_a_terminal_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    with output(monkeypatch, err).transfers() as tell:
        tell("sealing plan.pdf", 1, 4)
    assert err.getvalue() == ""


def test_programs_get_first_and_last_event_and_few_between(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    with output(monkeypatch, err, as_json=True).transfers() as tell:
        for done in range(10_001):
            tell("sealing แผน.pdf", done, 10_000)
    told = [(e["what"], e["done"]) for e in events(err.getvalue())]
    assert told[0] == ("sealing แผน.pdf", 0)
    assert told[-1] == ("sealing แผน.pdf", 10_000)
    assert len(told) < 6
