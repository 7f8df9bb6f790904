"""Intake: whether a relay takes an envelope, and whom it then waits for (SPEC section Relay, steps 1 to 4)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from functools import partial

from infoexchange.audit import Subject
from infoexchange.chunks import Blob
from infoexchange.envelope import Envelope
from infoexchange.errors import Reason, error
from infoexchange.grant import Grant
from infoexchange.listing import Party, Role
from infoexchange.node import attachments
from infoexchange.node.cosigned import check_cosigned
from infoexchange.node.desk import Desk, Job
from infoexchange.node.recalls import held, stopped
from infoexchange.ports import Waiting
from infoexchange.states import Event


def decide(desk: Desk, caller: Party, raw: bytes) -> Job:
    """Return the job that accepts an envelope; what `Node.decide` promises."""
    now, seen = desk.clock(), desk.recalls_taken
    # (1) the envelope's own form; what was accepted once gets its receipt again, however late and whatever changed
    envelope = Envelope.parse(raw)
    header = envelope.header
    submitted = caller.role is Role.AGENCY
    if desk.came_from(envelope.digest) == caller.name:
        return Job((desk.event(Event.ACCEPTED, envelope.manifest),))
    desk.directory.check_current(now)
    check_cosigned(desk, now)
    # (2) the caller is the sender, or the relay that holds the sender's mailbox
    sender = desk.directory.party(header.sender, at=now)
    if caller.name != (header.sender if submitted else sender.relay) or (submitted and sender.relay != desk.name):
        raise error(Reason.NOT_PERMITTED, field="header.sender", detail=f"{caller.name} for {header.sender}")
    # (3) signature, digests, standing and time
    bundle = desk.bundle(header.sender_bundle, "header.sender_bundle")
    envelope.verify(desk.directory, bundle, now=now)
    desk.check_not_withdrawn(bundle, at=header.created_at)
    if submitted:  # what a thief dates back fails here
        bundle.verify(desk.directory, now=now)
        desk.check_not_withdrawn(bundle, at=now)
    if envelope.grant is not None:
        _check_grant(desk, envelope, envelope.grant, submitted=submitted, now=now)
    # (4) recipients that exist, with a wrap for each that this relay is to serve; every attachment is here
    hops = _next_hops(desk, envelope, submitted=submitted, now=now)
    blobs = attachments.named(desk, caller, envelope.manifest)
    came_from = "" if submitted else caller.name
    taken = partial(_take, desk, envelope, hops, came_from, blobs)
    job = taken()
    # A recall order that was taken in between is obeyed as well.
    return replace(job, late=lambda: job if desk.recalls_taken == seen else taken())


def _take(desk: Desk, envelope: Envelope, hops: Collection[str], came_from: str, blobs: tuple[Blob, ...]) -> Job:
    """Return the job that accepts an envelope for all those for whom its sender has not recalled it before."""
    manifest = envelope.manifest
    listed = [recipient.name for recipient in manifest.header.recipients]
    addressed = [wrap.recipient for wrap in envelope.wraps] if manifest.header.blind else listed
    recalled = stopped(desk, manifest, held(desk, manifest), addressed)
    ended = {party for change in recalled for party in change.stops}
    starts = tuple(name for name in hops if name not in ended)
    subject = Subject(statement_digest=manifest.header.grant)
    accepted = replace(
        desk.event(Event.ACCEPTED, manifest, came_from=came_from, subject=subject),
        envelope=envelope,
        starts=starts,
        exhibit=manifest.raw,
        blobs=blobs,
    )
    agencies = [name for name in starts if desk.relay_of(name) == desk.name]
    queued = [desk.event(Event.QUEUED, manifest, name) for name in agencies]
    # One claim for the whole job, so that its entries are refused together.
    claim = manifest.header.claim
    return Job(tuple(replace(change, claim=claim) for change in (accepted, *queued, *recalled)))


def _check_grant(desk: Desk, envelope: Envelope, grant: Grant, *, submitted: bool, now: datetime) -> None:
    """Raise unless the grant that an envelope declares covers it, as far as a relay can see."""
    bundle = desk.bundle(grant.terms.originator_bundle, "grant.originator_bundle")
    grant.verify(desk.directory, bundle)
    times = [envelope.header.created_at]
    if submitted:  # dating back gains nothing here either, for the holder or for a thief of the originator's keys
        times.append(now)
        bundle.revocation_known(desk.directory, at=now)
        desk.check_not_withdrawn(bundle, at=now)
    names = {r.name for r in envelope.header.recipients} | {wrap.recipient for wrap in envelope.wraps}
    grant.check_covers(envelope.header.sender, names, at=times)


def _next_hops(desk: Desk, envelope: Envelope, *, submitted: bool, now: datetime) -> tuple[str, ...]:
    """Return whom the envelope starts to wait for: own agencies, and the relays of others."""
    wrapped = {wrap.recipient for wrap in envelope.wraps}
    wrapped |= {recipient.name for recipient in envelope.header.recipients if recipient.epoch_kek}
    hops: dict[str, None] = {}
    for name in sorted(wrapped) if envelope.header.blind else [r.name for r in envelope.header.recipients]:
        if not submitted and desk.relay_of(name) != desk.name:
            continue  # another relay's business, also if only its directory knows the name yet
        party = desk.directory.party(name, at=now)
        if party.role is not Role.AGENCY:
            raise error(Reason.UNKNOWN_PARTY, field="header.recipients", detail=f"{party.name} is not an agency")
        own = party.relay == desk.name
        if (own or submitted) and party.name not in wrapped:
            raise error(Reason.BAD_SIGNATURE, field="envelope.wraps", detail=f"no wrap for {party.name}")
        if own or submitted:
            hops[party.name if own else party.relay] = None
    if not hops:
        raise error(Reason.NOT_ADDRESSED, field="header.recipients", detail=f"nobody behind {desk.name}")
    return tuple(hops)


def served(desk: Desk, caller: Party, waiting: Waiting) -> bytes:
    """Return a waiting envelope as the caller is to see it: with the wraps it serves and no others."""
    envelope = Envelope.parse(waiting.raw)
    if caller.role is Role.AGENCY:
        return envelope.prune({caller.name}).raw
    served = {wrap.recipient for wrap in envelope.wraps if desk.relay_of(wrap.recipient) == caller.name}
    return envelope.prune(served).raw
