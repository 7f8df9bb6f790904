"""GeoJSON, ArcGIS and IMSMA: what goes out comes back, shapes stay where they are, marks are never lost."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling
from infoexchange import bridges
from infoexchange.bridges import geographic
from infoexchange.catalogue import examples, forms, rules
from infoexchange.errors import ExchangeError, Reason, RefusedError
from test_bridges import shared

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MINE_ACTION = ("HazardReport", "LandReleaseReport", "EoAccidentReport", "EoreReport")
CASES = [("geojson", name) for name in (*MINE_ACTION, "MaritimeIncidentReport")]
CASES += [(format_name, name) for format_name in ("arcgis", "imsma") for name in MINE_ACTION]
FILES = {"geojson": "reports.geojson", "arcgis": "hazards.arcgis.json", "imsma": "released.imsma.csv"}


def read(name, data, **changed):
    data = data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
    reading = bridges.find(name).read(data, handling(domain=0, **changed), now=NOW)
    return list(reading), reading.notes


def write(name, *messages, **how):
    return bridges.find(name).write(messages, now=NOW, **how)


def feature(properties, geometry=None, **more):
    return {"type": "Feature", "geometry": geometry, "properties": properties} | more


def collection(*found, **more):
    return {"type": "FeatureCollection", "features": list(found)} | more


def ring(*positions):
    return [list(position) for position in (*positions, positions[0])]


SQUARE = ring((0, 0), (1, 0), (1, 1), (0, 1))
AREA = {"type": "Polygon", "coordinates": [SQUARE]}


# Round trips


@pytest.mark.parametrize(("format_name", "name"), CASES)
def test_an_example_comes_back_as_it_went(format_name, name):
    message = examples.message(name)
    reading = bridges.find(format_name).read(write(format_name, message), message.handling, now=NOW)
    assert list(reading) == [message]
    assert reading.notes == []


@pytest.mark.parametrize(("format_name", "file"), FILES.items())
def test_the_example_files(format_name, file):
    found, notes = read(format_name, examples.read(file))
    assert notes == []
    for message in found:
        message.handling.domain = 3 if message.DESCRIPTOR.name == "MaritimeIncidentReport" else 9
        rules.check(message)
        message.handling.domain = 0
    if format_name != "geojson":
        assert read(format_name, write(format_name, *found))[0] == found
    released = next((message for message in found if message.DESCRIPTOR.name == "LandReleaseReport"), None)
    assert released is None or [(area.local_id, area.area_m2.scale) for area in released.results] == [
        ("area-1", 1), ("area-2", 2),
    ]  # fmt: skip


tricky = st.text(st.sampled_from("aé=+-@'\",;|[{ \n\r\t()~/0\x00"), min_size=1, max_size=8)
degrees = st.tuples(st.floats(-180, 180), st.floats(-90, 90))


@pytest.mark.parametrize(("format_name", "name"), CASES)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_any_text_date_and_number_comes_back(format_name, name, data):
    message = examples.message(name)
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_STRING and not field.is_repeated and data.draw(st.booleans()):
            setattr(message, field.name, data.draw(tricky))
    where = message
    for part in {"EoAccidentReport": "location.point", "MaritimeIncidentReport": "position"}.get(name, "").split("."):
        where = getattr(where, part) if part else None
    if where is not None:
        where.longitude, where.latitude = data.draw(degrees)
    if name == "HazardReport":
        message.area_m2.unscaled = data.draw(st.integers(-(10**18) + 1, 10**18 - 1))
        message.area_m2.scale = data.draw(st.integers(0, 17))
        message.reported_on.Clear()
        message.reported_on.kind = data.draw(st.integers(1, 4))
        message.reported_on.note = data.draw(tricky)
        if message.reported_on.kind != 4:
            message.reported_on.year = data.draw(st.integers(1, 9999))
            message.reported_on.month = data.draw(st.integers(0, 12))
        if message.reported_on.kind == 3:
            message.reported_on.to_year = data.draw(st.integers(1, 9999))
    if name == "LandReleaseReport":
        message.quality_report_ids[:] = data.draw(st.lists(tricky, unique=True, max_size=3))
    reading = bridges.find(format_name).read(write(format_name, message), message.handling, now=NOW)
    assert list(reading) == [message]


@pytest.mark.parametrize("format_name", FILES)
def test_a_spoilt_file_gives_a_typed_error_or_messages(format_name):
    whole, rng, refused = examples.read(FILES[format_name]), random.Random(26), 0
    for _ in range(15):
        data = bytearray(whole)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            for message in read(format_name, bytes(data))[0]:
                message.SerializeToString()
        except ExchangeError:
            refused += 1
    assert refused


def test_reports_at_sea_of_a_public_file():
    found, notes = read("geojson", shared("geojson/asams_2022.geojson"))
    assert len(found) == 6
    assert [(note.place, note.field) for note in notes] == [
        ("features[0]", "position"), ("features[0]", "navarea"), ("features[0]", "subreg"),
        ("features[5]", "hostility"),
    ]  # fmt: skip
    for message in found:
        message.handling.domain = 3
        rules.check(message)
        message.handling.domain = 0
    assert (found[0].position.longitude, found[0].position.latitude) == (43.51666666702533, 12.55000000016662)
    assert (found[2].outcome, found[5].outcome_text) == (3, "Two drone explosions")
    assert [message.outcome for message in found].count(8) == 3  # NOT_STATED where hostility is null
    again, notes = read("geojson", write("geojson", *found))
    assert (again, notes) == (found, [])


def test_the_codes_of_risk_education_in_a_public_form_are_understood():
    lists = json.loads(shared("mine_action/imsma_core_eore_codelists.json"))["lists"]
    columns = {"re_category", "re_activity", "re_method", "location_type", "audience", "other_activities_type"}
    assert set(lists) == columns
    for column, values in lists.items():
        for value in values:
            _, notes = read("imsma", f"eore_id,{column}\nEX-1,{value}\n")
            # "Other" has no code of its own but in the list of methods.
            assert bool(notes) == (value == "Other"), (column, value)


# Rows


def test_rows_of_one_report_are_put_together():
    table = (
        "report_id,area_size,result,team\nE-1,10,cleared,A\nE-2,5,reduced,A\nE-1,20.50,reduced,A\nE-1,1,cancelled,B\n"
    )
    found, notes = read("imsma", table)
    assert [message.report_id for message in found] == ["E-1", "E-2"]
    assert [(area.local_id, area.result, area.area_m2.unscaled) for area in found[0].results] == [
        ("area-1", 3, 10), ("area-2", 2, 2050), ("area-3", 1, 1),
    ]  # fmt: skip
    assert [note[:2] for note in notes] == [("line 5", "report_id")]
    assert "the first counts" in notes[0].detail


def test_a_number_that_stands_twice_is_noted():
    found, notes = read("imsma", "hazard_id\nE-1\nE-1\n")
    assert len(found) == 2
    assert notes[0].detail == "the same number as line 2"


def test_a_position_that_is_not_safe_to_record_is_not_taken():
    properties = {"hazard_id": "E-1", "gps_safe": "no", "lat": "1", "lon": "2", "place": "a field", "map_sheet": "7 C"}
    properties["evidence"] = [{"local_id": "e", "point": {"latitude": 1.0, "longitude": 2.0}}]
    (found,), notes = read("geojson", feature(properties, AREA))
    assert not found.HasField("benchmark")
    assert not found.HasField("polygon")
    assert not found.evidence[0].HasField("point")
    assert ("features[0]", "position_safe_to_record") in [note[:2] for note in notes]
    assert not any("7 C" in note.detail for note in notes)
    found.benchmark.latitude = found.benchmark.longitude = 1
    for format_name in FILES:
        with pytest.raises(RefusedError) as refused:
            write(format_name, found)
        assert refused.value.field == "position_safe_to_record"


def test_what_is_not_carried_is_noted_without_its_value_which_could_name_somebody():
    seen = {"hamlet": "somebody", "workflow_status": "somebody", "creator": "somebody"}
    hazard = feature({"hazard_id": "E-1"} | seen, extra=["somebody"])
    accident = feature({"accident_id": "E-2", "hamlet": "north", "victim_name": "somebody"}, id="7", hurt="somebody")
    nobody = feature({"colour": "red"})
    found, notes = read("geojson", collection(hazard, accident, nobody, name="somebody"))
    assert len(found) == 2
    assert [(note.place, note.field) for note in notes] == [
        ("file", "name"), ("features[0]", "hamlet"), ("features[0]", "workflow_status"), ("features[0]", "creator"),
        ("features[0]", "extra"), ("features[1]", "hamlet"), ("features[1]", "victim_name"), ("features[1]", "hurt"),
        ("features[1]", "id"), ("features[2]", ""),
    ]  # fmt: skip
    assert [notes[index].detail for index in (0, 1, 4, 5)] == [
        "a foreign member, not carried", "not carried", "a foreign member, not carried", "not carried",
    ]  # fmt: skip
    assert not any("somebody" in note.detail for note in notes)


def test_an_attribute_of_arcgis_may_be_milliseconds():
    data = {"features": [{"attributes": {"hazard_id": "E-1", "report_dt": 1769904000000, "OBJECTID": 4}}]}
    (found,), notes = read("arcgis", data | {"exceededTransferLimit": True})
    assert (found.reported_on.year, found.reported_on.month, found.reported_on.day) == (2026, 2, 1)
    assert [note.field for note in notes] == ["exceededTransferLimit", "objectid"]


def test_an_operator_gives_forms_of_their_own():
    own = forms.Form.parse(
        ["own,1,HazardReport,ours\n", "column,field,also,words,default,meaning\n", "Nr,hazard_id,,,,\n",
         "Art,type,,Verdacht=SHA|bestätigt=CHA,,\n", "Mitte Nord,benchmark.latitude,,,,\n", "Name,,,,,not for others\n"]
    )  # fmt: skip
    from infoexchange.bridges.geographic import imsma

    reading = imsma.read("Nr,Art,Mitte Nord,Name\nE-1,Bestätigt,1.5,x\n".encode(), handling(), now=NOW, forms=[own])
    (found,) = reading
    assert (found.hazard_id, found.type, found.benchmark.latitude) == ("E-1", 2, 1.5)
    assert reading.notes == [("line 1", "Name", "never read: not for others")]
    data = imsma.write([found], now=NOW, forms=[own]).decode()
    assert data.splitlines()[0] == "Nr,Art,Mitte Nord,marks"
    assert data.splitlines()[1].startswith("E-1,bestätigt,1.5,TLP:AMBER")
    assert geographic.__doc__


@pytest.mark.parametrize(
    ("format_name", "data", "reason", "field"),
    [
        ("geojson", "[]", Reason.MALFORMED, ""),
        ("geojson", "{}", Reason.MALFORMED, "type"),
        ("geojson", '{"type": "Feature",\n"type": 1}', Reason.MALFORMED, ""),
        ("geojson", '{"type":\n x', Reason.MALFORMED, "line 2"),
        ("geojson", "[" * 20000, Reason.MALFORMED, ""),
        ("geojson", '{"a":' + "[" * 40 + "]" * 40 + "}", Reason.MALFORMED, ""),
        ("geojson", '{"type": "Feature", "bbox": [NaN]}', Reason.MALFORMED, ""),
        ("geojson", collection(1), Reason.BAD_FIELD, "features[0]"),
        ("geojson", collection(feature([])), Reason.BAD_FIELD, "features[0].properties"),
        ("geojson", collection(feature({}, [])), Reason.BAD_FIELD, "features[0].geometry"),
        ("geojson", collection(feature({"a": 1, "A": 1})), Reason.BAD_FIELD, "features[0].properties.A"),
        ("geojson", collection(feature({"marks": {"TLP": "RED"}})), Reason.BAD_FIELD, "features[0].properties.marks"),
        ("geojson", {"type": "FeatureCollection"}, Reason.BAD_FIELD, "features"),
        ("arcgis", {"features": 1}, Reason.MALFORMED, "features"),
        ("arcgis", {"features": [1]}, Reason.BAD_FIELD, "features[0]"),
        ("arcgis", {"features": [{"attributes": 1}]}, Reason.BAD_FIELD, "features[0].attributes"),
        ("imsma", "colour\nred\n", Reason.MALFORMED, "line 1"),
        ("imsma", "hazard_id,a,A\n", Reason.MALFORMED, "line 1"),
        ("imsma", 'hazard_id\n"x', Reason.MALFORMED, "line 2"),
        ("imsma", b"hazard_id\n\xff", Reason.MALFORMED, "line 2"),
        ("imsma", "", Reason.MALFORMED, "line 1"),
        ("imsma", "a," * 2001, Reason.TOO_LARGE, "line 1"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_its_place(format_name, data, reason, field):
    with pytest.raises(ExchangeError) as refused:
        read(format_name, data)
    assert (refused.value.reason, refused.value.field) == (reason, field)


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_what_stands_between_cells_is_found(between):
    found, notes = read("imsma", between.join(("hazard_id", "place\nE-1", '"a, b; c"\n')))
    assert (found[0].place, notes) == ("a, b; c", [])


def test_rows_of_another_length_are_noted():
    found, notes = read("imsma", "hazard_id,place\nE-1\n\nE-2,x\n")
    assert [message.hazard_id for message in found] == ["E-2"]
    assert notes[0].place == "line 2"
