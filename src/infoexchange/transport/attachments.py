"""Attachments: their bytes over gRPC, both halves: in pieces under flow control, taken up again after a break.

A call carries a part of an attachment and ends within its deadline; what has arrived by then stays, so that slow lines
and long attachments need no long calls.
"""
# ruff: noqa: N802  methods are named as in relay.proto

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Protocol

import grpc
import grpc.aio

from infoexchange import wire
from infoexchange.attachment import BLOCK_SIZE, AttachmentRef, Block, blocks_for
from infoexchange.attachment.form import check_sealed
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.ports import BATCH_BYTES_MAX
from infoexchange.transport.status import Answering, calling, is_away
from infoexchange.v1 import relay_pb2, relay_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

# Specification constants
PIECE_SIZE_MAX = BATCH_BYTES_MAX  # a piece of an attachment weighs no more than a frame of envelopes

# Implementation constants
_STREAM_SECONDS = timedelta(minutes=10).total_seconds()  # 64 MiB at one megabit a second
_MESSAGE = 256 * 1024  # gRPC holds several at once: with a megabyte each, that adds up
_PAUSE = 0.2  # seconds between two attempts to reach a relay that starts anew
_IDLE_MAX = 3  # broken calls in a row that bring nothing


class RemoteChunks:
    """The `Chunks` port of a relay that is reached over gRPC."""

    def __init__(self, channel: grpc.Channel, *, timeout: timedelta, address: str) -> None:
        """Use an open channel.

        Args:
            channel: From `open_channel`.
            timeout: How long a relay that is away is waited for.
            address: How errors name the relay.
        """
        self._stub = relay_pb2_grpc.AttachmentServiceStub(channel)
        self._patience = timeout.total_seconds()
        self._address = address

    def length(self, ref: AttachmentRef) -> int:
        """Return how many bytes this party has written durably; waits for a relay that is just starting anew."""
        request = relay_pb2.GetLengthRequest(ct_root=ref.ct_root, ct_length=ref.ct_length)
        end = time.monotonic() + self._patience
        while True:
            left = end - time.monotonic()
            try:
                answer = self._stub.GetLength(request, timeout=left, wait_for_ready=True)
            except grpc.RpcError as problem:
                # A call on a connection that is just breaking fails at once, whatever it was told about waiting.
                if not is_away(problem) or left < 2 * _PAUSE:
                    with calling(self._address):
                        raise
                time.sleep(_PAUSE)
            else:
                return self._within(ref, answer.length)

    def write(self, ref: AttachmentRef, offset: int, pieces: Iterable[bytes]) -> int:
        """Write bytes from `offset` on; return how many are there afterwards."""
        problems: list[Exception] = []

        def requests() -> Iterator[relay_pb2.UploadRequest]:
            yield relay_pb2.UploadRequest(ct_root=ref.ct_root, ct_length=ref.ct_length, offset=offset)
            try:
                for piece in pieces:
                    for part in _parts(piece):
                        yield relay_pb2.UploadRequest(data=part)
            except Exception as problem:  # noqa: BLE001  raised below; here gRPC would swallow it
                problems.append(problem)

        with calling(self._address):
            answer = self._stub.Upload(requests(), timeout=_STREAM_SECONDS)
        for problem in problems:
            raise problem
        return self._within(ref, answer.length)

    def read(self, ref: AttachmentRef, offset: int, size: int) -> Iterator[Block]:
        """Yield the blocks that hold a range; a broken call is taken up again where it stopped."""
        wanted, idle = blocks_for(ref, offset, size), 0
        while wanted:
            before = len(wanted)
            try:
                for block in self._blocks(ref, wanted):
                    wanted = wanted[1:]
                    yield block
                if len(wanted) == before:
                    raise error(Reason.UNAVAILABLE, field=self._address, detail="the relay sends no more of it")
            except UnavailableError as problem:
                idle = 0 if len(wanted) < before else idle + 1
                if problem.reason is Reason.OVERLOADED or idle > _IDLE_MAX:
                    raise
                self.length(ref)  # raises unless there is somebody again

    def _blocks(self, ref: AttachmentRef, wanted: range) -> Iterator[Block]:
        request = relay_pb2.DownloadRequest(
            ct_root=ref.ct_root,
            ct_length=ref.ct_length,
            offset=wanted.start * BLOCK_SIZE,
            size=min(len(wanted) * BLOCK_SIZE, ref.ct_length - wanted.start * BLOCK_SIZE),
        )
        call = self._stub.Download(request, timeout=_STREAM_SECONDS)
        try:
            with calling(self._address):
                parts: list[bytes] = []
                for answer in call:
                    parts.append(answer.data)
                    if sum(map(len, parts)) > BLOCK_SIZE:
                        raise error(Reason.UNAVAILABLE, field=self._address, detail="a block of more than 1 MiB")
                    if answer.last:
                        yield Block(answer.index, b"".join(parts), tuple(answer.path))
                        parts = []
        finally:
            call.cancel()

    def _within(self, ref: AttachmentRef, length: int) -> int:
        if length > ref.ct_length:
            raise error(Reason.UNAVAILABLE, field=self._address, detail=f"{length} of {ref.ct_length} bytes")
        return length


class AsyncWriting(Protocol):
    """One attachment that is being written; `chunks.Writing`, asynchronous."""

    async def add(self, data: bytes) -> None:
        """Take the next bytes."""

    async def close(self) -> int:
        """Keep what was taken, and return how much is there."""


class AttachmentDesk(Protocol):
    """What a relay does with attachments for one caller: `chunks.Chunks`, asynchronous."""

    async def length(self, ref: AttachmentRef) -> int:
        """Return how many bytes the caller has written."""

    async def begin(self, ref: AttachmentRef, offset: int) -> AsyncWriting:
        """Go on writing."""

    def read(self, ref: AttachmentRef, offset: int, size: int) -> AsyncIterator[Block]:
        """Yield the blocks that hold a range."""


class AttachmentServicer(relay_pb2_grpc.AttachmentServiceServicer):
    """Carries the bytes of attachments."""

    def __init__(self, desk_for: Callable[[Context], AttachmentDesk], on_bug: Callable[[Exception], None]) -> None:
        """Hold how to find the desk of a call, and whom to tell of exceptions that should not be."""
        self._desk_for = desk_for
        self._on_bug = on_bug

    def _desk(self, context: Context) -> AttachmentDesk:
        if context.time_remaining() is None:
            raise error(Reason.BAD_FIELD, field="deadline", detail="every call but a following Fetch needs a deadline")
        return self._desk_for(context)

    async def GetLength(self, request: relay_pb2.GetLengthRequest, context: Context) -> relay_pb2.GetLengthResponse:
        """Say how much is here."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context)
            return relay_pb2.GetLengthResponse(length=await desk.length(_ref(request)))

    async def Upload(
        self, request_iterator: AsyncIterator[relay_pb2.UploadRequest], context: Context
    ) -> relay_pb2.UploadResponse:
        """Take pieces; the next one is read when this one is written."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context)
            first = await anext(aiter(request_iterator), relay_pb2.UploadRequest())
            writing = await desk.begin(_ref(first), first.offset)
            try:
                await writing.add(_checked(first))
                async for request in request_iterator:
                    await writing.add(_checked(request))
            except BaseException:
                with contextlib.suppress(ExchangeError):
                    await asyncio.shield(writing.close())  # what came before the break stays
                raise
            return relay_pb2.UploadResponse(length=await writing.close())

    async def Download(
        self, request: relay_pb2.DownloadRequest, context: Context
    ) -> AsyncIterator[relay_pb2.DownloadResponse]:
        """Send blocks."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context)
            async for block in desk.read(_ref(request), request.offset, request.size):
                sent = 0
                for part in _parts(block.data):
                    sent += len(part)
                    last = sent == len(block.data)
                    path = block.path if last else ()
                    yield relay_pb2.DownloadResponse(index=block.index, data=part, last=last, path=path)


def add_attachments(
    server: grpc.aio.Server, desk_for: Callable[[Context], AttachmentDesk], on_bug: Callable[[Exception], None]
) -> str:
    """Add the service to a server and return its full name."""
    relay_pb2_grpc.add_AttachmentServiceServicer_to_server(AttachmentServicer(desk_for, on_bug), server)
    name: str = relay_pb2.DESCRIPTOR.services_by_name["AttachmentService"].full_name
    return name


def _ref(
    request: relay_pb2.GetLengthRequest | relay_pb2.UploadRequest | relay_pb2.DownloadRequest,
) -> AttachmentRef:
    """Return the attachment that a request names; the id in the manifest is of no meaning here."""
    wire.check_size(request.ct_root, wire.DIGEST_SIZE, field="ct_root")
    check_sealed(request.ct_length)
    return AttachmentRef(b"", request.ct_length, request.ct_root)


def _parts(data: bytes) -> Iterator[bytes]:
    """Yield the bytes in messages of the size that is sent."""
    for start in range(0, len(data), _MESSAGE):
        yield data[start : start + _MESSAGE]


def _checked(request: relay_pb2.UploadRequest) -> bytes:
    if len(request.data) > PIECE_SIZE_MAX:
        detail = f"{len(request.data)} bytes, at most {PIECE_SIZE_MAX}"
        raise error(Reason.TOO_LARGE, field="data", detail=detail)
    return request.data
