"""The rules of the catalogue: each broken one names its field and what is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalogue_messages import (
    MADE,
    acknowledgement,
    confirmation,
    consent_decision,
    consent_request,
    correction,
    indicators,
    person,
    recall,
    report,
    request,
    response,
)
from infoexchange import catalogue
from infoexchange.catalogue import GeoPoint, Handling, Tlp, digits, rules
from infoexchange.errors import Reason, RefusedError

PROTO = Path(__file__).resolve().parent.parent / "proto" / "infoexchange" / "catalogue" / "v1"


def test_every_rule_names_its_field():
    found = 0
    for path in PROTO.glob("*.proto"):
        owner = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"message (\w+)", line):
                owner = getattr(catalogue, match[1]).DESCRIPTOR
            elif match := re.match(r'\s+id: "(.+)\.\w+"', line):
                assert rules._field_at(owner, match[1]) is not None, line
                found += 1
    assert found > 20


@pytest.mark.parametrize("make", MADE)
def test_a_right_message_passes(make):
    message = make()
    assert rules.violations(message) == []
    rules.check(message)
    rules.check_received(message)
    assert catalogue.message_type(catalogue.schema_of(message))().ParseFromString(message.SerializeToString())


BROKEN = [
    (report, lambda m: m.position.ClearField("latitude"), "position.latitude", "1.25"),
    (report, lambda m: setattr(m.position, "latitude", 90.5), "position.latitude", "1.25"),
    (report, lambda m: setattr(m.position, "longitude", float("nan")), "position.longitude", "104.5"),
    (report, lambda m: m.handling.ClearField("tlp"), "handling.tlp", "AMBER_STRICT"),
    (report, lambda m: setattr(m.handling, "tlp", 9), "handling.tlp", "RED"),
    (report, lambda m: m.handling.ClearField("op_status"), "handling.op_status", "EXERCISE"),
    (report, lambda m: m.handling.ClearField("precedence"), "handling.precedence", "FLASH"),
    (report, lambda m: m.handling.ClearField("onward_transfer"), "handling.onward_transfer", "CONSENT_REQUIRED"),
    (report, lambda m: m.handling.ClearField("purpose"), "handling.purpose", "criminal investigation"),
    (report, lambda m: m.handling.restrictions.add(kind=4), "handling.restrictions[0].text", "press"),
    (report, lambda m: m.handling.supersedes.append(b"x"), "handling.supersedes[0]", ""),
    (report, lambda m: setattr(m.handling, "confidence", 101), "handling.confidence", "70"),
    (report, lambda m: m.handling.MergeFrom(Handling(source_reliability=1, info_credibility=11)),
     "handling.info_credibility", "ADMIRALTY_1"),
    (report, lambda m: m.vessel.Clear(), "vessel.name", "MV EXAMPLE"),
    (report, lambda m: setattr(m.vessel, "imo", "9074728"), "vessel.imo", "9074729"),
    (report, lambda m: setattr(m.vessel, "imo", "907472"), "vessel.imo", "9074729"),
    (report, lambda m: setattr(m.vessel, "mmsi", "100000000"), "vessel.mmsi", "563000001"),
    (report, lambda m: setattr(m.vessel, "identity_gap", 1), "vessel.identity_gap", "WITHHELD"),
    (report, lambda m: m.ClearField("legal_class"), "legal_class", "UNDETERMINED"),
    (report, lambda m: m.ClearField("handling"), "handling", ""),
    (report, lambda m: setattr(m, "outcome", 7), "outcome_text", ""),
    (report, lambda m: setattr(m, "outcome", 99), "outcome", "HIJACKED"),
    (report, lambda m: m.stolen.append(9), "stolen_text", ""),
    (report, lambda m: m.weapons.append(0), "weapons[0]", "FIREARM"),
    (report, lambda m: m.perpetrators.MergeFrom(catalogue.Perpetrators(count_min=3, count_max=2)),
     "perpetrators.count_max", ""),
    (report, lambda m: m.report_time.utc.FromJsonString("2026-01-01T00:00:00Z"), "report_time", ""),
    (report, lambda m: m.area_names.add(text="there"), "area_names[0].asserted_by", "reporting ship"),
    (indicators, lambda m: m.handling.ClearField("pap"), "handling.pap", "GREEN"),
    (indicators, lambda m: m.handling.ClearField("valid_until"), "handling.valid_until", "2026-01-31"),
    (indicators, lambda m: m.handling.retention_until.FromJsonString("2026-05-01T00:00:00Z"),
     "handling.retention_until", "2026-01-31"),
    (indicators, lambda m: m.ClearField("indicators"), "indicators", ""),
    (indicators, lambda m: setattr(m.indicators[0], "tlp", 5), "handling.tlp", "RED"),
    (indicators, lambda m: setattr(m.indicators[0], "value", ""), "indicators[0].value", "198.51.100.7"),
    (indicators, lambda m: setattr(m.indicators[0], "value", "198.51.100"), "indicators[0].value", "198.51.100.7"),
    (indicators, lambda m: setattr(m.indicators[0], "type", 10), "indicators[0].value", "198.51.100.7"),
    (indicators, lambda m: setattr(m.indicators[0], "pattern", "x"), "indicators[0].pattern_type", "YARA"),
    (indicators, lambda m: m.indicators.add(local_id="i1", type=3, value="example.org"), "indicators[1].local_id", ""),
    (indicators, lambda m: m.sightings.add(local_id="s1", of_ref="i9"), "sightings[0].of_ref", "local_id"),
    (request, lambda m: m.handling.ClearField("foreseen_use"), "handling.foreseen_use", "intelligence only"),
    (request, lambda m: setattr(m.handling, "precedence", 4), "urgency_reason", ""),
    (request, lambda m: m.subject_refs.append("v2"), "subject_refs[1]", "local_id"),
    (request, lambda m: person(m, is_minor=0), "persons[0].is_minor", "UNKNOWN"),
    (request, lambda m: person(m).phones.add(e164="065"), "persons[0].phones[0].e164", "+65"),
    (request, lambda m: person(m).phones.add(e164="+6560000000", imei="490154203237519"),
     "persons[0].phones[0].imei", ""),
    (request, lambda m: m.organisations.add(local_id="o", name="n", lei="213800KUD8LAJWSQ9D16"),
     "organisations[0].lei", ""),
    (response, lambda m: setattr(m, "status", 3), "refusal", ""),
    (response, lambda m: m.ClearField("request_ref"), "request_ref", "32-byte"),
    (acknowledgement, lambda m: m.ClearField("level"), "level", "READ_BY_OFFICER"),
    (consent_request, lambda m: m.ClearField("information_ref"), "information_ref", "32-byte"),
    (consent_request, lambda m: m.ClearField("proposed_recipients"), "proposed_recipients", "intel.c04"),
    (consent_request, lambda m: m.proposed_recipients.append("intel.c04.vn.example"), "proposed_recipients", ""),
    (consent_request, lambda m: m.ClearField("purpose"), "purpose", "waters"),
    (consent_decision, lambda m: m.ClearField("request_ref"), "request_ref", "32-byte"),
    (consent_decision, lambda m: m.ClearField("information_ref"), "information_ref", "32-byte"),
    (consent_decision, lambda m: m.ClearField("decision"), "decision", "DENIED"),
    (consent_decision, lambda m: setattr(m, "decision", 3), "grant", ""),
    (consent_decision, lambda m: m.ClearField("grant"), "grant", ""),
    (consent_decision, lambda m: setattr(m, "grant", bytes(24577)), "grant", ""),
    (consent_decision, lambda m: m.ClearField("expires_at"), "expires_at", "2026"),
    (consent_decision, lambda m: setattr(m, "decision", 2), "conditions", "court"),
    (consent_decision, lambda m: setattr(m, "conditions", "x"), "conditions", "court"),
    (correction, lambda m: setattr(m, "corrects", bytes(31)), "corrects", "32-byte"),
    (correction, lambda m: m.ClearField("changed_fields"), "changed_fields", ""),
    (correction, lambda m: m.ClearField("reason"), "reason", "MISIDENTIFICATION"),
    (correction, lambda m: setattr(m.changed_fields[0], "path", ""), "changed_fields[0].path", "vessels[0].imo"),
    (correction, lambda m: setattr(m.changed_fields[0], "kind", 3), "changed_fields[0].value", ""),
    (correction, lambda m: setattr(m.changed_fields[0], "value", ""), "changed_fields[0].value", "9074729"),
    (recall, lambda m: m.ClearField("recalls"), "recalls", "32-byte"),
    (recall, lambda m: m.ClearField("reason"), "reason", "SENT_IN_ERROR"),
    (recall, lambda m: m.ClearField("requested_action"), "requested_action", "QUARANTINE"),
    (confirmation, lambda m: m.ClearField("confirms"), "confirms", "32-byte"),
    (confirmation, lambda m: m.ClearField("action_taken"), "action_taken", "CANNOT_DELETE"),
    (confirmation, lambda m: setattr(m, "action_taken", 3), "legal_hold", "pending trial"),
    (confirmation, lambda m: m.already_disseminated_to.append(""), "already_disseminated_to[0]", "harbour police"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "spoil", "field", "hint"), BROKEN, ids=[row[2] for row in BROKEN])
def test_a_broken_rule_names_the_field_and_what_is_right(make, spoil, field, hint):
    message = make()
    spoil(message)
    found = {violation.field: violation for violation in rules.violations(message)}
    assert field in found
    assert hint in found[field].next_step
    assert found[field].detail
    with pytest.raises(RefusedError) as refused:
        rules.check(message)
    assert refused.value.reason is Reason.RULE_BROKEN
    assert refused.value.field in found


def test_a_minor_forces_marks():
    message = request()
    person(message, is_minor=3)
    assert [found.field for found in rules.violations(message)] == ["handling.tlp", "handling.restrictions"]
    message.handling.tlp = Tlp.TLP_AMBER_STRICT
    message.handling.restrictions.add(kind=2)
    message.handling.restrictions.add(kind=3)
    assert rules.violations(message) == []


def test_a_newer_value_is_received_but_not_sent_and_never_in_marks():
    message = report()
    message.outcome = 99
    rules.check_received(message)
    with pytest.raises(RefusedError):
        rules.check(message)
    message.handling.origin = 99
    with pytest.raises(RefusedError) as refused:
        rules.check_received(message)
    assert refused.value.field == "handling.origin"


def test_a_value_must_be_in_the_version_of_the_list_it_names():
    quantity = catalogue.Quantity(amount={"unscaled": 1})
    quantity.unit.MergeFrom(catalogue.Code(system="imb-attack-type", version="2026-11", value="Detained"))
    assert rules.violations(quantity) == []
    quantity.unit.value = "Invented"
    assert [found.field for found in rules.violations(quantity)] == ["unit.value"]
    quantity.unit.version = "2099-01"
    assert rules.violations(quantity) == []


@pytest.mark.parametrize("value", ["9074729"])
def test_a_wrong_digit_is_noticed(value):
    assert digits.is_imo(value)
    changed = [value[:i] + str((int(value[i]) + 1) % 10) + value[i + 1 :] for i in range(len(value))]
    assert not any(map(digits.is_imo, changed))


def test_number_plans():
    assert digits.is_mmsi("563000001")
    assert digits.is_mmsi("985630001")
    assert digits.is_mmsi("856300001")
    assert not digits.is_mmsi("005630001")
    assert not digits.is_mmsi("999999999")
    assert digits.is_luhn("490154203237518")


def test_machine_readable_zone():
    body = "X00000001UTO8001014F3001019<<<<<<<<<<<<<<"
    low = "X00000001" + digits.icao_digit("X00000001") + "UTO" + "800101" + digits.icao_digit("800101") + "F"
    low += "300101" + digits.icao_digit("300101") + "<" * 14 + digits.icao_digit("<" * 14)
    low += digits.icao_digit(low[0:10] + low[13:20] + low[21:43])
    lines = ["P<UTOEXAMPLE<<PERSON".ljust(44, "<"), low]
    assert len(body) == 41
    assert digits.is_machine_readable_zone(lines)
    assert not digits.is_machine_readable_zone([lines[0], low[:20] + "M" + low[21:43] + str((int(low[43]) + 1) % 10)])
    assert digits.is_machine_readable_zone(["another zone"])


def test_zero_degrees_is_a_place():
    assert rules.violations(GeoPoint(latitude=0.0, longitude=0.0)) == []
    assert len(rules.violations(GeoPoint())) == 2
