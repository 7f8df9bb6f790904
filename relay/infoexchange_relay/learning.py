"""Learning: one of several nodes learns what bundles say of revoked certificates that were published at the others."""

from __future__ import annotations

import asyncio

import structlog

from infoexchange.errors import ExchangeError
from infoexchange_relay.batching import Batching
from infoexchange_relay.standing import NEWS

# Implementation constants
_AGAIN = 1.0  # seconds before what the store did not tell is asked again: a revoked party is gone within five

_log = structlog.get_logger()


async def learn(batching: Batching) -> None:
    """Learn for ever; of what is published at this node its writer tells."""
    with batching.bells.lend(NEWS) as bell:
        while await bell.heard():
            if not batching.nodes.several:
                continue
            try:
                batching.standing.learn(await batching.read(batching.standing.read))
            except Exception as bug:  # noqa: BLE001  nobody may stay unrevoked for it; its text may hold bytes
                reason = bug.reason.word if isinstance(bug, ExchangeError) else type(bug).__name__
                _log.warning("revocations_not_learnt", reason=reason)
                await asyncio.sleep(_AGAIN)
                bell.ring()
