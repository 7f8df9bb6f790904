"""Inquiry: all that an auditor asks of an evidence file, finding by finding (SPEC section Evidence, steps 3 to 13)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from infoexchange import withdrawal
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.approval import Approval
from infoexchange.audit import Routing
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW, newest_list
from infoexchange.directory import Directory
from infoexchange.disclosure import Disclosure
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.evidence.outcome import Outcome, outcome
from infoexchange.evidence.showing import Showing, Standing
from infoexchange.grant import Grant
from infoexchange.manifest import Manifest
from infoexchange.quorum import policy_for
from infoexchange.recall import RecallOrder
from infoexchange.receipt import Receipt
from infoexchange.statement import SignedStatement
from infoexchange.states import Event
from infoexchange.suites import suite_of
from infoexchange.transfer import Transfer, replay
from infoexchange.verdict import Examination, OpenQuestionError, Report

# Entries about a recall order speak of it alone, because it may come before its envelope.
_OF_ORDERS = (Event.RECALL_ORDERED, Event.RECALL_FORWARDED, Event.RECALL_FAILED)


class Parts(Protocol):
    """What is asked about: the parts of an evidence file, as `Evidence` has them."""

    @property
    def digest(self) -> bytes:
        """Name of the message."""

    @property
    def manifest(self) -> Manifest:
        """What was signed."""

    @property
    def envelope(self) -> Envelope | None:
        """The envelope, if the file has it."""

    @property
    def directory_raw(self) -> bytes:
        """The file's own copy of the directory."""

    @property
    def bundles(self) -> tuple[KeyBundle, ...]:
        """Bundles of everybody who signed."""

    def bundle(self, digest: bytes) -> KeyBundle:
        """Return one of them; raises as `Evidence.bundle`."""

    @property
    def events(self) -> tuple[Receipt, ...]:
        """Log entries."""

    @property
    def statements(self) -> tuple[SignedStatement, ...]:
        """Acknowledgements, recall orders and approvals of disclosures."""

    @property
    def grant(self) -> Grant | None:
        """The grant under which it was passed on."""

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """The transfers before this one."""

    @property
    def disclosures(self) -> tuple[Disclosure, ...]:
        """Records of it that are shown."""


class Inquiry:
    """The checks of one file under one directory. Times are judged as log entries give them, not by today's clock."""

    def __init__(self, parts: Parts, directory: Directory, now: datetime) -> None:
        """Hold the file's parts, a verified directory, and the auditor's clock."""
        self._parts = parts
        self._header = parts.manifest.header
        self._directory = directory
        self._now = now
        self._proven: list[Receipt] = []
        self._signed: list[SignedStatement] = []

    def report(self) -> Report:
        """Return every finding."""
        exam = Examination()
        exam.check("directory", self._check_directory)
        exam.check("sender's keys", self._check_sender)
        exam.check("sender's certificate not revoked", self._check_revocation)
        exam.check("sender's signature", self._check_signature)
        for place, receipt in enumerate(self._parts.events, 1):
            name = f"event {place}: {receipt.routing.event.name} by {receipt.routing.this_relay}"
            if exam.check(name, partial(self._check_event, receipt)):
                self._proven.append(receipt)
        for statement in self._parts.statements:
            if isinstance(statement, Approval):
                continue  # asked about with the disclosures
            if isinstance(statement, RecallOrder):
                held = exam.check(f"recall by {statement.statement.issuer}", partial(self._check_order, statement))
            else:
                name = f"statement of {statement.statement.issuer}"
                held = exam.check(name, partial(self._check_statement, statement))
            if held:
                self._signed.append(statement)
        self._showing().examine(exam)
        exam.check("accepted by the sender's relay", self._check_accepted)
        for name in self._recipients():
            exam.check(f"outcome for {name}", partial(self._check_outcome, name))
        for name in self._recalled():
            exam.check(f"recall for {name}", partial(self._check_recall, name))
        exam.check("checkpoints witnessed", self._check_witnesses)
        if self._header.grant:
            exam.check("passed on with consent", self._check_consent)
        return exam.report()

    def _showing(self) -> Showing:
        parts = self._parts
        return Showing(
            parts.manifest,
            parts.disclosures,
            tuple(statement for statement in parts.statements if isinstance(statement, Approval)),
            parts.events,
            Standing(self._directory, self._recipients(), self._parts.bundle, self._check_not_withdrawn),
            self._logged_at(),
        )

    def _logged_at(self) -> datetime:
        """Return the time of the first acceptance, or the sender's own claim where none is in the file.

        A relay whose clock is behind does not move it before the time of making: its entry is a finding of its own.
        """
        accepted = [r.routing.logged_at for r in self._parts.events if r.routing.event is Event.ACCEPTED]
        return max(min(accepted, default=self._header.created_at), self._header.created_at)

    def _relay_of(self, agency: str) -> str:
        return self._directory.party(agency, at=self._header.created_at).relay

    def _check_directory(self) -> str:
        # (3) who is who: verified against the auditor's own roots before it came here; a second history beside it is a
        # finding of its own
        directory = self._directory
        try:
            directory.succeed(self._parts.directory_raw)
        except ExchangeError as problem:
            if problem.reason is Reason.LOG_FORK:
                raise
        steps = [r for r in self._parts.events if r.routing.event is not Event.KEY_BUNDLE]  # keys have older entries
        others = {r.routing.this_relay for r in steps if not directory.knows(r.subject.directory_digest)}
        if others:
            why = f"not version {directory.version} of this directory was in force at {', '.join(sorted(others))}"
            raise OpenQuestionError("another directory", why)
        return f"version {directory.version} of {directory.listing.community}, signed by {', '.join(directory.signers)}"

    def _check_sender(self) -> str:
        # (4) certificates, identity signatures and standing of the sender when it signed
        bundle = self._parts.bundle(self._header.sender_bundle)
        party = bundle.verify(self._directory, now=self._header.created_at)
        return f"{party.name}, epoch {bundle.epoch}"

    def _check_revocation(self) -> str:
        at = self._logged_at()
        bundle = self._parts.bundle(self._header.sender_bundle)
        # Every list in the file is of some nation's CA: one that is nobody's may once have been somebody's.
        newest_list(bundle.crls, [ca for nation in self._directory.listing.nations for ca in nation.identity_cas])
        if not bundle.revocation_known(self._directory, at=at):
            raise OpenQuestionError("no revocation data", f"no list of that CA for {at:%Y-%m-%d %H:%M}Z is in the file")
        self._check_not_withdrawn(bundle, at)
        return f"list of the national CA, valid at {at:%Y-%m-%d %H:%M}Z"

    def _check_not_withdrawn(self, bundle: KeyBundle, at: datetime) -> None:
        entries = withdrawal.entries(self._parts.events, self._relay_of(bundle.owner))
        withdrawal.check(bundle, self._parts.bundles, entries, self._directory, at=at)

    def _check_signature(self) -> str:
        # (5) the signature, and every part that travelled
        parts, header = self._parts, self._header
        bundle = self._parts.bundle(header.sender_bundle)
        if parts.envelope is not None:
            parts.envelope.verify(self._directory, bundle, now=self._logged_at())
        else:
            parts.manifest.verify(self._directory, bundle)
        what = f"{parts.manifest.body_length} bytes sealed" + ("" if parts.envelope else ", ciphertext not in the file")
        return f"suite {suite_of(header.suite).name}, {what} for {len(header.recipients)} recipients"

    def _check_event(self, receipt: Receipt) -> str:
        # (6) in the log of the relay that wrote it, about this message, by a relay on its way and for its recipients
        receipt.verify(self._directory)
        header, said, about = self._header, receipt.routing, receipt.subject
        if said.event is Event.KEY_BUNDLE:
            return self._check_publication(receipt)
        same = about.envelope_digest == self._parts.digest and (
            about.sender_bundle == header.sender_bundle or said.event in _OF_ORDERS
        )
        if not same or said.sender != header.sender or not self._may_name(said):
            raise error(Reason.BAD_PROOF, field="event", detail="the entry speaks of another message")
        home = self._relay_of(header.sender)
        homes = {self._relay_of(name) for name in said.recipients} or {said.next_relay or said.this_relay}
        if said.event is Event.ACCEPTED and about.statement_digest != header.grant:
            raise error(Reason.BAD_PROOF, field="event", detail="it was logged with another grant")
        if said.event in (Event.ACCEPTED, Event.RECALL_ORDERED):
            way = {("", home), *((home, relay) for relay in homes - {home})}
            fits = (said.previous_relay, said.this_relay) in way
        elif said.next_relay:
            fits = said.this_relay == home and homes == {said.next_relay}
        elif said.event is Event.AUDIT_DISCLOSURE and set(said.recipients) == {r.name for r in header.recipients}:
            fits = said.this_relay in {home, *(homes if said.recipients else ())}  # the sender's, or of the only one
        else:
            fits = homes == {said.this_relay}
        if not fits:
            raise error(Reason.BAD_PROOF, field="event", detail=f"{said.this_relay} has no part in this step")
        if said.event is Event.EXPIRED and said.logged_at < header.expires_at:
            raise error(Reason.BAD_PROOF, field="event", detail="expired before its time")
        if said.logged_at + CLOCK_SKEW < header.created_at:
            raise error(Reason.BAD_PROOF, field="event", detail="logged before the message was made")
        return f"entry {receipt.index}, {said.logged_at:%Y-%m-%d %H:%M:%S}Z by the relay's clock"

    def _check_publication(self, receipt: Receipt) -> str:
        """Return whose keys an entry published, which is not about the message itself."""
        published = self._parts.bundle(receipt.subject.sender_bundle)
        if not withdrawal.publishes(receipt, published, self._relay_of(published.owner)):
            raise error(Reason.BAD_PROOF, field="event", detail="the entry speaks of another party's keys")
        return f"entry {receipt.index}, epoch {published.epoch} of {published.owner}"

    def _may_name(self, said: Routing) -> bool:
        """Whether an entry may name whom it names; steps on the way of a blind envelope name nobody."""
        if self._header.blind and said.event is Event.AUDIT_DISCLOSURE:
            return True  # the sender's names nobody, a recipient's the recipient
        if self._header.blind and said.event not in _OF_ORDERS:
            return bool(said.recipients) != (said.event is Event.ACCEPTED or bool(said.next_relay))
        return bool(said.recipients) and (
            self._header.blind or set(said.recipients) <= {r.name for r in self._header.recipients}
        )

    def _check_statement(self, acknowledgement: Acknowledgement) -> str:
        # (7) signed by a recipient, about this message and this content, and logged as such, not before it was made
        said, header = acknowledgement.statement, self._header
        bundle = self._parts.bundle(said.issuer_bundle)
        acknowledgement.verify(self._directory, bundle, suite_of(header.suite))
        if said.envelope_digest != self._parts.digest or said.issuer not in self._recipients():
            raise error(Reason.BAD_PROOF, field="statement", detail="it speaks of another message")
        if said.state is not Event.REFUSED and said.content_commitment != header.content_commitment:
            raise error(Reason.BAD_COMMITMENT, field="statement", detail="another content was opened")
        entry = self._entry_of(acknowledgement, said.state, (said.issuer,), said.at)
        if said.state is Event.DESTROYED and not any(
            e.is_before(entry) for e in self._logged(Event.OPENED, said.issuer)
        ):
            raise error(Reason.BAD_PROOF, field="statement", detail="it was not stated to be opened before")
        self._check_not_withdrawn(bundle, entry.routing.logged_at)
        reason = f", reason {Reason(said.reason).word}" if said.reason in set(Reason) else ""
        return f"{said.state.name}{reason} at {said.at:%Y-%m-%d %H:%M:%S}Z by its own clock, entry {entry.index}"

    def _check_order(self, order: RecallOrder) -> str:
        """Return who recalled, for whom and when."""
        said = order.statement
        order.verify(self._directory, self._parts.bundle(said.issuer_bundle))
        about = (said.envelope_digest, said.issuer, said.suite)
        if about != (self._parts.digest, self._header.sender, self._header.suite):
            raise error(Reason.BAD_PROOF, field="recall", detail="it speaks of another message, or is not its sender's")
        entry = self._entry_of(order, Event.RECALL_ORDERED, said.recipients, said.at)
        self._check_not_withdrawn(self._parts.bundle(said.issuer_bundle), entry.routing.logged_at)
        return f"for {', '.join(said.recipients)} at {said.at:%Y-%m-%d %H:%M:%S}Z, entry {entry.index}"

    def _entry_of(self, statement: SignedStatement, event: Event, names: Sequence[str], at: datetime) -> Receipt:
        """Return the log entry of a statement, which is not earlier than the statement."""
        for entry in self._parts.events:
            if entry.subject.statement_digest == statement.digest and entry.routing.event is event:
                if entry.routing.recipients != tuple(names):
                    continue
                if at > entry.routing.logged_at + CLOCK_SKEW:
                    raise error(Reason.BAD_PROOF, field="statement", detail="dated after the entry that logged it")
                return entry
        raise error(Reason.BAD_PROOF, field="statement", detail="no log entry for it is in the file")

    def _logged(self, event: Event, name: str) -> list[Receipt]:
        """Return the entries of one event that a recipient's own relay has logged for it."""
        relay = self._relay_of(name)
        found = [r for r in self._parts.events if r.routing.event is event and r.routing.this_relay == relay]
        return [r for r in found if name in r.routing.recipients and not r.routing.next_relay]

    def _check_accepted(self) -> str:
        # (8) the first step, and for each recipient signed terminal evidence or the name of what is missing
        home = self._relay_of(self._header.sender)
        for receipt in self._parts.events:
            if (receipt.routing.event, receipt.routing.this_relay) == (Event.ACCEPTED, home):
                return f"entry {receipt.index} of {home}"
        raise OpenQuestionError("missing event", f"no entry of {home} is in the file")

    def _recipients(self) -> list[str]:
        """Return the names that the header lists; of a blind envelope those that log entries name."""
        listed = [recipient.name for recipient in self._header.recipients]
        logged = sorted({name for receipt in self._parts.events for name in receipt.routing.recipients})
        return listed or logged or ["blind recipients"]

    def _outcome(self, name: str) -> Outcome:
        listed = self._directory.listed(name)
        return outcome(name, listed.relay if listed else "", self._proven, self._signed)

    def _check_outcome(self, name: str) -> str:
        return self._outcome(name).finding(self._header.sender)

    def _recalled(self) -> list[str]:
        """Return the recipients for whom the sender has signed a recall that is in the file."""
        orders = [statement for statement in self._signed if isinstance(statement, RecallOrder)]
        return sorted({name for order in orders for name in order.statement.recipients})

    def _check_recall(self, name: str) -> str:
        """Return how a recall ended, unless the recipient's relay took it and delivered the message afterwards."""
        taken = [r.index for r in self._logged(Event.RECALL_ORDERED, name)]
        delivered = [r.index for r in self._logged(Event.DELIVERED, name)]
        relay = self._relay_of(name)
        if taken and delivered and min(taken) < min(delivered):
            raise error(Reason.BAD_PROOF, field="recall", detail=f"{relay} delivered it after it had taken the recall")
        if delivered:
            return f"too late: {relay} had delivered it"
        found = self._outcome(name)
        if found.state is Event.RECALLED:
            return f"stopped by {found.relay}"
        if found.state is not None and found.state.final:
            return f"nothing was left to stop: {found.state.name}"
        raise OpenQuestionError("recall not confirmed", f"the file does not show what {relay} did with it")

    def _check_witnesses(self) -> str:
        # (9) checkpoints that other nations have seen, as the directory's rule demands
        nations: set[str] = set()
        missing: list[str] = []
        # Entries that are fetched together share a checkpoint, and its signatures cost more than everything else.
        seen: dict[tuple[str, bytes], Receipt] = {}
        for receipt in self._parts.events:
            seen.setdefault((receipt.routing.this_relay, receipt.proof.checkpoint.raw), receipt)
        for (relay, _), receipt in seen.items():
            policy = policy_for(self._directory, relay)
            if not policy.has_quorum_rule:
                missing.append(f"no rule says who must witness {relay}")
                continue
            try:
                nations |= {w.key.name for w in policy.verify(receipt.proof.checkpoint, now=self._now)}
            except ExchangeError as problem:
                if problem.field != "policy.quorum":
                    raise
                missing.append(f"entry {receipt.index} of {relay}: {problem.detail}")
        if missing or not self._parts.events:
            raise OpenQuestionError("too few witnesses yet", missing[0] if missing else "there is no entry to witness")
        return f"cosigned by {', '.join(sorted(nations))}"

    def _check_consent(self) -> str:
        # (10) every transfer since the originator's was granted by it, and logged while the grant held
        parts, directory = self._parts, self._directory
        if parts.grant is None or not parts.transfers:
            raise OpenQuestionError(
                "chain not in the file", "it does not show what was passed on, or under which grant"
            )
        if parts.grant.digest != self._header.grant:
            raise error(Reason.BAD_COMMITMENT, field="grant", detail="not the grant that the header names")
        last = Transfer.of(parts.envelope) if parts.envelope else Transfer(parts.manifest, parts.grant)
        transfers = (*parts.transfers, last)
        logged = {t.digest: at for t in parts.transfers if (at := _logged(t, directory))}
        unlogged = [t.sender for t in parts.transfers if t.digest not in logged]
        logged[parts.digest] = self._logged_at()
        replay(transfers, directory, {bundle.digest: bundle for bundle in parts.bundles}, logged)
        # Where the header hides the recipients, log entries name those to whom it was handed.
        to = sorted({*last.recipients, *(name for r in parts.events for name in r.routing.recipients)})
        parts.grant.check_covers(last.sender, to, at=[])
        free = [t.sender for t in transfers[1:] if t.grant is None]
        if free:
            why = f"{', '.join(free)} named no grant; whether the marks, which are sealed, leave it free is not shown"
            raise OpenQuestionError("no grant named", why)
        if unlogged:
            raise OpenQuestionError("no log entry", f"when {', '.join(unlogged)} sent it is only said by the sender")
        way = " to ".join([*(t.sender for t in transfers), ", ".join(to)])
        return f"{way}, consented to by {transfers[0].sender}"


def _logged(transfer: Transfer, directory: Directory) -> datetime | None:
    """Return when an earlier transfer was logged; nothing where the file or this version of the directory lacks it."""
    try:
        return transfer.check_accepted(directory)
    except ExchangeError:
        if transfer.accepted is None or transfer.accepted.subject.directory_digest == directory.digest:
            raise
        return None  # logged under another version, which may have listed other log keys
