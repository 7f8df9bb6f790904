"""Rotation: when an agency's next keys begin, and when the secrets of older ones are destroyed (SPEC section Rotation).

The owner's side of a chain of bundles. Destroying the key that opens is the only forward secrecy there is: what was
sealed to it can then be opened by nobody, whoever takes the machine. Nothing here touches a disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.header import LIFETIME_MAX
from infoexchange.keys import EpochKeys, Identity

# Specification constants
PUBLISHED_BEFORE = timedelta(hours=48)  # a relay that was out over a weekend learns the new keys before they are used
# What was sealed in the last moment of use, by a clock that is behind, may live its longest, and our clock be ahead.
OPENING_KEPT = LIFETIME_MAX + 2 * CLOCK_SKEW

# Implementation constants
ROTATE_BEFORE = timedelta(days=10)  # a relay or an agency may be out for a week and still learn the new bundle in time


def is_due(newest: KeyBundle, now: datetime) -> bool:
    """Whether it is time for the next bundle."""
    return now >= newest.not_after - ROTATE_BEFORE


def start_of_next(newest: KeyBundle, now: datetime) -> datetime:
    """Return the first moment of use of the next bundle: 48 hours from now, but not after the newest has ended."""
    return max(now, min(now + PUBLISHED_BEFORE, newest.not_after))


def remaining(identity: Identity, bundles: Sequence[KeyBundle], now: datetime) -> Identity:
    """Return an identity without the secrets that nobody may use any more.

    Spec: section Rotation, steps 1 and 2.

    Args:
        identity: The private half of an agency.
        bundles: Its bundles, newest first.
        now: The time to judge by; the caller makes sure that it is not a clock that has run ahead.
    """
    kept = [_remaining(keys, _end_of(keys.epoch, bundles), now) for keys in identity.epochs]
    # The newest stays as a place in the numbering, if empty: no epoch is ever used twice.
    held = tuple(keys for keys in kept if keys.opening or keys is kept[0])
    return identity if held == identity.epochs else replace(identity, epochs=held)


def _end_of(epoch: int, bundles: Sequence[KeyBundle]) -> datetime | None:
    """Return when the use of an epoch ended; nothing where its bundle is still to be made."""
    # Keys without a bundle of their own ended no later than the next that there is.
    return next((bundle.not_after for bundle in reversed(bundles) if bundle.epoch >= epoch), None)


def _remaining(keys: EpochKeys, end: datetime | None, now: datetime) -> EpochKeys:
    # (1) what signs, and what makes epoch KEKs, when nobody would accept anything signed with it any more
    if end is None or now <= end + CLOCK_SKEW:
        return keys
    # (2) what opens, when nothing sealed to it can still be on its way
    opening = {} if now > end + OPENING_KEPT else keys.opening
    return replace(keys, signing={}, wrapping=b"", opening=opening)
