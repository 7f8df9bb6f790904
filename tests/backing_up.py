"""Backing up, as tests of backups and of restoring do it: a relay's folder, and somebody who commits to its log."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from changes import change
from infoexchange.errors import Reason
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys
from infoexchange.states import Event
from infoexchange.testing.sites import Sites
from infoexchange.transport import utc_now
from infoexchange_relay.backup import Manifest, make_backup, restore
from infoexchange_relay.config import Config, load
from infoexchange_relay.stores import FileLatch, RowStore, open_store
from relays import raised


def make_folders(folder: Path) -> Path:
    """Make the folders of two relays, each called as its relay."""
    return Sites.make(folder / "sites", {"th": ["desk.oncb"], "sg": ["desk.cnb"]}, now=utc_now()).folder


class Writer:
    """Somebody who commits to a relay's log."""

    def __init__(self, config: Config) -> None:
        self.keys = LogKeys.parse(config.log_keys.read_bytes())
        self.store: RowStore = open_store(config.place)
        self.ledger = Ledger(self.keys, self.store, FileLatch(config.latch), clock=utc_now)
        self.ledger.load()

    def commit(self, count: int, **parts: object) -> None:
        self.ledger.commit([change(Event.ACCEPTED, os.urandom(32), **parts) for _ in range(count)])


def backed_up(config: Config, file: Path, *, attachments: bool = False) -> Manifest:
    return make_backup(config, file, attachments=attachments, now=utc_now(), progress=lambda *_: None).manifest


def put_back(config: Config, file: Path, digest: str = "", *, to_recover: bool = False):
    how = {"digest": digest, "to_recover": to_recover}
    return restore(config, file, **how, now=utc_now(), progress=lambda *_: None)


def elsewhere(config: Config, folder: Path, *, latch: bool = False) -> Config:
    """The same relay on a machine of which only keys and papers are there, or the disk with the latch too."""
    shutil.copytree(config.data.parent, folder, ignore=shutil.ignore_patterns("data", *([] if latch else ["latch"])))
    (folder / "latch").mkdir(exist_ok=True)
    return load(folder / "relay.toml", {})


def held(store_of: Config) -> list[bytes]:
    with open_store(store_of.place) as store:
        return list(store.leaves(0, 10_000))


def refused(config: Config, file: Path, reason: Reason = Reason.NOT_PERMITTED) -> str:
    """Return why a backup is not put in place; nothing has changed then."""
    before = sorted(path for path in config.data.rglob("*")) if config.data.exists() else []
    problem = raised(lambda: put_back(config, file))
    assert problem.reason is reason, problem
    after = sorted(path for path in config.data.rglob("*") if path.name != ".lock")
    assert after == [path for path in before if path.name != ".lock"]
    return str(problem)
