"""One party that asks for too much is refused alone: the others' calls and messages go on."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from infoexchange.errors import Reason
from infoexchange.ports import Notice
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.v1 import relay_pb2, relay_pb2_grpc
from infoexchange_relay import outgoing
from patience import LIMIT, until
from relays import A2, A, Relays, delivered, fetched, raised

A3, A4 = "desk.third.th.example", "desk.fourth.th.example"
LIMITS = {"party_messages": 40, "party_calls": 6, "party_connections": 3}


@pytest.fixture(scope="module")
def th(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fairness")
    with contextlib.closing(Relays(folder, {"th": ["desk.oncb", "desk.navy", "desk.third", "desk.fourth"]})) as relays:
        relays.configs["th"] = replace(relays.configs["th"], **LIMITS)
        relays.start("th")
        relays.publish()
        yield relays


def test_a_flood_is_refused_and_another_partys_messages_go_on(th):
    flood, refusals, stop = th.remote(A), [], threading.Event()
    raws = [th.seal(A, [A]).raw] * 30

    def send():
        while not stop.is_set():
            with contextlib.suppress(Exception):
                flood.submit(raws)
                continue
            refusals.append(raised(lambda: flood.submit(raws)))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        until(lambda: refusals)
        quiet, sent = th.remote(A2), [th.seal(A2, [A2]) for _ in range(20)]
        for envelope in sent:
            assert isinstance(quiet.submit([envelope.raw])[0], Receipt)
        assert fetched(quiet) == [envelope.digest for envelope in sent]
        delivered(quiet, [envelope.digest for envelope in sent])
    finally:
        stop.set()
        thread.join(LIMIT)
    assert {(problem.reason, problem.field) for problem in refusals} == {(Reason.OVERLOADED, "quota")}


def test_a_refusal_is_resource_exhausted_and_says_when_to_try_again(th):
    call = relay_pb2_grpc.RelayServiceStub(th.channel("th", A)).Submit
    requests = [relay_pb2.SubmitRequest(envelopes=[b"x"] * 40)] * 20
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter(requests), timeout=LIMIT))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    assert b"type.googleapis.com/google.rpc.RetryInfo" in details


def test_notices_of_nothing_count_and_those_of_messages_do_not(th):
    quiet = th.remote(A3)
    assert isinstance(th.remote(A4).submit([th.seal(A4, [A3]).raw])[0], Receipt)
    digest = fetched(quiet)[0]
    for _ in range(60):
        delivered(quiet, [digest])
    nothing = [Notice(bytes(32), Event.DELIVERED)] * 100
    assert {result.reason for result in quiet.acknowledge(nothing)} == {Reason.NOT_ADDRESSED}
    assert raised(lambda: quiet.acknowledge(nothing)).reason is Reason.OVERLOADED


def test_calls_and_connections_of_one_party_are_counted(th):
    with contextlib.ExitStack() as stack:
        assert isinstance(th.remote(A4).submit([th.seal(A4, [A3]).raw])[0], Receipt)
        channels = [th.channel("th", A3) for _ in range(4)]
        stubs = [relay_pb2_grpc.RelayServiceStub(channel) for channel in channels]

        def follow(stub):
            stream = stub.Fetch(relay_pb2.FetchRequest(follow=True))
            stack.callback(stream.cancel)
            next(stream)  # it is let in

        for stub in stubs[:3]:
            follow(stub)
        audit = relay_pb2_grpc.AuditServiceStub

        def answer(channel):
            return audit(channel).GetCheckpoint(relay_pb2.GetCheckpointRequest(), timeout=LIMIT)

        assert refused(lambda: answer(channels[3])) == "3 connections are in use already"
        assert answer(channels[0]).checkpoint
        for stub in stubs[:3]:
            follow(stub)
        assert refused(lambda: answer(channels[0])) == "6 calls are under way already"
        assert th.remote(A4).checkpoint()
    assert until(lambda: not refused(lambda: answer(channels[3])))  # what ends gives its place back


def refused(call):
    """Why a call is refused as overloaded; nothing if it is not."""
    try:
        call()
    except grpc.RpcError as problem:
        return problem.details() if problem.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else ""
    return ""


@pytest.mark.parametrize("ask", ["fetch", "watch"])
def test_what_asks_for_a_stream_is_small(th, ask):
    """It is held for as long as the stream lasts, and a thousand of them may be open."""
    channel = th.channel("th", A2)
    if ask == "fetch":
        request = relay_pb2.FetchRequest.FromString(b"\xfa\x01\x80\x10" + b"x" * 2048)  # a field of a newer version
        stream = relay_pb2_grpc.RelayServiceStub(channel).Fetch(request, timeout=LIMIT)
    else:
        stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="x" * 2048))
    with pytest.raises(grpc.RpcError) as caught, contextlib.closing(Ended(stream)):
        next(stream)
    assert "bytes to ask for a stream" in caught.value.details()


class Ended:
    """A stream that is cancelled at the end."""

    def __init__(self, stream):
        self.close = stream.cancel


def test_health_can_be_watched(th):
    stream = health_pb2_grpc.HealthStub(th.channel("th", A2)).Watch(health_pb2.HealthCheckRequest())
    with contextlib.closing(Ended(stream)):
        assert next(stream).status == health_pb2.HealthCheckResponse.SERVING


def test_a_reader_that_is_cut_off_is_told(tmp_path, monkeypatch):
    """A stream without a word would look open for ever, and nothing urgent would come on it."""
    cut, cut_off = threading.Event(), outgoing.cut_off
    monkeypatch.setattr(outgoing, "_SECONDS", 0.2)
    monkeypatch.setattr(outgoing, "_LOOK", 0.1)
    monkeypatch.setattr(outgoing, "cut_off", lambda task, problem: (cut.set(), cut_off(task, problem)))
    with contextlib.closing(Relays(tmp_path, {"th": ["desk.oncb", "desk.navy"]})) as relays:
        relays.start("th")
        relays.publish()
        for _ in range(4):  # more than gRPC reads ahead
            sent = [relays.seal(A, [A2]).raw for _ in range(100)]
            assert all(isinstance(result, Receipt) for result in relays.remote(A).submit(sent))
        stub = relay_pb2_grpc.RelayServiceStub(relays.channel("th", A2))
        stream = stub.Fetch(relay_pb2.FetchRequest(follow=True))
        with contextlib.closing(Ended(stream)):
            next(stream)
            assert cut.wait(LIMIT)
            with pytest.raises(grpc.RpcError) as caught:
                list(stream)
    assert "was not read in time" in caught.value.details()
