"""Exchange: relays and agencies of several nations in one process, on the real rules, with no network and no disk."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from infoexchange.attachment import AttachmentRef, verify_block
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.chunks import Chunks, upload
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, RefusedError, UnavailableError
from infoexchange.ledger import Ledger
from infoexchange.listing import Party, Role
from infoexchange.mailbox import Mailbox
from infoexchange.node import Job, Node
from infoexchange.ports import BATCH_MAX, History, HomeRelay, Notice, Result, Store, Waiting
from infoexchange.quorum import policy_for
from infoexchange.states import Event
from infoexchange.suites import OFFERED, Suite
from infoexchange.testing.clock import FakeClock
from infoexchange.testing.community import Community
from infoexchange.testing.depot import MemoryDepot
from infoexchange.testing.memory import MemoryLatch, MemoryStore
from infoexchange.testing.spool import MemorySpool
from infoexchange.tlog import Checkpoint, Cosignature
from infoexchange.witness import Cosigner


class Exchange:
    """A whole community in memory, for tests of programs that embed this library.

    Example:
        exchange = Exchange({"th": ["desk.oncb"], "vn": ["intel.c04"]})
        receipt = exchange.mailbox("desk.oncb.th.example").send(message, to=["intel.c04.vn.example"])
        [delivery] = exchange.mailbox("intel.c04.vn.example").receive()
    """

    def __init__(
        self,
        agencies: Mapping[str, Sequence[str]],
        *,
        clock: FakeClock | None = None,
        suites: Sequence[Suite] = OFFERED,
        community: Community | None = None,
    ) -> None:
        """Make the community, in which everybody offers and accepts `suites`, and start one node per nation.

        A `community` that was made before is taken as it is; `agencies` and `suites` then change nothing.
        """
        self.clock = clock or FakeClock()
        self.community = community or Community.make(agencies, now=self.clock(), suites=suites)
        self.directory = self.community.directory
        self.depots: dict[str, MemoryDepot] = {}
        self.nodes = {name: self._node(name) for name in self.community.log_keys}
        self._mailboxes: dict[str, Mailbox] = {}
        self._seen: dict[tuple[str, str], MemoryLatch] = defaultdict(MemoryLatch)

        for name, member in self.community.members.items():
            party = self.directory.party(name, at=self.clock())
            self.node_of(name).commit([self.node_of(name).decide_bundle(party, member.bundle)])

    def restart(self, relay: str) -> None:
        """End a node and start it anew on what it had made durable."""
        self.nodes[relay] = self._node(
            relay, self.nodes[relay].store, MemoryLatch(self.nodes[relay].ledger.checkpoint())
        )

    def _node(self, name: str, store: Store | None = None, latch: MemoryLatch | None = None) -> Node:
        keys = self.community.log_keys[name]
        ledger = Ledger(keys, store or MemoryStore(), latch or MemoryLatch(), clock=self.clock)
        depot = self.depots.setdefault(name, MemoryDepot(clock=self.clock))
        node = Node(ledger, self.directory, depot, clock=self.clock)
        node.start()
        return node

    def node_of(self, agency: str) -> Node:
        """Return the node that holds an agency's mailbox."""
        return self.nodes[self.directory.party(agency, at=self.clock()).relay]

    def mailbox(self, agency: str) -> Mailbox:
        """Return the agency's mailbox, its keys published."""
        if agency not in self._mailboxes:
            member = self.community.members[agency]
            relay = DirectRelay(self, self.node_of(agency), self.directory.party(agency, at=self.clock()))
            mailbox = Mailbox(member.identity, [member.bundle], self.directory, relay, MemorySpool(), clock=self.clock)
            mailbox.refresh()
            self._mailboxes[agency] = mailbox
        return self._mailboxes[agency]

    def forward(self) -> None:
        """Carry what waits at each node for another nation, as the relay program's forwarder does."""
        for node in self.nodes.values():
            for peer in self.nodes.values():
                if peer is not node:
                    self._forward(node, peer)

    def _forward(self, node: Node, peer: Node) -> None:
        us, them = (self.directory.party(n.name, at=self.clock()) for n in (node, peer))
        line = self.line(us, peer)
        try:
            self._forward_orders(node, peer.name, line)
            while waiting := node.store.waiting(peer.name, limit=BATCH_MAX):
                raws = [node.served(them, item) for item in waiting]
                signing = {digest for raw in raws for digest in Envelope.parse(raw).signing_bundles}
                line.publish([b for b in map(node.store.bundle, signing) if b is not None])
                self._carry(node, them, waiting, line)
                jobs = []
                for item, result in zip(waiting, line.submit(raws), strict=True):
                    if isinstance(result, UnavailableError):
                        return
                    if isinstance(result, ExchangeError):
                        jobs.append(node.ended(Event.REFUSED, peer.name, item.digest, result.reason))
                    else:
                        jobs.append(node.forwarded(peer.name, item.digest, result))
                node.commit(jobs)
        except UnavailableError:  # the line is down; everything still waits
            return

    def _forward_orders(self, node: Node, peer: str, line: HomeRelay) -> None:
        while orders := node.orders(peer, limit=BATCH_MAX):
            issuers = {order.statement.issuer_bundle for order in orders}
            line.publish([b for b in map(node.store.bundle, issuers) if b is not None])
            notices = [Notice(order.statement.envelope_digest, Event.RECALLED, order.raw) for order in orders]
            jobs = []
            for order, result in zip(orders, line.acknowledge(notices), strict=True):
                if isinstance(result, UnavailableError):
                    return
                if isinstance(result, ExchangeError):
                    jobs.append(node.recall_failed(peer, order, result.reason))
                else:
                    jobs.append(node.recall_forwarded(peer, order, result))
            node.commit(jobs)

    def line(self, caller: Party, node: Node) -> HomeRelay:
        """Return the way by which a relay reaches another; tests put a worse one in its place."""
        return DirectRelay(self, node, caller)

    def _carry(self, node: Node, them: Party, waiting: Sequence[Waiting], line: HomeRelay) -> None:
        """Upload the attachments of waiting envelopes to a peer."""
        own = node.chunks(them)
        for item in waiting:
            for ref in Envelope.parse(item.raw).manifest.attachments:
                upload(line.chunks, ref, partial(_ciphertext, own, ref))

    def witness(self) -> None:
        """Let every node cosign the others' checkpoints, as the relay program does every few seconds."""
        for node in self.nodes.values():
            checkpoint = Checkpoint.parse(node.ledger.checkpoint())
            for name, keys in self.community.witness_keys.items():
                if name == node.name:
                    continue
                cosigner = Cosigner(keys, lambda: self.directory, partial(self._latch, name), clock=self.clock)
                old_size = cosigner.add_checkpoint(0, [], checkpoint.raw).size
                proof = node.ledger.consistency(old_size, checkpoint.size)
                answer = cosigner.add_checkpoint(old_size, proof, checkpoint.raw)
                lines = [c.signature for c in Cosignature.parse_all(answer.lines)]
                checkpoint = checkpoint.with_signatures(lines)
            policy_for(self.directory, node.name).verify(checkpoint, now=self.clock())
            node.ledger.witnessed(checkpoint)

    def _latch(self, witness: str, origin: str) -> MemoryLatch:
        return self._seen[witness, origin]

    def expire(self) -> None:
        """Log the end of what nobody fetched in time, and delete the attachments nobody needs, as relays do."""
        for node in self.nodes.values():
            while waiting := node.store.expired(self.clock() - CLOCK_SKEW, limit=BATCH_MAX):
                node.commit([node.expired(item) for item in waiting])
            node.sweep()


def _ciphertext(chunks: Chunks, ref: AttachmentRef, offset: int, size: int) -> Iterator[bytes]:
    """Yield the bytes of verified blocks from a place where a block begins."""
    return (verify_block(ref, block.index, block) for block in chunks.read(ref, offset, size))


class DirectRelay:
    """The `HomeRelay` port straight on a node: no network, no batching, one caller at a time."""

    def __init__(self, exchange: Exchange, node: Node, party: Party) -> None:
        """Bind a party to a node."""
        self._exchange = exchange
        self._bound = node
        self._is_of_exchange = exchange.nodes.get(node.name) is node
        self._party = party

    @property
    def chunks(self) -> Chunks:
        """Attachment bytes."""
        return self._node.chunks(self._party)

    @property
    def _node(self) -> Node:
        # One of the exchange's own may have started anew; any other is meant itself.
        return self._exchange.nodes[self._bound.name] if self._is_of_exchange else self._bound

    def _commit(self, deciders: Sequence[Callable[[], Job]]) -> list[Result]:
        """Decide each item, commit what was accepted as one batch, and return the results in order."""
        decided: list[Job | ExchangeError] = []
        for decide in deciders:
            try:
                decided.append(decide())
            except ExchangeError as problem:
                decided.append(problem)
        results = iter(self._node.commit([job for job in decided if isinstance(job, Job)]))
        return [next(results) if isinstance(item, Job) else item for item in decided]

    def submit(self, envelopes: Sequence[bytes]) -> Sequence[Result]:
        """Hand over envelopes, and let the nodes carry them on."""
        results = self._commit([partial(self._node.decide, self._party, raw) for raw in envelopes])
        if self._party.role is Role.AGENCY:
            self._exchange.forward()
        return results

    def fetch(self) -> Iterator[Sequence[bytes]]:
        """Yield batches of what waits until nothing is left that was not yielded."""
        sent: set[int] = set()
        while waiting := self._node.store.waiting(self._party.name, limit=BATCH_MAX, skip=sent):
            sent |= {item.position for item in waiting}
            yield [self._node.served(self._party, item) for item in waiting]

    def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Result]:
        """Say what became of fetched envelopes, or recall some, and let the nodes carry that on."""
        results = self._commit([partial(self._node.decide_notice, self._party, notice) for notice in notices])
        if self._party.role is Role.AGENCY:
            self._exchange.forward()
        return results

    def directories(self, after: int) -> Sequence[bytes]:
        """Return every directory version after `after`."""
        return self._node.directories(after)

    def publish_directory(self, raw: bytes) -> Result:
        """Publish the next directory version, and put it in force at this node."""
        [result] = self._commit([partial(self._node.decide_directory, raw)])
        if not isinstance(result, ExchangeError):
            self._node.adopt(self._node.directory.succeed(raw))
        return result

    def bundles(self, names: Sequence[str]) -> Sequence[KeyBundle]:
        """Return bundles from every node: in one process nothing needs to be fetched first."""
        return [b for node in self._exchange.nodes.values() for b in node.store.bundles(names)]

    def publish(self, bundles: Sequence[KeyBundle]) -> Sequence[Result]:
        """Publish bundles."""
        return self._commit([partial(self._node.decide_bundle, self._party, bundle) for bundle in bundles])

    def checkpoint(self, origin: str = "") -> bytes:
        """Return the newest signed checkpoint, cosigned once it is, or the last one of a closed log."""
        return self._node.checkpoint(origin)

    def cosigned(self) -> bytes:
        """Return the newest checkpoint that enough witnesses cosigned."""
        return self._node.ledger.cosigned()

    def consistency(self, old_size: int, size: int, origin: str = "") -> Sequence[bytes]:
        """Return how two sizes of a log hang together."""
        return self._node.consistency(old_size, size, origin)

    def leaves(self, start: int, count: int) -> Sequence[bytes]:
        """Return leaves in order."""
        return self._node.store.leaves(self._node.ledger.base + start, count)

    def events(self, digest: bytes) -> History:
        """Return the history of an envelope from every node that has one."""
        own = self._node.history(self._party, digest)
        histories = [own]
        routes = [e.routing for e in own.events]
        us = self._exchange.directory.party(self._node.name, at=self._exchange.clock())
        for node in self._exchange.nodes.values():
            if node is not self._node and any(node.name in (r.previous_relay, r.next_relay) for r in routes):
                with contextlib.suppress(RefusedError):  # it may never have come there
                    histories.append(node.history(us, digest))
        return History.merged(histories)
