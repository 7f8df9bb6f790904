"""Status: what waits and how a relay is, also when it does not run."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from backing_up import Writer, backed_up
from changes import change
from command_setup import infoexchange_relay
from community import Community
from infoexchange.states import Event, Precedence
from infoexchange.testing.sites import environment
from infoexchange.transport import utc_now
from infoexchange_relay.cli.status import screen, snapshot
from infoexchange_relay.cli.status.snapshot import Snapshot, take
from infoexchange_relay.config import Config, load
from infoexchange_relay.lock import locked
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.probes import Probes
from patience import LIMIT

HERE = "relay.th.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A relay with two queues."""
    folder = tmp_path_factory.mktemp("status") / "relay"
    assert infoexchange_relay("init", HERE, "--folder", folder) == 0
    writer, community = Writer(load(folder / "relay.toml", {})), Community()
    for precedence in (Precedence.ROUTINE, Precedence.ROUTINE, Precedence.FLASH):
        envelope = community.seal("coast.aa.example", ["coast.bb.example"], precedence=precedence)
        starts = ("coast.bb.example",)
        writer.ledger.commit([change(Event.ACCEPTED, envelope.digest, envelope=envelope, starts=starts)])
    writer.store.close()
    return folder


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> Config:
    return load(Path(shutil.copytree(folder, tmp_path / "relay")) / "relay.toml", {})


def shown(shot: Snapshot, before: Snapshot | None = None) -> str:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(screen.drawn(shot, before))
    console.file.close()
    return console.export_text()


def test_a_relay_that_does_not_run(config, capsys):
    backed_up(config, config.data.parent / "b.tar")
    settings = ("--config", config.data.parent / "relay.toml")
    capsys.readouterr()
    assert infoexchange_relay("status", *settings, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["runs"], said["ready"], said["process"]) == (False, None, None)
    queues = [(one["party"], one["precedence"], one["count"]) for one in said["queues"]]
    assert queues == [("coast.bb.example", "FLASH", 1), ("coast.bb.example", "ROUTINE", 2)]
    assert (said["log"]["entries"], said["log"]["signed"], said["log"]["cosigned"]) == (3, 3, 0)
    assert said["backup"].startswith(f"{utc_now():%Y-}")
    assert said["disks"]["data"]["free"] <= said["disks"]["data"]["size"]
    assert infoexchange_relay("status", *settings, "--once") == 1
    lines = capsys.readouterr().out
    assert lines.startswith(f"{HERE} does not run.\nThe relay does not run; everything here is from its data.\n")
    assert "FLASH" in lines
    assert "last backup" in lines


def test_how_long_the_oldest_has_waited(config):
    now = utc_now()
    [flash, routine] = take(config, now).waiting
    later = take(config, now + timedelta(minutes=10)).waiting
    assert round(later[0].oldest - flash.oldest) == round(later[1].oldest - routine.oldest) == 600


def test_what_a_running_relay_says(config):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = load(config.data.parent / "relay.toml", {"INFOEXCHANGE_RELAY__METRICS_LISTEN": address})
    with locked(config):
        shot = take(config, utc_now())
        assert (shot.runs, shot.process, shot.ready) == (True, os.getpid(), None)
        assert "does not answer" in shot.remarks[0]
    assert "Set `metrics_listen`" in " ".join(_running(load(config.data.parent / "relay.toml", {})).remarks)


def _running(config: Config) -> Snapshot:
    with locked(config):
        return take(config, utc_now())


@pytest.fixture
def metrics() -> Iterator[tuple[Metrics, str]]:
    """Metrics, and the address at which they are shown."""
    metrics, loop = Metrics(["relay.sg.example", "relay.vn.example"]), asyncio.new_event_loop()
    probes = Probes(("127.0.0.1", 0), metrics.registry, loop, lambda: None)
    probes.start()
    yield metrics, f"127.0.0.1:{probes.server_address[1]}"
    probes.end()
    loop.close()


def test_peers_counts_and_rates(config, metrics):
    metrics, address = metrics
    config = load(config.data.parent / "relay.toml", {"INFOEXCHANGE_RELAY__METRICS_LISTEN": address})
    metrics.gauges.ready(1)
    metrics.circuit("relay.sg.example", is_open=False)
    before = _running(config)
    assert (before.ready, before.peers["relay.sg.example"], screen.headline(before)[1]) == (True, True, "green")
    metrics.accepted(30)
    metrics.circuit("relay.vn.example", is_open=True)
    with locked(config):
        after = take(config, before.at + timedelta(seconds=10))
    assert (after.counted["accepted"], after.peers["relay.vn.example"]) == (30, False)
    assert screen.headline(after) == ("runs; a peer is away", "yellow")
    text = shown(after, before)
    assert "AWAY" in text
    assert "3.0" in text
    metrics.gauges.ready(0)
    assert screen.headline(_running(config)) == ("runs, and takes no new messages", "red")


def test_data_that_cannot_be_read(config):
    Path(config.place).write_bytes(b"nothing")
    shot = take(config, utc_now())
    assert (shot.log, "The data cannot be read" in " ".join(shot.remarks)) == (None, True)
    Path(config.place).unlink()
    assert "There is no log yet." in take(config, utc_now()).remarks
    assert HERE in shown(shot)


def test_names_are_text(config):
    odd = snapshot.Waiting("[red]x\x1b[31m", Precedence.FLASH, 1, 90.0)
    shot = Snapshot(at=utc_now(), name="[bold]", process=0, runs=True, waiting=[odd] * 60)
    text = shown(shot)
    assert "[red]x" in text
    assert "[bold]" in text
    assert "\x1b" not in text
    assert "others" in text


def test_looking_changes_nothing(config):
    def files() -> dict[Path, bytes]:
        found = config.data.parent.rglob("*")
        return {
            path: path.read_bytes() for path in found if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    before = files()
    take(config, utc_now())
    assert files() == before


@pytest.mark.parametrize("every", ["0", "x", "4000", "-1"])
def test_pauses_that_make_no_sense(config, every):
    assert infoexchange_relay("status", "--config", config.data.parent / "relay.toml", "--every", every) == 3


def test_on_a_terminal_it_is_drawn_again_until_somebody_has_seen_enough(config):
    """In a real terminal: two screens, then Ctrl-C, and all is well."""
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "infoexchange_relay", "status", "--every", "0.5", "--config"]
    command.append(str(config.data.parent / "relay.toml"))
    process = subprocess.Popen(command, env=environment() | {"TERM": "xterm"}, stdin=inner, stdout=inner, stderr=inner,
                               start_new_session=True)  # fmt: skip
    os.close(inner)
    seen = b""
    try:
        while seen.count(b"Ctrl-C ends this") < 2:
            ready, _, _ = select.select([outer], [], [], LIMIT)
            assert ready, seen
            seen += os.read(outer, 65536)
        process.send_signal(signal.SIGINT)
        while select.select([outer], [], [], 0.05)[0]:
            try:
                seen += os.read(outer, 65536)
            except OSError:  # the terminal is closed
                break
        assert process.wait(LIMIT) == 0
    finally:
        process.kill()
        process.wait()
        os.close(outer)
    assert b"coast.bb.example" in seen
    assert b"Traceback" not in seen
