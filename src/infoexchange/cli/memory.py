"""Memory: keeps a program small that many threads work for."""

from __future__ import annotations

import contextlib
import ctypes

# Implementation constants
_M_ARENA_MAX = -8  # malloc.h of the GNU C library
_ARENAS = 2  # one for the thread that works, one for those of gRPC


def use_few_arenas() -> None:
    """Let threads share their memory pools, where the C library has a call for that.

    The GNU library gives up to eight pools to each core. What gRPC's threads allocate and ours give back then lies
    about in all of them: with large attachments that is a third of the memory in use.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
