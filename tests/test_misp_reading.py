"""What the MISP bridge reads of events that others wrote, and what it never reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalogue_messages import indicators
from infoexchange.bridges.misp import words
from infoexchange.catalogue import CyberIncidentReport, IndicatorSet, IndicatorType, rules
from test_misp import MISP, NOW, attribute, event, named, number, read

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bridges" / "misp.md"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("ip-src", "2001:db8::/32", [(2, "2001:db8::/32", 0)]),
        ("ip-dst|port", "2001:db8::1|443", [(2, "2001:db8::1", 443)]),
        ("hostname", "a.example", [(3, "a.example", 0)]),
        ("domain|ip", "a.example|198.51.100.7", [(3, "a.example", 0), (1, "198.51.100.7", 0)]),
        ("filename|md5", "a|b.exe|" + "a" * 32, [(7, "a|b.exe", 0), (8, "a" * 32, 0)]),
        ("email", "x@a.example", [(5, "x@a.example", 0)]),
        ("AS", "64496", [(15, "64496", 0)]),
        ("regkey|value", "A|B", [(17, "A|B", 0)]),
    ],
)
def test_attributes_become_indicators(kind, value, expected):
    (found,), _ = read(event(attribute(kind, value)))
    rules.check(found)
    assert [(one.type, one.value, one.port) for one in found.indicators] == expected
    assert len(found.relationships) == len(expected) - 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [("ip-dst", "198.51.100"), ("ip-dst", "1.2.3.0/255.255.255.0"), ("ip-dst|port", "198.51.100.7|0"), ("md5", "x"),
     ("ip-src|port", "198.51.100.7"), ("AS", "many"), ("domain", ""), ("domain", "x" * 8001),
     ("domain|ip", "a.example"), ("filename|sha1", "a|b")],
)  # fmt: skip
def test_a_value_without_the_shape_of_its_type_is_left_out(kind, value):
    (found,), notes = read(event(attribute(kind, value), attribute(uuid=number(2))))
    rules.check(found)
    assert [(note.place, note.field) for note in notes] == [("Event.Attribute[0]", "value")]


def test_people_targets_and_actors_are_never_read():
    secret = "SECRETNAME"
    pairs = [("threat-actor", "Attribution"), ("full-name", "Person"), ("email-dst", "Payload delivery"),
             ("target-user", "Targeting data"), ("email-src", "Targeting data"), ("iban", "Financial fraud"),
             ("whois-registrant-name", "Attribution"), ("link", "External analysis"), ("text", "Other"),
             ("domain", "Social network"), ("github-username", "Social network"),
             ("phone-number", "Other")]  # fmt: skip
    attributes = [
        attribute(kind, secret, category=category, uuid=number(place)) for place, (kind, category) in enumerate(pairs)
    ]
    galaxy = [{"name": secret, "type": "threat-actor", "GalaxyCluster": [{"value": secret}]}]
    organisation = {"name": secret}
    tag = named(f'misp-galaxy:threat-actor="{secret}"', secret)
    found = event(*attributes, attribute(Galaxy=galaxy, Tag=tag, uuid=number(50)), Galaxy=galaxy, Tag=tag,
                  Org=organisation, Orgc=organisation, event_creator_email=secret,
                  RelatedEvent=[{"Event": {"info": secret}}], ShadowAttribute=[{"value": secret}])  # fmt: skip
    (message,), notes = read(found)
    assert secret.encode() not in message.SerializeToString()
    assert not any(secret in part for note in notes for part in note)
    assert len(message.indicators) == 1
    fields = [note.field for note in notes]
    assert {"type", "category", "Galaxy", "Tag", "Org", "Orgc", "event_creator_email", "RelatedEvent",
            "ShadowAttribute"} == set(fields)  # fmt: skip


def test_objects_keep_their_attributes_together():
    name, digest = attribute("filename", "a.exe", uuid=number(2)), attribute("md5", "a" * 32, uuid=number(3))
    file = {"uuid": number(4), "name": "file", "Attribute": [name, digest, attribute("text", "x", uuid=number(6))]}
    file["ObjectReference"] = [{"referenced_uuid": number(1), "relationship_type": "connects_to"},
                               {"referenced_uuid": number(77), "relationship_type": "drops"}]  # fmt: skip
    (found,), notes = read(event(attribute(), Object=[file, file | {"deleted": "1"}]))
    rules.check(found)
    assert [(one.from_ref, one.to_ref, one.type) for one in found.relationships] == [
        (number(2), number(3), "related-to"), (number(2), number(1), "connects-to"),
    ]  # fmt: skip
    assert [note.field for note in notes] == ["deleted", "type", "referenced_uuid"]


def test_sightings_and_relations_of_an_attribute():
    seen = [
        {"uuid": number(7), "type": "0", "date_sighting": "1700000000"},
        {"type": "1", "date_sighting": "1700000000"},
    ]
    related = [{"related_object_uuid": number(2), "relationship_type": "resolves to"},
               {"related_object_uuid": number(88), "relationship_type": "x"}]  # fmt: skip
    found = event(attribute(Sighting=seen, Relationship=related), attribute("campaign-name", "EXERCISE", uuid=number(2),
                  category="Attribution", to_ids=False))  # fmt: skip
    found["Event"]["Attribute"][1]["Tag"] = named("other:x")
    (message,), notes = read(found)
    rules.check(message)
    assert (message.sightings[0].of_ref, message.sightings[0].count) == (number(1), 1)
    assert message.relationships[0].type == "resolves-to"
    assert message.contexts[0].name == "EXERCISE"
    assert [note.field for note in notes] == ["Tag", "type", "related_object_uuid"]


def test_times_of_an_attribute():
    times = {
        "timestamp": 1700000000,
        "first_seen": "2026-01-01T08:00:00.000001+02:00",
        "last_seen": "2026-01-02 08:00:00Z",
    }
    (found,), _ = read(event(attribute(**times)))
    record = found.indicators[0]
    assert record.modified_at.seconds == 1700000000
    assert record.first_seen.ToJsonString() == "2026-01-01T06:00:00.000001Z"
    assert record.last_seen.ToJsonString() == "2026-01-02T08:00:00Z"


def test_an_event_on_an_incident_is_a_report():
    tags = named('rsit:malicious-code="c2-server"', 'misp-galaxy:mitre-attack-pattern="Phishing - T1566.002"')
    (found,), notes = read(event(attribute(), Tag=tags, EventReport=[{"name": "x", "content": "EXERCISE. Seen."}]))
    assert isinstance(found, CyberIncidentReport)
    rules.check(found)
    assert (found.type.value, found.attack_techniques) == ("malicious-code:c2-server", ["T1566.002"])
    assert (found.summary, found.incident_id, len(found.indicators)) == ("EXERCISE\n\nEXERCISE. Seen.", number(99), 1)
    assert notes == []
    both = event(attribute(Sighting=[{"date_sighting": "1700000000"}]), Tag=tags)
    (told, found), _ = read(both)
    assert isinstance(told, CyberIncidentReport)
    assert isinstance(found, IndicatorSet)
    assert told.incident_id == found.set_id
    assert (len(told.indicators), len(found.indicators)) == (0, 1)
    again, _ = read(MISP.write([told, found], now=NOW))
    assert again == [told, found]


def test_texts_that_are_too_long_do_not_keep_an_event_back():
    tags = named('rsit:fraud="phishing"')
    told = [{"name": "x", "content": "y" * 8000}]
    for changed in ({}, {"Tag": tags}):
        (found,), notes = read(event(attribute(), info="x" * 501, EventReport=told, **changed))
        rules.check(found)
        assert [note.field for note in notes] == ["info", "EventReport"]
    long = attribute(comment="x" * 8001)
    (found,), notes = read(event(long))
    rules.check(found)
    assert [note.field for note in notes] == ["comment"]


def test_what_was_deleted_or_added_in_misp_since_we_wrote():
    message = indicators()
    message.indicators.add(local_id="i2", type=3, value="gone.example")
    message.sightings.add(local_id="s", of_ref="i2")
    message.relationships.add(local_id="r", from_ref="i1", to_ref="i2", type="related-to")
    found = json.loads(MISP.write([message], now=NOW))
    attributes = found["Event"]["Attribute"]
    attributes[1]["deleted"] = True
    attributes[0]["comment"] = "EXERCISE. Seen again."
    attributes[0]["to_ids"] = False
    attributes.append(attribute("domain", "new.example", uuid=number(3)))
    (again,), notes = read(found)
    rules.check(again)
    assert [one.value for one in again.indicators] == ["198.51.100.7", "new.example"]
    assert again.indicators[0].description == "EXERCISE. Seen again."
    assert again.indicators[0].indicator_types == [words.NOT_FOR_DETECTION]
    assert again.indicators[0].confidence == 70
    assert (len(again.sightings), len(again.relationships)) == (0, 0)
    assert [note.field for note in notes] == ["deleted", "related_object_uuid", "Attribute"]


def test_the_page_has_every_type():
    page = PAGE.read_text(encoding="utf-8")
    for kind, (name, category) in words.TYPES.items():
        short = IndicatorType.Name(kind).removeprefix("INDICATOR_TYPE_")
        assert f"| `{short}` | `{name}` | {category} |" in page
    for name in (*words.READ, *words.PAIRS, *words.OTHERS, *words.PATTERN_OF, *words.KIND_OF_CONTEXT):
        assert f"`{name}`" in page
    for loss in MISP.losses:
        assert f"- {loss}" in page
