"""Anti-shipping activity messages: entries become reports that may be sent, and reports entries again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from catalogue_messages import handling, indicators, report
from infoexchange import bridges
from infoexchange.catalogue import IncidentOutcome, ReportStage, examples, rules
from infoexchange.errors import MalformedError, Reason, RefusedError
from test_bridges import shared

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ASAM = bridges.find("asam")
ENTRY = {"reference": "2026-1", "date": "2026-02-03", "latitude": 0, "longitude": 1.5, "victim": "tanker EXERCISE TERN"}


def read(data, **changed):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    reading = ASAM.read(data, handling(**changed), now=NOW)
    return list(reading), reading


def test_the_example():
    data = examples.read("asam.json")
    assert bridges.detect(data).name == "asam"
    found, reading = read(data)
    assert [note[:2] for note in reading.notes] == [("asam[2]", "hostility")]
    for message in found:
        rules.check(message)
    first, second, third = found
    assert (first.vessel.name, first.vessel.type) == ("EXERCISE HERON", "Exercise-flagged bulk carrier")
    assert first.outcome == IncidentOutcome.INCIDENT_OUTCOME_BOARDED
    assert first.area_names[0].text == "NAVAREA II, subregion 51"
    assert (second.vessel.name, second.vessel.type) == ("", "Survey vessel")
    assert second.outcome == IncidentOutcome.INCIDENT_OUTCOME_NOT_STATED
    assert third.stage == ReportStage.REPORT_STAGE_FOLLOW_UP
    assert third.reference_alert == first.incident_id
    again, _ = read(ASAM.write(found, now=NOW))
    assert again == found


def test_the_shared_messages():
    found, reading = read(shared("asam/asams_2022.json"))
    assert len(found) == 6
    assert [note.field for note in reading.notes] == ["hostility"]
    names = [message.vessel.name for message in found]
    assert names == ["", "CREST TARAS", "SELENA", "", "GENCO ENDEAVOUR", "NISSOS KEA"]
    assert [message.reference_alert for message in found if message.reference_alert] == ["asam-2022-137"]
    for message in found:
        rules.check(message)
    again, _ = read(ASAM.write(found, now=NOW))
    assert again == found


@pytest.mark.parametrize(("changed", "noted"), [
    ({"latitude": 91}, "latitude"), ({"longitude": None}, "longitude"), ({"latitude": True}, "latitude"),
    ({"latitude": "0"}, "latitude"), ({"victim": 7}, "victim"), ({"description": "\ud800"}, "description"),
    ({"navArea": "7"}, "navArea"), ({"subreg": "51"}, "navArea"), ({"hostility": "Sunk"}, "hostility"),
    ({"other": 1}, "other"),
])  # fmt: skip
def test_what_is_not_understood_is_noted(changed, noted):
    found, reading = read([ENTRY | changed])
    assert len(found) == 1
    assert [(note.place, note.field) for note in reading.notes] == [("asam[0]", noted)]


@pytest.mark.parametrize("entry", [7, {}, ENTRY | {"date": "2026-02-30"}, ENTRY | {"reference": "x"}])
def test_what_is_no_entry_is_left_out_and_noted(entry):
    found, reading = read({"asam": [entry, ENTRY, ENTRY]})
    assert len(found) == 2
    assert [note.place for note in reading.notes] == ["asam[0]", "asam[2]"]


@pytest.mark.parametrize("data", [
    b"", b"{}", b"7", b'{"asam": 7}', b"[NaN]", b'[{"date": 1, "date": 2}]', b"\xff", b"[" * 100_000,
])  # fmt: skip
def test_what_is_no_such_file_is_refused(data):
    with pytest.raises(MalformedError) as refused:
        read(data)
    assert refused.value.reason is Reason.MALFORMED


def test_marks():
    message = report()
    message.incident_id = "asam-2026-9"
    message.handling.restrictions.add(kind=3)
    data = ASAM.write([message], now=NOW)
    (again,), _ = read(data)
    assert again.handling == message.handling
    with pytest.raises(RefusedError) as refused:
        read(data, tlp=1)
    assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, "asam[0]: handling.tlp")
    message.handling.restrictions.add(kind=4, text="one | two")
    with pytest.raises(RefusedError) as refused:
        ASAM.write([message], now=NOW)
    assert refused.value.reason is Reason.MARK_LOST
    for other in (indicators(), report()):
        with pytest.raises(RefusedError) as refused:
            ASAM.write([other], now=NOW)
        assert refused.value.reason is Reason.RULE_BROKEN


@pytest.mark.parametrize("mark", [{"marks": ["TLP:RED"]}, {"marks": {"tlp": "RED"}}, {"tlp": 5}])
def test_a_mark_that_is_no_text_is_refused_not_left_out(mark):
    for data in ([ENTRY | mark], {"asam": [ENTRY], **mark}):
        with pytest.raises(MalformedError) as refused:
            read(data)
        assert refused.value.reason is Reason.BAD_FIELD


@pytest.mark.parametrize("mark", [{"tlp": "red"}, {"marks": "tlp:red"}, {"pap": "RED"}, {"marks": "TLP:ROT"}])
def test_marks_of_others_count_on_an_entry_and_on_the_whole_file(mark):
    for data in ([ENTRY | mark], {"asam": [ENTRY], **mark}):
        with pytest.raises(RefusedError) as refused:
            read(data, tlp=3, pap=3)
        assert refused.value.reason is Reason.MARK_LOST
