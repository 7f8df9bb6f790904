"""Records: names, what always goes with a disclosure, and what a reader is shown of one record."""

from __future__ import annotations

import pytest

from catalogue_messages import person, request
from infoexchange import catalogue
from infoexchange.catalogue import records
from infoexchange.content import Content
from infoexchange.errors import ExchangeError, Reason


def content() -> Content:
    made = request()
    made.vessels.add(local_id="v2", imo="9074730", name="MV EXERCISE HERON")
    person(made)
    payload = made.SerializeToString(deterministic=True)
    beside = {"thread_id": bytes(16), "groups": ("pirates", "watch"), "addressees": ("desk.cabin.th.example",)}
    return Content.make(catalogue.schema_of(made), payload, **beside)


CONTENT = content()
NAMED = records.name_records(CONTENT.schema, CONTENT.records)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["vessels"], [0, 1, 2, 7, 8]),
        (["vessels[0]"], [0, 1, 2, 7]),
        (["content.schema"], [0, 1, 2]),
        (["content.thread", "9"], [0, 1, 2, 9]),
        (["persons", "4"], [0, 1, 2, 4, 6]),
        (["content.groups[1]", "content.addressees"], [0, 1, 2, 11, 12]),
    ],
)
def test_records_are_chosen_by_name_or_place(wanted, found):
    assert records.choose(NAMED, wanted) == found


@pytest.mark.parametrize(
    "wanted", ["", "vessel", "vessels[2]", "vessels[", "13", "-1", "handling.tlp", "Vessels", "thread"]
)
def test_what_has_no_such_name_is_refused_with_the_next_step(wanted):
    with pytest.raises(ExchangeError) as caught:
        records.choose(NAMED, [wanted])
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, wanted)
    assert "--list" in caught.value.next_step


def test_nothing_chosen_is_refused():
    with pytest.raises(ExchangeError) as caught:
        records.choose(NAMED, [])
    assert caught.value.reason is Reason.BAD_FIELD


def test_the_list_says_what_may_name_somebody_and_what_always_goes():
    by_name = {record.name: record for record in NAMED}
    assert by_name["persons[0]"].personal == "contact, free_text, identifier, sensitive"
    assert by_name["vessels[0]"].personal == ""
    assert [name for name, record in by_name.items() if record.always] == ["content.schema", "handling", "subject"]
    assert all(record.size == len(CONTENT.records[record.index]) - 1 for record in NAMED)
    assert "HERON" not in str(NAMED)


def test_a_packed_list_is_one_record():
    from infoexchange.catalogue import MaritimeIncidentReport

    packed = [f for f in MaritimeIncidentReport.DESCRIPTOR.fields if f.is_packed]
    assert packed, "the type has a packed list"
    made = MaritimeIncidentReport()
    getattr(made, packed[0].name).extend([1, 2, 3])
    content = Content.make(catalogue.schema_of(made), made.SerializeToString(deterministic=True))
    named = records.name_records(content.schema, content.records)
    assert [n.name for n in named] == ["content.schema", packed[0].name]
    rows = records.rows(content.schema, 1, content.records[1])
    assert len(rows) == 3


def test_what_to_think_of_before_showing():
    made = request()
    made.handling.restrictions.add(kind=catalogue.RESTRICTION_KIND_NO_JUDICIAL_USE)
    partial = catalogue.RequestForInformation(handling=made.handling).SerializeToString(deterministic=True)
    schema = catalogue.schema_of(made)
    assert records.cautions(schema, partial, [NAMED[2], NAMED[7]]) == [
        "May hold personal data: subject (free_text).",
        "Its marks ask for the originator's consent before it is passed on.",
        "Its marks restrict its use: NO_JUDICIAL_USE.",
    ]
    made.handling.onward_transfer = catalogue.ONWARD_TRANSFER_FREE_WITHIN_MARKS
    del made.handling.restrictions[:]
    partial = catalogue.RequestForInformation(handling=made.handling).SerializeToString(deterministic=True)
    assert records.cautions(schema, partial, [NAMED[7]]) == []
    for unknown in (("elsewhere.v9.Thing", partial), (schema, b"\x0a\x01\xff")):
        assert records.cautions(*unknown, []) == [
            "The type of this message is not known here, so its marks are not either."
        ]


def test_what_does_not_fit_its_type_is_shown_as_bytes():
    schema = "infoexchange.catalogue.v1.RequestForInformation"
    assert records.rows(schema, 3, b"R\x12\x01\xff") == [("field 2", "ff")]  # no UTF-8
    assert records.rows(schema, 3, b"R\x0a\x01\xff") == [("field 1", "ff")]  # no message
    shown = records.rows(schema, 3, b"R\xfa\x3e\x03abc")
    assert shown[-1] == ("field 1007", "616263 'abc'")
    assert records.rows(schema, 3, b"Gwatch") == [("content.groups", "watch")]
    meta = b"\x0a\x01\x07\x12\x05a.pdf\x1a\x03x/y\x20\xac\x02\x2a\x01\xff"
    assert records.rows(schema, 3, b"A" + meta) == [
        ("content.attachments.attachment_id", "07"),
        ("content.attachments.name", "a.pdf"),
        ("content.attachments.media_type", "x/y"),
        ("content.attachments.length", "300"),
        ("content.attachments.sha256", "ff"),
    ]
    assert records.rows(schema, 3, b"A\x0a") == [("content.attachments", "0a")]
    assert records.rows(schema, 3, b"Qx") == [("record 3", "78")]
    assert records.rows(schema, 3, b"T\x00\x00") == [("content.thread", "0000")]
