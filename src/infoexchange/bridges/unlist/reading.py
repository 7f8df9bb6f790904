"""Reading: the entries of a Consolidated List, one message each, with notes on what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from infoexchange import markup
from infoexchange.bridges import Reading
from infoexchange.bridges.unlist.entry import Entry
from infoexchange.bridges.unlist.person import read_person
from infoexchange.catalogue import Handling, SanctionsUpdate
from infoexchange.errors import Reason, error


def read(data: bytes, handling: Handling, *, now: datetime) -> Reading:
    """Return the entries of a list, and notes on what was not understood or not carried.

    Args:
        data: The list, XML as the Security Council publishes it.
        handling: The marks of every message; the list itself has none.
        now: The time of reading, by which somebody born long enough ago is of age.

    Raises:
        MalformedError: `MALFORMED` with the line where it is no XML or no such list, and `BAD_FIELD` with the line,
            while iterating, where an element stands twice that the list has once.
        RefusedError: `TOO_LARGE` beyond the bounds of `markup`.
    """
    root = markup.parse(data)
    if root.name != "CONSOLIDATED_LIST" or root.namespace:
        raise error(Reason.MALFORMED, field=root.place, detail="this is no Consolidated List of the Security Council")
    return Reading(lambda reading: _updates(root, handling, now.astimezone(UTC).year, reading))


def _updates(root: markup.Element, handling: Handling, year: int, reading: Reading) -> Iterator[SanctionsUpdate]:
    version = root.attribute("dateGenerated")
    people, bodies = root.one("INDIVIDUALS"), root.one("ENTITIES")
    for element in people.all("INDIVIDUAL") if people is not None else ():
        entry = Entry(element, handling, reading)
        if entry.read_head(version):
            read_person(entry, year)
            yield entry.finish()
    for element in bodies.all("ENTITY") if bodies is not None else ():
        entry = Entry(element, handling, reading)
        if entry.read_head(version):
            entry.organisation()
            yield entry.finish()
    for place, path in root.unread():
        reading.note(place, path, "not carried")
