"""One right message of each type of the catalogue, for tests to spoil."""

from __future__ import annotations

import functools

from hypothesis import strategies as st

from infoexchange import catalogue
from infoexchange.catalogue import (
    Correction,
    Handling,
    IndicatorSet,
    InformationResponse,
    MaritimeIncidentReport,
    OfficerAcknowledgement,
    OnwardConsentDecision,
    OnwardConsentRequest,
    Recall,
    RecallConfirmation,
    RequestForInformation,
)


def handling(**changed):
    values = {"op_status": 2, "precedence": 1, "domain": 3, "tlp": 3, "onward_transfer": 1, "purpose": "exercise"}
    return Handling(**(values | changed))


def report():
    made = MaritimeIncidentReport(handling=handling(), incident_id="E-1", report_no=1, stage=1, legal_class=3)
    made.vessel.name = "MV Exercise Heron"
    made.occurred_at.utc.FromJsonString("2026-02-01T08:00:00Z")
    made.report_time.utc.FromJsonString("2026-02-01T09:00:00Z")
    made.position.latitude, made.position.longitude = 0.0, 0.0
    made.outcome, made.ship_status = 3, 1
    return made


def indicators():
    made = IndicatorSet(handling=handling(domain=8, pap=3), subject="EXERCISE kit", set_id="E-2")
    made.handling.valid_until.FromJsonString("2026-06-01T00:00:00Z")
    made.indicators.add(local_id="i1", type=1, value="198.51.100.7", confidence=70)
    return made


def request():
    made = RequestForInformation(handling=handling(foreseen_use="intelligence only"), subject="EXERCISE owner")
    made.subject_refs.append("v1")
    made.questions.add(local_id="q1", text="Who owns it?")
    made.background = "EXERCISE. Seen at anchor."
    made.vessels.add(local_id="v1", imo="9074729")
    return made


def response():
    made = InformationResponse(handling=handling(), subject="EXERCISE answer", request_ref=bytes(32), status=5)
    made.answers.add(question_id="q1", text="Nobody.")
    return made


def acknowledgement():
    return OfficerAcknowledgement(handling=handling(), of=bytes(32), level=1, officer_role="duty officer")


def correction():
    made = Correction(handling=handling(), corrects=bytes(32), reason=1)
    made.changed_fields.add(path="vessels[0].imo", kind=2, value="9074729")
    return made


def recall():
    return Recall(handling=handling(), recalls=bytes(32), reason=6, requested_action=1)


def confirmation():
    return RecallConfirmation(handling=handling(), confirms=bytes(32), action_taken=1)


def consent_request():
    made = OnwardConsentRequest(handling=handling(), information_ref=bytes(32), purpose="EXERCISE. It sails there.")
    made.proposed_recipients.append("intel.c04.vn.example")
    return made


def consent_decision():
    made = OnwardConsentDecision(handling=handling(), request_ref=bytes(32), information_ref=bytes(32), decision=1)
    made.grant = b"exact bytes"
    made.expires_at.FromJsonString("2026-12-01T08:00:00Z")
    return made


MADE = [report, indicators, request, response, acknowledgement, consent_request, consent_decision]
MADE += [correction, recall, confirmation]


def building_blocks(descriptor, seen=None):
    """Every message type of the catalogue that stands below this one, itself included."""
    seen = {} if seen is None else seen
    if descriptor.full_name not in seen and descriptor.full_name.startswith(catalogue.PACKAGE):
        seen[descriptor.full_name] = descriptor
        for field in descriptor.fields:
            if field.message_type:
                building_blocks(field.message_type, seen)
    return seen


def person(message, **changed):
    """Add a person to a request."""
    return message.persons.add(**({"local_id": "p1", "role": 1, "is_minor": 2, "pseudonym": "Alpha"} | changed))


def values_of(field):
    """Any value a field can hold, whether a rule allows it or not."""
    kinds = {
        field.TYPE_STRING: st.text(st.characters(codec="utf-8"), max_size=8),
        field.TYPE_BYTES: st.binary(max_size=8),
        field.TYPE_BOOL: st.booleans(),
        field.TYPE_DOUBLE: st.floats(allow_nan=False),
        field.TYPE_UINT32: st.integers(0, 2**32 - 1),
        field.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        field.TYPE_SINT32: st.integers(-(2**31), 2**31 - 1),
        field.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        field.TYPE_ENUM: st.one_of(st.integers(0, 5), st.just(2_000)),
    }
    if field.message_type is None:
        return kinds[field.type]
    if field.message_type.full_name == "google.protobuf.Timestamp":
        return st.builds(dict, seconds=st.integers(-62135596800, 253402300799), nanos=st.integers(0, 999_999_999))
    return any_of(field.message_type)


@functools.cache
def any_of(descriptor):
    """Any message of a type, as arguments for it; one field of a oneof at most."""
    plain = [
        field for field in descriptor.fields if not (field.containing_oneof and len(field.containing_oneof.fields) > 1)
    ]
    many = {field.name: st.lists(values_of(field), max_size=2) for field in plain if field.is_repeated}
    one = {field.name: values_of(field) for field in plain if not field.is_repeated}
    return st.fixed_dictionaries({}, optional=many | one)
