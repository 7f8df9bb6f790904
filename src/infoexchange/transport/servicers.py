"""Servicers: the relay's side of the ports: decode, one call on the caller's desk, encode.

A *desk* is what the embedding program offers one caller: the ports again, asynchronous. The program finds it from the
connection's certificate, on every call.
"""
# ruff: noqa: N802  methods are named as in relay.proto

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import grpc.aio

from infoexchange.bundle import KeyBundle
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.ports import History, Notice, Result
from infoexchange.states import Event
from infoexchange.transport import forms
from infoexchange.transport.channel import MESSAGE_SIZE_MAX
from infoexchange.transport.remote import LEAVES_MAX
from infoexchange.transport.status import Answering
from infoexchange.v1 import relay_pb2, relay_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
M = TypeVar("M")
T = TypeVar("T")

_SERVICES = ("RelayService", "BulletinService", "AuditService")

# Implementation constants
_ANSWER_MAX = MESSAGE_SIZE_MAX - 1024 * 1024  # room for what protobuf adds around thousands of fields


class Desk(Protocol):
    """What a relay does for one caller: `ports.HomeRelay`, asynchronous."""

    async def submit(self, envelopes: Sequence[bytes]) -> Sequence[Result]:
        """Take one frame of envelopes; one result each."""

    def fetch(self, *, follow: bool, flash: bool) -> AsyncIterator[Sequence[bytes]]:
        """Yield frames of what waits, and with `follow` of what arrives; with `flash` only those of that precedence."""

    async def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Result]:
        """Take what became of fetched envelopes."""

    async def directories(self, after: int) -> Sequence[bytes]:
        """Return directory versions after `after`, ascending."""

    async def publish_directory(self, raw: bytes) -> Result:
        """Publish the next directory version."""

    async def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return bundles of the parties named, newest epoch first for each."""

    async def publish(self, bundles: Sequence[KeyBundle]) -> Sequence[Result]:
        """Publish bundles."""

    async def checkpoint(self, origin: str) -> bytes:
        """Return the newest signed checkpoint, or the last one of a closed log."""

    async def cosigned(self) -> bytes:
        """Return the newest checkpoint with enough cosignatures; nothing where there is none yet."""

    async def consistency(self, old_size: int, size: int, origin: str) -> Sequence[bytes]:
        """Return how two sizes of a log hang together."""

    async def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order, fewer at the end of the log."""

    async def events(self, digest: bytes) -> History:
        """Return the history of an envelope the caller takes part in."""


class _Servicer:
    """What the three servicers share.

    A desk is looked for inside `Answering`, so that a caller without one learns why.
    """

    def __init__(self, desk_for: Callable[[Context], Desk], on_bug: Callable[[Exception], None]) -> None:
        """Hold how to find the desk of a call, and whom to tell of exceptions that should not be."""
        self._desk_for = desk_for
        self._on_bug = on_bug

    def _desk(self, context: Context, *, endless: bool = False) -> Desk:
        """Return the caller's desk, once the call is known to end by itself."""
        if not endless:
            check_deadline(context)
        return self._desk_for(context)


def check_deadline(context: Context) -> None:
    """Raise `BAD_FIELD` unless a call ends by itself."""
    if context.time_remaining() is None:
        raise error(Reason.BAD_FIELD, field="deadline", detail="every call but a following Fetch needs a deadline")


class RelayServicer(_Servicer, relay_pb2_grpc.RelayServiceServicer):
    """Carries envelopes."""

    async def Submit(
        self, request_iterator: AsyncIterator[relay_pb2.SubmitRequest], context: Context
    ) -> AsyncIterator[relay_pb2.SubmitResponse]:
        """Answer frame by frame, in order; the next frame is read when this one is durable."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context)
            async for request in request_iterator:
                forms.check_frame(request.envelopes)
                results = await desk.submit(request.envelopes)
                yield relay_pb2.SubmitResponse(results=[forms.result_to_wire(result) for result in results])

    async def Fetch(self, request: relay_pb2.FetchRequest, context: Context) -> AsyncIterator[relay_pb2.FetchResponse]:
        """Send frames of what waits."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context, endless=request.follow)
            async for frame in desk.fetch(follow=request.follow, flash=request.flash):
                once = [frame]
                del frame  # the caller may never read the answer, and thousands may do so: it is held once
                yield relay_pb2.FetchResponse(envelopes=once.pop())

    async def Acknowledge(
        self, request: relay_pb2.AcknowledgeRequest, context: Context
    ) -> relay_pb2.AcknowledgeResponse:
        """Take notices."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context)
            forms.check_frame([said.statement for said in request.acknowledgements])
            results = await _each(request.acknowledgements, _notice, desk.acknowledge)
            return relay_pb2.AcknowledgeResponse(results=[forms.result_to_wire(result) for result in results])


class BulletinServicer(_Servicer, relay_pb2_grpc.BulletinServiceServicer):
    """Public signed statements."""

    async def GetDirectory(
        self, request: relay_pb2.GetDirectoryRequest, context: Context
    ) -> relay_pb2.GetDirectoryResponse:
        """Send as many versions as fit; the caller asks again for the rest."""
        async with Answering(context, self._on_bug):
            found = await self._desk(context).directories(request.after_version)
            first = next(forms.frames(found), [])
            return relay_pb2.GetDirectoryResponse(directories=first)

    async def PublishDirectory(
        self, request: relay_pb2.PublishDirectoryRequest, context: Context
    ) -> relay_pb2.PublishDirectoryResponse:
        """Take a directory version."""
        async with Answering(context, self._on_bug):
            result = await self._desk(context).publish_directory(request.directory)
            return relay_pb2.PublishDirectoryResponse(result=forms.result_to_wire(result))

    async def GetBundles(self, request: relay_pb2.GetBundlesRequest, context: Context) -> relay_pb2.GetBundlesResponse:
        """Send bundles, for one party as many of the newest as fit."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context)
            forms.check_count(request.names, field="names")
            messages = [forms.bundle_to_wire(bundle) for bundle in await desk.bundles(list(request.names))]
            while sum(message.ByteSize() for message in messages) > _ANSWER_MAX:
                if len(request.names) > 1:
                    raise error(Reason.TOO_LARGE, field="names", detail="the answer is; ask for fewer at once")
                messages.pop()
            return relay_pb2.GetBundlesResponse(bundles=messages)

    async def PublishBundles(
        self, request: relay_pb2.PublishBundlesRequest, context: Context
    ) -> relay_pb2.PublishBundlesResponse:
        """Take bundles."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context)
            forms.check_count(request.bundles, field="bundles")
            results = await _each(request.bundles, forms.bundle_from_wire, desk.publish)
            return relay_pb2.PublishBundlesResponse(results=[forms.result_to_wire(result) for result in results])


class AuditServicer(_Servicer, relay_pb2_grpc.AuditServiceServicer):
    """Reads the audit log."""

    async def GetCheckpoint(
        self, request: relay_pb2.GetCheckpointRequest, context: Context
    ) -> relay_pb2.GetCheckpointResponse:
        """Send the newest checkpoint of a log."""
        async with Answering(context, self._on_bug):
            desk = self._desk(context)
            checkpoint = await desk.checkpoint(request.origin)
            cosigned = b"" if request.origin else await desk.cosigned()
            return relay_pb2.GetCheckpointResponse(checkpoint=checkpoint, cosigned=cosigned)

    async def GetConsistency(
        self, request: relay_pb2.GetConsistencyRequest, context: Context
    ) -> relay_pb2.GetConsistencyResponse:
        """Send the hashes between two sizes."""
        async with Answering(context, self._on_bug):
            hashes = await self._desk(context).consistency(request.old_size, request.size, request.origin)
            return relay_pb2.GetConsistencyResponse(hashes=hashes)

    async def GetLeaves(self, request: relay_pb2.GetLeavesRequest, context: Context) -> relay_pb2.GetLeavesResponse:
        """Send leaves."""
        async with Answering(context, self._on_bug):
            count = min(request.count, LEAVES_MAX)
            return relay_pb2.GetLeavesResponse(leaves=await self._desk(context).leaves(request.start, count))

    async def GetEvents(self, request: relay_pb2.GetEventsRequest, context: Context) -> relay_pb2.GetEventsResponse:
        """Send the history of an envelope."""
        async with Answering(context, self._on_bug):
            history = await self._desk(context).events(request.envelope_digest)
            events = [forms.receipt_to_wire(receipt) for receipt in history.events]
            return relay_pb2.GetEventsResponse(events=events, statements=history.statements)


def add_servicers(
    server: grpc.aio.Server, desk_for: Callable[[Context], Desk], on_bug: Callable[[Exception], None]
) -> tuple[str, ...]:
    """Add the three services to a server and return their full names."""
    relay_pb2_grpc.add_RelayServiceServicer_to_server(RelayServicer(desk_for, on_bug), server)
    relay_pb2_grpc.add_BulletinServiceServicer_to_server(BulletinServicer(desk_for, on_bug), server)
    relay_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(desk_for, on_bug), server)
    return tuple(relay_pb2.DESCRIPTOR.services_by_name[name].full_name for name in _SERVICES)


async def _each(
    messages: Iterable[M], parse: Callable[[M], T], settle: Callable[[Sequence[T]], Awaitable[Sequence[Result]]]
) -> list[Result]:
    """Return one result per message: what `settle` says of it, or why it could not be parsed."""
    parsed: list[T | ExchangeError] = []
    for message in messages:
        try:
            parsed.append(parse(message))
        except ExchangeError as problem:
            parsed.append(problem)
    results = iter(await settle([item for item in parsed if not isinstance(item, ExchangeError)]))
    return [item if isinstance(item, ExchangeError) else next(results) for item in parsed]


def _notice(said: relay_pb2.Acknowledgement) -> Notice:
    """Return a notice; which states may be said is the node's rule."""
    try:
        state = Event(int(said.state))
    except ValueError:
        raise error(Reason.BAD_FIELD, field="state", detail=f"{int(said.state)} is not in the closed list") from None
    return Notice(said.envelope_digest, state, said.statement)
