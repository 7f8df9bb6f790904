"""The UN list: partial dates, names in their own script, graded aliases, and the faults the list is published with."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalogue_messages import handling
from infoexchange import bridges
from infoexchange.bridges.unlist import words
from infoexchange.catalogue import (
    DateKind,
    DocumentType,
    Minor,
    NameKind,
    NameQuality,
    SanctionsAction,
    Sex,
    codes,
    examples,
    rules,
)
from infoexchange.errors import ExchangeError, MalformedError, Reason, RefusedError
from test_bridges import shared

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UNLIST = bridges.find("unlist")
EXAMPLE = examples.read("un-list.xml")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "bridges" / "unlist.md"
HEAD = "<REFERENCE_NUMBER>XXi.009</REFERENCE_NUMBER><FIRST_NAME>EXAMPLE</FIRST_NAME><LISTED_ON>2020-01-02</LISTED_ON>"
GROWN = "<INDIVIDUAL_DATE_OF_BIRTH><TYPE_OF_DATE>EXACT</TYPE_OF_DATE><YEAR>1970</YEAR></INDIVIDUAL_DATE_OF_BIRTH>"


def read(data, **changed):
    data = data if isinstance(data, bytes) else data.encode()
    reading = UNLIST.read(data, handling(**({"domain": 4, "tlp": 1} | changed)), now=NOW)
    return list(reading), [(note.field, note.detail.split(":")[0]) for note in reading.notes]


def person(parts, grown=GROWN):
    """One individual, and what was noted beside the list it stands on."""
    xml = (
        f"<INDIVIDUALS><INDIVIDUAL>{HEAD}<UN_LIST_TYPE>Exercise</UN_LIST_TYPE>{grown}{parts}</INDIVIDUAL></INDIVIDUALS>"
    )
    (message,), notes = read(f"<CONSOLIDATED_LIST>{xml}</CONSOLIDATED_LIST>")
    return message, notes


def test_the_example_list():
    assert bridges.detect(EXAMPLE) is UNLIST
    found, notes = read(EXAMPLE)
    for message in found:
        rules.check(message)
    assert [message.un_ref for message in found] == ["XXi.001", "XXi.002", "XXe.001", "XXe.002"]
    alpha, sample, front, _ = found
    assert [name.full for name in alpha.person.names] == [
        "EXAMPLE PERSON ALPHA", "ตัวอย่าง", "Alpha of Example", "The Engineer",
    ]  # fmt: skip
    assert [name.kind for name in alpha.person.names] == [
        NameKind.NAME_KIND_PRIMARY, NameKind.NAME_KIND_ORIGINAL_SCRIPT, NameKind.NAME_KIND_ALIAS,
        NameKind.NAME_KIND_ALIAS,
    ]  # fmt: skip
    assert [name.quality for name in alpha.person.names][2:] == [
        NameQuality.NAME_QUALITY_GOOD, NameQuality.NAME_QUALITY_LOW,
    ]  # fmt: skip
    assert alpha.person.names[1].script == "Thai"
    assert (alpha.person.sex, sample.person.sex, alpha.person.nationalities) == (Sex.SEX_M, Sex.SEX_F, ["SG"])
    assert (alpha.person.birth.year, alpha.person.birth.day) == (1970, 31)
    assert (alpha.other_births[0].year, alpha.other_births[0].to_year) == (1968, 1972)
    assert alpha.person.birth_place.address.locality == "Exampleville"
    assert alpha.other_birth_places[0].stated_text == "Sampleton, Republic of Nowhere"
    (document,) = alpha.person.documents
    assert (document.type, document.number, document.issuing_state) == (1, "X0000001", "SGP")
    assert alpha.comments.split("\n")[1:] == [
        "Alias The Engineer: note as of 2019",
        "Passport X0000001: note expired",
        "Document: National Identification Number; 000-001",
    ]  # fmt: skip
    assert sample.person.birth.kind == DateKind.DATE_KIND_APPROXIMATE
    assert sample.person.birth.note == "by her own account"
    assert [(name.text, name.kind) for name in front.other_names] == [("Front of Example", 2), ("Example Circle", 3)]
    assert front.organisation.addresses[0].postal_code == "000001"
    assert front.list_version == "2026-02-01T08:00:00Z"
    assert Counter(notes) == {
        ("ALIAS_NAME", "blank"): 2, ("INDIVIDUAL_ADDRESS", "blank"): 1, ("LAST_DAY_UPDATED", "blank"): 2,
        ("COUNTRY", "no code is known for this name"): 2, ("FIRST_NAME", "one name seems to hold several"): 1,
        ("INDIVIDUAL_DOCUMENT", "no number or no state that is known"): 1,
    }  # fmt: skip


def test_what_happened_to_an_entry_is_told_by_its_days():
    alpha, sample, *_ = read(EXAMPLE)[0]
    assert (alpha.action, sample.action) == (
        SanctionsAction.SANCTIONS_ACTION_AMEND, SanctionsAction.SANCTIONS_ACTION_ADD,
    )  # fmt: skip
    assert [(day.year, day.month) for day in alpha.updated_on] == [(2021, 5), (2025, 12)]
    assert (alpha.effective_on, sample.effective_on) == (alpha.updated_on[1], sample.listed_on)
    gone, notes = person("<DELISTED_ON>2025-02-03</DELISTED_ON>")
    assert (gone.action, gone.effective_on.year, notes) == (SanctionsAction.SANCTIONS_ACTION_DELIST, 2025, [])
    rules.check(gone)


def test_the_shared_list():
    found, notes = read(shared("un_sanctions/un_consolidated_entities12_202303.xml"))
    for message in found:
        rules.check(message)
    assert Counter(message.list_id for message in found) == {"UN-Al-Qaida": 10, "UN-Iraq": 1, "UN-DRC": 1}
    names = [name for message in found for name in message.other_names]
    kinds = Counter(name.kind for name in names)
    assert kinds == {NameKind.NAME_KIND_ORIGINAL_SCRIPT: 4, NameKind.NAME_KIND_FORMER: 1, NameKind.NAME_KIND_ALIAS: 33}
    assert {name.script for name in names if name.kind == NameKind.NAME_KIND_ORIGINAL_SCRIPT} == {"Arab"}
    assert not any("\n" in text or "  " in text for text in [name.text for name in names])
    addresses = [address for message in found for address in message.organisation.addresses]
    assert len(addresses) == 24
    assert all(address.country for address in addresses)
    assert Counter(notes) == {
        ("ALIAS_NAME", "blank"): 3, ("LAST_DAY_UPDATED", "blank"): 3,
        ("FIRST_NAME", "one name seems to hold several"): 1,
    }  # fmt: skip


EXACT, NEAR, BETWEEN, UNKNOWN = 1, 2, 3, 4


@pytest.mark.parametrize(
    ("parts", "kind", "years", "note", "doubt"),
    [
        ("<T>EXACT</T><DATE>1960-02-29</DATE>", EXACT, (1960, 0), "", ""),
        ("<T>EXACT</T><DATE>1960-02-29T00:00:00-05:00</DATE>", EXACT, (1960, 0), "", ""),
        ("<T>EXACT</T><YEAR>1960</YEAR><NOTE>x</NOTE>", EXACT, (1960, 0), "x", ""),
        ("<T>APPROXIMATELY\n</T><YEAR>1960</YEAR>", NEAR, (1960, 0), "", ""),
        ("<T>between</T><FROM_YEAR>1960</FROM_YEAR><TO_YEAR>1962</TO_YEAR>", BETWEEN, (1960, 1962), "", ""),
        ("<YEAR>1960</YEAR>", NEAR, (1960, 0), "", ""),
        ("<TYPE_OF_DATE/><DATE/><NOTE>about fifty</NOTE>", UNKNOWN, (0, 0), "about fifty", ""),
        ("<T>GUESS</T><YEAR>1960</YEAR>", NEAR, (1960, 0), "1960", "the kind of date is not known"),
        ("<T>EXACT</T><DATE>1960-02-30</DATE>", UNKNOWN, (0, 0), "1960-02-30", "the date cannot be read"),
        ("<T>EXACT</T><YEAR>0000</YEAR>", UNKNOWN, (0, 0), "0000", "the date cannot be read"),
        ("<T>BETWEEN</T><FROM_YEAR>1962</FROM_YEAR><TO_YEAR>1960</TO_YEAR>", NEAR, (1962, 0),
         "1962; 1960", "the second year is missing or before the first"),
        ("<T>EXACT</T><YEAR>1960</YEAR><TO_YEAR>1961</TO_YEAR>", EXACT, (1960, 0), "1960; 1961",
         "a second year without BETWEEN"),
    ],
)  # fmt: skip
def test_dates_of_birth(parts, kind, years, note, doubt):
    parts = re.sub("(</?)T>", r"\1TYPE_OF_DATE>", parts)
    xml = f"<INDIVIDUAL_DATE_OF_BIRTH>{parts}</INDIVIDUAL_DATE_OF_BIRTH>"
    message, notes = person(xml)
    (born,) = message.other_births
    assert (born.kind, (born.year, born.to_year), born.note) == (kind, years, note)
    assert notes == ([("INDIVIDUAL_DATE_OF_BIRTH", doubt)] if doubt else [])
    rules.check(message)


def test_who_may_be_a_minor_is_marked_so():
    for parts in ("", GROWN.replace("1970", "2010"), GROWN + GROWN.replace("1970", "2010")):
        message, notes = person("", grown=parts)
        assert message.person.is_minor == Minor.MINOR_UNKNOWN
        assert notes == [("INDIVIDUAL_DATE_OF_BIRTH", "no date of birth shows an adult")]
        assert {found.rule for found in rules.violations(message)} == {"tlp.minor", "restrictions.minor"}
    assert person("")[0].person.is_minor == Minor.MINOR_NO
    assert person("", grown=GROWN.replace("1970", "2007"))[0].person.is_minor == Minor.MINOR_NO
    assert person("", grown=GROWN.replace("1970", "2008"))[0].person.is_minor == Minor.MINOR_UNKNOWN


def document(parts):
    return person(f"<INDIVIDUAL_DOCUMENT>{parts}</INDIVIDUAL_DOCUMENT>")


def test_documents():
    message, notes = document(
        "<TYPE_OF_DOCUMENT>Passeport\n</TYPE_OF_DOCUMENT><NUMBER>1</NUMBER>"
        "<COUNTRY_OF_ISSUE>Viet Nam</COUNTRY_OF_ISSUE>"
    )
    assert message.person.documents[0].type == DocumentType.DOCUMENT_TYPE_PASSPORT
    assert (message.person.documents[0].issuing_state, message.comments, notes) == ("VNM", "", [])
    message, notes = document(
        "<TYPE_OF_DOCUMENT>Seaman's book</TYPE_OF_DOCUMENT><NUMBER>1</NUMBER>"
        "<ISSUING_COUNTRY>Viet Nam</ISSUING_COUNTRY>"
        "<COUNTRY_OF_ISSUE>Singapore</COUNTRY_OF_ISSUE><DATE_OF_ISSUE>spring</DATE_OF_ISSUE>"
    )
    assert message.person.documents[0].type_text == "Seaman's book"
    assert message.comments == "Seaman's book 1: spring; issued in Singapore"
    for parts in ("<NUMBER>1</NUMBER>", f"<NUMBER>{'1' * 61}</NUMBER><ISSUING_COUNTRY>Singapore</ISSUING_COUNTRY>"):
        message, notes = document(parts)
        assert not message.person.documents
        assert message.comments.startswith("Document: 1")
        assert notes[0][0] == "INDIVIDUAL_DOCUMENT"
    assert document("<NUMBER/>")[1] == [("INDIVIDUAL_DOCUMENT", "blank")]


def test_what_is_too_long_or_too_many_is_in_the_comments():
    alias = "<INDIVIDUAL_ALIAS><QUALITY>Good</QUALITY><ALIAS_NAME>Name {}</ALIAS_NAME></INDIVIDUAL_ALIAS>"
    message, notes = person("".join(alias.format(n) for n in range(50)))
    assert len(message.person.names) == 50
    assert message.comments == "Further name: Name 49"
    assert len(notes) == 1
    parts = f"<STREET>{'word ' * 100}</STREET><CITY>{'c' * 201}</CITY><ZIP_CODE>{'z' * 21}</ZIP_CODE>"
    message, notes = person(f"<INDIVIDUAL_ADDRESS>{parts}</INDIVIDUAL_ADDRESS>")
    (address,) = message.person.addresses
    assert [len(line) for line in address.lines] == [199, 199, 99, 200, 1, 21]
    assert (address.locality, address.postal_code, notes) == ("", "", [])
    rules.check(message)
    message, _ = person("<INDIVIDUAL_ADDRESS><COUNTRY>Singapore</COUNTRY></INDIVIDUAL_ADDRESS>" * 51)
    assert len(message.person.addresses) == 50
    assert message.comments == "Further address: , SG"


def test_what_is_not_understood_is_noted():
    message, notes = person(
        "<GENDER>?</GENDER><NATIONALITY><VALUE>Nowhere</VALUE></NATIONALITY><NEW_PART><VALUE>x</VALUE></NEW_PART>"
        "<INDIVIDUAL_ALIAS><QUALITY>Fair</QUALITY><ALIAS_NAME>A</ALIAS_NAME></INDIVIDUAL_ALIAS><TITLE/>"
    )
    assert notes == [
        ("QUALITY", "not known"), ("GENDER", "not understood"), ("NATIONALITY", "no code is known for this name"),
        ("INDIVIDUALS/INDIVIDUAL/NEW_PART", "not carried"),
    ]  # fmt: skip
    assert message.comments == "Nationality: Nowhere"
    rules.check(message)


def test_an_entry_without_a_reference_is_left_out():
    found, notes = read(
        "<CONSOLIDATED_LIST><ENTITIES><ENTITY><DATAID>1</DATAID></ENTITY></ENTITIES></CONSOLIDATED_LIST>"
    )
    assert found == []
    assert ("REFERENCE_NUMBER", "no reference number") in notes


def test_scripts():
    for text, script in [
        ("الملثمون", "Arab"),
        ("Пример", "Cyrl"),
        ("例", "Hani"),
        ("abc", "Latn"),
        ("12", ""),
        ("aп", ""),
    ]:
        assert words.script_of(text) == script


def test_names_of_countries_have_two_codes():
    for name in ("Singapore", "viet nam", "Côte d'Ivoire", "Lao People's Democratic Republic", "Union of the Comoros"):
        assert re.fullmatch("[A-Z]{2}", words.country(name))
        assert re.fullmatch("[A-Z]{3}", words.issuing_state(name))
    iso, names = codes.load("iso-3166-1"), codes.load("un-member-names")
    assert all(iso.find(row["alpha2"])["alpha3"] == row["alpha3"] for row in names.rows.values())
    assert len({row["alpha2"] for row in names.rows.values()}) == 193
    assert words.country("Nowhere") == words.issuing_state("Nowhere") == ""


def test_only_a_list_is_read():
    for raw, field in (
        (b"<ENTITIES/>", "line 1"),
        (b'<CONSOLIDATED_LIST xmlns="urn:x"/>', "line 1"),
        (b"{}", "line 1"),
    ):
        with pytest.raises(MalformedError) as caught:
            read(raw)
        assert (caught.value.reason, caught.value.field) == (Reason.MALFORMED, field)
    with pytest.raises(MalformedError) as caught:
        person("<GENDER>Male</GENDER>\n<GENDER>Female</GENDER>")
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_FIELD, "line 2: GENDER")
    with pytest.raises(RefusedError) as refused:
        UNLIST.write([], now=NOW)
    assert refused.value.reason is Reason.RULE_BROKEN


def test_a_list_cut_or_flipped_gives_typed_errors_only():
    for place in range(0, len(EXAMPLE), 97):
        for spoilt in (EXAMPLE[:place], EXAMPLE[:place] + bytes([EXAMPLE[place] ^ 4]) + EXAMPLE[place + 1 :]):
            try:
                read(spoilt)
            except ExchangeError:
                continue


def test_the_page_says_what_the_code_does():
    page = PAGE.read_text(encoding="utf-8")
    for loss in UNLIST.losses:
        assert loss in page
    for word in (*words.ALIASES, *filter(None, words.DATE_KINDS), *words.DOCUMENTS):
        assert f"`{word}`" in page, word
