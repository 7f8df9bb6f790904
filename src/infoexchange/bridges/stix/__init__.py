"""STIX 2.1: a bundle of indicators, what they point to and where they were seen, to IndicatorSet and back.

Marks of the bundle are compared with the caller's: TLP 1 and 2 by their fixed ids, our other marks as statements.
Objects that name people, organisations or alleged actors are never read. What STIX has no property for travels in an
external reference of source `infoexchange`, so that a message comes back as it went.
"""

from __future__ import annotations

from infoexchange.bridges.stix.reading import read
from infoexchange.bridges.stix.writing import write

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the bundle.",
    "Written: notes on attachments; a record marked like its message comes back without a mark of its own.",
    "Read: objects of other types, above all identities and actors, and links to them; revoked objects.",
    "Read: properties that IndicatorSet has no field for (each is noted); digits of a second after the ninth.",
    "Read: a mark on part of an object becomes a mark on the whole object.",
)

__all__ = ["LOSSES", "read", "write"]
