"""What is shipped for running a relay: the unit, the image, several nodes over PostgreSQL, and what they lean on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from infoexchange.home import keychain
from infoexchange_relay import notify
from infoexchange_relay.cli.folder import DEFAULT_LISTEN
from infoexchange_relay.config import Config
from infoexchange_relay.stores import is_shared

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "relay" / "deploy"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNIT = DEPLOY / "infoexchange-relay.service"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", "")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
NODES = [name for name in SERVICES if name.startswith("relay-")]
PINNED = re.compile(r"docker\.io/library/[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)*|infoexchange-relay:\d+\.\d+\.\d+")

with_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not on this machine")


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", CONTAINERFILE, re.MULTILINE)


# systemd


@with_systemd
def test_the_unit_leaves_little_exposed():
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True)
    (level,) = re.findall(r"Overall exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert float(level) <= 2.0


@with_systemd
def test_systemd_understands_the_unit_and_its_drop_in(tmp_path: Path):
    unit = tmp_path / UNIT.name
    program = tmp_path / "infoexchange-relay"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit.write_text(UNIT.read_text().replace("/usr/lib/infoexchange/bin/infoexchange-relay", str(program)))
    drop_in = tmp_path / f"{UNIT.name}.d" / "passphrase.conf"
    drop_in.parent.mkdir()
    shutil.copy(DEPLOY / "passphrase.conf", drop_in)
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if UNIT.name in line or "passphrase.conf" in line]
    assert not said
    # The same with a word that systemd does not know, so that silence means something.
    drop_in.write_text("[Service]\nLoadCredentals=x:/y\n")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert "LoadCredentals" in done.stderr


def test_the_unit_starts_our_program_and_hands_over_what_the_keychain_looks_for():
    text = UNIT.read_text()
    (command,) = re.findall(r"^ExecStart=(\S+) serve --config \S+/relay\.toml$", text, re.MULTILINE)
    assert Path(command).name in PROJECT["scripts"]
    assert set(re.findall(r"[^\s=]*infoexchange-relay(?= [a-z])", text)) == {command}  # it is on nobody's PATH
    for line in ("Type=notify", "WatchdogSec=30", "RestartPreventExitStatus=3", "NoNewPrivileges=yes"):
        assert line in text.splitlines()
    (name,) = re.findall(r"^LoadCredentialEncrypted=([\w-]+):", (DEPLOY / "passphrase.conf").read_text(), re.MULTILINE)
    assert name == keychain.PASSPHRASE


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool):
    name = f"@infoexchange-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        monkeypatch.setenv("WATCHDOG_USEC", "3000")
        notify.tell(notify.READY)

        async def some_beats() -> None:
            task = asyncio.create_task(notify.keep_telling())
            said = [await asyncio.to_thread(listening.recv, 64) for _ in range(3)]
            assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        asyncio.run(some_beats())


@pytest.mark.parametrize(("address", "limit"), [("", ""), ("vsock:1", "x"), ("/nowhere/notify", "0")])
def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch, address: str, limit: str):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    notify.tell(notify.READY)
    asyncio.run(notify.keep_telling())


# The image


def test_the_image_is_built_from_named_versions_and_runs_as_nobody_in_particular():
    bases = instructions("FROM")
    assert [bool(PINNED.fullmatch(base.removesuffix(" AS build"))) for base in bases] == [True, True]
    assert len({base.removesuffix(" AS build") for base in bases}) == 1  # what was built for it runs on it
    (user,) = instructions("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    last = CONTAINERFILE.rpartition("\nFROM ")[2]
    assert "pip" not in last
    assert last.index("\nUSER ") < last.index("\nENTRYPOINT ")


def test_the_image_holds_what_it_needs_and_starts_our_program():
    copied = [part for line in instructions("COPY") if "--from" not in line for part in line.split()[:-1]]
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    assert copied
    for part in copied:
        assert (ROOT / part).exists()
        assert f"!{part.split('/')[0]}" in ignored
    wanted = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "proto", "src", "relay"}
    assert set(copied) == wanted
    (extras,) = re.findall(r'"infoexchange\[([a-z0-9,]+)\] @ file://', CONTAINERFILE)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    (entry,) = (json.loads(line) for line in instructions("ENTRYPOINT"))
    assert Path(entry[0]).name in PROJECT["scripts"]
    assert json.loads(instructions("CMD")[0])[0] == "serve"
    assert f'version="{PROJECT["version"]}"' in CONTAINERFILE
    assert instructions("EXPOSE") == [DEFAULT_LISTEN.rpartition(":")[2]]


# Several nodes


def test_three_nodes_differ_in_their_folder_only():
    assert len(NODES) == 3
    plain = [{key: part for key, part in SERVICES[name].items() if key != "volumes"} for name in NODES]
    assert plain == [plain[0]] * 3
    folders = [SERVICES[name]["volumes"][0].partition("}/")[2] for name in NODES]
    assert folders == [f"node-{n}:/var/lib/infoexchange" for n in (1, 2, 3)]


def test_every_container_runs_a_named_version_and_the_relay_has_no_rights():
    for name, service in SERVICES.items():
        assert PINNED.fullmatch(service["image"]), name
        assert "privileged" not in service
    node = SERVICES["relay-1"]
    assert node["read_only"] is True
    assert node["cap_drop"] == ["ALL"]
    assert node["security_opt"] == ["no-new-privileges:true"]
    assert node["user"] == instructions("USER")[0]
    assert node["image"] == f"infoexchange-relay:{PROJECT['version']}"
    assert (DEPLOY / node["build"]["context"]).resolve() == ROOT
    assert (ROOT / node["build"]["dockerfile"]).exists()


def test_nodes_are_set_up_with_settings_that_there_are_and_no_password_among_them():
    environment = SERVICES["relay-1"]["environment"]
    prefix = "INFOEXCHANGE_RELAY__"
    settings = {key.removeprefix(prefix).lower() for key in environment if key.startswith(prefix)}
    assert settings <= {field.name for field in dataclasses.fields(Config)}
    address = environment[f"{prefix}STORE"]
    assert is_shared(address)
    assert re.fullmatch(r"postgresql://relay@database/relay", address)
    assert environment["PGPASSFILE"] == f"/run/secrets/{SERVICES['relay-1']['secrets'][0]}"
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert not re.search(r"PASSWORD: |password@", (DEPLOY / "compose.yaml").read_text())


def test_the_database_is_durable_and_is_reached_from_inside_only():
    database = SERVICES["database"]
    for setting in ("fsync=on", "full_page_writes=on", "synchronous_commit=on"):
        assert setting in database["command"]
    assert "ports" not in database
    assert database["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"] is True


def test_the_balancer_and_prometheus_look_where_the_nodes_are():
    balancer = (DEPLOY / "balancer.cfg").read_text()
    port = SERVICES["relay-1"]["environment"]["INFOEXCHANGE_RELAY__LISTEN"].rpartition(":")[2]
    assert re.findall(r"^    server (\S+) (\S+)$", balancer, re.MULTILINE) == [
        (name, f"{name}:{port}") for name in NODES
    ]
    assert SERVICES["balancer"]["ports"] == [f"{port}:{port}"]
    assert f"    bind :{port}\n" in balancer
    scraped = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    (job,) = scraped["scrape_configs"]
    metrics = SERVICES["relay-1"]["environment"]["INFOEXCHANGE_RELAY__METRICS_LISTEN"]
    assert job["static_configs"] == [{"targets": [metrics]}]
    assert set(re.findall(r'job="([^"]+)"', (DEPLOY / "alerts.yaml").read_text())) == {job["job_name"]}
    assert all((DEPLOY / file).exists() for file in scraped["rule_files"])
    assert metrics in SERVICES["relay-1"]["healthcheck"]["test"][-1]
