"""Reminders: what an agency's keys and lists will need soon, said before it is too late; the rest is in `endings`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from infoexchange import certificates
from infoexchange.errors import ExchangeError

if TYPE_CHECKING:
    from infoexchange.home.agency import Home

# Implementation constants
_BUNDLE = timedelta(days=7)  # three days after a bundle should have been followed by the next
_LIST = timedelta(days=1)  # lists come weekly


def reminders(home: Home, unrotated: ExchangeError | None, *, now: datetime) -> list[str]:
    """Return one line for each thing that a person should do soon.

    Args:
        home: The agency.
        unrotated: Why the next bundle could not be issued, if that was tried.
        now: The time now.
    """
    lines = []
    end = home.bundle.not_after
    if now > end - _BUNDLE:
        why = unrotated.detail if unrotated else "no newer one was issued"
        step = unrotated.next_step if unrotated else f"Run: infoexchange bundle rotate --home {home.path}"
        lines.append(f"The key bundle ends on {end:%Y-%m-%d}: {why}. {step}")
    party = home.directory.listed(home.name)
    if party and home.folder.crls():
        until = certificates.list_until(home.folder.crls(), home.directory.nation(party.nation).identity_cas)
        if until and now > until - _LIST:
            lines.append(f"The revocation list ends on {until:%Y-%m-%d}. Enroll again with the next one of the CA.")
    return lines
