"""What the FollowTheMoney bridge writes, against the published names of schemas and properties, and the package."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from infoexchange.bridges.ftm import entities, kinds, links, words
from infoexchange.catalogue import examples
from test_bridges import NOW
from test_ftm import EXAMPLE, FTM, lines, read

PUBLISHED = json.loads((Path(__file__).parent / "ftm_schema.json").read_text("utf-8"))


def published():
    """What the package says of the schemas we use: the range of each property that names entities, else its type."""
    model = pytest.importorskip("followthemoney", reason="the group `ftm` is not installed").model
    return {
        name: {
            key: found.range.name if found.range else found.type.name
            for key, found in sorted(model.get(name).properties.items())
            if not found.stub
        }
        for name in PUBLISHED
    }


def is_a(schema, wanted):
    """Whether the writer may put an entity of a schema where another is named; from the package's own hierarchy."""
    above = {
        "Thing": {"Person", "Organization", "Company", "Vessel", "BankAccount", "CryptoWallet", "Note"},
        "LegalEntity": {"Person", "Organization", "Company"},
        "Organization": {"Company"},
        "Asset": {"Company", "Vessel", "BankAccount"},
    }
    return schema == wanted or schema in above.get(wanted, ())


def written():
    """Every entity that is written of the examples."""
    return [
        one
        for name in kinds.TYPES
        for one in map(json.loads, FTM.write([examples.message(name)], now=NOW).splitlines())
    ]


def test_the_kept_names_are_those_of_the_package():
    assert published() == PUBLISHED


def test_we_write_only_published_names_and_each_names_what_it_may():
    found = written()
    schemas = {one["id"]: one["schema"] for one in found}
    assert set(schemas.values()) >= {"Person", "Company", "BankAccount", "CryptoWallet", "Payment", "Sanction", "Note"}
    for one in found:
        for name, values in one["properties"].items():
            kind = PUBLISHED[one["schema"]][name]
            if kind[0].isupper():
                assert all(is_a(schemas[value], kind) for value in values), (one["schema"], name)


def test_we_read_and_name_only_published_names():
    for schema, edge in links.EDGES.items():
        assert PUBLISHED[schema][edge.source][0].isupper()
        assert PUBLISHED[schema][edge.target][0].isupper()
    assert {*kinds.SCHEMAS, *links.EDGES, "Sanction", "Passport", "Identification", "Address"} <= set(PUBLISHED)
    known = {name for names in PUBLISHED.values() for name in names}
    code = "".join(path.read_text("utf-8") for path in Path(entities.__file__).parent.glob("*.py"))
    asked = {name for call in re.findall(r"(?:take|first)\(([^()]*)\)", code) for name in re.findall(r'"(\w+)"', call)}
    assert len(asked) > 40
    assert asked <= known


def test_the_package_accepts_what_we_write_and_keeps_our_key():
    package = pytest.importorskip("followthemoney", reason="the group `ftm` is not installed")
    found = written()
    for one in (*found, *EXAMPLE):
        proxy = package.model.get_proxy(one, cleaned=False)
        kept = proxy.to_dict()
        assert package.model.get(one["schema"]).validate(kept) is None
        # Codes of banks are invented here, of a country XX that the package does not take.
        assert {name: set(values) for name, values in kept["properties"].items() if name not in {"bic", "iban"}} == {
            name: set(values) for name, values in one["properties"].items() if name not in {"bic", "iban"}
        }
        assert kept.get("infoexchange") == one.get("infoexchange")
    for name in kinds.TYPES:
        message = examples.message(name)
        mine = [json.loads(line) for line in FTM.write([message], now=NOW).splitlines()]
        passed = [package.model.get_proxy(one).to_dict() for one in mine]
        assert read(lines(*passed), message.handling)[0] == [message]


def test_the_page_says_what_the_code_does():
    page = (Path(__file__).parent.parent / "docs" / "bridges" / "ftm.md").read_text("utf-8")
    assert [line[2:] for line in page.partition("## What is lost")[2].splitlines() if line] == list(FTM.losses)
    named = set(re.findall(r"`([A-Za-z_-]+)`", page)) | set(re.findall(r"[A-Z][A-Za-z]+", page))
    assert {*kinds.SCHEMAS, *kinds.SCHEMAS.values(), *kinds.TYPES, *links.EDGES, *words.SENSITIVE} <= named
    assert {edge.word for edge in links.EDGES.values()} <= named
