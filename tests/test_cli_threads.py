"""`infoexchange threads`: what is open, both ways, late first; nothing of it needs a relay."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import mailing
from flowing import ASKED, OTHER, answer, named, request, seen, step
from infoexchange.flows import Kind, Step
from infoexchange.home import Home
from infoexchange.states import Precedence
from infoexchange.testing.sites import Sites

run, failing = mailing.run, mailing.failing
ME = "desk.oncb.th.example"
NOW = datetime.now(UTC)


def since(one: Step, **ago: float) -> Step:
    """A step that was made so long ago."""
    return replace(one, at=NOW - timedelta(**ago))


ROUTINE = since(request("routine"), days=1)
FLASH = since(request("flash", OTHER, precedence=Precedence.FLASH), minutes=20)
OLD = since(request("old"), days=40)
DONE = since(request("done"), days=2)
FROM_THEM = since(step("theirs", ASKED, ME, schema="FiuRequest", asks=True, precedence=Precedence.PRIORITY), days=3)
UNCLEAR = since(request("unclear"), days=3)
STEPS = (
    ROUTINE, FLASH, OLD, DONE, FROM_THEM, UNCLEAR,
    since(seen(Kind.ACTIONED, about="old"), days=39),
    since(answer("yes", Kind.FINAL, about="done"), days=1),
    since(answer("yes again", Kind.FINAL, about="done"), hours=1),
    since(answer("what", Kind.NEEDS_CLARIFICATION, about="unclear"), days=2),
    since(answer("stray", Kind.FINAL, about="nobody asked"), hours=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Sites.make(tmp_path_factory.mktemp("sites") / "x", {"th": ["desk.oncb"]}, now=NOW)
    with Home.open(made.home(ME)).spool() as spool:
        for one in STEPS:
            spool.note(one)
    return made.home(ME)


def listed(run, home: Path, *options: object, code: int = 0) -> dict[str, object]:
    found, out, err = run("threads", "--home", home, "--json", *options)
    assert (found, err) == (code, "")
    return json.loads(out)


def names(found: dict[str, object]) -> list[str]:
    by_id = {one.digest.hex(): one for one in STEPS}
    known = {named(name).hex(): name for name in ("routine", "flash", "old", "done", "theirs", "unclear")}
    assert all(thread["id"] in by_id for thread in found["threads"])  # type: ignore[attr-defined]
    return [known[thread["id"]] for thread in found["threads"]]  # type: ignore[attr-defined]


def test_what_is_open_with_the_late_ones_first(run, home: Path) -> None:
    found = listed(run, home)
    assert names(found) == ["old", "theirs", "flash", "routine", "unclear"]
    assert found["overdue"] == 3
    old, theirs, flash, routine, unclear = found["threads"]  # type: ignore[misc]
    assert (old["direction"], old["with"], old["state"], old["acknowledged"]) == (
        "sent",
        ASKED,
        "ACKNOWLEDGED",
        "ACTIONED",
    )
    assert [(due["what"], due["who"], due["overdue"]) for due in old["dues"]] == [("ANSWER", ASKED, True)]
    assert (theirs["direction"], theirs["with"], theirs["type"]) == ("received", ASKED, "FiuRequest")
    assert [(due["what"], due["who"], due["overdue"]) for due in theirs["dues"]] == [
        ("ACKNOWLEDGE", ME, True),
        ("ANSWER", ME, False),
    ]
    assert (flash["precedence"], flash["dues"][0]["overdue"], flash["status"]) == ("FLASH", True, "EXERCISE")
    assert "FINAL" in routine["may_follow"]
    assert [(due["what"], due["who"]) for due in unclear["dues"]] == [("CLARIFY", ME)]
    assert [(one["id"], one["why"]) for one in found["unexpected"]] == [  # type: ignore[attr-defined]
        (named("stray").hex(), "no request of this name is known here"),
        (named("yes again").hex(), "FINAL after the request was answered finally"),
    ]


def test_only_what_is_late_and_a_code_for_scripts(run, home: Path, tmp_path: Path) -> None:
    found = listed(run, home, "--overdue", code=1)
    assert names(found) == ["old", "theirs", "flash"]
    patient = tmp_path / "patient.toml"
    patient.write_text('[acknowledge]\nFLASH = "1 hour"\nPRIORITY = "30 days"\n[answer]\nROUTINE = "50 days"\n')
    found = listed(run, home, "--overdue", "--clocks", patient)
    assert (found["threads"], found["overdue"]) == ([], 0)
    assert names(listed(run, home, "--all"))[-1] == "done"


def test_a_person_reads_it_in_a_table(run, home: Path) -> None:
    code, out, err = run("threads", "--home", home)
    said = " ".join(out.split())
    assert (code, err) == (0, "")
    for words in (
        f"{named('flash').hex()} EXERCISE FLASH RequestForInformation to {OTHER} asked {OTHER} acknowledge",
        f"from {ASKED} asked we acknowledge",
        "acknowledged, ACTIONED",
        "needs clarification we clarify",
        "OVERDUE 10 days",
        "OVERDUE 2 days",
        "OVERDUE 0 h",
        f"unexpected: {named('stray').hex()} (InformationResponse of {ASKED}): no request of this name is known here",
        f"5 shown, 3 overdue. What became of one on its way: infoexchange receipts ID --home {home}",
    ):
        assert words in said, words
    code, out, _ = run("threads", "--home", home, "--overdue")
    assert (code, "unexpected" in out, "3 shown, 3 overdue." in out) == (1, False, True)


def test_one_message_with_all_that_belongs_to_it(run, home: Path) -> None:
    code, out, _ = run("threads", named("yes again").hex().upper(), "--home", home)
    said = " ".join(out.split())
    assert code == 0
    for words in (
        f"RequestForInformation of {ME} for {ASKED}: answered, 1 unexpected.",
        f"{ASKED} InformationResponse FINAL {named('yes').hex()}",
        f"{named('yes again').hex()} unexpected: FINAL after the request was answered finally",
    ):
        assert words in said, words
    code, out, _ = run("threads", named("theirs").hex(), "--home", home)
    said = " ".join(out.split())
    assert f"{ME} is to acknowledge by" in said
    assert f"{ME} may answer with FiuResponse: ACCEPTED, NEEDS_CLARIFICATION, PARTIAL, FINAL" in said
    [one] = listed(run, home, named("done").hex())["threads"]  # type: ignore[misc]
    assert [(s["type"], s["says"]) for s in one["steps"]] == [
        ("RequestForInformation", "TELLS"), ("InformationResponse", "FINAL"), ("InformationResponse", "FINAL")
    ]  # fmt: skip
    found = listed(run, home, named("stray").hex())
    assert (found["threads"], found["unexpected"][0]["why"]) == ([], "no request of this name is known here")  # type: ignore[index]


def test_the_clocks_of_the_folder_are_used(run, home: Path) -> None:
    file = home / "clocks.toml"
    try:
        file.write_text('zone = "+07:00"\n[acknowledge]\nFLASH = "1 hour"\n')
        assert names(listed(run, home, "--overdue", code=1)) == ["old", "theirs"]
    finally:
        file.unlink()


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b'zone = "Bangkok"', "clocks.zone: 'Bangkok' is no zone. Write hours and minutes from UTC"),
        (b"zone = ", "not TOML"),
        (b"\xff", "not TOML"),
        (b"[acknowledge]\nFLASH = 15", "clocks.acknowledge.FLASH: 15 is no span of time"),
    ],
)
def test_a_wrong_file_is_told_in_a_line(failing, home: Path, tmp_path: Path, content: bytes, hint: str) -> None:
    file = tmp_path / "clocks.toml"
    file.write_bytes(content)
    line = failing(1, "threads", "--home", home, "--clocks", file)
    assert hint in line
    assert str(file) in line


def test_wrong_use_is_told_in_a_line(failing, home: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert "there is no such file" in failing(1, "threads", "--home", home, "--clocks", missing)
    assert "64 hexadecimal digits" in failing(1, "threads", "abc", "--home", home)
    assert "no such message" in failing(1, "threads", "ab" * 32, "--home", home)
    assert "name a message, or" in failing(3, "threads", "ab" * 32, "--overdue", "--home", home)
    assert "not allowed with" in failing(3, "threads", "--all", "--overdue", "--home", home)
    assert "64 hexadecimal digits" in failing(
        1, "send", "x.json", "--to", ASKED, "--type", "Recall", "--in-reply-to", "abc", "--home", home
    )
