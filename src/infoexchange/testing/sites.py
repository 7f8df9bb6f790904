"""Sites: a community on disk: folders of agencies and relays as operators have them, and the relays as processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from infoexchange import certificates
from infoexchange.errors import Reason, error
from infoexchange.home import Home
from infoexchange.home.files import write_file, write_new
from infoexchange.testing.community import Community

# Implementation constants
_READY_SECONDS = 90.0  # a relay is ready within two on an idle machine
_STOP_SECONDS = 60.0
_PORTS = range(10_000, 32_000)
_CONFIG = """\
name = "{name}"
listen = "{address}"
data = "data"
store = "{store}"
latch = "latch/checkpoint"
log_keys = "log.key"
witness_keys = "witness.key"
witness_seconds = 1
tls_key = "tls.key"
tls_certificate = "tls.pem"
directory = "directory.pb"
roots = "roots.pb"
"""


class Sites:
    """A community whose relays are processes on loopback.

    Attributes:
        folder: Where everything lies: `roots.pb`, `directory.pb`, one folder per agency and per relay.
        community: Its keys, certificates and directory.
    """

    def __init__(self, folder: Path, community: Community) -> None:
        """Hold what `make` wrote."""
        self.folder = folder
        self.community = community
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def make(
        cls, folder: Path, agencies: Mapping[str, Sequence[str]], *, now: datetime, store: Callable[[], str] = str
    ) -> Sites:
        """Write the folders of a new community; arguments as `Community.make`.

        Args:
            folder: New folder.
            agencies: Of each nation.
            now: When keys and certificates begin.
            store: Gives each relay's setting of that name; without it all of them keep a file.
        """
        addresses = dict(zip(agencies, (f"127.0.0.1:{port}" for port in free_ports(len(agencies))), strict=True))
        community = Community.make(agencies, now=now, addresses=addresses)
        sites = cls(folder, community)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(folder / "roots.pb", community.roots.raw)
        write_file(folder / "directory.pb", community.directory.raw)
        for name in community.log_keys:
            sites._make_relay(name, addresses[name.split(".")[1]], now, store())
        for name in community.members:
            sites._make_home(name, now)
        return sites

    def home(self, agency: str) -> Path:
        """Return the folder of an agency."""
        return self.folder / agency

    def config(self, relay: str) -> Path:
        """Return the configuration file of a relay."""
        return self.folder / relay / "relay.toml"

    def _make_relay(self, name: str, address: str, now: datetime, store: str) -> None:
        folder, ca = self.folder / name, self.community.cas[name.split(".")[1]]
        folder.mkdir(mode=0o700)
        for sub in ("data", "latch"):
            (folder / sub).mkdir(mode=0o700)
        key = certificates.tls_key()
        write_new(folder / "log.key", self.community.log_keys[name].raw)
        write_new(folder / "witness.key", self.community.witness_keys[name].raw)
        write_new(folder / "tls.key", key)
        write_file(folder / "tls.pem", certificates.to_pem(ca.issue(certificates.tls_request(name, key), now=now)))
        write_file(folder / "directory.pb", self.community.directory.raw)
        write_file(folder / "roots.pb", self.community.roots.raw)
        write_file(folder / "relay.toml", _CONFIG.format(name=name, address=address, store=store).encode())

    def _make_home(self, name: str, now: datetime) -> None:
        member, ca = self.community.members[name], self.community.cas[name.split(".")[-2]]
        folder, key = self.folder / name, certificates.tls_key()
        folder.mkdir(mode=0o700)
        write_new(folder / "identity.key", member.identity.raw)
        write_new(folder / "tls.key", key)
        tls = ca.issue(certificates.tls_request(name, key), now=now)
        chain = b"".join(certificates.to_pem(der) for der in (*member.certificates, tls))
        directory, roots = self.community.directory.raw, self.community.roots.raw
        Home.enroll(folder, chain, directory, roots, crl=member.crl, now=now)

    def start(self, *relays: str) -> None:
        """Start relays, all of them if none is named, and wait until they are ready.

        Raises:
            UnavailableError: A relay ended or did not get ready; the error quotes its last line.
        """
        names = relays or tuple(self.community.log_keys)
        for name in names:
            log = self.folder / name / "relay.log"
            command = [sys.executable, "-m", "infoexchange_relay", "serve", "--config", str(self.config(name))]
            with log.open("wb") as file, _uninterrupted():
                self._processes[name] = subprocess.Popen(  # noqa: S603  our own program, our own arguments
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=environment(),
                    start_new_session=True,
                )
        for name in names:
            self._wait(name)

    def _wait(self, name: str) -> None:
        log, process = self.folder / name / "relay.log", self._processes[name]
        end = time.monotonic() + _READY_SECONDS
        while b"relay_ready" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > end:
                lines = log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
                raise error(
                    Reason.UNAVAILABLE,
                    field=name,
                    detail=f"the relay did not start: {lines[-1][:300]}",
                    next_step=f"Read {log}.",
                )
            time.sleep(0.02)

    def export(self, relay: str, folder: Path) -> None:
        """Put a relay's log into a folder for auditors, with all that tells who, what, whom and when.

        Raises:
            UnavailableError: The program ended with an error; the error quotes its last line.
        """
        words = [
            "export",
            "--config",
            str(self.config(relay)),
            "--to",
            str(folder),
            "--groups",
            "routing,message",
            "--for",
            "a test",
        ]
        command = [sys.executable, "-m", "infoexchange_relay", *words]
        done = subprocess.run(  # noqa: S603  our own program, our own arguments
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment()
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise error(Reason.UNAVAILABLE, field=relay, detail=f"its log was not exported: {said[:300]}")

    def kill(self, relay: str) -> None:
        """End a relay as a power failure does, as far as a process can feel one."""
        process = self._processes.pop(relay)
        process.kill()
        process.wait()

    def stop(self, *relays: str) -> dict[str, int]:
        """Ask relays, all of them if none is named, to finish; return their exit codes, -9 for one that did not."""
        processes = {name: self._processes.pop(name) for name in relays or tuple(self._processes)}
        for process in processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        codes: dict[str, int] = {}
        for name, process in processes.items():
            try:
                codes[name] = process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        return codes

    @contextlib.contextmanager
    def running(self) -> Iterator[Sites]:
        """Run every relay for as long as the block lasts."""
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def pid(self, relay: str) -> int:
        """Return the process id of a running relay."""
        return self._processes[relay].pid


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back while the block runs: a process started but not yet noted would be left behind."""
    if threading.current_thread() is not threading.main_thread():  # signals never interrupt another thread
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody uses now, all different.

    They lie below those that systems give to outgoing connections: one of these could take a port while its relay is
    down. They are drawn, so that programs that do the same at once rarely meet.
    """
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            found += [port] if port not in found else []
    return found


def environment() -> dict[str, str]:
    """Return the environment for a child process that must find this library wherever it was loaded from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
