"""Neighbours: the other relays as the directory lists them, with a connection to each."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta

from infoexchange import certificates
from infoexchange.directory import Directory
from infoexchange.listing import Party
from infoexchange.transport import RemoteRelay, open_channel
from infoexchange.transport.witness import RemoteWitness
from infoexchange_relay.batching import Batching
from infoexchange_relay.cosigned import Cosigned
from infoexchange_relay.forward import Peer
from infoexchange_relay.peers import Peers
from infoexchange_relay.quarantine import Quarantine
from infoexchange_relay.witnessing import Witnessing

# Implementation constants
_CARRY_TIMEOUT = timedelta(seconds=60)  # a full batch on a slow line
_ASK_TIMEOUT = timedelta(seconds=5)  # an agency waits for the answer


@dataclass(frozen=True)
class _Link:
    """A connection, and of what it was made: the same again is left alone."""

    party: Party
    cas: tuple[bytes, ...]
    pair: tuple[bytes, bytes] = field(repr=False)
    peer: Peer
    witness: RemoteWitness


class Neighbours:
    """Peers and witnesses of one relay.

    Attributes:
        peers: Forwards and asks.
        witnessing: Has other nations cosign.
    """

    def __init__(
        self,
        batching: Batching,
        pair: Callable[[], tuple[bytes, bytes]],
        cosigned: Cosigned,
        *,
        quarantine: Quarantine,
        witness_seconds: float,
        by_courier: Collection[str] = (),
    ) -> None:
        """Make connections for the directory in force; nothing is connected yet, and nothing begins.

        Args:
            batching: The way to the log.
            pair: Gives this relay's PEM private key and certificate.
            cosigned: Keeps what witnesses say.
            quarantine: Ends the way of what cannot go on.
            witness_seconds: Seconds between two rounds of asking for cosignatures.
            by_courier: Relays to which no network leads; they are not dialled.
        """
        self._by_courier = frozenset(by_courier)
        self._node = batching.node
        self._pair = pair
        self._metrics = batching.metrics
        self._links: dict[str, _Link] = {}
        self._links = self._linked(self._node.directory)
        self.peers = Peers([link.peer for link in self._links.values()], batching, quarantine)
        witnesses = self._witnesses(self._node.directory)
        self.witnessing = Witnessing(self._node, witnesses, cosigned, seconds=witness_seconds, nodes=batching.nodes)

    async def renew(self, directory: Directory) -> None:
        """Go on with the relays of another directory, or under another certificate of this relay.

        Those for whom nothing has changed are not disturbed. What is under way to the others is handed over again,
        which is the same as once.
        """
        self._links = self._linked(directory)
        self._metrics.know(self._links)
        self.witnessing.renew(self._witnesses(directory))
        await self.peers.renew([link.peer for link in self._links.values()])

    def _linked(self, directory: Directory) -> dict[str, _Link]:
        """Return a connection to every other relay, the old one where nothing about it has changed."""
        links: dict[str, _Link] = {}
        pair = self._pair()
        for party in directory.relays():
            if party.name == self._node.name or not party.address or party.name in self._by_courier:
                continue
            cas = directory.nation(party.nation).tls_cas
            old = self._links.get(party.name)
            same = old and (old.party, old.cas, old.pair) == (party, cas, pair)
            links[party.name] = old if old and same else self._link(party, cas, pair)
        return links

    def _link(self, party: Party, cas: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> _Link:
        roots = b"".join(certificates.to_pem(ca) for ca in cas)
        key, certificate = pair
        channel = open_channel(party.address, name=party.name, roots=roots, certificate=certificate, key=key)
        peer = Peer(
            party,
            RemoteRelay(channel, timeout=_CARRY_TIMEOUT, address=party.address),
            RemoteRelay(channel, timeout=_ASK_TIMEOUT, address=party.address, wait_for_ready=True),
            channel.close,
        )
        return _Link(party, cas, pair, peer, RemoteWitness(channel, timeout=_ASK_TIMEOUT, address=party.address))

    def _witnesses(self, directory: Directory) -> dict[str, RemoteWitness]:
        """Return the witnesses of other nations: one of the own nation never counts."""
        own = directory.listed(self._node.name)
        return {
            name: link.witness
            for name, link in self._links.items()
            if link.party.witness_keys and not (own and link.party.nation == own.nation)
        }
