"""Marks of geographic files: none is lost, and none that nobody understands is passed over."""

from __future__ import annotations

import pytest

from catalogue_messages import indicators
from infoexchange.catalogue import examples
from infoexchange.errors import Reason, RefusedError
from test_geographic import FILES, collection, feature, read, write

# Marks


@pytest.mark.parametrize(("format_name", "file"), FILES.items())
@pytest.mark.parametrize("weaker", [{"tlp": 2}, {"op_status": 1}])
def test_weaker_marks_than_the_files_are_refused(format_name, file, weaker):
    with pytest.raises(RefusedError) as refused:
        read(format_name, examples.read(file), **weaker)
    assert refused.value.reason is Reason.MARK_LOST
    assert refused.value.field.startswith(("features[0]: ", "line 2: "))


@pytest.mark.parametrize("name", ["AMBER", "TLP:RED", "amber+strict", "AMBER_STRICT", "tlp: red"])
def test_a_foreign_mark_counts(name):
    for data in (
        collection(feature({"hazard_id": "E-1", "TLP": name})),
        collection(feature({"hazard_id": "E-1"}), tlp=name),
    ):
        with pytest.raises(RefusedError) as refused:
            read("geojson", data, tlp=2)
        assert refused.value.reason is Reason.MARK_LOST
        assert read("geojson", data, tlp=5)[0]


@pytest.mark.parametrize(
    "properties", [{"tlp": "SECRET"}, {"pap": "BLUE"}, {"marks": "TLP:RED,PAP:RED"}, {"marks": ["TLP:DARK"]}]
)
def test_a_mark_that_nobody_knows_is_refused(properties):
    with pytest.raises(RefusedError) as refused:
        read("geojson", collection(feature({"hazard_id": "E-1"} | properties)), tlp=5)
    assert refused.value.reason is Reason.MARK_LOST


def test_marks_of_the_whole_file_and_of_a_feature_hold_together():
    data = collection(feature({"hazard_id": "E-1", "marks": ["PAP:RED"]}), marks=["TLP:AMBER"])
    (found,), _ = read("geojson", data, tlp=0, pap=0)
    assert (found.handling.tlp, found.handling.pap) == (3, 4)
    with pytest.raises(RefusedError):
        read("geojson", collection(feature({"hazard_id": "E-1", "tlp": "GREEN"}), tlp="RED"), tlp=5)


@pytest.mark.parametrize("name", ["tlp", "TLP", "marks"])
def test_a_mark_beside_the_properties_counts(name):
    member = {name: ["TLP:RED"] if name == "marks" else "RED"}
    esri = {"attributes": {"hazard_id": "E-1"}}
    for format_name, data in (
        ("geojson", feature({"hazard_id": "E-1"}) | member),
        ("geojson", collection(feature({"hazard_id": "E-1"}) | member)),
        ("geojson", collection(feature({"hazard_id": "E-1"})) | member),
        ("arcgis", {"features": [esri | member]}),
        ("arcgis", {"features": [esri]} | member),
    ):
        with pytest.raises(RefusedError) as refused:
            read(format_name, data)
        assert refused.value.reason is Reason.MARK_LOST
        assert read(format_name, data, tlp=0)[0][0].handling.tlp == 5


def test_rows_of_one_report_must_be_marked_alike():
    with pytest.raises(RefusedError) as refused:
        read("imsma", "report_id,tlp\nE-1,AMBER\nE-1,RED\n", tlp=0)
    assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, "line 3: marks")


@pytest.mark.parametrize("format_name", FILES)
def test_marks_are_written_or_the_export_is_refused(format_name):
    message = examples.message("HazardReport")
    message.handling.tlp = 4
    message.handling.restrictions.add(kind=4, text="Not for the press")
    data = write(format_name, message)
    assert b"TLP:AMBER+STRICT" in data
    assert b"OP_STATUS:EXERCISE" in data
    assert b"Not for the press" in data
    message.handling.tlp = 5
    with pytest.raises(RefusedError) as refused:
        write(format_name, message)
    assert refused.value.reason is Reason.MARK_LOST
    assert b"TLP:RED" in write(format_name, message, allow_red=True)
    message.handling.restrictions[0].text = "one | two"
    with pytest.raises(RefusedError) as refused:
        write(format_name, message, allow_red=True)
    assert refused.value.reason is Reason.MARK_LOST
    for others in ([indicators()], [examples.message("HazardReport"), examples.message("EoreReport")]):
        if format_name != "geojson" or len(others) == 1:
            with pytest.raises(RefusedError) as refused:
                write(format_name, *others)
            assert refused.value.reason is Reason.RULE_BROKEN
