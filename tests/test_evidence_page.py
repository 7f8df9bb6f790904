"""The page of one evidence file, and its plain files: whatever the file holds, both come, and neither says too much."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from command_setup import infoexchange
from disclosed import COURT, Case
from infoexchange.cli.evidence import unexamined
from infoexchange.cli.pages.evidence import evidence_page
from infoexchange.errors import ExchangeError
from infoexchange.evidence import Evidence
from infoexchange.evidence.unpacking import INDEX, unpack
from infoexchange.verdict import Check, Report, Verdict
from test_cli_evidence import PURPOSE, community, evidence_of
from test_pages import Outline
from vector_world import FOLDER
from vectors import Vector

MADE_AT = datetime(2026, 12, 24, 8, tzinfo=UTC)
EVIDENCE = sorted(path.stem for path in FOLDER.glob("evidence-*.txt"))


def page_of(evidence: Evidence, report: Report | None = None) -> str:
    page = evidence_page(evidence, report or unexamined(), made_at=MADE_AT)
    found = Outline(page)
    assert not {"script", "img", "iframe", "form"} & set(found.tags)
    assert found.tags.count("h1") == 1
    return found.text


@pytest.mark.parametrize("name", EVIDENCE)
def test_every_published_file_that_can_be_read_becomes_a_page_and_plain_files(name):
    vector = Vector.parse(name, (FOLDER / f"{name}.txt").read_text("ascii"))
    raw = vector.blocks[0]
    try:
        evidence = Evidence.parse(raw)
    except ExchangeError:
        return
    text = page_of(evidence)
    assert evidence.digest.hex() in text
    assert "INDETERMINATE" in text
    parts = unpack(evidence)
    names = [part.name for part in parts]
    assert len(names) == len(set(names))
    assert names[-1] == INDEX
    assert all(part.name == Path(part.name).name for part in parts)
    signed = {part.name for part in parts if part.name.endswith(".signed")}
    assert "manifest.signed" in signed
    assert len(signed) >= 1 + len(evidence.bundles) + len(evidence.statements) + 2 * len(evidence.transfers) - 1
    assert sum(part.name.startswith("disclosure-") for part in parts) == len(evidence.disclosures)
    for place, receipt in enumerate(evidence.events, 1):
        [leaf] = [part.data for part in parts if part.name == f"leaf-{place}.bin"]
        assert leaf == receipt.leaf


def test_the_published_files_show_everything_that_a_file_can_hold():
    found = set()
    for name in EVIDENCE:
        try:
            raw = Vector.parse(name, (FOLDER / f"{name}.txt").read_text("ascii")).blocks[0]
            names = {part.name for part in unpack(Evidence.parse(raw))}
        except ExchangeError:
            continue
        found |= {name.split("-")[0].split(".")[0] for name in names}
    kinds = {"envelope", "manifest", "directory", "bundle", "certificate", "crl", "statement", "leaf", "event"}
    assert found >= kinds | {"grant", "transfer", "disclosure"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    exchange = community()
    (folder / "whole.ixev").write_bytes(evidence_of(exchange, *exchange.community.members).raw)
    (folder / "half.ixev").write_bytes(evidence_of(exchange).raw)
    (folder / "roots.pb").write_bytes(exchange.community.roots.raw)
    return folder


def shown(capsys: pytest.CaptureFixture[str], files: Path, name: str, *more: object) -> tuple[int, str, str]:
    page = files / f"{name}.html"
    code = infoexchange("evidence", "show", files / name, "--html", page, "--json", *more)
    data = json.loads(capsys.readouterr().out)
    assert (data["page"], data["verified"]) == (str(page), False)
    return code, page.read_text(), Outline(page.read_bytes()).text


def test_the_page_has_the_verdict_of_verify(capsys, files):
    roots = ("--roots", files / "roots.pb")
    for name, word, proves in (
        ("whole.ixev", "TOTAL-PASSED", "What it proves"),
        ("half.ixev", "INDETERMINATE", "What it would prove"),
    ):
        code, _, text = shown(capsys, files, name, *roots)
        assert code == 0
        assert word in text
        assert proves in text
        infoexchange("evidence", "verify", files / name, *roots, "--json")
        for check in json.loads(capsys.readouterr().out)["checks"]:
            assert check["name"] in text
            assert check["detail"] in text
    _, _, text = shown(capsys, files, "whole.ixev")
    assert "no root keys were given" in text
    assert "TOTAL-PASSED" not in text
    failed = Report((Check("format", Verdict.TOTAL_FAILED, "malformed", "x"),))
    text = page_of(Evidence.parse((files / "whole.ixev").read_bytes()), failed)
    assert "this file proves nothing" in text
    assert "What it proves" not in text


def test_nothing_of_the_message_is_on_the_page(capsys, files):
    _, page, _ = shown(capsys, files, "whole.ixev", "--roots", files / "roots.pb")
    for marker in (PURPOSE, "OfficerAcknowledgement", "PIRACY", "AMBER"):
        assert marker not in page


def test_roots_without_a_page_are_a_misunderstanding(capsys, files):
    assert infoexchange("evidence", "show", files / "whole.ixev", "--roots", files / "roots.pb") == 3
    assert "evidence verify" in capsys.readouterr().err


def test_the_words_of_disclosed_records_are_there():
    text = page_of(Case().disclose("background"))
    assert "Nothing: the file shows who" not in text
    assert "background" in text
    assert COURT in text
