"""Code lists: compared with tables of others, made longer by an authority, and asked by the rules."""

from __future__ import annotations

import random
from pathlib import Path

import pycountry
import pytest
import stdnum.bic
import stdnum.casrn
import stdnum.iban
import stdnum.imei
import stdnum.imo
import stdnum.iso6346
import stdnum.lei
import stdnum.luhn

from catalogue_messages import building_blocks
from infoexchange import catalogue
from infoexchange.catalogue import Code, Location, Person, PersonName, checks, codes, digits, examples, rules, standards
from infoexchange.errors import MalformedError, RefusedError
from infoexchange.home import Folder

PROTO = Path(__file__).resolve().parent.parent / "proto" / "infoexchange" / "catalogue" / "v1"


@pytest.fixture(autouse=True)
def only_the_packaged_lists():
    yield
    codes.forget_added()


# Others' tables


def test_countries():
    assert {row["value"]: row["alpha3"] for row in codes.load("iso-3166-1").rows.values()} == {
        country.alpha_2: country.alpha_3 for country in pycountry.countries
    }
    assert all(standards.is_country(country.alpha_2) for country in pycountry.countries)
    assert all(standards.is_issuer(country.alpha_3) for country in pycountry.countries)
    assert all(standards.is_subdivision(one.code) for one in pycountry.subdivisions)


def test_scripts_and_languages():
    """Our tables are the registry's of one day: nothing in them is wrong, and what is newer is little."""
    scripts = {script.alpha_4 for script in pycountry.scripts}
    ours = {row["value"] for row in codes.load("iso-15924").rows.values()}
    assert ours <= scripts
    assert len({script for script in scripts if not standards.is_script(script)}) < 20
    two = {language.alpha_2 for language in pycountry.languages if hasattr(language, "alpha_2")}
    assert all(map(standards.is_language_tag, two))
    three = {one.alpha_3 for one in pycountry.languages if not hasattr(one, "alpha_2")}
    assert len({code for code in three if not standards.is_language_tag(code)}) < 150
    listed = {row["value"] for row in codes.load("iso-639").rows.values()}
    assert {code for code in listed if len(code) == 2} - two <= {"in", "iw", "ji", "jw", "mo", "bh", "sh", "tl"}


@pytest.mark.parametrize(
    ("ours", "theirs", "right"),
    [
        (digits.is_imo, stdnum.imo.is_valid, "9074729"),
        (digits.is_luhn, stdnum.luhn.is_valid, "490154203237518"),
        (digits.is_luhn, stdnum.imei.is_valid, "490154203237518"),
        (digits.is_cas, stdnum.casrn.is_valid, "537-46-2"),
        (digits.is_container, stdnum.iso6346.is_valid, "CSQU3054383"),
        (digits.is_mod97, stdnum.lei.is_valid, "213800KUD8LAJWSQ9D15"),
        (digits.is_iban, lambda number: stdnum.iban.is_valid(number, check_country=False), "GB82WEST12345698765432"),
        (standards.is_bic, stdnum.bic.is_valid, "DEUTDEFF"),
    ],
)
def test_digits_agree_with_code_that_is_not_ours(ours, theirs, right):
    rng = random.Random(right)
    assert ours(right)
    assert theirs(right)
    for _ in range(300):
        place = rng.randrange(len(right))
        if not right[place].isdigit():
            continue
        other = right[:place] + str(rng.randrange(10)) + right[place + 1 :]
        assert bool(ours(other)) == bool(theirs(other)), other


# Standards


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("iso-3166-1", ["SG", "TL", "XA", "QM", "ZZ"], ["XX1", "UK", "AB", "EU"]),
        ("icao-9303", ["SGP", "UTO", "XXA", "XXB", "D", "UNO", "XPO"], ["SIN", "ABC"]),
        ("iso-3166-2", ["SG-01", "XA-1"], ["UK-01", "AB-1"]),
        ("iso-15924", ["Latn", "Khmr", "Thai", "Mymr", "Hans", "Qaaa"], ["Abcd", "Latin"]),
        ("bcp-47", ["km", "th-TH", "zh-Hans-CN", "ms-Arab", "tet", "sr-Latn-RS", "es-419", "qaa", "en-x-own"],
         ["english", "xx", "km_KH", "en-UK", "zh-Abcd", "e", "", "en-", "i-klingon"]),
        ("un-locode", ["SGSIN", "XZABC"], ["UKLON", "AB234"]),
        ("mgrs", ["48PVT9217177502", "48PVT", "1CAA"], ["61PVT", "0PVT", "48PAT9217", "48PVW", "32XMA", "48IVT"]),
        ("bic", ["DEUTDEFF", "EXMPXX21"], ["DEUTUKFF"]),
    ],
)  # fmt: skip
def test_values_of_standards(name, right, wrong):
    test, detail = standards.TESTS[name]
    assert detail
    assert [value for value in right if not test(value)] == []
    assert [value for value in wrong if test(value)] == []


def test_a_field_that_names_a_standard_is_checked_by_it():
    options = catalogue._module("options")
    found = set()
    for cls in catalogue.schemas().values():
        for message in building_blocks(cls.DESCRIPTOR).values():
            for field in message.fields:
                name = field.GetOptions().Extensions[options.standard]
                assert not name or name in standards.TESTS, field.full_name
                found.add(name)
    assert found >= set(standards.TESTS)


def test_no_field_of_a_standard_is_forgotten():
    for path in sorted(PROTO.glob("*.proto")):
        pieces = path.read_text(encoding="utf-8").split(";\n")
        for piece in pieces:
            field = piece.rpartition("string ")[2]
            country = '"^[A-Z]{2}$"' in field or '"^([A-Z]{2})?$"' in field
            named = "// " in piece and any(word in piece for word in ("BCP 47", "ISO 15924", "ISO 3166-1 alpha-2"))
            if "string " in piece and " = " in field and (country or (named and "message " not in piece)):
                assert "(standard)" in field, f"{path.name}: {field[:60]}"


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (Location(subdivision="UK-01"), "subdivision"),
        (Location(un_locode="UKLON"), "un_locode"),
        (Location(mgrs="61PVT"), "mgrs"),
        (PersonName(full="Example", lang="english"), "lang"),
        (PersonName(full="Example", script="Abcd"), "script"),
        (Person(local_id="p", role=1, is_minor=2, nationalities=["SG", "UK"]), "nationalities[1]"),
    ],
)
def test_the_rules_name_the_field(record, field):
    [found] = [one for one in rules.violations(record) if one.field == field]
    assert found.rule.startswith("standard.")
    assert found.next_step


def test_a_country_that_only_a_newer_list_has_passes_when_it_is_received():
    message = examples.message("MaritimeIncidentReport")
    message.flag_state = "EU"
    with pytest.raises(RefusedError):
        rules.check(message)
    rules.check_received(message)
    message.flag_state = ""
    message.handling.national_classification.state, message.handling.national_classification.marking = "EU", "X"
    with pytest.raises(RefusedError):
        rules.check_received(message)


# Lists of an authority


def test_an_authority_makes_a_list_longer():
    value = Code(system="drug-class", version=codes.load("drug-class").version, value="NEW_SUBSTANCE")
    assert [found.rule for found in rules.violations(value)] == ["value.in_list"]
    head = f"drug-class,{value.version},national"
    codes.add(
        [
            head,
            ",".join(next(iter(codes.load("drug-class").rows.values()))),
            "NEW_SUBSTANCE" + "," * commas("drug-class"),
        ]
    )
    assert rules.violations(value) == []
    assert codes.load("drug-class").find("heroin")


def commas(name):
    return len(next(iter(codes.load(name).rows.values()))) - 1


def test_an_authority_adds_a_list_and_a_version():
    for version in ("2026", "2027"):
        codes.add([f"xa-offence,{version},Ministry of Examples", "value,meaning", f"P{version},made up"])
    assert "xa-offence" in codes.names()
    assert codes.load("xa-offence").version == "2027"
    assert rules.violations(Code(system="xa-offence", version="2026", value="P2026")) == []
    assert len(rules.violations(Code(system="xa-offence", version="2026", value="P2027"))) == 1
    assert rules.violations(Code(system="xa-offence", version="2028", value="anything")) == []


def test_a_home_brings_its_lists(tmp_path):
    folder = Folder(tmp_path)
    folder.add_code_lists()
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes" / "offence.csv").write_text("xa-offence,2026,Ministry of Examples\nvalue\nP1\n")
    folder.add_code_lists()
    assert codes.load("xa-offence").find("p1")
    (tmp_path / "codes" / "wrong.csv").write_text("xa-offence\n")
    with pytest.raises(MalformedError, match=r"wrong\.csv: line 1"):
        folder.add_code_lists()


def test_subdivisions_are_compared_where_there_is_a_table():
    assert rules.violations(Location(subdivision="SG-99")) == []
    codes.add(["iso-3166-2,2026,an authority", "value", "SG-01"])
    assert [found.field for found in rules.violations(Location(subdivision="SG-99"))] == ["subdivision"]
    assert rules.violations(Location(subdivision="SG-01")) == []


def test_what_is_no_list_is_not_added():
    with pytest.raises(MalformedError):
        codes.add(["one,two"])
    with pytest.raises(MalformedError):
        codes.load("one")


def test_every_test_in_code_is_about_a_type_that_there_is():
    for name in checks.TESTS:
        assert getattr(catalogue, name.rpartition(".")[2]).DESCRIPTOR.full_name == name
