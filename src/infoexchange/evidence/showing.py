"""Showing: what an auditor finds of records that were opened, and who answers for it (SPEC section Evidence)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from infoexchange.approval import Approval
from infoexchange.attestation import Attestation
from infoexchange.bundle import KeyBundle
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.directory import Directory
from infoexchange.disclosure import Disclosure
from infoexchange.errors import ExchangeError, Reason, error
from infoexchange.manifest import Manifest
from infoexchange.receipt import Receipt
from infoexchange.states import Event
from infoexchange.suites import suite_of
from infoexchange.verdict import Examination, OpenQuestionError


@dataclass(frozen=True)
class Standing:
    """Who is who for one file, and whose keys held when.

    Attributes:
        directory: A verified directory.
        recipients: Names that the header lists; of a blind envelope those that log entries name.
        bundle: Gives a bundle of the file by digest, or raises `STALE_BUNDLE`.
        check_not_withdrawn: Raises if the owner of a bundle had withdrawn it at a time.
    """

    directory: Directory
    recipients: Collection[str]
    bundle: Callable[[bytes], KeyBundle]
    check_not_withdrawn: Callable[[KeyBundle, datetime], None]


@dataclass(frozen=True)
class Showing:
    """What of a file speaks about disclosures of its message.

    Attributes:
        manifest: The message.
        disclosures: Opened records.
        approvals: Signed consents.
        events: Log entries.
        standing: Who is who.
        logged_at: When the message was first logged.
    """

    manifest: Manifest
    disclosures: Sequence[Disclosure]
    approvals: Sequence[Approval]
    events: Sequence[Receipt]
    standing: Standing
    logged_at: datetime

    def examine(self, exam: Examination) -> None:
        """Add a finding for each disclosure, each attestation in it, its approval, and each approval by itself."""
        for place, disclosure in enumerate(self.disclosures, 1):
            name = f"disclosure {place}"
            exam.check(name, partial(self._check_disclosure, disclosure))
            for number, attestation in enumerate(disclosure.attestations, 1):
                exam.check(f"{name}, attestation {number}", partial(self._check_attestation, attestation))
            exam.check(f"{name} approved", partial(self._check_approved, disclosure))
        for place, approval in enumerate(self.approvals, 1):
            exam.check(f"approval {place} by {approval.statement.issuer}", partial(self._check_approval, approval))

    def _check_disclosure(self, disclosure: Disclosure) -> str:
        # (11) the records are part of what the sender signed
        disclosure.verify(self.standing.directory, self.standing.bundle(self.manifest.header.sender_bundle))
        marks = "" if disclosure.marked else "; the handling marks are not among them"
        return f"{len(disclosure.leaves)} of {disclosure.count} records of {disclosure.schema}{marks}"

    def _check_attestation(self, attestation: Attestation) -> str:
        bundle = self.standing.bundle(attestation.signer_bundle)
        attestation.verify(self.standing.directory, bundle, self.manifest.header)
        self.standing.check_not_withdrawn(bundle, self.logged_at)
        said = f"{attestation.role.name.lower()} for {attestation.signer}"
        return f"{said}, signed at {attestation.signed_at:%Y-%m-%d %H:%M:%S}Z by its own clock"

    def _check_approval(self, approval: Approval) -> str:
        # (12) signed by a party of the message, and logged as such by its relay, not before it was made
        said, header, standing = approval.statement, self.manifest.header, self.standing
        bundle = standing.bundle(said.issuer_bundle)
        approval.verify(standing.directory, bundle, suite_of(header.suite))
        if said.envelope_digest != self.manifest.digest or said.issuer not in {header.sender, *standing.recipients}:
            raise error(Reason.BAD_PROOF, field="approval", detail="it speaks of another message")
        entry = next((r for r in self.events if r.subject.statement_digest == approval.digest), None)
        if entry is None:
            raise OpenQuestionError("not logged", f"no log entry for what {said.issuer} approved is in the file")
        listed = tuple(r.name for r in header.recipients)
        named = (said.issuer,) if said.issuer in standing.recipients else listed
        home = standing.directory.party(said.issuer, at=said.at).relay
        logged = entry.routing
        if (logged.event, logged.recipients, logged.this_relay) != (Event.AUDIT_DISCLOSURE, named, home):
            raise error(Reason.BAD_PROOF, field="approval", detail="the entry speaks of something else")
        if said.at > logged.logged_at + CLOCK_SKEW:
            raise error(Reason.BAD_PROOF, field="approval", detail="dated after the entry that logged it")
        standing.check_not_withdrawn(bundle, logged.logged_at)
        return f"{said.record_count} records for {said.audience!r} at {said.at:%Y-%m-%d %H:%M:%S}Z by its own clock"

    def _check_approved(self, disclosure: Disclosure) -> str:
        # (13) a signed and logged approval names exactly these records
        problem: ExchangeError | OpenQuestionError | None = None
        for approval in self.approvals:
            said = approval.statement
            if said.disclosure_digest != disclosure.digest:
                continue
            try:
                self._check_approval(approval)
                if said.record_count != len(disclosure.leaves):
                    raise error(Reason.BAD_PROOF, field="approval", detail="another number of records was approved")
            except (ExchangeError, OpenQuestionError) as found:
                problem = problem or found
            else:
                return f"by {said.issuer} for {said.audience!r}"
        raise problem or OpenQuestionError("no approval", "nobody's signed and logged approval of it is in the file")
