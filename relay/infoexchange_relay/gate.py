"""Gate: lets a call in before any of its message is read: who calls is known, and has fewer under way than its share.

gRPC reads the message of a call before it asks the servicer, up to 8 MiB for each of as many calls as a caller opens.
So every call is taken here as a stream of messages, which is read when there is a place for it; on the wire that is the
same.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.listing import Party, Role
from infoexchange.transport.servicers import Context
from infoexchange.transport.status import Answering
from infoexchange_relay.places import Places, told
from infoexchange_relay.quotas import PEER, Quotas

# Implementation constants
_READ = 32  # messages read at once, for everybody together: each may hold 8 MiB
_READ_PARTY = 8
_READ_SECONDS = 20.0  # a message that takes longer gives way to others that wait
_FIRST_SECONDS = 60.0  # the one message of a call that has no deadline, as a following Fetch
_STREAM_REQUEST_MAX = 1024  # bytes; the longest names an attachment, or a service
_OPEN = "/grpc."  # health and reflection answer whoever has a certificate of the community


class Gate(grpc.aio.ServerInterceptor):
    """Stands before every servicer."""

    def __init__(self, caller: Callable[[Context], Party], quotas: Quotas, on_bug: Callable[[Exception], None]) -> None:
        """Hold how to find a call's caller, what it may use, and whom to tell of exceptions that should not be."""
        self._caller = caller
        self._quotas = quotas
        self._on_bug = on_bug
        self._reading = Places(_READ, _READ_PARTY, _READ_SECONDS)
        self._guarded: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the method's handler behind the gate; nothing for a method that there is not."""
        method = details.method
        if method not in self._guarded:
            handler = await continuation(details)
            if handler is None:
                return None
            self._guarded[method] = self._guard(handler, anybody=method.startswith(_OPEN))
        return self._guarded[method]

    def _guard(self, handler: Any, *, anybody: bool) -> Any:
        behave = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        one = not handler.request_streaming

        async def answer(requests: AsyncIterator[Any], context: Context) -> Any:
            async with self._answering(context):
                with self._let_in(context, anybody=anybody) as name:
                    read = self._read(name, requests)
                    return await behave(await _only(read, context) if one else read, context)

        async def stream(requests: AsyncIterator[Any], context: Context) -> None:
            async with self._answering(context):
                with self._let_in(context, anybody=anybody) as name:
                    read = self._read(name, requests)
                    asked = _small(await _only(read, context)) if one else read
                    if inspect.iscoroutinefunction(behave):  # it writes its answers itself
                        await behave(asked, context)
                        return
                    async with contextlib.aclosing(behave(asked, context)) as answers:
                        async for message in answers:
                            raw = handler.response_serializer(message)
                            del message  # the bytes are enough to wait with for a slow reader
                            await context.write(raw)

        if handler.response_streaming:
            make: Any = grpc.stream_stream_rpc_method_handler
            # What writes its answers itself writes messages.
            writes = handler.response_serializer if inspect.iscoroutinefunction(behave) else None
            return make(stream, handler.request_deserializer, writes)
        make = grpc.stream_unary_rpc_method_handler
        return make(answer, handler.request_deserializer, handler.response_serializer)

    @contextlib.asynccontextmanager
    async def _answering(self, context: Context) -> AsyncIterator[None]:
        """Tell the caller how its call ended, also when it was cut off."""
        async with Answering(context, self._on_bug):
            with told():
                yield

    def _let_in(self, context: Context, *, anybody: bool) -> contextlib.AbstractContextManager[str]:
        """Return what counts the call of a known party, or raise."""
        try:
            party = self._caller(context)
        except ExchangeError:
            if not anybody:
                raise
            return self._counted("", context, 1)
        return self._counted(party.name, context, PEER if party.role is Role.RELAY else 1)

    @contextlib.contextmanager
    def _counted(self, name: str, context: Context, times: int) -> Any:
        with self._quotas.call(name, context.peer(), times):
            yield name

    async def _read(self, name: str, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield messages, each read when there is a place for it."""
        while True:
            async with self._reading.hold(name):
                try:
                    message = await anext(requests)
                except StopAsyncIteration:
                    return
            yield message


def _small(request: Any) -> Any:
    """Return a request that lives as long as the stream it asks for; what it asks fits into a line or two."""
    if request.ByteSize() > _STREAM_REQUEST_MAX:
        raise error(Reason.TOO_LARGE, field="request", detail=f"{request.ByteSize()} bytes to ask for a stream")
    return request


async def _only(read: AsyncIterator[Any], context: Context) -> Any:
    """Return the one message of a call."""
    try:
        async with asyncio.timeout(context.time_remaining() or _FIRST_SECONDS):
            return await anext(read)
    except (StopAsyncIteration, TimeoutError):
        raise error(Reason.MALFORMED, field="request", detail="the call has no message") from None
