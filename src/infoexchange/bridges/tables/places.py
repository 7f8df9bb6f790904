"""Places: where something was, in four columns: a position, a code, a country, and words.

A place is said in one way only, so the first of these that a row has is taken: the position, the code (UN/LOCODE, ISO
3166-2 or MGRS, told apart by their shapes), the country with the words as its locality, the words. Words beside a
position or a code become its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from infoexchange.bridges.tables.columns import COUNTRY, TEXT, Column, Kind, cells_of, fill
from infoexchange.catalogue import GeoPoint, Location

_LOCODE = re.compile(r"[A-Z]{2}[A-Z2-9]{3}")
_SUBDIVISION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
_GRID = re.compile(r"[0-9]{1,2}[C-HJ-NP-X][A-HJ-NP-Z]{2}([0-9]{2}){0,5}")


def _read(record: Any, field: str, text: str) -> str:
    degrees = to_degrees(text, 90 if field == "latitude" else 180)
    if degrees is None:
        return "not a number of degrees"
    setattr(record, field, degrees)
    return ""


def write_degrees(record: Any, field: str) -> str:
    """Return a number of degrees, if there is one, with as many digits as it needs to come back the same."""
    return repr(getattr(record, field)).removesuffix(".0") if record.HasField(field) else ""


DEGREES = Kind("degrees, WGS 84", _read, write_degrees, is_number=True)


_POINT = (Column("latitude", "latitude", DEGREES), Column("longitude", "longitude", DEGREES))


def columns(field: str) -> tuple[Column, ...]:
    """Return the columns of a place that stands in this field of a message."""
    return (
        Column("latitude", f"{field}.point.latitude", DEGREES),
        Column("longitude", f"{field}.point.longitude", DEGREES),
        Column("place_code", f"{field}.un_locode, {field}.subdivision, {field}.mgrs", TEXT),
        Column("place", f"{field}.stated_text, {field}.names", TEXT),
        Column("country", f"{field}.address.country", COUNTRY),
    )


def read(place: Location, cells: Mapping[str, str], asserted_by: str, note: Callable[[str, str], None]) -> None:
    """Put what the columns say into a place.

    Args:
        place: The place.
        cells: What the row says.
        asserted_by: Who uses the name, where there is one.
        note: Takes the name of a column and what is wrong with its cell.
    """
    words, code = cells.get("place", ""), cells.get("place_code", "").upper().replace(" ", "")
    country = cells.get("country", "")
    point = GeoPoint()
    fill(point, _POINT, cells, note)
    if point.HasField("latitude") and point.HasField("longitude"):
        place.point.CopyFrom(point)
    elif code and not _set_code(place, code):
        note("place_code", "no UN/LOCODE, ISO 3166-2 or MGRS: left out")
    if place.WhichOneof("place"):
        if words:
            place.names.add(text=words, asserted_by=asserted_by or "the table")
        if country:
            note("country", "a place is said in one way only: left out")
    elif country and not COUNTRY.read(place.address, "country", country):
        place.address.locality = words
    elif words or country:
        place.stated_text = words or country
        if words and country:
            note("country", "not a country of two letters, ISO 3166-1: left out")


def _set_code(place: Location, code: str) -> bool:
    for field, shape in (("un_locode", _LOCODE), ("subdivision", _SUBDIVISION), ("mgrs", _GRID)):
        if shape.fullmatch(code):
            setattr(place, field, code)
            return True
    return False


def to_degrees(text: str, limit: int) -> float | None:
    """Return a number of degrees from minus to plus the limit, or None."""
    try:
        degrees = float(text)
    except ValueError:
        return None
    # Python's own way to write numbers knows more digits, and underscores.
    return degrees if text.isascii() and "_" not in text and -limit <= degrees <= limit else None


def write(place: Location) -> dict[str, str]:
    """Return the cells of a place."""
    cells = {"place": place.names[0].text if place.names else ""}
    kind = place.WhichOneof("place")
    if kind == "point":
        cells |= cells_of(place.point, _POINT)
    elif kind in {"un_locode", "subdivision", "mgrs"}:
        cells["place_code"] = getattr(place, kind)
    elif kind == "stated_text":
        cells["place"] = place.stated_text
    elif kind == "address":
        cells["country"] = place.address.country
        cells["place"] = cells["place"] or place.address.locality
    return cells
