"""Recovery: a relay whose log is lost goes on with a new one, which names the old and takes what still waited there.

Nothing is deleted: data, latch and log keys of the lost log stay beside the new ones, as evidence. Every step can be
taken again after a crash.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType

import structlog

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.home.files import read_file, write_file
from infoexchange.ledger import Ledger
from infoexchange.log import LogKeys
from infoexchange.node import Node
from infoexchange.tlog import Checkpoint
from infoexchange.transport import utc_now
from infoexchange_relay.config import Config
from infoexchange_relay.stores import FileLatch, RowStore, is_shared, latch_of, open_store

# Implementation constants
_LOST = "lost-"
_KEPT = ("attachments", "predecessor")  # what the new log goes on with; anything else in `data` is the lost one's

_log = structlog.get_logger()


@dataclass(frozen=True)
class Loss:
    """What is known of a log that cannot go on.

    Attributes:
        origin: Its name; empty if its keys are gone and nothing that it signed is left.
        checkpoint: The last that it signed, as far as is known; empty if none is.
        why: What is wrong with it.
    """

    origin: str
    checkpoint: bytes
    why: str

    @property
    def size(self) -> int:
        """Entries that were signed, as far as is known."""
        return Checkpoint.parse(self.checkpoint).size if self.checkpoint else 0


def assess(config: Config) -> Loss:
    """Return what is lost.

    Raises:
        RefusedError: `NOT_PERMITTED` when nothing is: data, latch and keys fit together.
    """
    keys = _keys(config)
    begun = config.predecessor.read_bytes() if config.predecessor.exists() else None
    origin = keys.origin if keys else ""
    if begun is not None and not _has_log(config.place) and origin in ("", _origin(begun)):
        return Loss(_origin(begun), begun, "a recovery that was begun is not finished")
    checkpoint = _last(config)
    why = _fault(config, keys, checkpoint)
    if not why:
        raise error(
            Reason.NOT_PERMITTED,
            field=str(config.data),
            detail="data, latch and keys fit together: no log is lost",
            next_step="Start the relay; `infoexchange-relay check` looks at everything.",
        )
    return Loss(origin or _origin(checkpoint), checkpoint, why)


def begin_anew(config: Config, loss: Loss, *, now: datetime) -> LogKeys:
    """Put the lost log aside and return the keys of the new one, which are in their file when this returns."""
    stamp = f"{_LOST}{now:%Y%m%dT%H%M%SZ}"
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(config.predecessor, loss.checkpoint, mode=0o600)
    aside = config.data / stamp
    for path in sorted(config.data.iterdir()):
        if path.name not in _KEPT and not path.name.startswith((".", _LOST)):
            aside.mkdir(mode=0o700, exist_ok=True)
            path.rename(aside / path.name)
    if is_shared(config.place):
        _databases().put_aside(str(config.place), stamp.removeprefix(_LOST).lower())
    for path in (config.latch, config.log_keys):
        if path.exists():
            path.rename(path.with_name(f"{path.name}.{stamp}"))
    keys = LogKeys.make(config.name, now=now, after=loss.origin)
    config.keychain().write_new(config.log_keys, keys.raw)
    return keys


def salvage(config: Config, node: Node) -> None:
    """Take what waited in lost data that was put aside, unless the log has gone on since."""
    for each in _aside(config):
        taken = refused = 0
        with each as lost:
            for result in node.salvage(lost):
                if isinstance(result, ExchangeError):
                    refused += 1
                    _log.warning("not_salvaged", reason=result.reason.word, what=result.detail)
                else:
                    taken += 1
        _log.info("salvaged", count=taken, refused=refused)


def predecessor(config: Config) -> bytes | None:
    """Return the last known checkpoint of the lost log before this one; None if there was none."""
    return config.predecessor.read_bytes() if config.predecessor.exists() else None


def _aside(config: Config) -> Iterator[AbstractContextManager[RowStore]]:
    """Yield each store that was put aside and not read yet; once it is left without an error it is."""
    if is_shared(config.place):
        databases = _databases()
        yield from (databases.reading_lost(config.store, schema) for schema in databases.lost(config.store))
        return
    for folder in sorted(config.data.glob(f"{_LOST}*")):
        if (folder / Path(config.place).name).exists() and not (folder / "salvaged").exists():
            yield _reading_lost(folder / Path(config.place).name)


@contextlib.contextmanager
def _reading_lost(file: Path) -> Iterator[RowStore]:
    with open_store(file) as lost:
        yield lost
    file.with_name("salvaged").touch()


def _databases() -> ModuleType:
    """Return what puts databases aside; psycopg is there where one is named."""
    return importlib.import_module("infoexchange_relay.stores.postgres_aside")


def check_kept(config: Config, keys: LogKeys, store: RowStore) -> None:
    """Raise `LOG_STOPPED` if a database does not hold what this one of several nodes has seen signed."""
    kept = FileLatch(config.latch)
    note = kept.read() if is_shared(config.place) else b""
    if note and Checkpoint.parse(note).origin == keys.origin:
        Ledger(keys, store, kept, clock=utc_now).load()


def _has_log(place: Path | str) -> bool:
    """Whether there is a store with anything in it."""
    if not is_shared(place):
        return Path(place).exists()
    with open_store(place) as store:
        return store.head().end > 0


def _keys(config: Config) -> LogKeys | None:
    if not config.log_keys.exists():
        return None
    return LogKeys.parse(config.keychain().read(config.log_keys, next_step="Restore it from its backup."))


def _last(config: Config) -> bytes:
    """Return the newest signed checkpoint that lies anywhere."""
    found: list[Checkpoint] = []
    for file in (config.latch, config.cosigned):
        try:
            checkpoint = Checkpoint.parse(read_file(file, next_step=""))
        except (OSError, ExchangeError):
            continue
        if checkpoint.origin.partition("/")[0] == config.name:
            found.append(checkpoint)
    return max(found, key=lambda checkpoint: checkpoint.size).raw if found else b""


def _fault(config: Config, keys: LogKeys | None, checkpoint: bytes) -> str:
    """Return why the log cannot go on; nothing if it can."""
    if keys is None:
        return "the log keys are gone"
    if not _has_log(config.place):
        return "the data is gone" if checkpoint else ""
    try:
        with open_store(config.place) as store:
            check_kept(config, keys, store)
            Ledger(keys, store, latch_of(store, config.latch), clock=utc_now).load()
    except ExchangeError as problem:
        return problem.detail
    return ""


def _origin(checkpoint: bytes) -> str:
    return Checkpoint.parse(checkpoint).origin if checkpoint else ""
