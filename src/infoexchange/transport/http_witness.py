"""Witness over HTTP, both halves: C2SP tlog-witness for logs and witnesses outside the community.

SPEC section Submission says what is asked and answered. Nobody is authenticated here but by the signatures inside, so
the endpoint reads little, waits briefly and keeps few connections; whoever needs TLS on it puts a reverse proxy before.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import http.client
import io
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from urllib.parse import urlsplit

from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.submission import ADD_PATH, SUBMISSION_SIZE_MAX, Reply, Submission
from infoexchange.tlog.note import NOTE_SIZE_MAX
from infoexchange.tlog.text import parse_decimal
from infoexchange.witness import Answer

# Implementation constants
_HEAD_SIZE_MAX = 8 * 1024  # request line and headers; a client and two proxies send below 2 KiB
_REPLY_SIZE_MAX = NOTE_SIZE_MAX + 64 * 1024  # as many lines as a note may have, with headers and chunks around them
_READ_SECONDS = 10.0  # for a whole request: the largest is a third of a megabyte
_SEND_SECONDS = 10.0  # for a whole reply, and for the rest of a request that nobody reads
_CONNECTIONS_MAX = 32  # at once, each with a request in memory; logs come every ten seconds, for a moment
_AT_ONCE = 2  # of them before the witness: it takes one call at a time, and its threads are needed elsewhere
_PIECE = 64 * 1024
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
_SHOWN = re.compile(r"/([0-9a-f]{64})/checkpoint")


# The asking half


class HttpWitness:
    """A witness at a URL."""

    def __init__(self, url: str, *, timeout: timedelta) -> None:
        """Hold the submission prefix, `http` or `https`; each call may take `timeout` in all."""
        self.url = url
        self._parts = urlsplit(url)
        self._seconds = timeout.total_seconds()

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], raw: bytes) -> Answer:
        """Return the witness's answer, its lines unverified; raises as `Reply.answer`, and `UNAVAILABLE`."""
        submission = Submission.make(old_size, proof, raw)
        try:
            async with asyncio.timeout(self._seconds):
                received = await self._exchange(submission.raw)
        except TimeoutError:
            raise _unavailable(self.url, f"no whole answer within {self._seconds:.0f} seconds") from None
        except (OSError, ValueError) as problem:  # of a name that is none, the last
            raise _unavailable(self.url, f"cannot be reached ({type(problem).__name__})") from None
        return parse_reply(received).answer(submission)

    async def _exchange(self, body: bytes) -> bytes:
        """Send one request and return all that comes until the other side closes."""
        parts, secure = self._parts, self._parts.scheme == "https"
        context = await asyncio.to_thread(ssl.create_default_context) if secure else None
        port = parts.port or (443 if secure else 80)
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
        try:
            head = f"POST {parts.path.rstrip('/')}{ADD_PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            head += f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            received = bytearray()
            while piece := await reader.read(_PIECE):
                received += piece
                if len(received) > _REPLY_SIZE_MAX:
                    raise _unavailable(self.url, f"an answer of more than {_REPLY_SIZE_MAX} bytes")
            return bytes(received)
        finally:
            writer.transport.abort()


class _Received:
    """Bytes that were read, in the place of a connection to read them from."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def parse_reply(raw: bytes) -> Reply:
    """Return the reply in a whole HTTP response; lengths, chunks and interim answers are the standard library's work.

    Raises:
        UnavailableError: `UNAVAILABLE` for anything else: nothing is known then about what was sent.
    """
    try:
        with http.client.HTTPResponse(cast(socket.socket, _Received(raw)), method="POST") as response:
            response.begin()
            return Reply(response.status, response.read(), response.headers.get("Content-Type", ""))
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as problem:  # the last: a huge chunk
        raise _unavailable("reply", f"no HTTP answer ({type(problem).__name__})") from None


def _unavailable(where: str, detail: str) -> ExchangeError:
    return error(Reason.UNAVAILABLE, field=where, detail=detail)


# The answering half

AddSubmission = Callable[[Submission], Awaitable[Answer]]
Shown = Callable[[str], Awaitable[bytes]]


class HttpEndpoint:
    """Answers logs and monitors on a port of its own; the embedding program says what."""

    def __init__(self, add_submission: AddSubmission, shown: Shown, on_bug: Callable[[Exception], None]) -> None:
        """Hold what answers, and whom to tell of exceptions that should not be.

        Args:
            add_submission: Has the witness look at a submission, as `witness.Cosigner.add_checkpoint`.
            shown: Gives the last cosigned checkpoint of the log with a name as `submission.name_of`, or nothing.
            on_bug: Told of what should not happen; the client learns nothing of it.
        """
        self._add_submission = add_submission
        self._shown = shown
        self._on_bug = on_bug
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def start(self, host: str, port: int) -> int:
        """Listen in the running loop, and return the port.

        Raises:
            OSError: Nobody can listen there.
        """
        self._server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_SIZE_MAX)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Take no more, and end what is under way; a checkpoint that was remembered stays so."""
        if self._server:
            self._server.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        task, crowded = asyncio.current_task(), len(self._open) >= _CONNECTIONS_MAX
        assert task is not None
        self._open.add(task)
        try:
            reply = Reply(503) if crowded else await self._reply(reader, writer)
            async with asyncio.timeout(0 if crowded else _SEND_SECONDS):
                await _send(reader, writer, reply)
        except OSError:
            pass  # a TimeoutError is one too: the client is gone, or does not read
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Reply:
        """Return what to say to a request, whatever it is; raise `OSError` where nobody is left to hear it."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                request = await _read(reader, writer)
        except TimeoutError:
            return Reply(408)
        except ExchangeError as problem:
            return Reply.refusing(problem)
        try:
            async with self._turn:
                return await self._answer(request)
        except ExchangeError as problem:
            return Reply.refusing(problem)
        except Exception as bug:  # noqa: BLE001  one request must not end the others; its text may hold bytes
            self._on_bug(bug)
            return Reply(500)

    async def _answer(self, request: _Request) -> Reply:
        if (request.method, request.path) == ("POST", ADD_PATH):
            return Reply.of(await self._add_submission(Submission.parse(request.body)))
        shown = _SHOWN.fullmatch(request.path)
        if shown and request.method == "GET" and (note := await self._shown(shown[1])):
            return Reply(200, note)
        return Reply(404)


@dataclass(frozen=True)
class RequestHead:
    """Request line and headers.

    Attributes:
        method: As written.
        path: With its query, if there is one.
        length: Bytes of the body.
        waits: Whether the client sends the body only when it is told to.
    """

    method: str
    path: str
    length: int
    waits: bool

    @classmethod
    def parse(cls, raw: bytes) -> RequestHead:
        """Return what stands before the body, blank line included; only what cannot be misread is taken.

        Raises:
            MalformedError: `MALFORMED`, or as `parse_decimal` for the length.
            RefusedError: `TOO_LARGE` for a longer body than a submission has.
        """
        first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
        request = _REQUEST.fullmatch(first)
        headers = [_HEADER.fullmatch(line) for line in lines]
        if not raw.endswith(b"\r\n\r\n") or not request or not all(headers):
            raise _malformed("not a request line and headers")
        lengths, waits = [b"0"], False
        for name, value in ((header[1].lower(), header[2].rstrip(b" \t")) for header in headers if header):
            if name == b"transfer-encoding":  # two ways to say where a body ends are one too many
                raise _malformed("a body without a length")
            if name == b"content-length":
                lengths.append(value)
            waits |= name == b"expect" and value.lower() == b"100-continue" and request[3] == b"1"
        if len(lengths) > 2:
            raise _malformed("two lengths")
        length = parse_decimal(lengths[-1], field="request.length")
        if length > SUBMISSION_SIZE_MAX:
            raise error(Reason.TOO_LARGE, field="request.length", detail=f"{length} bytes")
        return cls(request[1].decode(), request[2].decode(), length, waits)


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: bytes


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request:
    try:
        head = RequestHead.parse(await reader.readuntil(b"\r\n\r\n"))
        if head.waits and head.length:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return _Request(head.method, head.path, await reader.readexactly(head.length))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise _malformed("no whole request") from None


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply) -> None:
    """Write a reply, and read off what the client still sends: closing on unread bytes would take the reply away."""
    head = f"HTTP/1.1 {reply.status} {http.HTTPStatus(reply.status).phrase}\r\nContent-Type: {reply.kind}\r\n"
    head += f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + reply.body)
    await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
    left = 2 * SUBMISSION_SIZE_MAX
    while left > 0 and (piece := await reader.read(_PIECE)):
        left -= len(piece)


def _malformed(detail: str) -> ExchangeError:
    return error(Reason.MALFORMED, field="request", detail=detail)
