"""Node: what a country's relay decides (SPEC section Relay).

The rules are here; sockets, threads and disks are the business of the program that embeds them. Every `decide` verifies
and returns a `Job`; nothing is written before the job's changes go through `Ledger.commit`, so that deciding may run in
many threads and committing in one.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from infoexchange.audit import Routing, Subject
from infoexchange.bundle import KeyBundle
from infoexchange.chunks import Depot
from infoexchange.directory import Directory
from infoexchange.errors import ExchangeError, Reason
from infoexchange.ledger import Ledger
from infoexchange.listing import Party
from infoexchange.node import (
    approvals,
    attachments,
    bulletin,
    cosigned,
    handover,
    housekeeping,
    intake,
    pruning,
    reading,
    recalls,
    salvage,
    statements,
)
from infoexchange.node.attachments import PartyChunks
from infoexchange.node.desk import Desk, Job
from infoexchange.ports import Change, Clock, History, Notice, Result, Store, Waiting
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import Entropy
from infoexchange.tlog import Checkpoint, merkle

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
        max_uncosigned: timedelta | None = None,
    ) -> None:
        """Hold the ports; call `start` before anything else.

        Args:
            ledger: The audit log.
            directory: Who is who.
            depot: Where attachments are kept; without one, envelopes that name some are not taken.
            clock: Gives the time now.
            entropy: Source of random bytes.
            max_uncosigned: How long entries may be without a quorum of witnesses; then nothing new is taken until they
                are cosigned. Without a limit the relay goes on.
        """
        super().__init__(ledger, directory, depot, clock=clock, entropy=entropy)
        self.max_uncosigned = max_uncosigned

    def start(self, predecessor: bytes | None = None) -> None:
        """Check the data, sign what a crash left unsigned, and log genesis and directory if they are new.

        Args:
            predecessor: For a log that follows a lost one: the last checkpoint that is known of that, empty if none is.
                A second entry, RECOVERY, names it.

        Raises:
            UnavailableError: `LOG_STOPPED` when the data must not be used.
            UntrustedError: `UNKNOWN_PARTY` when the directory does not list this relay; `BAD_SIGNATURE`,
                `DIRECTORY_ROLLBACK` or `LOG_FORK` when it does not follow the last version in the log.
        """
        self.ledger.load()
        with self.ledger.alone():  # no other node's version comes in between
            for last in self.store.exhibits(Event.DIRECTORY_VERSION)[-1:]:
                self.directory.check_follows(last)
            now = self.clock()
            self.directory.party(self.name, at=now)
            genesis = self._genesis(now)
            recovered = [] if predecessor is None else [self._recovery(predecessor, now)]
            self.ledger.commit([genesis, *recovered, bulletin.directory_change(self, self.directory)])
        self.adopt(self.directory)

    def _genesis(self, now: datetime) -> Change:
        """Return the first entry of a log; of one that follows a closed log it names the last checkpoint of that."""
        routing = Routing(event=Event.LOG_GENESIS, logged_at=now, this_relay=self.name)
        if not self.ledger.closed:
            return self.change(routing, Subject(directory_digest=self.directory.digest), GENESIS)
        last = self.ledger.closed[-1].checkpoint
        subject = Subject(directory_digest=self.directory.digest, statement_digest=sha256(last.raw).digest())
        # By its text, which stays when it is cosigned: the entry is written once.
        return replace(self.change(routing, subject, sha256(last.note.text).digest()), exhibit=last.raw)

    def close_log(self) -> Checkpoint:
        """End this log for good with an entry LOG_CLOSE, and return its last checkpoint; `start` begins the next.

        Raises:
            UnavailableError: As `Ledger.commit`.
        """
        routing = Routing(event=Event.LOG_CLOSE, logged_at=self.clock(), this_relay=self.name)
        subject = Subject(directory_digest=self.directory.digest)
        with self.ledger.alone():  # no other node's entries come in between
            self.ledger.commit([self.change(routing, subject, self._closing)])
            return self.ledger.close()

    @property
    def _closing(self) -> bytes:
        """Names this log's LOG_CLOSE entry."""
        return sha256(self.ledger.origin.encode()).digest()

    def _recovery(self, predecessor: bytes, now: datetime) -> Change:
        """Return the change that names the log before this one."""
        routing = Routing(event=Event.RECOVERY, logged_at=now, this_relay=self.name)
        said = sha256(predecessor).digest() if predecessor else b""
        subject = Subject(directory_digest=self.directory.digest, statement_digest=said)
        return replace(self.change(routing, subject, GENESIS), exhibit=predecessor)

    def salvage(self, lost: Store) -> Iterator[Result]:
        """Take what waits in the data of the log before this one; yield what became of each, to be told.

        Envelopes that went out after that data was copied go out again: whoever has them knows them by their digests.
        """
        for job in salvage.salvage(self, lost):
            yield job if isinstance(job, ExchangeError) else self.commit([job])[0]

    def prune(self, before: datetime, policy: str) -> Iterator[int]:
        """Erase the records of messages of which all was logged before a time; the log says so first.

        Leaves, tiles and every proof stay. Once begun it may be broken off; the same call goes on.

        Args:
            before: At least `pruning.KEPT_MIN` ago.
            policy: The rule under which that is done, in one line.

        Yields:
            How many records are erased so far; 0 when the log has said so.

        Raises:
            RefusedError: `NOT_PERMITTED` when that is too young, or nothing can be erased; `TOO_LARGE`.
            MalformedError: `BAD_FIELD` when no rule is named.
            UnavailableError: As `Ledger.commit`.
        """
        told = pruning.order(self, before, policy)
        [result] = self.commit([pruning.decide(self, told)])
        if isinstance(result, ExchangeError):
            raise result
        yield 0
        yield from pruning.carry_out(self, told)

    def commit(self, jobs: Sequence[Job]) -> list[Result]:
        """Return the result of each job, all of them durable, logged and signed; raises as `Ledger.commit`."""
        return [result for _, result in self.settle(jobs)]

    def settle(self, jobs: Sequence[Job]) -> list[tuple[Job, Result]]:
        """Return each job as it was written, with its result; everything else as `commit`."""
        done = dict(self._write([(place, job) for place, job in enumerate(jobs) if not job.last]))
        waiting = [(place, job) for place, job in enumerate(jobs) if job.last]
        while waiting:
            # Of several about one envelope each is decided with the ones before it written.
            first = {job.changes[0].digest: place for place, job in reversed(waiting)}
            done |= self._write([(place, job) for place, job in waiting if place in first.values()])
            waiting = [(place, job) for place, job in waiting if place not in done]
            self.recalls_taken += len(first)
        return [done[place] for place in range(len(jobs))]

    def _write(self, jobs: Sequence[tuple[int, Job]]) -> Iterator[tuple[int, tuple[Job, Result]]]:
        """Yield the place, the job as written and the result of each of some jobs, all in one transaction."""
        with self.ledger.alone() as others_wrote:
            if others_wrote:
                if self.store.history(self._closing):
                    raise self.ledger.ended()  # the one that wrote LOG_CLOSE died before it closed the log
                bulletin.check_newest(self, [job for _, job in jobs])
                self.recalls_taken += 1  # perhaps an order: whoever decided before looks again
            final = [_decided(job) for _, job in jobs]
            written = [job for job in final if isinstance(job, Job)]
            starts = itertools.accumulate((len(job.changes) for job in written), initial=0)
            answers = [start + job.answer for start, job in zip(starts, written, strict=False)]
            results = iter(self.ledger.commit([change for job in written for change in job.changes], answers))
        for (place, _), job in zip(jobs, final, strict=True):
            yield place, (job, next(results)) if isinstance(job, Job) else (Job(()), job)

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

    def check_standing(self, party: Party) -> None:
        """Return unless its national CA has revoked the identity that a party's newest bundle names.

        Such a party gets no envelopes until it has published keys under another identity.

        Raises:
            UntrustedError: `REVOKED`.
        """
        bulletin.check_standing(self, party)

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

    def uncosigned(self) -> timedelta:
        """Return the age of the oldest entry that no quorum of witnesses has cosigned; zero if there is none."""
        return cosigned.uncosigned(self, self.clock())

    def decide_notice(self, caller: Party, notice: Notice) -> Job:
        """Return the job that a notice makes: DELIVERED, with OPENED or REFUSED if signed; a recall, or an approval.

        Spec: section Relay, steps 5 to 14.

        Raises:
            ExchangeError: `NOT_ADDRESSED` when the caller is no recipient, `NOT_PERMITTED` when it may not recall the
                envelope, and whatever the statement is refused for.
        """
        if notice.state is Event.RECALLED:
            return recalls.decide_recall(self, caller, notice)
        if notice.state is Event.AUDIT_DISCLOSURE:
            return approvals.decide_approval(self, caller, notice)
        return statements.decide_notice(self, caller, notice)

    def forwarded(self, peer: str, digest: bytes, receipt: Receipt) -> Job:
        """Return the job that a peer's receipt makes, once the receipt has been verified.

        Raises:
            UntrustedError: `BAD_PROOF` when the receipt is about something else, and whatever it is refused for.
        """
        return handover.forwarded(self, peer, digest, receipt)

    def ended(self, event: Event, party: str, digest: bytes, reason: Reason) -> Job:
        """Return the job that ends an envelope's way to a party here: REFUSED by a peer, EXPIRED or UNDELIVERABLE.

        Raises:
            RefusedError: `NOT_ADDRESSED` when no such envelope was accepted here.
        """
        return handover.ended(self, event, party, digest, reason)

    def expired(self, item: Waiting) -> Job:
        """Return the job that ends the wait of an envelope or of a recall order whose time has run out."""
        peer = recalls.peer_of(item.party)
        if peer:
            return recalls.failed(self, peer, recalls.order_in(self, item), Reason.EXPIRED)
        if item.damaged:  # also the time that seems to have run out
            return self.ended(Event.UNDELIVERABLE, item.party, item.digest, Reason.MALFORMED)
        return self.ended(Event.EXPIRED, item.party, item.digest, Reason.EXPIRED)

    def orders(self, peer: str, *, limit: int) -> Sequence[RecallOrder]:
        """Return recall orders that wait for a peer."""
        waiting = self.store.waiting(recalls.orders_for(peer), limit=limit)
        return recalls.orders_in(self, waiting)

    def recall_forwarded(self, peer: str, order: RecallOrder, receipt: Receipt) -> Job:
        """Return the job that a peer's receipt for a recall order makes, once the receipt has been verified.

        Raises:
            UntrustedError: `BAD_PROOF` when the receipt is about something else, and whatever it is refused for.
        """
        return recalls.forwarded(self, peer, order, receipt)

    def recall_failed(self, peer: str, order: RecallOrder, reason: Reason) -> Job:
        """Return the job that a peer's refusal of a recall order makes."""
        return recalls.failed(self, peer, order, reason)

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

    def configured(self, settings: bytes, software: str) -> Job | None:
        """Return the job that logs the settings in force, if they or the software are others than were last logged.

        Args:
            settings: SHA-256 of them.
            software: Its version.
        """
        return housekeeping.configured(self, settings, software)

    def peer_seen(self, checkpoint: Checkpoint) -> Job:
        """Return the job that logs a neighbour's verified checkpoint; of one hour, the first is logged."""
        return housekeeping.peer_seen(self, checkpoint)

    def shown(self, request: bytes, detail: str) -> Job:
        """Return the job that logs what the operator shows of this log, before it is shown.

        Args:
            request: 32 random bytes that name it; the same again gives the receipt of the first.
            detail: What is shown, and to whom.

        Raises:
            MalformedError: `BAD_FIELD`.
        """
        return housekeeping.shown(self, request, detail)

    def adopt(self, directory: Directory) -> None:
        """Follow a directory version from now on; it is in the log already, and no other job is under way."""
        self.directory = directory
        # Its own, not the last: another node may have logged a newer one, which this one has to take as well.
        self.directory_place = max(self.store.history(directory.digest), default=-1)

    def directories(self, after: int) -> list[bytes]:
        """Return every directory version logged here after version `after`, ascending."""
        return bulletin.directories(self, after)

    def history(self, caller: Party, digest: bytes) -> History:
        """Return all that was logged here of an envelope, for a party that takes part in it.

        Raises:
            RefusedError: `NOT_PERMITTED`, also when there is no such envelope.
        """
        return reading.history(self, caller, digest)

    def checkpoint(self, origin: str = "") -> bytes:
        """Return the newest signed checkpoint, cosigned once it is, or the last one of a log that is closed.

        Raises:
            MalformedError: `BAD_FIELD` for a log that is not this relay's.
        """
        return reading.checkpoint(self, origin)

    def consistency(self, old_size: int, size: int, origin: str = "") -> list[bytes]:
        """Return hashes which show any caller that the log has only grown, or that it has not.

        Raises:
            MalformedError: `BAD_FIELD` unless 0 < `old_size` < `size` and `size` is signed; for a log that is not
                this relay's.
        """
        return reading.consistency(self, old_size, size, origin)


def _decided(job: Job) -> Job | ExchangeError:
    """Return a job as it is to be written, or why it is not after all."""
    try:
        return job.late() if job.late else job
    except ExchangeError as problem:
        return problem
