"""Chain: an agency's key bundles one after the other (SPEC section Chain of bundles).

Each bundle names the one before, so whoever holds two can tell whether the agency shows two histories; and a newer one
may withdraw those before it. Only bundles that their owner is shown to have signed count: anybody could make up others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error

# Specification constants
PUBLISHED_AHEAD_MAX = timedelta(days=30)  # a bundle further ahead would outlive a change of keys that nobody plans yet


def in_use(bundles: Sequence[KeyBundle], now: datetime) -> KeyBundle:
    """Return the own bundle to sign with: the newest that has begun, of at least one, newest first."""
    return next((bundle for bundle in bundles if bundle.not_before <= now), bundles[-1])


def check_follows(bundle: KeyBundle, others: Iterable[KeyBundle], directory: Directory, *, now: datetime) -> None:
    """Raise unless a bundle fits to the others of its owner.

    Spec: section Chain of bundles, steps 1 and 2.

    Raises:
        UntrustedError: `LOG_FORK` when its owner has signed another history too.
    """
    for other in others:
        if other.owner != bundle.owner or other.digest == bundle.digest:
            continue
        older, newer = sorted((bundle, other), key=lambda b: b.epoch)
        # (1) one bundle for each epoch
        twice = older.epoch == newer.epoch
        # (2) each names the one before
        torn = older.epoch + 1 == newer.epoch and newer.previous != older.digest
        if (twice or torn) and is_proven(other, directory, now):
            what = (
                f"two bundles of epoch {newer.epoch}" if twice else f"epoch {newer.epoch} names another one before it"
            )
            raise error(
                Reason.LOG_FORK,
                field="bundle",
                detail=f"{bundle.owner} shows two histories: {what}",
                next_step="Keep both bundles as evidence, and ask the agency and its national CA which one stands.",
            )


def check_not_withdrawn(bundle: KeyBundle, others: Iterable[KeyBundle], directory: Directory, *, at: datetime) -> None:
    """Raise if a newer bundle of the same owner has withdrawn this one by the time `at`.

    Spec: section Chain of bundles, step 3.

    Raises:
        UntrustedError: `REVOKED`.
    """
    # (3) withdrawn by a bundle of higher epoch that its owner is shown to have signed
    for other in withdrawing(bundle, others):
        if at > other.not_before + CLOCK_SKEW and is_proven(other, directory, at):
            raise withdrawn(bundle, other)


def withdrawing(bundle: KeyBundle, others: Iterable[KeyBundle]) -> list[KeyBundle]:
    """Return those of some bundles, not verified, that claim to withdraw one."""
    return [o for o in others if o.owner == bundle.owner and o.epoch > bundle.epoch and o.withdraws_older]


def withdrawn(bundle: KeyBundle, by: KeyBundle) -> ExchangeError:
    """Return the error for a bundle that another has withdrawn."""
    return error(
        Reason.REVOKED,
        field="bundle",
        detail=f"epoch {bundle.epoch} of {bundle.owner}, withdrawn by itself with epoch {by.epoch}",
    )


def is_proven(bundle: KeyBundle, directory: Directory, now: datetime) -> bool:
    """Whether the owner is shown to have signed a bundle, judged as near to `now` as its time of use allows."""
    try:
        bundle.prove(directory, now=min(max(now, bundle.not_before), bundle.not_after))
    except ExchangeError:
        return False
    return True
