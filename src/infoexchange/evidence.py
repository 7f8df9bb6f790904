"""Evidence: one `.ixev` file that an auditor verifies offline, without a key (SPEC section Evidence).

It shows who sent what size of thing to whom and when, that nothing of it was changed, and that the relays' logs hold
every step. Nothing in the file is believed: each part is verified, and each part is tied to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256

from infoexchange import wire, withdrawal
from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Routing
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW, newest_list
from infoexchange.directory import Directory
from infoexchange.dsse import TYPE_MANIFEST, Dsse
from infoexchange.envelope import Envelope
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.grant import Grant
from infoexchange.listing import Roots
from infoexchange.manifest import Manifest
from infoexchange.ports import History
from infoexchange.quorum import policy_for
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import suite_of
from infoexchange.transfer import TRANSFERS_MAX, Transfer, replay
from infoexchange.v1 import envelope_pb2, evidence_pb2
from infoexchange.verdict import Examination, OpenQuestionError, Report

# Specification constants
EVIDENCE_SIZE_MAX = 16 * 1024 * 1024  # an envelope, its directory, and the events of 64 recipients
EVENTS_MAX = 1024
BUNDLES_MAX = 256  # the sender's, and each of 64 recipients' over the life of a message
VERSION = 1


@dataclass(frozen=True)
class Evidence:
    """A parsed evidence file; `verify` lists what it proves."""

    raw: bytes = field(repr=False)
    digest: bytes
    manifest: Manifest
    envelope: Envelope | None = field(repr=False)
    directory_raw: bytes = field(repr=False)
    bundles: tuple[KeyBundle, ...] = field(repr=False)
    events: tuple[Receipt, ...] = field(repr=False)
    statements: tuple[Acknowledgement, ...] = field(repr=False)
    grant: Grant | None = None
    transfers: tuple[Transfer, ...] = ()

    @classmethod
    def make(
        cls,
        envelope: Envelope,
        directory: Directory,
        bundles: Sequence[KeyBundle],
        history: History,
        transfers: Sequence[Transfer] = (),
    ) -> Evidence:
        """Return the evidence of one message from parts that are verified with it, later and by others.

        `transfers` are those before it, where it passes another agency's content on under a grant.
        """
        events = {receipt.leaf: receipt for receipt in history.events}
        message = evidence_pb2.Evidence(
            version=VERSION,
            envelope_digest=envelope.digest,
            envelope=envelope.raw,
            certificates=sorted({c for bundle in bundles for c in bundle.certificates}),
            bundles=sorted(bundle.raw for bundle in bundles),
            crls=sorted({crl for bundle in bundles for crl in bundle.crls}),
            directory=directory.raw,
            statements=sorted(set(history.statements)),
            transfers=[transfer.to_wire() for transfer in transfers],
        )
        for receipt in events.values():
            message.events.add().ParseFromString(receipt.raw)
        return cls.parse(wire.canonical(message))

    def sealed(self) -> Evidence:
        """Return the same evidence without the ciphertext: authorship can be checked, there is nothing to open."""
        message = evidence_pb2.Evidence.FromString(self.raw)
        message.ClearField("envelope")
        message.manifest.CopyFrom(self.manifest.dsse.to_wire())
        message.grant = self.grant.raw if self.grant else b""
        return Evidence.parse(wire.canonical(message))

    @classmethod
    def parse(cls, raw: bytes) -> Evidence:
        """Return the evidence of canonical file bytes; nothing is verified yet.

        Raises:
            MalformedError: `MALFORMED`, `NOT_CANONICAL`, `BAD_FIELD` or `UNKNOWN_VERSION`.
            UntrustedError: `BAD_COMMITMENT` when a disclosed group is not the one its leaf commits to.
            RefusedError: `TOO_LARGE`.
        """
        # (1) canonical forms of the file and of every part
        m = wire.parse(evidence_pb2.Evidence, raw, size_max=EVIDENCE_SIZE_MAX, field="evidence")
        if m.version != VERSION:
            raise error(Reason.UNKNOWN_VERSION, field="version", detail=f"version {m.version}")
        if bool(m.envelope) == m.HasField("manifest"):
            raise error(Reason.BAD_FIELD, field="envelope", detail="either an envelope or a manifest must be there")
        if len(m.events) > EVENTS_MAX:
            raise error(Reason.TOO_LARGE, field="events", detail=f"{len(m.events)} events, at most {EVENTS_MAX}")
        envelope = Envelope.parse(m.envelope) if m.envelope else None
        manifest = envelope.manifest if envelope else _manifest(m.manifest)
        if (m.envelope and m.grant) or (m.transfers and not manifest.header.grant):
            raise error(Reason.BAD_FIELD, field="grant", detail="it does not belong here")
        if len(m.transfers) > TRANSFERS_MAX:
            raise error(Reason.TOO_LARGE, field="transfers", detail=f"{len(m.transfers)}, at most {TRANSFERS_MAX}")
        # (2) the file speaks of the message it names
        if manifest.digest != m.envelope_digest:
            raise error(Reason.BAD_FIELD, field="envelope_digest", detail="it names another message")
        if len(m.bundles) > BUNDLES_MAX or len(m.certificates) > 2 * BUNDLES_MAX or len(m.crls) > 2 * BUNDLES_MAX:
            raise error(Reason.TOO_LARGE, field="bundles", detail=f"{len(m.bundles)} bundles, at most {BUNDLES_MAX}")
        certificates = {sha256(der).digest(): der for der in m.certificates}
        bundles = [_bundle(bundle, certificates, m.crls) for bundle in m.bundles]
        return cls(
            raw,
            m.envelope_digest,
            manifest,
            envelope,
            m.directory,
            tuple(bundles),
            tuple(Receipt.parse(wire.canonical(event)) for event in m.events),
            tuple(Acknowledgement.parse(statement) for statement in m.statements),
            envelope.grant if envelope else Grant.parse(m.grant) if m.grant else None,
            tuple(Transfer.parse(t.manifest, t.grant, t.accepted, t.wrap) for t in m.transfers),
        )

    def directory(self, roots: Roots) -> Directory:
        """Return the directory that the file carries, once the auditor's own trust anchor has signed it.

        Raises:
            UntrustedError: `BAD_SIGNATURE`.
        """
        return Directory.parse(self.directory_raw, roots=roots)

    def verify(self, directory: Directory, *, now: datetime) -> Report:
        """Return every finding; nothing is decrypted and nothing is fetched.

        Spec: section Evidence, steps 3 to 10. Times are judged as the log entries give them, not by today's clock.

        Args:
            directory: A verified directory: the auditor's own, or the file's under the auditor's roots.
            now: The auditor's clock, used only to refuse cosignatures from the future.
        """
        exam = Examination()
        exam.check("directory", partial(self._check_directory, directory))
        exam.check("sender's keys", partial(self._check_sender, directory))
        exam.check("sender's certificate not revoked", partial(self._check_revocation, directory))
        exam.check("sender's signature", partial(self._check_signature, directory))
        for place, receipt in enumerate(self.events, 1):
            name = f"event {place}: {receipt.routing.event.name} by {receipt.routing.this_relay}"
            exam.check(name, partial(self._check_event, directory, receipt))
        for statement in self.statements:
            exam.check(
                f"statement of {statement.statement.issuer}", partial(self._check_statement, directory, statement)
            )
        exam.check("accepted by the sender's relay", partial(self._check_accepted, directory))
        for name in self._recipients():
            exam.check(f"outcome for {name}", partial(self._check_outcome, name))
        exam.check("checkpoints witnessed", partial(self._check_witnesses, directory, now))
        if self.manifest.header.grant:
            exam.check("passed on with consent", partial(self._check_consent, directory))
        return exam.report()

    @property
    def steps(self) -> list[Receipt]:
        """The events of the message itself, without those of the publication of keys."""
        return [receipt for receipt in self.events if receipt.routing.event is not Event.KEY_BUNDLE]

    def _logged_at(self) -> datetime:
        """Return the time of the first acceptance, or the sender's own claim where none is in the file."""
        accepted = [r.routing.logged_at for r in self.events if r.routing.event is Event.ACCEPTED]
        return min(accepted, default=self.manifest.header.created_at)

    def _relay_of(self, directory: Directory, agency: str) -> str:
        return directory.party(agency, at=self.manifest.header.created_at).relay

    def _check_directory(self, directory: Directory) -> str:
        # (3) who is who: verified against the auditor's own roots before it came here; a second history beside it is a
        # finding of its own
        try:
            directory.succeed(self.directory_raw)
        except ExchangeError as problem:
            if problem.reason is Reason.LOG_FORK:
                raise
        others = {r.routing.this_relay for r in self.steps if not directory.knows(r.subject.directory_digest)}
        if others:
            why = f"not version {directory.version} of this directory was in force at {', '.join(sorted(others))}"
            raise OpenQuestionError("another directory", why)
        return f"version {directory.version} of {directory.listing.community}, signed by {', '.join(directory.signers)}"

    def _bundle_named(self, digest: bytes) -> KeyBundle:
        for bundle in self.bundles:
            if bundle.digest == digest:
                return bundle
        raise error(Reason.STALE_BUNDLE, field="bundles", detail=f"bundle {digest.hex()[:16]} is not in the file")

    def _check_sender(self, directory: Directory) -> str:
        # (4) certificates, identity signatures and standing of the sender when it signed
        bundle = self._bundle_named(self.manifest.header.sender_bundle)
        party = bundle.verify(directory, now=self.manifest.header.created_at)
        return f"{party.name}, epoch {bundle.epoch}"

    def _check_revocation(self, directory: Directory) -> str:
        at = self._logged_at()
        bundle = self._bundle_named(self.manifest.header.sender_bundle)
        # Every list in the file is of some nation's CA: one that is nobody's may once have been somebody's.
        newest_list(bundle.crls, [ca for nation in directory.listing.nations for ca in nation.identity_cas])
        if not bundle.revocation_known(directory, at=at):
            raise OpenQuestionError("no revocation data", f"no list of that CA for {at:%Y-%m-%d %H:%M}Z is in the file")
        self._check_not_withdrawn(directory, bundle, at)
        return f"list of the national CA, valid at {at:%Y-%m-%d %H:%M}Z"

    def _check_not_withdrawn(self, directory: Directory, bundle: KeyBundle, at: datetime) -> None:
        relay = self._relay_of(directory, bundle.owner)
        withdrawal.check(bundle, self.bundles, withdrawal.entries(self.events, relay), directory, at=at)

    def _check_signature(self, directory: Directory) -> str:
        # (5) the signature, and every part that travelled
        header = self.manifest.header
        bundle = self._bundle_named(header.sender_bundle)
        if self.envelope is not None:
            self.envelope.verify(directory, bundle, now=max(self._logged_at(), header.created_at))
        else:
            self.manifest.verify(directory, bundle)
        what = f"{self.manifest.body_length} bytes sealed" + ("" if self.envelope else ", ciphertext not in the file")
        return f"suite {suite_of(header.suite).name}, {what} for {len(header.recipients)} recipients"

    def _check_event(self, directory: Directory, receipt: Receipt) -> str:
        # (6) in the log of the relay that wrote it, about this message, by a relay on its way and for its recipients
        receipt.verify(directory)
        header, said, about = self.manifest.header, receipt.routing, receipt.subject
        if said.event is Event.KEY_BUNDLE:
            published = self._bundle_named(about.sender_bundle)
            if not withdrawal.publishes(receipt, published, self._relay_of(directory, published.owner)):
                raise error(Reason.BAD_PROOF, field="event", detail="the entry speaks of another party's keys")
            return f"entry {receipt.index}, epoch {published.epoch} of {published.owner}"
        same = about.envelope_digest == self.digest and about.sender_bundle == header.sender_bundle
        if not same or said.sender != header.sender or not self._may_name(said):
            raise error(Reason.BAD_PROOF, field="event", detail="the entry speaks of another message")
        home = self._relay_of(directory, header.sender)
        homes = {self._relay_of(directory, name) for name in said.recipients} or {said.next_relay or said.this_relay}
        if said.event is Event.ACCEPTED and about.statement_digest != header.grant:
            raise error(Reason.BAD_PROOF, field="event", detail="it was logged with another grant")
        if said.event is Event.ACCEPTED:
            way = {("", home), *((home, relay) for relay in homes - {home})}
            fits = (said.previous_relay, said.this_relay) in way
        elif said.next_relay:
            fits = said.this_relay == home and homes == {said.next_relay}
        else:
            fits = homes == {said.this_relay}
        if not fits:
            raise error(Reason.BAD_PROOF, field="event", detail=f"{said.this_relay} has no part in this step")
        if said.event is Event.EXPIRED and said.logged_at < header.expires_at:
            raise error(Reason.BAD_PROOF, field="event", detail="expired before its time")
        if said.logged_at + CLOCK_SKEW < header.created_at:
            raise error(Reason.BAD_PROOF, field="event", detail="logged before the message was made")
        return f"entry {receipt.index}, {said.logged_at:%Y-%m-%d %H:%M:%S}Z by the relay's clock"

    def _may_name(self, said: Routing) -> bool:
        """Whether an entry may name whom it names; steps on the way of a blind envelope name nobody."""
        if self.manifest.header.blind:
            return bool(said.recipients) != (said.event is Event.ACCEPTED or bool(said.next_relay))
        return bool(said.recipients) and set(said.recipients) <= {r.name for r in self.manifest.header.recipients}

    def _check_statement(self, directory: Directory, acknowledgement: Acknowledgement) -> str:
        # (7) signed by a recipient, about this message and this content, and logged as such, not before it was made
        said, header = acknowledgement.statement, self.manifest.header
        acknowledgement.verify(directory, self._bundle_named(said.issuer_bundle), suite_of(header.suite))
        if said.envelope_digest != self.digest or said.issuer not in self._recipients():
            raise error(Reason.BAD_PROOF, field="statement", detail="it speaks of another message")
        if said.state is Event.OPENED and said.content_commitment != header.content_commitment:
            raise error(Reason.BAD_COMMITMENT, field="statement", detail="another content was opened")
        entry = next((r for r in self.events if r.subject.statement_digest == acknowledgement.digest), None)
        if entry is None or (entry.routing.event, entry.routing.recipients) != (said.state, (said.issuer,)):
            raise error(Reason.BAD_PROOF, field="statement", detail="no log entry for it is in the file")
        if said.at > entry.routing.logged_at + CLOCK_SKEW:
            raise error(Reason.BAD_PROOF, field="statement", detail="dated after the entry that logged it")
        self._check_not_withdrawn(directory, self._bundle_named(said.issuer_bundle), entry.routing.logged_at)
        reason = f", reason {Reason(said.reason).word}" if said.reason in set(Reason) else ""
        return f"{said.state.name}{reason} at {said.at:%Y-%m-%d %H:%M:%S}Z by its own clock"

    def _check_accepted(self, directory: Directory) -> str:
        # (8) the first step, and for each recipient signed terminal evidence or the name of what is missing
        home = self._relay_of(directory, self.manifest.header.sender)
        for receipt in self.events:
            if (receipt.routing.event, receipt.routing.this_relay) == (Event.ACCEPTED, home):
                return f"entry {receipt.index} of {home}"
        raise OpenQuestionError("missing event", f"no entry of {home} is in the file")

    def _recipients(self) -> list[str]:
        """Return the names that the header lists; of a blind envelope those that log entries name."""
        listed = [recipient.name for recipient in self.manifest.header.recipients]
        logged = sorted({name for receipt in self.events for name in receipt.routing.recipients})
        return listed or logged or ["blind recipients"]

    def _check_outcome(self, name: str) -> str:
        signed = {s.statement.state for s in self.statements if s.statement.issuer == name}
        logged = {r.routing.event for r in self.events if r.routing.event.final and name in r.routing.recipients}
        # OPENED, and REFUSED where no other relay said it, are the recipient's own word and need its signature. What it
        # signed outranks what a relay logged without it, such as the end of the time.
        entries = [r.routing for r in self.events if name in r.routing.recipients and not r.routing.next_relay]
        own = {entry.event for entry in entries} & {Event.OPENED, Event.REFUSED}
        final = (signed & own) or (logged - own)
        if not final:
            raise OpenQuestionError("no terminal event", "the file does not show how it ended")
        if len(final) > 1:
            both = " and ".join(sorted(event.name for event in final))
            raise OpenQuestionError("two outcomes", f"{both} are both logged")
        return final.pop().name

    def _check_witnesses(self, directory: Directory, now: datetime) -> str:
        # (9) checkpoints that other nations have seen, as the directory's rule demands
        nations: set[str] = set()
        missing: list[str] = []
        for receipt in self.events:
            relay = receipt.routing.this_relay
            policy = policy_for(directory, relay)
            if not policy.has_quorum_rule:
                missing.append(f"no rule says who must witness {relay}")
                continue
            try:
                nations |= {w.key.name for w in policy.verify(receipt.proof.checkpoint, now=now)}
            except ExchangeError as problem:
                if problem.field != "policy.quorum":
                    raise
                missing.append(f"entry {receipt.index} of {relay}: {problem.detail}")
        if missing or not self.events:
            raise OpenQuestionError("too few witnesses yet", missing[0] if missing else "there is no entry to witness")
        return f"cosigned by {', '.join(sorted(nations))}"

    def _check_consent(self, directory: Directory) -> str:
        # (10) every transfer since the originator's was granted by it, and logged while the grant held
        if self.grant is None or not self.transfers:
            raise OpenQuestionError(
                "chain not in the file", "it does not show what was passed on, or under which grant"
            )
        if self.grant.digest != self.manifest.header.grant:
            raise error(Reason.BAD_COMMITMENT, field="grant", detail="not the grant that the header names")
        last = Transfer.of(self.envelope) if self.envelope else Transfer(self.manifest, self.grant)
        transfers = (*self.transfers, last)
        logged = {t.digest: at for t in self.transfers if (at := _logged(t, directory))}
        unlogged = [t.sender for t in self.transfers if t.digest not in logged]
        logged[self.digest] = self._logged_at()
        replay(transfers, directory, {bundle.digest: bundle for bundle in self.bundles}, logged)
        # Where the header hides the recipients, log entries name those to whom it was handed.
        to = sorted({*last.recipients, *(name for r in self.events for name in r.routing.recipients)})
        self.grant.check_covers(last.sender, to, at=[])
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


def _manifest(message: envelope_pb2.Dsse) -> Manifest:
    return Manifest.from_dsse(Dsse.from_wire(message, payload_type=TYPE_MANIFEST))


def _bundle(raw: bytes, certificates: Mapping[bytes, bytes], crls: Sequence[bytes]) -> KeyBundle:
    """Return a bundle with those certificates of the file that it names, and all revocation lists."""
    return KeyBundle.parse(raw, KeyBundle.parse(raw).named(certificates), crls)
