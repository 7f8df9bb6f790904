"""Keyring: the published keys of others, fetched once and verified before every use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from infoexchange import chain
from infoexchange.bundle import KeyBundle
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.header import Header
from infoexchange.listing import Party
from infoexchange.ports import BATCH_MAX, Bulletin
from infoexchange.suites import Suite


class Keyring:
    """Bundles by owner, as the agency's own relay hands them out."""

    def __init__(self) -> None:
        """Start empty."""
        self._known: dict[str, list[KeyBundle]] = {}

    def clear(self) -> None:
        """Forget everything: newer bundles may have been published."""
        self._known.clear()

    def learn(self, names: Sequence[str], bulletin: Bulletin) -> None:
        """Fetch the bundles of parties that are not known yet; they are verified when used."""
        missing = sorted({name for name in names if name not in self._known})
        for start in range(0, len(missing), BATCH_MAX):
            wanted = missing[start : start + BATCH_MAX]
            for bundle in bulletin.bundles(wanted):
                if bundle.owner in wanted:
                    self._known.setdefault(bundle.owner, []).append(bundle)

    def to_seal_to(self, party: Party, suite: Suite, directory: Directory, *, now: datetime) -> KeyBundle:
        """Return the newest bundle of a recipient that verifies now; it and the directory must accept the suite.

        An older one that accepts it does not count: its owner may have given up a suite for a reason.

        Raises:
            RefusedError: `SUITE_NOT_ACCEPTED`, or `STALE_BUNDLE` when none was published.
            UntrustedError: `LOG_FORK` when the recipient's bundles tell two histories.
            ExchangeError: Why the newest one cannot be used, when none can.
        """
        directory.listing.check_suite(suite, field="suite")
        problem: ExchangeError | None = None
        known = sorted(self._known.get(party.name, []), key=lambda b: b.epoch, reverse=True)
        for bundle in known:
            try:
                bundle.verify(directory, now=now)
                chain.check_not_withdrawn(bundle, known, directory, at=now)
            except ExchangeError as refused:
                problem = problem or refused
            else:
                chain.check_follows(bundle, known, directory, now=now)
                bundle.opening_key(suite)
                return bundle
        raise problem or error(
            Reason.STALE_BUNDLE,
            field="to",
            detail=f"no keys of {party.name} are to be had",
            next_step="Try again in a minute; if it stays so, ask that agency to connect once, which publishes them.",
        )

    def check_not_withdrawn(self, bundle: KeyBundle, directory: Directory, *, at: datetime) -> None:
        """Raise `REVOKED` if the owner of a bundle had withdrawn it by the time `at`, with a newer one known here."""
        chain.check_not_withdrawn(bundle, self._known.get(bundle.owner, []), directory, at=at)

    def sender_of(self, header: Header, bulletin: Bulletin) -> KeyBundle:
        """Return the bundle that a header names, not verified yet; `UNAVAILABLE` while it is not to be had."""
        return self.named(header.sender, header.sender_bundle, bulletin, "header.sender_bundle")

    def named(self, owner: str, digest: bytes, bulletin: Bulletin, where: str) -> KeyBundle:
        """Return the bundle of a party that the field `where` names, not verified yet; raises as `sender_of`."""
        bundle = self.find(owner, digest, bulletin)
        if bundle is None:
            raise error(Reason.UNAVAILABLE, field=where, detail=f"the keys of {owner} are missing")
        return bundle

    def find(self, owner: str, digest: bytes, bulletin: Bulletin) -> KeyBundle | None:
        """Return one bundle of a party, not verified yet; nothing while it is not to be had."""
        self.learn([owner], bulletin)
        for bundle in self._known.get(owner, []):
            if bundle.digest == digest:
                return bundle
        self._known.pop(owner, None)  # it may have been published since; ask again next time
        return None
