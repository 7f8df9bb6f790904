"""Log: whether latch and data fit, whether the relay runs on them, and how long ago a quorum cosigned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError
from infoexchange.home.files import in_file, read_file
from infoexchange.ledger import FIRST_BATCH
from infoexchange.log import log_keys
from infoexchange.quorum import policy_for
from infoexchange.tlog import Checkpoint, Policy
from infoexchange.tlog.cosignature import verify_cosignatures
from infoexchange_relay.cli.doctor.finding import Finding, attention, well, wrong
from infoexchange_relay.config import Config
from infoexchange_relay.lock import is_locked
from infoexchange_relay.stores import FileLatch, LookedAt, is_there, latch_of, look

# Implementation constants
_QUORUM_LATE = timedelta(minutes=15)  # as in the relay's own alarm
_LATCH = (
    "Put the newest latch in place, never one from a backup; if it is lost, see `infoexchange-relay recover --help`."
)
_RECOVERY = "Put the newest data in place; if it is lost, see `infoexchange-relay recover --help`."


def running(config: Config) -> Iterator[Finding]:
    """Tell whether the relay runs."""
    if is_locked(config):
        yield well("process", "a relay works on this data")
    else:
        yield attention("process", "no relay works on this data", "Start it: infoexchange-relay serve")


def log(config: Config, directory: Directory | None, now: datetime) -> Iterator[Finding]:
    """Look at the log, its latch and its newest cosigned checkpoint; every leaf is hashed by `check` only."""
    if not is_there(config.place):
        if FileLatch(config.latch).read():
            yield wrong("log", f"{config.place}: no such file, but the latch says that entries were signed", _RECOVERY)
        else:
            yield well("log", "new, nothing logged yet")
        return
    with look(config.place) as store:
        # The latch first: a relay at work may sign more meanwhile, and then the data is ahead, never behind.
        note = latch_of(store, config.latch).read()
        yield from _fit(config, directory, note, store)
        if directory:
            yield from _quorum(config, directory, store, now)


def _fit(config: Config, directory: Directory | None, note: bytes, store: LookedAt) -> Iterator[Finding]:
    head = store.head()
    if not note:
        if head.size > FIRST_BATCH:
            yield wrong("log", f"{head.size} entries, but no latch: it was lost or is not mounted", _RECOVERY)
        else:
            yield well("log", f"{head.size} entries, nothing signed yet")
        return
    with in_file(config.latch):
        signed = Checkpoint.parse(note)
        if directory:
            signed.verify(log_keys(directory, config.name, signed.origin))
    closed = store.closed()
    if closed and closed[-1].checkpoint.note.text == signed.note.text:
        yield well("log", "closed; the next one begins when the relay starts")
    elif signed.size > head.size:
        yield wrong("log", f"{head.size} entries, but {signed.size} were signed: this is an old copy", _RECOVERY)
    elif signed.size == head.size and signed.root != head.root:
        yield wrong("log", f"the latch was signed over another log of {head.size} entries", _RECOVERY)
    elif _cosigned_size(config, signed.origin) > signed.size:
        yield wrong("log", "witnesses have cosigned more than the latch knows: it is an old copy", _LATCH)
    else:
        yield well("log", f"{head.size} entries, {signed.size} of them signed")


def _quorum(config: Config, directory: Directory, store: LookedAt, now: datetime) -> Iterator[Finding]:
    """Tell how long ago enough witnesses cosigned, and which of them did not."""
    name = "quorum of witnesses"
    policy = policy_for(directory, config.name)
    if not policy.has_quorum_rule:
        yield well(name, "no other nation has a witness")
        return
    advice = "Look at the findings about each witness; `witness_failed` in the relay's log names those that are silent."
    try:
        checkpoint = Checkpoint.parse(read_file(config.cosigned, next_step=""))
        checkpoint.verify(log_keys(directory, config.name, checkpoint.origin))
        policy.verify(checkpoint, now=now)
    except (OSError, ExchangeError):
        yield attention(name, "none has cosigned this log yet", advice)
        return
    age = now - quorum_time(policy, checkpoint, now)
    grown = max(0, store.head().size - checkpoint.size)
    said = f"{span(age)} ago, {grown} entries since"
    if grown and age > config.max_uncosigned:
        yield wrong(name, f"{said}: no new message is taken", advice)
    elif age > _QUORUM_LATE:
        yield attention(name, said, advice)
    else:
        yield well(name, said)


def quorum_time(policy: Policy, checkpoint: Checkpoint, now: datetime) -> datetime:
    """Return since when enough witnesses have cosigned a checkpoint: the time of the last one that was needed.

    Raises:
        ExchangeError: As `Policy.verify`; not enough have.
    """
    policy.verify(checkpoint, now=now)
    lines = verify_cosignatures(checkpoint, [witness.key for witness in policy.witnesses], now=now)
    latest = sorted((w for w in policy.witnesses if w.key in lines), key=lambda w: -lines[w.key].time)
    needed = next(n for n in range(1, len(latest) + 1) if policy.is_met(latest[:n]))
    return datetime.fromtimestamp(lines[latest[needed - 1].key].time, UTC)


def _cosigned_size(config: Config, origin: str) -> int:
    """Return how large the log was when it was cosigned last; 0 where that is not known."""
    try:
        checkpoint = Checkpoint.parse(config.cosigned.read_bytes())
    except (OSError, ExchangeError):
        return 0
    return checkpoint.size if checkpoint.origin == origin else 0


def span(age: timedelta) -> str:
    """Return a time span in words of a person."""
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
