"""The marks of the catalogue: personal data, redaction, tables, TLP, labels."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from catalogue_messages import building_blocks, handling, indicators, person, report, request
from infoexchange import catalogue
from infoexchange.catalogue import Handling, Person, Pii, Tlp, labels, marks, reference
from infoexchange.errors import MalformedError, Reason, RefusedError

OPTIONS = import_module("infoexchange.catalogue.v1.options_pb2")
EXCHANGED = list(catalogue.schemas().values())
ALL_TYPES = {name: found for cls in EXCHANGED for name, found in building_blocks(cls.DESCRIPTOR).items()}
SECRET = "somebody named here"

# Strings of a person that tell nothing about who it is.
HARMLESS = {"local_id", "script", "lang", "issuing_state", "country", "type_text", "role_text", "un_locode",
            "subdivision", "mgrs", "asserted_by", "text"}  # fmt: skip


def test_what_tells_who_somebody_is_is_marked():
    for descriptor in building_blocks(Person.DESCRIPTOR).values():
        for field in descriptor.fields:
            if field.type == field.TYPE_STRING and field.name not in HARMLESS:
                assert field.GetOptions().Extensions[OPTIONS.pii], field.full_name
    for name in ("birth", "birth_place", "nationalities", "sex", "deceased", "addresses"):
        assert Person.DESCRIPTOR.fields_by_name[name].GetOptions().Extensions[OPTIONS.pii]


def test_narratives_are_marked_everywhere():
    narrative = re.compile(r"description|background|answer|note|caption|.*_action|method|summary|subject")
    for descriptor in ALL_TYPES.values():
        for field in descriptor.fields:
            if field.type == field.TYPE_STRING and narrative.fullmatch(field.name):
                assert field.GetOptions().Extensions[OPTIONS.pii] != Pii.PII_UNSPECIFIED, field.full_name


def fill(record):
    """Put a secret into every field that may hold personal data."""
    for field in record.DESCRIPTOR.fields:
        is_pii = field.GetOptions().Extensions[OPTIONS.pii]
        if field.message_type and field.message_type.full_name.startswith(catalogue.PACKAGE):
            child = getattr(record, field.name)
            fill(child.add() if field.is_repeated else child)
        elif is_pii and field.type == field.TYPE_STRING:
            if field.is_repeated:
                getattr(record, field.name).extend([SECRET, SECRET])
            elif not field.containing_oneof or not record.WhichOneof(field.containing_oneof.name):
                setattr(record, field.name, SECRET)


@pytest.mark.parametrize("cls", EXCHANGED)
def test_redaction_leaves_no_personal_data(cls):
    message = cls()
    fill(message)
    before = message.SerializeToString()
    hidden = marks.redact(message)
    assert (SECRET.encode() in before) == (cls is not Handling)
    assert SECRET.encode() not in hidden.SerializeToString()
    assert SECRET not in str(marks.describe(hidden))
    assert marks.REDACTED in str(marks.describe(hidden))
    assert message.SerializeToString() == before


def test_redaction_clears_what_is_no_text_and_what_is_not_known():
    message = request()
    person(message).birth.year = 1990
    message.MergeFromString(b"\xfa\x3e\x03abc")
    hidden = marks.redact(message)
    assert not hidden.persons[0].HasField("birth")
    assert b"abc" not in hidden.SerializeToString()


def test_description_is_a_table_of_everything():
    message = report()
    message.vessel.length_m.MergeFrom(catalogue.Decimal(unscaled=-1250, scale=2))
    message.outcome = 99
    message.attachments.add(attachment_id="a", is_evidence=False)
    message.handling.supersedes.append(b"\x01" * 32)
    message.MergeFromString(b"\xf8\x3e\x01")
    rows = dict(marks.describe(message))
    assert rows["handling.tlp"] == "TLP:AMBER"
    assert rows["handling.op_status"] == "EXERCISE"
    assert rows["occurred_at.utc"] == "2026-02-01T08:00:00Z"
    assert rows["vessel.length_m"] == "-12.50"
    assert rows["outcome"] == f"99 ({marks.NOT_KNOWN})"
    assert rows["attachments[0].is_evidence"] == "no"
    assert rows["handling.supersedes[0]"] == "01" * 32
    assert rows["field 1007"] == marks.NOT_KNOWN


def test_the_strictest_mark_wins():
    assert marks.most_restrictive([1, 0, 4, 3]) == Tlp.TLP_AMBER_STRICT
    message = indicators()
    assert marks.tlp_of(message) == Tlp.TLP_AMBER
    message.indicators[0].tlp = Tlp.TLP_RED
    assert marks.tlp_of(message) == Tlp.TLP_RED
    for wrong in ([], [0], [3, 9]):
        with pytest.raises(RefusedError):
            marks.most_restrictive(wrong)
    assert list(marks.TLP_LABELS) == list(Tlp.values())[1:]


def test_labels_keep_the_marks():
    given_marks = handling(pap=4, attribution=3, permitted_actions=1)
    given_marks.restrictions.add(kind=3)
    given_marks.restrictions.add(kind=4, text="Not for the press")
    given_marks.retention_until.FromJsonString("2027-01-01T00:00:00Z")
    found = labels.to_labels(given_marks)
    assert found[0] == "TLP:AMBER"
    again = labels.with_labels(Handling(precedence=1, domain=3, purpose="exercise"), found)
    assert again == given_marks
    assert labels.with_labels(given_marks, found) == given_marks
    foreign = labels.with_labels(given_marks, ["Copyright somebody"])
    assert foreign.restrictions[-1].text == "Copyright somebody"


@pytest.mark.parametrize(
    ("changed", "label", "field"),
    [
        ({"tlp": 2}, "TLP:AMBER", "tlp"),
        ({"pap": 1}, "PAP:RED", "pap"),
        ({"op_status": 1}, "OP_STATUS:EXERCISE", "op_status"),
        ({"onward_transfer": 2}, "ONWARD_TRANSFER:CONSENT_REQUIRED", "onward_transfer"),
        ({"retention_until": {"seconds": 2_000_000_000}}, "RETENTION_UNTIL:2026-01-01T00:00:00Z", "retention_until"),
    ],
)
def test_a_weaker_mark_is_refused(changed, label, field):
    with pytest.raises(RefusedError) as refused:
        labels.with_labels(handling(**changed), [label])
    assert refused.value.reason is Reason.MARK_LOST
    assert refused.value.field == f"handling.{field}"


@pytest.mark.parametrize(
    "changed",
    [{"tlp": 5}, {"releasable_to": ["STATE:SG"]}, {"national_classification": {"state": "SG", "marking": "X"}},
     {"pap": 9}, {"attribution": 9}],
)  # fmt: skip
def test_a_mark_without_label_is_refused(changed):
    with pytest.raises(RefusedError) as refused:
        labels.to_labels(handling(**changed))
    assert refused.value.reason is Reason.MARK_LOST
    assert labels.to_labels(handling(tlp=5), allow_red=True)[0] == "TLP:RED"


def test_the_reference_lists_every_type_and_the_way_to_every_mark():
    names = [row.name for row in reference.types()]
    assert names == [schema.rpartition(".")[2] for schema in catalogue.schemas()]
    for name in names:
        rows = {row.path: row for row in reference.fields(name)}
        assert "TLP_AMBER_STRICT" in rows["handling.tlp"].kind
    with pytest.raises(MalformedError):
        reference.fields("Nothing")
