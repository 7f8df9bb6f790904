"""GeoJSON (RFC 7946): reports on hazards, land release, accidents, risk education and incidents at sea, and back.

One feature is one report; of a LandReleaseReport one feature is one released area, and features with the same number
are one report. The properties are the columns of the forms. Coordinates are WGS 84, longitude first; a file that names
another reference system is refused, because guessing would move a minefield.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from infoexchange.bridges import Reading
from infoexchange.bridges.geographic import features, shapes
from infoexchange.bridges.geographic.document import bad, load, numbered, text_of
from infoexchange.catalogue import Geometry, Handling, labels, wkt
from infoexchange.errors import Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.catalogue.forms import Form

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the file.",
    "Both ways: edges of areas run counterclockwise and holes clockwise; a shape that runs otherwise is turned.",
    "Written: values and fields of a newer version of a message type.",
    "Written: an empty record, such as numbers of people without a number.",
    "Read: the time of day where a field holds a day.",
    "Read: a longitude beyond 180 degrees, up to 360, is that of the same place within 180.",
    "Read: shapes of several parts, and shapes that the message type has no place for (each is noted).",
    "Read: members and properties that no field holds (each is noted, without its value).",
    "Read: incidents at sea get report 1, INITIAL, UNDETERMINED, NOT_STATED and UNKNOWN where the file says nothing.",
)
# Names of WGS 84 with longitude first: the older GeoJSON of 2008 named it, RFC 7946 always means it.
_CRS = frozenset(
    {"urn:ogc:def:crs:ogc:1.3:crs84", "urn:ogc:def:crs:ogc::crs84", "crs84", "ogc:crs84", "epsg:4326",
     "urn:ogc:def:crs:epsg::4326"}
)  # fmt: skip
_NAMES = ("hazard", "release", "accident", "eore", "incident")
# More features than a map shows; a file beyond it is a data base, not a report.
_FEATURES_MAX = 100_000


def read(data: bytes, handling: Handling, *, now: datetime, forms: Sequence[Form] | None = None) -> Reading:
    """Return the reports of a file, and what was not understood.

    Args:
        data: A FeatureCollection or a Feature, JSON in UTF-8.
        handling: The marks of every report; what a feature is marked with beyond them is added or must be covered.
        now: The time of reading: the time of an incident report that has none.
        forms: Forms of the operator, in place of the packaged ones for their message types.

    Raises:
        MalformedError: `MALFORMED` for what is no GeoJSON, `BAD_FIELD` with the path of a member of the wrong kind or
            another reference system, `TOO_LARGE` beyond 64 MiB or 100,000 features.
        RefusedError: `MARK_LOST` with the path, while iterating, where a feature is marked stricter than `handling`.
    """
    document = load(data)
    kind = document.get("type")
    if kind not in ("FeatureCollection", "Feature"):
        raise error(Reason.MALFORMED, field="type", detail="neither a FeatureCollection nor a Feature")
    found = document.get("features") if kind == "FeatureCollection" else [document]
    if not isinstance(found, list):
        bad("features", "a list of features is needed")
    if len(found) > _FEATURES_MAX:
        raise error(Reason.TOO_LARGE, field="features", detail=f"{len(found)} features, at most {_FEATURES_MAX}")
    whole: dict[str, str] = {}
    known = features.packaged(_NAMES, forms)

    def source(current: Reading) -> Iterator[Message]:
        return features.Reader(known, handling, now, current).messages(_features(found, whole, current))

    reading = Reading(source)
    if kind == "FeatureCollection":
        _check_crs(document, "")
        whole = features.marks_in(document, "file")
        for name in _foreign(document, {"type", "features", "bbox", "crs"}):
            reading.note("file", name[:100], "a foreign member, not carried")
    return reading


def _check_crs(found: dict[str, Any], path: str) -> None:
    """Refuse a reference system other than WGS 84."""
    named = found.get("crs")
    if named is None:
        return
    properties = named.get("properties") if isinstance(named, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str) or name.lower() not in _CRS:
        detail = "the coordinates are of another reference system than WGS 84"
        step = "Save the file again as RFC 7946 GeoJSON, in EPSG:4326."
        raise error(Reason.BAD_FIELD, field=f"{path}crs", detail=detail, next_step=step)


def _features(found: list[Any], whole: dict[str, str], reading: Reading) -> Iterator[features.Feature]:
    """Give the features as rows."""
    for index, feature in enumerate(found):
        place = f"features[{index}]"
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            bad(place, "a feature is needed")
        _check_crs(feature, f"{place}.")
        properties = feature.get("properties")
        if not isinstance(properties, (dict, type(None))):
            bad(f"{place}.properties", "an object or null is needed")
        cells = features.row_of(properties or {}, f"{place}.properties")
        cells = features.marked(cells, place, features.marks_in(feature, place), whole)
        others = _foreign(feature, {"type", "geometry", "properties", "bbox", "crs"})
        name = others.get("id", "")
        if any(text and name in {text, f"{text}/{name.rpartition('/')[2]}"} for text in cells.values()):
            del others["id"]  # the number of the report, which a property says too
        yield features.Feature(place, cells, _shape(feature.get("geometry"), place, cells, reading), others)


def _foreign(found: dict[str, Any], known: set[str]) -> dict[str, str]:
    """Return the members that RFC 7946 does not define and that are no marks, with what they say."""
    names = sorted(name for name in set(found) - known if name.strip().lower() not in features.MARKS)
    return {name: text for name in names if (text := text_of(found[name]))}


def _shape(found: Any, place: str, cells: dict[str, str], reading: Reading) -> Any:
    """Return the shape of a geometry, or None with a note."""
    path = f"{place}.geometry"
    if found is None:
        return None
    if not isinstance(found, dict):
        bad(path, "an object or null is needed")
    _check_crs(found, f"{path}.")
    kind, coordinates = found.get("type"), found.get("coordinates")
    if isinstance(kind, str) and kind.startswith("Multi") and isinstance(coordinates, list) and len(coordinates) == 1:
        kind, coordinates = kind.removeprefix("Multi"), coordinates[0]
    if kind == "MultiPolygon" and any(cells.get(name) for name in ("polygon_wkt", "location_wkt", "wkt")):
        return None  # a shape across the antimeridian: cut in the geometry, whole in its column
    makers = {"Point": shapes.to_point, "LineString": shapes.to_line, "Polygon": shapes.to_area}
    if not isinstance(kind, str) or kind not in makers:
        reading.note(path, "type", "not one point, line or polygon: left out")
        return None
    try:
        return makers[kind](coordinates)
    except ValueError as unclear:
        reading.note(path, "coordinates", f"{unclear}: left out")
        return None


def write(
    messages: Iterable[Any], *, now: datetime, allow_red: bool = False, forms: Sequence[Form] | None = None
) -> bytes:
    """Return a FeatureCollection with one feature for each report, or released area, and its marks.

    Args:
        messages: Reports of the types above.
        now: Not used; every bridge takes it.
        allow_red: Said by a person who may take TLP:RED out of the exchange.
        forms: Forms of the operator, in place of the packaged ones for their message types.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be carried, `RULE_BROKEN` for another type of message, or a
            shape across the antimeridian where an operator's form has no column for it.
    """
    known = features.packaged(_NAMES, forms)
    made = [_feature(row) for row in features.written(messages, known, allow_red=allow_red)]
    document = {"type": "FeatureCollection", "features": made}
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def _feature(row: features.Written) -> dict[str, Any]:
    """Return one feature."""
    properties: dict[str, Any] = {name: row.cells[name] for name in (features.SCHEMA, labels.COLUMN)}
    for column in row.form.columns:
        text = "" if column.name in row.carried else row.cells[column.name]
        if text:
            properties[column.name] = json.loads(text) if column.is_record else numbered(column.field, text)
    geometry = None
    if isinstance(row.shape, Geometry):
        geometry = _geometry(row, properties)
    elif row.shape is not None:
        geometry = {"type": "Point", "coordinates": shapes.position_of(row.shape)}
    return {"type": "Feature", "id": row.key, "geometry": geometry, "properties": properties}


def _geometry(row: features.Written, properties: dict[str, Any]) -> dict[str, Any] | None:
    """Return the geometry of a line or an area.

    Across the antimeridian it is cut and stands whole in its column; what cannot be cut stands only there.
    """
    shape = shapes.turned(row.shape)
    rings = shapes.rings_of(shape)
    if not shapes.crosses(shape):
        is_area = shape.kind == shapes.AREA
        return {"type": "Polygon", "coordinates": rings} if is_area else {"type": "LineString", "coordinates": rings[0]}
    column = features.whole_shape(row.form)
    if column is None:
        step = "Give the form a column for the whole shape."
        raise error(Reason.RULE_BROKEN, field="geometry", detail="it crosses the antimeridian", next_step=step)
    properties[column.name] = wkt.write_wkt(shape)
    try:
        return {"type": "MultiPolygon", "coordinates": shapes.cut(shape)}
    except ValueError:
        return None
