"""Restoring: what would roll a log back is refused, and what broke off goes on."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backing_up import Writer, backed_up, elsewhere, held, make_folders, put_back, refused
from changes import change
from command_setup import infoexchange_relay
from community import Community
from infoexchange.errors import Reason
from infoexchange.log import LogKeys
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint
from infoexchange.transport import utc_now
from infoexchange_relay import lock, recovery
from infoexchange_relay.config import Config, load
from infoexchange_relay.lock import is_locked, locked
from relays import raised

NAME = "relay.th.example"


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


@pytest.fixture
def old(config: Config, writer: Writer, tmp_path: Path) -> Path:
    """A backup, after which the relay has gone on."""
    backed_up(config, tmp_path / "old.tar")
    writer.commit(3)
    return tmp_path / "old.tar"


def test_an_old_backup_where_the_latch_knows_more(config, old, tmp_path):
    there = elsewhere(config, tmp_path / "there", latch=True)
    said = refused(there, old)
    assert "the latch knows 8 entries" in said
    assert "the backup 5" in said
    assert "infoexchange-relay recover" in said


def test_an_old_backup_where_witnesses_have_cosigned_more(config, old, tmp_path):
    there = elsewhere(config, tmp_path / "there")
    there.data.mkdir()
    there.cosigned.write_bytes(config.latch.read_bytes())
    assert "the cosigned checkpoint knows 8 entries" in refused(there, old)


def test_an_old_backup_where_the_data_holds_more(config, old):
    config.latch.unlink()
    assert "the data in place holds 8 entries, the backup 5" in refused(config, old)


def test_a_backup_of_a_log_before(config, old, tmp_path):
    there = elsewhere(config, tmp_path / "there")
    following = LogKeys.make(NAME, now=utc_now(), after=LogKeys.parse(config.log_keys.read_bytes()).origin)
    there.latch.write_bytes(following.sign(1, bytes(32), now=utc_now()).raw)
    assert following.origin in refused(there, old)


def test_a_backup_of_another_history(config, writer, tmp_path):
    backed_up(config, tmp_path / "b.tar")
    there = elsewhere(config, tmp_path / "there")
    note = Checkpoint.parse(config.latch.read_bytes())
    there.latch.write_bytes(writer.keys.sign(note.size, bytes(32), now=utc_now()).raw)
    refused(there, tmp_path / "b.tar", Reason.LOG_FORK)
    there.latch.write_bytes(writer.keys.sign(note.size - 1, bytes(32), now=utc_now()).raw)
    refused(there, tmp_path / "b.tar", Reason.LOG_STOPPED)


def test_while_the_relay_runs(config, old):
    with locked(config):
        assert raised(lambda: put_back(config, old)).reason is Reason.UNAVAILABLE


def test_whoever_looks_at_the_lock_keeps_nobody_from_it(config, monkeypatch):
    config.data.mkdir(exist_ok=True)
    with (config.data / ".lock").open("ab") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr(lock.time, "sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
        with locked(config):
            assert is_locked(config)


def test_another_relays_backup(config, old, made, tmp_path):
    other = load(Path(shutil.copytree(made / "relay.sg.example", tmp_path / "sg")) / "relay.toml", {})
    assert "the data of relay.th.example" in refused(other, old)


def test_a_log_signed_by_others(config, writer, tmp_path):
    stranger = LogKeys(writer.keys.name, bytes(32), bytes(32))
    head = writer.store.head()
    config.latch.write_bytes(stranger.sign(head.size, head.root, now=utc_now()).raw)
    backed_up(config, tmp_path / "b.tar")
    refused(elsewhere(config, tmp_path / "there"), tmp_path / "b.tar", Reason.BAD_SIGNATURE)


def test_what_waits_in_an_old_backup_is_taken_by_the_next_log(config, writer, tmp_path, capsys):
    community = Community()
    envelope = community.seal("coast.aa.example", ["coast.bb.example"])
    writer.ledger.commit([change(Event.ACCEPTED, envelope.digest, envelope=envelope, starts=("coast.bb.example",))])
    backed_up(config, tmp_path / "old.tar")
    writer.commit(3)
    there = elsewhere(config, tmp_path / "there", latch=True)
    assert "restore --to-recover" in refused(there, tmp_path / "old.tar")
    restored = put_back(there, tmp_path / "old.tar", to_recover=True)
    assert restored.aside
    assert not there.place.exists()
    assert recovery.begin_anew(there, recovery.assess(there), now=utc_now()).origin.endswith("-2")
    [aside] = recovery._aside(there)
    with aside as lost:
        assert [item.digest for item in lost.waiting("coast.bb.example", limit=9)] == [envelope.digest]
    assert not list(recovery._aside(there))  # once is enough
    settings = ("--config", there.data.parent / "relay.toml", "--to-recover", "--json")
    shutil.rmtree(restored.aside)
    assert infoexchange_relay("restore", tmp_path / "old.tar", *settings) == 0
    [step] = json.loads(capsys.readouterr().out.splitlines()[-1])["next"]
    assert step.startswith("infoexchange-relay recover")


def test_damaged_data_is_replaced_and_kept(config, writer, tmp_path):
    backed_up(config, tmp_path / "b.tar")
    writer.store.close()
    config.place.write_bytes(b"nothing")
    (config.data / "relay.sqlite3-wal").write_bytes(b"of before")
    restored = put_back(config, tmp_path / "b.tar")
    assert restored.aside
    assert (restored.aside / "relay.sqlite3").read_bytes() == b"nothing"
    assert (restored.aside / "relay.sqlite3-wal").exists()
    assert len(held(config)) == 5


def test_broken_off_it_goes_on(config, writer, tmp_path, monkeypatch):
    """However far it came, the same call puts everything in place."""
    backed_up(config, tmp_path / "b.tar")
    rename = Path.rename
    for steps in range(6):
        there = elsewhere(config, tmp_path / f"there-{steps}", latch=True)
        shutil.copytree(config.data, there.data)
        left = steps

        def breaking(path: Path, target: Path) -> Path:
            nonlocal left
            if not left:
                raise OSError("killed")
            left -= 1
            return rename(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", breaking)
            try:
                put_back(there, tmp_path / "b.tar")
            except OSError:
                assert not left
        put_back(there, tmp_path / "b.tar")
        assert len(held(there)) == 5
