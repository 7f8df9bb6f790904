"""Sightings: each hour the audit log takes the newest checkpoint of every neighbour that was seen in that hour.

That entangles the logs: whoever holds this one can tell later what the neighbours had signed by then. And it shows
which neighbours, and so which witnesses, were there.
"""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from infoexchange.errors import ExchangeError
from infoexchange_relay.batching import Batching
from infoexchange_relay.witnessing import CosigningDesk

# Implementation constants
SECONDS = 300.0  # between two looks: a neighbour that is there has its log cosigned every minute

_log = structlog.get_logger()


async def watch(batching: Batching, desk: CosigningDesk, seconds: float = SECONDS) -> None:
    """Log who was seen in this hour, for ever; the first look is after `seconds`."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await look(batching, desk)
        except Exception as bug:  # noqa: BLE001  it goes on whatever happens; the text may hold bytes
            reason = bug.reason.word if isinstance(bug, ExchangeError) else type(bug).__name__
            _log.warning("sightings_not_logged", reason=reason)


async def look(batching: Batching, desk: CosigningDesk) -> int:
    """Log what was seen in this hour and is not logged yet; return how many neighbours were."""
    node = batching.node
    hour = node.clock().replace(minute=0, second=0, microsecond=0)
    seen = [checkpoint for at, checkpoint in list(desk.seen.values()) if at >= hour]
    for result in await batching.settle([partial(node.peer_seen, each) for each in seen], 0) if seen else []:
        if isinstance(result, ExchangeError):
            raise result
    return len(seen)
