"""Standing: what national CAs have revoked, as far as the bundles tell that were published here.

A revocation list names every certificate that its CA has withdrawn, also of other parties than the one whose bundle
brought it. So the newest list of each CA counts for the connections of the whole nation, from the moment it is logged.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable

from infoexchange import certificates
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import Leaf
from infoexchange.directory import Directory
from infoexchange.errors import UntrustedError
from infoexchange.node import Node

# Implementation constants
NEWS = "revoked"  # rings when a bundle was published, at every node; no party has a name without a dot

# Relays in one process must not take each other's editions for their own.
_editions = itertools.count()


class Standing:
    """The newest revocation list of each TLS CA of each nation.

    Attributes:
        edition: Another number whenever something may be revoked that was not before.
    """

    def __init__(self, node: Node) -> None:
        """Know nothing yet."""
        self._node = node
        self._lists: dict[str, tuple[bytes, ...]] = {}
        self.edition = next(_editions)

    def read(self) -> list[KeyBundle]:
        """Return the newest bundle of every party, for `learn`; it takes a moment for thousands of them."""
        names = [party.name for party in self._node.directory.listing.parties]
        return [bundle for name in names for bundle in self._node.store.bundles([name])[:1]]

    def learn(self, bundles: Iterable[KeyBundle]) -> None:
        """Take the lists of bundles that are published here."""
        directory = self._node.directory
        for bundle in bundles:
            party = directory.listed(bundle.owner)
            if party is None:
                continue
            nation, known = directory.nation(party.nation), self._lists.get(party.nation, ())
            # A list of the nation's other CAs is none here; a forged one was refused with its bundle.
            with contextlib.suppress(UntrustedError):
                lists = certificates.newest_of_each((*known, *bundle.crls), nation.tls_cas)
                if lists != known:
                    self._lists[nation.code] = lists
                    self.edition = next(_editions)

    def check(self, leaf: Leaf, nation: str, directory: Directory) -> None:
        """Return unless a list names a certificate of a nation's party, whenever it was withdrawn.

        Raises:
            UntrustedError: `REVOKED`.
        """
        cas = directory.nation(nation).tls_cas
        certificates.check_not_revoked(leaf, self._lists.get(nation, ()), cas, self._node.clock())
