"""Areas: polygons, circles and codes of CAP, and Location with its radius."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from infoexchange.catalogue import GeometryKind, Location
from infoexchange.markup import Element

# Names of codes for places; CAP leaves them to whoever writes.
_CODES = {"UN/LOCODE": "un_locode", "ISO3166-2": "subdivision", "MGRS": "mgrs"}
_NUMBER = r"([+-]?[0-9]{1,4}(?:\.[0-9]{0,30})?)"
_POINT = re.compile(f"{_NUMBER},{_NUMBER}")
_CIRCLE = re.compile(f"{_NUMBER},{_NUMBER} ([0-9]{{1,6}}(?:\\.[0-9]{{0,30}})?)")
_FIGURES_MAX = 15  # behind the point of a degree
_POINTS_MAX = 10_000  # as many as a ring holds
_SHAPES = ("polygon", "circle", "geocode")


def _figure(number: float) -> str:
    """Return a number in figures, to the last one or to far less than a hair's breadth."""
    text = f"{Decimal(repr(number)):f}"
    return text if len(text.partition(".")[2]) <= _FIGURES_MAX else f"{number:.{_FIGURES_MAX}f}"


def _point(point: Any) -> str:
    return f"{_figure(point.latitude)},{_figure(point.longitude)}"


def add_area(parent: Element, text: str, place: Any, radius_m: int | None) -> Element:
    """Add an area; what CAP has no shape for is only described."""
    area = parent.add("area")
    area.add("areaDesc", text)
    kind = place.WhichOneof("place")
    if kind == "geometry" and place.geometry.kind == GeometryKind.GEOMETRY_KIND_POLYGON:
        # Without its holes an area is larger, and nobody is warned too little.
        area.add("polygon", " ".join(_point(point) for point in place.geometry.rings[0].points))
    elif kind == "point" and place.point.HasField("latitude") and place.point.HasField("longitude"):
        # A point is a circle of no radius.
        area.add("circle", f"{_point(place.point)} {Decimal(radius_m or 0) / 1000:f}")
    for name, field in _CODES.items():
        if kind == field:
            code = area.add("geocode")
            code.add("valueName", name)
            code.add("value", getattr(place, field))
    return area


def shape(area: Element) -> tuple[str, ...]:
    """Return what an area says, to see whether two say the same."""
    found = [area.value("areaDesc")]
    for name in _SHAPES:
        for element in area.all(name):
            found += [name, element.words, element.value("valueName"), element.value("value")]
    return tuple(found)


def read_areas(info: Element) -> Iterator[tuple[Element, str, Location | None, int | None]]:
    """Give element, text, place and radius of every area; one with several shapes is given once for each.

    Raises:
        MalformedError: `BAD_FIELD` with the line of a shape that cannot be read.
    """
    for area in info.all("area"):
        text = area.value("areaDesc")
        shapes = [element for name in _SHAPES for element in area.all(name)]
        if not shapes:
            yield area, text, None, None
        for element in shapes:
            if element.name == "geocode":
                field = _CODES.get(element.value("valueName"), "")
                place = Location()
                if field:
                    setattr(place, field, element.value("value"))
                    yield area, text, place, None
                elif len(shapes) == 1:
                    yield area, f"{text} ({element.value('valueName')} {element.value('value')})", None, None
                continue
            if element.name == "circle":
                yield area, text, *_circle(element)
            else:
                yield area, text, _polygon(element), None


def _circle(element: Element) -> tuple[Location, int | None]:
    found = _CIRCLE.fullmatch(element.words)
    if found is None:
        raise element.refused("a circle such as 1.25,104.5 4.2 is needed: latitude, longitude, kilometres")
    place = Location()
    _set_point(place.point, element, found[1], found[2])
    radius = Decimal(found[3]) * 1000
    return place, int(radius.to_integral_value(rounding="ROUND_UP")) if radius else None


def _polygon(element: Element) -> Location:
    place = Location()
    place.geometry.kind = GeometryKind.GEOMETRY_KIND_POLYGON
    ring = place.geometry.rings.add()
    pairs = element.words.split(" ")
    if not 4 <= len(pairs) <= _POINTS_MAX or pairs[0] != pairs[-1]:
        raise element.refused(f"a polygon has 4 to {_POINTS_MAX} points and ends where it begins")
    for pair in pairs:
        found = _POINT.fullmatch(pair)
        if found is None:
            raise element.refused("points such as 1.25,104.5 are needed: latitude, longitude")
        _set_point(ring.points.add(), element, found[1], found[2])
    return place


def _set_point(point: Any, element: Element, latitude: str, longitude: str) -> None:
    point.latitude, point.longitude = float(latitude), float(longitude)
    if abs(point.latitude) > 90 or abs(point.longitude) > 180:
        raise element.refused("latitude is at most 90 degrees, longitude at most 180")
