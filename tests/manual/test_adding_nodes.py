"""One more node over the same database: it takes over when the first one dies."""

from __future__ import annotations

from pathlib import Path

import pytest

import postgres
from infoexchange.testing.sites import free_ports
from operated import PATIENCE, Machine

pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
pytestmark = pytest.mark.timeout(PATIENCE)


def test_a_second_node_goes_on_when_the_first_one_dies(tmp_path: Path) -> None:
    with postgres.running() as server:
        machine = Machine(tmp_path, store=server.address)
        first, second = machine.relay, machine.sites.folder / "relay-2"
        [port] = free_ports(1)
        try:
            machine.start()
            digest = machine.send()
            machine.does("add-node.sh", second, f"127.0.0.1:{port}")
            assert "cannot be made" in machine.refuses("add-node.sh", second, f"127.0.0.1:{port}")
            assert {file.name for file in second.iterdir()} == {
                *("relay.toml", "log.key", "witness.key", "tls.key", "tls.pem", "directory.pb", "roots.pb", "latch"),
            }
            assert all(file.stat().st_mode & 0o077 == 0 for file in second.iterdir())
            machine.kill()
            # The address that the directory lists now leads to the second node, as a balancer has it.
            listed = machine.sites.community.directory.listed("relay.xa.example").address
            text = (second / "relay.toml").read_text()
            (second / "relay.toml").write_text(text.replace(f"127.0.0.1:{port}", listed))
            machine.relay = second
            machine.environment["RELAY_FOLDER"] = str(second)
            machine.start()
            assert machine.received() == [digest]
            machine.send()
        finally:
            machine.stop()
            machine.environment["RELAY_FOLDER"] = str(first)
            machine.stop()


def test_what_is_no_node_leaves_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    there = tmp_path / "relay-2"
    assert "names no PostgreSQL database" in machine.refuses("add-node.sh", there, "127.0.0.1:7443")
    text = (machine.relay / "relay.toml").read_text()
    nowhere = 'store = "postgresql://relay@127.0.0.1:1/none"'
    (machine.relay / "relay.toml").write_text(text.replace('store = ""', nowhere))
    assert "cannot read the log" in machine.refuses("add-node.sh", there, "127.0.0.1:7443")
    assert not there.exists()
