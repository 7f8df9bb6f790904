"""Inbox: how messages arrive: verified, opened, handed over once, and acknowledged with a signed statement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from infoexchange import suites
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.attestation import Attestation
from infoexchange.bundle import KeyBundle
from infoexchange.content import Content
from infoexchange.delivery import Delivery, Refusal, read, trace
from infoexchange.directory import Directory
from infoexchange.enclosure import Enclosure, enclosures
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.flows import Step
from infoexchange.mailbox import consent, threads
from infoexchange.mailbox.desk import Desk
from infoexchange.mailbox.keks import Keks
from infoexchange.mailbox.notices import Notices
from infoexchange.mailbox.references import check_received, unknown
from infoexchange.ports import Known, Notice, Seen
from infoexchange.states import Event
from infoexchange.wrap import EPOCH_KEK_NOTICE

# Implementation constants
_SAY_AT = 64  # statements that go to the relay together; one commit there serves them all


class Inbox:
    """The receiving side of a mailbox."""

    def __init__(self, desk: Desk, keks: Keks, notices: Notices) -> None:
        """Hold what both sides share."""
        self._desk = desk
        self._keks = keks
        self._notices = notices
        self._unsaid = 0

    def receive(self) -> Iterator[Delivery]:
        """Yield what waits; what `Mailbox.receive` promises."""
        for batch in self._desk.relay.fetch():
            for raw in batch:
                delivery = self._take(raw)
                if delivery is not None:
                    yield delivery
                    if self._unsaid >= _SAY_AT:
                        self.say_all()
        self.say_all()

    def _take(self, raw: bytes) -> Delivery | None:
        """Return a delivery, or nothing once it has been dealt with here."""
        desk = self._desk
        now = desk.clock()
        try:
            envelope = Envelope.parse(raw)
        except ExchangeError as problem:
            desk.refused.append(Refusal(b"", "", problem, signed=False))
            return None
        if desk.spool.notice(envelope.digest) is not None:
            self._say_again(envelope.digest)
            return None
        header = envelope.header
        try:
            sender = desk.keyring.sender_of(header, desk.relay)
            envelope.verify(desk.directory, sender, now=now)
            desk.keyring.check_not_withdrawn(sender, desk.directory, at=header.created_at)
        except ExchangeError as problem:
            # Nobody is shown to have made these bytes, so nobody is told: they stay with the relay until they expire.
            desk.refused.append(Refusal(envelope.digest, header.sender, problem, signed=False))
            return None
        opened = False
        try:
            known = Known(header.sender, header.op_status)
            seen = desk.spool.begin(envelope.digest, header.claim, header.expires_at, known)
            keks = self._keks.needed(envelope)
            content = envelope.open(desk.identity, desk.own, desk.directory, sender, now=now, epoch_keks=keks)
            attestations = self._attestations(envelope, content, sender)
            opened = True
            if content.schema == EPOCH_KEK_NOTICE:
                self._keks.take(envelope, content)
                self._conclude(envelope, Event.OPENED, commitment=header.content_commitment)
                return None
            message = read(header, content, desk.directory, desk.identity.name, now=now)
            origin = trace(envelope, content, message, desk.directory)
            consent.keep(desk, sender, message)
            if seen is Seen.DONE:  # another process finished it in between
                self._say_again(envelope.digest)
                return None
            if not check_received(desk, header, message, content.in_reply_to, now=now):
                # It comes again with the next call, by then perhaps after the message it refers to.
                desk.refused.append(Refusal(envelope.digest, header.sender, unknown(message), signed=False))
                return None
            attached, again = self._attached(envelope, content), seen is not Seen.NEW
            found = (attached, attestations, again, origin)
            delivery = Delivery(message, header.sender, envelope, content, now, *found)
            return replace(delivery, unexpected=threads.received(desk, delivery))
        except UnavailableError:
            raise  # a disk or database of ours: no fault of the message
        except ExchangeError as problem:
            # Keys that another process of this agency has made since: it, or the next connection, can open it.
            mine = opened or problem.reason is not Reason.STALE_BUNDLE
            desk.refused.append(Refusal(envelope.digest, header.sender, problem, signed=mine))
            if mine:
                self._conclude(envelope, Event.REFUSED, reason=int(problem.reason))
        return None

    def _attached(self, envelope: Envelope, content: Content) -> tuple[Enclosure, ...]:
        return enclosures(content, envelope.manifest, self._desk.relay.chunks, self._desk.spool.stash)

    def unlocked(self, delivery: Delivery) -> tuple[bytes, KeyBundle, Directory]:
        """Return the content key of a delivery, and the sender's bundle and the directory it was judged by."""
        desk, envelope = self._desk, delivery.envelope
        sender = desk.keyring.sender_of(envelope.header, desk.relay)
        keks, then = self._keks.needed(envelope), delivery.received_at
        key = envelope.unlock(desk.identity, desk.own, desk.directory, sender, now=then, epoch_keks=keks)
        return key, sender, desk.directory

    def reopen(self, raw: bytes) -> Delivery:
        """Return a message that was received before; what `Mailbox.reopen` promises."""
        desk, envelope = self._desk, Envelope.parse(raw)
        header = envelope.header
        sender, keks = desk.keyring.sender_of(header, desk.relay), self._keks.needed(envelope)
        made = header.created_at
        content = envelope.open(desk.identity, desk.own, desk.directory, sender, now=made, epoch_keks=keks)
        attestations = self._attestations(envelope, content, sender)
        message = read(header, content, desk.directory, desk.identity.name, now=made)
        origin = trace(envelope, content, message, desk.directory)
        attached, then = self._attached(envelope, content), desk.clock()
        return Delivery(message, header.sender, envelope, content, then, attached, attestations, True, origin)

    def _attestations(self, envelope: Envelope, content: Content, sender: KeyBundle) -> tuple[Attestation, ...]:
        """Return the attestations of opened content, every one verified.

        Raises:
            UntrustedError: `BAD_SIGNATURE` when one does not hold.
            RefusedError: `STALE_BUNDLE` while its signer's keys are missing.
            MalformedError: One is no attestation.
        """
        desk, header = self._desk, envelope.header
        found = []
        # (9) whoever signed it beside the sender signed this content
        for raw in content.attestations:
            attestation = Attestation.parse(raw)
            bundle: KeyBundle | None = sender
            if attestation.signer_bundle != sender.digest:
                bundle = desk.keyring.find(attestation.signer, attestation.signer_bundle, desk.relay)
            if bundle is None:
                detail = f"the keys of {attestation.signer} are missing"
                raise error(Reason.STALE_BUNDLE, field="attestation.signer_bundle", detail=detail)
            try:
                desk.keyring.check_not_withdrawn(bundle, desk.directory, at=header.created_at)
                attestation.verify(desk.directory, bundle, header)
            except ExchangeError as problem:  # one word for all: the content is not signed as it says
                detail = f"{attestation.role.name} {attestation.signer}: {problem.reason.word}, {problem.detail}"
                raise error(Reason.BAD_SIGNATURE, field="attestation", detail=detail) from None
            found.append(attestation)
        return tuple(found)

    def _say_again(self, digest: bytes) -> None:
        """Tell the relay once more of an envelope that is finished here and still waits there."""
        said = self._desk.spool.notice(digest)
        if said is not None:
            self._notices.say([said])

    def acknowledge(self, delivery: Delivery) -> None:
        """Record that the application has the message, and keep a signed statement of it for relay and sender.

        It is durable on return, and the message is not handed over again. Statements go to the relay together: while
        `receive` goes on, when it ends, and with `flush`.
        """
        step = threads.came(self._desk, delivery)
        commitment = delivery.envelope.header.content_commitment
        self._conclude(delivery.envelope, Event.OPENED, commitment=commitment, step=step)

    def refuse(self, delivery: Delivery, reason: Reason) -> None:
        """Record that the application cannot take the message; what `Mailbox.refuse` promises."""
        self._conclude(delivery.envelope, Event.REFUSED, reason=int(reason), step=threads.came(self._desk, delivery))

    def _conclude(
        self, envelope: Envelope, state: Event, *, reason: int = 0, commitment: bytes = b"", step: Step | None = None
    ) -> None:
        self._desk.turn()
        statement = Statement(
            envelope_digest=envelope.digest,
            issuer=self._desk.identity.name,
            issuer_bundle=self._desk.newest.digest,
            state=state,
            at=self._desk.clock(),
            reason=reason,
            content_commitment=commitment,
        )
        suite = suites.suite_of(envelope.header.suite)
        acknowledgement = Acknowledgement.sign(statement, suite, self._desk.keys)
        notice = Notice(envelope.digest, state, acknowledgement.raw)
        self._desk.spool.finish(notice, step)
        self._unsaid += 1

    def say_all(self) -> None:
        """Tell the relay what it has not taken yet of what became of messages."""
        self._notices.say_all()
        self._unsaid = 0
