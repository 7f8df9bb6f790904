"""STIX 2.1: a bundle to IndicatorSet, CyberIncidentReport, FraudAlert or PersonNotice and back, one message a bundle.

Marks of the bundle are compared with the caller's: TLP 1 and 2 by their fixed ids, our other marks as statements. What
STIX has no property for travels in an external reference of source `infoexchange`, so that a message comes back as it
went.

A bundle that somebody else wrote becomes an IndicatorSet, and a CyberIncidentReport for each incident in it. Objects in
it that name people, organisations, places or alleged actors are never read. Identities and locations are read only in
a bundle of ours, and only those that our own writer made. No object of ours needs `allow_custom` of another reader.
"""

from __future__ import annotations

from infoexchange.bridges.stix.reading import read
from infoexchange.bridges.stix.writing import write

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the bundle.",
    "Written: fields of a newer version of the message, and notes on attachments.",
    "Written: a record marked like its message comes back without a mark of its own.",
    "Read: objects of other types, above all identities and actors of others, and links to them; revoked objects.",
    "Read: of an incident of others its number, name and description; its kind is other:undetermined, its links go.",
    "Written: digits of a second after the sixth.",
    "Read: properties that the message has no field for (each is noted); digits of a second after the ninth.",
    "Read: a mark on part of an object becomes a mark on the whole object.",
)

__all__ = ["LOSSES", "read", "write"]
