"""A relay of several nodes over one PostgreSQL database, whose nodes are killed while messages go through it.

Use: PYTHONPATH=src:relay:tests python tests/node_trial.py --nodes 3 --seconds 60
Prints how long a client went without an answer around each kill, and fails if anything acknowledged is lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import postgres
from infoexchange import Draft, catalogue
from infoexchange.errors import ExchangeError
from infoexchange.home import Home
from infoexchange.receipt import Receipt
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing.sites import Sites, free_ports
from infoexchange.transport import connect
from messages import handling
from patience import attempts

RELAY, OTHER = "relay.xa.example", "relay.xb.example"
SENDER, NEAR, FAR = "desk.narcotics.xa.example", "duty.cert.xa.example", "watch.maritime.xb.example"
AGENCIES = {"xa": ["desk.narcotics", "duty.cert"], "xb": ["watch.maritime"]}


class Balancer:
    """Carries connections to one of several ports, as a ministry's balancer does: to any that takes them."""

    def __init__(self, port: int, behind: list[int]) -> None:
        self._port, self._behind = port, behind
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        started = asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._server = asyncio.run_coroutine_threadsafe(started, self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in random.sample(self._behind, len(self._behind)):
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_copy(reader, back), _copy(there, writer), return_exceptions=True)
                break
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@dataclass
class Seen:
    """What the clients saw."""

    acknowledged: set[bytes] = field(default_factory=set)
    handed: dict[str, list[bytes]] = field(default_factory=lambda: {NEAR: [], FAR: []})
    answers: list[float] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)

    def pauses(self) -> list[float]:
        """Return for each kill the longest time without an answer that it is a part of, or that began within 3 s."""
        gaps = list(itertools.pairwise(self.answers))
        return [max((b - a for a, b in gaps if b > kill and a < kill + 3), default=0.0) for kill in self.kills]


class Trial:
    """Two nations; the relay of the first has several nodes, each a process."""

    def __init__(self, folder: Path, address: str, count: int, seed: int) -> None:
        self.sites = Sites.make(folder, AGENCIES, now=datetime.now(UTC))
        self.seen = Seen()
        self.nodes = [f"{RELAY}.{number}" for number in range(count)]
        ports = free_ports(count)
        for name, port in zip(self.nodes, ports, strict=True):
            self._make_node(name, port, address)
        listed = self.sites.community.directory.listed(RELAY).address
        self.balancer = Balancer(int(listed.rpartition(":")[2]), ports)
        self._chance = random.Random(seed)
        self._stop = threading.Event()

    def _make_node(self, name: str, port: int, address: str) -> None:
        first, folder = self.sites.folder / RELAY, self.sites.folder / name
        shutil.copytree(first, folder)
        lines = (first / "relay.toml").read_text().splitlines()
        kept = [line for line in lines if not line.startswith(("listen", "store"))]
        settings = [*kept, f'listen = "127.0.0.1:{port}"', f'store = "{address}"', ""]
        (folder / "relay.toml").write_text("\n".join(settings))

    def run(self, seconds: float) -> Seen:
        """Carry messages for a time while nodes are killed and started again, one at a time."""
        with self.balancer:
            try:
                self.sites.start(*self.nodes, OTHER)
                for name in (NEAR, FAR):
                    with connect(self._home(name)):
                        pass
                self._under_fire(seconds)
                self._drain()
            finally:
                self.sites.stop()
        return self.seen

    def _home(self, name: str) -> Home:
        return Home.open(self.sites.home(name))

    def _under_fire(self, seconds: float) -> None:
        threads = [threading.Thread(target=self._send)]
        threads += [threading.Thread(target=self._receive, args=(name,)) for name in (NEAR, FAR)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        try:
            for victim in itertools.cycle(self._chance.sample(self.nodes, len(self.nodes))):
                time.sleep(self._chance.uniform(0.5, 1.5))
                if time.monotonic() > end:
                    return
                self.seen.kills.append(time.monotonic())
                self.sites.kill(victim)
                time.sleep(self._chance.uniform(0.5, 3))
                self.sites.start(victim)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _send(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            with contextlib.suppress(ExchangeError), connect(self._home(SENDER)) as mailbox:
                draft = Draft(_request(number), (NEAR, FAR), suite=HYBRID_KEM)
                self._note([*mailbox.flush(), *mailbox.send_all([draft])])

    def _note(self, results: list[object]) -> None:
        receipts = [result for result in results if isinstance(result, Receipt)]
        if receipts:
            self.seen.answers.append(time.monotonic())
        self.seen.acknowledged |= {receipt.subject.envelope_digest for receipt in receipts}

    def _receive(self, name: str) -> None:
        while not self._stop.is_set():
            self._take(name)
            time.sleep(0.05)

    def _take(self, name: str) -> None:
        with contextlib.suppress(ExchangeError), connect(self._home(name)) as mailbox:
            for delivery in mailbox.receive():
                if not delivery.repeated:
                    self.seen.handed[name].append(delivery.digest)
                mailbox.acknowledge(delivery)

    def _drain(self) -> None:
        """Let the outbox and both queues run dry."""
        for _ in attempts():
            with contextlib.suppress(ExchangeError), connect(self._home(SENDER)) as mailbox:
                self._note(mailbox.flush())
            for name in (NEAR, FAR):
                self._take(name)
            if all(self.seen.acknowledged <= set(handed) for handed in self.seen.handed.values()):
                return

    def lost(self) -> set[bytes]:
        """Return what was acknowledged and did not arrive everywhere."""
        return {digest for handed in self.seen.handed.values() for digest in self.seen.acknowledged - set(handed)}

    def doubled(self) -> int:
        """Return how many were handed to an application twice."""
        return sum(len(handed) - len(set(handed)) for handed in self.seen.handed.values())


def _request(number: int) -> catalogue.RequestForInformation:
    return catalogue.RequestForInformation(
        handling=handling(purpose="trial", foreseen_use="exercise", domain=catalogue.DOMAIN_DRUGS),
        subject=f"trial {number}",
        questions=[catalogue.Question(local_id="q1", text="question")],
        background="background",
        subject_refs=["o1"],
        organisations=[catalogue.Organisation(local_id="o1", name="Trading")],
    )


def main() -> int:
    """Run a trial as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    args = parser.parse_args()
    print("seed", args.seed, "nodes", args.nodes)
    with postgres.running() as server, tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder) / "exchange", server.address(), args.nodes, args.seed)
        seen = trial.run(args.seconds)
    pauses = " ".join(f"{pause:.1f}" for pause in seen.pauses())
    print(f"{len(seen.acknowledged)} acknowledged, {len(trial.lost())} lost, {trial.doubled()} doubled")
    print(f"{len(seen.kills)} kills; longest pause of the sender around each: {pauses} s")
    return 1 if trial.lost() or trial.doubled() or not seen.acknowledged else 0


if __name__ == "__main__":
    sys.exit(main())
