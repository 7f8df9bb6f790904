"""Lasting: tasks that must not end, whatever happens in them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

# Implementation constants
_RESTART = 30.0  # seconds before a task that died of a bug begins again

_log = structlog.get_logger()


async def lasting(run: Callable[[], Awaitable[None]]) -> None:
    """Run a task until it has come to its end: one that dies of a bug would leave its work undone without a word."""
    while True:
        try:
            return await run()
        except Exception as bug:  # noqa: BLE001  whatever it is; its text may hold bytes
            _log.error("task_failed", reason=type(bug).__name__)
            await asyncio.sleep(_RESTART)
