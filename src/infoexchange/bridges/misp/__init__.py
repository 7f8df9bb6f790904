"""MISP events as JSON: to IndicatorSet and CyberIncidentReport and back, one event for each message.

An event that is tagged with the taxonomy `rsit` describes an incident and becomes a CyberIncidentReport; where it holds
what such a report has no room for, an IndicatorSet of the same number follows with the indicators. Every other event
becomes an IndicatorSet. Tags `tlp:`, `PAP:` and our own are marks, compared with the caller's; tags of the taxonomy
`exercise` mean OP_STATUS:EXERCISE. What names people, organisations, targets or alleged actors is never read. What MISP
has no place for travels in text attributes with the comment `infoexchange 1 of 1`, so that a message comes back as it
went, without what was deleted in between.
"""

from __future__ import annotations

from infoexchange.bridges.misp.reading import read
from infoexchange.bridges.misp.writing import write

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, legal basis and dates of Handling come from the caller; gradings on other scales "
    "than the Admiralty's, confidence and likelihood of the whole too.",
    "Written: fields of a newer version of the message, and notes on attachments.",
    "Written: a record marked like its message comes back without a mark of its own.",
    "Written: distribution is always the own organisation only, and the event is not published: a person widens it.",
    "Read: attributes about people, organisations, targets, accounts and actors; galaxies but ATT&CK techniques; "
    "links, comments, files, proposals; organisations and the date, analysis and threat level of the event.",
    "Read: which side of a connection an address was on; a value is written back in the most usual attribute type.",
    "Read: an object becomes relationships between its attributes, its own relations those of its first attribute.",
    "Read: a mark on one attribute becomes a mark on the whole message; digits of a second after the ninth.",
)

__all__ = ["LOSSES", "read", "write"]
