"""Backups: one moment of a relay that goes on, put back only where nobody knows of anything newer."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backing_up import Writer, backed_up, elsewhere, held, make_folders, put_back, refused
from blobs import SIZE, ciphertext
from changes import change
from command_setup import infoexchange_relay
from community import Community
from infoexchange.chunks import Blob
from infoexchange.errors import ExchangeError, Reason
from infoexchange.states import Event
from infoexchange.testing.clock import FakeClock
from infoexchange.testing.sites import environment
from infoexchange_relay.backup import Manifest, last_backup, making
from infoexchange_relay.config import Config, load
from infoexchange_relay.stores import FileDepot
from kept import MANIFEST
from patience import until
from relays import raised

NAME, OWNER = "relay.th.example", "desk.oncb.th.example"
DATA, REF = ciphertext()
BLOB = Blob(OWNER, REF.ct_root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of two relays."""
    return make_folders(tmp_path_factory.mktemp("exchange"))


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    """A relay of its own for each test, with nothing in it."""
    return load(Path(shutil.copytree(made / NAME, tmp_path / "relay")) / "relay.toml", {})


@pytest.fixture
def writer(config: Config) -> Iterator[Writer]:
    writer = Writer(config)
    writer.commit(5)
    yield writer
    writer.store.close()


# A moment of a relay that goes on


def test_under_load_each_backup_is_one_moment(config, writer, tmp_path, monkeypatch):
    stop = threading.Event()
    monkeypatch.setattr(making, "_PAGES", 4)  # many steps, and commits between them
    writer.commit(200)

    def go_on() -> None:
        while not stop.is_set():
            writer.commit(20)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        manifests = []
        for number in range(3):
            before = writer.ledger.size
            manifests.append(backed_up(config, tmp_path / f"{number}.tar"))
            assert before <= manifests[-1].size
            until(lambda: writer.ledger.size > manifests[-1].size)  # it waited for nobody
    finally:
        stop.set()
        thread.join()
    leaves = held(config)
    for number, manifest in enumerate(manifests):
        assert manifest.signed
        manifest.signed.verify(writer.keys.verifier_keys)
        there = elsewhere(config, tmp_path / f"there-{number}")
        restored = put_back(there, tmp_path / f"{number}.tar", manifest.digest)
        assert (restored.latched, restored.aside, restored.manifest) == (False, None, manifest)
        assert held(there) == leaves[: manifest.end]
        assert there.place.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".*"))


def test_with_its_latch_the_relay_goes_on(config, writer, tmp_path):
    backed_up(config, tmp_path / "b.tar")
    there = elsewhere(config, tmp_path / "there", latch=True)
    assert put_back(there, tmp_path / "b.tar").latched
    again = Writer(there)
    again.commit(1)
    assert (again.ledger.size, held(there)[:5]) == (6, held(config))
    again.store.close()


def test_what_lies_beside_the_store_comes_along(config, writer, tmp_path):
    for place, content in {
        "cosigned": b"c", "predecessor": b"p", "timestamps/a/1": b"t", "lost-1/relay.sqlite3": b"l",
        "requests/1": b"r", ".hidden": b"h", "replaced-1/x": b"x",
    }.items():  # fmt: skip
        (config.data / place).parent.mkdir(parents=True, exist_ok=True)
        (config.data / place).write_bytes(content)
    manifest = backed_up(config, tmp_path / "b.tar")
    expected = ["cosigned", "lost-1/relay.sqlite3", "predecessor", "relay.sqlite3", "timestamps/a/1"]
    assert sorted(manifest.files) == expected
    there = elsewhere(config, tmp_path / "there")
    put_back(there, tmp_path / "b.tar")
    found = [path.relative_to(there.data).as_posix() for path in there.data.rglob("*") if path.is_file()]
    assert sorted(name for name in found if not name.startswith(".")) == expected
    assert (there.data / "timestamps/a/1").read_bytes() == b"t"
    names = " ".join(manifest.left_out)
    assert all(name in names for name in ("latch", "log.key", "tls.key", "witness.key"))
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert not [name for name in tar.getnames() if "latch" in name or "key" in name]
    assert last_backup(config) == (manifest.made_at, str(tmp_path / "b.tar"))
    assert last_backup(there) is None


def test_attachments_are_listed_and_go_along_if_asked(config, writer, tmp_path):
    community = Community()
    envelope = community.seal("coast.aa.example", ["coast.bb.example"])
    gone = Blob(OWNER, bytes(32))
    parts = {"envelope": envelope, "starts": ("coast.bb.example",), "blobs": (BLOB, gone)}
    writer.ledger.commit([change(Event.ACCEPTED, envelope.digest, **parts)])
    config.attachments.mkdir(mode=0o700)
    depot = FileDepot(config.attachments, quota=2**40, reserve=0, clock=FakeClock())
    writing = depot.begin(BLOB, SIZE, 0)
    writing.add(DATA)
    writing.close()
    name, missing = (f"{OWNER}/{root.hex()}" for root in (BLOB.root, gone.root))
    assert backed_up(config, tmp_path / "without.tar").attachments == {name: False, missing: False}
    manifest = backed_up(config, tmp_path / "with.tar", attachments=True)
    assert manifest.attachments == {name: True, missing: False}
    there = elsewhere(config, tmp_path / "there")
    put_back(there, tmp_path / "with.tar")
    again = FileDepot(there.attachments, quota=2**40, reserve=0, clock=FakeClock())
    assert again.length(BLOB, SIZE) == SIZE
    assert next(iter(again.read(BLOB, 0, SIZE))).data == DATA[: 1024 * 1024]


# What is refused


def test_nothing_is_overwritten(config, writer, tmp_path):
    file = tmp_path / "b.tar"
    file.write_bytes(b"mine")
    assert raised(lambda: backed_up(config, file)).reason is Reason.NOT_PERMITTED
    assert file.read_bytes() == b"mine"


def test_a_store_that_is_damaged_is_no_backup(config, writer, tmp_path):
    with sqlite3.connect(config.place) as database:
        database.execute("UPDATE entry SET leaf = zeroblob(length(leaf)) WHERE idx = 1")
    database.close()
    assert raised(lambda: backed_up(config, tmp_path / "b.tar")).reason is Reason.LOG_STOPPED
    assert not list(tmp_path.glob("*b.tar*"))


def test_nothing_to_back_up(config, tmp_path):
    assert "Start the relay first" in raised(lambda: backed_up(config, tmp_path / "b.tar")).next_step


def test_a_database_has_a_backup_of_its_own(config, tmp_path):
    other = dataclasses.replace(config, store="postgresql:///relay")
    assert "pg_dump" in raised(lambda: backed_up(other, tmp_path / "b.tar")).next_step
    assert "check" in raised(lambda: put_back(other, tmp_path / "b.tar")).next_step


def test_a_full_disk_leaves_nothing(config, writer, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(small)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    try:
        writer.commit(200)
        with pytest.raises((ExchangeError, OSError), match=r"full|No space left"):
            backed_up(config, small / "b.tar")
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


# The file


def test_a_flipped_bit_is_found_or_changes_nothing(config, writer, tmp_path):
    backed_up(config, tmp_path / "b.tar")
    raw, leaves = bytearray((tmp_path / "b.tar").read_bytes()), held(config)
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    there, found = elsewhere(config, tmp_path / "there"), 0
    for _ in range(24):
        place = rng.randrange(len(raw) * 8)
        raw[place // 8] ^= 1 << place % 8
        (tmp_path / "flipped.tar").write_bytes(raw)
        raw[place // 8] ^= 1 << place % 8
        shutil.rmtree(there.data, ignore_errors=True)
        try:
            put_back(there, tmp_path / "flipped.tar")
        except ExchangeError:
            found += 1
            assert not there.place.exists()
        else:
            assert held(there) == leaves
    assert found > 10


def test_a_file_that_is_cut_off(config, writer, tmp_path):
    backed_up(config, tmp_path / "b.tar")
    raw = (tmp_path / "b.tar").read_bytes()
    there = elsewhere(config, tmp_path / "there")
    end = len(raw.rstrip(b"\0"))
    for length in (0, 100, 512, len(raw) // 2, end - 600, end - 1):
        (tmp_path / "cut.tar").write_bytes(raw[:length])
        assert raised(lambda: put_back(there, tmp_path / "cut.tar")).reason is Reason.MALFORMED
    assert not there.place.exists()


def rewritten(source: Path, target: Path, edit) -> Path:
    """A backup whose members were edited by whoever could."""
    with tarfile.open(source) as before, tarfile.open(target, "w") as after:
        for member in before.getmembers():
            edit(before, after, member)
    return target


def test_files_that_would_lie_outside(config, writer, tmp_path):
    backed_up(config, tmp_path / "b.tar")
    there = elsewhere(config, tmp_path / "there")

    def link(before: tarfile.TarFile, after: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.name == "relay.sqlite3":
            member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            after.addfile(member)
        else:
            after.addfile(member, before.extractfile(member))

    assert "not a plain file" in refused(there, rewritten(tmp_path / "b.tar", tmp_path / "link.tar", link),
                                         Reason.MALFORMED)  # fmt: skip
    for name in ("../x", "/x", "a/../../x", "", ".", "a//b", "./a", "a\\b"):
        raw = dataclasses.replace(MANIFEST, files={name: MANIFEST.files["relay.sqlite3"]}).raw
        with pytest.raises(ExchangeError, match="not a manifest"):
            Manifest.parse(raw)


def test_a_digest_that_was_kept_elsewhere(config, writer, tmp_path):
    manifest = backed_up(config, tmp_path / "b.tar")
    there = elsewhere(config, tmp_path / "there")
    problem = raised(lambda: put_back(there, tmp_path / "b.tar", "ab" * 32))
    assert (problem.reason, problem.field.endswith("manifest.json")) == (Reason.BAD_FIELD, True)
    assert put_back(there, tmp_path / "b.tar", manifest.digest.upper())


def test_a_manifest_comes_back_as_it_was():
    assert Manifest.parse(MANIFEST.raw) == MANIFEST
    for other in ({"form": "other"}, {"more": 1}, {"end": "x"}, {"files": []}, {"files": {"a": [1]}}, {"root": "z"},
                  {"end": float("inf")}, {"made_at": "0001-01-01T00:00:00+14:00"}):  # fmt: skip
        with pytest.raises(ExchangeError, match="not a manifest"):
            Manifest.parse(json.dumps(json.loads(MANIFEST.raw) | other).encode())


# A command that is ended

# Ends itself as soon as the store is copied.
ENDED = """
import os, sys
from infoexchange_relay.__main__ import main
from infoexchange_relay.backup import making
copy = making._copy
def ended(*args):
    copy(*args)
    os.kill(os.getpid(), int(sys.argv[1]))
making._copy = ended
sys.exit(main(sys.argv[2:]))
"""


def ended(number: int, file: Path, config: Config) -> int:
    words = [str(int(number)), "backup", str(file), "--config", str(config.data.parent / "relay.toml")]
    done = subprocess.run([sys.executable, "-c", ENDED, *words], env=environment(), capture_output=True, check=False)
    return done.returncode


def test_a_backup_that_is_told_to_stop_leaves_nothing(config, writer, tmp_path):
    (tmp_path / "backups").mkdir()
    assert ended(signal.SIGTERM, tmp_path / "backups" / "b.tar", config) == 143
    assert list((tmp_path / "backups").iterdir()) == []


def test_what_a_killed_backup_left_goes_with_a_later_one(config, writer, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    assert ended(signal.SIGKILL, folder / "b-1.tar", config) == -signal.SIGKILL
    [left] = folder.iterdir()
    notes = folder / ".notes.tar.store"
    notes.touch()
    # Another backup may be writing this.
    backed_up(config, folder / "b-2.tar")
    assert left.exists()
    for path in (left, notes):
        os.utime(path, (time.time() - 86_400,) * 2)
    backed_up(config, folder / "b-3.tar")
    assert sorted(folder.iterdir()) == [notes, folder / "b-2.tar", folder / "b-3.tar"]


# The commands


def test_the_commands(config, writer, tmp_path, capsys):
    settings = ("--config", config.data.parent / "relay.toml")
    capsys.readouterr()
    assert infoexchange_relay("backup", tmp_path / "b.tar", *settings, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["entries"], said["attachments"], said["file"]) == (5, 0, str(tmp_path / "b.tar"))
    assert infoexchange_relay("backup", tmp_path / "b.tar", *settings) == 1
    assert "b.tar" in capsys.readouterr().err
    assert infoexchange_relay("backup", tmp_path / "c.tar", *settings) == 0
    assert "latch/checkpoint: NEVER" in capsys.readouterr().out
    there = elsewhere(config, tmp_path / "there")
    settings = ("--config", there.data.parent / "relay.toml", "--digest", said["digest"])
    assert infoexchange_relay("restore", tmp_path / "b.tar", *settings) == 0
    assert "infoexchange-relay recover" in capsys.readouterr().out
    there = elsewhere(config, tmp_path / "latched", latch=True)
    assert (
        infoexchange_relay("restore", tmp_path / "b.tar", "--config", there.data.parent / "relay.toml", "--json") == 0
    )
    assert [word.split()[1] for word in json.loads(capsys.readouterr().out)["next"]] == ["check", "serve"]
    assert infoexchange_relay("check", "--config", there.data.parent / "relay.toml", "--json") == 1  # no peer listens
    checks = {one["check"]: one["passed"] for one in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["audit log"]
