"""Handover: how an envelope's way between relays goes on or ends."""

from __future__ import annotations

from dataclasses import replace

from infoexchange.audit import Subject
from infoexchange.errors import Reason, error
from infoexchange.node.desk import Desk, Job, other_ends
from infoexchange.receipt import Receipt
from infoexchange.states import Event


def forwarded(desk: Desk, peer: str, digest: bytes, receipt: Receipt) -> Job:
    """Return the job that a peer's receipt makes; what `Node.forwarded` promises."""
    receipt.verify(desk.directory)
    said = receipt.routing
    manifest = desk.accepted(digest)
    about = (said.event, said.this_relay, receipt.subject.envelope_digest)
    if manifest is None or about != (Event.ACCEPTED, peer, digest):
        raise error(Reason.BAD_PROOF, field="receipt", detail=f"not {peer}'s acceptance of this envelope")
    # The link into the peer's log makes the two chains of custody one.
    subject = Subject(previous_entry=receipt.link(receipt.proof.checkpoint.origin))
    change = desk.event(Event.FORWARDED, manifest, peer, subject=subject)
    return Job((replace(change, stops=(peer,), exhibit=receipt.raw),))


def ended(desk: Desk, event: Event, party: str, digest: bytes, reason: Reason) -> Job:
    """Return the job that ends a way here; what `Node.ended` promises."""
    manifest = desk.accepted(digest)
    if manifest is None:
        raise error(Reason.NOT_ADDRESSED, field="envelope_digest", detail="no such envelope was accepted here")
    change = desk.event(event, manifest, party, reason=int(reason))
    # Only the store can tell, in its transaction, that the way has not ended in another way before.
    return Job((replace(change, stops=(party,), excludes=other_ends(event)),))
