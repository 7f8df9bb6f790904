"""Tables of seizures and of risk education: rows become messages that may be sent, and messages rows again."""

from __future__ import annotations

from datetime import UTC, datetime

import columns_of_tables
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling
from infoexchange import bridges
from infoexchange.bridges.tables import columns, places, times
from infoexchange.catalogue import (
    DateKind,
    DrugSeizureReport,
    DrugTransport,
    Location,
    PartialDate,
    examples,
    rules,
)
from infoexchange.errors import MalformedError, Reason, RefusedError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DOMAINS = {"seizures": 1, "eore": 9, "piracy": 3}
SEIZURE = "seizure_id,seized_at,agency,drug_name,amount,drug_unit,lab_confirmed,place,{0}\n"
SEIZED = "EX-1,2026-02-01,Example Customs,heroin,{1},GRAM,yes,Example Pier,{0}\n"
RISK = (
    "report_id,org,category,start_date,end_date,place,{0}\nEX-1,Example Group,direct,2026-02-01,2026-02-01,hall,{1}\n"
)


def read(name, data, **changed):
    data = data if isinstance(data, bytes) else data.encode()
    reading = bridges.find(name).read(data, handling(domain=DOMAINS[name], **changed), now=NOW)
    return list(reading), reading


def seizure(column="summary", cell="EXERCISE", amount="1"):
    return read("seizures", SEIZURE.format(column) + SEIZED.format(cell, amount))


@pytest.mark.parametrize("name", ["seizures", "eore"])
def test_the_example_may_be_sent_and_comes_back(name):
    data = examples.read(f"{name}.csv")
    assert bridges.detect(data).name == name
    found, reading = read(name, data)
    assert len(found) == 3
    assert not reading.notes
    for message in found:
        rules.check(message)
    again, reading = read(name, bridges.find(name).write(found, now=NOW))
    assert again == found
    assert not reading.notes


@pytest.mark.parametrize(("name", "kept"), [
    ("seizures", ("seizure_id", "seized_at", "agency", "route", "transport", "concealment", "consignment_numbers",
                  "estimated_value", "linked_cases", "summary")),
    ("eore", ("report_id", "location", "location_type", "period", "org", "category", "activity", "method",
              "method_text", "audience", "other_activities", "sessions", "beneficiaries",
              "beneficiaries_estimated", "first_time", "materials", "remarks")),
])  # fmt: skip
def test_a_message_loses_nothing_but_what_is_listed(name, kept):
    message = examples.message({"seizures": "DrugSeizureReport", "eore": "EoreReport"}[name])
    (again,), _ = read(name, bridges.find(name).write([message], now=NOW))
    for field in kept:
        assert getattr(again, field) == getattr(message, field), field
    if name == "seizures":
        assert again.arrests.count == message.arrests.count
        for item, before in zip(again.items, message.items, strict=True):
            before.substance.ClearField("mixture")
            before.substance.ClearField("inn")
            assert item == before


def test_the_page_on_columns_is_up_to_date():
    assert columns_of_tables.PAGE.read_text(encoding="utf-8") == columns_of_tables.page()


def test_a_table_as_published_says_what_is_missing():
    head = "COUNTRY,DRUG_NAME,AMOUNT,DRUG_UNIT,PRODUCING_COUNTRY,DEPARTURE_COUNTRY,DESTINATION_COUNTRY\n"
    found, reading = read("seizures", head + "SG,Ketamine,1.50,Kilogram,XA,XB,Exampleland\n" * 2)
    assert bridges.detect(head.encode()).name == "seizures"
    assert [note[:2] for note in reading.notes] == [
        ("line 2", "destination_country"), ("line 3", "destination_country"), ("line 3", "row"),
    ]  # fmt: skip
    first = found[0]
    assert first.seizure_id == found[1].seizure_id
    assert first.seizure_id.startswith("table-")
    assert first.seized_at.kind == DateKind.DATE_KIND_UNKNOWN
    assert first.place.address.country == "SG"
    assert (first.route.producing, first.route.departure, first.route.destination) == ("XA", "XB", "")
    assert {violation.field for violation in rules.violations(first)} == {"agency", "items[0].lab_confirmed"}
    first.agency, first.items[0].lab_confirmed = "Example Agency", False
    rules.check(first)


def test_rows_of_one_number_are_one_seizure():
    rows = SEIZED.format("EXERCISE", 1) + SEIZED.format("other words", 2) + SEIZED.format("", 3)
    (found,), reading = read("seizures", SEIZURE.format("summary") + rows)
    assert [item.quantity.amount.unscaled for item in found.items] == [1, 2, 3]
    assert [item.local_id for item in found.items] == ["item-1", "item-2", "item-3"]
    assert found.summary == "EXERCISE"
    assert [note[:2] for note in reading.notes] == [("line 3", "summary")]
    apart = SEIZED.format("", 1) + SEIZED.format("", 2).replace("EX-1", "EX-2") + SEIZED.format("", 3)
    found, reading = read("seizures", SEIZURE.format("summary") + apart)
    assert len(found) == 3
    assert reading.notes[-1].detail == "a report of its own with the number of line 2"


def test_a_seizure_of_too_many_items_is_divided():
    found, reading = read("seizures", SEIZURE.format("summary") + SEIZED.format("", 1) * 201)
    assert [len(message.items) for message in found] == [200, 1]
    assert reading.notes[0].place == "line 202"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\x85", "\u2028", "\x00"])
def test_a_cell_may_hold_what_ends_a_line(end):
    (found,), _ = seizure()
    found.summary = f"one{end}two"
    (again,), _ = read("seizures", bridges.find("seizures").write([found], now=NOW))
    assert again.summary == found.summary


def test_namibia_is_no_empty_cell():
    (found,), reading = seizure("departure_country", "NA")
    assert found.route.departure == "NA"
    assert not reading.notes


@pytest.mark.parametrize(("column", "cell"), [
    ("purity_pct", "12,5"), ("purity_pct", "1e3"), ("kg_factor", "1" * 19), ("packages", "-1"), ("packages", "１"),
    ("drug_class", "TEA"), ("transport", "by hand"), ("transport", "unspecified"), ("producing_country", "SGP"),
    ("transit_countries", "SG; Exampleland"), ("latitude", "1_0"), ("latitude", "91"), ("place_code", "here"),
    ("country", "Exampleland"),
])  # fmt: skip
def test_a_cell_that_is_not_understood_is_noted_and_left_out(column, cell):
    quoted = f'"{cell}"'
    (found,), reading = seizure(column, quoted)
    (plain,), _ = seizure()
    plain.ClearField("summary")
    assert [(note.place, note.field) for note in reading.notes] == [("line 2", column)]
    assert found == plain


@pytest.mark.parametrize("cell", ["2026-02-30", "2026-13", "26-02-01", "2026-02-01T04:00", "01/02/2026", "/", "~"])
def test_what_is_no_date_is_noted(cell):
    head, row = SEIZURE.format("summary"), SEIZED.format("", 1).replace("2026-02-01", cell)
    (found,), reading = read("seizures", head + row)
    assert [note.field for note in reading.notes] == ["seized_at"]
    assert found.seized_at.kind == DateKind.DATE_KIND_UNKNOWN


@pytest.mark.parametrize(("cells", "kind", "written"), [
    ({"latitude": "1.25", "longitude": "-104.5", "place": "Pier"}, "point",
     {"latitude": "1.25", "longitude": "-104.5", "place": "Pier"}),
    ({"place_code": "sg sin"}, "un_locode", {"place_code": "SGSIN", "place": ""}),
    ({"place_code": "SG-01", "place": "Pier"}, "subdivision", {"place_code": "SG-01", "place": "Pier"}),
    ({"place_code": "48PVT9217177502"}, "mgrs", {"place_code": "48PVT9217177502", "place": ""}),
    ({"country": "sg", "place": "Example Town"}, "address", {"country": "SG", "place": "Example Town"}),
    ({"place": "a pier"}, "stated_text", {"place": "a pier"}),
    ({"country": "Exampleland"}, "stated_text", {"place": "Exampleland"}),
    ({"latitude": "1.25"}, None, {"place": ""}),
])  # fmt: skip
def test_a_place_is_said_in_one_way(cells, kind, written):
    place, notes = Location(), []
    places.read(place, cells, "Example Customs", lambda *note: notes.append(note))
    assert place.WhichOneof("place") == kind
    assert not notes
    assert places.write(place) == written


def test_a_list_that_is_too_long_is_noted():
    (found,), reading = seizure("linked_cases", "; ".join(map(str, range(201))))
    assert len(found.linked_cases) == 200
    assert [note.field for note in reading.notes] == ["linked_cases"]
    (found,), reading = seizure("linked_cases", "a; b;; a;")
    assert list(found.linked_cases) == ["a", "b"]
    assert not reading.notes
    found.linked_cases.append("c; d")
    (again,), _ = read("seizures", bridges.find("seizures").write([found], now=NOW))
    assert list(again.linked_cases) == ["a", "b", "c, d"]


def test_a_country_beside_a_position_is_noted():
    (found,), reading = read("seizures", SEIZURE.format("latitude,longitude,country") + SEIZED.format("1,2,SG", 1))
    assert found.place.WhichOneof("place") == "point"
    assert [note.field for note in reading.notes] == ["country"]


@pytest.mark.parametrize(("column", "cell", "noted"), [
    ("audience", "farmers; pilots", ["audience"]), ("materials", "poster 200", ["materials"]),
    ("boys_5_12", "some", ["boys_5_12"]), ("estimated", "maybe", ["estimated"]), ("method", "Theatre", []),
    ("activity", "Radio", []), ("audience", "Dealers in scrap;;scrap_dealers", []), ("sessions", "0", []),
])  # fmt: skip
def test_risk_education_notes_what_it_does_not_understand(column, cell, noted):
    (found,), reading = read("eore", RISK.format(column, cell))
    assert [note.field for note in reading.notes] == noted
    assert found.report_id == "EX-1"


def test_numbers_of_people_are_asked_for_where_they_are_not_said():
    (found,), _ = read("eore", RISK.format("men", "3"))
    broken = {violation.field for violation in rules.violations(found)}
    assert "beneficiaries.female_5_to_12" in broken
    assert "beneficiaries.male_from_18" not in broken


@pytest.mark.parametrize("name", ["seizures", "eore"])
def test_marks_stand_in_the_table(name):
    message = examples.message({"seizures": "DrugSeizureReport", "eore": "EoreReport"}[name])
    message.handling.restrictions.add(kind=3)
    message.handling.tlp = 3
    data = bridges.find(name).write([message], now=NOW)
    assert b"TLP:AMBER | OP_STATUS:EXERCISE" in data
    (again,), _ = read(name, data)
    assert [one.kind for one in again.handling.restrictions] == [3]
    with pytest.raises(RefusedError) as refused:
        read(name, data, tlp=2)
    assert refused.value.reason is Reason.MARK_LOST
    message.handling.tlp = 5
    with pytest.raises(RefusedError):
        bridges.find(name).write([message], now=NOW)


def test_marks_of_a_later_item_are_not_passed_over():
    rows = SEIZED.format("TLP:AMBER", 1) + SEIZED.format("TLP:RED", 2)
    with pytest.raises(RefusedError) as refused:
        read("seizures", SEIZURE.format("marks") + rows)
    assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, "line 3: handling.tlp")


def test_a_report_has_the_marks_of_all_its_rows():
    rows = SEIZED.format("TLP:AMBER", 1) + SEIZED.format("PAP:RED | RESTRICTION:NO_ONWARD", 2)
    (found,), reading = read("seizures", SEIZURE.format("marks") + rows)
    assert (found.handling.tlp, found.handling.pap) == (3, 4)
    assert [one.kind for one in found.handling.restrictions] == [3]
    assert not reading.notes
    with pytest.raises(RefusedError) as refused:
        read("seizures", SEIZURE.format("marks") + rows + SEIZED.format("OP_STATUS:ACTUAL", 3))
    assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, "line 4: handling.op_status")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_of_other_offices_separate_cells_otherwise(separator):
    data = (SEIZURE.format("summary") + SEIZED.format("EXERCISE", 1)).replace(",", separator)
    (found,), reading = read("seizures", data)
    assert found.summary == "EXERCISE"
    assert not reading.notes


def test_a_line_of_empty_cells_is_no_row():
    found, reading = read("eore", RISK.format("men", "3") + ",,,,,,\n,,,,,,\n")
    assert len(found) == 1
    assert not reading.notes
    with pytest.raises(MalformedError) as refused:
        read("eore", ",".join(["report_id", "org", "category", *map(str, range(600))]))
    assert refused.value.field == "line 1"


def a_date(kind, first, second, finest):
    def parts(*names, day):
        return dict(zip(names, day.timetuple()[:finest], strict=False))

    if kind == DateKind.DATE_KIND_UNKNOWN:
        return PartialDate(kind=kind)
    end = parts("to_year", "to_month", "to_day", day=second) if kind == DateKind.DATE_KIND_BETWEEN else {}
    return PartialDate(kind=kind, **parts("year", "month", "day", day=first), **end)


dates = st.builds(a_date, st.integers(1, 4), st.dates(), st.dates(), st.integers(1, 3))


@settings(max_examples=40, deadline=None)
@given(dates)
def test_every_date_comes_back(when):
    assert times.to_partial(times.from_partial(when)) == when


@settings(max_examples=40, deadline=None)
@given(st.integers(-(10**18) + 1, 10**18 - 1), st.integers(0, 17))
def test_every_number_keeps_its_precision(unscaled, scale):
    number = columns.Decimal(unscaled=unscaled, scale=scale)
    text = columns.from_decimal(number)
    again = columns.to_decimal(text)
    assert again is None or again == number
    assert again is not None or len(text.strip("-").replace(".", "")) > 18


words = st.text(max_size=20).map(str.strip)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["seizures", "seizures-xlsx"]), words, words, st.sampled_from(DrugTransport.values()[1:]))
def test_random_words_come_back(name, identity, summary, transport):
    message = DrugSeizureReport(handling=handling(domain=1), seizure_id=identity or "1", summary=summary)
    message.transport = transport
    message.items.add(local_id="item-1", quantity={"amount": {"unscaled": 70, "scale": 1}})
    message.seized_at.kind = DateKind.DATE_KIND_UNKNOWN
    message.place.un_locode = "SGSIN"
    data = bridges.find(name).write([message], now=NOW)
    (again,) = bridges.find(name).read(data, message.handling, now=NOW)
    assert again.transport == transport
    for field in ("seizure_id", "summary"):
        assert getattr(again, field) == getattr(message, field)
    assert again.items == message.items


@pytest.mark.parametrize("cell", [" ", ": ", "; ", " [", "'", "x", "0", "/", "-"])
def test_a_long_cell_takes_no_long_time(cell):
    """The limit of the whole run would end anything that grows with the square of the length."""
    long = f'"x{cell * (120_000 // len(cell))}y"'
    for name in ("materials", "audience", "sessions", "estimated", "latitude", "place_code"):
        (found,), _ = read("eore", RISK.format(name, long))
        assert found.report_id == "EX-1"
    for name in ("drug_class", "transit_countries", "purity_pct", "transport", "linked_cases"):
        (found,), _ = seizure(name, long)
        assert found.seizure_id == "EX-1"
    head, row = SEIZURE.format("summary"), SEIZED.format("", 1)
    (found,), _ = read("seizures", head + row.replace("2026-02-01", long))
    assert found.seized_at.kind == DateKind.DATE_KIND_UNKNOWN
