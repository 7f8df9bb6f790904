"""Probes: what programs beside the relay ask it over plain HTTP: metrics, whether it lives, whether it is ready.

It answers from threads of its own, so that a loop that hangs is seen, and on loopback only: nobody is asked who he is.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from infoexchange.errors import ExchangeError

# Implementation constants
ALIVE = 5.0  # seconds in which the event loop has to answer; callers have given up long before
_PATIENCE = 10.0  # seconds for a request line
_AT_ONCE = 64  # connections; each takes a thread, and a unit's or container's 512 are the relay's to work with
_TEXT = "text/plain; charset=utf-8"


class Probes(ThreadingHTTPServer):
    """Answers `GET /metrics`, `/healthz` and `/readyz` from `start` until `end`."""

    daemon_threads = True
    block_on_close = False  # a probe of a loop that hangs must not hold up the end

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        loop: asyncio.AbstractEventLoop,
        refusal: Callable[[], ExchangeError | None],
    ) -> None:
        """Listen.

        Args:
            address: Host and port.
            registry: What a scrape shows.
            loop: Has to be answering for the relay to live.
            refusal: Says why nothing new is taken just now, if so.

        Raises:
            OSError: The port is taken, or the address is not one of this machine's.
        """
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Answer)
        self.registry = registry
        self.loop = loop
        self.refusal = refusal
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        self._thread = threading.Thread(target=self.serve_forever, name="probes", daemon=True)

    def start(self) -> None:
        """Begin to answer, from threads."""
        self._thread.start()

    def end(self) -> None:
        """Answer no more, and give the port back."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; where too many wait for their answers already, whoever comes is cut off."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked has gone; a traceback would help nobody."""


class _Answer(BaseHTTPRequestHandler):
    """One connection."""

    server: Probes
    timeout = _PATIENCE
    server_version = "infoexchange-relay"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._say(HTTPStatus.OK, encode(self.server.registry), kind)
        elif path == "/healthz":
            lives = self._lives()
            status = HTTPStatus.OK if lives else HTTPStatus.SERVICE_UNAVAILABLE
            self._say(status, b"alive\n" if lives else b"the event loop does not answer\n")
        elif path == "/readyz":
            problem = self.server.refusal()
            if problem is None:
                self._say(HTTPStatus.OK, b"ready\n")
            else:
                self._say(HTTPStatus.SERVICE_UNAVAILABLE, f"{problem.reason.word}: {problem.detail}\n".encode())
        else:
            self._say(HTTPStatus.NOT_FOUND, b"/metrics, /healthz and /readyz are here\n")

    def _lives(self) -> bool:
        """Whether the event loop answers."""
        answered = threading.Event()
        try:
            self.server.loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # it is closed
            return False
        return answered.wait(ALIVE)

    def _say(self, status: HTTPStatus, body: bytes, kind: str = _TEXT) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  named by http.server
        """Say nothing: a probe every few seconds would fill the log."""
