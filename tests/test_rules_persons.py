"""The rules of messages on people, and of identities: each broken one names its field and what is right."""

from __future__ import annotations

import pytest

from catalogue_messages import person, request
from infoexchange.catalogue import Organisation, PartialDate, examples, marks, rules
from spoiling import accepted, refused

BROKEN = [
    ("TipCaseNotice", lambda m: m.ClearField("types_of_exploitation"), "types_of_exploitation", ""),
    ("TipCaseNotice", lambda m: setattr(m.types_of_exploitation[0], "value", "Work"),
     "types_of_exploitation[0].value", ""),
    ("TipCaseNotice", lambda m: m.ClearField("victims"), "victims", ""),
    ("TipCaseNotice", lambda m: m.victims.Clear(), "victims.unknown", "3"),
    ("TipCaseNotice", lambda m: m.ClearField("offence"), "offence", "SMUGGLING"),
    ("TipCaseNotice", lambda m: m.stages[0].ClearField("kind"), "stages[0].kind", "EXPLOITATION"),
    ("TipCaseNotice", lambda m: m.suspects[0].MergeFrom(type(m.suspects[0])(role=4, names=[{"full": "x"}])),
     "suspects[0].names", "SealedIdentity"),
    ("TipCaseNotice", lambda m: setattr(m.suspect_roles[0], "person_ref", "x"),
     "suspect_roles[0].person_ref", "local_id"),
    ("VictimReferral", lambda m: setattr(m.handling, "tlp", 3), "handling.tlp", "AMBER_STRICT"),
    ("VictimReferral", lambda m: m.handling.ClearField("restrictions"), "handling.restrictions", ""),
    ("VictimReferral", lambda m: m.ClearField("pseudonym"), "pseudonym", "VICTIM-7"),
    ("VictimReferral", lambda m: m.ClearField("guardian"), "guardian", "court-appointed"),
    ("VictimReferral", lambda m: m.ClearField("best_interests_determination"),
     "best_interests_determination", "child protection"),
    ("VictimReferral", lambda m: m.consent.ClearField("given"), "consent.given", "true or false"),
    ("VictimReferral", lambda m: m.consent.withdrawn_at.FromJsonString("2026-01-01T00:00:00Z"),
     "consent.withdrawn_at", "2026"),
    ("VictimReferral", lambda m: setattr(m, "citizenship_unknown", False), "citizenships", "SG"),
    ("VictimReferral", lambda m: m.citizenships.append("SG"), "citizenships", "SG"),
    ("VictimReferral", lambda m: m.immediate_needs.append(9), "needs_text", ""),
    ("VictimReferral", lambda m: m.immediate_needs.append(0), "immediate_needs[2]", "SHELTER"),
    ("VictimReferral", lambda m: setattr(m, "decided_by", 5), "decided_by_text", ""),
    ("VictimReferral", lambda m: setattr(m, "reason", 3), "reason_text", ""),
    ("ReferralUpdate", lambda m: setattr(m, "state", 3), "reason", "No place"),
    ("ReferralUpdate", lambda m: m.ClearField("state"), "state", "ARRIVED"),
    ("ReferralUpdate", lambda m: setattr(m.handling, "tlp", 2), "handling.tlp", "AMBER_STRICT"),
    ("MissingPersonAlert", lambda m: setattr(m.person, "role", 1), "person.role", "MISSING"),
    ("MissingPersonAlert", lambda m: setattr(m.handling, "tlp", 3), "handling.tlp", "AMBER_STRICT"),
    ("MissingPersonAlert", lambda m: m.ClearField("last_seen_place"), "last_seen_place", ""),
    ("MissingPersonAlert", lambda m: m.person.ClearField("is_minor"), "person.is_minor", "UNKNOWN"),
    ("TravelDocumentCheck", lambda m: m.ClearField("number"), "number", "X0000001"),
    ("TravelDocumentCheck", lambda m: setattr(m, "issuing_state", "UT"), "issuing_state", "UTO"),
    ("TravelDocumentCheck", lambda m: m.ClearField("context"), "context", "BORDER"),
    ("TravelDocumentCheck", lambda m: setattr(m, "type", 13), "type_text", ""),
    ("TravelDocumentResult", lambda m: m.ClearField("verify_with"), "verify_with", ""),
    ("TravelDocumentResult", lambda m: m.ClearField("result"), "result", "HIT_STOLEN_BLANK"),
    ("TravelDocumentResult", lambda m: setattr(m, "result", 1), "date_of_loss", ""),
    ("TravelDocumentResult", lambda m: m.ClearField("request_ref"), "request_ref", "32-byte"),
    ("TipStatistics", lambda m: setattr(m.cells[0], "victims", 9), "cells[0].victims", "12"),
    ("TipStatistics", lambda m: m.to_date.CopyFrom(PartialDate(kind=4)), "from_date.kind", "EXACT"),
    ("TipStatistics", lambda m: setattr(m.to_date, "year", 2024), "to_date", ""),
    ("TipStatistics", lambda m: [m.ClearField(name) for name in ("cells", "investigated", "prosecuted", "convicted")],
     "cells", ""),
    ("SealedIdentity", lambda m: m.ClearField("person"), "person", ""),
    ("SealedIdentity", lambda m: m.organisation.CopyFrom(Organisation(local_id="o", name="n")), "person", ""),
    ("SealedIdentity", lambda m: setattr(m.person, "pseudonym", "VICTIM-8"), "person.pseudonym", ""),
    ("SealedIdentity", lambda m: [m.person.ClearField("names"), m.person.ClearField("documents")], "person.names", ""),
    ("SealedIdentity", lambda m: m.ClearField("consent"), "consent", ""),
    ("SealedIdentity", lambda m: m.ClearField("for_message"), "for_message", "32-byte"),
    ("SealedIdentity", lambda m: setattr(m.handling, "tlp", 3), "handling.tlp", "AMBER_STRICT"),
    ("SealedIdentity", lambda m: m.handling.ClearField("restrictions"), "handling.restrictions", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "field", "hint"), BROKEN, ids=[f"{row[0]}-{row[2]}" for row in BROKEN])
def test_a_broken_rule_names_the_field_and_what_is_right(name, spoil, field, hint):
    refused(name, spoil, field, hint)


def test_what_is_no_fault():
    accepted("VictimReferral", lambda m: [m.ClearField("citizenship_unknown"), m.citizenships.append("SG")])
    accepted("TipCaseNotice", lambda m: [setattr(m, "offence", 2), m.ClearField("types_of_exploitation")])
    accepted("TravelDocumentResult", lambda m: [setattr(m, "result", 1), m.ClearField("date_of_loss")])
    accepted("SealedIdentity", lambda m: m.person.ClearField("pseudonym"))
    accepted("SealedIdentity", lambda m: [m.ClearField("person"), m.organisation.CopyFrom(
        Organisation(local_id="o", name="EXERCISE Example Bank"))])  # fmt: skip


@pytest.mark.parametrize("part", [{"names": [{"full": "Example Person"}]},
                                  {"documents": [{"type": 1, "number": "X1", "issuing_state": "UTO"}]},
                                  {"addresses": [{"locality": "Example Town"}]},
                                  {"phones": [{"e164": "+6560000000"}]}])  # fmt: skip
def test_a_victim_is_named_in_no_message_but_the_one_made_for_it(part):
    message = request()
    person(message, role=4, **part)
    (found,) = rules.violations(message)
    assert found.field == f"persons[0].{next(iter(part))}"
    assert "SealedIdentity" in found.next_step
    message.persons[0].role = 6
    assert rules.violations(message) == []


def test_nor_by_the_account_that_a_victim_holds():
    message = examples.message("TransactionSet")
    holder = message.persons[0]
    message.accounts[1].holder_ref, message.accounts[1].holder_name = holder.local_id, "Example Person"
    assert rules.violations(message) == []
    for name in ("names", "documents", "addresses", "phones"):
        holder.ClearField(name)
    holder.role, holder.pseudonym = 4, "V-1"
    found = {one.field for one in rules.violations(message)}
    assert "accounts[1].holder_name" in found
    message.accounts[1].holder_name = ""
    assert "accounts[1].holder_name" not in {one.field for one in rules.violations(message)}


def test_redaction_leaves_nothing_of_a_victim():
    message = examples.message("VictimReferral")
    told = str(marks.describe(message))
    kept = str(marks.describe(marks.redact(message)))
    secrets = ("VICTIM-7", "SHELTER", "recruiter", "AGE_9_TO_17", "ForcedBegging", "court-appointed", "Example Shelter")
    for secret in secrets:
        assert secret in told
        assert secret not in kept
