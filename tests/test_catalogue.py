"""The catalogue: names, domains, code lists, JSON and wire."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from catalogue_messages import MADE, building_blocks, report
from infoexchange import catalogue
from infoexchange.catalogue import (
    Domain,
    Handling,
    IncidentOutcome,
    IndicatorSet,
    MaritimeIncidentReport,
    RequestForInformation,
    Tlp,
    codes,
    marks,
    rules,
    text,
    yaml_text,
)
from infoexchange.errors import MalformedError, Reason, RefusedError
from wandering import anything

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto" / "infoexchange" / "catalogue" / "v1"
OPTIONS = import_module("infoexchange.catalogue.v1.options_pb2")
EXCHANGED = list(catalogue.schemas().values())
ALL_TYPES = {name: found for cls in EXCHANGED for name, found in building_blocks(cls.DESCRIPTOR).items()}


def test_every_name_of_the_proto_files_is_found():
    assert {f"{path.stem}" for path in PROTO.glob("*.proto")} == set(catalogue.MODULES)
    for module in catalogue.MODULES:
        file = import_module(f"{catalogue.PACKAGE}.{module}_pb2").DESCRIPTOR
        for name in (*file.message_types_by_name, *file.enum_types_by_name):
            assert getattr(catalogue, name).DESCRIPTOR.full_name == f"{catalogue.PACKAGE}.{name}"
    assert catalogue.TLP_AMBER == Tlp.TLP_AMBER
    with pytest.raises(AttributeError, match="NoSuchMessage"):
        _ = catalogue.NoSuchMessage


def test_type_checkers_see_every_module():
    text_of = Path(catalogue.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"from infoexchange\.catalogue\.v1\.(\w+)_pb2 import \*", text_of)) == set(catalogue.MODULES)


def test_schema_names():
    for schema, cls in catalogue.schemas().items():
        assert catalogue.message_type(schema) is cls is catalogue.message_type(schema.rpartition(".")[2])
        assert catalogue.schema_of(cls()) == schema
    for wrong in ("", "Vessel", "Nothing", "other.v1.IndicatorSet", "os.path", "Handling"):
        with pytest.raises(MalformedError) as refused:
            catalogue.message_type(wrong)
        assert refused.value.reason is Reason.UNKNOWN_VERSION


def test_domains():
    assert catalogue.domain_of(MaritimeIncidentReport()) == Domain.DOMAIN_PIRACY
    assert catalogue.domain_of(IndicatorSet()) == Domain.DOMAIN_CYBER
    assert catalogue.domain_of(RequestForInformation(handling=Handling(domain=5))) == Domain.DOMAIN_ARMS
    with pytest.raises(RefusedError) as refused:
        catalogue.domain_of(RequestForInformation())
    assert refused.value.field == "handling.domain"
    assert "ARMS" in refused.value.next_step
    # The rule in the .proto file and the option say the same.
    wrong = report()
    wrong.handling.domain = Domain.DOMAIN_CYBER
    assert [found.field for found in rules.violations(wrong)] == ["handling.domain"]


@pytest.mark.parametrize("cls", EXCHANGED)
def test_marks_and_subject_go_with_every_disclosure(cls):
    first = cls.DESCRIPTOR.fields_by_number[1]
    assert (first.name, first.message_type.name) == ("handling", "Handling")
    disclosed = marks.always_disclosed(cls)
    assert disclosed[0] == 1
    assert len(disclosed) > 1


def test_option_numbers_never_change():
    numbers = {OPTIONS.pii: 51201, OPTIONS.always_disclose: 51202, OPTIONS.example: 51203}
    numbers |= {OPTIONS.local_ref: 51204, OPTIONS.domain: 51205, OPTIONS.refers: 51206}
    numbers |= {OPTIONS.reply_to: 51207, OPTIONS.asks: 51208, OPTIONS.step: 51209}
    numbers |= {OPTIONS.deadline: 51210, OPTIONS.completes: 51211}
    numbers |= {OPTIONS.standard: 51212}
    assert all(option.number == number for option, number in numbers.items())


@pytest.mark.parametrize("name", ["OpStatus", "Precedence"])
def test_the_header_and_the_marks_count_alike(name):
    header = getattr(import_module("infoexchange.v1.envelope_pb2"), name)
    assert dict(header.items()) == dict(getattr(catalogue, name).items())


def test_no_type_contains_itself():
    for name, descriptor in ALL_TYPES.items():
        below = [building_blocks(field.message_type) for field in descriptor.fields if field.message_type]
        assert not any(name in found for found in below)


def test_importing_is_cheap():
    code = """
import sys
import infoexchange.catalogue as catalogue
catalogue.Handling
assert "infoexchange.catalogue.v1.maritime_pb2" not in sys.modules
import infoexchange.catalogue.rules, infoexchange.catalogue.marks, infoexchange.catalogue.text
assert not {"protovalidate", "buf", "google.protobuf.json_format"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "src")


# Code lists


def test_the_package_carries_the_lists_of_the_agreement():
    ours = {path.name: path.read_bytes() for path in (ROOT / "proto" / "codes").glob("*.csv")}
    theirs = {path.name: path.read_bytes() for path in (ROOT / "src/infoexchange/catalogue/data").glob("*.csv")}
    assert ours == theirs
    assert ours


def test_every_list_maps_to_values_that_exist():
    assert len(codes.load("imb-attack-type").rows) == 8
    assert len(codes.load("imb-ship-status").rows) == 11
    for name in codes.names():
        found = codes.load(name)
        assert (found.name, bool(found.version), bool(found.source)) == (name, True, True)
    for row in codes.load("imb-attack-type").rows.values():
        assert IncidentOutcome.Value(f"INCIDENT_OUTCOME_{row['outcome']}")
    with pytest.raises(MalformedError):
        codes.load("../rules")


@pytest.mark.parametrize("wrong", ["", "a,b\nvalue", "a,b,c\nname\n", "a,b,c\nvalue\nx\nX\n", "a,b,c\nvalue,y\nx\n"])
def test_a_damaged_list_is_refused(wrong):
    with pytest.raises(MalformedError):
        codes.parse(wrong.splitlines())


def test_a_list_with_an_endless_cell_is_refused_with_its_line():
    with pytest.raises(MalformedError) as caught:
        codes.parse(["a,b,c", "value", "x", "y" * 200_000])
    assert caught.value.field == "line 4"


# References


def test_every_digest_of_an_envelope_is_a_reference():
    """What names an envelope says how; a field that forgot would escape the rules between messages."""
    found = {}
    for cls in EXCHANGED:
        for field in cls.DESCRIPTOR.fields:
            kind = field.GetOptions().Extensions[OPTIONS.refers]
            # The one field of bytes that is a document, and not the name of one.
            assert bool(kind) == (field.type == field.TYPE_BYTES and field.name != "grant"), field.full_name
            if kind:
                found[f"{cls.DESCRIPTOR.name}.{field.name}"] = OPTIONS.Reference.Name(kind)
    assert found == {
        "AssetTraceReply.request_ref": "REFERENCE_ANSWER",
        "ControlledDeliveryDecision.request_ref": "REFERENCE_ANSWER",
        "ControlledDeliveryLegUpdate.request_ref": "REFERENCE_ANSWER",
        "Correction.corrects": "REFERENCE_OWN",
        "DataPreservationReply.request_ref": "REFERENCE_ANSWER",
        "ExerciseReport.inject_ref": "REFERENCE_ANSWER",
        "Feedback.information_ref": "REFERENCE_ANSWER",
        "FirearmTraceResponse.request_ref": "REFERENCE_ANSWER",
        "FiuResponse.request_ref": "REFERENCE_ANSWER",
        "InformationResponse.request_ref": "REFERENCE_ANSWER",
        "MlaStatus.request_ref": "REFERENCE_ANSWER",
        "OfficerAcknowledgement.of": "REFERENCE_ANSWER",
        "OnwardConsentDecision.information_ref": "REFERENCE_ANSWER",
        "OnwardConsentDecision.request_ref": "REFERENCE_ANSWER",
        "OnwardConsentRequest.information_ref": "REFERENCE_ANSWER",
        "PersonNoticeResponse.notice_ref": "REFERENCE_ANSWER",
        "PersonnelExchange.proposal_ref": "REFERENCE_ANSWER",
        "PostponementReply.request_ref": "REFERENCE_ANSWER",
        "PreExportReply.request_ref": "REFERENCE_ANSWER",
        "Recall.recalls": "REFERENCE_OWN",
        "RecallConfirmation.confirms": "REFERENCE_ANSWER",
        "ReferralUpdate.request_ref": "REFERENCE_ANSWER",
        "ResourceMessage.answers_ref": "REFERENCE_ANSWER",
        "ResourceMessage.changes_ref": "REFERENCE_OWN",
        "SealedIdentity.for_message": "REFERENCE_ANSWER",
        "StatusUpdate.information_ref": "REFERENCE_ANSWER",
        "StopPaymentStatus.request_ref": "REFERENCE_ANSWER",
        "TakedownReply.request_ref": "REFERENCE_ANSWER",
        "TrainingNomination.offer_ref": "REFERENCE_ANSWER",
        "TrainingResult.nomination_ref": "REFERENCE_ANSWER",
        "TravelDocumentResult.request_ref": "REFERENCE_ANSWER",
        "VesselSighting.notice_ref": "REFERENCE_ANSWER",
    }


# JSON and wire


@pytest.mark.parametrize("make", MADE)
def test_json_gives_the_message_back(make):
    message = make()
    assert text.from_json(catalogue.schema_of(message), text.to_json(message)) == message


@pytest.mark.parametrize(
    ("wrong", "reason", "field"),
    [
        ('{"handling": {"foo": 1}}', Reason.BAD_FIELD, "handling.foo"),
        ('{"foo": 1}', Reason.BAD_FIELD, "foo"),
        ('{"area_names": [{"text": "x"}, {"foo": 1}]}', Reason.BAD_FIELD, "area_names[1].foo"),
        ('{"vessel": {"name": 5}}', Reason.BAD_FIELD, "vessel.name"),
        ('{"outcome": "SUNK at A.b"}', Reason.BAD_FIELD, "outcome"),
        ('{"weapons": ["WEAPON_NONE", "Z"]}', Reason.BAD_FIELD, "weapons[1]"),
        ('{"occurred_at": {"utc": "noon"}}', Reason.BAD_FIELD, "occurred_at.utc"),
        ('{"vessel": {"gross_tonnage": -1}}', Reason.BAD_FIELD, "vessel.gross_tonnage"),
        ('{\n"vessel": }', Reason.MALFORMED, "line 2"),
        ('{"a": 1, "a": 1}', Reason.BAD_FIELD, ""),
        ("[]", Reason.MALFORMED, "line 1"),
        ("", Reason.MALFORMED, "line 1"),
        ('{"a":' * 5000, Reason.MALFORMED, None),  # Python's own reader says more from 3.12 on
        ('{"position": {"latitude": 95, "longitude": 1}}', Reason.RULE_BROKEN, "report_time"),
    ],
)
def test_wrong_json_names_the_place(wrong, reason, field):
    with pytest.raises((MalformedError, RefusedError)) as refused:
        text.from_json("MaritimeIncidentReport", wrong)
    assert refused.value.reason is reason
    if reason is not Reason.RULE_BROKEN and field is not None:
        assert refused.value.field == field
    assert "SUNK" not in str(refused.value)


@pytest.mark.parametrize("cls", EXCHANGED)
def test_any_message_survives_every_form(cls):
    """Whether a rule allows it or not."""
    for seed in range(5):  # of each of some ninety types: hundreds in each run
        message = cls()
        anything(message, random.Random(f"{seed} {cls.DESCRIPTOR.name}"))
        wire = message.SerializeToString(deterministic=True)
        assert cls.FromString(wire).SerializeToString(deterministic=True) == wire
        assert text.draft_from_json(cls.DESCRIPTOR.name, text.to_json(message)) == message
        assert yaml_text.draft_from_yaml(cls.DESCRIPTOR.name, yaml_text.to_yaml(message)) == message
        assert all(found.field and found.next_step for found in rules.violations(message))
        marks.describe(marks.redact(message))


def test_what_is_newer_survives_the_wire():
    message = report()
    message.outcome = 4_000
    newer = message.SerializeToString() + b"\xfa\x3e\x03abc"
    assert MaritimeIncidentReport.FromString(newer).SerializeToString() == newer
