"""The doctor: each thing it knows is made to go wrong, and it says so and what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import postgres
from infoexchange import certificates
from infoexchange.directory import Directory
from infoexchange.tlog import Checkpoint
from infoexchange.transport import utc_now
from infoexchange_relay.backup import make_backup
from infoexchange_relay.cli.doctor import examine
from infoexchange_relay.cli.doctor.finding import Finding, State
from infoexchange_relay.cli.doctor.nearby import clock_finding
from infoexchange_relay.config import Config
from infoexchange_relay.lock import holder, is_locked, locked
from patience import until
from relays import AGENCIES, Relays

HERE, THERE = "relay.th.example", "relay.vn.example"
LONG = timedelta(days=800)
on_disk = pytest.mark.skipif(bool(os.environ.get(postgres.ENGINE)), reason="a database holds data, backup and latch")
EARLIER = timedelta(minutes=2)  # a certificate of that age is younger than its CA


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relays]:
    """Two relays that have cosigned each other's log."""
    folder = tmp_path_factory.mktemp("doctor")
    relays = Relays(folder, AGENCIES)
    try:
        for code in ("th", "vn"):
            relays.start(code)
            os.chmod(relays.configs[code].latch.parent, 0o700)
        if not relays.configs["th"].store:  # a database has backups of its own
            make_backup(
                relays.configs["th"], folder / "b.tar", attachments=False, now=utc_now(), progress=lambda *_: None
            )
        until(lambda: all(config.cosigned.exists() for config in relays.configs.values()))
        yield relays
    finally:
        relays.close()


@pytest.fixture
def stopped(relays: Relays, tmp_path: Path) -> Config:
    """A copy of the first relay, which nobody serves; the second one answers it."""
    return copied(relays, tmp_path / "th")


def copied(relays: Relays, folder: Path) -> Config:
    """Copy the first relay into a new folder."""
    before = relays.configs["th"]
    shutil.copytree(before.data.parent, folder)
    moved = {
        field.name: folder / value.relative_to(before.data.parent)
        for field in dataclasses.fields(before)
        if isinstance(value := getattr(before, field.name), Path)
    }
    return dataclasses.replace(before, **moved, store=postgres.copied(before.store))


def found(config: Config, off: timedelta = timedelta(0)) -> dict[str, Finding]:
    """Every finding by its name; each one that is not well says what to do."""
    findings = examine(config, config.data.parent / "relay.toml", clock=lambda: utc_now() + off)
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    for finding in findings:
        assert (finding.state is State.WELL) == (not finding.next_step), finding
    return {finding.name: finding for finding in findings}


def wrong(config: Config, name: str, *words: str, off: timedelta = timedelta(0)) -> None:
    """Expect something to be wrong."""
    finding = found(config, off)[name]
    assert finding.state is State.WRONG, finding
    for word in words:
        assert word in f"{finding.detail} {finding.next_step}", finding


def test_a_relay_in_good_health(relays):
    findings = found(relays.configs["th"])
    # How full this machine's disk is, is its own affair.
    assert not [f for f in findings.values() if f.state is not State.WELL and not f.name.startswith("disk of")]
    assert "serving" in findings["service"].detail
    assert {f"{THERE} TLS", f"{THERE} accepts us", f"{THERE} witness", "clock", "quorum of witnesses"} <= set(findings)
    assert "within 10 s of 1 witnesses" in findings["clock"].detail


# Clock


@pytest.mark.parametrize(("seconds", "state"), [(-400, 2), (-60, 1), (60, 1), (400, 2)])
def test_a_clock_that_is_off(relays, seconds, state):
    finding = found(relays.configs["th"], timedelta(seconds=seconds))["clock"]
    assert finding.state == state
    assert f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'}" in finding.detail.replace(
        f"{abs(seconds) - 1} s", f"{abs(seconds)} s"
    ).replace(f"{abs(seconds) + 1} s", f"{abs(seconds)} s")


def test_one_clock_of_many_moves_nothing():
    ahead = {f"relay.{n}.example": timedelta(seconds=n) for n in range(4)} | {"relay.z.example": timedelta(hours=1)}
    finding = clock_finding(ahead)
    assert (finding.state, "that of relay.z.example" in finding.detail) == (State.ATTENTION, True)
    assert clock_finding({}).state is State.ATTENTION


def test_nobody_to_ask_for_the_time(stopped):
    stopped.latch.unlink()
    stopped.cosigned.unlink()
    assert "no witness has said" in found(stopped)["clock"].detail


# Neighbours


@pytest.fixture
def elsewhere(stopped: Config, relays: Relays) -> Iterator[tuple[Config, socket.socket]]:
    """A copy of the relay whose directory says that its neighbour is where this socket listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        listing = relays.directory.listing
        parties = tuple(
            dataclasses.replace(party, address=address) if party.name == THERE else party for party in listing.parties
        )
        changed = dataclasses.replace(listing, parties=parties, version=listing.version + 1,
                                      previous=relays.directory.digest)  # fmt: skip
        stopped.directory.write_bytes(Directory.sign(changed.payload, relays.community.root_keys[:2]))
        yield stopped, listening


def test_a_peer_that_is_stopped(elsewhere):
    config, listening = elsewhere
    listening.close()
    wrong(config, f"{THERE} reachable", "nobody listens there", "firewalls")


@contextlib.contextmanager
def answering(listening: socket.socket, answer) -> Iterator[None]:
    """Answer one connection in a thread."""

    def run() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as connection:
            answer(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_peer_that_speaks_no_tls(elsewhere):
    config, listening = elsewhere
    with answering(listening, lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")):
        wrong(config, f"{THERE} TLS", "no TLS 1.3")


@contextlib.contextmanager
def certified(listening: socket.socket, relays: Relays, folder: Path, begun: timedelta, lasts: timedelta):
    """Answer one handshake with a certificate of the neighbour's, and then nobody any more."""
    key = certificates.tls_key()
    request = certificates.tls_request(THERE, key)
    (folder / "key").write_bytes(key)
    issued = relays.community.cas["vn"].issue(request, now=utc_now() - begun, lifetime=lasts)
    (folder / "pem").write_bytes(certificates.to_pem(issued))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem", folder / "key")

    def shake(connection: socket.socket) -> None:
        listening.close()
        context.wrap_socket(connection, server_side=True).close()

    with answering(listening, shake):
        yield


def test_a_peer_whose_certificate_has_expired(elsewhere, relays, tmp_path):
    config, listening = elsewhere
    with certified(listening, relays, tmp_path, EARLIER, EARLIER / 2):
        wrong(config, f"{THERE} TLS", "expired", "nothing is forwarded")


def test_a_peer_whose_certificate_ends_soon(elsewhere, relays, tmp_path):
    config, listening = elsewhere
    with certified(listening, relays, tmp_path, timedelta(0), timedelta(days=6)):
        finding = found(config)[f"{THERE} TLS"]
    assert (finding.state, finding.next_step) == (State.ATTENTION, "Tell the operator there that it ends.")


def test_a_peer_that_does_not_take_us(stopped, relays):
    key, pem = relays.tls(HERE, ca=relays.meddler)  # any nation's CA opens the door, and no more
    stopped.tls_key.write_bytes(key)
    stopped.tls_certificate.write_bytes(pem)
    wrong(stopped, f"{THERE} accepts us", "bad_certificate")


def test_a_witness_that_cannot_remember(relays, stopped):
    [memory] = relays.configs["vn"].witnessed.glob("*[!.][!l][!o][!c][!k]")
    kept = memory.read_bytes()
    memory.write_bytes(b"")
    try:
        wrong(stopped, f"{THERE} witness", "the file is empty")
    finally:
        memory.write_bytes(kept)


def test_a_witness_that_has_not_cosigned_all(relays, stopped):
    note = Checkpoint.parse(stopped.latch.read_bytes())
    keys = relays.community.log_keys[HERE].signers
    stopped.latch.write_bytes(Checkpoint.sign(note.origin, note.size + 5, bytes(32), keys, now=utc_now()).raw)
    stopped.cosigned.unlink()
    finding = found(stopped)[f"{THERE} witness"]
    assert (finding.state, f"of {note.size + 5} entries" in finding.detail) == (State.ATTENTION, True)


def test_a_witness_for_which_we_are_in_the_future(relays, stopped):
    note = Checkpoint.parse(stopped.latch.read_bytes())
    ahead = utc_now() + timedelta(minutes=10)  # what a clock that was too early leaves behind
    keys = relays.community.log_keys[HERE].signers
    stopped.latch.write_bytes(Checkpoint.sign(note.origin, note.size, note.root, keys, now=ahead).raw)
    stopped.cosigned.unlink()
    wrong(stopped, f"{THERE} witness", "one of the future", "Set this machine's clock")


# Papers


def test_a_certificate_that_has_expired(stopped, relays):
    key = stopped.tls_key.read_bytes()
    ca = relays.community.cas["th"]
    issued = ca.issue(certificates.tls_request(HERE, key), now=utc_now() - EARLIER, lifetime=EARLIER / 2)
    stopped.tls_certificate.write_bytes(certificates.to_pem(issued))
    wrong(stopped, "TLS certificate", "not valid at")
    wrong(stopped, "end of TLS certificate", "ended", "Have the national CA")


def test_a_certificate_of_somebody_else(stopped, relays):
    stopped.tls_certificate.write_bytes(relays.tls(THERE)[1])
    wrong(stopped, "TLS certificate", "not that of the TLS certificate")


def test_a_directory_that_has_expired(relays):
    wrong(relays.configs["th"], "directory", off=LONG)


def test_papers_that_end_soon(relays):
    left = relays.directory.listing.expires_at - utc_now()
    finding = found(relays.configs["th"], left - timedelta(days=20))["end of Directory version 1"]
    assert (finding.state, "ends in" in finding.detail) == (State.ATTENTION, True)


def test_a_newer_directory_that_nobody_has_taken(elsewhere):
    config, listening = elsewhere
    listening.close()
    finding = found(config)["newer directory"]
    assert (finding.state, "version 2 lies there, the relay uses 1" in finding.detail) == (State.ATTENTION, True)


def test_a_peer_with_a_newer_directory(relays, stopped):
    listing = relays.directory.listing
    changed = dataclasses.replace(listing, version=2, previous=relays.directory.digest)
    newer = Directory.sign(changed.payload, relays.community.root_keys[:2])
    assert relays.remote("intel.c04.vn.example").publish_directory(newer)
    finding = found(stopped)[f"directory at {THERE}"]
    assert (finding.state, "1 newer" in finding.detail) == (State.ATTENTION, True)


# Log


def test_data_that_is_an_old_copy(stopped, relays):
    note = Checkpoint.parse(stopped.latch.read_bytes())
    more = Checkpoint.sign(
        note.origin, note.size + 5, bytes(32), relays.community.log_keys[HERE].signers, now=utc_now()
    )
    stopped.latch.write_bytes(more.raw)
    wrong(stopped, "log", "this is an old copy", "recover")


@on_disk
def test_a_latch_over_another_log(stopped, relays):
    note = Checkpoint.parse(stopped.latch.read_bytes())
    other = Checkpoint.sign(note.origin, note.size, bytes(32), relays.community.log_keys[HERE].signers, now=utc_now())
    stopped.latch.write_bytes(other.raw)
    wrong(stopped, "log", "another log")


@on_disk
def test_a_latch_that_is_an_old_copy(stopped, relays):
    note = Checkpoint.parse(stopped.latch.read_bytes())
    older = Checkpoint.sign(note.origin, 1, bytes(32), relays.community.log_keys[HERE].signers, now=utc_now())
    stopped.latch.write_bytes(older.raw)
    wrong(stopped, "log", "an old copy", "never one from a backup")


@on_disk
def test_a_latch_that_is_not_the_relays(stopped):
    stopped.latch.write_bytes(b"nothing")
    wrong(stopped, "log", str(stopped.latch))


@on_disk
def test_lost_data(stopped):
    stopped.place.unlink()
    wrong(stopped, "log", "no such file", "recover")


@on_disk
def test_a_backup_that_is_old_or_was_never_made(stopped):
    assert found(stopped, timedelta(days=9))["backup"].detail.startswith("9 days ago, ")
    (stopped.data / "backup.json").unlink()
    assert (found(stopped)["backup"].state, found(stopped)["backup"].detail) == (1, "none was ever made")


def test_nobody_serves(stopped):
    finding = found(stopped)["process"]
    assert (finding.state, finding.next_step) == (State.ATTENTION, "Start it: infoexchange-relay serve")
    assert (is_locked(stopped), holder(stopped)) == (False, 0)
    with locked(stopped):
        assert (is_locked(stopped), holder(stopped)) == (True, os.getpid())


def test_a_relay_that_hangs(stopped, relays):
    with socket.create_server(("127.0.0.1", 0)) as listening, locked(stopped):
        config = dataclasses.replace(stopped, listen=f"127.0.0.1:{listening.getsockname()[1]}")
        listening.close()
        wrong(config, "service", "does not answer: UNAVAILABLE")


def test_witnesses_that_have_been_silent(stopped):
    assert found(stopped, timedelta(minutes=20))["quorum of witnesses"].state is State.ATTENTION
    note = Checkpoint.parse(stopped.cosigned.read_bytes())
    stopped.cosigned.write_bytes(note.only_signatures(note.note.signatures[:2]).raw)
    finding = found(stopped)["quorum of witnesses"]
    assert (finding.state, finding.detail) == (State.ATTENTION, "none has cosigned this log yet")


def test_no_quorum_for_longer_than_the_relay_goes_on_without(relays, stopped, tmp_path):
    relays.publish_of("th")
    grown = copied(relays, tmp_path / "grown")
    shutil.copy(stopped.cosigned, grown.cosigned)
    wrong(grown, "quorum of witnesses", "no new message is taken", off=grown.max_uncosigned + timedelta(minutes=1))


@on_disk
def test_a_lost_latch(stopped):
    stopped.latch.unlink()
    wrong(stopped, "log", "but no latch", "recover")


def test_a_relay_that_takes_nothing_new(tmp_path):
    relays = Relays(tmp_path, AGENCIES)
    try:
        # Its only witness does not run, and it goes on without for no time at all.
        config = relays.configs["th"] = dataclasses.replace(relays.configs["th"], uncosigned_minutes=0)
        relays.start("th")
        until(lambda: found(config)["service"].state is State.WRONG)
        wrong(config, "service", "it takes nothing new")
    finally:
        relays.close()


def test_looking_changes_nothing(stopped):
    def files() -> dict[str, bytes]:
        found = (path for path in stopped.data.parent.rglob("*") if path.is_file())
        return {path.name: path.read_bytes() for path in found if not path.name.endswith(("-shm", "-wal"))}

    before = files()
    assert found(stopped)
    assert files() == before


def test_a_peer_to_which_no_network_leads_is_not_visited(stopped):
    findings = found(dataclasses.replace(stopped, courier=(THERE,)))
    assert not [name for name in findings if name.startswith(THERE)]
