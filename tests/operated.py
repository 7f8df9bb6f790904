"""A machine with a relay whose operator runs the scripts of the manual; two commands stand in for systemd's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from infoexchange import catalogue
from infoexchange.directory import Directory
from infoexchange.home import Home
from infoexchange.receipt import Receipt
from infoexchange.testing.sites import Sites, environment
from infoexchange.transport import connect
from messages import handling
from patience import LIMIT, attempts

SCRIPTS = Path(__file__).resolve().parent.parent / "relay" / "scripts"
RELAY = "relay.xa.example"
SENDER, RECIPIENT = "desk.narcotics.xa.example", "duty.cert.xa.example"
AGENCIES = {"xa": ["desk.narcotics", "duty.cert"]}
PATIENCE = 15 * LIMIT  # seconds for one test: each starts programs a dozen times

# As systemctl does with a unit of Type=notify: it returns when the relay is ready, and fails when it has ended.
_START = """\
#!/bin/sh
if [ -e "$RELAY_FOLDER/../fails" ]; then rm "$RELAY_FOLDER/../fails"; exit 1; fi
"$RELAY_PROGRAMS/bin/infoexchange-relay" serve --config "$RELAY_FOLDER/relay.toml" \\
    </dev/null >"$RELAY_FOLDER/relay.log" 2>&1 &
echo $! >"$RELAY_FOLDER/pid"
until grep -q relay_ready "$RELAY_FOLDER/relay.log"; do
    readlink "/proc/$!/exe" >/dev/null || exit 1
    sleep 0.1
done
"""
_STOP = """\
#!/bin/sh
[ -e "$RELAY_FOLDER/pid" ] || exit 0
pid=$(cat "$RELAY_FOLDER/pid")
kill -TERM "$pid" 2>/dev/null
while readlink "/proc/$pid/exe" >/dev/null; do sleep 0.1; done
rm "$RELAY_FOLDER/pid"
"""


class Machine:
    """One relay with two agencies, and what its operator has at hand."""

    def __init__(self, folder: Path, store: Callable[[], str] = str) -> None:
        self.sites = Sites.make(folder / "exchange", AGENCIES, now=datetime.now(UTC), store=store)
        self.folder, self.relay = folder, self.sites.folder / RELAY
        self.backups, self.programs = folder / "backups", folder / "programs"
        self._write(
            "programs-1/bin/infoexchange-relay", f'#!/bin/sh\nexec {sys.executable} -m infoexchange_relay "$@"\n'
        )
        self.programs.symlink_to(folder / "programs-1")
        self.environment = environment() | {
            "RELAY_FOLDER": str(self.relay),
            "RELAY_PROGRAMS": str(self.programs),
            "RELAY_BACKUPS": str(self.backups),
            "RELAY_START": str(self._write("start", _START)),
            "RELAY_STOP": str(self._write("stop", _STOP)),
            "RELAY_AS": "",
            "RELAY_SECONDS": str(4 * LIMIT),
            "RELAY_PYTHON": sys.executable,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def _write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def run(self, script: str, *words: object, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the manual; it says one line when it fails, and no traceback."""
        done = subprocess.run(
            [SCRIPTS / script, *map(str, words)],
            env=self.environment | changed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=8 * LIMIT,
        )
        print(script, *words, done.returncode, done.stdout, done.stderr, sep="\n")
        assert "Traceback" not in done.stderr
        return done

    def does(self, script: str, *words: object, **changed: str) -> str:
        """Run a script that succeeds; return what it says."""
        done = self.run(script, *words, **changed)
        assert done.returncode == 0
        return done.stdout

    def refuses(self, script: str, *words: object, **changed: str) -> str:
        """Run a script that fails; return its last line."""
        done = self.run(script, *words, **changed)
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    def start(self) -> None:
        """Start the relay, as the operator has."""
        subprocess.run([self.environment["RELAY_START"]], env=self.environment, check=True, timeout=2 * LIMIT)

    def stop(self) -> None:
        """Stop the relay, whatever state the scripts left it in."""
        subprocess.run([self.environment["RELAY_STOP"]], env=self.environment, check=True, timeout=2 * LIMIT)

    def kill(self) -> None:
        """End the relay as a power failure does."""
        os.kill(self.pid, signal.SIGKILL)
        for _ in attempts():
            if not self.runs:
                break
        (self.relay / "pid").unlink()

    @property
    def pid(self) -> int:
        return int((self.relay / "pid").read_text())

    @property
    def runs(self) -> bool:
        try:
            os.readlink(f"/proc/{self.pid}/exe")
        except FileNotFoundError:
            return False
        return True

    def size(self) -> int:
        """Entries of the log, which the relay's own check finds whole."""
        return int(self.said_by_check("audit log").split()[0])

    def said_by_check(self, name: str) -> str:
        """Return what `check` found of one thing, which it found right."""
        command = [self.programs / "bin/infoexchange-relay", "check", "--json", "--config", self.relay / "relay.toml"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        checks = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
        assert checks[name]["passed"], checks[name]
        return str(checks[name]["detail"])

    def send(self) -> bytes:
        """Have one agency send a message to the other; return its digest."""
        with connect(Home.open(self.sites.home(RECIPIENT))):
            pass  # publishes its keys
        with connect(Home.open(self.sites.home(SENDER))) as mailbox:
            receipt = mailbox.send(_request(), [RECIPIENT])
        assert isinstance(receipt, Receipt)
        return receipt.subject.envelope_digest

    def received(self) -> list[bytes]:
        """Have the other one take what waits; return the digests."""
        found = []
        with connect(Home.open(self.sites.home(RECIPIENT))) as mailbox:
            for delivery in mailbox.receive():
                mailbox.acknowledge(delivery)
                found.append(delivery.digest)
        return found

    def directory(self, name: str, *, signers: int = 2, log_keys: tuple[str, ...] = ()) -> Path:
        """Return a file with the next directory version, with the keys of registration.json unless others are given."""
        now = Directory.held((self.relay / "directory.pb").read_bytes())
        keys = log_keys or tuple(json.loads((self.relay / "registration.json").read_bytes())["log_keys"])
        parties = tuple(replace(p, log_keys=keys) if p.name == RELAY else p for p in now.listing.parties)
        listing = replace(now.listing, version=now.version + 1, previous=now.digest, parties=parties)
        file = self.folder / name
        file.write_bytes(Directory.sign(listing.payload, self.sites.community.root_keys[:signers]))
        return file

    def wheel(self, version: str, module: str = "") -> Path:
        """Return a package whose program is the relay, or a module with a `main` that is faulty on purpose."""
        file = self.folder / f"infoexchange-{version}-py3-none-any.whl"
        info = f"infoexchange-{version}.dist-info"
        called = "faulty" if module else "infoexchange_relay.__main__"
        parts = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: infoexchange\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\ninfoexchange-relay = {called}:main\n",
        } | ({"faulty.py": module} if module else {})
        with zipfile.ZipFile(file, "w") as archive:
            for name, text in parts.items():
                archive.writestr(name, text)
            archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in (*parts, f"{info}/RECORD")))
        return file

    def lose(self, *names: str) -> None:
        """Lose folders or files of the relay's, as a dead disk does."""
        for name in names:
            path = self.relay / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in names:
            if name in ("data", "latch"):
                (self.relay / name).mkdir(mode=0o700)


def _request() -> catalogue.RequestForInformation:
    return catalogue.RequestForInformation(
        handling=handling(purpose="drill", foreseen_use="exercise", domain=catalogue.DOMAIN_DRUGS),
        subject="drill",
        questions=[catalogue.Question(local_id="q1", text="question")],
        background="background",
        subject_refs=["o1"],
        organisations=[catalogue.Organisation(local_id="o1", name="Trading")],
    )
