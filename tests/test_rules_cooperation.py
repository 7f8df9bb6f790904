"""Rules of the cooperation, of its registry and of what is told without being asked; states and bodies."""

from __future__ import annotations

import re
from datetime import date

import pytest

from broken_rules import accepts, refuses
from infoexchange import catalogue
from infoexchange.catalogue import codes, examples, rules

CURRENCIES = {"BND", "KHR", "IDR", "LAK", "MYR", "MMK", "PHP", "SGD", "THB", "VND", "CNY", "USD"}

BROKEN = [
    # Flow
    ("SpontaneousInformation", lambda m: m.ClearField("why_relevant"), "why_relevant", "next port"),
    ("SpontaneousInformation", lambda m: m.ClearField("information"), "information", ""),
    ("SpontaneousInformation", lambda m: setattr(m.persons[0], "is_minor", 3), "handling.tlp", "AMBER_STRICT"),
    ("SpontaneousInformation", lambda m: setattr(m.vessels[0], "imo", "9074728"), "vessels[0].imo", "9074729"),
    ("SpontaneousInformation", lambda m: setattr(m.relationships[0], "to_ref", "x"), "relationships[0].to_ref", "id"),
    ("Alert", lambda m: m.handling.ClearField("urgency"), "handling.urgency", "EXPECTED"),
    ("Alert", lambda m: m.handling.ClearField("severity"), "handling.severity", "EXTREME"),
    ("Alert", lambda m: m.handling.ClearField("certainty"), "handling.certainty", "OBSERVED"),
    ("Alert", lambda m: m.handling.ClearField("valid_until"), "handling.valid_until", "2026"),
    ("Alert", lambda m: m.ClearField("categories"), "categories", "CBRNE"),
    ("Alert", lambda m: m.categories.append(12), "category_text", ""),
    ("Alert", lambda m: (m.response_types.append(3), m.ClearField("instruction")), "instruction", "miles"),
    ("Alert", lambda m: m.response_types.append(9), "response_types", "ALL_CLEAR"),
    ("Alert", lambda m: m.areas[0].ClearField("area_text"), "areas[0].area_text", "bay"),
    ("StatusUpdate", lambda m: m.ClearField("since"), "since", ""),
    ("StatusUpdate", lambda m: setattr(m, "new_state", "OPEN"), "new_state", "RELEASED"),
    ("StatusUpdate", lambda m: setattr(m, "information_ref", bytes(31)), "information_ref", "32-byte"),
    ("Feedback", lambda m: m.ClearField("information_ref"), "information_ref", "32-byte"),
    ("Feedback", lambda m: setattr(m, "usefulness", 6), "usefulness", "4"),
    ("Feedback", lambda m: m.ClearField("usefulness"), "usefulness", "4"),
    ("Feedback", lambda m: m.outcomes.append(7), "outcomes", "SEIZURE"),
    ("Feedback", lambda m: m.ClearField("outcome_text"), "outcome_text", ""),
    # Registry
    ("FocalPointRecord", lambda m: setattr(m, "body", "Singapore"), "body", "STATE:SG"),
    ("FocalPointRecord", lambda m: m.valid_until.CopyFrom(m.valid_from), "valid_until", "2026"),
    ("FocalPointRecord", lambda m: m.ClearField("valid_until"), "valid_until", "2026"),
    ("FocalPointRecord", lambda m: m.ClearField("phones"), "phones", ""),
    ("FocalPointRecord", lambda m: setattr(m.phones[0], "e164", "0999"), "phones[0].e164", "+65"),
    ("FocalPointRecord", lambda m: setattr(m, "replaces", m.record_id), "replaces", ""),
    ("FocalPointRecord", lambda m: m.domains.append(0), "domains[2]", "CYBER"),
    ("WorkingGroup", lambda m: setattr(m, "chair", "STATE:XC"), "chair", "STATE:SG"),
    ("WorkingGroup", lambda m: m.ClearField("valid_until"), "valid_until", "2026"),
    ("WorkingGroup", lambda m: m.ClearField("directory_group"), "directory_group", "precursors"),
    # Plans, meetings, training, personnel
    ("ActionPlanItem", lambda m: m.ClearField("pillar"), "pillar", "JOINT_RESEARCH"),
    ("ActionPlanItem", lambda m: setattr(m, "pillar", 5), "pillar_text", ""),
    ("ActionPlanItem", lambda m: m.ClearField("explanation"), "explanation", ""),
    ("ActionPlanItem", lambda m: setattr(m.handling, "domain", 9), "handling.domain", "COOPERATION"),
    ("MeetingDocument", lambda m: m.ClearField("type"), "type", "UN_POSITION"),
    ("MeetingDocument", lambda m: m.ClearField("text"), "text", ""),
    ("MeetingDocument", lambda m: setattr(m.handling, "tlp", 1), "handling.tlp", "GREEN"),
    ("TrainingOffer", lambda m: m.ClearField("place"), "place", ""),
    ("TrainingOffer", lambda m: m.ClearField("seats"), "seats", "20"),
    ("TrainingOffer", lambda m: m.period.ClearField("end"), "period.end", ""),
    ("TrainingNomination", lambda m: m.ClearField("offer_ref"), "offer_ref", "32-byte"),
    ("TrainingNomination", lambda m: m.ClearField("nominee"), "nominee", "EX-N-07"),
    ("TrainingNomination", lambda m: m.ClearField("language_level"), "language_level", "B2"),
    ("TrainingResult", lambda m: m.ClearField("nomination_ref"), "nomination_ref", "32-byte"),
    ("TrainingResult", lambda m: setattr(m, "outcome", 3), "certificate", ""),
    ("PersonnelExchange", lambda m: setattr(m, "sending_body", "STATE:XB"), "receiving_body", "ASEAN:ARMAC"),
    ("PersonnelExchange", lambda m: m.ClearField("proposal_ref"), "proposal_ref", "32-byte"),
    ("PersonnelExchange", lambda m: m.period.ClearField("end"), "period.end", ""),
    # Exercises
    ("ExerciseInject", lambda m: m.ClearField("exercise_id"), "exercise_id", "EX-2026"),
    ("ExerciseInject", lambda m: m.ClearField("expected_action"), "expected_action", "15 minutes"),
    ("ExerciseReport", lambda m: (m.ClearField("observations"), m.ClearField("lessons")), "observations", ""),
    ("ExerciseReport", lambda m: m.lessons[0].observation_refs.append("x"), "lessons[0].observation_refs[1]", "id"),
    # Standards, lessons, research, law, technique
    ("StandardProposal", lambda m: m.ClearField("text"), "text", ""),
    ("StandardProposal", lambda m: m.comments_by.CopyFrom(m.comments_from), "comments_by", "2026"),
    ("LessonLearned", lambda m: m.ClearField("transfer_text"), "transfer_text", "market"),
    ("LessonLearned", lambda m: m.ClearField("result"), "result", "Twice"),
    ("ResearchProduct", lambda m: m.ClearField("summary"), "summary", ""),
    ("ResearchProduct", lambda m: m.ClearField("author_bodies"), "author_bodies", "STATE:SG"),
    ("LegalInstrumentRecord", lambda m: m.ClearField("url"), "url", "https://"),
    ("LegalInstrumentRecord", lambda m: setattr(m, "url", "file:///etc/passwd"), "url", "https://"),
    ("LegalInstrumentRecord", lambda m: setattr(m, "url", "https://a b"), "url", "https://"),
    ("LegalInstrumentRecord", lambda m: m.ClearField("title_en"), "title_en", "Act"),
    ("LegalInstrumentRecord", lambda m: m.ClearField("other_parties"), "other_parties", "STATE:SG"),
    ("EquipmentTechniqueNote", lambda m: m.handling.ClearField("pap"), "handling.pap", "GREEN"),
    ("EquipmentTechniqueNote", lambda m: setattr(m, "category", 11), "category_text", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "field", "hint"), BROKEN, ids=[f"{row[0]}.{row[2]}" for row in BROKEN])
def test_a_broken_rule_names_the_field_and_what_is_right(name, spoil, field, hint):
    refuses(name, spoil, field, hint)


@pytest.mark.parametrize("name", ["ExerciseInject", "ExerciseReport"])
@pytest.mark.parametrize("status", ["ACTUAL", "TEST", "SYSTEM"])
def test_an_exercise_is_never_anything_else(name, status):
    refuses(name, lambda m: setattr(m.handling, "op_status", catalogue.OpStatus.Value(f"OP_STATUS_{status}")),
            "handling.op_status", "EXERCISE")  # fmt: skip


RIGHT = [
    ("Feedback", lambda m: (m.ClearField("outcomes"), m.outcomes.append(7))),
    ("StatusUpdate", lambda m: m.ClearField("information_ref")),
    ("FocalPointRecord", lambda m: (setattr(m, "role", 1), m.ClearField("phones"))),
    ("FocalPointRecord", lambda m: setattr(m, "body", "XA/EXAMPLE")),
    ("TrainingOffer", lambda m: (m.ClearField("place"), setattr(m, "online", True))),
    ("PersonnelExchange", lambda m: (setattr(m, "state", 1), m.ClearField("proposal_ref"))),
    ("LegalInstrumentRecord", lambda m: (setattr(m, "title_lang", "en-GB"), m.ClearField("title_en"))),
    ("LegalInstrumentRecord", lambda m: (m.ClearField("url"), m.attachments.add(attachment_id="a"))),
    ("ExerciseReport", lambda m: m.ClearField("inject_ref")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), RIGHT, ids=[row[0] for row in RIGHT])
def test_what_is_right_passes(name, change):
    accepts(name, change)


# States and bodies


def test_the_twelve_states():
    rows = [row for row in codes.load("bodies").rows.values() if row["kind"] == "state"]
    assert len(rows) == 12
    assert {row["currency"] for row in rows} == CURRENCIES
    # Each state's currency has its own number, but for the one that uses another's.
    assert {row["value"] for row in rows if row["currency_numeric"] != row["numeric"]} == {"STATE:TL"}
    numbers = {row["value"].removeprefix("STATE:"): (row["alpha3"], row["numeric"]) for row in rows}
    assert numbers["KH"] == ("KHM", "116")
    assert numbers["TL"] == ("TLS", "626")
    assert all(re.fullmatch(r"[A-Z]{3}[0-9]{3}", "".join(pair)) for pair in numbers.values())


def test_timor_leste_joined_after_the_declaration():
    rows = codes.load("bodies").rows.values()
    since = {row["value"]: date.fromisoformat(row["member_since"]) for row in rows if row["member_since"]}
    assert since == {"STATE:TL": date(2025, 10, 26)}
    parties = {row["value"]: set(filter(None, row["party_to"].split(";"))) for row in rows}
    assert parties["STATE:TL"] == {"statement-2024"}
    assert sum("declaration-2002" in texts for texts in parties.values()) == 11
    assert sum("statement-2024" in texts for texts in parties.values()) == 12


def test_every_body_code_has_the_form_that_a_focal_point_names_one_in():
    record = examples.message("FocalPointRecord")
    for row in codes.load("bodies").rows.values():
        record.body = row["value"]
        assert rules.violations(record) == [], row["value"]
