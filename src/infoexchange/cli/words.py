"""Words: what log entries, verdicts and events mean, for people who have never seen a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoexchange.audit import Routing


def told(said: Routing) -> str:
    """Return one event in words that a court can read."""
    from infoexchange.errors import Reason
    from infoexchange.states import Event

    reason = Reason(said.reason).word if said.reason in set(Reason) else f"number {said.reason}"
    who = ", ".join(said.recipients)
    words = {
        Event.ACCEPTED: f"{said.this_relay} accepted it from {said.previous_relay or said.sender}",
        Event.FORWARDED: f"{said.this_relay} handed it to {said.next_relay} and holds its receipt",
        Event.QUEUED: f"{said.this_relay} kept it ready for {who}",
        Event.DELIVERED: f"{said.this_relay} handed it to {who}",
        Event.OPENED: f"{who} stated, signed, that it was opened",
        Event.REFUSED: f"it was refused for {who or said.next_relay}, reason {reason}",
        Event.KEY_BUNDLE: f"{said.this_relay} published new keys of {said.sender}, which withdraw older ones",
        Event.AUDIT_DISCLOSURE: "it was stated, signed, that records of it are shown to somebody"
        if said.sender
        else f"the operator of {said.this_relay} showed records of this log to somebody",
        Event.CONFIG_CHANGE: f"{said.this_relay} started with other settings, or other software, than before",
        Event.PEER_CHECKPOINT: f"{said.this_relay} saw a checkpoint of {said.previous_relay}",
        Event.EXPIRED: f"its time ran out before {who} fetched it",
        Event.UNDELIVERABLE: f"{said.this_relay} could not bring it to {who or said.next_relay}, reason {reason}",
        Event.RECALLED: f"{said.this_relay} stopped it for {who}, as its sender had ordered",
        Event.DESTROYED: f"{who} stated, signed, that its content key is destroyed",
        Event.RECOVERY: f"{said.this_relay} began a new log, because the one before could not go on",
        Event.RECALL_ORDERED: f"{said.this_relay} took {said.sender}'s order to recall it for {who}",
        Event.RECALL_FORWARDED: f"{said.this_relay} handed that order to {said.next_relay} and holds its receipt",
        Event.RECALL_FAILED: f"{said.next_relay} did not take that order, reason {reason}",
    }
    return words.get(said.event, said.event.name)


# What each event records, for a list of words at the end of a report.
EVENTS = {
    "ACCEPTED": "a relay took a message from an agency or from another relay",
    "FORWARDED": "a relay handed a message to the next relay, and holds that relay's receipt",
    "QUEUED": "a message lies ready for one recipient",
    "DELIVERED": "one recipient has the bytes of a message",
    "OPENED": "one recipient stated, signed, that it opened a message",
    "REFUSED": "a recipient or a relay did not take a message, and said why",
    "RECALLED": "a message was stopped before a recipient got it, as its sender had ordered",
    "EXPIRED": "the time of a message ran out before a recipient fetched it",
    "UNDELIVERABLE": "a relay gave a message up for one recipient or relay, because it can never get there",
    "DESTROYED": "one recipient stated, signed, that the key of a message is destroyed",
    "RECALL_ORDERED": "a relay took a sender's order to recall a message",
    "RECALL_FORWARDED": "a relay handed such an order to the next relay, and holds its receipt",
    "RECALL_FAILED": "the next relay did not take such an order",
    "LOG_GENESIS": "a log began",
    "LOG_CLOSE": "a log ended with its half-year; the next one names its last state",
    "RECOVERY": "a log began in the place of one that could not go on, and names where that one stood",
    "DIRECTORY_VERSION": "a version of the directory, which says who is who, came into force",
    "KEY_BUNDLE": "an agency's keys, or newer lists of revoked certificates, were published",
    "CONFIG_CHANGE": "a relay started with other settings, or with another version of its software, than before",
    "PEER_CHECKPOINT": "a relay saw, in that hour, the signed state of a neighbour's log",
    "RECORDS_PRUNED": "a relay was about to erase the records of old messages; entries and proofs stay",
    "AUDIT_DISCLOSURE": "a party of a message stated, signed, that parts of it are shown to somebody; or the operator "
    "of a relay showed records of its log",
}

VERDICTS = {
    "TOTAL-PASSED": "Every check passed.",
    "TOTAL-FAILED": "At least one check failed.",
    "INDETERMINATE": "Nothing failed, and something could not be settled with what was there.",
}
