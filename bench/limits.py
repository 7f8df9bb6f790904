"""`python -m bench.limits`: a relay process under attack, with slow readers, and with long queues.

Beside each load an honest agency makes a call after the other, and how long these take is what is measured, with the
memory of the relay. How long they take when nothing else goes on stands in the first row: on a machine that is busy
with other things only the difference tells anything. Memory does not depend on that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import onslaught
from bench.queues import Filled, fill
from infoexchange.errors import ExchangeError
from infoexchange.home import Home
from infoexchange.ports import Notice
from infoexchange.states import Event, Precedence
from infoexchange.testing.sites import Sites
from infoexchange.transport import RemoteRelay, connect, utc_now
from infoexchange.transport.session import reach
from onslaught import ATTACKS, Target

PARTS = ("attacks", "slow", "flash", "queued")
_HONEST, _RELAY = "desk.honest.th.example", "relay.th.example"
_UNITS = tuple(f"unit{n:02}.th.example" for n in range(20))
_STREAMS = 1000
_MIB = 2**20
_PAUSE = 0.01  # seconds between two honest calls
_LOST = 60.0  # seconds after which a message is not late any more


@dataclass
class Row:
    """What one load did: to honest calls, in milliseconds, and to the relay's memory, in MiB."""

    name: str
    calls: int = 0
    errors: int = 0
    p50: float = 0.0
    p99: float = 0.0
    longest: float = 0.0
    memory: int = 0
    note: str = ""
    times: list[float] = field(default_factory=list, repr=False)

    def took(self, seconds: float) -> None:
        """Count one honest call."""
        self.times.append(seconds * 1000)

    def done(self) -> Row:
        """Sum up."""
        self.calls, every = len(self.times), sorted(self.times) or [0.0]
        self.p50, self.p99, self.longest = (every[min(len(every) - 1, int(len(every) * q))] for q in (0.5, 0.99, 1.0))
        return self


class Bench:
    """A nation with one relay, and everybody's certificate in files."""

    def __init__(self, folder: Path, progress: Progress, rng: random.Random) -> None:
        self.folder, self.progress, self.rng = folder, progress, rng
        agencies = [name.removesuffix(".th.example") for name in (_HONEST, *_UNITS)]
        self.sites = Sites.make(folder / "sites", {"th": agencies}, now=utc_now())

    def target(self, name: str = "") -> Target:
        """Return the relay, attacked by an agency or by nobody."""
        tls = Home.open(self.sites.home(name or _HONEST)).tls
        files = [self.folder / f"{name}.{part}" for part in ("roots", "chain", "key")]
        for file, content in zip(files, (tls.roots, tls.chain, tls.key), strict=True):
            file.write_bytes(content)
        address = self.sites.community.directory.party(_RELAY, at=utc_now()).address
        return Target(address, _RELAY, str(files[0]), *(map(str, files[1:]) if name else ()))

    def memory(self, what: str = "VmRSS") -> int:
        """Return MiB of the relay process."""
        lines = Path(f"/proc/{self.sites.pid(_RELAY)}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(what))

    @contextlib.contextmanager
    def honest(self) -> Iterator[RemoteRelay]:
        """Lend an honest agency's way to its relay."""
        with reach(Home.open(self.sites.home(_HONEST))) as remote:
            remote.checkpoint()
            yield remote

    def watch(self, name: str, seconds: float, go_on: Callable[[], bool]) -> Row:
        """Make honest calls for some seconds, and for as long as `go_on` says."""
        row, start = Row(name), time.monotonic()
        task = self.progress.add_task(name, total=seconds)
        with self.honest() as remote:
            while time.monotonic() < start + seconds or go_on():
                began = time.perf_counter()
                try:
                    remote.checkpoint()
                except ExchangeError as problem:
                    row.errors, row.note = row.errors + 1, str(problem)[:60]
                row.took(time.perf_counter() - began)
                row.memory = max(row.memory, self.memory())
                self.progress.update(task, completed=min(seconds, time.monotonic() - start))
                time.sleep(_PAUSE)
        return row.done()


def attacks(bench: Bench, seconds: float) -> Iterator[Row]:
    """Yield what each attack does, in a process of its own, with a certificate and without."""
    yield bench.watch("nothing", seconds, lambda: False)
    spawn = multiprocessing.get_context("spawn")
    for name in ATTACKS:
        for who, words in ((_UNITS[0], "with a certificate"), ("", "without")):
            counted = spawn.Queue()
            process = spawn.Process(target=_attack, args=(counted, name, bench.target(who), seconds))
            process.start()
            counted.get()  # it has begun
            row = bench.watch(f"{name}, {words}", seconds, process.is_alive)
            row.note = row.note or f"{counted.get()} times"
            process.join()
            yield row


def _attack(counted: multiprocessing.Queue[int], name: str, target: Target, seconds: float) -> None:
    counted.put(0)
    counted.put(onslaught.attack(name, target, seconds))


def slow(bench: Bench, seconds: float) -> Iterator[Row]:
    """Yield what 1 000 readers do that never read, each on a connection of its own, and on a hundred."""
    for connections in (100, _STREAMS):
        with contextlib.ExitStack() as stack:
            each = _STREAMS // connections
            for number in range(connections):
                target = bench.target(_UNITS[number % len(_UNITS)])
                stack.enter_context(contextlib.closing(onslaught.read_nothing(target, each)))
            row = bench.watch(f"{_STREAMS} slow readers, {connections} connections", seconds, lambda: False)
        row.note = f"from {bench.memory()} MiB when they have gone"
        yield row


def flash(bench: Bench, filled: Filled, count: int, flashes: int) -> Iterator[Row]:
    """Yield how long a FLASH message takes from its acceptance to its recipient, who works off a long queue."""
    row, accepted, arrived = Row(f"FLASH over {count:,} ROUTINE"), dict[bytes, float](), dict[bytes, float]()
    stop, taken = threading.Event(), [0]

    def receive() -> None:
        with reach(Home.open(bench.sites.home(filled.recipient))) as remote:
            for frame in remote.follow():
                now, digests = time.perf_counter(), [filled.digest_of(raw) for raw in frame]
                arrived.update((digest, now) for digest in digests)
                for result in remote.acknowledge([Notice(digest, Event.DELIVERED) for digest in digests]):
                    if isinstance(result, ExchangeError):
                        raise result
                taken[0] += len(digests)
                if stop.is_set():
                    return

    thread = threading.Thread(target=receive, daemon=True)
    envelopes = [filled.seal(Precedence.FLASH) for _ in range(flashes)]
    task = bench.progress.add_task(row.name, total=flashes)
    with reach(Home.open(bench.sites.home(filled.sender))) as remote:
        thread.start()
        _await(lambda: bool(taken[0]), thread)  # it has connected, and works its queue off
        for envelope in envelopes:
            (result,) = remote.submit([envelope.raw])
            accepted[envelope.digest] = time.perf_counter()
            if isinstance(result, ExchangeError):
                raise result
            _await(partial(arrived.__contains__, envelope.digest), thread)
            row.took(max(0.0, arrived[envelope.digest] - accepted[envelope.digest]))
            row.memory = max(row.memory, bench.memory())
            bench.progress.advance(task)
            time.sleep(bench.rng.uniform(0.02, 0.1))
        row.note = f"{taken[0]:,} taken meanwhile"
        stop.set()
        remote.submit([filled.seal(Precedence.ROUTINE).raw])
        thread.join(30)
    yield row.done()


def _await(is_so: Callable[[], bool], recipient: threading.Thread) -> None:
    """Wait for something that the recipient does."""
    end = time.monotonic() + _LOST
    while not is_so():
        if not recipient.is_alive():
            raise RuntimeError("the recipient has stopped")
        if time.monotonic() > end:
            raise RuntimeError(f"nothing arrived for {_LOST:.0f} s: it is lost, or nobody was woken")
        time.sleep(0.0005)


def _measure(parts: list[str], options: argparse.Namespace, progress: Progress) -> Iterator[Row]:
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="bench-limits-") as folder:
        bench = Bench(Path(folder), progress, rng)
        sites, filled = bench.sites, None
        sizes = {"flash": options.routine, "queued": options.queued}
        wanted = max((sizes.get(part, 0) for part in parts), default=0)
        if wanted:
            task = progress.add_task(f"{wanted:,} queued", total=wanted)
            filled = fill(sites, _HONEST, _UNITS[0], wanted, lambda done: progress.update(task, completed=done))
        started = time.perf_counter()
        try:
            sites.start()
            if filled:
                row = Row(f"ready with {wanted:,} queued")
                row.took(time.perf_counter() - started)
                with reach(Home.open(sites.home(_UNITS[0]))) as remote:
                    next(iter(remote.fetch()))
                row.memory, row.note = bench.memory("VmHWM"), f"first delivery {time.perf_counter() - started:.1f} s"
                yield row.done()
            if "flash" in parts and filled:
                yield from flash(bench, filled, wanted, options.flashes)
            if "slow" in parts:
                _queue_for_all(sites)
                yield from slow(bench, options.minutes * 60)
            if "attacks" in parts:
                yield from attacks(bench, options.seconds)
        finally:
            sites.stop()


def _queue_for_all(sites: Sites) -> None:
    """Have twelve messages wait for each of those who will not read them."""
    from bench.messages import note
    from infoexchange import Draft

    for name in _UNITS:
        with connect(Home.open(sites.home(name))):
            pass  # which publishes its keys
    with connect(Home.open(sites.home(_HONEST))) as mailbox:
        mailbox.send_all([Draft(note(number), _UNITS) for number in range(12)])


def main() -> int:
    """Measure; nothing here fails because it was slow."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description="a relay at its limits")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part; may be repeated")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each attack")
    parser.add_argument("--minutes", type=float, default=1.0, help="for slow readers")
    parser.add_argument("--routine", type=int, default=100_000, help="messages that FLASH overtakes")
    parser.add_argument("--flashes", type=int, default=200, help="FLASH messages sent")
    parser.add_argument("--queued", type=int, default=1_000_000, help="messages that wait when the relay starts")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    console = Console(stderr=True)
    console.print(f"seed {options.seed}, load of the machine {os.getloadavg()[0]:.1f}", highlight=False)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        rows = []
        for row in _measure(options.only or [part for part in PARTS if part != "queued"], options, progress):
            rows.append(row)
            console.print(_words(row), highlight=False)
    if options.json:
        print(json.dumps([{k: v for k, v in asdict(row).items() if k != "times"} for row in rows], indent=1))
        return 0
    table = Table(caption=f"ms; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name in ("", "calls", "errors", "p50", "p99", "longest", "MiB", ""):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        figures = (row.calls, row.errors, f"{row.p50:.1f}", f"{row.p99:.1f}", f"{row.longest:.1f}", row.memory)
        table.add_row(row.name, *map(str, figures), row.note)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


def _words(row: Row) -> str:
    figures = f"p50 {row.p50:.1f} ms, p99 {row.p99:.1f} ms, longest {row.longest:.1f} ms, {row.memory} MiB"
    return f"{row.name}: {row.calls} calls, {row.errors} errors, {figures}; {row.note}"


if __name__ == "__main__":
    sys.exit(main())
