"""The doctor: each thing it knows is made to go wrong, and it says so and what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from command_setup import infoexchange_relay
from infoexchange import certificates
from infoexchange.directory import Directory
from infoexchange.tlog import Checkpoint
from infoexchange.transport import utc_now
from infoexchange_relay.cli import doctor
from infoexchange_relay.cli.doctor import examine, machine
from infoexchange_relay.cli.doctor.finding import Finding, State
from infoexchange_relay.cli.doctor.nearby import clock_finding
from infoexchange_relay.config import Config
from infoexchange_relay.lock import holder, is_locked, locked
from patience import until
from relays import AGENCIES, Relays

HERE, THERE = "relay.th.example", "relay.vn.example"
LONG = timedelta(days=800)
EARLIER = timedelta(minutes=2)  # a certificate of that age is younger than its CA


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relays]:
    """Two relays that have cosigned each other's log."""
    folder = tmp_path_factory.mktemp("doctor")
    relays = Relays(folder, AGENCIES)
    try:
        for code in ("th", "vn"):
            relays.start(code)
            os.chmod(relays.configs[code].latch.parent, 0o700)
        until(lambda: all(config.cosigned.exists() for config in relays.configs.values()))
        yield relays
    finally:
        relays.close()


@pytest.fixture
def stopped(relays: Relays, tmp_path: Path) -> Config:
    """A copy of the first relay, which nobody serves; the second one answers it."""
    before = relays.configs["th"]
    folder = tmp_path / "th"
    shutil.copytree(before.data.parent, folder)
    moved = {
        field.name: folder / value.relative_to(before.data.parent)
        for field in dataclasses.fields(before)
        if isinstance(value := getattr(before, field.name), Path)
    }
    return dataclasses.replace(before, **moved)


def found(config: Config, off: timedelta = timedelta(0)) -> dict[str, Finding]:
    """Every finding by its name; each one that is not well says what to do."""
    findings = examine(config, config.data.parent / "relay.toml", clock=lambda: utc_now() + off)
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    for finding in findings:
        assert (finding.state is State.WELL) == (not finding.next_step), finding
    return {finding.name: finding for finding in findings}


def wrong(config: Config, name: str, *words: str, off: timedelta = timedelta(0)) -> None:
    """Expect something to be wrong."""
    finding = found(config, off)[name]
    assert finding.state is State.WRONG, finding
    for word in words:
        assert word in f"{finding.detail} {finding.next_step}", finding


def test_a_relay_in_good_health(relays):
    findings = found(relays.configs["th"])
    # How full this machine's disk is, is its own affair.
    assert not [f for f in findings.values() if f.state is not State.WELL and not f.name.startswith("disk of")]
    assert "serving" in findings["service"].detail
    assert {f"{THERE} TLS", f"{THERE} accepts us", f"{THERE} witness", "clock", "quorum of witnesses"} <= set(findings)
    assert "within 10 s of 1 witnesses" in findings["clock"].detail


# Clock


@pytest.mark.parametrize(("seconds", "state"), [(-400, 2), (-60, 1), (60, 1), (400, 2)])
def test_a_clock_that_is_off(relays, seconds, state):
    finding = found(relays.configs["th"], timedelta(seconds=seconds))["clock"]
    assert finding.state == state
    assert f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'}" in finding.detail.replace(
        f"{abs(seconds) - 1} s", f"{abs(seconds)} s"
    ).replace(f"{abs(seconds) + 1} s", f"{abs(seconds)} s")


def test_one_clock_of_many_moves_nothing():
    ahead = {f"relay.{n}.example": timedelta(seconds=n) for n in range(4)} | {"relay.z.example": timedelta(hours=1)}
    finding = clock_finding(ahead)
    assert (finding.state, "that of relay.z.example" in finding.detail) == (State.ATTENTION, True)
    assert clock_finding({}).state is State.ATTENTION


def test_nobody_to_ask_for_the_time(stopped):
    stopped.latch.unlink()
    stopped.cosigned.unlink()
    assert "no witness has said" in found(stopped)["clock"].detail


# Neighbours


@pytest.fixture
def elsewhere(stopped: Config, relays: Relays) -> Iterator[tuple[Config, socket.socket]]:
    """A copy of the relay whose directory says that its neighbour is where this socket listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        listing = relays.directory.listing
        parties = tuple(
            dataclasses.replace(party, address=address) if party.name == THERE else party for party in listing.parties
        )
        changed = dataclasses.replace(listing, parties=parties, version=listing.version + 1,
                                      previous=relays.directory.digest)  # fmt: skip
        stopped.directory.write_bytes(Directory.sign(changed.payload, relays.community.root_keys[:2]))
        yield stopped, listening


def test_a_peer_that_is_stopped(elsewhere):
    config, listening = elsewhere
    listening.close()
    wrong(config, f"{THERE} reachable", "nobody listens there", "firewalls")


@contextlib.contextmanager
def answering(listening: socket.socket, answer) -> Iterator[None]:
    """Answer one connection in a thread."""

    def run() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as connection:
            answer(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_peer_that_speaks_no_tls(elsewhere):
    config, listening = elsewhere
    with answering(listening, lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")):
        wrong(config, f"{THERE} TLS", "no TLS 1.3")


def test_a_peer_whose_certificate_has_expired(elsewhere, relays, tmp_path):
    config, listening = elsewhere
    key = certificates.tls_key()
    request = certificates.tls_request(THERE, key)
    (tmp_path / "key").write_bytes(key)
    pem = certificates.to_pem(relays.community.cas["vn"].issue(request, now=utc_now() - EARLIER, lifetime=EARLIER / 2))
    (tmp_path / "pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem", tmp_path / "key")

    def shake(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True).close()

    with answering(listening, shake):
        wrong(config, f"{THERE} TLS", "expired", "nothing is forwarded")


def test_a_peer_that_does_not_take_us(stopped, relays):
    key, pem = relays.tls(HERE, ca=relays.meddler)  # any nation's CA opens the door, and no more
    stopped.tls_key.write_bytes(key)
    stopped.tls_certificate.write_bytes(pem)
    wrong(stopped, f"{THERE} accepts us", "bad_certificate")


def test_a_witness_that_cannot_remember(relays, stopped):
    [memory] = relays.configs["vn"].witnessed.glob("*[!.][!l][!o][!c][!k]")
    kept = memory.read_bytes()
    memory.write_bytes(b"")
    try:
        wrong(stopped, f"{THERE} witness", "the file is empty")
    finally:
        memory.write_bytes(kept)


# Papers


def test_a_certificate_that_has_expired(stopped, relays):
    key = stopped.tls_key.read_bytes()
    ca = relays.community.cas["th"]
    issued = ca.issue(certificates.tls_request(HERE, key), now=utc_now() - EARLIER, lifetime=EARLIER / 2)
    stopped.tls_certificate.write_bytes(certificates.to_pem(issued))
    wrong(stopped, "TLS certificate", "not valid at")


def test_a_certificate_of_somebody_else(stopped, relays):
    stopped.tls_certificate.write_bytes(relays.tls(THERE)[1])
    wrong(stopped, "TLS certificate", "not that of the TLS certificate")


def test_a_directory_that_has_expired(relays):
    wrong(relays.configs["th"], "directory", off=LONG)


def test_papers_that_end_soon(relays):
    left = relays.directory.listing.expires_at - utc_now()
    finding = found(relays.configs["th"], left - timedelta(days=20))["end of Directory version 1"]
    assert (finding.state, "ends in" in finding.detail) == (State.ATTENTION, True)


def test_a_newer_directory_that_nobody_has_taken(elsewhere):
    config, listening = elsewhere
    listening.close()
    finding = found(config)["newer directory"]
    assert (finding.state, "version 2 lies there, the relay uses 1" in finding.detail) == (State.ATTENTION, True)


def test_a_peer_with_a_newer_directory(relays, stopped):
    listing = relays.directory.listing
    changed = dataclasses.replace(listing, version=2, previous=relays.directory.digest)
    newer = Directory.sign(changed.payload, relays.community.root_keys[:2])
    assert relays.remote("intel.c04.vn.example").publish_directory(newer)
    finding = found(stopped)[f"directory at {THERE}"]
    assert (finding.state, "1 newer" in finding.detail) == (State.ATTENTION, True)


# Log


def test_data_that_is_an_old_copy(stopped, relays):
    note = Checkpoint.parse(stopped.latch.read_bytes())
    more = Checkpoint.sign(
        note.origin, note.size + 5, bytes(32), relays.community.log_keys[HERE].signers, now=utc_now()
    )
    stopped.latch.write_bytes(more.raw)
    wrong(stopped, "log", "this is an old copy", "recover")


def test_a_latch_over_another_log(stopped, relays):
    note = Checkpoint.parse(stopped.latch.read_bytes())
    other = Checkpoint.sign(note.origin, note.size, bytes(32), relays.community.log_keys[HERE].signers, now=utc_now())
    stopped.latch.write_bytes(other.raw)
    wrong(stopped, "log", "another log")


def test_a_latch_that_is_an_old_copy(stopped, relays):
    note = Checkpoint.parse(stopped.latch.read_bytes())
    older = Checkpoint.sign(note.origin, 1, bytes(32), relays.community.log_keys[HERE].signers, now=utc_now())
    stopped.latch.write_bytes(older.raw)
    wrong(stopped, "log", "an old copy", "never one from a backup")


def test_a_latch_that_is_not_the_relays(stopped):
    stopped.latch.write_bytes(b"nothing")
    wrong(stopped, "log", str(stopped.latch))


def test_lost_data(stopped):
    stopped.place.unlink()
    wrong(stopped, "log", "no such file", "recover")


def test_nobody_serves(stopped):
    finding = found(stopped)["process"]
    assert (finding.state, finding.next_step) == (State.ATTENTION, "Start it: infoexchange-relay serve")
    assert (is_locked(stopped), holder(stopped)) == (False, 0)
    with locked(stopped):
        assert (is_locked(stopped), holder(stopped)) == (True, os.getpid())


def test_a_relay_that_hangs(stopped, relays):
    with socket.create_server(("127.0.0.1", 0)) as listening, locked(stopped):
        config = dataclasses.replace(stopped, listen=f"127.0.0.1:{listening.getsockname()[1]}")
        listening.close()
        wrong(config, "service", "does not answer: UNAVAILABLE")


def test_witnesses_that_have_been_silent(stopped):
    assert found(stopped, timedelta(minutes=20))["quorum of witnesses"].state is State.ATTENTION
    note = Checkpoint.parse(stopped.cosigned.read_bytes())
    stopped.cosigned.write_bytes(note.only_signatures(note.note.signatures[:2]).raw)
    finding = found(stopped)["quorum of witnesses"]
    assert (finding.state, finding.detail) == (State.ATTENTION, "none has cosigned this log yet")


# Machine


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a mebibyte and twelve files."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k,nr_inodes=12", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip("this user cannot mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(stopped, small):
    config = dataclasses.replace(stopped, data=small)
    os.chmod(small, 0o700)
    found = {finding.name: finding for finding in machine.disks(config)}
    assert (found["disk of data"].state, "Make room" in found["disk of data"].next_step) == (State.WRONG, True)
    assert found["disk of data, inodes"].state is State.WRONG
    assert found["writing to data"].state is State.WELL
    assert found["latch and data apart"].detail == "on file systems of their own"
    with contextlib.suppress(OSError):
        (small / "full").write_bytes(bytes(2**20))
    found = {finding.name: finding for finding in machine.disks(config)}
    assert "No space left" in found["writing to data"].detail
    assert not list(small.glob(".doctor*"))
    (small / "full").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    found = {finding.name: finding for finding in machine.disks(config)}
    assert "Read-only" in found["writing to data"].detail


def test_a_slow_disk(stopped, monkeypatch):
    times = iter([0.0, 1.0] * 9)
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(times))
    found = {finding.name: finding for finding in machine.disks(stopped)}
    assert (found["writing to data"].state, found["writing to data"].detail) == (2 - 1, "on disk after 1000.0 ms")


def test_folders_that_are_missing(stopped):
    shutil.rmtree(stopped.data)
    wrong(stopped, "disk of data", "mkdir -m 700")


@pytest.mark.parametrize(
    ("field", "mode", "name", "wanted"),
    [
        ("log_keys", 0o640, "log_keys", "600"), ("tls_key", 0o604, "tls_key", "600"), ("data", 0o755, "data", "700"),
        ("directory", 0o666, "directory", "644"), ("roots", 0o664, "roots", "644"),
    ],
)  # fmt: skip
def test_what_others_could_read_or_change(stopped, field, mode, name, wanted):
    path = getattr(stopped, field)
    path.chmod(mode)
    closed(stopped, f"permissions of {name}", f"mode {mode:o}", f"chmod {wanted} {path}")


def closed(config: Config, name: str, detail: str, step: str) -> None:
    found = {finding.name: finding for finding in machine.permissions(config, config.data.parent / "relay.toml")}
    assert (found[name].state, detail in found[name].detail, step in found[name].next_step) == (2, True, True)
    assert [name for name, finding in found.items() if finding.state] == [name]


def test_settings_that_others_could_change(stopped):
    file = stopped.data.parent / "relay.toml"
    file.touch()
    file.chmod(0o646)
    closed(stopped, "permissions of settings", "mode 646", f"chmod 644 {file}")


@pytest.fixture
def process() -> Iterator[int]:
    """A process of ours that does nothing."""
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child.pid
        child.kill()


def limits(process: int) -> dict[str, Finding]:
    return {finding.name: finding for finding in machine.limits(process)}


def test_few_open_files(process):
    resource.prlimit(process, resource.RLIMIT_NOFILE, (512, 512))
    finding = limits(process)["open files"]
    assert (finding.state, finding.detail) == (State.ATTENTION, "at most 512")


def test_a_process_with_little_memory(process):
    for mebibytes, state in ((500, State.ATTENTION), (300, State.WRONG)):
        resource.prlimit(process, resource.RLIMIT_AS, (mebibytes * 2**20, mebibytes * 2**20))
        finding = limits(process)["memory"]
        assert (finding.state, f"{mebibytes}.0 MiB" in finding.detail) == (state, True)


def test_a_group_with_little_memory(process):
    memory = Path("/sys/fs/cgroup/memory")
    group = (memory if memory.exists() else Path("/sys/fs/cgroup")) / f"doctor-{process}"
    try:
        group.mkdir()
        limit = group / ("memory.limit_in_bytes" if memory.exists() else "memory.max")
        limit.write_text(str(200 * 2**20))
        (group / "cgroup.procs").write_text(str(process))
    except OSError as problem:
        pytest.skip(f"this user cannot make a control group: {problem.strerror}")
    try:
        finding = limits(process)["memory"]
        assert (finding.state, "200.0 MiB, limit of the group" in finding.detail) == (State.WRONG, True)
    finally:
        (group.parent / "cgroup.procs").write_text(str(process))
        group.rmdir()


@pytest.mark.parametrize(
    ("lines", "file", "text", "state"),
    [
        ("0::/a/b\n", "a/memory.max", f"{200 * 2**20}\n", 2), ("0::/a/b\n", "a/b/memory.max", f"{400 * 2**20}\n", 1),
        ("0::/a\n", "a/memory.max", "max\n", 0), ("0::/\n", "memory.max", f"{2**33}\n", 0),
        ("2:cpu:/\n7:memory:/a\n", "memory/a/memory.limit_in_bytes", f"{2**20}\n", 2),
        ("7:memory:/a\n", "memory/memory.limit_in_bytes", "9223372036854771712\n", 0), ("", "memory.max", "1\n", 0),
    ],
)  # fmt: skip
def test_how_groups_say_their_limits(tmp_path, lines, file, text, state):
    (tmp_path / f"proc/{os.getpid()}").mkdir(parents=True)
    (tmp_path / f"proc/{os.getpid()}/cgroup").write_text(lines)
    (tmp_path / "sys/fs/cgroup" / file).parent.mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup" / file).write_text(text)
    found = {finding.name: finding for finding in machine.limits(os.getpid(), tmp_path)}
    assert found["memory"].state == state or found["memory"].detail.endswith("(ulimit -v)")


# The command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `init` makes: nothing of it is signed or registered yet."""
    folder = tmp_path_factory.mktemp("new") / "relay"
    assert infoexchange_relay("init", HERE, "--folder", folder) == 0
    return folder


def test_what_is_missing_is_said_at_once_to_people_and_programs(folder, capsys):
    capsys.readouterr()
    config = ("--config", folder / "relay.toml")
    assert infoexchange_relay("doctor", *config, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    states = {finding["check"]: finding["state"] for finding in said["findings"]}
    assert (said["state"], states["log keys"], states["directory"]) == ("wrong", "ok", "wrong")
    assert (states["process"], states["log"]) == ("attention", "ok")
    assert infoexchange_relay("doctor", *config) == 1
    lines = capsys.readouterr().out.splitlines()
    steps = lines[lines.index("What to do:") + 1 :]
    assert steps[0].startswith("  1. ")
    assert any("Put the trust anchor there." in step for step in steps)
    assert any(line.startswith("wrong") and "directory" in line for line in lines)


def test_the_exit_code_is_that_of_the_worst(folder, monkeypatch):
    for state, code in ((State.WELL, 0), (State.ATTENTION, 2), (State.WRONG, 1)):
        findings = [Finding("one", State.WELL, "is"), Finding("two", state, "is", "do" if state else "")]
        monkeypatch.setattr(doctor, "examine", lambda *_, found=findings, **__: found)
        assert infoexchange_relay("doctor", "--config", folder / "relay.toml") == code


def test_looking_changes_nothing(stopped):
    def files() -> dict[str, bytes]:
        found = (path for path in stopped.data.parent.rglob("*") if path.is_file())
        return {path.name: path.read_bytes() for path in found if not path.name.endswith(("-shm", "-wal"))}

    before = files()
    assert found(stopped)
    assert files() == before
