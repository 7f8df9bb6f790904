"""The STIX bridge: round trips, marks, hostile bundles, and what an independent reader says of our bundles."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime

import pytest
import stix2
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling, indicators, report
from indicator_records import anything, bodies, contexts, maybe
from infoexchange import bridges
from infoexchange.catalogue import Handling, IndicatorType, PatternType, Tlp, examples, rules
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from test_bridges import shared

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STIX = bridges.find("stix")
EXAMPLE = json.loads(examples.read("indicators.stix.json"))
SAMPLES = {
    "indicator-for-c2-ip-address": (1, 0, 0),
    "malicious-email-indicator-with-attachment": (2, 1, 2),
    "indicators-for-C2-with-COA": (2, 1, 2),
    "infrastructure": (0, 4, 2),
    "xorist_from_misp": (5, 0, 0),
}


def marked(**changed):
    made = handling(domain=8, **({"pap": 3} | changed))
    made.valid_until.FromJsonString("2026-06-01T00:00:00Z")
    return made


def read(data, given_marks=None):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    reading = STIX.read(data, given_marks or marked(), now=NOW)
    (message,) = reading
    return message, reading.notes


def independent(data):
    """What the OASIS library makes of a bundle."""
    with warnings.catch_warnings():
        # It uses names that Python has deprecated.
        warnings.simplefilter("ignore")
        return stix2.parse(data.decode())


def indicator(**changed):
    found = {
        "type": "indicator", "spec_version": "2.1", "id": "indicator--4b3b0f8e-0f0d-4d5a-9d5e-0f6f0a1c2b3d",
        "created": "2026-02-01T00:00:00.000Z", "modified": "2026-02-01T00:00:00.000Z",
        "pattern": "[ipv4-addr:value = '198.51.100.7']", "pattern_type": "stix", "valid_from": "2026-02-01T00:00:00Z",
    }  # fmt: skip
    return found | changed


def bundle(*objects):
    return {"type": "bundle", "id": "bundle--4b3b0f8e-0f0d-4d5a-9d5e-0f6f0a1c2b3d", "objects": list(objects)}


def statement(text, number="1"):
    identifier = f"marking-definition--4b3b0f8e-0f0d-4d5a-9d5e-0f6f0a1c2b3{number}"
    definition = {"definition_type": "statement", "definition": {"statement": text}}
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": identifier,
        "created": NOW.isoformat(),
    } | definition


def test_the_example_bundle():
    independent(examples.read("indicators.stix.json"))
    message, notes = read(EXAMPLE)
    assert notes == []
    rules.check(message)
    assert len(message.indicators) == 8
    assert message.subject == "EXERCISE: false parcel notices"
    first = message.indicators[0]
    assert (first.type, first.value, first.port) == (IndicatorType.INDICATOR_TYPE_IPV4, "198.51.100.23", 8443)
    assert {record.tlp for record in message.indicators} == {Tlp.TLP_UNSPECIFIED, Tlp.TLP_GREEN}
    assert message.sightings[0].count == 14


def test_unset_marks_are_filled_from_the_bundle():
    message, _ = read(EXAMPLE, Handling(precedence=1, domain=8, purpose="exercise"))
    assert (message.handling.tlp, message.handling.pap, message.handling.op_status) == (3, 3, 2)


@pytest.mark.parametrize("weaker", [{"tlp": 2}, {"pap": 1}, {"op_status": 1}])
def test_weaker_marks_than_the_bundles_are_refused(weaker):
    with pytest.raises(RefusedError) as refused:
        read(EXAMPLE, marked(**weaker))
    assert refused.value.reason is Reason.MARK_LOST


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_shared_bundles(name):
    message, notes = read(shared(f"stix21/{name}.json"))
    assert (len(message.indicators), len(message.contexts), len(message.relationships)) == SAMPLES[name]
    assert [found.field for found in rules.violations(message)] == ([] if message.indicators else ["indicators"])
    out = STIX.write([message], now=NOW)
    independent(out)
    again, _ = read(out)
    assert again == message
    assert bool(notes) == (name != "indicator-for-c2-ip-address")
    if name == "xorist_from_misp":
        filled, _ = read(shared(f"stix21/{name}.json"), Handling())
        assert filled.handling.tlp == Tlp.TLP_CLEAR


def test_another_version_is_refused():
    with pytest.raises(MalformedError) as refused:
        read(bundle() | {"spec_version": "2.0"})
    assert refused.value.reason is Reason.UNKNOWN_VERSION


def test_the_shared_bundle_of_another_version_is_refused():
    with pytest.raises(MalformedError) as refused:
        read(shared("misp/stix2.json"))
    assert refused.value.reason is Reason.UNKNOWN_VERSION


# Few examples, because the independent reader takes its time over patterns; most of the records are made to differ.
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(bodies, maybe), min_size=1, max_size=3), st.lists(contexts, max_size=2), st.integers(0, 3))
def test_any_right_set_comes_back_and_others_can_read_it(records, kinds, risk):
    message = indicators()
    message.ClearField("indicators")
    message.false_positive_risk = risk
    for index, (body, extra) in enumerate(records):
        message.indicators.add(local_id=f"i{index}", **body, **extra)
    for index, kind in enumerate(kinds):
        message.contexts.add(local_id=f"c{index}", **kind)
        message.relationships.add(local_id=f"r{index}", from_ref="i0", to_ref=f"c{index}", type="indicates")
    message.sightings.add(local_id="s0", of_ref="i0", count=0, first_seen={"seconds": 1_600_000_000})
    rules.check(message)
    data = STIX.write([message], now=NOW)
    again, notes = read(data)
    # A record marked like the strictest of its bundle is marked by its message; none is as strict here.
    assert again == message
    assert notes == []
    independent(data)


def test_every_object_carries_the_marks():
    message = indicators()
    message.handling.restrictions.add(kind=4, text="Not for the press")
    out = json.loads(STIX.write([message], now=NOW))
    marks = {found["id"] for found in out["objects"] if found["type"] == "marking-definition"}
    said = [found["definition"]["statement"] for found in out["objects"] if "definition" in found]
    assert {"PAP:AMBER", "OP_STATUS:EXERCISE", "RESTRICTION:OTHER:Not for the press"} <= set(said)
    for found in out["objects"]:
        assert found["type"] == "marking-definition" or set(found["object_marking_refs"]) == marks


def test_a_strict_mark_stays_strict():
    message = indicators()
    message.handling.tlp = Tlp.TLP_AMBER_STRICT
    out = STIX.write([message], now=NOW)
    assert b"TLP:AMBER+STRICT" in out
    assert read(out, marked(tlp=0))[0].handling.tlp == Tlp.TLP_AMBER_STRICT
    message.handling.tlp = Tlp.TLP_RED
    with pytest.raises(RefusedError) as refused:
        STIX.write([message], now=NOW)
    assert refused.value.reason is Reason.MARK_LOST
    assert read(STIX.write([message], now=NOW, allow_red=True), marked(tlp=5))[0].handling.tlp == Tlp.TLP_RED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.handling.releasable_to.append("STATE:SG"),
        lambda m: m.handling.national_classification.MergeFrom(type(m.handling.national_classification)(state="SG")),
    ],
)
def test_a_mark_that_stix_cannot_carry_is_refused(spoil):
    message = indicators()
    spoil(message)
    with pytest.raises(RefusedError) as refused:
        STIX.write([message], now=NOW)
    assert refused.value.reason is Reason.MARK_LOST


def test_only_one_set_goes_into_a_bundle():
    for messages in ([], [report()], [indicators(), indicators()]):
        with pytest.raises(RefusedError) as refused:
            STIX.write(messages, now=NOW)
        assert refused.value.reason is Reason.RULE_BROKEN
    dangling = indicators()
    dangling.sightings.add(local_id="s", of_ref="nothing")
    with pytest.raises(RefusedError):
        STIX.write([dangling], now=NOW)


def test_foreign_statements_become_restrictions():
    mark = statement("Copyright somebody")
    message, _ = read(bundle(mark, indicator(object_marking_refs=[mark["id"]])))
    assert [found.text for found in message.handling.restrictions] == ["Copyright somebody"]


@pytest.mark.parametrize(
    "objects",
    [
        [indicator(object_marking_refs=["marking-definition--4b3b0f8e-0f0d-4d5a-9d5e-0f6f0a1c2b39"])],
        [statement("x") | {"definition_type": "iep", "definition": {"iep": 1}}],
        [statement("x") | {"definition_type": "statement", "definition": {}}],
        [statement("x"), statement("y")],
        [indicator(granular_markings=[{"marking_ref": "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"}])],
    ],
)
def test_a_mark_nobody_understands_is_refused(objects):
    with pytest.raises(RefusedError) as refused:
        read(bundle(*objects))
    assert refused.value.reason is Reason.MARK_LOST


def test_people_and_actors_are_never_carried():
    common = {"spec_version": "2.1", "created": "2026-02-01T00:00:00Z", "modified": "2026-02-01T00:00:00Z"}
    uuid = "4b3b0f8e-0f0d-4d5a-9d5e-0f6f0a1c2b3d"
    named = [{"type": kind, "id": f"{kind}--{uuid}", "name": "SECRETNAME"} | common
             for kind in ("identity", "threat-actor", "intrusion-set", "location")]  # fmt: skip
    link = {"type": "relationship", "id": f"relationship--{uuid}", "relationship_type": "attributed-to"} | common
    link |= {"source_ref": indicator()["id"], "target_ref": f"threat-actor--{uuid}"}
    message, notes = read(bundle(indicator(created_by_ref=f"identity--{uuid}"), *named, link))
    assert b"SECRETNAME" not in message.SerializeToString()
    assert len(message.relationships) == 0
    assert [note.place for note in notes] == [f"objects[{index}]" for index in range(6)]


def test_what_is_revoked_or_not_carried_is_noted():
    second = indicator(id="indicator--4b3b0f8e-0f0d-4d5a-9d5e-0f6f0a1c2b3e", revoked=True)
    extra = {"labels": ["x"], "kill_chain_phases": [], "external_references": [{"source_name": "other"}]}
    message, notes = read(bundle(indicator(**extra), second))
    assert len(message.indicators) == 1
    assert {note.field for note in notes} == {"labels", "kill_chain_phases", "external_references", "revoked"}


@pytest.mark.parametrize("kind", ["stix", "pcre", "sigma", "snort", "suricata", "yara", "kql"])
def test_every_language_of_patterns(kind):
    message, _ = read(bundle(indicator(pattern="a rule", pattern_type=kind)))
    record = message.indicators[0]
    assert record.pattern == "a rule"
    assert record.pattern_type == PatternType.Value(f"PATTERN_TYPE_{'OTHER' if kind == 'kql' else kind.upper()}")
    assert record.type == IndicatorType.INDICATOR_TYPE_PATTERN


@pytest.mark.parametrize(
    ("data", "reason", "field"),
    [
        (b"", Reason.MALFORMED, "line 1"),
        (b'{\n"type": }', Reason.MALFORMED, "line 2"),
        (b"\xff", Reason.MALFORMED, ""),
        (b"[" * 100_000, Reason.MALFORMED, ""),
        (b'{"type": "bundle", "x": NaN}', Reason.MALFORMED, ""),
        (b'{"type": "bundle", "type": "bundle"}', Reason.MALFORMED, ""),
        (b"[]", Reason.MALFORMED, "type"),
        (b'{"type": "bundle", "objects": {}}', Reason.BAD_FIELD, "objects"),
        (b'{"type": "bundle", "objects": [1]}', Reason.BAD_FIELD, "objects"),
        (bundle(indicator(id="indicator--1")), Reason.BAD_FIELD, "objects[0].id"),
        (bundle(indicator(type=5)), Reason.BAD_FIELD, "objects[0].type"),
        (bundle(indicator(spec_version="2.0")), Reason.UNKNOWN_VERSION, "objects[0].spec_version"),
        (bundle(indicator(valid_from="noon")), Reason.BAD_FIELD, "objects[0].valid_from"),
        (bundle(indicator(pattern="")), Reason.BAD_FIELD, "objects[0].pattern"),
        (bundle(indicator(name="\ud800")), Reason.BAD_FIELD, "objects[0].name"),
        (bundle(statement("\ud800")), Reason.BAD_FIELD, "objects[0].definition.statement"),
        (bundle(indicator(confidence=-1)), Reason.BAD_FIELD, "objects[0].confidence"),
        (bundle(indicator(confidence=True)), Reason.BAD_FIELD, "objects[0].confidence"),
        (bundle(indicator(indicator_types="x")), Reason.BAD_FIELD, "objects[0].indicator_types"),
        (bundle(indicator(granular_markings=[1])), Reason.BAD_FIELD, "objects[0].granular_markings"),
        (bundle(indicator(external_references=[{"source_name": "infoexchange", "description": "["}])),
         Reason.BAD_FIELD, "objects[0].external_references"),
        (bundle(indicator(external_references=[{"source_name": "infoexchange", "description": '{"type": []}'}])),
         Reason.BAD_FIELD, "objects[0].external_references"),
    ],
)  # fmt: skip
def test_a_damaged_bundle_names_the_place(data, reason, field):
    with pytest.raises(MalformedError) as refused:
        read(data)
    assert (refused.value.reason, refused.value.field) == (reason, field)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(EXAMPLE["objects"]) - 1), st.integers(0, 20), anything)
def test_any_value_in_any_place_is_read_or_refused(index, place, value):
    spoilt = json.loads(json.dumps(EXAMPLE))
    found = spoilt["objects"][index]
    found[sorted(found)[place % len(found)]] = value
    try:
        message, _ = read(spoilt)
    except ExchangeError:
        return
    message.SerializeToString()


@pytest.mark.parametrize("text", ['{"type": "\\ud800"}', '{"\\ud800": 1}', '{"filled": 1}', "[]"])
def test_a_damaged_reference_of_ours_is_a_typed_error(text):
    spoilt = indicator(external_references=[{"source_name": "infoexchange", "description": text}])
    with pytest.raises(MalformedError) as refused:
        read(bundle(spoilt))
    assert refused.value.reason is Reason.BAD_FIELD
