"""Queues: a relay's store filled with what waits for one agency, as the relay itself would have filled it.

Sealing and verifying a million messages takes an hour, and what waits is not verified again: so one message is sealed,
and the others differ from it in their number alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from infoexchange.content import Content
from infoexchange.envelope import Envelope
from infoexchange.header import LIFETIME_DEFAULT, Header
from infoexchange.ledger import Ledger
from infoexchange.node import Node, intake
from infoexchange.receipt import Receipt
from infoexchange.states import OpStatus, Precedence
from infoexchange.suites import HYBRID_KEM
from infoexchange.testing.sites import Sites
from infoexchange.transport import utc_now
from infoexchange_relay.config import load
from infoexchange_relay.stores import FileLatch, open_store

_BATCH = 4096  # messages in one transaction
_RELAY = "relay.th.example"


class Filled:
    """A queue that is full, and more messages for it."""

    def __init__(self, sites: Sites, sender: str, recipient: str) -> None:
        """Say who writes to whom."""
        self.sender = sender
        self.recipient = recipient
        self._from = sites.community.members[sender]
        self._to = sites.community.members[recipient].bundle
        self._sequence, self._previous = 0, b""

    def seal(self, precedence: Precedence) -> Envelope:
        """Return the sender's next message."""
        now = utc_now()
        self._sequence += 1
        header = Header(
            suite=HYBRID_KEM.number,
            message_id=secrets.token_bytes(16),
            sender=self.sender,
            sender_bundle=self._from.bundle.digest,
            recipients=(),
            op_status=OpStatus.EXERCISE,
            precedence=precedence,
            created_at=now,
            expires_at=now + LIFETIME_DEFAULT,
            sequence=self._sequence,
            previous=self._previous,
            content_commitment=b"",
        )
        content = Content.make("infoexchange.catalogue.v1.Note", b"\x0a\x05hello")
        envelope = Envelope.seal(content, header, [self._to], self._from.identity.epochs[0])
        self._previous = envelope.digest
        return envelope

    @staticmethod
    def digest_of(raw: bytes) -> bytes:
        """Return the digest of a message as it was fetched."""
        return Envelope.parse(raw).digest


def fill(sites: Sites, sender: str, recipient: str, count: int, progress: Callable[[int], object]) -> Filled:
    """Have so many ROUTINE messages wait for an agency, while its relay does not run."""
    filled, config = Filled(sites, sender, recipient), load(sites.config(_RELAY), {})
    community = sites.community
    with closing(open_store(config.place)) as store:
        ledger = Ledger(community.log_keys[_RELAY], store, FileLatch(config.latch), clock=utc_now)
        node = Node(ledger, community.directory, clock=utc_now)
        node.start()
        for name in (sender, recipient):
            party = node.directory.party(name, at=utc_now())
            node.commit([node.decide_bundle(party, community.members[name].bundle)])
        one = filled.seal(Precedence.ROUTINE)
        number = one.header.message_id
        for start in range(0, count, _BATCH):
            jobs = []
            for n in range(start, min(start + _BATCH, count)):
                envelope = Envelope.parse(one.raw.replace(number, n.to_bytes(16, "big")))
                job = intake._take(node, envelope, (recipient,), "", ())
                jobs.append(replace(job, late=None))
            results = node.commit(jobs)
            assert all(isinstance(result, Receipt) for result in results)
            progress(start + len(jobs))
    return filled
