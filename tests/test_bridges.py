"""The bridges as a whole, and tables: what comes in goes out again, or is noted; marks are never lost."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling, indicators, report
from infoexchange import bridges
from infoexchange.catalogue import IncidentOutcome, LegalClass, Precision, ShipStatus, examples, rules
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 3, 1, tzinfo=UTC)
PIRACY = bridges.find("piracy")
HEAD = "date,time,longitude,latitude,attack_type,location_description,vessel_name,vessel_status,data_source\n"
ROW = "2026-02-03,04:10 UTC,88.5,2.75,Attempted,Exercise area,MV Exercise Heron,Steaming,exercise\n"


def shared(name):
    """A file of the shared samples; a test without it is skipped with the reason."""
    folder = Path(os.environ.get("INFOEXCHANGE_SHARED") or ROOT.parent / "shared" / "data") / "samples"
    path = folder / name
    if not path.is_file():
        pytest.skip(f"{path} is absent; set INFOEXCHANGE_SHARED to the folder that holds samples/")
    data = path.read_bytes()
    sums = dict(line.split(maxsplit=1)[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    wanted = next((digest for listed, digest in sums.items() if listed.lstrip("*./").endswith(name)), None)
    if wanted != hashlib.sha256(data).hexdigest():
        pytest.skip(f"{path} is not the file that SHA256SUMS beside it describes")
    return data


def read(data, **changed):
    reading = PIRACY.read(data if isinstance(data, bytes) else data.encode(), handling(**changed), now=NOW)
    return list(reading), reading


# All formats


def test_formats_are_found_and_detected():
    for name, found in bridges.FORMATS.items():
        assert bridges.find(name) is found
        assert found.losses
        assert found.title
    assert bridges.detect(examples.read("indicators.stix.json")).name == "stix"
    assert bridges.detect(examples.read("event.misp.json")).name == "misp"
    assert bridges.detect(examples.read("piracy.csv")).name == "piracy"
    assert bridges.detect(examples.read("reports.geojson")).name == "geojson"
    assert bridges.detect(examples.read("hazards.arcgis.json")).name == "arcgis"
    assert bridges.detect(examples.read("released.imsma.csv")).name == "imsma"
    assert bridges.detect(examples.read("referrals.htcds.csv")).name == "htcds"
    for other in (b"", b"{}", b"\x00\xff", b"<xml/>"):
        assert bridges.detect(other) is None
    with pytest.raises(MalformedError) as refused:
        bridges.find("no such format")
    assert ", ".join(sorted(bridges.FORMATS)) in refused.value.next_step
    with pytest.raises(MalformedError):
        examples.read("../rules.py")


rows = st.text(max_size=40).map(lambda text: (HEAD + text).encode("utf-8", "replace"))


@pytest.mark.parametrize("name", sorted(bridges.FORMATS))
def test_random_bytes_give_a_typed_error_or_nothing(name):
    @settings(max_examples=60, deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=60), st.text(max_size=40).map(lambda text: (HEAD + text).encode("utf-8", "replace"))
        )
    )
    def holds(data):
        try:
            for message in bridges.find(name).read(data, handling(), now=NOW):
                message.SerializeToString()
        except ExchangeError:
            pass

    holds()


@pytest.mark.parametrize(("name", "schema"), [("stix", "FraudAlert"), ("ftm", "SpontaneousInformation")])
def test_a_record_in_red_does_not_leave_in_a_message_in_amber(name, schema):
    message = examples.message(schema)
    message.handling.tlp = 3
    del message.indicators[1:]
    if not message.indicators:
        message.indicators.extend(indicators().indicators[:1])
    message.indicators[0].tlp = 5
    with pytest.raises(RefusedError) as refused:
        bridges.find(name).write([message], now=NOW)
    assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, "handling.tlp")
    message.handling.tlp = 5
    assert b"RED" in bridges.find(name).write([message], now=NOW, allow_red=True)


def test_notes_are_bounded(monkeypatch):
    monkeypatch.setattr(bridges, "NOTES_MAX", 3)
    _, reading = read(HEAD + ROW.replace("04:10 UTC", "25:10") * 9)
    assert len(reading.notes) == 3
    # One per wrong time, one per repeated row.
    assert reading.notes_count == 9 + 8


# Tables


def test_the_example_table():
    found, reading = read(examples.read("piracy.csv"))
    assert len(found) == 8 == reading.messages_count
    assert [note[:2] for note in reading.notes] == [("line 5", "time"), ("line 7", "time")]
    for message in found:
        rules.check(message)
        assert message.legal_class == LegalClass.LEGAL_CLASS_UNDETERMINED
        assert message.area_names[0].asserted_by == "exercise"
    assert found[2].occurred_at.stated_as == "18:85 UTC"
    assert found[2].occurred_at.precision == Precision.PRECISION_DAY
    assert found[0].occurred_at.utc.ToJsonString() == "2026-02-03T04:10:00Z"
    assert "\n" in found[0].method
    assert len({message.incident_id for message in found}) == 8


def test_a_table_comes_back_as_it_went():
    found, _ = read(examples.read("piracy.csv"))
    again, reading = read(PIRACY.write(found, now=NOW))
    assert again == found
    assert reading.notes_count == 2


def test_only_named_columns_are_read():
    head = HEAD.strip() + ",eez_country,nearest_country,shore_distance\n"
    found, reading = read(head + ROW.strip() + ",SECRETZONE,SECRETSHORE,12\n")
    assert b"SECRET" not in found[0].SerializeToString()
    assert [note.field for note in reading.notes] == ["eez_country", "nearest_country", "shore_distance"]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("04:10 UTC", "18:85 UTC", "time"),
        ("04:10 UTC", "noon", "time"),
        ("04:10 UTC", "04:10", "time"),
        ("04:10 UTC", "０４:１０ UTC", "time"),
        ("88.5", "188.5", "longitude"),
        ("2.75", "nan", "latitude"),
        ("2.75", "NA", "latitude"),
        ("Attempted", "Sunk", "attack_type"),
        ("Steaming", "Flying", "vessel_status"),
    ],
)
def test_a_cell_that_is_not_understood_is_noted(old, new, field):
    found, reading = read(HEAD + ROW.replace(old, new))
    assert len(found) == 1
    assert [(note.place, note.field) for note in reading.notes] == [("line 2", field)]
    broken = {violation.field for violation in rules.violations(found[0])}
    assert broken == ({f"position.{field}"} if field in {"longitude", "latitude"} else set())


def test_what_the_lists_do_not_have_is_other_with_its_word():
    (found,), _ = read(HEAD + ROW.replace("Attempted", "Sunk").replace("Steaming", "Flying"))
    assert (found.outcome, found.outcome_text) == (IncidentOutcome.INCIDENT_OUTCOME_OTHER, "Sunk")
    assert (found.ship_status, found.ship_status_text) == (ShipStatus.SHIP_STATUS_OTHER, "Flying")
    (found,), _ = read(HEAD + ROW.replace("Attempted", "boarding").replace("Steaming", "NA"))
    assert found.outcome == IncidentOutcome.INCIDENT_OUTCOME_BOARDED
    assert found.ship_status == ShipStatus.SHIP_STATUS_UNKNOWN


def test_rows_that_are_no_reports_are_left_out_and_noted():
    data = HEAD + ROW.replace("2026-02-03", "2026-02-30") + "a,b\n\n" + ROW + ROW
    found, reading = read(data)
    assert len(found) == 2
    assert found[0] == found[1]
    assert [(note.place, note.field) for note in reading.notes] == [
        ("line 2", "date"), ("line 3", "row"), ("line 6", "row"),
    ]  # fmt: skip
    assert reading.notes[-1].detail == "the same as line 5"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"", "line 1"),
        (b"a,b\n1,2\n", "line 1"),
        (HEAD.replace("time", "date").encode(), "line 1"),
        ((HEAD + ROW).encode() + b"\xff", "line 3"),
        ((HEAD + ROW + '"2026').encode(), "line 3"),
        ((HEAD + ROW + '"a"b,').encode(), "line 3"),
    ],
)
def test_a_damaged_table_names_the_line(data, place):
    with pytest.raises(MalformedError) as refused:
        read(data)
    assert refused.value.reason is Reason.MALFORMED
    assert refused.value.field == place


def test_rows_are_read_one_by_one():
    rows = iter(PIRACY.read((HEAD + ROW + '"never ends').encode(), handling(), now=NOW))
    assert next(rows).vessel.name == "MV Exercise Heron"
    with pytest.raises(MalformedError):
        next(rows)


def test_marks_stand_in_the_table():
    message = report()
    message.handling.pap = 3
    message.handling.restrictions.add(kind=3)
    data = PIRACY.write([message], now=NOW)
    assert b"TLP:AMBER | PAP:AMBER | OP_STATUS:EXERCISE | " in data
    (again,), _ = read(data)
    assert again.handling == message.handling
    with pytest.raises(RefusedError) as refused:
        read(data, tlp=1)
    assert refused.value.reason is Reason.MARK_LOST
    assert refused.value.field == "line 2: handling.tlp"


@pytest.mark.parametrize("column", ["tlp,red", "TLP,TLP:RED", "pap,RED", "marks,tlp:red", "marks,TLP:ROT", "tlp,5"])
def test_a_column_of_marks_of_others_counts(column):
    name, mark = column.split(",")
    with pytest.raises(RefusedError) as refused:
        read(f"{HEAD.strip()},{name}\n{ROW.strip()},{mark}\n", tlp=3, pap=3)
    assert refused.value.reason is Reason.MARK_LOST
    assert refused.value.field.startswith("line 2: ")


def test_a_mark_that_a_cell_cannot_hold_is_refused():
    message = report()
    message.handling.restrictions.add(kind=4, text="one | two")
    with pytest.raises(RefusedError) as refused:
        PIRACY.write([message], now=NOW)
    assert refused.value.reason is Reason.MARK_LOST
    message = report()
    message.handling.tlp = 5
    with pytest.raises(RefusedError):
        PIRACY.write([message], now=NOW)
    assert b"TLP:RED" in PIRACY.write([message], now=NOW, allow_red=True)
    with pytest.raises(RefusedError) as refused:
        PIRACY.write([indicators()], now=NOW)
    assert refused.value.reason is Reason.RULE_BROKEN


@pytest.mark.parametrize("name", ["=1+1", "@x", "-2", "+3", "'=1", "＝1+1", "＠x", "plain"])
def test_no_cell_is_run_by_a_spreadsheet(name):
    message = report()
    message.vessel.name = name
    data = PIRACY.write([message], now=NOW)
    assert f",{name},".encode() not in data or name == "plain"
    (again,), _ = read(data)
    assert again.vessel.name == name


def test_a_report_without_the_words_of_a_source_is_written_in_ours():
    message = report()
    message.outcome = IncidentOutcome.INCIDENT_OUTCOME_FIRED_UPON
    (again,), reading = read(PIRACY.write([message], now=NOW))
    assert again.outcome == message.outcome
    assert again.occurred_at.utc == message.occurred_at.utc
    assert reading.notes_count == 0


def test_the_shared_table_has_what_its_description_says():
    data = gzip.decompress(shared("piracy/pirate_attacks_1993_2020.csv.gz"))
    found, reading = read(data)
    assert len(found) == 7271
    noted = Counter((note.field, note.detail.split(":")[0][:12]) for note in reading.notes)
    assert noted == {("time", "local time o"): 397, ("time", "there is no "): 1, ("row", "the same as "): 14}
    days = sum(message.occurred_at.precision == Precision.PRECISION_DAY for message in found)
    assert days == 6149 + 397 + 1
    words = Counter(message.outcome_text for message in found)
    assert (words["Boarded"], words["Boarding"]) == (3345, 1340)
    outcomes = Counter(message.outcome for message in found)
    assert outcomes[IncidentOutcome.INCIDENT_OUTCOME_BOARDED] == 3345 + 1340
    assert outcomes[IncidentOutcome.INCIDENT_OUTCOME_OTHER] == 3 + 1
    assert outcomes[IncidentOutcome.INCIDENT_OUTCOME_NOT_STATED] == 81
    states = Counter(message.ship_status for message in found)
    assert states[ShipStatus.SHIP_STATUS_UNDERWAY] == 2500 + 10 + 56
    assert states[ShipStatus.SHIP_STATUS_OTHER] == 14 + 1 + 1 + 1 + 1
    assert Counter(message.source for message in found) == {"mappingpiracy": 6125, "imb": 1146}
    assert sum(bool(message.vessel.name) for message in found) == 5886
    assert max(len(message.method) for message in found) == 1301
    for message in found:
        rules.check(message)
    again, _ = read(PIRACY.write(found, now=NOW))
    assert again == found


def test_the_shared_region_has_sixty_reports():
    found, reading = read(shared("piracy/pirate_attacks_region_60.csv"))
    assert len(found) == 60
    assert all(message.method for message in found)
    assert sum("no such time" in note.detail for note in reading.notes) == 1
