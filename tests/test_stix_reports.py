"""Incidents, fraud alerts and notices in STIX: they come back, others can read them, nobody is read by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indicator_records import anything
from infoexchange import bridges
from infoexchange.bridges.stix import words
from infoexchange.catalogue import (
    ContextKind,
    CyberIncidentReport,
    IndicatorSet,
    IndicatorType,
    PersonNotice,
    Tlp,
    examples,
    rules,
)
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from test_stix import NOW, STIX, bundle, independent, indicator, marked

TYPES = ("CyberIncidentReport", "FraudAlert", "PersonNotice")
UUID = "4b3b0f8e-0f0d-4d5a-9d5e-0f6f0a1c2b3d"


def write(message):
    return STIX.write([message], now=NOW)


def read(data, marks):
    reading = STIX.read(data if isinstance(data, bytes) else json.dumps(data).encode(), marks, now=NOW)
    return list(reading), reading.notes


def again(message):
    """What comes back of a message, after another reader has accepted its bundle."""
    rules.check(message)
    out = write(message)
    independent(out)
    (found,), notes = read(out, message.handling)
    assert notes == []
    return found


def objects(message):
    return json.loads(write(message))["objects"]


def plain(kind, **changed):
    common = {"spec_version": "2.1", "created": "2026-02-01T00:00:00Z", "modified": "2026-02-01T00:00:00Z"}
    return {"type": kind, "id": f"{kind}--{UUID}", "name": "SECRETNAME"} | common | changed


def with_object(message, added):
    made = json.loads(write(message))
    made["objects"].append(added)
    return made


@pytest.mark.parametrize("name", TYPES)
def test_the_example_message_comes_back(name):
    message = examples.message(name)
    assert again(message) == message
    assert bridges.detect(write(message)) is STIX


def test_an_incident_has_objects_that_others_know():
    message = examples.message("CyberIncidentReport")
    found = objects(message)
    kinds = [one["type"] for one in found if one["type"] != "marking-definition"]
    assert kinds == ["grouping", "indicator", "indicator", "incident", "attack-pattern", "attack-pattern"]
    assert found[-2]["external_references"][0] == {"source_name": "mitre-attack", "external_id": "T1566"}
    assert all(one["name"].startswith("EXERCISE") for one in found if one["type"] in {"grouping", "incident"})
    # Who was hit is in the grouping alone, by pseudonym.
    assert json.dumps(found).count("VICTIM-7") == 1


def notice():
    """A notice with everything that a person can have."""
    message = examples.message("PersonNotice")
    message.handling.restrictions.add(kind=2)
    person = message.person
    person.names.add(full="Example Person", kind=1)
    person.names.add(given=["Example"], family=["Person"])
    person.birth.kind, person.birth.year = 1, 1980
    person.birth_place.un_locode = "SGSIN"
    person.documents.add(type=1, number="X0000001", issuing_state="UTO")
    person.phones.add(e164="+6560000000")
    person.addresses.add(lines=["1 Example Street"], country="SG")
    message.associates.add(local_id="p2", role=8, is_minor=2).names.add(given=["Other"], family=["Example"])
    message.associates.add(local_id="p3", role=4, is_minor=3, pseudonym="VICTIM-1")
    message.associates.add(local_id="p4", role=8, is_minor=2, description="EXERCISE. Tall.")
    message.organisations[0].officer_refs.append("p2")
    message.accounts.add(local_id="a1", account_no="1", institution_name="Example Bank", holder_ref="person-1")
    return message


def test_persons_and_organisations_are_identities():
    message = notice()
    assert again(message) == message
    named = {one["name"]: one["identity_class"] for one in objects(message) if one["type"] == "identity"}
    assert named == {
        "Example Person": "individual",
        "Other Example": "individual",
        "VICTIM-1": "individual",
        "unnamed": "individual",
        "Example Trading": "organization",
    }
    # Each fact stands once: whoever takes the identity out has taken the person out.
    rest = [one for one in objects(message) if one["type"] != "identity"]
    for fact in ("Example Person", "X0000001", "+6560000000", "Example Street", "Alpha", "1980"):
        assert fact not in json.dumps(rest).replace("notice on Alpha", "")


@pytest.mark.parametrize("field", ["names", "documents", "addresses", "phones"])
def test_a_victim_is_never_named(field):
    message = notice()
    victim = message.associates[1]
    getattr(victim, field).add()
    with pytest.raises(RefusedError) as refused:
        write(message)
    assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, f"associates[1].{field}")


@pytest.mark.parametrize(
    ("place", "properties"),
    [
        ({"point": {"latitude": 0.0, "longitude": -104.123456789012345}}, {"latitude", "longitude"}),
        ({"point": {"latitude": 1, "longitude": 2, "altitude_m": 3.5}, "accuracy_m": 50, "method": 1},
         {"latitude", "longitude", "precision"}),
        ({"subdivision": "SG-01", "names": [{"text": "Example Quarter", "asserted_by": "exercise"}]},
         {"country", "administrative_area"}),
        ({"address": {"lines": ["1 Example Street", "Floor 2"], "locality": "Example", "country": "SG"}},
         {"country", "city", "street_address"}),
        ({"address": {"locality": "Example"}}, None),
        ({"address": {"lines": ["two\nlines"], "country": "SG"}}, None),
        ({"un_locode": "SGSIN"}, None),
        ({"mgrs": "48PVT9217177502"}, None),
        ({"stated_text": "EXERCISE. A ferry"}, None),
    ],
)  # fmt: skip
def test_a_place_is_a_location_where_stix_can_say_it(place, properties):
    message = examples.message("PersonNotice")
    message.ClearField("last_seen_place")
    message.last_seen_place.MergeFrom(type(message.last_seen_place)(**place))
    assert again(message) == message
    made = [one for one in objects(message) if one["type"] == "location"]
    common = {"type", "spec_version", "id", "created", "modified", "object_marking_refs", "external_references"}
    assert [one.keys() - common for one in made] == ([properties] if properties else [])
    links = [one for one in objects(message) if one.get("relationship_type") == "located-at"]
    assert len(links) == len(made)


# A draft breaks rules, and is written and read all the same.
@settings(max_examples=24, deadline=None)
@given(st.sampled_from(TYPES), st.data())
def test_a_draft_comes_back_whatever_it_lacks(name, data):
    message = examples.message(name)
    names = [field.name for field in message.DESCRIPTOR.fields if field.name not in {"handling", "attachments"}]
    for field in data.draw(st.lists(st.sampled_from(names), max_size=6, unique=True)):
        message.ClearField(field)
    (found,), notes = read(write(message), message.handling)
    assert (found, notes) == (message, [])


def test_relations_of_what_has_no_object_stay_together():
    message = examples.message("FraudAlert")
    message.relationships.add(local_id="r1", from_ref="indicator-1", to_ref="organisation-1", type="related-to")
    assert again(message) == message
    assert [one["type"] for one in objects(message)].count("relationship") == 1
    message.relationships.add(local_id="r2", from_ref="account-1", to_ref="wallet-1", type="related-to")
    assert again(message) == message
    assert "relationship" not in [one["type"] for one in objects(message)]


def test_every_object_carries_the_marks():
    for name in TYPES:
        message = examples.message(name)
        # A record marked by itself has its own label in the place of the message's.
        for record in getattr(message, "indicators", ()):
            record.ClearField("tlp")
        found = objects(message)
        marks = {one["id"] for one in found if one["type"] == "marking-definition"}
        assert all(set(one["object_marking_refs"]) == marks for one in found if one["type"] != "marking-definition")


@pytest.mark.parametrize("name", TYPES)
def test_marks_are_not_lost(name):
    message = examples.message(name)
    message.handling.tlp = Tlp.TLP_RED
    with pytest.raises(RefusedError) as refused:
        write(message)
    assert refused.value.reason is Reason.MARK_LOST
    out = STIX.write([message], now=NOW, allow_red=True)
    for weaker in (marked(tlp=4), marked(tlp=5, op_status=1)):
        with pytest.raises(RefusedError) as refused:
            read(out, weaker)
        assert refused.value.reason is Reason.MARK_LOST


# What others wrote


def test_what_others_add_to_our_bundle_names_nobody():
    for name in TYPES:
        message = examples.message(name)
        for kind in ("identity", "location", "threat-actor", "incident", "campaign", "attack-pattern", "grouping"):
            (found,), notes = read(with_object(message, plain(kind)), message.handling)
            assert found == message
            assert [note.field for note in notes] == ["type"]


def test_what_others_add_of_indicators_is_taken():
    message = examples.message("FraudAlert")
    (found,), _ = read(with_object(message, indicator()), message.handling)
    assert len(found.indicators) == 2
    link = plain("relationship", relationship_type="indicates", source_ref="x", target_ref="y")
    (found,), notes = read(with_object(message, link), message.handling)
    assert found == message
    assert [note.field for note in notes] == ["type"]
    message = examples.message("CyberIncidentReport")
    (found,), notes = read(with_object(message, plain("sighting", sighting_of_ref="x")), message.handling)
    assert [note.field for note in notes] == ["type"]


def test_what_was_taken_out_or_revoked_does_not_come_back():
    message = notice()
    made = json.loads(write(message))
    made["objects"] = [one for one in made["objects"] if one.get("name") != "Other Example"]
    (found,), notes = read(made, message.handling)
    assert [one.local_id for one in found.associates] == ["p3", "p4"]
    assert notes == []
    made = json.loads(write(message))
    grouping = next(one for one in made["objects"] if one["type"] == "grouping")
    identity = next(one for one in made["objects"] if one.get("name") == "unnamed")
    identity["revoked"] = True
    (found,), notes = read(made, message.handling)
    assert [one.local_id for one in found.associates] == ["p2", "p3"]
    assert [note.field for note in notes] == ["revoked"]
    grouping["revoked"] = True
    found, notes = read(made, message.handling)
    assert (found, [note.field for note in notes]) == ([], ["revoked"])


def test_incidents_of_others_are_reports_of_an_undetermined_kind():
    incident = plain("incident", name="EXERCISE", description="EXERCISE. Seen.", labels=["x"])
    (found,), notes = read(bundle(incident), marked())
    assert isinstance(found, CyberIncidentReport)
    rules.check(found)
    assert (found.incident_id, found.type.value) == (f"incident--{UUID}", "other:undetermined")
    assert found.summary == "EXERCISE\n\nEXERCISE. Seen."
    assert [note.field for note in notes] == ["labels"]
    (told, found), _ = read(bundle(indicator(), incident), marked())
    assert isinstance(told, CyberIncidentReport)
    assert isinstance(found, IndicatorSet)
    rules.check(found)
    assert len(found.indicators) == 1


def test_a_notice_of_others_is_nobody():
    found, notes = read(bundle(plain("grouping", object_refs=[]), plain("identity"), plain("location")), marked())
    assert not any(isinstance(one, PersonNotice) for one in found)
    assert [note.field for note in notes] == ["type", "type"]


def test_the_page_has_every_path_and_loss():
    page = (Path(__file__).resolve().parent.parent / "docs" / "bridges" / "stix.md").read_text(encoding="utf-8")
    for kind, path in words.PATHS.items():
        name = IndicatorType.Name(kind).removeprefix("INDICATOR_TYPE_")
        assert f"| `{name}` | `{path}` |" in page
    for kind, name in words.TYPE_OF_CONTEXT.items():
        assert f"| `{ContextKind.Name(kind).removeprefix('CONTEXT_KIND_')}` | `{name}` |" in page
    for loss in STIX.losses:
        assert f"- {loss}" in page


# Damage


def spoilt(message, kind, changed):
    made = json.loads(write(message))
    found = next(one for one in made["objects"] if one["type"] == kind)
    reference = found["external_references"][-1]
    extras = json.loads(reference["description"])
    reference["description"] = json.dumps(extras | changed)
    return made, made["objects"].index(found)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("grouping", {"schema": "SealedIdentity"}),
        ("grouping", {"schema": ["PersonNotice"]}),
        ("grouping", {"message": {"handling": {"tlp": "TLP_CLEAR"}}}),
        ("grouping", {"message": {"no_such_field": 1}}),
        ("grouping", {"message": []}),
        ("grouping", {"message": {"subject": "\ud800"}}),
        ("identity", {"record": 5}),
        ("identity", {"record": {"role": "NONE"}}),
    ],
)
def test_a_damaged_reference_of_ours_is_refused(kind, changed):
    message = examples.message("PersonNotice")
    made, index = spoilt(message, kind, changed)
    with pytest.raises(MalformedError) as refused:
        read(made, message.handling)
    assert (refused.value.reason, refused.value.field) == (Reason.BAD_FIELD, f"objects[{index}].external_references")


@pytest.mark.parametrize("value", ["1", None, True, 1e999, 1e30])
def test_a_place_that_is_no_number_is_refused(value):
    message = examples.message("PersonNotice")
    message.last_seen_place.point.latitude = message.last_seen_place.point.longitude = 1.0
    made = json.loads(write(message))
    index = next(place for place, one in enumerate(made["objects"]) if one["type"] == "location")
    made["objects"][index]["latitude"] = value
    data = json.dumps(made).replace("Infinity", "1e999").encode()
    with pytest.raises(MalformedError) as refused:
        read(data, message.handling)
    assert refused.value.field == f"objects[{index}].latitude"


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(TYPES), st.integers(0, 30), st.integers(0, 20), anything)
def test_any_value_in_any_place_is_read_or_refused(name, index, place, value):
    message = examples.message(name)
    made = json.loads(write(message))
    found = made["objects"][index % len(made["objects"])]
    found[sorted(found)[place % len(found)]] = value
    try:
        messages, _ = read(made, message.handling)
    except ExchangeError:
        return
    for one in messages:
        one.SerializeToString()
