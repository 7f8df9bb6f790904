"""Turning: at the end of its half-year a log is closed and the next one begins, in the same data and under new keys.

The next keys are made beforehand, so that a directory version can list them; the relay turns when it starts under that
version. Every step can be taken again after a crash: the close is in the log before the keys change.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import structlog

from infoexchange.directory import Directory
from infoexchange.home.files import sync_folder
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.transport import utc_now
from infoexchange_relay import recovery
from infoexchange_relay.config import Config
from infoexchange_relay.stores import RowStore, latch_of

_log = structlog.get_logger()

_CHECK = "Restore it from its backup, or move it away and make the next keys again."


def prepare(config: Config, keys: LogKeys, *, now: datetime) -> LogKeys:
    """Return the keys of the log after this one, which are in their file when this returns; made once."""
    file = next_file(config)
    if file.exists():
        return LogKeys.parse(config.keychain().read(file, next_step=_CHECK))
    following = LogKeys.make(config.name, now=now, after=keys.origin)
    config.keychain().write_new(file, following.raw)
    return following


def turn(config: Config, keys: LogKeys, store: RowStore, directory: Directory) -> LogKeys:
    """Return the keys to go on with: the next ones, once the directory lists them first and this log is closed."""
    file = next_file(config)
    if not file.exists():
        return keys
    following = LogKeys.parse(config.keychain().read(file, next_step=_CHECK))
    party = directory.listed(config.name)
    if party is None or party.log_keys[:2] != tuple(str(key) for key in following.verifier_keys):
        _log.info("next_log_not_listed", origin=following.origin)
        return keys
    closed = store.closed()
    if not closed or closed[-1].checkpoint.origin != keys.origin:
        ledger = Ledger(keys, store, latch_of(store, config.latch), clock=utc_now)
        node = Node(ledger, directory, clock=utc_now)
        node.start(recovery.predecessor(config))
        last = node.close_log()
        _log.info("log_closed", origin=last.origin, size=last.size)
    # The old keys are kept, for whoever has to show whose they were; nothing is signed with them any more.
    kept = config.log_keys.with_name(f"{config.log_keys.name}.closed-{keys.origin.rpartition('/')[2]}")
    if not kept.exists():
        os.link(config.log_keys, kept)
    file.replace(config.log_keys)
    sync_folder(config.log_keys.parent)
    return following


def next_file(config: Config) -> Path:
    """Return where the keys of the next log wait."""
    return config.log_keys.with_name(f"{config.log_keys.name}.next")
