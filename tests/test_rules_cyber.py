"""The rules of messages on cyber crime: each broken one names its field and what is right."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from infoexchange.catalogue import Decimal, Refusal, examples, rules
from spoiling import accepted, refused

BROKEN = [
    ("CyberIncidentReport", lambda m: m.handling.ClearField("pap"), "handling.pap", "GREEN"),
    ("CyberIncidentReport", lambda m: setattr(m.indicators[0], "tlp", 5), "handling.tlp", "RED"),
    ("CyberIncidentReport", lambda m: setattr(m.type, "value", "fraud:guess"), "type.value", ""),
    ("CyberIncidentReport", lambda m: m.ended_at.FromJsonString("2026-01-01T00:00:00Z"), "ended_at", "2026"),
    ("CyberIncidentReport", lambda m: m.attack_techniques.append("phishing"), "attack_techniques[2]", "T1566"),
    ("DataPreservationRequest", lambda m: m.handling.ClearField("pap"), "handling.pap", "GREEN"),
    ("DataPreservationRequest", lambda m: m.identifiers[0].ClearField("port"), "identifiers[0].port", "50123"),
    ("DataPreservationRequest", lambda m: setattr(m.identifiers[1], "port", 1), "identifiers[1].port", "50123"),
    ("DataPreservationRequest", lambda m: m.identifiers[0].ClearField("seen_at"), "identifiers[0].seen_at", ""),
    ("DataPreservationRequest", lambda m: setattr(m.identifiers[0], "value", "198.51.100"),
     "identifiers[0].value", "198.51.100.7"),
    ("DataPreservationRequest", lambda m: m.identifiers[1].ClearField("service"), "identifiers[1].service", "mail"),
    ("DataPreservationRequest", lambda m: m.identifiers.add(local_id="i9", kind=5, value="490154203237519"),
     "identifiers[2].value", "198.51.100.7"),
    ("DataPreservationRequest", lambda m: m.identifiers.add(local_id="i9", kind=7, value="x"),
     "identifiers[2].kind_text", ""),
    ("DataPreservationRequest", lambda m: [m.ClearField("custodian"), m.ClearField("system_location")],
     "custodian", ""),
    ("DataPreservationRequest", lambda m: m.ClearField("intends_mla"), "intends_mla", "true or false"),
    ("DataPreservationRequest", lambda m: setattr(m, "period_days", 0), "period_days", "90"),
    ("DataPreservationRequest", lambda m: m.ClearField("necessity"), "necessity", "30 days"),
    ("DataPreservationRequest", lambda m: m.contact.ClearField("email"), "contact.phone", "+65"),
    ("DataPreservationReply", lambda m: m.ClearField("preserved_until"), "preserved_until", "2026"),
    ("DataPreservationReply", lambda m: setattr(m, "status", 4), "provider_state", "SG"),
    ("DataPreservationReply", lambda m: setattr(m, "status", 5), "refusal", ""),
    ("DataPreservationReply", lambda m: setattr(m, "status", 6), "clarification_needed", "log-in"),
    ("DataPreservationReply", lambda m: m.ClearField("request_ref"), "request_ref", "32-byte"),
    ("TakedownRequest", lambda m: m.ClearField("harm"), "harm", "bank page"),
    ("TakedownRequest", lambda m: setattr(m.resources[0], "kind", 5), "resources[0].value", "https"),
    ("TakedownRequest", lambda m: setattr(m.resources[0], "kind", 7), "resources[0].kind_text", ""),
    ("TakedownRequest", lambda m: m.resources[0].evidence_sha256.append("ab"), "resources[0].evidence_sha256[1]", ""),
    ("TakedownRequest", lambda m: m.ClearField("action"), "action", "SINKHOLE"),
    ("TakedownReply", lambda m: setattr(m.results[0], "outcome", 5), "refusal", ""),
    ("TakedownReply", lambda m: m.ClearField("results"), "results", ""),
    ("VulnerabilityAdvisory", lambda m: setattr(m.handling, "tlp", 1), "handling.tlp", "AMBER"),
    ("VulnerabilityAdvisory", lambda m: m.cves.append("CVE-26-1"), "cves[1]", "CVE-2026-0001"),
    ("VulnerabilityAdvisory", lambda m: m.cvss_score.CopyFrom(Decimal(unscaled=101, scale=1)), "cvss_score", ""),
    ("VulnerabilityAdvisory", lambda m: setattr(m, "cvss_vector", "high"), "cvss_vector", "CVSS:3.1"),
    ("VulnerabilityAdvisory", lambda m: m.ClearField("exploited"), "exploited", "UNKNOWN"),
    ("EvidenceHandover", lambda m: setattr(m.items[0], "sha256", "AB" * 32), "items[0].sha256", "hexadecimal"),
    ("EvidenceHandover", lambda m: m.items[0].ClearField("acquired_at"), "items[0].acquired_at", ""),
    ("EvidenceHandover", lambda m: setattr(m.custody[0], "item_ref", "evidence-9"), "custody[0].item_ref", "local_id"),
    ("EvidenceHandover", lambda m: m.ClearField("items"), "items", ""),
    ("EvidenceHandover", lambda m: setattr(m.handling, "domain", 1), "handling.domain", "CYBER"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "field", "hint"), BROKEN, ids=[f"{row[0]}-{row[2]}" for row in BROKEN])
def test_a_broken_rule_names_the_field_and_what_is_right(name, spoil, field, hint):
    refused(name, spoil, field, hint)


def test_what_is_no_fault():
    accepted("DataPreservationRequest", lambda m: setattr(m.identifiers[0], "value", "2001:db8::1"))
    accepted("DataPreservationRequest", lambda m: m.identifiers.add(local_id="i9", kind=5, value="490154203237518"))
    accepted("VulnerabilityAdvisory", lambda m: m.cvss_score.CopyFrom(Decimal(unscaled=10)))
    accepted("TakedownReply", lambda m: [setattr(m.results[0], "outcome", 5), m.refusal.CopyFrom(Refusal(code=1))])


@pytest.mark.parametrize("outside", [{"seconds": -62135596801}, {"seconds": 253402300800}, {"nanos": -1}])
@pytest.mark.parametrize(
    ("name", "path", "time"),
    [
        ("DataPreservationRequest", "respond_by", lambda m: m.respond_by),
        ("DataPreservationRequest", "handling.valid_until", lambda m: m.handling.valid_until),
        ("DataPreservationRequest", "identifiers[0].seen_at.utc", lambda m: m.identifiers[0].seen_at.utc),
        ("CyberIncidentReport", "indicators[1].first_seen", lambda m: m.indicators[1].first_seen),
    ],
)
def test_a_time_without_a_date_is_named_wherever_it_stands(name, path, time, outside):
    message = examples.message(name)
    time(message).CopyFrom(Timestamp(**outside))
    assert [(found.field, found.rule) for found in rules.violations(message)] == [(path, "timestamp")]
