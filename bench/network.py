"""Network: messages between two agencies through two real relays on loopback, each a process with SQLite and TLS."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import Effort, Result, Step, stopwatch
from bench.messages import note
from bench.primitives import Costs
from infoexchange.draft import Draft
from infoexchange.errors import ExchangeError
from infoexchange.home import Home
from infoexchange.mailbox import Mailbox
from infoexchange.suites import OFFERED, Suite
from infoexchange.testing.sites import Sites
from infoexchange.transport import connect, utc_now

FRAME = 64
_SENDER, _RECIPIENT = "desk.a.th.example", "desk.b.vn.example"
_PATIENCE = 60.0  # seconds without which something is broken, not slow


def _drafts(suite: Suite, start: int, size: int) -> list[Draft]:
    return [Draft(note(start + n), [_RECIPIENT], suite=suite) for n in range(size)]


def _receive(mailbox: Mailbox, count: int, failed: list[BaseException]) -> None:
    """Take and acknowledge until `count` messages have come."""
    end, taken = time.monotonic() + _PATIENCE, 0
    try:
        while taken < count and time.monotonic() < end:
            before = taken
            for delivery in mailbox.receive():
                mailbox.acknowledge(delivery)
                taken += 1
            if taken == before:
                time.sleep(0.01)
        if taken < count or mailbox.refused:
            raise TimeoutError(f"{taken} of {count} messages came, {len(mailbox.refused)} were refused")
    except (ExchangeError, TimeoutError) as problem:
        failed.append(problem)


def _carry(sender: Mailbox, recipient: Mailbox, suite: Suite, frames: int, size: int = FRAME) -> tuple[float, float]:
    """Return the seconds one message takes to be submitted, and on the whole way to its acknowledgement."""
    count, failed = frames * size, list[BaseException]()
    receiving = threading.Thread(target=_receive, args=(recipient, count, failed), name="recipient")
    with stopwatch() as passed:
        receiving.start()
        for frame in range(frames):
            for result in sender.send_all(_drafts(suite, frame * size, size)):
                if isinstance(result, ExchangeError):
                    raise result
        submitted = passed()
        receiving.join()
        whole = passed()
    if failed:
        raise failed[0]
    return submitted / count, whole / count


def measure(effort: Effort, costs: Costs, step: Step) -> list[Result]:
    """Return the rows."""
    rows: list[Result] = []
    with TemporaryDirectory(prefix="bench-") as folder:
        with step("two relays and two agencies"):
            sites = Sites.make(Path(folder) / "sites", {"th": ["desk.a"], "vn": ["desk.b"]}, now=utc_now())
        homes = [Home.open(sites.home(name)) for name in (_RECIPIENT, _SENDER)]
        with sites.running(), connect(homes[0]) as recipient, connect(homes[1]) as sender:
            for suite in OFFERED:
                with step(f"{effort.frames} frames in {suite.name}"):
                    _carry(sender, recipient, suite, 1, 4)  # connections, caches and keys
                    submitted, whole = _carry(sender, recipient, suite, effort.frames)
                rows += [
                    Result("network", f"submit -> acknowledge {suite.name}", whole, costs.way(suite)),
                    Result("network", f"  seal and submit alone {suite.name}", submitted, costs.seal(suite, 1)),
                ]
    return rows
