"""Labels: marks as short texts, in whatever spelling they come, never weaker than they were said."""

from __future__ import annotations

import pytest

from infoexchange.catalogue import Handling, OnwardTransfer, OpStatus, Pap, RestrictionKind, Tlp, labels
from infoexchange.errors import Reason, RefusedError


def lost(marks: Handling, *found: str) -> str:
    with pytest.raises(RefusedError) as refused:
        labels.with_labels(marks, found)
    assert refused.value.reason is Reason.MARK_LOST
    return refused.value.field


@pytest.mark.parametrize("label", ["TLP:AMBER_STRICT", "tlp:amber-strict", "TLP:AMBER STRICT", "tlp:amber+strict"])
def test_amber_strict_is_never_amber_however_it_is_written(label):
    assert labels.with_labels(Handling(), [label]).tlp == Tlp.TLP_AMBER_STRICT
    assert lost(Handling(tlp=Tlp.TLP_AMBER), label) == "handling.tlp"


@pytest.mark.parametrize("label", ["TLP:ORANGE", "tlp:", "TLP:RED!", "Tlp:Amber+Strikt"])
def test_a_tlp_mark_that_nobody_knows_is_no_remark(label):
    assert lost(Handling(tlp=Tlp.TLP_RED), label) == "handling.tlp"


def test_small_letters_mark_as_capitals_do():
    found = labels.with_labels(
        Handling(), ["op_status:exercise", "pap:red", "restriction:no_onward", "restriction:other:Ask First"]
    )
    assert (found.op_status, found.pap) == (OpStatus.OP_STATUS_EXERCISE, Pap.PAP_RED)
    assert [(one.kind, one.text) for one in found.restrictions] == [
        (RestrictionKind.RESTRICTION_KIND_NO_ONWARD, ""),
        (RestrictionKind.RESTRICTION_KIND_OTHER, "Ask First"),
    ]
    assert lost(Handling(op_status=OpStatus.OP_STATUS_ACTUAL), "op_status:exercise") == "handling.op_status"


def test_of_several_marks_the_strictest_counts_in_any_order():
    stated = ["PAP:AMBER", "PAP:RED", "RETENTION_UNTIL:2030-01-01T00:00:00Z", "RETENTION_UNTIL:2027-01-01T00:00:00Z"]
    for found in (stated, stated[::-1]):
        marks = labels.with_labels(Handling(), found)
        assert (marks.pap, marks.retention_until.ToJsonString()) == (Pap.PAP_RED, "2027-01-01T00:00:00Z")


def test_an_earlier_end_of_retention_of_the_caller_stands():
    marks = Handling()
    marks.retention_until.FromJsonString("2027-01-01T00:00:00Z")
    found = labels.with_labels(marks, ["RETENTION_UNTIL:2030-01-01T00:00:00Z"])
    assert found.retention_until.ToJsonString() == "2027-01-01T00:00:00Z"
    assert lost(marks, "RETENTION_UNTIL:2026-12-31T00:00:00Z") == "handling.retention_until"


def test_whoever_asks_for_consent_is_stricter_than_a_source_that_does_not():
    asking = Handling(onward_transfer=OnwardTransfer.ONWARD_TRANSFER_CONSENT_REQUIRED)
    assert labels.with_labels(asking, ["ONWARD_TRANSFER:FREE_WITHIN_MARKS"]) == asking
    free = Handling(onward_transfer=OnwardTransfer.ONWARD_TRANSFER_FREE_WITHIN_MARKS)
    assert lost(free, "ONWARD_TRANSFER:CONSENT_REQUIRED") == "handling.onward_transfer"


def test_a_thousand_remarks_in_each_row_of_a_table_take_no_hours():
    remarks = [f"remark {number}" for number in range(labels.LABELS_MAX)]
    for _ in range(10):
        assert len(labels.with_labels(Handling(), remarks).restrictions) == labels.LABELS_MAX
