"""Notify: tells systemd, where that started the relay, that it is ready, lives, and stops (sd_notify).

Without systemd nothing is told, and nothing is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
_SOCKET, _LIMIT = "NOTIFY_SOCKET", "WATCHDOG_USEC"
_BEATS = 3  # in the time after which systemd gives a process up: two may be late


def tell(state: str) -> None:
    """Tell one of the states above; a supervisor that does not listen holds nothing up."""
    address = os.environ.get(_SOCKET, "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        line.connect(address.replace("@", "\0", 1))
        line.send(state.encode())


async def keep_telling() -> None:
    """Tell for ever, from the event loop, that it answers, where systemd wants to hear that."""
    limit = os.environ.get(_LIMIT, "")
    if not limit.isdigit() or not int(limit):
        return
    while True:
        tell(ALIVE)
        await asyncio.sleep(int(limit) / 1_000_000 / _BEATS)
