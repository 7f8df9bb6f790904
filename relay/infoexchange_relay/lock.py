"""Lock: one process at a time works on a relay's data."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import IO

from infoexchange.errors import Reason, error
from infoexchange_relay.config import Config

# Implementation constants
_NAME = ".lock"  # a file inside the data
_LOOK_SECONDS = 1.0  # a look takes microseconds, and several may follow each other
_PAUSE_SECONDS = 0.02


@contextlib.contextmanager
def locked(config: Config) -> Iterator[None]:
    """Keep a second relay process from the same data: two writers would each sign what the other wrote.

    Raises:
        UnavailableError: `UNAVAILABLE` when another process has it.
    """
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (config.data / _NAME).open("ab") as file:
        if not _taken(file):
            next_step = "Stop the other process first; `infoexchange-relay check` may run beside it."
            detail = "another process serves this data"
            raise error(Reason.UNAVAILABLE, field=str(config.data), detail=detail, next_step=next_step)
        file.truncate(0)
        file.write(b"%d\n" % os.getpid())
        file.flush()
        yield


def _taken(file: IO[bytes]) -> bool:
    """Whether nobody else works on the data now; whoever only looks at the lock has it for a moment."""
    end = time.monotonic() + _LOOK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE_SECONDS)
        else:
            return True


def is_locked(config: Config) -> bool:
    """Whether a process works on the data; for a moment no other can begin to, and tries again."""
    try:
        with (config.data / _NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def holder(config: Config) -> int:
    """Return the number of the process that works on the data; 0 for none, or one of another container."""
    try:
        process = int((config.data / _NAME).read_text())
        os.kill(process, 0)
    except PermissionError:
        return process
    except (OSError, ValueError):
        return 0
    return process if is_locked(config) else 0
