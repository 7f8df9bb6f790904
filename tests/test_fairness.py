"""One party that asks for too much is refused alone: the others' calls and messages go on."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import grpc
import pytest

from infoexchange.errors import Reason
from infoexchange.ports import Notice
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.v1 import relay_pb2, relay_pb2_grpc
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
