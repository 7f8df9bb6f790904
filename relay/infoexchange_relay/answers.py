"""Answers: what a peer's answer to an envelope or an order says, and of whom."""

from __future__ import annotations

from infoexchange.chunks import is_missing
from infoexchange.errors import ExchangeError, Reason, UnavailableError
from infoexchange.ports import Result

# A peer that says this speaks of itself, not of the envelope.
OF_THE_PEER = frozenset({Reason.DIRECTORY_EXPIRED})


def is_of_the_peer(result: Result) -> bool:
    """Whether a peer could not take something, for a reason that is not known to be that thing's own."""
    if is_missing(result) or not isinstance(result, ExchangeError):
        return False
    return isinstance(result, UnavailableError) or result.reason in OF_THE_PEER


def is_fault(result: object) -> bool:
    """Whether a relay says that it failed inside on this very item, or call; whoever is merely away says nothing."""
    return isinstance(result, ExchangeError) and (result.reason, result.field) == (Reason.UNAVAILABLE, "relay")


def reason_of(result: Result) -> Reason | None:
    """Return why something was not taken; nothing if it was."""
    return result.reason if isinstance(result, ExchangeError) else None
