"""The relay program when a part of it, or of another relay, fails; and how it starts and stops."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, UnavailableError, error
from infoexchange.keys import EpochKeys
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.transport import utc_now
from infoexchange_relay import backoff, forward, peers
from infoexchange_relay.serve import running
from patience import LIMIT, until
from relays import A2, AGENCIES, A, B, Relays, events, fetched, raised


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(backoff, "BACKOFF_FIRST", 0.1)
    monkeypatch.setattr(backoff, "BACKOFF_MAX", 0.3)
    monkeypatch.setattr(peers, "_SWEEP", 0.1)
    with contextlib.closing(Relays(tmp_path, AGENCIES)) as relays:
        yield relays


def test_what_a_peer_misses_while_it_is_down_arrives_later(fresh):
    fresh.start("th")
    sender = fresh.remote(A)
    sender.publish([fresh.community.members[A].bundle])
    assert sender.bundles([A, B])[0].owner == A  # the peer cannot be asked: what there is
    envelopes = [fresh.seal(A, [B, A2]) for _ in range(2)]
    assert all(isinstance(r, Receipt) for r in sender.submit([e.raw for e in envelopes]))
    fresh.start("vn")
    recipient = fresh.remote(B)
    until(lambda: len(fetched(recipient)) == 2)
    assert {e.digest for e in envelopes} == set(fetched(recipient)) == set(fetched(fresh.remote(A2)))
    wraps = [[w.recipient for w in Envelope.parse(raw).wraps] for frame in recipient.fetch() for raw in frame]
    assert wraps == [[B], [B]]


def test_everything_is_there_after_a_restart(fresh):
    fresh.start("th")
    sender = fresh.remote(A)
    sender.publish([fresh.community.members[A].bundle])
    envelope = fresh.seal(A, [A2])
    (receipt,) = sender.submit([envelope.raw])
    fresh.stop("th")
    assert isinstance(raised(sender.checkpoint), UnavailableError)
    fresh.start("th")
    again = until(lambda: [r for r in resubmitted(sender, envelope) if isinstance(r, Receipt)])
    assert again[0].leaf == receipt.leaf
    assert fetched(fresh.remote(A2)) == [envelope.digest]


def resubmitted(sender, envelope):
    try:
        return sender.submit([envelope.raw])
    except UnavailableError:
        return []


def test_a_refused_envelope_never_blocks_the_queue(fresh, monkeypatch):
    monkeypatch.setattr(forward, "TRIES", 10**6)  # the bug is mended before anything is given up
    fresh.start("th")
    peer = fresh.start("vn").node
    fresh.publish()
    sender, recipient = fresh.remote(A), fresh.remote(B)
    envelopes = [fresh.seal(A, [B]) for _ in range(4)]
    refused, broken = envelopes[0].digest, envelopes[1].digest
    decide, bugs = peer.decide, [True]

    def deciding(caller, raw):
        digest = Envelope.parse(raw).digest
        if digest == refused:
            raise error(Reason.RULE_BROKEN, detail="no")
        if digest == broken and bugs:
            raise ZeroDivisionError("a bug")
        return decide(caller, raw)

    peer.decide = deciding
    sender.submit([e.raw for e in envelopes])
    until(lambda: set(fetched(recipient)) == {e.digest for e in envelopes[2:]})
    until(lambda: (Event.REFUSED, "relay.th.example") in events(sender, refused))
    bugs.clear()
    until(lambda: len(fetched(recipient)) == 3)
    (said,) = [r.routing for r in sender.events(refused).events if r.routing.event is Event.REFUSED]
    assert said.reason == Reason.RULE_BROKEN


def test_a_peer_that_lost_a_bundle_gets_it_again(fresh):
    ours, peer = fresh.start("th").node, fresh.start("vn").node
    fresh.publish()
    sender, recipient = fresh.remote(A), fresh.remote(B)
    first, second = fresh.seal(A, [B]), fresh.seal(A, [B])
    sender.submit([first.raw])
    until(lambda: fetched(recipient) == [first.digest])
    found, lost = peer.store.bundle, [True]
    publish = peer.decide_bundle

    def published(caller, bundle):
        lost.clear()
        return publish(caller, bundle)

    peer.decide_bundle = published
    peer.store.bundle = lambda digest: None if lost else found(digest)
    sender.submit([second.raw])
    until(lambda: second.digest in fetched(recipient))
    assert not lost
    assert Event.REFUSED not in [event for event, _ in events(sender, second.digest)]
    assert ours.name == "relay.th.example"


def test_newer_keys_of_another_nation_are_learnt_within_a_minute(fresh, monkeypatch):
    """What is known is answered at once, what is newer asked for meanwhile; what is withdrawn is refused."""
    fresh.start("th")
    fresh.start("vn")
    fresh.publish()
    member, now = fresh.community.members[B], utc_now() - 2 * CLOCK_SKEW
    identity = replace(member.identity, epochs=(EpochKeys.make(2), *member.identity.epochs))
    parts = {"previous": member.bundle, "withdraw": True}
    newer = KeyBundle.issue(identity, member.certificates, (member.crl,), now=now, **parts)
    asking = fresh.remote(A)
    assert [bundle.epoch for bundle in asking.bundles([B])] == [1]
    (receipt,) = fresh.remote(B).publish([newer])
    assert receipt.routing.event is Event.KEY_BUNDLE
    assert [bundle.epoch for bundle in asking.bundles([B])] == [1]
    (refused,) = fresh.remote(B).submit([fresh.seal(B, [A]).raw])
    assert refused.reason is Reason.REVOKED
    monkeypatch.setattr(peers, "_FRESH", timedelta(0))
    until(lambda: [bundle.epoch for bundle in asking.bundles([B])] == [2, 1])


def test_what_nobody_fetches_in_time_expires(fresh, monkeypatch):
    monkeypatch.setattr("infoexchange_relay.peers._SWEEP", 0.2)
    relay = fresh.start("th")
    fresh.remote(A).publish([fresh.community.members[A].bundle])
    envelope = fresh.seal(A, [A2], lifetime=timedelta(minutes=2))
    sender = fresh.remote(A)
    sender.submit([envelope.raw])
    now = relay.node.clock
    relay.node.clock = lambda: now() + timedelta(minutes=8)  # the recipient's clock may be five minutes behind
    until(lambda: Event.EXPIRED in [event for event, _ in events(sender, envelope.digest)])
    assert fetched(fresh.remote(A2)) == []


def test_a_log_that_stops_accepts_nothing_more(fresh):
    relay = fresh.start("th")
    sender = fresh.remote(A)
    sender.publish([fresh.community.members[A].bundle])

    def append(changes):
        raise error(Reason.LOG_STOPPED, field="log", detail="the disk failed")

    relay.node.ledger.store.append = append
    envelope = fresh.seal(A, [A2])
    assert raised(lambda: sender.submit([envelope.raw])).reason is Reason.LOG_STOPPED
    assert relay.stopped.is_set()
    assert raised(lambda: sender.submit([envelope.raw])).reason is Reason.LOG_STOPPED


def test_following_streams_end_and_health_changes_when_the_relay_stops(fresh):
    fresh.start("th")
    watch = health_pb2_grpc.HealthStub(fresh.channel("th", A)).Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    stream = fresh.remote(A).follow()
    fresh.remote(A).publish([fresh.community.members[A].bundle])
    envelope = fresh.seal(A, [A])
    fresh.remote(A).submit([envelope.raw])
    assert len(next(stream)) == 1
    fresh.stop_soon("th")
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    assert list(stream) == []
    fresh.stopped()


def test_a_taken_port_is_one_clear_error(fresh):
    fresh.start("th")
    other = fresh.configs["vn"]
    taken = type(other)(**{**other.__dict__, "listen": fresh.addresses["th"]})
    with pytest.raises(UnavailableError, match="port is taken"):
        fresh.do(contextlib.AsyncExitStack().enter_async_context(running(taken)))


PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from infoexchange_relay.config import Config
from infoexchange_relay.serve import serve
settings = json.loads(sys.argv[1])
paths = {k: Path(v) for k, v in settings.items() if k not in ("name", "listen")}
sys.exit(asyncio.run(serve(Config(**{**settings, **paths}))))
"""


@pytest.mark.parametrize("setting", ["listen", "metrics_listen", "witness_listen"])
def test_a_start_that_fails_leaves_the_log_as_it_was(fresh, setting):
    """An upgrade that fails goes back to a backup, which no longer log may contradict."""
    fresh.start("th")
    fresh.stop("th")
    config = fresh.configs["th"]
    before = config.latch.read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = f"127.0.0.1:{taken.getsockname()[1]}"
        fresh.configs["th"] = replace(config, log_level="warning", **{setting: there})
        with pytest.raises(UnavailableError):
            fresh.start("th")
    assert config.latch.read_bytes() == before
    fresh.configs["th"] = replace(config, log_level="warning")
    fresh.start("th")
    assert config.latch.read_bytes() != before


def test_the_program_says_when_it_is_ready_and_stops_when_told(fresh, tmp_path):
    config = fresh.configs["th"]
    needed = [field.name for field in dataclasses.fields(config) if field.default is dataclasses.MISSING]
    settings = {name: str(getattr(config, name)) for name in needed}
    command = [sys.executable, "-c", PROGRAM, json.dumps({**settings, "listen": "127.0.0.1:0"})]
    path = {"PYTHONPATH": ":".join(p for p in sys.path if p), "GRPC_VERBOSITY": "NONE"}
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    path |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
    with systemd, subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=path) as program:
        lines = (json.loads(line) for line in program.stderr)
        ready = next(line for line in lines if line["event"] == "relay_ready")
        assert ready["address"].startswith("127.0.0.1:")
        assert not ready["address"].endswith(":0")
        program.send_signal(signal.SIGTERM)
        assert [line["event"] for line in lines][-2:] == ["relay_stopping", "relay_stopped"]
        assert program.wait(LIMIT) == 0
        told = [systemd.recv(64) for _ in range(3)]
        assert (sorted(told[:2]), told[2]) == ([b"READY=1", b"WATCHDOG=1"], b"STOPPING=1")
