"""The goAML bridge: round trips, marks, reports of others, and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_messages import handling, report
from infoexchange import bridges
from infoexchange.bridges.goaml import described, words
from infoexchange.catalogue import (
    Handling,
    Minor,
    Precision,
    TransactionSet,
    codes,
    examples,
    rules,
    values,
)
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from test_bridges import NOW

GOAML = bridges.find("goaml")
EXAMPLE = examples.read("report.goaml.xml").decode()
MARKS = Handling(precedence=1, domain=6, onward_transfer=1, purpose="exercise")


def read(data, marks=None):
    reading = GOAML.read(data if isinstance(data, bytes) else data.encode(), marks or MARKS, now=NOW)
    return list(reading), reading.notes


def one(data, marks=None):
    (message,), _ = read(data, marks)
    return message


def fields(notes):
    return [(note.place, note.field.rpartition("/")[2]) for note in notes]


def a_report(transaction, head="", tail=""):
    return f"""<report><entity_reference>R</entity_reference><currency_code_local>SGD</currency_code_local>{head}
    <transaction><transactionnumber>T</transactionnumber><date_transaction>2026-02-01T00:00:00</date_transaction>
    <transmode_code>ATM</transmode_code><amount_local>1.50</amount_local>{transaction}</transaction>{tail}</report>"""


def account(number="1", inside=""):
    return f"<institution_code>1</institution_code><account>{number}</account><account_name>-</account_name>{inside}"


def sides(source="", target="", inside=""):
    source, target = source or account(), target or account("2")
    return f"""<t_from><from_funds_code>CASH</from_funds_code>{inside}<from_account>{source}</from_account>
    <from_country>SG</from_country></t_from><t_to><to_funds_code>-</to_funds_code><to_account>{target}</to_account>
    <to_country>-</to_country></t_to>"""


def person(last="Example", inside="", first="Alpha"):
    return f"<gender>-</gender><first_name>{first}</first_name><last_name>{last}</last_name>{inside}"


def party(inside, name="person"):
    data = a_report(f"<involved_parties><party><role>-</role><{name}>{inside}</{name}><country>SG</country></party>"
                    "</involved_parties>")  # fmt: skip
    (message,), notes = read(data)
    return message, notes


# What we write


def as_it_comes_back(message):
    """What a report cannot say, as LOSSES has it."""
    made = TransactionSet()
    made.CopyFrom(message)
    made.subject = f"goAML report {made.report_ref}: {len(made.transactions)} transactions"
    made.set_id = made.report_ref
    made.ClearField("period_start")
    made.ClearField("period_end")
    for record in made.transactions:
        record.executed_at.precision = Precision.PRECISION_SECOND
        values.set_code(record.mode, "goaml-transmode", record.mode.value)
        if record.HasField("from_funds"):
            values.set_code(record.from_funds, "goaml-funds", record.from_funds.value)
    for record in made.persons:
        record.role, record.role_text, record.is_minor = 13, words.ROLE, Minor.MINOR_UNKNOWN
    return made


def test_the_example_message_comes_back_but_for_the_losses():
    message = examples.message("TransactionSet")
    data = GOAML.write([message], now=NOW)
    assert bridges.detect(data) is GOAML
    again, notes = read(data, message.handling)
    assert again == [as_it_comes_back(message)]
    assert {note.field for note in notes} == {"transmode_code"}
    assert rules.violations(again[0]) == []
    assert GOAML.write(again, now=NOW) == data


def test_an_extract_of_an_answer():
    message = examples.message("FiuResponse")
    again = one(GOAML.write([message], now=NOW), message.handling)
    assert again.report_ref == message.request_ref.hex()
    assert (again.reason, again.accounts) == (message.subject, message.accounts)
    assert again.transactions[0].amount_local == message.transactions[0].amount_local
    assert rules.violations(again) == []


def test_a_report_of_others_comes_back_whole():
    message = one(EXAMPLE)
    assert one(GOAML.write([message], now=NOW), message.handling) == message


def test_any_text_comes_back():
    texts = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
        ["[TLP:GREEN] a", "[x] y", "]", "-", "&<"]
    )

    message = examples.message("TransactionSet")

    @settings(max_examples=40, deadline=None)
    @given(texts, texts, texts)
    def holds(reason, description, comments):
        message.reason, message.transactions[0].description = reason, description
        message.transactions[0].comments = comments
        try:
            data = GOAML.write([message], now=NOW)
        except RefusedError as refused:
            assert refused.reason is Reason.RULE_BROKEN  # noqa: PT017  # a character that XML cannot hold
            return
        again = one(data, message.handling)
        found = (again.reason, again.transactions[0].description, again.transactions[0].comments)
        assert found == (reason.strip(), description.strip(), comments.strip())

    holds()


def test_wallets_iban_and_holders():
    message = examples.message("TransactionSet")
    wallet = message.wallets.add(local_id="w", address="EXAMPLE1", holder_ref="person-1", service_provider="Exchange")
    values.set_code(wallet.chain, "crypto-chain", "BITCOIN")
    message.accounts[0].holder_ref = "person-1"
    message.transactions[0].to_ref = "w"
    again = one(GOAML.write([message], now=NOW), message.handling)
    assert (again.accounts[1].account_no, again.accounts[1].institution_name) == ("EXAMPLE1", "Exchange")
    assert again.accounts[0].holder_ref == again.accounts[1].holder_ref == "person-1"


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda m: m.ClearField("transactions"), "transactions"),
        (lambda m: setattr(m.transactions[1].amount_local, "currency", "MYR"), "transactions"),
        (lambda m: setattr(m.transactions[0], "from_ref", "nobody"), "transactions[0].from_ref"),
        (lambda m: setattr(m.transactions[1].parties[0], "party_ref", "x"), "transactions[1].parties[0].party_ref"),
        (lambda m: m.transactions[0].ClearField("executed_at"), "transactions[0].executed_at"),
        (lambda m: setattr(m.transactions[0], "description", "\x01"), "transaction_description"),
    ],
)
def test_what_no_report_can_say_is_refused(spoil, field):
    message = examples.message("TransactionSet")
    spoil(message)
    with pytest.raises(RefusedError) as refused:
        GOAML.write([message], now=NOW)
    assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, field)


def test_other_messages_and_too_many_parties_are_refused(monkeypatch):
    message = examples.message("TransactionSet")
    for wrong in ([], [message, message], [report()]):
        with pytest.raises(RefusedError) as refused:
            GOAML.write(wrong, now=NOW)
        assert (refused.value.reason, refused.value.field) == (Reason.RULE_BROKEN, "schema")
    monkeypatch.setattr(described, "_PARTIES_MAX", 2)
    with pytest.raises(RefusedError) as refused:
        GOAML.write([message], now=NOW)
    assert refused.value.reason is Reason.TOO_LARGE


# Marks


def test_marks_stand_before_the_reason_and_every_comment():
    message = examples.message("TransactionSet")
    data = GOAML.write([message], now=NOW).decode()
    assert data.count("[TLP:AMBER+STRICT | PAP:RED | OP_STATUS:EXERCISE | ") == 1 + len(message.transactions)
    # Whichever of them somebody takes out, the others hold.
    for start in ("<reason>[", "<comments>["):
        cut = data.replace(start, start[:-1] + "(", 1)
        for weaker in ({"tlp": 3}, {"pap": 1}, {"op_status": 1}):
            marks = Handling()
            marks.CopyFrom(message.handling)
            marks.MergeFrom(Handling(**weaker))
            with pytest.raises(RefusedError) as refused:
                read(cut, marks)
            assert refused.value.reason is Reason.MARK_LOST


def test_a_mark_that_no_text_can_hold_is_refused():
    message = examples.message("TransactionSet")
    message.handling.restrictions.add(kind=4, text="one ] two")
    with pytest.raises(RefusedError) as refused:
        GOAML.write([message], now=NOW)
    assert refused.value.reason is Reason.MARK_LOST
    message = examples.message("TransactionSet")
    message.handling.restrictions.add(kind=4, text="only the desk")
    assert one(GOAML.write([message], now=NOW), message.handling).handling == message.handling
    message.handling.tlp = 5
    with pytest.raises(RefusedError) as refused:
        GOAML.write([message], now=NOW)
    assert refused.value.reason is Reason.MARK_LOST
    assert b"[TLP:RED | " in GOAML.write([message], now=NOW, allow_red=True)


# What others write


def test_the_example():
    (message,), notes = read(EXAMPLE)
    assert fields(notes) == [
        ("line 16", "date_transaction"), ("line 128", "transmode_code"), ("line 10", "reporting_person"),
        ("line 15", "action"), ("line 57", "non_bank_institution"), ("line 58", "branch"), ("line 73", "state"),
        ("line 98", "role"), ("line 108", "role"), ("line 146", "significance"),
    ]  # fmt: skip
    assert rules.violations(message) == []
    assert (message.handling.tlp, message.handling.op_status, message.reason[:9]) == (4, 2, "EXERCISE.")
    assert [len(found) for found in (message.accounts, message.persons, message.organisations)] == [2, 2, 1]
    assert [(tie.from_ref, tie.type, tie.to_ref) for tie in message.relationships] == [
        ("person-1", "conducts", "transaction-1"), ("person-2", "signatory-of", "account-1"),
    ]  # fmt: skip
    first, second = message.transactions
    assert (first.executed_at.stated_as, first.executed_at.precision) == ("2026-02-01T11:00:00", 3)
    assert (first.mode.version, second.mode.version) == (codes.load("goaml-transmode").version, values.UNLISTED)
    assert second.parties[0].party_ref == "person-2"
    assert message.persons[0].documents[0].issuing_state == "SGP"


@pytest.mark.parametrize(
    ("text", "utc", "stated"),
    [
        ("2026-02-01T00:00:00", "2026-02-01T00:00:00Z", ""),
        ("2026-02-01", "2026-02-01T00:00:00Z", ""),
        ("2026-02-01T11:00:00", "2026-02-01T00:00:00Z", "2026-02-01T11:00:00"),
        ("2026-02-01T11:00:00.123Z", "2026-02-01T11:00:00Z", ""),
        ("2026-02-01T07:00:00+08:00", "2026-01-31T23:00:00Z", "2026-02-01T07:00:00+08:00"),
        ("2026-02-01T23:30:00-00:30", "2026-02-02T00:00:00Z", "2026-02-01T23:30:00-00:30"),
    ],
)
def test_times(text, utc, stated):
    found = words.instant(text)
    assert (found.utc.ToJsonString(), found.stated_as) == (utc, stated)
    assert words.instant(words.instant_text(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "2026-02-30T00:00:00", "2026-02-01T25:00:00", "2026-02-01T25:00:00Z", "2026-02-01T10:00:00+23:00", "1 May",
     "0001-01-01T00:00:00+08:00", "２０２６-02-01"],
)  # fmt: skip
def test_what_is_no_time(text):
    assert words.instant(text) is None
    (message,), notes = read(a_report(sides()).replace("2026-02-01T00:00:00", text))
    assert fields(notes) == [("line 2", "date_transaction")]
    assert [found.field for found in rules.violations(message)] == ["handling.op_status", "handling.tlp",
                                                                    "transactions[0].executed_at"]  # fmt: skip


def test_one_side_alone_took_part():
    both = a_report(sides())
    alone = both[: both.index("<t_to>")] + both[both.index("</t_to>") + 7 :]
    (message,), notes = read(alone)
    record = message.transactions[0]
    assert (record.from_ref, [found.party_ref for found in record.parties]) == ("", ["account-1"])
    assert (record.parties[0].funds.value, record.parties[0].country) == ("CASH", "SG")
    assert ("line 2", "t_from") in fields(notes)


def test_a_second_amount_is_noted():
    foreign = "<{0}><foreign_currency_code>USD</foreign_currency_code><foreign_amount>{1}</foreign_amount></{0}>"
    data = a_report(sides(inside=foreign.format("from_foreign_currency", "1.10")))
    assert one(data).transactions[0].foreign.money.amount.unscaled == 110
    data = data.replace("<to_account>", foreign.format("to_foreign_currency", "2") + "<to_account>")
    (message,), notes = read(data)
    assert message.transactions[0].foreign.money.amount.unscaled == 110
    assert [note.field for note in notes] == ["to_foreign_currency"]


def test_coins_are_no_currency():
    foreign = "<foreign_currency_code>XBT</foreign_currency_code><foreign_amount>1</foreign_amount>"
    (message,), notes = read(a_report(sides(inside=f"<from_foreign_currency>{foreign}</from_foreign_currency>")))
    assert not message.transactions[0].HasField("foreign")
    assert [note.field for note in notes] == ["foreign_currency_code", "from_foreign_currency"]


@pytest.mark.parametrize(
    ("inside", "field"),
    [
        ("<gender>Q</gender>", "gender"),
        ("<title>Dr</title>", "title"),
        ("<birthdate>soon</birthdate>", "birthdate"),
        ("<nationality1>ZZ</nationality1>", "nationality1"),
        ("<passport_number>X</passport_number>", "identification"),
        ("<identification><type>ID</type><number>1</number></identification>", "identification"),
        ("<phones><phone><tph_number>012345678</tph_number></phone></phones>", "tph_number"),
        ("<email>a@b.example</email>", "email"),
        ("<ssn>1</ssn>", "ssn"),
    ],
)
def test_what_a_person_cannot_hold_is_noted(inside, field):
    plain = person().replace("<gender>-</gender>", "")
    message, notes = party(plain + inside)
    assert [note.field.rpartition("/")[2] for note in notes] == [field]
    assert message.persons[0].names[0].family == ["Example"]


def test_names_documents_and_ages():
    inside = """<birthdate>2010-05-01T00:00:00</birthdate><alias>Al</alias><full_name_frn>Ālpha</full_name_frn>
    <previous_names><previous_name><first_name>Old</first_name><last_name>Name</last_name></previous_name></previous_names>
    <passport_number>X1</passport_number><passport_country>SG</passport_country><deceased>1</deceased>"""
    message, notes = party(person(inside=inside))
    found = message.persons[0]
    assert [(name.full, name.kind) for name in found.names] == [("", 1), ("Al", 2), ("Ālpha", 4), ("Old Name", 3)]
    assert (found.is_minor, found.deceased, found.documents[0].issuing_state) == (Minor.MINOR_YES, True, "SGP")
    assert notes == []
    assert "tlp.minor" not in {violation.rule for violation in rules.violations(one(EXAMPLE))}
    message.handling.tlp = 3
    assert "tlp.minor" in {violation.rule for violation in rules.violations(message)}


def test_a_pseudonym_is_no_name():
    message, _ = party(f"<gender>-</gender><title>{words.PSEUDONYM}</title>{person(first='-')[18:]}")
    assert (message.persons[0].pseudonym, len(message.persons[0].names)) == ("Example", 0)


def test_related_people_of_newer_versions():
    related = f"""<related_persons><account_related_person><is_primary>1</is_primary><t_person>{person()}</t_person>
    </account_related_person></related_persons>"""
    message = one(a_report(sides(account(inside=related))))
    assert message.accounts[0].holder_ref == "person-1"
    entity = f"""<name>Example</name><related_persons><entity_related_person><t_person>{person()}</t_person>
    </entity_related_person></related_persons>"""
    message, _ = party(entity, "entity")
    assert list(message.organisations[0].officer_refs) == ["person-1"]


def test_a_report_without_transactions_makes_no_message():
    found, notes = read("<report><activity><report_parties/></activity><reason>Example</reason></report>")
    assert found == []
    assert notes[-1].field == "transaction"


# Hostile reports


@pytest.mark.parametrize(
    ("data", "reason", "field"),
    [
        ("", Reason.MALFORMED, "line 1"),
        ("<a/>", Reason.MALFORMED, "line 1"),
        ("<!DOCTYPE report><report/>", Reason.MALFORMED, "line 1"),
        ('<!DOCTYPE r [<!ENTITY a "b">]><report>&a;</report>', Reason.MALFORMED, "line 1"),
        ("<report>\n<reason>a</reason>", Reason.MALFORMED, "line 2"),
        ("<report>\n<reason>a</reason>\n<reason>[TLP:RED] a</reason></report>", Reason.BAD_FIELD, "line 3: reason"),
    ],
)
def test_a_damaged_report_names_the_line(data, reason, field):
    with pytest.raises(MalformedError) as refused:
        read(data)
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_a_flipped_or_cut_report_gives_a_message_or_a_typed_error():
    data = EXAMPLE.encode()

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, len(data) - 1), st.integers(0, 7), st.booleans())
    def holds(place, bit, cut):
        spoilt = data[:place] if cut else data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        try:
            for message in GOAML.read(spoilt, handling(domain=0, tlp=5, pap=4), now=NOW):
                message.SerializeToString()
        except ExchangeError:
            pass

    holds()
