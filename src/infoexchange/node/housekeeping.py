"""Housekeeping: what a relay logs about itself: its settings, whom it saw, and what its operator shows to others.

None of it is about a message. SPEC section Audit log.
"""

from __future__ import annotations

from hashlib import sha256

from infoexchange.audit import Operation, Routing, Subject
from infoexchange.errors import Reason, error
from infoexchange.node.desk import Desk, Job
from infoexchange.ports import Change
from infoexchange.states import Event
from infoexchange.tlog import Checkpoint

# Specification constants
DETAIL_MAX = 1000  # characters: a file number and a name, no letter
REQUEST_SIZE = 32  # random bytes that name a request, so that it is logged once

_SETTINGS = sha256(b"infoexchange settings").digest()  # what all entries about settings are about: no envelope has it


def configured(desk: Desk, settings: bytes, software: str) -> Job | None:
    """Return the job that logs settings and software; nothing if both are as they were last logged."""
    logged = [record for record in desk.records(_SETTINGS) if record.event is Event.CONFIG_CHANGE]
    if logged:
        last = Operation.parse(logged[-1].entry.operational)
        if (last.config, last.software) == (settings, software):
            return None
    operation = Operation(config=settings, software=software)
    return Job((_change(desk, Event.CONFIG_CHANGE, _SETTINGS, f"{desk.name} {len(logged)}", operation),))


def peer_seen(desk: Desk, checkpoint: Checkpoint) -> Job:
    """Return the job that logs a neighbour's checkpoint, once in each hour for each of its logs."""
    peer = checkpoint.origin.partition("/")[0]
    own = checkpoint.only_signatures(line for line in checkpoint.note.signatures if line.name == checkpoint.origin)
    about = sha256(checkpoint.origin.encode()).digest()
    hour = f"{peer} {desk.clock():%Y-%m-%dT%H}"
    return Job((_change(desk, Event.PEER_CHECKPOINT, about, hour, Operation(data=own.raw), peer),))


def shown(desk: Desk, request: bytes, detail: str) -> Job:
    """Return the job that logs what an operator shows of the log; the same request again is logged once."""
    if len(request) != REQUEST_SIZE:
        raise error(Reason.BAD_FIELD, field="request", detail=f"{len(request)} bytes, not {REQUEST_SIZE}")
    if not detail or len(detail) > DETAIL_MAX or not detail.isprintable():
        raise error(Reason.BAD_FIELD, field="detail", detail=f"a line of 1 to {DETAIL_MAX} characters is needed")
    return Job((_change(desk, Event.AUDIT_DISCLOSURE, request, "", Operation(detail=detail)),))


def _change(desk: Desk, event: Event, about: bytes, party: str, operation: Operation, peer: str = "") -> Change:
    routing = Routing(event=event, logged_at=desk.clock(), this_relay=desk.name, previous_relay=peer)
    subject = Subject(directory_digest=desk.directory.digest)
    return desk.change(routing, subject, about, party, operation=operation)
