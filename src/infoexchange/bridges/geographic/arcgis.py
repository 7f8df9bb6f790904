"""ArcGIS feature JSON: what a feature service answers with `f=json`, as reports on mine action, and back.

The attributes are the columns of the forms. Rings run the other way round than in GeoJSON: the edge clockwise, holes
counterclockwise. Only WGS 84 (wkid 4326) is read, and it has to be said: such services speak Web Mercator by default.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from infoexchange.bridges import Reading
from infoexchange.bridges.geographic import features, shapes
from infoexchange.bridges.geographic.document import bad, load, numbered, text_of
from infoexchange.catalogue import Geometry, Handling, cells, labels
from infoexchange.errors import Reason, error

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from infoexchange.catalogue.forms import Column, Form

LOSSES: tuple[str, ...] = (
    "Both ways: purpose, references, gradings and dates of Handling come from the caller, not from the file.",
    "Both ways: edges of areas run counterclockwise and holes clockwise in messages; a shape that runs otherwise is "
    "turned.",
    "Written: altitudes of a shape of which not every point has one.",
    "Written: values and fields of a newer version of a message type; empty records.",
    "Read: the time of day where a field holds a day.",
    "Read: a longitude beyond 180 degrees, up to 360, is that of the same place within 180.",
    "Read: shapes of several parts, curves, and shapes that the message type has no place for (each is noted).",
    "Read: attributes that no field holds (each is noted, without its value).",
)
_WGS84 = 4326
# More features than a service gives at once, many times over.
_FEATURES_MAX = 100_000
_POINT, _LINE, _AREA = "esriGeometryPoint", "esriGeometryPolyline", "esriGeometryPolygon"
_TEXT_MAX = 131_072


def read(data: bytes, handling: Handling, *, now: datetime, forms: Sequence[Form] | None = None) -> Reading:
    """Return the reports of a feature set, and what was not understood.

    Args:
        data: The feature set, JSON in UTF-8.
        handling: The marks of every report; what a feature is marked with beyond them is added or must be covered.
        now: Not used by the packaged forms; an operator's form may ask for it.
        forms: Forms of the operator, in place of the packaged ones for their message types.

    Raises:
        MalformedError: `MALFORMED` for what is no feature set, `BAD_FIELD` with the path of a member of the wrong kind
            or another reference system, `TOO_LARGE` beyond 64 MiB or 100,000 features.
        RefusedError: `MARK_LOST` with the path, while iterating, where a feature is marked stricter than `handling`.
    """
    document = load(data)
    found = document.get("features")
    if not isinstance(found, list):
        raise error(Reason.MALFORMED, field="features", detail="a feature set holds a list of features")
    if len(found) > _FEATURES_MAX:
        raise error(Reason.TOO_LARGE, field="features", detail=f"{len(found)} features, at most {_FEATURES_MAX}")
    _check_reference(document, "", needed=any(isinstance(one, dict) and one.get("geometry") for one in found))
    known, whole = features.packaged(features.MINE_ACTION, forms), features.marks_in(document, "file")

    def source(current: Reading) -> Iterator[Message]:
        return features.Reader(known, handling, now, current).messages(_features(found, whole, current))

    reading = Reading(source)
    if document.get("exceededTransferLimit") is True:
        reading.note("file", "exceededTransferLimit", "the service cut the list off: there are more features")
    return reading


def _check_reference(found: dict[str, Any], path: str, *, needed: bool) -> None:
    """Refuse a reference system other than WGS 84, or none where there are coordinates."""
    reference = found.get("spatialReference")
    if reference is None and not needed:
        return
    numbers = [reference.get(name) for name in ("wkid", "latestWkid")] if isinstance(reference, dict) else []
    stated = [number for number in numbers if number is not None]
    if not stated or any(type(number) is not int or number != _WGS84 for number in stated):
        detail = "the coordinates are not said to be WGS 84"
        step = "Ask the service again with outSR=4326."
        raise error(Reason.BAD_FIELD, field=f"{path}spatialReference", detail=detail, next_step=step)


def _features(found: list[Any], whole: dict[str, str], reading: Reading) -> Iterator[features.Feature]:
    """Give the features as rows."""
    for index, feature in enumerate(found):
        place = f"features[{index}]"
        if not isinstance(feature, dict):
            bad(place, "a feature is needed")
        attributes = feature.get("attributes")
        if not isinstance(attributes, (dict, type(None))):
            bad(f"{place}.attributes", "an object is needed")
        row = features.row_of(attributes or {}, f"{place}.attributes")
        row = features.marked(row, place, features.marks_in(feature, place), whole)
        others = {name: text_of(feature[name]) for name in sorted(set(feature) - {"attributes", "geometry"})}
        others = {name: text for name, text in others.items() if text and name.strip().lower() not in features.MARKS}
        yield features.Feature(place, row, _shape(feature.get("geometry"), place, reading), others)


def _shape(found: Any, place: str, reading: Reading) -> Any:
    """Return the shape of a geometry, or None with a note."""
    path = f"{place}.geometry"
    if found is None:
        return None
    if not isinstance(found, dict):
        bad(path, "an object or null is needed")
    _check_reference(found, f"{path}.", needed=False)
    try:
        if "x" in found and "y" in found:
            if found["x"] in {None, "NaN"}:
                return None  # how such files write an empty point
            height = [found["z"]] if found.get("z") is not None else []
            return shapes.to_point([found["x"], found["y"], *height])
        if isinstance(found.get("rings"), list):
            return _area(found["rings"], measured=found.get("hasM") is True)
        paths = found.get("paths")
        if isinstance(paths, list) and len(paths) == 1:
            return shapes.to_line(_plain(paths[0], measured=found.get("hasM") is True))
    except (ValueError, TypeError) as unclear:
        why = unclear if isinstance(unclear, ValueError) else "not numbers"
        reading.note(path, "coordinates", f"{why}: left out")
        return None
    reading.note(path, "type", "not one point, line or polygon: left out")
    return None


def _plain(ring: Any, *, measured: bool) -> Any:
    """Return positions without the measure, which stands last where a file has measures."""
    if measured and isinstance(ring, list):
        return [position[:-1] if isinstance(position, list) else position for position in ring]
    return ring


def _area(rings: list[Any], *, measured: bool) -> Any:
    """Return the area of rings, of which exactly one runs clockwise: the edge."""
    if not rings:
        return None
    found = [shapes.to_area([_plain(ring, measured=measured)]) for ring in rings]
    if len(found) == 1:
        return found[0]
    # Each ring was turned like an edge; how it ran says what it is.
    sides = [shapes.area_twice(_plain(ring, measured=measured)) for ring in rings]
    edges = [index for index, side in enumerate(sides) if side <= 0]
    if len(edges) != 1:
        raise ValueError("several areas in one shape")
    order = [edges[0], *(index for index in range(len(rings)) if index != edges[0])]
    return shapes.to_area([_plain(rings[index], measured=measured) for index in order])


def write(
    messages: Iterable[Any], *, now: datetime, allow_red: bool = False, forms: Sequence[Form] | None = None
) -> bytes:
    """Return a feature set of reports of one type, and their marks.

    Args:
        messages: Reports of one of the types above, since the features of a set have one table.
        now: Not used; every bridge takes it.
        allow_red: Said by a person who may take TLP:RED out of the exchange.
        forms: Forms of the operator, in place of the packaged ones for their message types.

    Raises:
        RefusedError: `MARK_LOST` where a mark cannot be carried, `RULE_BROKEN` for another type of message or several.
    """
    known = features.packaged(features.MINE_ACTION, forms)
    rows = list(features.written(messages, known, allow_red=allow_red))
    if len({row.form.name for row in rows}) > 1:
        step = "Export the messages of each type to a file of their own."
        raise error(Reason.RULE_BROKEN, field="schema", detail="a feature set holds one type", next_step=step)
    # One kind of shape for the whole set, that of its first row with one; other shapes stay in their columns.
    kind = next((_kind(row.shape) for row in rows if row.shape is not None), _POINT)
    columns = rows[0].form.columns if rows else ()
    document = {
        "displayFieldName": columns[0].name if columns else "",
        "geometryType": kind,
        "spatialReference": {"wkid": _WGS84, "latestWkid": _WGS84},
        "fields": [_text_field(name) for name in (features.SCHEMA, labels.COLUMN)] + [_field(one) for one in columns],
        "features": [_feature(row, kind) for row in rows],
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def _kind(shape: Any) -> str:
    if not isinstance(shape, Geometry):
        return _POINT
    return _AREA if shape.kind == shapes.AREA else _LINE


def _text_field(name: str) -> dict[str, Any]:
    return {"name": name, "type": "esriFieldTypeString", "alias": name, "length": _TEXT_MAX}


def _field(column: Column) -> dict[str, Any]:
    """Return what a table says of a column: whole numbers and fractions, all else is text."""
    field = column.field
    if not cells.is_number(field) or field.message_type:  # decimals keep their last zero as text
        return _text_field(column.name)
    kind = "esriFieldTypeDouble" if field.type == field.TYPE_DOUBLE else "esriFieldTypeInteger"
    return {"name": column.name, "type": kind, "alias": column.name}


def _feature(row: features.Written, kind: str) -> dict[str, Any]:
    """Return one feature."""
    shape = row.shape if row.shape is not None and _kind(row.shape) == kind else None
    attributes: dict[str, Any] = {name: row.cells[name] for name in (features.SCHEMA, labels.COLUMN)}
    for column in row.form.columns:
        text = "" if shape is not None and column.name in row.carried else row.cells[column.name]
        plain = text if not cells.is_number(column.field) or column.field.message_type else numbered(column.field, text)
        attributes[column.name] = plain if text else None
    return {"attributes": attributes, "geometry": _geometry(shape)}


def _geometry(shape: Any) -> dict[str, Any] | None:
    if shape is None:
        return None
    if not isinstance(shape, Geometry):
        height = {"z": shape.altitude_m} if shape.HasField("altitude_m") else {}
        return {"x": shape.longitude, "y": shape.latitude} | height
    rings = shapes.rings_of(shapes.turned(shape))
    high = all(len(position) == 3 for ring in rings for position in ring)
    rings = [[position[: 3 if high else 2] for position in ring] for ring in rings]
    flag = {"hasZ": True} if high else {}
    if shape.kind != shapes.AREA:
        return flag | {"paths": rings}
    return flag | {"rings": [ring[::-1] for ring in rings]}
