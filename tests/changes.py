"""Changes as a relay makes them, for tests of stores."""

from community import NOW
from infoexchange.audit import Entry, Routing, Subject
from infoexchange.ports import Change
from infoexchange.states import Event

RELAY = "relay.aa.example"


def change(event, digest, party="", **parts):
    """Return a change with a fresh entry about a digest."""
    routing = Routing(event=event, logged_at=NOW, this_relay=RELAY, recipients=(party,) if party else ())
    entry = Entry.make(routing, Subject(envelope_digest=digest))
    return Change(entry=entry, digest=digest, party=party, event=event, **parts)


def accepted(envelope, *parties):
    """Return the change with which an envelope starts to wait for parties, by default for all its recipients."""
    starts = parties or tuple(recipient.name for recipient in envelope.header.recipients)
    claim = envelope.header.claim
    return change(Event.ACCEPTED, envelope.digest, claim=claim, envelope=envelope, starts=starts)


def delivered(digest, party):
    """Return the change with which an envelope stops to wait for a party."""
    return change(Event.DELIVERED, digest, party, stops=(party,))
