"""The FollowTheMoney bridge: round trips, marks, files of others, hostile files, and the published names."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling, report, values_of
from infoexchange import bridges, catalogue
from infoexchange.bridges.ftm import entities, kinds, words
from infoexchange.catalogue import (
    Handling,
    Minor,
    PersonRole,
    Precision,
    SanctionsAction,
    SpontaneousInformation,
    examples,
    rules,
)
from infoexchange.errors import Reason, RefusedError
from test_bridges import NOW

FTM = bridges.find("ftm")
EXAMPLE = [json.loads(line) for line in examples.read("people.ftm.json").splitlines()]


def lines(*found):
    return "".join(json.dumps(one) + "\n" for one in found).encode()


def entity(identifier, schema, **properties):
    listed = {name: value if isinstance(value, list) else [value] for name, value in properties.items()}
    return {"id": identifier, "schema": schema, "properties": listed}


def read(data, marks=None, now=NOW):
    reading = FTM.read(data, marks or handling(domain=0), now=now)
    return list(reading), reading.notes


def fields(notes):
    return [(note.place, note.field) for note in notes]


# What we write


@pytest.mark.parametrize("name", kinds.TYPES)
def test_examples_come_back_as_they_went(name):
    message = examples.message(name)
    data = FTM.write([message], now=NOW)
    again, notes = read(data, message.handling)
    assert again == [message]
    assert notes == []
    assert FTM.write(again, now=NOW) == data


def test_several_messages_stand_in_one_file_and_each_only_once():
    found = [examples.message(name) for name in ("FiuRequest", "FiuResponse")]
    data = FTM.write([*found, found[0]], now=NOW)
    assert data == FTM.write(found, now=NOW)
    again, _ = read(data, Handling(domain=6, precedence=3, purpose="exercise", case_ref="EX-2026-12"))
    assert [type(message) for message in again] == [type(message) for message in found]
    assert again[1].transactions == found[1].transactions


@pytest.mark.parametrize("kind", ["Person", "Organisation", "Vessel", "FinancialAccount", "CryptoAddress"])
def test_any_record_comes_back_as_it_went(kind):
    field = next(
        (name, field)
        for name in kinds.TYPES
        for field in catalogue.message_type(name).DESCRIPTOR.fields
        if field.is_repeated and field.message_type and field.message_type.name == kind
    )

    # Deep blocks cost much to draw, and are kept whole or not at all.
    plain = [one for one in field[1].message_type.fields if one.name not in {"birth_place", "documents", "addresses"}]
    record_of = st.fixed_dictionaries(
        {},
        optional={
            one.name: st.lists(values_of(one), max_size=2) if one.is_repeated else values_of(one) for one in plain
        },
    )

    @settings(max_examples=6, deadline=None)
    @given(record_of, record_of)
    def holds(first, second):
        message = catalogue.message_type(field[0])(handling=handling(domain=0), **{field[1].name: [first, second]})
        for number, record in enumerate(getattr(message, field[1].name)):
            record.local_id = f"record-{number}"
        try:
            data = FTM.write([message], now=NOW)
        except RefusedError as refused:
            assert refused.reason is Reason.RULE_BROKEN  # noqa: PT017  # a time or number that no text can say
            return
        assert read(data)[0] == [message]

    holds()


def test_ids_of_their_world_stay_and_stand_once():
    message = SpontaneousInformation(handling=handling(domain=0), subject="EXERCISE")
    message.organisations.add(local_id="Q7747000", name="Example")
    other = SpontaneousInformation(handling=handling(domain=0), subject="EXERCISE again")
    other.organisations.add(local_id="Q7747000", name="Example")
    data = FTM.write([message, other], now=NOW)
    assert sum(one["id"] == "Q7747000" for one in map(json.loads, data.splitlines())) == 1
    assert read(data)[0] == [message, other]


def test_links_tell_other_tools_who_holds_what():
    found = [json.loads(line) for line in FTM.write([examples.message("TransactionSet")], now=NOW).splitlines()]
    by_schema = {one["schema"]: one for one in found}
    ids = {one["properties"].get("name", [""])[0]: one["id"] for one in found}
    assert by_schema["Ownership"]["properties"]["owner"] == [ids["Example Trading"]]
    assert by_schema["Ownership"]["properties"]["asset"] == [ids["0000000001"]]
    payment = next(one for one in found if "payerAccount" in one["properties"])["properties"]
    assert payment["payer"] == [ids["Example Trading"]]
    assert (payment["amount"], payment["currency"], payment["date"]) == (["7000.00"], ["USD"], ["2026-02-01T03:00:00"])


def test_other_types_are_refused():
    for message in (report(), examples.message("SealedIdentity"), examples.message("VictimReferral")):
        with pytest.raises(RefusedError) as refused:
            FTM.write([message], now=NOW)
        assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "schema")


# Marks


def test_every_entity_carries_every_mark():
    message = examples.message("FiuRequest")
    texts = ["TLP:AMBER+STRICT", "PAP:RED", "OP_STATUS:EXERCISE", "ONWARD_TRANSFER:CONSENT_REQUIRED"]
    for one in map(json.loads, FTM.write([message], now=NOW).splitlines()):
        assert set(texts) <= set(one["infoexchange"]["marks"])
        assert set(texts) <= {value for name in entities.LABELLED for value in one["properties"].get(name, [])}


@pytest.mark.parametrize("weaker", [{"tlp": 3}, {"pap": 1}, {"op_status": 1}])
def test_weaker_marks_are_refused_with_and_without_our_key(weaker):
    message = examples.message("FiuRequest")
    found = [json.loads(line) for line in FTM.write([message], now=NOW).splitlines()]
    plain = [{name: value for name, value in one.items() if name != "infoexchange"} for one in found]
    marks = Handling()
    marks.CopyFrom(message.handling)
    marks.MergeFrom(Handling(**weaker))
    for data in (lines(*found), lines(*plain), lines(*reversed(found[1:]))):
        with pytest.raises(RefusedError) as refused:
            read(data, marks)
        assert refused.value.reason is Reason.MARK_LOST


def test_marks_of_any_file_are_taken():
    data = lines(entity("a", "Company", name="Example", keywords=["tlp:amber+strict", "shipping", "PAP:red"]))
    (message,), notes = read(data, Handling(precedence=1))
    assert (message.handling.tlp, message.handling.pap) == (4, 4)
    assert ("line 1", "keywords") in fields(notes)


def test_red_leaves_only_when_a_person_says_so():
    message = examples.message("TransactionSet")
    message.handling.tlp = 5
    with pytest.raises(RefusedError) as refused:
        FTM.write([message], now=NOW)
    assert refused.value.reason is Reason.MARK_LOST
    data = FTM.write([message], now=NOW, allow_red=True)
    assert read(data, message.handling)[0] == [message]


# What others write


def test_the_example():
    found, notes = read(examples.read("people.ftm.json"), Handling(precedence=1, onward_transfer=1, purpose="exercise"))
    names = [message.DESCRIPTOR.name for message in found]
    assert names == ["SanctionsUpdate", "TransactionSet", "FiuSpontaneousDisclosure", "SpontaneousInformation"]
    assert fields(notes) == [
        ("line 4", "alias"), ("line 4", "topics"), ("line 17", "relationship"), ("message 2", "why_relevant"),
        ("message 2", "consent"), ("message 3", "why_relevant"),
    ]  # fmt: skip
    assert [message.handling.domain for message in found] == [4, 6, 6, 0]
    found[3].handling.domain = 10
    broken = [[violation.field for violation in rules.violations(message)] for message in found]
    assert broken == [[], [], ["consent", "why_relevant"], ["why_relevant"]]
    assert all((message.handling.tlp, message.handling.op_status) == (4, 2) for message in found)
    listing, payments, _, information = found
    assert (listing.un_ref, listing.organisation.name, list(listing.measures)) == ("XXe.001", "Example Front", [1, 3])
    assert (payments.transactions[0].from_ref, payments.accounts[0].holder_ref) == ("ex-account-1", "ex-company-3")
    alpha = information.persons[0]
    assert (alpha.is_minor, alpha.role) == (Minor.MINOR_NO, PersonRole.PERSON_ROLE_SUBJECT_OF_SANCTION)
    assert (alpha.documents[0].issuing_state, alpha.addresses[0].locality) == ("SGP", "Example Town")
    assert (information.vessels[0].imo, information.vessels[0].owner_ref) == ("9074729", "ex-company-2")
    assert list(information.organisations[0].officer_refs) == ["ex-person-alpha"]
    for message in found:
        assert read(FTM.write([message], now=NOW), message.handling)[0] == [message]


def test_an_array_is_read_like_lines():
    array = json.dumps(EXAMPLE, indent=1).encode()
    assert bridges.detect(array) is bridges.detect(lines(*EXAMPLE)) is FTM
    marks = Handling(precedence=1, onward_transfer=1, purpose="exercise")
    assert read(array, marks)[0] == read(lines(*EXAMPLE), marks)[0]


def test_nested_entities_are_entities():
    address = entity("b", "Address", full="1 Example Street", country="sg")
    person = entity("a", "Person", name="Example", addressEntity=address)
    (message,), _ = read(lines(person))
    assert [list(one.lines) for one in message.persons[0].addresses] == [["1 Example Street"]]
    assert (
        read(lines(entity("a", "Person", name="Example", addressEntity="b"), address))[0][0].persons == message.persons
    )


def test_what_is_sensitive_is_never_read():
    secrets = {name: f"SECRET-{name}" for name in sorted(words.SENSITIVE)}
    (message,), notes = read(lines(entity("a", "Person", name="Example", **secrets)))
    assert b"SECRET" not in message.SerializeToString()
    assert [note.field for note in notes if "sensitive" in note.detail] == sorted(words.SENSITIVE)


@pytest.mark.parametrize(
    ("born", "minor"),
    [
        ("2008-03-01", "NO"), ("2008-03-02", "YES"), ("2008-03", "UNKNOWN"), ("2008", "UNKNOWN"), ("2007", "NO"),
        ("2009", "YES"), ("2008-02", "NO"), ("2008-04", "YES"), ("", "UNKNOWN"), ("long ago", "UNKNOWN"),
        ("2008-02-30", "UNKNOWN"), ("１９８０", "UNKNOWN"),
    ],
)  # fmt: skip
def test_whether_somebody_is_a_minor(born, minor):
    (message,), _ = read(lines(entity("a", "Person", name="Example", birthDate=born)))
    assert Minor.Name(message.persons[0].is_minor) == f"MINOR_{minor}"


def test_a_minor_needs_its_marks():
    (message,), _ = read(lines(entity("a", "Person", name="Example", birthDate="2015")), handling(domain=6))
    message.why_relevant = "EXERCISE"
    assert {found.rule for found in rules.violations(message)} == {"tlp.minor", "restrictions.minor"}


@pytest.mark.parametrize(
    ("given", "action"),
    [
        ({"endDate": "2026-02-28"}, SanctionsAction.SANCTIONS_ACTION_DELIST),
        ({"endDate": "2026-03-02"}, SanctionsAction.SANCTIONS_ACTION_ADD),
        ({"status": "Expired"}, SanctionsAction.SANCTIONS_ACTION_DELIST),
        ({}, SanctionsAction.SANCTIONS_ACTION_ADD),
    ],
)
def test_a_listing_that_has_ended_is_a_delisting(given, action):
    person = entity("a", "Person", name="Example", birthDate=["1980", "1981-02"], title="Captain", position="Owner")
    sanction = entity("s", "Sanction", entity="a", unscId="XXi.001", program="EX", provisions="Fishing ban", **given)
    (message,), _ = read(lines(person, sanction))
    assert message.action == action
    assert (message.person.local_id, message.other_births[0].year, list(message.titles)) == ("a", 1981, ["Captain"])
    assert (list(message.measures), message.measures_text) == ([4], "Fishing ban")


@pytest.mark.parametrize("reference", ["", "EX-1", "XXe.001"])
def test_a_listing_that_is_not_of_the_un_list_only_says_what_somebody_is(reference):
    person = entity("a", "Person", name="Example")
    sanction = entity("s", "Sanction", entity="a", unscId=reference, program="EX", authority="Example Council")
    (message,), notes = read(lines(person, sanction))
    assert message.DESCRIPTOR.name == "SpontaneousInformation"
    assert message.persons[0].status_basis == "listed: EX, Example Council"
    assert ("line 2", "unscId") in fields(notes)


def test_payments():
    accounts = [entity(name, "BankAccount", accountNumber=name, bankName="Example Bank") for name in ("x", "y")]
    company = entity("c", "Company", name="Example")
    payment = {"amount": "12.50", "currency": "SGD", "date": "2026-02-01"}
    data = [
        entity("p1", "Payment", payer="c", payerAccount="x", beneficiaryAccount="y", **payment),
        entity("p2", "Payment", payerAccount="x", **payment),
        entity("p3", "Payment", payer="nobody", **payment),
        entity("p4", "Payment", payerAccount="x", beneficiary="c", **(payment | {"amount": "many"})),
    ]
    (message,), notes = read(lines(*accounts, company, *data))
    assert [len(record.parties) for record in message.transactions] == [0, 1, 0]
    assert message.accounts[0].holder_ref == "c"
    first = message.transactions[0]
    assert (first.amount_local.amount.unscaled, first.amount_local.amount.scale) == (1250, 2)
    assert first.executed_at.precision == Precision.PRECISION_DAY
    assert first.mode.system == "followthemoney"
    assert {("line 5", "payer"), ("line 6", "payer"), ("line 7", "amount")} <= set(fields(notes))
    broken = [found.field for found in rules.violations(message)]
    assert broken == ["transactions[2].amount_local"]


def test_large_files_become_several_messages_and_lost_links_are_noted():
    people = [entity(f"p{number}", "Person", name=f"Example {number}") for number in range(203)]
    chain = [
        entity(f"l{number}", "UnknownLink", subject=f"p{number}", object=f"p{number + 1}", role="Knows of")
        for number in range(201)
    ]
    found, notes = read(lines(*people, *chain))
    assert [len(message.persons) for message in found] == [200, 3]
    assert [len(message.relationships) for message in found] == [199, 1]
    assert found[0].relationships[0].type == "knows-of"
    assert [note.place for note in notes if "different messages" in note.detail] == ["line 403"]


def test_what_is_not_carried_is_noted():
    data = lines(
        entity("a", "Company", name="Example", website="https://x.example", leiCode="no", jurisdiction="suhh"),
        entity("b", "Article", title="Example"),
        entity("c", "Directorship", director="nobody", organization="a", role="Chair"),
        entity("d", "CryptoWallet", publicKey="EXAMPLE1", currency="USDT", privateKey="x"),
        entity("e", "Identification", holder="a", number="1", country="sg"),
        entity("f" * 101, "Vessel", imoNumber="123", flag="zz"),
    )
    found, notes = read(data)
    assert {
        ("line 1", "website"), ("line 1", "leiCode"), ("line 1", "jurisdiction"), ("line 2", "schema"),
        ("line 3", "schema"), ("line 4", "blockchain"), ("line 4", "privateKey"), ("line 5", "holder"),
        ("line 6", "id"), ("line 6", "imoNumber"), ("line 6", "flag"),
    } <= set(fields(notes))  # fmt: skip
    disclosure, information = found
    assert disclosure.wallets[0].chain.value == "OTHER"
    assert information.vessels[0].local_id.startswith("ftm-")
