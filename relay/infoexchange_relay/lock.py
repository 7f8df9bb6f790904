"""Lock: one process at a time works on a relay's data."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from infoexchange.errors import Reason, error
from infoexchange_relay.config import Config


@contextlib.contextmanager
def locked(config: Config) -> Iterator[None]:
    """Keep a second relay process from the same data: two writers would each sign what the other wrote.

    Raises:
        UnavailableError: `UNAVAILABLE` when another process has it.
    """
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (config.data / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            next_step = "Stop the other process first; `infoexchange-relay check` may run beside it."
            detail = "another process serves this data"
            raise error(Reason.UNAVAILABLE, field=str(config.data), detail=detail, next_step=next_step) from None
        yield
