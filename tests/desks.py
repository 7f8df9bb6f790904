"""A desk that answers what a test says, behind a real gRPC server."""

from __future__ import annotations

import asyncio
import threading

import grpc
import grpc.aio

from infoexchange.transport import HARDENED, RemoteRelay
from infoexchange.transport.servicers import add_servicers
from patience import PATIENT


class FakeDesk:
    """Answers with what a test puts in `answers`, by method; an exception is raised."""

    def __init__(self) -> None:
        self.answers = {"flash": []}
        self.calls = []

    async def _answer(self, method, argument=None):
        self.calls.append((method, argument))
        answer = self.answers[method]
        if callable(answer):
            answer = answer(argument)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit(self, envelopes):
        return await self._answer("submit", list(envelopes))

    async def fetch(self, *, follow, flash):
        for frame in await self._answer("flash" if flash else "fetch", follow):
            if isinstance(frame, Exception):
                raise frame
            yield frame

    async def acknowledge(self, notices):
        return await self._answer("acknowledge", notices)

    async def directories(self, after):
        return await self._answer("directories", after)

    async def publish_directory(self, raw):
        return await self._answer("publish_directory", raw)

    async def bundles(self, names):
        return await self._answer("bundles", names)

    async def publish(self, bundles):
        return await self._answer("publish", bundles)

    async def checkpoint(self, origin):
        return await self._answer("checkpoint", *([origin] if origin else []))

    async def cosigned(self):
        return await self._answer("cosigned") if "cosigned" in self.answers else b""

    async def consistency(self, old_size, size, origin):
        return await self._answer("consistency", (old_size, size, *([origin] if origin else [])))

    async def leaves(self, start, count):
        return await self._answer("leaves", (start, count))

    async def events(self, digest):
        return await self._answer("events", digest)


class Place:
    """A server with one desk, in a loop of its own."""

    def __init__(self) -> None:
        self.desk = FakeDesk()
        self.bugs = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.port = self.do(self._start())
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options=HARDENED)
        self.remote = RemoteRelay(self.channel, timeout=PATIENT, address="there:1")

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _start(self):
        self.server = grpc.aio.server(options=HARDENED)
        add_servicers(self.server, lambda context: self.desk, self.bugs.append)
        port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return port

    def close(self):
        self.channel.close()
        self.do(self.server.stop(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
