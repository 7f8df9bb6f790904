"""Forms: which column is which field, as data; every field has a column, every cell a meaning."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
import tables_of_forms

from infoexchange import catalogue
from infoexchange.catalogue import examples, forms, labels, sheets, strict_json
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HEAD = "column,field,also,words,default,meaning"
# What no column holds, and the module that uses the form says so in its LOSSES.
NO_COLUMN = {
    "htcds": {
        f"{org}.{name}"
        for org in ("referring_org", "referred_org")
        for name in ("registration_number", "lei", "addresses", "officer_refs")
    }
}


def form(*lines, head="own,1,HazardReport,ours"):
    return forms.Form.parse([f"{line}\n" for line in (head, HEAD, *lines)])


def read(made, now=NOW, **row):
    notes = []
    message = made.read(row, lambda column, why: notes.append((column, why)), now=now)
    return message, notes


def leaves(descriptor, paths, path=""):
    """The fields below a record that need a cell: a record only where no column leads below it."""
    for field in descriptor.fields:
        here = f"{path}{field.name}"
        if here not in paths and any(one.startswith(f"{here}.") for one in paths):
            yield from leaves(field.message_type, paths, f"{here}.")
        elif here != "handling":
            yield here


@pytest.mark.parametrize("name", forms.names())
def test_every_field_of_a_type_has_a_column(name):
    made = forms.load(name)
    paths = {re.sub(r"\[[0-9:]*\]", "", column.path) for column in made.columns}
    missing = set(leaves(made.message_type.DESCRIPTOR, paths)) - paths
    # An Instant has a cell of its own, and more cells beside it for what that does not say.
    assert missing == NO_COLUMN.get(name, set())


@pytest.mark.parametrize("name", forms.names())
def test_a_packaged_form_carries_its_example(name):
    made = forms.load(name)
    message = examples.message(made.message_type.DESCRIPTOR.name)
    row = {column.lower(): text for column, text in made.write(message).items()}
    again, notes = read(made, **row)
    message.ClearField("handling")
    assert (again, notes) == (message, [])
    assert made.key is made.columns[0]
    assert made.source
    assert len({column.name for column in made.columns}) == len(made.columns)


@pytest.mark.parametrize(
    ("lines", "reason", "field"),
    [
        ([], Reason.MALFORMED, "line 1"),
        (["own,1,HazardReport,ours", HEAD], Reason.MALFORMED, "line 1"),
        (["own,1,HazardReport", HEAD, "a,hazard_id,,,,"], Reason.MALFORMED, "line 1"),
        (["own,1,HazardReport,ours", "column,field", "a,hazard_id,,,,"], Reason.MALFORMED, "line 1"),
        (["own,1,NoType,ours", HEAD, "a,hazard_id,,,,"], Reason.UNKNOWN_VERSION, "schema"),
        (["own,1,HazardReport,ours", HEAD, "a,hazard_id,,,"], Reason.MALFORMED, "line 3"),
        (["own,1,HazardReport,ours", HEAD, ",hazard_id,,,,"], Reason.MALFORMED, "line 3"),
        (["own,1,HazardReport,ours", HEAD, "a,,,,,never"], Reason.MALFORMED, "line 3"),
        (["own,1,HazardReport,ours", HEAD, "a,hazard,,,,"], Reason.BAD_FIELD, "line 3"),
        (["own,1,HazardReport,ours", HEAD, "a,hazard_id.x,,,,"], Reason.BAD_FIELD, "line 3"),
        (["own,1,HazardReport,ours", HEAD, "a,hazard_id[0],,,,"], Reason.BAD_FIELD, "line 3"),
        (["own,1,HazardReport,ours", HEAD, "a,evidence.kind,,,,"], Reason.BAD_FIELD, "line 3"),
        (["own,1,HazardReport,ours", HEAD, "a,handling,,,,"], Reason.BAD_FIELD, "line 3"),
        (["own,1,HazardReport,ours", HEAD, "a,handling.tlp,,,,"], Reason.BAD_FIELD, "line 3"),
        (["own,1,HazardReport,ours", HEAD, "a,type,,SHA,,"], Reason.MALFORMED, "line 3"),
        (["own,1,HazardReport,ours", HEAD, 'a,"type,,,,'], Reason.MALFORMED, "line 3"),
        (["own,1,HazardReport,ours", HEAD, *["a,hazard_id,,,,"] * 501], Reason.TOO_LARGE, ""),
        (["own,1,FirearmTraceResponse,ours", HEAD, "a,request_ref,,,,"], Reason.BAD_FIELD, "line 3"),
    ],
)
def test_a_form_that_cannot_be_used_is_refused_with_its_line(lines, reason, field):
    with pytest.raises(ExchangeError) as refused:
        forms.Form.parse(f"{line}\n" for line in lines)
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_a_form_that_is_not_packaged_is_refused():
    with pytest.raises(MalformedError) as refused:
        forms.load("../codes")
    assert refused.value.reason is Reason.UNKNOWN_VERSION
    with pytest.raises(RefusedError) as refused:
        forms.load("hazard").write(examples.message("EoreReport"))
    assert refused.value.reason is Reason.RULE_BROKEN


def test_a_time_that_no_calendar_has_is_not_written():
    message = examples.message("VictimReferral")
    message.consent.given_at.seconds = 2**60
    with pytest.raises(RefusedError) as refused:
        forms.load("htcds").write(message)
    assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "consent.given_at")


@pytest.mark.parametrize(
    ("column", "text", "detail"),
    [
        ("area_type", "SHB", "not one of the words"),
        ("area_size", "12,5", "such as 12.50"),
        ("area_size", "9" * 18 + "." + "9" * 18, "more digits"),
        ("direct_men", "-1", "whole number"),
        ("direct_men", "4294967296", "whole number"),
        ("direct_men", "１２", "whole number"),
        ("benchmark_latitude", "1e999", "such as -12.5"),
        ("benchmark_latitude", "1_0", "such as -12.5"),
        ("report_dt", "2026-02-30", "no such day"),
        ("report_dt", "2026-13", "not a date"),
        ("report_dt", "2/1/2026", "not a date"),
        ("report_dt", "2026~/2027", "not a date"),
        ("report_dt", "999999999999999", "outside the years"),
        ("position_safe_to_record", "perhaps", "neither yes nor no"),
        ("evidence", "{}", "a list of records"),
        ("evidence", "[1]", "an object"),
        ("evidence", '[{"kind": "NONE"}]', "another name or value"),
        ("evidence", '[{"kind": 1, "kind": 2}]', "stands twice"),
        ("evidence", "[" * 50 + "]" * 50, "nested deeper"),
        ("evidence", "[" * 90000, "not JSON"),
        ("land_use_blocked", "HOUSING; sea", "not one of the words"),
        ("land_use_blocked", "[1]", "list of texts"),
        ("land_use_blocked", "HOUSING;" * 1001, "more than 1000"),
        ("attachments", "[" + "{}," * 1000 + "{}]", "more than 1000"),
        ("place", "\ud800", "surrogate"),
    ],
)
def test_a_cell_that_is_not_understood_is_noted_and_left_out(column, text, detail):
    message, ((noted, why),) = read(forms.load("hazard"), **{column: text})
    assert noted == column
    assert detail in why
    assert why.endswith("left out")
    assert text not in why
    assert message == type(message)()


def test_a_day_may_be_written_as_a_point_in_time():
    for text in ("2026-02-03T04:05:06Z", "2026-02-03 00:00:00", "2026-02-03", "1770076800000"):
        message, notes = read(forms.load("hazard"), report_dt=text)
        assert (message.reported_on.year, message.reported_on.month, message.reported_on.day) == (2026, 2, 3)
        assert notes == []


def test_codes_stand_as_values_or_whole():
    made = forms.load("eore")
    message, notes = read(made, re_category="DIRECT", audience="farmers;teachers; farmers", re_method="dance")
    assert message.category.value == "direct"
    assert [code.value for code in message.audience] == ["farmers", "teachers"]
    assert notes == [("re_method", "not in the code list: left out")]
    message.category.version = "1999"
    text = made.write(message)["re_category"]
    assert text.startswith("{")
    assert read(made, re_category=text)[0].category == message.category


def test_a_word_of_their_own_becomes_other_with_the_word():
    message, notes = read(forms.load("accident"), device_category="firework", activity="Digging a well")
    assert (message.device_category, message.device_category_text) == (8, "firework")
    assert (message.activity, message.activity_text) == (13, "Digging a well")
    assert [column for column, _ in notes] == ["device_category", "activity"]
    # What another column already says in words is not replaced.
    message.Clear()
    message, _ = read(form("a,activity_text,,,,", "b,activity,,,,", head="o,1,EoAccidentReport,s"), a="x", b="y")
    assert (message.activity, message.activity_text) == (13, "x")


def test_columns_that_say_otherwise_are_noted():
    made = forms.load("hazard")
    message, notes = read(made, hazard_id="E-1", ha_id="E-2", area_type="SHA", type="sha")
    assert (message.hazard_id, message.type) == ("E-1", 1)
    assert notes == [("ha_id", "another column says otherwise: left out")]
    message, notes = read(forms.load("accident"), latitude="1", longitude="2", location_text="a field")
    assert message.location.WhichOneof("place") == "point"
    assert [column for column, _ in notes] == ["location_text"]


def test_defaults_stand_where_a_file_says_nothing():
    made = form("id,hazard_id,,,,", "kind,type,,,SHA,", "day,reported_on,,,2026-02,", "seen,survey_ref,,,,")
    message, notes = read(made, id="E-1")
    assert (message.type, message.reported_on.month, message.survey_ref, notes) == (1, 2, "", [])
    assert read(made, id="E-1", kind="CHA")[0].type == 2
    message, _ = read(forms.load("incident"), incident_id="E-1")
    assert message.report_time.utc.ToDatetime(tzinfo=UTC) == NOW


def test_times_are_points_in_time():
    made = forms.load("htcds")
    assert read(made, x_consentgivenat="1770076800000")[0].consent.given_at.seconds == 1770076800
    _, notes = read(made, x_consentgivenat="yesterday")
    assert notes == [("x_consentgivenat", "not a time such as 2026-01-31T08:00:00Z: left out")]
    message, notes = read(forms.load("incident"), incident_id="E-1", occurred_at="2026-02-30")
    assert not message.HasField("occurred_at")
    assert notes == [("occurred_at", "there is no such day: left out")]


def test_lists_are_taken_apart_by_place():
    made = form("a,quality_report_ids[0],,,,", "b,quality_report_ids[1:],,,,", head="o,1,LandReleaseReport,s")
    message = catalogue.LandReleaseReport(quality_report_ids=["a;b", "c", "d"])
    row = made.write(message)
    assert row == {"a": '["a;b"]', "b": "c; d"}
    assert read(made, **row) == (message, [])


# Sheets


def test_a_cell_longer_than_readers_take_is_refused():
    with pytest.raises(ExchangeError) as refused:
        sheets.write_sheet(["a"], [{"a": "x" * sheets.CELL_MAX}])
    assert (refused.value.reason, refused.value.field) == (Reason.TOO_LARGE, "a")
    data = sheets.write_sheet(["a"], [{"a": "x" * (sheets.CELL_MAX - 1)}])
    assert len(list(sheets.read_sheet(data).rows)) == 1
    with pytest.raises(MalformedError):
        list(sheets.read_sheet(b"a\n" + b"x" * (sheets.CELL_MAX + 1)).rows)
    with pytest.raises(ExchangeError) as refused:
        sheets.read_sheet(b"a" * (strict_json.SIZE_MAX + 1))
    assert refused.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("text", ["=1+1", "@x", "-2", "+3", "\t=1", "＝1", "'=1", "''@"])
def test_no_cell_is_run_by_a_spreadsheet(text):
    data = sheets.write_sheet(["a", "b"], [{"a": text, "b": "-2"}], ["b"])
    ((_, row),) = sheets.read_sheet(data).rows
    assert row == {"a": text, "b": "-2"}
    assert data.decode().splitlines()[1].lstrip('"').startswith("'")
    assert data.endswith(b",-2\n")


# Marks in cells


def test_a_cell_of_marks_is_read_back():
    marks = examples.message("VictimReferral").handling
    cell = labels.to_cell(marks, allow_red=True)
    assert labels.with_cells(catalogue.Handling(), {"marks": cell}).tlp == 5
    assert labels.with_cells(catalogue.Handling(), {"tlp": "white", "pap": "pap:red"}).pap == 4
    for text in ("one | two", "one\ntwo", "one "):
        marks.restrictions.add(kind=4, text=text)
        with pytest.raises(RefusedError) as refused:
            labels.to_cell(marks, allow_red=True)
        assert refused.value.reason is Reason.MARK_LOST
        del marks.restrictions[-1]


def test_the_pages_are_up_to_date():
    for file, text in tables_of_forms.pages().items():
        assert file.read_text(encoding="utf-8") == text
