"""The commands of an agency when something fails: keys, directory, relays, disks. One line, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import mailing
from catalogue_messages import request
from infoexchange import cli
from infoexchange.catalogue import text
from infoexchange.cli.receive import inbox_of
from infoexchange.directory import Directory
from infoexchange.errors import Reason, error
from infoexchange.home import Home
from infoexchange.testing.sites import Sites, environment
from infoexchange.transport.remote import RemoteRelay
from mailing import CERT, CSV, CUT, FULL, JSON, LATE, MARKS, PEER, RELAY, SENDER, SOUR, arrived, outbox, receive, send
from patience import attempts

# Fixtures.
sites, here, run, failing = mailing.sites, mailing.here, mailing.run, mailing.failing


def a_copy(home: Path | str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home, tmp_path / "home"))


def start(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, after a piece of program."""
    code = f"import os, signal, sys\nfrom infoexchange import cli\n{program}\nsys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


# Keys and directory

COMMANDS = {
    "send": ("send", "message.json", "--to", CERT, *JSON),
    "receive": ("receive",),
    "receipts": ("receipts", "00" * 32),
    "evidence make": ("evidence", "make", "00" * 32, "--out", "e"),
}


@pytest.mark.parametrize("key", ["identity.key", "tls.key"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_key_that_others_can_read_is_not_used(failing, tmp_path, command, key):
    home = a_copy(SENDER, tmp_path)
    (home / key).chmod(0o640)
    assert f"chmod 600 {home / key}" in failing(1, *COMMANDS[command], "--home", home)
    assert outbox(SENDER)[1] == 0


DAMAGE = {
    "another agency's identity": ("identity.key", CERT, ""),
    "another agency's TLS key": ("tls.key", CERT, ""),
    "another agency's certificates": ("certificates.pem", CERT, ""),
    "another agency's bundle": ("bundle-1.pb", CERT, ""),
    "junk as identity": ("identity.key", "", "identity.key"),
    "junk as TLS key": ("tls.key", "", ""),
    "junk as directory": ("directory.pb", "", "directory.pb"),
    "junk as roots": ("roots.pb", "", "roots.pb"),
    "junk as certificates": ("certificates.pem", "", "certificates.pem"),
    "junk as spool": ("spool.sqlite3", "", "spool.sqlite3"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_wrong_or_damaged_file_of_the_home_is_one_line(failing, tmp_path, case):
    file, source, word = DAMAGE[case]
    home = a_copy(SENDER, tmp_path)
    content = (Path(source) / file).read_bytes() if source else b"\x00junk" * 100
    (home / file).write_bytes(content)
    for command in ("send", "receive"):
        assert word in failing(1, *COMMANDS[command], "--home", home)


@pytest.mark.parametrize("file", ["identity.key", "tls.key", "directory.pb", "roots.pb", "bundle-1.pb"])
def test_a_missing_file_of_the_home_is_named_with_what_makes_it(failing, tmp_path, file):
    home = a_copy(SENDER, tmp_path)
    (home / file).unlink()
    line = failing(1, "receive", "--home", home)
    assert file in line
    assert "Run: infoexchange " in line


def test_an_expired_directory_stops_everything_before_anything_is_sealed(failing, sites, tmp_path):
    home, now = a_copy(SENDER, tmp_path), datetime.now(UTC)
    old = sites.community.directory
    listing = replace(
        old.listing,
        version=2,
        previous=old.digest,
        issued_at=now - timedelta(days=2),
        expires_at=now - timedelta(days=1),
    )
    signed = Directory.sign(listing.payload, sites.community.root_keys[:2])
    Home.open(home).save_directory(Directory.parse(signed, roots=sites.community.roots))
    before = outbox(home)
    for command in COMMANDS.values():
        line = failing(1, *command, "--home", home)
        assert "directory_expired" in line
        assert "newest directory" in line
    assert outbox(home) == before


# Relays that are down


def test_a_relay_that_is_down_costs_one_line(run, failing, sites):
    before = outbox()
    sites.kill(RELAY)
    try:
        for command in COMMANDS.values():
            line = failing(1, *command, "--home", SENDER)
            assert "nothing listens there" in line
            assert "nothing was lost" in line
        assert outbox() == before  # nothing was sealed: the same command can be given again
    finally:
        sites.start(RELAY)
    digest = send(run, LATE)
    assert digest in arrived(run, LATE, digest)


@pytest.fixture
def dying(sites, monkeypatch):
    """Kill a relay when a method of the connection to it is used next."""

    def arm(relay: str, method: str) -> None:
        original = getattr(RemoteRelay, method)

        def shot(self, *args):
            monkeypatch.setattr(RemoteRelay, method, original)
            sites.kill(relay)
            return original(self, *args)

        monkeypatch.setattr(RemoteRelay, method, shot)

    return arm


def test_what_was_sealed_when_the_relay_died_goes_out_once(run, failing, sites, dying, monkeypatch):
    before, _ = outbox()
    dying(RELAY, "submit")
    try:
        line = failing(1, "send", "message.json", "--home", SENDER, "--to", LATE, *JSON)
        assert "the message kept in the outbox" in line
        assert "do not send it again" in line
        assert outbox() == (before + 1, 1)
    finally:
        sites.start(RELAY)
    code, out, err = run("send", "message.json", "--home", SENDER, "--to", LATE, *JSON, "--json")
    sent = json.loads(out)
    assert (code, err, sent["sent"], sent["waiting"], len(sent["earlier"])) == (0, "", 1, 0, 1)
    ids = [message["id"] for message in (*sent["earlier"], *sent["messages"])]
    assert arrived(run, LATE, *ids) == ids  # in the order in which they were sealed
    assert outbox() == (before + 2, 0)


def test_receipts_are_shown_even_if_the_rest_fails(run, sites, dying, monkeypatch):
    """Of a file of several messages the first half is durable: its receipts must not be hidden by the error."""
    monkeypatch.setattr(cli.mail, "_BATCH", 2)
    batches, count = cli.mail._send_batch, []

    def second_fails(*args):
        count.append(1)
        if len(count) == 2:
            dying(RELAY, "submit")
        return batches(*args)

    monkeypatch.setattr(cli.mail, "_send_batch", second_fails)
    try:
        code, out, _ = run("send", "four.csv", "--home", SENDER, "--to", LATE, *CSV, *MARKS, "--json")
    finally:
        sites.start(RELAY)
    sent = json.loads(out)
    assert (code, sent["sent"], sent["waiting"]) == (1, 2, 2)
    assert [bool(m["id"]) for m in sent["messages"]] == [True] * 2 + [False] * 2
    assert all("kept in the outbox" in m["problem"] for m in sent["messages"][2:])
    receive(run, SENDER)  # any command that connects carries the rest
    assert outbox()[1] == 0
    came = 0
    for _ in attempts():
        came += len(receive(run, LATE)["messages"])
        if came == 4:
            break
    assert came == 4


def test_what_was_received_when_the_relay_died_is_kept_and_comes_no_second_time(run, sites, dying):
    ids = [send(run, CUT) for _ in range(3)]
    dying(PEER, "acknowledge")
    try:
        for _ in attempts():
            code, out, err = run("receive", "--home", CUT, "--json")
            if code:
                break
        assert (code, err.count("\n")) == (1, 1)
        assert json.loads(err)["reason"] == "unavailable"
        came = [message["id"] for message in json.loads(out)["messages"]]
        assert came
    finally:
        sites.start(PEER)
    rest = [digest for digest in ids if digest not in came]
    assert sorted(arrived(run, CUT, *rest) + came) == sorted(ids)
    assert receive(run, CUT)["messages"] == []


# Interruption, full disks, refusals

INTERRUPTED = """
from infoexchange.cli import receive
keep, kept = receive.keep, []
def interrupted(*args):
    kept.append(keep(*args))
    if len(kept) == 2:
        os.kill(os.getpid(), signal.SIGINT)  # between keeping and acknowledging
    return kept[-1]
receive.keep = interrupted
"""


def test_an_interrupted_receive_loses_nothing(run):
    words = ("send", "four.csv", "--home", SENDER, "--to", CUT, *CSV, *MARKS, "--json")
    ids = [message["id"] for message in json.loads(run(*words)[1])["messages"]]
    came: list[dict[str, object]] = []
    for _ in range(20):
        done = start(INTERRUPTED, "receive", "--home", CUT, "--json")
        assert "Traceback" not in done.stderr
        came += json.loads(done.stdout)["messages"] if done.stdout else []
        if done.returncode:
            break
    assert (done.returncode, done.stderr.count("\n")) == (130, 1)
    assert "kept" in done.stderr
    assert len(came) < len(ids)
    for _ in attempts():
        if len(came) == len(ids):
            break
        came += receive(run, CUT)["messages"]
    assert sorted(str(message["id"]) for message in came) == sorted(ids)
    assert [message["repeated"] for message in came].count(True) == 1  # the one that was not acknowledged


def test_an_interrupted_send_says_what_is_kept(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RemoteRelay, "submit", interrupted)
        code, out, err = run("send", "message.json", "--home", SENDER, "--to", CUT, *JSON)
    assert (code, err.count("\n")) == (130, 1)
    assert "In the outbox: 1." in out
    _, out, _ = run("send", "message.json", "--home", SENDER, "--to", CUT, *JSON, "--json")
    assert (json.loads(out)["sent"], len(json.loads(out)["earlier"])) == (1, 1)


def fails_then_comes(run, home: Path | str, digest: str, failed: tuple[int, str, str]) -> None:
    """The one line about the disk, and the message as soon as there is space."""
    code, out, err = failed
    assert (code, err.count("\n")) == (1, 1), err
    assert out == ""
    assert "nothing was lost" in err or "can be given again" in err or "ulimit" in err or "full" in err, err
    assert not (inbox_of(Path(home), bytes.fromhex(digest)) / "message.json").exists()
    assert digest in arrived(run, home, digest)
    kept = inbox_of(Path(home), bytes.fromhex(digest)) / "message.json"
    assert text.from_json("RequestForInformation", kept.read_text()) == request()


def waits(run, sites: Sites, digest: str) -> None:
    """Return when the message lies ready at the recipient's relay."""
    for _ in attempts():
        _, out, _ = run("receipts", digest, "--home", SENDER, "--json")
        if any("kept it ready" in event["what"] for event in json.loads(out)["events"]):
            return
    raise AssertionError("the message did not arrive")


@pytest.fixture
def mount(tmp_path: Path):
    """Mount a disk of some size at a folder, where this machine allows it."""
    mounted: list[Path] = []

    def disk(place: Path, size: str) -> Path:
        place.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if os.geteuid() or not shutil.which("mount") or subprocess.run(command, check=False).returncode:
            pytest.skip("no disk can be mounted here; the limit on file sizes is tested instead")
        mounted.append(place)
        return place

    yield disk
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_inbox_leaves_the_message_at_the_relay(run, sites, mount):
    digest = send(run, FULL)
    waits(run, sites, digest)
    inbox = mount(Path(FULL, "inbox").absolute(), "64k")
    (inbox / "filler").write_bytes(bytes(15 * 4096))
    failed = run("receive", "--home", FULL)
    assert "the disk is full" in failed[2]
    (inbox / "filler").unlink()
    fails_then_comes(run, FULL, digest, failed)


@pytest.mark.parametrize("pages", [0, 1, 3, 12])
def test_a_home_on_a_full_disk_loses_nothing(run, sites, mount, tmp_path, pages):
    """Wherever in the work the disk is full: on opening the spool, on recording the message, or on keeping it."""
    digest = send(run, FULL)
    waits(run, sites, digest)
    home = mount(tmp_path / "disk", "1m") / "home"
    shutil.copytree(FULL, home, ignore=shutil.ignore_patterns("inbox"))
    filler = home.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(file.tell() // 4096 * 4096 - pages * 4096)
    code, out, err = run("receive", "--home", home)
    filler.unlink()
    if code == 0:
        assert pages == 12
        assert digest in out
    else:
        fails_then_comes(run, home, digest, (code, out, err))
    arrived(run, FULL)  # the copy has acknowledged it


@pytest.mark.parametrize("limit", [4096, 16_384])
def test_a_file_that_may_not_grow_leaves_the_message_at_the_relay(run, sites, tmp_path, limit):
    digest = send(run, FULL)
    waits(run, sites, digest)

    program = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    done = start(program, "receive", "--home", FULL)
    fails_then_comes(run, FULL, digest, (done.returncode, done.stdout, done.stderr))


def test_an_inbox_that_is_no_folder_is_named(failing, run, tmp_path):
    digest = send(run, LATE)
    inbox = Path(LATE, "inbox")
    moved = inbox.rename(tmp_path / "moved") if inbox.exists() else None
    inbox.write_text("")
    for _ in attempts():
        code, _, err = run("receive", "--home", LATE)
        if code:
            break
    assert (code, err.count("\n")) == (1, 1)
    assert "inbox" in err
    inbox.unlink()
    if moved:
        moved.rename(inbox)
    assert digest in arrived(run, LATE, digest)


def test_a_message_that_breaks_a_rule_here_is_refused_and_its_sender_told(run, monkeypatch):
    from infoexchange import delivery

    def newer_rule(message):
        raise error(Reason.RULE_BROKEN, field="background", detail="too vague")

    arrived(run, SOUR)
    digest = send(run, SOUR)
    with monkeypatch.context() as patch:
        patch.setattr(delivery.rules, "check_received", newer_rule)
        for _ in attempts():
            code, out, _ = run("receive", "--home", SOUR)
            if code:
                break
    assert code == 1
    assert f"refused: {SENDER}: rule_broken in background: too vague" in out
    assert "1 refused." in out
    assert not inbox_of(Path(SOUR), bytes.fromhex(digest)).exists()
    assert receive(run, SOUR)["messages"] == []
    _, out, _ = run("receipts", digest, "--home", SENDER)
    assert f"it was refused for {SOUR}, reason rule_broken" in out
