"""World: the processes of a federation: started, killed at random, started again, and drained."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from federation.agency import QUIET
from federation.journal import ACKNOWLEDGED, HANDED, REFUSED, Tally
from infoexchange.errors import ExchangeError
from infoexchange.testing.sites import Sites, environment
from infoexchange.tlog import Checkpoint
from infoexchange_relay.config import load
from infoexchange_relay.stores import RowStore, look

T = TypeVar("T")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """How large and how long.

    Attributes:
        relays: Nations, each with one relay.
        agencies: Agencies in all.
        processes: Processes they are spread over.
        messages: Messages that are acknowledged at least.
        seconds: How long processes are killed.
        calm: Seconds between two kills of one killer, on average.
        killers: How many may be down at one time.
        witness_seconds: How often relays cosign each other.
        patience: Seconds that draining may take.
        seed: Of everything that is drawn.
    """

    relays: int = 12
    agencies: int = 24
    processes: int = 6
    messages: int = 10_000
    seconds: float = 600.0
    calm: float = 4.0
    killers: int = 2
    witness_seconds: int = 15
    patience: float = 3600.0
    seed: int = 0


class World:
    """A federation that runs in a folder."""

    def __init__(self, folder: Path, plan: Plan, store: Callable[[], str] = str) -> None:
        """Make it; `store` gives each relay's setting of that name."""
        self.plan = plan
        self.folder = folder
        codes = [f"x{chr(ord('a') + n)}" for n in range(plan.relays)]
        offices: dict[str, list[str]] = {code: [] for code in codes}
        for number in range(plan.agencies):
            offices[codes[number % plan.relays]].append(f"desk{number // plan.relays}.unit")
        self.sites = Sites.make(folder / "sites", offices, now=datetime.now(UTC), store=store)
        self.relays = list(self.sites.community.log_keys)
        self.names = list(self.sites.community.members)
        for relay in self.relays:
            config = self.sites.config(relay)
            text = config.read_text()
            seconds = f"witness_seconds = {plan.witness_seconds}"
            config.write_text(text.replace("witness_seconds = 1", seconds))
        (self.sites.folder / "journals").mkdir()
        self.groups = [self.names[n :: plan.processes] for n in range(min(plan.processes, len(self.names)))]
        self.kills: Counter[str] = Counter()
        self.began = time.time()
        self.problems: list[str] = []
        self._agencies: dict[int, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()

    @property
    def journals(self) -> list[Path]:
        """The journal of each agency."""
        return [self.sites.folder / "journals" / f"{name}.jsonl" for name in self.names]

    def _start_agencies(self, number: int) -> None:
        plan = self.plan
        command = [sys.executable, "-m", "federation.agency", "--folder", str(self.sites.folder)]
        command += ["--everybody", *self.names, "--names", *self.groups[number], "--seed", str(plan.seed)]
        command += ["--quota", str(-(-plan.messages // len(self.names))), "--start", str(self.began)]
        command += ["--seconds", str(plan.seconds)]
        with (self.folder / f"agencies-{number}.log").open("ab") as log:
            self._agencies[number] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(), start_new_session=True
            )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run every relay and every agency for as long as the block lasts."""
        try:
            self.sites.start()
            self.began = time.time()
            for number in range(len(self.groups)):
                self._start_agencies(number)
            yield
        finally:
            self._over.set()
            self._stop_agencies()
            self.sites.stop()

    def _stop_agencies(self) -> None:
        for process in self._agencies.values():
            process.send_signal(signal.SIGTERM)
        for number, process in list(self._agencies.items()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()
            del self._agencies[number]

    def disturb(self, progress: Progress) -> None:
        """Kill and restart processes at random for the time of the plan."""
        victims: list[str | int] = [*self.relays, *range(len(self.groups))]
        chance = random.Random(self.plan.seed)
        chance.shuffle(victims)
        end, tally = time.monotonic() + self.plan.seconds, Tally(self.journals)
        killers = []
        for number in range(self.plan.killers):
            own = victims[number :: self.plan.killers], random.Random(chance.random()), end
            killers.append(threading.Thread(target=self._kill, args=own))
        for killer in killers:
            killer.start()
        while any(killer.is_alive() for killer in killers):
            time.sleep(0.2)
            tally.read()
            progress(tally.total(ACKNOWLEDGED), self.plan.messages)

    def _kill(self, victims: list[str | int], chance: random.Random, end: float) -> None:
        while time.monotonic() < end and not self._over.is_set():
            time.sleep(min(chance.uniform(0, 2 * self.plan.calm), max(0.0, end - time.monotonic())))
            victim = chance.choice(victims)
            try:
                if isinstance(victim, str):
                    self.sites.kill(victim)
                    time.sleep(chance.uniform(0, self.plan.calm))
                    self.sites.start(victim)
                    self.kills["relay"] += 1
                else:
                    process = self._agencies[victim]
                    process.kill()
                    process.wait()
                    time.sleep(chance.uniform(0, self.plan.calm))
                    self._start_agencies(victim)
                    self.kills["agencies"] += 1
            except ExchangeError as problem:
                self.problems.append(f"{victim} did not start again: {problem.detail}")
                return

    def drain(self, progress: Progress) -> None:
        """Let everybody send what is left, then wait until nothing waits anywhere."""
        end, tally = time.monotonic() + self.plan.patience, Tally(self.journals)
        quota = -(-self.plan.messages // len(self.names))
        while time.monotonic() < end and not self.problems:
            tally.read()
            progress(tally.total(ACKNOWLEDGED), self.plan.messages)
            if all(tally.counts.get((name, ACKNOWLEDGED), 0) >= quota for name in self.names):
                break
            time.sleep(0.3)
        (self.sites.folder / QUIET).touch()
        while time.monotonic() < end and not self.problems:
            if not self.waiting():
                now = time.time()
                while time.monotonic() < end and len(self._calm_since(tally, now)) < len(self.names):
                    time.sleep(0.3)
                if not self.waiting() and not self.uncosigned():
                    return
            time.sleep(0.3)
        self.problems.append(f"it did not drain: {self.waiting()} still wait, {self.uncosigned()} are not cosigned")

    def _calm_since(self, tally: Tally, since: float) -> list[str]:
        tally.read()
        return [name for name, at in tally.last_calm.items() if at > since]

    def waiting(self) -> int:
        """Return how many envelopes and orders wait at all relays."""
        return sum(queue.count for relay in self.relays for queue in self._looked(relay, RowStore.queues))

    def uncosigned(self) -> int:
        """Return how many log entries other nations have not cosigned: auditors are handed what they have."""
        missing = 0
        for relay in self.relays:
            note = self.data(relay) / "cosigned"
            cosigned = Checkpoint.parse(note.read_bytes()).size if note.exists() else 0
            missing += self._looked(relay, RowStore.head).size - cosigned
        return missing

    def _looked(self, relay: str, what: Callable[[RowStore], T]) -> T:
        with look(self.place(relay)) as store:
            return what(store)

    def place(self, relay: str) -> Path | str:
        """Return where a relay keeps its store."""
        return load(self.sites.config(relay), {}).place

    def data(self, relay: str) -> Path:
        """Return the folder of a relay's data."""
        return self.sites.config(relay).parent / "data"

    def figures(self) -> dict[str, int]:
        """Return what the journals count."""
        tally = Tally(self.journals)
        tally.read()
        return {kind: tally.total(kind) for kind in (ACKNOWLEDGED, HANDED, REFUSED)}
