"""Chunks: one contract, kept by a node over memory, over files, and at the other end of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from datetime import timedelta

import grpc
import grpc.aio
import pytest

from blobs import SIZE, ciphertext, pieces
from changes import change
from conftest import AGENCIES, RECIPIENT, SENDER
from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, sealed_length, verify_block
from infoexchange.chunks import Blob, upload
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.states import Event
from infoexchange.testing import Exchange
from infoexchange.transport import HARDENED
from infoexchange.transport.attachments import PIECE_SIZE_MAX, RemoteChunks, add_attachments
from infoexchange.transport.status import calling
from infoexchange.v1 import relay_pb2
from infoexchange_relay import transfers
from infoexchange_relay.stores import FileDepot
from infoexchange_relay.transfers import Transfers
from patience import LIMIT, until
from relays import raised
from test_envelope import header_for, seal

NODE, NAVY = "relay.th.example", "desk.navy.th.example"
DATA, REF = ciphertext()


class Place:
    """A node behind a real gRPC server, in a loop of its own, for whichever party a test says."""

    def __init__(self, node):
        self.node, self.caller, self.bugs = node, SENDER, []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.port = self.do(self._start())
        self.channels = []

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    async def _start(self, port=0):
        self.transfers = Transfers(self.node)
        self.transfers.start()
        self.server = grpc.aio.server(options=HARDENED)
        add_attachments(self.server, lambda context: self.transfers.desk_for(self.party), self.bugs.append)
        port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()
        return port

    def party(self):
        return self.node.directory.party(self.caller, at=self.node.clock())

    async def _stop(self):
        await self.server.stop(0)
        await self.transfers.close()

    def restart(self):
        self.do(self._stop())
        self.do(self._start(self.port))

    def chunks(self, timeout=LIMIT):
        channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options=HARDENED)
        self.channels.append(channel)
        return RemoteChunks(channel, timeout=timedelta(seconds=timeout), address="there:1")

    def close(self):
        for channel in self.channels:
            channel.close()
        self.do(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture(scope="module")
def exchange():
    return Exchange(AGENCIES)


@pytest.fixture
def node(exchange):
    return exchange.nodes[NODE]


@pytest.fixture
def place(exchange, tmp_path):
    node = exchange.nodes[NODE]
    node.depot = FileDepot(tmp_path / "attachments", quota=2**30, reserve=0, clock=exchange.clock)
    with contextlib.closing(Place(node)) as place:
        yield place


@pytest.fixture(params=["memory", "files", "remote"])
def of(request, exchange, tmp_path):
    """Return a function that gives the chunks of a party."""
    node = exchange.nodes[NODE]
    node.depot = exchange._node(NODE).depot
    if request.param == "memory":
        yield lambda name: node.chunks(exchange.directory.party(name, at=exchange.clock()))
        return
    node.depot = FileDepot(tmp_path / "attachments", quota=2**30, reserve=0, clock=exchange.clock)
    if request.param == "files":
        yield lambda name: node.chunks(exchange.directory.party(name, at=exchange.clock()))
        return
    with contextlib.closing(Place(node)) as place:

        def chunks(name):
            place.caller = name
            return place.chunks()

        yield chunks


def names(exchange, ref, *parties, owner=SENDER):
    """Let an envelope that waits for parties name an attachment."""
    envelope = seal(exchange, header_for(exchange), RECIPIENT)
    blobs = (Blob(owner, ref.ct_root),)
    exchange.nodes[NODE].store.append(
        [change(Event.ACCEPTED, envelope.digest, envelope=envelope, starts=parties, blobs=blobs)]
    )
    return envelope


def refusal(call):
    return raised(call).reason


def read(chunks, ref=REF, offset=0, size=SIZE):
    return b"".join(verify_block(ref, block.index, block) for block in chunks.read(ref, offset, size))


def test_what_was_written_is_read_by_whom_it_waits_for(of, exchange):
    data, ref = ciphertext(20)
    assert of(SENDER).length(ref) == 0
    assert of(SENDER).write(ref, 0, pieces(data)) == SIZE
    assert of(SENDER).length(ref) == SIZE
    assert refusal(lambda: read(of(NAVY), ref)) is Reason.NOT_PERMITTED
    envelope = names(exchange, ref, NAVY)
    assert read(of(NAVY), ref) == data
    assert [b.index for b in of(NAVY).read(ref, BLOCK_SIZE - 1, 2)] == [0, 1]
    assert list(of(NAVY).read(ref, SIZE, 5)) == []
    for other in (SENDER, RECIPIENT):
        assert refusal(lambda name=other: read(of(name), ref)) is Reason.NOT_PERMITTED
    exchange.nodes[NODE].store.append([change(Event.OPENED, envelope.digest, NAVY)])
    assert refusal(lambda: read(of(NAVY), ref)) is Reason.NOT_PERMITTED


def test_writing_goes_on_and_repeats_change_nothing(of):
    data, ref = ciphertext(21)
    chunks = of(SENDER)
    assert chunks.write(ref, 0, pieces(data[: BLOCK_SIZE + 5])) == BLOCK_SIZE
    assert chunks.length(ref) == BLOCK_SIZE
    assert refusal(lambda: chunks.write(ref, BLOCK_SIZE + 1, [b"x"])) is Reason.BAD_FIELD
    assert chunks.write(ref, 0, []) == BLOCK_SIZE
    assert chunks.write(ref, 500, pieces(data[500:])) == SIZE
    assert chunks.write(ref, 0, pieces(data)) == SIZE
    assert refusal(lambda: chunks.write(ref, SIZE, [b"x"])) is Reason.BAD_FIELD


def test_a_break_keeps_whole_blocks(of):
    data, ref = ciphertext(22)

    def breaking():
        yield from pieces(data[: 2 * BLOCK_SIZE + 7])
        raise error(Reason.UNAVAILABLE, field="disk", detail="gone")

    chunks = of(SENDER)
    assert raised(lambda: chunks.write(ref, 0, breaking())).field == "disk"
    assert chunks.length(ref) == 2 * BLOCK_SIZE
    assert chunks.write(ref, 2 * BLOCK_SIZE, pieces(data[2 * BLOCK_SIZE :])) == SIZE


def test_other_bytes_are_refused_as_a_whole(of):
    data, ref = ciphertext(23)
    chunks = of(SENDER)
    assert refusal(lambda: chunks.write(ref, 0, pieces(data[:-1] + bytes([data[-1] ^ 1])))) is Reason.BAD_SIGNATURE
    assert chunks.length(ref) == 0
    assert chunks.write(ref, 0, pieces(data)) == SIZE


def test_parties_do_not_see_one_another(of):
    data, ref = ciphertext(24)
    of(SENDER).write(ref, 0, pieces(data))
    assert of(NAVY).length(ref) == 0
    assert of(NAVY).write(ref, 0, [bytes(BLOCK_SIZE)]) == BLOCK_SIZE
    assert of(SENDER).length(ref) == SIZE
    assert of("relay.vn.example").length(ref) == 0
    for stranger in (RECIPIENT,):  # its mailbox is at another relay
        assert refusal(lambda name=stranger: of(name).length(ref)) is Reason.NOT_PERMITTED
        assert refusal(lambda name=stranger: of(name).write(ref, 0, [])) is Reason.NOT_PERMITTED


# Uploading


class Flaky:
    """Chunks of which calls break."""

    def __init__(self, chunks, breaks):
        self.chunks, self.breaks, self.calls = chunks, breaks, 0

    def length(self, ref):
        return self.chunks.length(ref)

    def write(self, ref, offset, given):
        self.calls += 1
        if self.breaks and self.breaks.pop(0):
            self.chunks.write(ref, offset, list(given)[:1])
            raise error(Reason.UNAVAILABLE, field="line", detail="broke")
        return self.chunks.write(ref, offset, given)


def source_of(data):
    return lambda offset, size: pieces(data[offset : offset + size], BLOCK_SIZE)


def test_uploading_survives_breaks_as_long_as_it_gets_on(of, monkeypatch):
    monkeypatch.setattr("infoexchange.chunks.PART_SIZE", BLOCK_SIZE)
    data, ref = ciphertext(25)
    heard = []
    flaky = Flaky(of(SENDER), [True, False, True, True])
    assert upload(flaky, ref, source_of(data), progress=lambda done, total: heard.append((done, total)))
    assert heard[0] == (0, SIZE)
    assert heard[-1] == (SIZE, SIZE)
    assert upload(flaky, ref, source_of(data))
    assert flaky.calls <= 5


def test_uploading_gives_up_when_nothing_moves(exchange):
    class Stuck:
        calls = 0

        def length(self, ref):
            return 0

        def write(self, ref, offset, given):
            self.calls += 1
            raise error(self.reason)

    stuck = Stuck()
    for stuck.reason, calls in ((Reason.UNAVAILABLE, 4), (Reason.OVERLOADED, 1), (Reason.NOT_PERMITTED, 1)):
        stuck.calls = 0
        assert refusal(lambda: upload(stuck, REF, source_of(DATA))) is stuck.reason
        assert stuck.calls == calls


def test_uploading_part_by_part(of, monkeypatch):
    monkeypatch.setattr("infoexchange.chunks.PART_SIZE", BLOCK_SIZE)
    data, ref = ciphertext(26)
    done = [upload(of(SENDER), ref, source_of(data), parts=1) for _ in range(3)]
    assert done == [False, False, True]


# Over the wire


def test_a_restart_of_the_relay_breaks_neither_upload_nor_download(place, exchange):
    data, ref = ciphertext(27)
    chunks = place.chunks()
    restarts = iter([place.restart])

    def source(offset, size):
        for number, piece in enumerate(pieces(data[offset : offset + size], BLOCK_SIZE)):
            yield piece
            if number == 1:
                next(restarts, lambda: None)()

    assert upload(chunks, ref, source)
    place.caller = NAVY
    names(exchange, ref, NAVY)
    found = []
    for block in chunks.read(ref, 0, SIZE):
        found.append(verify_block(ref, block.index, block))
        if len(found) == 1:
            place.restart()
    assert b"".join(found) == data


def test_a_relay_that_stays_away_is_not_waited_for_for_long(place):
    data, ref = ciphertext(28)
    place.chunks().write(ref, 0, pieces(data[:BLOCK_SIZE]))
    place.do(place.server.stop(0))
    chunks = place.chunks(timeout=0.3)
    for call in (
        lambda: chunks.length(ref),
        lambda: upload(chunks, ref, source_of(data)),
        lambda: chunks.write(ref, 0, [data]),
        lambda: list(chunks.read(ref, 0, 1)),
    ):
        assert isinstance(raised(call), UnavailableError)


def test_forms_are_checked(place):
    stub = place.chunks()._stub
    root, length = bytes(32), sealed_length(5)

    def refused(method, request, **options):
        def call():
            with calling("there:1"):
                answer = method(request, **({"timeout": 5} | options))
                return list(answer) if hasattr(answer, "__iter__") else answer

        return raised(call).reason

    for wrong in ({"ct_root": b"x", "ct_length": length}, {"ct_root": root, "ct_length": length + 1}, {}):
        assert refused(stub.GetLength, relay_pb2.GetLengthRequest(**wrong)) is Reason.BAD_FIELD
        assert refused(stub.Upload, iter([relay_pb2.UploadRequest(**wrong)])) is Reason.BAD_FIELD
        assert refused(stub.Download, relay_pb2.DownloadRequest(size=1, **wrong)) is Reason.BAD_FIELD
    assert refused(stub.Upload, iter(())) is Reason.BAD_FIELD
    good = {"ct_root": root, "ct_length": length}
    large = relay_pb2.UploadRequest(data=bytes(PIECE_SIZE_MAX + 1), **good)
    assert refused(stub.Upload, iter([large])) is Reason.TOO_LARGE
    huge = relay_pb2.GetLengthRequest(ct_root=root, ct_length=2**50)
    assert refused(stub.GetLength, huge) is Reason.TOO_LARGE
    for method, request in (
        (stub.GetLength, relay_pb2.GetLengthRequest(**good)),
        (stub.Upload, iter([relay_pb2.UploadRequest(**good)])),
        (stub.Download, relay_pb2.DownloadRequest(size=1, **good)),
    ):
        assert refused(method, request, timeout=None) is Reason.BAD_FIELD
    assert place.bugs == []


def test_transfers_are_limited_for_each_party_and_in_all(place, monkeypatch):
    data, ref = ciphertext(29)
    chunks = place.chunks()
    for name, limit in (("_PARTY_MAX", 1), ("_ALL_MAX", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(transfers, name, limit)
            held, go = threading.Event(), threading.Event()

            def slow(held=held, go=go):
                yield data[:BLOCK_SIZE]
                held.set()
                go.wait(LIMIT)

            thread = threading.Thread(target=lambda s=slow: chunks.write(ref, 0, s()))
            thread.start()
            held.wait(LIMIT)
            try:
                while not place.transfers._under_way:
                    pass
                assert refusal(lambda: place.chunks().write(ref, 0, [data])) is Reason.OVERLOADED
            finally:
                go.set()
                thread.join()
    assert chunks.write(ref, 0, pieces(data)) == SIZE
    assert not place.transfers._under_way


def test_a_relay_that_lies_about_lengths(place, monkeypatch):
    monkeypatch.setattr(FileDepot, "length", lambda *_: SIZE + 1)
    assert refusal(lambda: place.chunks().length(REF)) is Reason.UNAVAILABLE


def test_a_bug_tells_the_caller_nothing(place, monkeypatch):
    def bug(*_):
        raise ZeroDivisionError("secret bytes")

    monkeypatch.setattr(FileDepot, "length", bug)
    problem = raised(lambda: place.chunks().length(REF))
    assert isinstance(problem, UnavailableError)
    assert "secret" not in str(problem)
    assert [type(bug) for bug in place.bugs] == [ZeroDivisionError]


def test_the_sweep_deletes_what_nobody_needs(place, exchange, monkeypatch):
    data, ref = ciphertext(30)
    place.chunks().write(ref, 0, pieces(data))
    envelope = names(exchange, ref, NAVY)
    exchange.nodes[NODE].store.append([change(Event.OPENED, envelope.digest, NAVY)])
    exchange.clock.advance(timedelta(minutes=2))
    place.restart()  # the first look is at the start
    with contextlib.suppress(ExchangeError):
        until(lambda: not place.node.depot.kept(SENDER))
    assert place.node.depot.kept(SENDER) == []


def test_a_reader_that_asks_beyond_the_end_gets_what_there_is(place, exchange):
    data, ref = ciphertext(31)
    place.chunks().write(ref, 0, pieces(data))
    names(exchange, ref, NAVY)
    place.caller = NAVY
    chunks = place.chunks()
    assert read(chunks, ref, 0, 10 * SIZE) == data
    assert refusal(lambda: list(chunks.read(ref, -1, 5))) is Reason.BAD_FIELD
    assert AttachmentRef(b"", SIZE, ref.ct_root).blocks == 3
