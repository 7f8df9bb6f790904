"""Files: evidence about one message, made part by part, true or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.audit import Entry, Operation, Routing, Subject
from infoexchange.bundle import KeyBundle
from infoexchange.envelope import Envelope
from infoexchange.listing import Listing
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import HYBRID_KEM
from infoexchange.tlog import Cosignature, Proof, merkle
from infoexchange.v1 import evidence_pb2
from making.case import Case, at
from making.envelopes import message
from making.onward import JUDGED
from making.parties import signed
from making.world import NOW, RECIPIENT, Makers

HERE, THERE, ELSEWHERE = "relay.th.example", "relay.vn.example", "relay.la.example"
SOON = timedelta(minutes=1)
Change = Callable[[Any], object]


class Files:
    """One message from SENDER to RECIPIENT and SECOND, and the parts of evidence about it, true or not."""

    def __init__(self, makers: Makers, envelope: Envelope | None = None) -> None:
        """Seal the message, and log it as its relays would."""
        self.makers = makers
        self.envelope = envelope or makers.seal(message(), [RECIPIENT])
        self.header = self.envelope.header
        self.recipients = tuple(r.name for r in self.header.recipients)
        self.accepted = self.receipt(Event.ACCEPTED, statement=self.header.grant)
        self.opened = self.statement() if not envelope else None

    def routing(self, event: Event, **others: Any) -> Routing:
        """Return the group that an entry about the message has."""
        made = Routing(
            event=event,
            logged_at=self.header.created_at + SOON,
            this_relay=HERE,
            sender=self.header.sender,
            sender_nation=self.header.sender.split(".")[2],
            recipients=self.recipients,
            op_status=self.header.op_status,
            precedence=self.header.precedence,
            expires_at=self.header.expires_at,
        )
        return replace(made, **others)

    def receipt(
        self,
        event: Event,
        *,
        statement: bytes = b"",
        about: Any = (),
        seen_by: Sequence[str] = (),
        place: int = 0,
        **others: Any,
    ) -> Receipt:
        """Return the receipt of an entry that stands alone in the log of its relay, cosigned by others' witnesses."""
        community, header = self.makers.community, self.header
        routing = self.routing(event, **others)
        subject = Subject(
            envelope_digest=self.envelope.digest,
            message_id=header.message_id,
            envelope_size=self.envelope.manifest.body_length,
            sender_bundle=header.sender_bundle,
            recipient_bundles=tuple(r.bundle for r in header.recipients),
            suite=header.suite,
            directory_digest=self.makers.directory.digest,
            statement_digest=statement,
        )
        entry = Entry.make(routing, replace(subject, **dict(about)), Operation())
        leaves = [*(merkle.leaf_hash(bytes([n])) for n in range(place)), entry.leaf_hash]
        log = community.log_keys[routing.this_relay]
        checkpoint = log.sign(place + 1, merkle.root(leaves), now=routing.logged_at)
        signers = [signer for name in seen_by for signer in community.witness_keys[name].signers]
        lines = [Cosignature.sign(checkpoint, one, now=routing.logged_at).signature for one in signers]
        noted = checkpoint.with_signatures(lines) if lines else checkpoint
        return Receipt.make(entry, Proof.make(place, merkle.inclusion_proof(place, leaves), noted.raw))

    def statement(self, by: str = RECIPIENT, **others: Any) -> Acknowledgement:
        """Return what a recipient states, OPENED if nothing else is said."""
        said = Statement(
            envelope_digest=self.envelope.digest,
            issuer=by,
            issuer_bundle=self.makers.members[by].bundle.digest,
            state=Event.OPENED,
            at=NOW + SOON,
            content_commitment=self.header.content_commitment,
        )
        said = replace(said, **others)
        return Acknowledgement.sign(said, HYBRID_KEM, self.makers.members[said.issuer].identity.epochs[0])

    def logged(self, statement: Acknowledgement, **others: Any) -> Receipt:
        """Return the entry with which the recipient's relay logs a statement."""
        said = statement.statement
        fields = {"this_relay": THERE, "recipients": (said.issuer,), "reason": said.reason, **others}
        return self.receipt(said.state, statement=statement.digest, **fields)

    def file(
        self,
        events: Sequence[Receipt] | None = None,
        statements: Sequence[Acknowledgement | RecallOrder] | None = None,
        change: Change = lambda _: None,
        bundles: Sequence[KeyBundle] = (),
    ) -> bytes:
        """Return a file: accepted and opened if nothing else is given."""
        if statements is None:
            statements = [self.opened] if self.opened else []
        if events is None:
            events = [self.accepted, *map(self.logged, statements)]
        wanted = {self.header.sender, *(one.statement.issuer for one in statements)}
        found = [*bundles, *(self.makers.members[name].bundle for name in sorted(wanted))]
        made = evidence_pb2.Evidence(
            version=1,
            envelope_digest=self.envelope.digest,
            envelope=self.envelope.raw,
            certificates=sorted({der for bundle in found for der in bundle.certificates}),
            bundles=sorted({bundle.raw for bundle in found}),
            crls=sorted({crl for bundle in found for crl in bundle.crls}),
            directory=self.makers.directory.raw,
            statements=sorted(one.raw for one in statements),
        )
        for event in events:
            made.events.add().ParseFromString(event.raw)
        change(made)
        return made.SerializeToString(deterministic=True)

    def case(
        self, name: str, expect: str, step: int | str, comment: str, raw: bytes, *held: bytes, now: datetime = JUDGED
    ) -> Case:
        """Return a case of section Evidence, or of another that `step` names."""
        where = step if isinstance(step, str) else f"Evidence {step}"
        blocks, more = (raw, *held), (("world", "three"), at(now))
        return Case(f"evidence-{name}", "evidence.verify", expect, blocks, comment, where, more)

    def directory(self, change: Callable[[Listing], Listing]) -> bytes:
        """Return another directory, signed by enough root keys."""
        listing = change(self.makers.directory.listing)
        return signed(listing.payload, *self.makers.community.root_keys[:2])
