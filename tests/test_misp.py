"""The MISP bridge: round trips, marks as tags, what is never read, hostile events, and what pymisp reads of ours."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling, indicators, report
from indicator_records import anything, bodies, contexts, maybe
from infoexchange import bridges
from infoexchange.bridges.misp import words
from infoexchange.catalogue import (
    CyberIncidentReport,
    Handling,
    Tlp,
    examples,
    rules,
)
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from test_bridges import shared

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MISP = bridges.find("misp")
EXAMPLE = json.loads(examples.read("event.misp.json"))


def marked(**changed):
    made = handling(domain=8, **({"pap": 3} | changed))
    made.valid_until.FromJsonString("2026-06-01T00:00:00Z")
    return made


def read(data, given_marks=None):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    reading = MISP.read(data, given_marks or marked(), now=NOW)
    return list(reading), reading.notes


def number(count):
    return f"4b3b0f8e-0f0d-4d5a-9d5e-{count:012x}"


def attribute(kind="ip-dst", value="198.51.100.7", **changed):
    found = {"uuid": number(1), "type": kind, "category": "Network activity", "value": value, "to_ids": True}
    return found | changed


def event(*attributes, **changed):
    return {"Event": {"uuid": number(99), "info": "EXERCISE", "Attribute": list(attributes)} | changed}


def named(*names):
    return [{"name": name} for name in names]


@pytest.fixture(scope="module")
def independent():
    """What the library of the MISP project makes of a file of ours."""
    with warnings.catch_warnings():
        # It and what it rests on use names that Python has deprecated.
        warnings.simplefilter("ignore")
        pymisp = pytest.importorskip("pymisp", reason="pymisp is not installed: nothing else reads events")

    def reads(data):
        # It takes what it is given apart.
        document, parts = json.loads(data), json.loads(data)
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for one in document.get("response", [document]):
                made = pymisp.MISPEvent(strict_validation=True)
                made.from_dict(**one)
                found.append(made)
            for one in parts.get("response", [parts]):
                # Strict of types in their categories too, which the event is not.
                for part in one["Event"]["Attribute"]:
                    pymisp.MISPAttribute(strict=True).from_dict(**part)
        return found

    return reads


# Whole events


def test_the_example_event(independent):
    (found,), notes = read(EXAMPLE)
    assert notes == []
    rules.check(found)
    assert isinstance(found, CyberIncidentReport)
    assert found.type.value == "fraud:phishing"
    (read_there,) = independent(examples.read("event.misp.json"))
    assert read_there.info == EXAMPLE["Event"]["info"]
    assert len(read_there.attributes) == len(found.indicators) + 1
    assert json.loads(MISP.write([found], now=NOW)) == EXAMPLE


@pytest.mark.parametrize("name", ["IndicatorSet", "CyberIncidentReport"])
def test_the_example_message_comes_back(name, independent):
    message = examples.message(name)
    out = MISP.write([message], now=NOW)
    assert bridges.detect(out) is MISP
    (again,), notes = read(out, message.handling)
    assert (again, notes) == (message, [])
    independent(out)


@pytest.mark.parametrize(
    ("name", "counts", "noted"),
    [
        ("57c4445b-c548-4654-af0b-4be3950d210f", (5, 0), {"type": 4, "Orgc": 1, "Tag": 3}),
        ("misp_event", (1, 0), {"type": 1, "Org": 1, "Orgc": 1, "distribution": 1, "Tag": 2}),
    ],
)
def test_shared_events(name, counts, noted, independent):
    data = shared(f"misp/{name}.json")
    assert bridges.detect(data) is MISP
    (found,), notes = read(data)
    rules.check(found)
    assert (len(found.indicators), len(found.contexts)) == counts
    assert {field: sum(note.field == field for note in notes) for field in {note.field for note in notes}} == noted
    out = MISP.write([found], now=NOW)
    (again,), notes = read(out)
    assert (again, notes) == (found, [])
    independent(out)
    if "tlp:white" in data.decode():
        (filled,), _ = read(data, Handling())
        assert filled.handling.tlp == Tlp.TLP_CLEAR


@pytest.mark.parametrize(("name", "words"), [("sharing_groups", "sharing groups"), ("stix2", "bundle of STIX")])
def test_shared_files_that_are_no_events_are_refused(name, words):
    with pytest.raises(MalformedError) as refused:
        read(shared(f"misp/{name}.json"))
    assert refused.value.reason is Reason.MALFORMED
    assert words in refused.value.detail


# Few examples, because the independent reader takes its time; most of the records are made to differ.
@settings(max_examples=15, deadline=None)
@given(records=st.lists(st.tuples(bodies, maybe), min_size=1, max_size=3), kinds=st.lists(contexts, max_size=2))
def test_any_right_set_comes_back(records, kinds):
    message = indicators()
    message.ClearField("indicators")
    for index, (body, extra) in enumerate(records):
        message.indicators.add(local_id=f"i{index}", **body, **extra)
    for index, kind in enumerate(kinds):
        message.contexts.add(local_id=f"c{index}", **kind)
        message.relationships.add(local_id=f"r{index}", from_ref="i0", to_ref=f"c{index}", type="indicates")
    message.sightings.add(local_id="s0", of_ref="i0", count=0, first_seen={"seconds": 1_600_000_000})
    message.relationships.add(local_id="r9", from_ref="s0", to_ref="i0", type="related-to", confidence=5)
    rules.check(message)
    (again,), notes = read(MISP.write([message], now=NOW))
    assert (again, notes) == (message, [])


# A draft breaks rules, and is written and read all the same.
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_draft_comes_back_whatever_it_lacks(data):
    message = examples.message("CyberIncidentReport")
    names = [field.name for field in message.DESCRIPTOR.fields if field.name not in {"handling", "attachments"}]
    for field in data.draw(st.lists(st.sampled_from(names), max_size=8, unique=True)):
        message.ClearField(field)
    (found,), notes = read(MISP.write([message], now=NOW), message.handling)
    assert (found, notes) == (message, [])


def test_every_kind_of_record_is_read_by_pymisp(independent):
    message = indicators()
    message.ClearField("indicators")
    values = {1: "198.51.100.7", 2: "2001:db8::1", 8: "a" * 32, 9: "b" * 40, 10: "c" * 64, 11: "d" * 128, 15: "AS64496"}
    for kind in range(1, 16):
        message.indicators.add(local_id=f"i{kind}", type=kind, value=values.get(kind, "x.example"), tlp=2)
    for kind in range(1, 8):
        text = "kql" if kind == 7 else ""
        message.indicators.add(local_id=f"p{kind}", type=16, pattern="rule", pattern_type=kind, pattern_type_text=text)
    for index, kind in enumerate([*words.OTHERS, "of our own"]):
        message.indicators.add(local_id=f"o{index}", type=17, type_text=kind, value="x")
    message.indicators[0].port = 443
    for kind in range(1, 8):
        message.contexts.add(local_id=f"c{kind}", kind=kind, name="EXERCISE kit", kind_text="x" if kind == 7 else "")
    message.sightings.add(local_id="s", of_ref="i1", last_seen={"seconds": 1_700_000_000}, count=3)
    message.relationships.add(local_id="r", from_ref="i1", to_ref="c1", type="indicates")
    rules.check(message)
    out = MISP.write([message], now=NOW)
    (again,), notes = read(out)
    assert (again, notes) == (message, [])
    (there,) = independent(out)
    written = {found.uuid: (found.type, found.value) for found in there.attributes}
    assert written[words.derived("E-2", "i1")] == ("ip-dst|port", "198.51.100.7|443")
    assert written[words.derived("E-2", "p6")] == ("yara", "rule")
    first = next(found for found in there.attributes if found.type == "ip-dst|port")
    assert first.sightings[0].date_sighting == "1700000000"
    assert first.relationships[0].relationship_type == "indicates"


def test_a_large_message_is_divided_between_attributes(independent):
    message = indicators()
    for index in range(2000):
        message.indicators.add(local_id=f"indicator-{index:040}", type=3, value=f"{index}.example", confidence=50)
    out = MISP.write([message], now=NOW)
    own = [found for found in json.loads(out)["Event"]["Attribute"] if found["comment"].startswith("infoexchange ")]
    assert len(own) > 1
    assert all(len(found["value"]) < 65535 for found in own)
    (again,), _ = read(out)
    assert again == message
    spoilt = json.loads(out)
    spoilt["Event"]["Attribute"].remove(own[0])
    with pytest.raises(MalformedError) as refused:
        read(spoilt)
    assert refused.value.reason is Reason.BAD_FIELD


def test_several_messages_are_several_events(independent):
    first, second = indicators(), examples.message("CyberIncidentReport")
    second.handling.CopyFrom(first.handling)
    out = MISP.write([first, second], now=NOW)
    assert read(out) == ([first, second], [])
    assert read(json.loads(out)["response"])[0] == [first, second]
    assert len(independent(out)) == 2
    # Two events of one id would be one to MISP.
    for message in (first, second):
        message.ClearField("indicators")
    first.indicators.add(local_id="i", type=3, value="x.example")
    first.set_id = second.incident_id = number(5)
    ids = [one["Event"]["uuid"] for one in json.loads(MISP.write([first, second], now=NOW))["response"]]
    assert len(set(ids)) == 2
    assert ids[0] == number(5)


def test_only_messages_with_an_event_are_written():
    dangling = indicators()
    dangling.sightings.add(local_id="s", of_ref="nothing")
    for messages in ([], [report()], [indicators(), report()], [dangling]):
        with pytest.raises(RefusedError) as refused:
            MISP.write(messages, now=NOW)
        assert refused.value.reason is Reason.RULE_BROKEN


# Damage


@pytest.mark.parametrize(
    ("data", "reason", "field"),
    [
        (b"", Reason.MALFORMED, "line 1"),
        (b"\xff", Reason.MALFORMED, ""),
        (b'{"Event": {}, "Event": {}}', Reason.MALFORMED, ""),
        (b"[" * 100_000, Reason.MALFORMED, ""),
        ([], Reason.MALFORMED, ""),
        ([1], Reason.MALFORMED, "[0]"),
        ({"response": [{"Event": {}}, 5]}, Reason.MALFORMED, "response[1]"),
        ({"Event": []}, Reason.MALFORMED, ""),
        (event(Attribute={}), Reason.BAD_FIELD, "Event.Attribute"),
        (event(attribute(value=5)), Reason.BAD_FIELD, "Event.Attribute[0].value"),
        (event(attribute(type=[])), Reason.BAD_FIELD, "Event.Attribute[0].type"),
        (event(attribute(comment="\ud800")), Reason.BAD_FIELD, "Event.Attribute[0].comment"),
        (event(attribute(timestamp="noon")), Reason.BAD_FIELD, "Event.Attribute[0].timestamp"),
        (event(attribute(first_seen="noon")), Reason.BAD_FIELD, "Event.Attribute[0].first_seen"),
        (event(attribute(Tag=[1])), Reason.BAD_FIELD, "Event.Attribute[0].Tag"),
        (event(Tag=[{"name": 1}]), Reason.BAD_FIELD, "Event.Tag[0].name"),
        (event(attribute("text", "[{}]", comment="infoexchange 1 of 1")), Reason.BAD_FIELD, "Event.Attribute[0].value"),
        (event(attribute("text", "[]", comment="infoexchange 1 of 2")), Reason.BAD_FIELD, "Event.Attribute[0].comment"),
        (event(attribute("text", '[{"schema":"IndicatorSet","message":{"handling":{}}}]',
                         comment="infoexchange 1 of 1")), Reason.BAD_FIELD, "Event.Attribute[0].value"),
        (event(attribute("text", '[{"schema":"PersonNotice","message":{}}]', comment="infoexchange 1 of 1")),
         Reason.BAD_FIELD, "Event.Attribute[0].value"),
    ],
)  # fmt: skip
def test_a_damaged_event_names_the_place(data, reason, field):
    with pytest.raises(MalformedError) as refused:
        read(data)
    assert (refused.value.reason, refused.value.field) == (reason, field)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.integers(0, 40), anything)
def test_any_value_in_any_place_is_read_or_refused(index, place, value):
    spoilt = json.loads(json.dumps(EXAMPLE))
    held = [spoilt["Event"], *spoilt["Event"]["Attribute"]]
    found = held[index % len(held)]
    found[sorted(found)[place % len(found)]] = value
    try:
        messages, _ = read(spoilt)
    except ExchangeError:
        return
    for message in messages:
        message.SerializeToString()


def test_an_attribute_without_an_id_gets_one():
    plain = attribute()
    del plain["uuid"]
    (found,), _ = read(event(plain, plain, attribute(), attribute()))
    rules.check(found)
    assert len({one.local_id for one in found.indicators}) == 4
