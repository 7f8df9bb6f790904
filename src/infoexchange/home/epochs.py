"""Epochs: an agency's keys in turn: issued ahead, destroyed when they are over, and never used twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from infoexchange import chain, rotation
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError
from infoexchange.home.folder import Folder
from infoexchange.keys import EpochKeys, Identity
from infoexchange.suites import OFFERED, Suite, suite_of


class Epochs:
    """The part of an agency's folder that changes with time; what changes it is locked against other processes."""

    def __init__(self, folder: Folder, identity: Identity, directory: Directory, bundles: Sequence[KeyBundle]) -> None:
        """Hold what was read; use `open` or `enroll` to get one."""
        self.folder = folder
        self.path = folder.path
        self.identity = identity
        self.directory = directory
        self.bundles = tuple(bundles)
        self.unrotated: ExchangeError | None = None  # why the next bundle could not be issued, if that was tried

    @property
    def name(self) -> str:
        """The agency's name."""
        return self.identity.name

    @property
    def bundle(self) -> KeyBundle:
        """The newest own bundle; it may not have begun yet."""
        return self.bundles[0]

    def rotate(self, *, now: datetime, suites: Sequence[Suite] = ()) -> bool:
        """Keep the keys up to date; return whether the bundle of a new epoch was issued.

        The next one is issued ten days before the newest ends, begins 48 hours later, and is published by the caller.
        Secrets that nobody may use any more are destroyed. Where the next one cannot be issued now, because a token or
        a passphrase is missing, that is no problem before the newest has ended; `reminders` names it. The new epoch
        offers `suites`; without them, what the one before offered.

        Raises:
            ExchangeError: The keys have ended, and new ones cannot be issued.
        """
        # Under an expired directory nothing could be sent, and a clock that is far ahead must not destroy keys.
        if now >= self.directory.listing.expires_at:
            return False
        if not rotation.is_due(self.bundle, now) and not self._over(now):
            return False
        with self.folder.locked():
            self._reload()  # another process may have done it since this one read the folder
            self._destroy(now)
            due = rotation.is_due(self.bundle, now)
            if due:
                try:
                    self._issue(rotation.start_of_next(self.bundle, now), suites)
                except ExchangeError as problem:
                    if now > self.bundle.not_after:
                        raise
                    self.unrotated, due = problem, False
            self._destroy(now)  # once more: what kept the place of the newest is not needed now
        return due

    def issue_next(
        self, *, now: datetime, suites: Sequence[Suite] = (), withdraw: bool = False, at_once: bool = False
    ) -> KeyBundle:
        """Issue the bundle of the next epoch, whether it is time or not, and return it.

        Args:
            now: The time now.
            suites: What the new epoch offers, if not what the one before did.
            withdraw: Withdraw all older bundles, because somebody else may have their keys; begins at once.
            at_once: Begin now and not in 48 hours.

        Raises:
            UntrustedError: `DIRECTORY_EXPIRED`.
            UnavailableError: The token that holds the identity key cannot be used.
        """
        self.directory.check_current(now)
        with self.folder.locked():
            self._reload()
            self._destroy(now)
            start = now if withdraw or at_once else rotation.start_of_next(self.bundle, now)
            self._issue(start, suites, withdraw=withdraw)
            self._destroy(now)
        return self.bundle

    def go_on_after(self, published: Sequence[KeyBundle], *, now: datetime) -> KeyBundle | None:
        """Issue a bundle after those that the world has and this folder has not; nothing where there are none.

        After an older copy of the folder was put back, or its keys were made anew, epochs that others know are missing
        here. Nothing sealed to them can be opened any more; what matters is that no epoch comes twice.

        Args:
            published: The agency's bundles, as its relay has them.
            now: The time now.

        Raises:
            UntrustedError: `DIRECTORY_EXPIRED`.
            UnavailableError: The token that holds the identity key cannot be used.
        """
        self.directory.check_current(now)
        with self.folder.locked():
            self._reload()
            theirs = {b.digest for b in published}
            shown = [b for b in published if b.owner == self.name and chain.is_proven(b, self.directory, now)]
            newest = max(shown, key=lambda b: b.epoch, default=None)
            if newest is None or newest.digest in {b.digest for b in self.bundles}:
                return None
            lost = [b for b in self.bundles if b.digest not in theirs]
            kept = [b for b in self.bundles if b.digest in theirs]
            # The keys first: a bundle without keys is removed by the next call, keys without a bundle might be used.
            held = [keys for keys in self.identity.epochs if keys.epoch in {b.epoch for b in kept}]
            self._put_keys(newest.epoch + 1, held)
            for bundle in lost:
                self.folder.remove_bundle(bundle)
            self.bundles = tuple(kept)
            self._issue(now, after=newest)
        return self.bundle

    def destroy_old(self, *, now: datetime) -> list[int]:
        """Destroy the secrets that nobody may use any more; return the epochs of which some were.

        Raises:
            UntrustedError: `DIRECTORY_EXPIRED`: by a clock that is far ahead nothing is destroyed.
        """
        self.directory.check_current(now)
        with self.folder.locked():
            self._reload()
            return self._destroy(now)

    def _reload(self) -> None:
        self.identity, self.bundles = self.folder.identity(), self.folder.bundles()

    def _put_identity(self, identity: Identity) -> None:
        self.folder.write_identity(identity)
        self.identity = identity

    def _put_keys(self, epoch: int, held: Sequence[EpochKeys], suites: Sequence[Suite] = ()) -> None:
        """Make the keys of an epoch, durable at once, beside those of the epochs that are kept."""
        # What was sealed in a suite that is offered no more is still acknowledged in it.
        closing = [suite for keys in held for suite in keys.offered]
        before = [suite_of(number) for number in self.bundles[0].accept_suites] if self.bundles else OFFERED
        fresh = EpochKeys.make(epoch, suites=suites or before, closing=closing)
        self._put_identity(replace(self.identity, epochs=(fresh, *held)))

    def _issue(
        self,
        start: datetime,
        suites: Sequence[Suite] = (),
        *,
        withdraw: bool = False,
        after: KeyBundle | None = None,
    ) -> None:
        """Issue the next bundle. The lock is held."""
        previous = after or (self.bundles[0] if self.bundles else None)
        epoch = previous.epoch + 1 if previous else 1
        # The keys become durable before the bundle that promises them. A crash in between leaves keys without a
        # bundle; the next call makes the bundle of those keys, but not after a theft: the thief may have them too.
        if withdraw or self.identity.epochs[0].epoch < epoch:
            self._put_keys(epoch, [keys for keys in self.identity.epochs if keys.epoch < epoch], suites)
        bundle = KeyBundle.issue(
            self.identity,
            self.folder.leaves()[:2],
            self.folder.crls(),
            now=start,
            previous=previous,
            withdraw=withdraw,
        )
        self.folder.write_bundle(bundle)
        self.bundles = (bundle, *self.bundles)

    def _over(self, now: datetime) -> bool:
        """Whether there are secrets to destroy."""
        return rotation.remaining(self.identity, self.bundles, now) != self.identity

    def _destroy(self, now: datetime) -> list[int]:
        """Destroy secrets that are over. The lock is held; a crash leaves all of them, or a bundle without keys."""
        remaining = rotation.remaining(self.identity, self.bundles, now)
        left = {keys.epoch: keys for keys in remaining.epochs}
        changed = [keys.epoch for keys in self.identity.epochs if left.get(keys.epoch) != keys]
        if changed:
            self._put_identity(remaining)
        opened = {keys.epoch for keys in remaining.epochs if keys.opening}
        for bundle in self.bundles[1:]:  # the newest keeps the place in the chain
            if bundle.epoch not in opened:
                self.folder.remove_bundle(bundle)
        self.bundles = (self.bundles[0], *(b for b in self.bundles[1:] if b.epoch in opened))
        return changed
