"""Node: what a country's relay decides (SPEC section Relay).

The rules are here; sockets, threads and disks are the business of the program that embeds them. Every `decide` verifies
and returns a `Job`; nothing is written before the job's changes go through `Ledger.commit`, so that deciding may run in
many threads and committing in one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from infoexchange.audit import Routing, Subject
from infoexchange.bundle import KeyBundle
from infoexchange.chunks import Depot
from infoexchange.directory import Directory
from infoexchange.errors import Reason
from infoexchange.ledger import Ledger
from infoexchange.listing import Party
from infoexchange.node import attachments, bulletin, handover, intake, reading, statements
from infoexchange.node.attachments import PartyChunks
from infoexchange.node.desk import Desk, Job
from infoexchange.ports import Change, Clock, History, Notice, Result, Waiting
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import Entropy
from infoexchange.tlog import merkle

__all__ = ["GENESIS", "Job", "Node"]

GENESIS = merkle.EMPTY_ROOT  # names the one LOG_GENESIS entry: no envelope can have this digest


class Node(Desk):
    """One relay's rules, for the parties of one directory."""

    def __init__(
        self,
        ledger: Ledger,
        directory: Directory,
        depot: Depot | None = None,
        *,
        clock: Clock,
        entropy: Entropy = secrets.token_bytes,
    ) -> None:
        """Hold the ports; call `start` before anything else.

        Args:
            ledger: The audit log.
            directory: Who is who.
            depot: Where attachments are kept; without one, envelopes that name some are not taken.
            clock: Gives the time now.
            entropy: Source of random bytes.
        """
        super().__init__(ledger, directory, depot, clock=clock, entropy=entropy)

    def start(self) -> None:
        """Check the data, sign what a crash left unsigned, and log genesis and directory if they are new.

        Raises:
            UnavailableError: `LOG_STOPPED` when the data must not be used.
            UntrustedError: `UNKNOWN_PARTY` when the directory does not list this relay; `BAD_SIGNATURE`,
                `DIRECTORY_ROLLBACK` or `LOG_FORK` when it does not follow the last version in the log.
        """
        self.ledger.load()
        for last in self.store.exhibits(Event.DIRECTORY_VERSION)[-1:]:
            self.directory.check_follows(last)
        now = self.clock()
        self.directory.party(self.name, at=now)
        routing = Routing(event=Event.LOG_GENESIS, logged_at=now, this_relay=self.name)
        genesis = self.change(routing, Subject(directory_digest=self.directory.digest), GENESIS)
        self.ledger.commit([genesis, bulletin.directory_change(self, self.directory)])

    def commit(self, jobs: Sequence[Job]) -> list[Result]:
        """Return the result of each job, all of them durable, logged and signed; raises as `Ledger.commit`."""
        changes: list[Change] = []
        answers: list[int] = []
        for job in jobs:
            answers.append(len(changes) + job.answer)
            changes += job.changes
        return self.ledger.commit(changes, answers)

    def decide(self, caller: Party, raw: bytes) -> Job:
        """Return the job that accepts an envelope, once every rule has been checked.

        Spec: section Relay, steps 1 to 4.

        Args:
            caller: Who hands it over, from the TLS identity.
            raw: Envelope bytes.

        Raises:
            ExchangeError: Of any reason but those that only recipients can find.
        """
        return intake.decide(self, caller, raw)

    def served(self, caller: Party, waiting: Waiting) -> bytes:
        """Return a waiting envelope as the caller is to see it: with the wraps it serves and no others."""
        return intake.served(self, caller, waiting)

    def chunks(self, caller: Party) -> PartyChunks:
        """Return the attachment bytes that a party may write and read here."""
        return PartyChunks(self, caller)

    def sweep(self) -> int:
        """Delete the attachments that nobody needs; return how many.

        Raises:
            UnavailableError: The store cannot be used.
            UntrustedError: `DIRECTORY_EXPIRED`, then nothing is deleted.
        """
        return attachments.sweep(self)

    def decide_notice(self, caller: Party, notice: Notice) -> Job:
        """Return the job that an acknowledgement makes: DELIVERED, then OPENED or REFUSED if that was signed.

        Spec: section Relay, steps 5 to 7.

        Raises:
            ExchangeError: `NOT_ADDRESSED` when the caller is no recipient, and whatever the statement is refused for.
        """
        return statements.decide_notice(self, caller, notice)

    def forwarded(self, peer: str, digest: bytes, receipt: Receipt) -> Job:
        """Return the job that a peer's receipt makes, once the receipt has been verified.

        Raises:
            UntrustedError: `BAD_PROOF` when the receipt is about something else, and whatever it is refused for.
        """
        return handover.forwarded(self, peer, digest, receipt)

    def ended(self, event: Event, party: str, digest: bytes, reason: Reason) -> Job:
        """Return the job that ends an envelope's way to a party here: REFUSED by a peer, or EXPIRED.

        Raises:
            RefusedError: `NOT_ADDRESSED` when no such envelope was accepted here.
        """
        return handover.ended(self, event, party, digest, reason)

    def decide_bundle(self, caller: Party, bundle: KeyBundle) -> Job:
        """Return the job that publishes a key bundle.

        Raises:
            ExchangeError: `NOT_PERMITTED` when the caller is neither the owner nor a relay, and whatever the bundle is
                refused for.
        """
        return bulletin.decide_bundle(self, caller, bundle)

    def decide_directory(self, raw: bytes) -> Job:
        """Return the job that logs the next directory version, or the one in force again.

        Whoever hands it over: it proves itself. Once the job is committed, `adopt` puts the version in force.

        Raises:
            ExchangeError: `BAD_SIGNATURE`, `DIRECTORY_ROLLBACK` or `LOG_FORK`, and what the payload is refused for.
        """
        return bulletin.decide_directory(self, raw)

    def adopt(self, directory: Directory) -> None:
        """Follow a directory version from now on; it is in the log already, and no other job is under way."""
        self.directory = directory

    def directories(self, after: int) -> list[bytes]:
        """Return every directory version logged here after version `after`, ascending."""
        return bulletin.directories(self, after)

    def history(self, caller: Party, digest: bytes) -> History:
        """Return all that was logged here of an envelope, for a party that takes part in it.

        Raises:
            RefusedError: `NOT_PERMITTED`, also when there is no such envelope.
        """
        return reading.history(self, caller, digest)
