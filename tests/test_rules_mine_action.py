"""Rules of mine action: each broken one names its field and what is right."""

from __future__ import annotations

import pytest

from broken_rules import accepts, refuses
from infoexchange import catalogue
from infoexchange.catalogue import codes, examples, marks


def line(polygon):
    polygon.kind = catalogue.GEOMETRY_KIND_LINE


def without_position(message):
    """Make a report of an area whose position must not be on record."""
    message.position_safe_to_record = False
    message.ClearField("benchmark")
    message.ClearField("polygon")
    for evidence in message.evidence:
        evidence.ClearField("point")


def kind(number, **fields):
    """Make a message about resources one of another kind."""

    def change(message):
        message.kind = number
        for name in ("answers_ref", "changes_ref", "resources", "explanation"):
            message.ClearField(name)
        message.MergeFrom(catalogue.ResourceMessage(**fields))

    return change


BROKEN = [
    ("HazardReport", lambda m: setattr(m.handling, "domain", 3), "handling.domain", "MINE_ACTION"),
    ("HazardReport", lambda m: m.ClearField("hazard_id"), "hazard_id", "EX-HA-0012"),
    ("HazardReport", lambda m: m.ClearField("type"), "type", "CHA"),
    ("HazardReport", lambda m: setattr(m, "status", 2), "closure_reason", "EX-HA-0013"),
    ("HazardReport", lambda m: m.ClearField("benchmark"), "benchmark", ""),
    ("HazardReport", lambda m: m.ClearField("polygon"), "benchmark", ""),
    ("HazardReport", lambda m: line(m.polygon), "polygon.kind", "POLYGON"),
    ("HazardReport", lambda m: setattr(m.area_m2, "unscaled", 0), "area_m2", "square metres"),
    ("HazardReport", lambda m: setattr(m, "position_safe_to_record", False), "benchmark", ""),
    ("HazardReport", lambda m: (without_position(m), m.ClearField("place")), "benchmark", ""),
    ("HazardReport", lambda m: setattr(m.evidence[0], "kind", 2), "evidence", ""),
    ("HazardReport", lambda m: m.ClearField("evidence"), "evidence", ""),
    ("HazardReport", lambda m: m.evidence[1].ClearField("category_text"), "evidence[1].category_text", ""),
    ("HazardReport", lambda m: setattr(m.evidence[1], "local_id", "evidence-1"), "evidence[1].local_id", "own"),
    ("HazardReport", lambda m: m.direct_beneficiaries.Clear(), "direct_beneficiaries.men", "12"),
    ("HazardReport", lambda m: m.ClearField("reported_on"), "reported_on", ""),
    ("LandReleaseReport", lambda m: setattr(m, "activity", 1), "results", ""),
    ("LandReleaseReport", lambda m: m.ClearField("depth_cm"), "depth_cm", "20"),
    ("LandReleaseReport", lambda m: m.ClearField("methods"), "methods", "MANUAL"),
    ("LandReleaseReport", lambda m: m.results[0].ClearField("polygon"), "results[0].polygon", ""),
    ("LandReleaseReport", lambda m: setattr(m.results[0].area_m2, "unscaled", -1), "results[0].area_m2", "metres"),
    ("LandReleaseReport", lambda m: m.period.ClearField("end"), "period.end", ""),
    ("LandReleaseReport", lambda m: setattr(m.period.end, "year", 2025), "period.end", ""),
    ("LandReleaseReport", lambda m: setattr(m.period.end, "day", 1), "period.end", ""),
    ("LandReleaseReport", lambda m: setattr(m.items_found[0], "disposal", 5), "items_found[0].disposal_text", ""),
    ("OrdnanceFind", lambda m: m.ClearField("items"), "items", ""),
    ("OrdnanceFind", lambda m: m.ClearField("place"), "items", ""),
    ("OrdnanceFind", lambda m: m.items[0].ClearField("quantity"), "items[0].quantity", "1"),
    ("OrdnanceFind", lambda m: m.items[0].ClearField("category_text"), "items[0].category_text", ""),
    ("EoAccidentReport", lambda m: m.ClearField("demining_accident"), "demining_accident", "true or false"),
    ("EoAccidentReport", lambda m: m.location.ClearField("accuracy_m"), "location.accuracy_m", ""),
    ("EoAccidentReport", lambda m: m.casualties.ClearField("killed"), "casualties.killed", ""),
    ("EoAccidentReport", lambda m: m.ClearField("device_category_text"), "device_category_text", ""),
    ("EoAccidentReport", lambda m: m.ClearField("activity_text"), "activity_text", ""),
    ("EoAccidentReport", lambda m: m.ClearField("help_text"), "help_text", "surgeon"),
    ("VictimRecord", lambda m: setattr(m.handling, "tlp", 3), "handling.tlp", "AMBER_STRICT"),
    ("VictimRecord", lambda m: m.handling.restrictions.pop(), "handling.restrictions", ""),
    ("VictimRecord", lambda m: m.ClearField("pseudonym"), "pseudonym", "EX-V-21"),
    ("VictimRecord", lambda m: m.ClearField("age_at_accident"), "age_at_accident", "34"),
    ("VictimRecord", lambda m: m.ClearField("tampered"), "tampered", "true or false"),
    ("VictimRecord", lambda m: m.ClearField("injury_text"), "injury_text", ""),
    ("VictimRecord", lambda m: m.assistance_needed.append(7), "assistance_text", ""),
    ("VictimRecord", lambda m: m.consent.ClearField("given"), "consent.given", "true or false"),
    ("EoreReport", lambda m: m.beneficiaries.ClearField("male_from_18"), "beneficiaries.male_from_18", "0 where"),
    ("EoreReport", lambda m: setattr(m.category, "value", "by_drum"), "category.value", ""),
    ("EoreReport", lambda m: setattr(m.category, "system", "eore-method"), "category.system", ""),
    ("EoreReport", lambda m: setattr(m.activity, "system", "another"), "activity.system", ""),
    ("EoreReport", lambda m: setattr(m.location_type, "system", "another"), "location_type.system", ""),
    ("EoreReport", lambda m: setattr(m.audience[1], "system", "another"), "audience", "farmers"),
    ("EoreReport", lambda m: setattr(m.other_activities[0], "system", "another"), "other_activities", "healthcare"),
    ("EoreReport", lambda m: m.ClearField("method_text"), "method_text", ""),
    ("EoreReport", lambda m: m.period.ClearField("end"), "period.end", ""),
    ("QualityReport", lambda m: m.ClearField("check"), "check", "QC"),
    ("QualityReport", lambda m: setattr(m, "sample_percent", 101), "sample_percent", "10"),
    ("QualityReport", lambda m: m.nonconformities[0].ClearField("corrective_action"), "nonconformities", ""),
    ("QualityReport", lambda m: setattr(m, "activity", 9), "activity_text", ""),
    ("CompletionReport", lambda m: m.ClearField("hazard_ids"), "hazard_ids", "EX-HA-0012"),
    ("CompletionReport", lambda m: m.hazard_ids.append("EX-HA-0012"), "hazard_ids", "EX-HA-0012"),
    ("CompletionReport", lambda m: m.ClearField("residual_risk"), "residual_risk", "None known"),
    ("CompletionReport", lambda m: setattr(m.totals[0].area_m2, "unscaled", -1), "totals[0].area_m2", "metres"),
    ("ResourceMessage", lambda m: m.ClearField("answers_ref"), "answers_ref", "32-byte"),
    ("ResourceMessage", lambda m: setattr(m, "answers_ref", bytes(31)), "answers_ref", "32-byte"),
    ("ResourceMessage", lambda m: setattr(m, "changes_ref", bytes(32)), "changes_ref", "32-byte"),
    ("ResourceMessage", kind(19), "changes_ref", "32-byte"),
    ("ResourceMessage", kind(1), "resources", ""),
    ("ResourceMessage", kind(21, answers_ref=bytes(32)), "explanation", ""),
    ("ResourceMessage", kind(1, resources=[{"local_id": "r", "type": 11}]), "resources[0].type_text", ""),
    ("FundingPledge", lambda m: m.ClearField("partners"), "partners", ""),
    ("FundingPledge", lambda m: m.ClearField("modality"), "modality", "IMPACT_BOND"),
    ("FundingPledge", lambda m: setattr(m, "modality", 8), "modality_text", ""),
    ("FundingPledge", lambda m: setattr(m.amount.amount, "unscaled", 0), "amount.amount", ""),
    ("FundingPledge", lambda m: setattr(m.amount, "currency", "dollars"), "amount.currency", "USD"),
    ("NationalMineActionSummary", lambda m: setattr(m, "state", "XAA"), "state", "SG"),
    ("NationalMineActionSummary", lambda m: m.period.ClearField("end"), "period.end", ""),
    ("NationalMineActionSummary", lambda m: m.areas[0].ClearField("count"), "areas[0].count", "0 where"),
    ("NationalMineActionSummary", lambda m: m.items[0].ClearField("quantity"), "items[0].quantity", "0 where"),
    ("NationalMineActionSummary", lambda m: [m.ClearField(n) for n in (
        "areas", "released", "items", "casualties", "eore_reached", "funds")], "areas", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "field", "hint"), BROKEN, ids=[f"{row[0]}.{row[2]}" for row in BROKEN])
def test_a_broken_rule_names_the_field_and_what_is_right(name, spoil, field, hint):
    refuses(name, spoil, field, hint)


RIGHT = [
    ("HazardReport", without_position),
    ("HazardReport", lambda m: m.ClearField("position_safe_to_record")),
    ("LandReleaseReport", lambda m: setattr(m.period.end, "day", 0)),
    ("LandReleaseReport", lambda m: (setattr(m, "activity", 1), setattr(m.results[0], "result", 1),
                                     m.ClearField("methods"), m.ClearField("depth_cm"))),
    ("VictimRecord", lambda m: (m.ClearField("age_at_accident"), m.birth.MergeFrom(
        catalogue.PartialDate(kind=2, year=1992)))),
    ("EoAccidentReport", lambda m: m.location.MergeFrom(catalogue.Location(un_locode="SGSIN"))),
    ("ResourceMessage", kind(19, changes_ref=bytes(32))),
    ("ResourceMessage", kind(5, explanation="How many machines are there?")),
    ("ResourceMessage", kind(16, answers_ref=bytes(32), explanation="On the way back.")),
    ("NationalMineActionSummary", lambda m: m.ClearField("treaty_refs")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), RIGHT, ids=[row[0] for row in RIGHT])
def test_what_is_right_passes(name, change):
    accepts(name, change)


def test_resources_have_the_22_contents():
    assert len(catalogue.ResourceMessageKind.keys()) == 1 + 22


def test_the_codes_of_risk_education_are_those_of_the_form():
    sizes = {"category": 3, "activity": 11, "method": 6, "location-type": 9, "audience": 10, "other-activity": 9}
    assert {name: len(codes.load(f"eore-{name}").rows) for name in sizes} == sizes
    activities = "safety_briefing directre materialdistribution materialhandover radio tv video socialmedia"
    assert {*activities.split(), "printedpress", "tot", "cfp"} == set(codes.load("eore-activity").rows)
    assert codes.load("eore-audience").find("refugees_IDPs")["value"] == "refugees_IDPs"


def test_all_that_a_record_of_a_victim_says_of_the_victim_is_personal():
    shown = marks.redact(examples.message("VictimRecord"))
    assert {field.name for field, _ in shown.ListFields()} == {"handling", "pseudonym", "accident_id", "injury_text",
                                                               "referred_to"}  # fmt: skip
    assert {shown.pseudonym, shown.injury_text, shown.referred_to} == {marks.REDACTED}
