"""What a relay says of itself: its metrics, whether it lives, and whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from conftest import AGENCIES as NATIONS
from conftest import SENDER
from infoexchange.errors import Reason, error
from infoexchange.states import Precedence
from infoexchange.testing import Exchange
from infoexchange.testing.sites import free_ports
from infoexchange.transport import RemoteRelay
from infoexchange_relay import probes, readings
from infoexchange_relay.batching import Batching
from infoexchange_relay.gauges import AGENCIES as OWN
from infoexchange_relay.metrics import Metrics
from infoexchange_relay.probes import Probes
from infoexchange_relay.readiness import Readiness, measure
from patience import LIMIT, PATIENT, until
from relays import AGENCIES, A, B, Relays, raised

DAY = timedelta(days=1)


def asked(address: str, path: str) -> tuple[int, str]:
    """Status and text of an answer over HTTP."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=LIMIT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def values(text: str) -> dict[str, float]:
    """Each series by its name and labels."""
    return {key: float(value) for key, value in re.findall(r"^(infoexchange_\S+) (\S+)$", text, re.MULTILINE)}


# A relay that runs


@pytest.fixture
def probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Relays, str]]:
    """Two nations of whose relays one runs, and where that answers probes."""
    monkeypatch.setattr(readings, "PAUSE", 0.05)
    relays = Relays(tmp_path, AGENCIES)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    relays.configs["th"] = dataclasses.replace(relays.configs["th"], metrics_listen=address, reserve_gib=0)
    relays.start("th")
    yield relays, address
    relays.close()


def test_a_relay_tells_what_it_is_like(probed: tuple[Relays, str]):
    relays, address = probed
    assert asked(address, "/healthz") == (200, "alive\n")
    assert asked(address, "/readyz?verbose=1") == (200, "ready\n")
    assert asked(address, "/")[0] == asked(address, "/metrics/x")[0] == 404
    relays.remote(A).publish([relays.community.members[A].bundle])
    sent = [relays.seal(A, [B], precedence=p) for p in (Precedence.ROUTINE, Precedence.FLASH, Precedence.FLASH)]
    relays.remote(A).submit([envelope.raw for envelope in sent])
    queued = 'infoexchange_relay_queue_envelopes{precedence="flash",queue="relay.vn.example"}'
    until(lambda: values(asked(address, "/metrics")[1])[queued] == 2.0)
    found = values(asked(address, "/metrics")[1])
    assert found[queued.replace("flash", "routine")] == 1.0
    assert found[f'infoexchange_relay_queue_envelopes{{precedence="flash",queue="{OWN}"}}'] == 0.0
    assert found['infoexchange_relay_queue_oldest_seconds{precedence="flash",queue="relay.vn.example"}'] >= 0.0
    assert found["infoexchange_relay_envelopes_accepted_total"] == 3.0
    assert found["infoexchange_relay_ready"] == 1.0
    assert found["infoexchange_relay_loop_lag_seconds_count"] > 0.0
    assert found["infoexchange_relay_uncosigned_limit_seconds"] == 240 * 60
    now = datetime.now(UTC).timestamp()
    for name in ("checkpoint", "looked"):
        assert now - 3600 < found[f"infoexchange_relay_{name}_timestamp_seconds"] <= now
    for volume in ("data", "latch", "attachments"):
        assert found[f'infoexchange_relay_disk_free_bytes{{volume="{volume}"}}'] > 0
    assert found['infoexchange_relay_ends_timestamp_seconds{what="directory"}'] > now
    assert found["infoexchange_relay_attachments_bytes"] == 0.0
    assert not [series for series in found if "desk." in series or "intel." in series]


def test_calls_and_connections_are_counted_while_they_last_and_callers_who_may_not(probed: tuple[Relays, str]):
    relays, address = probed
    frames = relays.remote(A).follow()
    reading = threading.Thread(target=lambda: list(frames))
    reading.start()

    def now(name: str) -> float:
        return values(asked(address, "/metrics")[1])[f"infoexchange_relay_{name}"]

    until(lambda: (now("calls"), now("connections")) == (1.0, 1.0))
    key, certificate = relays.tls(A, ca=relays.meddler)
    stranger = RemoteRelay(relays.channel("th", key=key, certificate=certificate), timeout=PATIENT, address="th")
    assert raised(stranger.checkpoint).reason is Reason.BAD_CERTIFICATE
    until(lambda: (now("calls"), now("connections")) == (1.0, 1.0))
    assert now('calls_refused_total{reason="bad_certificate"}') == 1.0
    relays.stop("th")  # which ends the stream
    reading.join(LIMIT)


def test_health_over_grpc_says_whether_new_messages_are_taken(probed: tuple[Relays, str], monkeypatch):
    relays, address = probed
    stub = health_pb2_grpc.HealthStub(relays.channel("th", A))

    def status(service: str = "") -> int:
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT).status

    status_of = health_pb2.HealthCheckResponse
    assert status() == status_of.SERVING
    broken = error(Reason.UNAVAILABLE, field="relay", detail="no quorum")

    def missing(*_: object) -> None:
        raise broken

    with structlog.testing.capture_logs() as lines:
        monkeypatch.setattr("infoexchange_relay.readiness.check_cosigned", missing)
        until(lambda: status() == status_of.NOT_SERVING)
        assert asked(address, "/readyz") == (503, "unavailable: no quorum\n")
        assert asked(address, "/healthz")[0] == 200
        # What waits is still handed out.
        assert status("infoexchange.v1.RelayService") == status_of.SERVING
        monkeypatch.setattr("infoexchange_relay.readiness.check_cosigned", lambda *_: None)
        until(lambda: status() == status_of.SERVING)
    said = [line["event"] for line in lines if line["event"].startswith("taking")]
    assert said == ["taking_no_messages", "taking_messages"]
    assert asked(address, "/readyz")[0] == 200


# Readiness


def ready(work, **options):
    """Run `work` with a node in memory, its writer, its readiness and what was told; return what it returns."""
    exchange = Exchange(NATIONS)

    async def all_of_it():
        told: list[bool] = []

        async def tell(is_ready: bool) -> None:
            told.append(is_ready)

        batching = Batching(exchange.node_of(SENDER))
        batching.start()
        try:
            return await work(exchange, batching, Readiness(batching, tell), told)
        finally:
            await batching.close()

    return asyncio.run(all_of_it())


def test_a_relay_is_not_ready_before_it_has_looked_nor_when_it_stops():
    async def work(exchange, batching, readiness, told):
        assert readiness.now.detail == "the relay is starting"
        await readiness.look()
        await readiness.look()
        assert (readiness.now, told) == (None, [True])
        readiness.end()
        assert readiness.now.detail == "the relay is stopping"
        await readiness.look()
        assert told == [True, False]

    ready(work)


def test_a_relay_whose_directory_has_expired_is_not_ready():
    async def work(exchange, batching, readiness, told):
        exchange.clock.advance(400 * DAY)
        await readiness.look()
        assert readiness.now.reason is Reason.DIRECTORY_EXPIRED
        assert b"infoexchange_relay_ready 0.0" in batching.metrics.render()

    ready(work)


def test_a_relay_without_a_quorum_for_too_long_is_not_ready_until_there_is_one():
    async def work(exchange, batching, readiness, told):
        node = batching.node
        node.max_uncosigned = timedelta(hours=4)
        exchange.clock.advance(4 * timedelta(hours=1))
        await readiness.look()
        assert readiness.now is None
        exchange.clock.advance(timedelta(minutes=1))
        await readiness.look()
        assert "no quorum" in readiness.now.detail
        exchange.witness()
        await readiness.look()
        assert (readiness.now, told) == (None, [True, False, True])
        assert b'store_errors_total{reason="unavailable"} 0.0' in batching.metrics.render()

    ready(work)


def test_a_full_disk_is_no_readiness_until_a_batch_is_committed_or_half_a_minute_has_passed(monkeypatch):
    async def work(exchange, batching, readiness, told):
        node, bundle = batching.node, exchange.community.members[SENDER].bundle
        decision = lambda: node.decide_bundle(node.directory.party(SENDER, at=node.clock()), bundle)  # noqa: E731
        settle, full = node.settle, error(Reason.OVERLOADED, field="store", detail="the disk is full")

        def refuse(jobs):
            raise full

        node.settle = refuse
        with pytest.raises(type(full)):
            await batching.settle([decision], 1)
        assert readiness.now is full
        await readiness.look()
        assert b'infoexchange_relay_store_errors_total{reason="overloaded"} 1.0' in batching.metrics.render()
        batching._failed = batching._failed[0] - 31, full
        await readiness.look()
        assert readiness.now is None
        with pytest.raises(type(full)):
            await batching.settle([decision], 1)
        node.settle = settle
        await batching.settle([decision], 1)
        assert batching.refusal is None

    ready(work)


def test_a_log_that_has_stopped_is_never_ready_again():
    async def work(exchange, batching, readiness, told):
        batching.fail(error(Reason.LOG_STOPPED, field="log", detail="the disk failed"), [])
        await readiness.look()
        assert readiness.now.reason is Reason.LOG_STOPPED

    ready(work)


def test_how_late_the_loop_is_gets_measured():
    async def work():
        found: list[float] = []
        task = asyncio.create_task(measure(found.append))
        while not found:
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return found

    assert min(asyncio.run(work())) >= 0.0


# Probes


@contextlib.contextmanager
def answering(host: str = "127.0.0.1", refusal=lambda: None) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    """Where probes are answered, and the loop of which they tell."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    served = Probes((host, 0), Metrics().registry, loop, refusal)
    served.start()
    try:
        yield f"[{host}]:{served.server_port}" if ":" in host else f"{host}:{served.server_port}", loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        served.end()


def test_a_loop_that_hangs_or_has_ended_is_no_life(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "ALIVE", 0.1)
    held, free = threading.Event(), threading.Event()

    def hang() -> None:
        held.set()
        free.wait(LIMIT)

    with answering() as (address, loop):
        loop.call_soon_threadsafe(hang)
        held.wait(LIMIT)
        assert asked(address, "/healthz") == (503, "the event loop does not answer\n")
        assert asked(address, "/metrics")[0] == 200
        free.set()
        monkeypatch.setattr(probes, "ALIVE", LIMIT)
        assert asked(address, "/healthz")[0] == 200
    done = asyncio.new_event_loop()
    done.close()
    served = Probes(("127.0.0.1", 0), CollectorRegistry(), done, lambda: None)
    served.start()
    assert asked(f"127.0.0.1:{served.server_port}", "/healthz")[0] == 503
    served.end()


def test_so_many_are_answered_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "_AT_ONCE", 3)
    monkeypatch.setattr(probes._Answer, "timeout", LIMIT)
    with answering() as (address, _), contextlib.ExitStack() as idle:
        place = (address.partition(":")[0], int(address.partition(":")[2]))
        waiting = [idle.enter_context(socket.create_connection(place, timeout=LIMIT)) for _ in range(3)]
        with socket.create_connection(place, timeout=LIMIT) as more:
            assert more.recv(1) == b""  # cut off, while the others wait for a request
        for one in waiting:
            one.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert one.recv(12) == b"HTTP/1.0 200"
        idle.close()

        def again() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return asked(address, "/healthz")[0] == 200
            return False

        for _ in range(5):  # every place is free again, each time
            until(again)


def test_prometheus_gets_the_form_it_asks_for_and_only_get_is_answered():
    with answering() as (address, _):
        wanted = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": "application/openmetrics-text"})
        with urllib.request.urlopen(wanted, timeout=LIMIT) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert answer.read().endswith(b"# EOF\n")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(f"http://{address}/readyz", b"x"), timeout=LIMIT)
        with caught.value as refused:
            assert refused.code == 501


@pytest.mark.skipif(not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 on this machine")
def test_it_answers_on_the_other_loopback_too():
    with answering("::1") as (address, _):
        assert asked(address, "/healthz")[0] == 200


def test_a_port_that_is_taken_is_said():
    with (
        contextlib.closing(asyncio.new_event_loop()) as loop,
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        Probes(taken.getsockname(), CollectorRegistry(), loop, lambda: None)
