"""A large attachment between real processes: killed five times, resumed, compared, and its memory measured.

`make large` runs it with 10 GiB, `make large SIZE=1GiB` with less; a test runs it with some megabytes. It needs about
four times the size on disk and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from catalogue_messages import request
from infoexchange.attachment import sealed_length
from infoexchange.catalogue import text
from infoexchange.testing.sites import Sites, environment

SENDER, RECIPIENT = "desk.narcotics.xa.example", "duty.cert.xb.example"
OWN, PEER = "relay.xa.example", "relay.xb.example"
LIMIT = 100 * 2**20  # bytes of resident memory that no process may reach
_PIECE = 4 * 2**20
_POLL = 0.01
_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Memory:
    """The largest resident memory that any process of a role ever had, as the kernel counts it."""

    def __init__(self) -> None:
        self.peak: dict[str, int] = {}
        self._pids: dict[int, str] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def of(self, role: str, pid: int) -> None:
        """Watch a process."""
        self._pids[pid] = role

    def _watch(self) -> None:
        while not self._end.wait(0.1):
            for pid, role in list(self._pids.items()):
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                found = re.search(r"VmHWM:\s+(\d+) kB", status)
                if found:
                    self.peak[role] = max(self.peak.get(role, 0), int(found[1]) * 1024)


class Run:
    """One attachment on its way."""

    def __init__(self, folder: Path, size: int, memory: Memory) -> None:
        self.folder, self.size, self.memory = folder, size, memory
        self.sites = Sites.make(
            folder / "sites", {"xa": ["desk.narcotics"], "xb": ["duty.cert"]}, now=datetime.now(UTC)
        )
        self.file, self.target = folder / "recording.bin", folder / "received"
        self.kills: list[str] = []
        self.seconds: dict[str, float] = {}
        self.digest = ""

    def make(self) -> None:
        """Write the file: random, so that nothing can be left out or compressed."""
        digest = hashlib.sha256()
        with self.file.open("wb") as file:
            for start in range(0, self.size, _PIECE):
                piece = os.urandom(min(_PIECE, self.size - start))
                digest.update(piece)
                file.write(piece)
        self.digest = digest.hexdigest()
        (self.folder / "message.json").write_text(text.to_json(request()))

    def start(self, relay: str) -> None:
        """Start a relay and watch it."""
        self.sites.start(relay)
        self.memory.of(f"relay {relay}", self.sites.pid(relay))

    @contextmanager
    def command(self, role: str, *words: object) -> Iterator[subprocess.Popen[str]]:
        """Run a command of an agency; it is gone afterwards, whatever happens."""
        argv = [sys.executable, "-m", "infoexchange", *map(str, words), "--json"]
        with subprocess.Popen(
            argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            self.memory.of(role, process.pid)
            try:
                yield process
            finally:
                process.kill()

    def send(self) -> tuple[object, ...]:
        """Return the words of the command that sends the file."""
        return ("send", self.folder / "message.json", "--type", "RequestForInformation", "--attach", self.file,
                "--home", self.sites.home(SENDER), "--to", RECIPIENT)  # fmt: skip

    def receive(self, name: str) -> tuple[object, ...]:
        """Return the words of the command that receives, and that goes on with an upload."""
        return ("receive", "--home", self.sites.home(name), "--attachments", self.target)

    def at_relay(self, relay: str) -> int:
        """How many bytes of attachments a relay has, begun or whole."""
        return _size_of(self.sites.folder / relay / "data" / "attachments", ("*/*",), (".tree",))

    def at_recipient(self) -> int:
        """How many bytes of the file have arrived."""
        return _size_of(self.target, ("*/*",), ())

    def until(self, what: str, size: Callable[[], int], part: float, whole: int) -> None:
        """Wait until this part of the bytes is somewhere; the rest must be missing then."""
        end = time.monotonic() + 60 + self.size / 2**20
        while (found := size()) < part * whole:
            assert time.monotonic() < end, f"{what}: {found} of {whole} bytes"
            time.sleep(_POLL)
        assert found < whole, f"{what}: nothing to interrupt"
        self.kills.append(what)

    def finish(self, process: subprocess.Popen[str]) -> dict[str, object]:
        """Return what a command prints, once it has done its work."""
        out, _ = process.communicate(timeout=60 + self.size / 2**20)
        assert process.returncode == 0, out
        found: dict[str, object] = json.loads(out)
        assert found["waiting"] == 0, out
        return found

    def whole(self) -> None:
        """Send and receive the file with five kills on the way."""
        sealed = sealed_length(self.size)
        for relay in (OWN, PEER):
            self.start(relay)
        with self.command("receiver", *self.receive(RECIPIENT)) as process:  # publishes the keys
            self.finish(process)
        with self._timed("sealed, sent and received"):
            with self.command("sender", *self.send()) as process:
                self.until("sender, uploading", lambda: self.at_relay(OWN), 0.3, sealed)
                process.send_signal(signal.SIGKILL)
            with self.command("sender", *self.receive(SENDER)) as process:  # takes the upload up again
                self.until("own relay, uploading", lambda: self.at_relay(OWN), 0.7, sealed)
                self.sites.kill(OWN)
                self.start(OWN)
                self.until("peer relay, forwarding", lambda: self.at_relay(PEER), 0.4, sealed)
                self.sites.kill(PEER)
                self.start(PEER)
                self.finish(process)
            self._download()

    def _download(self) -> None:
        interrupted = False
        while not self.at_recipient() >= self.size:
            with self.command("receiver", *self.receive(RECIPIENT)) as process:
                if interrupted:
                    self.until("peer relay, downloading", self.at_recipient, 0.7, self.size)
                    self.sites.kill(PEER)
                    self.start(PEER)
                    [message] = self.finish(process)["messages"]  # type: ignore[misc]
                    assert message["attachments"][0]["bytes"] == self.size
                    return
                while process.poll() is None and not self.at_recipient() >= 0.3 * self.size:
                    time.sleep(_POLL)
                if process.poll() is None:  # else the envelope has not come over yet
                    self.kills.append("receiver, downloading")
                    process.send_signal(signal.SIGKILL)
                    interrupted = True
        raise AssertionError("it was received before it could be interrupted")

    def check(self) -> None:
        """Compare what was received, and see that nothing is left where nothing belongs."""
        [found] = self.target.glob("*/*")
        digest = hashlib.sha256()
        with found.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        assert (found.name, digest.hexdigest()) == (self.file.name, self.digest)
        assert len(self.kills) == 5, self.kills
        [spool] = self.sites.home(SENDER).glob("*-attachments")
        assert list(spool.iterdir()) == []

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds[what] = time.monotonic() - begun


def _size_of(folder: Path, patterns: tuple[str, ...], without: tuple[str, ...]) -> int:
    total = 0
    for pattern in patterns:
        for path in folder.glob(pattern):
            try:
                total += path.stat().st_size if path.suffix not in without else 0
            except FileNotFoundError:
                continue
    return total


def carry(folder: Path, size: int) -> tuple[Memory, Run]:
    """Send one file of `size` bytes through all of it, and return what was measured."""
    with Memory() as memory:
        run = Run(folder, size, memory)
        run.make()
        try:
            run.whole()
        finally:
            run.sites.stop()
        run.check()
    return memory, run


def _bytes(words: str) -> int:
    found = re.fullmatch(r"(\d+) ?(|KiB|MiB|GiB)", words)
    if not found:
        raise argparse.ArgumentTypeError(f"{words!r} is no size such as 10GiB")
    return int(found[1]) * _UNITS[found[2]]


def main() -> int:
    """Run it once and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=_bytes, default=10 * 2**30, help="of the attachment, such as 1GiB")
    parser.add_argument(
        "--folder", type=Path, help="where to work; the system's folder for temporary files if not said"
    )
    args = parser.parse_args()
    need = 4 * args.size
    folder = Path(tempfile.mkdtemp(prefix="infoexchange-large-", dir=args.folder))
    try:
        if shutil.disk_usage(folder).free < need + 2 * 2**30:
            print(f"about {need / 2**30:.1f} GiB are needed in {folder}; name another place with --folder")
            return 3
        memory, run = carry(folder, args.size)
    finally:
        shutil.rmtree(folder)
    print(f"{args.size / 2**30:.2f} GiB, SHA-256 {run.digest}: identical after five kills")
    print("killed in between: " + "; ".join(run.kills))
    for what, seconds in run.seconds.items():
        print(f"{what} in {seconds:.0f} s, {args.size / 2**20 / seconds:.0f} MiB/s from end to end")
    for role, peak in sorted(memory.peak.items()):
        print(f"{role:24} at most {peak / 2**20:5.1f} MiB resident{'' if peak < LIMIT else '  <-- over the limit'}")
    return int(max(memory.peak.values()) >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
