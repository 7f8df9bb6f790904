"""Node: what a country's relay decides (SPEC section Relay).

The rules are here; sockets, threads and disks are the business of the program that embeds them. Every `decide` verifies
and returns a `Job`; nothing is written before the job's changes go through `Ledger.commit`, so that deciding may run in
many threads and committing in one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Entry, Operation, Routing, Subject
from infoexchange.bundle import PUBLISHED_LISTS_MAX, KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.directory import Directory
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, UntrustedError, error
from infoexchange.ledger import Ledger
from infoexchange.listing import Party, Role
from infoexchange.manifest import Manifest
from infoexchange.ports import Change, Clock, History, Notice, Record, Result, Waiting
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import Entropy, suite_of
from infoexchange.tlog import merkle

GENESIS = merkle.EMPTY_ROOT  # names the one LOG_GENESIS entry: no envelope can have this digest


@dataclass(frozen=True)
class Job:
    """Changes that stand or fall together; the receipt of `changes[answer]` is the caller's result."""

    changes: tuple[Change, ...]
    answer: int = 0


class Node:
    """One relay's rules, for the parties of one directory."""

    def __init__(
        self, ledger: Ledger, directory: Directory, *, clock: Clock, entropy: Entropy = secrets.token_bytes
    ) -> None:
        """Hold the ledger and the directory; call `start` before anything else."""
        self.name = ledger.relay
        self.ledger = ledger
        self.store = ledger.store
        self.directory = directory
        self.clock = clock
        self._entropy = entropy

    def start(self) -> None:
        """Check the data, sign what a crash left unsigned, and log genesis and directory if they are new.

        Raises:
            UnavailableError: `LOG_STOPPED` when the data must not be used.
            UntrustedError: `UNKNOWN_PARTY` when the directory does not list this relay.
        """
        self.ledger.load()
        for last in self.store.exhibits(Event.DIRECTORY_VERSION)[-1:]:
            self.directory.check_follows(last)
        now = self.clock()
        self.directory.party(self.name, at=now)
        routing = Routing(event=Event.LOG_GENESIS, logged_at=now, this_relay=self.name)
        genesis = self._change(routing, Subject(directory_digest=self.directory.digest), GENESIS)
        self.ledger.commit([genesis, self.adopt(self.directory)])

    def commit(self, jobs: Sequence[Job]) -> list[Result]:
        """Return the result of each job, all of them durable, logged and signed; raises as `Ledger.commit`."""
        changes: list[Change] = []
        answers: list[int] = []
        for job in jobs:
            answers.append(len(changes) + job.answer)
            changes += job.changes
        return self.ledger.commit(changes, answers)

    # Envelopes

    def decide(self, caller: Party, raw: bytes) -> Job:
        """Return the job that accepts an envelope, once every rule has been checked.

        Spec: section Relay, steps 1 to 4.

        Args:
            caller: Who hands it over, from the TLS identity.
            raw: Envelope bytes.

        Raises:
            ExchangeError: Of any reason but those that only recipients can find.
        """
        now = self.clock()
        # (1) the envelope's own form; what was accepted once gets its receipt again, however late and whatever changed
        envelope = Envelope.parse(raw)
        header = envelope.header
        submitted = caller.role is Role.AGENCY
        if self._came_from(envelope.digest) == caller.name:
            return Job((self._event(Event.ACCEPTED, envelope.manifest),))
        self.directory.check_current(now)
        # (2) the caller is the sender, or the relay that holds the sender's mailbox
        sender = self.directory.party(header.sender, at=now)
        if caller.name != (header.sender if submitted else sender.relay) or (submitted and sender.relay != self.name):
            raise error(Reason.NOT_PERMITTED, field="header.sender", detail=f"{caller.name} for {header.sender}")
        # (3) signature, digests, standing and time
        bundle = self._bundle(header.sender_bundle, "header.sender_bundle")
        envelope.verify(self.directory, bundle, now=now)
        if submitted:
            bundle.verify(self.directory, now=now)  # what a thief dates back fails here
        # (4) recipients that exist, with a wrap for each that this relay is to serve
        starts = self._next_hops(envelope, submitted=submitted, now=now)
        came_from = "" if submitted else caller.name
        accepted = replace(
            self._event(Event.ACCEPTED, envelope.manifest, came_from=came_from),
            envelope=envelope,
            starts=starts,
            exhibit=envelope.manifest.raw,
        )
        agencies = [name for name in starts if self.directory.party(name, at=now).role is Role.AGENCY]
        queued = [self._event(Event.QUEUED, envelope.manifest, name) for name in agencies]
        # One claim for the whole job, so that its entries are refused together.
        return Job(tuple(replace(change, claim=header.claim) for change in (accepted, *queued)))

    def _next_hops(self, envelope: Envelope, *, submitted: bool, now: datetime) -> tuple[str, ...]:
        """Return whom the envelope starts to wait for: own agencies, and the relays of others."""
        wrapped = {wrap.recipient for wrap in envelope.wraps}
        hops: dict[str, None] = {}
        for recipient in envelope.header.recipients:
            if not submitted and self._relay_of(recipient.name) != self.name:
                continue  # another relay's business, also if only its directory knows the name yet
            party = self.directory.party(recipient.name, at=now)
            if party.role is not Role.AGENCY:
                raise error(Reason.UNKNOWN_PARTY, field="header.recipients", detail=f"{party.name} is not an agency")
            own = party.relay == self.name
            if (own or submitted) and party.name not in wrapped:
                raise error(Reason.BAD_SIGNATURE, field="envelope.wraps", detail=f"no wrap for {party.name}")
            if own or submitted:
                hops[party.name if own else party.relay] = None
        if not hops:
            raise error(Reason.NOT_ADDRESSED, field="header.recipients", detail=f"nobody behind {self.name}")
        return tuple(hops)

    def served(self, caller: Party, waiting: Waiting) -> bytes:
        """Return a waiting envelope as the caller is to see it: with the wraps it serves and no others."""
        envelope = Envelope.parse(waiting.raw)
        if caller.role is Role.AGENCY:
            return envelope.prune({caller.name}).raw
        served = {r.name for r in envelope.header.recipients if self._relay_of(r.name) == caller.name}
        return envelope.prune(served).raw

    # Acknowledgements

    def decide_notice(self, caller: Party, notice: Notice) -> Job:
        """Return the job that an acknowledgement makes: DELIVERED, then OPENED or REFUSED if that was signed.

        Spec: section Relay, steps 5 to 7.

        Raises:
            ExchangeError: `NOT_ADDRESSED` when the caller is no recipient, and whatever the statement is refused for.
        """
        now = self.clock()
        # (5) the caller is a recipient of an envelope that was accepted here
        manifest = self._accepted(notice.digest)
        names = {r.name for r in manifest.header.recipients} if manifest else set()
        if manifest is None or caller.name not in names or caller.relay != self.name:
            raise error(Reason.NOT_ADDRESSED, field="envelope_digest", detail=f"nothing of that name for {caller.name}")
        delivered = replace(self._event(Event.DELIVERED, manifest, caller.name), stops=(caller.name,))
        if notice.state is Event.DELIVERED:
            return Job((delivered,))
        # (6) a statement about this envelope, by this recipient, in this state
        acknowledgement = Acknowledgement.parse(notice.statement)
        said = acknowledgement.statement
        if (said.envelope_digest, said.issuer, said.state) != (notice.digest, caller.name, notice.state):
            raise error(Reason.BAD_FIELD, field="statement", detail="it speaks of something else")
        if said.state is Event.OPENED and said.content_commitment != manifest.header.content_commitment:
            raise error(Reason.BAD_COMMITMENT, field="statement.content_commitment", detail="not the one signed")
        if said.at > now + CLOCK_SKEW:
            raise error(Reason.NOT_YET_VALID, field="statement.at_ms", detail="more than five minutes in the future")
        other = Event.REFUSED if said.state is Event.OPENED else Event.OPENED
        # (7) signed with a bundle published here
        bundle = self._bundle(said.issuer_bundle, "statement.issuer_bundle")
        bundle.verify(self.directory, now=now)
        acknowledgement.verify(self.directory, bundle, suite_of(manifest.header.suite))
        subject = Subject(statement_digest=acknowledgement.digest)
        final = self._event(said.state, manifest, caller.name, reason=said.reason, subject=subject)
        # Only the store can tell, in its transaction, that the recipient has not said the other thing before.
        return Job((delivered, replace(final, exhibit=acknowledgement.raw, excludes=(other,))), answer=1)

    def _accepted(self, digest: bytes) -> Manifest | None:
        """Return the manifest kept with the acceptance of an envelope."""
        for record in self._records(digest)[:1]:
            if record.event is Event.ACCEPTED:
                return Manifest.parse(record.exhibit)
        return None

    def _came_from(self, digest: bytes) -> str:
        """Return who handed over an envelope that was accepted here before; nothing if none was."""
        for record in self._records(digest)[:1]:
            if record.event is Event.ACCEPTED:
                routing = Routing.parse(record.entry.routing)
                return routing.previous_relay or routing.sender
        return ""

    def _records(self, digest: bytes) -> Sequence[Record]:
        return self.store.records(self.store.history(digest))

    # Between relays

    def forwarded(self, peer: str, digest: bytes, receipt: Receipt) -> Job:
        """Return the job that a peer's receipt makes, once the receipt has been verified.

        Raises:
            UntrustedError: `BAD_PROOF` when the receipt is about something else, and whatever it is refused for.
        """
        receipt.verify(self.directory)
        said = receipt.routing
        manifest = self._accepted(digest)
        about = (said.event, said.this_relay, receipt.subject.envelope_digest)
        if manifest is None or about != (Event.ACCEPTED, peer, digest):
            raise error(Reason.BAD_PROOF, field="receipt", detail=f"not {peer}'s acceptance of this envelope")
        # The link into the peer's log makes the two chains of custody one.
        subject = Subject(previous_entry=receipt.link(receipt.proof.checkpoint.origin))
        change = self._event(Event.FORWARDED, manifest, peer, subject=subject)
        return Job((replace(change, stops=(peer,), exhibit=receipt.raw),))

    def ended(self, event: Event, party: str, digest: bytes, reason: Reason) -> Job:
        """Return the job that ends an envelope's way to a party here: REFUSED by a peer, or EXPIRED.

        Raises:
            RefusedError: `NOT_ADDRESSED` when no such envelope was accepted here.
        """
        manifest = self._accepted(digest)
        if manifest is None:
            raise error(Reason.NOT_ADDRESSED, field="envelope_digest", detail="no such envelope was accepted here")
        return Job((replace(self._event(event, manifest, party, reason=int(reason)), stops=(party,)),))

    # Public statements

    def decide_bundle(self, caller: Party, bundle: KeyBundle) -> Job:
        """Return the job that publishes a key bundle.

        Raises:
            ExchangeError: `NOT_PERMITTED` when the caller is neither the owner nor a relay, and whatever the bundle is
                refused for.
        """
        now = self.clock()
        self.directory.check_current(now)
        if caller.role is Role.AGENCY and caller.name != bundle.owner:
            raise error(Reason.NOT_PERMITTED, field="bundle.owner", detail=f"{caller.name} for {bundle.owner}")
        if len(bundle.crls) > PUBLISHED_LISTS_MAX:
            raise error(Reason.TOO_LARGE, field="crls", detail=f"{len(bundle.crls)}, at most {PUBLISHED_LISTS_MAX}")
        party = self.directory.party(bundle.owner, at=now)
        known = self.store.bundle(bundle.digest)
        newer = known is None or bundle.lists_made(self.directory) > known.lists_made(self.directory)
        try:
            # A peer hands on what its agencies sealed with, and the time of use may have ended on the way.
            bundle.verify(self.directory, now=min(now, bundle.not_after) if caller.role is Role.RELAY else now)
        except UntrustedError as problem:
            # A newer list that revokes a known bundle is just what a relay must learn.
            if problem.reason is not Reason.REVOKED or known is None or not newer:
                raise
        routing = Routing(
            event=Event.KEY_BUNDLE, logged_at=now, this_relay=self.name, sender=party.name, sender_nation=party.nation
        )
        subject = Subject(sender_bundle=bundle.digest, directory_digest=self.directory.digest)
        # The same bundle comes again with newer revocation lists: that is an entry of its own; older ones are none.
        if known is not None and not newer:
            bundle = known
        lists = sha256(b"".join(bundle.crls)).hexdigest()
        change = self._change(routing, subject, bundle.digest, lists)
        return Job((replace(change, exhibit=bundle.raw, bundle=bundle),))

    def adopt(self, directory: Directory) -> Change:
        """Return the change that logs a directory version; the rules use it from now on."""
        self.directory = directory
        routing = Routing(event=Event.DIRECTORY_VERSION, logged_at=self.clock(), this_relay=self.name)
        change = self._change(routing, Subject(directory_digest=directory.digest), directory.digest)
        return replace(change, exhibit=directory.raw)

    def _bundle(self, digest: bytes, where: str) -> KeyBundle:
        bundle = self.store.bundle(digest)
        if bundle is None:
            raise error(Reason.STALE_BUNDLE, field=where, detail=f"bundle {digest.hex()[:16]} was not published here")
        return bundle

    # Reading

    def directories(self, after: int) -> list[bytes]:
        """Return every directory version logged here after version `after`, ascending."""
        # Versions rise by one from entry to entry, so the newest stands last.
        logged = self.store.exhibits(Event.DIRECTORY_VERSION)
        newer = self.directory.version - after
        return list(logged[-newer:]) if newer > 0 else []

    def history(self, caller: Party, digest: bytes) -> History:
        """Return all that was logged here of an envelope, for a party that takes part in it.

        Raises:
            RefusedError: `NOT_PERMITTED`, also when there is no such envelope.
        """
        # What another thread is just committing has no checkpoint yet, so it cannot be proven yet.
        signed = self.ledger.size
        records = [record for record in self._records(digest) if record.index < signed]
        receipts = self.ledger.receipts([record.index for record in records])
        kept = [(record, r) for record, r in zip(records, receipts, strict=True) if self._may_see(caller, r.routing)]
        # Sender and recipients may see everything, and so may the relay it came from, which answers for the sender.
        if kept and (caller.role is Role.AGENCY or any(r.routing.previous_relay == caller.name for _, r in kept)):
            kept = list(zip(records, receipts, strict=True))
        if not kept:
            next_step = "Check the ID; only sender and recipients of a message can ask for it."
            raise error(
                Reason.NOT_PERMITTED,
                field="envelope_digest",
                detail=f"no message of that name that {caller.name} takes part in",
                next_step=next_step,
            )
        peers = [Receipt.parse(record.exhibit) for record, _ in kept if record.event is Event.FORWARDED]
        statements = [record.exhibit for record, _ in kept if _is_statement(record)]
        return History((*(receipt for _, receipt in kept), *peers), tuple(statements))

    def _may_see(self, caller: Party, routing: Routing) -> bool:
        """Whether one entry concerns a caller: an agency as sender or recipient, a relay as a step of the way."""
        if caller.role is Role.AGENCY:
            return caller.name == routing.sender or caller.name in routing.recipients
        if routing.event is Event.ACCEPTED:
            return routing.previous_relay == caller.name or self._serves(caller, routing)
        return routing.next_relay == caller.name

    def _serves(self, relay: Party, routing: Routing) -> bool:
        return any(self._relay_of(name) == relay.name for name in routing.recipients)

    # Making entries

    def _relay_of(self, agency: str) -> str:
        """Return the relay of an agency, nothing for one that is not listed any more."""
        party = self.directory.listed(agency)
        return party.relay if party else ""

    def _change(self, routing: Routing, subject: Subject, digest: bytes, party: str = "") -> Change:
        entry = Entry.make(routing, subject, Operation(), entropy=self._entropy)
        return Change(entry=entry, digest=digest, party=party, event=routing.event)

    def _event(
        self,
        event: Event,
        manifest: Manifest,
        party: str = "",
        *,
        reason: int = 0,
        came_from: str = "",
        subject: Subject | None = None,
    ) -> Change:
        """Return the change of one event of an envelope; `party` is the recipient or the peer relay concerned."""
        header, now = manifest.header, self.clock()
        recipients, peer = tuple(r.name for r in header.recipients), ""
        peer_concerned = bool(party) and party not in recipients
        # Sender and recipients may have left since; what they sent or were sent must still come to an end.
        sender = self.directory.listed(header.sender)
        if peer_concerned:
            peer, recipients = party, tuple(n for n in recipients if self._relay_of(n) == party)
        elif party:
            recipients = (party,)
        routing = Routing(
            event=event,
            logged_at=now,
            this_relay=self.name,
            sender=header.sender,
            sender_nation=sender.nation if sender else "",
            recipients=recipients,
            previous_relay=came_from,
            next_relay=peer,
            op_status=header.op_status,
            precedence=header.precedence,
            expires_at=header.expires_at,
            reason=reason,
        )
        about = replace(
            subject or Subject(),
            envelope_digest=manifest.digest,
            message_id=header.message_id,
            envelope_size=manifest.body_length,
            sender_bundle=header.sender_bundle,
            recipient_bundles=tuple(r.bundle for r in header.recipients),
            suite=header.suite,
            directory_digest=self.directory.digest,
        )
        return self._change(routing, about, manifest.digest, party)


def _is_statement(record: Record) -> bool:
    return bool(record.exhibit) and record.event in (Event.OPENED, Event.REFUSED)
