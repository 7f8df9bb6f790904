"""Statements: what recipients say of an envelope, and what a relay makes of it (SPEC section Relay, steps 5 to 7)."""

from __future__ import annotations

from dataclasses import replace

from infoexchange.acknowledgement import Acknowledgement
from infoexchange.audit import Subject
from infoexchange.certificates import CLOCK_SKEW
from infoexchange.errors import Reason, error
from infoexchange.listing import Party
from infoexchange.node.desk import Desk, Job
from infoexchange.ports import Notice
from infoexchange.states import Event
from infoexchange.suites import suite_of


def decide_notice(desk: Desk, caller: Party, notice: Notice) -> Job:
    """Return the job that an acknowledgement makes; what `Node.decide_notice` promises."""
    now = desk.clock()
    # (5) the caller is a recipient of an envelope that was accepted here
    manifest = desk.accepted(notice.digest)
    queued = any(r.event is Event.QUEUED and r.party == caller.name for r in desk.records(notice.digest))
    if manifest is None or not queued or caller.relay != desk.name:
        raise error(Reason.NOT_ADDRESSED, field="envelope_digest", detail=f"nothing of that name for {caller.name}")
    # What was recalled is not delivered any more; a recipient that had fetched it before may still say what it did.
    stopped = replace(desk.event(Event.DELIVERED, manifest, caller.name), stops=(caller.name,))
    delivered = replace(stopped, excludes=(Event.RECALLED,))
    if notice.state is Event.DELIVERED:
        return Job((delivered,))
    # (6) a statement about this envelope, by this recipient, in this state
    acknowledgement = Acknowledgement.parse(notice.statement)
    said = acknowledgement.statement
    if (said.envelope_digest, said.issuer, said.state) != (notice.digest, caller.name, notice.state):
        raise error(Reason.BAD_FIELD, field="statement", detail="it speaks of something else")
    if said.state is not Event.REFUSED and said.content_commitment != manifest.header.content_commitment:
        raise error(Reason.BAD_COMMITMENT, field="statement.content_commitment", detail="not the one signed")
    if said.at > now + CLOCK_SKEW:
        raise error(Reason.NOT_YET_VALID, field="statement.at_ms", detail="more than five minutes in the future")
    # (7) signed with a bundle published here
    bundle = desk.bundle(said.issuer_bundle, "statement.issuer_bundle")
    bundle.verify(desk.directory, now=now)
    desk.check_not_withdrawn(bundle, at=now)
    acknowledgement.verify(desk.directory, bundle, suite_of(manifest.header.suite))
    subject = Subject(statement_digest=acknowledgement.digest)
    stated = desk.event(said.state, manifest, caller.name, reason=said.reason, subject=subject)
    stated = replace(stated, exhibit=acknowledgement.raw)
    # Only the store can tell, in its transaction, what the recipient has said before.
    if said.state is Event.DESTROYED:
        return Job((replace(stated, requires=(Event.OPENED,)),))
    other = Event.REFUSED if said.state is Event.OPENED else Event.OPENED
    return Job((delivered, replace(stated, excludes=(other,))), answer=1)
