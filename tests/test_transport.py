"""Errors across the wire both ways, frames, and what becomes of answers that cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from desks import Place
from infoexchange.envelope import ENVELOPE_SIZE_MAX
from infoexchange.errors import MalformedError, Reason, UnavailableError, error
from infoexchange.ports import BATCH_BYTES_MAX, BATCH_MAX, History, Notice
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.transport import HARDENED, RemoteRelay, forms, status
from infoexchange.transport.remote import _Fetch
from infoexchange.v1 import relay_pb2
from patience import PATIENT
from relays import free_ports, raised

REASONS = pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.word)


@pytest.fixture(scope="module")
def running_place():
    with contextlib.closing(Place()) as place:
        yield place


@pytest.fixture
def place(running_place):
    running_place.desk.answers.clear()
    running_place.desk.calls.clear()
    running_place.bugs.clear()
    return running_place


def parts(problem):
    return type(problem), problem.reason, problem.field, problem.detail


# Errors


@REASONS
def test_an_error_of_a_call_arrives_as_the_same_error(place, reason):
    problem = error(reason, field="header.sender", detail="why, in one clause: ünïcode")
    place.desk.answers["checkpoint"] = problem
    assert parts(raised(place.remote.checkpoint)) == parts(problem)
    assert not place.bugs


@REASONS
def test_an_error_of_an_item_arrives_as_the_same_error(place, reason):
    problem = error(reason, field="envelope.body", detail="why")
    place.desk.answers["submit"] = [problem]
    assert [parts(result) for result in place.remote.submit([b"one"])] == [parts(problem)]


@REASONS
def test_a_call_shows_the_standard_details(reason):
    problem = error(reason, field="place", detail="why")
    said = status_pb2.Status.FromString(status.details_of(problem))
    info = error_details_pb2.ErrorInfo()
    assert said.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason.name, "infoexchange", {"field": "place"})
    assert (said.code, said.message) == (status.code_of(problem).value[0], "why")
    assert len(said.details) == (2 if reason is Reason.OVERLOADED else 1)


def test_each_class_has_its_code():
    codes = {type(error(reason)): status.code_of(error(reason)) for reason in Reason if reason is not Reason.OVERLOADED}
    assert len(set(codes.values())) == len(codes) == 4


def test_overloaded_says_when_to_come_back(place):
    place.desk.answers["checkpoint"] = error(Reason.OVERLOADED)
    assert raised(place.remote.checkpoint).next_step == "Try again in 1 s; nothing was lost."


def test_long_texts_are_cut_so_that_they_fit_into_headers(place):
    place.desk.answers["checkpoint"] = error(Reason.BAD_FIELD, field="f" * 9000, detail="ü" * 9000)
    problem = raised(place.remote.checkpoint)
    assert (problem.reason, problem.field, problem.detail) == (Reason.BAD_FIELD, "f" * 1000, "ü" * 1000)


def test_a_bug_tells_the_caller_nothing(place):
    place.desk.answers["checkpoint"] = ZeroDivisionError("secret bytes")
    problem = raised(place.remote.checkpoint)
    assert (type(problem), problem.field) == (UnavailableError, "relay")  # of itself, and not of the line to it
    assert "secret" not in str(problem)
    assert [type(bug) for bug in place.bugs] == [ZeroDivisionError]


def call_with(details, code=grpc.StatusCode.UNKNOWN, words=""):
    class Failed(grpc.RpcError, grpc.Call):
        def code(self):
            return code

        def details(self):
            return words

        def trailing_metadata(self):
            return ((status.DETAILS_KEY, details),)

        initial_metadata = add_callback = cancel = is_active = time_remaining = None

    def call():
        with status.calling("there:1"):
            raise Failed

    return raised(call)


def test_a_reason_of_a_newer_peer_is_not_guessed():
    raw = status.details_of(error(Reason.REPLAYED)).replace(b"REPLAYED", b"UNPLAYED")
    assert call_with(raw).reason is Reason.UNKNOWN_VERSION


@pytest.mark.parametrize("raw", [b"", b"\xff\xff", status.details_of(error(Reason.REPLAYED)).replace(b"info", b"infx")])
def test_details_that_are_not_ours_mean_that_nothing_is_known(raw):
    problem = call_with(raw)
    assert (problem.reason, problem.field) == (Reason.UNAVAILABLE, "there:1")


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        ("last error: Connection refused", "nothing listens there"),
        ("DNS resolution failed for x", "the host name is not known"),
        ("Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", "no TLS connection came about"),
        ("Socket closed", "the relay closed the connection"),
        ("something else", "it cannot be reached"),
    ],
)
def test_causes_are_told_apart(words, detail):
    assert call_with(b"", grpc.StatusCode.UNAVAILABLE, words).detail == detail


def test_nobody_listens():
    (port,) = free_ports(1)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        remote = RemoteRelay(channel, timeout=PATIENT, address=f"127.0.0.1:{port}")
        problem = raised(remote.checkpoint)
        assert parts(problem) == (UnavailableError, Reason.UNAVAILABLE, f"127.0.0.1:{port}", "nothing listens there")
        assert isinstance(raised(lambda: list(remote.fetch())), UnavailableError)
        assert isinstance(raised(lambda: remote.submit([b"x"])), UnavailableError)


def test_no_answer_in_time(place):
    place.desk.answers["checkpoint"] = lambda _: asyncio.Event().wait()
    remote = RemoteRelay(place.channel, timeout=timedelta(milliseconds=200), address="there:1")
    assert parts(raised(remote.checkpoint)) == (UnavailableError, Reason.UNAVAILABLE, "there:1", "no answer in time")


def test_what_is_no_relay_says_so(place):
    with status_of_unknown(place.channel) as problem:
        assert problem.detail == "it does not offer this call"


@contextlib.contextmanager
def status_of_unknown(channel):
    def call():
        with status.calling("there:1"):
            channel.unary_unary("/infoexchange.v1.RelayService/None")(b"", timeout=5)

    yield raised(call)


def test_every_call_but_following_needs_a_deadline(place):
    place.desk.answers |= {"fetch": [[b"a"]], "checkpoint": b"note"}
    remote = RemoteRelay(place.channel)
    remote._call["timeout"] = None
    for call in (remote.checkpoint, lambda: remote.submit([b"x"]), lambda: remote.leaves(0, 1)):
        assert (raised(call).reason, raised(call).field) == (Reason.BAD_FIELD, "deadline")
    endless = _Fetch(remote._relay.Fetch(relay_pb2.FetchRequest()), "there")
    assert raised(lambda: list(endless.frames())).field == "deadline"
    assert list(remote.follow()) == [(b"a",)]


# Frames and batches


def test_frames_hold_256_items_and_4_mib():
    assert [len(frame) for frame in forms.frames([b"x"] * 600)] == [256, 256, 88]
    third = b"x" * (BATCH_BYTES_MAX // 3)
    assert [len(frame) for frame in forms.frames([third] * 4)] == [3, 1]
    assert [len(frame) for frame in forms.frames([b"x", b"x" * (BATCH_BYTES_MAX + 1), b"x"])] == [1, 1, 1]
    assert list(forms.frames([])) == []


def test_a_frame_that_is_too_large_is_refused():
    assert forms.check_frame([b"xx"] * BATCH_MAX) == 2 * BATCH_MAX
    for frame in ([b""] * (BATCH_MAX + 1), [b"x" * (BATCH_BYTES_MAX + 1)]):
        assert raised(lambda frame=frame: forms.check_frame(frame)).reason is Reason.TOO_LARGE


def test_the_next_read_is_about_one_frame():
    assert forms.next_limit([]) == 32
    assert forms.next_limit([b"x"]) == BATCH_MAX
    assert forms.next_limit([b"x" * (BATCH_BYTES_MAX // 2)] * 3) == 2
    assert forms.next_limit([b"x" * BATCH_BYTES_MAX * 2]) == 1


def test_envelopes_travel_in_frames_and_results_come_in_order(place):
    place.desk.answers["submit"] = lambda frame: [error(Reason.EXPIRED, detail=raw.decode()) for raw in frame]
    results = place.remote.submit([b"%d" % i for i in range(600)])
    assert [result.detail for result in results] == [str(i) for i in range(600)]
    assert [len(frame) for _, frame in place.desk.calls] == [256, 256, 88]
    assert place.remote.submit([]) == []


def test_an_envelope_that_is_too_large_holds_up_nobody(place):
    place.desk.answers["submit"] = lambda frame: [error(Reason.EXPIRED)] * len(frame)
    results = place.remote.submit([b"a", b"x" * (ENVELOPE_SIZE_MAX + 1), b"b"])
    assert [result.reason for result in results] == [Reason.EXPIRED, Reason.TOO_LARGE, Reason.EXPIRED]


def test_what_a_broken_stream_left_open_is_unknown_not_refused(place):
    answers = iter([[error(Reason.EXPIRED)] * 256, error(Reason.BAD_CERTIFICATE)])
    place.desk.answers["submit"] = lambda frame: next(answers)
    results = place.remote.submit([b"x"] * 300)
    assert {result.reason for result in results[:256]} == {Reason.EXPIRED}
    assert {result.reason for result in results[256:]} == {Reason.UNAVAILABLE}
    assert len(results) == 300


def test_too_few_results_are_no_results(place):
    place.desk.answers["submit"] = [error(Reason.EXPIRED)]
    assert raised(lambda: place.remote.submit([b"a", b"b"])).reason is Reason.UNAVAILABLE


def test_a_receipt_that_cannot_be_read_is_asked_for_again():
    message = relay_pb2.Result()
    message.receipt.leaf = b"\xff"
    assert forms.result_from_wire(message).reason is Reason.UNAVAILABLE
    assert forms.result_from_wire(relay_pb2.Result()).reason is Reason.UNAVAILABLE


def test_an_unknown_reason_number_is_a_newer_peers():
    message = relay_pb2.Result(failure=relay_pb2.Failure(reason=999))
    assert isinstance(forms.result_from_wire(message), MalformedError)


def test_receipts_arrive_byte_for_byte(place, shared_exchange):
    node = next(iter(shared_exchange.nodes.values()))
    (receipt,) = node.ledger.receipts([0])
    place.desk.answers |= {"submit": [receipt], "events": History((receipt,), (b"statement",))}
    (result,) = place.remote.submit([b"one"])
    assert isinstance(result, Receipt)
    assert result.raw == receipt.raw
    history = place.remote.events(bytes(32))
    assert [event.raw for event in history.events] == [receipt.raw]
    assert history.statements == (b"statement",)


def test_notices_travel_256_at_a_time_and_one_bad_one_alone_is_refused(place):
    place.desk.answers["acknowledge"] = lambda notices: [error(Reason.NOT_ADDRESSED) for _ in notices]
    notices = [Notice(bytes(32), Event.DELIVERED)] * 300 + [Notice(b"", Event.LOG_GENESIS)]
    results = place.remote.acknowledge(notices)
    assert [result.reason for result in results[-2:]] == [Reason.NOT_ADDRESSED, Reason.NOT_ADDRESSED]
    assert len(results) == 301
    bad = relay_pb2.Acknowledgement(state=77)
    with status.calling("there:1"):
        request = relay_pb2.AcknowledgeRequest(acknowledgements=[bad, relay_pb2.Acknowledgement(state=4)])
        answer = place.remote._relay.Acknowledge(request, timeout=5)
    assert [result.failure.reason for result in answer.results] == [Reason.BAD_FIELD, Reason.NOT_ADDRESSED]


def test_bundles_keep_what_proves_them(place, shared_exchange):
    bundles = [member.bundle for member in shared_exchange.community.members.values()]
    place.desk.answers |= {"bundles": bundles, "publish": lambda given: [error(Reason.REVOKED)] * len(given)}
    found = place.remote.bundles([bundle.owner for bundle in bundles])
    assert [(b.raw, b.certificates, b.crls) for b in found] == [(b.raw, b.certificates, b.crls) for b in bundles]
    assert [result.reason for result in place.remote.publish(bundles)] == [Reason.REVOKED] * len(bundles)


def test_an_answer_with_too_many_bundles_is_asked_for_in_parts(place, shared_exchange, monkeypatch):
    bundle = next(iter(shared_exchange.community.members.values())).bundle
    monkeypatch.setattr("infoexchange.transport.servicers._ANSWER_MAX", len(bundle.raw) * 3)
    place.desk.answers["bundles"] = lambda names: [bundle] * len(names)
    assert len(place.remote.bundles(["a.b"] * 5)) == 5
    place.desk.answers["bundles"] = lambda names: [bundle] * 9  # more of one party than fit: the newest
    assert 1 <= len(place.remote.bundles(["a.b"])) < 9


def test_directories_come_in_as_many_answers_as_they_need(place, shared_exchange, monkeypatch):
    raw = shared_exchange.directory.raw
    place.desk.answers["directories"] = lambda after: [raw] if after < 1 else []
    assert place.remote.directories(0) == [raw]
    assert [argument for _, argument in place.desk.calls] == [0, 1]
    place.desk.answers["directories"] = [raw]  # never ends, and never rises
    assert raised(lambda: place.remote.directories(0)).reason is Reason.DIRECTORY_ROLLBACK


def test_leaves_are_read_to_the_end(place):
    log = [b"%d" % i for i in range(2500)]
    place.desk.answers["leaves"] = lambda span: log[span[0] : span[0] + span[1]]
    assert place.remote.leaves(10, 9999) == log[10:]
    assert place.remote.leaves(0, 1500) == log[:1500]
    assert place.remote.leaves(5000, 5) == []


def test_fetching_ends_with_the_error_that_ended_it(place):
    place.desk.answers["fetch"] = [[b"a", b"b"], error(Reason.BAD_CERTIFICATE, detail="expired")]
    stream = place.remote.fetch()
    assert next(stream) == (b"a", b"b")
    assert raised(lambda: next(stream)).reason is Reason.BAD_CERTIFICATE


def test_every_hardened_argument_is_known_to_the_library():
    """A misspelt name would be passed over in silence."""
    (library,) = (Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")
    known = library.read_bytes()
    assert [name for name, _ in HARDENED if name.encode() + b"\0" not in known] == []
    assert len({name for name, _ in HARDENED}) == len(HARDENED)
