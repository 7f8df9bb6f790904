"""The rules of messages on ships that are looked for, held crews, advisories and the ends of incidents."""

from __future__ import annotations

import pytest

from infoexchange.catalogue import IdentityGap, examples, marks
from spoiling import accepted, refused

BOARDED, NOT_SEEN, REFUSED, ENDED = 3, 4, 6, 7


def clear(*names):
    """Return what takes fields away from a message."""
    return lambda message: [message.ClearField(name) for name in names]


def put(**values):
    """Return what sets fields of a message."""
    return lambda message: [setattr(message, name, value) for name, value in values.items()]


def unnamed(message):
    message.vessel.Clear()
    message.vessel.identity_gap = IdentityGap.IDENTITY_GAP_NOT_STATED


BROKEN = [
    ("VesselOfInterest", clear("vessel"), "vessel", ""),
    ("VesselOfInterest", lambda m: setattr(m.vessel, "imo", "9074728"), "vessel.imo", "9074729"),
    ("VesselOfInterest", clear("request"), "request", "NONE"),
    ("VesselOfInterest", put(reason=8), "reason_text", "drifts"),
    ("VesselOfInterest", lambda m: [unnamed(m), m.ClearField("description")], "description", "blue hull"),
    ("VesselOfInterest", clear("last_seen_at"), "last_seen_at", ""),
    ("VesselOfInterest", clear("valid_until"), "valid_until", "2026-01-31"),
    ("VesselOfInterest", clear("contact"), "contact", ""),
    ("VesselOfInterest", lambda m: m.handling.ClearField("legal_basis"), "handling.legal_basis", ""),
    ("VesselOfInterest", lambda m: m.handling.retention_until.FromJsonString("2026-02-02T00:00:00Z"),
     "valid_until", "2026-01-31"),
    ("VesselOfInterest", lambda m: m.ClearField("organisations"), "vessel.owner_ref", "local_id"),
    ("VesselSighting", clear("notice_ref"), "notice_ref", "32-byte"),
    ("VesselSighting", clear("sightings"), "sightings", ""),
    ("VesselSighting", put(result=NOT_SEEN), "sightings", ""),
    ("VesselSighting", put(result=BOARDED), "boarding", "two people"),
    ("VesselSighting", lambda m: [put(result=REFUSED)(m), m.ClearField("sightings")], "refusal", ""),
    ("VesselSighting", lambda m: setattr(m.sightings[0], "course_deg", 360), "sightings[0].course_deg", ""),
    ("VesselSighting", lambda m: m.sightings[1].ClearField("position"), "sightings[1].position", ""),
    ("VesselSighting", lambda m: setattr(m.sightings[1], "method", 7), "sightings[1].description", "lights out"),
    ("CrewAbduction", lambda m: setattr(m.handling, "tlp", 4), "handling.tlp", "RED"),
    ("CrewAbduction", lambda m: m.handling.restrictions.pop(), "handling.restrictions", ""),
    ("CrewAbduction", clear("persons", "states"), "persons", ""),
    ("CrewAbduction", lambda m: m.persons[0].names.add(full="Example Person"), "persons[0].names", "SealedIdentity"),
    ("CrewAbduction", lambda m: m.persons[0].ClearField("pseudonym"), "persons", ""),
    ("CrewAbduction", lambda m: setattr(m.persons[0], "role", 1), "persons", ""),
    ("CrewAbduction", lambda m: setattr(m.states[0], "person_ref", "x"), "states[0].person_ref", "local_id"),
    ("CrewAbduction", put(negotiation_lead_state=""), "negotiation_lead_state", "SG"),
    ("CrewAbduction", clear("incident_id"), "incident_id", "2026-0114"),
    ("MaritimeAdvisory", clear("areas"), "areas", ""),
    ("MaritimeAdvisory", lambda m: m.areas[1].ClearField("radius_m"), "areas[1].place", ""),
    ("MaritimeAdvisory", lambda m: setattr(m.areas[0].place.geometry, "kind", 1), "areas[0].place", ""),
    ("MaritimeAdvisory", lambda m: setattr(m.areas[0].place, "un_locode", "SGSIN"), "areas[0].place", ""),
    ("MaritimeAdvisory", lambda m: m.areas[0].place.names[0].ClearField("asserted_by"),
     "areas[0].place.names[0].asserted_by", "reporting ship"),
    ("MaritimeAdvisory", lambda m: m.ends_at.CopyFrom(m.starts_at), "ends_at", "2026-01-31"),
    ("MaritimeAdvisory", clear("recommended_measures"), "recommended_measures", "lookout"),
    ("IncidentClosure", clear("outcomes"), "outcomes", "CREW_SAFE"),
    ("IncidentClosure", lambda m: m.outcomes.append(10), "outcomes", "FALSE_REPORT"),
    ("IncidentClosure", lambda m: m.outcomes.append(11), "outcome_text", "joined"),
    ("IncidentClosure", put(arrests_count=0), "arrests_count", "2"),
    ("IncidentClosure", clear("recovered"), "recovered", "ENGINE_SPARES"),
    ("IncidentClosure", clear("recovered_text"), "recovered_text", ""),
    ("IncidentClosure", put(jurisdiction_state="Sg"), "jurisdiction_state", "SG"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "field", "hint"), BROKEN, ids=[f"{row[0]}-{row[2]}" for row in BROKEN])
def test_a_broken_rule_names_the_field_and_what_is_right(name, spoil, field, hint):
    refused(name, spoil, field, hint)


def test_what_is_no_fault():
    accepted("VesselOfInterest", unnamed_with_description := lambda m: [unnamed(m), m.ClearField("organisations")])
    accepted("VesselOfInterest", lambda m: [unnamed_with_description(m), put(request=1)(m), clear(
        "valid_until", "contact", "last_position", "last_seen_at")(m)])  # fmt: skip
    accepted("VesselOfInterest", lambda m: [put(request=2)(m), m.handling.ClearField("legal_basis")])
    accepted("VesselSighting", lambda m: [put(result=NOT_SEEN)(m), m.ClearField("sightings")])
    accepted("VesselSighting", lambda m: [put(result=ENDED)(m), m.ClearField("sightings")])
    accepted("VesselSighting", put(result=BOARDED, boarding="nobody on board"))
    accepted("CrewAbduction", clear("states", "held_at"))
    accepted("IncidentClosure", clear("arrests_count"))
    accepted("IncidentClosure", lambda m: [m.ClearField("outcomes"), m.outcomes.append(10), put(arrests_count=0)(m)])


def test_redaction_leaves_nothing_of_the_abducted():
    message = examples.message("CrewAbduction")
    told = str(marks.describe(message))
    kept = str(marks.describe(marks.redact(message)))
    for secret in ("EX-CREW-1", "Takes medicine", "RELEASED", "An island", "A sum of money", "duty@coastguard.example"):
        assert secret in told
        assert secret not in kept
