"""The rules of messages on drugs: each broken one names its field and what is right."""

from __future__ import annotations

import pytest

from infoexchange.catalogue import Code, Decimal, PartialDate, Refusal, digits
from spoiling import accepted, refused

NATIONAL = Code(system="example-schedules", version="2026", value="Schedule 1")

BROKEN = [
    ("DrugSeizureReport", lambda m: m.ClearField("seizure_id"), "seizure_id", "2026-CUSTOMS"),
    ("DrugSeizureReport", lambda m: setattr(m.handling, "domain", 3), "handling.domain", "DRUGS"),
    ("DrugSeizureReport", lambda m: m.ClearField("items"), "items", ""),
    ("DrugSeizureReport", lambda m: m.items[0].ClearField("lab_confirmed"), "items[0].lab_confirmed", "true"),
    ("DrugSeizureReport", lambda m: m.items[0].ClearField("quantity"), "items[0].quantity", ""),
    ("DrugSeizureReport", lambda m: setattr(m.items[0].quantity.amount, "unscaled", -1),
     "items[0].quantity.amount", ""),
    ("DrugSeizureReport", lambda m: setattr(m.items[0].quantity.unit, "value", "BAG"),
     "items[0].quantity.unit.value", ""),
    ("DrugSeizureReport", lambda m: m.items[0].kg_equivalent.ClearField("factor_source"),
     "items[0].kg_equivalent.factor_source", "UNODC"),
    ("DrugSeizureReport", lambda m: setattr(m.items[0].substance, "cas", "537-46-3"),
     "items[0].substance.cas", "537-46-2"),
    ("DrugSeizureReport", lambda m: setattr(m.items[0].substance, "cas", "metham"),
     "items[0].substance.cas", "537-46-2"),
    ("DrugSeizureReport", lambda m: setattr(m.items[0].substance.mixture[0], "cas", "58-08-3"),
     "items[0].substance.mixture[0].cas", "58-08-2"),
    ("DrugSeizureReport", lambda m: m.items[0].substance.purity_pct.CopyFrom(Decimal(unscaled=1001, scale=1)),
     "items[0].substance.purity_pct", ""),
    ("DrugSeizureReport", lambda m: m.items[0].substance.purity_pct.CopyFrom(Decimal(unscaled=1, scale=7)),
     "items[0].substance.purity_pct", ""),
    ("DrugSeizureReport", lambda m: setattr(m.containers[0], "number", "CSQU3054384"),
     "containers[0].number", "CSQU3054383"),
    ("DrugSeizureReport", lambda m: setattr(m.containers[0], "number", "CSQX3054383"),
     "containers[0].number", "CSQU3054383"),
    ("DrugSeizureReport", lambda m: m.vehicles[0].ClearField("plate_country"), "vehicles[0].plate_country", "SG"),
    ("DrugSeizureReport", lambda m: m.vehicles.add(local_id="v9"), "vehicles[1].plate", "EXERCISE"),
    ("DrugSeizureReport", lambda m: m.conveyance_refs.append("vessel-9"), "conveyance_refs[2]", "local_id"),
    ("DrugSeizureReport", lambda m: setattr(m, "transport", 14), "transport_text", ""),
    ("DrugSeizureReport", lambda m: setattr(m.arrests, "minors", 3), "arrests.minors", ""),
    ("DrugSeizureReport", lambda m: setattr(m.arrests, "women", 2), "arrests.count", "2"),
    ("ControlledDeliveryRequest", lambda m: setattr(m.handling, "tlp", 4), "handling.tlp", "RED"),
    ("ControlledDeliveryRequest", lambda m: setattr(m.handling, "pap", 3), "handling.pap", "RED"),
    ("ControlledDeliveryRequest", lambda m: m.handling.restrictions.pop(), "handling.restrictions", ""),
    ("ControlledDeliveryRequest", lambda m: m.consents.pop(), "consents", ""),
    ("ControlledDeliveryRequest", lambda m: m.ClearField("abort_rules"), "abort_rules", "Sight lost"),
    ("ControlledDeliveryRequest", lambda m: m.legs[0].ClearField("exit"), "legs[0].entry", ""),
    ("ControlledDeliveryRequest", lambda m: m.legs[1].ClearField("conveyance_text"),
     "legs[1].conveyance_text", "flight"),
    ("ControlledDeliveryRequest", lambda m: m.legs[0].window_until.FromJsonString("2026-02-03T00:00:00Z"),
     "legs[0].window_until", "2026"),
    ("ControlledDeliveryRequest", lambda m: setattr(m.consents[0], "conditions", "x"),
     "consents[0].conditions", "officers"),
    ("ControlledDeliveryDecision", lambda m: m.ClearField("request_ref"), "request_ref", "32-byte"),
    ("ControlledDeliveryDecision", lambda m: m.ClearField("conditions"), "conditions", "officers"),
    ("ControlledDeliveryDecision", lambda m: setattr(m, "decision", 3), "refusal", ""),
    ("ControlledDeliveryDecision", lambda m: m.ClearField("decision"), "decision", "PENDING"),
    ("ControlledDeliveryLegUpdate", lambda m: m.ClearField("status"), "status", "LOST"),
    ("ControlledDeliveryLegUpdate", lambda m: setattr(m.handling, "tlp", 3), "handling.tlp", "RED"),
    ("PreExportNotification", lambda m: m.exporter.ClearField("addresses"), "exporter.addresses", ""),
    ("PreExportNotification", lambda m: setattr(m.quantity.amount, "unscaled", 0), "quantity.amount", ""),
    ("PreExportNotification", lambda m: setattr(m, "expected_point_of_entry", "SG"),
     "expected_point_of_entry", "SGSIN"),
    ("PreExportNotification", lambda m: m.expected_dispatch.CopyFrom(PartialDate(kind=4)),
     "expected_dispatch.kind", "EXACT"),
    ("PreExportNotification", lambda m: m.ClearField("table"), "table", "ISSL_VOLUNTARY"),
    ("PreExportNotification", lambda m: m.ClearField("reply_by"), "reply_by", "2026"),
    ("PreExportReply", lambda m: m.ClearField("reason"), "reason", "licence"),
    ("PreExportReply", lambda m: setattr(m, "decision", 3), "answer_by", "2026"),
    ("PrecursorIncident", lambda m: setattr(m, "type", 9), "type_text", ""),
    ("PrecursorIncident", lambda m: [m.ClearField("substances"), m.ClearField("equipment")], "substances", ""),
    ("PrecursorIncident", lambda m: m.contact.ClearField("email"), "contact.phone", "+65"),
    ("NpsAlert", lambda m: m.ClearField("group"), "group", ""),
    ("NpsAlert", lambda m: setattr(m.group, "value", "NONE"), "group.value", ""),
    ("NpsAlert", lambda m: m.ClearField("lab"), "lab", "Forensic"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "field", "hint"), BROKEN, ids=[f"{row[0]}-{row[2]}" for row in BROKEN])
def test_a_broken_rule_names_the_field_and_what_is_right(name, spoil, field, hint):
    refused(name, spoil, field, hint)


def test_a_hundred_per_cent_is_a_purity_and_a_list_nobody_knows_is_no_error():
    accepted("DrugSeizureReport", lambda m: m.items[0].substance.purity_pct.CopyFrom(Decimal(unscaled=100)))
    accepted("DrugSeizureReport", lambda m: m.items[0].substance.control.CopyFrom(NATIONAL))


def test_a_refusal_with_a_reason_is_a_normal_answer():
    def refuse(decision):
        decision.decision = 3
        decision.ClearField("conditions")
        decision.refusal.CopyFrom(Refusal(code=6))

    accepted("ControlledDeliveryDecision", refuse)


@pytest.mark.parametrize("number", ["537-46-2", "561-27-3", "299-42-3", "108-24-7"])
def test_the_last_digit_of_a_cas_number(number):
    assert digits.is_cas(number)
    for place, digit in enumerate(number):
        changed = number[:place] + str((int(digit) + 1) % 10) + number[place + 1 :] if digit != "-" else ""
        # A weight of ten would hide a change; CAS numbers have at most nine weighted digits.
        assert not changed or not digits.is_cas(changed)


def test_the_last_digit_of_a_container_number():
    number = "CSQU3054383"
    assert digits.is_container(number)
    for place in range(4, 11):
        assert not digits.is_container(number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :])
    assert not digits.is_container("CSQJ3054383")
    assert not digits.is_container("SCQU3054383")
