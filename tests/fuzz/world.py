"""World: real objects of every format, made anew for each run; nothing is committed that could grow stale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.directory import Directory
from infoexchange.draft import Draft
from infoexchange.dsse import TYPE_DIRECTORY, Dsse
from infoexchange.envelope import Envelope
from infoexchange.evidence import Evidence
from infoexchange.header import Header
from infoexchange.keys import Identity, SigningKey
from infoexchange.listing import RootKey, Roots
from infoexchange.mailbox import Mailbox
from infoexchange.ports import Sent
from infoexchange.quorum import policy_for
from infoexchange.recall import Recalled, RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import OpStatus, Precedence
from infoexchange.suites import HYBRID, HYBRID_KEM, OFFERED
from infoexchange.testing import Exchange
from infoexchange.tlog import Proof
from messages import officer_acknowledgement
from onward_case import Case

SENDER, RECIPIENT, SECOND = "desk.oncb.th.example", "intel.c04.vn.example", "duty.guard.vn.example"


@dataclass(frozen=True)
class World:
    """What one small exchange has made.

    Attributes:
        exchange: The community and its nodes.
        envelopes: In every suite, to one and to two, one pruned, one blind, one under an epoch KEK, some of a batch.
        onward: Three transfers under grants, in an exchange of its own.
        evidence: A whole file, one without ciphertext, and one of what was passed on.
        root: A root key that alone may sign `roots`' directory: signing again after a change must be quick.
        roots: The trust anchor of that one key.
    """

    exchange: Exchange
    envelopes: tuple[Envelope, ...]
    onward: Case
    evidence: tuple[Evidence, ...]
    root: SigningKey
    roots: Roots

    @classmethod
    def make(cls) -> World:
        """Send, receive, acknowledge and witness once."""
        exchange = Exchange({"th": ["desk.oncb", "desk.navy"], "vn": ["intel.c04", "duty.guard"]})
        for name in (RECIPIENT, SECOND):
            exchange.mailbox(name)
        receipt = exchange.mailbox(SENDER).send(officer_acknowledgement(), to=[RECIPIENT, SECOND])
        for name in (RECIPIENT, SECOND):
            for delivery in exchange.mailbox(name).receive():
                exchange.mailbox(name).acknowledge(delivery)
        exchange.witness()
        evidence = exchange.mailbox(SENDER).evidence(receipt.subject.envelope_digest)
        sealed = [_sealed(exchange, suite.number, (RECIPIENT, SECOND)) for suite in OFFERED]
        sealed += [_sealed(exchange, HYBRID.number, (RECIPIENT,)), sealed[0].prune({SECOND})]
        root = SigningKey.make(HYBRID_KEM)
        roots = Roots(1, (RootKey(root.public, "one alone", HYBRID_KEM.number),))
        onward = Case()
        files = (evidence, evidence.sealed(), onward.proven())
        return cls(exchange, (*sealed, *_sent(exchange)), onward, files, root, roots)

    @property
    def now(self) -> datetime:
        """When everything was made."""
        return self.exchange.clock()

    @property
    def bundles(self) -> tuple[KeyBundle, ...]:
        """One for each member."""
        return tuple(member.bundle for member in self.exchange.community.members.values())

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The private half of each member."""
        return tuple(member.identity for member in self.exchange.community.members.values())

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """Of every event of one message."""
        return self.evidence[0].events

    @property
    def order(self) -> RecallOrder:
        """A recall of the first envelope for two recipients."""
        member = self.exchange.community.members[SENDER]
        said = Recalled(
            envelope_digest=self.envelopes[0].digest,
            issuer=SENDER,
            issuer_bundle=member.bundle.digest,
            suite=self.envelopes[0].header.suite,
            recipients=(RECIPIENT, SECOND),
            at=self.now,
        )
        return RecallOrder.sign(said, member.identity.epochs[0])

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """Those in the receipts; their checkpoints carry witnesses' cosignatures."""
        return tuple(receipt.proof for receipt in self.receipts)

    @property
    def policies(self) -> tuple[bytes, ...]:
        """What the directory asks of each log."""
        return tuple(policy_for(self.exchange.directory, name).raw for name in self.exchange.community.log_keys)

    @property
    def contents(self) -> tuple[Content, ...]:
        """Of different shape."""
        return (
            Content.make("a.B", b"\x0a\x03abc", thread_id=bytes(16), in_reply_to=bytes(32)),
            Content.make("a.B", b""),
            Content.make("infoexchange.catalogue.v1.OfficerAcknowledgement", _payload()),
            Content.make("a.B", b"\x0a\x03abc", origin=self.onward.origin().raw, addressees=[SECOND]),
        )

    def signed_directory(self, payload: bytes) -> bytes:
        """Return a directory of any payload, signed by the one root key."""
        signature = self.root.sign(TYPE_DIRECTORY, payload)
        return Dsse.make(TYPE_DIRECTORY, payload, [(signature, self.root.key_id)]).raw

    @property
    def directory(self) -> Directory:
        """The community's directory under the one root key."""
        listing = replace(self.exchange.directory.listing, roots=self.roots)
        return Directory.parse(self.signed_directory(listing.payload), roots=self.roots)


def _payload() -> bytes:
    payload: bytes = officer_acknowledgement().SerializeToString(deterministic=True)
    return payload


def _sent(exchange: Exchange) -> list[Envelope]:
    """Envelopes that a mailbox makes in its own ways: blind, several under one signature, under a shared key."""
    sender, message = exchange.mailbox(SENDER), officer_acknowledgement()
    before = sender.spool.standing().sequence
    sender.send_all([Draft(message, [RECIPIENT, SECOND], blind=True)])
    sender.send_all([Draft(message, [RECIPIENT])] * 3)
    sender.share_keks([RECIPIENT])
    list(exchange.mailbox(RECIPIENT).receive())
    sender.refresh()
    sender.send_all([Draft(message, [RECIPIENT, SECOND])])
    newest = [Envelope.parse(sent.raw) for sent in _newest(sender, sender.spool.standing().sequence - before)]
    assert any(envelope.header.blind for envelope in newest)
    assert any(envelope.manifest.epoch_wraps for envelope in newest)
    assert any(envelope.manifest.dsse.batch for envelope in newest)
    return newest


def _newest(sender: Mailbox, count: int) -> Iterator[Sent]:
    """The last envelopes of an outbox, each of which names the one before."""
    digest = sender.spool.standing().digest
    for _ in range(count):
        sent = sender.spool.sent(digest)
        assert sent is not None
        yield sent
        digest = Envelope.parse(sent.raw).header.previous


def _sealed(exchange: Exchange, suite: int, names: tuple[str, ...]) -> Envelope:
    members, now = exchange.community.members, exchange.clock()
    header = Header(
        suite=suite,
        message_id=bytes(range(16)),
        sender=SENDER,
        sender_bundle=members[SENDER].bundle.digest,
        recipients=(),
        op_status=OpStatus.EXERCISE,
        precedence=Precedence.ROUTINE,
        created_at=now,
        expires_at=now + timedelta(days=14),
        sequence=1,
        previous=b"",
        content_commitment=b"",
    )
    content = Content.make("infoexchange.catalogue.v1.OfficerAcknowledgement", _payload())
    return Envelope.seal(content, header, [members[name].bundle for name in names], members[SENDER].identity.epochs[0])
