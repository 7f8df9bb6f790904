"""Expiry: says in time what of this relay's papers ends soon: the directory, its certificates, its membership."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

import structlog

from infoexchange import certificates, endings
from infoexchange.directory import Directory
from infoexchange.endings import Ending
from infoexchange.errors import ExchangeError
from infoexchange.log import half_year_end
from infoexchange.node import Node
from infoexchange_relay.config import Config

# Implementation constants
_DAY = 24 * 3600.0  # seconds: once a day is often enough to be seen, and seldom enough to be read

_log = structlog.get_logger()


def upcoming(config: Config, directory: Directory, now: datetime) -> list[Ending]:
    """Return what ends for this relay within thirty days, or has ended, soonest first.

    Raises:
        OSError: The certificate cannot be read.
        UntrustedError: `BAD_CERTIFICATE`.
    """
    step = "Have the national CA issue a certificate for `request.pem` again, put it in place and start the relay anew."
    own = certificates.from_pem(config.tls_certificate.read_bytes())[:1]
    found = endings.of_directory(directory.listing, now, party=config.name)
    party = directory.listed(config.name)
    for key in party.log_keys[:1] if party else ():
        origin = key.partition("+")[0]
        if over := half_year_end(origin):
            found.append(Ending(f"The half-year of the log {origin}", over, "Run `infoexchange-relay next-log`."))
    return endings.upcoming([*found, *endings.of_leaves(own, ["TLS"], step)], now)


def last_days(config: Config, directory: Directory) -> dict[str, datetime]:
    """Return when each kind of paper of this relay ends, by the words of `gauges.ENDINGS`; raises as `upcoming`.

    Of several CAs for one use the last counts: a successor is listed long before.
    """
    listing, party = directory.listing, directory.listed(config.name)
    (own, *_) = certificates.from_pem(config.tls_certificate.read_bytes()) or [b""]
    found = {"directory": [listing.expires_at], "certificate": [certificates.load(own).not_valid_after_utc]}
    if party:
        nation = directory.nation(party.nation)
        uses = [
            [certificates.load(ca).not_valid_after_utc for ca in cas] for cas in (nation.identity_cas, nation.tls_cas)
        ]
        found["ca"] = [max(days) for days in uses if days]
        found["membership"] = [at for at in (party.member_to, nation.member_to) if at]
        ends = [half_year_end(key.partition("+")[0]) for key in party.log_keys[:1]]
        found["log"] = [at for at in ends if at]
    return {what: min(days) for what, days in found.items() if days}


async def watch(config: Config, node: Node) -> None:
    """Log once a day what ends soon: as a warning, and as an error from a week before."""
    while True:
        now = node.clock()
        try:
            for ending in await asyncio.to_thread(upcoming, config, node.directory, now):
                level = logging.ERROR if ending.is_urgent(now) else logging.WARNING
                _log.log(
                    level, "ends_soon", what=ending.what, until=f"{ending.at:%Y-%m-%dT%H:%MZ}", days=ending.days(now)
                )
        except (OSError, ExchangeError) as problem:
            _log.error("endings_unknown", reason=type(problem).__name__)
        await asyncio.sleep(_DAY)
