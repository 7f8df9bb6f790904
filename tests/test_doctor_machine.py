"""The doctor and the machine: disks, permissions, limits, each really out of order; and what the command says."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_setup import infoexchange_relay
from infoexchange_relay.cli import doctor
from infoexchange_relay.cli.doctor import machine
from infoexchange_relay.cli.doctor.finding import Finding, State
from infoexchange_relay.config import Config, load

HERE = "relay.th.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `init` makes: nothing of it is signed or registered yet."""
    folder = tmp_path_factory.mktemp("new") / "relay"
    assert infoexchange_relay("init", HERE, "--folder", folder) == 0
    return folder


@pytest.fixture
def stopped(folder: Path, tmp_path: Path) -> Config:
    """A copy of that relay."""
    return load(Path(shutil.copytree(folder, tmp_path / "relay")) / "relay.toml", {})


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


def test_a_disk_that_is_nearly_full(stopped, small, monkeypatch):
    monkeypatch.setattr(machine, "_FREE_MIN", 4096)  # of a disk as small as that
    (small / "large").write_bytes(bytes(480 * 1024))
    config = dataclasses.replace(stopped, data=small, reserve_gib=0)
    finding = {finding.name: finding for finding in machine.disks(config)}["disk of data"]
    assert (finding.state, "before it is full" in finding.next_step) == (State.ATTENTION, True)


def test_a_slow_disk(stopped, monkeypatch):
    fsync = os.fsync

    def late(descriptor: int) -> None:
        time.sleep(0.3)
        fsync(descriptor)

    monkeypatch.setattr(machine.os, "fsync", late)
    finding = {finding.name: finding for finding in machine.disks(stopped)}["writing to data"]
    assert (finding.state, "disk's health" in finding.next_step) == (State.ATTENTION, True)


def test_folders_that_are_missing(stopped):
    shutil.rmtree(stopped.data)
    finding = {finding.name: finding for finding in machine.disks(stopped)}["disk of data"]
    assert (finding.state, "mkdir -m 700" in finding.next_step) == (State.WRONG, True)


@pytest.mark.parametrize(
    ("field", "mode", "name", "wanted"),
    [
        ("log_keys", 0o640, "log_keys", "600"), ("tls_key", 0o604, "tls_key", "600"), ("data", 0o755, "data", "700"),
        ("directory", 0o666, "directory", "644"), ("roots", 0o664, "roots", "644"),
    ],
)  # fmt: skip
def test_what_others_could_read_or_change(stopped, field, mode, name, wanted):
    path = getattr(stopped, field)
    path.touch()
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


def test_what_belongs_to_another_user(stopped):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    child = os.fork()
    if child == 0:
        os.chown(stopped.data, 54321, 54321)
        os.chown(stopped.data.parent, 54322, 54322)
        os.chdir(stopped.data.parent)  # the folders above it are root's alone
        os.setresuid(54322, 54322, 54322)
        here = dataclasses.replace(stopped, **{f: Path("none") for f in ("log_keys", "witness_keys", "tls_key")})
        here = dataclasses.replace(
            here, data=Path("data"), latch=Path("none/latch"), directory=Path("n"), roots=Path("n")
        )
        found = [finding for finding in machine.permissions(here, Path("none")) if finding.state]
        steps = [finding.next_step for finding in found]
        os._exit(0 if steps == ["Run: chown 54322 data"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


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
