"""Approvals: what a relay logs when records of a message are shown to somebody (SPEC section Relay, steps 12 to 14)."""

from __future__ import annotations

from dataclasses import replace

from infoexchange.approval import Approval
from infoexchange.audit import Subject
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.errors import Reason, error
from infoexchange.listing import Party
from infoexchange.manifest import Manifest
from infoexchange.node.desk import Desk, Job
from infoexchange.ports import Notice
from infoexchange.states import Event
from infoexchange.suites import suite_of

# Specification constants
DISCLOSURES_MAX = 8  # of one message by one party: with 64 recipients the history still fits into one answer


def decide_approval(desk: Desk, caller: Party, notice: Notice) -> Job:
    """Return the job that the approval of a disclosure makes; part of what `Node.decide_notice` promises."""
    now = desk.clock()
    # (12) the caller sent or was sent an envelope that was accepted here
    manifest = desk.accepted(notice.digest)
    received = any(r.event is Event.QUEUED and r.party == caller.name for r in desk.records(notice.digest))
    sent = manifest is not None and caller.name == manifest.header.sender
    if manifest is None or not (received or sent) or caller.relay != desk.name:
        raise error(Reason.NOT_ADDRESSED, field="envelope_digest", detail=f"nothing of that name for {caller.name}")
    # (13) an approval about this envelope, by this party
    approval = Approval.parse(notice.statement)
    said = approval.statement
    if (said.envelope_digest, said.issuer) != (notice.digest, caller.name):
        raise error(Reason.BAD_FIELD, field="approval", detail="it speaks of something else")
    if said.at > now + CLOCK_SKEW:
        raise error(Reason.NOT_YET_VALID, field="approval.at_ms", detail="more than five minutes in the future")
    number, known = _number(desk, caller, manifest, approval)
    if not known:
        # (14) signed with a bundle published here
        bundle = desk.bundle(said.issuer_bundle, "approval.issuer_bundle")
        bundle.verify(desk.directory, now=now)
        desk.check_not_withdrawn(bundle, at=now)
        approval.verify(desk.directory, bundle, suite_of(manifest.header.suite))
    change = desk.event(
        Event.AUDIT_DISCLOSURE,
        manifest,
        caller.name if received else "",
        subject=Subject(statement_digest=approval.digest),
    )
    return Job((replace(change, party=f"{caller.name} {number}", exhibit=approval.raw),))


def _number(desk: Desk, caller: Party, manifest: Manifest, approval: Approval) -> tuple[int, bool]:
    """Return which disclosure by this party it is, and whether it is logged already.

    Two that are decided at the same time may get one number; then the store keeps the first, and the other's receipt
    names that one.
    """
    logged = [r for r in desk.records(manifest.digest) if r.event is Event.AUDIT_DISCLOSURE]
    own = [r.exhibit for r in logged if r.party.partition(" ")[0] == caller.name]
    digests = [Approval.parse(exhibit).digest for exhibit in own]
    if approval.digest in digests:
        return digests.index(approval.digest), True
    if len(digests) >= DISCLOSURES_MAX:
        detail = f"{len(digests)} disclosures of this message are logged, at most {DISCLOSURES_MAX}"
        step = "Show a disclosure that is logged already, or ask another party of the message."
        raise error(Reason.TOO_LARGE, field="approval", detail=detail, next_step=step)
    return len(digests), False
