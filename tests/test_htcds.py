"""HTCDS: victims by pseudonym, with consent, and nobody's identity."""

from __future__ import annotations

import csv
import json
import random
from datetime import UTC, datetime

import pytest

from catalogue_messages import handling, report
from infoexchange import bridges
from infoexchange.bridges import htcds
from infoexchange.catalogue import examples, forms, rules
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from test_bridges import shared

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HTCDS = bridges.find("htcds")
EXAMPLE = examples.read("referrals.htcds.csv")


def marks(**changed):
    made = handling(**({"domain": 2, "tlp": 4} | changed))
    made.restrictions.add(kind=2)
    made.restrictions.add(kind=3)
    return made


def read(data, **changed):
    reading = HTCDS.read(data if isinstance(data, bytes) else data.encode(), marks(**changed), now=NOW)
    return list(reading), reading.notes


def row(**cells):
    """A table of one row."""
    columns = {"con_Consent": "yes"} | cells
    return f"{','.join(columns)}\n{','.join(columns.values())}\n"


def referral():
    message = examples.message("VictimReferral")
    message.handling.tlp = 4
    return message


def test_the_example_table():
    found, notes = read(EXAMPLE)
    assert [message.pseudonym for message in found] == ["VICTIM-7", "VICTIM-8"]
    # Nothing but the reminder that free text may name somebody.
    assert {note.detail for note in notes} == {"free text: make sure that it names nobody"}
    for message in found:
        rules.check(message)
    assert read(HTCDS.write(found, now=NOW))[0] == found
    assert list(found[1].languages) == ["en", "ms", "zh"]
    rows = list(csv.DictReader(EXAMPLE.decode().splitlines()))
    # Stages stand as JSON only where the columns of HTCDS do not say them all.
    assert [bool(one["x_Stages"]) for one in rows] == [True, False]
    assert found[1].stages[0].place.stated_text == "exercise village"


def test_identity_is_never_read():
    names = sorted(htcds.IDENTITY)
    assert len(names) == 20
    found, notes = read(row(**dict.fromkeys(names, "SECRETNAME"), x_Pseudonym="V-1"))
    assert b"SECRETNAME" not in found[0].SerializeToString()
    assert "SECRETNAME" not in str(notes)
    refused = [note.field for note in notes if note.detail.startswith("refused, never read: identity")]
    assert refused == names


def test_identity_is_never_read_whatever_a_form_says(monkeypatch):
    made = forms.Form.parse(
        ["o,1,VictimReferral,s\n", "column,field,also,words,default,meaning\n", "prs_FirstName,pseudonym,,,,\n",
         *(f"{name},,,,,identity\n" for name in htcds.IDENTITY if name != "prs_firstname")]
    )  # fmt: skip
    monkeypatch.setattr(
        forms, "load", lambda _: forms.Form(**vars(made) | {"never": dict.fromkeys(htcds.IDENTITY, "")})
    )
    found, _ = read(row(prs_FirstName="SECRETNAME"))
    assert found[0].pseudonym == ""


def shared_fields():
    document = json.loads(shared("codelists/htcds-2.0-fields.json"))
    return {found["field"]: found for found in document["fields"]}


def test_columns_of_identity_are_fields_of_the_standard():
    assert {name.lower() for name in shared_fields()} >= htcds.IDENTITY


def test_every_field_of_the_standard_is_read_or_refused_by_name():
    form, fields = forms.load("htcds"), shared_fields()
    assert len(fields) == 83
    assert all(form.known(name) != (name.lower() in form.never) for name in fields)
    assert {name for name in fields if form.never.get(name.lower()) == "deprecated in HTCDS 2.0"} == {
        name for name, found in fields.items() if found["status"] == "DEPRECATED"
    }


def test_every_value_of_the_standard_is_understood_and_written_alike():
    form = forms.load("htcds")
    gender = {"TransgenderFeminine", "TransgenderMasculine", "NonConforming"}
    for name, found in shared_fields().items():
        if not form.known(name) or name == "cas_ReasonForIncomingReferral" or "ISO" in "".join(found["values"]):
            continue
        for value in found["values"]:
            (message,), notes = read(row(**{name: value}))
            noted = [note.field for note in notes if note.place == "line 2"]
            assert noted == (["prs_gender"] if value in gender else []), (name, value)
            if value not in gender:
                written = next(csv.DictReader(HTCDS.write([message], now=NOW).decode().splitlines()))
                assert written[name] == value


def test_an_incoming_reason_is_taken_where_there_is_no_outgoing_one():
    (found,), _ = read(row(cas_ReasonForIncomingReferral="Other", cas_IncomingReferralDetails="full"))
    assert (found.reason, found.reason_text) == (3, "full")
    both = row(cas_ReasonForIncomingReferral="Other", cas_ReasonForOutgoingReferral="AdditionalServicesRequired")
    (found,), notes = read(both)
    assert found.reason == 1
    assert "otherwise" in notes[-1].detail


def test_what_a_table_cannot_know_is_asked_for():
    (found,), notes = read(row(vic_TraffickingStatus="ActualVictimOfTrafficking", vic_AgeWhenTrafficked="15"))
    asked = [note.field for note in notes if note.detail.startswith("no such column")]
    assert asked == ["x_ReferralId", "x_Pseudonym"]
    assert found.age_band == 0
    broken = {violation.field for violation in rules.violations(found)}
    assert {"referral_id", "pseudonym", "age_band"} <= broken


def test_places_of_an_event_are_joined_and_countries_are_codes():
    (found,), notes = read(
        row(
            hte_Type="Transit",
            hte_City="Port Example",
            hte_Country="SG",
            hte_Street="1 Road",
            prs_Citizenship="sg;SGP;my",
        )
    )
    assert found.stages[0].place.stated_text == "Port Example, SG"
    assert found.stages[0].local_id == "stage-1"
    assert list(found.citizenships) == ["SG", "MY"]
    assert ("line 2", "prs_Citizenship") in [note[:2] for note in notes]
    assert "hte_Street" in [note.field for note in notes]
    assert not any("Road" in note.detail for note in notes)


@pytest.mark.parametrize("spoil", ["withdrawn", "no", "unsaid"])
def test_without_consent_nothing_leaves(spoil):
    message = referral()
    if spoil == "withdrawn":
        message.consent.withdrawn_at.FromJsonString("2026-02-02T00:00:00Z")
    elif spoil == "no":
        message.consent.given = False
    else:
        message.consent.ClearField("given")
    with pytest.raises(RefusedError) as refused:
        HTCDS.write([message], now=NOW)
    assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "consent.given")


@pytest.mark.parametrize("text", ["no", "", "perhaps"])
def test_a_row_without_consent_is_noted(text):
    (found,), notes = read(row(con_Consent=text, x_Pseudonym="V-1"))
    assert not found.consent.given
    assert "no consent" in notes[-1].detail


def test_marks_are_carried_or_refused():
    message = examples.message("VictimReferral")
    with pytest.raises(RefusedError) as refused:
        HTCDS.write([message], now=NOW)
    assert refused.value.reason is Reason.MARK_LOST
    data = HTCDS.write([message], now=NOW, allow_red=True)
    with pytest.raises(RefusedError) as refused:
        read(data)
    assert (refused.value.reason, refused.value.field) == (Reason.MARK_LOST, "line 2: handling.tlp")
    assert read(data, tlp=5)[0][0].handling.op_status == message.handling.op_status
    with pytest.raises(RefusedError):
        read(EXAMPLE, op_status=1)
    with pytest.raises(RefusedError) as refused:
        HTCDS.write([report()], now=NOW)
    assert refused.value.reason is Reason.RULE_BROKEN


@pytest.mark.parametrize(
    ("data", "place"),
    [("a,b\n", "line 1"), ('con_Consent\n"', "line 2"), (b"con_Consent\n\xff", "line 2"), ("", "line 1")],
)
def test_a_damaged_table_names_the_line(data, place):
    with pytest.raises(MalformedError) as refused:
        read(data)
    assert (refused.value.reason, refused.value.field) == (Reason.MALFORMED, place)


def test_a_spoilt_table_gives_a_typed_error_or_messages():
    rng, refused = random.Random(26), 0
    for _ in range(20):
        data = bytearray(EXAMPLE)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            for message in read(bytes(data[: rng.randrange(len(data))]))[0]:
                message.SerializeToString()
        except ExchangeError:
            refused += 1
    assert refused


def test_organisations_are_named_and_rows_of_another_length_noted():
    columns = "con_Consent,cas_ReferringOrganisation,cas_ReferredOrganisation\n"
    found, notes = read(columns + "yes,A,B\nyes\n")
    assert [(one.name, one.local_id) for one in (found[0].referring_org, found[0].referred_org)] == [
        ("A", "org-1"), ("B", "org-2"),
    ]  # fmt: skip
    assert notes[-1].place == "line 3"
    assert len(found) == 1


def test_random_referrals_come_back():
    rng = random.Random(27)
    texts = ["=1", "a;b", "-", "'=x", 'say "x"', "one\r\ntwo", " ", "[1]", "é", "{"]
    for _ in range(20):
        message = referral()
        for name in ("pseudonym", "decided_by_text", "risk_assessment", "reason_text", "guardian", "needs_text"):
            setattr(message, name, rng.choice(texts))
        message.sex = rng.randrange(5)
        message.age_band = rng.randrange(11)
        message.languages[:] = rng.sample(["en", "ms", "zh", "th", "x;y"], rng.randrange(5))
        message.referring_org.local_id = rng.choice(texts)
        message.stages[0].kind = rng.randrange(1, 4)
        message.stages[0].place.stated_text = rng.choice(texts)
        message.stages[0].description = rng.choice(texts)
        if rng.random() < 0.3:
            message.stages.add(local_id="stage-2", kind=1)
        (again,) = HTCDS.read(HTCDS.write([message], now=NOW), message.handling, now=NOW)
        assert again == message
