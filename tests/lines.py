"""Lines: a way to an HTTP server on loopback that breaks as told, request by request."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from patience import LIMIT

_PIECE = 65536


@dataclass
class Fault:
    """What happens to requests whose first line holds some words.

    Attributes:
        words: Of the method and the path.
        times: How many of them; each goes on as a new connection.
        status: Answers that, without asking the server; 0 for asking it.
        code: The word of the answer, as S3 gives it.
        upstream: Bytes of the request after which the line breaks.
        downstream: Bytes of the answer after which it breaks; the server has done what it was asked.
        then: Is called before anything else.
    """

    words: str
    times: int = 1
    status: int = 0
    code: str = ""
    upstream: int | None = None
    downstream: int | None = None
    then: Callable[[], None] = lambda: None


class Line:
    """A port that leads to a server, one connection for each request."""

    def __init__(self, url: str) -> None:
        self._target = (urlsplit(url).hostname, urlsplit(url).port)
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it begins."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Take no more calls."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(LIMIT)

    def _accept(self) -> None:
        calls = []
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                break
            calls.append(threading.Thread(target=self._carry, args=(near,)))
            calls[-1].start()
        for call in calls:
            call.join(LIMIT)

    def _carry(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            near.settimeout(LIMIT)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = near.recv(_PIECE)
                if not piece:
                    return
                head += piece
            first = head.split(b"\r\n", 1)[0].decode()
            self.requests.append(first)
            fault = self._fault(first)
            fault.then()
            if fault.status:
                _refuse(near, head, fault)
                return
            with socket.create_connection(self._target, timeout=LIMIT) as far:
                sending = threading.Thread(target=_pump, args=(near, far, head, fault.upstream))
                sending.start()
                _pump(far, near, b"", fault.downstream)
                for end in (near, far):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                sending.join(LIMIT)

    def _fault(self, first: str) -> Fault:
        for fault in self.faults:
            if fault.words in first and fault.times:
                fault.times -= 1
                return fault
        return Fault("")


def _pump(source: socket.socket, sink: socket.socket, begun: bytes, limit: int | None) -> None:
    """Carry bytes until the source ends or so many are through."""
    with contextlib.suppress(OSError):
        left, piece = limit, begun
        while True:
            if left is not None:
                piece, left = piece[:left], left - len(piece)
            if piece:
                sink.sendall(piece)
            if left is not None and left <= 0:
                break
            piece = source.recv(_PIECE)
            if not piece:
                break
        if limit is not None:  # broken off: for both sides
            for end in (source, sink):
                end.shutdown(socket.SHUT_RDWR)


def _refuse(near: socket.socket, head: bytes, fault: Fault) -> None:
    """Answer with an error, once the request has come to its end."""
    fields = {name.lower(): value for name, _, value in (row.partition(b": ") for row in head.split(b"\r\n")[1:])}
    if b"expect" not in fields:  # else the bytes are sent when they are asked for, and nobody asks
        body = head.split(b"\r\n\r\n", 1)[1]
        missing = int(fields.get(b"content-length", b"0")) - len(body)
        while missing > 0 and (piece := near.recv(_PIECE)):
            missing -= len(piece)
    text = f"<Error><Code>{fault.code}</Code><Message>as told</Message></Error>".encode()
    answer = f"HTTP/1.1 {fault.status} x\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    near.sendall(f"{answer}Content-Length: {len(text)}\r\n\r\n".encode() + text)


@contextlib.contextmanager
def line_to(url: str) -> Iterator[Line]:
    """Lend a line."""
    with contextlib.closing(Line(url)) as line:
        yield line
