"""Mailbox: what an agency does: send, receive, acknowledge, and ask what became of a message.

It speaks catalogue messages on one side and sealed bytes on the other. Everything that leaves is in the outbox first,
and nothing that was handed to the application and acknowledged is handed over again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime

from google.protobuf.message import Message

from infoexchange import catalogue, suites
from infoexchange.acknowledgement import Acknowledgement, Statement
from infoexchange.bundle import KeyBundle
from infoexchange.content import THREAD_ID_SIZE, Content
from infoexchange.delivery import Delivery, Refusal, read
from infoexchange.directory import Directory
from infoexchange.draft import Draft
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, UnavailableError, error
from infoexchange.evidence import Evidence
from infoexchange.header import MESSAGE_ID_SIZE, Header
from infoexchange.keyring import Keyring
from infoexchange.keys import Identity
from infoexchange.listing import Party
from infoexchange.ports import (
    BATCH_BYTES_MAX,
    BATCH_MAX,
    Clock,
    History,
    HomeRelay,
    Notice,
    Result,
    Seen,
    Spool,
)
from infoexchange.receipt import Receipt
from infoexchange.states import Event, OpStatus, Precedence
from infoexchange.suites import Entropy

# Implementation constants
_SAY_AT = 64  # statements that go to the relay together; one commit there serves them all


class Mailbox:
    """An agency's side of the exchange. Not safe for use by several threads at once."""

    def __init__(
        self,
        identity: Identity,
        bundles: Sequence[KeyBundle],
        directory: Directory,
        relay: HomeRelay,
        spool: Spool,
        *,
        clock: Clock,
    ) -> None:
        """Hold the ports.

        Args:
            identity: The agency's private half.
            bundles: Its own bundles, newest epoch first; the first is sealed and signed with.
            directory: Who is who; `refresh` replaces it.
            relay: The agency's own relay, bound to the agency.
            spool: Outbox and inbox.
            clock: Gives the time now.
        """
        self.identity = identity
        self.directory = directory
        self.relay = relay
        self.spool = spool
        self.refused: list[Refusal] = []
        self._own = {bundle.digest: bundle for bundle in bundles}
        self._newest = bundles[0]
        self._keyring = Keyring()
        self._clock = clock
        self._entropy: Entropy = secrets.token_bytes
        self._unsaid = 0

    # Keeping up to date

    def refresh(self) -> None:
        """Fetch newer directory versions and publish this agency's bundle; each version must follow the one held.

        Raises:
            UntrustedError: `BAD_SIGNATURE`, `DIRECTORY_ROLLBACK` or `DIRECTORY_EXPIRED`.
            UnavailableError: The relay cannot be reached.
        """
        self.directory = self.directory.advance(self.relay.directories(self.directory.version))
        self.directory.check_current(self._clock())
        for result in self.relay.publish([self._newest]):
            if isinstance(result, ExchangeError):
                raise result
        self._keyring.clear()

    # Sending

    def send(self, message: Message, to: Sequence[str], *, in_reply_to: Delivery | None = None) -> Receipt:
        """Seal a message for its recipients and return the relay's proof that it is durable and logged.

        Args:
            message: A catalogue message with its Handling block.
            to: Agency or group names.
            in_reply_to: The delivery that this answers; the thread is continued.

        Raises:
            RefusedError: A rule said no; nothing was sent.
            UntrustedError: A key or certificate does not hold; nothing was sent.
            UnavailableError: The relay cannot be reached. What was sealed is in the outbox and goes with `flush`.
        """
        answered = in_reply_to.digest if in_reply_to else b""
        thread = in_reply_to.content.thread_id if in_reply_to else b""
        [result] = self.send_all([Draft(message, to, thread_id=thread, in_reply_to=answered)])
        if isinstance(result, ExchangeError):
            raise result
        return result

    def send_all(self, drafts: Sequence[Draft]) -> list[Result]:
        """Seal and send many messages; return one receipt or error each, in order.

        A draft that a rule refuses does not hold up the others.
        """
        now = self._clock()
        self.directory.check_current(now)
        ready: list[tuple[Draft, list[Party]] | ExchangeError] = []
        for draft in drafts:
            try:
                ready.append((draft, draft.recipients(self.directory, self.identity.name, now=now)))
            except ExchangeError as problem:
                ready.append(problem)
        names = [party.name for item in ready if isinstance(item, tuple) for party in item[1]]
        self._keyring.learn(names, self.relay)
        sealed: list[Envelope | ExchangeError] = []
        standing = self.spool.standing()
        sequence, previous = standing.sequence, standing.digest
        for item in ready:
            if isinstance(item, tuple):
                try:
                    envelope = self._seal(*item, sequence=sequence + 1, previous=previous, now=now)
                except ExchangeError as problem:
                    sealed.append(problem)
                else:
                    sequence, previous = sequence + 1, envelope.digest
                    sealed.append(envelope)
            else:
                sealed.append(item)
        envelopes = [item for item in sealed if isinstance(item, Envelope)]
        self.spool.put(envelopes)  # before any network use, so that a retry sends the same bytes
        results = self._submit([(e.digest, e.raw) for e in envelopes])
        return [results[item.digest] if isinstance(item, Envelope) else item for item in sealed]

    def _seal(
        self, draft: Draft, parties: Sequence[Party], *, sequence: int, previous: bytes, now: datetime
    ) -> Envelope:
        handling = catalogue.handling_of(draft.message)
        content = Content.make(
            catalogue.schema_of(draft.message),
            draft.message.SerializeToString(deterministic=True),
            thread_id=draft.thread_id or self._entropy(THREAD_ID_SIZE),
            in_reply_to=draft.in_reply_to,
            entropy=self._entropy,
        )
        header = Header(
            suite=draft.suite.number,
            message_id=self._entropy(MESSAGE_ID_SIZE),
            sender=self.identity.name,
            sender_bundle=self._newest.digest,
            recipients=(),
            op_status=OpStatus(handling.op_status),
            precedence=Precedence(handling.precedence),
            created_at=now,
            expires_at=now + draft.lifetime,
            sequence=sequence,
            previous=previous,
            content_commitment=b"",
        )
        recipients = [self._keyring.to_seal_to(party, draft.suite, self.directory, now=now) for party in parties]
        keys = self._newest.keys_in(self.identity)
        return Envelope.seal(content, header, recipients, keys, entropy=self._entropy)

    def flush(self) -> list[Result]:
        """Send again, byte for byte, what the outbox still keeps, and say again what the relay has not taken."""
        results: list[Result] = []
        while unsent := self.spool.unsent(BATCH_MAX):
            found = self._submit([(sent.digest, sent.raw) for sent in unsent])
            results += found.values()
            if any(isinstance(result, UnavailableError) for result in found.values()):
                break
        self._say_all()
        return results

    def _submit(self, items: Sequence[tuple[bytes, bytes]]) -> dict[bytes, Result]:
        """Return the result of each `(digest, raw)`, in frames of at most 256 envelopes or 4 MiB, and keep it."""
        found: dict[bytes, Result] = {}
        for frame in _frames(items):
            try:
                results: Sequence[Result] = self.relay.submit([raw for _, raw in frame])
            except UnavailableError as problem:
                results = [problem] * len(frame)
            checked = [(digest, self._checked(digest, r)) for (digest, _), r in zip(frame, results, strict=True)]
            self.spool.settle(checked)
            found.update(checked)
        return found

    def _checked(self, digest: bytes, result: Result) -> Result:
        """Return a result whose receipt proves that our relay accepted this envelope; else the error."""
        if isinstance(result, ExchangeError):
            return result
        try:
            result.verify(self.directory)
            home = self.directory.party(self.identity.name, at=self._clock()).relay
            about = (result.routing.event, result.routing.this_relay, result.subject.envelope_digest)
            if about != (Event.ACCEPTED, home, digest):
                raise error(Reason.BAD_PROOF, field="receipt", detail="not our relay's acceptance of this envelope")
        except ExchangeError as problem:
            # No refusal: the relay may have it, and a newer directory may show that. It stays in the outbox.
            why = f"a receipt that does not hold: {problem.reason.word}, {problem.detail}"
            return error(Reason.UNAVAILABLE, field="receipt", detail=why)
        return result

    # Receiving

    def receive(self) -> Iterator[Delivery]:
        """Yield what waits, one message at a time, highest precedence first.

        A message comes again, marked `repeated`, until it is acknowledged. What could not be handed over is added to
        `refused`.

        Raises:
            UnavailableError: The relay cannot be reached.
            UntrustedError: `DIRECTORY_EXPIRED`.
        """
        self.directory.check_current(self._clock())
        self.spool.forget(self._clock())
        self.flush()
        for batch in self.relay.fetch():
            for raw in batch:
                delivery = self._take(raw)
                if delivery is not None:
                    yield delivery
                    if self._unsaid >= _SAY_AT:
                        self._say_all()
        self._say_all()

    def _take(self, raw: bytes) -> Delivery | None:
        """Return a delivery, or nothing once it has been dealt with here."""
        now = self._clock()
        try:
            envelope = Envelope.parse(raw)
        except ExchangeError as problem:
            self.refused.append(Refusal(b"", "", problem, signed=False))
            return None
        if self.spool.notice(envelope.digest) is not None:
            self._say_again(envelope.digest)
            return None
        header = envelope.header
        try:
            sender = self._keyring.sender_of(header, self.relay)
            envelope.verify(self.directory, sender, now=now)
        except ExchangeError as problem:
            # Nobody is shown to have made these bytes, so nobody is told: they stay with the relay until they expire.
            self.refused.append(Refusal(envelope.digest, header.sender, problem, signed=False))
            return None
        try:
            seen = self.spool.begin(envelope.digest, header.claim, header.expires_at)
            content = envelope.open(self.identity, self._own, self.directory, sender, now=now)
            message = read(header, content, self.directory, self.identity.name, now=now)
            if seen is Seen.DONE:  # another process finished it in between
                self._say_again(envelope.digest)
                return None
        except UnavailableError:
            raise  # a disk or database of ours: no fault of the message
        except ExchangeError as problem:
            # Keys that another process of this agency has made since: it, or the next connection, can open it.
            mine = problem.reason is not Reason.STALE_BUNDLE
            self.refused.append(Refusal(envelope.digest, header.sender, problem, signed=mine))
            if not mine:
                return None
            self._conclude(envelope, Event.REFUSED, reason=int(problem.reason))
            return None
        return Delivery(message, header.sender, envelope, content, repeated=seen is not Seen.NEW)

    def _say_again(self, digest: bytes) -> None:
        """Tell the relay once more of an envelope that is finished here and still waits there."""
        said = self.spool.notice(digest)
        if said is not None:
            self._say([said])

    def acknowledge(self, delivery: Delivery) -> None:
        """Record that the application has the message, and keep a signed statement of it for relay and sender.

        It is durable on return, and the message is not handed over again. Statements go to the relay together: while
        `receive` goes on, when it ends, and with `flush`.
        """
        self._conclude(delivery.envelope, Event.OPENED, commitment=delivery.envelope.header.content_commitment)

    def _conclude(self, envelope: Envelope, state: Event, *, reason: int = 0, commitment: bytes = b"") -> None:
        statement = Statement(
            envelope_digest=envelope.digest,
            issuer=self.identity.name,
            issuer_bundle=self._newest.digest,
            state=state,
            at=self._clock(),
            reason=reason,
            content_commitment=commitment,
        )
        suite = suites.suite_of(envelope.header.suite)
        acknowledgement = Acknowledgement.sign(statement, suite, self._newest.keys_in(self.identity))
        notice = Notice(envelope.digest, state, acknowledgement.raw)
        self.spool.finish(notice)
        self._unsaid += 1

    def _say_all(self) -> None:
        while unsaid := self.spool.unsaid(BATCH_MAX):
            self._say(unsaid)
        self._unsaid = 0

    def _say(self, notices: Sequence[Notice]) -> None:
        """Tell the relay; what it takes, or refuses for good, is not said again."""
        results = self.relay.acknowledge(notices)
        later = {n.digest: r for n, r in zip(notices, results, strict=True) if _is_for_later(r)}
        self.spool.said([notice.digest for notice in notices if notice.digest not in later])
        for notice, result in zip(notices, results, strict=True):
            if isinstance(result, ExchangeError) and notice.digest not in later:
                self.refused.append(Refusal(notice.digest, "", result, signed=False))
        for problem in later.values():
            if isinstance(problem, ExchangeError):
                raise problem

    # Asking afterwards

    def history(self, digest: bytes) -> History:
        """Return what both relays logged of a message, every receipt verified.

        Raises:
            RefusedError: `NOT_PERMITTED` when this agency takes no part in it.
            UntrustedError: `BAD_PROOF`, `BAD_SIGNATURE` or `UNKNOWN_PARTY`.
        """
        history = self.relay.events(digest)
        for receipt in history.events:
            receipt.verify(self.directory)
        return history.of(digest)

    def evidence(self, digest: bytes, envelope: Envelope | None = None) -> Evidence:
        """Return the evidence file of a message: everything an auditor needs, and no key.

        Args:
            digest: The envelope's name.
            envelope: The envelope, if it is not in the outbox.

        Raises:
            RefusedError: `NOT_ADDRESSED` when the envelope is neither given nor in the outbox.
        """
        sent = self.spool.sent(digest)
        if envelope is None and sent is None:
            next_step = "Check the ID, or give the envelope that was received."
            detail = f"{digest.hex()[:16]} is not in the outbox"
            raise error(Reason.NOT_ADDRESSED, field="envelope", detail=detail, next_step=next_step)
        envelope = envelope or Envelope.parse(sent.raw if sent else b"")
        history = self.history(digest)
        statements = [Acknowledgement.parse(raw) for raw in history.statements]
        wanted = {envelope.header.sender_bundle, *(s.statement.issuer_bundle for s in statements)}
        names = {envelope.header.sender, *(s.statement.issuer for s in statements)}
        found = [*self._own.values(), *self.relay.bundles(sorted(names))]
        bundles = {b.digest: b for b in found if b.digest in wanted}
        return Evidence.make(envelope, self.directory, list(bundles.values()), history)


def _frames(items: Sequence[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield runs of at most 256 envelopes or 4 MiB; a single envelope is always below that."""
    frame: list[tuple[bytes, bytes]] = []
    size = 0
    for item in items:
        if frame and (len(frame) == BATCH_MAX or size + len(item[1]) > BATCH_BYTES_MAX):
            yield frame
            frame, size = [], 0
        frame.append(item)
        size += len(item[1])
    if frame:
        yield frame


def _is_for_later(result: Result) -> bool:
    """Whether the same statement may be taken later: the relay is away, or its clock is behind ours."""
    return isinstance(result, UnavailableError) or (
        isinstance(result, ExchangeError) and result.reason is Reason.NOT_YET_VALID
    )
