"""Mailbox: what an agency does: send, receive, acknowledge, and ask what became of a message.

It speaks catalogue messages on one side and sealed bytes on the other. Everything that leaves is in the outbox first,
and nothing that was handed to the application and acknowledged is handed over again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from google.protobuf.message import Message

from infoexchange.attestation import AttestationRole
from infoexchange.bundle import KeyBundle
from infoexchange.chunks import Source
from infoexchange.delivery import Delivery, Refusal
from infoexchange.directory import Directory
from infoexchange.draft import Draft
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.flows import DEFAULT_CLOCKS, Clocks, Following, Thread
from infoexchange.grant import GRANT_LIFETIME_DEFAULT, Grant
from infoexchange.header import LIFETIME_DEFAULT
from infoexchange.keys import Identity
from infoexchange.mailbox import consent, threads
from infoexchange.mailbox.desk import Desk
from infoexchange.mailbox.inbox import Inbox
from infoexchange.mailbox.keks import Keks
from infoexchange.mailbox.notices import Notices
from infoexchange.mailbox.outbox import Outbox
from infoexchange.mailbox.recalls import Recalls
from infoexchange.mailbox.records import Records
from infoexchange.mailbox.tracing import Tracing
from infoexchange.ports import Clock, HomeRelay, Result, Spool
from infoexchange.receipt import Receipt
from infoexchange.retention import Archive
from infoexchange.suites import DEFAULT_SUITE, Suite

__all__ = ["Mailbox"]


class Mailbox(Tracing):
    """An agency's side of the exchange. Not safe for use by several threads at once.

    Attributes:
        records: What is kept of received messages, once `keep_in` was called.
    """

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
            bundles: Its own bundles, newest epoch first; the newest that has begun is signed with.
            directory: Who is who; `refresh` replaces it.
            relay: The agency's own relay, bound to the agency.
            spool: Outbox and inbox.
            clock: Gives the time now.
        """
        desk = Desk(identity, tuple(bundles), directory, relay, spool, clock)
        self._keks = Keks(desk)
        self._notices = Notices(desk)
        super().__init__(desk, Inbox(desk, self._keks, self._notices))
        self._outbox = Outbox(desk, self._keks)
        self._recalls = Recalls(desk, self._notices)
        self.records: Records | None = None

    @property
    def identity(self) -> Identity:
        """The agency's private half."""
        return self._desk.identity

    @property
    def directory(self) -> Directory:
        """Who is who, as last fetched."""
        return self._desk.directory

    @property
    def relay(self) -> HomeRelay:
        """The agency's own relay."""
        return self._desk.relay

    @property
    def spool(self) -> Spool:
        """Outbox and inbox on disk."""
        return self._desk.spool

    @property
    def refused(self) -> list[Refusal]:
        """What was fetched and could not be handed over."""
        return self._desk.refused

    def watch(self, tell: Callable[[str, int, int], None]) -> None:
        """Let `tell` know how far long work is: what it is, bytes done and bytes in all."""
        self._desk.tell = tell

    # Keeping up to date

    def refresh(self) -> None:
        """Fetch newer directory versions and publish this agency's bundles; each version must follow the one held.

        Raises:
            UntrustedError: `BAD_SIGNATURE`, `DIRECTORY_ROLLBACK` or `DIRECTORY_EXPIRED`; `LOG_FORK` when there are two
                histories of the directory, or of this agency's key bundles.
            UnavailableError: The relay cannot be reached.
        """
        held = self._desk.directory
        # The relay's copy of the version held is asked for as well: another one would be a second history.
        self._desk.directory = held.advance(self._desk.relay.directories(held.version - 1))
        self._desk.directory.check_current(self._desk.clock())
        self._desk.publish()
        self._desk.keyring.clear()
        self._keks.ask()

    # Sending

    def send(
        self,
        message: Message,
        to: Sequence[str],
        *,
        in_reply_to: Delivery | None = None,
        attachments: Sequence[Source] = (),
        attest: Sequence[AttestationRole] = (),
    ) -> Receipt:
        """Seal a message for its recipients and return the relay's proof that it is durable and logged.

        Args:
            message: A catalogue message with its Handling block.
            to: Agency or group names.
            in_reply_to: The delivery that this answers; the thread is continued.
            attachments: Files that go with it, such as `infoexchange.Attachment(path)`. They are sealed into the spool
                first, which takes as much room again, and must not change meanwhile.
            attest: Roles in which this agency signs the content, beside sending it.

        Raises:
            RefusedError: A rule said no; nothing was sent. `RULE_BROKEN` also for an answer that does not fit: to
                what nobody asked, from who was not asked, or after the last one.
            UntrustedError: A key or certificate does not hold; nothing was sent.
            UnavailableError: The relay cannot be reached. What was sealed is in the outbox and goes with `flush`.
        """
        answered = in_reply_to.digest if in_reply_to else b""
        thread = in_reply_to.content.thread_id if in_reply_to else b""
        draft = Draft(message, to, thread_id=thread, in_reply_to=answered, attachments=attachments, attest=attest)
        return self._send_one(draft)

    def _send_one(self, draft: Draft) -> Receipt:
        [result] = self.send_all([draft])
        if isinstance(result, ExchangeError):
            raise result
        return result

    def send_all(self, drafts: Sequence[Draft]) -> list[Result]:
        """Seal and send many messages; return one receipt or error each, in order.

        A draft that a rule refuses does not hold up the others.
        """
        return self._outbox.send_all(drafts)

    def share_keks(self, names: Sequence[str], suite: Suite = DEFAULT_SUITE) -> list[Result]:
        """Share an epoch KEK with agencies that are written to often; return one receipt or error each.

        Once `refresh` finds that the recipient holds it, sealing to that agency in that suite costs microseconds and 48
        bytes, until either side's epoch ends. Nothing else changes for anybody.
        """
        return self._outbox.give_keks(names, suite)

    def recall(self, digest: bytes, recipients: Sequence[str] = ()) -> list[Result]:
        """Order that a message sent from here be stopped for those to whom it is not delivered yet.

        The order is durable before it goes out, and goes again with `flush` until the relay has it. What became of the
        message for each recipient is told by `outcomes`: what was delivered before stays delivered, and only a `Recall`
        message can ask for its deletion.

        Args:
            digest: The envelope's name.
            recipients: For whom; all of its recipients if none is named.

        Returns:
            The relay's proof that it has taken the order, or why it has not: after an `UnavailableError` it may later.
            One result for the order; of a blind message one for each recipient, who learns of no other.

        Raises:
            RefusedError: `NOT_ADDRESSED` when it is not in the outbox or was not sent to one who is named.
        """
        return self._recalls.order(digest, recipients)

    def flush(self, *, uploads: bool = True) -> list[Result]:
        """Send again, byte for byte, what the outbox still keeps, and say again what the relay has not taken.

        Uploads go on where they stopped, after everything else, unless they are left out.
        """
        problem: ExchangeError | None = None
        try:
            self._notices.say_orders()  # first, so that nothing leaves that was recalled before it could
        except ExchangeError as found:
            problem = found
        results = self._outbox.flush(uploads=uploads)
        if problem:
            raise problem
        if self.records is not None:
            self._desk.turn()
            self._desk.refused += self.records.state(self._desk.spool, self._desk.newest)
        self._inbox.say_all()
        return results

    # Passing on what is another agency's

    def pass_on(
        self,
        delivery: Delivery,
        to: Sequence[str],
        *,
        grant: Grant | None = None,
        lifetime: timedelta = LIFETIME_DEFAULT,
        attachments: Sequence[Source] = (),
    ) -> Receipt:
        """Pass a received message on, byte for byte and with its marks; raises as `send`.

        Whoever gets it can check that it is what the originator signed, and the way it has come.

        Args:
            delivery: The message.
            to: Agency or group names.
            grant: The originator's consent; if not given, one that came with an OnwardConsentDecision is used.
            lifetime: How long delivery is tried, at most 90 days.
            attachments: Those that came with it and are to go on: `delivery.attachments` while the relay has them, or
                the saved files. The others are left out.

        Raises:
            RefusedError: `NOT_PERMITTED` when the marks forbid it or ask for a grant that is not there, `EXPIRED` or
                `NOT_YET_VALID` when the grant does not hold now, `TOO_LARGE` after more than eight transfers,
                `RULE_BROKEN` for a file that did not come with it.
            UntrustedError: `BAD_SIGNATURE` when the originator did not sign the grant.
        """
        draft = consent.pass_on(self._desk, delivery, to, grant=grant, lifetime=lifetime)
        return self._send_one(replace(draft, attachments=attachments))

    def request_consent(self, delivery: Delivery, to: Sequence[str], *, purpose: str) -> Receipt:
        """Ask the originator of a received message for its consent to pass it on; raises as `send`.

        The answer comes as an OnwardConsentDecision; `receive` keeps the grant in it for `pass_on`.

        Args:
            delivery: The message.
            to: Agency or group names it is to be passed on to.
            purpose: Why they need it.
        """
        return self._send_one(consent.request(self._desk, delivery, to, purpose))

    def grant(
        self,
        request: Delivery,
        *,
        to: Sequence[str] = (),
        lifetime: timedelta = GRANT_LIFETIME_DEFAULT,
        conditions: str = "",
    ) -> Receipt:
        """Consent to an OnwardConsentRequest and send the signed grant to the agency that asked; raises as `send`.

        Args:
            request: The request as it was received.
            to: Agency names it may be passed on to; the proposed ones if none are given.
            lifetime: How long it may be used, at most 90 days.
            conditions: What the agency that asked, and those it passes it on to, must keep to.

        Raises:
            RefusedError: `NOT_ADDRESSED` when the information was not sent from here, `NOT_PERMITTED` when it was
                only passed on from here.
        """
        return self._send_one(consent.grant(self._desk, request, to, lifetime=lifetime, conditions=conditions))

    def deny(self, request: Delivery, *, explanation: str = "") -> Receipt:
        """Answer an OnwardConsentRequest with no; raises as `send`."""
        return self._send_one(consent.deny(request, explanation))

    # Receiving

    def receive(self) -> Iterator[Delivery]:
        """Yield what waits, one message at a time, highest precedence first.

        A message comes again, marked `repeated`, until it is acknowledged. One that does not fit what was asked and
        answered before comes too, and says why in `unexpected`. What could not be handed over is added to `refused`.

        Raises:
            UnavailableError: The relay cannot be reached.
            UntrustedError: `DIRECTORY_EXPIRED`.
        """
        self.directory.check_current(self._desk.clock())
        self.spool.forget(self._desk.clock())
        self.flush(uploads=False)  # nobody waits for hours of upload before an urgent message is seen
        yield from self._inbox.receive()
        self._outbox.flush()

    def acknowledge(self, delivery: Delivery) -> None:
        """Record that the application has the message, and keep a signed statement of it for relay and sender.

        It is durable on return, and the message is not handed over again. Statements go to the relay together: while
        `receive` goes on, when it ends, and with `flush`. Attachments not saved by then may be gone.
        """
        self._inbox.acknowledge(delivery)

    def reopen(self, raw: bytes) -> Delivery:
        """Return a message that was received before, from its envelope's bytes, verified as of when it was made.

        Neither the inbox nor the relay hears of it.

        Raises:
            ExchangeError: As for what comes in; `STALE_BUNDLE` once the keys to open it have been destroyed.
        """
        return self._inbox.reopen(raw)

    def refuse(self, delivery: Delivery, reason: Reason) -> None:
        """Record that the message cannot be taken, and keep a signed statement of it for relay and sender.

        For what the application finds out itself, above all that an attachment does not open (`BAD_CIPHERTEXT`) or is
        not the file described (`BAD_COMMITMENT`). Otherwise as `acknowledge`.
        """
        self._inbox.refuse(delivery, reason)

    # What is open

    def threads(self) -> Following:
        """Return where every request and report stands that was sent or received here, by its recipient.

        It is the same after a restart, and in whatever order messages have come.
        """
        return threads.following(self._desk)

    def overdue(self, clocks: Clocks = DEFAULT_CLOCKS) -> list[Thread]:
        """Return what should have been acknowledged, answered or clarified by now, here or elsewhere, the oldest first.

        Args:
            clocks: What is late; the default is that of the specification.
        """
        return self.threads().overdue(self._desk.clock(), clocks)

    # Keeping

    def keep_in(self, archive: Archive) -> Records:
        """Use an archive from now on: `archive` fills it, and what is destroyed in it is stated with `flush`."""
        self.records = Records(self._desk.identity, archive, self._desk.clock)
        return self.records

    def archive(self, delivery: Delivery) -> None:
        """Keep a message until its `retention_until`, or until its key is destroyed by hand; durable on return.

        Call it before `acknowledge`: what is acknowledged does not come again.

        Raises:
            UnavailableError: No archive was given, or it cannot be written.
            ExchangeError: As `Envelope.open`, if keys have gone since.
        """
        if self.records is None:
            step = "Call keep_in with an archive first."
            raise error(Reason.UNAVAILABLE, field="archive", detail="this mailbox has none", next_step=step)
        self.records.keep(delivery, *self._inbox.unlocked(delivery))
