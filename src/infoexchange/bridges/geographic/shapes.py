"""Shapes: coordinates of GeoJSON and ArcGIS as points, lines and areas of the catalogue, and back.

Everything is WGS 84, longitude first (RFC 7946 section 4 and 3.1.1). The edge of an area runs counterclockwise, holes
run clockwise (section 3.1.6); what a file has the other way round is turned, on reading and on writing alike. No digit
is added or taken away: how exact a position is, only its accuracy says.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from infoexchange.catalogue import Geometry, GeometryKind, cells, wkt

Position = list[float]
AREA, LINE = GeometryKind.GEOMETRY_KIND_POLYGON, GeometryKind.GEOMETRY_KIND_LINE


def to_point(found: Any) -> Any:
    """Return the point of a position.

    Raises:
        ValueError: For anything but a position on the globe.
    """
    shape = Geometry()
    wkt.add_point(shape.rings.add(), *_position(found))
    return shape.rings[0].points[0]


def to_line(found: Any) -> Any:
    """Return the line of a list of positions.

    Raises:
        ValueError: For anything else.
    """
    shape = Geometry(kind=LINE)
    _add_ring(shape, found)
    wkt.check_shape(shape)
    return shape


def to_area(found: Any) -> Any:
    """Return the area of a list of rings, its edge first.

    Raises:
        ValueError: For anything else.
    """
    if not isinstance(found, list) or not 1 <= len(found) <= wkt.RINGS_MAX:
        raise ValueError(f"an area is a list of 1 to {wkt.RINGS_MAX} rings")
    shape = Geometry(kind=AREA)
    for ring in found:
        _add_ring(shape, ring)
    wkt.check_shape(shape)
    return turned(shape)


def _add_ring(shape: Any, found: Any) -> None:
    if not isinstance(found, list) or not 2 <= len(found) <= wkt.POINTS_MAX:
        raise ValueError(f"a ring is a list of 2 to {wkt.POINTS_MAX} positions")
    ring = shape.rings.add()
    for position in found:
        wkt.add_point(ring, *_position(position))


def _position(found: Any) -> Position:
    """Return longitude, latitude and perhaps altitude; a longitude beyond 180 degrees is brought back once around."""
    if not isinstance(found, list) or not 2 <= len(found) <= 3:
        raise ValueError("a position is longitude, latitude and perhaps altitude")
    numbers = []
    for number in found:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError("a position is made of numbers")
        numbers.append(cells.read_number(repr(number)))
    if 180 < abs(numbers[0]) <= 360:
        # Files whose shapes cross the antimeridian often count on; the place is the same.
        numbers[0] -= 360 if numbers[0] > 0 else -360
    return numbers


def position_of(point: Any) -> Position:
    """Return a point as longitude, latitude and, where it has one, altitude."""
    position = [point.longitude, point.latitude]
    return [*position, point.altitude_m] if point.HasField("altitude_m") else position


def rings_of(shape: Any) -> list[list[Position]]:
    """Return the rings of a shape as lists of positions."""
    return [[position_of(point) for point in ring.points] for ring in shape.rings]


def turned(shape: Any) -> Any:
    """Return an area whose edge runs counterclockwise and whose holes run clockwise; lines stay as they are."""
    made = Geometry()
    made.CopyFrom(shape)
    if made.kind != AREA:
        return made
    for index, ring in enumerate(made.rings):
        twice = area_twice([position_of(point) for point in ring.points])
        if (twice < 0) if index == 0 else (twice > 0):
            points = list(ring.points)[::-1]
            del ring.points[:]
            ring.points.extend(points)
    return made


def area_twice(ring: Sequence[Position]) -> float:
    """Return twice the area of a ring in square degrees, negative where it runs clockwise."""
    flat = unrolled(ring)
    # Counted from the first point, so that small rings far from the origin keep their digits.
    moved = [(position[0] - flat[0][0], position[1] - flat[0][1]) for position in flat]
    pairs = zip(moved, moved[1:] + moved[:1], strict=True)
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)


def unrolled(ring: Sequence[Position]) -> list[Position]:
    """Return a ring whose longitudes run on beyond 180 degrees instead of jumping at the antimeridian."""
    found: list[Position] = []
    shift = 0.0
    for position in ring:
        if found:
            step = position[0] + shift - found[-1][0]
            shift += 360 if step < -180 else -360 if step > 180 else 0
        found.append([position[0] + shift, *position[1:]])
    return found


def crosses(shape: Any) -> bool:
    """Tell whether a shape crosses the antimeridian: whether a longitude jumps by more than half the globe."""
    return any(
        abs(one.longitude - two.longitude) > 180
        for ring in shape.rings
        for one, two in zip(ring.points, ring.points[1:], strict=False)
    )


def cut(shape: Any) -> list[list[list[Position]]]:
    """Return the parts of an area on both sides of the antimeridian, so that none crosses it (RFC 7946, 3.1.9).

    Raises:
        ValueError: For a line, an area around a pole, an edge that crosses more than once and back, a hole across it.
    """
    rings = [unrolled(ring) for ring in rings_of(shape)]
    if shape.kind != AREA or any(abs(ring[0][0] - ring[-1][0]) > 180 for ring in rings):
        raise ValueError("only an area with two sides can be cut")
    # All rings on the same turn of the globe as the edge, then one part for each turn they lie in.
    first = rings[0][0][0]
    rings = [[[x + 360 * round((first - ring[0][0]) / 360), *rest] for x, *rest in ring] for ring in rings]
    longitudes = [position[0] for position in rings[0]]
    turns = range(int((min(longitudes) + 180) // 360), int((max(longitudes) + 180) // 360) + 1)
    if len(turns) > 2:
        raise ValueError("wider than the globe")
    for border in (360 * turn + 180 for turn in turns):
        crossed = [_crossings(ring, border) for ring in rings]
        if crossed[0] > 2 or any(crossed[1:]):
            raise ValueError("the parts would touch themselves along the cut")
    parts = []
    for turn in turns:
        low = 360 * turn - 180
        clipped = [_clipped(_clipped(ring, low, 1), low + 360, -1) for ring in rings]
        kept = [[[x - 360 * turn, *rest] for x, *rest in ring] for ring in clipped if ring]
        if clipped[0]:
            parts.append(kept)
    return parts


def _crossings(ring: Sequence[Position], border: float) -> int:
    """Return how often a closed ring changes from one side of a meridian to the other."""
    sides = [position[0] > border for position in ring if position[0] != border]
    return sum(one != two for one, two in zip(sides, sides[1:] + sides[:1], strict=True))


def _clipped(ring: list[Position], border: float, side: int) -> list[Position]:
    """Return the part of a ring on one side of a meridian (Sutherland and Hodgman), closed."""
    found: list[Position] = []
    for one, two in itertools.pairwise(ring):
        inside_one, inside_two = (one[0] - border) * side >= 0, (two[0] - border) * side >= 0
        if inside_one:
            found.append(one)
        if inside_one != inside_two and one[0] != border and two[0] != border:
            share = (border - one[0]) / (two[0] - one[0])
            pairs = zip(one[1:], two[1:], strict=False)
            found.append([border, *(a + share * (b - a) for a, b in pairs)])
    flat = found[:1] + [two for one, two in itertools.pairwise(found) if one != two]
    # A ring that only touches the meridian has no part beyond it.
    if len({tuple(position) for position in flat}) < 3 or all(position[0] == border for position in flat):
        return []
    return flat if flat[0] == flat[-1] else [*flat, flat[0]]
