"""Shapes of geographic files: axis order, direction of rings, the antimeridian, reference systems."""

from __future__ import annotations

import csv
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoexchange.catalogue import examples, rules
from infoexchange.errors import MalformedError, Reason
from test_geographic import AREA, FILES, SQUARE, collection, degrees, feature, read, ring, write

# Shapes


def test_longitude_comes_first():
    (found,), _ = read("geojson", feature({"incident_id": "E-1"}, {"type": "Point", "coordinates": [104.5, 1.25, 3]}))
    where = found.position
    assert (where.longitude, where.latitude, where.altitude_m) == (104.5, 1.25, 3)
    out = json.loads(write("geojson", found))
    assert out["features"][0]["geometry"] == {"type": "Point", "coordinates": [104.5, 1.25, 3.0]}


def is_counterclockwise(found):
    return sum((b[0] - a[0]) * (b[1] + a[1]) for a, b in itertools.pairwise(found)) < 0


@pytest.mark.parametrize("turned", [False, True])
def test_edges_run_counterclockwise_and_holes_clockwise(turned):
    hole = ring((0.2, 0.2), (0.4, 0.2), (0.4, 0.4))
    rings = [SQUARE[::-1], hole] if turned else [SQUARE, hole[::-1]]
    (found,), notes = read("geojson", feature({"hazard_id": "E-1"}, {"type": "Polygon", "coordinates": rings}))
    assert notes == []
    edge, inner = (
        [[point.longitude, point.latitude] for point in one.points] for one in found.polygon.rings
    )  # fmt: skip
    assert is_counterclockwise(edge)
    assert not is_counterclockwise(inner)
    out = json.loads(write("geojson", found))["features"][0]["geometry"]["coordinates"]
    assert [is_counterclockwise(one) for one in out] == [True, False]
    esri = json.loads(write("arcgis", found))["features"][0]["geometry"]["rings"]
    assert [is_counterclockwise(one) for one in esri] == [False, True]
    # In ArcGIS it is the direction that says which ring is the edge, not the order.
    swapped = json.loads(write("arcgis", found))
    swapped["features"][0]["geometry"]["rings"].reverse()
    assert read("arcgis", swapped)[0][0].polygon == found.polygon


@pytest.mark.parametrize(
    ("geometry", "detail"),
    [
        ({"type": "Polygon", "coordinates": [ring((0, 100), (1, 100), (1, 101))]}, "longitude comes first"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "too few"),
        ({"type": "Polygon", "coordinates": [ring((361, 0), (362, 0), (362, 1))]}, "longitude comes first"),
        ({"type": "Polygon", "coordinates": []}, "rings"),
        ({"type": "Polygon", "coordinates": [[["0", 0]] * 4]}, "made of numbers"),
        ({"type": "Polygon", "coordinates": [[[0]] * 4]}, "a position is"),
        ({"type": "Polygon", "coordinates": [[[1e400, 0]] * 4]}, "such as"),
        ({"type": "Polygon", "coordinates": 7}, "rings"),
        ({"type": "Polygon", "coordinates": [SQUARE] * 101}, "1 to 100 rings"),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [SQUARE]]}, "not one point"),
        ({"type": "GeometryCollection", "geometries": []}, "not one point"),
        ({"type": ["Point"], "coordinates": [0, 0]}, "not one point"),
        ({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "no place for a shape"),
    ],
)
def test_a_shape_that_is_not_understood_is_noted_and_left_out(geometry, detail):
    data = json.dumps(feature({"hazard_id": "E-1"}, geometry)).replace("Infinity", "1e400")
    (found,), notes = read("geojson", data)
    assert not found.HasField("polygon")
    assert [detail in note.detail for note in notes] == [True]
    assert "polygon" in {violation.field for violation in rules.violations(found)} | {"polygon"}


def test_a_ring_that_is_open_is_closed_and_one_part_is_a_polygon():
    geometry = {"type": "MultiPolygon", "coordinates": [[SQUARE[:-1]]]}
    (found,), notes = read("geojson", feature({"hazard_id": "E-1"}, geometry))
    assert len(found.polygon.rings[0].points) == 5
    assert notes == []


def test_an_area_across_the_antimeridian_is_cut_and_comes_back_whole():
    shapely = pytest.importorskip("shapely.geometry", reason="shapely reads our shapes with code that is not ours")
    hole = ring((180.5, 1), (180.5, 2), (180.8, 2), (180.8, 1))
    geometry = {"type": "Polygon", "coordinates": [ring((179, 0), (181, 0), (181, 3), (179, 3)), hole]}
    (found,), notes = read("geojson", feature({"hazard_id": "E-1"}, geometry))
    assert notes == []
    assert [point.longitude for point in found.polygon.rings[0].points] == [179, -179, -179, 179, 179]
    out = json.loads(write("geojson", found))["features"][0]["geometry"]
    assert out["type"] == "MultiPolygon"
    parts = [shapely.shape({"type": "Polygon", "coordinates": part}) for part in out["coordinates"]]
    assert all(part.is_valid and part.exterior.is_ccw for part in parts)
    assert [part.bounds for part in parts] == [(179, 0, 180, 3), (-180, 0, -179, 3)]
    assert [part.area for part in parts] == pytest.approx([3, 2.7])
    assert read("geojson", write("geojson", found)) == ([found], [])
    (again,), _ = read("arcgis", write("arcgis", found))
    assert again.polygon == found.polygon
    out = json.loads(write("geojson", found))
    del out["features"][0]["properties"]["polygon_wkt"]
    (cut,), notes = read("geojson", out)
    assert not cut.HasField("polygon")
    assert "not one point" in notes[0].detail


@pytest.mark.parametrize(
    "rings",
    [
        [ring((-120, 80), (0, 80), (120, 80))],
        # Twice around and back again.
        [
            [
                [x, y]
                for y, xs in ((0, range(0, 720, 90)), (9, range(720, 0, -90)))
                for x in (one % 360 - 180 for one in xs)
            ]
        ],
        [ring((179, 0), (181, 0), (181, 3), (179, 3)), ring((179.5, 1), (179.5, 2), (180.5, 2), (180.5, 1))],
        [ring((179, 0), (181, 0), (181, 1), (179.5, 1), (179.5, 2), (181, 2), (181, 3), (179, 3))],
    ],
)
def test_an_area_that_cannot_be_cut_stands_whole_in_its_column(rings):
    (found,), notes = read("geojson", feature({"hazard_id": "E-1"}, {"type": "Polygon", "coordinates": rings}))
    assert notes == []
    assert json.loads(write("geojson", found))["features"][0]["geometry"] is None
    assert read("geojson", write("geojson", found)) == ([found], [])


@settings(max_examples=10, deadline=None)
@given(st.lists(degrees, min_size=3, max_size=6, unique=True))
def test_well_known_text_is_read_alike_by_others(positions):
    wkt = pytest.importorskip("shapely.wkt", reason="shapely reads our shapes with code that is not ours")
    (found,), notes = read(
        "geojson", feature({"hazard_id": "E-1"}, {"type": "Polygon", "coordinates": [ring(*positions)]})
    )
    assert notes == []
    row = next(csv.DictReader(write("imsma", found).decode().splitlines()))
    theirs = wkt.loads(row["polygon_wkt"])
    assert [tuple(map(float, one)) for one in theirs.exterior.coords] == [
        (point.longitude, point.latitude) for point in found.polygon.rings[0].points
    ]
    assert read("imsma", write("imsma", found))[0][0].polygon == found.polygon


@pytest.mark.parametrize(
    "text",
    [
        "POINT (1 2)",
        "POLYGON (0 0, 1 1)",
        "POLYGON ((0 0, 1 x, 1 1))",
        "POLYGON ((0 91, 1 1, 2 2))",
        "x" * 99,
        "LINESTRING (0 0, 1 1)",
        "POLYGON (" + ", ".join(["(0 0, 1 0, 1 1, 0 0)"] * 101) + ")",
    ],
)
def test_well_known_text_of_another_kind_is_noted(text):
    (found,), notes = read("imsma", f'hazard_id,polygon_wkt\nE-1,"{text}"\n')
    if text.startswith("LINESTRING"):  # a line is a shape, but none of a hazard: its rule says so
        assert "polygon.kind" in {violation.field for violation in rules.violations(found)}
        return
    assert not found.HasField("polygon")
    assert [note[:2] for note in notes] == [("line 2", "polygon_wkt")]


# Reference systems


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326"])
def test_wgs_84_may_be_named(name):
    named = {"type": "name", "properties": {"name": name}}
    assert read("geojson", collection(feature({"hazard_id": "E-1"}, AREA), crs=named))[0][0].HasField("polygon")


@pytest.mark.parametrize("named", [{"properties": {"name": "EPSG:3857"}}, {"type": "link"}, 4326, "EPSG:4326"])
@pytest.mark.parametrize("place", ["", "features[0].", "features[0].geometry."])
def test_another_reference_system_is_refused(named, place):
    one = feature({"hazard_id": "E-1"}, dict(AREA))
    whole = collection(one)
    ({"": whole, "features[0].": one}.get(place) or one["geometry"])["crs"] = named
    with pytest.raises(MalformedError) as refused:
        read("geojson", whole)
    assert (refused.value.reason, refused.value.field) == (Reason.BAD_FIELD, f"{place}crs")


@pytest.mark.parametrize(
    "reference", [None, {"wkid": 102100, "latestWkid": 3857}, {"wkid": 4326.0}, {"wkt": "x"}, 4326]
)
def test_arcgis_must_say_that_it_is_wgs_84(reference):
    data = json.loads(examples.read("hazards.arcgis.json"))
    data["spatialReference"] = reference
    with pytest.raises(MalformedError) as refused:
        read("arcgis", data)
    assert (refused.value.reason, refused.value.field) == (Reason.BAD_FIELD, "spatialReference")


# ArcGIS


def esri(geometry, key="hazard_id", **more):
    feature = {"attributes": {key: "E-1"}, "geometry": geometry}
    return {"spatialReference": {"wkid": 4326}, "features": [feature]} | more


CLOCKWISE = SQUARE[::-1]


def test_arcgis_points_lines_and_measures():
    (found,), notes = read("arcgis", esri({"x": 2, "y": 1, "z": 3}))
    assert (found.benchmark.longitude, found.benchmark.latitude, found.benchmark.altitude_m) == (2, 1, 3)
    (nowhere,), more = read("arcgis", esri({"x": "NaN", "y": "NaN"}))
    assert not nowhere.HasField("benchmark")
    line = {"hasM": True, "paths": [[[0, 0, 9], [1, 1, 9]]]}
    (accident,), others = read("arcgis", esri(line, "accident_id"))
    assert [point.HasField("altitude_m") for point in accident.location.geometry.rings[0].points] == [False, False]
    assert (notes, more, others) == ([], [], [])
    for format_name in FILES:
        assert read(format_name, write(format_name, found)) == ([found], [])
        assert read(format_name, write(format_name, accident)) == ([accident], [])


def test_arcgis_shapes_of_another_kind_stay_in_their_column():
    (point,), _ = read("arcgis", esri({"x": 2, "y": 1}, "accident_id"))
    (line,), _ = read("arcgis", esri({"paths": [[[0, 0], [1, 1]]]}, "accident_id"))
    line.accident_id = "E-2"
    out = json.loads(write("arcgis", point, line))
    assert out["geometryType"] == "esriGeometryPoint"
    assert [one["geometry"] is None for one in out["features"]] == [False, True]
    assert read("arcgis", out) == ([point, line], [])


@pytest.mark.parametrize(
    ("geometry", "field"),
    [
        ({"rings": [CLOCKWISE, CLOCKWISE]}, "coordinates"),
        ({"rings": [SQUARE, SQUARE]}, "coordinates"),
        ({"rings": [[[0, 0]]]}, "coordinates"),
        ({"rings": ["x", CLOCKWISE]}, "coordinates"),
        ({"x": [], "y": 1}, "coordinates"),
        ({"x": 200000, "y": 1}, "coordinates"),
        ({"x": True, "y": 1}, "coordinates"),
        ({"paths": [[], []]}, "type"),
        ({"curveRings": []}, "type"),
    ],
)
def test_an_arcgis_shape_that_is_not_understood_is_noted(geometry, field):
    (found,), notes = read("arcgis", esri(geometry))
    assert not found.HasField("polygon")
    assert not found.HasField("benchmark")
    assert [note[:2] for note in notes] == [("features[0].geometry", field)]


def test_an_arcgis_area_without_rings_is_none_and_one_of_any_direction_is_an_edge():
    assert read("arcgis", esri({"rings": []}))[1] == []
    for ring_of_one in (SQUARE, CLOCKWISE):
        (found,), _ = read("arcgis", esri({"rings": [ring_of_one]}))
        assert is_counterclockwise([[point.longitude, point.latitude] for point in found.polygon.rings[0].points])
    with pytest.raises(MalformedError) as refused:
        read("arcgis", esri([1]))
    assert refused.value.field == "features[0].geometry"
    with pytest.raises(MalformedError) as refused:
        read("arcgis", esri({"x": 1, "y": 1, "spatialReference": {"wkid": 3857}}))
    assert refused.value.field == "features[0].geometry.spatialReference"


def test_altitudes_of_every_point_are_carried():
    heights = [[*position, index] for index, position in enumerate(SQUARE[:-1])]
    (found,), _ = read("geojson", feature({"hazard_id": "E-1"}, {"type": "Polygon", "coordinates": [heights]}))
    for format_name in FILES:
        assert read(format_name, write(format_name, found)) == ([found], [])
    found.polygon.rings[0].points[1].ClearField("altitude_m")
    assert read("geojson", write("geojson", found)) == ([found], [])
    (flat,), _ = read("imsma", write("imsma", found))
    assert not any(point.HasField("altitude_m") for point in flat.polygon.rings[0].points)
