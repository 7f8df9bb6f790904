"""The command `types` and the pages made from the schemas: browsable, complete, up to date."""

from __future__ import annotations

import json

import pytest
import type_reference

from command_setup import infoexchange
from infoexchange import catalogue
from infoexchange.catalogue import codes, examples, reference, yaml_text

NAMES = [cls.DESCRIPTOR.name for cls in catalogue.schemas().values()]


@pytest.fixture
def shown(capsys):
    def run(*words):
        capsys.readouterr()
        assert infoexchange("types", *words) == 0
        return capsys.readouterr().out

    return run


def test_the_pages_are_up_to_date():
    there = {path.name: path.read_text(encoding="utf-8") for path in type_reference.FOLDER.glob("*.md")}
    assert there == type_reference.pages(), "run: python tools/type_reference.py"


def test_every_type_has_its_place_and_its_example_in_the_pages():
    pages = {path.name: path.read_text(encoding="utf-8") for path in type_reference.FOLDER.glob("*.md")}
    for name in NAMES:
        [page] = [text for text in pages.values() if f"\n## {name}\n" in text]
        assert yaml_text.to_yaml(examples.message(name)) in page
        assert f"#{name.lower()})" in pages["README.md"]
    for name in codes.names():
        assert f"\n## {name}\n" in pages["codes.md"]


def test_types_are_listed_by_domain(shown):
    rows = json.loads(shown("--json"))["types"]
    assert {row["name"] for row in rows} == set(NAMES)
    assert [row["domain"] for row in rows] == sorted(row["domain"] for row in rows)
    assert all(row["meaning"].endswith(".") for row in rows)
    drugs = json.loads(shown("--domain", "drugs", "--json"))["types"]
    assert {row["domain"] for row in drugs} == {"DRUGS"}
    assert "infoexchange new TYPE" in shown()


def test_a_type_with_fields_rules_lists_and_example(shown):
    said = shown("DrugSeizureReport")
    for word in ("seizure_id", "required", "items[].substance.cas", "drug-class", "Example:", "537-46-2"):
        assert word in said
    data = json.loads(shown("DrugSeizureReport", "--json"))
    assert json.loads(data["example"])["seizure_id"] == "E-2026-0042"
    assert "drug-class" in data["lists"]
    assert "iso-3166-1" in data["lists"]
    [field] = [row for row in data["fields"] if row["path"] == "seizure_id"]
    assert (field["required"], field["limits"]) == (True, ["at most 200 characters"])
    assert "a date other than UNKNOWN needs a year" in shown("PartialDate")  # a part
    assert "KILOGRAM" in shown("--list", "drug-unit")


@pytest.mark.parametrize("words", [("Nothing",), ("codes",), ("--domain", "WEATHER"), ("--list", "nothing")])
def test_what_is_not_there_is_named_in_one_line(words, capsys):
    assert infoexchange("types", *words) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_every_part_of_a_type_can_be_looked_up():
    for name in NAMES:
        for field in reference.descriptor(name).fields:
            if field.message_type and field.message_type.full_name.startswith(catalogue.PACKAGE):
                assert reference.fields(field.message_type.name)
