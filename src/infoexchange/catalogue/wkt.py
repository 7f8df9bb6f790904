"""WKT: a line or an area as well-known text, the form in which tables carry shapes.

Longitude stands first, as in OGC 06-103r4 and RFC 7946. A third number is the altitude.
"""

from __future__ import annotations

import re
from typing import Any

from infoexchange.catalogue.v1 import common_pb2

_NUMBER = r"[-+]?[0-9]{1,20}(?:\.[0-9]{0,20})?(?:[eE][-+]?[0-9]{1,3})?"
_POINT = re.compile(rf"\s*({_NUMBER})\s+({_NUMBER})(?:\s+({_NUMBER}))?\s*")
_SHAPE = re.compile(r"\s*(LINESTRING|POLYGON)\s*(?:Z\s*)?\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
# What a Geometry may hold, by its own rules.
RINGS_MAX, POINTS_MAX = 100, 10_000


def write_wkt(shape: Any) -> str:
    """Return the text of a Geometry; altitudes only where every point has one."""
    high = all(point.HasField("altitude_m") for ring in shape.rings for point in ring.points)

    def text(ring: Any) -> str:
        return ", ".join(
            f"{point.longitude!r} {point.latitude!r}" + (f" {point.altitude_m!r}" if high else "")
            for point in ring.points
        )

    rings = [f"({text(ring)})" for ring in shape.rings]
    is_area = shape.kind == common_pb2.GEOMETRY_KIND_POLYGON
    name = ("POLYGON" if is_area else "LINESTRING") + (" Z " if high else " ")
    return name + (f"({', '.join(rings)})" if is_area else "".join(rings[:1]))


def read_wkt(text: str) -> Any:
    """Return the Geometry a text says.

    Raises:
        ValueError: For any other shape, more rings or points than a Geometry holds, or places outside the globe.
    """
    found = _SHAPE.fullmatch(text)
    if not found:
        raise ValueError("not a POLYGON or LINESTRING in well-known text")
    is_area = found[1].upper() == "POLYGON"
    shape = common_pb2.Geometry(
        kind=common_pb2.GEOMETRY_KIND_POLYGON if is_area else common_pb2.GEOMETRY_KIND_LINE,
    )
    inner = found[2].strip()
    if is_area:
        if not (inner.startswith("(") and inner.endswith(")")):
            raise ValueError("a ring is not in brackets")
        pieces = re.split(r"\)\s*,\s*\(", inner[1:-1])
    else:
        pieces = [inner]
    if len(pieces) > RINGS_MAX or inner.count(",") > RINGS_MAX * POINTS_MAX:
        raise ValueError("more rings or points than a shape holds")
    for piece in pieces:
        ring = shape.rings.add()
        for part in piece.split(","):
            numbers = _POINT.fullmatch(part)
            if not numbers:
                raise ValueError("a point is not two or three numbers")
            add_point(ring, *(float(number) for number in numbers.groups() if number))
    check_shape(shape)
    return shape


def add_point(ring: Any, longitude: float, latitude: float, altitude: float | None = None) -> None:
    """Add a point to a ring.

    Raises:
        ValueError: For a place outside the globe.
    """
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise ValueError("outside the globe: longitude comes first, then latitude, in degrees")
    point = ring.points.add(longitude=longitude, latitude=latitude)
    if altitude is not None:
        point.altitude_m = altitude


def check_shape(shape: Any) -> None:
    """Accept a shape whose rings have enough points, and not too many; rings of areas that are open are closed.

    Raises:
        ValueError: For any other.
    """
    is_area = shape.kind == common_pb2.GEOMETRY_KIND_POLYGON
    for ring in shape.rings:
        if is_area and len(ring.points) > 1 and ring.points[0] != ring.points[-1]:
            ring.points.add().CopyFrom(ring.points[0])
        if len(ring.points) < (4 if is_area else 2):
            raise ValueError("a ring has too few points")
        if len(ring.points) > POINTS_MAX:
            raise ValueError(f"a ring has more than {POINTS_MAX} points")
    if not 1 <= len(shape.rings) <= RINGS_MAX:
        raise ValueError(f"a shape has 1 to {RINGS_MAX} rings")
