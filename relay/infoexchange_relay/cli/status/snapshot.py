"""Snapshot: what a relay is like now: from its data, which is only read, and from its metrics if it runs."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from infoexchange.audit import Routing
from infoexchange.errors import ExchangeError
from infoexchange.node.recalls import peer_of
from infoexchange.states import Precedence
from infoexchange.tlog import Checkpoint
from infoexchange_relay.backup import last_backup
from infoexchange_relay.config import Config
from infoexchange_relay.lock import holder, is_locked
from infoexchange_relay.stores import LookedAt, is_there, latch_of, look

# Implementation constants
_SECONDS = 2.0  # for an answer from this machine
_PREFIX = "infoexchange_relay_"
_COUNTED = ("accepted", "forwarded", "delivered", "refused")


@dataclass(frozen=True)
class Waiting:
    """What waits for one party at one precedence, and for how many seconds the oldest of it has."""

    party: str
    precedence: Precedence
    count: int
    oldest: float


@dataclass(frozen=True)
class Volume:
    """Bytes of one disk."""

    name: str
    free: int
    size: int


@dataclass(frozen=True)
class LogState:
    """The audit log: entries in all, entries signed, and entries cosigned, with the seconds since."""

    entries: int
    signed: int
    cosigned: int
    age: float | None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A relay at one time.

    Attributes:
        at: When.
        name: Of the relay.
        process: Number of its process; 0 where that is not known.
        runs: Whether a process works on its data.
        ready: Whether it takes new messages; None where it does not say.
        log: Of its data; None where that cannot be read.
        waiting: By party, the most urgent first.
        peers: Whether each can be reached, as far as the relay says.
        volumes: Its disks.
        backup: When the last one was made.
        counted: What it has counted since it started.
        remarks: What could not be found out, and why.
    """

    at: datetime
    name: str
    process: int
    runs: bool
    ready: bool | None = None
    log: LogState | None = None
    waiting: Sequence[Waiting] = ()
    peers: Mapping[str, bool] = field(default_factory=dict)
    volumes: Sequence[Volume] = ()
    backup: datetime | None = None
    counted: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @property
    def data(self) -> dict[str, Any]:
        """The same for programs."""
        log = self.log
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "relay": self.name,
            "runs": self.runs,
            "process": self.process or None,
            "ready": self.ready,
            "log": log and {"entries": log.entries, "signed": log.signed, "cosigned": log.cosigned,
                            "cosigned_seconds": log.age and round(log.age, 1)},
            "queues": [{"party": one.party, "precedence": one.precedence.name, "count": one.count,
                        "oldest_seconds": round(one.oldest, 1)} for one in self.waiting],
            "peers": {name: "there" if there else "away" for name, there in self.peers.items()},
            "disks": {one.name: {"free": one.free, "size": one.size} for one in self.volumes},
            "backup": self.backup and self.backup.isoformat(timespec="seconds"),
            "counted": dict(self.counted),
            "remarks": list(self.remarks),
        }  # fmt: skip


def take(config: Config, now: datetime) -> Snapshot:
    """Return what can be found out now; what cannot is a remark, never an error."""
    remarks: list[str] = []
    runs = is_locked(config)
    log, waiting = _from_data(config, now, remarks)
    scraped = _from_metrics(config, remarks) if runs else {}
    last = last_backup(config)
    if not runs:
        remarks.insert(0, "The relay does not run; everything here is from its data.")
    return Snapshot(
        at=now,
        name=config.name,
        process=holder(config),
        runs=runs,
        ready=scraped.get("ready"),
        log=log,
        waiting=waiting,
        peers=scraped.get("peers", {}),
        volumes=_volumes(config),
        backup=last[0] if last else None,
        counted=scraped.get("counted", {}),
        remarks=remarks,
    )


def _from_data(config: Config, now: datetime, remarks: list[str]) -> tuple[LogState | None, list[Waiting]]:
    if not is_there(config.place):
        remarks.append("There is no log yet.")
        return None, []
    try:
        with look(config.place) as store:
            return _log(config, store, now), _waiting(store, now)
    except (OSError, ExchangeError) as problem:
        detail = problem.detail if isinstance(problem, ExchangeError) else problem.strerror
        remarks.append(f"The data cannot be read: {detail}.")
        return None, []


def _log(config: Config, store: LookedAt, now: datetime) -> LogState:
    head = store.head()
    signed = cosigned = 0
    age = None
    # Both are shown, not trusted: `check` and `doctor` verify them.
    with contextlib.suppress(ExchangeError):
        note = latch_of(store, config.latch).read()
        signed = Checkpoint.parse(note).size if note else 0
    with contextlib.suppress(OSError, ExchangeError):
        checkpoint = Checkpoint.parse(config.cosigned.read_bytes())
        cosigned = checkpoint.size
        age = max(0.0, now.timestamp() - config.cosigned.stat().st_mtime)
    return LogState(head.size, signed, cosigned, age)


def _waiting(store: LookedAt, now: datetime) -> list[Waiting]:
    queues = store.queues()
    records = store.records([queue.oldest for queue in queues])
    found = []
    for queue, record in zip(queues, records, strict=True):
        since = Routing.parse(record.entry.routing).logged_at
        name = peer_of(queue.party)
        party = f"{name} (recall orders)" if name else queue.party
        found.append(Waiting(party, queue.precedence, queue.count, max(0.0, (now - since).total_seconds())))
    return sorted(found, key=lambda one: (-one.precedence, -one.oldest, one.party))


def _volumes(config: Config) -> list[Volume]:
    folders: dict[str, Path] = {"data": config.data, "latch": config.latch.parent, "attachments": config.attachments}
    found = []
    for name, folder in folders.items():
        with contextlib.suppress(OSError):
            state = os.statvfs(folder)
            found.append(Volume(name, state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize))
    return found


def _from_metrics(config: Config, remarks: list[str]) -> dict[str, Any]:
    """Return what the relay itself says."""
    if not config.metrics_listen:
        remarks.append("Set `metrics_listen` to see its peers and what it counts.")
        return {}
    address = f"http://{config.metrics_listen}/metrics"
    # Without proxies: it is this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=_SECONDS) as answer:
            return _scraped(answer.read().decode())
    except (OSError, ValueError) as problem:
        remarks.append(f"The relay runs and does not answer at {address}: {problem}.")
        return {}


def _scraped(text: str) -> dict[str, Any]:
    counted = dict.fromkeys(_COUNTED, 0)
    peers: dict[str, bool] = {}
    ready = None
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix(_PREFIX)
            if name == "ready":
                ready = sample.value > 0
            elif name == "peer_circuit":
                peers[sample.labels["peer"]] = sample.value == 0
            elif name.startswith("envelopes_") and name.endswith("_total"):
                event = name.removeprefix("envelopes_").removesuffix("_total")
                if event in counted:
                    counted[event] += int(sample.value)
    return {"ready": ready, "peers": dict(sorted(peers.items())), "counted": counted}


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)
